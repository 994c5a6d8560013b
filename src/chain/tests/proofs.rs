//! Headers and receipts as a real node wrote them, and what happens to them when a bit is changed.

use std::collections::{BTreeMap, BTreeSet};

use alloy::consensus::Header as FullHeader;
use alloy::primitives::{Address, B256, Bloom, b256};
use serde_json::{Value, json};

use crate::chain::bloom::BloomMemory;
use crate::chain::header::first_unlinked;
use crate::chain::levels::Verification;
use crate::chain::logs::WireLog;
use crate::chain::proof::{Proven, WireReceipt, prove_receipts, sort_into_blocks};
use crate::chain::tests::node::coins;
use crate::chain::{Hit, LogFilter, RawHeader, Unproven};
use crate::domain::{Header, Level, LogEntry};

/// One block of anvil 1.7.1: receipts of types 0, 1 and 2, one of them failed, six logs, one contract with four topics.
fn captured() -> Value {
    serde_json::from_str(include_str!("../testdata/anvil_block.json")).unwrap()
}

fn header() -> Header {
    serde_json::from_value::<RawHeader>(captured()["block"].clone())
        .unwrap()
        .prove()
        .unwrap()
}

fn prove(receipts: Value) -> Result<Vec<LogEntry>, Unproven> {
    let receipts = serde_json::from_value::<Vec<WireReceipt>>(receipts).unwrap();
    prove_receipts(&header(), receipts).map(|proven| proven.logs)
}

fn wire_logs(logs: Value) -> Vec<WireLog> {
    serde_json::from_value(logs).unwrap()
}

fn address(of: &str) -> Address {
    serde_json::from_value(captured()[of].clone()).unwrap()
}

fn money() -> LogFilter {
    let (token, treasury) = (
        BTreeSet::from([address("token")]),
        BTreeSet::from([address("treasury")]),
    );
    LogFilter::new(&token, &treasury, &BTreeMap::new())
}

fn holdings() -> LogFilter {
    LogFilter::new(&BTreeSet::new(), &BTreeSet::new(), &coins(address("emitter")))
}

#[test]
fn a_block_and_its_announcement_hash_to_the_same_header() {
    let announced: RawHeader = serde_json::from_value(captured()["head"].clone()).unwrap();
    assert_eq!(announced.prove().unwrap(), header());
    assert_eq!(header().number, 4);
}

#[test]
fn the_first_block_of_ethereum_hashes_to_its_known_hash() {
    let genesis = json!({
        "number": "0x0", "timestamp": "0x0", "nonce": "0x0000000000000042", "difficulty": "0x400000000",
        "gasLimit": "0x1388", "gasUsed": "0x0", "miner": Address::ZERO, "mixHash": B256::ZERO, "parentHash": B256::ZERO,
        "extraData": "0x11bbe8db4e347b4e8c937c1c8370e4b5ed33adb3db69cbdb7a38e1e50b1b82fa",
        "sha3Uncles": "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347",
        "stateRoot": "0xd7f8974fb5ac78d9ac099b9ad5018bedc2ce0a72dad1827a1709da30580f0544",
        "transactionsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
        "receiptsRoot": "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421",
        "logsBloom": Bloom::ZERO, "totalDifficulty": "0x400000000", "size": "0x21c", "uncles": [], "transactions": [],
        "hash": "0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3",
    });
    let header = serde_json::from_value::<RawHeader>(genesis)
        .unwrap()
        .prove()
        .unwrap();
    assert_eq!(
        header.hash,
        b256!("d4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3")
    );
}

