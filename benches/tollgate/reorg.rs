//! `reorg_recovery`: a chain with a payment in every block loses its newest blocks, all of them settled. From the first
//! announcement of a new block to the commit that stands on the new head, and then exact: the payments that stand are what
//! the treasury holds on the chain.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, U256};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tollgate::chain::{self, Internet, LogFilter, Network, StreamEvent, StreamHandle};
use tollgate::clock::Clock;
use tollgate::domain::{Amount, Token};
use tollgate::engine::Engine;
use tollgate::health::Health;
use tollgate::store::{self, Store};
use tollgate::sync::ChainTask;

use super::anvil::{Anvil, TestUsdc};
use super::chain::{CHAIN, Place};
use super::report::{Line, round};
use super::scratch::Stores;
use super::wait::until;
use super::{Outcome, Size};

const DEPTHS: [u64; 5] = [1, 6, 32, 45, 200];

/// Base units of the smallest payment; each differs from the others.
const FIRST_AMOUNT: u64 = 1_000_000;

struct Scene {
    anvil: Anvil,
    usdc: Address,
    payer: Address,
    treasury: Address,
}

pub async fn run(size: Size) -> Outcome {
    for store in Stores::both()? {
        let scene = Scene::new().await?;
        let database = store.new_database()?;
        let place = Place::new(&scene.anvil, database.url.clone());
        let token = Token {
            chain: CHAIN,
            address: scene.usdc,
            symbol: "USDC".to_owned(),
            decimals: 6,
            dust: Amount::from(10_000),
        };
        let settings = place.chain(Some(0), Some(scene.treasury), vec![token]);
        let engine = place.engine(&settings).await?;
        let network: Arc<dyn Network> = Arc::new(Internet::new()?);
        let (reader, mut heads) =
            chain::connect(&settings, &network, &Clock::system(), LogFilter::default())?;
        let stop = CancellationToken::new();
        let following = tokio::spawn(ChainTask::run(
            settings,
            network,
            engine.clone(),
            Health::default(),
            stop.clone(),
        ));
        for depth in &DEPTHS[..size.pick(3, DEPTHS.len())] {
            scene.pay(depth + 2).await?;
            until_on_head(&engine, &scene.anvil).await?;
            let milliseconds = scene.reorganise(*depth, &engine, &mut heads).await?;
            scene.check(&database.url).await?;
            let line = Line {
                bench: "reorg_recovery",
                value: round(milliseconds, 1),
                unit: "ms",
                store: Some(store.name()),
                n: Some(*depth),
                ..Line::default()
            };
            line.print()?;
        }
        drop(reader);
        stop.cancel();
        following.await??;
        engine.close().await;
    }
    Ok(())
}

impl Scene {
    async fn new() -> Outcome<Self> {
        let anvil = Anvil::start(&[]).await?;
        let accounts = anvil.accounts().await?;
        let [owner, payer, treasury, ..] = *accounts.as_slice() else {
            return Err("anvil has too few accounts".into());
        };
        let usdc = anvil.deploy(owner, "TestUSDC").await?;
        let mint = TestUsdc::mintCall {
            to: payer,
            amount: U256::from(u64::MAX),
        };
        anvil
            .receipt(&anvil.send(owner, usdc, &mint, None).await?)
            .await?;
        Ok(Self {
            anvil,
            usdc,
            payer,
            treasury,
        })
    }

    /// So many blocks with one payment each.
    async fn pay(&self, blocks: u64) -> Outcome {
        for index in 0..blocks {
            let transfer = TestUsdc::transferCall {
                to: self.treasury,
                value: U256::from(FIRST_AMOUNT + index),
            };
            let sent = self
                .anvil
                .send(self.payer, self.usdc, &transfer, Some(100_000))
                .await?;
            self.anvil.receipt(&sent).await?;
        }
        Ok(())
    }

    /// Milliseconds from the first new head to the commit on the last one.
    async fn reorganise(&self, depth: u64, engine: &Engine, heads: &mut StreamHandle) -> Outcome<f64> {
        // What was announced until now.
        while tokio::time::timeout(Duration::from_millis(200), heads.next())
            .await
            .is_ok()
        {}
        let reorg = async {
            self.anvil.rpc("anvil_reorg", json!([depth, []])).await?;
            until_on_head(engine, &self.anvil).await?;
            Outcome::Ok(tokio::time::Instant::now())
        };
        let announced = async {
            loop {
                if let StreamEvent::Head(head) = heads.next().await {
                    return head.received_at;
                }
            }
        };
        let (committed, announced) = tokio::join!(reorg, announced);
        Ok(committed?.duration_since(announced).as_secs_f64() * 1_000.0)
    }

    /// What stands in the database is what the treasury holds.
    async fn check(&self, database: &str) -> Outcome {
        let store = Store::open(&tollgate::config::StoreSettings {
            url: database.into(),
            max_connections: 1,
        })
        .await?;
        let payments = store::payments_above(&mut *store.read().await?, CHAIN, 0).await?;
        let credited = payments.iter().map(|payment| payment.amount.0).sum::<U256>();
        store.close().await;
        let held = self.anvil.balance(self.usdc, self.treasury).await?;
        if credited == held {
            return Ok(());
        }
        Err(format!("{credited} stand and the treasury holds {held}").into())
    }
}

async fn until_on_head(engine: &Engine, anvil: &Anvil) -> Outcome {
    let head: alloy::primitives::B256 = {
        let block = anvil
            .rpc("eth_getBlockByNumber", json!(["latest", false]))
            .await?;
        serde_json::from_value(block["hash"].clone())?
    };
    let on_head = || {
        let read = engine.chain(CHAIN).and_then(|chain| chain.heights.read);
        read.is_some_and(|read| read.hash == head)
    };
    until("the head was not read", on_head).await
}
