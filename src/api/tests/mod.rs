//! The API over an engine on a database of its own, asked as a caller would ask.

mod accounts;
mod asking;
mod browser;
mod charges;
mod checks;
mod documents;
mod expected;
mod gates;
mod health;
mod paying;
mod payments;
mod receipts;
mod tokens;
mod transactions;
mod wallets;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, B256, Bloom, Bytes, address};
use axum::Router;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt as _;

use crate::billing::Catalogue;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::domain::{
    Amount, BlockRef, ChainId, Evidence, Finality, Header, Level, LogEntry, Millis, ProvenBlock, TRANSFER,
    Token,
};
use crate::engine::{ActivateWatches, Advance, CreateKey, Engine, OpenChain, Scope, Settings};
use crate::health::{ChainHealth, EndpointStatus, Health};
use crate::jwt::Verifier;
use crate::store::Store;

/// 2025-10-09T08:53:20Z.
const NOW: Millis = 1_760_000_000_000;
const SECRET: &str = "whsec_of_the_tests";
const TREASURY: Address = address!("0x70997970C51812dc3A010C7d01b50e0d17dc79C8");
const USDC: Address = address!("0x5FbDB2315678afecb367f032d93F642f64180aa3");
const NFT: Address = address!("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC");
const ALICE: Address = address!("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266");
/// The chain that sells, and whose endpoint's URLs nobody may see.
const ANVIL: ChainId = ChainId(31337);
const URL_SECRET: &str = "hunter2";

/// What the chain's task says once it has read the blocks.
const READ: ChainHealth = ChainHealth {
    last_header_at_ms: Some(NOW),
    behind: 0,
    level: None,
    problem: None,
};

struct Api {
    router: Router,
    engine: Engine,
    clock: Clock,
    health: Health,
    folder: tempfile::TempDir,
    /// A key with every scope.
    key: String,
}

/// An answer, read.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
    text: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts a refusal in the form that all have, and returns its detail.
    #[track_caller]
    fn refused(&self, status: u16, code: &str) -> &str {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["code"], code, "{}", self.text);
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], "about:blank");
        assert_eq!(self.body["requestId"], self.header("x-request-id"));
        self.body["detail"].as_str().unwrap()
    }

    /// Asserts a refusal of one field.
    #[track_caller]
    fn refused_field(&self, status: u16, field: &str) {
        let detail = self.refused(status, "INVALID_FIELD");
        assert_eq!(self.body["field"], field, "{detail}");
        assert!(detail.contains(field), "{detail}");
    }

    #[track_caller]
    fn ok(&self) -> &Value {
        assert!(self.status.is_success(), "{} {}", self.status, self.text);
        &self.body
    }
}

fn anvil() -> config::Chain {
    let endpoint = config::Endpoint {
        name: "local".to_owned(),
        operator: "us".to_owned(),
        ws: None,
        http: Some(format!("http://127.0.0.1:1/{URL_SECRET}").into()),
        requests_per_second: 1,
        max_in_flight: 1,
        request_timeout: Duration::from_secs(1),
    };
    let token = Token {
        chain: ANVIL,
        address: USDC,
        symbol: "USDC".to_owned(),
        unit: "USD".to_owned(),
        decimals: 6,
        dust: Amount::from(10_000),
    };
    config::Chain {
        name: "anvil".to_owned(),
        id: ANVIL,
        block_time: Duration::from_secs(1),
        poll_interval: Duration::from_secs(1),
        finality: Finality::of_confirmations(1),
        max_tag_age: Duration::from_mins(30),
        start_block: Some(1),
        development: true,
        treasury: Some(TREASURY),
        tokens: vec![token],
        other_tokens: Vec::new(),
        endpoints: vec![endpoint],
        max_log_range: 100,
        agree: 1,
        level: None,
    }
}

