//! What the two ways to one endpoint share: its names, its request ids, what it was found to be, and its metrics.
//!
//! The only place of this room that names an endpoint's metrics. Labels are configured names and our own words, never an
//! address.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy::primitives::B256;
use metrics::{counter, gauge, histogram};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use tokio::time::Instant;

use super::error::{ChainError, Failure, Problem, Unproven, scrub};
use super::levels::Verification;
use crate::clock::Clock;
use crate::config;
use crate::domain::ChainId;
use crate::health::header_age_max;
use crate::metrics as names;

/// One endpoint's identity and marks.
#[derive(Debug)]
pub(super) struct Identity {
    /// The chain's name.
    pub chain: Arc<str>,
    pub chain_id: ChainId,
    /// The endpoint's name.
    pub endpoint: Arc<str>,
    /// Who runs it.
    pub operator: Arc<str>,
    /// The hash of block 0 that every endpoint of the chain must have, once it is known.
    pub genesis: watch::Receiver<Option<B256>>,
    /// How this chain's blocks are proven.
    pub verification: watch::Receiver<Verification>,
    /// The height that it spoke of last; zero before the first.
    pub head: AtomicU64,
    /// The height that it gave when polled; may go back.
    pub polled: AtomicU64,
    /// The height that its socket announced last.
    pub streamed: AtomicU64,
    /// A socket was lost: whoever answers now may serve another chain, over HTTP too.
    pub recheck: AtomicBool,
    wrong_chain: AtomicBool,
    wrong_genesis: AtomicBool,
    /// It was told that it keeps no block 0.
    genesis_untold: AtomicBool,
    marks: Mutex<Marks>,
    newest_timestamp_s: AtomicU64,
    header_age_max: Duration,
    next_id: AtomicU64,
    clock: Clock,
    /// What a provider may echo of our URLs.
    secrets: Vec<SecretString>,
}

#[derive(Debug, Default)]
struct Marks {
    /// When it last told its newest header.
    heard: Option<Instant>,
    /// Why its socket was lost last.
    lost: Option<Problem>,
    /// What the metric says of it.
    shown: Option<Problem>,
}

/// Shorter parts of a URL, such as `v3` or `mainnet`, are no keys.
const MIN_SECRET_BYTES: usize = 12;

/// What was wrong with an endpoint is not known to be so once nobody asks it.
impl Drop for Identity {
    fn drop(&mut self) {
        self.show_problem(None);
    }
}

impl Identity {
    pub fn new(
        chain: &config::Chain,
        endpoint: &config::Endpoint,
        (genesis, verification): (watch::Receiver<Option<B256>>, watch::Receiver<Verification>),
        clock: Clock,
    ) -> Self {
        Self {
            chain: chain.name.as_str().into(),
            chain_id: chain.id,
            endpoint: endpoint.name.as_str().into(),
            operator: endpoint.operator.as_str().into(),
            genesis,
            verification,
            head: AtomicU64::new(0),
            polled: AtomicU64::new(0),
            streamed: AtomicU64::new(0),
            wrong_chain: AtomicBool::new(false),
            recheck: AtomicBool::new(false),
            wrong_genesis: AtomicBool::new(false),
            genesis_untold: AtomicBool::new(false),
            marks: Mutex::default(),
            newest_timestamp_s: AtomicU64::new(0),
            header_age_max: header_age_max(chain.block_time),
            next_id: AtomicU64::new(1),
            clock,
            secrets: secrets(endpoint.ws.iter().chain(&endpoint.http)),
        }
    }

