//! Requests that come twice, and many at once.

use tollgate::domain::Amount;
use tollgate::engine::{
    CancelCharge, CreateCharge, CreateGate, CreateKey, EngineError, Idempotency, RevokeKey, Scope,
};

use crate::harness::databases::{Database, on_both};
use crate::harness::facts::column;
use crate::harness::holders::{MEMBERS, gate_on};
use crate::harness::world::{CHAIN, GRACE_MS, HOUR_MS, TTL_MS, World, asked, origin, pro_for, tenant};

on_both!(
    the_same_key_and_body_give_the_same_answer_and_one_charge,
    a_key_with_another_body_is_refused,
    keys_of_different_callers_never_meet,
    an_answer_is_forgotten_after_a_day,
    a_refused_request_is_not_remembered,
    many_requests_at_once_for_one_subject_give_one_open_charge,
    many_subjects_at_once_get_amounts_of_their_own,
    a_tenant_has_so_many_charges_that_wait_and_so_many_amounts_of_a_price,
    a_gate_is_made_once_and_its_contract_watched_once,
    a_key_works_until_it_is_revoked,
);

fn keyed(scope: &str, body: &str) -> CreateCharge {
    CreateCharge {
        idempotency: Some(Idempotency::new(
            scope.to_owned(),
            "key-1".to_owned(),
            body.as_bytes(),
        )),
        ..pro_for("acme")
    }
}

async fn charges(world: &World) -> usize {
    column(&world.store, "select id from charge").await.len()
}

async fn the_same_key_and_body_give_the_same_answer_and_one_charge(database: Database) {
    let mut world = World::settled(database).await;
    let first = world.engine.execute(keyed("charges", "{}")).await.unwrap();
    assert!(!first.replayed);
    // It was paid since: the answer is still the one that was given.
    world.pay(1, asked(&first).due).await;
    world.mine_empty(2).await;
    let second = world.engine.execute(keyed("charges", "{}")).await.unwrap();
    assert!(second.replayed);
    assert_eq!(second.answer, first.answer);
    assert_eq!(charges(&world).await, 1);
    world.assert_reload_is_identity().await;
}

async fn a_key_with_another_body_is_refused(database: Database) {
    let world = World::settled(database).await;
    world.engine.execute(keyed("charges", "{}")).await.unwrap();
    let before = world.footprint().await;
    let refused = world.engine.execute(keyed("charges", "{ }")).await;
    assert!(matches!(refused, Err(EngineError::KeyReused)), "{refused:?}");
    assert_eq!(world.footprint().await, before);
}

async fn keys_of_different_callers_never_meet(database: Database) {
    let world = World::settled(database).await;
    world.engine.execute(keyed("key:1 charges", "a")).await.unwrap();
    let other = world.engine.execute(keyed("key:2 charges", "b")).await.unwrap();
    assert!(!other.replayed);
}

async fn an_answer_is_forgotten_after_a_day(database: Database) {
    let world = World::settled(database).await;
    world.engine.execute(keyed("charges", "a")).await.unwrap();
    world.wait(24 * HOUR_MS + 1);
    // Whoever remembers next, forgets what is old.
    world.engine.execute(keyed("others", "b")).await.unwrap();
    let again = world
        .engine
        .execute(keyed("charges", "another body"))
        .await
        .unwrap();
    assert!(!again.replayed);
}

async fn a_refused_request_is_not_remembered(database: Database) {
    let world = World::settled(database).await;
    let wrong = CreateCharge {
        plan: "platinum".to_owned(),
        ..keyed("charges", "{}")
    };
    for _ in 0..2 {
        let refused = world.engine.execute(wrong.clone()).await;
        assert!(
            matches!(&refused, Err(EngineError::Invalid { field: "plan", .. })),
            "{refused:?}"
        );
    }
    assert_eq!(charges(&world).await, 0);
}

async fn many_requests_at_once_for_one_subject_give_one_open_charge(database: Database) {
    let world = World::settled(database).await;
    let requests = (0..20).map(|_| {
        let engine = world.engine.clone();
        tokio::spawn(async move { asked(&engine.execute(pro_for("acme")).await.unwrap()) })
    });
    let requests: Vec<_> = requests.collect();
    let mut ids = Vec::new();
    for request in requests {
        ids.push(request.await.unwrap().id);
    }
    ids.dedup();
    assert_eq!((ids.len(), charges(&world).await), (1, 1));
    assert_eq!(world.action_count("charge.create").await, 1);
    world.assert_reload_is_identity().await;
}

