//! What was heard beside the blocks, weighed against those that we read: finality's tags, and the operators' heads.
//!
//! Pure. Nothing that was heard counts by itself: a tag's block must stand in our window and be young enough, for as many
//! operators as must agree, and an operator vouches for a block of ours only while it does not contradict one.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::window::Window;
use crate::domain::{Agreement, BlockRef, Evidence, Facts, Finality, Finalized, Heights, Millis};

/// A tag that went back is believed to have when so many answers in a row say so: an endpoint may lag behind another.
const BACKWARDS_AFTER: u32 = 2;

/// An operator that gave no answer so often in a row is silent.
const SILENT_AFTER: u32 = 3;

/// What a question for a tag brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TagHeard {
    /// Its block, and that block's own time.
    Block(BlockRef, Millis),
    /// The chain does not know it.
    Absent,
}

/// What an operator said of a tag.
pub(super) type TagSaid = (Arc<str>, TagHeard);

/// Our blocks, the time, and how old a tag's block may be.
pub(super) type Clocked<'a> = (&'a Window, Millis, Duration);

/// Why a tag says nothing that could be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stall {
    /// The chain does not know it.
    Absent,
    /// It stands lower than it stood.
    Backwards,
    /// Its block is older than it may be.
    Old,
    /// Its block is not the one that we read at its height.
    Foreign,
    /// Too few operators know it.
    Unshared,
}

impl Stall {
    /// In words, after the tag's name.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Absent => "is not known to the chain's endpoints",
            Self::Backwards => "went backwards",
            Self::Old => "stands still: its block is older than max_tag_age",
            Self::Foreign => "names a block that is not the one that was read at its height",
            Self::Unshared => "is known to fewer operators than must agree",
        }
    }
}

/// One tag, as one operator has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct TagWatch {
    /// The highest block that it named.
    highest: Option<(BlockRef, Millis)>,
    /// Answers in a row that named a lower one.
    lower: u32,
    absent: bool,
}

impl TagWatch {
    /// A block that is not one of ours was no height of the tag's to go back from.
    fn hear(&mut self, window: &Window, heard: TagHeard) {
        self.absent = heard == TagHeard::Absent;
        if let TagHeard::Block(block, time_ms) = heard {
            let is_lower = self
                .highest
                .is_some_and(|(highest, _)| block.number < highest.number && window.contains(highest));
            if is_lower {
                self.lower = self.lower.saturating_add(1);
            } else {
                self.lower = 0;
                self.highest = Some((block, time_ms));
            }
        }
    }

    /// Its block where it stands in the window; none before it was heard of, or while we are behind it.
    fn standing(&self, (window, now, max_age): Clocked<'_>) -> Result<Option<BlockRef>, Stall> {
        if self.absent {
            return Err(Stall::Absent);
        }
        if self.lower >= BACKWARDS_AFTER {
            return Err(Stall::Backwards);
        }
        let Some((block, time_ms)) = self.highest else {
            return Ok(None);
        };
        let age_ms = i64::try_from(max_age.as_millis()).unwrap_or(i64::MAX);
        if now.saturating_sub(time_ms) > age_ms {
            return Err(Stall::Old);
        }
        match window.at(block.number) {
            Some(ours) if ours == block => Ok(Some(block)),
            Some(_) => Err(Stall::Foreign),
            None => Ok(None),
        }
    }
}

/// One tag, as the operators have it.
#[derive(Debug, Clone)]
pub(super) struct SharedTag {
    agree: usize,
    watches: BTreeMap<Arc<str>, TagWatch>,
}

impl SharedTag {
    /// `agree` of 1 believes any one.
    fn new(agree: usize) -> Self {
        Self {
            agree: agree.max(1),
            watches: BTreeMap::new(),
        }
    }

    pub(super) fn hear(&mut self, window: &Window, said: &[TagSaid]) {
        for (operator, heard) in said {
            let watch = self.watches.entry(Arc::clone(operator)).or_default();
            watch.hear(window, *heard);
        }
    }

