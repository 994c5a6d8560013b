//! Blocks as the core hands them on: proven headers and the logs that our filters ask for.

use alloy::primitives::{Address, B256, Bloom, Bytes};
use serde::{Deserialize, Serialize};

/// A position on one chain: number and hash together, because a number alone names no block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BlockRef {
    /// Height.
    pub number: u64,
    /// keccak256 of the RLP of the header.
    pub hash: B256,
}

/// The part of a header that we keep. Its `hash` was recomputed from the whole header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Height.
    pub number: u64,
    /// keccak256 of the RLP of the header.
    pub hash: B256,
    /// The hash of the block below.
    pub parent_hash: B256,
    /// Seconds since the Unix epoch, as the block says.
    pub timestamp_s: u64,
    /// The root of the receipts trie.
    pub receipts_root: B256,
    /// The logs bloom (yellow paper, 4.3.1): what it lacks, the block has not.
    pub bloom: Bloom,
}

impl Header {
    /// This header's position.
    #[must_use]
    pub fn block(&self) -> BlockRef {
        BlockRef {
            number: self.number,
            hash: self.hash,
        }
    }

    /// The block's own time in milliseconds.
    #[must_use]
    pub fn time_ms(&self) -> super::Millis {
        i64::try_from(self.timestamp_s)
            .unwrap_or(i64::MAX)
            .saturating_mul(1000)
    }
}

/// One log of a block, where it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// The contract that emitted it.
    pub address: Address,
    /// Zero to four topics.
    pub topics: Vec<B256>,
    /// The data after the topics.
    pub data: Bytes,
    /// The transaction.
    pub tx_hash: B256,
    /// The log's index in its block.
    pub log_index: u64,
    /// The log's index in its transaction; known only where the receipts were proven.
    pub ordinal: Option<u32>,
}

/// How the completeness of a block's logs was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Absent by the bloom of a recomputed header, or present by receipts that rebuild its receipts root.
    Receipts,
    /// The same logs by several operators, or by one twice, a block apart, where nothing can be recomputed.
    Asked,
    /// Every log within its block's bloom and in order, and bloom hits without logs proven by receipts: enough for
    /// holdings in history, never for money.
    Ranged,
    /// One endpoint's word: shown, and never credited.
    None,
}

impl Level {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Receipts => "receipts",
            Self::Asked => "asked",
            Self::Ranged => "ranged",
            Self::None => "none",
        }
    }
}

/// A block whose header links to the one below, with every log that our filters ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenBlock {
    /// Its header.
    pub header: Header,
    /// Our logs, in the order of the block, and right before a payment the authorization that it was made with (EIP-3009).
    pub logs: Vec<LogEntry>,
    /// How their completeness was shown.
    pub level: Level,
}

/// A block that consensus names, by its JSON-RPC word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tag {
    /// Unlikely to be reorganised: justified on Ethereum, derived from L1 on a rollup.
    Safe,
    /// Never reorganised while consensus holds.
    Finalized,
}

impl Tag {
    /// The parameter of `eth_getBlockByNumber`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::Finalized => "finalized",
        }
    }
}

/// How far one chain is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heights {
    /// The highest number that an endpoint has announced; a hint.
    pub head: u64,
    /// Linked, complete and stored; may roll back.
    pub read: Option<BlockRef>,
    /// What the lowest tier of the finality policy covers; small payments and access use this.
    pub settled: Option<BlockRef>,
    /// The settled block's own time in milliseconds.
    pub settled_time_ms: super::Millis,
    /// What the tiers above the lowest cover, in their order.
    pub upper: [Option<super::Settled>; super::MAX_TIERS - 1],
    /// The newest block that is never undone without a person.
    pub finalized: Option<BlockRef>,
    /// Up to this time, in milliseconds, the chain holds nothing more: deadlines go by it. It stands while finality does.
    pub absent_ms: super::Millis,
}
