//! What a charge is, given its money and the time.

use alloy::primitives::{Address, B256};

use super::*;
use crate::domain::{
    BlockRef, ChainId, CheckoutKey, CheckoutService, Grounds, HostedPayment, HostedState, Interval, Level,
    PaymentKey, PlanId, Product, Quote,
};

const DUE: u64 = 15_001_234;
const EXPIRES: Millis = 1_000_000;
const GRACE: Millis = 2_000_000;

fn charge(state: ChargeState) -> Charge {
    Charge {
        terms: ChargeTerms {
            id: "c".parse().unwrap(),
            tenant: "acme".parse().unwrap(),
            user: None,
            product: Product::Plan {
                plan: PlanId::from("pro"),
                interval: Interval::Month,
            },
            chain: ChainId(1),
            token: Address::ZERO,
            treasury: Address::ZERO,
            price: Amount::from(15_000_000),
            quote: Quote::default(),
            due: Amount::from(DUE),
            when_active: None,
            queued_behind: None,
            created_at: 0,
            expires_at: EXPIRES,
            grace_until: GRACE,
        },
        state,
        flags: Flags::default(),
        totals: Totals::default(),
        cancelled_at: None,
        paid_at: None,
        reversed_at: None,
        closed_at: None,
        reference: B256::ZERO,
        sequence: 0,
    }
}

fn payment(amount: u64, state: PaymentState, at: Millis) -> Payment {
    Payment {
        key: PaymentKey {
            chain: ChainId(1),
            tx_hash: B256::ZERO,
            ordinal: 0,
        },
        state,
        token: Address::ZERO,
        payer: Address::ZERO,
        treasury: Address::ZERO,
        amount: Amount::from(amount),
        block: BlockRef {
            number: 1,
            hash: B256::ZERO,
        },
        block_time_ms: at,
        log_index: 0,
        level: Level::Receipts,
        allocation: None,
        grounds: Grounds::default(),
        flags: Flags::default(),
    }
}

fn stand(charge: &Charge, payments: &[Payment], now: Millis, settled: Millis) -> Standing {
    standing(
        charge,
        Money {
            payments,
            ..Money::default()
        },
        Amount::from(150_012),
        ChargeClock {
            now,
            absent_ms: settled,
        },
    )
}

#[test]
fn money_counts_only_once_it_is_confirmed() {
    let open = charge(ChargeState::Open);
    let seen = stand(&open, &[payment(DUE, PaymentState::Confirming, 10)], 10, 0);
    assert_eq!((seen.state, seen.paid_at), (ChargeState::Confirming, None));
    assert_eq!(
        seen.totals,
        Totals {
            seen: Amount::from(DUE),
            ..Totals::default()
        }
    );
    let paid = stand(&open, &[payment(DUE, PaymentState::Confirmed, 10)], 10, 10);
    assert_eq!((paid.state, paid.paid_at), (ChargeState::Paid, Some(10)));
    assert_eq!(paid.flags, Flags::default());
    assert_eq!(paid.totals.finalized, Amount::ZERO);
    let last = stand(&open, &[payment(DUE, PaymentState::Final, 10)], 10, 10);
    assert_eq!((last.state, last.paid_at), (ChargeState::Paid, Some(10)));
    assert_eq!(
        (last.totals.confirmed, last.totals.finalized),
        (Amount::from(DUE), Amount::from(DUE))
    );
}

#[test]
fn money_of_a_chain_that_proves_nothing_is_seen_and_not_waited_for() {
    let mut shown = payment(DUE, PaymentState::Confirming, 10);
    shown.level = Level::None;
    let open = stand(&charge(ChargeState::Open), std::slice::from_ref(&shown), 20, 20);
    assert_eq!(
        (open.state, open.totals.seen),
        (ChargeState::Open, Amount::from(DUE))
    );
    let expired = stand(&charge(ChargeState::Open), &[shown], EXPIRES, EXPIRES);
    assert_eq!(expired.state, ChargeState::Expired);
}

