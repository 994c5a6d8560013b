//! What one endpoint's answers have shown of it lately: whether it is relied on, and what is wrong with it.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::breaker::Breaker;
use super::choice::Latency;
use super::endpoint::lock;
use super::error::{ErrorClass, Failure, Problem};
use super::pause::Pause;
use super::quarantine::Quarantine;

/// Each part is changed by itself.
#[derive(Debug)]
pub(super) struct Standing {
    breaker: Mutex<Breaker>,
    pause: Mutex<Pause>,
    quarantine: Mutex<Quarantine>,
    latency: Mutex<Latency>,
    /// What the last transport failure showed; none after a success.
    trouble: Mutex<Option<Problem>>,
}

impl Standing {
    pub fn new() -> Self {
        Self {
            breaker: Mutex::new(Breaker::new()),
            pause: Mutex::new(Pause::new()),
            quarantine: Mutex::default(),
            latency: Mutex::default(),
            trouble: Mutex::default(),
        }
    }

    /// No open circuit, no pause, no quarantine.
    pub fn is_good(&self) -> bool {
        let now = Instant::now();
        lock(&self.pause).left(now).is_none()
            && !lock(&self.quarantine).holds(now)
            && lock(&self.breaker).is_closed(now)
    }

    /// What is left of the pause that it asked for.
    pub fn pause(&self) -> Option<(Duration, ErrorClass)> {
        lock(&self.pause).left(Instant::now())
    }

    /// Takes the right to send.
    pub fn try_pass(&self) -> bool {
        lock(&self.breaker).try_pass(Instant::now())
    }

    /// A pause or a quarantine.
    pub fn set_aside(&self) -> Option<Problem> {
        match self.pause() {
            Some((_, ErrorClass::Billing)) => Some(Problem::Billing),
            Some(_) => Some(Problem::RateLimited),
            None => self.quarantined(),
        }
    }

    /// Why it is not believed, if it is not.
    pub fn quarantined(&self) -> Option<Problem> {
        lock(&self.quarantine).problem(Instant::now())
    }

    /// What its last answer showed, if it was none.
    pub fn trouble(&self) -> Option<Problem> {
        *lock(&self.trouble)
    }

    pub fn latency(&self) -> Option<Duration> {
        lock(&self.latency).known()
    }

    /// How long one header took.
    pub fn took(&self, time: Duration) {
        lock(&self.latency).add(time);
    }

    /// A proof failed. Says whether that begins a quarantine.
    pub fn unproven(&self) -> bool {
        lock(&self.quarantine).failed(Instant::now())
    }

    /// Its chain lacks a block that was final. Says whether that begins a quarantine.
    pub fn contradicted(&self) -> bool {
        lock(&self.quarantine).contradicted(Instant::now())
    }

    /// A request ended.
    pub fn note(&self, failure: Option<&Failure>) {
        let now = Instant::now();
        if let Some(failure) = failure.filter(|failure| failure.class == ErrorClass::Transport) {
            *lock(&self.trouble) = Some(failure.problem);
            lock(&self.breaker).failed(now);
            return;
        }
        *lock(&self.trouble) = None;
        lock(&self.breaker).succeeded();
        match failure {
            None => lock(&self.pause).succeeded(),
            Some(failure) => lock(&self.pause).asked_for(&failure.class, now),
        }
    }
}