    fn marks(&self) -> MutexGuard<'_, Marks> {
        // Each change is a single assignment, so a panic elsewhere leaves nothing half done.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message that may be shown.
    pub fn scrubbed(&self, message: &str) -> String {
        scrub(message, self.secrets.iter().map(ExposeSecret::expose_secret))
    }

    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn labels(&self) -> [(&'static str, String); 2] {
        [
            ("chain", self.chain.to_string()),
            ("endpoint", self.endpoint.to_string()),
        ]
    }

    /// A header that the endpoint gave as its newest.
    pub fn saw_head(&self, number: u64, timestamp_s: u64) {
        self.head.store(number, Ordering::Relaxed);
        self.newest_timestamp_s.fetch_max(timestamp_s, Ordering::Relaxed);
        self.marks().heard = Some(Instant::now());
        self.show_header_age();
    }

    /// Whether it told its newest header in the last `time`.
    pub fn was_heard_within(&self, time: Duration) -> bool {
        self.marks().heard.is_some_and(|at| at.elapsed() < time)
    }

    /// None before its first header.
    fn header_age(&self) -> Option<Duration> {
        let newest = Some(self.newest_timestamp_s.load(Ordering::Relaxed)).filter(|newest| *newest > 0)?;
        let now_s = u64::try_from(self.clock.now_ms() / 1000).unwrap_or(0);
        Some(Duration::from_secs(now_s.saturating_sub(newest)))
    }

    /// Whether its newest header is older than a chain that goes on has it.
    pub fn is_stale(&self) -> bool {
        self.header_age().is_some_and(|age| age > self.header_age_max)
    }

    /// Called also when nothing came, so that the age grows while an endpoint is silent.
    pub fn show_header_age(&self) {
        if let Some(age) = self.header_age() {
            gauge!(names::ENDPOINT_HEADER_AGE_SECONDS, &self.labels()).set(age.as_secs_f64());
        }
    }

    /// Brings the metric up to what is wrong now.
    pub fn show_problem(&self, problem: Option<Problem>) {
        let before = std::mem::replace(&mut self.marks().shown, problem);
        let changed = [(before, 0.0), (problem, 1.0)];
        for (problem, value) in changed.into_iter().filter(|_| before != problem) {
            let Some(problem) = problem else { continue };
            let [chain, endpoint] = self.labels();
            let labels = [chain, endpoint, ("problem", problem.as_str().to_owned())];
            gauge!(names::ENDPOINT_PROBLEM, &labels).set(value);
        }
    }

    pub fn count_request(&self, method: &'static str, outcome: &'static str, took: Duration) {
        let [chain, endpoint] = self.labels();
        let labels = [
            chain,
            endpoint,
            ("method", method.to_owned()),
            ("outcome", outcome.to_owned()),
        ];
        counter!(names::ENDPOINT_REQUESTS_TOTAL, &labels).increment(1);
        histogram!(names::ENDPOINT_REQUEST_SECONDS, &labels[..3]).record(took.as_secs_f64());
    }

    pub fn show_connected(&self, connected: bool) {
        let value = if connected { 1.0 } else { 0.0 };
        gauge!(names::ENDPOINT_CONNECTED, &self.labels()).set(value);
    }

    /// The socket was lost.
    pub fn count_disconnect(&self, reason: &'static str, problem: Problem) {
        self.marks().lost = Some(problem);
        let [chain, endpoint] = self.labels();
        let labels = [chain, endpoint, ("reason", reason.to_owned())];
        counter!(names::ENDPOINT_DISCONNECTS_TOTAL, &labels).increment(1);
    }

    /// Why the socket was lost last.
    pub fn lost(&self) -> Option<Problem> {
        self.marks().lost
    }

    pub fn count_dropped_log(&self) {
        counter!(names::ENDPOINT_STREAMED_LOGS_DROPPED_TOTAL, &self.labels()).increment(1);
    }

    pub fn count_unproven(&self) {
        counter!(names::ENDPOINT_UNPROVEN_TOTAL, &self.labels()).increment(1);
    }

    pub fn count_quarantine(&self) {
        counter!(names::ENDPOINT_QUARANTINES_TOTAL, &self.labels()).increment(1);
    }

    pub fn failed(&self, method: &'static str, failure: Failure) -> ChainError {
        ChainError::Request {
            endpoint: Arc::clone(&self.endpoint),
            method,
            class: failure.class,
            message: self.scrubbed(&failure.message),
        }
    }

    pub fn unproven(&self, number: u64, reason: Unproven) -> ChainError {
        self.count_unproven();
        ChainError::Unproven {
            endpoint: Arc::clone(&self.endpoint),
            number,
            reason,
        }
    }

    /// Whether it is another chain's endpoint, as far as it was asked.
    pub fn stranger(&self) -> Option<Problem> {
        if self.wrong_chain.load(Ordering::Relaxed) {
            Some(Problem::WrongChain)
        } else if self.wrong_genesis.load(Ordering::Relaxed) {
            Some(Problem::WrongGenesis)
        } else {
            None
        }
    }

    /// Notes what `eth_chainId` said, and whether it is the configured chain.
    pub fn check_chain(&self, found: u64) -> Result<(), Failure> {
        let wrong = found != self.chain_id.0;
        if !self.wrong_chain.swap(wrong, Ordering::Relaxed) && wrong {
            tracing::error!(
                chain = %self.chain, endpoint = %self.endpoint, found, "the endpoint serves another chain: it is not used"
            );
        }
        if wrong {
            let expected = self.chain_id;
            let message = format!("serves chain {found} instead of {expected}");
            return Err(Failure::transport(message).showing(Problem::WrongChain));
        }
        Ok(())
    }

    /// Notes the hash of block 0 that it gave, and whether it is the expected one. A node that keeps no block 0 contradicts
    /// nothing, and that is told once: what it says is of our chain only as far as it links to what we read.
    ///
    /// # Errors
    /// Another genesis, or no answer.
    pub fn check_genesis(&self, expected: B256, found: Result<B256, Failure>) -> Result<(), Failure> {
        let found = match found {
            Ok(found) => found,
            Err(failure) if failure.class.is_lacking() => {
                if !self.genesis_untold.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        chain = %self.chain, endpoint = %self.endpoint, error = self.scrubbed(&failure.message),
                        "the endpoint does not give block 0, so only its chain id says that it serves this chain"
                    );
                }
                expected
            }
            Err(failure) => return Err(failure),
        };
        let wrong = found != expected;
        if !self.wrong_genesis.swap(wrong, Ordering::Relaxed) && wrong {
            tracing::error!(
                chain = %self.chain, endpoint = %self.endpoint, %found, %expected,
                "the endpoint serves a chain with another genesis: it is not used"
            );
        }
        if wrong {
            return Err(Failure::transport("has another genesis").showing(Problem::WrongGenesis));
        }
        Ok(())
    }
}

/// The long parts of the URLs, which are kept out of every message.
fn secrets<'a>(urls: impl Iterator<Item = &'a SecretString>) -> Vec<SecretString> {
    let parts = urls.flat_map(|url| {
        url.expose_secret()
            .split(['/', '?', '&', '=', '@', ':', '.', '#'])
    });
    parts
        .filter(|part| part.len() >= MIN_SECRET_BYTES)
        .map(SecretString::from)
        .collect()
}
