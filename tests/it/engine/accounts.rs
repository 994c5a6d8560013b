//! Credit, upgrades, queued periods, reminders and the grace of a reversal, from a payment to what a tenant has.

use std::time::Duration;

use serde_json::json;
use tollgate::billing::Catalogue;
use tollgate::domain::{Amount, Interval, Sender, WhenActive};
use tollgate::engine::{
    ApplyInbox, CancelPlan, ChangePlan, CreateCharge, Engine, EngineError, ExpireCharges, ReceiveEvent,
    RefoldDue, RemindRenewals,
};

use crate::harness::databases::{Database, on_both};
use crate::harness::facts::{column, rows};
use crate::harness::world::{
    GRACE_MS, HOUR_MS, START, TTL_MS, World, asked, origin, pro_for, settings, tenant,
};

on_both!(
    what_is_paid_too_much_is_spent_before_more_is_asked,
    credit_that_was_set_aside_comes_back_when_its_charge_closes,
    concurrent_charges_never_spend_credit_twice,
    sixty_four_at_once_give_one_charge,
    an_upgrade_takes_unused_time_off_and_begins_at_once,
    an_upgrade_from_25_to_75_with_20_of_30_days_left_asks_58_333334,
    paying_early_extends_paying_in_grace_goes_back_and_paying_later_begins_anew,
    a_period_on_chain_waits_for_stripe_or_stands_beside_it,
    a_reversed_payment_has_its_grace_and_comes_back_once,
    reminders_are_sent_once_each_and_only_the_newest_after_a_pause,
    a_wish_for_the_end_is_shown_and_a_higher_plan_is_paid_for,
);

const DAY_MS: i64 = 24 * HOUR_MS;

async fn settle(world: &mut World, asked: &crate::harness::world::Asked, amount: Amount, seed: u64) {
    world.pay(seed, amount).await;
    world.mine_empty(2).await;
    assert_eq!(world.state(asked).await, "paid");
}

async fn balance(world: &World, name: &str) -> Vec<(String, String)> {
    let page = world.engine.credit(&tenant(name), None, 100).await.unwrap();
    page.balances
        .into_iter()
        .map(|(unit, balance)| (unit, balance.to_units()))
        .collect()
}

fn usd(amount: &str) -> Vec<(String, String)> {
    vec![("USD".to_owned(), amount.to_owned())]
}

fn year_for(name: &str) -> CreateCharge {
    CreateCharge {
        interval: Interval::Year,
        ..pro_for(name)
    }
}

async fn what_is_paid_too_much_is_spent_before_more_is_asked(database: Database) {
    let mut world = World::settled(database).await;
    let first = world.ask("acme").await;
    settle(&mut world, &first, first.due, 1).await;
    assert!(balance(&world, "acme").await.is_empty());
    world.pay(2, first.due).await;
    world.mine_empty(2).await;
    let paid_twice = first.due.to_units(6);
    assert_eq!(balance(&world, "acme").await, usd(&paid_twice));
    let answer = world.engine.execute(pro_for("acme")).await.unwrap().answer;
    assert_eq!(
        (&answer["state"], &answer["credit"]),
        (&json!("paid"), &json!("15"))
    );
    assert_eq!(
        (&answer["asked"]["baseUnits"], &answer["due"]["baseUnits"]),
        (&json!("0"), &json!("0"))
    );
    let rest = Amount::from_units(&paid_twice, 6)
        .unwrap()
        .saturating_sub(Amount::from(15_000_000));
    assert_eq!(balance(&world, "acme").await, usd(&rest.to_units(6)));
    // The money that it was is reorged away: what it bought stays, and what it was worth is owed.
    let ancestor = world.blocks.tip().unwrap().number - 3;
    world.reorg(ancestor, &[&[], &[], &[], &[]]).await;
    let owed = format!("-{}", Amount::from(15_000_000).to_units(6));
    assert_eq!(balance(&world, "acme").await, usd(&owed));
    let next = world.engine.execute(year_for("acme")).await.unwrap().answer;
    assert_eq!(
        (&next["credit"], &next["asked"]["amount"]),
        (&json!("-15"), &json!("165"))
    );
    let events = world.events("tenant:acme").await;
    assert_eq!(
        events.iter().filter(|kind| *kind == "credit.changed").count(),
        3,
        "{events:?}"
    );
    world.assert_reload_is_identity().await;
}

