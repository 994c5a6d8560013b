use alloy::primitives::{Address, B256};

use super::super::fold::gives_access;
use super::super::random::Random;
use super::*;
use crate::domain::{ChainId, ChargeTerms, Flags, Interval, Quote, Totals};

const HOUR: Millis = 3_600_000;
pub(super) const DAY: Millis = 24 * HOUR;
const GRACES: Graces = Graces {
    renewal_ms: DAY,
    reversal_ms: HOUR,
};

pub(super) fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

pub(super) fn usd(units: i64) -> Credit {
    let size = Credit::of(Amount::from(units.unsigned_abs()), 0);
    if units < 0 { Credit::ZERO.minus(size) } else { size }
}

/// A charge of whole dollars that was paid at `paid_at`, if it was.
pub(super) fn charge(id: &str, plan: &str, price: u64, paid_at: Option<Millis>) -> Charge {
    let amount = Amount::from(price);
    Charge {
        terms: ChargeTerms {
            id: id.parse().unwrap(),
            tenant: tenant(),
            user: None,
            product: Product::Plan {
                plan: PlanId::from(plan),
                interval: Interval::Month,
            },
            chain: ChainId(1),
            token: Address::ZERO,
            treasury: Address::ZERO,
            price: amount,
            quote: Quote {
                unit: "USD".to_owned(),
                decimals: 0,
                asked: amount,
                rank: u32::try_from(price).unwrap(),
                ..Quote::default()
            },
            due: amount,
            when_active: None,
            queued_behind: None,
            created_at: paid_at.unwrap_or_default(),
            expires_at: HOUR,
            grace_until: DAY,
        },
        state: paid_at.map_or(ChargeState::Open, |_| ChargeState::Paid),
        flags: Flags::default(),
        totals: Totals {
            confirmed: if paid_at.is_some() { amount } else { Amount::ZERO },
            ..Totals::default()
        },
        cancelled_at: None,
        paid_at,
        reversed_at: None,
        closed_at: None,
        reference: B256::ZERO,
        sequence: 1,
    }
}

fn fold(charges: &[Charge], now: Millis) -> Account {
    fold_account(&tenant(), charges, &[], (None, GRACES), now)
}

/// The credit of all charges together.
fn balance(charges: &[Charge], now: Millis) -> Credit {
    let account = fold(charges, now);
    account
        .credit
        .values()
        .fold(Credit::ZERO, |sum, amount| sum.plus(*amount))
}

fn with_credit(mut charge: Charge, credit: i64) -> Charge {
    charge.terms.quote.credit = usd(credit);
    charge
}

#[test]
fn too_much_and_paid_twice_is_credit_once() {
    let mut paid = charge("a", "pro", 15, Some(10));
    assert_eq!(balance(std::slice::from_ref(&paid), 20), Credit::ZERO);
    paid.totals.confirmed = Amount::from(17);
    assert_eq!(balance(std::slice::from_ref(&paid), 20), usd(2));
    paid.totals.confirmed = Amount::from(30);
    assert_eq!(balance(std::slice::from_ref(&paid), 20), usd(15));
    // The second of them is reorged away, and comes back.
    paid.totals.confirmed = Amount::from(15);
    assert_eq!(balance(&[paid], 20), Credit::ZERO);
}

#[test]
fn money_of_a_charge_that_bought_nothing_is_credit_once_nothing_more_can_come() {
    let mut open = charge("a", "pro", 15, None);
    open.totals.confirmed = Amount::from(4);
    assert_eq!(balance(std::slice::from_ref(&open), 20), Credit::ZERO);
    for state in [ChargeState::Closed, ChargeState::Reversed] {
        open.state = state;
        open.closed_at = Some(DAY);
        assert_eq!(balance(std::slice::from_ref(&open), 2 * DAY), usd(4));
    }
}

#[test]
fn credit_is_set_aside_until_the_charge_is_paid_or_closed() {
    let mut open = with_credit(charge("a", "pro", 15, None), 5);
    for state in [
        ChargeState::Open,
        ChargeState::Confirming,
        ChargeState::Expired,
        ChargeState::Cancelled,
    ] {
        open.state = state;
        assert_eq!(balance(std::slice::from_ref(&open), 20), usd(-5), "{state}");
    }
    let paid = with_credit(charge("a", "pro", 15, Some(10)), 5);
    assert_eq!(balance(&[paid], 20), usd(-5));
    open.state = ChargeState::Closed;
    open.closed_at = Some(DAY);
    assert_eq!(balance(&[open], 2 * DAY), Credit::ZERO);
}

#[test]
fn what_is_owed_is_repaid_only_by_a_payment() {
    let open = with_credit(charge("a", "pro", 15, None), -5);
    assert_eq!(balance(&[open], 20), Credit::ZERO);
    let paid = with_credit(charge("a", "pro", 15, Some(10)), -5);
    assert_eq!(balance(&[paid], 20), usd(5));
}

