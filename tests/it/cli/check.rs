//! `tollgate check` against a real anvil, and against what is not one.

use alloy::primitives::Address;
use axum::Router;
use axum::response::Html;

use super::{Said, tollgate, written};
use crate::harness::anvil::Anvil;
use crate::harness::proxy::{Fault, Proxy};

/// One chain with anvil's token, and endpoints by name, HTTP and WebSocket URL.
fn chain(id: u64, token: Address, decimals: u8, endpoints: &[(&str, &str, &str)]) -> String {
    let endpoint = |(name, http, ws): &(&str, &str, &str)| {
        format!(
            "[[chains.local.endpoints]]\nname = \"{name}\"\noperator = \"{name}\"\nhttp = \"{http}\"\nws = \"{ws}\"\n\
             request_timeout = \"2s\"\n"
        )
    };
    let chain = format!(
        "[chains.local]\nid = {id}\nblock_time = \"1s\"\nconfirmations = 1\ndevelopment = true\n\
         treasury = \"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\"\n\
         [[chains.local.tokens]]\naddress = \"{token}\"\nsymbol = \"USDC\"\ndecimals = {decimals}\n"
    );
    chain + &endpoints.iter().map(endpoint).collect::<String>()
}

async fn check(text: &str) -> Said {
    let directory = tempfile::tempdir().unwrap();
    tollgate(&written(&directory, text), &["check"]).await
}

/// A port that nobody listens on.
fn dead() -> (String, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (
        format!("http://{address}/v3/hunter2hunter2"),
        format!("ws://{address}/v3/hunter2hunter2"),
    )
}

/// A server that answers everything with a page.
async fn page() -> (String, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(|| async { Html("<html><body>Welcome</body></html>") });
    tokio::spawn(async move { axum::serve(listener, app).await });
    (
        format!("http://{address}/hunter2hunter2"),
        format!("ws://{address}/hunter2hunter2"),
    )
}

#[tokio::test]
async fn a_good_configuration_is_shown_with_what_its_endpoints_say() {
    let anvil = Anvil::start_with(&["--slots-in-an-epoch", "1"]).await;
    let token = anvil.deploy("TestUSDC").await;
    anvil.mine(5).await;
    let said = check(&chain(
        31337,
        token,
        6,
        &[("one", &anvil.http_url(), &anvil.ws_url())],
    ))
    .await;
    assert!(said.success, "{}", said.err);
    let row = |first: &str| {
        let mut lines = said
            .out
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines
            .find(|cells| cells.first() == Some(&first))
            .unwrap_or_else(|| panic!("{}", said.out))
    };
    let endpoint = row("one");
    assert_eq!(endpoint[1..4], ["one", "ok", "ok"]);
    assert!(endpoint[4].starts_with("anvil/"), "{endpoint:?}");
    assert_eq!(
        (endpoint[5], &endpoint[7..]),
        ("6", &["receipts", "safe", "finalized"][..])
    );
    assert_eq!(row("USDC")[1..], [token.to_checksum(None).as_str(), "6", "USDC"]);
    assert!(said.out.ends_with("answer as it says\n"), "{}", said.out);
}

#[tokio::test]
async fn each_fault_names_its_field_and_never_its_url() {
    let (anvil, other) = tokio::join!(Anvil::start(), Anvil::start_with(&["--chain-id", "31338"]));
    let token = anvil.deploy("TestUSDC").await;
    let ((dead_http, dead_ws), (page_http, page_ws)) = (dead(), page().await);
    let said = check(&chain(
        31337,
        token,
        18,
        &[
            ("good", &anvil.http_url(), &anvil.ws_url()),
            ("dead", &dead_http, &dead_ws),
            ("page", &page_http, &page_ws),
            ("other", &other.http_url(), &other.ws_url()),
            ("half", &anvil.http_url(), &dead_ws),
        ],
    ))
    .await;
    assert!(!said.success);
    let faults: Vec<&str> = said.err.lines().map(str::trim).collect();
    for (field, words) in [
        ("chains.local.endpoints[1].http (dead)", "cannot connect"),
        (
            "chains.local.endpoints[1].ws (dead)",
            "within its request_timeout: unreachable",
        ),
        ("chains.local.endpoints[2].http (page)", "eth_chainId"),
        (
            "chains.local.endpoints[2].ws (page)",
            "no subscription to new heads",
        ),
        (
            "chains.local.endpoints[3].http (other)",
            "serves chain 31338 instead of 31337",
        ),
        (
            "chains.local.endpoints[3].ws (other)",
            "serves another chain than 31337",
        ),
        (
            "chains.local.endpoints[4].ws (half)",
            "no subscription to new heads",
        ),
        (
            "chains.local.tokens.USDC.decimals",
            "the contract has 6 decimals; the configuration says 18",
        ),
    ] {
        let found = faults
            .iter()
            .filter(|fault| fault.starts_with(&format!("{field}: ")));
        let found: Vec<_> = found.collect();
        assert!(
            matches!(found.as_slice(), [fault] if fault.contains(words)),
            "{field}: {}",
            said.err
        );
    }
    assert_eq!(faults.len(), 1 + 8, "{}", said.err);
    let all = said.out + &said.err;
    assert!(!all.contains("hunter2") && !all.contains("://"), "{all}");
}

