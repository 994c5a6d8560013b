//! A real chain, followed: payments, reorgs, restarts and holdings; and the same while what lies between us and anvil is
//! wrong.

mod attacks;
mod authorizations;
mod contradicting;
mod explaining;
mod failover;
mod faults;
mod finality;
mod holdings;
mod lagging;
pub mod native;
mod notices;
mod payments;
mod proxied;
mod ranges;
mod refunds;
mod rescan;
mod standards;
mod unprovable;
pub mod world;
