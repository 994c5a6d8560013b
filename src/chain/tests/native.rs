//! Transfers of the native coin as a real node wrote their block, and what an endpoint can change of them.

use alloy::primitives::{Address, B256, Bytes, U256, address, hex};
use serde_json::{Value, json};

use crate::chain::native::{Paying, WireBlock, WireDeposit, prove_transactions};
use crate::chain::proof::{WireReceipt, prove_receipts};
use crate::chain::{RawHeader, Unproven};
use crate::domain::{Header, LogEntry, NATIVE_COIN, NATIVE_LOG_INDEX, NATIVE_ORDINAL, TRANSFER};

/// anvil's first accounts, who signed.
const SIGNERS: [Address; 2] = [
    address!("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
    address!("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"),
];
const TREASURY: Address = address!("0xa0Ee7A142d267C1f36714E4a8F75612F20a79720");

/// One block of anvil 1.7.1. To the treasury: a legacy transaction of 1.5 ether, one of nothing, one with an access list (2 wei,
/// and data), and two of its own, with an authorization (3 wei) and without (4 wei); besides, a failed one to a contract and a
/// creation.
fn captured() -> Value {
    serde_json::from_str(include_str!("../testdata/anvil_native.json")).unwrap()
}

fn header() -> Header {
    let raw: RawHeader = serde_json::from_value(captured()["block"].clone()).unwrap();
    raw.prove().unwrap()
}

fn prove(block: &Value, treasury: Address) -> Result<Vec<Paying>, Unproven> {
    let block: WireBlock = serde_json::from_str(&block.to_string()).unwrap();
    prove_transactions(&header(), &block, &[treasury])
}

/// What is proven of the block with one change.
fn changed(change: impl FnOnce(&mut Value)) -> Result<Vec<Paying>, Unproven> {
    let mut block = captured()["block"].clone();
    change(&mut block);
    prove(&block, TREASURY)
}

/// Index, payer and value of each.
fn told(paying: &[Paying]) -> Vec<(usize, Address, U256)> {
    let told = |paying: &Paying| {
        let LogEntry {
            address,
            topics,
            data,
            ..
        } = &paying.entry;
        assert_eq!(
            (*address, topics[0], topics[2]),
            (NATIVE_COIN, TRANSFER, TREASURY.into_word())
        );
        (
            paying.index,
            Address::from_word(topics[1]),
            U256::from_be_slice(data),
        )
    };
    paying.iter().map(told).collect()
}

fn expected() -> [(usize, Address, U256); 4] {
    let wei = |wei: u64| U256::from(wei);
    [
        (0, SIGNERS[0], wei(1_500_000_000_000_000_000)),
        (2, SIGNERS[1], wei(2)),
        (4, TREASURY, wei(3)),
        (6, TREASURY, wei(4)),
    ]
}

#[test]
fn transactions_of_every_type_that_carry_value_to_the_treasury_are_found() {
    let paying = prove(&captured()["block"], TREASURY).unwrap();
    assert_eq!(told(&paying), expected());
    let LogEntry {
        tx_hash,
        log_index,
        ordinal,
        ..
    } = paying[1].entry;
    let claimed: B256 =
        serde_json::from_value(captured()["block"]["transactions"][2]["hash"].clone()).unwrap();
    assert_eq!(tx_hash, claimed);
    assert_eq!((log_index, ordinal), (NATIVE_LOG_INDEX + 2, Some(NATIVE_ORDINAL)));
    assert!(
        prove(&captured()["block"], Address::ZERO).unwrap().is_empty(),
        "a creation is to nobody"
    );
}

#[test]
fn what_succeeded_stands_in_the_receipts() {
    let receipts: Vec<WireReceipt> = serde_json::from_value(captured()["receipts"].clone()).unwrap();
    let proven = prove_receipts(&header(), receipts).unwrap();
    assert_eq!(proven.succeeded, [true, true, true, false, true, true, true]);
    let mut forged = captured()["receipts"].clone();
    forged[3]["status"] = json!("0x1");
    let forged: Vec<WireReceipt> = serde_json::from_value(forged).unwrap();
    assert_eq!(prove_receipts(&header(), forged), Err(Unproven::ReceiptsRoot));
}

#[test]
fn an_endpoint_can_invent_hide_and_change_no_payment() {
    let root = Err(Unproven::TransactionsRoot);
    let more = |block: &mut Value| block["transactions"][0]["value"] = json!("0xffffffffffffffff");
    assert_eq!(changed(more), root);
    let elsewhere = |block: &mut Value| block["transactions"][3]["to"] = json!(TREASURY);
    assert_eq!(changed(elsewhere), root);
    let hidden = |block: &mut Value| drop(block["transactions"].as_array_mut().unwrap().remove(0));
    assert_eq!(changed(hidden), root);
    let twice = |block: &mut Value| {
        let transactions = block["transactions"].as_array_mut().unwrap();
        transactions.push(transactions[0].clone());
    };
    assert_eq!(changed(twice), root);
    let signed_otherwise = |block: &mut Value| block["transactions"][0]["s"] = json!("0x1");
    assert_eq!(changed(signed_otherwise), root);
    let of_another_root = |block: &mut Value| block["transactionsRoot"] = json!(B256::ZERO);
    assert_eq!(changed(of_another_root), Err(Unproven::HeaderHash));
}

#[test]
fn whoever_an_endpoint_says_paid_the_signer_did() {
    let others = |block: &mut Value| {
        for transaction in block["transactions"].as_array_mut().unwrap() {
            transaction["from"] = json!(Address::repeat_byte(0x66));
            transaction["hash"] = json!(B256::repeat_byte(0x66));
        }
    };
    let paying = changed(others).unwrap();
    assert_eq!(told(&paying), expected());
    assert_eq!(
        paying,
        prove(&captured()["block"], TREASURY).unwrap(),
        "hashes too"
    );
}

#[test]
fn another_block_or_a_kind_that_nobody_knows_proves_nothing() {
    let unknown = |block: &mut Value| block["transactions"][1]["type"] = json!("0x6a");
    assert_eq!(changed(unknown), Err(Unproven::TransactionType));
    let block = |hash| Header { hash, ..header() };
    let captured: WireBlock = serde_json::from_str(&captured()["block"].to_string()).unwrap();
    assert_eq!(
        prove_transactions(&block(B256::repeat_byte(1)), &captured, &[TREASURY]),
        Err(Unproven::OtherBlock)
    );
}

#[test]
fn deposits_of_the_op_stack_encode_as_they_are_specified() {
    // The first transaction of an early OP Mainnet block, but for its data.
    let deposit: WireDeposit = serde_json::from_value(json!({
        "type": "0x7e", "sourceHash": "0x44bae9d41b8380d781187b426c6fe43df5fb2fb57bd4466ef6a701e1f01e0156",
        "from": "0xdeaddeaddeaddeaddeaddeaddeaddeaddead0001", "to": "0x4200000000000000000000000000000000000015",
        "mint": null, "value": "0x0", "gas": "0x8f0d180", "isSystemTx": true, "input": "0x015d8eb9",
    }))
    .unwrap();
    let expected = hex!(
        "7ef858a044bae9d41b8380d781187b426c6fe43df5fb2fb57bd4466ef6a701e1f01e0156"
        "94deaddeaddeaddeaddeaddeaddeaddeaddead0001944200000000000000000000000000000000000015"
        "80808408f0d1800184015d8eb9"
    );
    assert_eq!(Bytes::from(deposit.encoded()), Bytes::from(expected));
}
