//! The past of watched contracts: read by ranges beside the live blocks, folded, and met with them where they begin.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::plan;
use super::task::{ChainTask, SyncError};
use super::watching;
use crate::chain::ChainReader;
use crate::config;
use crate::domain::{ChainId, ProvenBlock};
use crate::engine::{Engine, EngineError, FoldHistory, RestartHistory};
use crate::retry::Backoff;
use crate::store::Watch;

/// Pieces that are read at once.
const PIECES_IN_FLIGHT: usize = 4;

/// Logs that are folded in one transaction; it writes each touched balance once, however often it moved.
const LOGS_PER_FOLD: usize = 50_000;

/// Blocks that are folded in one transaction, where they hold few logs.
const BLOCKS_PER_FOLD: usize = 5_000;

/// How often it is looked whether a contract was added.
const IDLE: Duration = Duration::from_millis(250);

/// The reader of one chain's past.
#[derive(Debug, Clone)]
pub(super) struct History {
    settings: config::Chain,
    engine: Engine,
    reader: ChainReader,
    chain: ChainId,
    fence: i64,
}

impl History {
    pub(super) fn new(task: &ChainTask) -> Self {
        Self {
            settings: task.settings.clone(),
            engine: task.engine.clone(),
            reader: task.reader.clone(),
            chain: task.settings.id,
            fence: task.fence,
        }
    }

    /// Reads until it is dropped.
    ///
    /// # Errors
    /// Only a halt; all else is tried again.
    pub(super) async fn run(&self) -> Result<(), SyncError> {
        let mut backoff = Backoff::new(IDLE, Duration::from_secs(30));
        let mut watches = self.engine.watch_changes();
        loop {
            let delay = match self.step().await {
                Ok(true) => {
                    backoff.reset();
                    continue;
                }
                Ok(false) => IDLE,
                Err(error @ SyncError::Halted(_)) => return Err(error),
                Err(error) => {
                    tracing::warn!(chain = %self.settings.name, %error, "history could not be read");
                    backoff.next_delay()
                }
            };
            // What ends the wait before its time is a new contract.
            let _sooner = tokio::time::timeout(delay, watches.changed()).await;
        }
    }

    /// Reads a stretch of the first contract whose past is incomplete; `false` when none has any to read.
    async fn step(&self) -> Result<bool, SyncError> {
        let watches = self.engine.watches(self.chain);
        let stretch = |watch: &Watch| {
            let last = watch.live_from?.checked_sub(1)?;
            (watch.next_number <= last).then_some((*watch, last))
        };
        let Some((watch, last)) = watches.iter().find_map(stretch) else {
            return Ok(false);
        };
        match self.read(watch, last).await {
            Err(SyncError::Engine(EngineError::ForeignHistory(contract))) => {
                tracing::error!(chain = %self.settings.name, %contract, "its history was of another chain; reading it again");
                let (chain, fence) = (self.chain, self.fence);
                self.engine
                    .execute(RestartHistory {
                        chain,
                        fence,
                        contract,
                    })
                    .await?;
                Ok(true)
            }
            outcome => outcome.map(|()| true),
        }
    }

    /// Reads and folds at once, a batch behind each other.
    async fn read(&self, watch: Watch, last: u64) -> Result<(), SyncError> {
        let (batches, mut read) = mpsc::channel(1);
        let folding = async move {
            while let Some(blocks) = read.recv().await {
                self.fold(watch, blocks).await?;
            }
            Ok(())
        };
        // Both end before this does: a fold that went on alone would meet the next one.
        let (outcome, folded) = tokio::join!(self.gather(watch, last, batches), folding);
        folded.and(outcome)
    }

    async fn gather(
        &self,
        watch: Watch,
        last: u64,
        batches: mpsc::Sender<Vec<ProvenBlock>>,
    ) -> Result<(), SyncError> {
        let filter = watching::filter(&unpaid(&self.settings), &[watch.contract].into());
        let first = watch.next_number;
        let mut pieces = stream::iter(plan::pieces(first, last, || self.reader.log_range()))
            .map(|(from, to)| {
                let (reader, filter) = (self.reader.clone(), filter.clone());
                let parent = watch.next_parent.filter(|_| from == first);
                async move { reader.prove_range(from, to, &filter, parent).await }
            })
            .buffered(PIECES_IN_FLIGHT);
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

    async fn fold(&self, watch: Watch, blocks: Vec<ProvenBlock>) -> Result<(), SyncError> {
        let (chain, fence, contract) = (self.chain, self.fence, watch.contract);
        let folded = self
            .engine
            .execute(FoldHistory {
                chain,
                fence,
                contract,
                blocks,
            })
            .await?;
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
        ..settings.clone()
    }
}
