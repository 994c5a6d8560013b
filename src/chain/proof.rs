//! Receipts against the header's receipts root, and logs against its bloom.
//!
//! Pure: text and sockets end before here. What comes out as a log was in the block; and where the root matched, nothing
//! was left out. A receipt encodes by its raw type byte (EIP-2718), so that types unknown to us prove as well.

use alloy::primitives::{B256, Bloom, Bytes};
use alloy::rlp::{BufMut, Encodable, Header as RlpHeader};
use serde::Deserialize;

use super::bloom::{BloomBits, BloomMemory};
use super::error::Unproven;
use super::filter::LogFilter;
use super::levels::Verification;
use super::logs::WireLog;
use super::rpc::Quantity;
use crate::domain::{Header, Level, LogEntry, ProvenBlock};

/// OP-stack deposits append two fields to their receipts.
const DEPOSIT: u8 = 0x7e;

/// A receipt as endpoints write it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireReceipt {
    #[serde(rename = "type", default)]
    kind: Option<Quantity>,
    #[serde(default)]
    status: Option<Quantity>,
    #[serde(default)]
    root: Option<Bytes>,
    cumulative_gas_used: Quantity,
    logs_bloom: Bloom,
    logs: Vec<WireLog>,
    block_hash: B256,
    transaction_hash: B256,
    transaction_index: Quantity,
    #[serde(default)]
    deposit_nonce: Option<Quantity>,
    #[serde(default)]
    deposit_receipt_version: Option<Quantity>,
}

impl WireReceipt {
    /// How many logs it claims.
    pub fn logs(&self) -> usize {
        self.logs.len()
    }

    /// The transaction that it says it is of.
    pub fn transaction(&self) -> B256 {
        self.transaction_hash
    }

    /// The block that it says it is in.
    pub fn block_hash(&self) -> B256 {
        self.block_hash
    }

    /// The transaction failed; not known before EIP-658, where it shows in nothing but its logs.
    pub fn failed(&self) -> bool {
        self.status == Some(Quantity(0))
    }
}

/// The logs of the whole block in order, with log indexes and ordinals, if `receipts` rebuild the header's root.
///
/// # Errors
/// The root differs, or a receipt contradicts itself, its block or its neighbours.
pub(super) fn prove_receipts(
    header: &Header,
    mut receipts: Vec<WireReceipt>,
) -> Result<Vec<LogEntry>, Unproven> {
    receipts.sort_by_key(|receipt| receipt.transaction_index);
    let encoded = receipts
        .iter()
        .map(encode_receipt)
        .collect::<Result<Vec<_>, _>>()?;
    if alloy_trie::root::ordered_trie_root_encoded(&encoded) != header.receipts_root {
        return Err(Unproven::ReceiptsRoot);
    }
    let mut logs = Vec::with_capacity(receipts.iter().map(|receipt| receipt.logs.len()).sum());
    let mut memory = BloomMemory::new();
    for (position, receipt) in receipts.into_iter().enumerate() {
        let in_place = usize::try_from(receipt.transaction_index.0) == Ok(position);
        if !in_place || receipt.block_hash != header.hash {
            return Err(Unproven::ForeignLog);
        }
        take_logs(header, receipt, &mut memory, &mut logs)?;
    }
    Ok(logs)
}

/// The root does not cover block hash, transaction hash and log index: those must agree with what it does cover.
fn take_logs(
    header: &Header,
    receipt: WireReceipt,
    memory: &mut BloomMemory,
    logs: &mut Vec<LogEntry>,
) -> Result<(), Unproven> {
    let mut bloom = Bloom::ZERO;
    for (ordinal, log) in receipt.logs.into_iter().enumerate() {
        let same_block = log.block_hash == header.hash && log.block_number.0 == header.number;
        if !same_block || log.transaction_hash != receipt.transaction_hash || log.removed {
            return Err(Unproven::ForeignLog);
        }
        if usize::try_from(log.log_index.0) != Ok(logs.len()) {
            return Err(Unproven::LogOrder);
        }
        BloomBits::of(log.address.as_slice()).set(&mut bloom);
        for topic in &log.topics.0 {
            memory.topic(topic).set(&mut bloom);
        }
        let ordinal = u32::try_from(ordinal).map_err(|_| Unproven::LogOrder)?;
        logs.push(log.into_entry(Some(ordinal)));
    }
    if bloom == receipt.logs_bloom {
        Ok(())
    } else {
        Err(Unproven::ReceiptBloom)
    }
}

