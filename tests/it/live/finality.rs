//! Tags, operators and quarantine, on real chains: a second anvil that forks the first is an endpoint that lies.

use std::time::Duration;

use serde_json::json;
use tollgate::config::{Chain, Endpoint};
use tollgate::domain::{Finality, Tag, Tier};
use tollgate::engine::{Resolution, ResolveQuarantine};
use tollgate::health::Database;

use super::world::{CHAIN, On, World};
use crate::harness::anvil::Anvil;

/// Anvil's `safe` and `finalized` trail its head by one and two blocks then.
pub const SHORT_EPOCHS: [&str; 2] = ["--slots-in-an-epoch", "1"];

fn by_tag() -> Finality {
    Finality::new(vec![Tier {
        tag: Some(Tag::Finalized),
        ..Tier::of_confirmations(1)
    }])
    .unwrap()
}

/// A chain where money counts, with one more operator for each of `others`.
fn with_operators(chain: &mut Chain, others: &[(&str, &Anvil)]) {
    chain.development = false;
    chain.agree = 2;
    chain.finality = Finality::of_confirmations(2);
    for (name, anvil) in others {
        chain.endpoints.push(Endpoint {
            name: (*name).to_owned(),
            operator: (*name).to_owned(),
            ws: Some(anvil.ws_url().into()),
            http: Some(anvil.http_url().into()),
            ..chain.endpoints[0].clone()
        });
    }
}

/// A chain that is `anvil`'s up to its head, and goes its own way from there.
pub async fn fork_of(anvil: &Anvil) -> Anvil {
    Anvil::start_with(&["--fork-url", &anvil.http_url()]).await
}

