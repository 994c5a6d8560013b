//! What a charge is, given its terms, its payments and how far the chain is settled.
//!
//! Always the whole fold and never a step: a payment that is reorged away, or comes back, leaves no trace in the sum.

use alloy::primitives::U256;

use crate::domain::{
    Amount, Charge, ChargeFlag, ChargeState, ChargeTerms, Flags, Level, Millis, Payment, PaymentFlag,
    PaymentState, Totals,
};

/// The two clocks that a deadline needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChargeClock {
    /// Ours.
    pub now: Millis,
    /// By the chain's: it is known to hold nothing more for a deadline up to then.
    pub absent_ms: Millis,
}

/// A charge's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// How far it is.
    pub state: ChargeState,
    /// What is remarkable.
    pub flags: Flags,
    /// The money that reached it.
    pub totals: Totals,
    /// The time of the block that completed it; kept while it is reversed.
    pub paid_at: Option<Millis>,
    /// When we saw that it was reversed, while it is.
    pub reversed_at: Option<Millis>,
    /// The end of its grace, once its chain is settled past it and it is not paid.
    pub closed_at: Option<Millis>,
}

/// The additions that make amounts unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuffixPool {
    /// How many there are: 1 to `count`, times `step`.
    pub count: u64,
    /// Base units between two of them.
    pub step: u64,
}

/// The additions for a token: 1 to 9 999 base units at six decimals, scaled for others, always below one hundredth of a
/// unit. A token with two decimals or fewer has none to spare.
#[must_use]
pub fn suffix_pool(decimals: u8) -> SuffixPool {
    match u32::from(decimals) {
        0..=2 => SuffixPool { count: 0, step: 1 },
        decimals @ 3..=6 => SuffixPool {
            count: 10_u64.pow(decimals - 2) - 1,
            step: 1,
        },
        decimals => SuffixPool {
            count: 9_999,
            step: 10_u64.saturating_pow(decimals - 6),
        },
    }
}

/// Whether an amount carries such an addition: nobody pays it by chance.
#[must_use]
pub fn carries_suffix(amount: Amount, decimals: u8) -> bool {
    let SuffixPool { count, step } = suffix_pool(decimals);
    let step = U256::from(step);
    let addition = amount.0 % (U256::from(count + 1) * step);
    !addition.is_zero() && (addition % step).is_zero()
}

/// Folds `payments`, all those that were ever allocated to the charge, in the order of the chain; those of nobody that may
/// be `meant` for it are only told of.
///
/// A charge that asks for nothing was paid by credit when it was made. One that was paid and no longer is, is reversed,
/// whatever the time. `tolerance` is the accepted underpayment.
#[must_use]
pub fn standing(
    charge: &Charge,
    (payments, meant): (&[Payment], &[Payment]),
    tolerance: Amount,
    clock: ChargeClock,
) -> Standing {
    let terms = &charge.terms;
    let in_force = || {
        payments
            .iter()
            .filter(|payment| payment.state != PaymentState::Orphaned)
            .filter(|payment| (payment.token, payment.treasury) == (terms.token, terms.treasury))
    };
    let enough = terms.due.saturating_sub(tolerance).max(Amount::from(1));
    let seen = in_force().fold(Amount::ZERO, |sum, payment| sum.saturating_add(payment.amount));
    let (mut confirmed, mut finalized) = (Amount::ZERO, Amount::ZERO);
    let mut paid_at = terms.due.is_zero().then_some(terms.created_at);
    for payment in in_force().filter(|payment| payment.state.counts()) {
        confirmed = confirmed.saturating_add(payment.amount);
        if payment.state == PaymentState::Final {
            finalized = finalized.saturating_add(payment.amount);
        }
        if confirmed >= enough && paid_at.is_none() {
            paid_at = Some(payment.block_time_ms);
        }
    }
    // What never counts is seen, and is not waited for.
    let waiting =
        in_force().any(|payment| payment.state == PaymentState::Confirming && payment.level != Level::None);
    let was_paid = matches!(charge.state, ChargeState::Paid | ChargeState::Reversed);
    let (unpaid_state, blind) = unpaid(charge, clock);
    let state = match paid_at {
        Some(_) => ChargeState::Paid,
        None if was_paid => ChargeState::Reversed,
        None if waiting => ChargeState::Confirming,
        None => unpaid_state,
    };

    let mut flags = Flags::default();
    flags.set(
        ChargeFlag::Underpaid,
        !seen.is_zero() && seen < enough && !terms.due.is_zero(),
    );
    flags.set(ChargeFlag::Overpaid, seen > terms.due);
    flags.set(
        ChargeFlag::Duplicate,
        in_force().filter(|payment| payment.amount >= enough).count() > 1,
    );
    flags.set(
        ChargeFlag::Late,
        in_force().any(|payment| payment.block_time_ms > terms.expires_at),
    );
    flags.set(
        ChargeFlag::Reorged,
        payments
            .iter()
            .any(|payment| payment.state == PaymentState::Orphaned),
    );
    flags.set(ChargeFlag::ChainBlind, blind && paid_at.is_none());
    flag_meant(&mut flags, meant);
    Standing {
        state,
        flags,
        totals: Totals {
            seen,
            confirmed,
            finalized,
        },
        paid_at: match state {
            ChargeState::Reversed => charge.paid_at,
            _ => paid_at,
        },
        reversed_at: (state == ChargeState::Reversed).then(|| charge.reversed_at.unwrap_or(clock.now)),
        closed_at: (paid_at.is_none() && !waiting && is_over(terms, clock)).then_some(terms.grace_until),
    }
}

/// Whether nothing more can come for it in time: its grace has ended, and its chain is settled past that.
fn is_over(terms: &ChargeTerms, clock: ChargeClock) -> bool {
    clock.now >= terms.grace_until && clock.absent_ms >= terms.grace_until
}

/// What is told of payments that are given to nobody and may be meant for the charge.
fn flag_meant(flags: &mut Flags, meant: &[Payment]) {
    let in_force = meant
        .iter()
        .filter(|payment| payment.state != PaymentState::Orphaned);
    for payment in in_force {
        let is_named = payment.concerns().len() == 1;
        let has = |flag| payment.flags.has(flag);
        flags.set(ChargeFlag::WrongToken, is_named && has(PaymentFlag::WrongToken));
        flags.set(ChargeFlag::WrongChain, is_named && has(PaymentFlag::WrongChain));
        flags.set(ChargeFlag::Ambiguous, has(PaymentFlag::Ambiguous));
        flags.set(ChargeFlag::Held, has(PaymentFlag::Held));
    }
}

/// The state of a charge that no money covers, and whether its deadline passed while we could not see the chain past it.
fn unpaid(charge: &Charge, clock: ChargeClock) -> (ChargeState, bool) {
    let terms = &charge.terms;
    let passed = |deadline: Millis| clock.now >= deadline;
    let settled_past = |deadline: Millis| clock.absent_ms >= deadline;
    if is_over(terms, clock) {
        return (ChargeState::Closed, false);
    }
    if charge.cancelled_at.is_some() {
        return (ChargeState::Cancelled, false);
    }
    if passed(terms.expires_at) {
        return if settled_past(terms.expires_at) {
            (ChargeState::Expired, false)
        } else {
            (ChargeState::Open, true)
        };
    }
    (ChargeState::Open, false)
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, B256};

    use super::*;
    use crate::domain::{BlockRef, ChainId, Grounds, Interval, Level, PaymentKey, PlanId, Product, Quote};

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
            (payments, &[]),
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
            standing(&open, (&[], &[]), Amount::from(DUE), clock).state,
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
}
