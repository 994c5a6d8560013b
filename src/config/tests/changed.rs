//! What is found to differ between two readings of a configuration.

use super::*;
use crate::domain::ChainId;

const TEXT: &str = r#"
[server]
listen = "127.0.0.1:1"
metrics_listen = "127.0.0.1:2"
max_body_bytes = 2048
requests_per_second = 5
allowed_origins = ["https://page.example"]

[store]
url = "postgres://user:one@host/name"
max_connections = 3

[log]
filter = "warn"

[payments]
charge_ttl = "31m"

[wallets]
domain = "chat.example"

[stripe]
webhook_secrets = ["whsec_one"]
tolerance = "1m"

[checkout]
provider = "coinbase_business"
api_key_id = "key-1"
api_key_secret = "secret-1"
base_url = "https://checkout.example"
timeout = "3s"
webhook_secrets = ["a-secret-of-checkouts-1"]
commerce_webhook_secrets = ["a-secret-of-commerce-1"]
tolerance = "4m"

[[webhooks]]
name = "chat"
url = "https://chat.example/one"
secrets = ["whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]
allow_private_network = false

[jwt]
hs256_secrets = ["a-secret-of-the-product-1-of-32-bytes"]
jwks_url = "https://id.example/keys"
jwks_refresh = "6m"
jwks_max_age = "23h"
jwks_allow_private_network = false
algorithms = ["ES256"]
issuer = "https://id.example/"
audiences = ["gate"]
user_claim = "uid"
tenant_claim = ["claims", "tid"]
role_claim = "rid"
default_role = "none"
leeway = "31s"
requests_per_second = 11

[chains.one]
id = 1
block_time = "12s"
confirmations = 5

[[chains.one.endpoints]]
name = "node"
operator = "us"
ws = "wss://node.example/one"
http = "https://node.example/one"
requests_per_second = 7
max_in_flight = 8
request_timeout = "9s"

[chains.two]
id = 2
block_time = "1s"
confirmations = 1

[[chains.two.endpoints]]
name = "node"
operator = "us"
http = "https://node.example/two"
"#;

fn config(text: &str) -> Config {
    Written::new(text).config()
}

/// The difference that replacing `from` makes.
#[track_caller]
fn changes(from: &str, to: &str) -> Changes {
    assert!(TEXT.contains(from), "{from}");
    Changes::between(&config(TEXT), &config(&replaced(from, to)))
}

/// The first time only, but for the name of a chain, which stands in its endpoints too.
fn replaced(from: &str, to: &str) -> String {
    let times = if from.starts_with("chains.") { 2 } else { 1 };
    TEXT.replacen(from, to, times)
}

#[test]
fn a_reading_that_says_the_same_differs_in_nothing() {
    assert_eq!(changes("[server]", "# nothing\n[server]"), Changes::default());
}

#[test]
fn each_key_of_a_chain_and_of_its_endpoints_is_compared() {
    for (from, to) in [
        ("chains.one", "chains.uno"),
        ("\"12s\"", "\"13s\""),
        ("confirmations = 5", "confirmations = 6"),
        ("confirmations = 5", "confirmations = 5\nstart_block = 1"),
        ("name = \"node\"", "name = \"other\""),
        ("operator = \"us\"", "operator = \"them\""),
        ("wss://node.example/one", "wss://node.example/secret"),
        ("https://node.example/one", "https://node.example/secret"),
        ("requests_per_second = 7", "requests_per_second = 8"),
        ("max_in_flight = 8", "max_in_flight = 9"),
        ("\"9s\"", "\"8s\""),
    ] {
        let expected = Changes {
            chains: vec![(ChainId(1), Change::Changed)],
            ..Changes::default()
        };
        assert_eq!(changes(from, to), expected, "{from} {to}");
    }
}

#[test]
fn a_chain_is_known_by_its_id() {
    let changes = changes("id = 2", "id = 3");
    assert_eq!(
        changes.chains,
        [(ChainId(2), Change::Removed), (ChainId(3), Change::Added)]
    );
}

#[test]
fn each_key_of_a_webhook_is_compared() {
    for (from, to) in [
        ("https://chat.example/one", "https://chat.example/secret"),
        ("whsec_AAAA", "whsec_BBBB"),
        ("allow_private_network = false", "allow_private_network = true"),
    ] {
        let expected = Changes {
            webhooks: vec![("chat".to_owned(), Change::Changed)],
            ..Changes::default()
        };
        assert_eq!(changes(from, to), expected, "{from}");
    }
    let renamed = changes("\"chat\"", "\"other\"").webhooks;
    let (removed, added) = (Change::Removed, Change::Added);
    assert_eq!(
        renamed,
        [("chat".to_owned(), removed), ("other".to_owned(), added)]
    );
}

#[test]
fn sections_are_taken_over_or_wait_for_a_restart() {
    for (from, to, section) in [
        ("2048", "4096", "server"),
        ("requests_per_second = 5", "requests_per_second = 6", "server"),
        ("31m", "32m", "payments"),
        ("chat.example\"", "talk.example\"", "wallets"),
        ("whsec_one", "whsec_two", "stripe"),
        ("\"1m\"", "\"2m\"", "stripe"),
        ("https://page.example\"]", "https://talk.example\"]", "server"),
        ("\"coinbase_business\"", "\"none\"", "checkout"),
        ("\"key-1\"", "\"key-2\"", "checkout"),
        ("\"secret-1\"", "\"secret-2\"", "checkout"),
        ("https://checkout.example", "https://sandbox.example", "checkout"),
        ("\"3s\"", "\"2s\"", "checkout"),
        ("\"3s\"", "\"3s\"\nallow_private_network = true", "checkout"),
        ("of-checkouts-1", "of-checkouts-2", "checkout"),
        ("of-commerce-1", "of-commerce-2", "checkout"),
        ("\"4m\"", "\"5m\"", "checkout"),
        ("of-the-product-1", "of-the-product-2", "jwt"),
        ("https://id.example/keys", "https://id.example/secret", "jwt"),
        ("\"6m\"", "\"7m\"", "jwt"),
        ("\"23h\"", "\"22h\"", "jwt"),
        (
            "jwks_allow_private_network = false",
            "jwks_allow_private_network = true",
            "jwt",
        ),
        ("\"ES256\"", "\"RS256\"", "jwt"),
        ("https://id.example/\"", "https://ids.example/\"", "jwt"),
        ("\"gate\"", "\"gates\"", "jwt"),
        ("\"uid\"", "\"id\"", "jwt"),
        ("\"tid\"", "\"id\"", "jwt"),
        ("\"rid\"", "\"id\"", "jwt"),
        ("\"none\"", "\"user\"", "jwt"),
        ("\"31s\"", "\"32s\"", "jwt"),
        ("requests_per_second = 11", "requests_per_second = 12", "jwt"),
    ] {
        let expected = Changes {
            sections: vec![section],
            ..Changes::default()
        };
        assert_eq!(changes(from, to), expected, "{from}");
    }
    for (from, to, key) in [
        ("127.0.0.1:1", "127.0.0.1:3", "server.listen"),
        ("127.0.0.1:2", "127.0.0.1:3", "server.metrics_listen"),
        ("user:one", "user:two", "store"),
        ("max_connections = 3", "max_connections = 4", "store"),
        ("\"warn\"", "\"info\"", "log"),
        (
            "[payments]",
            "[catalogue]\npath = \"plans.toml\"\n[payments]",
            "catalogue",
        ),
    ] {
        let expected = Changes {
            at_restart: vec![key],
            ..Changes::default()
        };
        assert_eq!(changes(from, to), expected, "{from}");
    }
}
