//! The integration tests: one binary, so that they link once and share one `PostgreSQL` server.

#[cfg(test)]
mod browser;
#[cfg(test)]
mod checkouts;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod live;
#[cfg(test)]
mod ops;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod simulator;
#[cfg(test)]
mod store;
#[cfg(test)]
mod tidy;

#[cfg(test)]
use harness::random;
