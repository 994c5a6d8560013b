//! A real chain, followed: payments, reorgs, restarts and holdings; and the same while what lies between us and anvil is
//! wrong.

mod faults;
mod holdings;
mod payments;
mod proxied;
mod world;
