//! The session, against a socket that the test plays by hand.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use alloy::primitives::Address;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::node::{
    Chain, GATE, HttpNode, SocketNode, TREASURY, coins, endpoint, filter, internet, settings, soon, transfer,
};
use crate::chain::identity::Identity;
use crate::chain::levels::Verification;
use crate::chain::session::{Pace, Session};
use crate::chain::stream::Mailbox;
use crate::chain::{ChainReader, ErrorClass, LogFilter, StreamEvent, StreamHandle, connect};
use crate::clock::Clock;
use crate::domain::ChainId;

fn open(ws: &SocketNode, http: Option<&HttpNode>, timeout: Duration) -> (ChainReader, StreamHandle) {
    let mut one = endpoint("one", Some(ws.url.clone()), http.map(|node| node.url.clone()));
    one.request_timeout = timeout;
    connect(
        &settings(vec![one]),
        &internet(),
        &Clock::fixed(1_700_000_010_000),
        filter(),
    )
    .unwrap()
}

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(50);

async fn expect_connected(stream: &mut StreamHandle) {
    let event = soon(stream.next()).await;
    assert!(matches!(event, StreamEvent::Connected { .. }), "{event:?}");
}

async fn expect_disconnected(stream: &mut StreamHandle) {
    let event = soon(stream.next()).await;
    assert!(matches!(event, StreamEvent::Disconnected { .. }), "{event:?}");
}

/// A head that the stream hands on once everything said before it was heard.
async fn expect_head(stream: &mut StreamHandle, number: u64) {
    match soon(stream.next()).await {
        StreamEvent::Head(head) => assert_eq!(head.block.number, number),
        other => panic!("{other:?}"),
    }
}

fn chain() -> Chain {
    Chain::of([vec![], vec![transfer(GATE, TREASURY)], vec![]])
}

