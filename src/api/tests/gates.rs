//! Gates in each of their shapes, and what they answer.

use serde_json::json;

use super::*;

const GATES: &str = "/api/token-gates?tenantId=acme";
const VERIFY: &str = "/api/token-gates/verify?tenantId=acme";

fn leaf() -> Value {
    json!({"type": "erc721_balance", "chainId": 31337, "contract": NFT.to_string(), "atLeast": "1"})
}

fn tree() -> Value {
    json!({"name": "Members", "action": {"type": "unlock_channel", "channelId": "c1"}, "rule": leaf()})
}

#[tokio::test]
async fn a_gate_is_made_shown_and_removed() {
    let api = Api::open().await;
    let made = api.post_with(GATES, &[("idempotency-key", "k")], tree()).await;
    assert_eq!(made.status, 201);
    assert_eq!(
        made.ok()["action"],
        json!({"type": "unlock_channel", "channelId": "c1"})
    );
    assert_eq!(made.body["rule"]["contract"], NFT.to_checksum(None));
    assert_eq!(made.body["lints"], json!([]));
    let again = api.post_with(GATES, &[("idempotency-key", "k")], tree()).await;
    assert_eq!(
        (&again.body, again.header("idempotency-replayed")),
        (&made.body, "true")
    );
    let path = format!("{}?tenantId=acme", made.header("location"));
    assert_eq!(api.get(&path).await.ok(), &made.body);
    assert_eq!(api.get(GATES).await.ok()["gates"], json!([made.body]));
    let elsewhere = path.replace("acme", "other");
    api.get(&elsewhere).await.refused(404, "GATE_NOT_FOUND");
    api.delete(&elsewhere).await.refused(404, "GATE_NOT_FOUND");
    assert_eq!(api.delete(&path).await.status, 204);
    api.delete(&path).await.refused(404, "GATE_NOT_FOUND");
    assert_eq!(api.get(GATES).await.ok()["gates"], json!([]));
}

#[tokio::test]
async fn both_published_shapes_become_a_tree_of_one_leaf() {
    let api = Api::open().await;
    let flat = json!({
        "type": "erc721", "contractAddress": NFT.to_string(), "chainId": "0x7a69",
        "condition": {"type": "minimum_balance", "minimumBalance": "2"},
        "action": {"type": "grant_role", "roleId": "r1"},
    });
    let made = api.post(GATES, flat).await;
    assert_eq!(made.ok()["rule"]["atLeast"], "2");
    assert_eq!(made.body["action"]["roleId"], "r1");
    assert!(made.body["name"].as_str().unwrap().contains("eip155:31337"));
    let network = json!({
        "channelId": "c1", "roleId": null, "tokenType": "ERC721", "contractAddress": NFT.to_string(),
        "network": 31337, "tokenIds": [], "minTokenCount": 3, "name": "Three", "enabled": false,
    });
    let made = api.post(GATES, network).await;
    assert_eq!(made.ok()["rule"]["atLeast"], "3");
    assert_eq!(made.body["enabled"], false);
    assert_eq!(
        made.body["action"],
        json!({"type": "unlock_channel", "channelId": "c1"})
    );
    let negated = json!({"name": "Strangers", "rule": {"type": "not", "of": leaf()}});
    let made = api.post(GATES, negated).await;
    assert_eq!(made.ok()["lints"][0]["code"], "not_over_balance");
    assert_eq!(made.body["action"], json!({"type": "grant_access"}));
}

