//! What one seed stands for: the chain's habits, the endpoints with their faults, the database's, and when all of it ends.

use super::fault::{EVERY, Fault, Spells};
use crate::random::Random;

/// When the world begins: 2025-10-09T08:53:20Z.
pub const DAWN_MS: i64 = 1_760_000_000_000;

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

/// One seed's world.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub block_ms: i64,
    pub confirmations: u64,
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
        let confirmations = random.pick(&[1, 2, 3, 5, 8]);
        let troubled = |random: &mut Random, percent| random.chance(percent);
        let count = if development {
            1
        } else {
            random.pick(&[1, 1, 2, 2, 3, 4])
        };
        let storm = (DAWN_MS, storm_until_ms);
        let is_network_bad = troubled(random, 70);
        let endpoints = (0..count)
            .map(|slot| {
                endpoint(
                    random,
                    (slot, count, block_ms),
                    is_network_bad && !development,
                    storm,
                )
            })
            .collect();
        let crashes = if troubled(random, 35) {
            (0..random.between(1, 3)).map(|_| crash(random)).collect()
        } else {
            Vec::new()
        };
        let has_reorgs = troubled(random, 65);
        Self {
            seed,
            block_ms,
            confirmations,
            development,
            start_block: random.pick(&[0, 1, 1, 3]),
            prelude: random.between(6, 30),
            fill: random.pick(&[0, 0, 10, 60, 100]),
            bustle: random.pick(&[10, 30, 60]),
            reorgs: if has_reorgs { random.between(3, 30) } else { 0 },
            max_depth: confirmations + random.between(0, 3),
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

    pub fn random(&self, of: u64) -> Random {
        Random::of(self.seed.wrapping_mul(0x1_0001).wrapping_add(of))
    }
}

fn endpoint(
    random: &mut Random,
    (slot, count, block_ms): (u64, u64, i64),
    is_bad: bool,
    storm: (i64, i64),
) -> EndpointPlan {
    let faults: Vec<Fault> = EVERY
        .into_iter()
        // An account that ran dry is left alone for an hour: somebody must be there meanwhile.
        .filter(|fault| *fault != Fault::Billing || (slot == 0 && count > 1))
        .collect();
    let spells = if is_bad { random.between(0, 6) } else { 0 };
    let has_socket = random.chance(80);
    EndpointPlan {
        operator: random.below(3),
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
