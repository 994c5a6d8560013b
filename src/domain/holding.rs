//! What is held of a contract: by which standard, all of it or one token id, and what must be kept to know it.

use std::fmt;
use std::str::FromStr;

use alloy::primitives::{B256, U256, b256};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Standard, TRANSFER};

/// keccak256 of `TransferSingle(address,address,address,uint256,uint256)`, of EIP-1155.
pub const TRANSFER_SINGLE: B256 = b256!("0xc3d58168c5ae7397731d063d5bbf3d657854427343f4c083240f7aacaa2d0f62");

/// keccak256 of `TransferBatch(address,address,address,uint256[],uint256[])`, of EIP-1155.
pub const TRANSFER_BATCH: B256 = b256!("0x4a39dc06d4c0dbc64b70af90fd698a233a518aa5d07e595d983b8c0526c8f7fb");

/// keccak256 of `ConsecutiveTransfer(uint256,uint256,address,address)`, of EIP-2309.
pub const CONSECUTIVE_TRANSFER: B256 =
    b256!("0xdeaa91b6123d068f5821d0fb0678463d1a8a6079fe8af5de3ce5e896dcf9133d");

/// The id of a token within its contract (EIP-721, EIP-1155).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub U256);

/// Why a text is not a token id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a token id: a whole number below 2^256, decimal or with 0x")]
pub struct TokenIdError;

impl FromStr for TokenId {
    type Err = TokenIdError;

    /// Decimal, or hexadecimal after `0x`.
    fn from_str(text: &str) -> Result<Self, TokenIdError> {
        let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
        // The parser passes over underscores, and reads nothing as zero.
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(TokenIdError);
        }
        let id = U256::from_str_radix(digits, radix);
        id.map(Self).map_err(|_| TokenIdError)
    }
}

impl fmt::Display for TokenId {
    /// Decimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for TokenId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TokenId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One balance of a holder within a contract. The standards are kept apart, as a contract may emit the events of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asset {
    /// By whose events it moves.
    pub standard: Standard,
    /// The token; `None` for all of the contract's together.
    pub id: Option<TokenId>,
}

impl Asset {
    /// All that is held by this standard.
    #[must_use]
    pub const fn all(standard: Standard) -> Self {
        Self { standard, id: None }
    }

    /// One token.
    #[must_use]
    pub const fn one(standard: Standard, id: TokenId) -> Self {
        Self {
            standard,
            id: Some(id),
        }
    }
}

/// What is kept of a contract: the standards whose events count, and whether each token id is kept by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Scope(u8);

impl Scope {
    const IDS: u8 = 1 << 3;
    const ALL: u8 = (1 << 4) - 1;

    /// The totals of one standard.
    #[must_use]
    pub const fn of(standard: Standard) -> Self {
        Self(Self::bit(standard))
    }

    const fn bit(standard: Standard) -> u8 {
        match standard {
            Standard::Erc20 => 1,
            Standard::Erc721 => 1 << 1,
            Standard::Erc1155 => 1 << 2,
        }
    }

    /// The same, by token id too.
    #[must_use]
    pub const fn with_ids(self) -> Self {
        Self(self.0 | Self::IDS)
    }

    /// The same, without single token ids.
    #[must_use]
    pub const fn without_ids(self) -> Self {
        Self(self.0 & !Self::IDS)
    }

    /// What either keeps.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all that `other` keeps is kept.
    #[must_use]
    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether this standard's events count.
    #[must_use]
    pub const fn has(self, standard: Standard) -> bool {
        self.0 & Self::bit(standard) != 0
    }

    /// Whether each token id is kept by itself.
    #[must_use]
    pub const fn keeps_ids(self) -> bool {
        self.0 & Self::IDS != 0
    }

    /// The stored form.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Reads the stored form.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// The first topics of the events that count.
    #[must_use]
    pub fn topics(self) -> Vec<B256> {
        let plain = self.has(Standard::Erc20) || self.has(Standard::Erc721);
        let by_event = [
            (plain, TRANSFER),
            (self.has(Standard::Erc721), CONSECUTIVE_TRANSFER),
            (self.has(Standard::Erc1155), TRANSFER_SINGLE),
            (self.has(Standard::Erc1155), TRANSFER_BATCH),
        ];
        let counting = by_event.into_iter().filter(|(counts, _)| *counts);
        counting.map(|(_, topic)| topic).collect()
    }
}

/// What may be wrong with a contract's logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// One has the signature of a transfer, and other topics or data than its standard says: nothing is known of the contract.
    MalformedLog,
    /// More tokens move, or are held, than are kept one by one: only what is held of all of them together is known.
    TooManyTokens,
}

impl Fault {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MalformedLog => "malformed_log",
            Self::TooManyTokens => "too_many_tokens",
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::keccak256;

    use super::*;

    #[test]
    fn the_topics_are_those_of_the_events() {
        for (topic, event) in [
            (TRANSFER, "Transfer(address,address,uint256)"),
            (
                TRANSFER_SINGLE,
                "TransferSingle(address,address,address,uint256,uint256)",
            ),
            (
                TRANSFER_BATCH,
                "TransferBatch(address,address,address,uint256[],uint256[])",
            ),
            (
                CONSECUTIVE_TRANSFER,
                "ConsecutiveTransfer(uint256,uint256,address,address)",
            ),
        ] {
            assert_eq!(topic, keccak256(event), "{event}");
        }
        assert_eq!(Scope::of(Standard::Erc20).topics(), [TRANSFER]);
        let nft = Scope::of(Standard::Erc721).with_ids();
        assert_eq!(nft.topics(), [TRANSFER, CONSECUTIVE_TRANSFER]);
        let pass = Scope::of(Standard::Erc1155);
        assert_eq!(pass.topics(), [TRANSFER_SINGLE, TRANSFER_BATCH]);
        assert_eq!(nft.union(pass).topics().len(), 4);
    }

    #[test]
    fn a_scope_covers_what_it_keeps_and_survives_storage() {
        let nft = Scope::of(Standard::Erc721);
        assert!(nft.with_ids().covers(nft) && !nft.covers(nft.with_ids()));
        assert!(!nft.covers(Scope::of(Standard::Erc20)));
        for bits in 0..16 {
            let scope = Scope::from_bits(bits).unwrap();
            assert_eq!(scope.bits(), bits);
        }
        assert_eq!(Scope::from_bits(16), None);
    }

    #[test]
    fn token_ids_are_decimal_or_hexadecimal_and_below_2_to_the_256th() {
        let id = |text: &str| text.parse::<TokenId>().map(|id| id.0);
        assert_eq!(id("0"), Ok(U256::ZERO));
        assert_eq!(id("0x1F"), Ok(U256::from(31)));
        assert_eq!(id(&U256::MAX.to_string()), Ok(U256::MAX));
        let above = format!("0x1{}", "0".repeat(64));
        for bad in ["", "0x", "-1", "1.5", "1_0", "abc", "+1", &above, &"9".repeat(79)] {
            assert!(id(bad).is_err(), "{bad:?}");
        }
    }
}
