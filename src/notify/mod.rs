//! Telling the chat backend: how an event is signed, when it is tried again, and what an answer means.
//!
//! Pure so far as it stands here: it is given the time, the secrets and the luck. What is owed is the outbox's and is never
//! decided here; a delivery may be late or repeated, and must not be lost.

mod schedule;
mod sign;

pub use schedule::{Outcome, next_attempt, outcome};
pub use sign::{SecretError, Signer};
