//! Two instances on one database: who leads, and what the other one answers.

use std::time::Duration;

use alloy::primitives::{Address, U256};
use tollgate::domain::{Gap, Reading};
use tollgate::engine::{Candidate, Engine, EngineError, Turn};
use tollgate::store::{Role, lease};

use crate::harness::blocks::{nft, tx};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::{balance, column};
use crate::harness::holders::{MEMBERS, NOBODY, gate_on};
use crate::harness::wallets::Wallet;
use crate::harness::world::{CHAIN, PAYER, World, tenant};

on_both!(
    what_the_leader_wrote_is_answered_by_the_follower,
    what_a_follower_wrote_is_answered_by_the_leader,
    a_follower_that_is_behind_changes_what_there_is_and_not_what_it_remembers,
    a_released_lease_is_taken_at_the_first_look,
);

const OTHERS: Address = Address::repeat_byte(0x72);

const ROLE: Role = Role::Chain(CHAIN);

/// What one engine remembers is what a start would load.
async fn assert_caught_up(world: &mut World, engine: &Engine) {
    engine.refresh().await.unwrap();
    let leader = std::mem::replace(&mut world.engine, engine.clone());
    world.assert_reload_is_identity().await;
    world.engine = leader;
}

async fn what_the_leader_wrote_is_answered_by_the_follower(database: Database) {
    let mut world = World::open(database).await;
    let follower = world.another_engine().await;
    world.watch(MEMBERS).await;
    world.activate(&[MEMBERS]).await.unwrap();
    let asked = world.ask("acme").await;
    world.pay(1, asked.due).await;
    world.mine(&[tx(2, vec![nft(MEMBERS, NOBODY, PAYER, 1)])]).await;
    world.link("acme", "jo", &Wallet::of(7)).await;
    world.mine_empty(3).await;
    assert_eq!(balance(&follower, MEMBERS, PAYER), Reading::Unknown(Gap::NotRead));
    assert_caught_up(&mut world, &follower).await;
    assert_eq!(balance(&follower, MEMBERS, PAYER), Reading::Known(U256::from(1)));
    let heights = follower.chain(CHAIN).unwrap().heights;
    assert_eq!(Some(heights.head), heights.read.map(|read| read.number));
}

async fn what_a_follower_wrote_is_answered_by_the_leader(database: Database) {
    let mut world = World::settled(database).await;
    let leader = world.engine.clone();
    let follower = world.another_engine().await;
    let asked = world.ask("acme").await;
    follower.refresh().await.unwrap();
    world.engine = follower.clone();
    world.watch(MEMBERS).await;
    world.link("acme", "jo", &Wallet::of(7)).await;
    world.engine = leader.clone();
    let mut woken = leader.watch_changes();
    assert_caught_up(&mut world, &leader).await;
    assert!(woken.has_changed().unwrap(), "there is a contract more to read");
    woken.mark_unchanged();
    assert_eq!(leader.gates(&tenant("acme")).len(), 1);

    // The leader goes on, and so does the follower.
    world.activate(&[MEMBERS]).await.unwrap();
    world.pay(1, asked.due).await;
    world.mine_empty(3).await;
    assert_eq!(world.plan("acme"), "pro");
    world.engine = follower.clone();
    world.watch(OTHERS).await;
    world.engine = leader.clone();
    for engine in [&leader, &follower] {
        assert_caught_up(&mut world, engine).await;
    }
}

async fn a_follower_that_is_behind_changes_what_there_is_and_not_what_it_remembers(database: Database) {
    let mut world = World::open(database).await;
    let follower = world.another_engine().await;
    world.watch(MEMBERS).await;
    world.activate(&[MEMBERS]).await.unwrap();
    world.mine(&[tx(1, vec![nft(MEMBERS, NOBODY, PAYER, 1)])]).await;
    world.mine_empty(3).await;
    follower.execute(gate_on(CHAIN, OTHERS)).await.unwrap();
    follower.execute(gate_on(CHAIN, MEMBERS)).await.unwrap();
    let watched = column(&world.store, "select next_number from watch order by contract").await;
    assert_eq!(watched.len(), 2);
    world.mine(&[tx(2, vec![nft(MEMBERS, NOBODY, PAYER, 2)])]).await;
    world.mine_empty(3).await;
    let leader = world.engine.clone();
    for engine in [&leader, &follower] {
        assert_caught_up(&mut world, engine).await;
        assert_eq!(balance(engine, MEMBERS, PAYER), Reading::Known(U256::from(2)));
    }
}

