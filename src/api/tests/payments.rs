//! Payments as operators ask about them, and claims as users make them: what is refused, and that nothing is written then.

use serde_json::json;

use super::*;

const PAYMENTS: &str = "/api/admin/payments";
const CLAIM: &str = "/api/billing/crypto/claim?tenantId=acme&userId=jo";

fn payment_id() -> String {
    format!("31337-0x{}-0", "cd".repeat(32))
}

fn tx_hash() -> String {
    format!("0x{}", "ef".repeat(32))
}

impl Api {
    /// How many entries the record has: equal means that nothing was decided.
    pub(super) async fn records(&self) -> i64 {
        let settings = config::StoreSettings {
            url: format!("sqlite://{}/test.sqlite", self.folder.path().display()).into(),
            max_connections: 1,
        };
        let store = Store::open(&settings).await.unwrap();
        let mut conn = store.read().await.unwrap();
        crate::store::newest_audit(&mut conn).await.unwrap()
    }

    /// Reads a block in which Alice pays the treasury so much.
    pub(super) async fn pay(&self, amount: u64) -> String {
        let opened = OpenChain {
            chain: ANVIL,
            genesis: B256::ZERO,
            head: 1,
        };
        let fence = self.engine.execute(opened).await.unwrap().fence;
        let mut paid = block(1);
        paid.logs = vec![LogEntry {
            address: USDC,
            topics: vec![TRANSFER, ALICE.into_word(), TREASURY.into_word()],
            data: Bytes::from(alloy::primitives::U256::from(amount).to_be_bytes_vec()),
            tx_hash: B256::repeat_byte(0xab),
            log_index: 0,
            ordinal: Some(0),
        }];
        let advance = Advance {
            chain: ANVIL,
            fence,
            head: 1,
            rollback_to: None,
            blocks: vec![paid],
            evidence: Evidence::default(),
        };
        self.engine.execute(advance).await.unwrap();
        format!("31337-{}-0", B256::repeat_byte(0xab))
    }
}

#[tokio::test]
async fn a_wrong_filter_is_refused_by_name() {
    let api = Api::open().await;
    for (query, field) in [
        ("chain=nowhere", "chain"),
        ("txHash=0x12", "txHash"),
        ("txHash=12", "txHash"),
        ("address=0x12", "address"),
        ("tenant=", "tenant"),
        ("charge=%20", "charge"),
        ("state=paid", "state"),
        ("unmatched=yes", "unmatched"),
        ("flag=late", "flag"),
    ] {
        let answer = api.get(&format!("{PAYMENTS}?{query}")).await;
        answer.refused_field(422, field);
    }
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("cursor=zzz", "cursor"),
        ("cursor=MSB4", "cursor"),
    ] {
        for list in [PAYMENTS, &format!("{PAYMENTS}/unmatched")] {
            let answer = api.get(&format!("{list}?{query}")).await;
            answer.refused_field(400, field);
        }
    }
    let twice = api.get(&format!("{PAYMENTS}?state=final&state=final")).await;
    twice.refused(400, "MALFORMED_QUERY");
}

#[tokio::test]
async fn payments_are_listed_with_their_cursor_and_decided_about() {
    let api = Api::open().await;
    let id = api.pay(14_000_000).await;
    let charge = api
        .post(
            "/api/billing/crypto/stablecoin?tenantId=acme",
            json!({"plan": "pro"}),
        )
        .await;
    let page = api.get(&format!("{PAYMENTS}?chain=anvil")).await;
    page.refused_field(422, "chain");
    let page = api.get(&format!("{PAYMENTS}?chain=31337&unmatched=true")).await;
    let listed = &page.ok()["payments"][0];
    assert_eq!(listed["id"], id.as_str());
    assert_eq!(listed["value"]["amount"], "14");
    assert_eq!(listed["from"], ALICE.to_checksum(None));
    assert_eq!(page.body["nextCursor"], Value::Null);
    let waiting = api.get(&format!("{PAYMENTS}/unmatched")).await;
    let waiting = &waiting.ok()["payments"][0];
    assert_eq!((&waiting["id"], &waiting["claims"]), (&json!(id), &json!([])));

    let assign = format!("{PAYMENTS}/{id}/assign");
    let body = json!({"chargeId": charge.ok()["id"], "reason": "they wrote"});
    let assigned = api.post(&assign, body.clone()).await;
    assert_eq!(assigned.ok()["chargeId"], charge.body["id"]);
    assert_eq!(assigned.body["rule"], "operator");
    let records = api.records().await;
    api.post(&assign, body).await.refused(409, "PAYMENT_MATCHED");
    assert_eq!(api.records().await, records);
}

