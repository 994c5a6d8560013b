//! The checkout page in a real browser, served as it is, with its policy in force.

mod states;
mod wallets;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::api;
use tollgate::config;
use tollgate::engine::Engine;
use tollgate::health::Health;
use tollgate::jwt::Verifier;

use crate::harness::chromium::Tab;
use crate::harness::repository;

/// The API over an engine, on a port of its own.
struct Served {
    address: SocketAddr,
}

impl Served {
    async fn over(engine: &Engine) -> Self {
        let stripe = config::Stripe {
            webhook_secrets: Vec::new(),
            tolerance: Duration::from_mins(5),
        };
        let tokens = Arc::new(Verifier::new(no_tokens(), None).unwrap());
        let settings = api::Settings {
            server: server(),
            stripe,
            checkout: no_checkouts(),
            provider: None,
            tokens,
        };
        let router = api::router(engine.clone(), settings, Health::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address }
    }

    fn page(&self, charge: &str) -> String {
        format!("http://{}/pay/{charge}", self.address)
    }
}

pub fn server() -> config::Server {
    config::Server {
        listen: ([127, 0, 0, 1], 0).into(),
        metrics_listen: ([127, 0, 0, 1], 0).into(),
        max_body_bytes: 1024,
        request_timeout: Duration::from_secs(10),
        requests_per_second: 1_000,
        max_event_streams: 100,
        public_url: None,
        allowed_origins: Vec::new(),
    }
}

/// Nobody hosts checkouts.
fn no_checkouts() -> config::Checkout {
    config::Checkout {
        api: None,
        business_secrets: Vec::new(),
        commerce_secrets: Vec::new(),
        tolerance: Duration::from_mins(5),
    }
}

/// Nobody's tokens are believed.
pub fn no_tokens() -> config::Jwt {
    let claim = |name: &str| config::ClaimPath(vec![name.to_owned()]);
    config::Jwt {
        hs256_secrets: Vec::new(),
        jwks: None,
        algorithms: Vec::new(),
        issuer: None,
        audiences: Vec::new(),
        user_claim: claim("sub"),
        tenant_claim: claim("tenant"),
        role_claim: claim("role"),
        default_role: None,
        leeway: Duration::from_secs(30),
        requests_per_second: 1,
    }
}

/// Asserts that nobody is kept out, by the rules of axe-core that it calls serious or critical.
async fn assert_accessible(tab: &Tab) {
    let axe = repository("anvil-fixtures/node_modules/axe-core/axe.min.js");
    let axe = std::fs::read_to_string(&axe)
        .unwrap_or_else(|error| panic!("{}: {error}; run `make fixtures`", axe.display()));
    tab.value(&format!("{axe}\n;true")).await;
    let found = "axe.run(document, {resultTypes: ['violations']}).then(({violations}) => violations
        .filter(({impact}) => impact === 'serious' || impact === 'critical')
        .map(({id, nodes}) => [id, nodes.map(({html}) => html)]))";
    let found = tab.value(found).await;
    assert_eq!(found, json!([]), "{found:#}");
}

/// Asserts that a page fits its width.
async fn assert_fits(tab: &Tab) {
    let wide = tab
        .value("[document.documentElement.scrollWidth, innerWidth]")
        .await;
    assert!(wide[0].as_u64() <= wide[1].as_u64(), "{wide}");
}

/// What an element shows, on one line; nothing while it is hidden.
async fn text(tab: &Tab, selector: &str) -> String {
    let element = format!("document.querySelector({})", json!(selector));
    let expression = format!("{element}.checkVisibility() ? {element}.innerText : ''");
    let shown = tab.value(&expression).await;
    let words: Vec<&str> = shown.as_str().unwrap_or_default().split_whitespace().collect();
    words.join(" ")
}

/// What the API answers about a charge without a key.
async fn told(served: &Served, path: &str) -> Value {
    let url = format!("http://{}/api/billing/crypto/charge/{path}", served.address);
    let answer = crate::harness::http_client().get(url).send().await.unwrap();
    serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default()
}
