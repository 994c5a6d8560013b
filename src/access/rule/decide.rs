//! Deciding a rule. Every combinator is one question: do at least k of these hold? Every leaf over holdings is another: is
//! what is held between two numbers?

use alloy::primitives::{Address, U256};

use super::interval::Interval;
use crate::domain::{
    Aggregation, Asset, ContractAt, Contracts, Decision, Eligibility, Gap, IdMatch, IdRange, LeafTrace,
    PlanId, Read, Reading, Rule, Standard, TokenId, UserId,
};

/// Balances that are shown for one leaf.
const MAX_READS_SHOWN: usize = 20;

/// What is known of one who asks.
pub trait Readings {
    /// Who, where a user was named.
    fn user(&self) -> Option<&UserId>;

    /// The wallets that count.
    fn wallets(&self) -> &[Address];

    /// What one wallet holds of a contract.
    fn balance(&self, at: &ContractAt, asset: Asset, wallet: Address) -> Reading;

    /// Whether one wallet holds an ERC-721 token of a contract in one of these ranges: 1, or 0.
    fn holds_one_in(&self, at: &ContractAt, ranges: &[IdRange], wallet: Address) -> Reading;

    /// Whether a plan is active: 1, or 0.
    fn plan_active(&self, plan: &PlanId) -> Reading;
}

/// Decides a sound rule from what is known. What is not known leaves the answer unknown only where it could turn it: `any`
/// with one branch that holds is eligible whatever the rest, and a sum that is reached is reached.
///
/// A combinator that [`validate`](super::validate()) refuses is unknown here: it lets nobody in and throws nobody out.
#[must_use]
pub fn decide(rule: &Rule, readings: &impl Readings) -> Decision {
    let mut deciding = Deciding {
        readings,
        trace: Vec::new(),
    };
    let eligibility = deciding.visit(rule, "");
    Decision {
        eligibility,
        trace: deciding.trace,
    }
}

struct Deciding<'r, R> {
    readings: &'r R,
    trace: Vec<LeafTrace>,
}

/// What a leaf over holdings asks for.
struct Holding<'r> {
    contracts: &'r Contracts,
    what: What<'r>,
    at_least: Option<U256>,
    at_most: Option<U256>,
    aggregation: Aggregation,
}

enum What<'r> {
    All(Standard),
    /// Amounts of ERC-1155 ids.
    Ids(&'r [TokenId], IdMatch),
    /// One ERC-721 token of these.
    OneIn(Vec<IdRange>),
}

/// The balances that were read for a leaf.
#[derive(Default)]
struct Log {
    reads: Vec<Read>,
    omitted: usize,
    gap: Option<Gap>,
}

impl Log {
    fn note(&mut self, at: &ContractAt, id: Option<TokenId>, wallet: Address, reading: Reading) {
        if reading == Reading::Known(U256::ZERO) {
            return;
        }
        if let Reading::Unknown(gap) = reading {
            self.gap.get_or_insert(gap);
        }
        if self.reads.len() == MAX_READS_SHOWN {
            self.omitted += 1;
            return;
        }
        self.reads.push(Read {
            at: *at,
            id,
            wallet,
            reading,
        });
    }
}