#[tokio::test]
async fn a_tag_that_finality_names_and_an_endpoint_does_not_serve_is_a_fault() {
    let anvil = Anvil::start().await;
    let token = anvil.deploy("TestUSDC").await;
    let proxy = Proxy::start(&anvil.http_url()).unwrap();
    proxy.inject(
        Fault::Error(-32602, "unknown block tag")
            .of(&["eth_getBlockByNumber"])
            .containing("finalized"),
    );
    let endpoints = [
        ("one", &*anvil.http_url(), &*anvil.ws_url()),
        ("untagged", &*proxy.http_url(), &*proxy.ws_url()),
    ];
    let text = chain(31337, token, 6, &endpoints);
    let said = check(&text).await;
    assert!(said.success, "no tier waits for it: {}", said.err);

    let tier = "[[chains.local.finality]]\nname = \"all\"\ntag = \"finalized\"\n";
    let said = check(&(text.replace("confirmations = 1\n", "") + tier)).await;
    let expected = "chains.local.endpoints[1] (untagged): does not serve the tag finalized, which the chain's finality names";
    assert!(!said.success && said.err.contains(expected), "{}", said.err);
    assert_eq!(
        said.err.matches("does not serve the tag").count(),
        1,
        "{}",
        said.err
    );
}

#[tokio::test]
async fn an_endpoint_that_keeps_no_block_0_is_told_of_and_a_fault_where_no_other_does() {
    let anvil = Anvil::start().await;
    let token = anvil.deploy("TestUSDC").await;
    let proxy = Proxy::start(&anvil.http_url()).unwrap();
    proxy.inject(Fault::Empty.of(&["eth_getBlockByNumber"]).containing("\"0x0\""));
    // Farther than a level is looked for.
    anvil.mine(200).await;
    let pruned = ("pruned", &*proxy.http_url(), &*proxy.ws_url());
    let whole = ("whole", &*anvil.http_url(), &*anvil.ws_url());
    let expected = "(pruned): does not give block 0";
    let said = check(&chain(31337, token, 6, &[pruned, whole])).await;
    let all = said.out + &said.err;
    assert!(said.success && all.contains(expected), "{all}");
    let said = check(&chain(31337, token, 6, &[pruned])).await;
    assert!(!said.success && said.err.contains(expected), "{}", said.err);
}

#[tokio::test]
async fn endpoints_of_different_chains_with_one_id_are_told_apart() {
    let (one, other) = tokio::join!(Anvil::start(), Anvil::start_with(&["--timestamp", "1700000000"]));
    let token = one.deploy("TestUSDC").await;
    let endpoints = [
        ("one", &*one.http_url(), &*one.ws_url()),
        ("other", &*other.http_url(), &*other.ws_url()),
    ];
    let said = check(&chain(31337, token, 6, &endpoints)).await;
    let expected = "chains.local.endpoints[1] (other): has another genesis than endpoints[0]";
    assert!(!said.success && said.err.contains(expected), "{}", said.err);
}

#[tokio::test]
async fn a_token_without_code_is_a_fault_and_offline_asks_nobody() {
    let anvil = Anvil::start().await;
    let nobody = Address::repeat_byte(7);
    let text = chain(31337, nobody, 6, &[("one", &anvil.http_url(), &anvil.ws_url())]);
    let said = check(&text).await;
    let expected = "chains.local.tokens.USDC.address: has no code on chain 31337";
    assert!(!said.success && said.err.contains(expected), "{}", said.err);

    let directory = tempfile::tempdir().unwrap();
    let said = tollgate(&written(&directory, &text), &["check", "--offline"]).await;
    assert!(
        said.success && said.out.ends_with("the configuration is good\n"),
        "{}",
        said.err
    );
}
