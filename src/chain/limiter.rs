//! Our own limit of requests a second to one endpoint: governor's, on the runtime's clock.
//!
//! A rate that is not exceeded sets no timer, and a runtime whose time is paused stays so.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

/// The runtime's clock, since the limiter was made.
#[derive(Debug, Clone)]
struct Runtime(Instant);

impl Clock for Runtime {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// So many requests a second; as many at once after a second of rest.
#[derive(Debug)]
pub(super) struct Limiter {
    inner: RateLimiter<NotKeyed, InMemoryState, Runtime, NoOpMiddleware<Duration>>,
    clock: Runtime,
}

impl Limiter {
    pub fn new(requests_per_second: u32) -> Self {
        let rate = NonZeroU32::new(requests_per_second).unwrap_or(NonZeroU32::MIN);
        let clock = Runtime(Instant::now());
        Self {
            inner: RateLimiter::direct_with_clock(Quota::per_second(rate), clock.clone()),
            clock,
        }
    }

    /// Waits until one more request is allowed.
    pub async fn until_ready(&self) {
        while let Err(wait) = self.inner.check() {
            tokio::time::sleep(wait.wait_time_from(self.clock.now())).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept_on_the_runtimes_clock() {
        let limiter = Limiter::new(10);
        let start = Instant::now();
        for _ in 0..10 {
            limiter.until_ready().await;
        }
        assert_eq!(
            start.elapsed(),
            Duration::ZERO,
            "what is within the rate waits for nothing"
        );
        for _ in 0..10 {
            limiter.until_ready().await;
        }
        assert!((Duration::from_millis(999)..Duration::from_millis(1100)).contains(&start.elapsed()));
    }
}
