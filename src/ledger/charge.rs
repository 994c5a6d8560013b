//! What a charge is, given its terms, its payments and how far the chain is settled.
//!
//! Always the whole fold and never a step: a payment that is reorged away, or comes back, leaves no trace in the sum.

use alloy::primitives::U256;

use super::money::{Money, Piece, Stage, covered_at, enough, pieces, total};
use crate::domain::{
    Amount, Charge, ChargeFlag, ChargeState, ChargeTerms, Flags, Millis, Payment, PaymentFlag, PaymentState,
    Totals,
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

/// Folds a charge's money.
///
/// A charge that asks for nothing was paid by credit when it was made. One that was paid and no longer is, is reversed,
/// whatever the time. `tolerance` is the accepted underpayment.
#[must_use]
pub fn standing(charge: &Charge, money: Money<'_>, tolerance: Amount, clock: ChargeClock) -> Standing {
    let terms = &charge.terms;
    let enough = enough(terms, money, tolerance);
    let pieces = pieces(terms, money);
    let by_credit = terms.due.is_zero().then_some(terms.created_at);
    let paid_at = by_credit.or_else(|| covered_at(&pieces, enough, |piece| piece.amount));
    let was_covered_at = covered_at(&pieces, enough, |piece| piece.gross);
    let waiting = pieces.iter().any(|piece| piece.stage == Stage::Awaited);
    let was_paid =
        matches!(charge.state, ChargeState::Paid | ChargeState::Reversed) || was_covered_at.is_some();
    let (unpaid_state, blind) = unpaid(charge, clock);
    let state = match paid_at {
        Some(_) => ChargeState::Paid,
        None if was_paid => ChargeState::Reversed,
        None if waiting => ChargeState::Confirming,
        None => unpaid_state,
    };
    let seen = total(&pieces, |_| true);
    let mut flags = Flags::default();
    flags.set(
        ChargeFlag::Underpaid,
        !seen.is_zero() && seen < enough && !terms.due.is_zero(),
    );
    flags.set(ChargeFlag::Overpaid, seen > terms.due);
    let is_whole = |piece: &&Piece| piece.amount >= enough;
    flags.set(ChargeFlag::Duplicate, pieces.iter().filter(is_whole).count() > 1);
    let is_late = |piece: &Piece| piece.at > terms.expires_at;
    flags.set(ChargeFlag::Late, pieces.iter().any(is_late));
    let was_orphaned = |payment: &Payment| payment.state == PaymentState::Orphaned;
    flags.set(ChargeFlag::Reorged, money.payments.iter().any(was_orphaned));
    flags.set(ChargeFlag::ChainBlind, blind && paid_at.is_none());
    let is_held = |piece: &Piece| !piece.pays && !piece.amount.is_zero();
    flags.set(ChargeFlag::Held, pieces.iter().any(is_held));
    flag_meant(&mut flags, money.meant);
    Standing {
        state,
        flags,
        totals: Totals {
            seen,
            confirmed: total(&pieces, |piece| piece.stage >= Stage::Confirmed),
            finalized: total(&pieces, |piece| piece.stage == Stage::Final),
        },
        paid_at: match state {
            ChargeState::Reversed => was_covered_at.or(charge.paid_at),
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
mod tests;
