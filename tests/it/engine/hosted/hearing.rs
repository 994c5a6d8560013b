//! Events in whatever order they come, and what of them is believed.

use serde_json::{Value, json};
use tollgate::engine::EngineError;

use super::{BUSINESS, COMMERCE, Hosted, opened, outcomes, tell, tell_by};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::{column, rows};
use crate::harness::world::World;

on_both!(
    the_events_of_a_checkout_end_the_same_in_every_order_and_twice,
    an_event_of_no_charge_is_an_orphan_until_one_has_its_checkout,
    an_event_is_believed_only_of_what_its_checkout_was_opened_for,
    a_checkout_has_one_charge,
    the_closed_service_is_still_heard,
);

/// Every order of four.
fn orders() -> Vec<Vec<usize>> {
    let mut orders = vec![Vec::new()];
    for _ in 0..4 {
        let longer = orders.iter().flat_map(|order: &Vec<usize>| {
            let missing = (0..4).filter(|index| !order.contains(index));
            missing.map(|index| order.iter().copied().chain([index]).collect())
        });
        orders = longer.collect();
    }
    orders
}

/// A failure, 16 USDC, the end of its time, and half of one sent back: a second apart.
fn one_of_each(world: &World, hosted: &Hosted) -> Vec<Value> {
    let settlement = json!({"totalAmount": "16", "currency": "USDC"});
    let told = [
        ("checkout.payment.failed", json!({})),
        ("checkout.payment.success", json!({"settlement": settlement})),
        ("checkout.payment.expired", json!({})),
        (
            "checkout.refund.success",
            json!({"refundedAmount": "0.5", "settlement": settlement}),
        ),
    ];
    let told = told.into_iter().map(|(kind, more)| {
        world.wait(1_000);
        hosted.event(world, kind, &more)
    });
    told.collect()
}

async fn the_events_of_a_checkout_end_the_same_in_every_order_and_twice(database: Database) {
    let world = World::settled(database).await;
    let mut ends = Vec::new();
    let orders = orders();
    assert_eq!(orders.len(), 24);
    for (index, order) in orders.iter().enumerate() {
        let name = format!("acme-{index}");
        let asked = world.ask(&name).await;
        let hosted = Hosted::of(&asked);
        let events = one_of_each(&world, &hosted);
        // Some are heard of before the checkout is known to be ours.
        for (place, event) in order.iter().enumerate() {
            if place == index % 5 {
                world
                    .engine
                    .execute(hosted.record(BUSINESS, &asked))
                    .await
                    .unwrap();
            }
            tell(&world, &events[*event]).await;
        }
        world
            .engine
            .execute(hosted.record(BUSINESS, &asked))
            .await
            .unwrap();
        world.apply_inbox().await;
        for event in order.iter().rev() {
            tell(&world, &events[*event]).await;
        }
        let end = format!(
            "select state, attempt, received, refunded, pending from hosted_payment where charge = '{}'",
            asked.id
        );
        let end = rows(&world.store, &end).await;
        let paid_after = format!(
            "select paid_at - created_at from charge where id = '{}'",
            asked.id
        );
        let paid_after = column(&world.store, &paid_after).await;
        ends.push((world.standing(&asked).await, end, paid_after, world.plan(&name)));
        world.wait(60_000);
    }
    let expected = (
        ("paid".to_owned(), "overpaid".to_owned()),
        vec![
            ["paid", "expired", "16000000", "500000", "0"]
                .map(str::to_owned)
                .to_vec(),
        ],
        vec!["2000".to_owned()],
        "pro".to_owned(),
    );
    for (order, end) in orders.iter().zip(&ends) {
        assert_eq!(*end, expected, "{order:?}");
    }
    world.assert_reload_is_identity().await;
}

async fn an_event_of_no_charge_is_an_orphan_until_one_has_its_checkout(database: Database) {
    let world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let hosted = Hosted::of(&asked);
    world.wait(1_000);
    // The provider was faster than our record of its answer.
    tell(&world, &hosted.success(&world)).await;
    let stranger = Hosted {
        reference: "of-somebody-else".to_owned(),
        ..hosted.clone()
    };
    tell(&world, &stranger.success(&world)).await;
    let orphan = "attention: orphan: no charge of ours has its checkout";
    assert_eq!(outcomes(&world).await, [orphan, orphan]);
    assert_eq!(
        (world.state(&asked).await, world.plan("acme")),
        ("open".into(), "free".into())
    );
    let waiting = column(&world.store, "select awaits from inbox order by awaits").await;
    assert_eq!(waiting, [hosted.reference.clone(), stranger.reference.clone()]);

    world
        .engine
        .execute(hosted.record(BUSINESS, &asked))
        .await
        .unwrap();
    world.apply_inbox().await;
    assert_eq!(
        (world.state(&asked).await, world.plan("acme")),
        ("paid".into(), "pro".into())
    );
    let still = column(
        &world.store,
        "select awaits from inbox where outcome like '%orphan%'",
    )
    .await;
    assert_eq!(still, [stranger.reference]);
}

