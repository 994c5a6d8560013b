//! What the two ways to one endpoint share: its names, its request ids, how far it is, and its metrics.
//!
//! The only place of this room that names metrics. Labels are configured names and our own words, never an address.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use metrics::{counter, gauge, histogram};
use secrecy::{ExposeSecret, SecretString};

use super::error::{ChainError, Failure, Unproven, scrub};
use crate::clock::Clock;
use crate::domain::ChainId;
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
    /// The greatest height that it spoke of; zero before the first.
    pub head: AtomicU64,
    /// The height that it gave when polled; may go back.
    pub polled: AtomicU64,
    /// The height that its socket announced last.
    pub streamed: AtomicU64,
    /// Set once it answered for another chain; cleared by a right answer.
    pub wrong_chain: AtomicBool,
    /// A socket was lost: whoever answers now may serve another chain, over HTTP too.
    pub recheck: AtomicBool,
    newest_timestamp_s: AtomicU64,
    next_id: AtomicU64,
    clock: Clock,
    /// What a provider may echo of our URLs.
    secrets: Vec<SecretString>,
}

/// Shorter parts of a URL, such as `v3` or `mainnet`, are no keys.
const MIN_SECRET_BYTES: usize = 12;

impl Identity {
    pub fn new(
        (chain, chain_id): (Arc<str>, ChainId),
        (endpoint, operator): (Arc<str>, Arc<str>),
        clock: Clock,
    ) -> Self {
        Self {
            chain,
            chain_id,
            endpoint,
            operator,
            head: AtomicU64::new(0),
            polled: AtomicU64::new(0),
            streamed: AtomicU64::new(0),
            wrong_chain: AtomicBool::new(false),
            recheck: AtomicBool::new(false),
            newest_timestamp_s: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
            clock,
            secrets: Vec::new(),
        }
    }

    /// Keeps the long parts of these URLs out of every message.
    pub fn keeping_secret<'a>(mut self, urls: impl IntoIterator<Item = &'a SecretString>) -> Self {
        for url in urls {
            let parts = url
                .expose_secret()
                .split(['/', '?', '&', '=', '@', ':', '.', '#']);
            let long = parts.filter(|part| part.len() >= MIN_SECRET_BYTES);
            self.secrets.extend(long.map(SecretString::from));
        }
        self
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
        self.head.fetch_max(number, Ordering::Relaxed);
        self.newest_timestamp_s.fetch_max(timestamp_s, Ordering::Relaxed);
        self.show_header_age();
    }

    /// Called also when nothing came, so that the age grows while an endpoint is silent.
    pub fn show_header_age(&self) {
        let newest = self.newest_timestamp_s.load(Ordering::Relaxed);
        if newest == 0 {
            return;
        }
        let now_s = u64::try_from(self.clock.now_ms() / 1000).unwrap_or(0);
        let age = Duration::from_secs(now_s.saturating_sub(newest));
        gauge!(names::ENDPOINT_HEADER_AGE_SECONDS, &self.labels()).set(age.as_secs_f64());
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

    pub fn count_reconnect(&self, reason: &'static str) {
        let [chain, endpoint] = self.labels();
        let labels = [chain, endpoint, ("reason", reason.to_owned())];
        counter!(names::ENDPOINT_DISCONNECTS_TOTAL, &labels).increment(1);
    }

    pub fn count_dropped_log(&self) {
        counter!(names::ENDPOINT_STREAMED_LOGS_DROPPED_TOTAL, &self.labels()).increment(1);
    }

    pub fn count_unproven(&self) {
        counter!(names::ENDPOINT_UNPROVEN_TOTAL, &self.labels()).increment(1);
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

    /// Notes what `eth_chainId` said, and whether it is the configured chain.
    pub fn check_chain(&self, found: u64) -> Result<(), ChainError> {
        let wrong = found != self.chain_id.0;
        self.wrong_chain.store(wrong, Ordering::Relaxed);
        if !wrong {
            return Ok(());
        }
        tracing::error!(chain = %self.chain, endpoint = %self.endpoint, found, "the endpoint serves another chain");
        Err(ChainError::WrongChain {
            endpoint: Arc::clone(&self.endpoint),
            expected: self.chain_id,
            found: ChainId(found),
        })
    }
}
