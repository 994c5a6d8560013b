//! Deciding a rule. Every combinator is one question: do at least k of these hold?

use alloy::primitives::U256;

use crate::domain::{BalanceRead, Decision, Eligibility, LeafTrace, Reading, Rule};

/// Decides a sound rule from what is known of its balances. An unknown balance leaves the answer unknown only where it
/// could turn it: `any` with one branch that holds is eligible whatever the rest.
///
/// A combinator that [`validate`](super::validate) refuses is unknown here: it lets nobody in and throws nobody out.
#[must_use]
pub fn decide(rule: &Rule, reading: impl Fn(&BalanceRead) -> Reading) -> Decision {
    let mut trace = Vec::new();
    let eligibility = visit(rule, "", &reading, &mut trace);
    Decision { eligibility, trace }
}

fn visit(
    rule: &Rule,
    pointer: &str,
    reading: &impl Fn(&BalanceRead) -> Reading,
    trace: &mut Vec<LeafTrace>,
) -> Eligibility {
    let mut branches = |of: &[Rule]| -> Vec<Eligibility> {
        // Every branch is visited, since the trace names every leaf.
        of.iter()
            .enumerate()
            .map(|(index, branch)| visit(branch, &format!("{pointer}/of/{index}"), reading, trace))
            .collect()
    };
    match rule {
        Rule::All { of } => at_least(of.len(), &branches(of)),
        Rule::Any { of } => at_least(1, &branches(of)),
        Rule::AtLeast { k, of } => at_least(usize::try_from(*k).unwrap_or(usize::MAX), &branches(of)),
        Rule::Not { of } => not(visit(of, &format!("{pointer}/of"), reading, trace)),
        Rule::Erc721Balance {
            chain_id,
            contract,
            at_least,
        } => {
            let read = BalanceRead {
                chain: *chain_id,
                contract: *contract,
            };
            let reading = reading(&read);
            let outcome = compare(reading, at_least.0);
            trace.push(LeafTrace {
                pointer: pointer.to_owned(),
                read,
                reading,
                at_least: at_least.0,
                outcome,
            });
            outcome
        }
    }
}

fn compare(reading: Reading, at_least: U256) -> Eligibility {
    match reading {
        Reading::Known(balance) if balance >= at_least => Eligibility::Eligible,
        Reading::Known(_) => Eligibility::Ineligible,
        Reading::Unknown => Eligibility::Unknown,
    }
}

pub(super) fn at_least(k: usize, outcomes: &[Eligibility]) -> Eligibility {
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    let (eligible, unknown) = (count(Eligibility::Eligible), count(Eligibility::Unknown));
    if k == 0 || k > outcomes.len() {
        Eligibility::Unknown
    } else if eligible >= k {
        Eligibility::Eligible
    } else if eligible + unknown < k {
        Eligibility::Ineligible
    } else {
        Eligibility::Unknown
    }
}

pub(super) const fn not(outcome: Eligibility) -> Eligibility {
    match outcome {
        Eligibility::Eligible => Eligibility::Ineligible,
        Eligibility::Ineligible => Eligibility::Eligible,
        Eligibility::Unknown => Eligibility::Unknown,
    }
}
