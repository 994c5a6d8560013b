//! One endpoint: requests over its socket or HTTP, within its limits, counted, and cut off while it is dead.
//!
//! Owns the limiter, the cap on requests in flight, the pause that a provider asked for, the circuit breaker and what was
//! learnt of the endpoint's limits. It makes one attempt each way and no more: whoever asks decides about the next.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy::primitives::B256;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::choice::Candidate;
use super::compute::compute;
use super::error::{ChainError, ErrorClass, Failure, Problem, Unproven};
use super::header::RawHeader;
use super::http::Http;
use super::identity::Identity;
use super::limiter::Limiter;
use super::limits::LogRange;
use super::network::Network;
use super::rpc::{Body, Call, Quantity, WireHash, decode_one, encode, encode_batch};
use super::session::Session;
use super::standing::Standing;
use crate::config;
use crate::domain::Header;
use crate::health::EndpointStatus;

/// The longest wait for the limiter and a place in flight.
const QUEUE_TIMEOUT: Duration = Duration::from_mins(1);
/// What latency is measured by: one header is the same question to every endpoint.
const LATENCY_OF: &str = "eth_getBlockBy";
/// How many times its usual latency an endpoint may be silent before the next one is asked beside it, and at the least.
const PATIENCE: u32 = 8;
const MIN_PATIENCE: Duration = Duration::from_millis(500);
/// Larger answers are decoded off the runtime's threads.
const DECODE_INLINE_BYTES: usize = 64 * 1024;

/// Which way a request goes first. The other way is the fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// The socket: the least latency.
    Live,
    /// HTTP: large answers in parallel, and nothing before a head on the socket.
    Bulk,
}

/// A handle to one endpoint; clones share everything. `Debug` shows its name only.
#[derive(Clone)]
pub struct Endpoint(Arc<Inner>);

struct Inner {
    identity: Arc<Identity>,
    http: Option<Http>,
    session: Option<Session>,
    limiter: Limiter,
    in_flight: Semaphore,
    request_timeout: Duration,
    standing: Standing,
    http_checked: Mutex<Option<Checked>>,
    serves_batches: AtomicBool,
    serves_block_receipts: AtomicBool,
    log_range: LogRange,
}

/// That the endpoint was found to be of this chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Checked {
    /// The genesis that was expected then.
    genesis: Option<B256>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Endpoint")
            .field(&self.0.identity.endpoint)
            .finish()
    }
}

