//! Which charge a payment belongs to. Two candidates are never resolved by guessing.

use std::collections::BTreeMap;

use crate::domain::{ChargeId, MatchRule};

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

/// The first rule that names exactly one charge, of the charges that each rule names. A rule that names several hands only
/// those to the next, and two rules that name different charges decide nothing.
#[must_use]
pub fn decide(named: &BTreeMap<MatchRule, Vec<ChargeId>>) -> Match {
    let mut left: Option<(Vec<&ChargeId>, MatchRule)> = None;
    for (rule, charges) in named {
        left = match left {
            _ if charges.is_empty() => left,
            None => Some((charges.iter().collect(), *rule)),
            Some((mut several, first)) => {
                let was_one = several.len() == 1;
                several.retain(|charge| charges.contains(charge));
                Some((several, if was_one { first } else { *rule }))
            }
        };
    }
    match left {
        None => Match::Unmatched,
        Some((one, rule)) => match one.as_slice() {
            [charge] => Match::Charge((*charge).clone(), rule),
            _ => Match::Ambiguous,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: [MatchRule; 3] = [
        MatchRule::Reference,
        MatchRule::ExactAmount,
        MatchRule::PayerWallet,
    ];

    fn matched(named: [&[&str]; 3]) -> Match {
        let ids = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let named = RULES.into_iter().zip(named);
        decide(&named.map(|(rule, names)| (rule, ids(names))).collect())
    }

    fn charge(name: &str, rule: MatchRule) -> Match {
        Match::Charge(name.parse().unwrap(), rule)
    }

    #[test]
    fn the_first_rule_that_names_one_charge_is_recorded() {
        for (named, rule) in [
            ([&["a"][..], &[], &[]], MatchRule::Reference),
            ([&["a"], &["a"], &["a"]], MatchRule::Reference),
            ([&["a"], &[], &["a", "b"]], MatchRule::Reference),
            ([&[], &["a"], &[]], MatchRule::ExactAmount),
            ([&[], &["a"], &["a"]], MatchRule::ExactAmount),
            ([&[], &["a"], &["a", "b"]], MatchRule::ExactAmount),
            ([&[], &[], &["a"]], MatchRule::PayerWallet),
        ] {
            assert_eq!(matched(named), charge("a", rule), "{named:?}");
        }
    }

    #[test]
    fn a_rule_that_names_several_hands_only_those_to_the_next() {
        assert_eq!(
            matched([&["a", "b"], &["a"], &[]]),
            charge("a", MatchRule::ExactAmount)
        );
        assert_eq!(
            matched([&[], &["a", "b"], &["b", "c"]]),
            charge("b", MatchRule::PayerWallet)
        );
        assert_eq!(
            matched([&["a", "b", "c"], &["a", "b"], &["b"]]),
            charge("b", MatchRule::PayerWallet)
        );
    }

    #[test]
    fn two_candidates_are_never_resolved_by_guessing() {
        for named in [
            [&[][..], &[], &["a", "b"]],
            [&[], &["a", "b"], &[]],
            [&["a", "b"], &[], &[]],
            [&[], &["a"], &["b"]],
            [&["a"], &["b"], &[]],
            [&["a"], &[], &["b"]],
            [&["a"], &["a"], &["b"]],
            [&["a"], &["b"], &["a"]],
            [&["a"], &["b"], &["b"]],
            [&[], &["a", "b"], &["c"]],
            [&["a", "b"], &["c"], &["a"]],
            [&["a", "b"], &["a"], &["b"]],
        ] {
            assert_eq!(matched(named), Match::Ambiguous, "{named:?}");
        }
        assert_eq!(matched([&[], &[], &[]]), Match::Unmatched);
        assert_eq!(decide(&BTreeMap::new()), Match::Unmatched);
    }
}
