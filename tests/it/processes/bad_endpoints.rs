//! Endpoints that are not what they should be, beside two that are: each is named with what is wrong, none is believed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::place::{CHAIN, Place};
use crate::harness::anvil::Anvil;
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::service::Service;

const NAMED: Duration = Duration::from_mins(1);

/// The TOML of one more endpoint of the chain, whose operator is its own.
fn endpoint(name: &str, url: &str, patience: &str) -> String {
    format!(
        "\n[[chains.{CHAIN}.endpoints]]\nname = \"{name}\"\noperator = \"{name}\"\nhttp = \"{url}\"\n\
         requests_per_second = 1000\nrequest_timeout = \"{patience}\"\n"
    )
}

/// Waits until `/readyz` names exactly these endpoints; a chain that goes on and that others read is ready all the same.
async fn wait_named(place: &Place, service: &Service, expected: &[(&str, &str)]) {
    let expected: Vec<Value> = expected
        .iter()
        .map(|(name, problem)| json!({"chain": CHAIN, "endpoint": name, "problem": problem}))
        .collect();
    let end = Instant::now() + NAMED;
    loop {
        place.anvil.mine(1).await;
        let (status, answer) = service.try_get("/readyz").await.unwrap();
        if status == 200 && answer["endpoints"].as_array() == Some(&expected) {
            return;
        }
        assert!(
            Instant::now() < end,
            "{status} {answer}, and not {expected:?}\n{}",
            service.told()
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Waits until the metric of each is `value`.
async fn wait_metrics(service: &Service, expected: &[(&str, &str)], value: f64) {
    for (name, problem) in expected {
        let metric = format!(
            "tollgate_endpoint_problem{{chain=\"{CHAIN}\",endpoint=\"{name}\",problem=\"{problem}\"}}"
        );
        let end = Instant::now() + NAMED;
        while service.metric(&metric).await != Some(value) {
            let told = service.metrics().await;
            let told: Vec<_> = told
                .lines()
                .filter(|line| line.starts_with("tollgate_endpoint_problem{"))
                .collect();
            assert!(Instant::now() < end, "{metric} is not {value}: {told:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_chain_another_genesis_html_200_megabytes_and_silence_are_each_named() {
    let mut place = Place::on_sqlite().await;
    let other_chain = Anvil::start_with(&["--chain-id", "5"]).await;
    let other_genesis = Anvil::start_with(&["--timestamp", "1700000000"]).await;
    other_chain.mine(500).await;
    other_genesis.mine(500).await;
    let behind = |fault: Fault| {
        let proxy = Proxy::start(&place.anvil.http_url()).unwrap();
        proxy.inject(fault);
        proxy
    };
    let (html, huge, never) = (behind(Fault::Html), behind(Fault::Huge), behind(Fault::Stall));
    // On a development chain no genesis is expected.
    let chains = place.chains.replace("development = true", "development = false");
    place.chains = [
        chains,
        // Two operators must agree where there are several, and of the others none can.
        endpoint("honest", &place.anvil.http_url(), "2s"),
        endpoint("of-goerli", &other_chain.http_url(), "2s"),
        endpoint("of-a-fork", &other_genesis.http_url(), "2s"),
        endpoint("a-page", &html.http_url(), "2s"),
        endpoint("endless", &huge.http_url(), "20s"),
        endpoint("asleep", &never.http_url(), "1s"),
    ]
    .concat();
    place.write();
    let service = place.start();
    let foreign = [("of-goerli", "wrong_chain"), ("of-a-fork", "wrong_genesis")];
    let faulty = [
        ("a-page", "not_json_rpc"),
        ("endless", "too_large"),
        ("asleep", "silent"),
    ];
    let all = [&foreign[..], &faulty[..]].concat();
    wait_named(&place, &service, &all).await;
    wait_metrics(&service, &all, 1.0).await;
    place.pay(&service).await;
    place.wait_all_paid(&[&service]).await;
    place.assert_each_counted_once().await;

    for proxy in [&html, &huge] {
        proxy.heal();
    }
    let left = [&foreign[..], &faulty[2..]].concat();
    wait_named(&place, &service, &left).await;
    wait_metrics(&service, &faulty[..2], 0.0).await;
    wait_metrics(&service, &left, 1.0).await;
    let reorgs = service.metrics().await;
    let reorged = |line: &&str| line.starts_with("tollgate_chain_reorgs_total{") && !line.ends_with(" 0");
    assert_eq!(reorgs.lines().find(reorged), None);
}
