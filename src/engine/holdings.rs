//! Balances of watched contracts: folded from settled transfers, with no row per transfer below the window.
//!
//! The fold is modulo 2^256, so that history and live blocks may arrive in any order and still sum exactly; a balance that
//! ends below zero shows that the history was wrong, and makes its contract unknown instead of wrong (answers).

use std::collections::HashMap;

use alloy::primitives::{Address, B256, U256};
use serde_json::json;

use super::EngineError;
use super::answers::Change;
use super::work::{Command, Origin, Work};
use crate::domain::{BlockRef, ChainId, ProvenBlock, Transfer};
use crate::ledger;
use crate::store::{self, BalanceRow, Movement, Watch};

/// The balances and watches that one command changes on one chain.
pub(super) struct Moves {
    chain: ChainId,
    watches: HashMap<Address, Watch>,
    changed_watches: Vec<Address>,
    deltas: HashMap<(Address, Address), U256>,
    /// Movements of this command's own blocks that are too old to be kept; they settle with it.
    unkept: Vec<Movement>,
}

impl Moves {
    /// The watches come from memory, which only commands in this chain's order change.
    pub(super) fn load(work: &Work<'_>, chain: ChainId) -> Self {
        let watches = work
            .engine
            .answers
            .watches(chain)
            .into_iter()
            .map(|watch| (watch.contract, watch))
            .collect();
        Self {
            chain,
            watches,
            changed_watches: Vec::new(),
            deltas: HashMap::new(),
            unkept: Vec::new(),
        }
    }

    /// Takes note of a block's movements of contracts that the live blocks bring.
    pub(super) async fn read(
        &mut self,
        work: &mut Work<'_>,
        block: &ProvenBlock,
        kept: bool,
    ) -> Result<(), EngineError> {
        let number = block.header.number;
        let live = |transfer: &Transfer| {
            let watch = self.watches.get(&transfer.contract);
            watch
                .and_then(|watch| watch.live_from)
                .is_some_and(|live_from| number >= live_from)
        };
        let movements: Vec<Movement> = block
            .logs
            .iter()
            .filter_map(ledger::transfer)
            .filter(live)
            .map(|transfer| movement_of(&transfer, number))
            .collect();
        if kept {
            work.tx.insert_movements(self.chain, &movements).await?;
        } else {
            self.unkept.extend(movements);
        }
        Ok(())
    }

    /// Folds what settles: stored movements above `before` up to `settled`, and the step's own that were not stored. Of
    /// those, what does not settle yet is stored now.
    pub(super) async fn settle(
        &mut self,
        work: &mut Work<'_>,
        before: Option<u64>,
        settled: Option<u64>,
    ) -> Result<(), EngineError> {
        if self.watches.is_empty() {
            return Ok(());
        }
        let unkept = std::mem::take(&mut self.unkept);
        let (old, waiting): (Vec<_>, Vec<_>) = unkept
            .into_iter()
            .partition(|movement| Some(movement.block_number) <= settled);
        if let Some(settled) = settled.filter(|settled| before.is_none_or(|before| before < *settled)) {
            let above = before.unwrap_or_default();
            let stored = store::movements_between(work.tx.conn(), self.chain, above, settled).await?;
            for movement in &stored {
                self.apply(movement);
            }
        }
        for movement in &old {
            self.apply(movement);
        }
        work.tx.insert_movements(self.chain, &waiting).await?;
        Ok(())
    }

    fn apply(&mut self, movement: &Movement) {
        self.add(movement.contract, movement.recipient, movement.quantity);
        self.add(
            movement.contract,
            movement.sender,
            movement.quantity.wrapping_neg(),
        );
    }

    /// Takes a settled movement back.
    pub(super) fn undo(&mut self, movement: &Movement) {
        self.add(
            movement.contract,
            movement.recipient,
            movement.quantity.wrapping_neg(),
        );
        self.add(movement.contract, movement.sender, movement.quantity);
    }

    /// The zero address mints and burns; what it "holds" is nobody's.
    pub(super) fn add(&mut self, contract: Address, holder: Address, quantity: U256) {
        if holder != Address::ZERO {
            let delta = self.deltas.entry((contract, holder)).or_default();
            *delta = delta.wrapping_add(quantity);
        }
    }

