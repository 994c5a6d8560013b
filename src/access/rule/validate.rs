//! Checks of a rule however it came to be.

use alloy::primitives::U256;

use super::lint::{self, Lint, LintCode};
use super::{MAX_DEPTH, MAX_ENTRIES, MAX_NODES, RuleError};
use crate::domain::{Contracts, IdRange, Rule, TokenId};

pub(super) const ZERO_MINIMUM: &str = "must be at least 1: everybody holds zero";

/// The most decimals that a token may have.
pub(super) const MAX_DECIMALS: u8 = 36;

/// Checks that a rule is sound, and says what may surprise.
///
/// # Errors
/// More than [`MAX_NODES`] nodes, [`MAX_DEPTH`] levels or [`MAX_ENTRIES`] entries, an empty list, a `k` outside 1 to the
/// number of branches, a minimum of zero, no limit at all, a contract twice in one leaf, a range that ends before it begins,
/// several ERC-20 contracts of unknown decimals.
pub fn validate(rule: &Rule) -> Result<Vec<Lint>, RuleError> {
    let mut validation = Validation::default();
    validation.visit(rule, "", 1, None)?;
    Ok(validation.lints)
}

#[derive(Default)]
struct Validation {
    nodes: usize,
    entries: usize,
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
            Rule::All { of } | Rule::Any { of } => {
                if matches!(rule, Rule::All { .. }) && lint::contradict(of) {
                    self.remark(pointer, LintCode::NeverHolds);
                }
                self.visit_all(of, pointer, depth, negated_by)
            }
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
            leaf => {
                self.leaf(leaf, pointer)?;
                for code in lint::leaf(leaf, negated_by.is_some()) {
                    let is_negation = matches!(code, LintCode::NotOverBalance | LintCode::NotOverWallets);
                    self.remark(negated_by.filter(|_| is_negation).unwrap_or(pointer), code);
                }
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

    fn remark(&mut self, pointer: &str, code: LintCode) {
        let lint = Lint {
            pointer: pointer.to_owned(),
            code,
        };
        if !self.lints.contains(&lint) {
            self.lints.push(lint);
        }
    }

    fn leaf(&mut self, leaf: &Rule, pointer: &str) -> Result<(), RuleError> {
        let minimum = |at_least: Option<U256>| match at_least {
            Some(minimum) if minimum.is_zero() => {
                Err(RuleError::new(format!("{pointer}/atLeast"), ZERO_MINIMUM))
            }
            _ => Ok(()),
        };
        match leaf {
            Rule::Erc20Balance {
                contracts,
                at_least,
                at_most,
                ..
            } => {
                self.contracts(contracts, pointer)?;
                same_units(contracts, pointer)?;
                if at_least.is_none() && at_most.is_none() {
                    let message = "is missing: say atLeast, atMost, or both, in base units";
                    return Err(RuleError::new(format!("{pointer}/atLeast"), message));
                }
                minimum(at_least.map(|amount| amount.0))
            }
            Rule::Erc721Balance {
                contracts, at_least, ..
            } => {
                self.contracts(contracts, pointer)?;
                minimum(Some(at_least.0))
            }
            Rule::Erc721Token {
                contracts,
                ids,
                ranges,
            } => {
                self.contracts(contracts, pointer)?;
                self.tokens(ids, ranges, pointer)
            }
            Rule::Erc1155Balance {
                contracts,
                ids,
                at_least,
                ..
            } => {
                self.contracts(contracts, pointer)?;
                self.count(ids.len(), &format!("{pointer}/ids"))?;
                minimum(Some(at_least.0))
            }
            Rule::Allowlist { wallets, users } => {
                self.count(wallets.len(), &format!("{pointer}/wallets"))?;
                self.count(users.len(), &format!("{pointer}/users"))?;
                if wallets.is_empty() && users.is_empty() {
                    let message = "is empty: name wallets, users, or both";
                    return Err(RuleError::new(format!("{pointer}/wallets"), message));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn contracts(&mut self, contracts: &Contracts, pointer: &str) -> Result<(), RuleError> {
        let Contracts::Many { contracts } = contracts else {
            return self.count(1, &format!("{pointer}/contract"));
        };
        let pointer = format!("{pointer}/contracts");
        if contracts.is_empty() {
            return Err(RuleError::new(pointer, "is empty: name at least one contract"));
        }
        self.count(contracts.len(), &pointer)?;
        for (index, at) in contracts.iter().enumerate() {
            let place = |known: &crate::domain::ContractAt| (known.chain_id, known.contract);
            if contracts[..index].iter().any(|known| place(known) == place(at)) {
                let message = "is there twice: its tokens would count double";
                return Err(RuleError::new(format!("{pointer}/{index}"), message));
            }
        }
        Ok(())
    }

    fn tokens(&mut self, ids: &[TokenId], ranges: &[IdRange], pointer: &str) -> Result<(), RuleError> {
        self.count(ids.len(), &format!("{pointer}/ids"))?;
        self.count(ranges.len(), &format!("{pointer}/ranges"))?;
        if ids.is_empty() && ranges.is_empty() {
            let message = "is empty: name ids, ranges, or both";
            return Err(RuleError::new(format!("{pointer}/ids"), message));
        }
        let backward = ranges.iter().position(|range| range.from > range.to);
        backward.map_or(Ok(()), |index| {
            let message = "is below \"from\": a range goes up, both ends inclusive";
            Err(RuleError::new(format!("{pointer}/ranges/{index}/to"), message))
        })
    }

    fn count(&mut self, more: usize, pointer: &str) -> Result<(), RuleError> {
        self.entries = self.entries.saturating_add(more);
        within_entries(self.entries, pointer)
    }
}

/// Amounts of several contracts are added only where it is known what one of each is worth.
fn same_units(contracts: &Contracts, pointer: &str) -> Result<(), RuleError> {
    let many = matches!(contracts, Contracts::Many { contracts } if contracts.len() > 1);
    for (index, at) in contracts.as_slice().iter().enumerate() {
        let place = match contracts {
            Contracts::One(_) => format!("{pointer}/decimals"),
            Contracts::Many { .. } => format!("{pointer}/contracts/{index}/decimals"),
        };
        if many && at.decimals.is_none() {
            let message = "is missing, and not known here: without it these tokens cannot be added";
            return Err(RuleError::new(place, message));
        }
        if at.decimals.is_some_and(|decimals| decimals > MAX_DECIMALS) {
            return Err(RuleError::new(place, format!("must be at most {MAX_DECIMALS}")));
        }
    }
    Ok(())
}

pub(super) fn within_bounds(nodes: usize, depth: usize, pointer: &str) -> Result<(), RuleError> {
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

pub(super) fn within_entries(entries: usize, pointer: &str) -> Result<(), RuleError> {
    if entries <= MAX_ENTRIES {
        return Ok(());
    }
    let message = format!(
        "is too long: a rule names at most {MAX_ENTRIES} contracts, ids, ranges, wallets and users together"
    );
    Err(RuleError::new(pointer, message))
}
