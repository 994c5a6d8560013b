//! Chains whose receipts prove nothing: two operators must say the same, or nothing ever counts.

use tollgate::config::Chain;
use tollgate::domain::{Finality, Level};
use tollgate::metrics::CHAIN_LOG_DISAGREEMENTS_TOTAL;

use super::proxied::endpoint;
use super::world::{CHAIN, On, World};
use crate::harness::anvil::Anvil;
use crate::harness::counted::{self, counted};
use crate::harness::facts::column;
use crate::harness::proxy::{Fault, Proxy};

/// Two operators in front of one node, neither of whom gives receipts that rebuild a root.
async fn world(name: &str, adjust: impl FnOnce(&mut Chain)) -> (World, [Proxy; 2]) {
    counted::start();
    let anvil = Anvil::start().await;
    let proxies = [(); 2].map(|()| Proxy::start(&anvil.http_url()).unwrap());
    for proxy in &proxies {
        proxy.inject(Fault::FalseReceipts.of(&["eth_getBlockReceipts"]));
    }
    let world = World::over(anvil, On::Sqlite, 1, |chain| {
        name.clone_into(&mut chain.name);
        chain.development = false;
        chain.agree = 2;
        chain.finality = Finality::of_confirmations(2);
        chain.endpoints = vec![endpoint("one", &proxies[0]), endpoint("two", &proxies[1])];
        adjust(chain);
    })
    .await;
    world.wait_read().await;
    (world, proxies)
}

fn level(world: &World) -> Option<Level> {
    world.health.chain(CHAIN).unwrap().level
}

async fn stored(world: &World) -> Vec<String> {
    let store = world.open_store().await;
    let levels = column(&store, "select level from v_payments order by block_number").await;
    store.close().await;
    levels
}

#[tokio::test]
async fn where_receipts_prove_nothing_a_payment_counts_once_two_operators_say_the_same() {
    let (world, [_one, two]) = world("asked", |_| {}).await;
    assert_eq!(level(&world), Some(Level::Asked));
    let charge = world.charge("acme").await;
    world.pay(&charge).await;
    world.anvil.mine(2).await;
    world.wait_state(&charge, "paid").await;

    let charge = world.charge("other").await;
    let dropped = two.inject(Fault::DropLastLog.of(&["eth_getLogs"]));
    world.pay(&charge).await;
    world.anvil.mine(3).await;
    let disagree = || counted(CHAIN_LOG_DISAGREEMENTS_TOTAL, &["chain=\"asked\""]) > 2;
    world.wait_until("the operators to disagree", disagree).await;
    assert_eq!(world.plan("other"), "free");
    assert_eq!(stored(&world).await, ["asked"], "nobody is believed");
    assert!(dropped.lift() > 0);
    let paid = world.wait_state(&charge, "paid").await;
    assert_eq!(paid.confirmed, charge.due);
    assert_eq!(stored(&world).await, ["asked", "asked"]);
    assert_eq!(world.reasons(), Vec::<String>::new());
}

#[tokio::test]
async fn at_level_none_a_payment_is_shown_and_never_counts() {
    let (world, _proxies) = world("none", |chain| chain.level = Some(Level::None)).await;
    assert_eq!(level(&world), Some(Level::None));
    let charge = world.charge("acme").await;
    world.pay(&charge).await;
    world.anvil.mine(6).await;
    let settled = world.wait_read().await.read.unwrap().number - 1;
    let is_settled = || {
        world
            .heights()
            .settled
            .is_some_and(|block| block.number >= settled)
    };
    world.wait_until("its block to be settled", is_settled).await;
    assert_eq!(stored(&world).await, ["none"]);
    let shown = world.view(&charge.id).await;
    assert_eq!(
        (shown.state.as_str(), world.plan("acme").as_str()),
        ("open", "free")
    );
}
