//! The reader, against nodes over a small true chain that lie in one way each.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use alloy::primitives::{Address, B256, Bloom, Bytes};
use serde_json::{Value, json};

use super::node::{
    CHAIN, Chain, Fault, GATE, HttpNode, TOKEN, TREASURY, coins, endpoint, filter, internet, settings,
    transfer,
};
use crate::chain::{ChainError, ChainReader, ErrorClass, LogFilter, Unproven, connect};
use crate::clock::Clock;
use crate::domain::{ChainId, Level};

const STRANGER: Address = Address::repeat_byte(0x55);

fn reader(nodes: &[&HttpNode]) -> ChainReader {
    let endpoints = nodes
        .iter()
        .enumerate()
        .map(|(at, node)| endpoint(&format!("node-{at}"), None, Some(node.url.clone())))
        .collect();
    connect(
        &settings(endpoints),
        &internet(),
        &Clock::fixed(0),
        LogFilter::default(),
    )
    .unwrap()
    .0
}

/// Blocks 0 to 9: holdings in 2 and 5, money in 7, a stranger's transfers in 4, and in 8 a bloom that says all.
fn chain() -> Chain {
    let mut chain = Chain::of([
        vec![],
        vec![],
        vec![
            transfer(GATE, STRANGER),
            transfer(STRANGER, GATE),
            transfer(GATE, TREASURY),
        ],
        vec![],
        vec![transfer(STRANGER, TREASURY)],
        vec![transfer(GATE, STRANGER)],
        vec![],
        vec![
            transfer(STRANGER, STRANGER),
            transfer(TOKEN, STRANGER),
            transfer(TOKEN, TREASURY),
        ],
    ]);
    chain.push(vec![], &Bloom::repeat_byte(0xff));
    chain.push(vec![], &Bloom::ZERO);
    chain
}

fn holdings() -> LogFilter {
    let none = BTreeSet::new();
    LogFilter::new(&none, &none, &coins(GATE))
}

fn reason(error: &ChainError) -> Option<Unproven> {
    match error {
        ChainError::Unproven { reason, .. } => Some(*reason),
        _ => None,
    }
}

#[tokio::test]
async fn the_small_reads_say_what_the_node_says() {
    let node = HttpNode::start(chain()).await;
    let reader = reader(&[&node]);
    assert_eq!(reader.chain_id().await, Ok(ChainId(CHAIN)));
    assert_eq!(reader.genesis_hash().await, Ok(chain().block(0).hash));
    assert_eq!(reader.client_version().await.unwrap(), "test/1");
    assert_eq!(reader.latest().await.unwrap().number, 9);
    assert_eq!(reader.code(GATE).await.unwrap(), Bytes::from(vec![0x60, 0x01]));
    let third = reader.header_by_number(3).await.unwrap();
    assert_eq!(reader.header_by_hash(third.hash).await, Ok(third.clone()));
    assert!(reader.header_by_number(10).await.unwrap_err().is_missing_data());
    assert!(
        reader
            .header_by_hash(B256::ZERO)
            .await
            .unwrap_err()
            .is_missing_data()
    );
    let call = reader.call(GATE, Bytes::new(), third.hash).await;
    assert!(call.unwrap_err().is_reverted());
    assert_eq!(node.asked("eth_call")[0][1], json!({"blockHash": third.hash}));
    assert_eq!(reader.headers(0, 9).await.unwrap().len(), 10);
}

#[tokio::test]
async fn a_quiet_block_costs_no_request() {
    let node = HttpNode::start(chain()).await;
    let reader = reader(&[&node]);
    let header = reader.header_by_number(4).await.unwrap();
    let block = reader.prove_block(&header, &filter()).await.unwrap();
    assert_eq!((block.logs.len(), block.level), (0, Level::Receipts));
    assert!(node.asked("eth_getBlockReceipts").is_empty());
}

