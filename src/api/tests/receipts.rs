//! Who may ask for a receipt, and of what.

use serde_json::json;

use super::*;

const RECEIPT: &str = "/api/token-gates/receipt?tenantId=acme";

#[tokio::test]
async fn a_receipt_is_for_a_user_who_is_named() {
    let api = Api::open().await;
    for body in [json!({}), json!({"wallet": ALICE.to_string()})] {
        let detail = api.post(RECEIPT, body).await;
        assert!(
            detail.refused(400, "USER_REQUIRED").contains("userId"),
            "{detail:?}"
        );
    }
    for (body, status, field) in [
        (json!({"userId": 5}), 400, "userId"),
        (json!({"userId": "alice", "wallet": "0x12"}), 422, "wallet"),
        (json!({"userId": "alice", "gateIds": "all"}), 400, "gateIds"),
        (json!({"userId": "alice", "ttl": "1h"}), 400, "ttl"),
    ] {
        let answer = api.post(RECEIPT, body.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["field"]),
            (status, &json!(field)),
            "{body}"
        );
    }
    let unknown = json!({"userId": "alice", "gateIds": ["gate_none"]});
    api.post(RECEIPT, unknown).await.refused(404, "GATE_NOT_FOUND");
    let of_another = json!({"userId": "alice", "wallet": ALICE.to_string()});
    api.post(RECEIPT, of_another)
        .await
        .refused(403, "WALLET_NOT_LINKED");
}

#[tokio::test]
async fn nobody_is_given_a_receipt_of_nothing_and_no_key_is_made_for_it() {
    let api = Api::open().await;
    let answer = api.post(RECEIPT, json!({"userId": "alice"})).await;
    assert_eq!(answer.ok()["receipt"], Value::Null);
    assert_eq!(answer.body["results"], json!([]));
    let keys = api.get("/.well-known/jwks.json").await;
    assert_eq!(keys.ok(), &json!({"keys": []}));
    assert_eq!(keys.header("cache-control"), "public, max-age=300");
}
