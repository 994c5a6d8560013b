//! Two operators: one dies or is not what it should be, and the other serves.

use std::time::Duration;

use futures_util::future::join_all;
use secrecy::ExposeSecret as _;
use tollgate::config::{Chain, Endpoint};
use tollgate::domain::{Eligibility, Finality};
use tollgate::metrics::ENDPOINT_REQUESTS_TOTAL;

use super::proxied::{Proxied, endpoint};
use super::world::{On, World};
use crate::harness::anvil::Anvil;
use crate::harness::proxy::{Fault, Proxy, Way};

const SLOW: Duration = Duration::from_millis(150);

/// Charges, moves, and waits until all of it counts.
async fn counts(chain: &mut Proxied, tenant: &str) {
    let charge = chain.world.charge(tenant).await;
    let member = chain.move_all(std::slice::from_ref(&charge)).await;
    chain.is_paid(&charge).await;
    chain.member_is(member, Eligibility::Eligible).await;
}

/// Whether nothing but the chain's id was asked for.
fn only_introduced(proxy: &Proxy) -> bool {
    proxy
        .traffic()
        .requests
        .keys()
        .all(|(_, method)| method == "eth_chainId")
}

#[tokio::test]
async fn one_read_goes_to_the_next_operator_when_the_first_is_dead() {
    let faults = [
        ("dead-cut", Fault::Cut),
        ("dead-stall", Fault::Stall),
        ("dead-limited", Fault::Status(429, Some(60))),
        ("dead-unpaid", Fault::Status(402, None)),
    ];
    join_all(faults.map(|(name, fault)| async move {
        // Nothing but the head of the other's socket says that there is something to read, and only once.
        let mut other = None;
        let chain = Proxied::start_with(name, |chain, direct| {
            chain.endpoints[0].ws = None;
            // Slow to give the headers that latency is measured by, so that it never comes first.
            let slow = Proxy::start(direct.http.as_ref().unwrap().expose_secret()).unwrap();
            slow.inject(Fault::Delay(SLOW).of(&["eth_getBlockByNumber", "eth_getBlockByHash"]));
            chain.endpoints.push(Endpoint {
                request_timeout: direct.request_timeout,
                ..endpoint("slow", &slow)
            });
            other = Some(slow);
            chain.poll_interval = Duration::from_mins(10);
            chain.finality = Finality::of_confirmations(1);
        })
        .await;
        chain.world.wait_read().await;
        let charge = chain.world.charge("one").await;
        let fault = chain.proxy.inject(fault.of(&["eth_getBlockReceipts"]));
        chain.world.pay(&charge).await;
        chain.is_paid(&charge).await;
        assert!(fault.strikes() > 0, "{name}: it was not asked");
        drop(other);
    }))
    .await;
}

#[tokio::test]
async fn an_endpoint_of_another_chain_is_never_read() {
    let other = Anvil::start_with(&["--chain-id", "5"]).await;
    other.mine(500).await;
    let wrong = Proxy::start(&other.http_url()).unwrap();
    let mut chain = Proxied::start_with("wrong-chain", |chain, _| {
        chain.endpoints.insert(0, endpoint("wrong", &wrong));
    })
    .await;
    counts(&mut chain, "one").await;
    // Nor while it is the only one that answers.
    let cut = chain.proxy.inject(Fault::Cut);
    let charge = chain.world.charge("two").await;
    let member = chain.move_all(std::slice::from_ref(&charge)).await;
    let failed = [r#"endpoint="proxied""#, r#"outcome="transport""#];
    let noticed = || chain.counted(ENDPOINT_REQUESTS_TOTAL, &failed) >= 3;
    chain.world.wait_until("the outage to be noticed", noticed).await;
    assert_eq!(chain.world.plan("two"), "free");
    cut.lift();
    chain.is_paid(&charge).await;
    chain.member_is(member, Eligibility::Eligible).await;
    assert!(only_introduced(&wrong), "{:?}", wrong.traffic());
    assert_eq!(chain.reorgs(), 0);
}

#[tokio::test]
async fn an_endpoint_that_becomes_another_chains_is_left() {
    let other = Anvil::start_with(&["--chain-id", "5"]).await;
    other.mine(500).await;
    let mut chain = Proxied::start_with("turned", |chain, direct| chain.endpoints.push(direct)).await;
    chain.is_streaming().await;
    chain.proxy.turn_to(&other.http_url());
    let cut = chain.proxy.inject(Fault::Cut.over(Way::Ws));
    counts(&mut chain, "one").await;
    cut.lift();
    counts(&mut chain, "two").await;
    assert_eq!((chain.reorgs(), chain.world.reasons()), (0, Vec::new()));
}

#[tokio::test]
async fn an_endpoint_of_another_genesis_is_never_read() {
    let other = Anvil::start_with(&["--timestamp", "1700000000"]).await;
    other.mine(500).await;
    let wrong = Proxy::start(&other.http_url()).unwrap();
    let mut chain = Proxied::start("wrong-genesis").await;
    let added = |chain: &mut Chain| chain.endpoints.push(endpoint("wrong", &wrong));
    chain.world.restart_with(added).await;
    counts(&mut chain, "one").await;
    let asked = || wrong.traffic().asked("eth_chainId");
    let before = asked();
    let cut = chain.proxy.inject(Fault::Cut);
    let charge = chain.world.charge("two").await;
    let member = chain.move_all(std::slice::from_ref(&charge)).await;
    // Long enough for a walk down all of its blocks.
    chain
        .world
        .wait_until("it to be asked who it is", || asked() > before + 3)
        .await;
    assert_eq!(chain.world.plan("two"), "free");
    cut.lift();
    chain.is_paid(&charge).await;
    chain.member_is(member, Eligibility::Eligible).await;
    let traffic = wrong.traffic();
    assert_eq!(
        traffic.asked("eth_getBlockByHash") + traffic.asked("eth_getLogs"),
        0,
        "{traffic:?}"
    );
    assert_eq!((chain.reorgs(), chain.world.reasons()), (0, Vec::new()));
}

#[tokio::test]
async fn a_chain_is_not_begun_while_its_endpoints_differ_in_block_0() {
    let other = Anvil::start_with(&["--timestamp", "1700000000"]).await;
    let wrong = Proxy::start(&other.http_url()).unwrap();
    let mut world = World::over(Anvil::start().await, On::Sqlite, 1, |chain| {
        chain.endpoints.insert(0, endpoint("wrong", &wrong));
    })
    .await;
    world.wait_reason("chain_problem", true).await;
    let reasons = world.reasons().join(" ");
    assert!(reasons.contains("do not have the same block 0"), "{reasons}");
    assert_eq!(world.heights().read, None);
    world.restart_with(|chain| drop(chain.endpoints.remove(0))).await;
    world.wait_read().await;
    assert_eq!(world.reasons(), Vec::<String>::new());
}
