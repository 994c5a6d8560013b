//! Alive, ready, and why not.

use serde_json::json;

use super::*;

fn checks(answer: &Answer) -> Vec<&str> {
    let reasons = answer.body["reasons"].as_array().unwrap();
    reasons
        .iter()
        .filter_map(|reason| reason["check"].as_str())
        .collect()
}

#[tokio::test]
async fn it_is_ready_once_its_chains_are_read_and_says_why_not() {
    let api = Api::open().await;
    assert_eq!(api.get("/livez").await.ok(), &json!({"status": "alive"}));
    let unread = api.get("/readyz").await;
    assert_eq!(
        (unread.status.as_u16(), checks(&unread)),
        (503, vec!["chain_unread"])
    );
    assert_eq!(unread.body["reasons"][0]["chain"], "anvil");
    api.read_blocks().await;
    assert_eq!(
        api.get("/readyz").await.ok(),
        &json!({"status": "ready", "reasons": [], "notes": [], "endpoints": []})
    );
    let health = api.get("/healthz").await;
    assert_eq!(
        (&health.ok()["alive"], &health.body["ready"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(health.body["chains"][0]["headerAgeSeconds"], 0);
    api.clock.advance(30_001);
    let silent = api.get("/healthz").await;
    assert_eq!(
        (silent.status.as_u16(), checks(&silent)),
        (503, vec!["chain_header_age"])
    );
    let problem = Some("halted");
    api.health.set_chain(ANVIL, ChainHealth { problem, ..READ });
    let halted = api.get("/readyz").await;
    assert_eq!(
        (halted.status.as_u16(), checks(&halted)),
        (503, vec!["chain_problem"])
    );
}

#[tokio::test]
async fn events_that_nobody_takes_make_it_not_ready() {
    let api = Api::open().await;
    let charge = api
        .post(
            "/api/billing/crypto/stablecoin?tenantId=acme",
            json!({"plan": "pro"}),
        )
        .await;
    charge.ok();
    api.clock.advance(3_600_001);
    let last_header_at_ms = Some(api.clock.now_ms());
    api.health.set_chain(
        ANVIL,
        ChainHealth {
            last_header_at_ms,
            ..READ
        },
    );
    assert_eq!(checks(&api.get("/readyz").await), ["outbox_age"]);
}

#[tokio::test]
async fn operators_see_every_chain_and_no_url() {
    let api = Api::open().await;
    api.read_blocks().await;
    api.health.set_chain(ANVIL, ChainHealth { behind: 31, ..READ });
    assert_eq!(checks(&api.get("/readyz").await), ["chain_behind"]);
    let chains = api.get("/api/admin/chains").await;
    let chain = &chains.ok()["chains"][0];
    assert_eq!((&chain["behind"], &chain["head"]), (&json!(31), &json!(3)));
    assert_eq!(chain["read"], json!({"number": 3, "hash": hash(3).to_string()}));
    let unknown = json!({
        "name": "local", "operator": "us", "connected": false, "head": null, "latencyMs": null, "problem": null,
    });
    assert_eq!(chain["endpoints"], json!([unknown]));
    assert_eq!(chain["tokens"][0]["symbol"], "USDC");
    assert_eq!(chain["lastHeaderAt"], "2025-10-09T08:53:20.000Z");
    assert_eq!(
        (&chain["leads"], &chain["leader"]),
        (&json!(true), &json!(api.engine.instance().label))
    );
}

#[tokio::test]
async fn a_bad_endpoint_is_named_and_alone_makes_nothing_not_ready() {
    let api = Api::open().await;
    api.read_blocks().await;
    let bad = EndpointStatus {
        name: "local".into(),
        operator: "us".into(),
        connected: true,
        head: Some(7),
        latency: Some(Duration::from_millis(42)),
        problem: Some("wrong_genesis"),
    };
    api.health.set_endpoints(ANVIL, vec![bad]);
    let named = json!([{"chain": "anvil", "endpoint": "local", "problem": "wrong_genesis"}]);
    assert_eq!(api.get("/readyz").await.ok()["endpoints"], named);
    assert_eq!(api.get("/healthz").await.ok()["endpoints"], named);
    let chains = api.get("/api/admin/chains").await;
    let shown = json!({
        "name": "local", "operator": "us", "connected": true, "head": 7, "latencyMs": 42, "problem": "wrong_genesis",
    });
    assert_eq!(chains.ok()["chains"][0]["endpoints"], json!([shown]));
}

#[tokio::test]
async fn operators_see_which_blocks_are_covered() {
    let mut api = Api::open().await;
    let path = "/api/admin/chains/31337/coverage";
    let unread = api.get(path).await;
    assert_eq!(unread.ok()["payments"], json!({"ranges": [], "remaining": 0}));
    api.read_blocks().await;
    let read = api.get("/api/admin/chains/eip155:31337/coverage").await;
    assert_eq!(
        (&read.ok()["settled"], &read.body["head"]),
        (&json!(3), &json!(3))
    );
    let expected = json!({"ranges": [{"from": 1, "to": 3, "level": "receipts"}], "remaining": 0});
    assert_eq!(read.body["payments"], expected);
    assert_eq!(read.body["contracts"], json!([]));
    for unknown in ["1", "mainnet"] {
        let answer = api.get(&format!("/api/admin/chains/{unknown}/coverage")).await;
        answer.refused(404, "CHAIN_NOT_FOUND");
    }
    api.key = api.new_key(&[Scope::Check]).await;
    api.get(path).await.refused(403, "SCOPE_MISSING");
}

#[tokio::test]
async fn a_database_that_is_gone_is_named() {
    let api = Api::open().await;
    api.read_blocks().await;
    api.get("/readyz").await.ok();
    api.engine.close().await;
    api.get("/readyz").await.ok();
    api.clock.advance(1000);
    assert_eq!(checks(&api.get("/readyz").await), ["database"]);
    api.get("/livez").await.ok();
}
