//! The native coin. A plain transfer of it leaves no log, so a block's transactions are read in full, held against the
//! transactions root of the header that they come with, and those that pay a treasury are told as the log that they would
//! leave: [`LogEntry::native`]. What a contract passes on within a transaction is not seen.
//!
//! Who paid is recovered from the signature, and whether it succeeded stands in the proven receipts: an endpoint can invent
//! neither.

use alloy::consensus::transaction::SignerRecoverable as _;
use alloy::consensus::{EthereumTxEnvelope, Transaction as _, TxEip4844};
use alloy::eips::Encodable2718 as _;
use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::rlp::{BufMut as _, Encodable as _, Header as RlpHeader};
use alloy_trie::EMPTY_ROOT_HASH;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::compute::compute;
use super::endpoint::{Endpoint, Lane};
use super::error::{ChainError, Failure, Unproven};
use super::filter::LogFilter;
use super::header::RawHeader;
use super::proof::{DEPOSIT, WireReceipt};
use super::reader::ChainReader;
use super::rpc::Quantity;
use crate::domain::{Header, Level, LogEntry};

const METHOD: &str = "eth_getBlockByHash";

/// Blocks that are looked at until one has transactions.
const MAX_PROBED: u32 = 8;

/// A block with its transactions in full, read where there is time for it.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct WireBlock(Box<RawValue>);

#[derive(Deserialize)]
struct WireTransactions {
    transactions: Vec<Box<RawValue>>,
}

/// What every transaction says of its kind.
#[derive(Deserialize)]
struct WireKind {
    #[serde(rename = "type", default)]
    kind: Option<Quantity>,
}

/// A deposit from the layer below, as the OP stack has it: it is signed by nobody.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireDeposit {
    source_hash: B256,
    from: Address,
    to: Option<Address>,
    #[serde(default)]
    mint: Option<U256>,
    value: U256,
    gas: Quantity,
    #[serde(default)]
    is_system_tx: bool,
    input: Bytes,
}

/// What an endpoint says of a transaction, where nothing is recomputed.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireClaim {
    hash: B256,
    from: Address,
    to: Option<Address>,
    value: U256,
}

/// A transaction whose encoding is known.
enum Transaction {
    Signed(Box<EthereumTxEnvelope<TxEip4844>>),
    Deposit(WireDeposit),
}

/// A transfer to a treasury, if its transaction succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Paying {
    /// The transaction's index in its block.
    pub index: usize,
    /// What it is told as.
    pub entry: LogEntry,
}

impl Transaction {
    fn read(raw: &RawValue) -> Result<Self, Unproven> {
        let kind: WireKind = serde_json::from_str(raw.get()).map_err(|_| Unproven::TransactionType)?;
        let is_deposit = kind.kind == Some(Quantity(DEPOSIT.into()));
        let read = if is_deposit {
            serde_json::from_str(raw.get()).map(Self::Deposit)
        } else {
            serde_json::from_str(raw.get()).map(|signed| Self::Signed(Box::new(signed)))
        };
        read.map_err(|_| Unproven::TransactionType)
    }

    fn encoded(&self) -> Vec<u8> {
        match self {
            Self::Signed(signed) => signed.encoded_2718(),
            Self::Deposit(deposit) => deposit.encoded(),
        }
    }

    /// To whom, and how much.
    fn transfer(&self) -> (Option<Address>, U256) {
        match self {
            Self::Signed(signed) => (signed.to(), signed.value()),
            Self::Deposit(deposit) => (deposit.to, deposit.value),
        }
    }

    fn sender(&self) -> Result<Address, Unproven> {
        match self {
            Self::Signed(signed) => signed.recover_signer().map_err(|_| Unproven::Signature),
            Self::Deposit(deposit) => Ok(deposit.from),
        }
    }
}

impl WireDeposit {
    /// `0x7e` ‖ rlp([source hash, from, to, mint, value, gas, is system transaction, data]).
    pub fn encoded(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(160 + self.input.len());
        self.source_hash.encode(&mut payload);
        self.from.encode(&mut payload);
        match &self.to {
            Some(to) => to.encode(&mut payload),
            None => payload.put_u8(alloy::rlp::EMPTY_STRING_CODE),
        }
        self.mint.unwrap_or_default().encode(&mut payload);
        self.value.encode(&mut payload);
        self.gas.0.encode(&mut payload);
        self.is_system_tx.encode(&mut payload);
        self.input.encode(&mut payload);
        let mut encoded = vec![DEPOSIT];
        RlpHeader {
            list: true,
            payload_length: payload.len(),
        }
        .encode(&mut encoded);
        encoded.extend_from_slice(&payload);
        encoded
    }
}

fn place(index: usize) -> Result<u32, Unproven> {
    u32::try_from(index).map_err(|_| Unproven::TransactionsRoot)
}

