//! The configuration once it has been checked: what the other rooms are given. Each type is one concern.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use alloy::primitives::Address;
use secrecy::SecretString;
use url::Url;

use crate::domain::{Amount, ChainId, Finality, Level, Role, Token};

/// Everything, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[store]`
    pub store: StoreSettings,
    /// `[log]`
    pub log: Log,
    /// `[catalogue]`
    pub catalogue: CatalogueSettings,
    /// `[payments]`
    pub payments: Payments,
    /// `[wallets]`
    pub wallets: Wallets,
    /// `[receipts]`
    pub receipts: Receipts,
    /// `[stripe]`
    pub stripe: Stripe,
    /// `[checkout]`
    pub checkout: Checkout,
    /// `[jwt]`
    pub jwt: Jwt,
    /// `[[webhooks]]`
    pub webhooks: Vec<WebhookEndpoint>,
    /// `[chains.<name>]`
    pub chains: Vec<Chain>,
}

/// Where we listen, and what a caller may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The API's address.
    pub listen: SocketAddr,
    /// The address of `/metrics`, apart from the API.
    pub metrics_listen: SocketAddr,
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// The longest a request may take.
    pub request_timeout: Duration,
    /// Requests per second and key; bursts up to twice that.
    pub requests_per_second: u32,
    /// Streams of a charge's events that are open at once.
    pub max_event_streams: usize,
    /// Where payers reach us, without a slash at its end; links to the checkout page are paths where it is not known.
    pub public_url: Option<String>,
    /// The origins whose pages may read our answers, as browsers write them.
    pub allowed_origins: Vec<String>,
}

/// The database.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// `sqlite://path` or `postgres://…`; holds a password in the second case.
    pub url: SecretString,
    /// Connections for reading and, on `PostgreSQL`, writing.
    pub max_connections: u32,
}

/// The log's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// JSON lines, or text for people.
    pub json: bool,
    /// A `tracing` filter, such as `info,tollgate=debug`.
    pub filter: String,
}

/// Where the plans come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueSettings {
    /// A file; the embedded `plans.toml` where none is named.
    pub path: Option<PathBuf>,
    /// Stripe price ids from the environment, as plan, interval (`month`, `year`) and price id; added to the file's.
    pub stripe_prices: Vec<(String, String, String)>,
}

/// How charges behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payments {
    /// Whether charges may be created at all.
    pub enabled: bool,
    /// From creation to the deadline.
    pub charge_ttl: Duration,
    /// From the deadline to the end of watching.
    pub charge_grace: Duration,
    /// How long what a reversed payment bought goes on.
    pub reversal_grace: Duration,
    /// An underpayment up to this many hundredths of a percent of the amount due is accepted.
    pub tolerance_basis_points: u32,
    /// An underpayment up to this many units is accepted, as decimal text.
    pub tolerance_units: String,
    /// No tolerance is ever above this many hundredths of a percent of the amount due.
    pub tolerance_max_basis_points: u32,
}

/// Sign-In with Ethereum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wallets {
    /// The domain that messages must name, exactly.
    pub domain: String,
    /// The URI that messages must name.
    pub uri: String,
    /// How long a nonce lives.
    pub nonce_ttl: Duration,
    /// How long a wallet that a user gave up cannot become another's.
    pub relink_after: Duration,
}

/// Signed receipts of what gates answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipts {
    /// How long one is good.
    pub ttl: Duration,
}

/// Stripe's webhooks.
#[derive(Debug, Clone)]
pub struct Stripe {
    /// Any of these may have signed; empty switches the endpoint off.
    pub webhook_secrets: Vec<SecretString>,
    /// How far a signature's time may be from ours, both ways.
    pub tolerance: Duration,
}

/// Hosted checkouts.
#[derive(Debug, Clone)]
pub struct Checkout {
    /// Where they are opened; `None` where charges are paid on-chain alone.
    pub api: Option<CheckoutApi>,
    /// Any of these may have signed for Coinbase Business.
    pub business_secrets: Vec<SecretString>,
    /// Any of these may have signed for Coinbase Commerce.
    pub commerce_secrets: Vec<SecretString>,
    /// How far a signature's time may be from ours, both ways.
    pub tolerance: Duration,
}

/// An account at Coinbase Business.
#[derive(Debug, Clone)]
pub struct CheckoutApi {
    /// Names the key.
    pub api_key_id: String,
    /// Signs requests.
    pub api_key_secret: SecretString,
    /// What the paths of its API are put behind.
    pub base_url: Url,
    /// Whether a private or loopback address, and plain `http`, are accepted.
    pub allow_private_network: bool,
    /// The longest that opening one may take, with all its tries.
    pub timeout: Duration,
}

