//! The checkout page in a real browser, served as it is, with its policy in force.

mod states;
mod wallets;

use serde_json::{Value, json};

use crate::harness::chromium::Tab;
use crate::harness::repository;
use crate::harness::served::Served;

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
