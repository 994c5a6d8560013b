//! Several endpoints of one chain: who is asked, who is put aside, and how the bad ones are named.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alloy::primitives::{B256, Bloom};
use serde_json::{Value, json};

use super::node::{
    Chain, Fault, HttpNode, SocketNode, TOKEN, TREASURY, endpoint, filter, internet, settings, soon, transfer,
};
use crate::chain::{ChainError, ChainReader, LogFilter, StreamEvent, connect};
use crate::clock::Clock;
use crate::config;

const QUICK: Duration = Duration::from_millis(300);

fn open(endpoints: Vec<config::Endpoint>) -> ChainReader {
    let settings = settings(endpoints);
    connect(&settings, &internet(), &Clock::fixed(0), LogFilter::default())
        .unwrap()
        .0
}

fn reader(nodes: &[(&str, &HttpNode)]) -> ChainReader {
    let endpoints = nodes
        .iter()
        .map(|(name, node)| endpoint(name, None, Some(node.url.clone())));
    open(endpoints.collect())
}

/// Blocks 0 to 3, with money in 2.
fn chain() -> Chain {
    Chain::of([vec![], vec![], vec![transfer(TOKEN, TREASURY)], vec![]])
}

fn genesis() -> B256 {
    chain().block(0).hash
}

/// As `chain`, from another block 0.
fn elsewhere() -> Chain {
    let mut chain = Chain::default();
    for _ in 0..4 {
        chain.push(vec![], &Bloom::repeat_byte(1));
    }
    chain
}

fn problems(reader: &ChainReader) -> Vec<(String, Option<&'static str>)> {
    let status = reader.status().into_iter();
    status.map(|one| (one.name.to_string(), one.problem)).collect()
}

#[tokio::test]
async fn each_bad_endpoint_is_named_and_none_misleads() {
    let wrong_chain = HttpNode::with(chain(), |method, _, _| {
        (method == "eth_chainId").then_some(Fault::Result(json!("0x1")))
    })
    .await;
    let wrong_genesis = HttpNode::start(elsewhere()).await;
    let html = HttpNode::with(chain(), |_, _, _| Some(Fault::Raw(200, "<html>hello</html>"))).await;
    let endless = HttpNode::with(chain(), |_, _, _| Some(Fault::Endless)).await;
    let dry = HttpNode::with(chain(), |_, _, _| Some(Fault::Raw(402, ""))).await;
    let busy = HttpNode::with(chain(), |_, _, _| Some(Fault::RetryAfter("60"))).await;
    let liar = HttpNode::with(chain(), |method, params, truth| {
        let mut block = truth
            .ok()
            .filter(|_| method == "eth_getBlockByNumber" && params[0] != "0x0")?;
        block["stateRoot"] = json!(B256::repeat_byte(1));
        Some(Fault::Result(block))
    })
    .await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut silent = endpoint(
        "silent",
        None,
        Some(format!("http://{}", listener.local_addr().unwrap())),
    );
    silent.request_timeout = QUICK;
    let honest = HttpNode::start(chain()).await;
    let mut endpoints = vec![silent];
    for (name, node) in [
        ("wrong_chain", &wrong_chain),
        ("wrong_genesis", &wrong_genesis),
        ("not_json_rpc", &html),
        ("too_large", &endless),
        ("billing", &dry),
        ("rate_limited", &busy),
        ("unproven", &liar),
        ("honest", &honest),
    ] {
        endpoints.push(endpoint(name, None, Some(node.url.clone())));
    }
    endpoints.push(endpoint(
        "unreachable",
        None,
        Some("http://127.0.0.1:1".to_owned()),
    ));
    let reader = open(endpoints);
    reader.expect_genesis(genesis());
    let heads = soon(reader.heads()).await;
    let answered: Vec<_> = heads.iter().filter(|said| said.header.is_ok()).collect();
    assert_eq!(answered.len(), 1);
    assert_eq!(&*answered[0].operator, "honest");
    for (name, problem) in problems(&reader) {
        let expected = Some(name.as_str()).filter(|name| *name != "honest");
        assert_eq!(problem, expected);
    }
    assert_eq!(reader.latest().await.unwrap().hash, chain().block(3).hash);
    assert!(wrong_chain.asked("eth_getBlockByNumber").is_empty());
    assert_eq!(
        wrong_genesis.asked("eth_getBlockByNumber"),
        [json!(["0x0", false])]
    );
}

