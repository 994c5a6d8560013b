//! The past of watched contracts: read by ranges beside the live blocks, folded, and met with them where they begin.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::Address;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::progress::{Bar, Progress};
use super::ranges;
use super::task::{ChainTask, SyncError};
use super::watching::{self, Told};
use crate::chain::ChainReader;
use crate::config;
use crate::domain::{ChainId, ProvenBlock};
use crate::engine::{Engine, EngineError, FoldHistory, RestartHistory};
use crate::retry::Backoff;
use crate::store::Watch;

/// Logs that are folded in one transaction; it writes each touched balance once, however often it moved.
const LOGS_PER_FOLD: usize = 100_000;

/// Blocks that are folded in one transaction, where they hold few logs.
const BLOCKS_PER_FOLD: usize = 5_000;

/// How often it is looked whether a contract was added.
const IDLE: Duration = Duration::from_millis(250);

/// A contract whose past could not be read.
#[derive(Debug)]
struct Waiting {
    backoff: Backoff,
    until: Instant,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            backoff: Backoff::new(IDLE, Duration::from_mins(1)),
            until: Instant::now(),
        }
    }
}

impl Waiting {
    fn postpone(&mut self) {
        self.until = Instant::now() + self.backoff.next_delay();
    }
}

/// The reader of one chain's past.
#[derive(Debug, Clone)]
pub(super) struct History {
    settings: config::Chain,
    engine: Engine,
    reader: ChainReader,
    progress: Arc<Progress>,
    chain: ChainId,
    fence: i64,
}

impl History {
    pub(super) fn new(task: &ChainTask) -> Self {
        Self {
            settings: task.settings.clone(),
            engine: task.engine.clone(),
            reader: task.reader.clone(),
            progress: Arc::clone(&task.progress),
            chain: task.settings.id,
            fence: task.fence,
        }
    }

    /// Reads until it is dropped. A contract whose past cannot be read waits, and holds up no other.
    ///
    /// # Errors
    /// Only a halt, and the loss of the lease; all else is tried again.
    pub(super) async fn run(&self) -> Result<(), SyncError> {
        let mut waiting: HashMap<Address, Waiting> = HashMap::new();
        let mut watches = self.engine.watch_changes();
        loop {
            self.progress.has_watches(&self.engine.watches(self.chain));
            let Some((watch, last)) = self.next_stretch(&waiting) else {
                // What ends the wait before its time is a new contract.
                let _sooner = tokio::time::timeout(IDLE, watches.changed()).await;
                continue;
            };
            match self.step(watch, last).await {
                Ok(()) => {
                    waiting.remove(&watch.contract);
                }
                Err(error @ (SyncError::Halted(_) | SyncError::Deposed)) => return Err(error),
                Err(error) => {
                    let contract = watch.contract;
                    tracing::warn!(chain = %self.settings.name, %contract, %error, "history could not be read");
                    waiting.entry(contract).or_default().postpone();
                }
            }
        }
    }

    /// The first contract whose past is incomplete and need not wait, with the last block of its past. Nothing is read before
    /// something is settled.
    fn next_stretch(&self, waiting: &HashMap<Address, Waiting>) -> Option<(Watch, u64)> {
        self.engine.chain(self.chain)?.heights.settled?;
        let now = Instant::now();
        let stretch = |watch: Watch| {
            let last = watch.live_from?.checked_sub(1)?;
            let waits = waiting
                .get(&watch.contract)
                .is_some_and(|waiting| waiting.until > now);
            (watch.next_number <= last && !waits).then_some((watch, last))
        };
        self.engine.watches(self.chain).into_iter().find_map(stretch)
    }

    /// Reads a stretch of one contract's past.
    async fn step(&self, watch: Watch, last: u64) -> Result<(), SyncError> {
        let outcome = self.read(watch, last).await;
        if let Err(SyncError::Engine(EngineError::ForeignHistory(contract))) = &outcome {
            tracing::error!(chain = %self.settings.name, %contract, "its history was of another chain; it is read again");
            let (chain, fence, contract) = (self.chain, self.fence, *contract);
            self.engine
                .execute(RestartHistory {
                    chain,
                    fence,
                    contract,
                })
                .await?;
        }
        outcome
    }

    /// Reads and folds at once, a batch behind each other.
    async fn read(&self, watch: Watch, last: u64) -> Result<(), SyncError> {
        let (batches, mut read) = mpsc::channel(1);
        let bar = self.progress.bar(
            &format!("history of {}", watch.contract),
            last - watch.next_number + 1,
        );
        let folding = async move {
            while let Some(blocks) = read.recv().await {
                self.fold(watch, blocks, &bar).await?;
            }
            Ok(())
        };
        // Both end before this does: a fold that went on alone would meet the next one.
        let (outcome, folded) = tokio::join!(biased; self.gather(watch, last, batches), folding);
        folded.and(outcome)
    }

    async fn gather(
        &self,
        watch: Watch,
        last: u64,
        batches: mpsc::Sender<Vec<ProvenBlock>>,
    ) -> Result<(), SyncError> {
        let filter = watching::filter(&unpaid(&self.settings), &Told::new(), &watching::scopes([&watch]));
        let (from, parent) = (watch.next_number, watch.next_parent);
        let mut pieces = ranges::proven(&self.reader, &filter, (from, last), parent);
        let mut blocks: Vec<ProvenBlock> = Vec::new();
        let mut logs = 0;
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            logs += piece.iter().map(|block| block.logs.len()).sum::<usize>();
            blocks.extend(piece);
            if logs >= LOGS_PER_FOLD || blocks.len() >= BLOCKS_PER_FOLD {
                logs = 0;
                if batches.send(std::mem::take(&mut blocks)).await.is_err() {
                    // The fold failed, and says so itself.
                    return Ok(());
                }
            }
        }
        if !blocks.is_empty() {
            let _folding = batches.send(blocks).await;
        }
        Ok(())
    }

    async fn fold(&self, watch: Watch, blocks: Vec<ProvenBlock>, bar: &Bar) -> Result<(), SyncError> {
        let read = blocks.len();
        let (chain, fence, contract) = (self.chain, self.fence, watch.contract);
        let folded = self
            .engine
            .execute(FoldHistory {
                chain,
                fence,
                contract,
                scope: watch.scope,
                blocks,
            })
            .await?;
        bar.read(read);
        self.progress.has_watches(&self.engine.watches(chain));
        if folded.is_complete() {
            tracing::info!(chain = %self.settings.name, %contract, "its history is complete");
        }
        Ok(())
    }
}

/// The chain without its treasury: payments of the past are the live reader's.
fn unpaid(settings: &config::Chain) -> config::Chain {
    config::Chain {
        treasury: None,
        tokens: Vec::new(),
        other_tokens: Vec::new(),
        ..settings.clone()
    }
}