/// The transactions of a block that pay one of `treasuries`, if all of them rebuild its transactions root.
pub(super) fn prove_transactions(
    header: &Header,
    block: &WireBlock,
    treasuries: &[Address],
) -> Result<Vec<Paying>, Unproven> {
    let raw: RawHeader = serde_json::from_str(block.0.get()).map_err(|_| Unproven::HeaderHash)?;
    if raw.prove()?.hash != header.hash {
        return Err(Unproven::OtherBlock);
    }
    let body: WireTransactions =
        serde_json::from_str(block.0.get()).map_err(|_| Unproven::TransactionsRoot)?;
    let mut encoded = Vec::with_capacity(body.transactions.len());
    let mut paying = Vec::new();
    for (index, raw) in body.transactions.iter().enumerate() {
        let transaction = Transaction::read(raw)?;
        let bytes = transaction.encoded();
        if let (Some(to), value) = transaction.transfer()
            && treasuries.contains(&to)
            && !value.is_zero()
        {
            let (hash, from) = (keccak256(&bytes), transaction.sender()?);
            let entry = LogEntry::native((hash, place(index)?), (from, to), value);
            paying.push(Paying { index, entry });
        }
        encoded.push(bytes);
    }
    if alloy_trie::root::ordered_trie_root_encoded(&encoded) == raw.transactions_root() {
        Ok(paying)
    } else {
        Err(Unproven::TransactionsRoot)
    }
}

/// The proven transactions of a block that pay a treasury, where the filter asks for the native coin. One request, where the
/// block has any transaction.
pub(super) async fn paying(
    endpoint: &Endpoint,
    lane: Lane,
    header: &Header,
    filter: &LogFilter,
) -> Result<Vec<Paying>, ChainError> {
    if !is_asked(filter, header) {
        return Ok(Vec::new());
    }
    let block = fetch(endpoint, lane, header).await?;
    let (checked, filter) = (header.clone(), filter.clone());
    let proving = move || prove_transactions(&checked, &block, filter.native());
    let Some(proven) = compute(true, proving).await else {
        let failure = Failure::transport("the proof was cut short");
        return Err(endpoint.identity().failed(METHOD, failure));
    };
    proven.map_err(|reason| endpoint.unproven(header.number, reason))
}

async fn fetch(endpoint: &Endpoint, lane: Lane, header: &Header) -> Result<WireBlock, ChainError> {
    let params = json!([header.hash, true]);
    endpoint.request_by(lane, METHOD, params).await
}

/// The transfers to a treasury in a block as one endpoint says, for chains whose blocks prove less.
pub(super) async fn said(
    endpoint: &Endpoint,
    lane: Lane,
    header: &Header,
    filter: &LogFilter,
) -> Result<Vec<LogEntry>, ChainError> {
    if !is_asked(filter, header) {
        return Ok(Vec::new());
    }
    let block = fetch(endpoint, lane, header).await?;
    let other = |_| endpoint.unproven(header.number, Unproven::OtherBlock);
    let raw: RawHeader = serde_json::from_str(block.0.get()).map_err(other)?;
    if raw.block() != header.block() {
        return Err(endpoint.unproven(header.number, Unproven::OtherBlock));
    }
    let body: WireTransactions = serde_json::from_str(block.0.get()).map_err(other)?;
    let mut said = Vec::new();
    for (index, raw) in body.transactions.iter().enumerate() {
        let claim: WireClaim = serde_json::from_str(raw.get()).map_err(other)?;
        let to = claim
            .to
            .filter(|to| filter.native().contains(to) && !claim.value.is_zero());
        let Some(to) = to else { continue };
        let params = json!([claim.hash]);
        let receipt: WireReceipt = endpoint
            .request_by(lane, "eth_getTransactionReceipt", params)
            .await?;
        let succeeded = receipt.succeeded(header, claim.hash);
        if succeeded.map_err(|reason| endpoint.unproven(header.number, reason))? {
            let index = place(index).map_err(|reason| endpoint.unproven(header.number, reason))?;
            said.push(LogEntry::native(
                (claim.hash, index),
                (claim.from, to),
                claim.value,
            ));
        }
    }
    Ok(said)
}

/// Whether a block is to be looked through for the native coin: one without receipts has no transactions.
pub(super) fn is_asked(filter: &LogFilter, header: &Header) -> bool {
    !filter.native().is_empty() && header.receipts_root != EMPTY_ROOT_HASH
}

impl ChainReader {
    /// Whether this chain's transactions can be recomputed, by the newest block from `head` down that has any. Where blocks
    /// are believed without a proof there is nothing to show.
    ///
    /// # Errors
    /// [`ChainError::Unproven`] where they cannot; else no endpoint could be asked.
    pub async fn probe_native(&self, head: &Header, filter: &LogFilter) -> Result<(), ChainError> {
        let mut header = head.clone();
        for _ in 0..MAX_PROBED {
            if self.level() != Level::Receipts || filter.native().is_empty() || header.number == 0 {
                return Ok(());
            }
            if is_asked(filter, &header) {
                let probed = &header;
                return self
                    .try_each(|endpoint| async move {
                        paying(&endpoint, Lane::Live, probed, filter).await.map(drop)
                    })
                    .await;
            }
            header = self.header_by_hash(header.parent_hash).await?;
        }
        Ok(())
    }
}
