//! From a charge to a plan, and back again when the chain says otherwise.

use tollgate::domain::{Amount, Level};

use crate::harness::blocks::tx;
use crate::harness::databases::{Database, on_both};
use crate::harness::world::{World, payment};

on_both!(
    a_charge_is_paid_at_the_height_that_the_policy_covers,
    a_payment_reorged_before_it_settled_gave_nobody_anything,
    a_payment_that_vanishes_after_it_settled_is_reversed_once,
    a_reorged_payment_that_comes_back_is_reinstated_and_extends_nothing_twice,
    a_payment_that_moves_within_one_step_is_never_reversed,
    a_payment_that_moves_between_blocks_stays_one_payment,
    a_second_month_extends_the_first_and_its_reversal_takes_back_only_itself,
    every_observation_is_kept_and_marked,
    what_operators_said_alike_counts_and_one_endpoints_word_never,
);

async fn a_charge_is_paid_at_the_height_that_the_policy_covers(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    assert_eq!(
        (world.state(&asked).await, world.plan("acme")),
        ("open".into(), "free".into())
    );

    world.pay(1, asked.due).await;
    for _ in 0..2 {
        assert_eq!(world.state(&asked).await, "confirming");
        assert_eq!(
            (world.plan("acme"), world.may_call("acme")),
            ("free".into(), false)
        );
        world.mine_empty(1).await;
    }
    // Its own block and two on it are three confirmations.
    assert_eq!(world.state(&asked).await, "paid");
    assert_eq!((world.plan("acme"), world.may_call("acme")), ("pro".into(), true));

    world.mine_empty(5).await;
    let resource = format!("charge:{}", asked.id);
    assert_eq!(
        world.events(&resource).await,
        ["charge.created", "charge.payment_detected", "charge.paid"]
    );
    assert_eq!(
        world.actions(&resource).await,
        ["charge.create", "charge.settle", "charge.settle"]
    );
    assert_eq!(
        world.events("tenant:acme").await,
        ["subscription.activated", "entitlement.changed"]
    );
    assert_eq!(world.actions("tenant:acme").await, ["entitlement.fold"]);
    assert_eq!(
        (
            world.action_count("payment.read").await,
            world.action_count("payment.confirm").await
        ),
        (1, 1)
    );
    world.assert_reload_is_identity().await;
}

async fn a_payment_reorged_before_it_settled_gave_nobody_anything(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let below = world.blocks.tip().unwrap().number;
    world.pay(1, asked.due).await;
    world.mine_empty(1).await;
    assert_eq!(world.state(&asked).await, "confirming");

    world.reorg(below, &[&[], &[], &[], &[]]).await;
    assert_eq!(
        world.standing(&asked).await,
        ("open".to_owned(), "reorged".to_owned())
    );
    assert_eq!(world.plan("acme"), "free");
    assert_eq!(
        world.events(&format!("charge:{}", asked.id)).await,
        [
            "charge.created",
            "charge.payment_detected",
            "charge.payment_orphaned"
        ]
    );
    assert!(
        world.events("tenant:acme").await.is_empty(),
        "nobody gained anything"
    );
    world.assert_reload_is_identity().await;
}

async fn a_payment_that_vanishes_after_it_settled_is_reversed_once(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let below = world.blocks.tip().unwrap().number;
    world.pay(1, asked.due).await;
    world.mine_empty(4).await;
    assert_eq!(world.plan("acme"), "pro");

    let branch: [&[_]; 6] = [&[]; 6];
    world.reorg(below, &branch).await;
    assert_eq!(world.state(&asked).await, "reversed");
    assert_eq!(
        (world.plan("acme"), world.may_call("acme")),
        ("free".into(), false)
    );
    // Another reorg over the same heights has nothing more to take.
    world.reorg(below, &branch).await;
    world.mine_empty(3).await;

    let events = world.events(&format!("charge:{}", asked.id)).await;
    assert_eq!(
        events[2..],
        ["charge.paid", "charge.reversed"],
        "reversed exactly once"
    );
    assert_eq!(
        world.events("tenant:acme").await,
        [
            "subscription.activated",
            "entitlement.changed",
            "subscription.ended",
            "entitlement.changed"
        ]
    );
    assert_eq!(world.action_count("payment.orphan").await, 1);
    world.assert_reload_is_identity().await;
}

async fn a_reorged_payment_that_comes_back_is_reinstated_and_extends_nothing_twice(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let below = world.blocks.tip().unwrap().number;
    world.pay(1, asked.due).await;
    world.mine_empty(4).await;
    let first_end = period_end(&world);

    world.reorg(below, &[&[], &[], &[], &[], &[], &[]]).await;
    assert_eq!(world.state(&asked).await, "reversed");
    // The same transaction, in a later block, behind logs of others.
    let again = tx(1, vec![payment(asked.due)]).after_foreign_logs(7);
    world.mine(&[again]).await;
    assert_eq!(
        world.state(&asked).await,
        "reversed",
        "not before it is settled again"
    );
    world.mine_empty(2).await;
    assert_eq!(
        (world.state(&asked).await, world.plan("acme")),
        ("paid".into(), "pro".into())
    );

    let month_ms = 31 * 24 * 3_600_000;
    let second_end = period_end(&world);
    assert!(
        second_end > first_end && second_end < first_end + month_ms / 2,
        "one month from the block that counts now: {first_end} to {second_end}"
    );
    let events = world.events(&format!("charge:{}", asked.id)).await;
    let paid = events.iter().filter(|kind| *kind == "charge.paid").count();
    let reversed = events.iter().filter(|kind| *kind == "charge.reversed").count();
    assert_eq!((paid, reversed), (2, 1), "{events:?}");
    assert_eq!(
        crate::harness::facts::column(&world.store, "select state from payment").await,
        ["confirmed"]
    );
    world.assert_reload_is_identity().await;
}

