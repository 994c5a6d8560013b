//! What one seed stands for: the chain's habits, the endpoints with their faults, the database's, and when all of it ends.

use std::collections::BTreeSet;

use super::fault::{EVERY, Fault, Spells};
use super::policy::Policy;
use crate::random::Random;

/// When the world begins: 2025-10-09T08:53:20Z.
pub const DAWN_MS: i64 = 1_760_000_000_000;

/// Blocks of the calm come by so much later than they should.
pub const CALM_PAUSE_MS: i64 = 2_000;

/// One endpoint.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a trait that an endpoint has or lacks"
)]
pub struct EndpointPlan {
    pub operator: u64,
    pub has_socket: bool,
    pub has_http: bool,
    /// One way, at the most.
    pub latency_ms: u64,
    /// From a block's birth until this node knows of it.
    pub lag_ms: i64,
    /// `newHeads` without the fields of newer forks.
    pub thin_heads: bool,
    pub serves_block_receipts: bool,
    pub answers_above_its_head: bool,
    /// The widest range of `eth_getLogs`, in blocks.
    pub max_range: usize,
    /// How far `safe` is below the head; `finalized` is twice as far.
    pub safe_depth: u64,
    pub spells: Spells,
}

/// How often the database fails, in percent of the occasions.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskPlan {
    pub read_fails: u64,
    pub begin_fails: u64,
    pub commit_fails: u64,
    /// A COMMIT that fails after it took effect.
    pub commit_lies: u64,
    /// The disk is full for a while, so many times.
    pub fulls: u64,
}

/// When a process ends without a word; counted from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashAt {
    Statement(u64),
    Commit(u64),
    Committed(u64),
    /// A message of the network.
    Message(u64),
}

/// An endpoint whose operator forges branches.
#[derive(Debug, Clone, Copy)]
pub struct Forger {
    pub slot: usize,
    /// It goes on when all else is calm.
    pub is_incurable: bool,
}

/// What was final is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overturn {
    ForGood,
    /// It comes again: all endpoints were wrong for a while.
    ForAWhile,
}

/// One seed's world.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub block_ms: i64,
    pub policy: Policy,
    /// How old a tag's block may be.
    pub max_tag_age_ms: i64,
    /// How many operators must say the same.
    pub agree: usize,
    pub forger: Option<Forger>,
    pub overturn: Option<Overturn>,
    pub development: bool,
    pub start_block: u64,
    /// Blocks that are there when the world begins.
    pub prelude: u64,
    /// How much of each bloom is filled with nothing, in percent.
    pub fill: u64,
    pub bustle: u64,
    /// Reorganisations per hundred blocks, and the deepest.
    pub reorgs: u64,
    pub max_depth: u64,
    pub endpoints: Vec<EndpointPlan>,
    pub disk: DiskPlan,
    pub crashes: Vec<CrashAt>,
    /// Another instance takes the chain over.
    pub rivals: u64,
    /// The process is stopped and started in order, so many times.
    pub restarts: u64,
    /// Our clock is off by up to this, and jumps at each start.
    pub skew_ms: i64,
    pub charges: u64,
    /// Until when anything goes wrong.
    pub storm_until_ms: i64,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let random = &mut Random::of(seed);
        let block_ms = random.pick(&[1_000, 2_000, 5_000, 12_000]);
        let blocks = i64::try_from(random.between(16, 36)).unwrap();
        let storm_until_ms = DAWN_MS + blocks * block_ms;
        let development = random.chance(12);
        let policy = Policy::of(random, block_ms);
        let troubled = |random: &mut Random, percent| random.chance(percent);
        let count = if development {
            1
        } else {
            random.pick(&[1, 1, 2, 2, 3, 4])
        };
        let agree = if count > 1 && random.chance(40) { 2 } else { 1 };
        let storm = (DAWN_MS, storm_until_ms);
        let is_network_bad = troubled(random, 70);
        let endpoints: Vec<EndpointPlan> = (0..count)
            .map(|slot| {
                endpoint(
                    random,
                    (slot, count, block_ms),
                    is_network_bad && !development,
                    (agree, storm),
                )
            })
            .collect();
        let forger = (agree > 1 && random.chance(60)).then(|| {
            let slot = usize::try_from(random.below(count)).unwrap();
            let is_incurable = is_outvoted(slot, &endpoints, agree) && random.chance(30);
            Forger { slot, is_incurable }
        });
        let overturn = random.pick(&[Overturn::ForGood, Overturn::ForAWhile]);
        let overturn = (!development && random.chance(8)).then_some(overturn);
        let crashes = if troubled(random, 35) {
            (0..random.between(1, 3)).map(|_| crash(random)).collect()
        } else {
            Vec::new()
        };
        let has_reorgs = troubled(random, 65);
        Self {
            seed,
            block_ms,
            max_tag_age_ms: random.pick(&[30 * 60_000, 40 * (block_ms + CALM_PAUSE_MS)]),
            agree,
            forger,
            overturn,
            development,
            start_block: random.pick(&[0, 1, 1, 3]),
            prelude: random.between(6, 30),
            fill: random.pick(&[0, 0, 10, 60, 100]),
            bustle: random.pick(&[10, 30, 60]),
            reorgs: if has_reorgs { random.between(3, 30) } else { 0 },
            max_depth: policy.0[0].confirmations + random.between(0, 3),
            policy,
            endpoints,
            disk: if troubled(random, 30) {
                disk(random)
            } else {
                DiskPlan::default()
            },
            crashes,
            rivals: u64::from(!development && troubled(random, 10)),
            restarts: u64::from(troubled(random, 20)),
            skew_ms: random.pick(&[0, 0, 500, 20_000]),
            charges: random.between(1, 4),
            storm_until_ms,
        }
    }

    /// Whether there is any reason to set the chain aside.
    pub fn may_be_quarantined(&self) -> bool {
        let lies = |slot: usize, endpoint: &EndpointPlan| {
            let mut spells = endpoint.spells.0.iter();
            spells.any(|spell| spell.fault == Fault::TagsElsewhere)
                || self.forger.is_some_and(|forger| forger.slot == slot)
        };
        let endpoints = self.endpoints.iter().enumerate();
        let liars = endpoints.filter(|(slot, endpoint)| lies(*slot, endpoint));
        let liars: BTreeSet<u64> = liars.map(|(_, endpoint)| endpoint.operator).collect();
        self.overturn.is_some() || liars.len() >= self.agree
    }

    /// Whether an operator forges branches for ever.
    pub fn is_forged_for_ever(&self) -> bool {
        self.forger.is_some_and(|forger| forger.is_incurable)
    }

    pub fn random(&self, of: u64) -> Random {
        Random::of(self.seed.wrapping_mul(0x1_0001).wrapping_add(of))
    }
}

