//! When a block counts in one seed's world: tiers by amount, and whether what the world knew covered a block, decided anew
//! from the tree and from what endpoints said, with none of the code that is tested.

use std::collections::BTreeMap;
use std::time::Duration;

use alloy::primitives::{B256, U256};
use tollgate::domain::{Finality, Tag, Tier};

use super::tree::Tree;
use super::world::World;
use crate::random::Random;

/// Base units of one unit of the token that is paid in.
const UNIT: u64 = 1_000_000;

/// One tier: all that it names must hold.
#[derive(Debug, Clone, Copy)]
pub struct TierPlan {
    /// In units; the last has no bound.
    pub up_to: Option<u64>,
    pub confirmations: u64,
    pub tag: Option<Tag>,
    pub or_confirmations: Option<u64>,
    pub min_age_ms: i64,
}

/// The tiers, lowest first.
#[derive(Debug, Clone)]
pub struct Policy(pub Vec<TierPlan>);

impl Policy {
    pub fn of(random: &mut Random, block_ms: i64) -> Self {
        let confirmations = random.pick(&[1, 2, 3, 5, 8]);
        if random.chance(45) {
            return Self(vec![TierPlan::of_confirmations(confirmations)]);
        }
        // Of the amounts that are paid some lie below each of these, and some above.
        let bounds: [&[u64]; 5] = [&[], &[10], &[100], &[10, 100], &[20, 1_000]];
        let bounds = random.pick(&bounds);
        let mut tiers = Vec::new();
        for place in 0..=bounds.len() {
            let tag = random.pick(&[None, None, Some(Tag::Safe), Some(Tag::Finalized)]);
            let deep = random.between(3, 12);
            let ages = [0, 0, 0, block_ms / 2, 3 * block_ms];
            tiers.push(TierPlan {
                up_to: bounds.get(place).copied(),
                confirmations: confirmations + random.below(1 + 3 * u64::try_from(place).unwrap()),
                tag,
                or_confirmations: tag.filter(|_| random.chance(50)).map(|_| deep),
                min_age_ms: random.pick(&ages),
            });
        }
        Self(tiers)
    }

    /// As it is configured.
    pub fn finality(&self) -> Finality {
        let tier = |(place, plan): (usize, &TierPlan)| Tier {
            name: format!("tier-{place}"),
            up_to: plan.up_to.map(|units| units.to_string()),
            confirmations: plan.confirmations,
            tag: plan.tag,
            or_confirmations: plan.or_confirmations,
            min_age: Duration::from_millis(plan.min_age_ms.unsigned_abs()),
        };
        Finality::new(self.0.iter().enumerate().map(tier).collect()).expect("a policy has a tier")
    }

    /// The place of the tier of an amount.
    pub fn place_of(&self, amount: U256) -> usize {
        let bound = |units: u64| U256::from(units * UNIT);
        let holds = |tier: &TierPlan| tier.up_to.is_none_or(|units| amount <= bound(units));
        self.0.iter().position(holds).expect("the last tier holds all")
    }

    /// The deepest that a tier looks below the head, in blocks.
    pub fn depth(&self) -> u64 {
        let depth = |tier: &TierPlan| tier.confirmations.max(tier.or_confirmations.unwrap_or_default());
        self.0.iter().map(depth).max().unwrap_or_default()
    }
}

impl TierPlan {
    fn of_confirmations(confirmations: u64) -> Self {
        Self {
            up_to: None,
            confirmations,
            tag: None,
            or_confirmations: None,
            min_age_ms: 0,
        }
    }
}

/// The blocks that each operator named, with the time at which it was said first.
type Said = BTreeMap<u64, BTreeMap<B256, i64>>;

/// What endpoints said of blocks at heights and of tags.
#[derive(Debug, Default)]
pub struct Sayings {
    blocks: Said,
    tags: BTreeMap<&'static str, Said>,
}

impl Sayings {
    /// An operator named this block as one of the chain.
    pub fn named(&mut self, operator: u64, hash: B256, at_ms: i64) {
        let said = self.blocks.entry(operator).or_default();
        said.entry(hash).or_insert(at_ms);
    }

    /// An operator said that the tag is at this block.
    pub fn tagged(&mut self, tag: Tag, operator: u64, hash: B256, at_ms: i64) {
        let said = self.tags.entry(tag.as_str()).or_default();
        said.entry(operator).or_default().entry(hash).or_insert(at_ms);
    }
}