#[tokio::test]
async fn one_that_nobody_asks_is_looked_at_all_the_same() {
    let (first, second) = (HttpNode::start(chain()).await, HttpNode::start(elsewhere()).await);
    let reader = reader(&[("first", &first), ("second", &second)]);
    reader.expect_genesis(genesis());
    let named = async {
        while reader.status()[1].problem.is_none() || reader.status()[0].head.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon(named).await;
    let [first, second] = reader.status().try_into().unwrap();
    assert_eq!((first.problem, first.head), (None, Some(3)));
    assert!(first.latency.is_some());
    assert_eq!((second.problem, second.head), (Some("wrong_genesis"), None));
}

#[tokio::test]
async fn one_that_does_not_prove_what_it_says_is_asked_last_for_a_while() {
    let liar = HttpNode::with(chain(), |method, _, _| {
        (method == "eth_getBlockReceipts").then_some(Fault::Result(json!([])))
    })
    .await;
    let honest = HttpNode::start(chain()).await;
    let both = reader(&[("liar", &liar), ("honest", &honest)]);
    let header = both.header_by_number(2).await.unwrap();
    for _ in 0..3 {
        assert_eq!(both.prove_block(&header, &filter()).await.unwrap().logs.len(), 1);
    }
    assert_eq!(liar.asked("eth_getBlockReceipts").len(), 1);
    assert_eq!(problems(&both)[0].1, Some("unproven"));
    assert_eq!(both.endpoints().ranked()[0].name(), "honest");

    let alone = reader(&[("liar", &liar)]);
    for _ in 0..2 {
        alone.prove_block(&header, &filter()).await.unwrap_err();
    }
    assert_eq!(
        liar.asked("eth_getBlockReceipts").len(),
        3,
        "where there is no other it is asked still"
    );
}

#[tokio::test]
async fn nobody_is_asked_above_its_own_head() {
    let (behind, ahead) = (
        HttpNode::start(Chain::of([vec![]])).await,
        HttpNode::start(chain()).await,
    );
    let both = reader(&[("behind", &behind), ("ahead", &ahead)]);
    let header = both.header_by_number(2).await.unwrap();
    assert_eq!(both.prove_block(&header, &filter()).await.unwrap().logs.len(), 1);
    assert_eq!(both.headers(1, 3).await.unwrap().len(), 3);
    assert_eq!(both.prove_range(1, 3, &filter(), None).await.unwrap().len(), 3);
    assert!(both.header_by_number(4).await.unwrap_err().is_missing_data());
    let at = both.headers_at(3).await;
    let reached: Vec<_> = at
        .iter()
        .map(|said| (&*said.operator, said.header.is_ok()))
        .collect();
    assert_eq!(reached, [("ahead", true), ("behind", false)]);
    for method in ["eth_getBlockByNumber", "eth_getBlockReceipts", "eth_getLogs"] {
        assert!(behind.asked(method).is_empty(), "{method}");
    }
    assert!(
        !ahead
            .asked("eth_getBlockByNumber")
            .contains(&json!(["0x4", false]))
    );
}

#[tokio::test]
async fn the_genesis_is_asked_for_once_a_connection() {
    let node = HttpNode::with(chain(), |method, _, _| {
        (method == "web3_clientVersion").then_some(Fault::Raw(200, "<html>"))
    })
    .await;
    let reader = reader(&[("one", &node)]);
    let asked = |node: &HttpNode| {
        let blocks = node.asked("eth_getBlockByNumber");
        blocks.iter().filter(|params| params[0] == "0x0").count()
    };
    reader.latest().await.unwrap();
    assert_eq!(asked(&node), 0, "before it is known");
    reader.expect_genesis(genesis());
    for _ in 0..3 {
        reader.latest().await.unwrap();
    }
    assert_eq!(asked(&node), 1);
    reader.client_version().await.unwrap_err();
    reader.latest().await.unwrap();
    assert_eq!(asked(&node), 2, "again after a failure");
}

#[tokio::test]
async fn a_node_that_keeps_no_genesis_contradicts_nothing() {
    let node = HttpNode::with(chain(), |_, params, _| {
        (params[0] == "0x0").then_some(Fault::Result(Value::Null))
    })
    .await;
    let reader = reader(&[("pruned", &node)]);
    reader.expect_genesis(genesis());
    assert_eq!(reader.latest().await.unwrap().number, 3);
}

#[tokio::test]
async fn a_genesis_that_was_only_not_answered_just_now_is_asked_for_again() {
    let busy = Arc::new(AtomicBool::new(true));
    let is_busy = Arc::clone(&busy);
    let node = HttpNode::with(elsewhere(), move |_, params, _| {
        (params[0] == "0x0" && is_busy.load(Ordering::SeqCst)).then_some(Fault::RetryAfter("0"))
    })
    .await;
    let reader = reader(&[("busy", &node)]);
    reader.expect_genesis(genesis());
    reader.latest().await.unwrap_err();
    busy.store(false, Ordering::SeqCst);
    reader.latest().await.unwrap_err();
    assert_eq!(problems(&reader)[0].1, Some("wrong_genesis"));
}

#[tokio::test]
async fn a_chain_is_begun_with_the_block_0_that_most_operators_have() {
    let (one, two) = (HttpNode::start(chain()).await, HttpNode::start(chain()).await);
    let pruned = HttpNode::with(chain(), |_, params, _| {
        (params[0] == "0x0").then_some(Fault::Result(Value::Null))
    })
    .await;
    let wrong = HttpNode::start(elsewhere()).await;
    let alike = reader(&[("one", &one), ("pruned", &pruned), ("two", &two)]);
    assert_eq!(alike.first_genesis().await, Ok(genesis()));

    let outnumbered = reader(&[("wrong", &wrong), ("one", &one), ("two", &two)]);
    assert_eq!(outnumbered.first_genesis().await, Ok(genesis()));

    let both = [("one", &one), ("wrong", &wrong), ("two", &two), ("false", &wrong)];
    let mixed = reader(&both);
    let error = mixed.first_genesis().await.unwrap_err().to_string();
    let found = format!("wrong and false has {}", elsewhere().block(0).hash);
    let expected = format!("one and two has {}", genesis());
    assert!(error.contains(&found) && error.contains(&expected), "{error}");
    assert!(!error.contains("://"), "{error}");

    let mut two_needed = settings(vec![
        endpoint("pruned", None, Some(pruned.url.clone())),
        endpoint("one", None, Some(one.url.clone())),
    ]);
    two_needed.agree = 2;
    let (two_needed, _stream) =
        connect(&two_needed, &internet(), &Clock::fixed(0), LogFilter::default()).unwrap();
    let error = two_needed.first_genesis().await.unwrap_err();
    assert_eq!(error, ChainError::GenesisUntold { agree: 2 });

    let alone = reader(&[("pruned", &pruned)]);
    assert!(alone.first_genesis().await.unwrap_err().is_missing_data());
}

#[tokio::test]
async fn an_http_endpoint_that_becomes_another_chains_without_a_failure_is_found_out() {
    let turned = Arc::new(AtomicBool::new(false));
    let has_turned = Arc::clone(&turned);
    let node = HttpNode::with(chain(), move |method, _, _| {
        let is_other = method == "eth_chainId" && has_turned.load(Ordering::SeqCst);
        is_other.then_some(Fault::Result(json!("0x1")))
    })
    .await;
    let reader = reader(&[("one", &node)]);
    reader.expect_genesis(genesis());
    reader.latest().await.unwrap();
    turned.store(true, Ordering::SeqCst);
    // Looks come every five seconds, and every twelfth asks.
    for _ in 0..50 {
        if reader.status()[0].problem.is_some() {
            break;
        }
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(5)).await;
        tokio::time::resume();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(problems(&reader)[0].1, Some("wrong_chain"));
    reader.latest().await.unwrap_err();
    turned.store(false, Ordering::SeqCst);
    reader.latest().await.unwrap();
    assert_eq!(problems(&reader)[0].1, None);
}

#[tokio::test]
async fn a_socket_of_another_genesis_is_left_before_and_while_it_is_used() {
    let node = SocketNode::start().await;
    let one = endpoint("one", Some(node.url.clone()), None);
    let (reader, mut stream) = connect(
        &settings(vec![one]),
        &internet(),
        &Clock::fixed(0),
        LogFilter::default(),
    )
    .unwrap();
    let mut line = node.accept_and_introduce(0).await;
    assert!(matches!(soon(stream.next()).await, StreamEvent::Connected { .. }));
    reader.expect_genesis(genesis());
    for _ in 0..2 {
        line.serve("eth_getBlockByNumber", elsewhere().block(0).json())
            .await;
        line.hung_up().await;
        assert_eq!(problems(&reader)[0].1, Some("wrong_genesis"));
        line = node.accept().await;
        line.serve("eth_chainId", json!("0x7a69")).await;
    }
    assert!(matches!(
        soon(stream.next()).await,
        StreamEvent::Disconnected { .. }
    ));
    line.serve("eth_getBlockByNumber", chain().block(0).json()).await;
    line.serve("eth_subscribe", json!("heads")).await;
    assert!(matches!(soon(stream.next()).await, StreamEvent::Connected { .. }));
    assert_eq!(problems(&reader)[0].1, None);
}

#[tokio::test]
async fn a_silent_leader_is_not_waited_for_and_leads_no_more() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut silent = endpoint("silent", None, Some(url));
    silent.request_timeout = Duration::from_mins(10);
    let honest = HttpNode::start(chain()).await;
    let reader = open(vec![silent, endpoint("honest", None, Some(honest.url.clone()))]);
    let header = soon(reader.header_by_number(2)).await.unwrap();
    assert_eq!(header.hash, chain().block(2).hash);
    let leader = || reader.endpoints().ranked()[0].name().to_owned();
    assert_eq!(leader(), "honest");
    assert!(soon(reader.prove_block(&header, &filter())).await.is_ok());
}

#[tokio::test]
async fn a_range_takes_its_time_at_one_endpoint_alone() {
    let slow = HttpNode::with(chain(), |method, _, _| {
        (method == "eth_getLogs").then_some(Fault::Late(Duration::from_millis(700)))
    })
    .await;
    let spare = HttpNode::start(chain()).await;
    let both = reader(&[("slow", &slow), ("spare", &spare)]);
    assert_eq!(both.prove_range(0, 3, &filter(), None).await.unwrap().len(), 4);
    assert!(spare.asked("eth_getLogs").is_empty());
}
