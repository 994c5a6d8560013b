//! What an operator writes, key by key; `config/tollgate.toml` explains each one.
//!
//! Texts are kept as texts and numbers as integers, so that what is wrong with a value is found by the check, which can
//! name the key and the remedy. These types hold secrets as they were written, so none of them implements `Debug`.

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) listen: String,
    pub(super) metrics_listen: String,
    pub(super) max_body_bytes: i64,
    pub(super) request_timeout: String,
    pub(super) requests_per_second: i64,
    pub(super) max_event_streams: i64,
    pub(super) public_url: Option<String>,
    pub(super) allowed_origins: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Store {
    pub(super) url: Option<String>,
    pub(super) url_file: Option<String>,
    pub(super) max_connections: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: String,
    pub(super) filter: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Catalogue {
    pub(super) path: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Payments {
    pub(super) enabled: bool,
    pub(super) charge_ttl: String,
    pub(super) charge_grace: String,
    pub(super) reversal_grace: String,
    pub(super) tolerance_basis_points: i64,
    pub(super) tolerance_units: Units,
    pub(super) tolerance_max_basis_points: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wallets {
    pub(super) domain: String,
    pub(super) uri: String,
    pub(super) nonce_ttl: String,
    pub(super) relink_after: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Receipts {
    pub(super) ttl: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stripe {
    pub(super) webhook_secrets: Option<Vec<String>>,
    pub(super) webhook_secrets_file: Option<String>,
    pub(super) tolerance: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checkout {
    pub(super) provider: String,
    pub(super) api_key_id: Option<String>,
    pub(super) api_key_secret: Option<String>,
    pub(super) api_key_secret_file: Option<String>,
    pub(super) base_url: String,
    pub(super) allow_private_network: bool,
    pub(super) timeout: String,
    pub(super) webhook_secrets: Option<Vec<String>>,
    pub(super) webhook_secrets_file: Option<String>,
    pub(super) commerce_webhook_secrets: Option<Vec<String>>,
    pub(super) commerce_webhook_secrets_file: Option<String>,
    pub(super) tolerance: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Jwt {
    pub(super) hs256_secrets: Option<Vec<String>>,
    pub(super) hs256_secrets_file: Option<String>,
    pub(super) jwks_url: Option<String>,
    pub(super) jwks_url_file: Option<String>,
    pub(super) jwks_path: Option<String>,
    pub(super) jwks_refresh: String,
    pub(super) jwks_max_age: String,
    pub(super) jwks_allow_private_network: bool,
    pub(super) algorithms: Vec<String>,
    pub(super) issuer: Option<String>,
    pub(super) audiences: Vec<String>,
    pub(super) user_claim: Path,
    pub(super) tenant_claim: Path,
    pub(super) role_claim: Path,
    pub(super) default_role: String,
    pub(super) leeway: String,
    pub(super) requests_per_second: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Webhook {
    pub(super) name: String,
    pub(super) url: Option<String>,
    pub(super) url_file: Option<String>,
    pub(super) secrets: Option<Vec<String>>,
    pub(super) secrets_file: Option<String>,
    #[serde(default)]
    pub(super) allow_private_network: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chain {
    pub(super) id: i64,
    pub(super) block_time: String,
    pub(super) poll_interval: Option<String>,
    pub(super) confirmations: Option<i64>,
    /// As `tokens`.
    pub(super) finality: Option<Vec<toml::Value>>,
    pub(super) max_tag_age: Option<String>,
    pub(super) start_block: Option<i64>,
    #[serde(default)]
    pub(super) development: bool,
    pub(super) treasury: Option<String>,
    pub(super) max_log_range: Option<i64>,
    pub(super) accept: Option<Vec<String>>,
    pub(super) agree: Option<i64>,
    pub(super) level: Option<String>,
    /// Read one by one, so that each may have its own fault.
    #[serde(default)]
    pub(super) tokens: Vec<toml::Value>,
    /// As `tokens`.
    #[serde(default)]
    pub(super) endpoints: Vec<toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tier {
    pub(super) name: String,
    pub(super) up_to: Option<Units>,
    pub(super) confirmations: Option<i64>,
    pub(super) tag: Option<String>,
    pub(super) or_confirmations: Option<i64>,
    pub(super) min_age: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Token {
    pub(super) address: String,
    pub(super) symbol: String,
    pub(super) unit: Option<String>,
    pub(super) decimals: i64,
    pub(super) dust: Option<Units>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Endpoint {
    pub(super) name: String,
    pub(super) operator: String,
    pub(super) requires_env: Option<String>,
    pub(super) ws: Option<String>,
    pub(super) ws_file: Option<String>,
    pub(super) http: Option<String>,
    pub(super) http_file: Option<String>,
    pub(super) requests_per_second: Option<i64>,
    pub(super) max_in_flight: Option<i64>,
    pub(super) request_timeout: Option<String>,
}

/// Decimal units as text. A whole number may stand without quotes; a float may not, as it cannot carry most decimals.
pub(super) struct Units(pub(super) String);

impl<'de> Deserialize<'de> for Units {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = Units;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a decimal number in quotes such as \"0.05\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Units, E> {
                Ok(Units(text.to_owned()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Units, E> {
                Ok(Units(number.to_string()))
            }
        }

        deserializer.deserialize_any(Written)
    }
}

/// A claim's name, or the names that lead to it from the outermost.
pub(super) struct Path(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl<'de> Visitor<'de> for Written {
            type Value = Path;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a claim's name, or a list of the names that lead to it")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Path, E> {
                Ok(Path(vec![name.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Path, A::Error> {
                let mut path = Vec::new();
                while let Some(name) = names.next_element()? {
                    path.push(name);
                }
                Ok(Path(path))
            }
        }

        deserializer.deserialize_any(Written)
    }
}
