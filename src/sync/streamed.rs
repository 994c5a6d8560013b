//! What the stream promised against what the blocks held. A difference loses no money, and tells of an endpoint that drops
//! or invents logs. A block and its logs are announced in any order, so a block is judged when two more stand on it.

use std::collections::BTreeMap;

use alloy::primitives::B256;

use crate::chain::StreamedLog;
use crate::domain::{AUTHORIZATION_USED, ChainId, LogEntry, ProvenBlock};
use crate::engine::Engine;
use crate::ledger;

/// Sightings that are looked up at once.
const MAX_SIGHTINGS: usize = 64;

/// Logs that are remembered until their block is judged.
const MAX_REMEMBERED: usize = 4_096;

/// A block is judged when this many more were proven.
const JUDGED_AFTER: u64 = 2;

/// One log: its block's number and hash, and its index there.
type Log = (u64, B256, u64);

/// How a log was heard of.
#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    streamed: bool,
    proven: bool,
}

/// The logs of blocks that were not judged yet.
#[derive(Debug, Default)]
pub(super) struct Streamed(BTreeMap<Log, Heard>);

/// How streamed and proven logs compare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// In a proven block, and never streamed.
    pub(super) unstreamed: u64,
    /// Streamed, and in no proven block.
    pub(super) unproven: u64,
}

impl Streamed {
    /// A log was streamed.
    pub(super) fn saw(&mut self, number: u64, block_hash: B256, log_index: u64) {
        if let Some(heard) = self.entry((number, block_hash, log_index)) {
            heard.streamed = true;
        }
    }

    /// A block was proven. Returns what is now known of those well below it.
    pub(super) fn proven(&mut self, block: &ProvenBlock) -> Difference {
        let number = block.header.number;
        // An authorization comes with the payment that was made with it, and is not asked for.
        let asked_for = |log: &&LogEntry| log.topics.first() != Some(&AUTHORIZATION_USED);
        for log in block.logs.iter().filter(asked_for) {
            if let Some(heard) = self.entry((number, block.header.hash, log.log_index)) {
                heard.proven = true;
            }
        }
        let first_kept = (number.saturating_sub(JUDGED_AFTER - 1), B256::ZERO, 0);
        let kept = self.0.split_off(&first_kept);
        let judged = std::mem::replace(&mut self.0, kept);
        let mut difference = Difference::default();
        for heard in judged.into_values() {
            difference.unstreamed += u64::from(heard.proven && !heard.streamed);
            difference.unproven += u64::from(heard.streamed && !heard.proven);
        }
        difference
    }

    fn entry(&mut self, log: Log) -> Option<&mut Heard> {
        let fits = self.0.len() < MAX_REMEMBERED || self.0.contains_key(&log);
        fits.then(|| self.0.entry(log).or_default())
    }
}

/// Looks a streamed transfer up, beside the chain's task. One that is not news by then shows nothing.
pub(super) fn sight(engine: &Engine, chain: ChainId, log: &StreamedLog) {
    let Some(transfer) = ledger::transfer(&log.entry).filter(|_| !log.removed) else {
        return;
    };
    let Ok(permit) = sightings().try_acquire() else {
        return;
    };
    let (engine, block) = (engine.clone(), log.block);
    tokio::spawn(async move {
        let _permit = permit;
        if let Err(error) = engine.sight(chain, &transfer, block).await {
            tracing::debug!(%error, "a streamed transfer could not be looked up");
        }
    });
}

/// Lookups of streamed transfers that are under way, over all chains.
fn sightings() -> &'static tokio::sync::Semaphore {
    static SIGHTINGS: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(MAX_SIGHTINGS);
    &SIGHTINGS
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, Bloom, Bytes};

    use super::*;
    use crate::domain::{Header, Level};

    fn block(number: u64, hash: u8, log_indexes: &[u64]) -> ProvenBlock {
        let log = |log_index: &u64| LogEntry {
            address: Address::ZERO,
            topics: Vec::new(),
            data: Bytes::new(),
            tx_hash: B256::ZERO,
            log_index: *log_index,
            ordinal: None,
        };
        let header = Header {
            number,
            hash: B256::repeat_byte(hash),
            parent_hash: B256::ZERO,
            timestamp_s: 0,
            receipts_root: B256::ZERO,
            bloom: Bloom::ZERO,
        };
        ProvenBlock {
            header,
            logs: log_indexes.iter().map(log).collect(),
            level: Level::Receipts,
        }
    }

    #[test]
    fn dropped_and_invented_logs_are_counted_once_and_late_ones_are_not() {
        let mut streamed = Streamed::default();
        streamed.saw(5, B256::repeat_byte(5), 0);
        streamed.saw(5, B256::repeat_byte(6), 3);
        assert_eq!(streamed.proven(&block(5, 5, &[0, 1, 2])), Difference::default());
        streamed.saw(5, B256::repeat_byte(5), 2);
        assert_eq!(streamed.proven(&block(6, 7, &[])), Difference::default());
        let judged = Difference {
            unstreamed: 1,
            unproven: 1,
        };
        assert_eq!(streamed.proven(&block(7, 8, &[])), judged);
        assert_eq!(streamed.proven(&block(8, 9, &[])), Difference::default());
    }
}
