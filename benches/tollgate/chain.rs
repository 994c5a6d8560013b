//! anvil as the service is configured for it.

use std::time::Duration;

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};
use tollgate::billing::Catalogue;
use tollgate::clock::Clock;
use tollgate::config::{self, StoreSettings};
use tollgate::domain::{ChainId, Finality, Token};
use tollgate::engine::{Engine, Settings};
use tollgate::store::Store;

use super::Outcome;
use super::anvil::{self, Anvil};

/// The chain of every bench.
pub const CHAIN: ChainId = ChainId(anvil::CHAIN_ID);

/// Where a child finds its chain and its database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Place {
    pub http: String,
    pub ws: String,
    pub database: String,
}

impl Place {
    pub fn new(anvil: &Anvil, database: String) -> Self {
        Self {
            http: anvil.http_url(),
            ws: anvil.ws_url(),
            database,
        }
    }

    /// The shipped settings of the chain `anvil`, with these URLs, and one confirmation.
    pub fn chain(
        &self,
        start_block: Option<u64>,
        treasury: Option<Address>,
        tokens: Vec<Token>,
    ) -> config::Chain {
        config::Chain {
            name: "anvil".to_owned(),
            id: CHAIN,
            block_time: Duration::from_secs(1),
            poll_interval: Duration::from_secs(1),
            finality: Finality::of_confirmations(1),
            max_tag_age: Duration::from_mins(30),
            start_block,
            development: true,
            treasury,
            tokens,
            other_tokens: Vec::new(),
            endpoints: vec![config::Endpoint {
                name: "anvil".to_owned(),
                operator: "local".to_owned(),
                ws: Some(self.ws.as_str().into()),
                http: Some(self.http.as_str().into()),
                requests_per_second: 1_000,
                max_in_flight: 16,
                request_timeout: Duration::from_secs(10),
            }],
            max_log_range: 2_000,
            agree: 1,
            level: None,
        }
    }

    /// The engine on this database, with the shipped settings and plans.
    pub async fn engine(&self, chain: &config::Chain) -> Outcome<Engine> {
        let store = Store::open(&StoreSettings {
            url: self.database.as_str().into(),
            max_connections: 10,
        })
        .await?;
        let settings = Settings {
            chains: vec![chain.clone()],
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
                domain: "localhost".to_owned(),
                uri: "http://localhost".to_owned(),
                nonce_ttl: Duration::from_mins(10),
                relink_after: Duration::from_hours(24),
            },
            webhooks: Vec::new(),
            public_url: None,
        };
        let catalogue = Catalogue::shipped(&[])?;
        Ok(Engine::open(store, settings, catalogue, Clock::system()).await?)
    }
}
