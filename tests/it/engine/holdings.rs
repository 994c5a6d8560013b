//! What wallets hold: folded from the blocks and from the past, in any order, and undone with a reorg.

use alloy::primitives::{Address, U256};
use tollgate::domain::{Asset, Eligibility, Gap, Reading, Standard};
use tollgate::engine::{CorrectBalances, Correction, EngineError};

use crate::harness::blocks::{Blocks, Tx, nft, tx};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::{balance, column, decide};
use crate::harness::holders::{MEMBERS, NOBODY};
use crate::harness::world::{CHAIN, HOUR_MS, World};

on_both!(
    mints_transfers_and_burns_count_once_they_are_settled,
    a_reorg_takes_balances_back,
    unknown_is_no_answer_until_the_past_is_read,
    blocks_read_in_small_pieces_far_below_the_head_lose_no_transfer,
    a_deep_reorg_takes_back_what_history_folded,
    old_headers_are_forgotten_whatever_the_size_of_the_steps,
    the_tip_is_kept_however_far_below_the_head_it_is,
    history_of_another_chain_is_refused_and_read_again,
    balances_are_not_corrected_once_the_history_that_was_compared_is_read_again,
    history_that_is_not_linked_or_not_below_the_live_blocks_is_refused,
    a_contract_that_moves_what_nobody_had_is_unknown,
);

pub const ALICE: Address = Address::repeat_byte(0xa1);
pub const BOB: Address = Address::repeat_byte(0xb0);
const HOLDERS: [Address; 2] = [ALICE, BOB];

fn mint(id: u64, to: Address) -> Tx {
    tx(id, vec![nft(MEMBERS, NOBODY, to, id)])
}

fn give(seed: u64, from: Address, to: Address, id: u64) -> Tx {
    tx(seed, vec![nft(MEMBERS, from, to, id)])
}

fn known(count: u64) -> Reading {
    Reading::Known(U256::from(count))
}

/// A chain whose blocks bring the members' contract from the first on.
async fn watching(database: Database) -> World {
    let world = World::open(database).await;
    world.watch(MEMBERS).await;
    world.activate(&[MEMBERS]).await.unwrap();
    world
}

async fn mints_transfers_and_burns_count_once_they_are_settled(database: Database) {
    let mut world = watching(database).await;
    world.mine_empty(4).await;
    let unseen = Reading::Unknown(Gap::NoTransfers);
    assert_eq!(balance(&world.engine, MEMBERS, ALICE), unseen);
    let both = tx(
        1,
        vec![nft(MEMBERS, NOBODY, ALICE, 1), nft(MEMBERS, NOBODY, ALICE, 2)],
    );
    world.mine(&[both]).await;
    world.mine_empty(1).await;
    assert_eq!(
        balance(&world.engine, MEMBERS, ALICE),
        unseen,
        "two confirmations are too few"
    );
    world.mine_empty(1).await;
    assert_eq!(balance(&world.engine, MEMBERS, ALICE), known(2));
    let answer = decide(&world.engine, CHAIN, MEMBERS, ALICE);
    assert_eq!(answer.decision.eligibility, Eligibility::Eligible);
    assert_eq!(answer.as_of[0].block.number, 5);

    world
        .mine(&[give(3, ALICE, BOB, 1), give(4, ALICE, NOBODY, 2)])
        .await;
    world.mine(&[give(5, BOB, BOB, 1)]).await;
    world.mine_empty(2).await;
    assert_eq!(balance(&world.engine, MEMBERS, ALICE), known(0));
    assert_eq!(balance(&world.engine, MEMBERS, BOB), known(1));
    world.assert_balances(&world.engine, MEMBERS, &HOLDERS, "after all");
    world.assert_reload_is_identity().await;
}

