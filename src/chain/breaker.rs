//! The circuit breaker of one endpoint: pure, the caller brings the time.
//!
//! It opens after consecutive transport failures, so that a dead endpoint costs no timeouts, and lets one probe through
//! when its delay is over. It must not count errors that a working node sent.

use std::time::Duration;

use tokio::time::Instant;

use crate::retry::Backoff;

/// Consecutive failures that open the circuit.
const OPENS_AFTER: u32 = 5;
const MIN_OPEN: Duration = Duration::from_millis(500);
const MAX_OPEN: Duration = Duration::from_secs(10);

/// Whether requests may pass.
#[derive(Debug)]
pub(super) struct Breaker {
    failures: u32,
    open_until: Option<Instant>,
    backoff: Backoff,
}

impl Breaker {
    pub fn new() -> Self {
        Self {
            failures: 0,
            open_until: None,
            backoff: Backoff::new(MIN_OPEN, MAX_OPEN),
        }
    }

    /// Whether a request would pass now.
    pub fn is_closed(&self, now: Instant) -> bool {
        self.open_until.is_none_or(|until| until <= now)
    }

    /// Takes the right to send. Once the delay is over the first caller becomes the probe, and the others wait on.
    pub fn try_pass(&mut self, now: Instant) -> bool {
        match self.open_until {
            None => true,
            Some(until) if until <= now => {
                self.open_until = Some(now + self.backoff.next_delay());
                true
            }
            Some(_) => false,
        }
    }

    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.open_until = None;
        self.backoff.reset();
    }

    pub fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= OPENS_AFTER && self.open_until.is_none() {
            self.open_until = Some(now + self.backoff.next_delay());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_consecutive_failures_and_lets_one_probe_through() {
        let mut breaker = Breaker::new();
        let start = Instant::now();
        for _ in 1..OPENS_AFTER {
            breaker.failed(start);
            assert!(breaker.try_pass(start));
        }
        breaker.failed(start);
        assert!(!breaker.try_pass(start));
        let later = start + MAX_OPEN;
        assert!(breaker.is_closed(later));
        assert!(breaker.try_pass(later), "the probe");
        assert!(!breaker.try_pass(later), "nobody beside the probe");
        breaker.succeeded();
        assert!(breaker.try_pass(later));
    }

    #[test]
    fn a_success_between_failures_keeps_it_closed() {
        let mut breaker = Breaker::new();
        let now = Instant::now();
        for _ in 0..10 {
            breaker.failed(now);
            breaker.succeeded();
        }
        assert!(breaker.is_closed(now));
    }
}