/// Type byte (none for legacy) ‖ rlp([status or state root, cumulative gas, bloom, logs]).
fn encode_receipt(receipt: &WireReceipt) -> Result<Vec<u8>, Unproven> {
    let kind = receipt.kind.unwrap_or_default().0;
    let kind = u8::try_from(kind).map_err(|_| Unproven::ReceiptsRoot)?;
    let mut payload = Vec::with_capacity(512 + 192 * receipt.logs.len());
    match (receipt.status, &receipt.root) {
        (Some(status), _) => status.0.encode(&mut payload),
        (None, Some(root)) => root.encode(&mut payload),
        (None, None) => return Err(Unproven::ReceiptsRoot),
    }
    receipt.cumulative_gas_used.0.encode(&mut payload);
    receipt.logs_bloom.encode(&mut payload);
    encode_logs(&receipt.logs, &mut payload);
    if kind == DEPOSIT {
        for field in [receipt.deposit_nonce, receipt.deposit_receipt_version]
            .into_iter()
            .flatten()
        {
            field.0.encode(&mut payload);
        }
    }
    let mut encoded = Vec::with_capacity(payload.len() + 8);
    if kind != 0 {
        encoded.put_u8(kind);
    }
    RlpHeader {
        list: true,
        payload_length: payload.len(),
    }
    .encode(&mut encoded);
    encoded.extend_from_slice(&payload);
    Ok(encoded)
}

fn encode_logs(logs: &[WireLog], out: &mut Vec<u8>) {
    let fields = |log: &WireLog| log.address.length() + log.topics.0.length() + log.data.length();
    let list = |payload_length| RlpHeader {
        list: true,
        payload_length,
    };
    let payload_length = logs
        .iter()
        .map(|log| list(fields(log)).length_with_payload())
        .sum();
    list(payload_length).encode(out);
    for log in logs {
        list(fields(log)).encode(out);
        log.address.encode(out);
        log.topics.0.encode(out);
        log.data.encode(out);
    }
}

/// The bloom of all logs of a block's receipts.
pub(super) fn logs_bloom(receipts: &[WireReceipt]) -> Bloom {
    let mut bloom = Bloom::ZERO;
    for log in receipts.iter().flat_map(|receipt| &receipt.logs) {
        BloomBits::of(log.address.as_slice()).set(&mut bloom);
        for topic in &log.topics.0 {
            BloomBits::of(topic.as_slice()).set(&mut bloom);
        }
    }
    bloom
}

impl WireReceipt {
    /// The logs of one transaction with their ordinals, if this is its receipt in that block.
    pub fn places(self, header: &Header, transaction: B256) -> Result<Vec<LogEntry>, Unproven> {
        if self.block_hash != header.hash || self.transaction_hash != transaction {
            return Err(Unproven::ForeignLog);
        }
        let mut placed: Vec<LogEntry> = Vec::with_capacity(self.logs.len());
        for log in self.logs {
            if log.block() != header.block() || log.transaction_hash != transaction || log.removed {
                return Err(Unproven::ForeignLog);
            }
            if placed
                .last()
                .is_some_and(|before| before.log_index + 1 != log.log_index.0)
            {
                return Err(Unproven::LogOrder);
            }
            let ordinal = u32::try_from(placed.len()).map_err(|_| Unproven::LogOrder)?;
            placed.push(log.into_entry(Some(ordinal)));
        }
        Ok(placed)
    }
}

