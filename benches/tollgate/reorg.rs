//! `reorg_recovery`: a chain with a payment in every block loses its newest blocks, all of them settled. From the first
//! announcement of a new block to the commit that stands on the new head, and then exact: the payments that stand are what
//! the treasury holds on the chain.

use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::U256;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tollgate::chain::{self, Internet, LogFilter, Network, StreamEvent, StreamHandle};
use tollgate::clock::Clock;
use tollgate::engine::Engine;
use tollgate::health::Health;
use tollgate::store::{self, Store};
use tollgate::sync::ChainTask;

use super::chain::{CHAIN, Place};
use super::report::{Line, round};
use super::scene::Scene;
use super::scratch::Stores;
use super::wait::until_on;
use super::{Outcome, Size};

const DEPTHS: [u64; 5] = [1, 6, 32, 45, 200];

pub async fn run(size: Size) -> Outcome {
    for store in Stores::both()? {
        let scene = Scene::new().await?;
        let database = store.new_database()?;
        let place = Place::new(&scene.anvil, database.url.clone());
        let settings = scene.settings(&place);
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
            for index in 0..depth + 2 {
                scene.pay(index).await?;
            }
            until_on(&engine, &scene.anvil).await?;
            let milliseconds = reorganise(&scene, *depth, &engine, &mut heads).await?;
            check(&scene, &database.url).await?;
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

/// Milliseconds from the first new head to the commit on the last one.
async fn reorganise(scene: &Scene, depth: u64, engine: &Engine, heads: &mut StreamHandle) -> Outcome<f64> {
    // What was announced until now.
    while tokio::time::timeout(Duration::from_millis(200), heads.next())
        .await
        .is_ok()
    {}
    let reorg = async {
        scene.anvil.rpc("anvil_reorg", json!([depth, []])).await?;
        until_on(engine, &scene.anvil).await?;
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
async fn check(scene: &Scene, database: &str) -> Outcome {
    let store = Store::open(&tollgate::config::StoreSettings {
        url: database.into(),
        max_connections: 1,
    })
    .await?;
    let payments = store::payments_above(&mut *store.read().await?, CHAIN, 0).await?;
    let credited = payments.iter().map(|payment| payment.amount.0).sum::<U256>();
    store.close().await;
    let held = scene.anvil.balance(scene.usdc, scene.treasury).await?;
    if credited == held {
        return Ok(());
    }
    Err(format!("{credited} stand and the treasury holds {held}").into())
}
