//! Facts become payments and balances: pure functions of logs, terms and the settled time.
//!
//! The ledger knows neither the clock nor the database. It says which log is a payment, which charge a payment belongs
//! to, and what a charge is given its payments; the engine loads, asks, and stores.

mod charge;
mod decode;
mod examine;
mod holdings;
mod hosted;
mod matching;
mod money;
mod notice;
mod reference;
mod refund;
mod suggest;

pub use charge::{ChargeClock, Standing, SuffixPool, carries_suffix, standing, suffixes};
pub use decode::{AcceptedMoney, authorization_of, is_payment, transfer};
pub use examine::{Check, Examined, Finding, examine, examine_transfer};
pub use holdings::{MAX_CONSECUTIVE, Moved, holdings};
pub use hosted::hear;
pub use matching::{Match, decide};
pub use money::Money;
pub use notice::{CIRCLE, PAUSABLE, Signal, Strikes, TETHER, notice};
pub use reference::reference;
pub use refund::{RefundVerdict, judge_refund};
pub use suggest::{Compared, Reason, Suggestion, is_assignable, suggest};
