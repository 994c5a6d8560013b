//! The money of a charge: payments on its chain and what came by hosted checkouts, folded together.

use super::hosted::{Share, share};
use crate::domain::{Amount, ChargeTerms, HostedPayment, Level, Millis, Payment, PaymentState};

/// The money of a charge, wherever it came by.
#[derive(Debug, Clone, Copy, Default)]
pub struct Money<'a> {
    /// All payments that were ever allocated to it, in the order of the chain.
    pub payments: &'a [Payment],
    /// Payments of nobody that may be meant for it: they are only told of.
    pub meant: &'a [Payment],
    /// The checkouts that were opened for it.
    pub hosted: &'a [HostedPayment],
    /// Whether its product still costs what it did: else what comes late by a checkout is held for a person.
    pub price_holds: bool,
}

/// How far a sum of money is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It never counts.
    Seen,
    /// It will count, or vanish.
    Awaited,
    /// It counts.
    Confirmed,
    /// It counts, and can no longer be undone.
    Final,
}

/// A sum of money that counts for a charge now or later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    pub(super) at: Millis,
    pub(super) amount: Amount,
    /// What it was before anything was sent back.
    pub(super) gross: Amount,
    pub(super) stage: Stage,
    /// It came in time to pay for the product.
    pub(super) pays: bool,
}

impl Piece {
    fn of_payment(payment: &Payment) -> Self {
        Self {
            at: payment.block_time_ms,
            amount: payment.amount,
            gross: payment.amount,
            stage: match payment.state {
                PaymentState::Final => Stage::Final,
                PaymentState::Confirmed => Stage::Confirmed,
                // What never counts is seen, and is not waited for.
                PaymentState::Confirming if payment.level != Level::None => Stage::Awaited,
                PaymentState::Confirming | PaymentState::Orphaned => Stage::Seen,
            },
            pays: true,
        }
    }

    fn of_checkout(share: Share, terms: &ChargeTerms, price_holds: bool) -> Self {
        Self {
            at: share.at,
            amount: share.net,
            gross: share.gross,
            stage: if share.arrived {
                Stage::Final
            } else {
                Stage::Awaited
            },
            pays: share.at <= terms.expires_at || (price_holds && share.at <= terms.grace_until),
        }
    }
}

/// The pieces of a charge's money, by their time.
pub(super) fn pieces(terms: &ChargeTerms, money: Money<'_>) -> Vec<Piece> {
    let payments = money
        .payments
        .iter()
        .filter(|payment| payment.state != PaymentState::Orphaned)
        .filter(|payment| (payment.token, payment.treasury) == (terms.token, terms.treasury))
        .map(Piece::of_payment);
    let shares = money.hosted.iter().filter_map(share);
    let hosted = shares.map(|share| Piece::of_checkout(share, terms, money.price_holds));
    let mut pieces: Vec<Piece> = payments.chain(hosted).collect();
    pieces.sort_by_key(|piece| piece.at);
    pieces
}

/// When confirmed money in time reached `enough`.
pub(super) fn covered_at(
    pieces: &[Piece],
    enough: Amount,
    amount: impl Fn(&Piece) -> Amount,
) -> Option<Millis> {
    let mut sum = Amount::ZERO;
    let mut counting = pieces
        .iter()
        .filter(|piece| piece.stage >= Stage::Confirmed && piece.pays);
    counting
        .find(|piece| {
            sum = sum.saturating_add(amount(piece));
            sum >= enough
        })
        .map(|piece| piece.at)
}

pub(super) fn total(pieces: &[Piece], counts: impl Fn(&Piece) -> bool) -> Amount {
    pieces
        .iter()
        .filter(|piece| counts(piece))
        .fold(Amount::ZERO, |sum, piece| sum.saturating_add(piece.amount))
}

/// What is enough to pay a charge. A checkout asks for the price alone: the few base units that make an amount unique are
/// for those who name the charge by it.
pub(super) fn enough(terms: &ChargeTerms, money: Money<'_>, tolerance: Amount) -> Amount {
    let least = terms.due.saturating_sub(tolerance);
    let least = if money.hosted.is_empty() {
        least
    } else {
        least.min(terms.quote.asked)
    };
    least.max(Amount::from(1))
}