fn config(folder: &std::path::Path) -> Config {
    Config {
        server: config::Server {
            listen: ([127, 0, 0, 1], 0).into(),
            metrics_listen: ([127, 0, 0, 1], 0).into(),
            max_body_bytes: 64 * 1024,
            request_timeout: Duration::from_secs(10),
            requests_per_second: 10_000,
            max_event_streams: 10,
            public_url: None,
            allowed_origins: vec!["https://chat.example.org".to_owned()],
        },
        store: config::StoreSettings {
            url: format!("sqlite://{}/test.sqlite", folder.display()).into(),
            max_connections: 4,
        },
        log: config::Log {
            json: false,
            filter: "info".to_owned(),
        },
        catalogue: config::CatalogueSettings {
            path: None,
            stripe_prices: Vec::new(),
        },
        payments: config::Payments {
            enabled: true,
            charge_ttl: Duration::from_mins(30),
            charge_grace: Duration::from_hours(24),
            reversal_grace: Duration::ZERO,
            tolerance_basis_points: 100,
            tolerance_units: "0.05".to_owned(),
            tolerance_max_basis_points: 500,
        },
        wallets: config::Wallets {
            domain: "chat.example.org".to_owned(),
            uri: "https://chat.example.org".to_owned(),
            nonce_ttl: Duration::from_mins(10),
            relink_after: Duration::from_hours(24),
        },
        receipts: config::Receipts {
            ttl: Duration::from_mins(5),
        },
        stripe: config::Stripe {
            webhook_secrets: vec!["whsec_of_last_year".into(), SECRET.into()],
            tolerance: Duration::from_mins(5),
        },
        checkout: no_checkouts(),
        jwt: browser::jwt(),
        webhooks: Vec::new(),
        chains: vec![anvil()],
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

impl Api {
    async fn open() -> Self {
        Self::with(|_| (), Catalogue::shipped(&[]).unwrap()).await
    }

    async fn with(change: impl FnOnce(&mut Config), catalogue: Catalogue) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        change(&mut config);
        let clock = Clock::fixed(NOW);
        let settings = Settings {
            chains: config.chains.clone(),
            payments: config.payments.clone(),
            wallets: config.wallets.clone(),
            webhooks: vec!["chat".to_owned()],
            public_url: config.server.public_url.clone(),
        };
        let store = Store::open(&config.store).await.unwrap();
        let engine = Engine::open(store, settings, catalogue, clock.clone())
            .await
            .unwrap();
        let health = Health::default();
        let served = super::Settings {
            server: config.server,
            stripe: config.stripe,
            provider: None,
            checkout: config.checkout,
            tokens: Arc::new(Verifier::new(config.jwt, None).unwrap()),
            receipts: config.receipts,
            looks: Arc::new(transactions::Blind),
        };
        let mut api = Self {
            router: super::router(engine.clone(), served, health.clone()),
            engine,
            clock,
            health,
            folder,
            key: String::new(),
        };
        api.key = api.new_key(&Scope::ALL).await;
        api
    }

    async fn new_key(&self, scopes: &[Scope]) -> String {
        let command = CreateKey {
            name: "test".to_owned(),
            scopes: scopes.to_vec(),
        };
        self.engine.execute(command).await.unwrap().key
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(!text.contains(URL_SECRET), "{text}");
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_str(&text).unwrap_or_default(),
            text,
        }
    }

    fn request(&self, method: Method, path: &str) -> axum::http::request::Builder {
        let key = format!("Bearer {}", self.key);
        let builder = Request::builder().method(method).uri(path);
        builder.header(AUTHORIZATION, key)
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).body(Body::empty()).unwrap())
            .await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path).body(Body::empty()).unwrap())
            .await
    }

    async fn post(&self, path: &str, body: impl Into<Value>) -> Answer {
        self.post_with(path, &[], body).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        let request = self
            .request(Method::PUT, path)
            .header(CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Value>) -> Answer {
        let mut request = self
            .request(Method::POST, path)
            .header(CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Body::from(body.into().to_string());
        self.send(request.body(body).unwrap()).await
    }

    /// Reads blocks 1 to 3 of anvil, one second each, the last at `NOW`; the first mints one NFT to Alice.
    async fn read_blocks(&self) {
        let opened = OpenChain {
            chain: ANVIL,
            genesis: B256::ZERO,
            head: 3,
        };
        let fence = self.engine.execute(opened).await.unwrap().fence;
        let contracts = self
            .engine
            .watches(ANVIL)
            .iter()
            .map(|watch| watch.contract)
            .collect();
        let activate = ActivateWatches {
            chain: ANVIL,
            fence,
            contracts,
            read: None,
        };
        self.engine.execute(activate).await.unwrap();
        let advance = Advance {
            chain: ANVIL,
            fence,
            head: 3,
            rollback_to: None,
            blocks: (1..=3).map(block).collect(),
            evidence: Evidence::default(),
        };
        self.engine.execute(advance).await.unwrap();
        self.health.set_chain(ANVIL, READ);
    }
}

fn block(number: u64) -> ProvenBlock {
    let mint = LogEntry {
        address: NFT,
        topics: vec![TRANSFER, B256::ZERO, ALICE.into_word(), B256::with_last_byte(7)],
        data: Bytes::new(),
        tx_hash: B256::repeat_byte(1),
        log_index: 0,
        ordinal: Some(0),
    };
    let now_s = u64::try_from(NOW / 1000).unwrap();
    ProvenBlock {
        header: Header {
            number,
            hash: hash(number),
            parent_hash: hash(number - 1),
            timestamp_s: now_s - 3 + number,
            receipts_root: B256::ZERO,
            bloom: Bloom::ZERO,
        },
        logs: if number == 1 { vec![mint] } else { Vec::new() },
        level: Level::Receipts,
    }
}

fn hash(number: u64) -> B256 {
    BlockRef {
        number,
        hash: B256::with_last_byte(u8::try_from(number).unwrap()),
    }
    .hash
}
