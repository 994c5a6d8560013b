//! Endpoints whose chain lacks what was final here: one of them is put aside, all of them are a matter for a person.

use serde_json::json;
use tollgate::config::{Chain, Endpoint};
use tollgate::domain::Finality;

use super::finality::{SHORT_EPOCHS, fork_of};
use super::world::{CHAIN, On, World};
use crate::harness::anvil::Anvil;

async fn world() -> World {
    World::over(Anvil::start_with(&SHORT_EPOCHS).await, On::Sqlite, 1, |chain| {
        chain.development = false;
        chain.finality = Finality::of_confirmations(2);
    })
    .await
}

/// Another endpoint of the same operator.
fn endpoint(chain: &Chain, anvil: &Anvil) -> Endpoint {
    Endpoint {
        name: "other".to_owned(),
        ws: Some(anvil.ws_url().into()),
        http: Some(anvil.http_url().into()),
        ..chain.endpoints[0].clone()
    }
}

/// Mines until the block that `other` has in place of ours, or lacks, is final.
async fn finalize(world: &World) {
    let head = world.wait_read().await.read.unwrap().number;
    world.anvil.mine(6).await;
    let is_final = || world.heights().finalized.map(|block| block.number) > Some(head + 1);
    world.wait_until("it to be final", is_final).await;
    world.wait_read().await;
}

async fn wait_named(world: &World, wanted: Option<&str>) {
    let problem = || {
        let endpoints = world.health.endpoints(CHAIN);
        endpoints
            .iter()
            .find(|endpoint| &*endpoint.name == "other")
            .and_then(|endpoint| endpoint.problem)
    };
    world
        .wait_until("the endpoint to be named", || problem() == wanted)
        .await;
}

async fn counts(world: &World, tenant: &str) {
    let charge = world.charge(tenant).await;
    world.pay(&charge).await;
    world.anvil.mine(2).await;
    world.wait_state(&charge, "paid").await;
    assert_eq!(world.plan(tenant), "pro");
    assert_eq!(world.engine.chain(CHAIN).unwrap().quarantined, None);
}

#[tokio::test]
async fn an_endpoint_that_contradicts_what_was_final_at_a_start_is_put_aside_and_the_chain_goes_on() {
    let mut world = world().await;
    let other = fork_of(&world.anvil).await;
    finalize(&world).await;
    other.mine(20).await;
    world
        .restart_with(|chain| chain.endpoints.insert(0, endpoint(chain, &other)))
        .await;
    wait_named(&world, Some("contradicts_final")).await;
    counts(&world, "one").await;
    other.mine(10).await;
    counts(&world, "two").await;
    assert_eq!(world.reasons(), Vec::<String>::new());
}

#[tokio::test]
async fn only_when_all_endpoints_contradict_what_was_final_is_the_chain_set_aside() {
    let mut world = world().await;
    let other = fork_of(&world.anvil).await;
    world
        .restart_with(|chain| chain.endpoints.push(endpoint(chain, &other)))
        .await;
    finalize(&world).await;
    other.mine(20).await;
    wait_named(&world, Some("contradicts_final")).await;
    counts(&world, "one").await;
    assert_eq!(world.reasons(), Vec::<String>::new());

    world.wait_read().await;
    world.anvil.rpc("anvil_reorg", json!([7, []])).await;
    world.anvil.mine(1).await;
    world.wait_reason("chain_quarantined", true).await;
    let reasons = world.reasons().join(" ");
    assert!(reasons.contains("so say anvil, other"), "{reasons}");
}