    /// The highest block of ours that enough operators have it at or above; none while too few have been heard of.
    pub(super) fn standing(&self, clocked: Clocked<'_>) -> Result<Option<BlockRef>, Stall> {
        let (mut blocks, mut stalls, mut waiting) = (Vec::new(), Vec::new(), 0);
        for watch in self.watches.values() {
            match watch.standing(clocked) {
                Ok(Some(block)) => blocks.push(block),
                Ok(None) => waiting += 1,
                Err(stall) => stalls.push(stall),
            }
        }
        blocks.sort_unstable_by_key(|block| Reverse(block.number));
        if let Some(block) = blocks.get(self.agree - 1) {
            return Ok(Some(*block));
        }
        let unknown = stalls.iter().filter(|stall| **stall == Stall::Absent).count();
        let misplaced = stalls.iter().find(|stall| **stall != Stall::Absent);
        match misplaced {
            _ if stalls.is_empty() || blocks.len() + waiting >= self.agree => Ok(None),
            None if unknown >= self.agree && blocks.is_empty() => Err(Stall::Absent),
            None => Err(Stall::Unshared),
            Some(stall) => Err(*stall),
        }
    }
}

/// Both tags.
#[derive(Debug, Clone)]
pub(super) struct Tags {
    pub(super) safe: SharedTag,
    pub(super) finalized: SharedTag,
}

impl Tags {
    /// Of a chain where so many operators must say the same.
    pub(super) fn new(agree: usize) -> Self {
        Self {
            safe: SharedTag::new(agree),
            finalized: SharedTag::new(agree),
        }
    }
}

/// One operator's answer: the blocks that it names, none where it gave none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opinion {
    pub(super) operator: Arc<str>,
    pub(super) endpoint: Arc<str>,
    pub(super) blocks: Vec<BlockRef>,
}

#[derive(Debug, Clone, Default)]
struct Member {
    /// The newest block of ours that it named.
    vouch: Option<BlockRef>,
    /// Its endpoint that said it, and its block at a height where we read another.
    contradicts: Option<(Arc<str>, BlockRef)>,
    /// Questions in a row that it did not answer.
    silent: u32,
}

/// The operators of a chain, and how many of them must report a block.
#[derive(Debug, Clone, Default)]
pub(super) struct Council {
    agree: usize,
    members: BTreeMap<Arc<str>, Member>,
}

impl Council {
    /// `agree` of 1 asks nobody.
    pub(super) fn new(agree: usize) -> Self {
        Self {
            agree,
            members: BTreeMap::new(),
        }
    }

    pub(super) fn is_asked(&self) -> bool {
        self.agree > 1
    }

    /// How many must say the same.
    pub(super) fn agree(&self) -> usize {
        self.agree
    }

    /// Takes note of what each operator says. Returns the endpoints that newly contradict what was read.
    pub(super) fn hear(&mut self, window: &Window, opinions: &[Opinion]) -> Vec<Arc<str>> {
        let mut new = Vec::new();
        for opinion in opinions {
            let member = self.members.entry(Arc::clone(&opinion.operator)).or_default();
            if opinion.blocks.is_empty() {
                member.silent = member.silent.saturating_add(1);
                continue;
            }
            member.silent = 0;
            let ours = |block: &&BlockRef| window.contains(**block);
            let foreign = |block: &&BlockRef| window.at(block.number).is_some_and(|ours| ours != **block);
            if let Some(block) = opinion.blocks.iter().find(foreign) {
                let contradicts = (Arc::clone(&opinion.endpoint), *block);
                if member.contradicts.as_ref() != Some(&contradicts) {
                    new.push(Arc::clone(&opinion.endpoint));
                }
                member.contradicts = Some(contradicts);
                member.vouch = None;
            } else if let Some(block) = opinion
                .blocks
                .iter()
                .filter(ours)
                .max_by_key(|block| block.number)
            {
                let lags = |vouch: BlockRef| window.contains(vouch) && vouch.number > block.number;
                member.contradicts = None;
                if !member.vouch.is_some_and(lags) {
                    member.vouch = Some(*block);
                }
            }
        }
        new
    }

    /// The newest block of ours that enough operators named, or one above it.
    pub(super) fn agreement(&self, window: &Window) -> Agreement {
        if !self.is_asked() {
            return Agreement::Unasked;
        }
        let vouches = self.members.values().filter_map(|member| member.vouch);
        let mut numbers: Vec<u64> = vouches
            .filter(|vouch| window.contains(*vouch))
            .map(|vouch| vouch.number)
            .collect();
        numbers.sort_unstable_by(|one, other| other.cmp(one));
        let agreed = numbers.get(self.agree - 1).and_then(|number| window.at(*number));
        agreed.map_or(Agreement::Nothing, Agreement::UpTo)
    }

