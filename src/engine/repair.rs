//! What a rescan found missing, written as if it had been read when it should have been. Nothing here takes anything away.
//!
//! It needs no lease: each transaction counts a beat of the chain, so that whoever leads it loads its memory anew before its
//! next step, and what was written meanwhile by the leader itself is found and left as it is.

use std::collections::BTreeSet;

use alloy::primitives::{Address, U256};
use serde_json::json;

use super::EngineError;
use super::answers::Change;
use super::chain::Step;
use super::holdings::Moves;
use super::payments::subject;
use super::work::{Command, Origin, Work};
use crate::domain::{Asset, BlockRef, ChainId, Payment, PaymentKey, PaymentState, ProvenBlock};
use crate::ledger;
use crate::store::{self, Watch};

fn origin() -> Origin {
    Origin {
        actor: "operator".to_owned(),
        cause: "rescan".to_owned(),
    }
}

/// Stores the payments and observations of one block that are missing; those that are settled take effect at once.
#[derive(Debug, Clone)]
pub struct RepairBlock {
    /// The chain.
    pub chain: ChainId,
    /// Proven, and linked by proven headers to one that is kept.
    pub block: ProvenBlock,
}

impl Command for RepairBlock {
    /// How many payments and observations were missing.
    type Output = usize;

    fn origin(&self) -> Origin {
        origin()
    }

    fn chains(&self) -> Vec<ChainId> {
        vec![self.chain]
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<usize, EngineError> {
        work.join(self.chain).await?;
        let settings = work.settings.chain(self.chain)?;
        let row = store::chain_row(work.tx.conn(), self.chain).await?;
        let row = row.ok_or(EngineError::NotFound("chain"))?;
        let number = self.block.header.number;
        if row.heights.read.is_none_or(|read| read.number < number) || number < row.start_number {
            return Err(EngineError::NotLinked(self.chain));
        }
        check_ours(work, self.chain, self.block.header.block()).await?;
        let in_force = self.in_force(work).await?;
        let mut restored = self.restore_observations(work, &in_force).await?;
        let known: BTreeSet<PaymentKey> = in_force.iter().map(|payment| payment.key).collect();
        let mut missing = self.block.clone();
        missing.logs.retain(|log| {
            let key = log.ordinal.map(|ordinal| self.key(log.tx_hash, ordinal));
            key.is_none_or(|key| !known.contains(&key))
        });
        let mut step = Step::begin(work, settings, &row);
        restored += step.read_payments(work, &missing).await?;
        step.confirm(work).await?;
        step.finalize(work).await?;
        step.settle_touched(work).await?;
        Ok(restored)
    }
}

impl RepairBlock {
    fn key(&self, tx_hash: alloy::primitives::B256, ordinal: u32) -> PaymentKey {
        PaymentKey {
            chain: self.chain,
            tx_hash,
            ordinal,
        }
    }

    /// The payments of the block's logs that are in force, wherever they are thought to be.
    async fn in_force(&self, work: &mut Work<'_>) -> Result<Vec<Payment>, EngineError> {
        let mut found = Vec::new();
        for transfer in self.block.logs.iter().filter_map(ledger::transfer) {
            let Some(ordinal) = transfer.ordinal else {
                continue;
            };
            let payment = store::payment(work.tx.conn(), &self.key(transfer.tx_hash, ordinal)).await?;
            found.extend(payment.filter(|payment| payment.state != PaymentState::Orphaned));
        }
        Ok(found)
    }

    /// Observations of payments that are stored as they are here.
    async fn restore_observations(
        &self,
        work: &mut Work<'_>,
        in_force: &[Payment],
    ) -> Result<usize, EngineError> {
        let block = self.block.header.block();
        let stored =
            store::observations_between(work.tx.conn(), self.chain, block.number, block.number).await?;
        let mut restored = 0;
        for payment in in_force.iter().filter(|payment| payment.block == block) {
            if stored.iter().any(|observation| observation.key == payment.key) {
                continue;
            }
            work.tx.put_observations(std::slice::from_ref(payment)).await?;
            work.audit("payment.observe", subject(&payment.key), (None, None))
                .await?;
            restored += 1;
        }
        Ok(restored)
    }
}

/// What one holder's balance is, and what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correction {
    /// Whose.
    pub holder: Address,
    /// Of what.
    pub asset: Asset,
    /// As it was stored.
    pub stored: U256,
    /// As its contract's proven past folds.
    pub proven: U256,
}

/// Brings balances to what their contract's whole proven past says. They are folds of movements, so what is added to one is
/// right whatever has moved since they were compared.
#[derive(Debug, Clone)]
pub struct CorrectBalances {
    /// The chain.
    pub chain: ChainId,
    /// The contract's watch as it was compared; its past must be complete, and not read again since.
    pub watch: Watch,
    /// The settled block that the corrections are as of.
    pub settled: BlockRef,
    /// Each holder once.
    pub corrections: Vec<Correction>,
}

impl Command for CorrectBalances {
    type Output = ();

    fn origin(&self) -> Origin {
        origin()
    }

    fn chains(&self) -> Vec<ChainId> {
        vec![self.chain]
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        work.join(self.chain).await?;
        let row = store::chain_row(work.tx.conn(), self.chain).await?;
        let settled = row.and_then(|row| row.heights.settled);
        if settled.is_none_or(|settled| settled.number < self.settled.number) {
            return Err(EngineError::NotLinked(self.chain));
        }
        check_ours(work, self.chain, self.settled).await?;
        let contract = self.watch.contract;
        if !work.engine.answers.watches(self.chain).contains(&self.watch) || !self.watch.is_complete() {
            return Err(EngineError::Conflict {
                code: "HISTORY_RESTARTED",
                problem: format!(
                    "the history of {contract} was read again since its balances were compared; run the rescan once more"
                ),
            });
        }
        let mut moves = Moves::load(work, self.chain);
        for Correction {
            holder,
            asset,
            stored,
            proven,
        } in &self.corrections
        {
            moves.add(contract, *holder, *asset, proven.wrapping_sub(*stored));
            let subject = format!("{}:{contract}:{holder}", self.chain.caip2());
            let (before, after) = (json!(stored.to_string()), json!(proven.to_string()));
            work.audit("balance.correct", subject, (Some(before), Some(after)))
                .await?;
        }
        let (balances, watches) = moves.store(work).await?;
        work.publish(Change::Chain {
            chain: self.chain,
            heights: None,
            balances,
            watches,
        });
        Ok(())
    }
}

/// Where a header of that height is kept, it is this block's.
async fn check_ours(work: &mut Work<'_>, chain: ChainId, block: BlockRef) -> Result<(), EngineError> {
    let kept = store::header_at(work.tx.conn(), chain, block.number).await?;
    match kept {
        Some(kept) if kept.block != block => Err(EngineError::NotLinked(chain)),
        _ => Ok(()),
    }
}
