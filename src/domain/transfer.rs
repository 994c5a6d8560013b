//! One decoded token movement, and the tokens that count as money.

use alloy::primitives::{Address, B256, U256, address, b256};
use serde::{Deserialize, Serialize};

use super::{Amount, ChainId};

/// keccak256 of `Transfer(address,address,uint256)`, of EIP-20 and EIP-721 alike.
pub const TRANSFER: B256 = b256!("0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");

/// keccak256 of `AuthorizationUsed(address,bytes32)`, of EIP-3009.
pub const AUTHORIZATION_USED: B256 =
    b256!("0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5");

/// Stands for the native coin where a token's contract would stand (ERC-7528).
pub const NATIVE_COIN: Address = address!("0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE");

/// Where a transfer of the native coin stands in its transaction, which makes one at most: no log is ever there.
pub const NATIVE_ORDINAL: u32 = u32::MAX;

/// Transfers of the native coin stand in their block behind all of its logs, each at this and its transaction's index.
pub const NATIVE_LOG_INDEX: u64 = 1 << 32;

/// Which token standard a log follows. ERC-20 and ERC-721 share the signature of `Transfer`, and differ in whether its third
/// argument is indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standard {
    /// EIP-20: the value is an amount.
    Erc20,
    /// EIP-721: the value is a token id.
    Erc721,
    /// EIP-1155: an amount of a token id.
    Erc1155,
}

/// One `Transfer(address,address,uint256)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The contract that emitted it.
    pub contract: Address,
    /// The sender of the tokens, which may not be the sender of the transaction; zero when minted.
    pub from: Address,
    /// The recipient; zero when burnt.
    pub to: Address,
    /// The amount in base units (ERC-20), or the token id (ERC-721).
    pub value: U256,
    /// Which of the two.
    pub standard: Standard,
    /// The transaction.
    pub tx_hash: B256,
    /// The log's index in its block.
    pub log_index: u64,
    /// The log's index in its transaction, where the receipts were proven.
    pub ordinal: Option<u32>,
}

/// What signatures for a token name it by (EIP-712), as its contract says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenDomain {
    /// Its contract.
    pub token: Address,
    /// `name()`.
    pub name: String,
    /// `version()`.
    pub version: String,
}

/// An ERC-20, or the native coin, that is accepted as payment on one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The chain it lives on.
    pub chain: ChainId,
    /// Its contract, as a symbol proves nothing; or [`NATIVE_COIN`].
    pub address: Address,
    /// What people call it.
    pub symbol: String,
    /// What one is worth, such as `USD`: tokens of one unit share prices and credit.
    pub unit: String,
    /// Base units are 10^-decimals. Pinned in the configuration, and compared with the contract at start.
    pub decimals: u8,
    /// Payments below this are not payments.
    pub dust: Amount,
}

impl Token {
    /// Whether it is the chain's native coin, which has no contract.
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.address == NATIVE_COIN
    }
}
