//! Waits for a condition, with a deadline.

use std::time::{Duration, Instant};

use super::Outcome;

const DEADLINE: Duration = Duration::from_mins(5);
const LOOK: Duration = Duration::from_millis(1);

/// Waits until `holds`; `otherwise` says what did not.
pub async fn until(otherwise: &str, holds: impl Fn() -> bool) -> Outcome {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        if Instant::now() > end {
            return Err(format!("{otherwise} in {DEADLINE:?}").into());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}
