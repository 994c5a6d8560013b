//! One chain's endpoints, and what they say turned into proof.
//!
//! Owns JSON-RPC over our WebSocket session and HTTP, the limits of each endpoint, heads, receipts and proofs. Everything
//! that leaves here as a `Header` or a `ProvenBlock` was recomputed; everything that leaves as a `StreamEvent` is a hint.
//! It must not know plans, gates or the store, nor decide what is final; URLs and keys never leave it.

mod asked;
mod bloom;
mod breaker;
mod choice;
mod classify;
mod compute;
mod connection;
mod dispute;
mod endpoint;
mod endpoints;
mod error;
mod filter;
mod genesis;
mod header;
mod http;
mod identity;
mod levels;
mod limiter;
mod limits;
mod logs;
mod network;
mod operators;
mod pause;
mod proof;
mod quarantine;
mod range;
mod reader;
mod relay;
mod rpc;
mod session;
mod standing;
mod stream;
mod survey;
#[cfg(test)]
mod tests;
mod transaction;

use std::sync::Arc;

use tokio::sync::watch;

pub use classify::classify;
pub use dispute::Dispute;
pub use endpoint::Endpoint;
pub use endpoints::Endpoints;
pub use error::{ChainError, ErrorClass, MAX_MESSAGE_CHARS, Unproven, scrub};
pub use filter::{Hit, LogFilter, may_contain};
pub use header::RawHeader;
pub use logs::StreamedLog;
pub use network::{Broken, HttpAnswer, Internet, Messages, Network, Socket};
pub use operators::Said;
pub use range::MAX_RANGE_BLOCKS;
pub use reader::ChainReader;
pub use rpc::MAX_BODY_BYTES;
pub use stream::{StreamEvent, StreamHandle, StreamedHead};
pub use transaction::MAX_LINKED;

use crate::clock::Clock;
use crate::config;
use identity::Identity;
use levels::Verification;
use session::{Pace, Session};
use stream::Mailbox;

/// The reader and the stream of one configured chain. Returns at once: the sockets connect, and reconnect, in tasks that
/// end when the last clone of the reader is dropped. Must be called within a tokio runtime, and after the process's
/// rustls provider was installed. Nothing is streamed for `filter` but what it asks for; heads always are.
///
/// # Errors
/// [`ChainError::Settings`] where an endpoint has no usable URL.
pub fn connect(
    settings: &config::Chain,
    network: &Arc<dyn Network>,
    clock: &Clock,
    filter: LogFilter,
) -> Result<(ChainReader, StreamHandle), ChainError> {
    let names = settings
        .endpoints
        .iter()
        .map(|endpoint| endpoint.name.as_str().into());
    let mailbox = Arc::new(Mailbox::new(names.collect()));
    let (filter_sender, filter) = watch::channel(filter);
    let (genesis_sender, genesis) = watch::channel(None);
    let (verification_sender, verification) = watch::channel(Verification::STRICT);
    let expected = (genesis, verification);
    let mut endpoints = Vec::with_capacity(settings.endpoints.len());
    for (slot, endpoint) in settings.endpoints.iter().enumerate() {
        let identity = Arc::new(Identity::new(settings, endpoint, expected.clone(), clock.clone()));
        let session = endpoint.ws.clone().map(|url| {
            Session::start(
                Arc::clone(&identity),
                (Arc::clone(network), url),
                Pace::new(endpoint.request_timeout, settings.block_time),
                filter.clone(),
                Arc::clone(&mailbox),
                slot,
            )
        });
        endpoints.push(Endpoint::new(
            identity,
            endpoint,
            settings.max_log_range,
            (Arc::clone(network), session),
        )?);
    }
    if endpoints.is_empty() {
        return Err(ChainError::Settings {
            endpoint: settings.name.as_str().into(),
            problem: "no endpoint is configured",
        });
    }
    let reader = ChainReader::new(
        Endpoints::new(endpoints, genesis_sender),
        verification_sender,
        settings,
    );
    Ok((reader, StreamHandle::new(mailbox, filter_sender)))
}
