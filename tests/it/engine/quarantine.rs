//! A chain that contradicts what is final: set aside, told of, and resolved by a person one way or the other.

use tollgate::domain::{Evidence, Gap, Reading};
use tollgate::engine::{EngineError, Quarantine, Resolution, ResolveQuarantine};

use super::finality::{finalized, tier, with_tiers};
use crate::harness::blocks::{nft, tx};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::{balance, column};
use crate::harness::holders::{MEMBERS, NOBODY};
use crate::harness::world::{CHAIN, HOUR_MS, PAYER, TTL_MS, World, payment};

on_both!(
    nothing_counts_and_nothing_expires_in_quarantine_and_it_outlives_a_start,
    who_keeps_what_was_read_changes_nothing,
    who_accepts_a_reorg_undoes_exactly_what_it_held,
    a_reorg_deeper_than_what_is_kept_can_be_accepted,
    only_a_quarantine_is_resolved_and_only_within_what_was_read,
);

async fn quarantine(world: &World) {
    let (chain, fence) = (CHAIN, world.fence);
    let command = Quarantine {
        chain,
        fence,
        reason: "below what is final; so says one".to_owned(),
    };
    world.engine.execute(command.clone()).await.unwrap();
    // A second finding is the same one.
    world.engine.execute(command).await.unwrap();
}

/// As another process does it, which does not lead the chain.
async fn resolve(world: &World, resolution: Resolution) -> Result<(), EngineError> {
    let chain = CHAIN;
    let other = world.another_engine().await;
    other.execute(ResolveQuarantine { chain, resolution }).await
}

async fn paid(database: Database) -> (World, crate::harness::world::Asked) {
    let mut world = World::open_with(database, with_tiers(vec![tier("low", None, 2)])).await;
    world.watch(MEMBERS).await;
    world.activate(&[MEMBERS]).await.unwrap();
    world.mine(&[tx(90, vec![nft(MEMBERS, NOBODY, PAYER, 1)])]).await;
    world.mine_empty(2).await;
    let asked = world.ask("acme").await;
    let both = vec![payment(asked.due), nft(MEMBERS, NOBODY, PAYER, 2)];
    world.mine(&[tx(1, both)]).await;
    world.mine_empty(4).await;
    let tip = world.blocks.tip().unwrap();
    world.hear(finalized(tip)).await;
    world.evidence = Evidence::default();
    assert_eq!(world.plan("acme"), "pro");
    (world, asked)
}

async fn nothing_counts_and_nothing_expires_in_quarantine_and_it_outlives_a_start(database: Database) {
    let (mut world, _) = paid(database).await;
    let (waiting, late) = (world.ask("other").await, world.ask("late").await);
    quarantine(&world).await;
    let before = world.engine.chain(CHAIN).unwrap().heights;
    world.pay(2, waiting.due).await;
    world.mine_empty(5).await;
    world.wait(TTL_MS + HOUR_MS);
    world.mine_empty(2).await;
    world
        .engine
        .execute(tollgate::engine::ExpireCharges)
        .await
        .unwrap();
    let after = world.engine.chain(CHAIN).unwrap();
    assert_eq!(
        (after.heights.settled, after.heights.absent_ms),
        (before.settled, before.absent_ms)
    );
    assert_eq!(
        (world.state(&waiting).await, world.state(&late).await),
        ("confirming".into(), "open".into())
    );
    assert_eq!(world.plan("acme"), "pro", "what was paid stays paid");
    assert!(after.quarantined.is_some());
    world.assert_reload_is_identity().await;

    world.fence = world.lead().await;
    let again = world.another_engine().await;
    assert_eq!(again.chain(CHAIN).unwrap().quarantined, after.quarantined);
    assert_eq!(world.events(&format!("chain:{CHAIN}")).await, ["chain.stalled"]);
}

async fn who_keeps_what_was_read_changes_nothing(database: Database) {
    let (mut world, asked) = paid(database).await;
    let other = world.ask("other").await;
    quarantine(&world).await;
    resolve(&world, Resolution::Keep).await.unwrap();
    assert_eq!(
        world.engine.quarantine(CHAIN).await.unwrap(),
        None,
        "told through the store"
    );
    world.pay(2, other.due).await;
    world.mine_empty(1).await;
    assert_eq!(
        (world.state(&asked).await, world.state(&other).await),
        ("paid".into(), "paid".into())
    );
    assert_eq!(
        world.events(&format!("chain:{CHAIN}")).await,
        ["chain.stalled", "chain.recovered"]
    );
    assert_eq!(world.action_count("chain.resolve").await, 1);
    world.assert_reload_is_identity().await;
}