/// Block 0 of three networks, of the forks London and Cancun, with the hashes that they are known by.
#[test]
fn the_first_blocks_of_other_networks_hash_to_their_known_hashes() {
    let block = |hash: &str, state: &str, more: Value| {
        let mut block = json!({
            "hash": hash, "stateRoot": state, "number": "0x0", "gasUsed": "0x0", "miner": Address::ZERO,
            "mixHash": B256::ZERO, "parentHash": B256::ZERO, "logsBloom": Bloom::ZERO, "extraData": "0x",
            "sha3Uncles": alloy::consensus::EMPTY_OMMER_ROOT_HASH,
            "transactionsRoot": alloy_trie::EMPTY_ROOT_HASH, "receiptsRoot": alloy_trie::EMPTY_ROOT_HASH,
        });
        block
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        serde_json::from_value::<RawHeader>(block).unwrap()
    };
    let sepolia = block(
        "0x25a5cc106eea7138acab33231d7160d69cb777ee0c2c553fcddf5138993e6dd9",
        "0x5eb6e371a698b8d68f665192350ffcecbbbf322916f4b51bd79bb6887da3f494",
        json!({
            "extraData": "0x5365706f6c69612c20417468656e732c204174746963612c2047726565636521",
            "gasLimit": "0x1c9c380", "difficulty": "0x20000", "timestamp": "0x6159af19", "nonce": "0x0000000000000000",
            "baseFeePerGas": "0x3b9aca00",
        }),
    );
    let holesky = block(
        "0xb5f7f912443c940f21fd611f12828d75b534364ed9e95ca4e307729a4661bde4",
        "0x69d8c9d72f6fa4ad42d4702b433707212f90db395eb54dc20bc85de253788783",
        json!({
            "gasLimit": "0x17d7840", "difficulty": "0x1", "timestamp": "0x65156994", "nonce": "0x0000000000001234",
            "baseFeePerGas": "0x3b9aca00",
        }),
    );
    let hoodi = block(
        "0xbbe312868b376a3001692a646dd2d7d1e4406380dfd86b98aa8a34d1557c971b",
        "0xda87d7f5f91c51508791bbcbd4aa5baf04917830b86985eeb9ad3d5bfb657576",
        json!({
            "gasLimit": "0x2255100", "difficulty": "0x1", "timestamp": "0x67d80ec0", "nonce": "0x0000000000001234",
            "baseFeePerGas": "0x3b9aca00", "withdrawalsRoot": alloy_trie::EMPTY_ROOT_HASH, "blobGasUsed": "0x0",
            "excessBlobGas": "0x0", "parentBeaconBlockRoot": B256::ZERO,
        }),
    );
    for (name, header) in [("sepolia", sepolia), ("holesky", holesky), ("hoodi", hoodi)] {
        assert!(header.prove().is_ok(), "{name}");
    }
}

#[test]
fn a_header_of_each_fork_recomputes_and_only_as_that_fork() {
    let frontier = FullHeader {
        number: 7,
        extra_data: vec![1, 2].into(),
        ..FullHeader::default()
    };
    let london = FullHeader {
        base_fee_per_gas: Some(7),
        ..frontier.clone()
    };
    let shanghai = FullHeader {
        withdrawals_root: Some(B256::repeat_byte(1)),
        ..london.clone()
    };
    let cancun = FullHeader {
        blob_gas_used: Some(0),
        excess_blob_gas: Some(5),
        parent_beacon_block_root: Some(B256::repeat_byte(2)),
        ..shanghai.clone()
    };
    let prague = FullHeader {
        requests_hash: Some(B256::repeat_byte(3)),
        ..cancun.clone()
    };
    let forks = [frontier, london, shanghai, cancun, prague];
    for header in &forks {
        let mut json = serde_json::to_value(header).unwrap();
        json["hash"] = json!(header.hash_slow());
        let raw = |json: Value| serde_json::from_value::<RawHeader>(json).unwrap();
        assert_eq!(
            raw(json.clone()).prove().map(|proven| proven.hash),
            Ok(header.hash_slow())
        );
        for other in forks.iter().filter(|other| *other != header) {
            json["hash"] = json!(other.hash_slow());
            assert_eq!(raw(json.clone()).prove(), Err(Unproven::HeaderHash));
        }
    }
}