    /// History that was read above `ancestor` is no longer true; the live blocks bring it anew.
    pub(super) fn roll_back_watches(&mut self, ancestor: BlockRef) {
        let first = ancestor.number + 1;
        for watch in self.watches.values_mut() {
            let live_from = watch.live_from.map(|live_from| live_from.min(first));
            let rewound = watch.next_number > first;
            if live_from == watch.live_from && !rewound {
                continue;
            }
            if live_from != watch.live_from {
                watch.live_from = live_from;
                watch.live_parent = Some(ancestor.hash);
            }
            if rewound {
                watch.next_number = first.max(watch.from_number);
                watch.next_parent = Some(ancestor.hash).filter(|_| watch.next_number == first);
            }
            self.changed_watches.push(watch.contract);
        }
    }

    fn put_watch(&mut self, watch: Watch) {
        self.watches.insert(watch.contract, watch);
        self.changed_watches.push(watch.contract);
    }

    /// Writes what changed; returns it for publication.
    pub(super) async fn store(
        self,
        work: &mut Work<'_>,
    ) -> Result<(Vec<BalanceRow>, Vec<Watch>), EngineError> {
        let deltas: Vec<_> = self
            .deltas
            .into_iter()
            .filter(|(_, delta)| !delta.is_zero())
            .collect();
        let holders: Vec<(Address, Address)> = deltas.iter().map(|(holder, _)| *holder).collect();
        let before = work.engine.answers.folded(self.chain, &holders);
        let row = |(((contract, holder), delta), before): (&((Address, Address), U256), U256)| BalanceRow {
            contract: *contract,
            holder: *holder,
            value: before.wrapping_add(*delta),
        };
        let balances: Vec<BalanceRow> = deltas.iter().zip(before).map(row).collect();
        work.tx.put_balances(self.chain, &balances).await?;
        let mut watches = Vec::new();
        for contract in self.changed_watches {
            if let Some(watch) = self.watches.get(&contract) {
                work.tx.update_watch(watch).await?;
                watches.push(*watch);
            }
        }
        Ok((balances, watches))
    }
}

fn movement_of(transfer: &Transfer, block_number: u64) -> Movement {
    Movement {
        block_number,
        contract: transfer.contract,
        sender: transfer.from,
        recipient: transfer.to,
        quantity: ledger::movement(transfer),
    }
}

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
        restart_watch(work, self.chain, self.contract, watch.from_number).await
    }
}

/// Forgets what was folded of a contract, and reads its history from `from` on.
pub(super) async fn restart_watch(
    work: &mut Work<'_>,
    chain: ChainId,
    contract: Address,
    from: u64,
) -> Result<(), EngineError> {
    work.tx.restart_watch(chain, contract, from).await?;
    let subject = format!("{}:{contract}", chain.caip2());
    work.audit("watch.restart", subject, (None, Some(json!({"from": from}))))
        .await?;
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
        for block in &self.blocks {
            let number = block.header.number;
            let ours = |transfer: &Transfer| transfer.contract == self.contract;
            for transfer in block.logs.iter().filter_map(ledger::transfer).filter(ours) {
                let movement = movement_of(&transfer, number);
                // What is not settled is folded when it settles, like any other movement that is kept.
                if number <= settled {
                    moves.apply(&movement);
                }
                if number > floor.min(settled) {
                    kept.push(movement);
                }
            }
        }
        work.tx.insert_movements(self.chain, &kept).await?;
        let watch = Watch {
            next_number: last.number + 1,
            next_parent: Some(last.hash),
            ..watch
        };
        moves.put_watch(watch);
        let (balances, watches) = moves.store(work).await?;
        work.publish(Change::Chain {
            chain: self.chain,
            heights: None,
            balances,
            watches,
        });
        Ok(watch)
    }
}

impl FoldHistory {
    /// The stretch begins where history stands, is linked, and lies below the live blocks; where it comes among the kept
    /// headers it is of the chain that we read. Returns its last block.
    async fn check(&self, work: &mut Work<'_>, watch: &Watch) -> Result<BlockRef, EngineError> {
        let not_linked = || EngineError::NotLinked(self.chain);
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