async fn who_accepts_a_reorg_undoes_exactly_what_it_held(database: Database) {
    let (mut world, asked) = paid(database).await;
    quarantine(&world).await;
    // The payment is in block 4; what stood in block 1 stays.
    resolve(&world, Resolution::AcceptFrom(4)).await.unwrap();
    world.engine.quarantine(CHAIN).await.unwrap();
    world.fence = world.lead().await;
    assert_eq!(
        (world.state(&asked).await, world.plan("acme")),
        ("reversed".into(), "free".into())
    );
    assert_eq!(
        column(&world.store, "select state from payment").await,
        ["orphaned"]
    );
    let heights = world.engine.chain(CHAIN).unwrap().heights;
    assert_eq!(heights.read.map(|read| read.number), Some(3));
    assert_eq!((heights.settled, heights.finalized), (heights.read, heights.read));
    assert_eq!(
        balance(&world.engine, MEMBERS, PAYER),
        Reading::Unknown(Gap::NotRead),
        "it is read again"
    );
    world.assert_reload_is_identity().await;

    world.blocks.fork_above(3);
    world.activate(&[MEMBERS]).await.unwrap();
    world.mine_empty(3).await;
    world.fold_all(MEMBERS).await;
    world.assert_balances(&world.engine, MEMBERS, &[PAYER], "after the reorg");
    // The same transaction may come back on the new branch, and counts once.
    world.mine(&[tx(1, vec![payment(asked.due)])]).await;
    world.mine_empty(1).await;
    assert_eq!(
        (world.state(&asked).await, world.plan("acme")),
        ("paid".into(), "pro".into())
    );
    let events = world.events(&format!("charge:{}", asked.id)).await;
    let reversed = events.iter().filter(|kind| *kind == "charge.reversed").count();
    assert_eq!(reversed, 1, "{events:?}");
    world.assert_reload_is_identity().await;
}

async fn a_reorg_deeper_than_what_is_kept_can_be_accepted(database: Database) {
    let (mut world, asked) = paid(database).await;
    world.wait(25 * HOUR_MS);
    world.mine_empty(330).await;
    let lowest = column(&world.store, "select min(number) from header").await;
    assert!(lowest[0].parse::<u64>().unwrap() > 2, "{lowest:?}");
    quarantine(&world).await;
    resolve(&world, Resolution::AcceptFrom(3)).await.unwrap();
    world.engine.quarantine(CHAIN).await.unwrap();
    let opened = world.lead().await;
    world.fence = opened;
    assert_eq!(
        (world.state(&asked).await, world.plan("acme")),
        ("reversed".into(), "free".into())
    );
    let (row, headers) = world.engine.stored_chain(CHAIN).await.unwrap();
    assert_eq!((row.heights.read, row.start_number, headers.len()), (None, 3, 0));
    world.assert_reload_is_identity().await;

    // The new branch is read from there on.
    world.blocks.fork_above(2);
    world.activate(&[MEMBERS]).await.unwrap();
    world.mine(&[tx(7, vec![nft(MEMBERS, NOBODY, PAYER, 9)])]).await;
    world.mine_empty(3).await;
    world.fold_all(MEMBERS).await;
    world.assert_balances(&world.engine, MEMBERS, &[PAYER], "after the reorg");
    world.assert_reload_is_identity().await;
}

async fn only_a_quarantine_is_resolved_and_only_within_what_was_read(database: Database) {
    let (world, _) = paid(database).await;
    let before = world.footprint().await;
    let refused = resolve(&world, Resolution::Keep).await.unwrap_err();
    assert_eq!(refused.kind(), "NOT_QUARANTINED");
    assert_eq!(world.footprint().await, before);
    quarantine(&world).await;
    let before = world.footprint().await;
    for block in [0, 9, u64::MAX] {
        let refused = resolve(&world, Resolution::AcceptFrom(block)).await.unwrap_err();
        assert!(refused.to_string().contains("between 1 and 8"), "{refused}");
    }
    assert_eq!(world.footprint().await, before);
}
