//! Work that nobody waits for: events that came in, what time alone changes, what other instances wrote, which keys are
//! published, what became of refunds. And looks at transactions, which somebody waits for, within a deadline.
//!
//! Each job is a loop over commands of the engine; a job that fails is started again by its supervisor and finds what is
//! left to do in the store.

mod deadlines;
mod inbox;
mod jwks;
mod looks;
mod refresh;
mod refunds;

pub use deadlines::run as run_deadlines;
pub use inbox::run as run_inbox;
pub use jwks::run as run_jwks;
pub use looks::Looks;
pub use refresh::run as run_refresh;
pub use refunds::run as run_refunds;
