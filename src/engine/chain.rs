//! What a chain's blocks change. One command takes the chain from one read height to the next: back to a common ancestor
//! where there was a reorg, forward over proven blocks, and what the finality policy then covers takes effect.

use std::collections::BTreeSet;
use std::time::Duration;

use alloy::primitives::B256;
use serde_json::json;

use super::answers::{ChainState, Change};
use super::holdings::Moves;
use super::view::PaymentView;
use super::work::{Command, Origin, Work};
use super::{EngineError, settle};
use crate::config;
use crate::domain::{
    BlockRef, ChainId, ChargeId, Heights, Level, Payment, PaymentKey, PaymentState, ProvenBlock,
};
use crate::ledger::{self, AcceptedMoney};
use crate::metrics;
use crate::store::{self, ChainRow, KeptHeader};

/// Blocks that are kept below what is read at the least, for a reorg to be measured against.
const MIN_WINDOW: u64 = 256;

/// Old headers are forgotten this many blocks at a time.
pub(super) const PRUNE_EVERY: u64 = 64;

/// How many blocks below what is read are kept at the least.
pub(super) fn window(chain: &config::Chain) -> u64 {
    MIN_WINDOW.max(chain.confirmations.saturating_mul(2))
}

/// Takes a chain over: from now on only the holder of the returned fence writes its blocks.
#[derive(Debug, Clone, Copy)]
pub struct OpenChain {
    /// The chain.
    pub chain: ChainId,
    /// Its genesis, as its endpoint says.
    pub genesis: B256,
    /// The head, for a chain that is read for the first time and names no first block.
    pub head: u64,
}

/// A chain as its leader finds it.
#[derive(Debug, Clone)]
pub struct OpenedChain {
    /// Our fence.
    pub fence: i64,
    /// What is stored.
    pub row: ChainRow,
    /// The kept headers, lowest first.
    pub headers: Vec<KeptHeader>,
}

impl Command for OpenChain {
    type Output = OpenedChain;

    fn origin(&self) -> Origin {
        Origin {
            actor: format!("chain:{}", self.chain),
            cause: "start".to_owned(),
        }
    }

    fn chains(&self) -> Vec<ChainId> {
        vec![self.chain]
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<OpenedChain, EngineError> {
        let settings = work.engine.chain(self.chain)?;
        let fence = work.tx.take_lease(self.chain).await?;
        if store::chain_row(work.tx.conn(), self.chain).await?.is_none() {
            // A little below the head, so that a first reorg finds its ancestor and something is settled at once.
            let start = settings
                .start_block
                .unwrap_or(self.head.saturating_sub(window(settings)));
            work.tx.insert_chain(self.chain, self.genesis, start).await?;
            let after = json!({"genesis": self.genesis, "start": start});
            work.audit(
                "chain.register",
                format!("chain:{}", self.chain),
                (None, Some(after)),
            )
            .await?;
        }
        let row = store::chain_row(work.tx.conn(), self.chain).await?;
        let row = row.ok_or(EngineError::NotFound("chain"))?;
        let headers = store::headers(work.tx.conn(), self.chain).await?;
        // Another instance may have led it since ours was loaded, and every step adds to what is in memory.
        let mut state = ChainState::load(work.tx.conn(), self.chain).await?;
        state.heights.head = self.head;
        work.publish(Change::ChainLoaded(self.chain, Box::new(state)));
        Ok(OpenedChain { fence, row, headers })
    }
}

/// Forgets a development chain that was started anew: it no longer knows our blocks.
#[derive(Debug, Clone, Copy)]
pub struct ResetChain {
    /// The chain.
    pub chain: ChainId,
    /// Our fence.
    pub fence: i64,
}

impl Command for ResetChain {
    type Output = ();

    fn origin(&self) -> Origin {
        Origin {
            actor: format!("chain:{}", self.chain),
            cause: "the chain was started anew".to_owned(),
        }
    }

