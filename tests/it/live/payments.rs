//! From a transfer on the chain to what the tenant has, and back.

use serde_json::json;
use tollgate::domain::ChainId;

use super::world::{On, World};

async fn a_payment_is_detected_confirmed_and_credited_once(on: On) {
    let world = World::new(on, 3).await;
    world.wait_read().await;
    assert_eq!(world.plan("acme"), "free");
    let charge = world.charge("acme").await;
    assert_eq!(charge.state.as_str(), "open");
    world.pay(&charge).await;
    let confirming = world.wait_state(&charge, "confirming").await;
    assert_eq!(
        (confirming.confirmations, confirming.confirmations_required),
        (Some(1), 3)
    );
    world.anvil.mine(1).await;
    world.wait_read().await;
    assert_eq!(world.view(&charge.id).await.state.as_str(), "confirming");
    assert_eq!(
        world.plan("acme"),
        "free",
        "nothing counts before its policy is met"
    );
    world.anvil.mine(1).await;
    let paid = world.wait_state(&charge, "paid").await;
    assert_eq!(paid.confirmed, charge.due);
    assert_eq!(world.plan("acme"), "pro");
}

#[tokio::test]
async fn a_payment_is_credited_on_sqlite() {
    a_payment_is_detected_confirmed_and_credited_once(On::Sqlite).await;
}

#[tokio::test]
async fn a_payment_is_credited_on_postgres() {
    a_payment_is_detected_confirmed_and_credited_once(On::Postgres).await;
}

#[tokio::test]
async fn a_payment_that_is_reorged_away_reopens_its_charge() {
    let world = World::new(On::Sqlite, 5).await;
    let charge = world.charge("acme").await;
    world.pay(&charge).await;
    world.wait_state(&charge, "confirming").await;
    world.anvil.rpc("anvil_reorg", json!([2, []])).await;
    let reopened = world.wait_state(&charge, "open").await;
    assert_eq!(reopened.seen.base_units, "0");
    world.wait_read().await;
    world.anvil.mine(6).await;
    world.wait_read().await;
    assert_eq!(world.view(&charge.id).await.state.as_str(), "open");
    assert_eq!(world.plan("acme"), "free");
    world.pay(&charge).await;
    world.anvil.mine(6).await;
    world.wait_state(&charge, "paid").await;
}

#[tokio::test]
async fn a_credited_payment_that_is_reorged_away_is_reversed_and_reinstated() {
    let world = World::new(On::Sqlite, 2).await;
    let charge = world.charge("acme").await;
    world.pay(&charge).await;
    world.anvil.mine(3).await;
    world.wait_state(&charge, "paid").await;
    assert_eq!(world.plan("acme"), "pro");
    world.anvil.rpc("anvil_reorg", json!([5, []])).await;
    world.wait_state(&charge, "reversed").await;
    assert_eq!(world.plan("acme"), "free");
    world.pay(&charge).await;
    world.anvil.mine(3).await;
    world.wait_state(&charge, "paid").await;
    assert_eq!(world.plan("acme"), "pro");
}

#[tokio::test]
async fn a_silent_rollback_is_noticed_by_the_poll() {
    let world = World::new(On::Sqlite, 5).await;
    world.wait_read().await;
    let snapshot = world.anvil.rpc("evm_snapshot", json!([])).await;
    let charge = world.charge("acme").await;
    world.pay(&charge).await;
    world.wait_state(&charge, "confirming").await;
    world.anvil.rpc("evm_revert", json!([snapshot])).await;
    world.wait_state(&charge, "open").await;
    world.wait_read().await;
}

#[tokio::test]
async fn what_happened_while_it_was_stopped_is_read_at_the_next_start() {
    let mut world = World::new(On::Sqlite, 2).await;
    let charges = [
        world.charge("one").await,
        world.charge("two").await,
        world.charge("three").await,
    ];
    world.pay(&charges[0]).await;
    world.wait_state(&charges[0], "confirming").await;
    world.stop().await;
    // The first payment is reorged away and made again, the second lies deep, the third at the head.
    world.anvil.rpc("anvil_reorg", json!([1, []])).await;
    world.pay(&charges[0]).await;
    world.pay(&charges[1]).await;
    world.anvil.mine(40).await;
    world.pay(&charges[2]).await;
    world.anvil.mine(1).await;
    world.start().await;
    for charge in &charges {
        let paid = world.wait_state(charge, "paid").await;
        assert_eq!(paid.confirmed, charge.due);
    }
    for tenant in ["one", "two", "three"] {
        assert_eq!(world.plan(tenant), "pro");
    }
}

#[tokio::test]
async fn a_development_chain_that_was_started_anew_is_read_anew() {
    let mut world = World::new(On::Sqlite, 1).await;
    world.anvil.mine(5).await;
    world.wait_read().await;
    let before = world.heights().read.unwrap();
    world.stop().await;
    world.anvil.rpc("anvil_reset", json!([])).await;
    world.anvil.deploy("TestUSDC").await;
    world.start().await;
    let after = world.wait_read().await.read.unwrap();
    assert!(after.number < before.number);
    assert_eq!(
        world.engine.chain(ChainId(31337)).unwrap().heights.read,
        Some(after)
    );
}