impl<R: Readings> Deciding<'_, R> {
    fn visit(&mut self, rule: &Rule, pointer: &str) -> Eligibility {
        let amount = |amount: &crate::domain::Amount| amount.0;
        let holding = match rule {
            Rule::All { of } => return at_least(of.len(), &self.branches(of, pointer)),
            Rule::Any { of } => return at_least(1, &self.branches(of, pointer)),
            Rule::AtLeast { k, of } => {
                let k = usize::try_from(*k).unwrap_or(usize::MAX);
                return at_least(k, &self.branches(of, pointer));
            }
            Rule::Not { of } => return not(self.visit(of, &format!("{pointer}/of"))),
            Rule::PlanActive { plan } => {
                let reading = self.readings.plan_active(plan);
                return self.yes_or_no(rule, pointer, reading);
            }
            Rule::Allowlist { wallets, users } => {
                let reading = self.listed(wallets, users);
                return self.yes_or_no(rule, pointer, reading);
            }
            Rule::Erc20Balance {
                contracts,
                at_least,
                at_most,
                aggregation,
            } => Holding {
                contracts,
                what: What::All(Standard::Erc20),
                at_least: at_least.as_ref().map(amount),
                at_most: at_most.as_ref().map(amount),
                aggregation: *aggregation,
            },
            Rule::Erc721Balance {
                contracts,
                at_least,
                aggregation,
            } => Holding {
                contracts,
                what: What::All(Standard::Erc721),
                at_least: Some(at_least.0),
                at_most: None,
                aggregation: *aggregation,
            },
            Rule::Erc721Token {
                contracts,
                ids,
                ranges,
            } => Holding {
                contracts,
                what: What::OneIn(all_ranges(ids, ranges)),
                at_least: Some(U256::ONE),
                at_most: None,
                aggregation: Aggregation::Sum,
            },
            Rule::Erc1155Balance {
                contracts,
                ids,
                at_least,
                id_match,
                aggregation,
            } => Holding {
                contracts,
                what: What::Ids(ids, *id_match),
                at_least: Some(at_least.0),
                at_most: None,
                aggregation: *aggregation,
            },
        };
        self.hold(&holding, rule.kind(), pointer)
    }

    /// Every branch is visited, since the trace names every leaf.
    fn branches(&mut self, of: &[Rule], pointer: &str) -> Vec<Eligibility> {
        of.iter()
            .enumerate()
            .map(|(index, branch)| self.visit(branch, &format!("{pointer}/of/{index}")))
            .collect()
    }

    fn listed(&self, wallets: &[Address], users: &[UserId]) -> Reading {
        let by_wallet = self
            .readings
            .wallets()
            .iter()
            .any(|wallet| wallets.contains(wallet));
        let by_user = self.readings.user().map(|user| users.contains(user));
        match (by_wallet, by_user) {
            (true, _) | (_, Some(true)) => Reading::Known(U256::ONE),
            (false, None) if !users.is_empty() => Reading::Unknown(Gap::NoUser),
            (false, _) => Reading::Known(U256::ZERO),
        }
    }

    fn yes_or_no(&mut self, rule: &Rule, pointer: &str, reading: Reading) -> Eligibility {
        let outcome = Interval::of(reading, 0).within(U256::ONE, U256::MAX);
        self.trace.push(LeafTrace {
            pointer: pointer.to_owned(),
            kind: rule.kind(),
            reading,
            at_least: None,
            at_most: None,
            reads: Vec::new(),
            reads_omitted: 0,
            outcome,
        });
        outcome
    }

    fn hold(&mut self, holding: &Holding<'_>, kind: &'static str, pointer: &str) -> Eligibility {
        let wallets = self.readings.wallets();
        let (low, high) = (
            holding.at_least.unwrap_or_default(),
            holding.at_most.unwrap_or(U256::MAX),
        );
        let mut log = Log::default();
        let (measure, outcome) = match holding.aggregation {
            Aggregation::Sum => {
                let measure = self.measure(holding, wallets, &mut log);
                (measure, measure.within(low, high))
            }
            Aggregation::PerWallet => {
                let each: Vec<Interval> = wallets
                    .iter()
                    .map(|wallet| self.measure(holding, std::slice::from_ref(wallet), &mut log))
                    .collect();
                let most = each.iter().copied().fold(Interval::ZERO, Interval::greater);
                let outcomes: Vec<_> = each.iter().map(|held| held.within(low, high)).collect();
                (most, some(&outcomes))
            }
        };
        let unknown = Reading::Unknown(log.gap.unwrap_or(Gap::NotRead));
        self.trace.push(LeafTrace {
            pointer: pointer.to_owned(),
            kind,
            reading: measure.exact().map_or(unknown, Reading::Known),
            at_least: holding.at_least,
            at_most: holding.at_most,
            reads: log.reads,
            reads_omitted: log.omitted,
            outcome,
        });
        outcome
    }

    /// The number that a leaf compares, over these wallets together.
    fn measure(&self, holding: &Holding<'_>, wallets: &[Address], log: &mut Log) -> Interval {
        let contracts = holding.contracts.as_slice();
        match &holding.what {
            What::All(standard) => self.sum(contracts, Asset::all(*standard), wallets, log),
            What::Ids([], _) => self.sum(contracts, Asset::all(Standard::Erc1155), wallets, log),
            What::Ids(ids, id_match) => {
                let held: Vec<Interval> = ids
                    .iter()
                    .map(|id| self.sum(contracts, Asset::one(Standard::Erc1155, *id), wallets, log))
                    .collect();
                let combine = match id_match {
                    IdMatch::Any => Interval::greater,
                    IdMatch::All => Interval::lesser,
                    IdMatch::Sum => Interval::plus,
                };
                held.into_iter().reduce(combine).unwrap_or(Interval::ZERO)
            }
            What::OneIn(ranges) => {
                let mut held = Interval::ZERO;
                for at in contracts {
                    for wallet in wallets {
                        let reading = self.readings.holds_one_in(at, ranges, *wallet);
                        log.note(at, None, *wallet, reading);
                        held = held.greater(Interval::of(reading, 0));
                    }
                }
                held
            }
        }
    }

    fn sum(&self, contracts: &[ContractAt], asset: Asset, wallets: &[Address], log: &mut Log) -> Interval {
        let most = contracts.iter().filter_map(|at| at.decimals).max();
        let mut sum = Interval::ZERO;
        for at in contracts {
            let scale = most
                .unwrap_or_default()
                .saturating_sub(at.decimals.or(most).unwrap_or_default());
            for wallet in wallets {
                let reading = self.readings.balance(at, asset, *wallet);
                log.note(at, asset.id, *wallet, reading);
                sum = sum.plus(Interval::of(reading, scale));
            }
        }
        sum
    }
}

fn all_ranges(ids: &[TokenId], ranges: &[IdRange]) -> Vec<IdRange> {
    let one = |id: &TokenId| IdRange { from: *id, to: *id };
    ids.iter().map(one).chain(ranges.iter().copied()).collect()
}

/// Whether one of these holds; none of none does.
fn some(outcomes: &[Eligibility]) -> Eligibility {
    if outcomes.is_empty() {
        return Eligibility::Ineligible;
    }
    at_least(1, outcomes)
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
