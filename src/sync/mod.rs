//! Drives one chain: from hints of new heads to proven blocks handed to the engine, in order and without a gap.
//!
//! The window, the plan of the next step and the filter are pure; `task` does the asking. A hint is never believed, a gap is
//! never stepped over, and a failure leaves everything as it was until the next hint. It decides nothing about money.

mod boot;
mod confirm;
mod dispute;
mod follow;
mod history;
mod lead;
mod lookout;
mod notices;
mod plan;
mod progress;
mod ranges;
mod rescan;
mod streamed;
mod task;
mod tokens;
mod watching;
mod weigh;
mod window;

pub use notices::TokenState;
pub use rescan::{Difference, Money, Place, Report, Request, RescanError, rescan};
pub use task::{ChainTask, Halt, SyncError};
pub use tokens::TokenContract;
