//! What the stream promised against what the blocks held. A difference loses no money, and tells of an endpoint that drops
//! or invents logs.

use std::collections::{HashSet, VecDeque};

use alloy::primitives::B256;

use crate::domain::ProvenBlock;

/// Streamed logs that are remembered until their block is proven.
const MAX_REMEMBERED: usize = 4_096;

/// Streamed logs whose block was not proven yet.
#[derive(Debug, Default)]
pub(super) struct Streamed {
    logs: HashSet<(B256, u64)>,
    order: VecDeque<(u64, B256, u64)>,
}

/// How streamed and proven logs compare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// In a proven block, and never streamed.
    pub(super) unstreamed: u64,
    /// Streamed for a height that was read without them.
    pub(super) unproven: u64,
}

impl Streamed {
    pub(super) fn saw(&mut self, number: u64, block_hash: B256, log_index: u64) {
        if self.order.len() < MAX_REMEMBERED && self.logs.insert((block_hash, log_index)) {
            self.order.push_back((number, block_hash, log_index));
        }
    }

    /// A block was proven: its logs are compared, and everything at its height or below is forgotten.
    pub(super) fn proven(&mut self, block: &ProvenBlock) -> Difference {
        let hash = block.header.hash;
        let missed = block
            .logs
            .iter()
            .filter(|log| !self.logs.remove(&(hash, log.log_index)));
        let unstreamed = u64::try_from(missed.count()).unwrap_or(u64::MAX);
        let mut unproven = 0;
        let logs = &mut self.logs;
        self.order.retain(|(number, block_hash, log_index)| {
            let keep = *number > block.header.number;
            if !keep && logs.remove(&(*block_hash, *log_index)) {
                unproven += 1;
            }
            keep
        });
        Difference { unstreamed, unproven }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{Address, Bloom, Bytes};

    use super::*;
    use crate::domain::{Header, Level, LogEntry};

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
    fn dropped_and_invented_logs_are_counted_once() {
        let mut streamed = Streamed::default();
        streamed.saw(5, B256::repeat_byte(5), 0);
        streamed.saw(5, B256::repeat_byte(6), 3);
        streamed.saw(9, B256::repeat_byte(9), 0);
        assert_eq!(
            streamed.proven(&block(5, 5, &[0, 1])),
            Difference {
                unstreamed: 1,
                unproven: 1
            }
        );
        assert_eq!(streamed.proven(&block(6, 7, &[])), Difference::default());
        assert_eq!(streamed.proven(&block(9, 9, &[0])), Difference::default());
    }
}
