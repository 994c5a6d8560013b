//! An engine over a database and a chain made by hand, at a clock that stands still between blocks.

use std::time::Duration;

use alloy::primitives::{Address, B256, address};
use serde_json::json;
use tollgate::billing::{Catalogue, Check};
use tollgate::clock::Clock;
use tollgate::config::{Chain, Payments, Wallets};
use tollgate::domain::{
    Amount, BlockRef, ChainId, ChargeId, Evidence, Finality, Heights, Interval, Millis, ProvenBlock,
    TenantId, Token,
};
use tollgate::engine::{
    Advance, ApplyInbox, ChargeView, CreateCharge, Engine, EngineError, Idempotent, OpenChain, Origin,
    Settings,
};
use tollgate::store::Store;

use super::blocks::{Blocks, Log, Tx, coins, tx};
use super::databases::Database;

pub const CHAIN: ChainId = ChainId(31_337);
pub const GENESIS: B256 = B256::repeat_byte(0x99);
pub const CONFIRMATIONS: u64 = 3;
/// 2025-10-09T08:53:20Z.
pub const START: Millis = 1_760_000_000_000;
pub const BLOCK_MS: i64 = 12_000;
pub const HOUR_MS: i64 = 3_600_000;
pub const TTL_MS: i64 = HOUR_MS;
pub const GRACE_MS: i64 = 2 * HOUR_MS;
pub const USDC: Address = address!("0x00000000000000000000000000000000000000bb");
pub const TREASURY: Address = address!("0x00000000000000000000000000000000000000aa");
pub const PAYER: Address = address!("0x00000000000000000000000000000000000000cc");
pub const WEBHOOK: &str = "chat";
pub const DOMAIN: &str = "chat.example.org";
pub const URI: &str = "https://chat.example.org/wallets";
pub const NONCE_TTL: Duration = Duration::from_mins(10);
pub const RELINK_AFTER: Duration = Duration::from_hours(24);

/// A charge that was asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    pub id: ChargeId,
    pub due: Amount,
}

/// An engine that leads one chain.
pub struct World {
    pub store: Store,
    pub engine: Engine,
    pub clock: Clock,
    pub blocks: Blocks,
    pub fence: i64,
    /// What is heard beside the blocks.
    pub evidence: Evidence,
    /// Owns the file; last, so that it goes last.
    _database: Database,
}

/// One chain that sells, and one endpoint that is told.
pub fn settings() -> Settings {
    let token = Token {
        chain: CHAIN,
        address: USDC,
        symbol: "USDC".to_owned(),
        unit: "USD".to_owned(),
        decimals: 6,
        dust: Amount::from(1_000),
    };
    let chain = Chain {
        name: "anvil".to_owned(),
        id: CHAIN,
        block_time: Duration::from_secs(12),
        poll_interval: Duration::from_secs(12),
        finality: Finality::of_confirmations(CONFIRMATIONS),
        max_tag_age: Duration::from_mins(30),
        start_block: Some(1),
        development: true,
        treasury: Some(TREASURY),
        tokens: vec![token],
        other_tokens: Vec::new(),
        endpoints: Vec::new(),
        max_log_range: 1_000,
        agree: 1,
        level: None,
    };
    Settings {
        chains: vec![chain],
        payments: Payments {
            enabled: true,
            charge_ttl: Duration::from_millis(TTL_MS.unsigned_abs()),
            charge_grace: Duration::from_millis(GRACE_MS.unsigned_abs()),
            reversal_grace: Duration::ZERO,
            tolerance_basis_points: 100,
            tolerance_units: "0.05".to_owned(),
            tolerance_max_basis_points: 500,
        },
        wallets: Wallets {
            domain: DOMAIN.to_owned(),
            uri: URI.to_owned(),
            nonce_ttl: NONCE_TTL,
            relink_after: RELINK_AFTER,
        },
        webhooks: vec![WEBHOOK.to_owned()],
        public_url: None,
    }
}

/// The shipped plans, and a price at Stripe for two of them.
pub fn catalogue() -> Catalogue {
    let price = |plan: &str, id: &str| (plan.to_owned(), "month".to_owned(), id.to_owned());
    Catalogue::shipped(&[price("pro", "price_pro"), price("enterprise", "price_enterprise")]).unwrap()
}

pub fn origin() -> Origin {
    Origin {
        actor: "key:test".to_owned(),
        cause: "a test".to_owned(),
    }
}

pub fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

impl World {
    /// One that leads its chain, and has read nothing.
    pub async fn open(database: Database) -> Self {
        Self::open_with(database, settings()).await
    }

    /// One with other settings.
    pub async fn open_with(database: Database, settings: Settings) -> Self {
        let store = database.open().await;
        let clock = Clock::fixed(START);
        let engine = Engine::open(store.clone(), settings, catalogue(), clock.clone())
            .await
            .unwrap();
        let mut world = Self {
            store,
            engine,
            clock,
            blocks: Blocks::from(1),
            fence: 0,
            evidence: Evidence::default(),
            _database: database,
        };
        world.fence = world.lead().await;
        world
    }

