//! Applies the events that providers sent. One that fails is counted and tried again after the others.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::{ApplyInbox, Engine, EngineError, GiveUpInbox};

/// How long to wait for a wake before looking anyway, and after a failure.
const POLL: Duration = Duration::from_secs(1);

/// Applies events until `stop`.
///
/// # Errors
/// The database fails.
pub async fn run(engine: Engine, stop: CancellationToken) -> Result<(), EngineError> {
    let mut changes = engine.inbox_changes();
    loop {
        let pending = engine.pending_inbox().await?;
        let mut failed = false;
        let is_empty = pending.is_empty();
        for key in pending {
            if stop.is_cancelled() {
                return Ok(());
            }
            if let Err(error) = engine.execute(ApplyInbox { key: key.clone() }).await {
                tracing::warn!(event = %key.event_id, %error, "an event could not be applied");
                failed = true;
                engine
                    .execute(GiveUpInbox {
                        key,
                        problem: error.to_string(),
                    })
                    .await?;
            }
        }
        if !is_empty && !failed {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = changes.changed(), if !failed => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}
