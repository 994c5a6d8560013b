//! tollgate answers who has paid and who holds what.
//!
//! The map, in the way of the data: `chain` proves blocks, `sync` drives one chain, `ledger` turns logs into payments and
//! balances, `billing` and `access` decide, `engine` is the one door to the `store`, `api` answers and `notify` tells.
//! A module names only modules of a lower rank (tests/tidy checks it); ARCHITECTURE.md says why.

pub mod access;
pub mod api;
pub mod app;
pub mod billing;
pub mod chain;
pub mod checkout;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod egress;
pub mod engine;
pub mod health;
pub mod jobs;
pub mod jwt;
pub mod ledger;
pub mod metrics;
pub mod notify;
pub mod retry;
pub mod store;
pub mod stripe;
pub mod sync;
pub mod task;
pub mod telemetry;
pub mod wallet;
