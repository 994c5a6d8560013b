//! Putting an endpoint aside whose answers do not prove what they claim, or whose chain contradicts what was final: pure, the
//! caller brings the time.
//!
//! It is asked last while it lasts, and not refused: where all are aside, their proofs are judged one by one as ever.

use std::time::Duration;

use tokio::time::Instant;

use super::error::Problem;

const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(5);

/// Since when an endpoint is not believed, and for how long.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    until: Option<Instant>,
    length: Duration,
    contradicts: bool,
}

impl Quarantine {
    /// Whether it is put aside now.
    pub fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Why it is put aside now.
    pub fn problem(&self, now: Instant) -> Option<Problem> {
        let problem = if self.contradicts {
            Problem::ContradictsFinal
        } else {
            Problem::Unproven
        };
        self.holds(now).then_some(problem)
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
        self.contradicts = false;
        true
    }

    /// Its chain lacks a block that was final: that is no passing fault. Says whether this begins a quarantine.
    pub fn contradicted(&mut self, now: Instant) -> bool {
        let begins = !self.holds(now);
        *self = Self {
            until: Some(now + LONGEST),
            length: LONGEST,
            contradicts: true,
        };
        begins
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

    #[test]
    fn who_contradicts_what_was_final_is_put_aside_for_long_at_once() {
        let mut quarantine = Quarantine::default();
        let now = Instant::now();
        assert!(quarantine.failed(now));
        assert_eq!(quarantine.problem(now), Some(Problem::Unproven));
        assert!(!quarantine.contradicted(now), "it is put aside already");
        assert_eq!(
            quarantine.problem(now + LONGEST / 2),
            Some(Problem::ContradictsFinal)
        );
        assert_eq!(quarantine.problem(now + LONGEST), None);
        assert!(quarantine.failed(now + LONGEST));
        assert_eq!(quarantine.problem(now + LONGEST), Some(Problem::Unproven));
    }
}
