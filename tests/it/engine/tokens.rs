//! What wallets hold of single tokens: ERC-721 by id and ERC-1155, minted one by one, in batches and in ranges; and what
//! becomes of contracts whose logs cannot be understood.

use std::collections::BTreeMap;

use alloy::primitives::{Address, U256};
use tollgate::domain::{
    Aggregation, Amount, Contracts, Fault, Gap, IdMatch, IdRange, Reading, Rule, TRANSFER, TRANSFER_BATCH,
    TokenId,
};

use super::holdings::{ALICE, BOB};
use crate::harness::blocks::{Log, Tx, coins, consecutive, garbage, nft, passes, tx};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::{balance, column, reading};
use crate::harness::holders::{MEMBERS, NOBODY, nfts};
use crate::harness::random::Random;
use crate::harness::world::{CHAIN, World};

on_both!(
    amounts_of_ids_are_folded_and_taken_back,
    tokens_are_followed_by_id_from_a_range_on,
    a_log_that_cannot_be_understood_makes_its_contract_unknown_until_it_is_gone,
    more_tokens_at_once_than_are_counted_leave_the_totals_known,
    a_rule_that_reads_ids_has_the_past_read_again_for_them,
    each_standard_is_counted_by_itself,
    random_movements_fold_as_a_naive_ledger,
);

const PASSES: Address = Address::repeat_byte(0x72);

fn contract(contract: Address) -> Contracts {
    Contracts::one(CHAIN, contract)
}

fn ids(ids: &[u64]) -> Vec<TokenId> {
    ids.iter().map(|id| TokenId(U256::from(*id))).collect()
}

/// How much of these ids of the passes.
fn of_ids(wanted: &[u64]) -> Rule {
    Rule::Erc1155Balance {
        contracts: contract(PASSES),
        ids: ids(wanted),
        at_least: Amount::from(1),
        id_match: IdMatch::Sum,
        aggregation: Aggregation::Sum,
    }
}

/// One of these tokens of the members' contract.
fn token_in(from: u64, to: u64) -> Rule {
    Rule::Erc721Token {
        contracts: contract(MEMBERS),
        ids: Vec::new(),
        ranges: vec![IdRange {
            from: ids(&[from])[0],
            to: ids(&[to])[0],
        }],
    }
}

fn known(number: u64) -> Reading {
    Reading::Known(U256::from(number))
}

fn once(seed: u64, log: Log) -> Tx {
    tx(seed, vec![log])
}

/// A chain whose blocks bring what a rule reads from the first on, which is empty.
async fn watching(database: Database, rule: Rule) -> World {
    let mut world = World::open(database).await;
    world.make_gate(rule).await;
    let watches = world.engine.watches(CHAIN);
    let contracts: Vec<Address> = watches.iter().map(|watch| watch.contract).collect();
    world.activate(&contracts).await.unwrap();
    world.mine_empty(1).await;
    world
}

async fn amounts_of_ids_are_folded_and_taken_back(database: Database) {
    let mut world = watching(database, of_ids(&[1])).await;
    let read = |world: &World, wanted: &[u64], holder| reading(&world.engine, of_ids(wanted), holder);
    world
        .mine(&[once(
            1,
            passes(PASSES, NOBODY, ALICE, &[(1, 10), (2, 20), (1, 5)]),
        )])
        .await;
    world
        .mine(&[once(2, passes(PASSES, ALICE, BOB, &[(2, 8)]))])
        .await;
    world
        .mine(&[once(3, passes(PASSES, BOB, BOB, &[(2, 8), (2, 3)]))])
        .await;
    world
        .mine(&[once(4, passes(PASSES, ALICE, NOBODY, &[(1, 15)]))])
        .await;
    world.mine_empty(2).await;
    assert_eq!(read(&world, &[1], ALICE), known(0), "burnt");
    assert_eq!(read(&world, &[2], ALICE), known(12));
    assert_eq!(read(&world, &[1, 2], BOB), known(8), "to itself moves nothing");
    assert_eq!(read(&world, &[], BOB), known(8), "of all ids together");
    world.assert_reload_is_identity().await;
    let rows = column(&world.store, "select asset from balance").await;
    assert_eq!(
        rows.len(),
        4,
        "a total and an id for each holder, and none for what is gone"
    );

    // The burn, the transfers and half of what was minted never were.
    world.reorg(2, &[&[], &[], &[]]).await;
    world.mine_empty(2).await;
    assert_eq!(read(&world, &[1], ALICE), known(15));
    assert_eq!(read(&world, &[2], ALICE), known(20));
    assert_eq!(read(&world, &[2], BOB), known(0));
    world.reorg(1, &[&[], &[], &[], &[], &[], &[]]).await;
    assert_eq!(
        read(&world, &[1], ALICE),
        Reading::Unknown(Gap::NoTransfers),
        "as if nothing had ever moved"
    );
    world.assert_reload_is_identity().await;
}