#[test]
fn a_header_with_a_field_of_a_fork_that_we_do_not_know_is_unproven() {
    let block = captured()["block"].clone();
    let header: FullHeader = serde_json::from_value(block.clone()).unwrap();
    let mut fields = alloy::rlp::encode(&header);
    let parsed = alloy::rlp::Header::decode(&mut fields.as_slice()).unwrap();
    let payload = fields.split_off(fields.len() - parsed.payload_length);
    let longer = alloy::rlp::Header {
        list: true,
        payload_length: payload.len() + 1,
    };
    let mut encoded = Vec::new();
    longer.encode(&mut encoded);
    encoded.extend(payload);
    encoded.push(9);
    let mut future = block;
    future["fieldOfTheFuture"] = json!("0x9");
    future["hash"] = json!(alloy::primitives::keccak256(&encoded));
    let raw: RawHeader = serde_json::from_value(future).unwrap();
    assert_eq!(raw.prove(), Err(Unproven::HeaderHash));
}

#[test]
fn a_header_with_any_field_changed_or_left_out_is_unproven() {
    let block = captured()["block"].clone();
    for field in [
        "stateRoot",
        "miner",
        "transactionsRoot",
        "gasLimit",
        "gasUsed",
        "sha3Uncles",
        "baseFeePerGas",
        "withdrawalsRoot",
        "blobGasUsed",
        "excessBlobGas",
        "parentBeaconBlockRoot",
        "requestsHash",
    ] {
        let mut left_out = block.clone();
        assert!(
            left_out.as_object_mut().unwrap().remove(field).is_some(),
            "{field}"
        );
        let raw: RawHeader = serde_json::from_value(left_out).unwrap();
        let unchanged = block[field] == json!(Address::ZERO);
        assert_eq!(raw.prove().is_ok(), unchanged, "{field}");
    }
    for (field, other) in [
        ("receiptsRoot", json!(B256::repeat_byte(1))),
        ("logsBloom", json!(Bloom::ZERO)),
        ("timestamp", json!("0x1")),
        ("number", json!("0x5")),
        ("parentHash", json!(B256::repeat_byte(1))),
        ("hash", json!(B256::repeat_byte(1))),
    ] {
        let mut changed = block.clone();
        changed[field] = other;
        let raw: RawHeader = serde_json::from_value(changed).unwrap();
        assert_eq!(raw.prove(), Err(Unproven::HeaderHash), "{field}");
    }
}

#[test]
fn headers_link_to_each_other_and_to_the_expected_parent() {
    let first = header();
    let mut second = first.clone();
    second.number += 1;
    second.parent_hash = first.hash;
    second.hash = B256::repeat_byte(7);
    let both = [first.clone(), second.clone()];
    assert_eq!(first_unlinked(&both, None), None);
    assert_eq!(first_unlinked(&both, Some(first.parent_hash)), None);
    let stranger = B256::repeat_byte(9);
    assert_eq!(first_unlinked(&both, Some(stranger)), Some((4, stranger)));
    let swapped = [second.clone(), first];
    assert_eq!(first_unlinked(&swapped, None), Some((4, second.hash)));
    assert_eq!(first_unlinked(&[], Some(stranger)), None);
}

#[test]
fn receipts_of_all_types_rebuild_the_root_and_yield_every_log_with_its_place() {
    let logs = prove(captured()["receipts"].clone()).unwrap();
    let places: Vec<_> = logs
        .iter()
        .map(|log| (log.log_index, log.ordinal.unwrap()))
        .collect();
    assert_eq!(places, [(0, 0), (1, 0), (2, 1), (3, 2), (4, 0), (5, 1)]);
    let listed: Vec<_> = wire_logs(captured()["logs"].clone())
        .into_iter()
        .map(|log| log.into_entry(None))
        .collect();
    let without_places: Vec<_> = logs
        .into_iter()
        .map(|log| LogEntry { ordinal: None, ..log })
        .collect();
    assert_eq!(without_places, listed);
}

#[test]
fn receipts_may_come_in_any_order() {
    let mut receipts = captured()["receipts"].clone();
    receipts.as_array_mut().unwrap().reverse();
    assert_eq!(prove(receipts), prove(captured()["receipts"].clone()));
}

