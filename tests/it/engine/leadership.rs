//! Who may write a chain's blocks, and which blocks.

use tollgate::domain::{BlockRef, Gap, Level, ProvenBlock, Provider, Reading};
use tollgate::engine::{EngineError, ResetChain};
use tollgate::store;

use crate::harness::blocks::{Blocks, nft, tx};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::{balance, column};
use crate::harness::holders::{MEMBERS, NOBODY};
use crate::harness::world::{CHAIN, PAYER, World, payment};

on_both!(
    who_lost_the_lease_writes_nothing,
    a_new_leader_goes_on_from_what_the_old_one_wrote,
    blocks_that_are_not_linked_are_refused,
    a_payment_without_proof_is_refused,
    a_step_that_changes_nothing_is_accepted,
    a_chain_that_was_started_anew_is_forgotten_and_read_anew,
);

async fn who_lost_the_lease_writes_nothing(database: Database) {
    let mut world = World::settled(database).await;
    world.watch(MEMBERS).await;
    let asked = world.ask("acme").await;
    let first = world.fence;
    let second = world.lead().await;
    assert!(second > first);
    let before = world.footprint().await;
    let block = world.build(&[tx(1, vec![payment(asked.due)])]);
    let lost = [
        world
            .advance(None, vec![block.clone()])
            .await
            .map(drop)
            .unwrap_err(),
        world.activate(&[MEMBERS]).await.unwrap_err(),
        world
            .fold(MEMBERS, world.blocks.between(1, 1))
            .await
            .map(drop)
            .unwrap_err(),
        world
            .engine
            .execute(ResetChain {
                chain: CHAIN,
                fence: first,
            })
            .await
            .unwrap_err(),
    ];
    for error in lost {
        assert!(matches!(error, EngineError::LeaseLost(CHAIN)), "{error:?}");
    }
    assert_eq!(world.footprint().await, before);

    world.fence = second;
    world.advance(None, vec![block]).await.unwrap();
    assert_eq!(world.state(&asked).await, "confirming");
    world.assert_reload_is_identity().await;
}

async fn a_new_leader_goes_on_from_what_the_old_one_wrote(database: Database) {
    let mut world = World::open(database).await;
    world.watch(MEMBERS).await;
    // It starts early, and leads late.
    let other = world.another_engine().await;
    world.activate(&[MEMBERS]).await.unwrap();
    for id in 0..5 {
        world.mine(&[tx(id, vec![nft(MEMBERS, NOBODY, PAYER, id)])]).await;
    }
    world.engine = other;
    world.fence = world.lead().await;
    assert_eq!(
        balance(&world.engine, MEMBERS, PAYER),
        Reading::Known(alloy::primitives::U256::from(3))
    );
    world.assert_reload_is_identity().await;
    world.mine(&[tx(9, vec![nft(MEMBERS, NOBODY, PAYER, 9)])]).await;
    world.mine_empty(2).await;
    world.assert_balances(&world.engine, MEMBERS, &[PAYER], "under the new leader");
    world.assert_reload_is_identity().await;
}

async fn blocks_that_are_not_linked_are_refused(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let pay = [tx(1, vec![payment(asked.due)])];
    let mut foreign = Blocks::foreign(1);
    while foreign.next_number() < world.blocks.next_number() {
        foreign.mine(0, &[]);
    }
    let stranger = foreign.mine(0, &pay);
    let tip = world.blocks.tip().unwrap();
    let again = world.blocks.between(tip.number, tip.number)[0].clone();
    let next = world.build(&pay);
    let above = world.build(&[]);
    let ancestor = |number: u64, hash| Some(BlockRef { number, hash });
    let before = world.footprint().await;
    for (rollback_to, blocks, problem) in [
        (None, vec![stranger.clone()], "another parent"),
        (None, vec![again], "read before"),
        (None, vec![above.clone()], "a gap"),
        (None, vec![next.clone(), stranger], "not linked to each other"),
        (
            ancestor(tip.number - 1, tip.hash),
            vec![next.clone()],
            "an ancestor that is none of ours",
        ),
        (
            ancestor(tip.number + 7, tip.hash),
            vec![],
            "an ancestor above what is read",
        ),
        (
            ancestor(tip.number - 1, world.blocks.between(3, 3)[0].header.hash),
            vec![next.clone()],
            "not linked to the ancestor",
        ),
    ] {
        let refused = world.advance(rollback_to, blocks).await;
        assert!(
            matches!(refused, Err(EngineError::NotLinked(CHAIN))),
            "{problem}: {refused:?}"
        );
    }
    assert_eq!(world.footprint().await, before);
    world.assert_reload_is_identity().await;
    world.advance(None, vec![next, above]).await.unwrap();
    assert_eq!(world.state(&asked).await, "confirming");
}

