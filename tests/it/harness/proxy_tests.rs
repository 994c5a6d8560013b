//! The proxy itself, in front of a real anvil. Not beside it, because the benches include it without its tests.

use std::time::{Duration, Instant};

use alloy::primitives::B256;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::anvil::Anvil;
use super::http_client;
use super::proxy::{Fault, HUGE_BYTES, Proxy, Rule, Way};

const DEADLINE: Duration = Duration::from_secs(10);
/// Long enough for an answer that is not held back.
const A_WHILE: Duration = Duration::from_millis(300);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn both() -> (Anvil, Proxy) {
    let anvil = Anvil::start().await;
    let proxy = Proxy::start(&anvil.http_url()).unwrap();
    (anvil, proxy)
}

fn body(method: &str, params: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string()
}

async fn post(proxy: &Proxy, method: &str, params: Value) -> Result<(u16, String), reqwest::Error> {
    post_within(DEADLINE, proxy, method, params).await
}

async fn post_within(
    deadline: Duration,
    proxy: &Proxy,
    method: &str,
    params: Value,
) -> Result<(u16, String), reqwest::Error> {
    let sending = http_client()
        .post(proxy.http_url())
        .timeout(deadline)
        .body(body(method, &params))
        .send();
    let answer = sending.await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

async fn result(proxy: &Proxy, method: &str, params: Value) -> Value {
    let (status, text) = post(proxy, method, params).await.unwrap();
    assert_eq!(status, 200);
    serde_json::from_str::<Value>(&text).unwrap()["result"].take()
}

/// Connections that were refused are accepted a moment after the fault.
async fn until_accepted(proxy: &Proxy) {
    let end = Instant::now() + DEADLINE;
    while let Err(error) = post(proxy, "eth_chainId", json!([])).await {
        assert!(Instant::now() < end, "{error}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn dial(proxy: &Proxy) -> Socket {
    let (socket, _) = tokio_tungstenite::connect_async(proxy.ws_url()).await.unwrap();
    socket
}

async fn say(socket: &mut Socket, method: &str, params: Value) {
    socket.send(Message::text(body(method, &params))).await.unwrap();
}

/// The next text; nothing where the other side hung up or is silent.
async fn hear(socket: &mut Socket) -> Option<Value> {
    hear_within(DEADLINE, socket).await
}

async fn hear_within(deadline: Duration, socket: &mut Socket) -> Option<Value> {
    let heard = tokio::time::timeout(deadline, socket.next()).await;
    match heard.ok()?? {
        Ok(Message::Text(text)) => serde_json::from_str(&text).ok(),
        _ => None,
    }
}

#[tokio::test]
async fn it_passes_on_both_ways_and_counts() {
    let (anvil, proxy) = both().await;
    assert_eq!(result(&proxy, "eth_chainId", json!([])).await, "0x7a69");
    let mut socket = dial(&proxy).await;
    say(&mut socket, "eth_subscribe", json!(["newHeads"])).await;
    assert!(hear(&mut socket).await.unwrap()["result"].is_string());
    anvil.mine(1).await;
    assert_eq!(
        hear(&mut socket).await.unwrap()["params"]["result"]["number"],
        "0x1"
    );
    let traffic = proxy.traffic();
    assert_eq!((traffic.asked("eth_chainId"), traffic.over(Way::Ws)), (1, 1));
    assert!(traffic.bytes_up > 100 && traffic.bytes_down > traffic.bytes_up);
}

#[tokio::test]
async fn what_is_cut_or_stalled_comes_back_for_new_connections() {
    let (_anvil, proxy) = both().await;
    for fault in [Fault::Cut, Fault::Stall] {
        let mut socket = dial(&proxy).await;
        let half = proxy.inject(fault.clone().over(Way::Ws));
        say(&mut socket, "eth_chainId", json!([])).await;
        assert_eq!(hear_within(A_WHILE, &mut socket).await, None);
        assert_eq!(result(&proxy, "eth_chainId", json!([])).await, "0x7a69");
        assert!(half.lift() > 0);
        let whole = proxy.inject(fault);
        assert!(
            post_within(A_WHILE, &proxy, "eth_chainId", json!([]))
                .await
                .is_err()
        );
        whole.lift();
        until_accepted(&proxy).await;
        assert_eq!(result(&proxy, "eth_chainId", json!([])).await, "0x7a69");
        assert_eq!(
            hear_within(A_WHILE, &mut socket).await,
            None,
            "the old one stays dead"
        );
        let mut socket = dial(&proxy).await;
        say(&mut socket, "eth_chainId", json!([])).await;
        assert_eq!(hear(&mut socket).await.unwrap()["result"], "0x7a69");
    }
}

#[tokio::test]
async fn a_fault_strikes_what_it_is_for_and_nothing_else() {
    let (anvil, proxy) = both().await;
    anvil.mine(3).await;
    let lag = proxy.inject(Fault::LagAt(2));
    let latest = json!(["latest", false]);
    assert_eq!(
        result(&proxy, "eth_getBlockByNumber", latest.clone()).await["number"],
        "0x2"
    );
    assert_eq!(
        result(&proxy, "eth_getBlockByNumber", json!(["0x3", false])).await,
        Value::Null
    );
    assert_eq!(result(&proxy, "eth_blockNumber", json!([])).await, "0x2");
    assert_eq!(lag.lift(), 3);
    assert_eq!(
        result(&proxy, "eth_getBlockByNumber", latest).await["number"],
        "0x3"
    );
    let limited = Fault::Status(429, Some(1)).of(&["eth_call"]);
    let limited = proxy.inject(limited);
    assert_eq!(result(&proxy, "eth_blockNumber", json!([])).await, "0x3");
    assert_eq!(post(&proxy, "eth_call", json!([{}])).await.unwrap().0, 429);
    assert_eq!(limited.strikes(), 1);
    let named = Rule::from(Fault::Error(-1, "no")).containing("0xABC");
    let named = proxy.inject(named);
    assert_eq!(result(&proxy, "eth_blockNumber", json!([])).await, "0x3");
    result(&proxy, "eth_getCode", json!(["0xabc", "latest"])).await;
    assert_eq!(named.strikes(), 1);
    proxy.heal();
    let (_, text) = post(&proxy, "eth_call", json!([{}])).await.unwrap();
    assert!(text.starts_with('{'), "{text}");
}

#[tokio::test]
async fn an_answer_is_spoiled_as_it_is_told() {
    let (anvil, proxy) = both().await;
    let whole = post(&proxy, "eth_chainId", json!([])).await.unwrap().1;
    let cases = [
        (Fault::Html, "<html>"),
        (Fault::Truncated, &whole[..whole.len() / 2]),
        (Fault::WrongId, "{\"id\":4294967295"),
        (Fault::Delay(Duration::from_millis(20)), whole.as_str()),
    ];
    for (fault, start) in cases {
        let started = Instant::now();
        let injected = proxy.inject(fault.clone());
        let (status, text) = post(&proxy, "eth_chainId", json!([])).await.unwrap();
        assert!(status == 200 && text.starts_with(start), "{fault:?}: {text}");
        if let Fault::Delay(delay) = fault {
            assert!(started.elapsed() >= delay);
        } else {
            assert_ne!(text, whole);
        }
        assert_eq!(injected.lift(), 1, "{fault:?}");
    }
    let other = Anvil::start_with(&["--chain-id", "5"]).await;
    proxy.turn_to(&other.http_url());
    assert_eq!(result(&proxy, "eth_chainId", json!([])).await, "0x5");
    proxy.turn_to(&anvil.http_url());
    assert_eq!(result(&proxy, "eth_chainId", json!([])).await, "0x7a69");
}

#[test]
fn an_answer_lacks_what_is_dropped_and_an_error_stays() {
    let receipts = json!([{"logs": [1, 2]}, {"logs": []}, {"logs": [3]}]);
    let block = json!({"number": "0x0", "hash": "0x01"});
    let other = B256::repeat_byte(2);
    let cases = [
        (Fault::Empty, "eth_getLogs", json!([1, 2]), json!([])),
        (Fault::Empty, "eth_getBlockByHash", block.clone(), Value::Null),
        (
            Fault::DropFirstLog,
            "eth_getLogs",
            json!([1, 2, 3]),
            json!([2, 3]),
        ),
        (Fault::DropLastLog, "eth_getLogs", json!([1, 2, 3]), json!([1, 2])),
        (
            Fault::DropFirstLog,
            "eth_getBlockReceipts",
            receipts.clone(),
            json!([{"logs": [2]}, {"logs": []}, {"logs": [3]}]),
        ),
        (
            Fault::DropLastLog,
            "eth_getBlockReceipts",
            receipts.clone(),
            json!([{"logs": [1, 2]}, {"logs": []}, {"logs": []}]),
        ),
        (
            Fault::DropReceipt,
            "eth_getBlockReceipts",
            receipts,
            json!([{"logs": [1, 2]}, {"logs": []}]),
        ),
        (Fault::ChainId(5), "eth_chainId", json!("0x1"), json!("0x5")),
        (
            Fault::Genesis(other),
            "eth_getBlockByNumber",
            block,
            json!({"number": "0x0", "hash": other}),
        ),
    ];
    for (fault, method, result, expected) in cases {
        let request = json!({"id": 7, "method": method, "params": []});
        let rule = Rule::from(fault);
        let mut answer = json!({"id": 7, "result": result});
        rule.change_answer(&request, &mut answer);
        assert_eq!(answer, json!({"id": 7, "result": expected}), "{rule:?}");
        assert_eq!(rule.strikes(), 1);
        let error = json!({"id": 7, "error": {"code": 1}});
        let mut answer = error.clone();
        rule.change_answer(&request, &mut answer);
        assert_eq!((answer, rule.strikes()), (error, 1), "{rule:?}");
    }
}

#[tokio::test]
async fn notifications_are_lost_repeated_and_swapped() {
    let (anvil, proxy) = both().await;
    let mut socket = dial(&proxy).await;
    say(&mut socket, "eth_subscribe", json!(["newHeads"])).await;
    hear(&mut socket).await.unwrap();
    let mut numbers = Vec::new();
    for (fault, blocks, heads) in [(Fault::Repeat, 1, 2), (Fault::Swap, 2, 2), (Fault::Lose, 1, 0)] {
        let injected = proxy.inject(fault.of(&["newHeads"]));
        for _ in 0..blocks {
            anvil.mine(1).await;
        }
        for _ in 0..heads {
            let head = hear(&mut socket).await.unwrap();
            numbers.push(head["params"]["result"]["number"].clone());
        }
        while injected.strikes() < blocks {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        injected.lift();
    }
    anvil.mine(1).await;
    let head = hear(&mut socket).await.unwrap();
    numbers.push(head["params"]["result"]["number"].clone());
    assert_eq!(numbers, ["0x1", "0x1", "0x3", "0x2", "0x5"]);
}

#[tokio::test]
async fn a_huge_body_is_sent_for_as_long_as_it_is_read() {
    let (_anvil, proxy) = both().await;
    let huge = proxy.inject(Fault::Huge.of(&["eth_chainId"]));
    let asking = http_client()
        .post(proxy.http_url())
        .body(body("eth_chainId", &json!([])));
    let mut answer = asking.send().await.unwrap();
    assert!(!answer.chunk().await.unwrap().unwrap().is_empty());
    drop(answer);
    let mut socket = dial(&proxy).await;
    say(&mut socket, "eth_chainId", json!([])).await;
    let refused = tokio::time::timeout(DEADLINE, socket.next()).await.unwrap();
    assert!(refused.unwrap().is_err(), "longer than the library takes");
    drop(socket);
    assert_eq!(huge.strikes(), 2);
    let sent = proxy.traffic().bytes_down;
    assert!(sent > 0 && sent < HUGE_BYTES / 2, "{sent}");
}
