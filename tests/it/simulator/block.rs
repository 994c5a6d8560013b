//! Blocks with real headers: receipts of several types, their root, their blooms, and the texts by which nodes tell of them.

use alloy::consensus::Header;
use alloy::primitives::{B256, Bloom};
use alloy::rlp::{Encodable, Header as RlpHeader};
use alloy_trie::root::ordered_trie_root_encoded;
use serde_json::{Value, json};

use super::tx::{Effect, Tx};
use crate::random::Random;

/// A log where it stands.
#[derive(Debug, Clone)]
pub struct Placed {
    pub tx_hash: B256,
    /// In its transaction.
    pub ordinal: u32,
    /// In its block.
    pub index: u64,
    pub effect: Effect,
    /// As nodes write it.
    pub wire: Value,
}

/// One block. Texts are made once.
#[derive(Debug)]
pub struct Block {
    pub number: u64,
    pub hash: B256,
    pub parent: B256,
    pub timestamp_s: u64,
    /// When the world came to know it, in milliseconds of the world.
    pub born_ms: i64,
    pub txs: Vec<Tx>,
    /// The operator that made it up; none where it was on the chain.
    pub forger: Option<u64>,
    pub logs: Vec<Placed>,
    pub header: Value,
    pub receipts: Vec<Value>,
}

/// What a block is made of.
pub struct Draft {
    pub number: u64,
    pub parent: B256,
    pub timestamp_s: u64,
    pub born_ms: i64,
    pub txs: Vec<Tx>,
    /// How much of the bloom is filled besides, in percent.
    pub fill: u64,
    /// Tells two empty blocks of one height apart.
    pub salt: u64,
    pub forger: Option<u64>,
}

struct Receipt {
    bloom: Bloom,
    encoded: Vec<u8>,
    gas: u64,
}

impl Draft {
    pub fn build(self, random: &mut Random) -> Block {
        let mut gas = 0;
        let mut receipts = Vec::new();
        for tx in &self.txs {
            gas += 21_000;
            receipts.push(receipt(tx, gas));
        }
        let mut bloom = receipts
            .iter()
            .fold(Bloom::ZERO, |sum, receipt| sum | receipt.bloom);
        if self.fill > 0 {
            fill(&mut bloom, self.fill, random);
        }
        let encoded: Vec<&[u8]> = receipts.iter().map(|receipt| &receipt.encoded[..]).collect();
        let header = Header {
            parent_hash: self.parent,
            number: self.number,
            timestamp: self.timestamp_s,
            receipts_root: ordered_trie_root_encoded(&encoded),
            logs_bloom: bloom,
            gas_limit: 30_000_000,
            gas_used: gas,
            extra_data: self.salt.to_be_bytes().to_vec().into(),
            base_fee_per_gas: Some(7),
            withdrawals_root: Some(B256::repeat_byte(3)),
            ..Header::default()
        };
        let hash = header.hash_slow();
        let logs = self.place(hash);
        let wires = self.receipt_wires(hash, &receipts, &logs);
        let header = header_wire(&header, hash, &self.txs);
        Block {
            number: self.number,
            hash,
            parent: self.parent,
            timestamp_s: self.timestamp_s,
            born_ms: self.born_ms,
            txs: self.txs,
            forger: self.forger,
            logs,
            header,
            receipts: wires,
        }
    }

    fn place(&self, hash: B256) -> Vec<Placed> {
        let mut placed = Vec::new();
        for (position, tx) in self.txs.iter().enumerate() {
            for (ordinal, act) in (0..).zip(&tx.acts) {
                let index = u64::try_from(placed.len()).unwrap();
                placed.push(Placed {
                    tx_hash: tx.hash,
                    ordinal,
                    index,
                    effect: act.effect,
                    wire: json!({
                        "address": act.log.address,
                        "topics": act.log.data.topics(),
                        "data": act.log.data.data,
                        "blockNumber": quantity(self.number),
                        "blockHash": hash,
                        "transactionHash": tx.hash,
                        "transactionIndex": quantity(u64::try_from(position).unwrap()),
                        "logIndex": quantity(index),
                        "removed": false,
                    }),
                });
            }
        }
        placed
    }

