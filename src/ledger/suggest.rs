//! Which charges an unmatched payment may have been meant for: reasons that a person can check, never a decision.

use alloy::primitives::U256;

use crate::domain::{Amount, Charge, ChargeState, Claim, Payment, WalletLink};

/// The most suggestions for one payment.
const MAX_SUGGESTIONS: usize = 5;

/// Below one of so many parts of the amount due a payment is not taken for a first part of it.
const PARTIAL_PARTS: u64 = 10;

/// Why a charge is suggested, with what it adds to the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A user of its tenant claims the transaction, for it or for none in particular.
    Claimed,
    /// A matching rule names it, and others too.
    NamedByRule,
    /// Its user has proven the payer's wallet.
    PayerWallet,
    /// Another user of its tenant has proven the payer's wallet.
    TenantWallet,
    /// The amount is exactly what is due.
    ExactAmount,
    /// The amount is enough, within the tolerance.
    WithinTolerance,
    /// The amount is what is due, on another chain or in another token.
    SameUnits,
    /// The amount is a part of what is due.
    Partial,
    /// The amount is up to twice what is due.
    Above,
    /// It waits for money.
    Open,
    /// Its time was over.
    Expired,
    /// It was cancelled.
    Cancelled,
}

impl Reason {
    /// A stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::NamedByRule => "named_by_rule",
            Self::PayerWallet => "payer_wallet",
            Self::TenantWallet => "tenant_wallet",
            Self::ExactAmount => "exact_amount",
            Self::WithinTolerance => "within_tolerance",
            Self::SameUnits => "same_units",
            Self::Partial => "partial",
            Self::Above => "above",
            Self::Open => "open",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
        }
    }

    /// What it adds to the score. Who says so weighs more than how much it is, and that more than when.
    #[must_use]
    pub const fn points(self) -> u32 {
        match self {
            Self::Claimed | Self::PayerWallet => 40,
            Self::NamedByRule | Self::ExactAmount => 35,
            Self::TenantWallet | Self::WithinTolerance | Self::SameUnits => 25,
            Self::Partial | Self::Open => 10,
            Self::Above | Self::Expired => 5,
            Self::Cancelled => 3,
        }
    }

    /// Whether it alone makes a charge worth a look.
    const fn points_out(self) -> bool {
        !matches!(
            self,
            Self::Partial | Self::Above | Self::Open | Self::Expired | Self::Cancelled
        )
    }
}

/// A charge that may be compared with a payment.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The charge.
    pub charge: Charge,
    /// The decimals of its token.
    pub decimals: u8,
    /// The underpayment that it accepts.
    pub tolerance: Amount,
    /// Whether a rule names it.
    pub is_named: bool,
}

/// A charge that a payment may be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// The charge.
    pub charge: Charge,
    /// Why.
    pub reasons: Vec<Reason>,
    /// The sum of the reasons' points.
    pub score: u32,
    /// Whether it can be credited with the payment: the same chain, token and treasury.
    pub assignable: bool,
}

/// Ranks the charges that a payment of a token with so many decimals may be for; the best first.
#[must_use]
pub fn suggest(
    (payment, decimals): (&Payment, u8),
    claims: &[Claim],
    links: &[WalletLink],
    charges: Vec<Compared>,
) -> Vec<Suggestion> {
    let suggestion = |compared: Compared| {
        let mut reasons = identity(claims, links, &compared);
        reasons.extend(amount((payment, decimals), &compared));
        if !reasons.iter().any(|reason| reason.points_out()) {
            return None;
        }
        reasons.extend(standing(compared.charge.state));
        Some(Suggestion {
            score: reasons.iter().map(|reason| reason.points()).sum(),
            assignable: is_assignable(payment, &compared.charge),
            charge: compared.charge,
            reasons,
        })
    };
    let mut suggestions: Vec<Suggestion> = charges.into_iter().filter_map(suggestion).collect();
    suggestions.sort_by(|one, other| {
        let rank = |of: &Suggestion| (of.assignable, of.score, of.charge.terms.created_at);
        rank(other)
            .cmp(&rank(one))
            .then_with(|| one.charge.terms.id.cmp(&other.charge.terms.id))
    });
    suggestions.truncate(MAX_SUGGESTIONS);
    suggestions
}

/// Whether a charge can be credited with a payment: it is paid where, and in what, the charge says.
#[must_use]
pub fn is_assignable(payment: &Payment, charge: &Charge) -> bool {
    let terms = &charge.terms;
    (payment.key.chain, payment.token, payment.treasury) == (terms.chain, terms.token, terms.treasury)
}

fn identity(claims: &[Claim], links: &[WalletLink], compared: &Compared) -> Vec<Reason> {
    let terms = &compared.charge.terms;
    let of_user = |user| terms.user.as_ref().is_none_or(|own| own == user);
    let claimed = claims.iter().any(|claim| {
        let of_tenant = claim.tenant == terms.tenant && of_user(&claim.user);
        of_tenant && claim.charge.as_ref().is_none_or(|(_, named)| *named == terms.id)
    });
    let of_tenant = || links.iter().filter(|link| link.tenant == terms.tenant);
    let is_own = of_tenant().any(|link| of_user(&link.user));
    let wallet = match of_tenant().next() {
        None => None,
        Some(_) if is_own => Some(Reason::PayerWallet),
        Some(_) => Some(Reason::TenantWallet),
    };
    let mut reasons = Vec::new();
    reasons.extend(claimed.then_some(Reason::Claimed));
    reasons.extend(compared.is_named.then_some(Reason::NamedByRule));
    reasons.extend(wallet);
    reasons
}

fn amount((payment, decimals): (&Payment, u8), compared: &Compared) -> Option<Reason> {
    let terms = &compared.charge.terms;
    if !is_assignable(payment, &compared.charge) {
        let paid = payment.amount.to_units(decimals);
        let same = [terms.due, terms.price].map(|asked| asked.to_units(compared.decimals));
        return same.contains(&paid).then_some(Reason::SameUnits);
    }
    let left = terms.due.saturating_sub(compared.charge.totals.seen);
    if payment.amount == terms.due || payment.amount == left {
        return Some(Reason::ExactAmount);
    }
    let lowest = terms.due.saturating_sub(compared.tolerance);
    if payment.amount < terms.due {
        let enough = payment.amount >= lowest && !payment.amount.is_zero();
        let part = payment.amount.0.saturating_mul(U256::from(PARTIAL_PARTS)) >= terms.due.0;
        return if enough {
            Some(Reason::WithinTolerance)
        } else {
            part.then_some(Reason::Partial)
        };
    }
    (payment.amount <= terms.due.saturating_add(terms.due)).then_some(Reason::Above)
}

const fn standing(state: ChargeState) -> Option<Reason> {
    match state {
        ChargeState::Open | ChargeState::Detected | ChargeState::Confirming => Some(Reason::Open),
        ChargeState::Expired | ChargeState::Closed => Some(Reason::Expired),
        ChargeState::Cancelled => Some(Reason::Cancelled),
        ChargeState::Paid | ChargeState::Reversed => None,
    }
}
