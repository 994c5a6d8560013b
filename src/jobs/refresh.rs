//! Keeps memory up with what other instances write.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, EngineError};

/// How old an answer may be about what another instance wrote, but for the time that it takes to load.
const TICK: Duration = Duration::from_secs(1);

/// Refreshes memory until `stop`.
///
/// # Errors
/// The database fails.
pub async fn run(engine: Engine, stop: CancellationToken) -> Result<(), EngineError> {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        engine.refresh().await?;
    }
    Ok(())
}
