//! Follows the refunds that operators recorded, until the chain has settled what became of each. Which are due, and when they
//! are again, stands in the store.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::domain::{BlockRef, ChainId, Look, LookOutcome, LookUp, Refund};
use crate::engine::{Engine, EngineError, JudgeRefund};

/// How often refunds that are due are looked for.
const TICK: Duration = Duration::from_secs(1);
/// Refunds that are looked at in one round.
const MAX_A_ROUND: i64 = 16;

/// Follows refunds until `stop`.
///
/// # Errors
/// The database fails.
pub async fn run(engine: Engine, looks: Arc<dyn LookUp>, stop: CancellationToken) -> Result<(), EngineError> {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        for refund in engine.refunds_due(MAX_A_ROUND).await? {
            let judged = stop
                .run_until_cancelled(follow(&engine, looks.as_ref(), refund))
                .await;
            match judged {
                Some(judged) => judged?,
                None => return Ok(()),
            }
        }
    }
    Ok(())
}

async fn follow(engine: &Engine, looks: &dyn LookUp, refund: Refund) -> Result<(), EngineError> {
    let chain = refund.payment.chain;
    let look = looks.look(chain, refund.tx_hash).await;
    let linked_to = linked(engine, looks, chain, &look).await?;
    let command = JudgeRefund {
        refund: refund.id,
        look,
        linked_to,
    };
    engine.execute(command).await
}

/// The lowest kept header, where the transaction's block is an ancestor of it.
async fn linked(
    engine: &Engine,
    looks: &dyn LookUp,
    chain: ChainId,
    look: &LookOutcome,
) -> Result<Option<BlockRef>, EngineError> {
    let Ok(Look::Mined(mined)) = look.as_deref() else {
        return Ok(None);
    };
    let lowest = engine.lowest_header(chain).await?;
    let Some(lowest) = lowest.filter(|lowest| mined.block.number < lowest.number) else {
        return Ok(None);
    };
    let is_linked = looks.links(chain, mined.block, lowest).await;
    Ok(is_linked.unwrap_or(false).then_some(lowest))
}
