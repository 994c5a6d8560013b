//! Keys that an issuer publishes at a URL, as they were fetched last. The job `jwks` fetches them; who meets the name of a
//! key that is not known asks it to fetch early, and waits a little.
//!
//! However many ask, and whatever they name, an early fetch comes at most once in [`Published::MIN_INTERVAL`].

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use super::TokenError;
use super::keys::{KeySet, KeySetError};
use crate::config::KeyAlgorithm;
use crate::domain::Millis;

/// The longest that a request waits for an early fetch.
const MAX_WAIT: Duration = Duration::from_secs(3);

/// The most requests that wait at once.
const MAX_WAITING: usize = 64;

/// The keys in use.
#[derive(Debug)]
pub struct Published {
    max_age: Duration,
    state: watch::Sender<State>,
    wanted: Notify,
    waiting: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    fetched: Option<Fetched>,
    /// When the last fetch began.
    began: Option<Instant>,
    is_fetching: bool,
}

#[derive(Debug, Clone)]
struct Fetched {
    keys: Arc<KeySet>,
    at: Millis,
}

impl Published {
    /// The least time between an early fetch and the one before.
    pub const MIN_INTERVAL: Duration = Duration::from_secs(10);

    /// No keys yet; those that come are used for `max_age`.
    #[must_use]
    pub fn new(max_age: Duration) -> Self {
        Self {
            max_age,
            state: watch::Sender::default(),
            wanted: Notify::new(),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }

    /// Waits until somebody has met a key that is not known, and an early fetch is due.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
        let began = self.state.borrow().began;
        if let Some(began) = began {
            tokio::time::sleep_until(began + Self::MIN_INTERVAL).await;
        }
    }

    /// A fetch begins.
    pub fn begin(&self) {
        self.state.send_modify(|state| {
            state.began = Some(Instant::now());
            state.is_fetching = true;
        });
    }

    /// The fetch has ended: `answer` is the body of the answer, `None` where there was no good one. What was in use stays
    /// in use unless the body holds keys.
    ///
    /// # Errors
    /// The body is no set of keys.
    pub fn end(&self, answer: Option<&[u8]>, now: Millis) -> Result<(), KeySetError> {
        let parsed = answer.map(KeySet::parse).transpose();
        self.state.send_modify(|state| {
            state.is_fetching = false;
            if let Ok(Some(keys)) = &parsed {
                let keys = Arc::new(keys.clone());
                state.fetched = Some(Fetched { keys, at: now });
            }
        });
        parsed.map(|_| ())
    }

    /// How old the keys in use are; `None` before the first.
    #[must_use]
    pub fn age(&self, now: Millis) -> Option<Duration> {
        let state = self.state.borrow();
        state.fetched.as_ref().map(|fetched| fetched.age(now))
    }

    pub(super) async fn find(
        &self,
        name: Option<&str>,
        algorithm: KeyAlgorithm,
        now: Millis,
    ) -> Result<DecodingKey, TokenError> {
        let find = || {
            let keys = self.usable(now).ok_or(TokenError::NoKeys)?;
            let key = keys.find(name, algorithm).cloned();
            key.ok_or(TokenError::Signature)
        };
        if let Ok(key) = find() {
            return Ok(key);
        }
        self.refreshed().await;
        find()
    }

    fn usable(&self, now: Millis) -> Option<Arc<KeySet>> {
        let state = self.state.borrow();
        let fetched = state.fetched.as_ref()?;
        (fetched.age(now) <= self.max_age).then(|| Arc::clone(&fetched.keys))
    }

    /// Waits for the end of the fetch under way, or of an early one where it is time for one.
    async fn refreshed(&self) {
        let Ok(_turn) = self.waiting.try_acquire() else {
            return;
        };
        let mut state = self.state.subscribe();
        let (before, is_fetching) = {
            let state = state.borrow_and_update();
            (state.began, state.is_fetching)
        };
        if !is_fetching && before.is_some_and(|began| began.elapsed() < Self::MIN_INTERVAL) {
            return;
        }
        if !is_fetching {
            self.wanted.notify_one();
        }
        let ended = state.wait_for(|state| !state.is_fetching && (is_fetching || state.began != before));
        // Late or not, what is in use by then is all there is.
        drop(tokio::time::timeout(MAX_WAIT, ended).await);
    }
}

impl Fetched {
    fn age(&self, now: Millis) -> Duration {
        Duration::from_millis(u64::try_from(now.saturating_sub(self.at)).unwrap_or(0))
    }
}
