//! What shakes a chain's foundations: an operator that forges a whole branch, and a chain that takes back what was final.

use std::sync::Arc;

use tollgate::domain::ChainId;
use tollgate::engine::{Engine, Resolution, ResolveQuarantine};
use tollgate::store::Store;

use super::net::{Shared, lock};
use super::node::CHAIN;
use super::plan::Overturn;
use super::rows;
use super::world::{Deed, World};

impl World {
    /// An endpoint's operator forges a branch, on which it is paid what nobody paid.
    pub fn forge(&mut self, slot: usize) {
        if self.is_calm() {
            return;
        }
        let now_ms = self.now_ms();
        let depth = usize::try_from(self.random.between(1, 8)).unwrap();
        // Blocks are cheap for who makes them up: the tags of such a branch may be out of all reach.
        let extra = self.random.pick(&[0, 0, 1, 1, 2, 2, 90]);
        let forger = self.nodes[slot].plan.operator;
        let branch = self.miner.forge(now_ms, forger, (depth, extra), &self.dues);
        self.tell(format_args!("e{slot} forges {depth} blocks, and {extra} more"));
        self.nodes[slot].forged = Some(branch);
    }

    /// Forged branches grow as the chain does.
    pub fn forge_on(&mut self) {
        let now_ms = self.now_ms();
        let height = self.miner.tree.canonical().len();
        for node in &mut self.nodes {
            let forger = node.plan.operator;
            if let Some(branch) = &mut node.forged
                && branch.len() <= height
            {
                let mut higher = branch.to_vec();
                self.miner.forge_block(&mut higher, now_ms, forger, &self.dues);
                *branch = Arc::new(higher);
            }
        }
    }

    /// The chain is another from far below on, whatever was final; later it comes back where that was an error of all.
    pub fn overturn(&mut self) {
        let now_ms = self.now_ms();
        let finalized = u64::try_from(self.miner.tree.finalized).unwrap();
        let lowest = self.random.between(2, finalized.max(2));
        let before = Arc::clone(self.miner.tree.canonical());
        self.miner.overturn(now_ms, usize::try_from(lowest).unwrap());
        self.tell(format_args!("overturned from block {lowest} on"));
        let blocks = i64::try_from(self.random.between(3, 6)).unwrap();
        if self.plan.overturn == Some(Overturn::ForAWhile) {
            self.overturned = Some(before);
            self.agree(now_ms + blocks * self.plan.block_ms, Deed::ComeBack);
        }
    }

    /// The chain is what it was before it was overturned, and more.
    pub fn come_back(&mut self) {
        let now_ms = self.now_ms();
        if let Some(before) = self.overturned.take() {
            self.miner.come_back(now_ms, &before);
            self.tell(format_args!("came back"));
        }
    }
}

/// A person looks whether the chain is quarantined, finds out which branch is the chain, and says so.
pub async fn resolve(shared: &Shared, store: &Store, engine: &Engine) {
    let stored = match store.read().await {
        Ok(mut conn) => rows::chain(&mut conn).await,
        Err(_) => None,
    };
    let held = stored.filter(|stored| stored.quarantined_since.is_some());
    if let Some((_, hash)) = held.and_then(|stored| stored.read) {
        let resolution = {
            let world = lock(shared);
            // Whoever resolves it knows that it is over.
            if world.overturned.is_some() {
                return;
            }
            let tree = &world.miner.tree;
            let ours = tree.branch_to(&hash).unwrap_or_default();
            let pairs = ours.iter().zip(tree.canonical().iter());
            let common = pairs
                .take_while(|(ours, theirs)| ours.hash == theirs.hash)
                .count();
            if common == ours.len() {
                Resolution::Keep
            } else {
                Resolution::AcceptFrom(u64::try_from(common).unwrap())
            }
        };
        lock(shared).tell(format_args!("resolved: {resolution:?}"));
        let chain = ChainId(CHAIN);
        // A database that fails is asked again at the next look.
        let _failed = engine.execute(ResolveQuarantine { chain, resolution }).await;
    }
}
