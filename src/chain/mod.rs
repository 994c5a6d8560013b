//! One chain's endpoints, and what they say turned into proof.
//!
//! Owns JSON-RPC over our WebSocket session and HTTP, the limits of each endpoint, heads, receipts and proofs. Everything
//! that leaves here as a `Header` or a `ProvenBlock` was recomputed; everything that leaves as a `StreamEvent` is a hint.
//! It must not know plans, gates or the store, nor decide what is final; URLs and keys never leave it.

mod bloom;
mod error;
mod filter;
mod header;
mod logs;
mod proof;
mod rpc;

pub use error::{ChainError, ErrorClass, Unproven, classify};
pub use filter::{Hit, LogFilter, TRANSFER, may_contain};
pub use header::RawHeader;
pub use logs::StreamedLog;
