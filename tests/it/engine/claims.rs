//! Claims: users name the transactions that they paid by.

use tollgate::engine::ClaimView;

use super::reviews::{code, dollars, key};
use crate::harness::blocks::tx;
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::column;
use crate::harness::wallets::Wallet;
use crate::harness::world::{HOUR_MS, World, payment_from};

on_both!(
    a_claim_from_a_proven_wallet_pays_its_charge,
    a_claim_made_in_advance_waits_for_its_payment,
    a_strangers_payment_is_answered_like_an_unknown_one,
    one_hash_pays_for_one_charge,
    claims_are_bounded_for_each_tenant,
    claims_of_one_transaction_are_bounded_and_its_payer_is_heard_all_the_same,
);

async fn a_claim_from_a_proven_wallet_pays_its_charge(database: Database) {
    let mut world = World::settled(database).await;
    let wallet = Wallet::of(1);
    let asked = world.ask("acme").await;
    // Another amount than the one asked, from a wallet that is proven only afterwards.
    world
        .mine(&[tx(1, vec![payment_from(wallet.address(), dollars(150))])])
        .await;
    world.mine_empty(3).await;
    let unproven = world.claim(("acme", "jo"), key(1).tx_hash, Some(&asked)).await;
    assert_eq!(unproven.unwrap().state, "waiting");
    let queue = world.queue().await;
    assert_eq!(queue[0].claims.len(), 1);
    assert!(!queue[0].claims[0].proven);
    assert_eq!(queue[0].suggestions[0].reasons[0].reason, "claimed");
    world.link("acme", "jo", &wallet).await;
    let applied = world
        .claim(("acme", "jo"), key(1).tx_hash, Some(&asked))
        .await
        .unwrap();
    assert_eq!(applied.state, "applied");
    assert_eq!(applied.payment_ids, [key(1).to_string()]);
    assert_eq!(world.state(&asked).await, "paid");
    assert_eq!(column(&world.store, "select rule from payment").await, ["claim"]);
    let again = world.claim(("acme", "jo"), key(1).tx_hash, Some(&asked)).await;
    assert_eq!(again.unwrap(), applied);
    world.assert_reload_is_identity().await;
}

async fn a_claim_made_in_advance_waits_for_its_payment(database: Database) {
    let mut world = World::settled(database).await;
    let wallet = Wallet::of(1);
    world.link("acme", "jo", &wallet).await;
    // Two tenants have proven it, so that the wallet alone names nobody.
    world.link("beta", "al", &wallet).await;
    let asked = world.ask("acme").await;
    world.ask("beta").await;
    let claimed = world.claim(("acme", "jo"), key(1).tx_hash, Some(&asked)).await;
    assert_eq!(claimed.unwrap().state, "waiting");
    world
        .mine(&[tx(1, vec![payment_from(wallet.address(), dollars(150))])])
        .await;
    assert_eq!(world.state(&asked).await, "confirming");
    assert_eq!(column(&world.store, "select rule from payment").await, ["claim"]);
    let after = world.claim(("acme", "jo"), key(1).tx_hash, None).await.unwrap();
    assert_eq!(after.state, "applied");
}

async fn a_strangers_payment_is_answered_like_an_unknown_one(database: Database) {
    let mut world = World::settled(database).await;
    let (own, strangers) = (world.ask("acme").await, world.ask("beta").await);
    world.link("acme", "jo", &Wallet::of(1)).await;
    world.pay(1, strangers.due).await;
    world.pay(2, dollars(2)).await;
    let mut answers = Vec::new();
    for seed in [1, 2, 3] {
        let answer = world
            .claim(("acme", "jo"), key(seed).tx_hash, Some(&own))
            .await
            .unwrap();
        assert_eq!(answer.tx_hash, key(seed).tx_hash.to_string());
        answers.push(ClaimView {
            tx_hash: String::new(),
            ..answer
        });
    }
    assert_eq!(answers[0].state, "waiting");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let foreign = world
        .claim(("acme", "jo"), key(1).tx_hash, Some(&strangers))
        .await;
    assert_eq!(code(foreign), "not_found", "nor another's charge");
    assert_eq!(world.state(&own).await, "open");
    assert_eq!(world.state(&strangers).await, "confirming");
}