#[tokio::test]
async fn published_shapes_of_every_standard_are_stored_in_base_units() {
    let api = Api::open().await;
    let at = |kind: &str, contract: Address| json!({"tokenType": kind, "contractAddress": contract.to_string(), "network": 31337});
    let with = |mut shape: Value, field: &str, value: Value| {
        shape[field] = value;
        shape
    };
    let tokens = with(at("erc721", NFT), "tokenIds", json!(["7", 9]));
    let passes = with(at("ERC1155", NFT), "tokenIds", json!(["7"]));
    let coins = with(at("erc20", USDC), "minBalance", json!("1.5"));
    let others = with(at("erc20", NFT), "minBalance", json!(2));
    for (shape, expected) in [
        (tokens, json!({"type": "erc721_token", "ids": ["7", "9"]})),
        (
            with(passes, "minTokenCount", json!("3")),
            json!({"type": "erc1155_balance", "ids": ["7"], "atLeast": "3"}),
        ),
        (
            coins,
            json!({"type": "erc20_balance", "atLeast": "1500000", "decimals": 6}),
        ),
        (
            with(others, "decimals", json!(18)),
            json!({"type": "erc20_balance", "atLeast": "2000000000000000000", "decimals": 18}),
        ),
    ] {
        let made = api.post(GATES, shape).await;
        let mut rule = made.ok()["rule"].clone();
        for field in ["chainId", "contract"] {
            rule.as_object_mut().unwrap().remove(field).unwrap();
        }
        assert_eq!(rule, expected);
    }
}

#[tokio::test]
async fn a_gate_is_changed_in_part_and_as_a_whole() {
    let api = Api::open().await;
    let made = api.post(GATES, tree()).await;
    let path = format!("{}?tenantId=acme", made.header("location"));
    let renamed = api.put(&path, json!({"name": "Friends", "enabled": false})).await;
    let mut expected = made.ok().clone();
    expected["name"] = "Friends".into();
    expected["enabled"] = false.into();
    assert_eq!(renamed.ok(), &expected);
    let rule = json!({"type": "not", "of": leaf()});
    let whole = json!({"description": "all", "action": {"type": "grant_access"}, "rule": rule});
    let changed = api.put(&path, whole).await;
    assert_eq!(changed.ok()["rule"]["type"], "not");
    assert_eq!(changed.body["lints"][0]["code"], "not_over_balance");
    assert_eq!(changed.body["description"], "all");
    let flat = json!({"type": "erc20", "contractAddress": USDC.to_string(), "chainId": 31337,
        "condition": {"type": "minimum_balance", "minimumBalance": "5"}, "description": ""});
    let changed = api.put(&path, flat).await;
    assert_eq!(changed.ok()["rule"]["type"], "erc20_balance");
    assert_eq!(changed.body["name"], "Friends", "what is left out stays");
    assert_eq!(changed.body["description"], Value::Null);
    assert_eq!(api.get(&path).await.ok(), &changed.body);
    assert_eq!(
        api.engine.watches(ANVIL).len(),
        2,
        "the new rule's contract is watched"
    );
    let elsewhere = path.replace("acme", "other");
    api.put(&elsewhere, json!({}))
        .await
        .refused(404, "GATE_NOT_FOUND");
    for (body, status, field) in [
        (json!({"name": " "}), 422, "name"),
        (json!({"description": "\u{0}"}), 422, "description"),
        (json!({"enabled": "yes"}), 400, "enabled"),
        (
            json!({"action": {"type": "grant_role", "roleId": ""}}),
            422,
            "roleId",
        ),
        (json!({"rule": {"type": "all", "of": []}}), 422, "rule.of"),
        (json!({"rule": 7}), 422, "rule"),
        (json!({"condition": {}}), 400, "condition"),
        (
            json!({"rule": {"type": "erc721_balance", "chainId": 5, "contract": NFT.to_string()}}),
            422,
            "chainId",
        ),
    ] {
        let answer = api.put(&path, body.clone()).await;
        assert_refused_at(&answer, (&body, status, field));
    }
    assert_eq!(api.get(&path).await.ok(), &changed.body);
}

