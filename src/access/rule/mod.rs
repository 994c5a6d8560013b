//! The rule tree: reading it from callers, checking it, and deciding it in three-valued logic (Kleene's strong K3).
//!
//! Work is bounded by [`MAX_NODES`], [`MAX_DEPTH`] and [`MAX_ENTRIES`] before anything is built. Errors carry a JSON pointer
//! (RFC 6901).

use std::collections::BTreeMap;

use crate::domain::{Need, Rule, Scope, Standard};

mod decide;
mod flat;
mod interval;
mod lint;
mod parse;
mod validate;
mod value;

pub use decide::{Readings, decide};
pub use lint::{Lint, LintCode};
pub use parse::{Parsed, Surroundings, parse};
pub use validate::validate;
pub use value::{parse_address, parse_chain, parse_token_id};

/// The most nodes of one rule, leaves and combinators together.
pub const MAX_NODES: usize = 200;

/// The deepest nesting of one rule; a lone leaf has depth 1.
pub const MAX_DEPTH: usize = 16;

/// The most contracts, token ids, ranges, wallets and users of one rule, all its leaves together.
pub const MAX_ENTRIES: usize = 1_000;

/// Why a rule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer:?} {message}")]
pub struct RuleError {
    /// JSON pointer to the place; empty for the rule itself.
    pub pointer: String,
    /// What is wrong with it.
    pub message: String,
}

impl RuleError {
    fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            message: message.into(),
        }
    }
}

/// The contracts that deciding a sound rule needs, each once, with all that must be kept of it.
#[must_use]
pub fn needs(rule: &Rule) -> Vec<Need> {
    let mut scopes = BTreeMap::new();
    collect(rule, &mut scopes);
    let need = |((chain, contract), scope)| Need {
        chain,
        contract,
        scope,
    };
    scopes.into_iter().map(need).collect()
}

fn collect(rule: &Rule, scopes: &mut BTreeMap<(crate::domain::ChainId, alloy::primitives::Address), Scope>) {
    let (contracts, scope) = match rule {
        Rule::All { of } | Rule::Any { of } | Rule::AtLeast { of, .. } => {
            return of.iter().for_each(|branch| collect(branch, scopes));
        }
        Rule::Not { of } => return collect(of, scopes),
        Rule::PlanActive { .. } | Rule::Allowlist { .. } => return,
        Rule::Erc20Balance { contracts, .. } => (contracts, Scope::of(Standard::Erc20)),
        Rule::Erc721Balance { contracts, .. } => (contracts, Scope::of(Standard::Erc721)),
        Rule::Erc721Token { contracts, .. } => (contracts, Scope::of(Standard::Erc721).with_ids()),
        Rule::Erc1155Balance { contracts, ids, .. } if ids.is_empty() => {
            (contracts, Scope::of(Standard::Erc1155))
        }
        Rule::Erc1155Balance { contracts, .. } => (contracts, Scope::of(Standard::Erc1155).with_ids()),
    };
    for at in contracts.as_slice() {
        let known = scopes.entry((at.chain_id, at.contract)).or_default();
        *known = known.union(scope);
    }
}

#[cfg(test)]
mod tests;
