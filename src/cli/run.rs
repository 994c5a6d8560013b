//! `tollgate run`

use tokio::signal::unix::{SignalKind, signal};

use super::Failure;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{ConfigErrors, Loaded};
use crate::{metrics, telemetry};

/// Runs the service until SIGTERM or SIGINT. On SIGHUP the configuration is read again.
pub(super) fn run(loaded: Loaded, read: impl Fn() -> Result<Loaded, ConfigErrors>) -> Result<(), Failure> {
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
        let mut hangup = signal(SignalKind::hangup())?;
        let mut app = App::start(config, Clock::system(), recorder).await?;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hangup.recv() => {
                    app.reload(read()).await;
                }
            }
        }
        tracing::info!("stopping");
        app.stop().await;
        Ok(())
    })
}