async fn tokens_are_followed_by_id_from_a_range_on(database: Database) {
    let mut world = watching(database, token_in(0, 1)).await;
    let holds = |world: &World, from, to, holder| reading(&world.engine, token_in(from, to), holder);
    let minted = consecutive(MEMBERS, NOBODY, ALICE, (U256::from(10), U256::from(14)));
    world.mine(&[once(1, minted)]).await;
    world.mine(&[once(2, nft(MEMBERS, ALICE, BOB, 12))]).await;
    world
        .mine(&[tx(
            3,
            vec![nft(MEMBERS, BOB, BOB, 12), nft(MEMBERS, ALICE, NOBODY, 10)],
        )])
        .await;
    world.mine_empty(2).await;
    assert_eq!(balance(&world.engine, MEMBERS, ALICE), known(3));
    assert_eq!(holds(&world, 12, 12, ALICE), known(0));
    assert_eq!(holds(&world, 12, 12, BOB), known(1));
    assert_eq!(holds(&world, 0, 10, ALICE), known(0), "burnt");
    assert_eq!(holds(&world, 0, 11, ALICE), known(1));
    assert_eq!(holds(&world, 15, u64::MAX, ALICE), known(0));
    world.assert_reload_is_identity().await;
    world.reorg(2, &[&[], &[], &[], &[]]).await;
    assert_eq!(balance(&world.engine, MEMBERS, ALICE), known(5));
    assert_eq!(holds(&world, 12, 12, ALICE), known(1));
    assert_eq!(holds(&world, 0, u64::MAX, BOB), known(0));
    world.assert_reload_is_identity().await;
    world.reorg(1, &[&[], &[], &[], &[], &[], &[]]).await;
    let rows = column(&world.store, "select asset from balance").await;
    assert_eq!(rows, Vec::<String>::new(), "the batch is gone");
}

async fn a_log_that_cannot_be_understood_makes_its_contract_unknown_until_it_is_gone(database: Database) {
    let both = Rule::Any {
        of: vec![of_ids(&[1]), nfts(CHAIN, MEMBERS)],
    };
    let mut world = watching(database, both).await;
    let minted = tx(
        1,
        vec![
            passes(PASSES, NOBODY, ALICE, &[(1, 10)]),
            nft(MEMBERS, NOBODY, ALICE, 1),
        ],
    );
    world.mine(&[minted]).await;
    world.mine_empty(3).await;
    let hostile = tx(
        2,
        vec![
            garbage(PASSES, TRANSFER_BATCH),
            passes(PASSES, ALICE, BOB, &[(1, 4)]),
            // Not of its standard, and so nobody's business.
            garbage(PASSES, TRANSFER),
            garbage(MEMBERS, TRANSFER_BATCH),
        ],
    );
    world.mine(&[hostile]).await;
    let read = |world: &World, holder| reading(&world.engine, of_ids(&[1]), holder);
    assert_eq!(read(&world, ALICE), known(10), "it is not settled yet");
    world.mine_empty(2).await;
    let unknown = Reading::Unknown(Gap::Faulty(Fault::MalformedLog));
    assert_eq!((read(&world, ALICE), read(&world, BOB)), (unknown, unknown));
    assert_eq!(
        balance(&world.engine, MEMBERS, ALICE),
        known(1),
        "no other contract"
    );
    world.assert_reload_is_identity().await;
    world
        .mine(&[once(3, passes(PASSES, ALICE, BOB, &[(1, 1)]))])
        .await;
    world.mine_empty(2).await;
    assert_eq!(read(&world, ALICE), unknown, "for good");

    world
        .reorg(
            5,
            &[
                &[once(4, passes(PASSES, ALICE, BOB, &[(1, 3)]))],
                &[],
                &[],
                &[],
                &[],
            ],
        )
        .await;
    assert_eq!((read(&world, ALICE), read(&world, BOB)), (known(7), known(3)));
    world.assert_reload_is_identity().await;
}

