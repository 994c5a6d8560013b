//! How well an endpoint's blocks can be proven, tried on a recent one.

use std::collections::BTreeSet;
use std::fmt;

use alloy::primitives::{Address, B256, Bloom};
use serde::Deserialize;
use serde_json::json;

use crate::chain::{ChainError, ChainReader, LogFilter};
use crate::domain::Header;

/// Blocks below the head that are looked at for one that holds a log.
const MAX_BLOCKS: u64 = 16;

/// What could be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proven {
    /// The header hashes to its hash, and the receipts rebuild its root.
    Receipts,
    /// The header hashes to its hash; no recent block holds a log, so that no receipts could be tried.
    Header,
    /// The header hashes to its hash, and the receipts prove nothing.
    NoReceipts(ChainError),
}

impl fmt::Display for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Receipts => "receipts",
            Self::Header => "header",
            Self::NoReceipts(_) => "no receipts",
        })
    }
}

/// A log as far as a filter needs it, unproven.
#[derive(Debug, Deserialize)]
struct Sample {
    address: Address,
    topics: Vec<B256>,
}

/// Tries the newest block that holds a log, from a proven head on down.
///
/// # Errors
/// A header or a log could not be fetched.
pub(super) async fn prove(reader: &ChainReader, head: &Header) -> Result<Proven, ChainError> {
    let mut header = head.clone();
    for _ in 0..MAX_BLOCKS {
        if let Some(filter) = sample(reader, &header).await? {
            return Ok(match reader.prove_block(&header, &filter).await {
                Ok(_) => Proven::Receipts,
                Err(error) => Proven::NoReceipts(error),
            });
        }
        if header.number == 0 {
            break;
        }
        header = reader.header_by_hash(header.parent_hash).await?;
    }
    Ok(Proven::Header)
}

/// A filter for one log of a block, as the node gives it, if the block's bloom speaks of any.
async fn sample(reader: &ChainReader, header: &Header) -> Result<Option<LogFilter>, ChainError> {
    if header.bloom == Bloom::ZERO {
        return Ok(None);
    }
    let endpoint = reader.endpoints().ranked().into_iter().next();
    let Some(endpoint) = endpoint else {
        return Ok(None);
    };
    let logs: Vec<Sample> = endpoint
        .request("eth_getLogs", json!([{"blockHash": header.hash}]))
        .await?;
    let log = logs
        .into_iter()
        .find_map(|log| Some((log.address, *log.topics.first()?)));
    Ok(log.map(|(address, topic)| {
        let none = BTreeSet::new();
        LogFilter::new(&none, &none, &[address].into(), &[topic].into())
    }))
}
