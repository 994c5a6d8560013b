//! How a watched contract's past and its live blocks come together: its filter becomes active, its history is folded beneath
//! that, and is read anew where it was of another chain.

use alloy::primitives::{Address, B256};
use serde_json::json;

use super::EngineError;
use super::answers::Change;
use super::holdings::{Moves, counted, lower, movement_of};
use super::work::{Command, Origin, Work};
use crate::domain::{BlockRef, ChainId, ProvenBlock, Scope};
use crate::ledger;
use crate::store::{self, Watch};

/// From the block above what is read on, the live blocks bring these contracts' transfers: their filter is active.
#[derive(Debug, Clone)]
pub struct ActivateWatches {
    /// The chain.
    pub chain: ChainId,
    /// Our fence.
    pub fence: i64,
    /// The contracts.
    pub contracts: Vec<Address>,
    /// The block up to which the chain is read without them; none before the first.
    pub read: Option<BlockRef>,
}

impl Command for ActivateWatches {
    type Output = ();

    fn origin(&self) -> Origin {
        Origin {
            actor: format!("chain:{}", self.chain),
            cause: "watch".to_owned(),
        }
    }

    fn chains(&self) -> Vec<ChainId> {
        vec![self.chain]
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        work.lead(self.chain, self.fence).await?;
        let stored = store::chain_row(work.tx.conn(), self.chain)
            .await?
            .ok_or(EngineError::NotFound("chain"))?;
        if stored.heights.read != self.read {
            return Err(EngineError::NotLinked(self.chain));
        }
        let first = self.read.map_or(stored.start_number, |read| read.number + 1);
        let mut moves = Moves::load(work, self.chain);
        for contract in &self.contracts {
            let Some(watch) = moves.watches.get(contract).copied() else {
                continue;
            };
            if watch.live_from.is_some() {
                continue;
            }
            let begins_later = watch.from_number >= first;
            let live_parent = self.read.filter(|_| !begins_later).map(|read| read.hash);
            moves.put_watch(Watch {
                live_from: Some(first.max(watch.from_number)),
                live_parent,
                ..watch
            });
        }
        let (balances, watches) = moves.store(work).await?;
        work.publish(Change::Chain {
            chain: self.chain,
            heights: None,
            balances,
            watches,
        });
        // Their history may begin.
        work.published.watches_changed = true;
        Ok(())
    }
}

/// Reads a contract's history again from its first block: what was folded did not end in the chain that we read.
#[derive(Debug, Clone, Copy)]
pub struct RestartHistory {
    /// The chain.
    pub chain: ChainId,
    /// Our fence.
    pub fence: i64,
    /// The contract.
    pub contract: Address,
}

impl Command for RestartHistory {
    type Output = ();

    fn origin(&self) -> Origin {
        Origin {
            actor: format!("chain:{}", self.chain),
            cause: "its history was of another chain".to_owned(),
        }
    }

    fn chains(&self) -> Vec<ChainId> {
        vec![self.chain]
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        work.lead(self.chain, self.fence).await?;
        let watch = Moves::load(work, self.chain).watches.get(&self.contract).copied();
        let watch = watch.ok_or(EngineError::NotFound("watch"))?;
        restart_watch(work, &watch).await
    }
}

/// Forgets what was folded of a contract, and reads its history as `anew` says: from which block, and for what.
pub(super) async fn restart_watch(work: &mut Work<'_>, anew: &Watch) -> Result<(), EngineError> {
    let (chain, contract) = (anew.chain, anew.contract);
    work.tx
        .restart_watch(chain, contract, (anew.from_number, anew.scope))
        .await?;
    let subject = format!("{}:{contract}", chain.caip2());
    let after = json!({"from": anew.from_number, "scope": anew.scope.bits()});
    work.audit("watch.restart", subject, (None, Some(after))).await?;
    let watches = store::watches(work.tx.conn(), chain).await?;
    let watch = watches.into_iter().find(|watch| watch.contract == contract);
    work.publish(Change::WatchRestarted(
        chain,
        watch.ok_or(EngineError::NotFound("watch"))?,
    ));
    work.published.watches_changed = true;
    Ok(())
}

/// Folds a stretch of one contract's history.
#[derive(Debug, Clone)]
pub struct FoldHistory {
    /// The chain.
    pub chain: ChainId,
    /// Our fence.
    pub fence: i64,
    /// The contract.
    pub contract: Address,
    /// What was asked for of it.
    pub scope: Scope,
    /// Proven, linked to each other, from the contract's next block on.
    pub blocks: Vec<ProvenBlock>,
}

