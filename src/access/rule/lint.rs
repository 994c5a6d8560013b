//! What is accepted and may surprise: rules that a fresh wallet evades, and branches that always or never hold.

use alloy::primitives::U256;

use crate::domain::{Aggregation, Amount, Contracts, Rule};

/// Something that is accepted and may surprise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// JSON pointer to the place.
    pub pointer: String,
    /// What it is.
    pub code: LintCode,
}

/// What may surprise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LintCode {
    /// A balance that must not be held.
    NotOverBalance,
    /// A balance that must not be exceeded.
    AtMostIsNegation,
    /// A list of wallets that one must not be on.
    NotOverWallets,
    /// It can never hold.
    NeverHolds,
    /// It always holds.
    AlwaysHolds,
}

impl LintCode {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotOverBalance => "not_over_balance",
            Self::AtMostIsNegation => "at_most_is_negation",
            Self::NotOverWallets => "not_over_wallets",
            Self::NeverHolds => "never_holds",
            Self::AlwaysHolds => "always_holds",
        }
    }

    /// One sentence for people.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::NotOverBalance => {
                "a fresh wallet holds nothing, so anyone can meet a rule that asks not to hold"
            }
            Self::AtMostIsNegation => {
                "what is above atMost can be moved to another wallet, so anyone can meet it"
            }
            Self::NotOverWallets => "anyone can come with a wallet that is not on the list",
            Self::NeverHolds => "this can never hold: it asks for more than it allows",
            Self::AlwaysHolds => "this always holds: no balance is above it",
        }
    }
}

/// The most that an ERC-20 leaf allows, and the least that it asks for.
fn bounds(rule: &Rule) -> Option<(&Contracts, Aggregation, U256, U256)> {
    let Rule::Erc20Balance {
        contracts,
        at_least,
        at_most,
        aggregation,
    } = rule
    else {
        return None;
    };
    let number = |amount: &Option<Amount>| amount.map(|amount| amount.0);
    let (least, most) = (number(at_least), number(at_most));
    Some((
        contracts,
        *aggregation,
        least.unwrap_or_default(),
        most.unwrap_or(U256::MAX),
    ))
}

/// What may surprise of one leaf, under an odd number of `not` or not.
pub(super) fn leaf(rule: &Rule, is_negated: bool) -> Vec<LintCode> {
    let mut found = Vec::new();
    if let Some((_, _, least, most)) = bounds(rule) {
        if least > most {
            found.push(LintCode::NeverHolds);
        } else if least.is_zero() && most == U256::MAX {
            found.push(LintCode::AlwaysHolds);
        }
    }
    match rule {
        Rule::Erc20Balance { at_most: Some(_), .. } if !is_negated => {
            found.push(LintCode::AtMostIsNegation);
        }
        Rule::Erc20Balance {
            at_least: Some(_), ..
        }
        | Rule::Erc721Balance { .. }
        | Rule::Erc721Token { .. }
        | Rule::Erc1155Balance { .. }
            if is_negated =>
        {
            found.push(LintCode::NotOverBalance);
        }
        Rule::Allowlist { wallets, .. } if is_negated && !wallets.is_empty() => {
            found.push(LintCode::NotOverWallets);
        }
        _ => {}
    }
    found
}

/// Whether two branches of an `all` leave nothing between them: the same holding, more than allowed.
pub(super) fn contradict(of: &[Rule]) -> bool {
    let branches: Vec<_> = of.iter().filter_map(bounds).collect();
    branches
        .iter()
        .enumerate()
        .any(|(index, (contracts, aggregation, least, _))| {
            // Of single wallets each branch may mean another.
            *aggregation == Aggregation::Sum
                && branches
                    .iter()
                    .enumerate()
                    .any(|(other, (same, aggregation, _, most))| {
                        other != index
                            && same == contracts
                            && *aggregation == Aggregation::Sum
                            && least > most
                    })
        })
}
