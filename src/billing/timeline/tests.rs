use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::random::Random;
use super::*;
use crate::domain::Amount;

const DAY_MS: i64 = 86_400_000;
const RANKS: [(&str, u32); 3] = [("starter", 1), ("pro", 2), ("business", 3)];

fn at(text: &str) -> Millis {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

fn usd(text: &str) -> Credit {
    Credit::of(Amount::from_units(text, 18).unwrap(), 18)
}

/// A purchase whose charge is named by its order.
fn bought(order: usize, plan: &str, paid_at: Millis, interval: Interval, value: &str) -> Purchase {
    let rank = RANKS.iter().find(|(name, _)| *name == plan).unwrap().1;
    Purchase {
        charge: format!("chg_{order:03}").parse().unwrap(),
        plan: PlanId::from(plan),
        rank,
        interval,
        paid_at,
        quoted_at: paid_at,
        not_before: None,
        unit: "USD".to_owned(),
        value: usd(value),
    }
}

fn month(order: usize, plan: &str, paid_at: &str, value: &str) -> Purchase {
    bought(order, plan, at(paid_at), Interval::Month, value)
}

/// The line as plan, start and end.
fn line(timeline: &Timeline) -> Vec<(String, Millis, Millis)> {
    let segments = timeline.segments.iter();
    segments
        .map(|segment| (segment.plan.to_string(), segment.start, segment.end))
        .collect()
}

fn assert_line(purchases: &[Purchase], grace_ms: i64, expected: &[(&str, &str, &str)]) -> Timeline {
    let timeline = lay_out(purchases, grace_ms);
    let expected: Vec<_> = expected
        .iter()
        .map(|(plan, start, end)| ((*plan).to_owned(), at(start), at(end)))
        .collect();
    assert_eq!(line(&timeline), expected);
    timeline
}

#[test]
fn months_keep_the_anchor_day_from_31_to_28_to_31() {
    let first = month(0, "pro", "2025-01-31T12:00:00Z", "25");
    let early = month(1, "pro", "2025-02-10T00:00:00Z", "25");
    assert_line(
        &[early, first],
        0,
        &[
            ("pro", "2025-01-31T12:00:00Z", "2025-02-28T12:00:00Z"),
            ("pro", "2025-02-28T12:00:00Z", "2025-03-31T12:00:00Z"),
        ],
    );
}

#[test]
fn a_year_is_twelve_months_by_the_calendar_in_utc() {
    // The same instant, written in another zone: the anchor is UTC's 29th, not the 28th of that place.
    let leap = bought(0, "pro", at("2024-02-28T19:30:00-05:00"), Interval::Year, "250");
    let next = bought(1, "pro", at("2024-12-01T00:00:00Z"), Interval::Year, "250");
    assert_line(
        &[leap, next],
        0,
        &[
            ("pro", "2024-02-29T00:30:00Z", "2025-02-28T00:30:00Z"),
            ("pro", "2025-02-28T00:30:00Z", "2026-02-28T00:30:00Z"),
        ],
    );
}

#[test]
fn paying_in_grace_extends_from_the_old_end_and_paying_later_begins_anew() {
    let first = month(0, "pro", "2025-01-31T12:00:00Z", "25");
    for (paid_at, start, end) in [
        (
            "2025-02-28T12:00:00Z",
            "2025-02-28T12:00:00Z",
            "2025-03-31T12:00:00Z",
        ),
        (
            "2025-03-03T11:59:59.999Z",
            "2025-02-28T12:00:00Z",
            "2025-03-31T12:00:00Z",
        ),
        (
            "2025-03-03T12:00:00Z",
            "2025-03-03T12:00:00Z",
            "2025-04-03T12:00:00Z",
        ),
    ] {
        assert_line(
            &[first.clone(), month(1, "pro", paid_at, "25")],
            3 * DAY_MS,
            &[
                ("pro", "2025-01-31T12:00:00Z", "2025-02-28T12:00:00Z"),
                ("pro", start, end),
            ],
        );
    }
    // Another plan in that time owes the old one nothing.
    assert_line(
        &[first, month(1, "starter", "2025-03-01T00:00:00Z", "8")],
        3 * DAY_MS,
        &[
            ("pro", "2025-01-31T12:00:00Z", "2025-02-28T12:00:00Z"),
            ("starter", "2025-03-01T00:00:00Z", "2025-04-01T00:00:00Z"),
        ],
    );
}

#[test]
fn an_upgrade_begins_at_once_and_gives_back_20_of_30_days() {
    let pro = month(0, "pro", "2025-06-01T00:00:00Z", "25");
    let business = month(1, "business", "2025-06-11T00:00:00Z", "75");
    let timeline = assert_line(
        &[pro, business.clone()],
        0,
        &[
            ("pro", "2025-06-01T00:00:00Z", "2025-06-11T00:00:00Z"),
            ("business", "2025-06-11T00:00:00Z", "2025-07-11T00:00:00Z"),
        ],
    );
    let back: Vec<_> = timeline.returned_by(&business.charge).collect();
    assert_eq!(back, [("USD", usd("16.666666666666666666"))]);
    let asked = Amount::from(75_000_000).saturating_sub(back[0].1.to_amount(6));
    assert_eq!(asked.to_units(6), "58.333334");
}

#[test]
fn an_upgrade_is_valued_as_of_its_quote_and_gives_back_what_was_paid_ahead() {
    let pro = month(0, "pro", "2025-06-01T00:00:00Z", "25");
    let ahead = month(1, "pro", "2025-06-02T00:00:00Z", "25");
    let business = Purchase {
        quoted_at: at("2025-06-11T00:00:00Z"),
        ..month(2, "business", "2025-06-12T00:00:00Z", "75")
    };
    let timeline = lay_out(&[pro, ahead, business.clone()], 0);
    assert_eq!(timeline.segments.len(), 2);
    assert_eq!(timeline.segments[0].end, business.paid_at);
    let back: Vec<_> = timeline.returned_by(&business.charge).collect();
    assert_eq!(back, [("USD", usd("16.666666666666666666")), ("USD", usd("25"))]);
}

#[test]
fn a_lower_plan_begins_when_the_higher_one_ends_and_the_higher_goes_on_before_it() {
    let pro = month(0, "pro", "2025-06-01T00:00:00Z", "25");
    let lower = month(1, "starter", "2025-06-11T00:00:00Z", "8");
    let timeline = assert_line(
        &[pro.clone(), lower.clone()],
        0,
        &[
            ("pro", "2025-06-01T00:00:00Z", "2025-07-01T00:00:00Z"),
            ("starter", "2025-07-01T00:00:00Z", "2025-08-01T00:00:00Z"),
        ],
    );
    assert!(timeline.returned.is_empty());
    // Who pays for the higher plan after all has it, and the lower one back.
    let again = month(2, "pro", "2025-06-20T00:00:00Z", "25");
    let timeline = assert_line(
        &[pro, lower, again.clone()],
        0,
        &[
            ("pro", "2025-06-01T00:00:00Z", "2025-07-01T00:00:00Z"),
            ("pro", "2025-07-01T00:00:00Z", "2025-08-01T00:00:00Z"),
        ],
    );
    assert_eq!(
        timeline.returned_by(&again.charge).collect::<Vec<_>>(),
        [("USD", usd("8"))]
    );
}

#[test]
fn a_queued_period_begins_when_what_it_waits_for_ends() {
    let queued = Purchase {
        not_before: Some(at("2025-06-20T00:00:00Z")),
        ..month(0, "pro", "2025-06-01T00:00:00Z", "25")
    };
    assert_line(
        std::slice::from_ref(&queued),
        0,
        &[("pro", "2025-06-20T00:00:00Z", "2025-07-20T00:00:00Z")],
    );
    // That had ended when it was paid.
    let late = Purchase {
        paid_at: at("2025-06-25T00:00:00Z"),
        ..queued
    };
    assert_line(
        &[late],
        0,
        &[("pro", "2025-06-25T00:00:00Z", "2025-07-25T00:00:00Z")],
    );
}

#[test]
fn a_reversed_payment_leaves_what_would_have_been_without_it() {
    let pro = month(0, "pro", "2025-06-01T00:00:00Z", "25");
    let business = month(1, "business", "2025-06-11T00:00:00Z", "75");
    let with = lay_out(&[pro.clone(), business.clone()], 0);
    assert_eq!(
        lay_out(std::slice::from_ref(&pro), 0).segments[0].end,
        at("2025-07-01T00:00:00Z")
    );
    // It comes back, and nothing is longer than it was.
    assert_eq!(lay_out(&[business, pro], 0), with);
}

#[test]
fn what_never_began_is_given_back_whole() {
    let waits_for_ever = Purchase {
        not_before: Some(Millis::MAX),
        ..month(0, "pro", "2025-06-01T00:00:00Z", "25")
    };
    let business = month(1, "business", "2025-06-11T00:00:00Z", "75");
    let timeline = assert_line(
        &[waits_for_ever, business.clone()],
        0,
        &[("business", "2025-06-11T00:00:00Z", "2025-07-11T00:00:00Z")],
    );
    let back: Vec<_> = timeline.returned_by(&business.charge).collect();
    assert_eq!(back, [("USD", usd("25"))]);
}

#[test]
fn a_time_beyond_all_calendars_is_no_panic() {
    let far = bought(0, "pro", i64::MAX, Interval::Year, "25");
    let early = bought(1, "starter", i64::MIN, Interval::Month, "25");
    assert_eq!(lay_out(&[far.clone(), early, far], i64::MAX).segments.len(), 3);
}

/// What the line is, day by day: whose each day is.
pub(in crate::billing) type Days = BTreeMap<i64, usize>;

/// The rules again, the slow way: a calendar on which each purchase crosses out its days, and its share of each day.
pub(in crate::billing) fn by_hand(purchases: &[Purchase], grace_days: i64) -> (Days, Vec<Credit>) {
    let mut days = Days::new();
    let mut worth: Vec<Credit> = purchases.iter().map(|purchase| purchase.value).collect();
    let mut returned = vec![Credit::ZERO; purchases.len()];
    for (order, purchase) in purchases.iter().enumerate() {
        let paid_on = purchase.paid_at / DAY_MS;
        let from = purchase.not_before.map_or(paid_on, |at| paid_on.max(at / DAY_MS));
        let worth_from = if from == paid_on {
            from.min(purchase.quoted_at / DAY_MS)
        } else {
            from
        };
        let better = days
            .iter()
            .rev()
            .find(|(day, of)| **day >= from && purchases[**of].rank >= purchase.rank)
            .map(|(day, _)| *day);
        let mut start = better.map_or(from, |day| day + 1);
        for (of, worth) in worth.iter_mut().enumerate().take(order) {
            let days_of = |from: i64| -> Vec<i64> {
                let whose = days.iter().filter(|(day, whose)| **whose == of && **day >= from);
                whose.map(|(day, _)| *day).collect()
            };
            let mine = days_of(start);
            if mine.is_empty() {
                continue;
            }
            let (left, all) = (days_of(worth_from).len(), days_of(i64::MIN).len());
            let share = worth.share(left as u64, all as u64);
            *worth = worth.minus(share);
            returned[order] = returned[order].plus(share);
            for day in mine {
                days.remove(&day);
            }
        }
        if better.is_none()
            && let Some((last, of)) = days.last_key_value()
            && purchases[*of].plan == purchase.plan
            && from < last + 1 + grace_days
        {
            start = last + 1;
        }
        let mut anchor = start;
        while days
            .get(&(anchor - 1))
            .is_some_and(|of| purchases[*of].plan == purchase.plan)
        {
            anchor -= 1;
        }
        let end = add_interval(anchor * DAY_MS, start * DAY_MS, purchase.interval, 1) / DAY_MS;
        days.extend((start..end).map(|day| (day, order)));
    }
    (days, returned)
}

fn random_purchases(random: &mut Random) -> Vec<Purchase> {
    let first = at("2023-12-30T00:00:00Z");
    let day = |random: &mut Random, within| i64::try_from(random.below(within)).unwrap() * DAY_MS;
    let count = random.below(7);
    let mut times: Vec<i64> = (0..count).map(|_| first + day(random, 500)).collect();
    times.sort_unstable();
    let purchases = times.into_iter().enumerate().map(|(order, paid_at)| {
        let plan = random.pick(&["starter", "pro", "pro", "business"]);
        let interval = random.pick(&[Interval::Month, Interval::Month, Interval::Year]);
        let mut purchase = bought(
            order,
            plan,
            paid_at,
            interval,
            random.pick(&["8", "25", "75.000001"]),
        );
        purchase.not_before = (random.below(5) == 0).then(|| paid_at + day(random, 60));
        purchase.quoted_at = paid_at - day(random, 4);
        purchase
    });
    purchases.collect()
}

#[test]
fn any_payments_in_any_order_are_laid_out_as_by_hand() {
    let mut random = Random::new(2);
    let (mut given_back, mut queued) = (0, 0);
    for _ in 0..3_000 {
        let grace_days = random.pick(&[0, 3, 14]);
        let mut purchases = random_purchases(&mut random);
        let (days, returned) = by_hand(&purchases, grace_days);
        let timeline = lay_out(&purchases, grace_days * DAY_MS);
        let mut laid = Days::new();
        for segment in &timeline.segments {
            let order = purchases
                .iter()
                .position(|purchase| purchase.charge == segment.charge);
            laid.extend((segment.start / DAY_MS..segment.end / DAY_MS).map(|day| (day, order.unwrap())));
        }
        assert_eq!(laid, days, "{purchases:?}");
        for (purchase, expected) in purchases.iter().zip(&returned) {
            let back = timeline.returned_by(&purchase.charge);
            let back = back.fold(Credit::ZERO, |sum, (_, value)| sum.plus(value));
            assert_eq!(back, *expected, "{purchases:?}");
            given_back += usize::from(!back.is_zero());
            queued += usize::from(purchase.not_before.is_some());
        }
        random.shuffle(&mut purchases);
        assert_eq!(
            lay_out(&purchases, grace_days * DAY_MS),
            timeline,
            "order matters"
        );
    }
    assert!(given_back > 500 && queued > 500, "{given_back} {queued}");
}
