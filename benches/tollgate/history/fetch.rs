//! The limit: logs fetched and decoded as anybody would, with plain reqwest and alloy's `Log`, and then dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use alloy::rpc::types::Log;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinSet;

use crate::Outcome;
use crate::anvil::http_client;
use crate::emitter::Emitted;

#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    pub http: String,
    pub emitted: Emitted,
    pub width: u64,
    pub connections: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Fetched {
    pub seconds: f64,
    pub logs: u64,
}

#[derive(Deserialize)]
struct Answer {
    result: Vec<Log>,
}

/// The child's work.
pub async fn run(line: &str) -> Outcome<String> {
    let task: Arc<Task> = Arc::new(serde_json::from_str(line)?);
    let next = Arc::new(AtomicU64::new(task.emitted.from));
    let begun = Instant::now();
    let mut readers = JoinSet::new();
    for _ in 0..task.connections {
        readers.spawn(read(Arc::clone(&task), Arc::clone(&next)));
    }
    let mut logs = 0;
    while let Some(read) = readers.join_next().await {
        logs += read??;
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(serde_json::to_string(&Fetched { seconds, logs })?)
}

/// One connection: takes the next range until there is none.
async fn read(task: Arc<Task>, next: Arc<AtomicU64>) -> Outcome<u64> {
    let client = http_client()?;
    let mut logs = 0;
    loop {
        let from = next.fetch_add(task.width, Ordering::Relaxed);
        if from > task.emitted.to {
            return Ok(logs);
        }
        let to = task.emitted.to.min(from + task.width - 1);
        let filter = json!({
            "address": task.emitted.contract,
            "fromBlock": format!("{from:#x}"),
            "toBlock": format!("{to:#x}"),
        });
        let request = json!({"jsonrpc": "2.0", "id": from, "method": "eth_getLogs", "params": [filter]});
        let response = client
            .post(&task.http)
            .header("content-type", "application/json")
            .body(request.to_string())
            .send()
            .await?;
        let answer: Answer = serde_json::from_slice(&response.bytes().await?)?;
        logs += u64::try_from(answer.result.len())?;
    }
}
