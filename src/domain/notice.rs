//! What the issuer of a token may do to those who use it: while it holds, nobody can pay in the token.

use alloy::primitives::Address;
use serde::{Deserialize, Serialize};

use super::ChargeFlag;

/// Why nobody can pay in a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hindrance {
    /// Its transfers are paused.
    TokenPaused,
    /// The treasury is on its blacklist.
    TreasuryBlacklisted,
}

impl Hindrance {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::TokenPaused, Self::TreasuryBlacklisted];

    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TokenPaused => "token_paused",
            Self::TreasuryBlacklisted => "treasury_blacklisted",
        }
    }

    /// How an unpaid charge in the token shows it.
    #[must_use]
    pub const fn flag(self) -> ChargeFlag {
        match self {
            Self::TokenPaused => ChargeFlag::TokenPaused,
            Self::TreasuryBlacklisted => ChargeFlag::TreasuryBlacklisted,
        }
    }
}

/// That something hinders payments in a token from a block on, or does no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// The token.
    pub token: Address,
    /// What.
    pub hindrance: Hindrance,
    /// The block whose logs say so, or after which the contract said so itself.
    pub block_number: u64,
    /// Whether it holds from there on.
    pub holds: bool,
}
