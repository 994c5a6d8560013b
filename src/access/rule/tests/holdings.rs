//! Leaves over holdings, plans and lists: how they are written, what they need, and what they decide against the simplest
//! way to say it.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::super::validate::MAX_DECIMALS;
use super::*;
use crate::domain::{IdMatch, TokenId};

const USDC: Address = Address::repeat_byte(6);
const OTHER: Address = Address::repeat_byte(7);
const WALLETS: [Address; 3] = [
    Address::repeat_byte(0xa1),
    Address::repeat_byte(0xa2),
    Address::repeat_byte(0xa3),
];

fn coins(fields: Value) -> Value {
    let mut leaf = json!({"type": "erc20_balance", "chainId": 1, "contract": USDC.to_string()});
    leaf.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    leaf
}

fn codes(value: &Value) -> Vec<(String, &'static str)> {
    let lints = parse(value).unwrap().lints;
    lints
        .into_iter()
        .map(|lint| (lint.pointer, lint.code.as_str()))
        .collect()
}

#[test]
fn every_leaf_is_read_written_and_read_back() {
    let contract = OTHER.to_string();
    for leaf in [
        coins(json!({"atLeast": "5", "atMost": "9", "aggregation": "per_wallet"})),
        json!({"type": "erc20_balance", "atLeast": 1, "contracts": [
            {"chainId": 1, "contract": USDC.to_string()},
            {"chainId": "polygon", "contract": contract, "decimals": 18},
        ]}),
        json!({"type": "erc721_token", "chainId": "0x1", "contract": contract, "ids": [7, "0x8", "7"],
            "ranges": [{"from": "100", "to": "199"}]}),
        json!({"type": "erc1155_balance", "chainId": 1, "contract": contract, "ids": ["1", "2"], "match": "all",
            "atLeast": "3"}),
        json!({"type": "erc1155_balance", "chainId": 1, "contract": contract}),
        json!({"type": "plan_active", "plan": "Professional"}),
        json!({"type": "allowlist", "wallets": [contract], "users": ["alice"]}),
    ] {
        let parsed = parse(&leaf).unwrap();
        let written = serde_json::to_value(&parsed.rule).unwrap();
        assert_eq!(parse(&written).unwrap(), parsed, "{written}");
        assert_eq!(serde_json::from_value::<Rule>(written).unwrap(), parsed.rule);
    }
    let tokens = json!({"type": "erc721_token", "chainId": 1, "contract": contract, "ids": [7, "0x8", "7"]});
    let written = serde_json::to_value(parse(&tokens).unwrap().rule).unwrap();
    assert_eq!(written["ids"], json!(["7", "8"]), "each id once");
    let plan = parse(&json!({"type": "plan_active", "plan": "Professional"})).unwrap();
    assert_eq!(plan.rule, Rule::PlanActive { plan: "pro".into() });
}

#[test]
fn each_refusal_of_a_leaf_points_to_its_place() {
    let nft = |fields: Value| {
        let mut leaf = json!({"type": "erc721_token", "chainId": 1, "contract": OTHER.to_string()});
        leaf.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        leaf
    };
    let pass = |field: &str, value: Value| json!({"type": "erc1155_balance", "chainId": 1, "contract": OTHER.to_string(), field: value});
    let above = format!("0x1{}", "0".repeat(64));
    let at = |contract: Address| json!({"chainId": 1, "contract": contract.to_string()});
    let many = |contracts: Value| json!({"type": "erc20_balance", "atLeast": 1, "contracts": contracts});
    for (value, pointer) in [
        (coins(json!({})), "/atLeast"),
        (coins(json!({"atLeast": "0"})), "/atLeast"),
        (coins(json!({"atMost": "x"})), "/atMost"),
        (coins(json!({"atLeast": 1, "decimals": 18})), "/decimals"),
        (coins(json!({"atLeast": 1, "decimals": 37})), "/decimals"),
        (coins(json!({"atLeast": 1, "decimals": "6"})), "/decimals"),
        (coins(json!({"atLeast": 1, "contracts": []})), "/chainId"),
        (many(json!([])), "/contracts"),
        (many(json!({})), "/contracts"),
        (many(json!([7])), "/contracts/0"),
        (many(json!([{"chainId": 1}])), "/contracts/0/contract"),
        (many(json!([at(USDC), at(OTHER)])), "/contracts/1/decimals"),
        (many(json!([at(USDC), at(USDC)])), "/contracts/1"),
        (nft(json!({})), "/ids"),
        (nft(json!({"ids": 7})), "/ids"),
        (nft(json!({"ids": [7, above]})), "/ids/1"),
        (nft(json!({"ids": [-1]})), "/ids/0"),
        (nft(json!({"ids": [1.5]})), "/ids/0"),
        (nft(json!({"ids": vec![1; MAX_ENTRIES + 1]})), "/ids"),
        (nft(json!({"ranges": [{"from": "1"}]})), "/ranges/0/to"),
        (nft(json!({"ranges": [7]})), "/ranges/0/from"),
        (nft(json!({"ranges": [{"from": "2", "to": "1"}]})), "/ranges/0/to"),
        (nft(json!({"ids": [1], "atLeast": 1})), "/atLeast"),
        (pass("match", json!("most")), "/match"),
        (pass("atLeast", json!(0)), "/atLeast"),
        (pass("ids", json!(["seven"])), "/ids/0"),
        (json!({"type": "plan_active", "plan": "gold"}), "/plan"),
        (json!({"type": "plan_active"}), "/plan"),
        (json!({"type": "allowlist"}), "/wallets"),
        (json!({"type": "allowlist", "wallets": ["0x12"]}), "/wallets/0"),
        (json!({"type": "allowlist", "users": ["a b"]}), "/users/0"),
        (
            json!({"type": "allowlist", "users": vec!["u"; MAX_ENTRIES + 1]}),
            "/users",
        ),
    ] {
        assert_eq!(pointer_of(&value), pointer, "{value}");
    }
    assert!(MAX_DECIMALS < 37);
}