async fn a_released_lease_is_taken_at_the_first_look(database: Database) {
    let mut world = World::settled(database).await;
    let other = world.another_engine().await;
    let block = world.build(&[]);
    world.engine.release_lease(ROLE).await;
    let refused = world.advance(None, vec![block.clone()]).await.unwrap_err();
    assert!(matches!(refused, EngineError::LeaseLost(CHAIN)), "{refused:?}");
    let mut candidate = Candidate::new(other.clone(), ROLE);
    let Turn::Ours(fence) = candidate.look().await.unwrap() else {
        panic!("a free lease is not taken");
    };
    assert!(fence > world.fence);
    assert_eq!(candidate.look().await.unwrap(), Turn::Ours(fence), "and kept");
    world.engine = other;
    world.fence = world.lead().await;
    world.advance(None, vec![block]).await.unwrap();
}

#[tokio::test]
async fn a_leader_is_replaced_only_once_it_is_silent() {
    let mut world = World::settled(Database::postgres()).await;
    let follower = world.another_engine().await;
    let mut candidate = Candidate::new(follower.clone(), ROLE);
    let leader = Turn::Theirs(Some(world.engine.instance().clone()));
    for _ in 0..3 {
        for _ in 0..4 {
            assert_eq!(candidate.look().await.unwrap(), leader);
        }
        world.mine_empty(1).await;
    }
    for _ in 0..4 {
        assert_eq!(candidate.look().await.unwrap(), leader);
    }
    let Turn::Ours(_) = candidate.look().await.unwrap() else {
        panic!("a silent leader is not replaced");
    };
    let block = world.build(&[]);
    let refused = world.advance(None, vec![block]).await.unwrap_err();
    assert!(matches!(refused, EngineError::LeaseLost(CHAIN)), "{refused:?}");
    let lost = world.engine.keep_lease(&ROLE, world.fence);
    tokio::time::timeout(Duration::from_secs(5), lost).await.unwrap();
}

#[tokio::test]
async fn a_leader_without_work_shows_that_it_is_alive() {
    let world = World::settled(Database::postgres()).await;
    let mut candidate = Candidate::new(world.another_engine().await, ROLE);
    let alive = async {
        let look = tokio::time::interval(Duration::from_millis(500));
        tokio::pin!(look);
        for _ in 0..14 {
            look.tick().await;
            let turn = candidate.look().await.unwrap();
            assert!(matches!(turn, Turn::Theirs(Some(_))), "{turn:?}");
        }
    };
    tokio::select! {
        () = alive => {}
        _ = world.engine.keep_lease(&ROLE, world.fence) => panic!("nobody took the lease"),
    }
    let mut conn = world.store.read().await.unwrap();
    let lease = lease(&mut conn, &ROLE).await.unwrap().unwrap();
    assert!(lease.pulse >= 5, "{lease:?}");
}

/// One whose endpoints cannot be read must not keep others from trying.
#[tokio::test]
async fn who_took_a_chain_and_does_not_open_it_shows_no_sign_of_life() {
    let world = World::settled(Database::postgres()).await;
    let kept = world.engine.keep_lease(&ROLE, world.fence + 1);
    assert!(tokio::time::timeout(Duration::from_secs(3), kept).await.is_err());
    let mut conn = world.store.read().await.unwrap();
    let lease = lease(&mut conn, &ROLE).await.unwrap().unwrap();
    assert_eq!(lease.pulse, 0);
}