/// Gives a tenant 15 and a bit of credit, beside a month of pro.
async fn pay_twice(world: &mut World, name: &str) {
    let first = world.ask(name).await;
    settle(world, &first, first.due, 1).await;
    world.pay(2, first.due).await;
    world.mine_empty(2).await;
}

async fn credit_that_was_set_aside_comes_back_when_its_charge_closes(database: Database) {
    let mut world = World::settled(database).await;
    pay_twice(&mut world, "acme").await;
    let before = balance(&world, "acme").await;
    let answer = world.engine.execute(year_for("acme")).await.unwrap();
    assert_eq!(answer.answer["credit"].as_str().unwrap(), before[0].1);
    assert_eq!(balance(&world, "acme").await, usd("0"), "set aside");
    world.wait(TTL_MS + GRACE_MS);
    world.mine_empty(4).await;
    while world.engine.execute(ExpireCharges).await.unwrap() > 0 {}
    assert_eq!(world.state(&asked(&answer)).await, "closed");
    assert_eq!(balance(&world, "acme").await, before);
    let kinds = column(&world.store, "select kind from credit_entry order by id").await;
    assert_eq!(kinds, ["excess", "set_aside", "set_aside"]);
}

async fn concurrent_charges_never_spend_credit_twice(database: Database) {
    let mut world = World::settled(database).await;
    pay_twice(&mut world, "acme").await;
    let has = Amount::from_units(&balance(&world, "acme").await[0].1, 6).unwrap();
    let asking = (0..8).map(|index| {
        let mut create = year_for("acme");
        create.user = Some(format!("user-{index}").parse().unwrap());
        let engine = world.engine.clone();
        tokio::spawn(async move { engine.execute(create).await.unwrap().answer })
    });
    let mut spent = Amount::ZERO;
    for answer in asking.collect::<Vec<_>>() {
        let credit = answer.await.unwrap()["credit"].as_str().unwrap().to_owned();
        spent = spent.saturating_add(Amount::from_units(&credit, 6).unwrap());
    }
    assert_eq!(spent, has);
    assert_eq!(balance(&world, "acme").await, usd("0"));
}

async fn sixty_four_at_once_give_one_charge(database: Database) {
    let world = World::settled(database).await;
    let asking = (0..64).map(|_| {
        let engine = world.engine.clone();
        tokio::spawn(async move { engine.execute(pro_for("acme")).await })
    });
    let mut refused = 0;
    for answer in asking.collect::<Vec<_>>() {
        refused += u32::from(answer.await.unwrap().is_err());
    }
    assert_eq!(column(&world.store, "select id from charge").await.len(), 1);
    assert_eq!(refused, 0);
}

async fn an_upgrade_takes_unused_time_off_and_begins_at_once(database: Database) {
    let mut world = World::settled(database).await;
    let pro = world.ask("acme").await;
    settle(&mut world, &pro, pro.due, 1).await;
    let up = CreateCharge {
        plan: "enterprise".to_owned(),
        ..pro_for("acme")
    };
    let answer = world.engine.execute(up).await.unwrap();
    let text = |field: &str| answer.answer[field].as_str().unwrap().to_owned();
    let asked_for = answer.answer["asked"]["amount"].as_str().unwrap();
    let unused = Amount::from_units(&text("unusedTime"), 6).unwrap();
    assert!(
        unused > Amount::from(14_900_000) && unused < Amount::from(15_000_000),
        "{unused}"
    );
    let whole = Amount::from_units(asked_for, 6).unwrap().saturating_add(unused);
    assert_eq!(whole, Amount::from(99_000_000));
    let upgrade = asked(&answer);
    settle(&mut world, &upgrade, upgrade.due, 2).await;
    assert_eq!(world.plan("acme"), "enterprise");
    let sources = rows(
        &world.store,
        "select plan, state from source where provider = 'crypto' order by plan",
    )
    .await;
    assert_eq!(sources, [["enterprise", "active"], ["pro", "ended"]]);
    let ends = column(&world.store, "select period_end from source where plan = 'pro'").await;
    let begins = column(
        &world.store,
        "select period_start from source where plan = 'enterprise'",
    )
    .await;
    assert_eq!(ends, begins, "the old period ends where the new one begins");
    world.assert_reload_is_identity().await;
}