async fn a_payment_without_proof_is_refused(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let block = world.build(&[tx(1, vec![payment(asked.due)])]);
    let before = world.footprint().await;
    let ranged = ProvenBlock {
        level: Level::Ranged,
        ..block.clone()
    };
    let mut without_ordinal = block.clone();
    without_ordinal.logs[0].ordinal = None;
    for block in [ranged, without_ordinal] {
        let refused = world.advance(None, vec![block]).await;
        assert!(
            matches!(refused, Err(EngineError::Unproven(CHAIN))),
            "{refused:?}"
        );
    }
    assert_eq!(world.footprint().await, before);
    world.assert_reload_is_identity().await;

    // What is no payment needs no receipts.
    world.watch(MEMBERS).await;
    world.advance(None, vec![block]).await.unwrap();
    let mut transfer = world.build(&[tx(2, vec![nft(MEMBERS, NOBODY, PAYER, 1)])]);
    transfer.level = Level::Ranged;
    transfer.logs[0].ordinal = None;
    world.advance(None, vec![transfer]).await.unwrap();
}

async fn a_step_that_changes_nothing_is_accepted(database: Database) {
    let world = World::settled(database).await;
    let before = world.engine.chain(CHAIN);
    world.advance(None, Vec::new()).await.unwrap();
    assert_eq!(world.engine.chain(CHAIN), before);
    world.assert_reload_is_identity().await;
}

async fn a_chain_that_was_started_anew_is_forgotten_and_read_anew(database: Database) {
    let mut world = World::open(database).await;
    world.watch(MEMBERS).await;
    world.activate(&[MEMBERS]).await.unwrap();
    let asked = world.ask("acme").await;
    let nft = nft(MEMBERS, NOBODY, PAYER, 1);
    world.mine(&[tx(1, vec![payment(asked.due), nft.clone()])]).await;
    world.mine_empty(3).await;
    assert_eq!(world.plan("acme"), "pro");

    let (chain, fence) = (CHAIN, world.fence);
    world.engine.execute(ResetChain { chain, fence }).await.unwrap();
    assert_eq!(world.plan("acme"), "free");
    assert_eq!(
        balance(&world.engine, MEMBERS, PAYER),
        Reading::Unknown(Gap::NotRead)
    );
    assert!(column(&world.store, "select id from charge").await.is_empty());
    let mut conn = world.store.read().await.unwrap();
    let source = store::source(&mut conn, Provider::Crypto, "acme/pro")
        .await
        .unwrap();
    assert_eq!(source.unwrap().period_end, None);
    drop(conn);
    world.assert_reload_is_identity().await;

    world.blocks = Blocks::foreign(1);
    world.fence = world.lead().await;
    world.activate(&[MEMBERS]).await.unwrap();
    let asked = world.ask("acme").await;
    world.mine(&[tx(1, vec![payment(asked.due), nft])]).await;
    world.mine_empty(3).await;
    assert_eq!(world.plan("acme"), "pro");
    world.assert_balances(&world.engine, MEMBERS, &[PAYER], "anew");
    world.assert_reload_is_identity().await;
}
