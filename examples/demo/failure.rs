//! What does not hold, in words, and waiting for what must come to hold.

use std::time::{Duration, Instant};

/// Between two looks at the same thing.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Why a step does not hold.
#[derive(Debug)]
pub struct Failure(pub String);

/// What a step, or a part of one, comes to.
pub type Outcome<T> = Result<T, Failure>;

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self(text)
    }
}

/// A failure, where `holds` is false.
pub fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Outcome<()> {
    if holds { Ok(()) } else { Err(Failure(otherwise())) }
}

/// Looks until there is something to see. An error ends it at once.
pub async fn until<T>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Outcome<Option<T>>,
) -> Outcome<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(seen) = look().await? {
            return Ok(seen);
        }
        ensure(Instant::now() < end, || {
            format!("{what}: not within {deadline:?}")
        })?;
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
