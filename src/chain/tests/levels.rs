//! Chains that do not recompute: which level they are read at, and what counts there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use alloy::primitives::{Bloom, Log};
use serde_json::{Value, json};

use super::node::{
    Chain, Fault, GATE, HttpNode, Quirk, TOKEN, TREASURY, endpoint, filter, internet, settings, transfer,
};
use crate::chain::{ChainError, ChainReader, LogFilter, connect};
use crate::clock::Clock;
use crate::domain::{Header, Level, LogEntry};

/// Money in 2, as the second log of its transaction, a stranger's log in 1, nothing in the others.
fn blocks() -> [Vec<Log>; 5] {
    let paid = vec![transfer(GATE, GATE), transfer(TOKEN, TREASURY)];
    [vec![], vec![transfer(TREASURY, GATE)], paid, vec![], vec![]]
}

fn reader(agree: usize, level: Option<Level>, nodes: &[&HttpNode]) -> ChainReader {
    let endpoints = nodes.iter().enumerate();
    let endpoints = endpoints.map(|(at, node)| endpoint(&format!("node-{at}"), None, Some(node.url.clone())));
    let mut settings = settings(endpoints.collect());
    settings.agree = agree;
    settings.level = level;
    connect(&settings, &internet(), &Clock::fixed(0), LogFilter::default())
        .unwrap()
        .0
}

/// A node that leaves the money out of what it says of logs.
async fn without_money(chain: Chain) -> HttpNode {
    HttpNode::with(chain, |method, _, truth| {
        let logs = truth.ok().filter(|_| method == "eth_getLogs")?;
        let kept = logs
            .as_array()?
            .iter()
            .filter(|log| log["address"] != json!(TOKEN))
            .cloned();
        Some(Fault::Result(Value::Array(kept.collect())))
    })
    .await
}

async fn money(reader: &ChainReader) -> Result<(Vec<LogEntry>, Level), ChainError> {
    let header = reader.header_by_number(2).await.unwrap();
    let block = reader.prove_block(&header, &filter()).await?;
    Ok((block.logs, block.level))
}

fn ordinals(logs: &[LogEntry]) -> Vec<(u64, Option<u32>)> {
    logs.iter().map(|log| (log.log_index, log.ordinal)).collect()
}

#[tokio::test]
async fn the_level_is_what_recent_blocks_can_bear() {
    for (quirk, level) in [
        (Quirk::Nothing, Level::Receipts),
        (Quirk::Hashes, Level::Asked),
        (Quirk::Roots, Level::Asked),
        (Quirk::Blooms, Level::None),
    ] {
        let node = HttpNode::start(Chain::with(quirk, blocks())).await;
        assert_eq!(
            reader(1, None, &[&node]).find_level().await,
            Ok(level),
            "{quirk:?}"
        );
        let told = reader(1, Some(Level::Asked), &[&node]);
        assert_eq!(told.find_level().await, Ok(Level::Asked), "{quirk:?}");
        let strict = reader(1, Some(Level::Receipts), &[&node]);
        assert_eq!(strict.find_level().await, Ok(Level::Receipts));
    }
}

#[tokio::test]
async fn an_operator_that_spoils_its_answers_does_not_lower_the_level() {
    let spoilt = HttpNode::with(Chain::of(blocks()), |method, _, truth| {
        let mut receipts = truth.ok().filter(|_| method == "eth_getBlockReceipts")?;
        receipts[0]["status"] = json!("0x0");
        Some(Fault::Result(receipts))
    })
    .await;
    let honest = HttpNode::start(Chain::of(blocks())).await;
    assert_eq!(
        reader(1, None, &[&spoilt, &honest]).find_level().await,
        Ok(Level::Receipts)
    );
    assert_eq!(reader(1, None, &[&spoilt]).find_level().await, Ok(Level::Asked));
}

#[tokio::test]
async fn where_nothing_was_logged_yet_the_first_block_that_logs_decides() {
    for (quirk, level) in [(Quirk::Nothing, Level::Receipts), (Quirk::Blooms, Level::None)] {
        let quiet = Arc::new(AtomicBool::new(true));
        let hidden = Arc::clone(&quiet);
        let chain = Chain::with(quirk, [vec![]].into_iter().chain(blocks().into_iter().skip(2)));
        // Until it is told otherwise the node's head is block 0.
        let node = HttpNode::with(chain, move |method, _, _| {
            (method == "eth_blockNumber" && hidden.load(Ordering::SeqCst))
                .then(|| Fault::Result(json!("0x0")))
        })
        .await;
        let reader = reader(1, None, &[&node]);
        assert_eq!(reader.find_level().await, Ok(Level::Receipts), "assumed");
        quiet.store(false, Ordering::SeqCst);
        let header = reader.header_by_number(1).await.unwrap();
        let block = reader.prove_block(&header, &filter()).await.unwrap();
        assert_eq!((block.logs.len(), block.level, reader.level()), (2, level, level));
        let asked = node.asked("eth_getBlockReceipts").len();
        let quiet_block = reader.header_by_number(2).await.unwrap();
        reader.prove_block(&quiet_block, &filter()).await.unwrap();
        assert_eq!(node.asked("eth_getBlockReceipts").len(), asked, "it is known now");
    }
}

