//! What is kept of a chain below its tip, so that a reorg can be undone exactly: headers, and movements of watched contracts.
//!
//! From the block that is final to the tip, and for 24 hours where the chain names none; at least 256 blocks, and at most
//! [`MAX_JOURNAL`]. A movement that is not settled yet is kept however deep it lies.

use super::EngineError;
use super::chain::Step;
use super::work::Work;
use crate::config;
use crate::domain::{Finalized, Millis, ProvenBlock};
use crate::store;

/// The most blocks that are kept: four hours at 250 ms, a week at 12 s.
pub const MAX_JOURNAL: u64 = 50_000;

const MIN_JOURNAL: u64 = 256;

/// How long blocks are kept where no tag says what is final.
const KEPT_MS: Millis = 24 * 60 * 60 * 1000;

/// Old headers are forgotten this many blocks at a time.
const PRUNE_EVERY: u64 = 64;

/// How many blocks below what is read are kept at the least: twice what the policy looks back.
pub(super) fn least(chain: &config::Chain) -> u64 {
    let depth = chain.finality.depth().saturating_mul(2);
    depth.clamp(MIN_JOURNAL, MAX_JOURNAL)
}

/// The first of a step's blocks that is kept; all above it are too. What is kept always ends in the last.
pub(super) fn first_kept(least: u64, blocks: &[ProvenBlock], now: Millis) -> Option<u64> {
    let tip = blocks.last()?.header.number;
    let young = |block: &ProvenBlock| block.header.time_ms() > now.saturating_sub(KEPT_MS);
    let is_kept = |block: &&ProvenBlock| {
        let above = tip.saturating_sub(block.header.number);
        above < least || above < MAX_JOURNAL && young(block)
    };
    let kept = blocks.iter().rev().take_while(is_kept).last();
    kept.map(|block| block.header.number)
}

/// The lowest block to keep, given the newest that may go by its age or its finality.
fn floor(tip: u64, least: u64, newest_old: u64) -> u64 {
    let at_most = tip.saturating_sub(least - 1);
    newest_old.min(at_most).max(tip.saturating_sub(MAX_JOURNAL - 1))
}

impl Step<'_> {
    /// Forgets what no reorg may reach any more. `below` is what was read before this step's blocks.
    pub(super) async fn prune(
        &mut self,
        work: &mut Work<'_>,
        below: u64,
        blocks: &[ProvenBlock],
    ) -> Result<(), EngineError> {
        let (Some(first), Some(last)) = (blocks.first(), self.heights.read) else {
            return Ok(());
        };
        let chain = self.chain.id;
        // A stretch that was read far below the head, of which only the end is kept: nothing below it is linked to it.
        let cut = self.first_kept.filter(|kept| *kept > first.header.number);
        if cut.is_none() && below / PRUNE_EVERY == last.number / PRUNE_EVERY {
            return Ok(());
        }
        let newest_old = match self.evidence.finalized {
            Finalized::Untagged => {
                let kept = store::header_by_time(work.tx.conn(), chain, work.now - KEPT_MS).await?;
                kept.map_or(0, |kept| kept.block.number)
            }
            Finalized::Unknown | Finalized::Block(_) => {
                self.heights.finalized.map_or(0, |block| block.number)
            }
        };
        let floor = floor(last.number, least(self.chain), newest_old).max(cut.unwrap_or_default());
        let unsettled = self.heights.settled.map_or(0, |settled| settled.number + 1);
        work.tx.prune_below(chain, floor, floor.min(unsettled)).await?;
        if self.evidence.finalized == Finalized::Untagged && floor > 0 {
            let lowest = store::lowest_header(work.tx.conn(), chain).await?;
            self.finalize_up_to(lowest.map(|kept| kept.block));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{B256, Bloom};

    use super::*;
    use crate::domain::{Header, Level};

    fn blocks(from: u64, to: u64) -> Vec<ProvenBlock> {
        let block = |number: u64| ProvenBlock {
            header: Header {
                number,
                hash: B256::with_last_byte(1),
                parent_hash: B256::ZERO,
                timestamp_s: number,
                receipts_root: B256::ZERO,
                bloom: Bloom::ZERO,
            },
            logs: Vec::new(),
            level: Level::Receipts,
        };
        (from..=to).map(block).collect()
    }

    #[test]
    fn at_least_and_at_most_so_many_are_kept_and_between_them_what_is_not_final() {
        assert_eq!(floor(10_000, 256, 9_000), 9_000);
        assert_eq!(floor(10_000, 256, 9_999), 10_000 - 255);
        assert_eq!(floor(100, 256, 90), 0);
        assert_eq!(floor(80_000, 256, 0), 80_000 - 49_999);
    }

    #[test]
    fn of_a_step_its_end_is_kept_and_what_is_younger_than_a_day() {
        let day_s = 86_400;
        let now = (day_s + 500) * 1000;
        let step = blocks(1, 1_000);
        assert_eq!(first_kept(256, &step, now), Some(501));
        assert_eq!(first_kept(600, &step, now), Some(401));
        assert_eq!(first_kept(256, &step, now + 86_400_000), Some(745));
        assert_eq!(first_kept(256, &step[..3], now + 86_400_000), Some(1));
        assert_eq!(first_kept(256, &[], now), None);
    }
}
