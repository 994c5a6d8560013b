//! SIGHUP: the configuration is read again, what differs is replaced, and nothing is missed.

use std::time::{Duration, Instant};

use serde_json::json;

use super::place::{CHAIN, Place};
use crate::harness::anvil::Anvil;
use crate::harness::facts::column;
use crate::harness::fake_webhook::{FakeWebhook, Received};
use crate::harness::service::Service;

const SECOND: &str = "second";
const APPLIED: &str = "tollgate_config_reloads_total{outcome=\"applied\"}";
const REFUSED: &str = "tollgate_config_reloads_total{outcome=\"refused\"}";

/// Has it read its configuration again, and waits until it has.
async fn reload(service: &Service, outcome: &str) {
    let before = service.metric(outcome).await.unwrap_or_default();
    service.signal("HUP");
    let end = Instant::now() + Duration::from_secs(20);
    while service.metric(outcome).await.unwrap_or_default() <= before {
        assert!(
            Instant::now() < end,
            "{outcome} does not count:\n{}",
            service.told()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_dead_is_replaced_by_one_that_lives() {
    const KEY: &str = "a-key-in-a-url";
    let mut place = Place::on_sqlite().await;
    let living = std::mem::take(&mut place.chains);
    place.chains = place.chain(CHAIN, 31_337, &format!("http://127.0.0.1:1/{KEY}"));
    place.write();
    let service = place.start();
    service.wait_ready(false).await;
    let problem = |chain: &serde_json::Value| chain["problem"].is_string();
    service.wait_chain(CHAIN, "nothing is read", problem).await;
    place.chains = living;
    place.write();
    reload(&service, APPLIED).await;
    service.wait_ready(true).await;
    place.pay(&service).await;
    place.wait_all_paid(&[&service]).await;
    place.assert_each_counted_once().await;
    let told = service.told();
    assert!(told.contains("chain=\"anvil\" change=Changed"), "{told}");
    assert!(!told.contains(KEY), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_comes_and_goes_and_the_other_goes_on() {
    let mut place = Place::on_sqlite().await;
    let other = Anvil::start_with(&["--chain-id", "31338"]).await;
    other.deploy("TestUSDC").await;
    let service = place.start();
    service.wait_ready(true).await;
    let store = place.store().await;
    let fence = "select fence from lease where role = 'chain:31337'";
    let fence_before = column(&store, fence).await;
    assert!(service.chain(SECOND).await.is_null());

    let first = place.chains.clone();
    place.chains = first.clone() + &place.chain(SECOND, 31_338, &other.http_url());
    place.write();
    reload(&service, APPLIED).await;
    service
        .wait_chain(SECOND, "reading", |chain| Place::has_read(chain, 1))
        .await;
    service.wait_ready(true).await;
    other.mine(3).await;
    service
        .wait_chain(SECOND, "following", |chain| Place::has_read(chain, 4))
        .await;

    place.chains = first;
    place.write();
    reload(&service, APPLIED).await;
    assert!(service.chain(SECOND).await.is_null());
    service.wait_ready(true).await;
    place.pay(&service).await;
    place.wait_all_paid(&[&service]).await;
    assert_eq!(
        column(&store, fence).await,
        fence_before,
        "the first was left alone"
    );
    let kept = column(&store, "select chain from chain order by chain").await;
    assert_eq!(kept, ["31337", "31338"], "its rows stay");
    let leases = column(&store, "select count(*) from lease where holder is null").await;
    assert_eq!(leases, ["1"], "nobody leads the second");
    let leads = service.metric("tollgate_lease_leader{chain=\"second\"}").await;
    assert!(leads.is_some_and(f64::is_nan), "{leads:?}, as if somebody should");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_configuration_changes_nothing_and_every_fault_is_told() {
    let place = Place::on_sqlite().await;
    let service = place.start();
    service.wait_ready(true).await;
    place.write_with("[payments]\ncharge_ttl = \"soon\"\n[walets]\n");
    reload(&service, REFUSED).await;
    let told = service.told();
    assert!(told.contains("key=\"payments.charge_ttl\""), "{told}");
    assert!(told.contains("key=\"walets\""), "{told}");
    assert!(!told.contains("soon"), "no value is told: {told}");
    place.pay(&service).await;
    place.wait_all_paid(&[&service]).await;
    assert_eq!(service.metric(APPLIED).await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receivers_secrets_and_limits_are_replaced_and_what_cannot_be_is_told() {
    let mut place = Place::on_sqlite().await;
    let service = place.start();
    service.wait_ready(true).await;
    let event = json!({"id": "evt_1"});
    let event = || service.try_post("acme", "/api/billing/webhook", &event);
    assert_eq!(event().await.0, 503, "no secret is configured");
    let another = FakeWebhook::start().await;
    let url = std::mem::replace(&mut place.store_url, "sqlite:///nowhere/t.sqlite".to_owned());
    place.write_with(&format!(
        r#"
[[webhooks]]
name = "another"
url = "{}"
secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
allow_private_network = true

[stripe]
webhook_secrets = ["whsec_of_stripe"]

[payments]
enabled = false
"#,
        another.url()
    ));
    place.store_url = url;
    place.pay(&service).await;
    reload(&service, APPLIED).await;
    service.wait_for_log("key=\"store\"");
    assert!(!service.told().contains("nowhere"));
    assert_eq!(
        event().await.0,
        400,
        "a secret is configured, and this is not signed with it"
    );
    let asked = json!({"plan": "pro"});
    let refused = service.try_post("acme", "/api/billing/crypto/stablecoin", &asked);
    assert_eq!(refused.await.1["code"], "CRYPTO_PAYMENTS_DISABLED");
    place.wait_all_paid(&[&service]).await;
    let of_the_payment = |received: &[Received]| {
        let text = |one: &Received| String::from_utf8_lossy(&one.body).into_owned();
        received.iter().any(|one| text(one).contains("charge.paid"))
    };
    another.wait_for(Duration::from_secs(20), of_the_payment).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_payment_is_missed_while_the_settings_of_its_chain_change() {
    let place = Place::on_postgres().await;
    let service = place.start();
    service.wait_ready(true).await;
    let other = place
        .chains
        .replace("poll_interval = \"100ms\"", "poll_interval = \"150ms\"");
    let scenario = async {
        for chains in [&other, &place.chains, &other, &place.chains] {
            place.some_payments().await;
            place.write_of(chains, "");
            reload(&service, APPLIED).await;
        }
        place.end();
    };
    tokio::join!(place.keep_paying(&service), scenario);
    place.wait_all_paid(&[&service]).await;
    place.assert_each_counted_once().await;
}
