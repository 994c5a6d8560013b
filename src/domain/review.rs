//! What people say and decide of payments that no rule gave to a charge: claims, dispositions and refunds.

use alloy::primitives::B256;
use serde::{Deserialize, Serialize};

use super::{Amount, BlockRef, ChainId, ChargeId, Millis, PaymentKey, RefundId, TenantId, UserId};

/// What an operator decided of a payment that belongs to no charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// It is nobody's, and nothing follows from it.
    Ignored,
    /// It was sent back, or is said to have been: its refunds say how far that is.
    Refunded,
}

impl Disposition {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ignored => "ignored",
            Self::Refunded => "refunded",
        }
    }
}

/// A user's word that a transaction is theirs. It proves nothing: a proven wallet, or an operator, decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The transaction.
    pub tx_hash: B256,
    /// The user's tenant.
    pub tenant: TenantId,
    /// Who says so.
    pub user: UserId,
    /// The charge that it is said to pay, with its chain; none: the only one that it can.
    pub charge: Option<(ChainId, ChargeId)>,
    /// When it was said.
    pub claimed_at: Millis,
    /// When a payment of that transaction was given to a charge of theirs.
    pub applied_at: Option<Millis>,
}

/// How far a refund is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    /// Its transaction is waited for.
    Pending,
    /// A settled transfer from the treasury to the payer covers it.
    Confirmed,
    /// Its transaction is settled, and sends back too little, something else, or nothing.
    Failed,
    /// Its transaction was not found in a block in time.
    Vanished,
}

impl RefundState {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
            Self::Vanished => "vanished",
        }
    }
}

/// Money that an operator sent back. tollgate sends nothing: it follows the operator's own transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Its id.
    pub id: RefundId,
    /// The payment that is sent back.
    pub payment: PaymentKey,
    /// The operator's transaction.
    pub tx_hash: B256,
    /// At least this must be sent back, in base units of the payment's token.
    pub amount: Amount,
    /// How far it is.
    pub state: RefundState,
    /// Why, as the operator said.
    pub reason: String,
    /// Who recorded it.
    pub actor: String,
    /// When it was recorded.
    pub recorded_at: Millis,
    /// When its transaction is looked at next.
    pub look_at: Millis,
    /// The transfer that proves it.
    pub proof: Option<RefundProof>,
    /// Why it is not confirmed, in words.
    pub problem: Option<String>,
}

/// The transfer that proves a refund. One transfer proves one refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefundProof {
    /// The log's index within its transaction.
    pub ordinal: u32,
    /// The log's index in its block: no other refund is proven by that log, whichever transaction it is said to be of.
    pub log_index: u64,
    /// Base units that were sent.
    pub sent: Amount,
    /// The block that holds it.
    pub block: BlockRef,
}
