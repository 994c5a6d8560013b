//! A payment: a transfer of an accepted token to a treasury of ours.

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::{Amount, BlockRef, ChainId, ChargeId, Level, Millis};

/// What a payment is, whichever block it is in: a reorg may move it to another block and log index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentKey {
    /// The chain.
    pub chain: ChainId,
    /// The transaction.
    pub tx_hash: B256,
    /// The log's index within its transaction.
    pub ordinal: u32,
}

/// How far a payment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    /// In a proven block that the finality policy does not cover yet.
    Confirming,
    /// Covered by its tier of the finality policy: it counts.
    Confirmed,
    /// Confirmed, and too old to be undone.
    Final,
    /// Its block was left behind by a reorg; it counts for nothing unless it comes back.
    Orphaned,
}

impl PaymentState {
    /// Whether it counts.
    #[must_use]
    pub const fn counts(self) -> bool {
        matches!(self, Self::Confirmed | Self::Final)
    }

    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirming => "confirming",
            Self::Confirmed => "confirmed",
            Self::Final => "final",
            Self::Orphaned => "orphaned",
        }
    }
}

/// The rule that gave a payment to a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchRule {
    /// The amount was leased to exactly one charge at the block's time.
    ExactAmount,
    /// The payer's wallet is proven by one user with one open charge for that token.
    PayerWallet,
}

impl MatchRule {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExactAmount => "exact_amount",
            Self::PayerWallet => "payer_wallet",
        }
    }
}

/// One payment as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Its identity.
    pub key: PaymentKey,
    /// How far it is.
    pub state: PaymentState,
    /// The token's contract.
    pub token: Address,
    /// `Transfer.from`, never the transaction's sender.
    pub payer: Address,
    /// `Transfer.to`.
    pub treasury: Address,
    /// Base units that arrived.
    pub amount: Amount,
    /// The block that holds it, or last held it.
    pub block: BlockRef,
    /// That block's own time.
    pub block_time_ms: Millis,
    /// Its log index in that block.
    pub log_index: u64,
    /// How that block was proven.
    pub level: Level,
    /// The charge it was given to, with the rule; kept across reorgs.
    pub allocation: Option<(ChargeId, MatchRule)>,
}