#[tokio::test]
async fn rules_over_plans_and_lists_are_answered_without_any_chain() {
    let api = Api::open().await;
    let plan = json!({"name": "Free", "rule": {"type": "plan_active", "plan": "free"}});
    let list = json!({"name": "Friends", "rule": {"type": "allowlist", "users": ["alice"], "wallets": []}});
    let gates = [api.post(GATES, plan).await, api.post(GATES, list).await];
    let gates = gates.each_ref().map(|made| made.ok()["id"].clone());
    let answers = async |mut who: Value| {
        who["gateIds"] = json!(gates);
        let view = api.post(VERIFY, who).await;
        let results = view.ok()["results"].as_array().unwrap().clone();
        results
            .iter()
            .map(|result| (result["eligibility"].clone(), result["stale"].clone()))
            .collect::<Vec<_>>()
    };
    let fresh = |word: &str| (json!(word), json!(false));
    assert_eq!(
        answers(json!({"userId": "alice"})).await,
        [fresh("eligible"), fresh("eligible")]
    );
    assert_eq!(
        answers(json!({"userId": "bob"})).await,
        [fresh("eligible"), fresh("ineligible")]
    );
    assert_eq!(
        answers(json!({"wallet": ALICE.to_string()})).await,
        [fresh("eligible"), fresh("unknown")]
    );
}

#[track_caller]
fn assert_refused_at(answer: &Answer, (body, status, field): (&Value, u16, &str)) {
    assert_eq!(answer.body["field"], field, "{body} {}", answer.text);
    answer.refused_field(status, field);
}

#[tokio::test]
async fn a_wrong_leaf_is_refused_at_its_place_in_the_tree() {
    let api = Api::open().await;
    let badly_checksummed = NFT.to_string().to_lowercase().replace("0x3c", "0x3C");
    for (field, value, place) in [
        ("contract", json!("0x12"), "rule.of[1].contract"),
        ("contract", json!(badly_checksummed), "rule.of[1].contract"),
        (
            "contract",
            json!(Address::ZERO.to_string()),
            "rule.of[1].contract",
        ),
        ("atLeast", json!(0), "rule.of[1].atLeast"),
        ("atLeast", json!(-1), "rule.of[1].atLeast"),
        ("atLeast", json!(1.5), "rule.of[1].atLeast"),
        ("atMost", json!(1), "rule.of[1].atMost"),
        ("type", json!("native_balance"), "rule.of[1].type"),
        ("type", json!("contract_call"), "rule.of[1].type"),
        ("type", json!("erc721_trait"), "rule.of[1].type"),
        ("heldFor", json!("1d"), "rule.of[1].heldFor"),
        ("atBlock", json!(5), "rule.of[1].atBlock"),
        ("aggregation", json!("most"), "rule.of[1].aggregation"),
        ("contracts", json!([]), "rule.of[1].chainId"),
        ("chainId", json!("atlantis"), "rule.of[1].chainId"),
        ("chainId", json!(1), "chainId"),
    ] {
        let mut wrong = leaf();
        wrong[field] = value;
        let body = json!({"name": "x", "rule": {"type": "any", "of": [leaf(), wrong]}});
        let answer = api.post(GATES, body.clone()).await;
        assert_refused_at(&answer, (&body, 422, place));
    }
}

#[tokio::test]
async fn a_wrong_gate_is_refused_at_its_field() {
    let api = Api::open().await;
    for (body, status, field) in [
        (json!({"name": "", "rule": leaf()}), 422, "name"),
        (json!({"name": "a\u{0}b", "rule": leaf()}), 422, "name"),
        (
            json!({"name": "x", "description": "y".repeat(201), "rule": leaf()}),
            422,
            "description",
        ),
        (
            json!({"name": "x", "description": "\u{0}", "rule": leaf()}),
            422,
            "description",
        ),
        (
            json!({"name": "x", "rule": {"type": "all", "of": []}}),
            422,
            "rule.of",
        ),
        (
            json!({"name": "x", "rule": {"type": "at_least", "k": 2, "of": [leaf()]}}),
            422,
            "rule.k",
        ),
        (
            json!({"name": "x", "rule": leaf(), "action": {"type": "grant_role", "roleId": ""}}),
            422,
            "roleId",
        ),
        (json!({}), 400, "name"),
        (json!({"name": "x"}), 400, "rule"),
        (
            json!({"name": "x", "rule": leaf(), "nonsense": 1}),
            400,
            "nonsense",
        ),
        (
            json!({"name": "x", "rule": leaf(), "action": {"type": "explode"}}),
            400,
            "action.type",
        ),
        (
            json!({"name": "x", "rule": leaf(), "fromBlock": -1}),
            400,
            "fromBlock",
        ),
    ] {
        let answer = api.post(GATES, body.clone()).await;
        assert_refused_at(&answer, (&body, status, field));
    }
    assert_eq!(api.get(GATES).await.ok()["gates"], json!([]));
}