fn period_end(world: &World) -> i64 {
    let entitlement = world
        .engine
        .entitlement(&crate::harness::world::tenant("acme"), world.clock.now_ms());
    entitlement.valid_until.unwrap()
}

async fn a_payment_that_moves_within_one_step_is_never_reversed(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let below = world.blocks.tip().unwrap().number;
    let pay = tx(1, vec![payment(asked.due)]);
    world.mine(std::slice::from_ref(&pay)).await;
    world.mine_empty(4).await;
    assert_eq!(world.state(&asked).await, "paid");

    // Back below the payment and up over it again, deep enough to be settled, in one transaction.
    let moved = [pay.after_foreign_logs(3)];
    world.reorg(below, &[&[], &moved, &[], &[], &[], &[]]).await;
    assert_eq!(
        (world.state(&asked).await, world.plan("acme")),
        ("paid".into(), "pro".into())
    );
    let events = world.events(&format!("charge:{}", asked.id)).await;
    assert!(!events.contains(&"charge.reversed".to_owned()), "{events:?}");
    assert_eq!(events.iter().filter(|kind| *kind == "charge.paid").count(), 1);
    let tenant_events = world.events("tenant:acme").await;
    assert_eq!(
        tenant_events
            .iter()
            .filter(|kind| *kind == "entitlement.changed")
            .count(),
        1,
        "{tenant_events:?}"
    );
    world.assert_reload_is_identity().await;
}

async fn a_payment_that_moves_between_blocks_stays_one_payment(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let below = world.blocks.tip().unwrap().number;
    let pay = tx(1, vec![payment(asked.due)]);
    world.mine(std::slice::from_ref(&pay)).await;
    let moved = [pay.after_foreign_logs(2)];
    world.reorg(below, &[&[], &moved]).await;
    assert_eq!(world.state(&asked).await, "confirming");
    world.mine_empty(2).await;
    assert_eq!(
        world.standing(&asked).await,
        ("paid".to_owned(), String::new()),
        "neither overpaid nor duplicate"
    );
    let view = world.charge(&asked).await;
    assert_eq!(view.confirmed.base_units, asked.due.to_string());
    world.assert_reload_is_identity().await;
}

async fn a_second_month_extends_the_first_and_its_reversal_takes_back_only_itself(database: Database) {
    let mut world = World::settled(database).await;
    let first = world.ask("acme").await;
    world.pay(1, first.due).await;
    world.mine_empty(2).await;
    let one_month = period_end(&world);

    let second = world.ask("acme").await;
    assert_ne!(first.id, second.id, "a paid charge is no open one");
    let below = world.blocks.tip().unwrap().number;
    world.pay(2, second.due).await;
    world.mine_empty(2).await;
    let two_months = period_end(&world);
    assert!(two_months > one_month + 27 * 24 * 3_600_000);

    world.reorg(below, &[&[], &[], &[], &[]]).await;
    assert_eq!(
        (world.state(&first).await, world.state(&second).await),
        ("paid".into(), "reversed".into())
    );
    assert_eq!(
        (world.plan("acme"), period_end(&world)),
        ("pro".into(), one_month)
    );
    world.assert_reload_is_identity().await;
}

async fn every_observation_is_kept_and_marked(database: Database) {
    let mut world = World::settled(database).await;
    let below = world.blocks.tip().unwrap().number;
    let pay = tx(1, vec![payment(Amount::from(15_000_000))]);
    world.mine(std::slice::from_ref(&pay)).await;
    world.reorg(below, &[&[pay]]).await;
    world.reorg(below, &[&[], &[]]).await;
    let query = "select canonical from observation order by block_hash";
    let canonical = crate::harness::facts::column(&world.store, query).await;
    assert_eq!(
        canonical,
        ["0", "0"],
        "two blocks held it, and both were left behind"
    );
    let orphaned = crate::harness::facts::column(&world.store, "select state from payment").await;
    assert_eq!(orphaned, ["orphaned"]);
    world.assert_reload_is_identity().await;
}

async fn what_operators_said_alike_counts_and_one_endpoints_word_never(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let mut shown = world.build(&[tx(1, vec![payment(asked.due)])]);
    shown.level = Level::None;
    world.advance(None, vec![shown]).await.unwrap();
    world.mine_empty(5).await;
    assert_eq!(
        (world.state(&asked).await, world.plan("acme")),
        ("open".into(), "free".into())
    );
    let charge = world.charge(&asked).await;
    assert_eq!(
        (charge.seen, charge.confirmed.base_units.as_str()),
        (charge.due, "0")
    );
    assert_eq!(world.action_count("payment.confirm").await, 0);

    let asked = world.ask("beta").await;
    let mut agreed = world.build(&[tx(2, vec![payment(asked.due)])]);
    agreed.level = Level::Asked;
    world.advance(None, vec![agreed]).await.unwrap();
    world.mine_empty(5).await;
    assert_eq!(
        (world.state(&asked).await, world.plan("beta")),
        ("paid".into(), "pro".into())
    );
}
