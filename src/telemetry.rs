//! The log: how it looks and where it goes.
//!
//! Owns the one `tracing` subscriber, the panic hook and the bars of progress. Lines go to standard error, so that a
//! command's output stays clean, and above the bars that stand there. It must not decide what is logged; and a panic's message is kept only where it is a literal, as a formatted one
//! may hold a value that must not be logged.

use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressBar};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("log.filter is not a tracing filter such as \"info,tollgate=debug\"")]
    Filter,
    /// Called twice in one process.
    #[error("the log is already set up")]
    AlreadySet,
}

/// Every bar of this process: they share one terminal.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// A bar of progress on standard error; one that nobody sees where that is no terminal.
pub fn bar(length: u64) -> ProgressBar {
    if io::stderr().is_terminal() {
        BARS.add(ProgressBar::new(length))
    } else {
        ProgressBar::hidden()
    }
}

/// Standard error, with the bars out of the way while something is written.
#[derive(Debug)]
struct AboveBars;

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        BARS.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Sets up the log for the whole process, as JSON lines or as text for people, and sends panics to it.
///
/// # Errors
/// A filter that cannot be read, or a second call.
pub fn init(json: bool, filter: &str) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|_| TelemetryError::Filter)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_colourful())
        .with_writer(|| AboveBars);
    let set = if json {
        builder.json().flatten_event(true).finish().try_init()
    } else {
        builder.with_target(false).finish().try_init()
    };
    set.map_err(|_| TelemetryError::AlreadySet)?;
    std::panic::set_hook(Box::new(|info| {
        tracing::error!(at = %location(info), said = literal(info), "panic");
    }));
    Ok(())
}

/// On a terminal, unless <https://no-color.org> is followed.
fn is_colourful() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !unwanted
}

fn location(info: &PanicHookInfo<'_>) -> String {
    info.location().map_or_else(
        || "unknown".to_owned(),
        |at| format!("{}:{}", at.file(), at.line()),
    )
}

fn literal(info: &PanicHookInfo<'_>) -> &'static str {
    info.payload()
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("(a formatted message is not logged)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_is_refused_before_anything_is_set() {
        assert!(matches!(
            init(true, "tollgate=loudest"),
            Err(TelemetryError::Filter)
        ));
    }
}
