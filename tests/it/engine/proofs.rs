//! The proof that a wallet is a user's.

use tollgate::domain::Millis;
use tollgate::engine::{DeleteGate, EngineError};

use crate::harness::databases::{Database, on_both};
use crate::harness::facts::column;
use crate::harness::holders::MEMBERS;
use crate::harness::wallets::Wallet;
use crate::harness::world::{NONCE_TTL, RELINK_AFTER, World, origin, tenant};

on_both!(
    a_nonce_is_used_once,
    a_user_has_so_many_nonces_and_the_oldest_go_first,
    a_nonce_of_another_user_or_tenant_is_refused,
    an_expired_nonce_is_refused,
    a_wallet_of_another_user_is_refused,
    a_wallet_may_be_linked_in_two_tenants_and_twice_by_its_user,
    a_wallet_that_was_given_up_is_anothers_only_after_a_while,
    a_wallet_is_given_up_by_its_user_alone,
    a_refused_signature_leaves_the_nonce_to_its_user,
    two_proofs_at_once_use_one_nonce_once,
    a_gate_is_deleted_by_its_tenant_alone,
);

fn assert_invalid(refused: &EngineError, expected: &str) {
    assert!(
        matches!(refused, EngineError::Invalid { field, .. } if *field == expected),
        "{refused:?}"
    );
}

async fn a_nonce_is_used_once(database: Database) {
    let world = World::settled(database).await;
    let nonce = world.nonce("acme", "jo").await;
    let now = world.clock.now_ms();
    world
        .prove("acme", "jo", Wallet::of(1).sign(&nonce, now))
        .await
        .unwrap();
    let refused = world.prove("acme", "jo", Wallet::of(2).sign(&nonce, now)).await;
    assert_invalid(&refused.unwrap_err(), "message");
    assert_eq!(
        world.engine.wallets(&tenant("acme"), &"jo".parse().unwrap()),
        [Wallet::of(1).address()]
    );
    world.assert_reload_is_identity().await;
}

async fn a_user_has_so_many_nonces_and_the_oldest_go_first(database: Database) {
    let world = World::settled(database).await;
    let of_another = world.nonce("acme", "al").await;
    let mut nonces = Vec::new();
    for _ in 0..25 {
        world.wait(1_000);
        nonces.push(world.nonce("acme", "jo").await);
    }
    let kept = column(&world.store, "select user_id from wallet_nonce order by user_id").await;
    assert_eq!((kept.len(), kept[0].as_str()), (21, "al"));
    let now = world.clock.now_ms();
    let refused = world
        .prove("acme", "jo", Wallet::of(1).sign(&nonces[4], now))
        .await;
    assert!(refused.is_err(), "the fifth was forgotten");
    world
        .prove("acme", "jo", Wallet::of(1).sign(&nonces[5], now))
        .await
        .unwrap();
    world
        .prove("acme", "al", Wallet::of(2).sign(&of_another, now))
        .await
        .unwrap();
}

async fn a_nonce_of_another_user_or_tenant_is_refused(database: Database) {
    let world = World::settled(database).await;
    let nonce = world.nonce("acme", "jo").await;
    let before = world.footprint().await;
    let proof = Wallet::of(1).sign(&nonce, world.clock.now_ms());
    for (of, user) in [("acme", "eve"), ("globex", "jo")] {
        let refused = world.prove(of, user, proof.clone()).await.unwrap_err();
        assert_invalid(&refused, "message");
    }
    let unknown = Wallet::of(1).sign("abcdefgh12345678", world.clock.now_ms());
    assert_invalid(&world.prove("acme", "jo", unknown).await.unwrap_err(), "message");
    assert_eq!(world.footprint().await, before);
    world.prove("acme", "jo", proof).await.unwrap();
}

async fn an_expired_nonce_is_refused(database: Database) {
    let world = World::settled(database).await;
    let ttl = Millis::try_from(NONCE_TTL.as_millis()).unwrap();
    for (waited, accepted) in [(ttl - 1, true), (ttl, false)] {
        let nonce = world.nonce("acme", "jo").await;
        world.wait(waited);
        let proof = Wallet::of(1).sign(&nonce, world.clock.now_ms());
        let outcome = world.prove("acme", "jo", proof).await;
        assert_eq!(outcome.is_ok(), accepted, "{outcome:?}");
    }
}

async fn a_wallet_of_another_user_is_refused(database: Database) {
    let world = World::settled(database).await;
    let wallet = Wallet::of(1);
    world.link("acme", "jo", &wallet).await;
    let nonce = world.nonce("acme", "eve").await;
    let proof = wallet.sign(&nonce, world.clock.now_ms());
    let refused = world.prove("acme", "eve", proof).await.unwrap_err();
    assert!(
        matches!(
            &refused,
            EngineError::Conflict {
                code: "WALLET_TAKEN",
                ..
            }
        ),
        "{refused:?}"
    );
    assert!(
        world
            .engine
            .wallets(&tenant("acme"), &"eve".parse().unwrap())
            .is_empty()
    );
    world.assert_reload_is_identity().await;
}

