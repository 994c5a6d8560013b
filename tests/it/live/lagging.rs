//! A node that knows less than we do contradicts nothing, and a chain that was just started can already be reorganised. No
//! development chains: on one of those a lower head is a rollback.

use alloy::primitives::Address;
use serde_json::json;
use tollgate::domain::Eligibility;
use tollgate::engine::ChargeView;
use tollgate::metrics::CHAIN_REORGS_TOTAL;

use super::proxied::Proxied;
use super::world::{On, World};
use crate::harness::anvil::Anvil;
use crate::harness::counted::{self, counted};
use crate::harness::proxy::Fault;

/// Polls that are enough for a development chain to believe a rollback.
const POLLS: u64 = 6;

async fn with_a_paid_charge(name: &str) -> (Proxied, ChargeView, u64) {
    let mut chain = Proxied::start(name).await;
    let charge = chain.world.charge("one").await;
    let member = chain.move_all(std::slice::from_ref(&charge)).await;
    chain.is_paid(&charge).await;
    chain.world.anvil.mine(4).await;
    chain.world.wait_read().await;
    (chain, charge, member)
}

async fn goes_on(chain: &mut Proxied) {
    let charge = chain.world.charge("later").await;
    let member = chain.move_all(std::slice::from_ref(&charge)).await;
    chain.is_paid(&charge).await;
    chain.member_is(member, Eligibility::Eligible).await;
}

/// Waits until the head was polled often enough to be believed, if it were.
async fn is_polled(chain: &Proxied) {
    let polls = || chain.proxy.traffic().asked("eth_getBlockByNumber");
    let before = polls();
    chain
        .world
        .wait_until("polls", || polls() >= before + POLLS)
        .await;
}

/// Other blocks in place of the newest ones: somebody else's, because empty blocks of one second would be the same again.
async fn reorg(world: &World, depth: u64) {
    let somebody = Address::repeat_byte(0x55);
    world.anvil.rpc("anvil_setCoinbase", json!([somebody])).await;
    world.anvil.rpc("anvil_reorg", json!([depth, []])).await;
}

#[tokio::test]
async fn a_node_that_lags_is_no_rollback() {
    let (mut chain, charge, member) = with_a_paid_charge("lags").await;
    let read = chain.world.heights().read.unwrap();
    // Below the payment, which it does not know yet.
    let lag = chain.proxy.inject(Fault::LagAt(read.number - 6));
    is_polled(&chain).await;
    assert_eq!(chain.world.heights().read, Some(read));
    assert_eq!(chain.world.view(&charge.id).await.state.as_str(), "paid");
    assert_eq!(chain.eligibility(member), Eligibility::Eligible);
    assert!(lag.lift() > 0);
    goes_on(&mut chain).await;
    assert_eq!(chain.reorgs(), 0);
}

#[tokio::test]
async fn a_node_that_lags_at_the_start_is_waited_for() {
    let (mut chain, charge, member) = with_a_paid_charge("lags-at-start").await;
    chain.world.stop().await;
    let read = chain.world.heights().read.unwrap();
    let lag = chain.proxy.inject(Fault::LagAt(read.number - 6));
    chain.world.start().await;
    let unready = || {
        chain
            .world
            .reasons()
            .iter()
            .any(|reason| reason.contains("cannot be read"))
    };
    chain.world.wait_until("the node to be waited for", unready).await;
    assert_eq!(chain.world.heights().read, Some(read));
    assert_eq!(chain.world.view(&charge.id).await.state.as_str(), "paid");
    assert_eq!(chain.eligibility(member), Eligibility::Eligible);
    assert!(lag.lift() > 0);
    goes_on(&mut chain).await;
    assert_eq!(chain.reorgs(), 0);
    assert_eq!(chain.world.reasons(), Vec::<String>::new());
}

#[tokio::test]
async fn a_reorg_is_followed_only_once_it_is_as_long_as_what_was_read() {
    let (mut chain, charge, _) = with_a_paid_charge("lags-beside").await;
    let read = chain.world.heights().read.unwrap();
    let lag = chain.proxy.inject(Fault::LagAt(read.number - 1));
    reorg(&chain.world, 3).await;
    is_polled(&chain).await;
    assert_eq!((chain.reorgs(), chain.world.heights().read), (0, Some(read)));
    assert!(lag.lift() > 0);
    let after = chain.world.wait_read().await.read.unwrap();
    assert_eq!((chain.reorgs(), after.number), (1, read.number));
    assert_ne!(after.hash, read.hash);
    assert_eq!(chain.world.view(&charge.id).await.state.as_str(), "paid");
    goes_on(&mut chain).await;
}

#[tokio::test]
async fn a_reorg_right_after_the_first_start_is_followed() {
    counted::start();
    let anvil = Anvil::start().await;
    // Higher than what is kept, so that it does not start at block 0 anyway.
    anvil.mine(300).await;
    let world = World::over(anvil, On::Sqlite, 2, |chain| {
        "started".clone_into(&mut chain.name);
        chain.development = false;
        chain.start_block = None;
    })
    .await;
    let before = world.wait_read().await.read.unwrap();
    let settled = world.heights().settled;
    reorg(&world, 5).await;
    let after = world.wait_read().await.read.unwrap();
    assert_ne!(before, after);
    assert!(settled.is_some(), "at once");
    assert_eq!(counted(CHAIN_REORGS_TOTAL, &[r#"chain="started""#]), 1);
    let charge = world.charge("one").await;
    world.pay(&charge).await;
    world.anvil.mine(1).await;
    world.wait_state(&charge, "paid").await;
}
