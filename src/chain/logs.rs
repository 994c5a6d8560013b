//! Logs as endpoints write them, read in one pass: history reads them by the hundred thousand.
//!
//! Hexadecimal goes straight from the text into its bytes. Only shape is checked here; what a log proves is `proof`'s.

use std::fmt;

use alloy::primitives::{Address, B256, Bytes};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::rpc::Quantity;
use crate::domain::{BlockRef, LogEntry};

/// The EVM has LOG0 to LOG4.
const MAX_TOPICS: usize = 4;

/// A log with the block that it claims to be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamedLog {
    /// Where it claims to be.
    pub block: BlockRef,
    /// The log. Its `ordinal` is unknown.
    pub entry: LogEntry,
    /// Whether the endpoint takes it back, after a reorganisation.
    pub removed: bool,
}

/// One object of `eth_getLogs`, of a receipt's `logs`, or of a `logs` subscription.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireLog {
    pub address: Address,
    pub topics: Topics,
    pub data: Bytes,
    pub block_number: Quantity,
    pub block_hash: B256,
    pub transaction_hash: B256,
    pub log_index: Quantity,
    #[serde(default)]
    pub removed: bool,
}

impl WireLog {
    pub fn block(&self) -> BlockRef {
        BlockRef {
            number: self.block_number.0,
            hash: self.block_hash,
        }
    }

    pub fn into_entry(self, ordinal: Option<u32>) -> LogEntry {
        LogEntry {
            address: self.address,
            topics: self.topics.0,
            data: self.data,
            tx_hash: self.transaction_hash,
            log_index: self.log_index.0,
            ordinal,
        }
    }
}

impl From<WireLog> for StreamedLog {
    fn from(log: WireLog) -> Self {
        Self {
            block: log.block(),
            removed: log.removed,
            entry: log.into_entry(None),
        }
    }
}

/// Zero to four topics.
#[derive(Debug, Clone)]
pub(super) struct Topics(pub Vec<B256>);

impl<'de> Deserialize<'de> for Topics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AtMostFour;
        impl<'de> Visitor<'de> for AtMostFour {
            type Value = Topics;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("at most four topics of 32 bytes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Topics, A::Error> {
                let mut topics = Vec::with_capacity(MAX_TOPICS);
                while let Some(topic) = seq.next_element()? {
                    if topics.len() == MAX_TOPICS {
                        return Err(serde::de::Error::custom("more than four topics"));
                    }
                    topics.push(topic);
                }
                Ok(Topics(topics))
            }
        }
        deserializer.deserialize_seq(AtMostFour)
    }
}