#[test]
fn an_upgrade_gives_what_its_quote_did_not_and_owes_what_was_not_there() {
    let month = 30 * DAY;
    let june: Millis = "2025-06-01T00:00:00Z"
        .parse::<jiff::Timestamp>()
        .unwrap()
        .as_millisecond();
    let pro = charge("a", "pro", 30, Some(june));
    let mut business = charge("b", "business", 90, Some(june + 10 * DAY));
    business.terms.quote.unused = usd(20);
    business.terms.quote.asked = Amount::from(70);
    business.terms.due = Amount::from(70);
    business.totals.confirmed = Amount::from(70);
    assert_eq!(
        balance(&[pro.clone(), business.clone()], june + month),
        Credit::ZERO
    );
    // What it was paid for is gone: the time was never there.
    assert_eq!(balance(std::slice::from_ref(&business), june + month), usd(-20));
    // Another month came in between: that is given back too.
    let ahead = charge("c", "pro", 30, Some(june + DAY));
    assert_eq!(balance(&[pro, ahead, business], june + month), usd(30));
}

#[test]
fn a_reversed_payment_has_a_grace_and_then_falls_and_comes_back_as_it_was() {
    let paid = charge("a", "pro", 15, Some(10));
    let before = fold(std::slice::from_ref(&paid), 5 * DAY).sources;
    let mut reversed = paid.clone();
    reversed.state = ChargeState::Reversed;
    reversed.reversed_at = Some(5 * DAY);
    reversed.totals.confirmed = Amount::ZERO;
    let grace = fold(std::slice::from_ref(&reversed), 5 * DAY);
    let source = &grace.sources[0];
    assert_eq!(
        (source.state, source.access_until),
        (SourceState::PastDue, Some(5 * DAY + HOUR))
    );
    assert_eq!(grace.changes_at, Some(5 * DAY + HOUR));
    assert!(gives_access(source, 5 * DAY + HOUR - 1) && !gives_access(source, 5 * DAY + HOUR));
    let fallen = fold(std::slice::from_ref(&reversed), 5 * DAY + HOUR);
    assert_eq!(fallen.sources[0].state, SourceState::Ended);
    assert_eq!(
        fold(&[paid], 5 * DAY).sources,
        before,
        "reinstated, and not extended twice"
    );
}

#[test]
fn a_reversed_upgrade_falls_back_to_what_is_still_paid() {
    let pro = charge("a", "pro", 30, Some(10));
    let mut business = charge("b", "business", 90, Some(DAY));
    business.state = ChargeState::Reversed;
    business.reversed_at = Some(2 * DAY);
    let states = |now| {
        let account = fold(&[pro.clone(), business.clone()], now);
        account
            .sources
            .iter()
            .map(|source| source.state)
            .collect::<Vec<_>>()
    };
    assert_eq!(states(2 * DAY), [SourceState::PastDue, SourceState::Active]);
    assert_eq!(states(2 * DAY + HOUR), [SourceState::Ended, SourceState::Active]);
}

#[test]
fn what_was_paid_by_a_clock_ahead_of_ours_counts_at_once() {
    let ahead = charge("a", "pro", 30, Some(DAY + 1));
    let account = fold(std::slice::from_ref(&ahead), DAY);
    let source = &account.sources[0];
    assert_eq!(
        (source.state, source.period_start),
        (SourceState::Active, Some(DAY + 1))
    );
    assert!(gives_access(source, DAY));
    assert_eq!(account.changes_at, source.period_end);
}

#[test]
fn a_wish_for_the_end_holds_until_the_next_payment() {
    let paid = charge("a", "pro", 30, Some(10));
    let end = PlanChange { next: None, at: DAY };
    let of = |charges: &[Charge], change: &PlanChange| {
        let account = fold_account(&tenant(), charges, &[], (Some(change), GRACES), 2 * DAY);
        let source = account.sources[0].clone();
        (source.scheduled_end == source.period_end, source.next)
    };
    assert_eq!(of(std::slice::from_ref(&paid), &end), (true, None));
    let lower = PlanChange {
        next: Some((PlanId::from("starter"), Interval::Year)),
        at: DAY,
    };
    assert_eq!(
        of(std::slice::from_ref(&paid), &lower),
        (false, lower.next.clone())
    );
    let renewed = charge("b", "pro", 30, Some(DAY + 1));
    assert_eq!(of(&[paid, renewed], &end), (false, None));
}

/// Any charges in any order give the same, and what is missing leaves nothing behind: credit is the sum of its charges.
#[test]
fn the_order_of_charges_never_matters_and_a_reversal_that_returns_leaves_no_trace() {
    let mut random = Random::new(7);
    for _ in 0..500 {
        let mut charges: Vec<Charge> = (0..random.below(6))
            .map(|index| {
                let (plan, price) = random.pick(&[("starter", 8), ("pro", 30), ("business", 90)]);
                let paid_at =
                    (random.below(4) > 0).then(|| Millis::try_from(random.below(90)).unwrap() * DAY);
                let credit = random.pick(&[0, 0, 3, -3]);
                let mut charge = with_credit(charge(&format!("chg_{index}"), plan, price, paid_at), credit);
                charge.totals.confirmed = charge
                    .totals
                    .confirmed
                    .saturating_add(Amount::from(random.below(3)));
                charge
            })
            .collect();
        let now = 60 * DAY;
        let before = fold(&charges, now);
        random.shuffle(&mut charges);
        assert_eq!(fold(&charges, now), before);
        let Some(mut gone) = charges.pop() else { continue };
        let kept = gone.clone();
        gone.state = ChargeState::Open;
        gone.paid_at = None;
        charges.push(gone);
        let _without = fold(&charges, now);
        charges.pop();
        charges.push(kept);
        assert_eq!(fold(&charges, now), before);
    }
}