#[tokio::test]
async fn a_block_is_proven_by_its_receipts() {
    let node = HttpNode::start(chain()).await;
    let reader = reader(&[&node]);
    let header = reader.header_by_number(7).await.unwrap();
    let block = reader.prove_block(&header, &filter()).await.unwrap();
    let [paid] = block.logs.as_slice() else {
        panic!("{block:?}")
    };
    assert_eq!((paid.address, paid.log_index, paid.ordinal), (TOKEN, 2, Some(2)));
    let full = reader.header_by_number(8).await.unwrap();
    assert!(
        reader
            .prove_block(&full, &filter())
            .await
            .unwrap()
            .logs
            .is_empty()
    );
    assert_eq!(node.asked("eth_getBlockReceipts").len(), 2);
}

#[tokio::test]
async fn without_block_receipts_each_receipt_is_fetched() {
    let node = HttpNode::with(chain(), |method, _, _| {
        (method == "eth_getBlockReceipts").then_some(Fault::Error(-32601, "Method not found"))
    })
    .await;
    let reader = reader(&[&node]);
    for _ in 0..2 {
        let header = reader.header_by_number(7).await.unwrap();
        assert_eq!(
            reader.prove_block(&header, &filter()).await.unwrap().logs.len(),
            1
        );
    }
    assert_eq!(
        node.asked("eth_getBlockReceipts").len(),
        1,
        "what it lacks is remembered"
    );
    assert_eq!(node.asked("eth_getTransactionReceipt").len(), 2);
}

#[tokio::test]
async fn an_empty_or_missing_answer_is_never_an_empty_block() {
    for (answer, missing) in [(json!([]), false), (Value::Null, true)] {
        let node = HttpNode::with(chain(), move |method, _, _| {
            (method == "eth_getBlockReceipts").then(|| Fault::Result(answer.clone()))
        })
        .await;
        let reader = reader(&[&node]);
        let header = reader.header_by_number(7).await.unwrap();
        let error = reader.prove_block(&header, &filter()).await.unwrap_err();
        assert_eq!(error.is_missing_data(), missing, "{error}");
        assert_eq!(reason(&error), (!missing).then_some(Unproven::ReceiptsRoot));
    }
}

#[tokio::test]
async fn the_next_endpoint_is_asked_where_the_first_fails() {
    let liar = HttpNode::with(chain(), |method, _, _| {
        (method == "eth_getBlockReceipts").then_some(Fault::Result(json!([])))
    })
    .await;
    let honest = HttpNode::start(chain()).await;
    let reader = reader(&[&liar, &honest]);
    let header = reader.header_by_number(7).await.unwrap();
    assert_eq!(
        reader.prove_block(&header, &filter()).await.unwrap().logs.len(),
        1
    );
}

#[tokio::test]
async fn a_range_is_proven_and_linked() {
    let node = HttpNode::start(chain()).await;
    let reader = reader(&[&node]);
    let genesis = chain().block(0).hash;
    let blocks = reader.prove_range(1, 9, &filter(), Some(genesis)).await.unwrap();
    let found: Vec<_> = blocks
        .iter()
        .map(|block| (block.header.number, block.logs.len(), block.level))
        .collect();
    let (proven, ranged) = (Level::Receipts, Level::Ranged);
    assert_eq!(
        found,
        [
            (1, 0, proven),
            (2, 2, ranged),
            (3, 0, proven),
            (4, 0, proven),
            (5, 1, ranged),
            (6, 0, proven),
            (7, 1, proven),
            (8, 0, proven),
            (9, 0, proven),
        ]
    );
    assert_eq!(
        node.asked("eth_getBlockReceipts").len(),
        2,
        "money in 7, a bloom of ones in 8"
    );
    let error = reader
        .prove_range(1, 9, &filter(), Some(B256::ZERO))
        .await
        .unwrap_err();
    assert!(matches!(error, ChainError::Unlinked { number: 1, .. }), "{error}");
}

#[tokio::test]
async fn reads_run_in_tasks_of_their_own() {
    let node = HttpNode::start(chain()).await;
    let reader = reader(&[&node]);
    let task = tokio::spawn(async move {
        let header = reader.headers(0, 7).await?.pop().unwrap();
        let block = reader.prove_block(&header, &filter()).await?;
        reader.prove_range(8, 9, &filter(), Some(block.header.hash)).await
    });
    assert_eq!(super::node::soon(task).await.unwrap().unwrap().len(), 2);
}