async fn an_upgrade_from_25_to_75_with_20_of_30_days_left_asks_58_333334(database: Database) {
    let mut world = World::settled(database).await;
    let plans = include_str!("../../../config/plans.toml")
        .replace("crypto = { month = \"15\"", "crypto = { month = \"25\"")
        .replace("crypto = { month = \"99\"", "crypto = { month = \"75\"");
    let catalogue = Catalogue::parse(&plans, &[]).unwrap();
    world.engine = Engine::open(world.store.clone(), settings(), catalogue, world.clock.clone())
        .await
        .unwrap();
    world.fence = world.lead().await;
    // Into November 9, from which a month has 30 days.
    world.wait(31 * DAY_MS);
    let pro = world.ask("acme").await;
    settle(&mut world, &pro, pro.due, 1).await;
    let source = rows(&world.store, "select period_start, period_end from source").await;
    let [start, end]: [i64; 2] = [0, 1].map(|at| source[0][at].parse().unwrap());
    assert_eq!(end - start, 30 * DAY_MS);
    world.wait(start + 10 * DAY_MS - world.clock.now_ms());
    let up = CreateCharge {
        plan: "enterprise".to_owned(),
        ..pro_for("acme")
    };
    let answer = world.engine.execute(up).await.unwrap();
    let said = &answer.answer;
    assert_eq!(
        (
            &said["unusedTime"],
            &said["asked"]["amount"],
            &said["price"]["amount"]
        ),
        (&json!("16.666666"), &json!("58.333334"), &json!("75"))
    );
    let upgrade = asked(&answer);
    settle(&mut world, &upgrade, upgrade.due, 2).await;
    // What the quote had rounded away, 10^-18 of a unit at a time, stays the tenant's.
    assert_eq!(balance(&world, "acme").await, usd("0.000000666666666666"));
}

async fn paying_early_extends_paying_in_grace_goes_back_and_paying_later_begins_anew(database: Database) {
    let mut world = World::settled(database).await;
    let period = async |world: &World| {
        let stored = rows(&world.store, "select period_start, period_end from source").await;
        let [start, end]: [i64; 2] = [0, 1].map(|at| stored[0][at].parse().unwrap());
        (start, end)
    };
    let buy = async |world: &mut World, seed| {
        let charge = world.ask("acme").await;
        settle(world, &charge, charge.due, seed).await;
    };
    buy(&mut world, 1).await;
    let (start, first) = period(&world).await;
    assert_eq!(first - start, 31 * DAY_MS, "October 9 to November 9");
    world.wait(20 * DAY_MS);
    buy(&mut world, 2).await;
    let (_, second) = period(&world).await;
    assert_eq!(second - first, 30 * DAY_MS, "early: from the period's end");
    world.wait(second + HOUR_MS - world.clock.now_ms());
    assert_eq!(world.plan("acme"), "free");
    buy(&mut world, 3).await;
    let (_, third) = period(&world).await;
    assert_eq!(third - second, 31 * DAY_MS, "in grace: from the old end");
    world.wait(third + GRACE_MS - world.clock.now_ms());
    let before = world.clock.now_ms();
    buy(&mut world, 4).await;
    let (anew, fourth) = period(&world).await;
    assert!(
        anew > before && fourth - anew == 31 * DAY_MS,
        "later: from then on"
    );
    world.assert_reload_is_identity().await;
}

