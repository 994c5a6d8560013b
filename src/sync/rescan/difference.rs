//! What differs between what is stored here and what the chain proves: a line each, for people and for programs.

use std::fmt;

use alloy::primitives::{Address, B256};
use serde::Serialize;

use crate::domain::{Amount, PaymentKey, Standard, TokenId};

/// Where a payment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    /// Its block.
    pub block: u64,
    /// Its transaction.
    pub transaction: B256,
    /// The log's index in that transaction.
    pub ordinal: u32,
}

impl Place {
    pub(super) const fn new(block: u64, key: &PaymentKey) -> Self {
        Self {
            block,
            transaction: key.tx_hash,
            ordinal: key.ordinal,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            block,
            transaction,
            ordinal,
        } = self;
        write!(f, "block {block} transaction {transaction} log {ordinal}")
    }
}

/// What a payment moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Money {
    /// The token's contract.
    pub token: Address,
    /// Who paid.
    pub payer: Address,
    /// Base units.
    pub amount: Amount,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Difference {
    /// A payment on the chain that is not stored, or is thought to be orphaned.
    PaymentMissing {
        /// Where it stands.
        #[serde(flatten)]
        place: Place,
        /// What it moves.
        #[serde(flatten)]
        money: Money,
    },
    /// A stored payment that is not on the chain.
    PaymentExtra {
        /// Where it is thought to stand.
        #[serde(flatten)]
        place: Place,
        /// What it is thought to move.
        #[serde(flatten)]
        money: Money,
    },
    /// A payment that is stored otherwise than it is on the chain.
    PaymentDiffers {
        /// Where it stands.
        #[serde(flatten)]
        place: Place,
        /// What of it differs.
        field: &'static str,
        /// As it is stored.
        here: String,
        /// As the chain proves it.
        there: String,
    },
    /// A stored payment whose log is not noted in its block.
    ObservationMissing {
        /// Where it stands.
        #[serde(flatten)]
        place: Place,
    },
    /// A log that is noted in a block that does not hold it.
    ObservationExtra {
        /// Where it is noted.
        #[serde(flatten)]
        place: Place,
    },
    /// A kept header that is not the chain's: the chain was reorganised and that was not followed yet, or never.
    HeaderDiffers {
        /// Its height.
        block: u64,
        /// As it is stored.
        here: B256,
        /// As the chain proves it.
        there: B256,
    },
    /// The movements of a watched contract that are kept of a block are not those of the block.
    MovementsDiffer {
        /// The block.
        block: u64,
        /// The contract.
        contract: Address,
        /// How many are stored.
        here: usize,
        /// How many the chain proves.
        there: usize,
    },
    /// A settled balance is not what the contract's whole past adds up to.
    BalanceDiffers {
        /// The contract.
        contract: Address,
        /// Whose.
        holder: Address,
        /// By which standard's events.
        standard: Standard,
        /// Of which token, where it is of one.
        #[serde(skip_serializing_if = "Option::is_none")]
        token: Option<TokenId>,
        /// As it is stored.
        here: Amount,
        /// As the chain proves it.
        there: Amount,
    },
}

impl Difference {
    /// The block that it is in; none of a balance, which is as of all of them.
    pub(super) const fn block(&self) -> Option<u64> {
        match self {
            Self::PaymentMissing { place, .. }
            | Self::PaymentExtra { place, .. }
            | Self::PaymentDiffers { place, .. }
            | Self::ObservationMissing { place }
            | Self::ObservationExtra { place } => Some(place.block),
            Self::HeaderDiffers { block, .. } | Self::MovementsDiffer { block, .. } => Some(*block),
            Self::BalanceDiffers { .. } => None,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PaymentMissing { place, money } => write!(f, "payment missing here: {place}: {money}"),
            Self::PaymentExtra { place, money } => write!(f, "payment not on the chain: {place}: {money}"),
            Self::PaymentDiffers {
                place,
                field,
                here,
                there,
            } => write!(
                f,
                "payment differs: {place}: {field} is {here} here, {there} on the chain"
            ),
            Self::ObservationMissing { place } => write!(f, "observation missing here: {place}"),
            Self::ObservationExtra { place } => write!(f, "observation not on the chain: {place}"),
            Self::HeaderDiffers { block, here, there } => {
                write!(
                    f,
                    "header differs: block {block} is {here} here, {there} on the chain"
                )
            }
            Self::MovementsDiffer {
                block,
                contract,
                here,
                there,
            } => write!(
                f,
                "movements differ: block {block} contract {contract}: {here} here, {there} on the chain"
            ),
            Self::BalanceDiffers {
                contract,
                holder,
                token,
                here,
                there,
                ..
            } => {
                write!(f, "balance differs: contract {contract} holder {holder}")?;
                if let Some(token) = token {
                    write!(f, " token {token}")?;
                }
                write!(f, ": {here} here, {there} on the chain")
            }
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, payer, amount } = self;
        write!(f, "{amount} of {token} from {payer}")
    }
}