/// How many operators had named the block, or one that stands on it.
fn vouchers(said: &Said, tree: &Tree, (number, hash): (u64, B256), at_ms: i64) -> usize {
    let has = |named: &BTreeMap<B256, i64>| {
        let mut in_time = named.iter().filter(|(_, said_ms)| **said_ms <= at_ms);
        in_time.any(|(named, _)| tree.stands_on(named, number, &hash))
    };
    said.values().filter(|named| has(named)).count()
}

impl World {
    /// Whether what the world knew at a time was enough for a block to count in the tier at `place`.
    pub fn was_covered(&self, place: usize, (number, hash): (u64, B256), at_ms: i64) -> bool {
        let (tier, tree) = (self.plan.policy.0[place], &self.miner.tree);
        // A block that too few operators have confirms nothing.
        let is_deep = |blocks: u64| {
            let top = number + blocks - 1;
            let mut tops = tree.on(&hash, top, at_ms);
            tops.any(|block| self.was_agreed((top, block.hash), at_ms))
        };
        let is_tagged = tier
            .tag
            .is_none_or(|tag| self.was_tagged(tag, (number, hash), at_ms));
        let is_tagged = is_tagged || tier.or_confirmations.is_some_and(is_deep);
        let is_old = tree.block(&hash).is_some_and(|block| {
            let time_ms = i64::try_from(block.timestamp_s).unwrap() * 1_000;
            tier.min_age_ms == 0 || time_ms + tier.min_age_ms <= at_ms
        });
        is_deep(tier.confirmations) && is_tagged && is_old
    }

    /// Whether as many operators as must agree had named the block, or one that stands on it.
    fn was_agreed(&self, block: (u64, B256), at_ms: i64) -> bool {
        self.plan.agree < 2
            || vouchers(&self.sayings.blocks, &self.miner.tree, block, at_ms) >= self.plan.agree
    }

    /// Whether as many operators as must agree had the tag at the block, or at one that stands on it.
    fn was_tagged(&self, tag: Tag, block: (u64, B256), at_ms: i64) -> bool {
        let said = self.sayings.tags.get(tag.as_str());
        said.is_some_and(|said| vouchers(said, &self.miner.tree, block, at_ms) >= self.plan.agree)
    }

    /// Whether enough operators had said that the block is final, and that it is one of theirs.
    pub fn was_final(&self, block: (u64, B256)) -> bool {
        let now_ms = self.now_ms();
        // A chain of development comes to be final from its tag alone, and may go back.
        self.was_tagged(Tag::Finalized, block, now_ms) && self.was_agreed(block, now_ms)
    }

    /// The least height that the tier at `place` must cover when all is well and the head is at `tip`.
    pub fn least_covered(&self, place: usize, tip: u64) -> u64 {
        let tier = self.plan.policy.0[place];
        let tree = &self.miner.tree;
        let agreed = if self.plan.agree < 2 {
            tip
        } else {
            tip.saturating_sub(2)
        };
        let deep = |blocks: u64| (agreed + 1).saturating_sub(blocks);
        let tagged = tier.tag.map_or(u64::MAX, |tag| self.least_tagged(tag, tip));
        let tagged = tagged.max(tier.or_confirmations.map_or(0, deep));
        let chain = tree.canonical();
        // The first blocks are older than the world.
        let newest_ms = chain.last().map_or(0, |block| {
            block
                .born_ms
                .max(i64::try_from(block.timestamp_s).unwrap() * 1_000)
        });
        let old_ms = newest_ms - tier.min_age_ms - 2 * self.plan.skew_ms;
        let is_old = |number: &u64| {
            let place = usize::try_from(*number).unwrap();
            let block = &chain[place.min(chain.len() - 1)];
            i64::try_from(block.timestamp_s).unwrap() * 1_000 <= old_ms
        };
        let aged = match tier.min_age_ms {
            0 => u64::MAX,
            _ => (0..=tip).rev().find(is_old).unwrap_or_default(),
        };
        deep(tier.confirmations).min(tagged).min(aged)
    }

    /// The least height at which a tag must be known to be: it is asked for once in some blocks.
    pub fn least_tagged(&self, tag: Tag, tip: u64) -> u64 {
        const ASKED_EVERY: u64 = 6;
        let asked = tip.saturating_sub(ASKED_EVERY);
        let places = self.nodes.iter().map(|node| match tag {
            Tag::Safe => asked.saturating_sub(node.plan.safe_depth),
            Tag::Finalized => {
                let final_then = self.miner.tree.finalized.saturating_sub(6);
                let depth = 2 * node.plan.safe_depth;
                asked
                    .saturating_sub(depth)
                    .min(u64::try_from(final_then).unwrap())
            }
        });
        places.min().unwrap_or_default()
    }
}