#[tokio::test]
async fn a_log_that_is_left_out_is_found_by_the_bloom() {
    let node = HttpNode::with(chain(), |method, _, _| {
        (method == "eth_getLogs").then_some(Fault::Result(json!([])))
    })
    .await;
    let blocks = reader(&[&node]).prove_range(0, 9, &filter(), None).await.unwrap();
    assert_eq!(
        blocks.iter().map(|block| block.logs.len()).collect::<Vec<_>>(),
        [0, 0, 2, 0, 0, 1, 0, 1, 0, 0]
    );
    assert!(blocks.iter().all(|block| block.level == Level::Receipts));
}

#[tokio::test]
async fn another_blocks_log_is_refused() {
    let node = HttpNode::with(chain(), |method, _, truth| {
        let mut logs = truth.ok()?;
        if method != "eth_getLogs" || logs.as_array()?.is_empty() {
            return None;
        }
        logs[0]["blockHash"] = json!(B256::repeat_byte(1));
        Some(Fault::Result(logs))
    })
    .await;
    let error = reader(&[&node])
        .prove_range(0, 9, &filter(), None)
        .await
        .unwrap_err();
    assert_eq!(reason(&error), Some(Unproven::ForeignLog));
}

#[tokio::test]
async fn nothing_is_asked_above_the_head() {
    let node = HttpNode::start(chain()).await;
    let error = reader(&[&node])
        .prove_range(5, 10, &filter(), None)
        .await
        .unwrap_err();
    assert!(error.is_missing_data(), "{error}");
    assert!(node.asked("eth_getLogs").is_empty());
}

/// The widths that `eth_getLogs` was asked for.
fn widths(node: &HttpNode) -> Vec<u64> {
    let number =
        |value: &Value| u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    let asked = node.asked("eth_getLogs");
    asked
        .iter()
        .map(|params| number(&params[0]["toBlock"]) - number(&params[0]["fromBlock"]) + 1)
        .collect()
}

fn width(params: &Value) -> u64 {
    let number =
        |value: &Value| u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap();
    number(&params[0]["toBlock"]) - number(&params[0]["fromBlock"]) + 1
}

#[tokio::test]
async fn a_range_that_is_too_wide_is_split_and_the_limit_kept() {
    let node = HttpNode::with(chain(), |method, params, _| {
        (method == "eth_getLogs" && width(params) > 3)
            .then_some(Fault::Error(-32000, "maximum block range: 3"))
    })
    .await;
    let reader = reader(&[&node]);
    let blocks = reader.prove_range(0, 9, &holdings(), None).await.unwrap();
    assert_eq!(blocks.iter().map(|block| block.logs.len()).sum::<usize>(), 3);
    assert_eq!(widths(&node), [10, 3, 3, 3, 1]);
    assert_eq!(reader.log_range(), 3);
    reader.prove_range(0, 9, &holdings(), None).await.unwrap();
    assert_eq!(widths(&node)[5..], [3, 3, 3, 1], "it is not asked again");
}

#[tokio::test]
async fn a_dense_range_is_halved_down_to_the_block_whose_receipts_serve_instead() {
    let node = HttpNode::with(chain(), |method, _, truth| {
        let dense = method == "eth_getLogs" && truth.is_ok_and(|logs| logs.as_array().unwrap().len() > 1);
        dense.then_some(Fault::Error(-32005, "query returned more than 1 results"))
    })
    .await;
    let reader = reader(&[&node]);
    let blocks = reader.prove_range(0, 9, &holdings(), None).await.unwrap();
    let found: Vec<_> = blocks
        .iter()
        .map(|block| (block.logs.len(), block.level))
        .collect();
    assert_eq!((found[2], found[5]), ((2, Level::Receipts), (1, Level::Ranged)));
}

#[tokio::test]
async fn single_requests_serve_where_batches_are_refused() {
    let seen = AtomicU32::new(0);
    let node = HttpNode::with(chain(), move |method, _, _| {
        // One object in place of the array: the first request is part of a batch.
        let first = method == "eth_getBlockByNumber" && seen.fetch_add(1, Ordering::SeqCst) == 0;
        first.then_some(Fault::Raw(
            200,
            r#"{"id":null,"error":{"code":-32600,"message":"no batches"}}"#,
        ))
    })
    .await;
    assert_eq!(reader(&[&node]).headers(0, 9).await.unwrap().len(), 10);
}

