//! The rule tree: reading it from callers, checking it, and deciding it in three-valued logic (Kleene's strong K3).
//!
//! Work is bounded by [`MAX_NODES`] and [`MAX_DEPTH`] before anything is built. Errors carry a JSON pointer (RFC 6901).

use std::collections::BTreeSet;

use crate::domain::{BalanceRead, Rule};

mod decide;
mod parse;

pub use decide::decide;
pub use parse::{parse, parse_address, parse_chain};

/// The most nodes of one rule, leaves and combinators together.
pub const MAX_NODES: usize = 200;

/// The deepest nesting of one rule; a lone leaf has depth 1.
pub const MAX_DEPTH: usize = 16;

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

/// A rule that was read and is sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The rule.
    pub rule: Rule,
    /// What its author should know.
    pub lints: Vec<Lint>,
}

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
}

impl LintCode {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotOverBalance => "not_over_balance",
        }
    }

    /// One sentence for people.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::NotOverBalance => {
                "a fresh wallet holds nothing, so anyone can meet a rule that asks not to hold"
            }
        }
    }
}

/// Checks that a rule is sound, and says what may surprise.
///
/// # Errors
/// More than [`MAX_NODES`] nodes or [`MAX_DEPTH`] levels, an empty `of`, a `k` outside 1 to the number of branches, a
/// minimum of zero.
pub fn validate(rule: &Rule) -> Result<Vec<Lint>, RuleError> {
    let mut validation = Validation::default();
    validation.visit(rule, "", 1, None)?;
    Ok(validation.lints)
}

/// The balances that deciding a sound rule needs, each once.
#[must_use]
pub fn needs(rule: &Rule) -> Vec<BalanceRead> {
    let mut reads = BTreeSet::new();
    collect(rule, &mut reads);
    reads.into_iter().collect()
}

fn collect(rule: &Rule, reads: &mut BTreeSet<BalanceRead>) {
    match rule {
        Rule::All { of } | Rule::Any { of } | Rule::AtLeast { of, .. } => {
            for branch in of {
                collect(branch, reads);
            }
        }
        Rule::Not { of } => collect(of, reads),
        Rule::Erc721Balance {
            chain_id, contract, ..
        } => {
            reads.insert(BalanceRead {
                chain: *chain_id,
                contract: *contract,
            });
        }
    }
}

#[derive(Default)]
struct Validation {
    nodes: usize,
    lints: Vec<Lint>,
}

impl Validation {
    /// `negated_by` is the innermost `not` where an odd number of them is above.
    fn visit(
        &mut self,
        rule: &Rule,
        pointer: &str,
        depth: usize,
        negated_by: Option<&str>,
    ) -> Result<(), RuleError> {
        self.nodes += 1;
        within_bounds(self.nodes, depth, pointer)?;
        match rule {
            Rule::All { of } | Rule::Any { of } => self.visit_all(of, pointer, depth, negated_by),
            Rule::AtLeast { k, of } => {
                let possible = usize::try_from(*k).is_ok_and(|k| (1..=of.len()).contains(&k));
                if !of.is_empty() && !possible {
                    let message = format!("must be from 1 to {}, the number of branches", of.len());
                    return Err(RuleError::new(format!("{pointer}/k"), message));
                }
                self.visit_all(of, pointer, depth, negated_by)
            }
            Rule::Not { of } => {
                let negated_by = if negated_by.is_none() { Some(pointer) } else { None };
                self.visit(of, &format!("{pointer}/of"), depth + 1, negated_by)
            }
            Rule::Erc721Balance { at_least, .. } => {
                if at_least.is_zero() {
                    return Err(RuleError::new(format!("{pointer}/atLeast"), ZERO_MINIMUM));
                }
                let lint = negated_by.map(|pointer| Lint {
                    pointer: pointer.to_owned(),
                    code: LintCode::NotOverBalance,
                });
                let new = lint.filter(|lint| !self.lints.contains(lint));
                self.lints.extend(new);
                Ok(())
            }
        }
    }

    fn visit_all(
        &mut self,
        of: &[Rule],
        pointer: &str,
        depth: usize,
        negated_by: Option<&str>,
    ) -> Result<(), RuleError> {
        if of.is_empty() {
            return Err(RuleError::new(
                format!("{pointer}/of"),
                "is empty: a rule needs at least one branch",
            ));
        }
        for (index, branch) in of.iter().enumerate() {
            self.visit(branch, &format!("{pointer}/of/{index}"), depth + 1, negated_by)?;
        }
        Ok(())
    }
}

const ZERO_MINIMUM: &str = "must be at least 1: everybody holds zero";

fn within_bounds(nodes: usize, depth: usize, pointer: &str) -> Result<(), RuleError> {
    if nodes > MAX_NODES {
        return Err(RuleError::new(
            pointer,
            format!("is one node too many: a rule has at most {MAX_NODES}"),
        ));
    }
    if depth > MAX_DEPTH {
        return Err(RuleError::new(
            pointer,
            format!("is too deep: a rule has at most {MAX_DEPTH} levels"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
