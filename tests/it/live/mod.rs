//! A real chain, followed: payments, reorgs, restarts and holdings, with nothing between us and anvil.

mod finality;
mod holdings;
mod payments;
mod world;
