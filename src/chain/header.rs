//! Headers: from a block's JSON to a header whose hash we recomputed.
//!
//! A field that a provider leaves out, or of a fork that we do not know, makes the hash differ: so nothing here need be
//! strict about which fields are there. Unproven headers get out of this file on chains alone that were found to have no
//! others.

use alloy::consensus::Header as FullHeader;
use alloy::primitives::{Address, B64, B256, Bloom, Bytes, U256};
use serde::Deserialize;

use super::error::Unproven;
use super::rpc::Quantity;
use crate::domain::{BlockRef, Header};

/// A block or `newHeads` payload as the endpoint wrote it: claims, until [`RawHeader::prove`].
///
/// Fields of forks: London, Shanghai, Cancun (EIP-4844, EIP-4788), Prague (EIP-7685), and the access-list fork
/// (EIP-7928, EIP-7843).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawHeader {
    hash: B256,
    parent_hash: B256,
    number: Quantity,
    timestamp: Quantity,
    receipts_root: B256,
    logs_bloom: Bloom,
    #[serde(default)]
    sha3_uncles: B256,
    #[serde(default, alias = "author")]
    miner: Address,
    #[serde(default)]
    state_root: B256,
    #[serde(default)]
    transactions_root: B256,
    #[serde(default)]
    difficulty: U256,
    #[serde(default)]
    gas_limit: Quantity,
    #[serde(default)]
    gas_used: Quantity,
    #[serde(default)]
    extra_data: Bytes,
    #[serde(default)]
    mix_hash: Option<B256>,
    #[serde(default)]
    nonce: Option<B64>,
    #[serde(default)]
    base_fee_per_gas: Option<Quantity>,
    #[serde(default)]
    withdrawals_root: Option<B256>,
    #[serde(default)]
    blob_gas_used: Option<Quantity>,
    #[serde(default)]
    excess_blob_gas: Option<Quantity>,
    #[serde(default)]
    parent_beacon_block_root: Option<B256>,
    #[serde(default)]
    requests_hash: Option<B256>,
    #[serde(default)]
    block_access_list_hash: Option<B256>,
    #[serde(default)]
    slot_number: Option<Quantity>,
}

impl RawHeader {
    /// The position that it claims.
    #[must_use]
    pub const fn block(&self) -> BlockRef {
        BlockRef {
            number: self.number.0,
            hash: self.hash,
        }
    }

    /// The time that it claims, in seconds since the Unix epoch.
    #[must_use]
    pub const fn timestamp_s(&self) -> u64 {
        self.timestamp.0
    }

    /// The header, if keccak256 of its RLP (yellow paper, 4.3) is the hash that it claims.
    ///
    /// # Errors
    /// [`Unproven::HeaderHash`]. From `newHeads` this is ordinary: some providers leave out fields of newer forks there.
    pub fn prove(&self) -> Result<Header, Unproven> {
        if self.full().hash_slow() != self.hash {
            return Err(Unproven::HeaderHash);
        }
        Ok(self.claimed())
    }

    /// The header as it claims to be, for chains whose headers do not recompute.
    pub(super) fn claimed(&self) -> Header {
        Header {
            number: self.number.0,
            hash: self.hash,
            parent_hash: self.parent_hash,
            timestamp_s: self.timestamp.0,
            receipts_root: self.receipts_root,
            bloom: self.logs_bloom,
        }
    }

    /// The root of the transactions trie that it claims.
    pub(super) const fn transactions_root(&self) -> B256 {
        self.transactions_root
    }

    fn full(&self) -> FullHeader {
        let number = |quantity: Option<Quantity>| quantity.map(|Quantity(number)| number);
        FullHeader {
            parent_hash: self.parent_hash,
            ommers_hash: self.sha3_uncles,
            beneficiary: self.miner,
            state_root: self.state_root,
            transactions_root: self.transactions_root,
            receipts_root: self.receipts_root,
            logs_bloom: self.logs_bloom,
            difficulty: self.difficulty,
            number: self.number.0,
            gas_limit: self.gas_limit.0,
            gas_used: self.gas_used.0,
            timestamp: self.timestamp.0,
            extra_data: self.extra_data.clone(),
            mix_hash: self.mix_hash.unwrap_or_default(),
            nonce: self.nonce.unwrap_or_default(),
            base_fee_per_gas: number(self.base_fee_per_gas),
            withdrawals_root: self.withdrawals_root,
            blob_gas_used: number(self.blob_gas_used),
            excess_blob_gas: number(self.excess_blob_gas),
            parent_beacon_block_root: self.parent_beacon_block_root,
            requests_hash: self.requests_hash,
            block_access_list_hash: self.block_access_list_hash,
            slot_number: number(self.slot_number),
        }
    }
}

/// The first header that does not extend the one before it, with the hash that it should have named.
pub(super) fn first_unlinked(headers: &[Header], expected_parent: Option<B256>) -> Option<(u64, B256)> {
    let parents = expected_parent
        .map(Some)
        .into_iter()
        .chain(expected_parent.is_none().then_some(None))
        .chain(headers.iter().map(|header| Some(header.hash)));
    headers
        .iter()
        .zip(parents)
        .find_map(|(header, parent)| match parent {
            Some(parent) if header.parent_hash != parent => Some((header.number, parent)),
            _ => None,
        })
}