#[tokio::test]
async fn a_wrong_decision_is_refused_by_field_and_changes_nothing() {
    let api = Api::open().await;
    let id = api.pay(14_000_000).await;
    let records = api.records().await;
    let long = "x".repeat(501);
    let own = format!("0x{}", "ab".repeat(32));
    for (action, body, status, field) in [
        ("assign", json!({"reason": "r"}), 400, "chargeId"),
        ("assign", json!({"chargeId": 1, "reason": "r"}), 400, "chargeId"),
        (
            "assign",
            json!({"chargeId": "chg_none", "reason": "r"}),
            422,
            "chargeId",
        ),
        ("assign", json!({"chargeId": "chg_none"}), 400, "reason"),
        (
            "assign",
            json!({"chargeId": "chg_none", "reason": ""}),
            422,
            "reason",
        ),
        (
            "assign",
            json!({"chargeId": "chg_none", "reason": "r", "force": true}),
            400,
            "force",
        ),
        ("ignore", json!({}), 400, "reason"),
        ("ignore", json!({"reason": 1}), 400, "reason"),
        ("ignore", json!({"reason": long}), 422, "reason"),
        ("refund", json!({"reason": "r"}), 400, "txHash"),
        ("refund", json!({"reason": "r", "txHash": "0x12"}), 422, "txHash"),
        ("refund", json!({"reason": "r", "txHash": own}), 422, "txHash"),
        (
            "refund",
            json!({"reason": "r", "txHash": tx_hash(), "baseUnits": "1.5"}),
            422,
            "baseUnits",
        ),
        (
            "refund",
            json!({"reason": "r", "txHash": tx_hash(), "baseUnits": "-1"}),
            422,
            "baseUnits",
        ),
        (
            "refund",
            json!({"reason": "r", "txHash": tx_hash(), "baseUnits": 1}),
            400,
            "baseUnits",
        ),
        (
            "refund",
            json!({"reason": "r", "txHash": tx_hash(), "baseUnits": "14000001"}),
            422,
            "baseUnits",
        ),
        ("refund", json!({"txHash": tx_hash()}), 400, "reason"),
    ] {
        let answer = api.post(&format!("{PAYMENTS}/{id}/{action}"), body.clone()).await;
        assert_eq!(answer.body["field"], field, "{action} {body}: {}", answer.text);
        answer.refused(status, "INVALID_FIELD");
    }
    assert_eq!(api.records().await, records);
}

#[tokio::test]
async fn what_names_no_payment_is_not_found() {
    let api = Api::open().await;
    for unknown in [payment_id().as_str(), "1", "31337-0x12-0", "chg_1"] {
        for (action, body) in [
            ("assign", json!({"chargeId": "chg_none", "reason": "r"})),
            ("ignore", json!({"reason": "r"})),
            ("refund", json!({"reason": "r", "txHash": tx_hash()})),
        ] {
            let answer = api.post(&format!("{PAYMENTS}/{unknown}/{action}"), body).await;
            answer.refused(404, "PAYMENT_NOT_FOUND");
        }
    }
}

#[tokio::test]
async fn only_operators_decide() {
    let mut api = Api::open().await;
    let id = api.pay(14_000_000).await;
    api.key = api.new_key(&[Scope::Check, Scope::Billing, Scope::Gates]).await;
    api.get(PAYMENTS).await.refused(403, "SCOPE_MISSING");
    api.get(&format!("{PAYMENTS}/unmatched"))
        .await
        .refused(403, "SCOPE_MISSING");
    for action in ["assign", "ignore", "refund"] {
        let answer = api.post(&format!("{PAYMENTS}/{id}/{action}"), json!({})).await;
        answer.refused(403, "SCOPE_MISSING");
    }
}

#[tokio::test]
async fn a_wrong_claim_is_refused_and_anothers_payment_is_as_unknown() {
    let api = Api::open().await;
    api.pay(14_000_000).await;
    let charge = api
        .post(
            "/api/billing/crypto/stablecoin?tenantId=beta",
            json!({"plan": "pro"}),
        )
        .await;
    let strangers = charge.ok()["id"].clone();
    let records = api.records().await;
    for (body, status, field) in [
        (json!({}), 400, "txHash"),
        (json!({"txHash": 1}), 400, "txHash"),
        (json!({"txHash": "0x12"}), 422, "txHash"),
        (json!({"txHash": "ef".repeat(32)}), 422, "txHash"),
        (json!({"txHash": tx_hash(), "chargeId": 7}), 400, "chargeId"),
        (json!({"txHash": tx_hash(), "chain": 1}), 400, "chain"),
    ] {
        let answer = api.post(CLAIM, body.clone()).await;
        assert_eq!(answer.body["field"], field, "{body}: {}", answer.text);
        answer.refused(status, "INVALID_FIELD");
    }
    let foreign = json!({"txHash": tx_hash(), "chargeId": strangers});
    api.post(CLAIM, foreign).await.refused(404, "CHARGE_NOT_FOUND");
    let nobody = "/api/billing/crypto/claim?tenantId=acme";
    let body = json!({"txHash": tx_hash()});
    api.post(nobody, body.clone()).await.refused(400, "USER_REQUIRED");
    assert_eq!(api.records().await, records);
    let known = api.post(CLAIM, json!({"txHash": B256::repeat_byte(0xab)})).await;
    let unknown = api.post(CLAIM, body).await;
    let but_its_hash = |answer: &Answer| {
        let mut body = answer.ok().clone();
        body["txHash"] = Value::Null;
        body
    };
    assert_eq!(but_its_hash(&known), but_its_hash(&unknown));
    assert_eq!(known.body["state"], "waiting");
}
