//! What time may do to a charge, and what it may not while the chain cannot be seen.

use std::collections::BTreeSet;

use tollgate::domain::{Amount, Interval};
use tollgate::engine::{CancelCharge, EngineError, ExpireCharges, RefoldDue, RemindRenewals};

use crate::harness::blocks::tx;
use crate::harness::databases::{Database, on_both};
use crate::harness::world::{
    BLOCK_MS, GRACE_MS, HOUR_MS, TTL_MS, World, asked, origin, payment, pro_for, settings, tenant,
};

on_both!(
    a_charge_expires_only_once_its_chain_is_settled_past_the_deadline,
    money_that_came_in_time_counts_however_late_it_is_read,
    an_amount_is_not_leased_again_while_its_charge_may_still_be_paid,
    a_cancelled_charge_is_still_watched,
    a_period_that_ends_takes_the_plan_at_once,
    asking_again_gives_the_open_charge_and_later_a_new_one,
);

async fn expire(world: &World) -> usize {
    world.engine.execute(ExpireCharges).await.unwrap()
}

async fn a_charge_expires_only_once_its_chain_is_settled_past_the_deadline(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    world.wait(TTL_MS);
    assert!(world.engine.has_deadlines().await.unwrap());
    expire(&world).await;
    assert_eq!(
        world.standing(&asked).await,
        ("open".to_owned(), "chain_blind".to_owned())
    );
    assert!(
        !world.engine.has_deadlines().await.unwrap(),
        "it is said once, and not each second"
    );
    world.wait(10 * (TTL_MS + GRACE_MS));
    assert_eq!(expire(&world).await, 0);
    assert_eq!(world.state(&asked).await, "open");

    // Two blocks past the deadline are not settled; the third settles the first.
    world.mine_empty(2).await;
    assert_eq!(expire(&world).await, 0);
    world.mine_empty(1).await;
    assert_eq!(expire(&world).await, 1);
    assert_eq!(
        world.standing(&asked).await.0,
        "closed",
        "its grace is over as well"
    );
    let events = world.events(&format!("charge:{}", asked.id)).await;
    assert_eq!(events, ["charge.created", "charge.closed"]);
    assert_eq!(expire(&world).await, 0);
    world.assert_reload_is_identity().await;
}

async fn money_that_came_in_time_counts_however_late_it_is_read(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let block = world.build(&[tx(1, vec![payment(asked.due)])]);
    world.wait(TTL_MS + GRACE_MS + HOUR_MS);
    expire(&world).await;
    assert_eq!(world.state(&asked).await, "open");
    let above = [world.build(&[]), world.build(&[])];
    let [next, last] = above;
    world.advance(None, vec![block, next, last]).await.unwrap();
    assert_eq!(world.standing(&asked).await, ("paid".to_owned(), String::new()));
    assert_eq!(world.plan("acme"), "pro");
    world.assert_reload_is_identity().await;
}

/// With three decimals there are nine amounts for one price, so that a lease that is given away too early shows.
async fn an_amount_is_not_leased_again_while_its_charge_may_still_be_paid(database: Database) {
    let mut settings = settings();
    settings.chains[0].tokens[0].decimals = 3;
    settings.chains[0].tokens[0].dust = Amount::from(1);
    let mut world = World::open_with(database, settings).await;
    world.mine_empty(4).await;
    let mut first = BTreeSet::new();
    for index in 0..8 {
        let answer = world.engine.execute(pro_for(&format!("t{index}"))).await;
        // A random pick of nine may fail to find the last ones; what counts is what was given.
        first.extend(answer.ok().map(|answer| asked(&answer).due));
    }
    assert!(first.len() > 4);

    world.wait(TTL_MS + GRACE_MS + 10 * HOUR_MS);
    let mut second = Vec::new();
    for index in 0..8 {
        match world.engine.execute(pro_for(&format!("u{index}"))).await {
            Ok(answer) => second.push(asked(&answer).due),
            Err(error) => assert!(
                matches!(
                    &error,
                    EngineError::Conflict {
                        code: "AMOUNTS_EXHAUSTED",
                        ..
                    }
                ),
                "{error:?}"
            ),
        }
    }
    let again: Vec<_> = second.iter().filter(|due| first.contains(due)).collect();
    assert!(
        again.is_empty(),
        "leased again, and the chain was not seen since: {again:?}"
    );

    // Once it is settled past their grace they are free.
    world.mine_empty(4).await;
    let mut third = Vec::new();
    for index in 0..4 {
        let answer = world.engine.execute(pro_for(&format!("v{index}"))).await;
        third.extend(answer.ok().map(|answer| asked(&answer).due));
    }
    assert!(third.iter().any(|due| first.contains(due)), "{third:?}");
}

