//! When a block counts: a chain's policy, by the amount that is at stake, and what is known of its blocks.
//!
//! Arithmetic on values; who asks, and what was proven, is not known here.

use std::time::Duration;

use super::{Amount, BlockRef, Heights, Millis, Tag};

/// The most tiers that one policy may have.
pub const MAX_TIERS: usize = 4;

/// One tier of a policy: all that it names must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tier {
    /// Names it among the chain's.
    pub name: String,
    /// Amounts up to this many units of the token belong to it, as decimal text; the last tier has no bound.
    pub up_to: Option<String>,
    /// Blocks that must stand on a block, itself included; where operators must agree, blocks that they agree on.
    pub confirmations: u64,
    /// The tag's block must be the block or above it.
    pub tag: Option<Tag>,
    /// This many blocks do as well where the tag is further behind, missing or stale.
    pub or_confirmations: Option<u64>,
    /// How old the block must be, by its own time.
    pub min_age: Duration,
}

/// What is known of the blocks that were read, as numbers. All are on our chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The highest that was read.
    pub read: u64,
    /// The block of the tag `safe`.
    pub safe: Option<u64>,
    /// The block of the tag `finalized`.
    pub finalized: Option<u64>,
    /// The newest that has the tier's age.
    pub aged: Option<u64>,
    /// The newest that enough operators report; all, where nobody is asked.
    pub agreed: Option<u64>,
}

impl Tier {
    /// One for every amount, by confirmations alone.
    #[must_use]
    pub fn of_confirmations(confirmations: u64) -> Self {
        Self {
            name: "low".to_owned(),
            up_to: None,
            confirmations,
            tag: None,
            or_confirmations: None,
            min_age: Duration::ZERO,
        }
    }

    /// The highest block that it covers; none where there is none yet.
    #[must_use]
    pub fn covers(&self, facts: &Facts) -> Option<u64> {
        // What stands on a block confirms it only as far as it is believed itself.
        let top = facts.agreed.map(|agreed| agreed.min(facts.read));
        let by_depth = |blocks: u64| top?.checked_add(1)?.checked_sub(blocks);
        let tagged = match self.tag {
            Some(Tag::Safe) => facts.safe,
            Some(Tag::Finalized) => facts.finalized,
            None => Some(u64::MAX),
        };
        let tagged = tagged.max(self.or_confirmations.and_then(by_depth));
        let aged = if self.min_age.is_zero() {
            Some(u64::MAX)
        } else {
            facts.aged
        };
        let bounds = [by_depth(self.confirmations), tagged, aged, top];
        bounds.into_iter().min().flatten()
    }

    /// How many blocks a block may have to wait for, where all is well; none where a tag alone decides.
    #[must_use]
    pub fn patience(&self) -> Option<u64> {
        let depth = self.depth();
        (self.tag.is_none() || self.or_confirmations.is_some()).then_some(depth)
    }

    /// The deepest that it may look below what is read, in blocks.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.confirmations.max(self.or_confirmations.unwrap_or_default())
    }
}

/// A chain's policy: its tiers, lowest first. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finality(Vec<Tier>);

impl Finality {
    /// None where there is no tier, or more than [`MAX_TIERS`].
    #[must_use]
    pub fn new(tiers: Vec<Tier>) -> Option<Self> {
        (1..=MAX_TIERS).contains(&tiers.len()).then_some(Self(tiers))
    }

    /// So many confirmations, whatever the amount.
    #[must_use]
    pub fn of_confirmations(confirmations: u64) -> Self {
        Self(vec![Tier::of_confirmations(confirmations)])
    }

    /// Lowest first.
    #[must_use]
    pub fn tiers(&self) -> &[Tier] {
        &self.0
    }

    /// Where the tier of an amount of a token stands. An amount that no bound covers belongs to the last.
    #[must_use]
    pub fn place_of(&self, amount: Amount, decimals: u8) -> usize {
        let covers = |tier: &Tier| match &tier.up_to {
            Some(units) => Amount::from_units(units, decimals).is_ok_and(|bound| amount <= bound),
            None => true,
        };
        let last = self.0.len().saturating_sub(1);
        self.0.iter().position(covers).unwrap_or(last)
    }

    /// The tier of an amount of a token.
    #[must_use]
    pub fn tier_of(&self, amount: Amount, decimals: u8) -> Option<&Tier> {
        self.0.get(self.place_of(amount, decimals))
    }

    /// Whether a tier waits for a tag.
    #[must_use]
    pub fn uses(&self, tag: Tag) -> bool {
        self.0.iter().any(|tier| tier.tag == Some(tag))
    }

    /// The deepest that a tier may look below what is read, in blocks.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.0.iter().map(Tier::depth).max().unwrap_or_default()
    }

    /// The tiers' names in order: another text is another policy.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|tier| tier.name.as_str()).collect();
        names.join(",")
    }
}

/// A block that a tier covers, with its own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Settled {
    /// The block.
    pub block: BlockRef,
    /// Its own time in milliseconds.
    pub time_ms: Millis,
}