#[tokio::test]
async fn a_range_meets_the_first_logs_as_well() {
    let told = Arc::new(AtomicBool::new(false));
    let shown = Arc::clone(&told);
    let node = HttpNode::with(Chain::with(Quirk::Blooms, blocks()), move |method, _, _| {
        (method == "eth_blockNumber" && !shown.load(Ordering::SeqCst)).then(|| Fault::Result(json!("0x0")))
    })
    .await;
    let reader = reader(1, None, &[&node]);
    assert_eq!(reader.find_level().await, Ok(Level::Receipts));
    told.store(true, Ordering::SeqCst);
    let blocks = reader.prove_range(0, 4, &filter(), None).await.unwrap();
    assert!(blocks.iter().all(|block| block.level == Level::None));
    assert_eq!(ordinals(&blocks[2].logs), [(0, Some(0)), (1, Some(1))]);
}

#[tokio::test]
async fn operators_that_say_the_same_are_believed_and_give_ordinals() {
    for quirk in [Quirk::Hashes, Quirk::Roots] {
        let nodes = [
            HttpNode::start(Chain::with(quirk, blocks())).await,
            HttpNode::start(Chain::with(quirk, blocks())).await,
        ];
        let reader = reader(2, None, &[&nodes[0], &nodes[1]]);
        assert_eq!(reader.find_level().await, Ok(Level::Asked));
        let (logs, level) = money(&reader).await.unwrap();
        assert_eq!(
            (ordinals(&logs), level),
            (vec![(0, Some(0)), (1, Some(1))], Level::Asked)
        );
        for node in &nodes {
            assert_eq!(node.asked("eth_getTransactionReceipt").len(), 1);
        }
        let range = reader.prove_range(0, 4, &filter(), None).await.unwrap();
        assert_eq!(
            (ordinals(&range[2].logs), range[2].level),
            (ordinals(&logs), Level::Asked)
        );
        // A bloom that is not proven proves no absence.
        let quiet = reader.header_by_number(3).await.unwrap();
        let asked = nodes[1].asked("eth_getLogs").len();
        reader.prove_block(&quiet, &filter()).await.unwrap();
        assert_eq!(
            nodes[1].asked("eth_getLogs").len() > asked,
            quirk == Quirk::Hashes
        );
    }
}

#[tokio::test]
async fn operators_that_differ_prove_nothing_until_enough_say_the_same() {
    let chain = || Chain::with(Quirk::Roots, blocks());
    let (honest, lossy) = (HttpNode::start(chain()).await, without_money(chain()).await);
    let two = reader(2, Some(Level::Asked), &[&honest, &lossy]);
    two.find_level().await.unwrap();
    assert_eq!(money(&two).await, Err(ChainError::Disagreement { number: 2 }));
    let range = two.prove_range(0, 4, &filter(), None).await;
    assert_eq!(range, Err(ChainError::Disagreement { number: 4 }));

    let third = HttpNode::start(chain()).await;
    let three = reader(2, Some(Level::Asked), &[&honest, &lossy, &third]);
    three.find_level().await.unwrap();
    assert_eq!(money(&three).await.unwrap().0.len(), 2);
    assert_eq!(
        three.status()[1].problem,
        Some("unproven"),
        "who was outvoted is put aside"
    );
    let dead = HttpNode::with(chain(), |_, _, _| Some(Fault::Raw(502, ""))).await;
    let alone = reader(2, Some(Level::Asked), &[&honest, &dead]);
    alone.find_level().await.unwrap();
    assert!(
        matches!(money(&alone).await, Err(ChainError::Request { .. })),
        "one of two is not enough"
    );
}

