//! Follows the refunds that operators recorded, until the chain has settled what became of each.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::LookUp;
use crate::engine::{Engine, EngineError, JudgeRefund};

/// How often it is looked for refunds that are due.
const TICK: Duration = Duration::from_secs(1);
/// Refunds that are looked at in one round.
const MAX_A_ROUND: i64 = 16;

/// Follows refunds until `stop`.
///
/// # Errors
/// The database fails.
pub async fn run(
    engine: Engine,
    looks: Arc<dyn LookUp>,
    stop: CancellationToken,
) -> Result<(), EngineError> {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        for refund in engine.refunds_due(MAX_A_ROUND).await? {
            let look = looks.look(refund.payment.chain, refund.tx_hash);
            let Some(look) = stop.run_until_cancelled(look).await else {
                return Ok(());
            };
            let command = JudgeRefund {
                refund: refund.id,
                look,
            };
            engine.execute(command).await?;
        }
    }
}
