//! Where processes run: an anvil, a database, a configuration file, a receiver of events, and a stream of payments.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use alloy::primitives::{Address, U256};
use serde_json::Value;
use tempfile::TempDir;
use tollgate::config::StoreSettings;
use tollgate::store::Store;

use crate::harness::anvil::{Anvil, TestUsdc};
use crate::harness::facts::column;
use crate::harness::fake_webhook::{FakeWebhook, Received};
use crate::harness::postgres;
use crate::harness::service::{Service, new_key};

pub const CHAIN: &str = "anvil";
const CONFIRMATIONS: u64 = 2;
const PAID: Duration = Duration::from_secs(30);
const PAY_EVERY: Duration = Duration::from_millis(150);

/// All that a process needs, and what it is judged by.
pub struct Place {
    pub anvil: Anvil,
    pub receiver: FakeWebhook,
    pub store_url: String,
    /// The TOML of the chains.
    pub chains: String,
    usdc: Address,
    payer: Address,
    treasury: Address,
    key: String,
    directory: TempDir,
    ended: AtomicBool,
    charges: Mutex<Vec<(String, String)>>,
}

impl Place {
    pub async fn on_postgres() -> Self {
        Self::new(|_| postgres::database()).await
    }

    pub async fn on_sqlite() -> Self {
        Self::new(|directory| format!("sqlite://{}/state.sqlite", directory.path().display())).await
    }

    async fn new(store_url: impl FnOnce(&TempDir) -> String) -> Self {
        let anvil = Anvil::start().await;
        let usdc = anvil.deploy("TestUSDC").await;
        let accounts = anvil.accounts().await;
        let (owner, payer, treasury) = (accounts[0], accounts[1], accounts[9]);
        let amount = U256::from(1_000_000_000_000_u64);
        anvil
            .send(owner, usdc, TestUsdc::mintCall { to: payer, amount })
            .await;
        let directory = tempfile::tempdir().unwrap();
        let mut place = Self {
            receiver: FakeWebhook::start().await,
            store_url: store_url(&directory),
            chains: String::new(),
            anvil,
            usdc,
            payer,
            treasury,
            key: String::new(),
            directory,
            ended: AtomicBool::new(false),
            charges: Mutex::default(),
        };
        place.chains = place.chain(CHAIN, 31_337, &place.anvil.http_url());
        place.write();
        place.key = new_key(&place.config());
        place
    }

    /// The TOML of a chain with one endpoint; payments are received on it.
    pub fn chain(&self, name: &str, id: u64, http: &str) -> String {
        let (treasury, token) = (self.treasury, self.usdc);
        format!(
            r#"
[chains.{name}]
id = {id}
block_time = "1s"
poll_interval = "100ms"
confirmations = {CONFIRMATIONS}
start_block = 0
development = true
treasury = "{treasury}"

[[chains.{name}.tokens]]
address = "{token}"
symbol = "USDC"
decimals = 6

[[chains.{name}.endpoints]]
name = "node"
operator = "local"
http = "{http}"
requests_per_second = 1000
request_timeout = "2s"
"#
        )
    }

    pub fn config(&self) -> PathBuf {
        self.directory.path().join("tollgate.toml")
    }

    /// Writes the configuration file.
    pub fn write(&self) {
        self.write_with("");
    }

    /// Writes it with more at its end.
    pub fn write_with(&self, more: &str) {
        self.write_of(&self.chains, more);
    }

    /// Writes it with these chains.
    pub fn write_of(&self, chains: &str, more: &str) {
        let (store_url, receiver) = (&self.store_url, self.receiver.url());
        let text = format!(
            r#"
[server]
listen = "127.0.0.1:0"
metrics_listen = "127.0.0.1:0"
requests_per_second = 100000

[store]
url = "{store_url}"

[[webhooks]]
name = "chat"
url = "{receiver}"
secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
allow_private_network = true
{chains}
{more}
"#
        );
        std::fs::write(self.config(), text).unwrap();
    }

    /// Starts a process.
    pub fn start(&self) -> Service {
        Service::start(&self.config(), &self.key)
    }