async fn a_reorg_takes_balances_back(database: Database) {
    let mut world = watching(database).await;
    world.mine_empty(3).await;
    world.mine(&[mint(1, ALICE)]).await;
    world.mine(&[give(2, ALICE, BOB, 1)]).await;
    world.mine_empty(3).await;
    assert_eq!(balance(&world.engine, MEMBERS, BOB), known(1));

    // The mint stays, the transfer goes, and another comes that is not settled yet.
    world.reorg(4, &[&[], &[], &[give(3, ALICE, BOB, 1)], &[]]).await;
    assert_eq!(balance(&world.engine, MEMBERS, ALICE), known(1));
    assert_eq!(balance(&world.engine, MEMBERS, BOB), known(0));
    world.mine_empty(1).await;
    assert_eq!(balance(&world.engine, MEMBERS, BOB), known(1));
    world.reorg(3, &[&[]]).await;
    let unseen = Reading::Unknown(Gap::NoTransfers);
    assert_eq!(balance(&world.engine, MEMBERS, ALICE), unseen);
    world.assert_reload_is_identity().await;
}

async fn unknown_is_no_answer_until_the_past_is_read(database: Database) {
    let mut world = World::open(database).await;
    world.mine(&[mint(1, ALICE)]).await;
    world.mine_empty(4).await;
    world.watch(MEMBERS).await;
    assert_eq!(
        balance(&world.engine, MEMBERS, ALICE),
        Reading::Unknown(Gap::NotRead)
    );
    world.activate(&[MEMBERS]).await.unwrap();
    world.mine(&[mint(2, BOB)]).await;
    world.mine_empty(2).await;
    // The past is three blocks long, and is folded after the blocks that follow it.
    assert_eq!(
        balance(&world.engine, MEMBERS, BOB),
        Reading::Unknown(Gap::NotRead)
    );
    let answer = decide(&world.engine, CHAIN, MEMBERS, ALICE);
    assert_eq!(answer.decision.eligibility, Eligibility::Unknown);
    world.fold(MEMBERS, world.blocks.between(1, 2)).await.unwrap();
    assert_eq!(
        balance(&world.engine, MEMBERS, ALICE),
        Reading::Unknown(Gap::NotRead)
    );
    world.assert_reload_is_identity().await;
    world.fold_all(MEMBERS).await;
    world.assert_balances(&world.engine, MEMBERS, &HOLDERS, "complete");
    assert_eq!(balance(&world.engine, MEMBERS, ALICE), known(1));
    world.assert_reload_is_identity().await;
}

/// Reads blocks that were built before, in steps of `width`, as a leader does that was away for long.
async fn catch_up(world: &World, from: u64, to: u64, width: u64) {
    let mut next = from;
    while next <= to {
        let last = (next + width - 1).min(to);
        let blocks = world.blocks.between(next, last).to_vec();
        world.advance(None, blocks).await.unwrap();
        next = last + 1;
    }
}

async fn blocks_read_in_small_pieces_far_below_the_head_lose_no_transfer(database: Database) {
    let mut world = watching(database).await;
    for id in 1..=400 {
        let minted = [mint(id, if id % 3 == 0 { ALICE } else { BOB })];
        world.build(if id % 7 == 0 { &minted } else { &[] });
    }
    // Fewer blocks at once than the policy has confirmations.
    catch_up(&world, 1, 120, CONFIRMATIONS_LESS_ONE).await;
    world.assert_reload_is_identity().await;
    catch_up(&world, 121, 400, 40).await;
    world.assert_balances(&world.engine, MEMBERS, &HOLDERS, "caught up");
    world.assert_reload_is_identity().await;
}

const CONFIRMATIONS_LESS_ONE: u64 = crate::harness::world::CONFIRMATIONS - 1;

