//! Putting an endpoint aside whose answers do not prove what they claim: pure, the caller brings the time.
//!
//! It is asked last while it lasts, and not refused: where all are aside, their proofs are judged one by one as ever.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(5);

/// Since when an endpoint is not believed, and for how long.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    until: Option<Instant>,
    length: Duration,
}

impl Quarantine {
    /// Whether it is put aside now.
    pub fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// A proof failed. Soon after an earlier quarantine the next is twice as long. Says whether this begins one.
    pub fn failed(&mut self, now: Instant) -> bool {
        if self.holds(now) {
            return false;
        }
        let again = self.until.is_some_and(|until| now < until + 2 * self.length);
        self.length = if again {
            (2 * self.length).min(LONGEST)
        } else {
            FIRST
        };
        self.until = Some(now + self.length);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_by_itself_and_grows_with_repetition_up_to_a_bound() {
        let mut quarantine = Quarantine::default();
        let mut now = Instant::now();
        assert!(!quarantine.holds(now));
        let mut lengths = Vec::new();
        for _ in 0..9 {
            assert!(quarantine.failed(now));
            assert!(quarantine.holds(now));
            assert!(!quarantine.failed(now), "what fails within is known already");
            lengths.push(quarantine.length.as_secs());
            now += quarantine.length;
            assert!(!quarantine.holds(now));
        }
        assert_eq!(lengths, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
        now += 2 * LONGEST;
        assert!(quarantine.failed(now));
        assert_eq!(quarantine.length, FIRST, "long after, it is the first again");
    }
}
