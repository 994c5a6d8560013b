//! What a subscription is worth: the catalogue of plans, the fold of a tenant's sources, the periods that payments buy,
//! the credit that they leave, and the check of a plan's limits.
//!
//! Pure: the time is an argument, and whoever calls has read what is given here from the store. Nothing here changes
//! a subscription; the same input gives the same answer, in whatever order it comes.

mod account;
mod catalogue;
mod check;
mod fold;
mod period;
mod remind;
mod timeline;

pub use account::{Account, Graces, as_of, fold_account, last_paid, purchase};
pub use catalogue::{
    Catalogue, CatalogueError, CatalogueErrors, Cost, CryptoPrice, CryptoPrices, Limit, Meter, MeterKind,
    Plan, Prices, StripePrices, Subject, Unit, Window,
};
pub use check::{Check, CheckCode, CheckError, CheckOutcome, Threshold, check, check_plan};
pub use fold::{STRIPE_SILENCE_MS, fold, gives_access, source_end};
pub use period::add_interval;
pub use remind::{REMINDERS, reminders_due};
pub use timeline::{Purchase, Returned, Run, Segment, Timeline, lay_out};

#[cfg(test)]
mod random;
