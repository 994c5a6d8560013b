//! Leaves over holdings, plans and lists: how they are written, what they need, what is refused and what is remarked.

use serde_json::{Value, json};

use super::*;

pub(super) const USDC: Address = Address::repeat_byte(6);
pub(super) const OTHER: Address = Address::repeat_byte(7);

pub(super) fn coins(fields: Value) -> Value {
    let mut leaf = json!({"type": "erc20_balance", "chainId": 1, "contract": USDC.to_string()});
    let Value::Object(fields) = fields else {
        panic!("{fields} has no fields");
    };
    leaf.as_object_mut().unwrap().extend(fields);
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