#[tokio::test]
async fn one_operator_is_asked_twice_a_block_apart() {
    let head = Arc::new(AtomicU64::new(2));
    let (told, lossy) = (Arc::clone(&head), Arc::new(AtomicBool::new(false)));
    let lies = Arc::clone(&lossy);
    let node = HttpNode::with(
        Chain::with(Quirk::Roots, blocks()),
        move |method, _, _| match method {
            "eth_blockNumber" => Some(Fault::Result(json!(format!(
                "{:#x}",
                told.load(Ordering::SeqCst)
            )))),
            "eth_getLogs" if lies.load(Ordering::SeqCst) => Some(Fault::Result(json!([]))),
            _ => None,
        },
    )
    .await;
    let reader = reader(1, Some(Level::Asked), &[&node]);
    reader.find_level().await.unwrap();
    let header: Header = reader.header_by_number(2).await.unwrap();
    let wanted = filter();
    let prove = || reader.prove_block(&header, &wanted);
    lossy.store(true, Ordering::SeqCst);
    assert!(prove().await.unwrap_err().is_not_yet());
    assert!(prove().await.unwrap_err().is_not_yet());
    assert_eq!(
        node.asked("eth_getLogs").len(),
        2,
        "asked once, by two queries, at one head"
    );
    lossy.store(false, Ordering::SeqCst);
    let next = |number: u64| {
        head.store(number, Ordering::SeqCst);
        reader.header_by_number(number)
    };
    next(3).await.unwrap();
    assert!(
        prove().await.unwrap_err().is_not_yet(),
        "it says something else now"
    );
    assert!(prove().await.unwrap_err().is_not_yet());
    next(4).await.unwrap();
    let block = prove().await.unwrap();
    assert_eq!(
        (ordinals(&block.logs), block.level),
        (vec![(0, Some(0)), (1, Some(1))], Level::Asked)
    );

    let range = reader.prove_range(1, 4, &filter(), None).await.unwrap();
    assert_eq!(range.len(), 3, "the newest block waits for one above it");
    assert!(
        reader
            .prove_range(4, 4, &filter(), None)
            .await
            .unwrap_err()
            .is_not_yet()
    );
}

#[tokio::test]
async fn an_ordinal_must_fit_the_log() {
    let node = HttpNode::with(Chain::with(Quirk::Blooms, blocks()), |method, _, truth| {
        let mut receipt = truth.ok().filter(|_| method == "eth_getTransactionReceipt")?;
        receipt["logs"].as_array_mut()?.remove(1);
        Some(Fault::Result(receipt))
    })
    .await;
    let reader = reader(1, None, &[&node]);
    assert_eq!(reader.find_level().await, Ok(Level::None));
    assert!(matches!(money(&reader).await, Err(ChainError::Unproven { .. })));
}

/// Bits of a bloom, so many of ten set, the same for the same seed.
fn noise(of_ten: u8, seed: u64) -> Bloom {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bloom = Bloom::ZERO;
    for byte in &mut bloom.0.0 {
        for bit in 0..8 {
            *byte |= u8::from(random.u8(0..10) < of_ten) << bit;
        }
    }
    bloom
}

#[tokio::test]
async fn false_hits_of_crowded_blooms_cost_their_receipts_and_nothing_else() {
    const BLOCKS: usize = 200;
    let mut chain = Chain::default();
    for number in 0..BLOCKS {
        let logs = if number % 50 == 49 {
            vec![transfer(TOKEN, TREASURY)]
        } else {
            vec![]
        };
        chain.push(logs, &noise(6, u64::try_from(number).unwrap()));
    }
    let hits: Vec<usize> = (0..BLOCKS)
        .filter(|&number| {
            !filter()
                .bloom_hit(&chain.block(number).header.logs_bloom)
                .is_none()
        })
        .collect();
    assert!(hits.len() > 10, "false hits are what is tested: {hits:?}");
    let node = HttpNode::start(chain).await;
    let reader = reader(1, Some(Level::Receipts), &[&node]);
    let headers = reader.headers(0, 199).await.unwrap();
    let mut found = Vec::new();
    for header in &headers {
        let block = reader.prove_block(header, &filter()).await.unwrap();
        assert_eq!(block.level, Level::Receipts);
        found.extend(block.logs.iter().map(|_| header.number));
    }
    assert_eq!(found, [49, 99, 149, 199]);
    let receipts = node.asked("eth_getBlockReceipts").len();
    assert_eq!(receipts, hits.len(), "one request for each hit");
    let range = reader.prove_range(0, 99, &filter(), None).await.unwrap();
    assert_eq!(range.iter().map(|block| block.logs.len()).sum::<usize>(), 2);
    let in_range = hits.iter().filter(|&&number| number < 100).count();
    assert_eq!(node.asked("eth_getBlockReceipts").len() - receipts, in_range);
    assert_eq!(reader.status()[0].problem, None);
}
