//! What time alone changes: charges expire and close, periods end and are reminded of. And how old the oldest owed event is.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, EngineError, ExpireCharges, RefoldDue, RemindRenewals};
use crate::metrics;

/// How late a deadline may be noticed. Answers do not wait for it: readers fold again by themselves.
const TICK: Duration = Duration::from_secs(1);

/// Looks for deadlines until `stop`.
///
/// # Errors
/// The database fails.
pub async fn run(engine: Engine, stop: CancellationToken) -> Result<(), EngineError> {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        if engine.has_deadlines().await? {
            while engine.execute(ExpireCharges).await?
                + engine.execute(RefoldDue).await?
                + engine.execute(RemindRenewals).await?
                > 0
            {
                if stop.is_cancelled() {
                    return Ok(());
                }
            }
        }
        let oldest = engine.oldest_owed().await?;
        let age_ms = oldest.map_or(0, |at| engine.clock().now_ms().saturating_sub(at).max(0));
        let seconds = u32::try_from(age_ms / 1000).unwrap_or(u32::MAX);
        ::metrics::gauge!(metrics::OUTBOX_OLDEST_AGE_SECONDS).set(f64::from(seconds));
    }
}