#[test]
fn a_second_transfer_completes_an_underpaid_charge() {
    let open = charge(ChargeState::Open);
    let first = payment(5_000_000, PaymentState::Confirmed, 10);
    let short = stand(&open, std::slice::from_ref(&first), 20, 20);
    assert_eq!(short.state, ChargeState::Open);
    assert!(short.flags.has(ChargeFlag::Underpaid));
    let rest = payment(DUE - 5_000_000, PaymentState::Confirmed, 30);
    let whole = stand(&open, &[first, rest], 40, 40);
    assert_eq!((whole.state, whole.paid_at), (ChargeState::Paid, Some(30)));
    assert!(!whole.flags.has(ChargeFlag::Underpaid));
}

#[test]
fn the_tolerance_is_inclusive_and_nothing_is_paid_at_zero() {
    let open = charge(ChargeState::Open);
    let just = [payment(DUE - 150_012, PaymentState::Confirmed, 10)];
    assert_eq!(stand(&open, &just, 20, 20).state, ChargeState::Paid);
    let below = [payment(DUE - 150_013, PaymentState::Confirmed, 10)];
    assert_eq!(stand(&open, &below, 20, 20).state, ChargeState::Open);
    let clock = ChargeClock { now: 0, absent_ms: 0 };
    assert_eq!(
        standing(&open, Money::default(), Amount::from(DUE), clock).state,
        ChargeState::Open
    );
}

#[test]
fn a_reorged_payment_reopens_an_unpaid_charge_and_reverses_a_paid_one() {
    let gone = [payment(DUE, PaymentState::Orphaned, 10)];
    let reopened = stand(&charge(ChargeState::Confirming), &gone, 20, 0);
    assert_eq!(
        (reopened.state, reopened.totals),
        (ChargeState::Open, Totals::default())
    );
    assert!(reopened.flags.has(ChargeFlag::Reorged));
    assert_eq!(
        stand(&charge(ChargeState::Paid), &gone, 20, 0).state,
        ChargeState::Reversed
    );
    let back = [payment(DUE, PaymentState::Confirmed, 15)];
    assert_eq!(
        stand(&charge(ChargeState::Reversed), &back, 30, 30).state,
        ChargeState::Paid
    );
}

#[test]
fn a_charge_never_expires_while_the_chain_was_not_seen_past_its_deadline() {
    let open = charge(ChargeState::Open);
    let blind = stand(&open, &[], EXPIRES + 1, EXPIRES - 1);
    assert_eq!(blind.state, ChargeState::Open);
    assert!(blind.flags.has(ChargeFlag::ChainBlind));
    assert_eq!(
        stand(&open, &[], EXPIRES + 1, EXPIRES).state,
        ChargeState::Expired
    );
    assert_eq!(stand(&open, &[], EXPIRES - 1, GRACE).state, ChargeState::Open);
    assert_eq!(stand(&open, &[], GRACE, GRACE - 1).state, ChargeState::Expired);
    assert_eq!(stand(&open, &[], GRACE, GRACE).state, ChargeState::Closed);
}

#[test]
fn late_and_cancelled_charges_are_still_watched() {
    let late = stand(
        &charge(ChargeState::Expired),
        &[payment(DUE, PaymentState::Confirmed, EXPIRES + 5)],
        GRACE,
        0,
    );
    assert_eq!(late.state, ChargeState::Paid);
    assert!(late.flags.has(ChargeFlag::Late));
    let mut cancelled = charge(ChargeState::Open);
    cancelled.cancelled_at = Some(5);
    assert_eq!(stand(&cancelled, &[], 10, 0).state, ChargeState::Cancelled);
    let paid = stand(&cancelled, &[payment(DUE, PaymentState::Confirmed, 9)], 10, 9);
    assert_eq!(paid.state, ChargeState::Paid);
}

