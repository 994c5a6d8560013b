//! Waits for a condition, with a deadline.

use std::time::{Duration, Instant};

use serde_json::json;
use tollgate::engine::Engine;

use super::Outcome;
use super::anvil::Node;
use super::chain::CHAIN;

const DEADLINE: Duration = Duration::from_mins(5);
const LOOK: Duration = Duration::from_millis(1);

/// Waits until `holds`; `otherwise` says what did not.
pub async fn until(otherwise: &str, holds: impl Fn() -> bool) -> Outcome {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        if Instant::now() > end {
            return Err(format!("{otherwise} in {DEADLINE:?}").into());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Waits until the node's head is read and stored.
pub async fn until_on(engine: &Engine, node: &Node) -> Outcome {
    let block = node.rpc("eth_getBlockByNumber", json!(["latest", false])).await?;
    let head: alloy::primitives::B256 = serde_json::from_value(block["hash"].clone())?;
    let on_head = || {
        let read = engine.chain(CHAIN).and_then(|chain| chain.heights.read);
        read.is_some_and(|read| read.hash == head)
    };
    until("the head was not read", on_head).await
}
