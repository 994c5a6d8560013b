//! Scenarios of the one door, on both databases: a chain made by hand goes in, and what follows is looked at from outside.
//!
//! A scenario that changes what is answered ends with `assert_reload_is_identity`: an engine that starts from the database
//! answers the same.

mod accounts;
mod claims;
mod deadlines;
mod deliveries;
mod explaining;
mod finality;
mod finality_at_random;
mod folding;
mod following;
mod holdings;
mod hosted;
mod late;
mod leadership;
mod matching;
mod mistrust;
mod notices;
mod proofs;
mod quarantine;
mod receipts;
mod references;
mod refunds;
mod requests;
mod reviews;
mod settling;
mod subscriptions;
mod tokens;
