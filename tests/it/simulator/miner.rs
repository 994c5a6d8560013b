//! What happens to the chain: blocks, reorganisations, replacements, and heads that go back without a word.

use std::collections::BTreeSet;
use std::sync::Arc;

use alloy::primitives::{B256, U256};

use super::block::Block;
use super::tree::{Branch, Tree};
use super::tx::{self, Act, Tx};
use crate::random::Random;

/// Blocks that no reorganisation touches: what is given to the holders stands in them.
pub const BEDROCK: usize = 4;

/// What a charge waits for, and since when.
#[derive(Debug, Clone, Copy)]
pub struct Due {
    pub amount: U256,
    pub since_s: u64,
}

/// Makes the chain.
pub struct Miner {
    pub tree: Tree,
    random: Random,
    /// Sent, and in no block of the chain.
    waiting: Vec<Tx>,
    next_id: u64,
    /// How much of each bloom is filled with nothing, in percent.
    fill: u64,
    /// Transactions besides those that are sent, per hundred blocks.
    bustle: u64,
}

impl Miner {
    pub fn new(random: Random, final_depth: usize, fill: u64, bustle: u64) -> Self {
        Self {
            tree: Tree::new(final_depth),
            random,
            waiting: Vec::new(),
            next_id: 0,
            fill,
            bustle,
        }
    }

    /// The first blocks, up to the one before `now_ms`.
    pub fn prelude(&mut self, blocks: usize, block_ms: i64, now_ms: i64) {
        let mut branch = Vec::new();
        for place in 0..blocks {
            let age = i64::try_from(blocks - place).unwrap() * block_ms;
            let timestamp_s = seconds(now_ms - age);
            let txs = match place {
                0 => Vec::new(),
                1 => vec![self.tx(tx::endowment(), 0)],
                _ => self.bustle(timestamp_s),
            };
            let fill = self.fill;
            self.tree.grow(
                &mut branch,
                (timestamp_s, i64::MIN),
                txs,
                (fill, None),
                &mut self.random,
            );
        }
        self.tree.crown(i64::MIN, branch);
    }

    fn tx(&mut self, acts: Vec<Act>, sent_at_s: u64) -> Tx {
        self.next_id += 1;
        tx::tx(&mut self.random, self.next_id, acts, sent_at_s)
    }

    /// A transaction that some later block will hold.
    pub fn send(&mut self, acts: Vec<Act>, now_ms: i64) {
        let tx = self.tx(acts, seconds(now_ms));
        self.waiting.push(tx);
    }

    /// How many transactions are in no block.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The next block.
    pub fn mine(&mut self, now_ms: i64) {
        let mut branch = self.tree.canonical().to_vec();
        self.mine_on(&mut branch, seconds(now_ms), now_ms);
        self.tree.crown(now_ms, branch);
    }

    fn mine_on(&mut self, branch: &mut Vec<Arc<Block>>, timestamp_s: u64, now_ms: i64) {
        let parent_s = branch.last().map_or(0, |parent| parent.timestamp_s);
        let timestamp_s = timestamp_s.max(parent_s + 1);
        let mut txs = self.bustle(timestamp_s);
        let mut left = Vec::new();
        for tx in std::mem::take(&mut self.waiting) {
            if tx.sent_at_s <= timestamp_s && self.random.chance(75) {
                let place = usize::try_from(self.random.below(txs.len() as u64 + 1)).unwrap();
                txs.insert(place, tx);
            } else {
                left.push(tx);
            }
        }
        self.waiting = left;
        let fill = self.fill;
        self.tree
            .grow(branch, (timestamp_s, now_ms), txs, (fill, None), &mut self.random);
    }

    /// What others do on this chain.
    fn bustle(&mut self, timestamp_s: u64) -> Vec<Tx> {
        let mut txs = Vec::new();
        while txs.len() < 4 && self.random.chance(self.bustle) {
            let mut acts = Vec::new();
            for _ in 0..self.random.between(0, 3) {
                acts.push(match self.random.below(8) {
                    0 | 1 => tx::oddity(&mut self.random),
                    2 => tx::noise(&mut self.random),
                    3 => tx::stray(&mut self.random),
                    _ => tx::movement(&mut self.random),
                });
            }
            txs.push(self.tx(acts, timestamp_s));
        }
        txs
    }

    /// The topmost `depth` blocks give way to `depth + growth` others. Their transactions come again, or never.
    pub fn reorganise(&mut self, now_ms: i64, depth: usize, growth: usize) {
        let (mut branch, gone) = self.cut(self.place_of(depth));
        let tip_s = gone.last().map_or(0, |block| block.timestamp_s);
        for place in 0..gone.len() + growth {
            let timestamp_s = gone.get(place).map_or(tip_s, |block| block.timestamp_s);
            self.mine_on(&mut branch, timestamp_s, now_ms);
        }
        self.tree.crown(now_ms, branch);
    }

