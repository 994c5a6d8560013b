//! Calendar periods, and the period that payments have bought.
//!
//! All in UTC and by block time. A period is a fold of the payments in force, never a date that is moved on: take one
//! payment away, fold again, and it is what it would have been without that payment.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::domain::{Interval, Millis};

/// One payment for one interval of a plan, in force: not orphaned, and enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Paid {
    /// The time of its block.
    pub at: Millis,
    /// What it bought.
    pub interval: Interval,
}

/// A time that was paid for without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// When the payment came that began it. Its day of the month is the anchor of every later end.
    pub start: Millis,
    /// The first instant that is not paid for.
    pub end: Millis,
}

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

/// The period that `paid` has bought, whatever its order; none without a payment. The payments are those of one plan.
///
/// Paying before the end extends from the end. So does paying within `grace_ms` after it: the days in between were
/// used. Paying later begins a new period, with a new anchor, at the payment.
#[must_use]
pub fn fold_periods(paid: &[Paid], grace_ms: i64) -> Option<Period> {
    let mut paid = paid.to_vec();
    paid.sort_unstable();
    paid.into_iter().fold(None, |period: Option<Period>, payment| {
        let goes_on = period.filter(|period| payment.at < period.end.saturating_add(grace_ms.max(0)));
        let (start, from) = goes_on.map_or((payment.at, payment.at), |period| (period.start, period.end));
        Some(Period {
            start,
            end: add_interval(start, from, payment.interval, 1),
        })
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

    fn paid(text: &str, interval: Interval) -> Paid {
        Paid {
            at: at(text),
            interval,
        }
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
        let far = Paid {
            at: i64::MAX,
            interval: Interval::Month,
        };
        assert!(fold_periods(&[far, far], i64::MAX).is_some());
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

    #[test]
    fn paying_early_extends_from_the_end() {
        let first = paid("2025-01-31T12:00:00Z", Interval::Month);
        let early = paid("2025-02-10T00:00:00Z", Interval::Month);
        assert_eq!(
            fold_periods(&[first, early], 0),
            Some(Period {
                start: first.at,
                end: at("2025-03-31T12:00:00Z")
            })
        );
    }

    #[test]
    fn paying_in_grace_extends_from_the_old_end_and_paying_later_begins_anew() {
        let first = paid("2025-01-31T12:00:00Z", Interval::Month);
        let end = at("2025-02-28T12:00:00Z");
        for (after_ms, expected) in [
            (0, (first.at, "2025-03-31T12:00:00Z")),
            (3 * DAY_MS - 1, (first.at, "2025-03-31T12:00:00Z")),
            (3 * DAY_MS, (end + 3 * DAY_MS, "2025-04-03T12:00:00Z")),
        ] {
            let late = Paid {
                at: end + after_ms,
                interval: Interval::Month,
            };
            let expected = Period {
                start: expected.0,
                end: at(expected.1),
            };
            assert_eq!(fold_periods(&[first, late], 3 * DAY_MS), Some(expected));
        }
        let at_the_end = Paid {
            at: end,
            interval: Interval::Month,
        };
        assert_eq!(
            fold_periods(&[first, at_the_end], 0).map(|period| period.start),
            Some(end)
        );
    }

    #[test]
    fn a_reversed_payment_leaves_what_would_have_been_without_it() {
        let january = paid("2025-01-31T00:00:00Z", Interval::Month);
        let february = paid("2025-02-20T00:00:00Z", Interval::Month);
        let march = paid("2025-03-15T00:00:00Z", Interval::Year);
        assert_eq!(
            fold_periods(&[january, february, march], 0).map(|period| period.end),
            Some(at("2026-03-31T00:00:00Z"))
        );
        // Without February the second payment came after the end, and began anew.
        assert_eq!(
            fold_periods(&[january, march], 0),
            Some(Period {
                start: march.at,
                end: at("2026-03-15T00:00:00Z")
            })
        );
        assert_eq!(fold_periods(&[], 0), None);
    }

    /// The rule of the specification, written the slow way: day by day nothing, month by month everything.
    fn by_hand(paid: &[Paid], grace_ms: i64) -> Option<Period> {
        let mut left = paid.to_vec();
        let (mut period, mut months): (Option<Period>, u32) = (None, 0);
        while !left.is_empty() {
            let first = (0..left.len()).min_by_key(|index| left[*index]).unwrap();
            let payment = left.remove(first);
            let bought = if payment.interval == Interval::Year { 12 } else { 1 };
            let start = match period {
                Some(period) if payment.at < period.end + grace_ms => period.start,
                _ => {
                    months = 0;
                    payment.at
                }
            };
            months += bought;
            let end = add_interval(start, start, Interval::Month, months);
            period = Some(Period { start, end });
        }
        period
    }

    #[test]
    fn any_payments_in_any_order_fold_as_by_hand() {
        let mut random = Random::new(2);
        for _ in 0..3_000 {
            let grace_ms = random.pick(&[0, 3 * DAY_MS, 14 * DAY_MS]);
            let mut payments: Vec<Paid> = (0..random.below(8))
                .map(|_| Paid {
                    at: at("2023-12-30T00:00:00Z") + i64::try_from(random.below(900)).unwrap() * DAY_MS,
                    interval: random.pick(&[Interval::Month, Interval::Month, Interval::Year]),
                })
                .collect();
            let folded = fold_periods(&payments, grace_ms);
            assert_eq!(folded, by_hand(&payments, grace_ms));
            random.shuffle(&mut payments);
            assert_eq!(
                folded,
                fold_periods(&payments, grace_ms),
                "order matters: {payments:?}"
            );
            if let Some(removed) = payments.pop() {
                let without = fold_periods(&payments, grace_ms);
                assert_eq!(without, by_hand(&payments, grace_ms));
                payments.push(removed);
                assert_eq!(
                    folded,
                    fold_periods(&payments, grace_ms),
                    "reinstated: {payments:?}"
                );
            }
        }
    }
}
