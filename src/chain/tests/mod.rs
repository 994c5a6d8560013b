//! Tests of the room as a whole: captured answers, and nodes that run within the test. They reach no network.

mod authorizations;
mod disputes;
mod endpoints;
mod errors;
mod levels;
mod node;
mod proofs;
mod reading;
mod session;
mod text;
