//! What leaves decide, against the simplest way to say it.

use std::collections::HashMap;

use serde_json::json;

use super::holdings::{OTHER, USDC, coins};
use super::*;
use crate::domain::{IdMatch, TokenId};

const WALLETS: [Address; 3] = [
    Address::repeat_byte(0xa1),
    Address::repeat_byte(0xa2),
    Address::repeat_byte(0xa3),
];

/// What three wallets hold, as (contract, asset, wallet).
#[derive(Default)]
struct World {
    user: Option<UserId>,
    wallets: Vec<Address>,
    held: HashMap<(Address, Option<TokenId>, Address), Option<u64>>,
}

fn known(value: Option<u64>) -> Reading {
    value.map_or(UNREAD, |value| Reading::Known(U256::from(value)))
}

impl Readings for World {
    fn user(&self) -> Option<&UserId> {
        self.user.as_ref()
    }

    fn wallets(&self) -> &[Address] {
        &self.wallets
    }

    fn balance(&self, at: &ContractAt, asset: Asset, wallet: Address) -> Reading {
        let held = self.held.get(&(at.contract, asset.id, wallet)).copied();
        known(held.unwrap_or(Some(0)))
    }

    fn holds_one_in(&self, at: &ContractAt, ranges: &[IdRange], wallet: Address) -> Reading {
        let mut count = Some(0);
        for ((contract, id, holder), held) in &self.held {
            let inside =
                id.is_some_and(|id| ranges.iter().any(|range| (range.from..=range.to).contains(&id)));
            if *contract == at.contract && *holder == wallet && inside {
                count = count.zip(*held).map(|(count, held)| count + held);
            }
        }
        known(count.map(|count| u64::from(count > 0)))
    }

    fn plan_active(&self, plan: &PlanId) -> Reading {
        known(self.user.as_ref().map(|_| u64::from(plan.as_str() == "pro")))
    }
}

fn id(number: u64) -> TokenId {
    TokenId(U256::from(number))
}

/// The number of a leaf over these wallets, or nothing where it is not sure: the simplest way to say it.
fn number(rule: &Rule, world: &World, wallets: &[Address]) -> u64 {
    let held = |at: &ContractAt, id: Option<TokenId>| -> u64 {
        let of = |wallet: &Address| world.held.get(&(at.contract, id, *wallet)).copied().flatten();
        let scale = if at.decimals == Some(1) { 10 } else { 1 };
        wallets.iter().filter_map(of).sum::<u64>() * scale
    };
    let over = |contracts: &Contracts, id| contracts.as_slice().iter().map(|at| held(at, id)).sum();
    match rule {
        Rule::Erc20Balance { contracts, .. } | Rule::Erc721Balance { contracts, .. } => over(contracts, None),
        Rule::Erc1155Balance {
            contracts,
            ids,
            id_match,
            ..
        } => {
            let each = ids.iter().map(|id| over(contracts, Some(*id)));
            match id_match {
                IdMatch::Any => each.max().unwrap(),
                IdMatch::All => each.min().unwrap(),
                IdMatch::Sum => each.sum(),
            }
        }
        Rule::Erc721Token {
            contracts,
            ids,
            ranges,
        } => {
            let listed = |token: u64| {
                ids.contains(&id(token))
                    || ranges
                        .iter()
                        .any(|range| (range.from..=range.to).contains(&id(token)))
            };
            let tokens = (0..4).filter(|token| listed(*token));
            u64::from(tokens.map(|token| over(contracts, Some(id(token)))).sum::<u64>() > 0)
        }
        _ => unreachable!(),
    }
}

fn holds_naively(rule: &Rule, world: &World) -> bool {
    let (least, most, aggregation) = match rule {
        Rule::Erc20Balance {
            at_least,
            at_most,
            aggregation,
            ..
        } => (*at_least, *at_most, *aggregation),
        Rule::Erc721Balance {
            at_least,
            aggregation,
            ..
        }
        | Rule::Erc1155Balance {
            at_least,
            aggregation,
            ..
        } => (Some(*at_least), None, *aggregation),
        _ => (Some(Amount::from(1)), None, Aggregation::Sum),
    };
    let fits = |number: u64| {
        let number = Amount::from(number);
        least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most)
    };
    match aggregation {
        Aggregation::Sum => fits(number(rule, world, &world.wallets)),
        Aggregation::PerWallet => world
            .wallets
            .iter()
            .any(|wallet| fits(number(rule, world, &[*wallet]))),
    }
}

impl Random {
    fn contracts(&mut self, is_money: bool) -> Contracts {
        let at = |contract, decimals| ContractAt {
            decimals: is_money.then_some(decimals),
            ..ContractAt::new(ChainId(1), contract)
        };
        if self.below(2) == 0 {
            Contracts::One(at(USDC, 2))
        } else {
            Contracts::Many {
                contracts: vec![at(USDC, 2), at(OTHER, 1)],
            }
        }
    }

