//! A chain that contradicts what was final, and the operator who says who is right, beside the service as it runs.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::place::{CHAIN, Place};
use crate::cli::{Said, tollgate};
use crate::harness::service::Service;

/// Deeper than what anvil calls final, which trails its head by 64 blocks.
const DEEP: u64 = 90;
const DEADLINE: Duration = Duration::from_secs(30);

async fn quarantined(service: &Service) -> String {
    service
        .wait_chain(CHAIN, "quarantined", |chain| !chain["quarantined"].is_null())
        .await;
    service.wait_ready(false).await;
    let (_, answer) = service.try_get("/readyz").await.unwrap();
    let reasons = answer["reasons"].as_array().unwrap();
    let reason = reasons
        .iter()
        .find(|reason| reason["check"] == "chain_quarantined");
    reason.unwrap()["detail"].as_str().unwrap().to_owned()
}

async fn resolve(place: &Place, how: &[&str]) -> Said {
    let base = ["chain", "resolve", "--chain", CHAIN];
    tollgate(&place.config(), &[&base, how].concat()).await
}

async fn assert_becomes(service: &Service, place: &Place, number: usize, state: &str) {
    let charge = place.charge_of(number);
    let path = format!("/api/billing/crypto/charge/{charge}?tenantId=t{number}");
    let end = Instant::now() + DEADLINE;
    while service.get(&path).await["state"] != state {
        assert!(Instant::now() < end, "{state}: {}", service.told());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_resolves_a_quarantine_and_the_service_goes_on_by_itself() {
    let mut place = Place::on_sqlite().await;
    place.chains = place.chains.replace("development = true", "development = false");
    place.write();
    let service = place.start();
    service.wait_ready(true).await;
    let first = place.head().await + 1;
    place.pay(&service).await;
    place.wait_all_paid(&[&service]).await;
    place.anvil.mine(DEEP).await;
    let is_final = |chain: &Value| chain["finalized"]["number"].as_u64() > Some(first);
    service.wait_chain(CHAIN, "final", is_final).await;
    let head = place.head().await;
    service
        .wait_chain(CHAIN, "read", |chain| Place::has_read(chain, head))
        .await;

    let depth = head - first + 1;
    place.anvil.rpc("anvil_reorg", json!([depth, []])).await;
    place.anvil.mine(1).await;
    let detail = quarantined(&service).await;
    let command = "tollgate chain resolve --chain anvil --keep, or --accept-from <block>";
    assert!(
        detail.contains("so say node") && detail.contains(command),
        "{detail}"
    );
    let plan = |answer: &Value| answer["plan"].as_str().unwrap().to_owned();
    let subscription = "/api/billing/subscription?tenantId=t0";
    assert_eq!(plan(&service.get(subscription).await), "pro");

    let said = resolve(&place, &["--accept-from", &(head + 1).to_string()]).await;
    assert!(
        !said.success && said.err.contains("must be between 1 and"),
        "{}",
        said.err
    );
    let said = resolve(&place, &["--accept-from", &first.to_string()]).await;
    assert!(
        said.success && said.out.contains("resolved: undone from block"),
        "{}{}",
        said.out,
        said.err
    );

    service.wait_ready(true).await;
    let reversed = service.get(subscription).await;
    assert_eq!(
        (plan(&reversed).as_str(), &reversed["status"]),
        ("pro", &json!("past_due"))
    );
    place.pay(&service).await;
    place.anvil.mine(2).await;
    assert_becomes(&service, &place, 1, "paid").await;
    assert_becomes(&service, &place, 0, "reversed").await;
    let again = resolve(&place, &["--keep"]).await;
    assert!(
        !again.success && again.err.contains("is not quarantined"),
        "{}",
        again.err
    );
}