    fn chains(&self) -> Vec<ChainId> {
        vec![self.chain]
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        work.lead(self.chain, self.fence).await?;
        let tenants = store::tenants_charged_on(work.tx.conn(), self.chain).await?;
        work.tx.wipe_chain(self.chain).await?;
        work.audit("chain.reset", format!("chain:{}", self.chain), (None, None))
            .await?;
        for tenant in tenants {
            settle::refold_crypto(work, &tenant).await?;
        }
        let state = ChainState::load(work.tx.conn(), self.chain).await?;
        work.publish(Change::ChainLoaded(self.chain, Box::new(state)));
        Ok(())
    }
}

/// Takes a chain from one read height to the next.
#[derive(Debug, Clone)]
pub struct Advance {
    /// The chain.
    pub chain: ChainId,
    /// Our fence.
    pub fence: i64,
    /// The highest number that an endpoint has announced.
    pub head: u64,
    /// The common ancestor, where the blocks do not extend what was read; one of the kept headers.
    pub rollback_to: Option<BlockRef>,
    /// Proven, each linked to the one before, the first to the ancestor or to what was read.
    pub blocks: Vec<ProvenBlock>,
}

impl Command for Advance {
    type Output = Heights;

    fn origin(&self) -> Origin {
        let cause = match (&self.rollback_to, self.blocks.last()) {
            (Some(ancestor), _) => format!("reorg to block {} {}", ancestor.number, ancestor.hash),
            (None, Some(last)) => format!("block {} {}", last.header.number, last.header.hash),
            (None, None) => String::new(),
        };
        Origin {
            actor: format!("chain:{}", self.chain),
            cause,
        }
    }

    fn chains(&self) -> Vec<ChainId> {
        vec![self.chain]
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<Heights, EngineError> {
        work.lead(self.chain, self.fence).await?;
        let settings = work.engine.chain(self.chain)?;
        let row = store::chain_row(work.tx.conn(), self.chain)
            .await?
            .ok_or(EngineError::NotFound("chain"))?;
        let heights = Heights {
            head: self.head,
            ..row.heights
        };
        let mut step = Step::begin(work, settings, heights);
        if let Some(ancestor) = self.rollback_to {
            step.roll_back(work, ancestor).await?;
        }
        self.check_linked(&step)?;
        let below = step.heights.read.map_or(0, |read| read.number);
        let last = self.blocks.last().map_or(below, |block| block.header.number);
        for block in &self.blocks {
            step.read(work, block, last).await?;
        }
        step.settle(work, &self.blocks).await?;
        if below / PRUNE_EVERY != last / PRUNE_EVERY {
            let lowest = last.saturating_sub(window(settings));
            work.tx.prune_below(self.chain, lowest).await?;
        }
        step.finish(work).await
    }
}

impl Advance {
    fn check_linked(&self, step: &Step<'_>) -> Result<(), EngineError> {
        let mut below = step.heights.read;
        for block in &self.blocks {
            let header = &block.header;
            let linked = below.is_none_or(|below| {
                header.parent_hash == below.hash && Some(header.number) == below.number.checked_add(1)
            });
            if !linked {
                return Err(EngineError::NotLinked(self.chain));
            }
            below = Some(header.block());
        }
        Ok(())
    }
}

/// One run of [`Advance`].
pub(super) struct Step<'c> {
    chain: &'c config::Chain,
    heights: Heights,
    touched: BTreeSet<ChargeId>,
    moves: Moves,
}

impl<'c> Step<'c> {
    pub(super) fn begin(work: &Work<'_>, chain: &'c config::Chain, heights: Heights) -> Self {
        Self {
            chain,
            heights,
            touched: BTreeSet::new(),
            moves: Moves::load(work, chain.id),
        }
    }

    /// Takes back everything above `ancestor`.
    async fn roll_back(&mut self, work: &mut Work<'_>, ancestor: BlockRef) -> Result<(), EngineError> {
        let chain = self.chain.id;
        let kept = store::header_at(work.tx.conn(), chain, ancestor.number).await?;
        let Some(kept) = kept.filter(|kept| kept.block == ancestor) else {
            return Err(EngineError::NotLinked(chain));
        };
        let read = self.heights.read.map_or(0, |read| read.number);
        for mut payment in store::payments_above(work.tx.conn(), chain, ancestor.number).await? {
            payment.state = PaymentState::Orphaned;
            self.touched
                .extend(payment.allocation.iter().map(|(charge, _)| charge.clone()));
            work.tx.put_payment(&payment).await?;
            work.audit(
                "payment.orphan",
                subject(&payment.key),
                (None, Some(evidence(&payment))),
            )
            .await?;
        }
        work.tx.orphan_observations_above(chain, ancestor.number).await?;
        if let Some(settled) = self
            .heights
            .settled
            .filter(|settled| settled.number > ancestor.number)
        {
            let undone =
                store::movements_between(work.tx.conn(), chain, ancestor.number, settled.number).await?;
            for movement in &undone {
                self.moves.undo(movement);
            }
            self.heights.settled = Some(ancestor);
            self.heights.settled_time_ms = kept.time_ms;
        }
        self.moves.roll_back_watches(ancestor);
        work.tx.delete_movements_above(chain, ancestor.number).await?;
        work.tx.delete_headers_above(chain, ancestor.number).await?;
        self.heights.read = Some(ancestor);
        let depth = read.saturating_sub(ancestor.number);
        let before = json!({"read": read});
        let after = json!({"read": ancestor.number, "depth": depth});
        work.audit(
            "chain.reorg",
            format!("chain:{chain}"),
            (Some(before), Some(after.clone())),
        )
        .await?;
        let data = json!({"chainId": chain, "ancestor": ancestor, "depth": depth});
        work.owe("chain.reorged", format!("chain:{chain}"), data).await
    }