    fn receipt_wires(&self, hash: B256, receipts: &[Receipt], logs: &[Placed]) -> Vec<Value> {
        let mut wires = Vec::new();
        for (position, (tx, receipt)) in self.txs.iter().zip(receipts).enumerate() {
            let own = logs.iter().filter(|log| log.tx_hash == tx.hash);
            let mut wire = json!({
                "status": "0x1",
                "cumulativeGasUsed": quantity(receipt.gas),
                "logsBloom": receipt.bloom,
                "logs": own.map(|log| log.wire.clone()).collect::<Vec<_>>(),
                "blockHash": hash,
                "blockNumber": quantity(self.number),
                "transactionHash": tx.hash,
                "transactionIndex": quantity(u64::try_from(position).unwrap()),
            });
            if tx.kind != 0 {
                wire["type"] = quantity(tx.kind.into());
            }
            if tx.kind == DEPOSIT {
                wire["depositNonce"] = quantity(DEPOSIT_NONCE);
                wire["depositReceiptVersion"] = quantity(DEPOSIT_VERSION);
            }
            wires.push(wire);
        }
        wires
    }
}

const DEPOSIT: u8 = 0x7e;
const DEPOSIT_NONCE: u64 = 77;
const DEPOSIT_VERSION: u64 = 1;

/// Type byte (none for legacy) ‖ rlp([status, cumulative gas, bloom, logs]), with two fields more for a deposit.
fn receipt(tx: &Tx, gas: u64) -> Receipt {
    let logs: Vec<_> = tx.acts.iter().map(|act| act.log.clone()).collect();
    let mut bloom = Bloom::ZERO;
    for log in &logs {
        bloom.accrue_log(log);
    }
    let mut payload = Vec::new();
    1_u64.encode(&mut payload);
    gas.encode(&mut payload);
    bloom.encode(&mut payload);
    logs.encode(&mut payload);
    if tx.kind == DEPOSIT {
        DEPOSIT_NONCE.encode(&mut payload);
        DEPOSIT_VERSION.encode(&mut payload);
    }
    let mut encoded = Vec::new();
    if tx.kind != 0 {
        encoded.push(tx.kind);
    }
    let list = RlpHeader {
        list: true,
        payload_length: payload.len(),
    };
    list.encode(&mut encoded);
    encoded.extend(payload);
    Receipt { bloom, encoded, gas }
}

/// Sets bits of nothing until about `percent` of them are set.
fn fill(bloom: &mut Bloom, percent: u64, random: &mut Random) {
    for byte in bloom.iter_mut() {
        for bit in 0..8 {
            *byte |= u8::from(random.chance(percent)) << bit;
        }
    }
}

fn header_wire(header: &Header, hash: B256, txs: &[Tx]) -> Value {
    json!({
        "hash": hash,
        "parentHash": header.parent_hash,
        "number": quantity(header.number),
        "timestamp": quantity(header.timestamp),
        "receiptsRoot": header.receipts_root,
        "logsBloom": header.logs_bloom,
        "sha3Uncles": header.ommers_hash,
        "miner": header.beneficiary,
        "stateRoot": header.state_root,
        "transactionsRoot": header.transactions_root,
        "difficulty": "0x0",
        "gasLimit": quantity(header.gas_limit),
        "gasUsed": quantity(header.gas_used),
        "extraData": header.extra_data,
        "mixHash": header.mix_hash,
        "nonce": header.nonce,
        "baseFeePerGas": "0x7",
        "withdrawalsRoot": header.withdrawals_root,
        "transactions": txs.iter().map(|tx| tx.hash).collect::<Vec<_>>(),
    })
}

pub fn quantity(number: u64) -> Value {
    Value::String(format!("{number:#x}"))
}