#[test]
fn receipts_with_anything_covered_by_the_root_changed_are_unproven() {
    let all = captured()["receipts"].clone();
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut receipts = all.clone();
        change(&mut receipts);
        prove(receipts)
    };
    let root = Err(Unproven::ReceiptsRoot);
    assert_eq!(
        changed(&|r| {
            r.as_array_mut().unwrap().pop();
        }),
        root
    );
    assert_eq!(
        changed(&|r| {
            r[1]["logs"].as_array_mut().unwrap().pop();
        }),
        root
    );
    assert_eq!(changed(&|r| r[0]["logs"][0]["data"] = json!("0x")), root);
    assert_eq!(changed(&|r| r[0]["status"] = json!("0x0")), root);
    assert_eq!(changed(&|r| r[0]["cumulativeGasUsed"] = json!("0x1")), root);
    assert_eq!(changed(&|r| r[0]["type"] = json!("0x6a")), root);
    assert_eq!(changed(&|r| r[0]["type"] = json!("0x100")), root);
    assert_eq!(changed(&|r| r[0]["logsBloom"] = json!(Bloom::ZERO)), root);
    assert_eq!(
        changed(&|r| {
            r[0].as_object_mut().unwrap().remove("status");
        }),
        root
    );
    assert_eq!(changed(&|r| *r = json!([])), root);
}

#[test]
fn receipts_that_contradict_what_the_root_does_not_cover_are_unproven() {
    let all = captured()["receipts"].clone();
    let changed = |pointer: &str, value: Value| {
        let mut receipts = all.clone();
        *receipts.pointer_mut(pointer).unwrap() = value;
        prove(receipts)
    };
    let other = json!(B256::repeat_byte(1));
    let foreign = Err(Unproven::ForeignLog);
    assert_eq!(changed("/0/blockHash", other.clone()), foreign);
    assert_eq!(changed("/0/logs/0/blockHash", other.clone()), foreign);
    assert_eq!(changed("/0/logs/0/transactionHash", other), foreign);
    assert_eq!(changed("/0/logs/0/blockNumber", json!("0x5")), foreign);
    assert_eq!(changed("/0/logs/0/removed", json!(true)), foreign);
    assert_eq!(changed("/4/transactionIndex", json!("0x9")), foreign);
    assert_eq!(
        changed("/1/logs/1/logIndex", json!("0x1")),
        Err(Unproven::LogOrder)
    );
}

/// A receipt without logs, as `kind ‖ rlp([1, 0x5208, bloom, [], …more])`, written out by hand.
fn bare_receipt(kind: u8, more: &[u8]) -> Vec<u8> {
    let payload = 1 + 3 + 3 + 256 + 1 + more.len();
    let length = u16::try_from(payload).unwrap().to_be_bytes();
    let mut encoded = vec![
        kind, 0xf9, length[0], length[1], 0x01, 0x82, 0x52, 0x08, 0xb9, 0x01, 0x00,
    ];
    encoded.extend([0; 256]);
    encoded.push(0xc0);
    encoded.extend(more);
    encoded
}

#[test]
fn deposits_and_types_unknown_to_us_prove_by_their_raw_type() {
    let deposit = json!({"type": "0x7e", "depositNonce": "0x5", "depositReceiptVersion": "0x1"});
    let before_canyon = json!({"type": "0x7e", "depositNonce": "0x5"});
    let cases = [
        (deposit, bare_receipt(0x7e, &[5, 1])),
        (before_canyon, bare_receipt(0x7e, &[5])),
        (json!({"type": "0x0"}), bare_receipt(0, &[])[1..].to_vec()),
        (json!({"type": null}), bare_receipt(0, &[])[1..].to_vec()),
    ];
    // Ethereum's types, Arbitrum's, and all those that there may be.
    let by_byte = (1..=u8::MAX).map(|kind| (json!({"type": format!("{kind:#x}")}), bare_receipt(kind, &[])));
    for (extra, encoded) in cases.into_iter().chain(by_byte) {
        let root = alloy_trie::root::ordered_trie_root_encoded(&[encoded]);
        let header = Header {
            receipts_root: root,
            ..header()
        };
        let mut receipt = json!({
            "status": "0x1", "cumulativeGasUsed": "0x5208", "logsBloom": Bloom::ZERO, "logs": [],
            "blockHash": header.hash, "transactionHash": B256::ZERO, "transactionIndex": "0x0",
        });
        receipt
            .as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        let receipts = vec![serde_json::from_value::<WireReceipt>(receipt).unwrap()];
        let logs = prove_receipts(&header, receipts).map(|proven| proven.logs);
        assert_eq!(logs, Ok(Vec::new()), "{extra}");
    }
}

