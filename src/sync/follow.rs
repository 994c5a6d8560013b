//! From a verified header to committed blocks: extend, catch up, or go back to the common ancestor and up again.

use std::collections::VecDeque;

use futures_util::StreamExt;

use super::plan::LIVE_STRETCH;
use super::ranges;
use super::streamed::Streamed;
use super::task::{ChainTask, Halt, SyncError};
use super::window::Relation;
use crate::chain::ChainError;
use crate::domain::{BlockRef, Header, ProvenBlock};
use crate::engine::Advance;
use crate::metrics;

impl ChainTask {
    /// Brings what is read up to a verified header.
    pub(super) async fn follow_head(&mut self, header: &Header) -> Result<(), SyncError> {
        self.saw(header);
        match self.window.relation(header) {
            Relation::Known => Ok(()),
            Relation::Extends => self.extend(header).await,
            Relation::Above => self.catch_up(header).await,
            Relation::Forks => self.reorganise(header).await,
        }
    }

    async fn extend(&mut self, header: &Header) -> Result<(), SyncError> {
        let blocks = self.prove(std::slice::from_ref(header)).await?;
        if blocks.is_empty() {
            return Ok(());
        }
        self.advance(None, blocks).await
    }

    /// Reads what lies between the tip and a header above it.
    async fn catch_up(&mut self, header: &Header) -> Result<(), SyncError> {
        let from = self.window.tip().map_or(self.start_number, |tip| tip.number + 1);
        if header.number < from {
            return Ok(());
        }
        let outcome = if header.number - from < LIVE_STRETCH {
            self.read_each(from, header.number).await
        } else {
            self.read_ranges(from, header.number).await
        };
        match outcome {
            // What we hold is not what lies below the new head. While we hold nothing there is nothing to go back to: the chain
            // moved while it was read for the first time, and is read again.
            Err(SyncError::Chain(ChainError::Unlinked { .. })) if self.window.tip().is_some() => {
                self.reorganise(header).await
            }
            outcome => outcome,
        }
    }

    async fn read_each(&mut self, from: u64, to: u64) -> Result<(), SyncError> {
        let headers = self.reader.headers(from, to).await?;
        let Some(first) = headers.first() else {
            return Ok(());
        };
        if self.window.tip().is_some() && !self.window.has_parent(first.number, first.parent_hash) {
            return self.reorganise(first).await;
        }
        let blocks = self.prove(&headers).await?;
        if blocks.is_empty() {
            return Ok(());
        }
        self.advance(None, blocks).await
    }

    async fn read_ranges(&mut self, from: u64, to: u64) -> Result<(), SyncError> {
        let parent = self.window.tip().map(|tip| tip.hash);
        let bar = self.progress.bar("catching up", to - from + 1);
        let mut pieces = ranges::proven(&self.reader, &self.filter, (from, to), parent);
        while let Some(blocks) = pieces.next().await {
            match blocks {
                Err(error) if error.is_not_yet() => break,
                blocks => {
                    let blocks = blocks?;
                    let read = blocks.len();
                    self.advance(None, blocks).await?;
                    bar.read(read);
                }
            }
        }
        Ok(())
    }

    /// The blocks of these headers, up to the first that is proven at the next head only.
    async fn prove(&self, headers: &[Header]) -> Result<Vec<ProvenBlock>, SyncError> {
        let mut blocks = Vec::with_capacity(headers.len());
        let mut waits = false;
        for header in headers {
            match self.reader.prove_block(header, &self.filter).await {
                // Those above it are asked for the first time all the same.
                Err(error) if error.is_not_yet() => waits = true,
                Ok(_) if waits => {}
                block => blocks.push(block?),
            }
        }
        Ok(blocks)
    }

