//! `endpoint_loss`: of two endpoints the one that is asked dies, by closing everything or by falling silent, as a block with
//! a payment is mined. From there to that block's commit, by way of the other one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tollgate::chain::Internet;
use tollgate::config;
use tollgate::engine::Engine;
use tollgate::health::Health;
use tollgate::sync::ChainTask;

use super::chain::Place;
use super::proxy::{Fault, Proxy};
use super::report::{Line, percentile, round};
use super::scene::Scene;
use super::scratch::Stores;
use super::wait::until_on;
use super::{Outcome, Size};

const BLOCK_TIME: Duration = Duration::from_secs(1);
/// Blocks that show which endpoint is asked.
const WARM_UP: u64 = 3;

pub async fn run(size: Size) -> Outcome {
    for (fault, case) in [(Fault::Cut, "closed"), (Fault::Stall, "silent")] {
        let mut milliseconds = Vec::new();
        for _ in 0..size.pick(1, 5) {
            milliseconds.push(lose(&fault).await?);
        }
        let line = Line {
            bench: "endpoint_loss",
            value: round(percentile(&milliseconds, 50), 1),
            unit: "ms",
            case: Some(case.to_owned()),
            p50_ms: Some(round(percentile(&milliseconds, 50), 1)),
            p99_ms: Some(round(percentile(&milliseconds, 99), 1)),
            store: Some("sqlite"),
            n: Some(u64::try_from(milliseconds.len())?),
            ..Line::default()
        };
        line.print()?;
    }
    Ok(())
}

async fn lose(fault: &Fault) -> Outcome<f64> {
    let scene = Scene::new().await?;
    let proxies = [
        Proxy::start(&scene.anvil.http_url())?,
        Proxy::start(&scene.anvil.http_url())?,
    ];
    let [store, _] = Stores::both()?;
    let database = store.new_database()?;
    let place = Place::new(&scene.anvil, database.url.clone());
    let settings = settings(&scene.settings(&place), &proxies);
    let engine = place.engine(&settings).await?;
    let stop = CancellationToken::new();
    let following = tokio::spawn(ChainTask::run(
        settings,
        Arc::new(Internet::new()?),
        engine.clone(),
        Health::default(),
        stop.clone(),
    ));
    let asked = || {
        proxies
            .each_ref()
            .map(|proxy| proxy.traffic().requests.values().sum::<u64>())
    };
    let before = asked();
    for index in 0..WARM_UP {
        step(&engine, &scene, index).await?;
        tokio::time::sleep(BLOCK_TIME).await;
    }
    let after = asked();
    let [first, second] = [0, 1].map(|place| after[place] - before[place]);
    let chosen = &proxies[usize::from(second > first)];

    let dead = chosen.inject(fault.clone());
    let begun = Instant::now();
    step(&engine, &scene, WARM_UP).await?;
    let milliseconds = begun.elapsed().as_secs_f64() * 1_000.0;
    dead.lift();
    stop.cancel();
    following.await??;
    engine.close().await;
    Ok(milliseconds)
}

async fn step(engine: &Engine, scene: &Scene, index: u64) -> Outcome {
    scene.pay(index).await?;
    until_on(engine, &scene.anvil).await
}

fn settings(chain: &config::Chain, proxies: &[Proxy]) -> config::Chain {
    let endpoints = proxies.iter().zip(["one", "two"]).filter_map(|(proxy, name)| {
        chain.endpoints.first().map(|endpoint| config::Endpoint {
            name: name.to_owned(),
            operator: name.to_owned(),
            ws: Some(proxy.ws_url().into()),
            http: Some(proxy.http_url().into()),
            ..endpoint.clone()
        })
    });
    config::Chain {
        endpoints: endpoints.collect(),
        block_time: BLOCK_TIME,
        poll_interval: BLOCK_TIME,
        ..chain.clone()
    }
}
