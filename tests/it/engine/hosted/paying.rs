//! What came by a checkout, counted for its charge.

use serde_json::{Value, json};
use tollgate::engine::{EngineError, rfc3339};

use super::{BUSINESS, COMMERCE, Hosted, opened, tell, tell_by};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::column;
use crate::harness::world::{GRACE_MS, TTL_MS, World, settings};

on_both!(
    a_checkout_that_was_paid_pays_its_charge,
    too_little_is_completed_on_chain_and_too_much_is_flagged,
    a_refund_by_the_provider_reverses_the_charge_once,
    late_money_pays_while_the_price_holds_and_is_kept_after_grace,
    what_is_under_way_gives_nobody_anything,
    a_checkout_is_offered_for_what_is_left_to_pay,
);

async fn a_checkout_that_was_paid_pays_its_charge(database: Database) {
    let world = World::settled(database).await;
    let (asked, hosted) = opened(&world, "acme").await;
    assert_eq!(
        (world.state(&asked).await, world.plan("acme")),
        ("open".into(), "free".into())
    );
    world.wait(1_000);
    tell(&world, &hosted.success(&world)).await;
    assert_eq!(world.standing(&asked).await, ("paid".into(), String::new()));
    assert_eq!((world.plan("acme"), world.may_call("acme")), ("pro".into(), true));
    let view = world.charge(&asked).await;
    assert_eq!(view.paid_at, Some(rfc3339(world.clock.now_ms())));
    assert_eq!(
        (view.confirmed.amount.as_str(), view.finalized.amount.as_str()),
        ("15", "15")
    );
    let resource = format!("charge:{}", asked.id);
    assert_eq!(
        world.events(&resource).await,
        ["charge.created", "charge.payment_detected", "charge.paid"]
    );
    assert_eq!(
        world.actions(&resource).await,
        ["charge.create", "checkout.open", "checkout.hear", "charge.settle"]
    );
    let paid = "select body from outbox where type = 'charge.paid'";
    let body: Value = serde_json::from_str(&column(&world.store, paid).await[0]).unwrap();
    let evidence = &body["data"]["hostedPayments"][0];
    assert_eq!(
        (&evidence["state"], &evidence["receivedBaseUnits"]),
        (&json!("paid"), &json!("15000000"))
    );
    let event = column(&world.store, "select event_id from inbox").await;
    assert_eq!(evidence["event"], event[0]);
    // No payment on the chain was made up.
    assert_eq!(column(&world.store, "select count(*) from payment").await, ["0"]);
    world.assert_reload_is_identity().await;
}

async fn too_little_is_completed_on_chain_and_too_much_is_flagged(database: Database) {
    let mut world = World::settled(database).await;
    let (short, hosted) = opened(&world, "short").await;
    tell(&world, &hosted.settled(&world, "9.00")).await;
    assert_eq!(world.standing(&short).await, ("open".into(), "underpaid".into()));
    assert_eq!(world.plan("short"), "free");
    let (much, hosted) = opened(&world, "much").await;
    tell(&world, &hosted.settled(&world, "20.00")).await;
    assert_eq!(world.standing(&much).await, ("paid".into(), "overpaid".into()));
    // The amount still names its charge on the chain.
    world.pay(1, short.due).await;
    world.mine_empty(3).await;
    assert_eq!(world.standing(&short).await, ("paid".into(), "overpaid".into()));
    assert_eq!(
        (world.plan("short"), world.plan("much")),
        ("pro".into(), "pro".into())
    );
    world.assert_reload_is_identity().await;
}

async fn a_refund_by_the_provider_reverses_the_charge_once(database: Database) {
    let world = World::settled(database).await;
    let (asked, hosted) = opened(&world, "acme").await;
    tell(&world, &hosted.success(&world)).await;
    assert_eq!(world.plan("acme"), "pro");
    world.wait(1_000);
    let refund = hosted.refund(&world, "15.00");
    tell(&world, &refund).await;
    tell(&world, &refund).await;
    assert_eq!(world.state(&asked).await, "reversed");
    let events = world.events(&format!("charge:{}", asked.id)).await;
    assert_eq!(
        events.iter().filter(|kind| *kind == "charge.reversed").count(),
        1,
        "{events:?}"
    );
    assert_eq!(world.charge(&asked).await.confirmed.amount, "0");
    world.assert_reload_is_identity().await;
}

async fn late_money_pays_while_the_price_holds_and_is_kept_after_grace(database: Database) {
    let mut world = World::settled(database).await;
    let (late, of_late) = opened(&world, "late").await;
    let (over, of_over) = opened(&world, "over").await;
    world.wait(TTL_MS + 1_000);
    world.mine_empty(4).await;
    tell(&world, &of_late.success(&world)).await;
    assert_eq!(world.standing(&late).await, ("paid".into(), "late".into()));
    world.wait(GRACE_MS);
    world.mine_empty(4).await;
    tell(&world, &of_over.success(&world)).await;
    assert_eq!(world.standing(&over).await, ("closed".into(), "late held".into()));
    assert_eq!(
        (world.plan("late"), world.plan("over")),
        ("pro".into(), "free".into())
    );
    assert_eq!(world.charge(&over).await.confirmed.amount, "15");
}

async fn what_is_under_way_gives_nobody_anything(database: Database) {
    let world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let hosted = Hosted::of(&asked);
    world
        .engine
        .execute(hosted.record(COMMERCE, &asked))
        .await
        .unwrap();
    world.wait(1_000);
    tell_by(
        &world,
        COMMERCE,
        &hosted.commerce(&world, "1", "charge:pending", &json!([])),
    )
    .await;
    assert_eq!(
        (world.state(&asked).await, world.plan("acme")),
        ("confirming".into(), "free".into())
    );
    world.wait(1_000);
    tell_by(
        &world,
        COMMERCE,
        &hosted.commerce(&world, "2", "charge:failed", &json!([])),
    )
    .await;
    assert_eq!(
        (world.state(&asked).await, world.plan("acme")),
        ("open".into(), "free".into())
    );
}

async fn a_checkout_is_offered_for_what_is_left_to_pay(database: Database) {
    let mut world = World::open_with(database, settings()).await;
    world.mine_empty(4).await;
    let asked = world.ask("acme").await;
    let offer = world.engine.checkout_offer(&asked.id).await.unwrap().unwrap();
    assert_eq!(
        (offer.amount.to_units(), offer.currency.as_str()),
        ("15".to_owned(), "USDC")
    );
    assert_eq!(
        (offer.description.as_str(), offer.opened),
        ("pro, one month", None)
    );
    let hosted = Hosted::of(&asked);
    world
        .engine
        .execute(hosted.record(BUSINESS, &asked))
        .await
        .unwrap();
    let offer = world.engine.checkout_offer(&asked.id).await.unwrap().unwrap();
    assert_eq!(
        offer.opened,
        Some((BUSINESS, format!("https://pay.example/{}", hosted.reference)))
    );
    tell(&world, &hosted.settled(&world, "9.00")).await;
    let offer = world.engine.checkout_offer(&asked.id).await.unwrap().unwrap();
    assert_eq!(offer.amount.to_units(), "6");
    world.pay(1, asked.due).await;
    assert_eq!(world.engine.checkout_offer(&asked.id).await.unwrap(), None);
    let unknown = world.engine.checkout_offer(&"chg_unknown".parse().unwrap()).await;
    assert!(matches!(unknown, Err(EngineError::NotFound("charge"))));
}