async fn a_deep_reorg_takes_back_what_history_folded(database: Database) {
    let mut world = World::open(database).await;
    for id in 1..=380 {
        world.build(&[mint(id, if id % 2 == 0 { ALICE } else { BOB })]);
    }
    catch_up(&world, 1, 380, 20).await;
    world.watch(MEMBERS).await;
    world.activate(&[MEMBERS]).await.unwrap();
    for _ in 0..3 {
        world.mine(&[]).await;
    }
    world.fold_all(MEMBERS).await;
    world.assert_balances(&world.engine, MEMBERS, &HOLDERS, "folded");

    let lowest = column(&world.store, "select min(number) from header").await;
    let lowest: u64 = lowest[0].parse().unwrap();
    world.reorg(lowest, &[&[], &[], &[]]).await;
    world.fold_all(MEMBERS).await;
    world.assert_balances(
        &world.engine,
        MEMBERS,
        &HOLDERS,
        "after a reorg to the lowest header",
    );
    assert_eq!(
        balance(&world.engine, MEMBERS, ALICE),
        known(lowest / 2),
        "every second block up to the ancestor"
    );
    world.assert_reload_is_identity().await;
}

async fn old_headers_are_forgotten_whatever_the_size_of_the_steps(database: Database) {
    let mut world = World::open(database).await;
    for _ in 1..=2_000 {
        world.build(&[]);
    }
    // A day later, age keeps none of them.
    world.wait(25 * HOUR_MS);
    // No step ends at a multiple of anything, and one is longer than what is kept.
    catch_up(&world, 1, 301, 301).await;
    catch_up(&world, 302, 1_001, 700).await;
    catch_up(&world, 1_002, 1_999, 37).await;
    let numbers = column(&world.store, "select number from header order by number").await;
    let numbers: Vec<u64> = numbers.iter().map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers.last(), Some(&1_999));
    assert!(
        numbers.len() >= 256 && numbers.len() < 256 + 64 + 37,
        "{}",
        numbers.len()
    );
    assert!(
        numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]),
        "the kept headers are linked: {numbers:?}"
    );
}

async fn the_tip_is_kept_however_far_below_the_head_it_is(database: Database) {
    let mut world = World::open(database).await;
    for _ in 1..=1_500 {
        world.build(&[]);
    }
    world.wait(25 * HOUR_MS);
    for (from, to) in [(1, 5), (6, 405), (406, 410)] {
        world
            .advance(None, world.blocks.between(from, to).to_vec())
            .await
            .unwrap();
        let (row, headers) = world.engine.stored_chain(CHAIN).await.unwrap();
        // Whoever starts from the store now extends this block.
        assert_eq!(headers.last().map(|kept| kept.block), row.heights.read);
        let linked = headers
            .windows(2)
            .all(|pair| pair[1].parent_hash == pair[0].block.hash);
        assert!(linked, "after block {to}");
    }
}

async fn history_of_another_chain_is_refused_and_read_again(database: Database) {
    let mut world = World::open(database).await;
    world.mine(&[mint(1, ALICE)]).await;
    // More than is kept: a day passes, and at least 256 blocks.
    world.mine_empty(60).await;
    world.wait(25 * HOUR_MS);
    world.mine_empty(340).await;
    world.watch(MEMBERS).await;
    world.activate(&[MEMBERS]).await.unwrap();
    world.mine_empty(3).await;
    let last = world.foldable(MEMBERS).unwrap();

    // Linked in itself, and of a chain where Bob was given it.
    let mut foreign = Blocks::foreign(1);
    foreign.mine(0, &[mint(1, BOB)]);
    while foreign.next_number() <= last {
        foreign.mine(0, &[]);
    }
    world.fold(MEMBERS, foreign.between(1, 50)).await.unwrap();
    let before = world.footprint().await;
    let refused = world.fold(MEMBERS, foreign.between(51, last)).await.unwrap_err();
    assert!(
        matches!(refused, EngineError::ForeignHistory(MEMBERS)),
        "{refused:?}"
    );
    assert_eq!(world.footprint().await, before);

    world.restart_history(MEMBERS).await;
    assert_eq!(
        balance(&world.engine, MEMBERS, BOB),
        Reading::Unknown(Gap::NotRead)
    );
    world.assert_reload_is_identity().await;
    world.activate(&[MEMBERS]).await.unwrap();
    world.mine_empty(3).await;
    world.fold_all(MEMBERS).await;
    world.assert_balances(&world.engine, MEMBERS, &HOLDERS, "read again");
    assert_eq!(balance(&world.engine, MEMBERS, ALICE), known(1));
    world.assert_reload_is_identity().await;
}

