//! The chain task over a real anvil, with the engine on a store of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::{Address, U256};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate::billing::Catalogue;
use tollgate::chain::{Internet, Network};
use tollgate::clock::Clock;
use tollgate::config::{self, Chain, Endpoint};
use tollgate::domain::{
    Amount, ChainId, Eligibility, Finality, GateAction, GateId, Heights, Interval, Rule, TenantId, Token,
};
use tollgate::engine::{ChargeView, CreateCharge, CreateGate, Engine, GateAnswer, Origin, Settings, Subject};
use tollgate::health::{Database, Health};
use tollgate::store::Store;
use tollgate::sync::ChainTask;
use tollgate::task::Tasks;

use crate::harness::anvil::{Anvil, TestUsdc};
use crate::harness::holders::nfts;
use crate::harness::postgres;

pub const CHAIN: ChainId = ChainId(31337);
const DEADLINE: Duration = Duration::from_secs(30);

pub struct World {
    pub anvil: Anvil,
    pub usdc: Address,
    pub owner: Address,
    pub payer: Address,
    pub treasury: Address,
    pub engine: Engine,
    pub health: Health,
    pub settings: Chain,
    store: config::StoreSettings,
    tasks: Tasks,
    dir: TempDir,
}

/// Where the state is kept.
#[derive(Clone, Copy)]
pub enum On {
    Sqlite,
    Postgres,
}

impl World {
    /// Mines only on request, so that a test decides what each block holds.
    pub async fn new(on: On, confirmations: u64) -> Self {
        Self::over(Anvil::start().await, on, confirmations, |_| {}).await
    }

    /// The same over an anvil of the test's own, with `adjust` changing the chain's settings.
    pub async fn over(anvil: Anvil, on: On, confirmations: u64, adjust: impl FnOnce(&mut Chain)) -> Self {
        let usdc = anvil.deploy("TestUSDC").await;
        let accounts = anvil.accounts().await;
        let (owner, payer, treasury) = (accounts[0], accounts[1], accounts[9]);
        let amount = U256::from(1_000_000_000_000_u64);
        anvil
            .send(owner, usdc, TestUsdc::mintCall { to: payer, amount })
            .await;
        // Below every reorg of the tests.
        anvil.mine(10).await;
        let dir = tempfile::tempdir().unwrap();
        let url = match on {
            On::Sqlite => sqlite(&dir),
            On::Postgres => postgres::database(),
        };
        let store = config::StoreSettings {
            url: url.into(),
            max_connections: 4,
        };
        let mut settings = chain(&anvil, usdc, treasury);
        settings.finality = Finality::of_confirmations(confirmations);
        adjust(&mut settings);
        let (engine, health, tasks) = start(&store, &settings).await;
        Self {
            anvil,
            usdc,
            owner,
            payer,
            treasury,
            engine,
            health,
            settings,
            store,
            tasks,
            dir,
        }
    }

