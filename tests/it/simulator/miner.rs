//! What happens to the chain: blocks, reorganisations, replacements, and heads that go back without a word.

use std::sync::Arc;

use super::block::Block;
use super::tree::Tree;
use super::tx::{self, Act, Tx};
use crate::random::Random;

/// Blocks that no reorganisation touches: what is given to the holders stands in them.
pub const BEDROCK: usize = 4;

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
            self.tree
                .grow(&mut branch, (timestamp_s, i64::MIN), txs, fill, &mut self.random);
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
            .grow(branch, (timestamp_s, now_ms), txs, fill, &mut self.random);
    }

    /// What others do on this chain.
    fn bustle(&mut self, timestamp_s: u64) -> Vec<Tx> {
        let mut txs = Vec::new();
        while txs.len() < 4 && self.random.chance(self.bustle) {
            let mut acts = Vec::new();
            for _ in 0..self.random.between(0, 3) {
                acts.push(match self.random.below(4) {
                    0 => tx::oddity(&mut self.random),
                    1 => tx::noise(&mut self.random),
                    _ => tx::movement(&mut self.random),
                });
            }
            txs.push(self.tx(acts, timestamp_s));
        }
        txs
    }

    /// The topmost `depth` blocks give way to `depth + growth` others. Their transactions come again, or never.
    pub fn reorganise(&mut self, now_ms: i64, depth: usize, growth: usize) {
        let (mut branch, gone) = self.cut(depth);
        let tip_s = gone.last().map_or(0, |block| block.timestamp_s);
        for place in 0..gone.len() + growth {
            let timestamp_s = gone.get(place).map_or(tip_s, |block| block.timestamp_s);
            self.mine_on(&mut branch, timestamp_s, now_ms);
        }
        self.tree.crown(now_ms, branch);
    }

    /// The topmost `depth` blocks are gone, and nothing has come for them yet.
    pub fn roll_back(&mut self, now_ms: i64, depth: usize) {
        let (branch, _) = self.cut(depth);
        self.tree.crown(now_ms, branch);
    }

    fn cut(&mut self, depth: usize) -> (Vec<Arc<Block>>, Vec<Arc<Block>>) {
        let mut branch = self.tree.canonical().to_vec();
        let gone = branch.split_off(
            branch
                .len()
                .saturating_sub(depth)
                .max(BEDROCK.max(self.tree.finalized + 1)),
        );
        for tx in gone.iter().flat_map(|block| &block.txs) {
            if self.random.chance(85) {
                self.waiting.push(tx.clone());
            }
        }
        (branch, gone)
    }
}

fn seconds(now_ms: i64) -> u64 {
    u64::try_from(now_ms / 1000).unwrap()
}
