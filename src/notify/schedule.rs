//! When a webhook is tried again, and what an answer means.
//!
//! Owns the table of delays, which is the one of Standard Webhooks. Must not draw its own luck: the jitter is given, so that a
//! test can say when.

use std::time::Duration;

/// Before each attempt after the first, without jitter.
const DELAYS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];
/// A delay is between 1 - this and 1 + this of its entry.
const JITTER: f64 = 0.2;

/// What a receiver's answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has the event.
    Delivered,
    /// Try again later.
    Failed,
    /// It wants no event any more: switch the endpoint off.
    Gone,
}

/// Judges an answer by its HTTP status. A redirect is a failure: following one would send a signed event to whom nobody
/// configured.
#[must_use]
pub const fn outcome(status: u16) -> Outcome {
    match status {
        200..=299 => Outcome::Delivered,
        410 => Outcome::Gone,
        _ => Outcome::Failed,
    }
}

/// How long after the failure of attempt number `attempt` (the first is 1) the next one is made; none when it was the last,
/// and the event becomes a dead letter. `jitter` is in 0..=1 and spreads the delay evenly by a fifth both ways; anything else
/// counts as 0.5, which leaves the table's own delay.
#[must_use]
pub fn next_attempt(attempt: u32, jitter: f64) -> Option<Duration> {
    let index = usize::try_from(attempt.checked_sub(1)?).ok()?;
    let luck = if (0.0..=1.0).contains(&jitter) {
        jitter
    } else {
        0.5
    };
    let factor = 1.0 + JITTER * (2.0 * luck - 1.0);
    DELAYS.get(index).map(|delay| delay.mul_f64(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_retries_follow_the_first_attempt() {
        let seconds: Vec<_> = (1..)
            .map_while(|attempt| next_attempt(attempt, 0.5))
            .map(|delay| delay.as_secs())
            .collect();
        assert_eq!(
            seconds,
            [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400]
        );
        assert_eq!(next_attempt(0, 0.5), None);
        assert_eq!(next_attempt(u32::MAX, 0.5), None);
    }

    #[test]
    fn jitter_spreads_by_a_fifth_both_ways() {
        for (jitter, milliseconds) in [
            (0.0, 4000),
            (0.25, 4500),
            (1.0, 6000),
            (-1.0, 5000),
            (1.5, 5000),
            (f64::NAN, 5000),
        ] {
            let delay = next_attempt(1, jitter).unwrap();
            assert_eq!(delay.as_millis(), milliseconds, "{jitter}");
        }
    }

    #[test]
    fn only_2xx_is_a_delivery_and_only_410_ends_them() {
        for (status, expected) in [
            (200, Outcome::Delivered),
            (204, Outcome::Delivered),
            (301, Outcome::Failed),
            (307, Outcome::Failed),
            (404, Outcome::Failed),
            (410, Outcome::Gone),
            (429, Outcome::Failed),
            (500, Outcome::Failed),
            (100, Outcome::Failed),
        ] {
            assert_eq!(outcome(status), expected, "{status}");
        }
    }
}
