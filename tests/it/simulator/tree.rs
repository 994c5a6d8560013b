//! The tree of blocks, and which branch of it is the chain at which time: the oracle that everything is held against.

use std::collections::HashMap;
use std::sync::Arc;

use alloy::primitives::B256;

use super::block::{Block, Draft};
use super::tx::Tx;
use crate::random::Random;

/// A branch from block 0 to its tip; a block's number is its place.
pub type Branch = Arc<Vec<Arc<Block>>>;

/// All blocks that there ever were.
#[derive(Debug)]
pub struct Tree {
    blocks: HashMap<B256, Arc<Block>>,
    /// By height, in the order of their making.
    levels: Vec<Vec<Arc<Block>>>,
    /// The canonical branch from each time on, in milliseconds of the world; the first is as old as the world.
    reigns: Vec<(i64, Branch)>,
    /// The number of the newest block that consensus never takes back, and how many stand on it at the least.
    pub finalized: usize,
    final_depth: usize,
    salt: u64,
}

impl Tree {
    pub fn new(final_depth: usize) -> Self {
        Self {
            blocks: HashMap::new(),
            levels: Vec::new(),
            reigns: Vec::new(),
            finalized: 0,
            final_depth,
            salt: 0,
        }
    }

    /// The chain now.
    pub fn canonical(&self) -> &Branch {
        &self.reigns.last().unwrap().1
    }

    /// The chain as it was.
    pub fn canonical_at(&self, at_ms: i64) -> &Branch {
        let later = self.reigns.partition_point(|(from, _)| *from <= at_ms);
        &self.reigns[later.saturating_sub(1)].1
    }

    pub fn block(&self, hash: &B256) -> Option<&Arc<Block>> {
        self.blocks.get(hash)
    }

    /// Another block of the same height.
    pub fn sibling(&self, block: &Block) -> Option<&Arc<Block>> {
        let mut others = self.level(block.number).iter();
        others.find(|other| other.hash != block.hash)
    }

    /// From block 0 to this one.
    pub fn branch_to(&self, hash: &B256) -> Option<Vec<Arc<Block>>> {
        let mut branch = Vec::new();
        let mut next = self.blocks.get(hash)?;
        loop {
            branch.push(Arc::clone(next));
            match self.blocks.get(&next.parent) {
                Some(parent) => next = parent,
                None => break,
            }
        }
        branch.reverse();
        Some(branch)
    }

    /// The blocks at `number` that stand on `hash` and were known to the world at `at_ms`.
    pub fn on(&self, hash: &B256, number: u64, at_ms: i64) -> impl Iterator<Item = &Arc<Block>> {
        let tips = self.level(number).iter().filter(move |tip| tip.born_ms <= at_ms);
        let ground = self.blocks.get(hash);
        tips.filter(move |tip| {
            ground.is_some_and(|ground| self.stands_on(&tip.hash, ground.number, &ground.hash))
        })
    }

    /// Whether the block `tip` is the block `hash` at `number`, or above it on one branch.
    pub fn stands_on(&self, tip: &B256, number: u64, hash: &B256) -> bool {
        let mut next = self.blocks.get(tip);
        while let Some(block) = next.filter(|block| block.number > number) {
            next = self.blocks.get(&block.parent);
        }
        next.is_some_and(|block| block.hash == *hash)
    }

    fn level(&self, number: u64) -> &[Arc<Block>] {
        let level = usize::try_from(number)
            .ok()
            .and_then(|number| self.levels.get(number));
        level.map_or(&[], Vec::as_slice)
    }

    /// Puts a block on a branch. The branch does not reign yet.
    pub fn grow(
        &mut self,
        branch: &mut Vec<Arc<Block>>,
        (timestamp_s, born_ms): (u64, i64),
        txs: Vec<Tx>,
        (fill, forger): (u64, Option<u64>),
        random: &mut Random,
    ) {
        self.salt += 1;
        let draft = Draft {
            number: u64::try_from(branch.len()).unwrap(),
            parent: branch.last().map_or(B256::ZERO, |parent| parent.hash),
            timestamp_s,
            born_ms,
            txs,
            fill,
            salt: self.salt,
            forger,
        };
        let block = Arc::new(draft.build(random));
        self.blocks.insert(block.hash, Arc::clone(&block));
        if self.levels.len() <= branch.len() {
            self.levels.resize(branch.len() + 1, Vec::new());
        }
        self.levels[branch.len()].push(Arc::clone(&block));
        branch.push(block);
    }

    /// From now on this branch is the chain.
    pub fn crown(&mut self, at_ms: i64, branch: Vec<Arc<Block>>) {
        let final_now = branch.len().saturating_sub(1 + self.final_depth);
        self.finalized = self.finalized.max(final_now);
        self.reigns.push((at_ms, Arc::new(branch)));
    }
}
