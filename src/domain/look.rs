//! A look at one transaction, wherever a person asks about one that was never read: the words of it, and who can be asked.

use std::fmt::Debug;
use std::sync::Arc;

use alloy::primitives::B256;
use futures_util::future::BoxFuture;

use super::{BlockRef, ChainId, Level, LogEntry, Millis};

/// A transaction as a chain's endpoints say it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// No endpoint knows it.
    Unknown,
    /// It is known, and in no block.
    Pending,
    /// It is in a block.
    Mined(MinedTransaction),
}

/// A transaction in its block. That the block is of the chain which is read is not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MinedTransaction {
    /// The block.
    pub block: BlockRef,
    /// That block's own time.
    pub block_time_ms: Millis,
    /// It failed, and changed nothing.
    pub reverted: bool,
    /// All of its logs with their ordinals.
    pub logs: Vec<LogEntry>,
    /// How it was shown that the block holds them: `receipts`, `asked` or `none`.
    pub level: Level,
}

/// Why nothing can be said of a transaction now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LookError {
    /// The chain is not configured.
    #[error("this chain is not configured")]
    UnknownChain,
    /// No endpoint answered in time with what holds.
    #[error("the chain's endpoints do not answer now, or contradict themselves")]
    Unavailable,
    /// Too many looks are under way.
    #[error("too many transactions are being looked at now")]
    Busy,
    /// This caller has looked too often.
    #[error("too many transactions were asked for that were never read")]
    TooMany,
}

/// What came of a look.
pub type LookOutcome = Result<Arc<Look>, LookError>;

/// Who can look at a transaction. A look ends by itself, whatever the endpoints do.
pub trait LookUp: Debug + Send + Sync {
    /// Looks at a transaction.
    fn look(&self, chain: ChainId, tx_hash: B256) -> BoxFuture<'static, LookOutcome>;

    /// Whether the block `below` is an ancestor of `above`, shown by the recomputed headers of all that lies between.
    fn links(
        &self,
        chain: ChainId,
        below: BlockRef,
        above: BlockRef,
    ) -> BoxFuture<'static, Result<bool, LookError>>;
}