/// Blocks of a range with their logs, and those of them whose completeness only receipts can show.
#[derive(Debug)]
pub(super) struct Ranged {
    pub blocks: Vec<ProvenBlock>,
    /// Positions in `blocks`.
    pub needs_receipts: Vec<usize>,
}

/// Puts the logs of a range into their blocks, and checks each against its header: block hash, bloom, order, and that it
/// was asked for. `answers` holds one list per query, in the chain's order.
///
/// # Errors
/// The block's number and what does not hold.
pub(super) fn sort_into_blocks(
    headers: Vec<Header>,
    answers: Vec<Vec<WireLog>>,
    filter: &LogFilter,
    verification: Verification,
    memory: &mut BloomMemory,
) -> Result<Ranged, (u64, Unproven)> {
    let level = match verification.level {
        Level::Receipts => Level::Ranged,
        level => level,
    };
    let first = headers.first().map_or(0, |header| header.number);
    let mut blocks: Vec<ProvenBlock> = headers
        .into_iter()
        .map(|header| ProvenBlock {
            header,
            logs: Vec::new(),
            level,
        })
        .collect();
    let mut last_address = None;
    for answer in answers {
        let mut last_position = None;
        for log in answer {
            let number = log.block_number.0;
            let fail = |reason| Err((number, reason));
            let at = number
                .checked_sub(first)
                .and_then(|offset| usize::try_from(offset).ok());
            let Some(block) = at.and_then(|at| blocks.get_mut(at)) else {
                return fail(Unproven::Unasked);
            };
            if log.block_hash != block.header.hash || log.removed {
                return fail(Unproven::ForeignLog);
            }
            let position = Some((number, log.log_index.0));
            if position <= last_position {
                return fail(Unproven::LogOrder);
            }
            last_position = position;
            if !filter.matches_parts(&log.address, &log.topics.0) {
                return fail(Unproven::Unasked);
            }
            let bloom = &block.header.bloom;
            if verification.blooms
                && !memory.log_within(bloom, &log.address, &log.topics.0, &mut last_address)
            {
                return fail(Unproven::OutsideBloom);
            }
            block.logs.push(log.into_entry(None));
        }
    }
    for block in &mut blocks {
        merge_queries(block).map_err(|reason| (block.header.number, reason))?;
    }
    let needs_receipts = (0..blocks.len())
        .filter(|&at| level == Level::Ranged && lacks_proof(&blocks[at], filter))
        .collect();
    for block in &mut blocks {
        // Nothing there by the bloom is as good a proof as the receipts.
        if verification.absence() && filter.bloom_hit(&block.header.bloom).is_none() {
            block.level = Level::Receipts;
        }
    }
    Ok(Ranged {
        blocks,
        needs_receipts,
    })
}

/// The logs of one block, checked as those of a range.
///
/// # Errors
/// As [`sort_into_blocks`].
pub(super) fn block_logs(
    header: &Header,
    answers: Vec<Vec<WireLog>>,
    filter: &LogFilter,
    verification: Verification,
) -> Result<Vec<LogEntry>, Unproven> {
    let mut memory = BloomMemory::new();
    let sorted = sort_into_blocks(vec![header.clone()], answers, filter, verification, &mut memory);
    let ranged = sorted.map_err(|(_, reason)| reason)?;
    Ok(ranged.blocks.into_iter().flat_map(|block| block.logs).collect())
}

/// The queries overlap where a token is also a gate's contract.
fn merge_queries(block: &mut ProvenBlock) -> Result<(), Unproven> {
    if block.logs.is_sorted_by(|a, b| a.log_index < b.log_index) {
        return Ok(());
    }
    block.logs.sort_by_key(|log| log.log_index);
    block.logs.dedup();
    if block.logs.is_sorted_by(|a, b| a.log_index < b.log_index) {
        Ok(())
    } else {
        Err(Unproven::LogOrder)
    }
}

fn lacks_proof(block: &ProvenBlock, filter: &LogFilter) -> bool {
    let hit = filter.bloom_hit(&block.header.bloom);
    hit.money || (hit.holdings && block.logs.is_empty())
}