    fn holding(&mut self) -> Rule {
        let aggregation = if self.below(2) == 0 {
            Aggregation::Sum
        } else {
            Aggregation::PerWallet
        };
        let at_least = Amount::from(1 + self.below(6));
        let ids = |random: &mut Self| {
            (0..3)
                .filter(|_| random.below(2) == 0)
                .map(id)
                .collect::<Vec<_>>()
        };
        match self.below(4) {
            0 => Rule::Erc20Balance {
                contracts: self.contracts(true),
                at_least: (self.below(3) > 0).then_some(at_least),
                at_most: Some(Amount::from(self.below(12))),
                aggregation,
            },
            1 => Rule::Erc721Balance {
                contracts: self.contracts(false),
                at_least,
                aggregation,
            },
            2 => Rule::Erc721Token {
                contracts: self.contracts(false),
                ids: ids(self),
                ranges: vec![IdRange {
                    from: id(1),
                    to: id(1 + self.below(3)),
                }],
            },
            _ => Rule::Erc1155Balance {
                contracts: self.contracts(false),
                ids: [vec![id(3)], ids(self)].concat(),
                at_least,
                id_match: [IdMatch::Any, IdMatch::All, IdMatch::Sum][usize::try_from(self.below(3)).unwrap()],
                aggregation,
            },
        }
    }

    fn world(&mut self, unknowns: u64) -> World {
        let mut world = World {
            wallets: WALLETS[..usize::try_from(self.below(4)).unwrap()].to_vec(),
            ..World::default()
        };
        for contract in [USDC, OTHER] {
            for asset in [None, Some(id(0)), Some(id(1)), Some(id(2)), Some(id(3))] {
                for wallet in WALLETS {
                    let value = (self.below(10) >= unknowns).then(|| self.below(3));
                    world.held.insert((contract, asset, wallet), value);
                }
            }
        }
        world
    }
}

#[test]
fn every_leaf_decides_as_the_simplest_way_to_say_it() {
    let mut random = Random(11);
    let mut outcomes = [0, 0];
    for _ in 0..4_000 {
        let (rule, world) = (random.holding(), random.world(0));
        let expected = holds_naively(&rule, &world);
        let decision = super::super::decide(&rule, &world);
        let outcome = if expected { Eligible } else { Ineligible };
        assert_eq!(
            decision.eligibility, outcome,
            "{rule:?} {:?} {:?}",
            world.held, world.wallets
        );
        if matches!(
            &rule,
            Rule::Erc721Balance {
                aggregation: Aggregation::Sum,
                ..
            }
        ) {
            let number = U256::from(number(&rule, &world, &world.wallets));
            assert_eq!(decision.trace[0].reading, Reading::Known(number));
        }
        outcomes[usize::from(expected)] += 1;
    }
    assert!(outcomes.iter().all(|count| *count > 500), "{outcomes:?}");
}

#[test]
fn no_value_of_what_is_unknown_turns_a_leaf_that_is_decided() {
    let mut random = Random(12);
    let (mut decided, mut open) = (0, 0);
    for _ in 0..3_000 {
        let (rule, world) = (random.holding(), random.world(2));
        let eligibility = super::super::decide(&rule, &world).eligibility;
        if eligibility == Unknown {
            open += 1;
            continue;
        }
        for _ in 0..20 {
            let mut filled = World {
                user: None,
                wallets: world.wallets.clone(),
                held: world.held.clone(),
            };
            for value in filled.held.values_mut() {
                value.get_or_insert_with(|| random.below(4));
            }
            let held = holds_naively(&rule, &filled);
            assert_eq!(
                held,
                eligibility == Eligible,
                "{rule:?} {:?} {:?}",
                world.held,
                filled.held
            );
        }
        decided += 1;
    }
    assert!(decided > 500 && open > 500, "{decided} {open}");
}

#[test]
fn lists_and_plans_are_unknown_only_where_no_user_is_named() {
    let list = |wallets: Vec<Address>, users: &[&str]| Rule::Allowlist {
        wallets,
        users: users.iter().map(|user| user.parse().unwrap()).collect(),
    };
    let plan = |plan: &str| Rule::PlanActive { plan: plan.into() };
    let stranger = |wallets: &[Address]| World {
        wallets: wallets.to_vec(),
        ..World::default()
    };
    let alice = World {
        user: Some("alice".parse().unwrap()),
        ..stranger(&WALLETS[..1])
    };
    for (rule, world, expected) in [
        (list(vec![WALLETS[0]], &[]), &stranger(&WALLETS), Eligible),
        (list(vec![WALLETS[2]], &[]), &stranger(&WALLETS[..2]), Ineligible),
        (list(vec![], &["alice"]), &stranger(&WALLETS), Unknown),
        (list(vec![WALLETS[1]], &["alice"]), &stranger(&WALLETS), Eligible),
        (list(vec![], &["alice", "bob"]), &alice, Eligible),
        (list(vec![WALLETS[1]], &["bob"]), &alice, Ineligible),
        (plan("pro"), &alice, Eligible),
        (plan("free"), &alice, Ineligible),
        (plan("pro"), &stranger(&[]), Unknown),
    ] {
        assert_eq!(
            super::super::decide(&rule, world).eligibility,
            expected,
            "{rule:?}"
        );
    }
}

#[test]
fn a_trace_shows_so_many_balances_and_counts_the_rest() {
    let held = |wallet: &Address| ((USDC, None, *wallet), Some(2));
    let wallets: Vec<Address> = (0..50_u64)
        .map(|n| Address::left_padding_from(&n.to_be_bytes()))
        .collect();
    let mut world = World {
        held: wallets.iter().map(held).collect(),
        wallets,
        ..World::default()
    };
    world.held.insert((USDC, None, world.wallets[0]), Some(0));
    let rule = parse(&coins(json!({"atLeast": "98"}))).unwrap().rule;
    let decision = super::super::decide(&rule, &world);
    let leaf = &decision.trace[0];
    assert_eq!(
        (leaf.reads.len(), leaf.reads_omitted),
        (20, 29),
        "zeros are left out"
    );
    assert_eq!((leaf.reading, leaf.outcome), (known(Some(98)), Eligible));
}
