//! Which charge a payment belongs to. Two candidates are never resolved by guessing.

use crate::domain::{ChargeId, MatchRule};

/// The charges that each rule names for one payment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidates {
    /// The amount was leased to these at the block's time.
    pub exact_amount: Vec<ChargeId>,
    /// The payer's wallet is proven by one user, whose open charges for the token are these.
    pub payer_wallet: Vec<ChargeId>,
}

/// What matching found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// Exactly one charge.
    Charge(ChargeId, MatchRule),
    /// No rule names a charge.
    Unmatched,
    /// Rules name different charges, or one rule several.
    Ambiguous,
}

/// The first rule that names exactly one charge. A rule that names several hands only those to the next, and two rules
/// that name different charges decide nothing.
#[must_use]
pub fn decide(candidates: &Candidates) -> Match {
    let Candidates {
        exact_amount,
        payer_wallet,
    } = candidates;
    match (exact_amount.as_slice(), payer_wallet.as_slice()) {
        ([], []) => Match::Unmatched,
        ([charge], []) => Match::Charge(charge.clone(), MatchRule::ExactAmount),
        ([charge], wallet) if wallet.contains(charge) => {
            Match::Charge(charge.clone(), MatchRule::ExactAmount)
        }
        ([], [charge]) => Match::Charge(charge.clone(), MatchRule::PayerWallet),
        (several, [charge]) if several.len() > 1 && several.contains(charge) => {
            Match::Charge(charge.clone(), MatchRule::PayerWallet)
        }
        _ => Match::Ambiguous,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> Vec<ChargeId> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn matched(exact: &[&str], wallet: &[&str]) -> Match {
        decide(&Candidates {
            exact_amount: ids(exact),
            payer_wallet: ids(wallet),
        })
    }

    #[test]
    fn one_candidate_is_taken_and_its_rule_recorded() {
        let a = ids(&["a"]).remove(0);
        assert_eq!(
            matched(&["a"], &[]),
            Match::Charge(a.clone(), MatchRule::ExactAmount)
        );
        assert_eq!(
            matched(&[], &["a"]),
            Match::Charge(a.clone(), MatchRule::PayerWallet)
        );
        assert_eq!(
            matched(&["a"], &["a"]),
            Match::Charge(a.clone(), MatchRule::ExactAmount)
        );
        assert_eq!(
            matched(&["a"], &["a", "b"]),
            Match::Charge(a.clone(), MatchRule::ExactAmount)
        );
        assert_eq!(
            matched(&["a", "b"], &["a"]),
            Match::Charge(a, MatchRule::PayerWallet)
        );
    }

    #[test]
    fn two_candidates_are_never_resolved_by_guessing() {
        assert_eq!(matched(&[], &["a", "b"]), Match::Ambiguous);
        assert_eq!(matched(&["a", "b"], &[]), Match::Ambiguous);
        assert_eq!(matched(&["a"], &["b"]), Match::Ambiguous);
        assert_eq!(matched(&["a", "b"], &["c"]), Match::Ambiguous);
        assert_eq!(matched(&[], &[]), Match::Unmatched);
    }
}
