//! Readiness, held against the world: whoever is ready is not blind, and does not read a chain that was set aside.

use std::time::Duration;

use sqlx::AnyConnection;
use tollgate::domain::ChainId;
use tollgate::engine::Engine;
use tollgate::health::{Database, Health, Readiness, header_age_max};

use super::net::{Shared, lock};
use super::node::CHAIN;
use super::rows;
use super::tree::Branch;

/// Nobody who reads a chain that was set aside is ready, once it had time to look.
pub async fn judge_quarantine(conn: &mut AnyConnection, shared: &Shared, engine: &Engine, health: &Health) {
    let Some(since) = rows::chain(conn).await.and_then(|chain| chain.quarantined_since) else {
        return;
    };
    let mut world = lock(shared);
    let block_time = Duration::from_millis(world.plan.block_ms.unsigned_abs());
    let age_max_ms = i64::try_from(header_age_max(block_time).as_millis()).unwrap();
    let now_ms = engine.clock().now_ms();
    if now_ms - since > age_max_ms + 2 * world.plan.skew_ms && health.sees(ChainId(CHAIN), now_ms) {
        world.breach("it is ready on a chain in quarantine");
    }
}

/// Whoever is ready has read what the chain was as long ago as a header may be old, but for what may be behind; and blocks
/// count that far, unless a tag is waited for.
pub fn judge_readiness(shared: &Shared, engine: &Engine, health: &Health) {
    let mut world = lock(shared);
    let chain = ChainId(CHAIN);
    if !readiness(engine, health).ready {
        return;
    }
    let block_ms = world.plan.block_ms;
    let block_time = Duration::from_millis(block_ms.unsigned_abs());
    let age_max_ms = i64::try_from(header_age_max(block_time).as_millis()).unwrap();
    let behind_max = u64::try_from(age_max_ms / block_ms).unwrap();
    let long_ago_ms = world.now_ms() - age_max_ms - 2 * world.plan.skew_ms - block_ms;
    let height = |branch: &Branch| u64::try_from(branch.len()).unwrap() - 1;
    let tree = &world.miner.tree;
    let due = height(tree.canonical_at(long_ago_ms)).min(height(tree.canonical()));
    let heights = engine.chain(chain).map(|known| known.heights).unwrap_or_default();
    let unread = world.plan.start_block.saturating_sub(1);
    let read = heights.read.map_or(unread, |read| read.number);
    let settled = heights.settled.map_or(0, |settled| settled.number);
    let lowest = world.plan.policy.0[0];
    let covered = lowest.tag.map_or(world.least_covered(0, due), |_| 0);
    let had_time = world.process_age_ms() > age_max_ms;
    if read + behind_max < due || had_time && settled + behind_max < covered {
        world.breach(format!(
            "it is ready, has read {read} of a chain that was at {due} long ago, and settled {settled} of {covered}"
        ));
    }
}

/// What it says of itself, had it nothing to deliver.
pub fn readiness(engine: &Engine, health: &Health) -> Readiness {
    let nothing_owed = Database::Answers {
        oldest_owed_at_ms: None,
    };
    health.readiness(engine.clock().now_ms(), nothing_owed)
}
