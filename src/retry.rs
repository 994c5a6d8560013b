//! Delays between attempts: exponential, with full jitter, for ever.
//!
//! Owns the one use of the `backoff` crate, which is no longer maintained; replacing it touches this file alone. The crate
//! gives the ceilings; the jitter is drawn from the thread's generator, so that a simulation that seeds it (`fastrand::seed`)
//! replays every delay. It must not sleep nor decide what is worth another attempt: it only says how long to wait.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::exponential::{ExponentialBackoff, ExponentialBackoffBuilder};

/// Growing delays between attempts. There is no attempt limit: the caller ends the loop.
#[derive(Debug)]
pub struct Backoff {
    ceilings: ExponentialBackoff<backoff::SystemClock>,
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// Delays from `min` to `max`. Before the n-th attempt the ceiling is `min * 2^n`, at most `max`, and the delay is
    /// drawn evenly below it ("full jitter", so that many clients of one dead endpoint spread out), at least `min`.
    pub fn new(min: Duration, max: Duration) -> Self {
        let max = max.max(min);
        let ceilings = ExponentialBackoffBuilder::new()
            .with_initial_interval((min * 2).min(max))
            .with_max_interval(max)
            .with_multiplier(2.0)
            .with_randomization_factor(0.0)
            .with_max_elapsed_time(None)
            .build();
        Self { ceilings, min, max }
    }

    /// How long to wait before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        let ceiling = self.ceilings.next_backoff().unwrap_or(self.max);
        let ceiling_us = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(fastrand::u64(0..=ceiling_us)).clamp(self.min, self.max)
    }

    /// Starts again from `min`: the last attempt succeeded.
    pub fn reset(&mut self) {
        self.ceilings.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: Duration = Duration::from_millis(10);
    const MAX: Duration = Duration::from_secs(5);

    #[test]
    fn delays_stay_within_their_bounds_for_ever() {
        let mut backoff = Backoff::new(MIN, MAX);
        for attempt in 0..200 {
            let delay = backoff.next_delay();
            assert!((MIN..=MAX).contains(&delay), "attempt {attempt}: {delay:?}");
        }
    }

    #[test]
    fn delays_grow_and_start_again_after_a_reset() {
        let mut backoff = Backoff::new(MIN, MAX);
        assert!(backoff.next_delay() <= MIN * 2);
        let late: Duration = (0..100).map(|_| backoff.next_delay()).sum();
        assert!(
            late > MIN * 200,
            "the mean of late delays is near half of the maximum"
        );
        backoff.reset();
        assert!(backoff.next_delay() <= MIN * 2);
    }

    #[test]
    fn a_seed_replays_every_delay() {
        let delays = || {
            fastrand::seed(7);
            let mut backoff = Backoff::new(MIN, MAX);
            (0..20).map(|_| backoff.next_delay()).collect::<Vec<_>>()
        };
        assert_eq!(delays(), delays());
    }
}
