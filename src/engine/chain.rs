//! What a chain's blocks change. One command takes the chain from one read height to the next: back to a common ancestor
//! where there was a reorg, forward over proven blocks, and what the finality policy then covers takes effect.

use std::collections::BTreeSet;

use alloy::primitives::B256;
use serde_json::json;

use super::answers::Change;
use super::chain_state::ChainState;
use super::holdings::Moves;
use super::notices::Notices;
use super::work::{Command, Origin, Work};
use super::{EngineError, accounts, journal, quarantine, settle};
use crate::config;
use crate::domain::{BlockRef, ChainId, ChargeId, Evidence, Heights, MAX_TIERS, ProvenBlock, Settled};
use crate::store::{self, ChainRow, KeptHeader, Role};

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
        let settings = work.settings.chain(self.chain)?;
        let role = Role::Chain(self.chain);
        let fence = work.tx.take_lease(&role, &work.engine.instance).await?;
        if store::chain_row(work.tx.conn(), self.chain).await?.is_none() {
            // A little below the head, so that a first reorg finds its ancestor and something is settled at once.
            let start = settings
                .start_block
                .unwrap_or(self.head.saturating_sub(journal::least(settings)));
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
        let mut row = row.ok_or(EngineError::NotFound("chain"))?;
        let policy = settings.finality.names();
        if row.policy != policy {
            // What the upper tiers covered, they covered by other rules.
            row.heights.upper = Heights::default().upper;
            work.tx.set_heights(self.chain, &row.heights).await?;
            work.tx.set_policy(self.chain, &policy).await?;
            row.policy = policy;
        }
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
            accounts::refold_account(work, &tenant).await?;
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
    /// What was heard beside them.
    pub evidence: Evidence,
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
        let settings = work.settings.chain(self.chain)?;
        let row = store::chain_row(work.tx.conn(), self.chain)
            .await?
            .ok_or(EngineError::NotFound("chain"))?;
        let mut step = Step::begin(work, settings, &row);
        step.heights.head = self.head;
        step.evidence = self.evidence;
        step.first_kept = journal::first_kept(journal::least(settings), &self.blocks, work.now);
        if let Some(ancestor) = self.rollback_to {
            step.roll_back(work, ancestor).await?;
        }
        self.check_linked(&step)?;
        let below = step.heights.read.map_or(0, |read| read.number);
        for block in &self.blocks {
            step.read(work, block).await?;
        }
        step.settle(work, &self.blocks).await?;
        step.prune(work, below, &self.blocks).await?;
        if step.confirmed || step.heights.finalized != row.heights.finalized {
            step.finalize(work).await?;
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
    pub(super) chain: &'c config::Chain,
    pub(super) heights: Heights,
    pub(super) evidence: Evidence,
    /// The first of its blocks that is kept.
    pub(super) first_kept: Option<u64>,
    /// Deadlines stand still.
    pub(super) is_stalled: bool,
    /// Nothing counts.
    pub(super) is_quarantined: bool,
    /// It let a payment count.
    pub(super) confirmed: bool,
    pub(super) touched: BTreeSet<ChargeId>,
    pub(super) moves: Moves,
    notices: Notices,
}

impl<'c> Step<'c> {
    pub(super) fn begin(work: &Work<'_>, chain: &'c config::Chain, row: &ChainRow) -> Self {
        Self {
            chain,
            heights: row.heights,
            evidence: Evidence::default(),
            first_kept: None,
            is_stalled: row.stalled.is_some() || row.quarantined.is_some(),
            is_quarantined: row.quarantined.is_some(),
            confirmed: false,
            touched: BTreeSet::new(),
            moves: Moves::load(work, chain.id),
            notices: Notices::load(work, chain.id),
        }
    }

    /// Takes back everything above `ancestor`.
    async fn roll_back(&mut self, work: &mut Work<'_>, ancestor: BlockRef) -> Result<(), EngineError> {
        let chain = self.chain.id;
        let kept = store::header_at(work.tx.conn(), chain, ancestor.number).await?;
        let Some(kept) = kept.filter(|kept| kept.block == ancestor) else {
            return Err(EngineError::NotLinked(chain));
        };
        let finalized = self
            .heights
            .finalized
            .filter(|finalized| finalized.number > ancestor.number);
        if finalized.is_some() && !self.chain.development {
            return Err(EngineError::BelowFinalized(chain));
        }
        let read = self.heights.read.map_or(0, |read| read.number);
        self.touched
            .extend(quarantine::orphan_above(work, chain, ancestor.number).await?);
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
        }
        self.lower(&kept);
        self.moves.roll_back_watches(ancestor);
        self.notices.roll_back(work, chain, ancestor.number).await?;
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

    /// No tier stands above a kept header any more.
    fn lower(&mut self, kept: &KeptHeader) {
        let heights = &mut self.heights;
        let settled = Settled {
            block: kept.block,
            time_ms: kept.time_ms,
        };
        for place in 0..MAX_TIERS {
            let is_above = |tier: Settled| tier.block.number > kept.block.number;
            if heights.settled_at(place).is_some_and(is_above) {
                heights.settle_at(place, Some(settled));
            }
        }
        heights.finalized = heights.finalized.map(|finalized| {
            if finalized.number > kept.block.number {
                kept.block
            } else {
                finalized
            }
        });
        heights.absent_ms = heights.absent_ms.min(heights.settled_time_ms);
    }

    /// Stores one block's facts. Nothing of them counts yet.
    async fn read(&mut self, work: &mut Work<'_>, block: &ProvenBlock) -> Result<(), EngineError> {
        let kept = self.first_kept.is_some_and(|first| block.header.number >= first);
        if kept {
            work.tx.insert_header(self.chain.id, &block.header).await?;
        }
        self.read_payments(work, block).await?;
        self.moves.read(work, block, kept).await?;
        self.notices.read(self.chain, block);
        self.heights.read = Some(block.header.block());
        Ok(())
    }

    /// Folds the charges that were touched, without a step of the chain.
    pub(super) async fn settle_touched(self, work: &mut Work<'_>) -> Result<(), EngineError> {
        settle::settle_charges(work, &self.touched, Some((self.chain.id, self.heights.absent_ms))).await
    }

    async fn finish(self, work: &mut Work<'_>) -> Result<Heights, EngineError> {
        let chain = self.chain.id;
        work.tx.set_heights(chain, &self.heights).await?;
        settle::settle_charges(work, &self.touched, Some((self.chain.id, self.heights.absent_ms))).await?;
        self.notices.store(work, self.chain).await?;
        let (balances, watches) = self.moves.store(work).await?;
        work.publish(Change::Chain {
            chain,
            heights: Some(Box::new(self.heights)),
            balances,
            watches,
        });
        Ok(self.heights)
    }
}