/// Stripe tells of a month of pro, that ends or has ended.
async fn stripe(world: &World, id: &str, after_s: i64, status: &str) {
    let at = START / 1000;
    let body = json!({
        "id": id, "object": "event", "created": at + after_s, "livemode": false,
        "type": "customer.subscription.updated",
        "data": {"object": {
            "id": "sub_1", "object": "subscription", "status": status, "customer": "cus_1",
            "ended_at": if status == "canceled" { json!(at + after_s) } else { json!(null) },
            "metadata": {"tenant_id": "acme"},
            "current_period_start": at, "current_period_end": at + 30 * 86_400,
            "items": {"object": "list", "has_more": false, "data": [
                {"id": "si_1", "object": "subscription_item", "price": {"id": "price_pro", "object": "price"}},
            ]},
        }},
    });
    let receive = ReceiveEvent {
        provider: Sender::Stripe,
        event_id: id.to_owned(),
        kind: "customer.subscription.updated".to_owned(),
        body,
    };
    world.engine.execute(receive).await.unwrap();
    for key in world.engine.pending_inbox().await.unwrap() {
        world.engine.execute(ApplyInbox { key }).await.unwrap();
    }
}

async fn a_period_on_chain_waits_for_stripe_or_stands_beside_it(database: Database) {
    let mut world = World::settled(database).await;
    stripe(&world, "evt_1", 1, "active").await;
    let refused = world.engine.execute(pro_for("acme")).await.unwrap_err();
    assert!(
        matches!(
            &refused,
            EngineError::Conflict {
                code: "QUEUE_OR_STACK",
                ..
            }
        ),
        "{refused:?}"
    );
    let queue = CreateCharge {
        when_active: Some(WhenActive::Queue),
        ..pro_for("acme")
    };
    let queued = asked(&world.engine.execute(queue).await.unwrap());
    settle(&mut world, &queued, queued.due, 1).await;
    let crypto = "select state, period_start from source where provider = 'crypto'";
    assert_eq!(rows(&world.store, crypto).await[0][0], "pending");
    let enterprise = CreateCharge {
        plan: "enterprise".to_owned(),
        when_active: Some(WhenActive::Stack),
        ..pro_for("globex")
    };
    world.engine.execute(enterprise).await.unwrap();
    stripe(&world, "evt_2", 600, "canceled").await;
    let begins = (START / 1000 + 600) * 1000;
    let paid_at = column(
        &world.store,
        "select paid_at from charge where paid_at is not null",
    )
    .await;
    let starts = begins.max(paid_at[0].parse().unwrap());
    assert_eq!(rows(&world.store, crypto).await[0][1], starts.to_string());
    world.wait(starts - world.clock.now_ms());
    assert_eq!(world.plan("acme"), "pro", "the reader does not wait for the job");
    world.engine.execute(RefoldDue).await.unwrap();
    assert_eq!(rows(&world.store, crypto).await[0][0], "active");
    world.assert_reload_is_identity().await;
}

async fn a_reversed_payment_has_its_grace_and_comes_back_once(database: Database) {
    let mut settings = settings();
    settings.payments.reversal_grace = Duration::from_millis(HOUR_MS.unsigned_abs());
    let mut world = World::open_with(database, settings).await;
    world.mine_empty(4).await;
    let below = world.blocks.tip().unwrap().number;
    let charge = world.ask("acme").await;
    settle(&mut world, &charge, charge.due, 1).await;
    let end = column(&world.store, "select period_end from source").await;
    world.reorg(below, &[&[], &[], &[], &[]]).await;
    assert_eq!(
        (world.state(&charge).await, world.plan("acme")),
        ("reversed".into(), "pro".into())
    );
    assert_eq!(
        column(&world.store, "select state from source").await,
        ["past_due"]
    );
    world.pay(1, charge.due).await;
    world.mine_empty(2).await;
    assert_eq!(world.state(&charge).await, "paid");
    let again = column(&world.store, "select period_end from source").await;
    let moved: i64 = again[0].parse::<i64>().unwrap() - end[0].parse::<i64>().unwrap();
    assert!((0..DAY_MS).contains(&moved), "not extended twice: {moved}");
    world
        .reorg(below, &[&[], &[], &[], &[], &[], &[], &[], &[]])
        .await;
    world.wait(HOUR_MS);
    assert_eq!(world.plan("acme"), "free");
    while world.engine.execute(RefoldDue).await.unwrap() > 0 {}
    assert_eq!(column(&world.store, "select state from source").await, ["ended"]);
    world.assert_reload_is_identity().await;
}