impl Heights {
    /// How far the tier at a place is settled; the lowest is at 0.
    #[must_use]
    pub fn settled_at(&self, place: usize) -> Option<Settled> {
        match place.checked_sub(1) {
            Some(upper) => self.upper.get(upper).copied().flatten(),
            None => self.settled.map(|block| Settled {
                block,
                time_ms: self.settled_time_ms,
            }),
        }
    }

    /// Sets how far the tier at a place is settled.
    pub fn settle_at(&mut self, place: usize, settled: Option<Settled>) {
        if place == 0 {
            self.settled = settled.map(|settled| settled.block);
            self.settled_time_ms = settled.map_or(0, |settled| settled.time_ms);
        } else if let Some(tier) = self.upper.get_mut(place - 1) {
            *tier = settled;
        }
    }
}

/// What is known of the tag `finalized`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Finalized {
    /// The chain does not know it: what is too deep to be undone counts as final.
    #[default]
    Untagged,
    /// Nothing now: it was not heard of yet, or is not to be believed.
    Unknown,
    /// Its block.
    Block(BlockRef),
}

/// Up to where operators agree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Agreement {
    /// Nobody is asked: one operator's word is enough.
    #[default]
    Unasked,
    /// Too few report any block of ours.
    Nothing,
    /// Enough report this one or one above it.
    UpTo(BlockRef),
}

/// What was heard beside the blocks, and what blocks are measured against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The block of the tag `safe`.
    pub safe: Option<BlockRef>,
    /// The block of the tag `finalized`.
    pub finalized: Finalized,
    /// What the operators say.
    pub agreement: Agreement,
}

/// Why nothing new counts on a chain, or less than should.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Held {
    /// Since when.
    pub since: Millis,
    /// In words.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small generator, so that every run tries the same.
    fn numbers(seed: u64) -> impl FnMut(u64) -> u64 {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        move |bound| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % bound
        }
    }

    /// The definition, block by block.
    fn naive(tier: &Tier, facts: &Facts) -> Option<u64> {
        let covered = |number: u64| {
            let Some(top) = facts.agreed.map(|agreed| agreed.min(facts.read)) else {
                return false;
            };
            let standing = (top + 1).saturating_sub(number);
            let tag = match tier.tag {
                None => true,
                Some(Tag::Safe) => facts.safe.is_some_and(|tagged| number <= tagged),
                Some(Tag::Finalized) => facts.finalized.is_some_and(|tagged| number <= tagged),
            };
            let deep = tier.or_confirmations.is_some_and(|blocks| standing >= blocks);
            let old = tier.min_age.is_zero() || facts.aged.is_some_and(|aged| number <= aged);
            standing >= tier.confirmations && (tag || deep) && old
        };
        (0..=facts.read).rev().find(|number| covered(*number))
    }

    #[test]
    fn a_tier_covers_what_the_definition_covers() {
        for seed in 1..=20_000 {
            let mut next = numbers(seed);
            let read = next(24);
            let mut maybe = |bound: u64| (next(4) > 0).then(|| next(bound));
            let facts = Facts {
                read,
                safe: maybe(read + 1),
                finalized: maybe(read + 1),
                aged: maybe(read + 1),
                agreed: maybe(30),
            };
            let tag = maybe(2).map(|tag| if tag == 0 { Tag::Safe } else { Tag::Finalized });
            let tier = Tier {
                confirmations: 1 + maybe(12).unwrap_or_default(),
                tag,
                or_confirmations: tag.and(maybe(12)).map(|blocks| blocks + 1),
                min_age: Duration::from_secs(maybe(2).unwrap_or_default()),
                ..Tier::of_confirmations(1)
            };
            assert_eq!(tier.covers(&facts), naive(&tier, &facts), "{tier:?} {facts:?}");
        }
    }

    #[test]
    fn an_amount_belongs_to_the_first_tier_that_holds_it() {
        let tier = |up_to: Option<&str>| Tier {
            up_to: up_to.map(str::to_owned),
            ..Tier::of_confirmations(1)
        };
        let finality = Finality::new(vec![tier(Some("10")), tier(Some("100.5")), tier(None)]).unwrap();
        for (base_units, decimals, place) in [
            (0, 6, 0),
            (10_000_000, 6, 0),
            (10_000_001, 6, 1),
            (100_500_000, 6, 1),
            (100_500_001, 6, 2),
            (u64::MAX, 6, 2),
            (10_000_000_000_000_000_000, 18, 0),
            (10_000_000_000_000_000_001, 18, 1),
        ] {
            let amount = Amount::from(base_units);
            assert_eq!(finality.place_of(amount, decimals), place, "{base_units}");
        }
        assert_eq!(finality.place_of(Amount(alloy::primitives::U256::MAX), 18), 2);
        assert!(Finality::new(Vec::new()).is_none());
        assert!(Finality::new(vec![tier(None); MAX_TIERS + 1]).is_none());
    }
}