async fn more_tokens_at_once_than_are_counted_leave_the_totals_known(database: Database) {
    let mut world = watching(database, token_in(0, 1)).await;
    world.mine(&[once(1, nft(MEMBERS, NOBODY, ALICE, 1))]).await;
    let many = consecutive(MEMBERS, NOBODY, BOB, (U256::from(100), U256::from(100_000)));
    world.mine(&[once(2, many)]).await;
    world.mine_empty(2).await;
    let unknown = Reading::Unknown(Gap::Faulty(Fault::TooManyTokens));
    assert_eq!(reading(&world.engine, token_in(0, 1), ALICE), unknown);
    assert_eq!(balance(&world.engine, MEMBERS, ALICE), known(1));
    assert_eq!(balance(&world.engine, MEMBERS, BOB), known(99_901));
    world.assert_reload_is_identity().await;
    let endless = consecutive(MEMBERS, NOBODY, BOB, (U256::ZERO, U256::MAX));
    world.mine(&[once(3, endless)]).await;
    world.mine_empty(2).await;
    let unknown = Reading::Unknown(Gap::Faulty(Fault::MalformedLog));
    assert_eq!(
        balance(&world.engine, MEMBERS, BOB),
        unknown,
        "nobody has 2^256 tokens"
    );
    world.reorg(2, &[&[], &[], &[], &[], &[], &[]]).await;
    assert_eq!(reading(&world.engine, token_in(0, 1), ALICE), known(1));
    assert_eq!(balance(&world.engine, MEMBERS, BOB), known(0));
    world.assert_reload_is_identity().await;
}

async fn a_rule_that_reads_ids_has_the_past_read_again_for_them(database: Database) {
    let mut world = World::open(database).await;
    world.watch(MEMBERS).await;
    world.activate(&[MEMBERS]).await.unwrap();
    let minted = consecutive(MEMBERS, NOBODY, ALICE, (U256::from(1), U256::from(3)));
    world.mine(&[once(1, minted)]).await;
    world.mine_empty(4).await;
    assert_eq!(balance(&world.engine, MEMBERS, ALICE), known(3));
    let narrow = world.watch_of(MEMBERS);

    world.make_gate(token_in(2, 2)).await;
    let unread = Reading::Unknown(Gap::NotRead);
    assert_eq!(
        balance(&world.engine, MEMBERS, ALICE),
        unread,
        "its past is read again"
    );
    world.activate(&[MEMBERS]).await.unwrap();
    // What was asked for before must not be taken for what is asked for now.
    let asked_before = tollgate::engine::FoldHistory {
        chain: CHAIN,
        fence: world.fence,
        contract: MEMBERS,
        scope: narrow.scope,
        blocks: world.blocks.between(1, 5).to_vec(),
    };
    world.engine.execute(asked_before).await.unwrap_err();
    world.fold_all(MEMBERS).await;
    assert_eq!(reading(&world.engine, token_in(2, 2), ALICE), known(1));
    assert_eq!(balance(&world.engine, MEMBERS, ALICE), known(3));
    world.assert_reload_is_identity().await;
    let before = world.watch_of(MEMBERS);
    world.watch(MEMBERS).await;
    world.make_gate(token_in(7, 9)).await;
    assert_eq!(world.watch_of(MEMBERS), before, "nothing more is read");
}

async fn each_standard_is_counted_by_itself(database: Database) {
    let both = Rule::Any {
        of: vec![
            nfts(CHAIN, PASSES),
            of_ids(&[1]),
            Rule::Erc20Balance {
                contracts: contract(PASSES),
                at_least: Some(Amount::from(1)),
                at_most: None,
                aggregation: Aggregation::Sum,
            },
        ],
    };
    let Rule::Any { of } = both.clone() else {
        unreachable!()
    };
    let mut world = watching(database, both).await;
    let all = tx(
        1,
        vec![
            nft(PASSES, NOBODY, ALICE, 1),
            passes(PASSES, NOBODY, ALICE, &[(1, 20)]),
            coins(PASSES, NOBODY, ALICE, U256::from(300)),
        ],
    );
    world.mine(&[all]).await;
    world.mine_empty(2).await;
    let read: Vec<Reading> = of
        .into_iter()
        .map(|leaf| reading(&world.engine, leaf, ALICE))
        .collect();
    assert_eq!(read, [known(1), known(20), known(300)]);
    world.assert_reload_is_identity().await;
}