    /// The topmost `depth` blocks are gone, and nothing has come for them yet.
    pub fn roll_back(&mut self, now_ms: i64, depth: usize) {
        let (branch, _) = self.cut(self.place_of(depth));
        self.tree.crown(now_ms, branch);
    }

    /// All from `lowest` on gives way to others, one more than there were, whatever was final.
    pub fn overturn(&mut self, now_ms: i64, lowest: usize) {
        let (mut branch, gone) = self.cut(lowest);
        let later = gone.last().map_or(0, |block| block.timestamp_s);
        for place in 0..=gone.len() {
            let timestamp_s = gone.get(place).map_or(later, |block| block.timestamp_s);
            self.mine_on(&mut branch, timestamp_s, now_ms);
        }
        self.tree.crown(now_ms, branch);
    }

    /// The chain is this one again, and grows above what it is now. What only the other branch held waits again.
    pub fn come_back(&mut self, now_ms: i64, before: &Branch) {
        let other = Arc::clone(self.tree.canonical());
        let mut branch = before.to_vec();
        let held: BTreeSet<B256> = hashes(&branch);
        let gone = other.iter().flat_map(|block| &block.txs);
        self.waiting.extend(gone.cloned());
        self.waiting.retain(|tx| !held.contains(&tx.hash));
        while branch.len() <= other.len() {
            self.mine_on(&mut branch, seconds(now_ms), now_ms);
        }
        self.tree.crown(now_ms, branch);
    }

    /// A branch of an operator's own making: the topmost `depth` blocks are others, and `extra` stand above them.
    pub fn forge(
        &mut self,
        now_ms: i64,
        forger: u64,
        (depth, extra): (usize, usize),
        dues: &[Due],
    ) -> Branch {
        let mut branch = self.tree.canonical().to_vec();
        let height = branch.len();
        branch.truncate(height.saturating_sub(depth).max(BEDROCK));
        while branch.len() < height + extra {
            self.forge_block(&mut branch, now_ms, forger, dues);
        }
        Arc::new(branch)
    }

    /// One more block of a forged branch. In it are transactions of the chain's block at its height, and payments of what was
    /// due at its time that nobody made.
    pub fn forge_block(&mut self, branch: &mut Vec<Arc<Block>>, now_ms: i64, forger: u64, dues: &[Due]) {
        let parent_s = branch.last().map_or(0, |parent| parent.timestamp_s);
        let real = self.tree.canonical().get(branch.len()).cloned();
        let timestamp_s = real.as_ref().map_or(seconds(now_ms), |block| block.timestamp_s);
        let timestamp_s = timestamp_s.max(parent_s + 1);
        let dues: Vec<U256> = dues
            .iter()
            .filter(|due| due.since_s <= timestamp_s)
            .map(|due| due.amount)
            .collect();
        let held = hashes(branch);
        let mut txs: Vec<Tx> = real.map_or_else(Vec::new, |block| block.txs.clone());
        txs.retain(|tx| !held.contains(&tx.hash) && self.random.chance(50));
        for _ in 0..self.random.between(0, 2) {
            let act = if dues.is_empty() || self.random.chance(30) {
                tx::stray(&mut self.random)
            } else {
                tx::payment(self.random.pick(&dues))
            };
            let movement = tx::movement(&mut self.random);
            txs.push(self.tx(vec![act, movement], timestamp_s));
        }
        let fill = (self.fill, Some(forger));
        self.tree
            .grow(branch, (timestamp_s, now_ms), txs, fill, &mut self.random);
    }

    /// Where a reorganisation of so many blocks begins.
    fn place_of(&self, depth: usize) -> usize {
        let place = self.tree.canonical().len().saturating_sub(depth);
        place.max(BEDROCK.max(self.tree.finalized + 1))
    }

    /// The chain below a place, and the blocks from there on. Most of their transactions wait again.
    fn cut(&mut self, place: usize) -> (Vec<Arc<Block>>, Vec<Arc<Block>>) {
        let mut branch = self.tree.canonical().to_vec();
        let gone = branch.split_off(place.min(branch.len()));
        for tx in gone.iter().flat_map(|block| &block.txs) {
            if self.random.chance(85) {
                self.waiting.push(tx.clone());
            }
        }
        (branch, gone)
    }
}

fn hashes(branch: &[Arc<Block>]) -> BTreeSet<B256> {
    let txs = branch.iter().flat_map(|block| &block.txs);
    txs.map(|tx| tx.hash).collect()
}

pub fn seconds(now_ms: i64) -> u64 {
    u64::try_from(now_ms / 1000).unwrap()
}