    /// Walks from a header of the new branch down to a block of ours, and takes the branch from there, in one step.
    async fn reorganise(&mut self, header: &Header) -> Result<(), SyncError> {
        // Where operators are asked, enough of them must be on the branch, and then it may be shorter than what one made us
        // read. Of one alone, a shorter branch is most often a node that lags: a chain that took it grows past our tip soon.
        let is_shorter = self.window.tip().is_some_and(|tip| header.number < tip.number);
        let is_believed = self.council.is_asked() || self.settings.development || !is_shorter;
        if !is_believed || !self.is_backed(header.block()).await? {
            return Ok(());
        }
        let lowest = self.window.lowest().map_or(0, |lowest| lowest.number);
        let finalized = self.heights.finalized.map_or(0, |finalized| finalized.number);
        let mut branch = VecDeque::from([header.clone()]);
        let mut below = header.clone();
        while !self.window.has_parent(below.number, below.parent_hash) {
            if below.number <= lowest {
                return Err(Halt::TooDeep.into());
            }
            if below.number <= finalized && !self.settings.development {
                return Err(Halt::BelowFinalized.into());
            }
            below = self.reader.header_by_hash(below.parent_hash).await?;
            branch.push_front(below.clone());
        }
        let ancestor = below
            .number
            .checked_sub(1)
            .and_then(|number| self.window.at(number));
        let Some(ancestor) = ancestor else {
            return Err(Halt::TooDeep.into());
        };
        let blocks = self.prove(branch.make_contiguous()).await?;
        if blocks.is_empty() {
            return Ok(());
        }
        self.count_reorg(ancestor);
        self.advance(Some(ancestor), blocks).await
    }

    /// The chain ends lower than what was read: a silent rollback, or a start after one.
    pub(super) async fn roll_back_to(&mut self, ancestor: BlockRef) -> Result<(), SyncError> {
        self.count_reorg(ancestor);
        self.heights.head = ancestor.number;
        self.advance(Some(ancestor), Vec::new()).await
    }

    fn count_reorg(&self, ancestor: BlockRef) {
        let tip = self.window.tip().map_or(0, |tip| tip.number);
        let depth = tip.saturating_sub(ancestor.number);
        let bucket = metrics::reorg_depth(depth);
        tracing::warn!(chain = %self.settings.name, depth, ancestor = ancestor.number, "the chain was reorganised");
        let name = self.settings.name.clone();
        ::metrics::counter!(metrics::CHAIN_REORGS_TOTAL, "chain" => name, "depth" => bucket).increment(1);
    }

    pub(super) async fn advance(
        &mut self,
        rollback_to: Option<BlockRef>,
        blocks: Vec<ProvenBlock>,
    ) -> Result<(), SyncError> {
        let positions: Vec<BlockRef> = blocks.iter().map(|block| block.header.block()).collect();
        self.compare_streamed(&blocks);
        let (chain, fence, head) = (self.settings.id, self.fence, self.heights.head);
        let evidence = self.evidence();
        // Before it is known whether it was done.
        self.asks_tokens |= rollback_to.is_some();
        self.heights = self
            .engine
            .execute(Advance {
                chain,
                fence,
                head,
                rollback_to,
                blocks,
                evidence,
            })
            .await?;
        if let Some(ancestor) = rollback_to {
            self.window.truncate(ancestor.number);
        }
        for block in positions {
            self.window.push(block);
        }
        self.tip.send_replace(self.window.tip());
        self.show(metrics::CHAIN_READ, self.heights.read.map(|read| read.number));
        self.show(
            metrics::CHAIN_SETTLED,
            self.heights.settled.map(|settled| settled.number),
        );
        self.report(None);
        Ok(())
    }

    /// Only a block that is read as it is announced can have been streamed.
    fn compare_streamed(&mut self, blocks: &[ProvenBlock]) {
        let ([block], true) = (blocks, self.is_streaming()) else {
            self.streamed = Streamed::default();
            return;
        };
        let difference = self.streamed.proven(block);
        let count = |name, by| {
            ::metrics::counter!(name, "chain" => self.settings.name.clone()).increment(by);
        };
        count(metrics::CHAIN_STREAMED_UNPROVEN_TOTAL, difference.unproven);
        count(metrics::CHAIN_UNSTREAMED_TOTAL, difference.unstreamed);
    }
}