async fn a_cancelled_charge_is_still_watched(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let cancel = |name: &str| CancelCharge {
        origin: origin(),
        tenant: tenant(name),
        id: asked.id.clone(),
    };
    let refused = world.engine.execute(cancel("globex")).await.unwrap_err();
    assert!(matches!(refused, EngineError::NotFound(_)), "{refused:?}");
    for _ in 0..2 {
        world.engine.execute(cancel("acme")).await.unwrap();
    }
    assert_eq!(world.state(&asked).await, "cancelled");
    world.pay(1, asked.due).await;
    world.mine_empty(2).await;
    assert_eq!(
        (world.state(&asked).await, world.plan("acme")),
        ("paid".into(), "pro".into())
    );
    let refused = world.engine.execute(cancel("acme")).await.unwrap_err();
    assert!(
        matches!(
            &refused,
            EngineError::Conflict {
                code: "CHARGE_NOT_OPEN",
                ..
            }
        ),
        "{refused:?}"
    );
    let events = world.events(&format!("charge:{}", asked.id)).await;
    assert_eq!(
        events.iter().filter(|kind| *kind == "charge.cancelled").count(),
        1
    );
    world.assert_reload_is_identity().await;
}

async fn a_period_that_ends_takes_the_plan_at_once(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    world.pay(1, asked.due).await;
    world.mine_empty(2).await;
    let paid_at = world.blocks.between(5, 5)[0].header.time_ms();
    let end = tollgate::billing::add_interval(paid_at, paid_at, Interval::Month, 1);
    world.wait(end - world.clock.now_ms() - 1);
    assert_eq!(world.plan("acme"), "pro");
    assert_eq!(world.engine.execute(RemindRenewals).await.unwrap(), 1);
    assert!(!world.engine.has_deadlines().await.unwrap());
    world.wait(1);
    assert_eq!(world.plan("acme"), "free", "the reader does not wait for the job");
    assert!(world.engine.has_deadlines().await.unwrap());
    assert_eq!(world.engine.execute(RefoldDue).await.unwrap(), 1);
    assert_eq!(world.engine.execute(RefoldDue).await.unwrap(), 0);
    assert_eq!(
        world.events("tenant:acme").await[2..],
        [
            "subscription.renewal_reminder",
            "subscription.ended",
            "entitlement.changed"
        ]
    );
    world.assert_reload_is_identity().await;
}

async fn asking_again_gives_the_open_charge_and_later_a_new_one(database: Database) {
    let mut world = World::settled(database).await;
    let first = world.ask("acme").await;
    assert_eq!(world.ask("acme").await.id, first.id);
    let mut of_a_user = pro_for("acme");
    of_a_user.user = Some("jo".parse().unwrap());
    let of_a_user = asked(&world.engine.execute(of_a_user).await.unwrap());
    assert_ne!(of_a_user.id, first.id, "another subject");
    world.wait(TTL_MS - BLOCK_MS);
    assert_eq!(world.ask("acme").await.id, first.id);
    world.wait(BLOCK_MS);
    world.mine_empty(3).await;
    expire(&world).await;
    assert_eq!(world.state(&first).await, "expired");
    let second = world.ask("acme").await;
    assert_ne!((second.id, second.due), (first.id, first.due));
    world.assert_reload_is_identity().await;
}
