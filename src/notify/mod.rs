//! Telling the chat backend: how an event is signed, when it is tried again, what an answer means, and the delivery itself.
//!
//! Signing and the schedule are pure: they are given the time, the secrets and the luck. What is owed is the outbox's and is
//! never decided here; a delivery may be late or repeated, and must not be lost.

mod deliver;
mod schedule;
mod sign;

pub use deliver::{Notifier, NotifyError};
pub use schedule::{Outcome, next_attempt, outcome};
pub use sign::{SecretError, Signer};