    /// The endpoints that have another block where enough operators have ours, and that block.
    pub(super) fn outvoted(&self, window: &Window) -> Vec<(Arc<str>, BlockRef)> {
        let Agreement::UpTo(agreed) = self.agreement(window) else {
            return Vec::new();
        };
        let others = self
            .members
            .values()
            .filter_map(|member| member.contradicts.clone());
        others
            .filter(|(_, block)| block.number <= agreed.number)
            .collect()
    }

    /// What keeps the operators from agreeing, in words.
    pub(super) fn discord(&self) -> Option<String> {
        if !self.is_asked() {
            return None;
        }
        let mut words = Vec::new();
        for (operator, member) in &self.members {
            if let Some((endpoint, block)) = &member.contradicts {
                words.push(format!(
                    "{operator} ({endpoint}) has another block {}",
                    block.number
                ));
            } else if member.silent >= SILENT_AFTER {
                words.push(format!("{operator} does not answer"));
            }
        }
        if !self.are_enough() {
            words.push(format!(
                "fewer than {} operators agree, so nothing new counts",
                self.agree
            ));
        }
        (!words.is_empty()).then(|| words.join("; "))
    }

    /// Whether enough operators answer, and none has another block: that the others are silent holds nothing.
    pub(super) fn is_content(&self) -> bool {
        self.are_enough() && self.members.values().all(|member| member.contradicts.is_none())
    }

    fn are_enough(&self) -> bool {
        let answering = self
            .members
            .values()
            .filter(|member| member.contradicts.is_none() && member.silent < SILENT_AFTER);
        answering.count() >= self.agree
    }
}

/// Why tiers wait for tags, in words; none where no tier does.
pub(super) fn stalled(finality: &Finality, tags: &Tags, clocked: Clocked<'_>) -> Option<String> {
    use crate::domain::Tag;
    let of = |tag: Tag, shared: &SharedTag| {
        let stall = shared.standing(clocked).err()?;
        finality
            .uses(tag)
            .then(|| format!("the tag {} {}", tag.as_str(), stall.words()))
    };
    let both = [of(Tag::Finalized, &tags.finalized), of(Tag::Safe, &tags.safe)];
    let words: Vec<String> = both.into_iter().flatten().collect();
    (!words.is_empty()).then(|| words.join("; "))
}

/// What the engine is told of it.
pub(super) fn evidence(tags: &Tags, council: &Council, clocked: Clocked<'_>) -> Evidence {
    Evidence {
        safe: tags.safe.standing(clocked).ok().flatten(),
        finalized: match tags.finalized.standing(clocked) {
            Ok(Some(block)) => Finalized::Block(block),
            Err(Stall::Absent) => Finalized::Untagged,
            Ok(None) | Err(_) => Finalized::Unknown,
        },
        agreement: council.agreement(clocked.0),
    }
}

/// Whether a tier, or what is final, would move up by it: else it waits for the next block.
pub(super) fn would_settle(finality: &Finality, heights: &Heights, evidence: &Evidence) -> bool {
    let Some(read) = heights.read else {
        return false;
    };
    let number = |block: BlockRef| block.number;
    let facts = Facts {
        read: read.number,
        safe: evidence.safe.map(number),
        finalized: match evidence.finalized {
            Finalized::Block(block) => Some(block.number),
            Finalized::Untagged | Finalized::Unknown => None,
        },
        // Time passes with blocks.
        aged: Some(u64::MAX),
        agreed: match evidence.agreement {
            Agreement::Unasked => Some(u64::MAX),
            Agreement::Nothing => None,
            Agreement::UpTo(block) => Some(block.number),
        },
    };
    let last = facts
        .finalized
        .zip(facts.agreed)
        .map(|(finalized, agreed)| finalized.min(agreed));
    let mut tiers = finality.tiers().iter().enumerate();
    last > heights.finalized.map(number)
        || tiers.any(|(place, tier)| {
            let settled = heights.settled_at(place).map(|settled| settled.block.number);
            tier.covers(&facts) > settled
        })
}

#[cfg(test)]
mod tests;