#[test]
fn a_block_without_transactions_proves_to_be_empty() {
    let empty = Header {
        receipts_root: alloy_trie::EMPTY_ROOT_HASH,
        ..header()
    };
    let nothing = Proven {
        logs: Vec::new(),
        succeeded: Vec::new(),
    };
    assert_eq!(prove_receipts(&empty, Vec::new()), Ok(nothing));
}

fn sort(logs: Vec<Value>, filter: &LogFilter) -> Result<(Vec<LogEntry>, Level, bool), Unproven> {
    let answers = logs.into_iter().map(wire_logs).collect();
    sort_into_blocks(
        vec![header()],
        answers,
        filter,
        Verification::STRICT,
        &mut BloomMemory::new(),
    )
    .map(|mut ranged| {
        let block = ranged.blocks.remove(0);
        (block.logs, block.level, !ranged.needs_receipts.is_empty())
    })
    .map_err(|(_, reason)| reason)
}

/// The emitter's transfers, at log indexes 1 to 3.
fn emitted() -> Value {
    Value::Array(captured()["logs"].as_array().unwrap()[1..4].to_vec())
}

#[test]
fn logs_of_a_range_are_held_against_their_header() {
    let (logs, level, receipts) = sort(vec![emitted()], &holdings()).unwrap();
    assert_eq!((logs.len(), level, receipts), (3, Level::Ranged, false));
    let changed = |pointer: &str, value: Value| {
        let mut logs = emitted();
        *logs.pointer_mut(pointer).unwrap() = value;
        sort(vec![logs], &holdings()).unwrap_err()
    };
    assert_eq!(changed("/0/blockHash", json!(B256::ZERO)), Unproven::ForeignLog);
    assert_eq!(changed("/0/removed", json!(true)), Unproven::ForeignLog);
    assert_eq!(changed("/0/logIndex", json!("0x2")), Unproven::LogOrder);
    assert_eq!(changed("/0/address", json!(Address::ZERO)), Unproven::Unasked);
    assert_eq!(changed("/0/blockNumber", json!("0x9")), Unproven::Unasked);
    assert_eq!(changed("/0/blockNumber", json!("0x3")), Unproven::Unasked);
    assert_eq!(
        changed("/0/topics/1", json!(B256::repeat_byte(0x55))),
        Unproven::OutsideBloom
    );
}

#[test]
fn a_hit_with_nothing_returned_wants_receipts() {
    let (logs, _, receipts) = sort(vec![json!([])], &holdings()).unwrap();
    assert!(logs.is_empty() && receipts);
}

#[test]
fn money_always_wants_receipts() {
    let paid = json!([captured()["logs"][0]]);
    let (logs, _, receipts) = sort(vec![paid], &money()).unwrap();
    assert_eq!((logs.len(), receipts), (1, true));
    assert_eq!(
        money().bloom_hit(&header().bloom),
        Hit {
            money: true,
            ..Hit::default()
        }
    );
}

#[test]
fn a_bloom_without_us_is_proof_enough() {
    let nobody = coins(Address::repeat_byte(0x77));
    let filter = LogFilter::new(&BTreeSet::new(), &BTreeSet::new(), &nobody);
    let (logs, level, receipts) = sort(vec![json!([])], &filter).unwrap();
    assert_eq!((logs.len(), level, receipts), (0, Level::Receipts, false));
}

#[test]
fn a_log_that_two_queries_return_counts_once() {
    let (logs, ..) = sort(vec![emitted(), emitted()], &holdings()).unwrap();
    assert_eq!(logs.len(), 3);
    let mut other = emitted();
    other[0]["data"] = json!("0x");
    assert_eq!(sort(vec![emitted(), other], &holdings()), Err(Unproven::LogOrder));
}