/// The guard, whatever became of who held it before.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded here is replaced whole, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Endpoint {
    pub(super) fn new(
        identity: Arc<Identity>,
        settings: &config::Endpoint,
        max_log_range: u64,
        (network, session): (Arc<dyn Network>, Option<Session>),
    ) -> Result<Self, ChainError> {
        let http = settings.http.clone().map(|url| Http::new(network, url));
        if http.is_none() && session.is_none() {
            return Err(ChainError::Settings {
                endpoint: Arc::clone(&identity.endpoint),
                problem: "it has neither a WebSocket nor an HTTP URL",
            });
        }
        let permits = usize::try_from(settings.max_in_flight.max(1)).unwrap_or(1);
        Ok(Self(Arc::new(Inner {
            http,
            session,
            limiter: Limiter::new(settings.requests_per_second),
            in_flight: Semaphore::new(permits),
            request_timeout: settings.request_timeout,
            standing: Standing::new(),
            http_checked: Mutex::new(None),
            serves_batches: AtomicBool::new(true),
            serves_block_receipts: AtomicBool::new(true),
            log_range: LogRange::new(max_log_range),
            identity,
        })))
    }

    /// Its name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.identity.endpoint
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.0.identity
    }

    pub(super) fn standing(&self) -> &Standing {
        &self.0.standing
    }

    pub(super) fn log_range(&self) -> &LogRange {
        &self.0.log_range
    }

    pub(super) fn serves_block_receipts(&self) -> &AtomicBool {
        &self.0.serves_block_receipts
    }

    /// Whether it would take a request now, and be believed: the right chain, no open circuit, no pause, no quarantine.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.0.identity.stranger().is_none() && self.0.standing.is_good()
    }

    /// Whether its socket is up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.session.as_ref().is_some_and(Session::is_connected)
    }

    /// What the choice between endpoints needs to know.
    pub(super) fn candidate(&self) -> Candidate {
        Candidate {
            healthy: self.is_healthy(),
            stale: self.0.identity.is_stale(),
            latency: self.0.standing.latency(),
        }
    }

    /// How long its answer is waited for alone.
    pub(super) fn patience(&self) -> Duration {
        let usual = self.0.standing.latency().unwrap_or_default();
        (usual * PATIENCE).clamp(MIN_PATIENCE, self.0.request_timeout.max(MIN_PATIENCE))
    }

    /// It was silent for its patience. Whoever answers instead may leave it without an answer, so this counts as one.
    pub(super) fn was_silent(&self) {
        self.0.standing.took(self.patience());
    }

    /// How it is.
    pub(super) fn status(&self) -> EndpointStatus {
        let head = self.0.identity.head.load(Ordering::Relaxed);
        EndpointStatus {
            name: Arc::clone(&self.0.identity.endpoint),
            operator: Arc::clone(&self.0.identity.operator),
            connected: self.is_connected(),
            head: Some(head).filter(|head| *head > 0),
            latency: self.0.standing.latency(),
            problem: self.problem().map(Problem::as_str),
        }
    }

    /// What is wrong with it now; the gravest, where it is more than one thing.
    fn problem(&self) -> Option<Problem> {
        let known = self.0.identity.stranger().or_else(|| self.0.standing.set_aside());
        // Without its socket, an endpoint that has no other way says no more than that it is down.
        let lost = || {
            let down = self.0.http.is_none() && !self.is_connected();
            self.0.identity.lost().filter(|_| down)
        };
        known.or_else(lost).or_else(|| self.0.standing.trouble())
    }

    /// Brings its metric up to what is wrong now.
    pub(super) fn show_problem(&self) {
        self.0.identity.show_problem(self.problem());
    }

    /// Its newest header was polled.
    pub(super) fn saw_latest(&self, header: &Header) {
        self.0.identity.polled.store(header.number, Ordering::Relaxed);
        self.0.identity.saw_head(header.number, header.timestamp_s);
    }

    /// The header that a payload is, recomputed where this chain's headers can be.
    ///
    /// # Errors
    /// It does not hash to its own hash.
    pub(super) fn header(&self, raw: &RawHeader) -> Result<Header, ChainError> {
        if !self.0.identity.verification.borrow().headers {
            return Ok(raw.claimed());
        }
        raw.prove()
            .map_err(|reason| self.unproven(raw.block().number, reason))
    }

    /// An answer that does not prove what it claims: it is put aside for a while.
    pub(super) fn unproven(&self, number: u64, reason: Unproven) -> ChainError {
        self.put_aside(number, &reason);
        self.0.identity.unproven(number, reason)
    }

    /// From now on and for a while it is asked last.
    pub(super) fn put_aside(&self, number: u64, reason: &dyn std::fmt::Display) {
        if self.0.standing.unproven() {
            self.0.identity.count_quarantine();
            tracing::warn!(
                chain = %self.0.identity.chain, endpoint = self.name(), number, %reason, "the endpoint is put aside"
            );
        }
    }

    /// Whether it has a block of this height, as far as it says. Some nodes answer above their head as if there was nothing
    /// there, so nothing is asked there.
    ///
    /// # Errors
    /// [`ErrorClass::MissingData`] where its head is lower; or it cannot be asked.
    pub(super) async fn reaches(&self, height: u64) -> Result<(), ChainError> {
        const METHOD: &str = "eth_blockNumber";
        let head = &self.0.identity.head;
        if height <= head.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Quantity(now) = self.request(METHOD, json!([])).await?;
        head.store(now, Ordering::Relaxed);
        if height <= now {
            return Ok(());
        }
        let failure = Failure::missing(format!("its head is {now}, below block {height}"));
        Err(self.0.identity.failed(METHOD, failure))
    }

    /// One request, over the socket where it is up, and over HTTP otherwise or when the socket dies under it.
    ///
    /// # Errors
    /// [`ChainError::Request`] with its class; a null result is [`ErrorClass::MissingData`].
    pub async fn request<T: DeserializeOwned + Send + 'static>(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<T, ChainError> {
        self.request_by(Lane::Live, method, params).await
    }

    /// Several requests as one; all succeed, or the first failure is returned.
    ///
    /// # Errors
    /// As [`Endpoint::request`].
    pub async fn batch<T: DeserializeOwned + Send + 'static>(
        &self,
        calls: Vec<(&'static str, Value)>,
    ) -> Result<Vec<T>, ChainError> {
        self.batch_by(Lane::Live, calls).await
    }

    pub(super) async fn request_by<T: DeserializeOwned + Send + 'static>(
        &self,
        lane: Lane,
        method: &'static str,
        params: Value,
    ) -> Result<T, ChainError> {
        let results = self.counted(lane, &[(method, params)]).await;
        results
            .and_then(|mut results| results.pop().ok_or_else(|| Failure::transport("no answer")))
            .map_err(|failure| self.0.identity.failed(method, failure))
    }

    pub(super) async fn batch_by<T: DeserializeOwned + Send + 'static>(
        &self,
        lane: Lane,
        calls: Vec<Call>,
    ) -> Result<Vec<T>, ChainError> {
        let Some((method, _)) = calls.first() else {
            return Ok(Vec::new());
        };
        let method = *method;
        let named = |failure| self.0.identity.failed(method, failure);
        if self.0.serves_batches.load(Ordering::Relaxed) {
            match self.counted(lane, &calls).await {
                Err(failure) if calls.len() > 1 && refuses_batches(&failure.class) => {
                    self.0.serves_batches.store(false, Ordering::Relaxed);
                }
                results => return results.map_err(named),
            }
        }
        let mut results = Vec::with_capacity(calls.len());
        for call in calls {
            results.extend(self.counted::<T>(lane, &[call]).await.map_err(named)?);
        }
        Ok(results)
    }

    /// One attempt with everything that is noted of it.
    async fn counted<T: DeserializeOwned + Send + 'static>(
        &self,
        lane: Lane,
        calls: &[Call],
    ) -> Result<Vec<T>, Failure> {
        let method = calls.first().map_or("none", |(method, _)| *method);
        self.enter(calls.len()).await?;
        let _place = timeout(QUEUE_TIMEOUT, self.0.in_flight.acquire())
            .await
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| Failure::transport("too many requests are in flight here"))?;
        if !self.0.standing.try_pass() {
            return Err(Failure::transport("out of service after repeated failures"));
        }
        let start = Instant::now();
        let mut result = match self.exchange(lane, calls).await {
            Ok(body) => decode(body).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = &mut result
            && failure.problem == Problem::TooLarge
            && method != "eth_getLogs"
        {
            // Only ranges of logs can be asked for in smaller parts.
            failure.class = ErrorClass::Transport;
        }
        if let (Ok(_), [_], true) = (&result, calls, method.starts_with(LATENCY_OF)) {
            self.0.standing.took(start.elapsed());
        }
        let outcome = result
            .as_ref()
            .map_or_else(|failure| failure.class.as_str(), |_| "ok");
        self.0.identity.count_request(method, outcome, start.elapsed());
        self.note(result.as_ref().err());
        result
    }

    /// Waits out the provider's pause where it is short, and for the limiter.
    async fn enter(&self, requests: usize) -> Result<(), Failure> {
        if let Some((wait, class)) = self.0.standing.pause() {
            if wait > self.0.request_timeout {
                return Err(Failure::new(class, "left alone for now, as it asked"));
            }
            tokio::time::sleep(wait).await;
        }
        let limited = async {
            for _ in 0..requests {
                self.0.limiter.until_ready().await;
            }
        };
        timeout(QUEUE_TIMEOUT, limited).await.map_err(|_| {
            Failure::new(
                ErrorClass::RateLimited { retry_after: None },
                "our own limit for it",
            )
        })
    }

    fn note(&self, failure: Option<&Failure>) {
        self.0.standing.note(failure);
        match failure.map(|failure| &failure.class) {
            Some(ErrorClass::Transport) => {
                *lock(&self.0.http_checked) = None;
                self.0.identity.show_header_age();
            }
            Some(ErrorClass::Billing) => tracing::error!(
                chain = %self.0.identity.chain, endpoint = self.name(),
                "the endpoint's account is used up; it is left out for an hour"
            ),
            _ => {}
        }
    }

    async fn exchange(&self, lane: Lane, calls: &[Call]) -> Result<Body, Failure> {
        let Inner { http, session, .. } = &*self.0;
        let open = session.as_ref().filter(|session| session.is_connected());
        match (http, open, lane) {
            (Some(http), Some(session), Lane::Live) => match self.by_socket(session, calls).await {
                Err(failure) if failure.class == ErrorClass::Transport => self.by_http(http, calls).await,
                result => result,
            },
            (Some(http), Some(session), Lane::Bulk) => match self.by_http(http, calls).await {
                Err(failure) if failure.class == ErrorClass::Transport => {
                    self.by_socket(session, calls).await
                }
                result => result,
            },
            (Some(http), None, _) => self.by_http(http, calls).await,
            (None, _, _) => match session {
                Some(session) => {
                    timeout(self.0.request_timeout, session.wait_connected())
                        .await
                        .map_err(|_| Failure::transport("the socket is down"))?;
                    self.by_socket(session, calls).await
                }
                None => Err(Failure::transport("no way to it is configured")),
            },
        }
    }

    /// Over a socket the requests of a batch go one after another without waiting: not every server reads arrays there.
    async fn by_socket(&self, session: &Session, calls: &[Call]) -> Result<Body, Failure> {
        let sent = Instant::now();
        let requests = calls.iter().map(|(method, params)| async move {
            let id = self.0.identity.next_id();
            let text = encode(id, method, params);
            session.send(id, text).await.map(|answer| (id, answer))
        });
        let answers = futures_util::future::try_join_all(requests);
        let Ok(answers) = timeout(self.0.request_timeout, answers).await else {
            session.suspect(sent);
            return Err(Failure::timed_out());
        };
        answers.map(|answers| Body::Each(answers, None))
    }

    async fn by_http(&self, http: &Http, calls: &[Call]) -> Result<Body, Failure> {
        let genesis = *self.0.identity.genesis.borrow();
        let due = Checked { genesis };
        if self.0.identity.recheck.swap(false, Ordering::Relaxed) {
            *lock(&self.0.http_checked) = None;
        }
        if *lock(&self.0.http_checked) != Some(due) {
            self.check_over(http, due).await?;
            *lock(&self.0.http_checked) = Some(due);
        }
        let ids: Vec<u64> = calls.iter().map(|_| self.0.identity.next_id()).collect();
        if let ([id], [(method, params)]) = (ids.as_slice(), calls) {
            let (text, status) = self.post(http, encode(*id, method, params)).await?;
            return Ok(Body::Each(vec![(*id, text)], Some(status)));
        }
        let request = encode_batch(&ids, calls);
        let (text, status) = self.post(http, request).await?;
        Ok(Body::Array(ids, text, Some(status)))
    }

    /// A pool of connections has no "reconnect"; after each transport failure and each lost socket the chain is asked for
    /// again.
    async fn check_over(&self, http: &Http, due: Checked) -> Result<(), Failure> {
        let Quantity(found) = self.ask_over(http, "eth_chainId", &json!([])).await?;
        self.0.identity.check_chain(found)?;
        if let Some(expected) = due.genesis {
            let params = json!(["0x0", false]);
            let block: Result<WireHash, Failure> = self.ask_over(http, "eth_getBlockByNumber", &params).await;
            let found = block.map(|block| block.hash);
            self.0.identity.check_genesis(expected, found)?;
        }
        Ok(())
    }

    async fn ask_over<T: DeserializeOwned>(
        &self,
        http: &Http,
        method: &str,
        params: &Value,
    ) -> Result<T, Failure> {
        let id = self.0.identity.next_id();
        let (text, status) = self.post(http, encode(id, method, params)).await?;
        decode_one(id, &text, Some(status))
    }

    async fn post(
        &self,
        http: &Http,
        request: String,
    ) -> Result<(alloy::primitives::bytes::Bytes, u16), Failure> {
        timeout(self.0.request_timeout, http.post(request))
            .await
            .unwrap_or_else(|_| Err(Failure::timed_out()))
    }
}

/// An object instead of an array says that the batch was not understood.
fn refuses_batches(class: &ErrorClass) -> bool {
    matches!(class, ErrorClass::Unsupported | ErrorClass::Refused)
}

async fn decode<T: DeserializeOwned + Send + 'static>(body: Body) -> Result<Vec<T>, Failure> {
    compute(body.len() > DECODE_INLINE_BYTES, move || body.decode())
        .await
        .unwrap_or_else(|| Err(Failure::transport("the answer could not be decoded")))
}
