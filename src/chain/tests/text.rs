//! JSON-RPC text: what is read, and what is refused.

use alloy::primitives::bytes::Bytes;
use serde_json::{Value, json};

use crate::chain::ErrorClass;
use crate::chain::error::Failure;
use crate::chain::logs::WireLog;
use crate::chain::rpc::{Body, Quantity, decode_one, encode, encode_batch};

fn class<T>(result: Result<T, Failure>) -> ErrorClass {
    match result {
        Ok(_) => panic!("was read"),
        Err(failure) => failure.class,
    }
}

#[test]
fn an_answer_counts_only_for_the_request_that_it_names() {
    let text = br#"{"jsonrpc":"2.0","id":7,"result":"0x10"}"#;
    assert_eq!(decode_one::<Quantity>(7, text, None), Ok(Quantity(16)));
    assert_eq!(
        class(decode_one::<Quantity>(8, text, None)),
        ErrorClass::Transport
    );
    let nameless = br#"{"jsonrpc":"2.0","result":"0x10"}"#;
    assert_eq!(
        class(decode_one::<Quantity>(7, nameless, None)),
        ErrorClass::Transport
    );
}

#[test]
fn null_is_missing_and_never_empty() {
    let null = br#"{"jsonrpc":"2.0","id":1,"result":null}"#;
    assert_eq!(
        class(decode_one::<Vec<Value>>(1, null, None)),
        ErrorClass::MissingData
    );
    let absent = br#"{"jsonrpc":"2.0","id":1}"#;
    assert_eq!(
        class(decode_one::<Vec<Value>>(1, absent, None)),
        ErrorClass::Transport
    );
}

#[test]
fn what_is_not_json_rpc_is_a_transport_failure() {
    for text in [
        "",
        "<html>hello</html>",
        r#"{"jsonrpc":"2.0","id":1,"res"#,
        "[]",
        "null",
        "\u{0}",
    ] {
        let result = decode_one::<Value>(1, text.as_bytes(), Some(200));
        assert_eq!(class(result), ErrorClass::Transport, "{text:?}");
    }
    let html = decode_one::<Value>(1, b"<html>Too Many Requests</html>", Some(503));
    assert!(matches!(class(html), ErrorClass::RateLimited { .. }));
}

#[test]
fn an_error_without_an_id_is_read_too() {
    let text =
        br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"header not found","data":"0x"}}"#;
    assert_eq!(
        class(decode_one::<Value>(1, text, Some(200))),
        ErrorClass::MissingData
    );
}

#[test]
fn a_batch_is_put_in_the_order_of_its_calls() {
    let calls = vec![("eth_chainId", json!([])), ("eth_blockNumber", json!([]))];
    let request: Value = serde_json::from_str(&encode_batch(&[4, 5], &calls)).unwrap();
    assert_eq!(request[1]["method"], "eth_blockNumber");
    assert_eq!(request[1]["id"], 5);
    let decode = |text: &'static str| {
        Body::Array(vec![4, 5], Bytes::from_static(text.as_bytes()), Some(200)).decode::<Quantity>()
    };
    assert_eq!(
        decode(r#" [{"id":5,"result":"0x2"},{"id":4,"result":"0x1"}]"#),
        Ok(vec![Quantity(1), Quantity(2)])
    );
    assert_eq!(
        class(decode(r#"[{"id":5,"result":"0x2"}]"#)),
        ErrorClass::Transport
    );
    assert_eq!(
        class(decode(r#"[{"id":5,"result":"0x2"},{"id":4,"result":null}]"#)),
        ErrorClass::MissingData
    );
    assert_eq!(
        class(decode(
            r#"{"id":null,"error":{"code":-32600,"message":"batches are disabled"}}"#
        )),
        ErrorClass::Refused
    );
    assert_eq!(class(decode(r#"{"id":4,"result":"0x1"}"#)), ErrorClass::Transport);
}

#[test]
fn a_request_is_json_rpc_2() {
    let request: Value = serde_json::from_str(&encode(3, "eth_call", &json!([{"to": "0x0"}]))).unwrap();
    assert_eq!(
        request,
        json!({"jsonrpc": "2.0", "id": 3, "method": "eth_call", "params": [{"to": "0x0"}]})
    );
}

#[test]
fn quantities_are_hexadecimal_and_fit_64_bits() {
    let read = |text: &str| serde_json::from_value::<Quantity>(json!(text)).ok();
    assert_eq!(read("0x0"), Some(Quantity(0)));
    assert_eq!(read("0xffffffffffffffff"), Some(Quantity(u64::MAX)));
    for bad in ["", "0x", "10", "0x10000000000000000", "0x-1", "0x+1", "0xg"] {
        assert_eq!(read(bad), None, "{bad:?}");
    }
    assert!(serde_json::from_value::<Quantity>(json!(5)).is_err());
}

fn log() -> Value {
    json!({
        "address": "0x5fbdb2315678afecb367f032d93f642f64180aa3",
        "topics": ["0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"],
        "data": "0x01", "blockNumber": "0x4", "logIndex": "0x0", "transactionIndex": "0x0", "removed": false,
        "blockHash": "0x36845acd9aee8dbabf37d203a18c863fae74d182fb2d88bc107fe353b0789b10",
        "transactionHash": "0xa0588909ae8b004b102382c61bd382395029444e9710e270fca23fa1c6486371",
    })
}

#[test]
fn a_log_is_read_whole_or_refused() {
    let read = |log: Value| serde_json::from_value::<WireLog>(log);
    let good = read(log()).unwrap().into_entry(None);
    assert_eq!(
        (good.topics.len(), good.data.as_ref(), good.log_index),
        (1, [1].as_slice(), 0)
    );
    let topic = log()["topics"][0].clone();
    for (field, bad) in [
        ("address", json!("0x5fbdb2315678afecb367f032d93f642f64180a")),
        ("topics", json!([topic, topic, topic, topic, topic])),
        ("topics", json!(["0xdd"])),
        ("topics", Value::Null),
        ("data", json!("0x0")),
        ("blockNumber", Value::Null),
        ("blockHash", Value::Null),
        ("logIndex", json!(0)),
        ("transactionHash", json!("")),
    ] {
        let mut broken = log();
        broken[field] = bad.clone();
        assert!(read(broken).is_err(), "{field}: {bad}");
    }
}
