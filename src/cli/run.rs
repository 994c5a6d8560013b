//! `tollgate run`

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::app::App;
use crate::clock::Clock;
use crate::config::Loaded;
use crate::{metrics, telemetry};

/// Runs the service until SIGTERM or SIGINT.
pub(super) fn run(loaded: Loaded) -> Result<(), Failure> {
    let Loaded { config, warnings } = loaded;
    telemetry::init(config.log.json, &config.log.filter)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let recorder = metrics::install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let app = App::start(config, Clock::system(), recorder).await?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        app.stop().await;
        Ok(())
    })
}