/// The chat product's tokens of its end users.
#[derive(Debug, Clone)]
pub struct Jwt {
    /// Any of these may have signed by HS256; at least 32 bytes each.
    pub hs256_secrets: Vec<SecretString>,
    /// The keys of issuers that sign by a key pair.
    pub jwks: Option<Jwks>,
    /// What a published key may verify by.
    pub algorithms: Vec<KeyAlgorithm>,
    /// What `iss` must be; always given where keys are published.
    pub issuer: Option<String>,
    /// One of these must stand in `aud`; where there is none, `aud` must be absent.
    pub audiences: Vec<String>,
    /// Where the user's id stands.
    pub user_claim: ClaimPath,
    /// Where its tenant's id stands.
    pub tenant_claim: ClaimPath,
    /// Where its role stands.
    pub role_claim: ClaimPath,
    /// The role of who claims none; without it such tokens are refused.
    pub default_role: Option<Role>,
    /// How far the issuer's clock may be from ours.
    pub leeway: Duration,
    /// Requests per second and user; bursts up to twice that.
    pub requests_per_second: u32,
}

/// Where published keys come from.
#[derive(Debug, Clone)]
pub enum Jwks {
    /// A file's text, read with the configuration.
    File(SecretString),
    /// A URL.
    Url(JwksUrl),
}

/// A URL that keys are published at.
#[derive(Debug, Clone)]
pub struct JwksUrl {
    /// The URL; may carry a token, so it is treated as a secret.
    pub url: SecretString,
    /// How often it is fetched.
    pub refresh: Duration,
    /// How long keys are used that could not be fetched again.
    pub max_age: Duration,
    /// Whether a private or loopback address, and plain `http`, are accepted.
    pub allow_private_network: bool,
}

/// What a published key verifies by; its kind decides which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// RSA, PKCS #1 v1.5, SHA-256.
    Rs256,
    /// ECDSA on P-256, SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// The names that lead to a claim, from the outermost; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(pub Vec<String>);

/// One receiver of our events.
#[derive(Debug, Clone)]
pub struct WebhookEndpoint {
    /// Names it in the store and in metrics.
    pub name: String,
    /// Where to; may carry a token, so it is treated as a secret.
    pub url: SecretString,
    /// `whsec_` secrets: the first signs, and the rest too while they are being rotated out.
    pub secrets: Vec<SecretString>,
    /// Whether a private or loopback address is accepted.
    pub allow_private_network: bool,
}

/// One chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name in the configuration.
    pub name: String,
    /// Its EIP-155 id; every endpoint must answer with it.
    pub id: ChainId,
    /// The usual time between blocks; sets the watchdog.
    pub block_time: Duration,
    /// How often `latest` is polled beside the stream.
    pub poll_interval: Duration,
    /// When a block counts, by the amount that is at stake.
    pub finality: Finality,
    /// A tag whose block is older than this is not believed to be alive.
    pub max_tag_age: Duration,
    /// The first block that is read; `None` starts a little below the head of the first start.
    pub start_block: Option<u64>,
    /// A development chain: may be wiped when it was restarted.
    pub development: bool,
    /// The receiving address; `None` where nothing is sold on this chain.
    pub treasury: Option<Address>,
    /// The accepted tokens.
    pub tokens: Vec<Token>,
    /// Tokens that are known and not accepted: what is paid in them is recorded, and waits for a person.
    pub other_tokens: Vec<Token>,
    /// Where to ask, best first; at least one.
    pub endpoints: Vec<Endpoint>,
    /// The widest range of one `eth_getLogs`.
    pub max_log_range: u64,
    /// How many distinct operators must say the same of a block before it can settle; 1 where it is off.
    pub agree: usize,
    /// How completeness is shown; `None` finds out at start.
    pub level: Option<Level>,
}

/// One RPC provider's pair of URLs. The URLs may hold keys: never logged, returned, or put in a metric label.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Names it in logs, metrics and answers.
    pub name: String,
    /// Who runs it.
    pub operator: String,
    /// `ws://` or `wss://`.
    pub ws: Option<SecretString>,
    /// `http://` or `https://`; at least one of the two is set.
    pub http: Option<SecretString>,
    /// The limiter's rate.
    pub requests_per_second: u32,
    /// Requests in flight at once.
    pub max_in_flight: u32,
    /// The longest that one request may take.
    pub request_timeout: Duration,
}

impl Chain {
    /// The accepted token at `address`.
    #[must_use]
    pub fn token(&self, address: Address) -> Option<&Token> {
        self.tokens.iter().find(|token| token.address == address)
    }

    /// The token at `address`, accepted or not.
    #[must_use]
    pub fn known_token(&self, address: Address) -> Option<&Token> {
        let mut known = self.tokens.iter().chain(&self.other_tokens);
        known.find(|token| token.address == address)
    }
}

impl Payments {
    /// The underpayment that is accepted for `due` of `token`: the greater of the two tolerances, within the bound.
    #[must_use]
    pub fn tolerance(&self, due: Amount, token: &Token) -> Amount {
        let share = |basis_points: u32| {
            let scaled = due.0.saturating_mul(alloy::primitives::U256::from(basis_points));
            Amount(scaled / alloy::primitives::U256::from(10_000))
        };
        let units = Amount::from_units(&self.tolerance_units, token.decimals).unwrap_or_default();
        units
            .max(share(self.tolerance_basis_points))
            .min(share(self.tolerance_max_basis_points))
    }
}
