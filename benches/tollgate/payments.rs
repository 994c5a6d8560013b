//! `head_to_commit`: blocks of one second with a payment in each, from the last byte of the head's announcement to the
//! return of the commit that credits it. The service's own metric says how long each took; here are its exact values.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::{Address, U256};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tollgate::chain::{ChainError, Internet};
use tollgate::config;
use tollgate::domain::{Amount, ChargeId, ChargeState, Interval, Token};
use tollgate::engine::{CreateCharge, Engine, Origin};
use tollgate::health::Health;
use tollgate::metrics;
use tollgate::sync::ChainTask;

use super::anvil::{Anvil, Node, TestUsdc, quantity};
use super::chain::{CHAIN, Place};
use super::child;
use super::recorder::Samples;
use super::report::{Line, percentile, round};
use super::scratch::Stores;
use super::wait::until;
use super::{Outcome, Size};

/// The child's job.
pub const JOB: &str = "payments";

/// Enough for every charge.
const FUNDS: u64 = 1_000_000_000_000;

#[derive(Debug, Serialize, Deserialize)]
struct Task {
    place: Place,
    usdc: Address,
    payer: Address,
    treasury: Address,
    payments: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    milliseconds: Vec<f64>,
}

pub async fn run(size: Size) -> Outcome {
    for store in Stores::both()? {
        let anvil = Anvil::start(&["--block-time", "1"]).await?;
        let accounts = anvil.accounts().await?;
        let [owner, payer, treasury, ..] = accounts.as_slice() else {
            return Err("anvil has too few accounts".into());
        };
        let usdc = anvil.deploy(*owner, "TestUSDC").await?;
        let mint = TestUsdc::mintCall {
            to: *payer,
            amount: U256::from(FUNDS),
        };
        anvil
            .receipt(&anvil.send(*owner, usdc, &mint, None).await?)
            .await?;
        let database = store.new_database()?;
        let task = Task {
            place: Place::new(&anvil, database.url.clone()),
            usdc,
            payer: *payer,
            treasury: *treasury,
            payments: size.pick(15, 65),
        };
        let Measured { milliseconds } = child::run(JOB, &task).await?;
        let at = |percent| Some(round(percentile(&milliseconds, percent), 2));
        let line = Line {
            bench: "head_to_commit",
            value: round(percentile(&milliseconds, 50), 2),
            unit: "ms",
            p50_ms: at(50),
            p95_ms: at(95),
            p99_ms: at(99),
            store: Some(store.name()),
            n: Some(u64::try_from(milliseconds.len())?),
            ..Line::default()
        };
        line.print()?;
    }
    Ok(())
}

/// The child's work.
pub async fn child(line: &str) -> Outcome<String> {
    let task: Task = serde_json::from_str(line)?;
    let samples = Samples::of(metrics::CHAIN_HEAD_TO_COMMIT_SECONDS)?;
    let token = Token {
        chain: CHAIN,
        address: task.usdc,
        symbol: "USDC".to_owned(),
        unit: "USD".to_owned(),
        decimals: 6,
        dust: Amount::from(10_000),
    };
    let chain = task.place.chain(None, Some(task.treasury), vec![token]);
    let engine = task.place.engine(&chain).await?;
    let stop = CancellationToken::new();
    let following = follow(chain, &engine, &stop)?;
    let read = || engine.chain(CHAIN).and_then(|chain| chain.heights.read);
    until("the head was not read", || read().is_some()).await?;

    let mut charges = Vec::new();
    for index in 0..task.payments {
        charges.push(charge(&engine, index).await?);
    }
    // A block that is still being read when the first payment is sent would be counted, and holds none.
    let before = read();
    until("no block came", || read() != before).await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    samples.take();
    pay(&task, &charges).await?;
    for (charge, _) in &charges {
        until_paid(&engine, charge).await?;
    }
    let milliseconds = samples.take().iter().map(|seconds| seconds * 1_000.0).collect();
    stop.cancel();
    following.await??;
    engine.close().await;
    Ok(serde_json::to_string(&Measured { milliseconds })?)
}

type Following = tokio::task::JoinHandle<Result<(), tollgate::sync::SyncError>>;

fn follow(chain: config::Chain, engine: &Engine, stop: &CancellationToken) -> Result<Following, ChainError> {
    Ok(tokio::spawn(ChainTask::run(
        chain,
        Arc::new(Internet::new()?),
        engine.clone(),
        Health::default(),
        stop.clone(),
    )))
}

async fn charge(engine: &Engine, index: u64) -> Outcome<(ChargeId, U256)> {
    let command = CreateCharge {
        origin: Origin {
            actor: "bench".to_owned(),
            cause: "payments".to_owned(),
        },
        tenant: format!("tenant-{index}").parse()?,
        user: None,
        plan: "pro".to_owned(),
        interval: Interval::Month,
        chain: None,
        token: None,
        when_active: None,
        idempotency: None,
    };
    let answer = engine.execute(command).await?.answer;
    let id: ChargeId = answer["id"].as_str().ok_or("a charge without an id")?.parse()?;
    let view = engine.charge(&id, None).await?;
    Ok((id, view.due.base_units.parse()?))
}

/// One payment a block, in one block after the other.
async fn pay(task: &Task, charges: &[(ChargeId, U256)]) -> Outcome {
    let node = Node::new(&task.place.http)?;
    let mut last = None;
    for (_, due) in charges {
        let transfer = TestUsdc::transferCall {
            to: task.treasury,
            value: *due,
        };
        let sent = node.send(task.payer, task.usdc, &transfer, Some(100_000)).await?;
        let block = quantity(&node.receipt(&sent).await?["blockNumber"])?;
        if last.is_some_and(|last| block != last + 1) {
            return Err(format!("a block before {block} held no payment").into());
        }
        last = Some(block);
    }
    Ok(())
}

async fn until_paid(engine: &Engine, charge: &ChargeId) -> Outcome {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let view = engine.charge(charge, None).await?;
        if view.state == ChargeState::Paid {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("{charge} is {:?} and not paid", view.state).into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