#[test]
fn paying_too_much_and_twice_is_flagged_and_never_wraps() {
    let open = charge(ChargeState::Open);
    let over = stand(&open, &[payment(DUE + 1, PaymentState::Confirmed, 1)], 2, 2);
    assert!(over.flags.has(ChargeFlag::Overpaid) && !over.flags.has(ChargeFlag::Duplicate));
    let payment = payment(DUE, PaymentState::Confirmed, 1);
    let mut huge = payment.clone();
    huge.amount = Amount(alloy::primitives::U256::MAX);
    let twice = stand(&open, &[payment, huge], 2, 2);
    assert!(twice.flags.has(ChargeFlag::Duplicate));
    assert_eq!(twice.totals.seen, Amount(alloy::primitives::U256::MAX));
}

/// What arrived by a checkout, and what of it went back.
fn hosted(received: u64, refunded: u64, at: Millis) -> HostedPayment {
    HostedPayment {
        key: CheckoutKey {
            service: CheckoutService::CoinbaseBusiness,
            reference: "1".to_owned(),
        },
        charge: "c".parse().unwrap(),
        url: String::new(),
        currency: "USDC".to_owned(),
        asked: Amount::from(15_000_000),
        opened_at: 0,
        attempt: (HostedState::Open, 0),
        pending: Amount::ZERO,
        received: Amount::from(received),
        evidence: Some((at, "event".to_owned())),
        refunded: Amount::from(refunded),
    }
}

fn stand_hosted(
    charge: &Charge,
    (payments, hosted): (&[Payment], &[HostedPayment]),
    price_holds: bool,
    now: Millis,
) -> Standing {
    let mut charge = charge.clone();
    charge.terms.quote.asked = Amount::from(15_000_000);
    let money = Money {
        payments,
        hosted,
        price_holds,
        ..Money::default()
    };
    let clock = ChargeClock { now, absent_ms: now };
    standing(&charge, money, Amount::ZERO, clock)
}

#[test]
fn a_checkout_pays_by_the_price_and_counts_beside_the_chain() {
    let open = charge(ChargeState::Open);
    let paid = stand_hosted(&open, (&[], &[hosted(15_000_000, 0, 10)]), true, 20);
    assert_eq!((paid.state, paid.paid_at), (ChargeState::Paid, Some(10)));
    assert_eq!(paid.flags, Flags::default());
    assert_eq!(paid.totals.finalized, Amount::from(15_000_000));
    let short = stand_hosted(&open, (&[], &[hosted(9_000_000, 0, 10)]), true, 20);
    assert_eq!(short.state, ChargeState::Open);
    assert!(short.flags.has(ChargeFlag::Underpaid));
    // Money of both kinds adds up, by its time.
    let rest = payment(6_000_000, PaymentState::Confirmed, 5);
    let both = stand_hosted(
        &open,
        (std::slice::from_ref(&rest), &[hosted(9_000_000, 0, 10)]),
        true,
        20,
    );
    assert_eq!((both.state, both.paid_at), (ChargeState::Paid, Some(10)));
    let whole = payment(DUE, PaymentState::Confirmed, 5);
    let twice = stand_hosted(&open, (&[whole], &[hosted(15_000_000, 0, 10)]), true, 20);
    assert_eq!(twice.paid_at, Some(5));
    assert!(twice.flags.has(ChargeFlag::Duplicate) && twice.flags.has(ChargeFlag::Overpaid));
}

#[test]
fn what_is_under_way_by_a_checkout_is_seen_and_waited_for() {
    let mut pending = hosted(0, 0, 0);
    pending.evidence = None;
    pending.attempt = (HostedState::Pending, 10);
    pending.pending = Amount::from(15_000_000);
    let open = charge(ChargeState::Open);
    let seen = stand_hosted(&open, (&[], &[pending]), true, GRACE + 1);
    assert_eq!((seen.state, seen.closed_at), (ChargeState::Confirming, None));
    assert_eq!(
        (seen.totals.seen, seen.totals.confirmed),
        (Amount::from(15_000_000), Amount::ZERO)
    );
}

