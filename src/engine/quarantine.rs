//! What holds a chain: finality that stalls, by itself for a while; and a quarantine, until a person resolves it.

use std::collections::BTreeSet;

use serde_json::json;

use super::answers::Change;
use super::chain_state::ChainState;
use super::payments::{evidence, subject};
use super::work::{Command, Origin, Work};
use super::{Engine, EngineError, refunds, settle};
use crate::domain::{ChainId, ChargeId, Heights, Held, MAX_TIERS, PaymentState, Settled};
use crate::store::{self, ChainRow, KeptHeader};

/// Says that a chain's finality stalls, or that it does no more: deadlines stand still meanwhile.
#[derive(Debug, Clone)]
pub struct MarkStalled {
    /// The chain.
    pub chain: ChainId,
    /// Our fence.
    pub fence: i64,
    /// Why; none where it is well again.
    pub reason: Option<String>,
}

impl Command for MarkStalled {
    type Output = ();

    fn origin(&self) -> Origin {
        Origin {
            actor: format!("chain:{}", self.chain),
            cause: "finality".to_owned(),
        }
    }

    fn chains(&self) -> Vec<ChainId> {
        vec![self.chain]
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        work.lead(self.chain, self.fence).await?;
        let row = known(work, self.chain).await?;
        if row.stalled.is_some() == self.reason.is_some() {
            return Ok(());
        }
        let stalled = self.reason.clone().map(|reason| Held {
            since: work.now,
            reason,
        });
        hold(work, &row, (stalled, row.quarantined.clone()), "chain.finality").await
    }
}

/// Stops all that counts on a chain: what it says contradicts what is final, or lies deeper than what is kept.
#[derive(Debug, Clone)]
pub struct Quarantine {
    /// The chain.
    pub chain: ChainId,
    /// Our fence.
    pub fence: i64,
    /// What was found, and which endpoints said so.
    pub reason: String,
}

impl Command for Quarantine {
    type Output = ();

    fn origin(&self) -> Origin {
        Origin {
            actor: format!("chain:{}", self.chain),
            cause: "quarantine".to_owned(),
        }
    }

    fn chains(&self) -> Vec<ChainId> {
        vec![self.chain]
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        work.lead(self.chain, self.fence).await?;
        let row = known(work, self.chain).await?;
        if row.quarantined.is_some() {
            return Ok(());
        }
        let quarantined = Some(Held {
            since: work.now,
            reason: self.reason.clone(),
        });
        hold(work, &row, (row.stalled.clone(), quarantined), "chain.quarantine").await
    }
}

/// What a person found out about a quarantined chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The endpoints were wrong: nothing changes, and the chain is looked at again.
    Keep,
    /// The chain really was reorganised from this block on: all that it held there is undone, and read anew.
    AcceptFrom(u64),
}

/// Ends a quarantine. Whoever leads the chain need not be asked.
#[derive(Debug, Clone, Copy)]
pub struct ResolveQuarantine {
    /// The chain.
    pub chain: ChainId,
    /// How.
    pub resolution: Resolution,
}

impl Command for ResolveQuarantine {
    type Output = ();

    fn origin(&self) -> Origin {
        Origin {
            actor: "operator".to_owned(),
            cause: match self.resolution {
                Resolution::Keep => "the endpoints were wrong".to_owned(),
                Resolution::AcceptFrom(block) => format!("the chain was reorganised from block {block} on"),
            },
        }
    }

    fn chains(&self) -> Vec<ChainId> {
        vec![self.chain]
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        work.join(self.chain).await?;
        let mut row = known(work, self.chain).await?;
        if row.quarantined.is_none() {
            return Err(EngineError::Conflict {
                code: "NOT_QUARANTINED",
                problem: format!("chain {} is not quarantined", self.chain),
            });
        }
        if let Resolution::AcceptFrom(block) = self.resolution {
            undo_from(work, &mut row, block).await?;
        }
        hold(work, &row, (row.stalled.clone(), None), "chain.resolve").await?;
        let state = ChainState::load(work.tx.conn(), self.chain).await?;
        work.publish(Change::ChainLoaded(self.chain, Box::new(state)));
        Ok(())
    }
}

