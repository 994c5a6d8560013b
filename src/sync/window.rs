//! The kept headers of one chain in memory: what a new header is compared with.

use std::collections::VecDeque;

use alloy::primitives::B256;

use crate::domain::{BlockRef, Header};
use crate::store::KeptHeader;

/// Positions from some height to the tip, each the parent of the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    blocks: VecDeque<BlockRef>,
    capacity: usize,
}

/// Where a header stands to the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// It is one of ours, the tip or below it.
    Known,
    /// Its parent is the tip.
    Extends,
    /// It is further up; what lies between must be read first.
    Above,
    /// It stands beside one of ours: the chain was reorganised below it.
    Forks,
}

impl Window {
    /// `kept` is lowest first and linked, as the store keeps it.
    pub(super) fn new(kept: &[KeptHeader], capacity: usize) -> Self {
        let mut window = Self {
            blocks: VecDeque::new(),
            capacity: capacity.max(1),
        };
        for kept in kept {
            window.push(kept.block);
        }
        window
    }

    pub(super) fn tip(&self) -> Option<BlockRef> {
        self.blocks.back().copied()
    }

    pub(super) fn lowest(&self) -> Option<BlockRef> {
        self.blocks.front().copied()
    }

    pub(super) fn push(&mut self, block: BlockRef) {
        self.blocks.push_back(block);
        while self.blocks.len() > self.capacity {
            self.blocks.pop_front();
        }
    }

    /// Forgets what is above `number`.
    pub(super) fn truncate(&mut self, number: u64) {
        while self.tip().is_some_and(|tip| tip.number > number) {
            self.blocks.pop_back();
        }
    }

    /// Our block at a height.
    pub(super) fn at(&self, number: u64) -> Option<BlockRef> {
        let lowest = self.lowest()?.number;
        let index = usize::try_from(number.checked_sub(lowest)?).ok()?;
        self.blocks.get(index).copied()
    }

    pub(super) fn contains(&self, block: BlockRef) -> bool {
        self.at(block.number) == Some(block)
    }

    /// Whether a block's parent, one below `number`, is one of ours.
    pub(super) fn has_parent(&self, number: u64, parent_hash: B256) -> bool {
        number.checked_sub(1).is_some_and(|below| {
            self.contains(BlockRef {
                number: below,
                hash: parent_hash,
            })
        })
    }

    pub(super) fn relation(&self, header: &Header) -> Relation {
        let Some(tip) = self.tip() else {
            return Relation::Above;
        };
        if self.contains(header.block()) {
            Relation::Known
        } else if header.number > tip.number + 1 {
            Relation::Above
        } else if header.number == tip.number + 1 && header.parent_hash == tip.hash {
            Relation::Extends
        } else {
            Relation::Forks
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::Bloom;

    use super::*;

    fn block(number: u64, fork: u8) -> BlockRef {
        let mut hash = B256::repeat_byte(fork);
        hash.0[..8].copy_from_slice(&number.to_be_bytes());
        BlockRef { number, hash }
    }

    fn header(number: u64, fork: u8, parent_fork: u8) -> Header {
        Header {
            number,
            hash: block(number, fork).hash,
            parent_hash: block(number - 1, parent_fork).hash,
            timestamp_s: 0,
            receipts_root: B256::ZERO,
            bloom: Bloom::ZERO,
        }
    }

    fn window(from: u64, to: u64, capacity: usize) -> Window {
        let mut window = Window::new(&[], capacity);
        (from..=to).for_each(|number| window.push(block(number, 1)));
        window
    }

    #[test]
    fn headers_are_told_apart() {
        let window = window(5, 10, 100);
        assert_eq!(window.relation(&header(11, 1, 1)), Relation::Extends);
        assert_eq!(window.relation(&header(10, 1, 1)), Relation::Known);
        assert_eq!(window.relation(&header(7, 1, 1)), Relation::Known);
        assert_eq!(window.relation(&header(12, 1, 1)), Relation::Above);
        assert_eq!(window.relation(&header(11, 2, 2)), Relation::Forks);
        assert_eq!(window.relation(&header(10, 2, 1)), Relation::Forks);
        assert_eq!(window.relation(&header(4, 1, 1)), Relation::Forks);
        assert_eq!(Window::new(&[], 8).relation(&header(3, 1, 1)), Relation::Above);
    }

    #[test]
    fn only_so_many_are_kept_and_a_reorg_cuts_from_the_top() {
        let mut window = window(1, 100, 10);
        assert_eq!(
            (window.lowest(), window.tip()),
            (Some(block(91, 1)), Some(block(100, 1)))
        );
        window.truncate(95);
        assert_eq!(window.tip(), Some(block(95, 1)));
        assert!(window.has_parent(96, block(95, 1).hash));
        assert!(!window.has_parent(96, block(95, 2).hash));
        assert!(!window.has_parent(0, B256::ZERO));
        window.truncate(0);
        assert_eq!(window.tip(), None);
    }
}
