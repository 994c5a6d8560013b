//! The pause that a provider asked for: pure, the caller brings the time.

use std::time::Duration;

use tokio::time::Instant;

use super::error::ErrorClass;
use crate::retry::Backoff;

/// A provider that says only "too many requests" is left alone for about this long, and longer each time it repeats it.
const MIN_RATE_LIMITED: Duration = Duration::from_secs(1);
const MAX_RATE_LIMITED: Duration = Duration::from_mins(1);
/// An account that ran dry is looked at again after this.
const BILLING: Duration = Duration::from_hours(1);

/// Until when an endpoint is left alone, and why.
#[derive(Debug)]
pub(super) struct Pause {
    until: Option<(Instant, ErrorClass)>,
    backoff: Backoff,
}

impl Pause {
    pub fn new() -> Self {
        Self {
            until: None,
            backoff: Backoff::new(MIN_RATE_LIMITED, MAX_RATE_LIMITED),
        }
    }

    /// What is left of it at `now`, with its reason.
    pub fn left(&self, now: Instant) -> Option<(Duration, ErrorClass)> {
        let (until, class) = self.until.as_ref()?;
        let left = until.saturating_duration_since(now);
        (!left.is_zero()).then(|| (left, class.clone()))
    }

    /// Begins where an answer of this class asks for a pause.
    pub fn asked_for(&mut self, class: &ErrorClass, now: Instant) {
        let length = match class {
            ErrorClass::RateLimited { retry_after } => {
                retry_after.unwrap_or_else(|| self.backoff.next_delay())
            }
            ErrorClass::Billing => BILLING,
            _ => return,
        };
        self.until = Some((now + length, class.clone()));
    }

    pub fn succeeded(&mut self) {
        self.backoff.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lasts_as_long_as_was_asked_for_and_names_its_reason() {
        let mut pause = Pause::new();
        let now = Instant::now();
        assert_eq!(pause.left(now), None);
        pause.asked_for(&ErrorClass::MissingData, now);
        assert_eq!(pause.left(now), None);
        let stated = ErrorClass::RateLimited {
            retry_after: Some(Duration::from_secs(7)),
        };
        pause.asked_for(&stated, now);
        assert_eq!(pause.left(now), Some((Duration::from_secs(7), stated)));
        assert_eq!(pause.left(now + Duration::from_secs(7)), None);
        pause.asked_for(&ErrorClass::Billing, now);
        assert_eq!(pause.left(now), Some((BILLING, ErrorClass::Billing)));
    }

    #[test]
    fn it_grows_where_no_length_was_stated() {
        let mut pause = Pause::new();
        let now = Instant::now();
        let mut longest = Duration::ZERO;
        for _ in 0..100 {
            pause.asked_for(&ErrorClass::RateLimited { retry_after: None }, now);
            longest = longest.max(pause.left(now).unwrap().0);
        }
        assert!(
            (MIN_RATE_LIMITED * 2..=MAX_RATE_LIMITED).contains(&longest),
            "{longest:?}"
        );
        pause.succeeded();
        pause.asked_for(&ErrorClass::RateLimited { retry_after: None }, now);
        assert!(pause.left(now).unwrap().0 <= MIN_RATE_LIMITED * 2);
    }
}
