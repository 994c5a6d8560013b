//! Transactions that are asked about: what is refused, how often a chain is looked at, and whose payments are told of.

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use serde_json::json;

use super::*;
use crate::domain::{Look, LookError, LookOutcome, LookUp};

const VERIFY: &str = "/api/billing/crypto/verify";
const EXPLAIN: &str = "/api/admin/explain/tx";

/// Sees nothing.
#[derive(Debug)]
pub(super) struct Blind;

impl LookUp for Blind {
    fn look(&self, _: ChainId, _: B256) -> BoxFuture<'static, LookOutcome> {
        ready(Ok(Arc::new(Look::Unknown))).boxed()
    }

    fn links(&self, _: ChainId, _: BlockRef, _: BlockRef) -> BoxFuture<'static, Result<bool, LookError>> {
        ready(Err(LookError::Unavailable)).boxed()
    }
}

fn unread() -> String {
    format!("0x{}", "ef".repeat(32))
}

#[tokio::test]
async fn a_malformed_hash_and_an_unknown_chain_are_refused_by_name() {
    let api = Api::open().await;
    for hash in [
        "0x12",
        "ef",
        &unread()[2..],
        &format!("{}0", unread()),
        &unread().replace("0xef", "0xeg"),
    ] {
        for path in [VERIFY, "/api/billing/crypto/status"] {
            let answer = api.get(&format!("{path}/{hash}?tenantId=acme")).await;
            answer.refused_field(422, "txHash");
        }
        let answer = api.get(&format!("{EXPLAIN}/anvil/{hash}")).await;
        answer.refused_field(422, "hash");
    }
    for chain in ["nowhere", "1", "eip155:1", "0x", "-1"] {
        let answer = api.get(&format!("{EXPLAIN}/{chain}/{}", unread())).await;
        answer.refused_field(422, "chain");
        let answer = api
            .get(&format!("{VERIFY}/{}?tenantId=acme&chain={chain}", unread()))
            .await;
        answer.refused_field(422, "chain");
    }
    for chain in ["anvil", "31337", "0x7a69", "eip155:31337"] {
        let answer = api.get(&format!("{EXPLAIN}/{chain}/{}", unread())).await;
        assert_eq!(answer.ok()["outcome"], "unknown");
    }
    let nobody = api.get(&format!("{VERIFY}/{}", unread())).await;
    nobody.refused(400, "TENANT_REQUIRED");
}

#[tokio::test]
async fn who_asks_for_what_was_never_read_too_often_is_told_to_wait() {
    let api = Api::open().await;
    let of = |seed: usize| format!("{EXPLAIN}/anvil/0x{seed:064x}");
    for seed in 0..16 {
        assert_eq!(api.get(&of(seed)).await.ok()["outcome"], "unknown");
    }
    let refused = api.get(&of(16)).await;
    refused.refused(429, "LOOKS_EXHAUSTED");
    assert_eq!(refused.header("retry-after"), "1");
    // What is stored costs nobody anything.
    let paid = api.pay(14_000_000).await;
    let paid = paid.split('-').nth(1).unwrap();
    let stored = api.get(&format!("{EXPLAIN}/anvil/{paid}")).await;
    assert_eq!(stored.ok()["outcome"], "unmatched");
}

#[tokio::test]
async fn a_payment_is_told_of_to_its_own_user_and_to_those_with_a_role_in_its_tenant() {
    let api = Api::open().await;
    let path = "/api/billing/crypto/stablecoin?tenantId=acme&userId=alice";
    let charge = api.post(path, json!({"plan": "pro"})).await.ok().clone();
    let due = charge["due"]["baseUnits"].as_str().unwrap();
    api.pay(due.parse().unwrap()).await;
    let path = format!("{VERIFY}/{}", B256::repeat_byte(0xab));
    for name in ["alice", "admin", "owner"] {
        let answer = api.by(name, Method::GET, &path, None).await;
        assert_eq!(
            (&answer.ok()["status"], &answer.body["confirmed"]),
            (&json!("counted"), &json!(true))
        );
        assert_eq!(answer.body["chargeId"], charge["id"]);
        assert_eq!(answer.body["payments"][0]["rule"], "exact_amount");
    }
    for name in ["bob", "stranger"] {
        let answer = api.by(name, Method::GET, &path, None).await;
        assert_eq!(
            (&answer.ok()["status"], &answer.body["confirmed"]),
            (&json!("not_yours"), &json!(false))
        );
        for secret in [
            charge["id"].as_str().unwrap(),
            "alice",
            "acme",
            "exact_amount",
            "counted",
        ] {
            assert!(!answer.text.contains(secret), "{secret}: {}", answer.text);
        }
    }
}