#[tokio::test]
async fn a_provider_that_asks_for_a_pause_gets_it() {
    let node = HttpNode::with(chain(), |method, _, _| {
        (method == "web3_clientVersion").then_some(Fault::RetryAfter("120"))
    })
    .await;
    let reader = reader(&[&node]);
    let pause = ErrorClass::RateLimited {
        retry_after: Some(Duration::from_mins(2)),
    };
    assert_eq!(reader.client_version().await.unwrap_err().class(), Some(&pause));
    assert!(!reader.endpoints().ranked()[0].is_healthy());
    assert_eq!(reader.chain_id().await.unwrap_err().class(), Some(&pause));
    assert_eq!(
        node.asked("eth_chainId").len(),
        1,
        "the check at first use, and nothing in the pause"
    );
}

#[tokio::test]
async fn an_account_that_ran_dry_is_left_out() {
    let node = HttpNode::with(chain(), |method, _, _| {
        (method == "web3_clientVersion").then_some(Fault::Raw(402, "Payment Required"))
    })
    .await;
    let spare = HttpNode::start(chain()).await;
    let reader = reader(&[&node, &spare]);
    assert_eq!(reader.client_version().await.unwrap(), "test/1");
    assert_eq!(reader.endpoints().ranked()[0].name(), "node-1");
}

#[tokio::test]
async fn an_endpoint_of_another_chain_is_never_read() {
    let node = HttpNode::with(chain(), |method, _, _| {
        (method == "eth_chainId").then_some(Fault::Result(json!("0x1")))
    })
    .await;
    let reader = reader(&[&node]);
    assert!(reader.latest().await.is_err());
    assert!(node.asked("eth_getBlockByNumber").is_empty());
    assert!(!reader.endpoints().ranked()[0].is_healthy());
}

#[tokio::test]
async fn a_key_that_the_provider_echoes_is_not_shown() {
    let node = HttpNode::with(chain(), |method, _, _| {
        (method == "web3_clientVersion").then_some(Fault::Error(-32000, "key 0123456789abcdef is invalid"))
    })
    .await;
    let url = format!("{}/v3/0123456789abcdef", node.url);
    let settings = settings(vec![endpoint("one", None, Some(url))]);
    let (reader, _stream) = connect(&settings, &internet(), &Clock::fixed(0), LogFilter::default()).unwrap();
    let error = reader.client_version().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "one: web3_clientVersion: refused: key [secret] is invalid"
    );
}

#[tokio::test]
async fn html_is_a_transport_failure_and_opens_the_circuit() {
    let node = HttpNode::with(chain(), |method, _, _| {
        (method == "web3_clientVersion").then_some(Fault::Raw(200, "<html>maintenance</html>"))
    })
    .await;
    let reader = reader(&[&node]);
    for _ in 0..6 {
        let error = reader.client_version().await.unwrap_err();
        assert_eq!(error.class(), Some(&ErrorClass::Transport));
    }
    assert!(!reader.endpoints().ranked()[0].is_healthy());
    assert_eq!(node.asked("web3_clientVersion").len(), 5);
}

#[tokio::test]
async fn a_silent_endpoint_costs_its_timeout_and_no_more() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut silent = endpoint(
        "silent",
        None,
        Some(format!("http://{}", listener.local_addr().unwrap())),
    );
    silent.request_timeout = Duration::from_millis(50);
    let (reader, _stream) = connect(
        &settings(vec![silent]),
        &internet(),
        &Clock::fixed(0),
        LogFilter::default(),
    )
    .unwrap();
    let error = super::node::soon(reader.latest()).await.unwrap_err();
    assert_eq!(error.class(), Some(&ErrorClass::Transport));
}

#[tokio::test]
async fn an_endpoint_without_urls_is_a_mistake_in_the_settings() {
    let nothing = connect(
        &settings(vec![endpoint("empty", None, None)]),
        &internet(),
        &Clock::fixed(0),
        LogFilter::default(),
    );
    assert!(matches!(nothing, Err(ChainError::Settings { .. })));
    let none = connect(
        &settings(vec![]),
        &internet(),
        &Clock::fixed(0),
        LogFilter::default(),
    );
    assert!(matches!(none, Err(ChainError::Settings { .. })));
}
