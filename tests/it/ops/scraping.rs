//! A real Prometheus scrapes the real service, and understands all that is shipped for it.

use alloy::primitives::U256;
use serde_json::{Value, json};

use super::dashboard::expressions;
use crate::harness::anvil::{Anvil, TestUsdc};
use crate::harness::fake_webhook::FakeWebhook;
use crate::harness::prometheus::{Prometheus, promtool};
use crate::harness::repository;
use crate::harness::service::Service;

/// Panels that are empty while nothing goes wrong.
const QUIET: [&str; 13] = [
    "Read, and not agreed",
    "Reorgs by depth",
    "What is wrong with endpoints",
    "Requests that did not succeed",
    "Share that fails",
    "Sockets that were dropped",
    "5xx by route",
    "Tasks that failed",
    "Users' tokens that were refused",
    "Fetches of the issuer's keys",
    "Age of the issuer's keys",
    "Checkouts that were asked for",
    "Contracts that cannot be counted",
];

/// Asks for a charge and pays it.
async fn pay_a_charge(service: &Service, anvil: &Anvil) {
    let charge = service
        .post("acme", "/api/billing/crypto/stablecoin", &json!({"plan": "pro"}))
        .await;
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let (token, to) = (word(&charge["token"]["address"]), word(&charge["treasury"]));
    let value: U256 = word(&charge["due"]["baseUnits"]).parse().unwrap();
    let (token, to) = (token.parse().unwrap(), to.parse().unwrap());
    let owner = anvil.accounts().await[0];
    let amount = value;
    anvil
        .send(owner, token, TestUsdc::mintCall { to: owner, amount })
        .await;
    anvil
        .send(owner, token, TestUsdc::transferCall { to, value })
        .await;
}

/// Makes a gate, and asks it about somebody.
async fn ask_a_gate(service: &Service, anvil: &Anvil) {
    let contract = anvil.deploy("MemberNft").await;
    let rule = json!({"type": "erc721_balance", "chainId": 31337, "contract": contract, "atLeast": "1"});
    let action = json!({"type": "unlock_channel", "channelId": "general"});
    let gate = json!({"name": "Members", "action": action, "fromBlock": 0, "rule": rule});
    service.post("acme", "/api/token-gates", &gate).await;
    service
        .post("acme", "/api/token-gates/verify", &json!({"userId": "alice"}))
        .await;
}

/// Waits until every alert was evaluated without an error and is neither pending nor firing; returns them all.
async fn alerts_at_rest(prometheus: &Prometheus) -> Vec<Value> {
    let at_rest = async || {
        let data = prometheus.get("rules", &[]).await?;
        let groups = data["groups"].as_array().ok_or("no groups")?;
        let rules = groups
            .iter()
            .filter_map(|group| group["rules"].as_array())
            .flatten();
        let rules: Vec<Value> = rules.cloned().collect();
        let awake = rules
            .iter()
            .find(|rule| rule["health"] != "ok" || rule["state"] != "inactive");
        match awake {
            Some(rule) => Err(rule.to_string()),
            None => Ok(rules),
        }
    };
    prometheus.wait_until("all alerts to be at rest", at_rest).await
}

fn assert_tells_what_to_do(alert: &Value) {
    let severity = &alert["labels"]["severity"];
    assert!(severity == "critical" || severity == "warning", "{alert}");
    assert!(alert["duration"].as_f64() > Some(0.0), "no `for`: {alert}");
    for field in ["summary", "description"] {
        assert!(alert["annotations"][field].is_string(), "no {field}: {alert}");
    }
}

#[tokio::test]
async fn prometheus_scrapes_the_service_and_understands_alerts_and_dashboard() {
    let anvil = Anvil::start_with(&["--block-time", "1"]).await;
    let token = anvil.deploy("TestUSDC").await;
    let treasury = anvil.accounts().await[9];
    let webhook = FakeWebhook::start().await;
    let service = Service::over(&anvil, token, treasury, &webhook).await;
    let prometheus = Prometheus::start(service.metrics_address());

    // What is counted before the first scrape is no increase.
    prometheus.wait_for(r#"up{job="tollgate"} == 1"#).await;
    pay_a_charge(&service, &anvil).await;
    ask_a_gate(&service, &anvil).await;
    for expression in [
        "tollgate_build_info == 1",
        r#"tollgate_chain_ready{chain="anvil"} == 1"#,
        r#"tollgate_payment_confirmed_total{chain="anvil"} == 1"#,
        "tollgate_payment_unproven_total == 0",
        r#"tollgate_chain_quarantined{chain="anvil"} == 0"#,
        r#"tollgate_token_hindered{chain="anvil", token="USDC", hindrance="token_paused"} == 0"#,
        r#"tollgate_chain_finality_lag_seconds{chain="anvil"} < 60"#,
        r#"tollgate_lease_leader{chain="anvil"} == 1"#,
        r#"tollgate_chain_level{chain="anvil", level="receipts"} == 1"#,
        r#"tollgate_endpoint_disagreements_total{chain="anvil", endpoint="local"} == 0"#,
        r#"tollgate_config_reloads_total{outcome="refused"} == 0"#,
        r#"tollgate_chain_reorgs_total{chain="anvil", depth="21+"} == 0"#,
        r#"tollgate_chain_confirmation_lag_seconds_count{chain="anvil"} == 1"#,
        r#"tollgate_outbox_deliveries_total{webhook="chat", outcome="delivered"} > 0"#,
        r#"tollgate_outbox_deliveries_total{webhook="chat", outcome="dead"} == 0"#,
        r#"tollgate_endpoint_requests_total{chain="anvil", endpoint="local", outcome="ok"} > 0"#,
        r#"tollgate_http_requests_total{route="/api/billing/crypto/stablecoin", status="201"} == 1"#,
        "tollgate_gate_decisions_total > 0",
        "tollgate_engine_transaction_seconds_count > 0",
    ] {
        prometheus.wait_for(expression).await;
    }
    promtool(&["check", "metrics"], &service.metrics().await);

    let alerts = alerts_at_rest(&prometheus).await;
    let written = std::fs::read_to_string(repository("config/alerts.yml")).unwrap();
    assert_eq!(alerts.len(), written.matches("- alert: ").count());
    for alert in &alerts {
        assert_tells_what_to_do(alert);
    }

    // An expression that only failures show is empty on a healthy service; any other that is empty names what is not there.
    prometheus
        .wait_for("count_over_time(tollgate_gate_decisions_total[1m]) > 2")
        .await;
    for one in expressions() {
        let asked = prometheus.query(&one.expression).await;
        let series = asked.unwrap_or_else(|error| panic!("{one:?}: {error}"));
        assert!(
            !series.is_empty() || QUIET.contains(&one.panel.as_str()),
            "{one:?}"
        );
        for (series, label) in series
            .iter()
            .flat_map(|series| one.legend.iter().map(move |label| (series, label)))
        {
            assert!(
                series["metric"][label].is_string(),
                "{label} of {series}: {one:?}"
            );
        }
    }
}
