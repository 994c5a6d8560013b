//! How wide a range of logs one endpoint takes: learnt from its refusals, grown back slowly.
//!
//! Pure counters; what a refusal means is `error`'s.

use std::sync::atomic::{AtomicU64, Ordering};

/// The widths in blocks that an endpoint is asked for.
#[derive(Debug)]
pub(super) struct LogRange {
    /// Never asked beyond: the configuration's limit, or the endpoint's own once it is known.
    ceiling: AtomicU64,
    width: AtomicU64,
}

impl LogRange {
    pub fn new(max: u64) -> Self {
        let max = max.max(1);
        Self {
            ceiling: AtomicU64::new(max),
            width: AtomicU64::new(max),
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

    /// `asked` blocks held too many logs.
    pub fn too_dense(&self, asked: u64) {
        self.width.fetch_min((asked / 2).max(1), Ordering::Relaxed);
    }

    /// `asked` blocks were answered: the next may be an eighth wider.
    pub fn answered(&self, asked: u64) {
        let width = self.width();
        if asked >= width {
            let wider = width.saturating_add(width / 8 + 1);
            self.width
                .store(wider.min(self.ceiling.load(Ordering::Relaxed)), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stated_limit_is_remembered_and_never_exceeded() {
        let range = LogRange::new(2000);
        range.too_wide(2000, Some(500));
        assert_eq!(range.width(), 500);
        for _ in 0..50 {
            range.answered(range.width());
        }
        assert_eq!(range.width(), 500);
    }

    #[test]
    fn an_unstated_limit_is_found_by_halving() {
        let range = LogRange::new(1000);
        range.too_wide(1000, None);
        range.too_wide(500, None);
        assert_eq!(range.width(), 250);
        range.too_wide(250, Some(9999));
        assert_eq!(range.width(), 249, "a limit above what was refused still shrinks");
    }

    #[test]
    fn a_dense_stretch_narrows_and_then_grows_back_slowly() {
        let range = LogRange::new(1000);
        range.too_dense(1000);
        assert_eq!(range.width(), 500);
        range.answered(100);
        assert_eq!(range.width(), 500, "a narrow answer proves nothing");
        range.answered(500);
        assert_eq!(range.width(), 563);
        for _ in 0..50 {
            range.answered(range.width());
        }
        assert_eq!(range.width(), 1000);
    }

    #[test]
    fn the_width_never_reaches_zero() {
        let range = LogRange::new(0);
        range.too_wide(1, None);
        range.too_dense(1);
        assert_eq!(range.width(), 1);
    }
}
