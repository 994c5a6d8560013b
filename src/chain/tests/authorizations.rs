//! What comes with a payment: the authorization that it was made with.

use alloy::primitives::{Address, B256, Bytes, Log, LogData};

use super::node::{
    Chain, GATE, HttpNode, Quirk, TOKEN, TREASURY, endpoint, filter, internet, settings, transfer,
};
use crate::chain::{ChainReader, LogFilter, connect};
use crate::clock::Clock;
use crate::domain::{AUTHORIZATION_USED, Level, ProvenBlock, TRANSFER};

fn used(contract: Address) -> Log {
    let topics = vec![AUTHORIZATION_USED, GATE.into_word(), B256::repeat_byte(7)];
    Log {
        address: contract,
        data: LogData::new_unchecked(topics, Bytes::new()),
    }
}

/// In 1 an authorization right before a payment, and others that are not; in 2 one with something between; in 3 one alone.
fn blocks() -> [Vec<Log>; 5] {
    let paid = vec![
        used(TOKEN),
        used(GATE),
        used(TOKEN),
        transfer(TOKEN, TREASURY),
        used(TOKEN),
        transfer(TOKEN, GATE),
    ];
    let between = vec![
        used(TOKEN),
        transfer(TREASURY, TREASURY),
        transfer(TOKEN, TREASURY),
    ];
    [vec![], paid, between, vec![used(TOKEN)], vec![]]
}

/// The kind of each log that is handed on, with its index.
fn shown(block: &ProvenBlock) -> Vec<(&'static str, u64, Option<u32>)> {
    let kind = |topic: &B256| match *topic {
        TRANSFER => "transfer",
        AUTHORIZATION_USED => "used",
        _ => "other",
    };
    let logs = block.logs.iter();
    logs.map(|log| (kind(&log.topics[0]), log.log_index, log.ordinal))
        .collect()
}

fn reader(node: &HttpNode, level: Option<Level>) -> ChainReader {
    let mut settings = settings(vec![endpoint("node", None, Some(node.url.clone()))]);
    settings.level = level;
    let connected = connect(&settings, &internet(), &Clock::fixed(0), LogFilter::default());
    connected.unwrap().0
}

#[tokio::test]
async fn the_authorization_right_before_a_payment_comes_with_it_and_no_other_does() {
    for (quirk, level) in [(Quirk::Nothing, Level::Receipts), (Quirk::Blooms, Level::None)] {
        let node = HttpNode::start(Chain::with(quirk, blocks())).await;
        let reader = reader(&node, Some(level));
        assert_eq!(reader.find_level().await, Ok(level));
        let alone = reader.prove_range(0, 4, &filter(), None).await.unwrap();
        for ranged in &alone[1..=3] {
            let number = ranged.header.number;
            let block = reader.prove_block(&ranged.header, &filter()).await.unwrap();
            let expected: &[_] = match number {
                1 => &[("used", 2, Some(2)), ("transfer", 3, Some(3))],
                2 => &[("transfer", 2, Some(2))],
                _ => &[],
            };
            assert_eq!(shown(&block), expected, "block {number} at {level:?}");
            assert_eq!(shown(ranged), expected, "{number} in a range at {level:?}");
        }
    }
}
