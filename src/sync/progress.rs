//! What is left to read of the past: a gauge always, and a bar where a person watches.

use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

use super::plan::LIVE_STRETCH;
use crate::metrics;
use crate::store::Watch;
use crate::telemetry;

const BAR: &str = "{prefix} {bar:30} {human_pos}/{human_len} blocks, {eta} left";

/// What one chain has left to read, in blocks: its own, and those of each contract's past.
#[derive(Debug)]
pub(super) struct Progress {
    chain: String,
    behind: AtomicU64,
    history: AtomicU64,
}

impl Progress {
    pub(super) fn new(chain: &str) -> Self {
        Self {
            chain: chain.to_owned(),
            behind: AtomicU64::new(0),
            history: AtomicU64::new(0),
        }
    }

    /// So many blocks lie between what is read and the head; the few that come with each head are not the past.
    pub(super) fn is_behind(&self, blocks: u64) {
        let past = if blocks > LIVE_STRETCH { blocks } else { 0 };
        self.behind.store(past, Ordering::Relaxed);
        self.show();
    }

    /// The watched contracts stand so.
    pub(super) fn has_watches(&self, watches: &[Watch]) {
        let left = watches.iter().map(history_left).sum();
        self.history.store(left, Ordering::Relaxed);
        self.show();
    }

    fn show(&self) {
        let left = self.behind.load(Ordering::Relaxed) + self.history.load(Ordering::Relaxed);
        // A gauge of more blocks than any chain has need not be exact.
        let left = f64::from(u32::try_from(left).unwrap_or(u32::MAX));
        ::metrics::gauge!(metrics::CHAIN_BACKFILL_REMAINING_BLOCKS, "chain" => self.chain.clone()).set(left);
    }

    /// A bar for a stretch of so many blocks; it goes with its end, however that comes.
    pub(super) fn bar(&self, what: &str, blocks: u64) -> Bar {
        let bar = telemetry::bar(blocks);
        if let Ok(style) = ProgressStyle::with_template(BAR) {
            bar.set_style(style);
        }
        bar.set_prefix(format!("{}: {what}", self.chain));
        Bar(bar)
    }
}

/// Blocks of a contract's past that are not read.
fn history_left(watch: &Watch) -> u64 {
    watch
        .live_from
        .map_or(0, |live_from| live_from.saturating_sub(watch.next_number))
}

/// A stretch under way, as a person sees it.
#[derive(Debug)]
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn read(&self, blocks: usize) {
        self.0.inc(u64::try_from(blocks).unwrap_or_default());
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Address;
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::domain::{ChainId, Scope};

    fn watch(next_number: u64, live_from: Option<u64>) -> Watch {
        Watch {
            chain: ChainId(1),
            contract: Address::ZERO,
            scope: Scope::default(),
            from_number: 0,
            next_number,
            next_parent: None,
            live_from,
            live_parent: None,
            first_moved: None,
            malformed_at: None,
            crowded_at: None,
        }
    }

    #[test]
    fn the_gauge_is_the_sum_of_all_that_is_left_and_zero_at_the_head() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let gauge = |record: &dyn Fn(&Progress)| {
            ::metrics::with_local_recorder(&recorder, || record(&Progress::new("one")));
            let text = recorder.handle().render();
            let line = text
                .lines()
                .find(|line| line.starts_with("tollgate_chain_backfill_remaining_blocks{"));
            line.unwrap().rsplit(' ').next().unwrap().to_owned()
        };
        let watches = [
            watch(10, Some(110)),
            watch(0, Some(5)),
            watch(7, Some(7)),
            watch(3, None),
        ];
        let both = |progress: &Progress| {
            progress.is_behind(1_000);
            progress.has_watches(&watches);
        };
        assert_eq!(gauge(&both), "1105");
        let head = |progress: &Progress| {
            both(progress);
            progress.is_behind(LIVE_STRETCH);
            progress.has_watches(&watches[2..]);
        };
        assert_eq!(gauge(&head), "0");
    }
}