async fn many_subjects_at_once_get_amounts_of_their_own(database: Database) {
    let world = World::settled(database).await;
    let requests = (0..50).map(|index| {
        let engine = world.engine.clone();
        tokio::spawn(async move {
            let request = pro_for(&format!("tenant-{index}"));
            asked(&engine.execute(request).await.unwrap()).due
        })
    });
    let requests: Vec<_> = requests.collect();
    let mut dues: Vec<Amount> = Vec::new();
    for request in requests {
        dues.push(request.await.unwrap());
    }
    dues.sort();
    dues.dedup();
    assert_eq!(dues.len(), 50);
    world.assert_reload_is_identity().await;
}

async fn a_gate_is_made_once_and_its_contract_watched_once(database: Database) {
    let world = World::settled(database).await;
    let keyed = CreateGate {
        idempotency: Some(Idempotency::new("gates".to_owned(), "1".to_owned(), b"{}")),
        ..gate_on(CHAIN, MEMBERS)
    };
    let first = world.engine.execute(keyed.clone()).await.unwrap();
    let second = world.engine.execute(keyed).await.unwrap();
    assert_eq!(
        (second.answer, second.replayed),
        (first.answer, true),
        "the same gate"
    );
    world.watch(MEMBERS).await;
    assert_eq!(column(&world.store, "select id from gate").await.len(), 2);
    assert_eq!(world.engine.watches(CHAIN).len(), 1);
    world.assert_reload_is_identity().await;
}

async fn a_key_works_until_it_is_revoked(database: Database) {
    let world = World::settled(database).await;
    let create = CreateKey {
        name: "chat".to_owned(),
        scopes: vec![Scope::Check, Scope::Billing],
    };
    let new = world.engine.execute(create).await.unwrap();
    let caller = world.engine.caller(&new.key).await.unwrap().unwrap();
    assert!(caller.may(Scope::Check) && caller.may(Scope::Billing) && !caller.may(Scope::Admin));
    assert_eq!(world.engine.caller("tg_guessed").await.unwrap(), None);
    let stored = world.engine.api_keys().await.unwrap();
    assert_eq!(stored.len(), 1);
    assert!(!format!("{stored:?}").contains(&new.key), "the key is not stored");

    let revoke = RevokeKey { id: new.id.clone() };
    world.engine.execute(revoke.clone()).await.unwrap();
    let again = world.engine.execute(revoke).await;
    assert!(matches!(again, Err(EngineError::NotFound(_))), "{again:?}");
    // What is remembered of it is looked up again before long.
    world.wait(10_000);
    assert_eq!(world.engine.caller(&new.key).await.unwrap(), None);
}

async fn a_tenant_has_so_many_charges_that_wait_and_so_many_amounts_of_a_price(database: Database) {
    let world = World::settled(database).await;
    let of_user = |number: usize| CreateCharge {
        user: Some(format!("user-{number}").parse().unwrap()),
        ..pro_for("acme")
    };
    let refused = |outcome: Result<_, EngineError>| {
        let is_bound = matches!(
            outcome,
            Err(EngineError::Conflict {
                code: "TOO_MANY_CHARGES",
                ..
            })
        );
        assert!(is_bound);
    };
    let mut open = Vec::new();
    for number in 0..100 {
        open.push(asked(&world.engine.execute(of_user(number)).await.unwrap()));
    }
    let before = world.footprint().await;
    refused(world.engine.execute(of_user(100)).await);
    assert_eq!(world.footprint().await, before);
    // Who has one is answered with it, and other tenants are not concerned.
    assert_eq!(
        asked(&world.engine.execute(of_user(7)).await.unwrap()).id,
        open[7].id
    );
    world.ask("globex").await;
    // Cancelled ones wait no more, and keep their amounts.
    for round in 1..=2 {
        for charge in open.drain(..) {
            let cancel = CancelCharge {
                origin: origin(),
                tenant: tenant("acme"),
                id: charge.id,
            };
            world.engine.execute(cancel).await.unwrap();
        }
        for number in 0..100 {
            let made = world.engine.execute(of_user(100 * round + number)).await;
            if round == 2 {
                refused(made);
                break;
            }
            open.push(asked(&made.unwrap()));
        }
    }
    let amounts = column(&world.store, "select due from amount_lease").await;
    assert_eq!(amounts.len(), 201);
    world.wait(TTL_MS + GRACE_MS + 2 * HOUR_MS);
    world.engine.execute(of_user(500)).await.unwrap();
}