async fn reminders_are_sent_once_each_and_only_the_newest_after_a_pause(database: Database) {
    let mut world = World::settled(database).await;
    let charge = world.ask("acme").await;
    settle(&mut world, &charge, charge.due, 1).await;
    let end: i64 = column(&world.store, "select period_end from source").await[0]
        .parse()
        .unwrap();
    let sent = async |world: &World| {
        while world.engine.execute(RemindRenewals).await.unwrap() > 0 {}
        let events = world.events("tenant:acme").await;
        events
            .iter()
            .filter(|kind| *kind == "subscription.renewal_reminder")
            .count()
    };
    world.wait(end - 7 * DAY_MS - 1 - world.clock.now_ms());
    assert_eq!(
        (sent(&world).await, world.engine.has_deadlines().await.unwrap()),
        (0, false)
    );
    world.wait(1);
    assert!(world.engine.has_deadlines().await.unwrap());
    assert_eq!(sent(&world).await, 1);
    assert_eq!(sent(&world).await, 1);
    // Away until the last day: three days before is not made up for.
    world.wait(6 * DAY_MS + 1);
    assert_eq!(sent(&world).await, 2);
    let days = column(&world.store, "select days from renewal_reminder order by sent_at").await;
    assert_eq!(days, ["7", "1"]);
    // What is paid on is not reminded of by its old end.
    assert!(!world.engine.has_deadlines().await.unwrap());
}

async fn a_wish_for_the_end_is_shown_and_a_higher_plan_is_paid_for(database: Database) {
    let mut world = World::settled(database).await;
    let change = |plan: &str, interval| ChangePlan {
        origin: origin(),
        tenant: tenant("acme"),
        plan: plan.to_owned(),
        interval,
    };
    let code = |refused: Result<(), EngineError>| match refused {
        Err(EngineError::Conflict { code, .. }) => code,
        other => panic!("{other:?}"),
    };
    let none = world.engine.execute(change("pro", Interval::Month)).await;
    assert_eq!(code(none), "NO_SUBSCRIPTION");
    let paid = world.ask("acme").await;
    settle(&mut world, &paid, paid.due, 1).await;
    let up = world.engine.execute(change("enterprise", Interval::Month)).await;
    assert_eq!(code(up), "UPGRADE_NEEDS_PAYMENT");
    world.engine.execute(change("pro", Interval::Year)).await.unwrap();
    let shown = "select coalesce(next_plan, '-'), coalesce(next_interval, '-'), \
                 case when scheduled_end = period_end then 'ends' else '-' end from source";
    assert_eq!(rows(&world.store, shown).await, [["pro", "year", "-"]]);
    world
        .engine
        .execute(change("pro", Interval::Month))
        .await
        .unwrap();
    assert_eq!(rows(&world.store, shown).await, [["-", "-", "-"]]);
    let cancel = || CancelPlan {
        origin: origin(),
        tenant: tenant("acme"),
    };
    world.engine.execute(cancel()).await.unwrap();
    assert_eq!(rows(&world.store, shown).await, [["-", "-", "ends"]]);
    world.wait(DAY_MS);
    let again = world.ask("acme").await;
    settle(&mut world, &again, again.due, 2).await;
    assert_eq!(
        rows(&world.store, shown).await,
        [["-", "-", "-"]],
        "paid on after all"
    );
    world.engine.execute(cancel()).await.unwrap();
    assert_eq!(
        rows(&world.store, shown).await,
        [["-", "-", "ends"]],
        "wished anew"
    );
    world.assert_reload_is_identity().await;
}
