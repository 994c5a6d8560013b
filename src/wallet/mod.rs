//! Proof that a wallet is a user's.
//!
//! Pure: it is given the message, the signature, what we asked for and the time, and returns the address or why not. It must
//! not store links nor spend nonces; who owns a wallet, and that a nonce is used once, is the engine's.

mod siwe;

pub use siwe::{Expected, SiweError, nonce_of, verify};