async fn balances_are_not_corrected_once_the_history_that_was_compared_is_read_again(database: Database) {
    let mut world = World::settled(database).await;
    world.mine(&[tx(1, vec![nft(MEMBERS, NOBODY, ALICE, 1)])]).await;
    world.mine_empty(3).await;
    world.watch(MEMBERS).await;
    world.activate(&[MEMBERS]).await.unwrap();
    world.fold_all(MEMBERS).await;
    let compared = world.engine.stored_holdings(CHAIN).await.unwrap();
    let correct = CorrectBalances {
        chain: CHAIN,
        watch: compared.watches[0],
        settled: compared.row.heights.settled.unwrap(),
        corrections: vec![Correction {
            holder: ALICE,
            asset: Asset::all(Standard::Erc721),
            stored: U256::from(1),
            proven: U256::from(2),
        }],
    };
    world.restart_history(MEMBERS).await;
    world.mine_empty(1).await;
    world.activate(&[MEMBERS]).await.unwrap();
    world.fold_all(MEMBERS).await;
    let before = world.footprint().await;
    let refused = world.engine.execute(correct.clone()).await.unwrap_err();
    assert!(
        refused.to_string().contains("run the rescan once more"),
        "{refused}"
    );
    assert_eq!(world.footprint().await, before);
    assert_eq!(balance(&world.engine, MEMBERS, ALICE), known(1));
    let watch = world.watch_of(MEMBERS);
    world
        .engine
        .execute(CorrectBalances { watch, ..correct })
        .await
        .unwrap();
    assert_eq!(balance(&world.engine, MEMBERS, ALICE), known(2));
}

async fn history_that_is_not_linked_or_not_below_the_live_blocks_is_refused(database: Database) {
    let mut world = World::open(database).await;
    world.mine_empty(6).await;
    world.build(&[]);
    world.watch(MEMBERS).await;
    let stretch = |from, to| world.blocks.between(from, to);
    let refused = world.fold(MEMBERS, stretch(1, 2)).await;
    assert!(
        matches!(refused, Err(EngineError::NotLinked(_))),
        "before the blocks bring it: {refused:?}"
    );
    world.activate(&[MEMBERS]).await.unwrap();
    world.fold(MEMBERS, stretch(1, 2)).await.unwrap();
    let before = world.footprint().await;
    let mut another = Blocks::foreign(3);
    another.mine(0, &[]);
    for (blocks, problem) in [
        (stretch(2, 3), "folded already"),
        (stretch(4, 4), "a gap"),
        (stretch(3, 7), "where the blocks bring it"),
        (stretch(3, 2), "nothing"),
        (another.between(3, 3), "of another parent"),
    ] {
        let refused = world.fold(MEMBERS, blocks).await;
        assert!(
            matches!(refused, Err(EngineError::NotLinked(_))),
            "{problem}: {refused:?}"
        );
    }
    assert_eq!(world.footprint().await, before);
    world.fold(MEMBERS, stretch(3, 4)).await.unwrap();
    world.assert_reload_is_identity().await;
}

async fn a_contract_that_moves_what_nobody_had_is_unknown(database: Database) {
    let mut world = watching(database).await;
    world.mine(&[mint(1, ALICE), give(2, BOB, ALICE, 9)]).await;
    world.mine_empty(3).await;
    assert_eq!(
        balance(&world.engine, MEMBERS, ALICE),
        Reading::Unknown(Gap::Overdrawn)
    );
    assert_eq!(
        balance(&world.engine, MEMBERS, BOB),
        Reading::Unknown(Gap::Overdrawn)
    );
    world.assert_reload_is_identity().await;
    world.mine(&[mint(3, BOB)]).await;
    world.mine_empty(2).await;
    assert_eq!(
        balance(&world.engine, MEMBERS, ALICE),
        known(2),
        "nobody owes any more"
    );
    world.assert_reload_is_identity().await;
}