    /// Asks a tenant who has nothing yet for money, and pays it.
    pub async fn pay(&self, service: &Service) {
        let number = self.charges.lock().unwrap().len();
        let tenant = format!("t{number}");
        let charge = service.charge(&tenant).await;
        let id = charge["id"].as_str().unwrap().to_owned();
        let value: U256 = charge["due"]["baseUnits"].as_str().unwrap().parse().unwrap();
        let to = self.treasury;
        self.anvil
            .send(self.payer, self.usdc, TestUsdc::transferCall { to, value })
            .await;
        self.charges.lock().unwrap().push((id, tenant));
    }

    /// Pays one charge after the other until [`Self::end`]; `service` must stay alive meanwhile.
    pub async fn keep_paying(&self, service: &Service) {
        let mut tick = tokio::time::interval(PAY_EVERY);
        while !self.ended.load(Ordering::SeqCst) {
            tick.tick().await;
            self.pay(service).await;
        }
    }

    /// Ends the stream of payments.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    /// Waits for some more payments.
    pub async fn some_payments(&self) {
        let count = || self.charges.lock().unwrap().len();
        let enough = count() + 5;
        let end = Instant::now() + PAID;
        while count() < enough {
            assert!(Instant::now() < end, "nobody pays");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn head(&self) -> u64 {
        let head = self.anvil.rpc("eth_blockNumber", serde_json::json!([])).await;
        let digits = head.as_str().unwrap().trim_start_matches("0x").to_owned();
        u64::from_str_radix(&digits, 16).unwrap()
    }

    /// Whether a chain is read up to a block.
    pub fn has_read(chain: &Value, number: u64) -> bool {
        chain["read"]["number"]
            .as_u64()
            .is_some_and(|read| read >= number)
    }

    /// Waits until these processes answer that every charge is paid and every tenant has its plan.
    pub async fn wait_all_paid(&self, services: &[&Service]) {
        self.anvil.mine(CONFIRMATIONS).await;
        let charges = self.charges.lock().unwrap().clone();
        let end = Instant::now() + PAID;
        for service in services {
            for (id, tenant) in &charges {
                let charge = format!("/api/billing/crypto/charge/{id}?tenantId={tenant}");
                let subscription = format!("/api/billing/subscription?tenantId={tenant}");
                loop {
                    let paid = service.get(&charge).await["state"] == "paid";
                    let answer = service.get(&subscription).await;
                    if paid && answer["plan"] == "pro" {
                        break;
                    }
                    assert!(Instant::now() < end, "{paid} {answer}\n{}", service.told());
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// The id of the charge that was paid as the n-th, from 0 on.
    pub fn charge_of(&self, number: usize) -> String {
        self.charges.lock().unwrap()[number].0.clone()
    }

    pub async fn store(&self) -> Store {
        let settings = StoreSettings {
            url: self.store_url.clone().into(),
            max_connections: 2,
        };
        Store::open(&settings).await.unwrap()
    }

    /// Each payment was read, confirmed, credited and told of exactly once, and no block is missing.
    pub async fn assert_each_counted_once(&self) {
        let store = self.store().await;
        let paid = self.charges.lock().unwrap().len();
        for (what, query) in [
            ("read", "select subject from audit where action = 'payment.read'"),
            (
                "confirmed",
                "select subject from audit where action = 'payment.confirm'",
            ),
            (
                "credited",
                "select subject from audit where action = 'source.put'",
            ),
            (
                "told of",
                "select resource from outbox where type = 'charge.paid'",
            ),
        ] {
            let mut subjects = column(&store, query).await;
            let all = subjects.len();
            subjects.sort();
            subjects.dedup();
            assert_eq!((subjects.len(), all), (paid, paid), "{what}");
        }
        let numbers = column(&store, "select number from header order by number").await;
        let expected: Vec<String> = (0..=self.head().await).map(|number| number.to_string()).collect();
        assert!(numbers == expected, "{numbers:?}");
    }

    /// The ids of the events that were delivered, in order.
    pub async fn delivered(&self) -> Vec<String> {
        let all = self.receiver.wait_for(PAID, |_| true).await;
        let id = |received: &Received| received.header("webhook-id").to_owned();
        all.iter().map(id).collect()
    }

    /// Waits until every event that is owed was delivered.
    pub async fn wait_all_delivered(&self) {
        let store = self.store().await;
        let owed = column(&store, "select event_id from outbox").await;
        let arrived = |received: &[Received]| {
            let ids: Vec<&str> = received.iter().map(|one| one.header("webhook-id")).collect();
            owed.iter().all(|id| ids.contains(&id.as_str()))
        };
        self.receiver.wait_for(PAID, arrived).await;
    }
}