impl Command for FoldHistory {
    type Output = Watch;

    fn origin(&self) -> Origin {
        Origin {
            actor: format!("chain:{}", self.chain),
            cause: "history".to_owned(),
        }
    }

    fn chains(&self) -> Vec<ChainId> {
        vec![self.chain]
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<Watch, EngineError> {
        work.lead(self.chain, self.fence).await?;
        let mut moves = Moves::load(work, self.chain);
        let watch = moves
            .watches
            .get(&self.contract)
            .copied()
            .ok_or(EngineError::NotFound("watch"))?;
        let answer = work
            .engine
            .answers
            .chain(self.chain)
            .ok_or_else(|| EngineError::unknown_chain(self.chain))?;
        let last = self.check(work, &watch).await?;
        // Without it, what is far below would neither be folded nor kept.
        let settled = answer
            .heights
            .settled
            .ok_or(EngineError::NotSettled(self.chain))?
            .number;
        // A reorg may go back to the lowest header that is still kept.
        let lowest = store::lowest_header(work.tx.conn(), self.chain).await?;
        let floor = lowest.map_or(0, |lowest| lowest.block.number);
        let mut kept = Vec::new();
        let mut first_moved = None;
        let scope = counted(&watch);
        for block in &self.blocks {
            let number = block.header.number;
            let ours = |contract: &Address| (*contract == self.contract).then_some(scope);
            let faults = ledger::holdings(block, ours, |contract, moved| {
                let movement = movement_of(*contract, number, &moved);
                first_moved.get_or_insert(number);
                // What is not settled is folded when it settles, like any other movement that is kept.
                if number <= settled {
                    moves.apply(&movement);
                }
                if number > floor.min(settled) {
                    kept.push(movement);
                }
            });
            moves.note_faults(number, &faults);
        }
        work.tx.insert_movements(self.chain, &kept).await?;
        moves.change_watch(self.contract, |watch| {
            if let Some(first) = first_moved {
                watch.first_moved = Some(lower(watch.first_moved, first));
            }
            watch.next_number = last.number + 1;
            watch.next_parent = Some(last.hash);
        });
        let (balances, watches) = moves.store(work).await?;
        work.publish(Change::Chain {
            chain: self.chain,
            heights: None,
            balances,
            watches: watches.clone(),
        });
        let folded = watches.into_iter().find(|watch| watch.contract == self.contract);
        folded.ok_or(EngineError::NotFound("watch"))
    }
}

impl FoldHistory {
    /// The stretch was asked for what is kept now, begins where history stands, is linked, and lies below the live blocks; where
    /// it comes among the kept headers it is of the chain that we read. Returns its last block.
    async fn check(&self, work: &mut Work<'_>, watch: &Watch) -> Result<BlockRef, EngineError> {
        let not_linked = || EngineError::NotLinked(self.chain);
        if watch.scope != self.scope {
            return Err(not_linked());
        }
        let mut parent: Option<B256> = watch.next_parent;
        let mut last = None;
        for (number, ProvenBlock { header, .. }) in (watch.next_number..).zip(&self.blocks) {
            if header.number != number || parent.is_some_and(|parent| parent != header.parent_hash) {
                return Err(not_linked());
            }
            parent = Some(header.hash);
            last = Some(header.block());
        }
        let last = last.ok_or_else(not_linked)?;
        let live_from = watch
            .live_from
            .filter(|live_from| last.number < *live_from)
            .ok_or_else(not_linked)?;
        let kept = store::header_at(work.tx.conn(), self.chain, last.number).await?;
        if kept.is_some_and(|kept| kept.block != last) {
            // Above what is settled a reorg may be under way; below it, this was never our chain.
            let answer = work.engine.answers.chain(self.chain);
            let settled = answer.and_then(|answer| answer.heights.settled);
            return Err(match settled {
                Some(settled) if last.number <= settled.number => EngineError::ForeignHistory(self.contract),
                _ => not_linked(),
            });
        }
        let reaches_live = last.number + 1 == live_from;
        if reaches_live && watch.live_parent.is_some_and(|parent| parent != last.hash) {
            return Err(EngineError::ForeignHistory(self.contract));
        }
        Ok(last)
    }
}
