//! How wide a range of logs one endpoint is asked for: learnt from its refusals, and from how much its answers hold.
//!
//! Small answers keep memory small and nodes fast: anvil hands out twice as many logs a second in ranges of 10 blocks as in
//! ranges of 200. Pure counters; what a refusal means is `error`'s.

use std::sync::atomic::{AtomicU64, Ordering};

/// The width of the first question, before anything is known.
const FIRST_WIDTH: u64 = 10;

/// The logs that an answer should hold at the most: about 1.5 MB of text.
const LOGS_PER_ANSWER: u64 = 2_500;

/// The widths in blocks that an endpoint is asked for.
#[derive(Debug)]
pub(super) struct LogRange {
    /// Never asked beyond: the configuration's limit, or the endpoint's own once it is known.
    ceiling: AtomicU64,
    width: AtomicU64,
    /// Up to here the width doubles; above, where something was refused before, it grows slowly.
    proven: AtomicU64,
}

impl LogRange {
    pub fn new(max: u64) -> Self {
        let max = max.max(1);
        Self {
            ceiling: AtomicU64::new(max),
            width: AtomicU64::new(max.min(FIRST_WIDTH)),
            proven: AtomicU64::new(max),
        }
    }

    /// The width to ask for, in blocks; at least one.
    pub fn width(&self) -> u64 {
        self.width.load(Ordering::Relaxed)
    }

    /// `asked` blocks were too many for this endpoint whatever they hold.
    pub fn too_wide(&self, asked: u64, limit: Option<u64>) {
        let half = (asked / 2).max(1);
        let ceiling = limit.map_or(half, |limit| limit.clamp(1, asked.saturating_sub(1).max(1)));
        let before = self.ceiling.fetch_min(ceiling, Ordering::Relaxed);
        self.width.fetch_min(ceiling.min(before), Ordering::Relaxed);
    }

    /// `asked` blocks held too many logs for this endpoint.
    pub fn too_dense(&self, asked: u64) {
        let half = (asked / 2).max(1);
        self.width.fetch_min(half, Ordering::Relaxed);
        self.proven.fetch_min(half, Ordering::Relaxed);
    }

    /// `asked` blocks were answered with so many logs: the next may be wider, as far as its answer would not be too large.
    pub fn answered(&self, asked: u64, logs: u64) {
        let width = self.width();
        let fitting = asked
            .saturating_mul(LOGS_PER_ANSWER)
            .checked_div(logs)
            .unwrap_or(u64::MAX);
        let wider = if asked < width {
            width
        } else if width < self.proven.load(Ordering::Relaxed) {
            width.saturating_mul(2)
        } else {
            width.saturating_add(width / 8 + 1)
        };
        let ceiling = self.ceiling.load(Ordering::Relaxed);
        self.width
            .store(wider.min(fitting).min(ceiling).max(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grown(range: &LogRange, logs_per_block: u64) -> u64 {
        for _ in 0..100 {
            let width = range.width();
            range.answered(width, width * logs_per_block);
        }
        range.width()
    }

    #[test]
    fn a_sparse_chain_is_soon_asked_for_all_that_is_allowed() {
        let range = LogRange::new(2000);
        assert_eq!(range.width(), FIRST_WIDTH);
        for width in [20, 40, 80] {
            range.answered(range.width(), 0);
            assert_eq!(range.width(), width);
        }
        assert_eq!(grown(&range, 0), 2000);
        assert_eq!(LogRange::new(7).width(), 7);
    }

    #[test]
    fn the_width_follows_how_dense_the_logs_are() {
        let range = LogRange::new(2000);
        assert_eq!(grown(&range, 250), LOGS_PER_ANSWER / 250);
        assert_eq!(grown(&range, 1), 2000);
        range.answered(2000, 4_000_000);
        assert_eq!(range.width(), 1, "one block, however many it holds");
    }

    #[test]
    fn a_stated_limit_is_remembered_and_never_exceeded() {
        let range = LogRange::new(2000);
        grown(&range, 0);
        range.too_wide(2000, Some(500));
        assert_eq!(range.width(), 500);
        assert_eq!(grown(&range, 0), 500);
    }

    #[test]
    fn an_unstated_limit_is_found_by_halving() {
        let range = LogRange::new(1000);
        grown(&range, 0);
        range.too_wide(1000, None);
        range.too_wide(500, None);
        assert_eq!(range.width(), 250);
        range.too_wide(250, Some(9999));
        assert_eq!(range.width(), 249, "a limit above what was refused still shrinks");
    }

    #[test]
    fn a_dense_stretch_narrows_and_then_grows_back_slowly() {
        let range = LogRange::new(1000);
        grown(&range, 0);
        range.too_dense(1000);
        assert_eq!(range.width(), 500);
        range.answered(100, 0);
        assert_eq!(range.width(), 500, "a narrow answer proves nothing");
        range.answered(500, 0);
        assert_eq!(range.width(), 563);
        assert_eq!(grown(&range, 0), 1000);
    }

    #[test]
    fn the_width_never_reaches_zero() {
        let range = LogRange::new(0);
        range.too_wide(1, None);
        range.too_dense(1);
        assert_eq!(range.width(), 1);
    }
}