#[test]
fn a_refund_by_the_provider_reverses_what_it_paid() {
    let open = charge(ChargeState::Open);
    for before in [ChargeState::Open, ChargeState::Paid] {
        let charge = Charge {
            state: before,
            ..open.clone()
        };
        let back = stand_hosted(&charge, (&[], &[hosted(15_000_000, 15_000_000, 10)]), true, 20);
        assert_eq!(
            (back.state, back.paid_at, back.reversed_at),
            (ChargeState::Reversed, Some(10), Some(20))
        );
        assert_eq!(back.totals, Totals::default());
    }
    let part = stand_hosted(&open, (&[], &[hosted(15_000_000, 1, 10)]), true, 20);
    assert_eq!(part.state, ChargeState::Reversed);
    assert!(part.flags.has(ChargeFlag::Underpaid));
    let too_much = stand_hosted(&open, (&[], &[hosted(16_000_000, 1_000_000, 10)]), true, 20);
    assert_eq!(too_much.state, ChargeState::Paid);
}

#[test]
fn what_comes_late_by_a_checkout_pays_within_grace_while_the_price_holds() {
    let open = charge(ChargeState::Expired);
    let at = |at, price_holds| {
        let late = stand_hosted(&open, (&[], &[hosted(15_000_000, 0, at)]), price_holds, GRACE + 9);
        assert_eq!(late.totals.confirmed, Amount::from(15_000_000));
        (
            late.state,
            late.flags.has(ChargeFlag::Late),
            late.flags.has(ChargeFlag::Held),
        )
    };
    assert_eq!(at(EXPIRES, false), (ChargeState::Paid, false, false));
    assert_eq!(at(EXPIRES + 1, true), (ChargeState::Paid, true, false));
    assert_eq!(at(EXPIRES + 1, false), (ChargeState::Closed, true, true));
    assert_eq!(at(GRACE + 1, true), (ChargeState::Closed, true, true));
}

#[test]
fn unique_amounts_stay_below_a_hundredth_of_a_unit() {
    for decimals in 0..=18 {
        let pool = suffix_pool(decimals);
        assert!(
            pool.count * pool.step < 10_u64.pow(u32::from(decimals.max(2)) - 2).max(1),
            "{decimals}"
        );
    }
    assert_eq!(
        suffix_pool(6),
        SuffixPool {
            count: 9_999,
            step: 1
        }
    );
    assert_eq!(
        suffix_pool(18),
        SuffixPool {
            count: 9_999,
            step: 1_000_000_000_000
        }
    );
}

#[test]
fn an_amount_carries_an_addition_where_it_is_neither_round_nor_finer() {
    let carries = |base: &str, decimals| carries_suffix(base.parse().unwrap(), decimals);
    for carried in ["5000001", "5009999", "1"] {
        assert!(carries(carried, 6), "{carried}");
    }
    for bare in ["0", "5000000", "5010000", "15000000"] {
        assert!(!carries(bare, 6), "{bare}");
    }
    assert!(carries("5000001000000000000", 18));
    assert!(!carries("5000001000000000001", 18) && !carries("5010000000000000000", 18));
    assert!(!carries("5", 2) && carries("5", 3));
}

#[test]
fn unique_amounts_of_18_decimals_are_those_of_six_in_finer_units() {
    let (coarse, fine) = (suffix_pool(6), suffix_pool(18));
    assert_eq!(coarse.count, fine.count);
    let due = |pool: SuffixPool, decimals: u8, suffix: u64| {
        let price = Amount::from_units("15", decimals).unwrap();
        price.saturating_add(Amount::from(suffix * pool.step))
    };
    for suffix in 1..=coarse.count {
        let shown = due(coarse, 6, suffix).to_units(6);
        assert_eq!(due(fine, 18, suffix).to_units(18), shown);
    }
}