#[tokio::test]
async fn a_contract_is_watched_from_a_block_that_there_is() {
    let api = Api::open().await;
    let from = |block: u64| {
        let mut gate = tree();
        gate["fromBlock"] = json!(block);
        gate
    };
    api.post(GATES, from(u64::MAX))
        .await
        .refused_field(422, "fromBlock");
    api.post(GATES, from(2)).await.ok();
    api.read_blocks().await;
    api.post(GATES, from(3)).await.ok();
    api.post(GATES, tree()).await.ok();
    api.post(GATES, from(1_004)).await.refused_field(422, "fromBlock");
    assert_eq!(api.get(GATES).await.ok()["gates"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_wrong_field_of_a_published_shape_is_named_in_its_words() {
    let api = Api::open().await;
    let flat = json!({"type": "erc721", "contractAddress": NFT.to_string(), "chainId": 31337});
    let network = json!({"tokenType": "erc721", "contractAddress": NFT.to_string(), "network": 31337});
    let coins = json!({"tokenType": "erc20", "contractAddress": USDC.to_string(), "network": 31337,
        "minBalance": "1.5"});
    let unknown = json!({"tokenType": "erc20", "contractAddress": NFT.to_string(), "network": 31337,
        "minBalance": "1.5"});
    for (shape, field, value, status, place) in [
        (&flat, "chainId", json!("atlantis"), 422, "chainId"),
        (&flat, "contractAddress", json!("0x"), 422, "contractAddress"),
        (&flat, "type", json!("native"), 422, "type"),
        (&flat, "type", json!("erc20"), 422, "condition.type"),
        (
            &flat,
            "condition",
            json!({"type": "specific_token", "tokenId": "x"}),
            422,
            "condition.tokenId",
        ),
        (
            &flat,
            "condition",
            json!({"type": "trait_match"}),
            422,
            "condition.type",
        ),
        (&flat, "nonsense", json!(1), 400, "nonsense"),
        (&network, "network", json!("atlantis"), 422, "network"),
        (&network, "tokenType", json!("erc404"), 422, "tokenType"),
        (&network, "minTokenCount", json!(0), 422, "minTokenCount"),
        (&network, "minBalance", json!("x"), 422, "minBalance"),
        (&network, "tokenIds", json!(["1", "x"]), 422, "tokenIds[1]"),
        (&network, "tokenIds", json!("1"), 400, "tokenIds"),
        (&coins, "minBalance", json!("0"), 422, "minBalance"),
        (&coins, "minBalance", json!("0.0000001"), 422, "minBalance"),
        (&coins, "minBalance", json!(null), 422, "minBalance"),
        (&coins, "minTokenCount", json!(1), 422, "minTokenCount"),
        (&coins, "tokenIds", json!(["1"]), 422, "tokenIds"),
        (&coins, "decimals", json!(18), 422, "decimals"),
        (&unknown, "name", json!("no decimals"), 422, "decimals"),
    ] {
        let mut body = shape.clone();
        body[field] = value;
        let answer = api.post(GATES, body.clone()).await;
        assert_refused_at(&answer, (&body, status, place));
    }
}

#[tokio::test]
async fn an_unread_chain_answers_unknown_and_never_no() {
    let api = Api::open().await;
    api.post(GATES, tree()).await.ok();
    let answer = api.post(VERIFY, json!({"wallet": ALICE.to_string()})).await;
    let view = answer.ok();
    assert_eq!(view["results"][0]["eligibility"], "unknown");
    assert_eq!(view["results"][0]["hasAccess"], false);
    assert_eq!(view["results"][0]["stale"], true);
    assert_eq!(view["results"][0]["asOf"], json!([]));
    assert_eq!(view["results"][0]["trace"][0]["reading"], Value::Null);
    assert_eq!(view["results"][0]["trace"][0]["unknown"], "not_read");
    let none = api.post(VERIFY, json!({"userId": "alice"})).await;
    assert_eq!(
        none.ok()["results"][0]["eligibility"],
        "ineligible",
        "who has proven no wallet holds nothing, whatever the chain says"
    );
}

#[tokio::test]
async fn a_decision_names_its_blocks_and_its_reasons() {
    let api = Api::open().await;
    let gate = api.post(GATES, tree()).await;
    api.read_blocks().await;
    let answer = api.post(VERIFY, json!({"wallet": ALICE.to_string()})).await;
    let view = answer.ok();
    assert_eq!(
        (&view["proven"], &view["hasAccess"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(view["wallet"], ALICE.to_checksum(None));
    let result = &view["results"][0];
    assert_eq!(result["gateId"], gate.body["id"]);
    assert_eq!(
        (&result["eligibility"], &result["stale"]),
        (&json!("eligible"), &json!(false))
    );
    assert_eq!(
        result["asOf"][0],
        json!({
            "chainId": 31337, "chain": "eip155:31337", "blockNumber": 3, "blockHash": hash(3).to_string(),
            "blockTime": "2025-10-09T08:53:20.000Z", "ageSeconds": 0,
        })
    );
    assert_eq!(
        result["trace"],
        json!([{
            "pointer": "", "type": "erc721_balance", "reading": "1", "atLeast": "1", "outcome": "eligible",
            "reads": [{
                "chainId": 31337, "contract": NFT.to_checksum(None), "wallet": ALICE.to_checksum(None),
                "reading": "1", "blockNumber": 3,
            }],
            "readsOmitted": 0,
        }])
    );
    let stranger = api
        .post(VERIFY, json!({"userId": "alice", "gateIds": [gate.body["id"]]}))
        .await;
    assert_eq!(stranger.ok()["results"][0]["eligibility"], "ineligible");
    assert_eq!(stranger.body["proven"], true);
    api.clock.advance(300_001);
    let answer = api.post(VERIFY, json!({"wallet": ALICE.to_string()})).await;
    assert_eq!(answer.ok()["results"][0]["stale"], true);
    assert_eq!(answer.body["results"][0]["asOf"][0]["ageSeconds"], 300);
    let chains = api.get("/api/admin/chains").await;
    let chain = &chains.ok()["chains"][0];
    assert_eq!(
        (&chain["settled"]["number"], &chain["watchedContracts"]),
        (&json!(3), &json!(1))
    );
}

#[tokio::test]
async fn what_cannot_be_verified_is_refused() {
    let api = Api::open().await;
    api.post(VERIFY, json!({})).await.refused(400, "USER_REQUIRED");
    api.post(VERIFY, json!({"wallet": "0x12"}))
        .await
        .refused_field(422, "wallet");
    let both = json!({"userId": "alice", "wallet": ALICE.to_string()});
    api.post(VERIFY, both).await.refused(403, "WALLET_NOT_LINKED");
    let unknown = api
        .post(VERIFY, json!({"userId": "alice", "gateIds": ["gate_0"]}))
        .await;
    unknown.refused(404, "GATE_NOT_FOUND");
    assert_eq!(unknown.body["field"], "gateIds[0]");
    let many = json!({"userId": "alice", "gateIds": vec!["gate_0"; 501]});
    api.post(VERIFY, many).await.refused_field(422, "gateIds");
    let malformed = json!({"userId": "alice", "gateIds": [1]});
    api.post(VERIFY, malformed).await.refused_field(400, "gateIds[0]");
    let none = api.post(VERIFY, json!({"userId": "alice"})).await;
    assert_eq!(none.ok()["results"], json!([]));
}
