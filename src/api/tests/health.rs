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
    assert_eq!(unread.body["reasons"][0]["chainId"], 31337);
    api.health.saw_header(ANVIL, NOW);
    let unread = api.get("/readyz").await;
    assert_eq!(
        checks(&unread),
        ["chain_unread"],
        "a head that was heard of is not a block that was read"
    );
    api.read_blocks().await;
    assert_eq!(
        api.get("/readyz").await.ok(),
        &json!({"status": "ready", "reasons": []})
    );
    let health = api.get("/healthz").await;
    assert_eq!(
        (&health.ok()["alive"], &health.body["ready"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(health.body["chains"][0]["settled"], 3);
    api.clock.advance(30_001);
    let silent = api.get("/healthz").await;
    assert_eq!(
        (silent.status.as_u16(), checks(&silent)),
        (503, vec!["header_age"])
    );
    api.health.set_problem(ANVIL, Some("halted".to_owned()));
    api.health.set_oldest_owed(Some(NOW - 3_600_000));
    let worse = api.get("/readyz").await;
    assert_eq!(checks(&worse), ["outbox_age", "chain_problem", "header_age"]);
}

#[tokio::test]
async fn a_chain_that_is_far_behind_its_head_is_not_seen() {
    let api = Api::open().await;
    api.read_blocks().await;
    let opened = OpenChain {
        chain: ANVIL,
        genesis: B256::ZERO,
        head: 0,
    };
    let fence = api.engine.execute(opened).await.unwrap().fence;
    let mut further = Advance {
        chain: ANVIL,
        fence,
        head: 34,
        rollback_to: None,
        blocks: vec![block(4)],
    };
    api.engine.execute(further.clone()).await.unwrap();
    api.get("/readyz").await.ok();
    (further.head, further.blocks) = (36, vec![block(5)]);
    api.engine.execute(further).await.unwrap();
    assert_eq!(checks(&api.get("/readyz").await), ["chain_behind"]);
    let chains = api.get("/api/admin/chains").await;
    assert_eq!(chains.ok()["chains"][0]["reasons"][0]["check"], "chain_behind");
    assert_eq!(
        chains.body["chains"][0]["endpoints"],
        json!([{"name": "local", "operator": "us"}])
    );
    assert_eq!(chains.body["chains"][0]["tokens"][0]["symbol"], "USDC");
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