    /// Stores one block's facts. Nothing of them counts yet. `last` is the number of the step's last block: what is kept is
    /// measured from there and never from the head, so that the kept headers always end in what is read.
    async fn read(&mut self, work: &mut Work<'_>, block: &ProvenBlock, last: u64) -> Result<(), EngineError> {
        let number = block.header.number;
        let kept = number.saturating_add(window(self.chain)) > last;
        if kept {
            work.tx.insert_header(self.chain.id, &block.header).await?;
        }
        self.read_payments(work, block).await?;
        self.moves.read(work, block, kept).await?;
        self.heights.read = Some(block.header.block());
        Ok(())
    }

    /// Stores the payments of one block, none of which may be in force already. Returns how many there are.
    pub(super) async fn read_payments(
        &mut self,
        work: &mut Work<'_>,
        block: &ProvenBlock,
    ) -> Result<usize, EngineError> {
        let Some(money) = money(self.chain) else {
            return Ok(0);
        };
        let mut read = 0;
        for log in &block.logs {
            let Some(transfer) = ledger::transfer(log) else {
                continue;
            };
            let Some(amount) = ledger::is_payment(&transfer, &money) else {
                continue;
            };
            let ordinal = self.place(block.level, transfer.ordinal)?;
            let key = PaymentKey {
                chain: self.chain.id,
                tx_hash: transfer.tx_hash,
                ordinal,
            };
            let known = store::payment(work.tx.conn(), &key).await?;
            if known
                .as_ref()
                .is_some_and(|known| known.state != PaymentState::Orphaned)
            {
                // The receipts root does not cover transaction hashes: one payment cannot stand in two places.
                ::metrics::counter!(metrics::PAYMENT_UNPROVEN_TOTAL).increment(1);
                return Err(EngineError::Unproven(self.chain.id));
            }
            let mut payment = Payment {
                key,
                state: PaymentState::Confirming,
                token: transfer.contract,
                payer: transfer.from,
                treasury: transfer.to,
                amount,
                block: block.header.block(),
                block_time_ms: block.header.time_ms(),
                log_index: transfer.log_index,
                level: block.level,
                allocation: None,
            };
            let former = known.as_ref().and_then(|known| known.allocation.clone());
            self.touched.extend(former.map(|(charge, _)| charge));
            payment.allocation = match known.filter(|known| is_same(known, &payment)) {
                Some(Payment {
                    allocation: Some(kept),
                    ..
                }) => Some(kept),
                _ => settle::allocate(work, &payment).await?,
            };
            read += 1;
            work.tx.put_payment(&payment).await?;
            work.tx.put_observation(&payment).await?;
            work.audit("payment.read", subject(&key), (None, Some(evidence(&payment))))
                .await?;
            if let Some((charge, _)) = &payment.allocation {
                self.touched.insert(charge.clone());
            } else {
                let resource = format!("payment:{}", subject(&key));
                work.owe("payment.unmatched", resource, evidence(&payment))
                    .await?;
            }
        }
        Ok(read)
    }

    /// The ordinal of a payment, if its block is proven well enough to store it.
    fn place(&self, level: Level, ordinal: Option<u32>) -> Result<u32, EngineError> {
        let (Level::Receipts | Level::Asked | Level::None, Some(ordinal)) = (level, ordinal) else {
            ::metrics::counter!(metrics::PAYMENT_UNPROVEN_TOTAL).increment(1);
            return Err(EngineError::Unproven(self.chain.id));
        };
        if level == Level::None {
            let chain = self.chain.name.clone();
            ::metrics::counter!(metrics::PAYMENT_UNCREDITED_TOTAL, "chain" => chain).increment(1);
        }
        Ok(ordinal)
    }