/// The chain of `liar` is that of `anvil` again, up to its head now.
async fn repent(liar: &Anvil, anvil: &Anvil) {
    let head = anvil.rpc("eth_blockNumber", json!([])).await;
    let head = u64::from_str_radix(head.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    let forking = json!({"jsonRpcUrl": anvil.http_url(), "blockNumber": head});
    liar.rpc("anvil_reset", json!([{"forking": forking}])).await;
}

/// Restarts the service with other settings.
async fn reconfigure(world: &mut World, change: impl FnOnce(&mut Chain)) {
    world.stop().await;
    change(&mut world.settings);
    world.start().await;
}

#[tokio::test]
async fn a_payment_counts_once_its_block_is_finalized_and_is_final_then() {
    let world = World::over(Anvil::start_with(&SHORT_EPOCHS).await, On::Sqlite, 1, |chain| {
        chain.development = false;
        chain.finality = by_tag();
    })
    .await;
    let charge = world.charge("acme").await;
    world.pay(&charge).await;
    world.wait_state(&charge, "confirming").await;
    world.anvil.mine(1).await;
    world.wait_read().await;
    assert_eq!(world.plan("acme"), "free", "two blocks are not enough");
    world.anvil.mine(1).await;
    let paid = world.wait_state(&charge, "paid").await;
    assert_eq!(
        (&paid.finalized, world.plan("acme").as_str()),
        (&paid.confirmed, "pro")
    );
}

#[tokio::test]
async fn a_tag_that_stands_still_stalls_the_chain_until_it_moves() {
    let world = World::over(Anvil::start_with(&SHORT_EPOCHS).await, On::Sqlite, 1, |chain| {
        chain.development = false;
        chain.finality = by_tag();
        chain.max_tag_age = Duration::from_secs(4);
    })
    .await;
    world.wait_reason("chain_finality_stalled", true).await;
    assert!(world.engine.chain(CHAIN).unwrap().stalled.is_some());
    let charge = world.charge("acme").await;
    world.pay(&charge).await;
    // Blocks come until the tag's block is young when it is asked for.
    let mining = async {
        loop {
            world.anvil.mine(1).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let moving = async {
        world.wait_state(&charge, "paid").await;
        let moves = || world.engine.chain(CHAIN).unwrap().stalled.is_none();
        world.wait_until("it to move again", moves).await;
    };
    tokio::select! {
        () = mining => {}
        () = moving => {}
    }
}

#[tokio::test]
async fn two_operators_that_agree_let_a_payment_count() {
    let mut world = World::new(On::Sqlite, 2).await;
    world.stop().await;
    let anvil = &world.anvil;
    with_operators(&mut world.settings, &[("second", anvil)]);
    world.start().await;
    let charge = world.charge("acme").await;
    world.pay(&charge).await;
    world.anvil.mine(1).await;
    world.wait_state(&charge, "paid").await;
    assert!(world.reasons().is_empty(), "{:?}", world.reasons());
}

#[tokio::test]
async fn two_operators_that_disagree_hold_crediting_until_they_agree() {
    let mut world = World::new(On::Sqlite, 2).await;
    let liar = fork_of(&world.anvil).await;
    reconfigure(&mut world, |chain| with_operators(chain, &[("liar", &liar)])).await;
    world.wait_read().await;
    let charge = world.charge("acme").await;
    liar.mine(1).await;
    world.pay(&charge).await;
    world.anvil.mine(3).await;
    liar.mine(3).await;
    world.wait_reason("chain_agreement", true).await;
    let reasons = world.reasons().join(" ");
    assert!(
        reasons.contains("has another block") && reasons.contains("nothing new counts"),
        "{reasons}"
    );
    assert_eq!(world.plan("acme"), "free", "neither is believed");

    repent(&liar, &world.anvil).await;
    world.wait_state(&charge, "paid").await;
    world.wait_reason("chain_agreement", false).await;
    assert_eq!(world.plan("acme"), "pro");
}

#[tokio::test]
async fn an_honest_majority_wins_over_a_longer_branch_that_was_read_first() {
    let mut world = World::new(On::Sqlite, 2).await;
    let liar = fork_of(&world.anvil).await;
    let anvil_settings = world.settings.endpoints[0].clone();
    reconfigure(&mut world, |chain| {
        with_operators(chain, &[("liar", &liar)]);
        chain.endpoints.push(Endpoint {
            name: "third".to_owned(),
            operator: "third".to_owned(),
            ..anvil_settings
        });
    })
    .await;
    let charge = world.charge("acme").await;
    liar.mine(6).await;
    let forged = liar.rpc("eth_getBlockByNumber", json!(["latest", false])).await;
    let forged = forged["hash"].as_str().unwrap().to_owned();
    let read = || {
        world
            .heights()
            .read
            .is_some_and(|read| read.hash.to_string() == forged)
    };
    world.wait_until("the forged branch to be read", read).await;
    world.pay(&charge).await;
    world.anvil.mine(2).await;
    world.wait_state(&charge, "paid").await;
    world.wait_read().await;
    assert_eq!(world.plan("acme"), "pro");
    assert!(
        world
            .reasons()
            .iter()
            .all(|reason| !reason.contains("nothing new counts")),
        "{:?}",
        world.reasons()
    );
}

#[tokio::test]
async fn a_reorg_below_what_is_final_is_set_aside_until_a_person_accepts_it() {
    let mut world = World::over(Anvil::start_with(&SHORT_EPOCHS).await, On::Sqlite, 1, |chain| {
        chain.development = false;
        chain.finality = Finality::of_confirmations(2);
    })
    .await;
    let charge = world.charge("acme").await;
    let receipt = world.pay(&charge).await;
    world.anvil.mine(4).await;
    world.wait_state(&charge, "paid").await;
    let is_final = || world.heights().finalized.map(|block| block.number) > Some(12);
    world.wait_until("it to be final", is_final).await;
    world.wait_read().await;

    world.anvil.rpc("anvil_reorg", json!([5, []])).await;
    world.anvil.mine(1).await;
    world.wait_reason("chain_quarantined", true).await;
    let reasons = world.reasons().join(" ");
    assert!(
        reasons.contains("anvil") && reasons.contains("tollgate chain resolve"),
        "{reasons}"
    );
    assert_eq!(
        world.plan("acme"),
        "pro",
        "what was paid stays paid, and is answered"
    );
    world.restart().await;
    world.wait_reason("chain_quarantined", true).await;

    // The endpoints were not wrong: kept, it is set aside again.
    let operator = world.another_engine().await;
    let resolve = |resolution| ResolveQuarantine {
        chain: CHAIN,
        resolution,
    };
    let since = operator.chain(CHAIN).unwrap().quarantined.unwrap().since;
    operator.execute(resolve(Resolution::Keep)).await.unwrap();
    let again = || {
        world
            .engine
            .chain(CHAIN)
            .unwrap()
            .quarantined
            .is_some_and(|held| held.since > since)
    };
    world.wait_until("it to be set aside again", again).await;

    let block = receipt["blockNumber"].as_str().unwrap().trim_start_matches("0x");
    let block = u64::from_str_radix(block, 16).unwrap();
    let operator = world.another_engine().await;
    operator
        .execute(resolve(Resolution::AcceptFrom(block)))
        .await
        .unwrap();
    world.wait_reason("chain_quarantined", false).await;
    world.wait_read().await;
    assert_eq!(world.view(&charge.id).await.state.as_str(), "reversed");
    assert_eq!(world.plan("acme"), "free");
    let next = world.charge("acme").await;
    world.pay(&next).await;
    world.anvil.mine(2).await;
    world.wait_state(&next, "paid").await;
}

#[tokio::test]
async fn who_follows_is_ready_with_the_leader_and_tells_what_holds_its_blocks() {
    let world = World::over(Anvil::start_with(&SHORT_EPOCHS).await, On::Postgres, 1, |chain| {
        chain.development = false;
        chain.finality = Finality::of_confirmations(2);
    })
    .await;
    world.anvil.mine(10).await;
    world.wait_read().await;
    let (engine, health, tasks) = world.follower().await;
    let is_ready = || health.is_ready(CHAIN, engine.clock().now_ms());
    world.wait_until("the follower to be ready", is_ready).await;
    assert!(health.endpoints(CHAIN).is_empty(), "it asks nobody");
    let is_final = || world.heights().finalized.map(|block| block.number) > Some(12);
    world.wait_until("it to be final", is_final).await;

    world.anvil.rpc("anvil_reorg", json!([5, []])).await;
    world.anvil.mine(1).await;
    world.wait_reason("chain_quarantined", true).await;
    let tells = || {
        let fine = Database::Answers {
            oldest_owed_at_ms: None,
        };
        let readiness = health.readiness(engine.clock().now_ms(), fine);
        let mut reasons = readiness.reasons.iter();
        reasons.any(|reason| reason.check == "chain_quarantined" && reason.detail.contains("final"))
    };
    world.wait_until("the follower to tell of it", tells).await;
    assert!(!is_ready());
    tasks.shutdown(Duration::from_secs(10)).await;
    engine.close().await;
}
