//! What is not to be relied on: memory when somebody else wrote, a payment that came back, and what others are answered by.

use alloy::primitives::Address;
use tollgate::domain::{Evidence, Reading};
use tollgate::engine::{Advance, CreateGate, EngineError};

use super::holdings::{ALICE, BOB};
use crate::harness::blocks::{nft, tx};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::balance;
use crate::harness::holders::{MEMBERS, NOBODY, gate_on};
use crate::harness::world::{CHAIN, World, payment};

on_both!(
    a_block_that_another_instance_wrote_is_not_built_over,
    the_past_is_not_folded_before_anything_is_settled,
    a_payment_that_came_back_as_another_is_matched_anew,
    one_payment_in_two_places_is_refused,
    only_who_names_an_earlier_block_has_a_contract_read_again,
);

async fn a_block_that_another_instance_wrote_is_not_built_over(database: Database) {
    let mut world = World::open(database).await;
    world.watch(MEMBERS).await;
    world.activate(&[MEMBERS]).await.unwrap();
    world.mine(&[tx(1, vec![nft(MEMBERS, NOBODY, ALICE, 1)])]).await;
    world.mine_empty(2).await;
    let other = world.another_engine().await;
    let head = 9;
    let step = |fence, block| Advance {
        chain: CHAIN,
        fence,
        head,
        rollback_to: None,
        blocks: vec![block],
        evidence: Evidence::default(),
    };
    // Steps of ours took effect and we do not know of them: the other engine stands for that. They settle a transfer.
    for transactions in [vec![tx(2, vec![nft(MEMBERS, ALICE, BOB, 1)])], vec![], vec![]] {
        let block = world.build(&transactions);
        other.execute(step(world.fence, block)).await.unwrap();
    }
    // The next one of ours settles another.
    for transactions in [vec![tx(3, vec![nft(MEMBERS, NOBODY, BOB, 2)])], vec![], vec![]] {
        let block = world.build(&transactions);
        world.engine.execute(step(world.fence, block)).await.unwrap();
    }
    world.assert_balances(&world.engine, MEMBERS, &[ALICE, BOB], "after another wrote");
    world.assert_reload_is_identity().await;
}

async fn the_past_is_not_folded_before_anything_is_settled(database: Database) {
    let mut world = World::open(database).await;
    world.mine(&[tx(1, vec![nft(MEMBERS, NOBODY, ALICE, 1)])]).await;
    world.watch(MEMBERS).await;
    world.activate(&[MEMBERS]).await.unwrap();
    let refused = world.fold(MEMBERS, world.blocks.between(1, 1)).await;
    assert!(matches!(refused, Err(EngineError::NotSettled(_))), "{refused:?}");
    world.mine_empty(3).await;
    world.fold_all(MEMBERS).await;
    world.assert_balances(&world.engine, MEMBERS, &[ALICE, BOB], "folded once it could be");
}

async fn a_payment_that_came_back_as_another_is_matched_anew(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let ancestor = world.blocks.tip().unwrap().number;
    world.pay(1, asked.due).await;
    assert_eq!(world.state(&asked).await, "confirming");
    // The same transaction, and the same place in it, with another amount.
    let other = tx(1, vec![payment(asked.due.saturating_add(1_000_000.into()))]);
    world.reorg(ancestor, &[&[other]]).await;
    world.mine_empty(4).await;
    assert_eq!(world.state(&asked).await, "open");
    assert_eq!(world.plan("acme"), "free");
    world.assert_reload_is_identity().await;
}

async fn one_payment_in_two_places_is_refused(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    world.pay(1, asked.due).await;
    world.mine_empty(4).await;
    assert_eq!(world.state(&asked).await, "paid");
    let again = world.build(&[tx(1, vec![payment(asked.due)])]);
    let before = world.footprint().await;
    let refused = world.advance(None, vec![again]).await;
    assert!(matches!(refused, Err(EngineError::Unproven(_))), "{refused:?}");
    assert_eq!(world.footprint().await, before);
    assert_eq!(world.state(&asked).await, "paid");
}

async fn only_who_names_an_earlier_block_has_a_contract_read_again(database: Database) {
    let mut world = World::settled(database).await;
    let from = |from_block| CreateGate {
        from_block,
        ..gate_on(CHAIN, MEMBERS)
    };
    world.engine.execute(from(Some(3))).await.unwrap();
    world.activate(&[MEMBERS]).await.unwrap();
    world.mine(&[tx(1, vec![nft(MEMBERS, NOBODY, ALICE, 1)])]).await;
    world.mine_empty(3).await;
    world.fold_all(MEMBERS).await;
    let known = |holder: Address| matches!(balance(&world.engine, MEMBERS, holder), Reading::Known(_));
    assert!(known(ALICE));
    world.engine.execute(from(None)).await.unwrap();
    world.engine.execute(from(Some(7))).await.unwrap();
    assert!(known(ALICE), "nobody named an earlier block");
    world.engine.execute(from(Some(2))).await.unwrap();
    assert!(!known(ALICE), "its past is read again");
    assert_eq!(world.watch_of(MEMBERS).from_number, 2);
    world.assert_reload_is_identity().await;
}
