//! The flat published shape, which becomes a tree of one leaf.

use serde_json::{Value, json};

use super::holdings::OTHER;
use super::*;

#[test]
fn the_flat_shape_becomes_one_leaf() {
    let flat = |chain: Value, condition: Value| {
        json!({"name": "Apes", "type": "erc721", "contractAddress": CONTRACT, "chainId": chain,
            "condition": condition, "action": {"type": "grant_access"}})
    };
    let expected = |chain, minimum: u64| Rule::Erc721Balance {
        contracts: Contracts::one(ChainId(chain), CONTRACT.parse().unwrap()),
        at_least: Amount::from(minimum),
        aggregation: Aggregation::Sum,
    };
    let minimum = |value: Value| json!({"type": "minimum_balance", "minimumBalance": value});
    for (chain, id) in [
        (json!(1), 1),
        (json!("0x89"), 137),
        (json!("eip155:10"), 10),
        (json!("42161"), 42_161),
        (json!("ethereum"), 1),
        (json!("Polygon"), 137),
        (json!("arbitrum"), 42_161),
        (json!("optimism"), 10),
        (json!("base"), 8_453),
        (json!("bsc"), 56),
    ] {
        assert_eq!(
            parse(&flat(chain, minimum(json!("3")))).unwrap().rule,
            expected(id, 3)
        );
    }
    for condition in [
        json!(null),
        json!({}),
        json!({"type": "minimum_balance"}),
        minimum(json!(1)),
    ] {
        assert_eq!(parse(&flat(json!(1), condition)).unwrap().rule, expected(1, 1));
    }
    for (condition, pointer) in [
        (json!("minimum_balance"), "/condition"),
        (json!({"minimumBalance": "1"}), "/condition/type"),
        (minimum(json!("0")), "/condition/minimumBalance"),
        (minimum(json!("1.5")), "/condition/minimumBalance"),
        (
            json!({"type": "minimum_balance", "tokenId": "7"}),
            "/condition/tokenId",
        ),
    ] {
        assert_eq!(pointer_of(&flat(json!(1), condition)), pointer);
    }
    assert_eq!(pointer_of(&flat(json!("sepolia"), json!(null))), "/chainId");
    assert_eq!(
        pointer_of(&json!({"type": "erc721", "contractAddress": 5, "chainId": 1})),
        "/contractAddress"
    );
}

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