fn endpoint(
    random: &mut Random,
    (slot, count, block_ms): (u64, u64, i64),
    is_bad: bool,
    (agree, storm): (usize, (i64, i64)),
) -> EndpointPlan {
    let faults: Vec<Fault> = EVERY
        .into_iter()
        // An account that ran dry is left alone for an hour: somebody must be there meanwhile.
        .filter(|fault| *fault != Fault::Billing || (slot == 0 && count > 1 && agree == 1))
        .collect();
    let spells = if is_bad { random.between(0, 6) } else { 0 };
    let has_socket = random.chance(80);
    EndpointPlan {
        operator: if agree > 1 { slot % 3 } else { random.below(3) },
        has_socket,
        has_http: !has_socket || random.chance(80),
        latency_ms: random.pick(&[2, 20, 60, 150]),
        lag_ms: i64::try_from(random.below(block_ms.unsigned_abs() / 4)).unwrap(),
        thin_heads: random.chance(20),
        serves_block_receipts: random.chance(80),
        answers_above_its_head: random.chance(30),
        max_range: usize::try_from(random.pick(&[5, 10, 1_000])).unwrap(),
        safe_depth: random.between(2, 6),
        spells: Spells::of(random, spells, &faults, storm),
    }
}

/// Whether so many operators as must agree are others than this endpoint's.
fn is_outvoted(slot: usize, endpoints: &[EndpointPlan], agree: usize) -> bool {
    let operators: BTreeSet<u64> = endpoints.iter().map(|endpoint| endpoint.operator).collect();
    operators.len() > agree && operators.contains(&endpoints[slot].operator)
}

fn disk(random: &mut Random) -> DiskPlan {
    DiskPlan {
        read_fails: random.pick(&[0, 0, 5]),
        begin_fails: random.pick(&[0, 5, 15]),
        commit_fails: random.pick(&[0, 5, 15]),
        commit_lies: random.pick(&[0, 5, 15]),
        fulls: random.pick(&[0, 0, 1, 2]),
    }
}

fn crash(random: &mut Random) -> CrashAt {
    match random.below(4) {
        0 => CrashAt::Statement(random.between(1, 600)),
        1 => CrashAt::Commit(random.between(1, 40)),
        2 => CrashAt::Committed(random.between(1, 40)),
        _ => CrashAt::Message(random.between(1, 500)),
    }
}