#[test]
fn the_entries_of_all_leaves_together_are_bounded() {
    let list = |count: usize| json!({"type": "allowlist", "users": vec!["u"; count]});
    let two = |count| json!({"type": "any", "of": [list(600), list(count)]});
    assert!(parse(&two(400)).is_ok());
    assert_eq!(pointer_of(&two(401)), "/of/1/users");
}

#[test]
fn what_may_surprise_is_said_at_its_place() {
    let not = |rule: Value| json!({"type": "not", "of": rule});
    let at = |pointer: &str, code| (pointer.to_owned(), code);
    let list = json!({"type": "allowlist", "wallets": [OTHER.to_string()]});
    for (rule, expected) in [
        (coins(json!({"atLeast": 1})), vec![]),
        (coins(json!({"atMost": 5})), vec![at("", "at_most_is_negation")]),
        (not(coins(json!({"atMost": 5}))), vec![]),
        (
            not(coins(json!({"atLeast": 5}))),
            vec![at("", "not_over_balance")],
        ),
        (
            coins(json!({"atLeast": 6, "atMost": 5})),
            vec![at("", "never_holds"), at("", "at_most_is_negation")],
        ),
        (
            coins(json!({"atMost": U256::MAX.to_string()})),
            vec![at("", "always_holds"), at("", "at_most_is_negation")],
        ),
        (not(list.clone()), vec![at("", "not_over_wallets")]),
        (list, vec![]),
        (not(json!({"type": "allowlist", "users": ["u"]})), vec![]),
        (
            json!({"type": "all", "of": [coins(json!({"atLeast": 6})), coins(json!({"atMost": 5}))]}),
            vec![at("", "never_holds"), at("/of/1", "at_most_is_negation")],
        ),
        (
            json!({"type": "all", "of": [coins(json!({"atLeast": 5})), coins(json!({"atMost": 5}))]}),
            vec![at("/of/1", "at_most_is_negation")],
        ),
    ] {
        assert_eq!(codes(&rule), expected, "{rule}");
    }
}

#[test]
fn each_contract_is_needed_once_for_all_that_is_read_of_it() {
    let contract = OTHER.to_string();
    let rule = json!({"type": "any", "of": [
        {"type": "erc721_balance", "chainId": 1, "contract": contract},
        {"type": "erc721_token", "chainId": 1, "contract": contract, "ids": [1]},
        {"type": "erc1155_balance", "chainId": 137, "contract": contract},
        {"type": "plan_active", "plan": "pro"},
        coins(json!({"atLeast": 1})),
    ]});
    let needs = needs(&parse(&rule).unwrap().rule);
    let scopes: Vec<_> = needs
        .iter()
        .map(|need| (need.chain.0, need.contract, need.scope))
        .collect();
    assert_eq!(
        scopes,
        [
            (1, USDC, Scope::of(Standard::Erc20)),
            (1, OTHER, Scope::of(Standard::Erc721).with_ids()),
            (137, OTHER, Scope::of(Standard::Erc1155)),
        ]
    );
}

/// The flat published shape of every standard.
#[test]
fn the_flat_shape_of_each_standard_becomes_one_leaf() {
    let flat = |kind: &str, condition: Value| json!({"type": kind, "contractAddress": OTHER.to_string(), "chainId": "ethereum", "condition": condition});
    let minimum = |value: Value| json!({"type": "minimum_balance", "minimumBalance": value});
    let leaf = |kind: &str, rest: Value| {
        let mut leaf = json!({"type": kind, "chainId": 1, "contract": OTHER.to_checksum(None)});
        leaf.as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        leaf
    };
    let token = |id: Value| json!({"type": "specific_token", "tokenId": id});
    for (shape, expected) in [
        (
            flat("erc20", minimum(json!("1000000000000000000"))),
            leaf("erc20_balance", json!({"atLeast": "1000000000000000000"})),
        ),
        (
            flat("erc721", token(json!("0x10"))),
            leaf("erc721_token", json!({"ids": ["16"]})),
        ),
        (
            flat("erc1155", token(json!(4))),
            leaf("erc1155_balance", json!({"ids": ["4"], "atLeast": "1"})),
        ),
        (
            flat(
                "erc1155",
                json!({"type": "minimum_balance", "minimumBalance": 5, "tokenId": "4"}),
            ),
            leaf("erc1155_balance", json!({"ids": ["4"], "atLeast": "5"})),
        ),
        (
            flat("erc1155", minimum(json!(5))),
            leaf("erc1155_balance", json!({"atLeast": "5"})),
        ),
    ] {
        let parsed = parse(&shape).unwrap();
        assert_eq!(serde_json::to_value(parsed.rule).unwrap(), expected, "{shape}");
    }
    for (shape, pointer) in [
        (flat("erc20", json!(null)), "/condition/type"),
        (flat("erc20", minimum(json!(null))), "/condition/minimumBalance"),
        (flat("erc20", minimum(json!("0"))), "/condition/minimumBalance"),
        (flat("erc20", token(json!(1))), "/condition/type"),
        (flat("erc721", token(json!("x"))), "/condition/tokenId"),
        (
            flat("erc721", json!({"type": "specific_token"})),
            "/condition/tokenId",
        ),
        (flat("erc1155", json!(null)), "/condition/type"),
        (flat("punk", minimum(json!(1))), "/type"),
    ] {
        assert_eq!(pointer_of(&shape), pointer, "{shape}");
    }
}

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
