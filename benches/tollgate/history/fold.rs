//! Ours: from the command that makes a gate to the moment when its contract's past is complete, on an empty database with
//! the live blocks beside it. Every balance is then compared with what the formula says, in memory and as stored.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use alloy::primitives::{Address, U256};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tollgate::chain::Internet;
use tollgate::config::StoreSettings;
use tollgate::domain::{Aggregation, Amount, Contracts, GateAction, Rule};
use tollgate::engine::{CreateGate, Engine, Origin, Subject};
use tollgate::health::Health;
use tollgate::store::{self, Store};
use tollgate::sync::ChainTask;

use crate::Outcome;
use crate::chain::{CHAIN, Place};
use crate::emitter::Emitted;
use crate::proc;
use crate::wait::until;

#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    pub place: Place,
    pub emitted: Emitted,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Folded {
    pub seconds: f64,
    pub peak_rss_mb: f64,
}

/// The child's work.
pub async fn run(line: &str) -> Outcome<String> {
    let Task { place, emitted } = serde_json::from_str(line)?;
    // The live reader starts at the head, so that it has nothing to do.
    let chain = place.chain(Some(emitted.to), None, Vec::new());
    let engine = place.engine(&chain).await?;
    let stop = CancellationToken::new();
    let following = tokio::spawn(ChainTask::run(
        chain,
        Arc::new(Internet::new()?),
        engine.clone(),
        Health::default(),
        stop.clone(),
    ));
    until("the head was not read", || {
        engine
            .chain(CHAIN)
            .is_some_and(|chain| chain.heights.settled.is_some())
    })
    .await?;

    let begun = Instant::now();
    engine.execute(gate(&emitted)?).await?;
    until("history was not completed", || {
        engine
            .watches(CHAIN)
            .iter()
            .all(tollgate::store::Watch::is_complete)
    })
    .await?;
    let seconds = begun.elapsed().as_secs_f64();
    let peak_rss_mb = proc::peak_rss_mb(proc::SELF)?;

    compare(&place, &emitted, &engine).await?;
    stop.cancel();
    following.await??;
    engine.close().await;
    Ok(serde_json::to_string(&Folded { seconds, peak_rss_mb })?)
}

fn gate(emitted: &Emitted) -> Outcome<CreateGate> {
    Ok(CreateGate {
        origin: Origin {
            actor: "bench".to_owned(),
            cause: "history".to_owned(),
        },
        tenant: "tenant".parse()?,
        name: "holders".to_owned(),
        description: None,
        enabled: true,
        action: GateAction::GrantAccess,
        rule: Rule::Erc20Balance {
            contracts: Contracts::one(CHAIN, emitted.contract),
            at_least: Some(Amount::from(1)),
            at_most: None,
            aggregation: Aggregation::Sum,
        },
        from_block: Some(emitted.from),
        view: |_, _| serde_json::Value::Null,
        idempotency: None,
    })
}

/// Exact or nothing: a fold that is fast and wrong is no result.
async fn compare(place: &Place, emitted: &Emitted, engine: &Engine) -> Outcome {
    let expected = emitted.balances();
    let settings = StoreSettings {
        url: place.database.as_str().into(),
        max_connections: 2,
    };
    let store = Store::open(&settings).await?;
    let rows = store::balances(&mut *store.read().await?, CHAIN).await?;
    store.close().await;
    let stored: HashMap<Address, U256> = rows.iter().map(|row| (row.holder, row.value)).collect();
    if stored != expected {
        return Err("the stored balances are not what the formula says".into());
    }
    let rule = gate(emitted)?;
    let gates = engine.gates(&rule.tenant);
    let gate = gates.first().ok_or("the gate is gone")?;
    for (holder, value) in &expected {
        let subject = Subject {
            user: None,
            wallets: vec![*holder],
        };
        let answer = engine.decide(gate, &subject);
        let read = answer.decision.trace.first().map(|leaf| leaf.reading);
        if read != Some(tollgate::domain::Reading::Known(*value)) {
            return Err(format!("{holder} has {read:?} instead of {value}").into());
        }
    }
    Ok(())
}
