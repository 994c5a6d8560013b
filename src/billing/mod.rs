//! What a subscription is worth: the catalogue of plans, the fold of a tenant's sources, the periods that payments buy,
//! and the check of a plan's limits.
//!
//! Pure: the time is an argument, and whoever calls has read what is given here from the store. Nothing here changes
//! a subscription; the same input gives the same answer, in whatever order it comes.

mod catalogue;
mod check;
mod fold;
mod period;

pub use catalogue::{
    Catalogue, CatalogueError, CatalogueErrors, Cost, Limit, Meter, MeterKind, Plan, Prices, StripePrices,
    Subject, Unit, Window,
};
pub use check::{Check, CheckCode, CheckError, CheckOutcome, Threshold, check, check_plan};
pub use fold::{STRIPE_SILENCE_MS, fold};
pub use period::{Paid, Period, add_interval, fold_periods};

#[cfg(test)]
mod random;
