//! What people decide of payments that came too late, and what their decisions leave on the charges.

use tollgate::engine::{AssignPayment, CreateCharge};

use super::reviews::{code, dollars, key, refund};
use crate::harness::blocks::tx;
use crate::harness::databases::{Database, on_both};
use crate::harness::wallets::Wallet;
use crate::harness::world::{
    Asked, CHAIN, GRACE_MS, HOUR_MS, TTL_MS, World, asked, origin, payment_from, pro_for,
};

on_both!(
    a_late_claim_for_a_changed_price_is_held_and_an_operator_may_accept_it,
    what_came_after_grace_is_claimed_by_nobody_and_assigned_only_with_a_word,
    an_ignored_payment_flags_its_charge_no_more,
    what_was_decided_of_a_payment_outlives_a_reorganisation,
    a_refused_replay_tells_nothing_of_another_users_charge,
);

impl World {
    /// What every charge was made for is no longer what the catalogue says.
    async fn change_prices(&self) {
        let mut tx = self.store.begin_write().await.unwrap();
        sqlx::query("update charge set price = '14000000'")
            .execute(tx.conn())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// Assigns the first payment although it is late.
    async fn accept(&self, to: &Asked) {
        let command = AssignPayment {
            origin: origin(),
            payment: key(1),
            charge: to.id.clone(),
            reason: "they wrote in time".to_owned(),
            accept_late: true,
        };
        let assigned = self.engine.execute(command).await.unwrap();
        assert_eq!(assigned.payment.charge_id.as_deref(), Some(to.id.as_str()));
    }
}

async fn a_late_claim_for_a_changed_price_is_held_and_an_operator_may_accept_it(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    world.change_prices().await;
    world.wait(TTL_MS + HOUR_MS);
    let wallet = Wallet::of(1);
    world
        .mine(&[tx(1, vec![payment_from(wallet.address(), dollars(150))])])
        .await;
    world.mine_empty(3).await;
    world.link("acme", "jo", &wallet).await;
    let claimed = world.claim(("acme", "jo"), key(1).tx_hash, Some(&asked)).await;
    assert_eq!(claimed.unwrap().state, "waiting");
    assert_eq!(world.standing(&asked).await.1, "held");
    assert_eq!(world.queue().await[0].payment.payment.flags.len(), 1);
    assert_eq!(code(world.assign(key(1), &asked).await), "PAYMENT_LATE");
    assert_eq!(world.plan("acme"), "free");
    world.accept(&asked).await;
    assert_eq!(world.state(&asked).await, "paid");
    assert_eq!(world.plan("acme"), "pro");
    world.assert_reload_is_identity().await;
}

async fn what_came_after_grace_is_claimed_by_nobody_and_assigned_only_with_a_word(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    world.wait(TTL_MS + GRACE_MS + HOUR_MS);
    let wallet = Wallet::of(1);
    world
        .mine(&[tx(1, vec![payment_from(wallet.address(), dollars(150))])])
        .await;
    world.mine_empty(3).await;
    world.link("acme", "jo", &wallet).await;
    let claimed = world.claim(("acme", "jo"), key(1).tx_hash, Some(&asked)).await;
    assert_eq!(claimed.unwrap().state, "waiting");
    assert_eq!(world.queue().await.len(), 1);
    assert_eq!(code(world.assign(key(1), &asked).await), "PAYMENT_LATE");
    world.accept(&asked).await;
}

async fn an_ignored_payment_flags_its_charge_no_more(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    world.change_prices().await;
    world.wait(TTL_MS + HOUR_MS);
    world.pay(1, asked.due).await;
    world.mine_empty(3).await;
    assert_eq!(world.standing(&asked).await.1, "held");
    world.ignore(key(1), "sent back by hand").await.unwrap();
    assert_eq!(world.standing(&asked).await.1, "");
    world.assert_reload_is_identity().await;
}

async fn what_was_decided_of_a_payment_outlives_a_reorganisation(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let wallet = Wallet::of(1);
    let paid = || tx(1, vec![payment_from(wallet.address(), dollars(150))]);
    let below = world.blocks.tip().unwrap().number;
    world.mine(&[paid()]).await;
    world.engine.execute(refund(key(1), 9, None)).await.unwrap();
    // Proven since: a rule would give it to that charge now.
    world.link("acme", "jo", &wallet).await;
    world
        .claim(("acme", "jo"), key(1).tx_hash, Some(&asked))
        .await
        .unwrap();
    world.reorg(below, &[&[], &[paid()]]).await;
    world.mine_empty(3).await;
    assert_eq!(world.state(&asked).await, "open");
    assert_eq!(world.queue().await.len(), 0);
    let resource = format!("payment:eip155:{CHAIN}:{}:0", key(1).tx_hash);
    assert_eq!(world.events(&resource).await, ["payment.unmatched"]);
    world.assert_reload_is_identity().await;
}

async fn a_refused_replay_tells_nothing_of_another_users_charge(database: Database) {
    let mut world = World::settled(database).await;
    let charge_of = async |world: &World, user: &str| {
        let command = CreateCharge {
            user: Some(user.parse().unwrap()),
            ..pro_for("acme")
        };
        asked(&world.engine.execute(command).await.unwrap())
    };
    let (jos, als) = (charge_of(&world, "jo").await, charge_of(&world, "al").await);
    world.pay(1, jos.due).await;
    world.mine_empty(3).await;
    assert_eq!(world.state(&jos).await, "paid");
    let foreign = world
        .claim(("acme", "al"), key(1).tx_hash, Some(&als))
        .await
        .unwrap();
    let unknown = world
        .claim(("acme", "al"), key(9).tx_hash, Some(&als))
        .await
        .unwrap();
    assert_eq!(
        (foreign.state, foreign.payment_ids),
        (unknown.state, unknown.payment_ids)
    );
    let again = charge_of(&world, "jo").await;
    let own = world.claim(("acme", "jo"), key(1).tx_hash, Some(&again)).await;
    assert_eq!(code(own), "TRANSACTION_CLAIMED");
}
