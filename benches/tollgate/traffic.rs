//! `rpc_per_block`: what a block costs the endpoint, polls included, counted by a proxy before anvil. Quiet blocks are empty;
//! full ones have three fifths of their bloom set by logs that are none of ours; busy ones hold a payment and a transfer of
//! the gate's contract.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address, U256};
use tokio_util::sync::CancellationToken;
use tollgate::chain::Internet;
use tollgate::config;
use tollgate::domain::{Aggregation, Amount, Contracts, GateAction, Rule};
use tollgate::engine::{CreateGate, Engine, Origin};
use tollgate::health::Health;
use tollgate::sync::ChainTask;

use super::chain::{CHAIN, Place};
use super::emitter::BatchEmitter;
use super::proxy::{Proxy, Traffic};
use super::report::{Line, float, round};
use super::scene::Scene;
use super::scratch::Stores;
use super::wait::{until, until_on};
use super::{Outcome, Size};

const HOLDERS: [u64; 3] = [0, 10, 1_000];
const BLOCK_TIME: Duration = Duration::from_millis(200);
/// Logs that set three fifths of a bloom.
const FILLING_LOGS: u64 = 160;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Quiet,
    Full,
    Busy,
}

/// The scene, and the gate's contract on it.
struct Gated {
    scene: Scene,
    emitter: Address,
}

pub async fn run(size: Size) -> Outcome {
    let blocks = size.pick(10, 50);
    for holders in HOLDERS {
        let gated = Gated::new(holders).await?;
        let proxy = Proxy::start(&gated.scene.anvil.http_url())?;
        let [store, _] = Stores::both()?;
        let database = store.new_database()?;
        let place = Place {
            http: proxy.http_url(),
            ws: proxy.ws_url(),
            database: database.url.clone(),
        };
        let settings = gated.settings(&place);
        let engine = place.engine(&settings).await?;
        let stop = CancellationToken::new();
        let following = tokio::spawn(ChainTask::run(
            settings,
            Arc::new(Internet::new()?),
            engine.clone(),
            Health::default(),
            stop.clone(),
        ));
        until_on(&engine, &gated.scene.anvil).await?;
        if holders > 0 {
            engine.execute(gated.gate()?).await?;
            until("history was not completed", || {
                let watches = engine.watches(CHAIN);
                watches.iter().all(tollgate::store::Watch::is_complete)
            })
            .await?;
        }
        for kind in [Kind::Quiet, Kind::Full, Kind::Busy] {
            let before = proxy.traffic();
            for index in 0..blocks {
                gated.mine(kind, index, &engine).await?;
            }
            report(kind, holders, blocks, (&before, &proxy.traffic()))?;
        }
        stop.cancel();
        following.await??;
        engine.close().await;
    }
    Ok(())
}

fn report(kind: Kind, holders: u64, blocks: u64, (before, after): (&Traffic, &Traffic)) -> Outcome {
    let all = |traffic: &Traffic| traffic.requests.values().sum::<u64>();
    let bytes = |traffic: &Traffic| traffic.bytes_up + traffic.bytes_down;
    let per_block = |count: u64| round(float(count) / float(blocks), 2);
    for (value, unit) in [
        (all(after) - all(before), "requests/block"),
        (bytes(after) - bytes(before), "bytes/block"),
    ] {
        let line = Line {
            bench: "rpc_per_block",
            value: per_block(value),
            unit,
            case: Some(format!("{kind:?} blocks, {holders} gate wallets").to_lowercase()),
            store: Some("sqlite"),
            n: Some(blocks),
            ..Line::default()
        };
        line.print()?;
    }
    Ok(())
}

impl Gated {
    /// A gate contract with so many holders.
    async fn new(holders: u64) -> Outcome<Self> {
        let scene = Scene::new().await?;
        let emitter = scene.anvil.deploy(scene.payer, "BatchEmitter").await?;
        for first in (0..holders).step_by(250) {
            let count = U256::from((holders - first).min(250));
            let first = U256::from(first);
            scene
                .call(emitter, &BatchEmitter::mintHoldersCall { first, count })
                .await?;
        }
        Ok(Self { scene, emitter })
    }

    fn settings(&self, place: &Place) -> config::Chain {
        config::Chain {
            block_time: BLOCK_TIME,
            poll_interval: BLOCK_TIME,
            ..self.scene.settings(place)
        }
    }

    fn gate(&self) -> Outcome<CreateGate> {
        Ok(CreateGate {
            origin: Origin {
                actor: "bench".to_owned(),
                cause: "traffic".to_owned(),
            },
            tenant: "tenant".parse()?,
            name: "holders".to_owned(),
            description: None,
            enabled: true,
            action: GateAction::GrantAccess,
            rule: Rule::Erc20Balance {
                contracts: Contracts::one(CHAIN, self.emitter),
                at_least: Some(Amount::from(1)),
                at_most: None,
                aggregation: Aggregation::Sum,
            },
            from_block: Some(0),
            view: |_, _| serde_json::Value::Null,
            idempotency: None,
        })
    }

    /// One block, read before the next one's time.
    async fn mine(&self, kind: Kind, index: u64, engine: &Engine) -> Outcome {
        let next = tokio::time::Instant::now() + BLOCK_TIME;
        match kind {
            Kind::Quiet => self.scene.anvil.mine().await?,
            Kind::Full => {
                let n = U256::from(FILLING_LOGS);
                self.scene
                    .call(self.emitter, &BatchEmitter::fillBloomCall { n })
                    .await?;
            }
            Kind::Busy => self.mine_busy(index).await?,
        }
        until_on(engine, &self.scene.anvil).await?;
        tokio::time::sleep_until(next).await;
        Ok(())
    }

    async fn mine_busy(&self, index: u64) -> Outcome {
        let moved = BatchEmitter::emitTransfersCall {
            seed: U256::from(index),
            count: U256::from(1),
            holders: U256::from(10),
        };
        let payment = self.scene.payment(index);
        self.scene
            .call_two((&payment, self.scene.usdc), (&moved, self.emitter))
            .await
    }
}