async fn one_hash_pays_for_one_charge(database: Database) {
    let mut world = World::settled(database).await;
    let wallet = Wallet::of(1);
    world.link("acme", "jo", &wallet).await;
    let first = world.ask("acme").await;
    world
        .mine(&[tx(1, vec![payment_from(wallet.address(), first.due)])])
        .await;
    world.mine_empty(3).await;
    assert_eq!(world.state(&first).await, "paid");
    let second = world.ask("acme").await;
    let before = world.footprint().await;
    let replayed = world.claim(("acme", "jo"), key(1).tx_hash, Some(&second)).await;
    assert_eq!(code(replayed), "TRANSACTION_CLAIMED");
    assert_eq!(world.footprint().await, before);
    world
        .claim(("acme", "jo"), key(5).tx_hash, Some(&second))
        .await
        .unwrap();
    let third = world.claim(("acme", "jo"), key(5).tx_hash, Some(&first)).await;
    assert_eq!(code(third), "TRANSACTION_CLAIMED");
}

async fn claims_are_bounded_for_each_tenant(database: Database) {
    let world = World::settled(database).await;
    for seed in 0..100 {
        world
            .claim(("acme", "jo"), key(seed).tx_hash, None)
            .await
            .unwrap();
    }
    let more = world.claim(("acme", "al"), key(500).tx_hash, None).await;
    assert_eq!(code(more), "TOO_MANY_CLAIMS");
    world.claim(("acme", "jo"), key(7).tx_hash, None).await.unwrap();
    world.claim(("beta", "jo"), key(7).tx_hash, None).await.unwrap();
    world.wait(31 * 24 * HOUR_MS);
    world.claim(("acme", "jo"), key(500).tx_hash, None).await.unwrap();
}

async fn claims_of_one_transaction_are_bounded_and_its_payer_is_heard_all_the_same(database: Database) {
    let mut world = World::settled(database).await;
    let claim = async |world: &World, tenant: &str, user: String| {
        let claimed = world.claim((tenant, &user), key(1).tx_hash, None).await;
        claimed.map(|claim| claim.state)
    };
    for user in 0..10 {
        assert_eq!(
            claim(&world, "crowd-0", format!("jo-{user}")).await.unwrap(),
            "waiting"
        );
    }
    let more = world.claim(("crowd-0", "al"), key(1).tx_hash, None).await;
    assert_eq!(code(more), "TOO_MANY_CLAIMS", "of one tenant");
    for tenant in 1..=30 {
        let claimed = claim(&world, &format!("crowd-{tenant}"), "jo".to_owned()).await;
        assert_eq!(claimed.unwrap(), "waiting");
    }
    let before = world.footprint().await;
    let more = world.claim(("acme", "jo"), key(1).tx_hash, None).await;
    assert_eq!(code(more), "TOO_MANY_CLAIMS", "of all tenants");
    assert_eq!(world.footprint().await, before);
    assert_eq!(
        claim(&world, "crowd-7", "jo".to_owned()).await.unwrap(),
        "waiting"
    );
    // Whoever has proven the wallet that paid needs no place among those who wait.
    let wallet = Wallet::of(1);
    world
        .mine(&[tx(1, vec![payment_from(wallet.address(), dollars(150))])])
        .await;
    world.mine_empty(3).await;
    world.link("acme", "jo", &wallet).await;
    let asked = world.ask("acme").await;
    let applied = world.claim(("acme", "jo"), key(1).tx_hash, Some(&asked)).await;
    assert_eq!(applied.unwrap().state, "applied");
}
