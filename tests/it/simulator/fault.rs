//! What an endpoint may do wrong, and when.

use crate::random::Random;

/// One way of being no honest node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    // Whatever is asked.
    Error,
    Timeout,
    RateLimited,
    RateLimitedFor(u64),
    Billing,
    Html,
    Truncated,
    Null,
    OtherChain,
    // What is asked of blocks.
    EmptyLogs,
    DropsALog,
    DropsTheLastLog,
    SiblingsLog,
    NullReceipts,
    EmptyReceipts,
    SiblingsReceipts,
    ZeroBloom,
    FullBloom,
    /// The head is known, and nothing of its block is.
    NoDataYet,
    /// The head stands still.
    Stale,
    /// Two nodes take turns, and one is behind.
    Balanced,
    // What is asked of finality's tags.
    TagsStand,
    TagsGoBack,
    /// They name a block of another branch.
    TagsElsewhere,
    // The socket.
    NoDial,
    Hangup,
    HalfOpen,
    Deaf,
    Duplicates,
    OutOfOrder,
    SkipsHeads,
    DropsStreamedLogs,
}

/// All of them.
pub const EVERY: [Fault; 32] = [
    Fault::Error,
    Fault::Timeout,
    Fault::RateLimited,
    Fault::RateLimitedFor(7),
    Fault::Billing,
    Fault::Html,
    Fault::Truncated,
    Fault::Null,
    Fault::OtherChain,
    Fault::EmptyLogs,
    Fault::DropsALog,
    Fault::DropsTheLastLog,
    Fault::SiblingsLog,
    Fault::NullReceipts,
    Fault::EmptyReceipts,
    Fault::SiblingsReceipts,
    Fault::ZeroBloom,
    Fault::FullBloom,
    Fault::NoDataYet,
    Fault::Stale,
    Fault::Balanced,
    Fault::TagsStand,
    Fault::TagsGoBack,
    Fault::TagsElsewhere,
    Fault::NoDial,
    Fault::Hangup,
    Fault::HalfOpen,
    Fault::Deaf,
    Fault::Duplicates,
    Fault::OutOfOrder,
    Fault::SkipsHeads,
    Fault::DropsStreamedLogs,
];

/// A time in which a fault happens.
#[derive(Debug, Clone, Copy)]
pub struct Spell {
    pub fault: Fault,
    pub from_ms: i64,
    pub until_ms: i64,
    /// How often, of a hundred chances.
    pub percent: u64,
}

/// The faults of one endpoint.
#[derive(Debug, Clone, Default)]
pub struct Spells(pub Vec<Spell>);

impl Spells {
    /// So many spells of `faults`, within a time.
    pub fn of(random: &mut Random, count: u64, faults: &[Fault], (from_ms, until_ms): (i64, i64)) -> Self {
        let length = (until_ms - from_ms).unsigned_abs();
        let spell = |random: &mut Random| {
            let begins = random.below(length);
            let ends = begins + random.between(1_000, length / 2);
            Spell {
                fault: random.pick(faults),
                from_ms: from_ms + i64::try_from(begins).unwrap(),
                until_ms: from_ms + i64::try_from(ends.min(length)).unwrap(),
                percent: random.pick(&[5, 30, 60, 100]),
            }
        };
        Self((0..count).map(|_| spell(random)).collect())
    }

    /// The spell of this fault that holds now.
    pub fn spell(&self, fault: Fault, now_ms: i64) -> Option<&Spell> {
        self.0
            .iter()
            .find(|spell| spell.fault == fault && (spell.from_ms..spell.until_ms).contains(&now_ms))
    }

    /// Whether it happens now.
    pub fn strikes(&self, fault: Fault, now_ms: i64, random: &mut Random) -> bool {
        self.spell(fault, now_ms)
            .is_some_and(|spell| random.chance(spell.percent))
    }

    /// The first of these that happens now.
    pub fn first(&self, faults: &[Fault], now_ms: i64, random: &mut Random) -> Option<Fault> {
        faults
            .iter()
            .copied()
            .find(|fault| self.strikes(*fault, now_ms, random))
    }
}