    /// Stops the task and everything in memory, and starts anew from what is stored.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    pub async fn stop(&mut self) {
        std::mem::take(&mut self.tasks)
            .shutdown(Duration::from_secs(10))
            .await;
        self.engine.close().await;
    }

    pub async fn start(&mut self) {
        (self.engine, self.health, self.tasks) = start(&self.store, &self.settings).await;
    }

    /// Starts anew with other settings of the chain.
    pub async fn restart_with(&mut self, adjust: impl FnOnce(&mut Chain)) {
        self.stop().await;
        adjust(&mut self.settings);
        self.start().await;
    }

    /// Starts anew on an empty database.
    pub async fn restart_empty(&mut self) {
        self.stop().await;
        let dir = tempfile::tempdir().unwrap();
        self.store.url = sqlite(&dir).into();
        self.dir = dir;
        self.start().await;
    }

    /// What is stored, past the engine.
    pub async fn open_store(&self) -> Store {
        Store::open(&self.store).await.unwrap()
    }

    /// A configuration of the program that is this world's.
    pub fn configuration(&self) -> String {
        let Chain {
            finality, treasury, ..
        } = &self.settings;
        let confirmations = finality.tiers()[0].confirmations;
        format!(
            "chain_files = [\"anvil\"]\n[store]\nurl = \"{}\"\n\
             [chains.anvil]\nconfirmations = {confirmations}\nstart_block = 0\ntreasury = \"{}\"\n\
             [[chains.anvil.tokens]]\naddress = \"{}\"\nsymbol = \"USDC\"\ndecimals = 6\ndust = \"0.001\"\n\
             [[chains.anvil.endpoints]]\nname = \"anvil\"\noperator = \"local\"\nhttp = \"{}\"\n",
            self.store.url.expose_secret(),
            treasury.unwrap(),
            self.usdc,
            self.anvil.http_url(),
        )
    }

    pub async fn charge(&self, tenant: &str) -> ChargeView {
        self.charged(tenant, None).await
    }

    /// A charge in the token with this symbol.
    pub async fn charge_in(&self, tenant: &str, symbol: &str) -> ChargeView {
        self.charged(tenant, Some(symbol)).await
    }

    async fn charged(&self, tenant: &str, symbol: Option<&str>) -> ChargeView {
        let command = CreateCharge {
            origin: Origin {
                actor: "test".to_owned(),
                cause: "test".to_owned(),
            },
            tenant: tenant.parse().unwrap(),
            user: None,
            plan: "pro".to_owned(),
            interval: Interval::Month,
            chain: None,
            token: symbol.map(str::to_owned),
            when_active: None,
            idempotency: None,
        };
        let answer = self.engine.execute(command).await.unwrap().answer;
        self.view(answer["id"].as_str().unwrap()).await
    }

    pub async fn view(&self, charge: &str) -> ChargeView {
        self.engine.charge(&charge.parse().unwrap(), None).await.unwrap()
    }

    /// Sends exactly what a charge asks for; anvil mines it at once.
    pub async fn pay(&self, charge: &ChargeView) -> Value {
        let value: U256 = charge.due.base_units.parse().unwrap();
        let to = self.treasury;
        self.anvil
            .send(self.payer, self.usdc, TestUsdc::transferCall { to, value })
            .await
    }

    /// A gate that one ERC-721 token of a contract opens.
    pub async fn gate(&self, contract: Address) -> GateId {
        self.gate_of(nfts(CHAIN, contract)).await
    }

    pub async fn gate_of(&self, rule: Rule) -> GateId {
        let command = CreateGate {
            origin: Origin {
                actor: "test".to_owned(),
                cause: "test".to_owned(),
            },
            tenant: "acme".parse().unwrap(),
            name: "members".to_owned(),
            description: None,
            enabled: true,
            action: GateAction::GrantAccess,
            rule,
            from_block: Some(0),
            view: |gate, _| json!({"id": gate.id}),
            idempotency: None,
        };
        let answer = self.engine.execute(command).await.unwrap().answer;
        answer["id"].as_str().unwrap().parse().unwrap()
    }

    pub fn decide(&self, gate: &GateId, wallet: Address) -> GateAnswer {
        let tenant: TenantId = "acme".parse().unwrap();
        let subject = Subject {
            user: None,
            wallets: vec![wallet],
        };
        self.engine
            .decide(&self.engine.gate(&tenant, gate).unwrap(), &subject)
    }

    pub async fn wait_eligibility(&self, gate: &GateId, wallet: Address, wanted: Eligibility) {
        self.wait_until("the gate's answer", || {
            self.decide(gate, wallet).decision.eligibility == wanted
        })
        .await;
    }

    pub async fn wait_state(&self, charge: &ChargeView, wanted: &str) -> ChargeView {
        let end = Instant::now() + DEADLINE;
        loop {
            let now = self.view(&charge.id).await;
            if now.state.as_str() == wanted {
                return now;
            }
            assert!(
                Instant::now() < end,
                "{}: {} is {} and not {wanted}: {:?}",
                self.settings.name,
                charge.id,
                now.state,
                self.reasons()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn heights(&self) -> Heights {
        self.engine.chain(CHAIN).unwrap().heights
    }

    /// Waits until the chain is read up to the node's head, hash and all.
    pub async fn wait_read(&self) -> Heights {
        let latest = self
            .anvil
            .rpc("eth_getBlockByNumber", json!(["latest", false]))
            .await;
        let hash = latest["hash"].as_str().unwrap().to_owned();
        let read = || {
            self.heights()
                .read
                .is_some_and(|read| read.hash.to_string() == hash)
        };
        self.wait_until("the head to be read", read).await;
        self.heights()
    }

    pub async fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        let end = Instant::now() + DEADLINE;
        while !condition() {
            assert!(
                Instant::now() < end,
                "{}: waited for {what}: {:?}, {:?}",
                self.settings.name,
                self.heights(),
                self.reasons()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Why it is not ready: each check with its words.
    pub fn reasons(&self) -> Vec<String> {
        let now = self.engine.clock().now_ms();
        let database = Database::Answers {
            oldest_owed_at_ms: None,
        };
        let reasons = self.health.readiness(now, database).reasons.into_iter();
        reasons
            .map(|reason| format!("{}: {}", reason.check, reason.detail))
            .collect()
    }

    /// Waits until readiness names a check, or no longer does.
    pub async fn wait_reason(&self, check: &str, named: bool) {
        let is_named = || self.reasons().iter().any(|reason| reason.starts_with(check));
        let what = format!("{check} to be {named}");
        self.wait_until(&what, || is_named() == named).await;
    }

    /// Another instance over the same store, which follows this one until it is shut down: what it knows of its health, and
    /// its tasks.
    pub async fn follower(&self) -> (Engine, Health, Tasks) {
        let (engine, health, mut tasks) = start(&self.store, &self.settings).await;
        let refreshed = engine.clone();
        tasks.supervise("refresh", move |stop| {
            tollgate::jobs::run_refresh(refreshed.clone(), stop)
        });
        (engine, health, tasks)
    }

    /// Another engine over the same store, as a command of an operator has.
    pub async fn another_engine(&self) -> Engine {
        let settings = self.engine.settings().as_ref().clone();
        let store = Store::open(&self.store).await.unwrap();
        let catalogue = Catalogue::shipped(&[]).unwrap();
        Engine::open(store, settings, catalogue, Clock::system())
            .await
            .unwrap()
    }

    /// The same, whose looks at transactions go through another endpoint than the one that the chain is read by.
    pub async fn engine_through(&self, url: &str) -> Engine {
        let engine = self.another_engine().await;
        let mut settings = engine.settings().as_ref().clone();
        let endpoint = &mut settings.chains[0].endpoints[0];
        (endpoint.ws, endpoint.http) = (None, Some(url.to_owned().into()));
        engine.reconfigure(settings).await.unwrap();
        engine
    }

    pub fn plan(&self, tenant: &str) -> String {
        let now = self.engine.clock().now_ms();
        self.engine
            .entitlement(&tenant.parse().unwrap(), now)
            .plan
            .unwrap()
            .to_string()
    }
}

fn sqlite(dir: &TempDir) -> String {
    format!("sqlite://{}", dir.path().join("state.sqlite").display())
}

fn chain(anvil: &Anvil, usdc: Address, treasury: Address) -> Chain {
    let token = Token {
        chain: CHAIN,
        address: usdc,
        symbol: "USDC".to_owned(),
        unit: "USD".to_owned(),
        decimals: 6,
        dust: Amount::from(1_000),
    };
    Chain {
        name: "anvil".to_owned(),
        id: CHAIN,
        block_time: Duration::from_secs(1),
        poll_interval: Duration::from_millis(200),
        finality: Finality::of_confirmations(1),
        max_tag_age: Duration::from_mins(30),
        start_block: Some(0),
        development: true,
        treasury: Some(treasury),
        tokens: vec![token],
        other_tokens: Vec::new(),
        endpoints: vec![Endpoint {
            name: "anvil".to_owned(),
            operator: "local".to_owned(),
            ws: Some(anvil.ws_url().into()),
            http: Some(anvil.http_url().into()),
            requests_per_second: 1_000,
            max_in_flight: 32,
            request_timeout: Duration::from_secs(5),
        }],
        max_log_range: 1_000,
        agree: 1,
        level: None,
    }
}

async fn start(store: &config::StoreSettings, chain: &Chain) -> (Engine, Health, Tasks) {
    tollgate::egress::install_crypto_provider();
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
        webhooks: vec!["chat".to_owned()],
        public_url: None,
    };
    let store = Store::open(store).await.unwrap();
    let engine = Engine::open(store, settings, Catalogue::shipped(&[]).unwrap(), Clock::system())
        .await
        .unwrap();
    let health = Health::default();
    health.expect_chain(chain.id, &chain.name, chain.block_time);
    let internet: Arc<dyn Network> = Arc::new(Internet::new().unwrap());
    let mut tasks = Tasks::default();
    let (chain, for_task, for_health) = (chain.clone(), engine.clone(), health.clone());
    tasks.supervise(format!("chain {}", chain.name), move |stop| {
        ChainTask::run(
            chain.clone(),
            Arc::clone(&internet),
            for_task.clone(),
            for_health.clone(),
            stop,
        )
    });
    (engine, health, tasks)
}