async fn an_event_is_believed_only_of_what_its_checkout_was_opened_for(database: Database) {
    let world = World::settled(database).await;
    let (asked, hosted) = opened(&world, "acme").await;
    let (victim, _) = opened(&world, "victim").await;
    world.wait(1_000);
    let (other_charge, other_price) = (
        "attention: it names another charge than the one that its checkout was opened for",
        "attention: it asks something else than its checkout was opened for",
    );
    let charges = "select state, seen, flags from charge order by id";
    let before = rows(&world.store, charges).await;
    let another_charge = Hosted {
        charge: victim.id.to_string(),
        ..hosted.clone()
    };
    let no_charge = json!({"metadata": {}});
    let dearer = Hosted {
        price: "15.01",
        ..hosted.clone()
    };
    let cheaper = Hosted {
        price: "0.01",
        ..hosted.clone()
    };
    let in_euros = Hosted {
        currency: "EUR",
        ..hosted.clone()
    };
    for (event, outcome) in [
        (another_charge.success(&world), other_charge),
        (
            hosted.event(&world, "checkout.payment.success", &no_charge),
            other_charge,
        ),
        (dearer.success(&world), other_price),
        (cheaper.success(&world), other_price),
        (in_euros.success(&world), other_price),
        (
            hosted.event(&world, "checkout.payment.success", &json!({"amount": 15.0})),
            "attention: amount: expected a sum as decimal text, such as \"15.00\"",
        ),
        (
            hosted.event(&world, "checkout.payment.unheard_of", &json!({})),
            "stored: its type changes nothing",
        ),
    ] {
        world.wait(1_000);
        tell(&world, &event).await;
        assert_eq!(outcomes(&world).await.last().unwrap(), outcome, "{event}");
    }
    assert_eq!(rows(&world.store, charges).await, before);
    assert_eq!(
        (world.plan("acme"), world.plan("victim")),
        ("free".into(), "free".into())
    );
    // None of that keeps the truth from being heard.
    tell(&world, &hosted.success(&world)).await;
    assert_eq!(
        (world.state(&asked).await, world.plan("acme")),
        ("paid".into(), "pro".into())
    );
}

async fn a_checkout_has_one_charge(database: Database) {
    let world = World::settled(database).await;
    let (_, hosted) = opened(&world, "acme").await;
    let other = world.ask("other").await;
    let taken = world
        .engine
        .execute(hosted.record(BUSINESS, &other))
        .await
        .unwrap_err();
    assert!(
        matches!(
            taken,
            EngineError::Conflict {
                code: "CHECKOUT_TAKEN",
                ..
            }
        ),
        "{taken}"
    );
    // Another service may use the same id.
    let elsewhere = Hosted {
        charge: other.id.to_string(),
        ..hosted.clone()
    };
    world
        .engine
        .execute(elsewhere.record(COMMERCE, &other))
        .await
        .unwrap();
    tell(&world, &hosted.success(&world)).await;
    assert_eq!(
        (world.plan("acme"), world.plan("other")),
        ("pro".into(), "free".into())
    );
}

async fn the_closed_service_is_still_heard(database: Database) {
    let world = World::settled(database).await;
    let payment = |amount: &str| json!({"status": "CONFIRMED", "value": {"local": {"amount": amount, "currency": "USD"}}});
    for (name, events, end) in [
        (
            "confirmed",
            vec![
                ("charge:created", json!([])),
                ("charge:pending", json!([])),
                ("charge:confirmed", json!([])),
            ],
            "paid",
        ),
        (
            "under",
            vec![("charge:delayed", json!([payment("9.00")]))],
            "open",
        ),
        (
            "resolved",
            vec![
                ("charge:delayed", json!([payment("9.00")])),
                ("charge:resolved", json!([payment("9.00"), payment("6.00")])),
            ],
            "paid",
        ),
        (
            "after-failing",
            vec![
                ("charge:failed", json!([])),
                ("charge:delayed", json!([payment("15.00")])),
            ],
            "paid",
        ),
    ] {
        let asked = world.ask(name).await;
        let hosted = Hosted {
            currency: "USD",
            ..Hosted::of(&asked)
        };
        world
            .engine
            .execute(hosted.record(COMMERCE, &asked))
            .await
            .unwrap();
        for (kind, payments) in events {
            world.wait(1_000);
            tell_by(
                &world,
                COMMERCE,
                &hosted.commerce(
                    &world,
                    &format!("{name} {kind}").replace(' ', "-"),
                    kind,
                    &payments,
                ),
            )
            .await;
        }
        assert_eq!(world.state(&asked).await, end, "{name}");
        assert_eq!(world.plan(name), if end == "paid" { "pro" } else { "free" });
    }
}