async fn a_wallet_may_be_linked_in_two_tenants_and_twice_by_its_user(database: Database) {
    let world = World::settled(database).await;
    // Not in the order of their addresses.
    let mut wallets = [Wallet::of(1), Wallet::of(2), Wallet::of(3), Wallet::of(4)];
    wallets.sort_by_key(|wallet| std::cmp::Reverse(wallet.address()));
    for wallet in &wallets {
        world.link("acme", "jo", wallet).await;
    }
    world.link("acme", "jo", &wallets[2]).await;
    world.link("globex", "ann", &wallets[0]).await;
    let links = world
        .engine
        .wallet_links(&tenant("acme"), &"jo".parse().unwrap())
        .await;
    assert_eq!(links.unwrap().len(), 4);
    assert_eq!(world.action_count("wallet.link").await, 5);
    world.assert_reload_is_identity().await;
}

async fn a_wallet_that_was_given_up_is_anothers_only_after_a_while(database: Database) {
    let world = World::settled(database).await;
    let wallet = Wallet::of(1);
    let proven = |user: &str| world.engine.wallets(&tenant("acme"), &user.parse().unwrap());
    world.link("acme", "jo", &wallet).await;
    world.unlink("acme", "jo", &wallet).await.unwrap();
    assert!(proven("jo").is_empty());
    world.link("acme", "jo", &wallet).await;
    assert_eq!(proven("jo"), [wallet.address()], "its own user need not wait");
    world.unlink("acme", "jo", &wallet).await.unwrap();
    world.link("globex", "ann", &wallet).await;

    let cool_down = Millis::try_from(RELINK_AFTER.as_millis()).unwrap();
    world.wait(cool_down - 1);
    let attempt = async || {
        let nonce = world.nonce("acme", "eve").await;
        let proof = wallet.sign(&nonce, world.clock.now_ms());
        world.prove("acme", "eve", proof).await
    };
    let refused = attempt().await.unwrap_err();
    let cooling = matches!(
        &refused,
        EngineError::Conflict {
            code: "WALLET_COOLING_DOWN",
            ..
        }
    );
    assert!(cooling, "{refused:?}");
    world.assert_reload_is_identity().await;
    world.wait(1);
    attempt().await.unwrap();
    assert_eq!((proven("jo"), proven("eve")), (vec![], vec![wallet.address()]));
    world.assert_reload_is_identity().await;
}

async fn a_wallet_is_given_up_by_its_user_alone(database: Database) {
    let world = World::settled(database).await;
    let wallet = Wallet::of(1);
    world.link("acme", "jo", &wallet).await;
    let before = world.footprint().await;
    for (of, user, wallet) in [
        ("acme", "eve", Wallet::of(1)),
        ("globex", "jo", Wallet::of(1)),
        ("acme", "jo", Wallet::of(2)),
    ] {
        let refused = world.unlink(of, user, &wallet).await.unwrap_err();
        assert!(matches!(refused, EngineError::NotFound("wallet")), "{refused:?}");
    }
    assert_eq!(world.footprint().await, before);
    world.unlink("acme", "jo", &wallet).await.unwrap();
    let subject = format!("wallet:{}", wallet.address());
    assert_eq!(world.actions(&subject).await, ["wallet.link", "wallet.unlink"]);
}

async fn a_refused_signature_leaves_the_nonce_to_its_user(database: Database) {
    let world = World::settled(database).await;
    let nonce = world.nonce("acme", "jo").await;
    let now = world.clock.now_ms();
    let (message, signature) = Wallet::of(1).sign(&nonce, now);
    let (_, of_another) = Wallet::of(2).sign(&nonce, now);
    let refused = world.prove("acme", "jo", (message.clone(), of_another)).await;
    assert_invalid(&refused.unwrap_err(), "signature");
    world.prove("acme", "jo", (message, signature)).await.unwrap();
}

async fn two_proofs_at_once_use_one_nonce_once(database: Database) {
    let world = World::settled(database).await;
    let nonce = world.nonce("acme", "jo").await;
    let now = world.clock.now_ms();
    let (one, other) = tokio::join!(
        world.prove("acme", "jo", Wallet::of(1).sign(&nonce, now)),
        world.prove("acme", "jo", Wallet::of(2).sign(&nonce, now)),
    );
    assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
    world.assert_reload_is_identity().await;
}

async fn a_gate_is_deleted_by_its_tenant_alone(database: Database) {
    let world = World::settled(database).await;
    let made = world.watch(MEMBERS).await;
    let id: tollgate::domain::GateId = made.answer["id"].as_str().unwrap().parse().unwrap();
    let delete = |name: &str| DeleteGate {
        origin: origin(),
        tenant: tenant(name),
        id: id.clone(),
    };
    let refused = world.engine.execute(delete("globex")).await;
    assert!(matches!(refused, Err(EngineError::NotFound(_))), "{refused:?}");
    assert!(world.engine.gate(&tenant("acme"), &id).is_some());
    assert!(world.engine.gate(&tenant("globex"), &id).is_none());
    world.engine.execute(delete("acme")).await.unwrap();
    assert!(world.engine.gate(&tenant("acme"), &id).is_none());
    assert!(world.engine.gates(&tenant("acme")).is_empty());
    world.assert_reload_is_identity().await;
}