/// Forgets a chain from `block` on, however deep that is and whatever was final: payments there are reversed, watched
/// contracts are read again from their beginning.
async fn undo_from(work: &mut Work<'_>, row: &mut ChainRow, block: u64) -> Result<(), EngineError> {
    let chain = row.chain;
    let read = row.heights.read.map_or(0, |read| read.number);
    let below = (1..=read).contains(&block).then(|| block - 1);
    let below = below.ok_or_else(|| {
        EngineError::invalid(
            "block",
            format!("must be between 1 and {read}, the highest that was read"),
        )
    })?;
    let touched = orphan_above(work, chain, below).await?;
    let kept = store::header_at(work.tx.conn(), chain, below).await?;
    work.tx.delete_headers_above(chain, below).await?;
    work.tx.delete_notices_above(chain, below).await?;
    row.heights = lowered(&row.heights, below, kept);
    if kept.is_none() {
        work.tx.set_start(chain, block).await?;
    }
    for watch in store::watches(work.tx.conn(), chain).await? {
        super::history::restart_watch(work, &watch).await?;
    }
    work.tx.set_heights(chain, &row.heights).await?;
    settle::settle_charges(work, &touched, None).await
}

/// Heights of a chain that ends in `kept`, the block at `below`; where that is no longer known, nothing is read.
fn lowered(heights: &Heights, below: u64, kept: Option<KeptHeader>) -> Heights {
    let mut lowered = *heights;
    let end = kept.map(|kept| Settled {
        block: kept.block,
        time_ms: kept.time_ms,
    });
    lowered.read = end.map(|end| end.block);
    for place in 0..MAX_TIERS {
        let is_above = |tier: Settled| tier.block.number > below;
        if end.is_none() || heights.settled_at(place).is_some_and(is_above) {
            lowered.settle_at(place, end.filter(|_| heights.settled_at(place).is_some()));
        }
    }
    if heights
        .finalized
        .is_some_and(|finalized| finalized.number > below)
    {
        lowered.finalized = lowered.read;
    }
    lowered.absent_ms = heights.absent_ms.min(lowered.settled_time_ms);
    lowered
}

/// Payments above a block count for nothing any more; the charges that they were given to.
pub(super) async fn orphan_above(
    work: &mut Work<'_>,
    chain: ChainId,
    number: u64,
) -> Result<BTreeSet<ChargeId>, EngineError> {
    let mut touched = BTreeSet::new();
    for mut payment in store::payments_above(work.tx.conn(), chain, number).await? {
        payment.state = PaymentState::Orphaned;
        touched.extend(payment.concerns());
        work.tx.put_payment(&payment).await?;
        let shown = evidence(&payment);
        work.audit("payment.orphan", subject(&payment.key), (None, Some(shown)))
            .await?;
    }
    work.tx.orphan_observations_above(chain, number).await?;
    refunds::reopen_from(work, chain, number.saturating_add(1)).await?;
    Ok(touched)
}

async fn known(work: &mut Work<'_>, chain: ChainId) -> Result<ChainRow, EngineError> {
    let row = store::chain_row(work.tx.conn(), chain).await?;
    row.ok_or(EngineError::NotFound("chain"))
}

/// Stores what holds a chain, and tells of it: it is stalled while anything does.
async fn hold(
    work: &mut Work<'_>,
    before: &ChainRow,
    (stalled, quarantined): (Option<Held>, Option<Held>),
    action: &'static str,
) -> Result<(), EngineError> {
    let chain = before.chain;
    work.tx
        .set_held(chain, stalled.as_ref(), quarantined.as_ref())
        .await?;
    let told = |stalled: Option<&Held>, quarantined: Option<&Held>| json!({"chainId": chain, "stalled": stalled, "quarantined": quarantined});
    let after = told(stalled.as_ref(), quarantined.as_ref());
    let states = (
        Some(told(before.stalled.as_ref(), before.quarantined.as_ref())),
        Some(after.clone()),
    );
    let resource = format!("chain:{chain}");
    work.audit(action, resource.clone(), states).await?;
    let kind = if stalled.is_some() || quarantined.is_some() {
        "chain.stalled"
    } else {
        "chain.recovered"
    };
    work.owe(kind, resource, after).await?;
    work.publish(Change::Held {
        chain,
        stalled,
        quarantined,
    });
    Ok(())
}

impl Engine {
    /// Why nothing counts on a chain, as it is stored: another process may have resolved it. Memory is loaded anew before
    /// the next command where it was.
    ///
    /// # Errors
    /// The chain was never read, or the database fails.
    pub async fn quarantine(&self, chain: ChainId) -> Result<Option<Held>, EngineError> {
        let mut conn = self.inner.store.read().await?;
        let row = store::chain_row(&mut conn, chain).await?;
        let quarantined = row.ok_or(EngineError::NotFound("chain"))?.quarantined;
        if quarantined.is_none() {
            self.inner
                .memory_unsure
                .store(true, std::sync::atomic::Ordering::SeqCst);
        }
        Ok(quarantined)
    }
}