    /// Moves `settled` up to what the finality policy covers, and lets it take effect.
    async fn settle(&mut self, work: &mut Work<'_>, blocks: &[ProvenBlock]) -> Result<(), EngineError> {
        let chain = self.chain.id;
        let read = self.heights.read.map(|read| read.number);
        let covered = read.and_then(|read| (read + 1).checked_sub(self.chain.confirmations));
        let before = self.heights.settled.map(|settled| settled.number);
        let Some(number) = covered.filter(|number| before.is_none_or(|before| *number > before)) else {
            return Ok(());
        };
        let in_batch = blocks
            .iter()
            .map(|block| &block.header)
            .find(|header| header.number == number);
        let settled = if let Some(header) = in_batch {
            Some((header.block(), header.time_ms()))
        } else {
            let kept = store::header_at(work.tx.conn(), chain, number).await?;
            kept.map(|kept| (kept.block, kept.time_ms))
        };
        // None: the first blocks of a chain that is read from here on; there is nothing below them to settle.
        let Some((block, time_ms)) = settled else {
            return Ok(());
        };
        self.heights.settled = Some(block);
        self.heights.settled_time_ms = time_ms;
        self.confirm(work).await?;
        self.moves.settle(work, before, number).await
    }

    /// Confirms the payments that are settled.
    pub(super) async fn confirm(&mut self, work: &mut Work<'_>) -> Result<(), EngineError> {
        let chain = self.chain.id;
        let Some(settled) = self.heights.settled else {
            return Ok(());
        };
        for mut payment in store::confirming_up_to(work.tx.conn(), chain, settled.number).await? {
            payment.state = PaymentState::Confirmed;
            work.tx.put_payment(&payment).await?;
            work.audit(
                "payment.confirm",
                subject(&payment.key),
                (None, Some(evidence(&payment))),
            )
            .await?;
            let lag_ms = work.now.saturating_sub(payment.block_time_ms).max(0);
            let lag = Duration::from_millis(u64::try_from(lag_ms).unwrap_or_default());
            ::metrics::histogram!(metrics::CHAIN_CONFIRMATION_LAG_SECONDS, "chain" => self.chain.name.clone())
                .record(lag);
            ::metrics::counter!(metrics::PAYMENT_CONFIRMED_TOTAL, "chain" => self.chain.name.clone())
                .increment(1);
            self.touched
                .extend(payment.allocation.iter().map(|(charge, _)| charge.clone()));
        }
        Ok(())
    }

    /// Folds the charges that were touched, without a step of the chain.
    pub(super) async fn settle_touched(self, work: &mut Work<'_>) -> Result<(), EngineError> {
        settle::settle_charges(work, &self.touched, self.heights.settled_time_ms).await
    }

    async fn finish(self, work: &mut Work<'_>) -> Result<Heights, EngineError> {
        let chain = self.chain.id;
        work.tx.set_heights(chain, &self.heights).await?;
        settle::settle_charges(work, &self.touched, self.heights.settled_time_ms).await?;
        let (balances, watches) = self.moves.store(work).await?;
        work.publish(Change::Chain {
            chain,
            heights: Some(self.heights),
            balances,
            watches,
        });
        Ok(self.heights)
    }
}

/// What counts as money on a chain, where anything does.
pub(super) fn money(chain: &config::Chain) -> Option<AcceptedMoney> {
    chain.treasury.map(|treasury| AcceptedMoney {
        treasury,
        tokens: chain.tokens.clone(),
    })
}

/// Whether a payment that came back is what it was: the same transaction may do something else in another block.
fn is_same(before: &Payment, after: &Payment) -> bool {
    let what = |payment: &Payment| (payment.token, payment.payer, payment.treasury, payment.amount);
    what(before) == what(after)
}

/// How the audit names a payment.
pub(super) fn subject(key: &PaymentKey) -> String {
    format!("{}:{}:{}", key.chain.caip2(), key.tx_hash, key.ordinal)
}

/// What is known of a payment, for the audit and the events.
pub(super) fn evidence(payment: &Payment) -> serde_json::Value {
    json!(PaymentView::from(payment))
}
