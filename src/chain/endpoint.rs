//! One endpoint: requests over its socket or HTTP, within its limits, counted, and cut off while it is dead.
//!
//! Owns the limiter, the cap on requests in flight, the pause that a provider asked for, the circuit breaker and what was
//! learnt of the endpoint's limits. It makes one attempt each way and no more: whoever asks decides about the next.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::breaker::Breaker;
use super::compute::compute;
use super::error::{ChainError, ErrorClass, Failure};
use super::http::Http;
use super::identity::Identity;
use super::limits::LogRange;
use super::network::Network;
use super::rpc::{Body, Call, Quantity, decode_one, encode, encode_batch};
use super::session::Session;
use crate::config;
use crate::domain::Header;

/// The longest wait for the limiter and a place in flight.
const QUEUE_TIMEOUT: Duration = Duration::from_mins(1);
/// A provider that says only "too many requests" is left alone for this long.
const RATE_LIMIT_PAUSE: Duration = Duration::from_secs(1);
/// An account that ran dry is looked at again after this.
const BILLING_PAUSE: Duration = Duration::from_hours(1);
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
    limiter: DefaultDirectRateLimiter,
    in_flight: Semaphore,
    request_timeout: Duration,
    breaker: Mutex<Breaker>,
    paused: Mutex<Option<(Instant, ErrorClass)>>,
    http_checked: AtomicBool,
    serves_batches: AtomicBool,
    serves_block_receipts: AtomicBool,
    log_range: LogRange,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Endpoint")
            .field(&self.0.identity.endpoint)
            .finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
        let rate = NonZeroU32::new(settings.requests_per_second).unwrap_or(NonZeroU32::MIN);
        let permits = usize::try_from(settings.max_in_flight.max(1)).unwrap_or(1);
        Ok(Self(Arc::new(Inner {
            http,
            session,
            limiter: RateLimiter::direct(Quota::per_second(rate)),
            in_flight: Semaphore::new(permits),
            request_timeout: settings.request_timeout,
            breaker: Mutex::new(Breaker::new()),
            paused: Mutex::new(None),
            http_checked: AtomicBool::new(false),
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

    pub(super) fn log_range(&self) -> &LogRange {
        &self.0.log_range
    }

    pub(super) fn serves_block_receipts(&self) -> &AtomicBool {
        &self.0.serves_block_receipts
    }

    /// Whether it would take a request now: the right chain, no open circuit, no pause.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        let now = Instant::now();
        let paused = lock(&self.0.paused)
            .as_ref()
            .is_some_and(|(until, _)| *until > now);
        !paused
            && !self.0.identity.wrong_chain.load(Ordering::Relaxed)
            && lock(&self.0.breaker).is_closed(now)
    }

    /// Its newest header was polled.
    pub(super) fn saw_latest(&self, header: &Header) {
        self.0.identity.polled.store(header.number, Ordering::Relaxed);
        self.0.identity.saw_head(header.number, header.timestamp_s);
    }

    /// Whether its socket is up.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.session.as_ref().is_some_and(Session::is_connected)
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
        if !lock(&self.0.breaker).try_pass(Instant::now()) {
            return Err(Failure::transport("out of service after repeated failures"));
        }
        let start = Instant::now();
        let result = match self.exchange(lane, calls).await {
            Ok(body) => decode(body).await,
            Err(failure) => Err(failure),
        };
        let outcome = result
            .as_ref()
            .map_or_else(|failure| failure.class.as_str(), |_| "ok");
        self.0.identity.count_request(method, outcome, start.elapsed());
        self.note(result.as_ref().err());
        result
    }

    /// Waits out the provider's pause where it is short, and for the limiter.
    async fn enter(&self, requests: usize) -> Result<(), Failure> {
        let paused = lock(&self.0.paused).clone();
        if let Some((until, class)) = paused {
            let wait = until.saturating_duration_since(Instant::now());
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
        let now = Instant::now();
        let pause = match failure.map(|failure| &failure.class) {
            Some(ErrorClass::Transport) => {
                self.0.http_checked.store(false, Ordering::Relaxed);
                lock(&self.0.breaker).failed(now);
                self.0.identity.show_header_age();
                return;
            }
            Some(class @ ErrorClass::RateLimited { retry_after }) => {
                Some((now + retry_after.unwrap_or(RATE_LIMIT_PAUSE), class.clone()))
            }
            Some(ErrorClass::Billing) => {
                tracing::error!(
                    chain = %self.0.identity.chain, endpoint = self.name(),
                    "the endpoint's account is used up; it is left out for an hour"
                );
                Some((now + BILLING_PAUSE, ErrorClass::Billing))
            }
            _ => None,
        };
        lock(&self.0.breaker).succeeded();
        if pause.is_some() {
            *lock(&self.0.paused) = pause;
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
        let sent = tokio::time::Instant::now();
        let requests = calls.iter().map(|(method, params)| async move {
            let id = self.0.identity.next_id();
            let text = encode(id, method, params);
            session.send(id, text).await.map(|answer| (id, answer))
        });
        let answers = futures_util::future::try_join_all(requests);
        let Ok(answers) = timeout(self.0.request_timeout, answers).await else {
            session.suspect(sent);
            return Err(Failure::transport("timed out"));
        };
        answers.map(|answers| Body::Each(answers, None))
    }

    async fn by_http(&self, http: &Http, calls: &[Call]) -> Result<Body, Failure> {
        if !self.0.http_checked.load(Ordering::Relaxed) {
            self.check_chain_over(http).await?;
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

    /// A pool of connections has no "reconnect"; after each transport failure the chain is asked for again.
    async fn check_chain_over(&self, http: &Http) -> Result<(), Failure> {
        let id = self.0.identity.next_id();
        let (text, status) = self.post(http, encode(id, "eth_chainId", &json!([]))).await?;
        let Quantity(found) = decode_one(id, &text, Some(status))?;
        self.0
            .identity
            .check_chain(found)
            .map_err(|error| Failure::new(ErrorClass::Transport, error))?;
        self.0.http_checked.store(true, Ordering::Relaxed);
        Ok(())
    }

    async fn post(
        &self,
        http: &Http,
        request: String,
    ) -> Result<(alloy::primitives::bytes::Bytes, u16), Failure> {
        timeout(self.0.request_timeout, http.post(request))
            .await
            .unwrap_or_else(|_| Err(Failure::transport("timed out")))
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

/// A chain's endpoints, best first. Where choice by health, latency and agreement will come.
#[derive(Debug, Clone)]
pub struct Endpoints(Arc<[Endpoint]>);

impl Endpoints {
    pub(super) fn new(endpoints: Vec<Endpoint>) -> Self {
        Self(endpoints.into())
    }

    /// All of them, in the configured order.
    pub fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.iter()
    }

    /// The healthy ones in the configured order, then the others: they answer at once with why they are out.
    pub fn ranked(&self) -> Vec<Endpoint> {
        let (mut healthy, out): (Vec<_>, Vec<_>) = self.0.iter().cloned().partition(Endpoint::is_healthy);
        healthy.extend(out);
        healthy
    }
}