/// What each holds of each id, and of all.
type Naive = BTreeMap<(Address, Option<u64>), i64>;

const PEOPLE: [Address; 3] = [ALICE, BOB, Address::repeat_byte(0xc0)];

/// Some movements that nobody has to borrow for: everybody is given enough first.
fn movements(random: &mut Random, naive: &mut Naive) -> Vec<Log> {
    let mut logs = Vec::new();
    for _ in 0..random.below(4) {
        let everybody = [PEOPLE[0], PEOPLE[1], PEOPLE[2], NOBODY];
        let (from, to) = (random.pick(&everybody), random.pick(&everybody));
        let moved: Vec<(u64, u64)> = (0..random.below(4))
            .map(|_| (random.below(3), random.below(9)))
            .collect();
        for (id, value) in &moved {
            let value = i64::try_from(*value).unwrap();
            for key in [Some(*id), None] {
                *naive.entry((to, key)).or_default() += value;
                *naive.entry((from, key)).or_default() -= value;
            }
        }
        logs.push(passes(PASSES, from, to, &moved));
    }
    logs
}

async fn random_movements_fold_as_a_naive_ledger(database: Database) {
    let mut world = World::open(database).await;
    let mut random = Random::of(20);
    let mut seed = 100;
    // What is held after each block, the first being what everybody is given.
    let mut after: Vec<Naive> = Vec::new();
    let mut naive = Naive::new();
    let given: Vec<Log> = PEOPLE
        .iter()
        .map(|person| passes(PASSES, NOBODY, *person, &[(0, 9_000), (1, 9_000), (2, 9_000)]))
        .collect();
    for person in PEOPLE {
        naive.extend(
            [
                (Some(0), 9_000),
                (Some(1), 9_000),
                (Some(2), 9_000),
                (None, 27_000),
            ]
            .map(|(id, much)| ((person, id), much)),
        );
    }
    world.mine(&[tx(1, given)]).await;
    after.push(naive.clone());
    for round in 0..60 {
        if round == 12 {
            world.make_gate(of_ids(&[])).await;
            world.activate(&[PASSES]).await.unwrap();
        }
        if round == 30 {
            // From here on by id too: everything is read again.
            world.make_gate(of_ids(&[1])).await;
            world.activate(&[PASSES]).await.unwrap();
        }
        let depth = usize::try_from(random.below(6)).unwrap();
        let is_reorg = random.below(5) == 0 && after.len() > depth + 1;
        let kept = if is_reorg {
            after.len() - depth
        } else {
            after.len()
        };
        after.truncate(kept);
        let mut blocks = Vec::new();
        for _ in 0..=(after.len().abs_diff(kept) + if is_reorg { depth } else { 0 }) {
            naive.clone_from(after.last().unwrap());
            seed += 1;
            blocks.push(vec![tx(seed, movements(&mut random, &mut naive))]);
            after.push(naive.clone());
        }
        if is_reorg {
            let blocks: Vec<&[Tx]> = blocks.iter().map(Vec::as_slice).collect();
            world.reorg(u64::try_from(kept).unwrap(), &blocks).await;
        } else {
            for block in &blocks {
                world.mine(block).await;
            }
        }
        if round >= 12 && random.below(2) == 0 {
            world.fold_all(PASSES).await;
        }
        compare(&world, &after, round);
    }
    world.fold_all(PASSES).await;
    compare(&world, &after, 60);
    assert!(world.watch_of(PASSES).is_complete());
    world.assert_reload_is_identity().await;
}

fn compare(world: &World, after: &[Naive], round: u64) {
    let settled = world.engine.chain(CHAIN).unwrap().heights.settled;
    let watch = world.engine.watches(CHAIN).into_iter().next();
    let (Some(settled), Some(watch)) = (settled, watch) else {
        return;
    };
    if !watch.is_complete() {
        return;
    }
    let naive = &after[usize::try_from(settled.number).unwrap() - 1];
    let wanted: &[Option<u64>] = if watch.scope.keeps_ids() {
        &[None, Some(0), Some(1), Some(2)]
    } else {
        &[None]
    };
    for person in PEOPLE {
        for id in wanted {
            let rule = of_ids(id.as_slice());
            let held = naive.get(&(person, *id)).copied().unwrap_or_default();
            let expected = known(u64::try_from(held).unwrap());
            assert_eq!(
                reading(&world.engine, rule, person),
                expected,
                "round {round} {person} {id:?}"
            );
        }
    }
}