#[tokio::test]
async fn heads_and_logs_are_streamed_and_a_whole_header_needs_no_fetch() {
    let node = SocketNode::start().await;
    let (_reader, mut stream) = open(&node, None, LONG);
    let mut line = node.accept_and_introduce(2).await;
    expect_connected(&mut stream).await;
    let before = tokio::time::Instant::now();
    line.notify("heads", chain().block(1).json()).await;
    match soon(stream.next()).await {
        StreamEvent::Head(head) => {
            assert_eq!(head.header.unwrap().block(), head.block);
            assert_eq!(head.block.hash, chain().block(1).hash);
            assert!(head.received_at >= before);
            assert_eq!(&*head.endpoint, "one");
        }
        other => panic!("{other:?}"),
    }
    line.notify("logs-1", chain().block(1).logs_json().remove(0))
        .await;
    match soon(stream.next()).await {
        StreamEvent::Log(log) => {
            assert_eq!(
                (log.entry.address, log.block.hash, log.removed),
                (GATE, chain().block(1).hash, false)
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_head_that_lacks_fields_is_a_hint_without_header() {
    let node = SocketNode::start().await;
    let (_reader, mut stream) = open(&node, None, LONG);
    let mut line = node.accept_and_introduce(2).await;
    expect_connected(&mut stream).await;
    let mut partial = chain().block(1).json();
    partial.as_object_mut().unwrap().remove("baseFeePerGas");
    line.notify("heads", json!({"number": "0x1"})).await;
    line.notify("nobody", chain().block(0).json()).await;
    line.notify("heads", partial).await;
    match soon(stream.next()).await {
        StreamEvent::Head(head) => assert_eq!((head.block.number, head.header), (1, None)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_slow_reader_gets_the_newest_head() {
    let node = SocketNode::start().await;
    let (reader, mut stream) = open(&node, None, LONG);
    let mut line = node.accept_and_introduce(2).await;
    expect_connected(&mut stream).await;
    for number in [0, 1, 2] {
        line.notify("heads", chain().block(number).json()).await;
    }
    // An answer behind the heads: once it is here, they were all heard.
    let (id, _) = tokio::join!(reader.chain_id(), line.serve("eth_chainId", json!("0x7a69")));
    assert_eq!(id, Ok(ChainId(31_337)));
    expect_head(&mut stream, 2).await;
}

#[tokio::test]
async fn it_reconnects_for_ever_and_checks_the_chain_each_time() {
    let node = SocketNode::start().await;
    let (_reader, mut stream) = open(&node, None, LONG);
    for _ in 0..3 {
        let line = node.accept_and_introduce(2).await;
        expect_connected(&mut stream).await;
        drop(line);
        expect_disconnected(&mut stream).await;
    }
}

#[tokio::test]
async fn garbage_ends_the_socket_and_not_the_session() {
    let node = SocketNode::start().await;
    let (_reader, mut stream) = open(&node, None, LONG);
    for garbage in [
        "<html>",
        "{\"id\":\"seven\"}",
        "{\"params\":{\"subscription\":1}}",
    ] {
        let mut line = node.accept_and_introduce(2).await;
        expect_connected(&mut stream).await;
        line.say(garbage).await;
        expect_disconnected(&mut stream).await;
    }
    let mut line = node.accept_and_introduce(2).await;
    expect_connected(&mut stream).await;
    line.notify("heads", chain().block(2).json()).await;
    expect_head(&mut stream, 2).await;
}

#[tokio::test]
async fn a_socket_of_another_chain_is_never_used() {
    let node = SocketNode::start().await;
    let (reader, mut stream) = open(&node, None, LONG);
    let mut line = node.accept().await;
    line.serve("eth_chainId", json!("0x1")).await;
    line.hung_up().await;
    assert!(!reader.endpoints().ranked()[0].is_healthy());
    let _right = node.accept_and_introduce(2).await;
    expect_connected(&mut stream).await;
    assert!(reader.endpoints().ranked()[0].is_healthy());
}

#[tokio::test]
async fn an_answer_to_nobody_answers_nobody() {
    let node = SocketNode::start().await;
    let (reader, mut stream) = open(&node, None, Duration::from_secs(1));
    let mut line = node.accept_and_introduce(2).await;
    expect_connected(&mut stream).await;
    let play = async {
        let (id, ..) = line.request().await;
        line.reply(id + 1000, json!("0x1")).await;
    };
    let (answer, ()) = tokio::join!(reader.chain_id(), play);
    assert_eq!(answer.unwrap_err().class(), Some(&ErrorClass::Transport));
}

#[tokio::test]
async fn a_new_filter_is_subscribed_to_before_the_old_one_is_left() {
    let node = SocketNode::start().await;
    let (_reader, mut stream) = open(&node, None, LONG);
    let mut line = node.accept_and_introduce(2).await;
    expect_connected(&mut stream).await;
    stream.set_filter(filter());
    let gate = Address::repeat_byte(0x99);
    let nothing = std::collections::BTreeSet::new();
    stream.set_filter(LogFilter::new(&nothing, &nothing, &coins(gate)));
    let params = line.serve("eth_subscribe", json!("new-logs")).await;
    assert_eq!(params[1]["address"], json!([gate]));
    let mut left: Vec<Value> = Vec::new();
    for _ in 0..2 {
        left.push(line.serve("eth_unsubscribe", json!(true)).await[0].clone());
    }
    left.sort_by_key(ToString::to_string);
    assert_eq!(left, [json!("logs-0"), json!("logs-1")]);
    line.notify("logs-0", chain().block(1).logs_json().remove(0))
        .await;
    line.notify("new-logs", chain().block(1).logs_json().remove(0))
        .await;
    line.notify("heads", chain().block(1).json()).await;
    expect_head(&mut stream, 1).await;
    let event = soon(stream.next()).await;
    assert!(matches!(event, StreamEvent::Log(_)), "{event:?}");
}

#[tokio::test]
async fn a_reader_that_is_busy_with_a_head_takes_the_logs_and_leaves_the_next_head() {
    let node = SocketNode::start().await;
    let (_reader, mut stream) = open(&node, None, LONG);
    let mut line = node.accept_and_introduce(2).await;
    expect_connected(&mut stream).await;
    line.notify("heads", chain().block(2).json()).await;
    line.notify("logs-0", chain().block(1).logs_json().remove(0))
        .await;
    let log = soon(stream.next_log()).await;
    assert_eq!(log.block.number, 1);
    expect_head(&mut stream, 2).await;
}

#[tokio::test]
async fn a_request_whose_socket_dies_is_answered_over_http() {
    let (ws, http) = (SocketNode::start().await, HttpNode::start(chain()).await);
    let (reader, mut stream) = open(&ws, Some(&http), LONG);
    let mut line = ws.accept_and_introduce(2).await;
    expect_connected(&mut stream).await;
    let die = async {
        line.serve("eth_blockNumber", json!("0x2")).await;
        let (_, method, _) = line.request().await;
        assert_eq!(method, "eth_getBlockByNumber");
        drop(line);
    };
    let (header, ()) = tokio::join!(reader.header_by_number(1), die);
    assert_eq!(header.unwrap().hash, chain().block(1).hash);
    expect_disconnected(&mut stream).await;
    assert_eq!(
        reader.header_by_number(2).await.unwrap().hash,
        chain().block(2).hash
    );
    let _line = ws.accept_and_introduce(2).await;
    expect_connected(&mut stream).await;
}

#[tokio::test]
async fn a_half_open_socket_is_left_when_an_answer_is_due() {
    let (ws, http) = (SocketNode::start().await, HttpNode::start(chain()).await);
    let (reader, mut stream) = open(&ws, Some(&http), Duration::from_millis(500));
    let mut silent = ws.accept_and_introduce(2).await;
    expect_connected(&mut stream).await;
    silent.notify("heads", chain().block(1).json()).await;
    expect_head(&mut stream, 1).await;
    assert_eq!(reader.latest().await.unwrap().number, 2);
    expect_disconnected(&mut stream).await;
    let _line = ws.accept_and_introduce(2).await;
    expect_connected(&mut stream).await;
}

#[tokio::test]
async fn a_socket_that_stays_behind_the_poll_is_left() {
    let node = SocketNode::start().await;
    let one = endpoint("one", Some(node.url.clone()), None);
    let (_genesis_sender, genesis) = watch::channel(None);
    let (_verification_sender, verification) = watch::channel(Verification::STRICT);
    let expected = (genesis, verification);
    let chain_settings = settings(vec![one.clone()]);
    let identity = Arc::new(Identity::new(&chain_settings, &one, expected, Clock::system()));
    let mailbox = Arc::new(Mailbox::new(vec!["one".into()]));
    let (filter_sender, filter) = watch::channel(LogFilter::default());
    let pace = Pace {
        connect: LONG,
        ping: LONG,
        behind: SHORT,
    };
    let _session = Session::start(
        Arc::clone(&identity),
        (internet(), node.url.clone().into()),
        pace,
        filter,
        Arc::clone(&mailbox),
        0,
    );
    let mut stream = StreamHandle::new(mailbox, filter_sender);
    let mut line = node.accept_and_introduce(0).await;
    expect_connected(&mut stream).await;
    line.notify("heads", chain().block(1).json()).await;
    expect_head(&mut stream, 1).await;
    identity.polled.store(9, Ordering::Relaxed);
    expect_disconnected(&mut stream).await;
    let _line = node.accept_and_introduce(0).await;
    expect_connected(&mut stream).await;
}

#[tokio::test]
async fn dropping_the_reader_closes_the_socket() {
    let node = SocketNode::start().await;
    let (reader, mut stream) = open(&node, None, LONG);
    let mut line = node.accept_and_introduce(2).await;
    expect_connected(&mut stream).await;
    drop(reader);
    line.hung_up().await;
}

#[tokio::test]
async fn no_url_is_shown() {
    let node = SocketNode::start().await;
    let (reader, stream) = open(&node, None, SHORT);
    let shown = format!("{reader:?} {stream:?} {}", reader.chain_id().await.unwrap_err());
    assert!(!shown.contains("SECRET") && !shown.contains("ws:"), "{shown}");
}