    /// One that has read and settled some empty blocks.
    pub async fn settled(database: Database) -> Self {
        let mut world = Self::open(database).await;
        world.mine_empty(CONFIRMATIONS + 1).await;
        world
    }

    /// Takes the chain over.
    pub async fn lead(&self) -> i64 {
        let open = OpenChain {
            chain: CHAIN,
            genesis: GENESIS,
            head: 0,
        };
        self.engine.execute(open).await.unwrap().fence
    }

    /// A second engine over the same database, as another process would have.
    pub async fn another_engine(&self) -> Engine {
        let settings = Settings::clone(&self.engine.settings());
        let opened = Engine::open(self.store.clone(), settings, catalogue(), self.clock.clone());
        opened.await.unwrap()
    }

    /// The next block, a block time later; it is not read yet.
    pub fn build(&mut self, transactions: &[Tx]) -> ProvenBlock {
        self.clock.advance(BLOCK_MS);
        self.blocks.mine(self.clock.now_ms(), transactions)
    }

    /// Has the engine read blocks.
    pub async fn advance(
        &self,
        rollback_to: Option<BlockRef>,
        blocks: Vec<ProvenBlock>,
    ) -> Result<Heights, EngineError> {
        let head = self.blocks.tip().map_or(0, |tip| tip.number);
        self.engine
            .execute(Advance {
                chain: CHAIN,
                fence: self.fence,
                head,
                rollback_to,
                blocks,
                evidence: self.evidence,
            })
            .await
    }

    /// Mines a block, and reads it.
    pub async fn mine(&mut self, transactions: &[Tx]) -> Heights {
        let block = self.build(transactions);
        self.advance(None, vec![block]).await.unwrap()
    }

    /// Mines and reads empty blocks, one by one.
    pub async fn mine_empty(&mut self, count: u64) -> Heights {
        let mut heights = Heights::default();
        for _ in 0..count {
            heights = self.mine(&[]).await;
        }
        heights
    }

    /// Mines a block with a payment.
    pub async fn pay(&mut self, seed: u64, amount: Amount) -> Heights {
        self.mine(&[tx(seed, vec![payment(amount)])]).await
    }

    /// Goes back to `ancestor` and up another way, in one step.
    pub async fn reorg(&mut self, ancestor: u64, branch: &[&[Tx]]) -> Heights {
        let ancestor = self.blocks.fork_above(ancestor);
        let blocks = branch
            .iter()
            .map(|transactions| self.build(transactions))
            .collect();
        self.advance(Some(ancestor), blocks).await.unwrap()
    }

    /// Time passes, and no block comes.
    pub fn wait(&self, by_ms: i64) {
        self.clock.advance(by_ms);
    }

    /// Asks a tenant for a month of pro.
    pub async fn ask(&self, name: &str) -> Asked {
        asked(&self.engine.execute(pro_for(name)).await.unwrap())
    }

    pub async fn charge(&self, asked: &Asked) -> ChargeView {
        self.engine.charge(&asked.id, None).await.unwrap()
    }

    /// The state, and the flags in words.
    pub async fn standing(&self, asked: &Asked) -> (String, String) {
        let view = self.charge(asked).await;
        let flags: Vec<_> = view.flags.iter().map(|flag| json!(flag)).collect();
        let flags: Vec<_> = flags.iter().filter_map(|flag| flag.as_str()).collect();
        (view.state.to_string(), flags.join(" "))
    }

    pub async fn state(&self, asked: &Asked) -> String {
        self.standing(asked).await.0
    }

    /// Applies what providers have sent, as its job does.
    pub async fn apply_inbox(&self) {
        for key in self.engine.pending_inbox().await.unwrap() {
            self.engine.execute(ApplyInbox { key }).await.unwrap();
        }
    }

    /// The plan that a tenant has now.
    pub fn plan(&self, name: &str) -> String {
        let entitlement = self.engine.entitlement(&tenant(name), self.clock.now_ms());
        entitlement.plan.unwrap().to_string()
    }

    /// Whether a tenant may make video calls, which pro allows and free does not.
    pub fn may_call(&self, name: &str) -> bool {
        let check = Check::Feature("video_calls".to_owned());
        let outcome = self.engine.check(&tenant(name), &check, self.clock.now_ms());
        outcome.unwrap().allowed
    }
}

/// A month of pro, with USDC.
pub fn pro_for(name: &str) -> CreateCharge {
    CreateCharge {
        origin: origin(),
        tenant: tenant(name),
        user: None,
        plan: "pro".to_owned(),
        interval: Interval::Month,
        chain: None,
        token: None,
        when_active: None,
        idempotency: None,
    }
}

/// What the answer to a new charge says.
pub fn asked(answer: &Idempotent) -> Asked {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    Asked {
        id: text(&answer.answer["id"]).parse().unwrap(),
        due: text(&answer.answer["due"]["baseUnits"]).parse().unwrap(),
    }
}

/// A transfer to the treasury by somebody unknown.
pub fn payment(amount: Amount) -> Log {
    payment_from(PAYER, amount)
}

pub fn payment_from(payer: Address, amount: Amount) -> Log {
    coins(USDC, payer, TREASURY, amount.0)
}
