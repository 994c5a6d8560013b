//! Calendar periods, in UTC.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::domain::{Interval, Millis};

/// `start` moved on by `n` intervals, on the day of the month of `anchor`, or the last day of a shorter month: with an
/// anchor on the 31st, January 31, February 28, March 31. The time of day stays that of `start`. A time outside the
/// years -9999 to 9999 is taken for the nearest within.
#[must_use]
pub fn add_interval(anchor: Millis, start: Millis, interval: Interval, n: u32) -> Millis {
    let months_each = match interval {
        Interval::Month => 1,
        Interval::Year => 12,
    };
    let months = i64::from(n).saturating_mul(months_each);
    let from = date_time(start);
    let moved = month_of(from.date())
        .checked_add(months)
        .and_then(|month| date_in(month, date_time(anchor).day()))
        .and_then(|date| date.to_datetime(from.time()).to_zoned(TimeZone::UTC).ok());
    moved.map_or(Timestamp::MAX.as_millisecond(), |moved| {
        moved.timestamp().as_millisecond()
    })
}

fn date_time(at: Millis) -> jiff::civil::DateTime {
    let within = at.clamp(Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond());
    Timestamp::from_millisecond(within)
        .unwrap_or(Timestamp::MAX)
        .to_zoned(TimeZone::UTC)
        .datetime()
}

/// Months since the beginning of the year zero.
fn month_of(date: Date) -> i64 {
    i64::from(date.year()) * 12 + i64::from(date.month()) - 1
}

fn date_in(month: i64, day: i8) -> Option<Date> {
    let year = i16::try_from(month.div_euclid(12)).ok()?;
    let month = i8::try_from(month.rem_euclid(12) + 1).ok()?;
    let first = Date::new(year, month, 1).ok()?;
    Date::new(year, month, day.min(first.days_in_month())).ok()
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;

    fn at(text: &str) -> Millis {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn the_anchor_day_survives_short_months() {
        let anchor = at("2025-01-31T10:20:30.456Z");
        let mut end = anchor;
        for expected in [
            "2025-02-28T10:20:30.456Z",
            "2025-03-31T10:20:30.456Z",
            "2025-04-30T10:20:30.456Z",
            "2025-05-31T10:20:30.456Z",
        ] {
            end = add_interval(anchor, end, Interval::Month, 1);
            assert_eq!(end, at(expected));
        }
        assert_eq!(
            add_interval(anchor, anchor, Interval::Month, 13),
            at("2026-02-28T10:20:30.456Z")
        );
    }

    #[test]
    fn leap_days_come_back() {
        let anchor = at("2024-02-29T00:00:00Z");
        let mut end = anchor;
        for expected in ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"] {
            end = add_interval(anchor, end, Interval::Year, 1);
            assert_eq!(end, at(&format!("{expected}T00:00:00Z")));
        }
        let january = at("2024-01-30T23:59:59.999Z");
        assert_eq!(
            add_interval(january, january, Interval::Month, 1),
            at("2024-02-29T23:59:59.999Z")
        );
    }

    #[test]
    fn a_time_beyond_all_calendars_is_no_panic() {
        let last = Timestamp::MAX.as_millisecond();
        for (start, n) in [(i64::MAX, 1), (i64::MIN, u32::MAX), (0, u32::MAX), (last, 1)] {
            assert_eq!(add_interval(start, start, Interval::Year, n), last);
        }
        assert!(add_interval(i64::MIN, i64::MIN, Interval::Month, 0) < 0);
    }

    #[test]
    fn steps_add_up() {
        let mut random = Random::new(1);
        for _ in 0..2_000 {
            let anchor =
                at("2000-01-01T00:00:00Z") + i64::try_from(random.below(40 * 365 * 86_400_000)).unwrap();
            let mut stepped = anchor;
            for months in 1..=30 {
                let next = add_interval(anchor, stepped, Interval::Month, 1);
                assert!((28..=31).contains(&((next - stepped) / DAY_MS)));
                assert_eq!(next, add_interval(anchor, anchor, Interval::Month, months));
                stepped = next;
            }
            assert_eq!(
                add_interval(anchor, anchor, Interval::Year, 2),
                add_interval(anchor, anchor, Interval::Month, 24)
            );
        }
    }
}
