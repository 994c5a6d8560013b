//! Endpoints that have another block where one was final.

use alloy::primitives::Bloom;

use super::node::{Chain, Fault, HttpNode, endpoint, internet, settings};
use crate::chain::{ChainReader, Dispute, LogFilter, connect};
use crate::clock::Clock;
use crate::domain::BlockRef;

/// Blocks 0 to 3, which differ where their blooms do.
fn chain(bloom: u8) -> Chain {
    let mut chain = Chain::default();
    for _ in 0..4 {
        chain.push(vec![], &Bloom::repeat_byte(bloom));
    }
    chain
}

fn ours() -> BlockRef {
    let block = chain(1).block(2).hash;
    BlockRef {
        number: 2,
        hash: block,
    }
}

/// A reader of nodes, each with its name and operator, with `now` in milliseconds.
fn reader(nodes: &[(&str, &str, &HttpNode)], now: i64) -> ChainReader {
    let endpoints = nodes.iter().map(|(name, operator, node)| {
        let mut one = endpoint(name, None, Some(node.url.clone()));
        (*operator).clone_into(&mut one.operator);
        one
    });
    let settings = settings(endpoints.collect());
    connect(&settings, &internet(), &Clock::fixed(now), LogFilter::default())
        .unwrap()
        .0
}

#[tokio::test]
async fn one_endpoint_is_put_aside_where_another_still_has_our_block() {
    let (honest, other) = (HttpNode::start(chain(1)).await, HttpNode::start(chain(2)).await);
    let reader = reader(&[("other", "us", &other), ("honest", "us", &honest)], 0);
    assert_eq!(reader.dispute(ours()).await, Dispute::Upheld);
    let status = reader.status();
    assert_eq!(
        (status[0].problem, status[1].problem),
        (Some("contradicts_final"), None)
    );
    assert!(reader.is_contradicting("other") && !reader.is_contradicting("honest"));
    assert_eq!(reader.endpoints().ranked()[0].name(), "honest");
}

#[tokio::test]
async fn more_operators_than_have_it_or_all_endpoints_are_no_matter_of_one() {
    let (honest, other) = (HttpNode::start(chain(1)).await, HttpNode::start(chain(2)).await);
    let outnumbered = reader(
        &[
            ("honest", "us", &honest),
            ("two", "two", &other),
            ("three", "three", &other),
        ],
        0,
    );
    let Dispute::Lost(names) = outnumbered.dispute(ours()).await else {
        panic!("one against two is not upheld");
    };
    assert_eq!(names.len(), 2);
    assert!(!outnumbered.is_contradicting("two"));
    let alone = reader(&[("two", "us", &other)], 0);
    assert!(matches!(alone.dispute(ours()).await, Dispute::Lost(_)));
}

#[tokio::test]
async fn who_does_not_answer_yet_is_waited_for_and_who_stands_still_is_not() {
    let other = HttpNode::start(chain(2)).await;
    let failing = HttpNode::with(chain(1), |method, _, _| {
        (method == "eth_getBlockByNumber").then_some(Fault::Error(-32000, "header not found"))
    })
    .await;
    let nobody_yet = reader(&[("other", "us", &other), ("failing", "us", &failing)], 0);
    assert_eq!(nobody_yet.dispute(ours()).await, Dispute::Open);

    let old = HttpNode::start(chain(1)).await;
    let stale = reader(&[("old", "us", &old), ("other", "us", &other)], i64::MAX / 2);
    stale.latest().await.unwrap();
    assert!(matches!(stale.dispute(ours()).await, Dispute::Lost(_)));
}
