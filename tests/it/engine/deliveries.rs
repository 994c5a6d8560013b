//! What is owed to the chat product goes out in order, and is given up only after the last try.

use tollgate::engine::RecordDelivery;
use tollgate::notify::next_attempt;
use tollgate::store::Delivery;

use crate::harness::databases::{Database, on_both};
use crate::harness::facts::rows;
use crate::harness::world::{WEBHOOK, World};

on_both!(
    events_of_one_resource_wait_for_each_other_and_for_no_other,
    an_event_is_given_up_after_its_last_try_and_the_next_one_goes,
    an_event_is_owed_with_its_change_or_not_at_all,
);

async fn due(world: &World) -> Vec<Delivery> {
    world.engine.due_deliveries(WEBHOOK).await.unwrap()
}

async fn record(world: &World, delivery: &Delivery, delivered: bool, next_at: Option<i64>) {
    let mut delivery = delivery.clone();
    delivery.attempts += 1;
    let record = RecordDelivery {
        delivery,
        status: Some(if delivered { 204 } else { 500 }),
        delivered,
        next_at,
    };
    world.engine.execute(record).await.unwrap();
}

fn kind(delivery: &Delivery) -> String {
    let body: serde_json::Value = serde_json::from_str(&delivery.body).unwrap();
    body["type"].as_str().unwrap().to_owned()
}

async fn events_of_one_resource_wait_for_each_other_and_for_no_other(database: Database) {
    let mut world = World::settled(database).await;
    let one = world.ask("acme").await;
    world.wait(1);
    let other = world.ask("globex").await;
    world.pay(1, one.due).await;
    let resources = [format!("charge:{}", one.id), format!("charge:{}", other.id)];
    let first = due(&world).await;
    let due_resources: Vec<_> = first.iter().map(|delivery| delivery.resource.clone()).collect();
    assert_eq!(due_resources, resources, "the oldest of each");
    assert_eq!(kind(&first[0]), "charge.created");

    // The first fails: its resource waits, the other does not.
    let later = world.clock.now_ms() + 5_000;
    record(&world, &first[0], false, Some(later)).await;
    record(&world, &first[1], true, None).await;
    assert!(due(&world).await.is_empty());
    assert!(world.engine.oldest_owed().await.unwrap().is_some());
    world.wait(5_000);
    let again = due(&world).await;
    assert_eq!(
        (again.len(), again[0].event_id.clone(), again[0].attempts),
        (1, first[0].event_id.clone(), 1)
    );
    record(&world, &again[0], true, None).await;
    let next = due(&world).await;
    assert_eq!(kind(&next[0]), "charge.payment_detected");
    record(&world, &next[0], true, None).await;
    assert_eq!(world.engine.oldest_owed().await.unwrap(), None);
    world.assert_reload_is_identity().await;
}

async fn an_event_is_given_up_after_its_last_try_and_the_next_one_goes(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    world.pay(1, asked.due).await;
    let mut tries = 0;
    loop {
        let delivery = due(&world).await.remove(0);
        if kind(&delivery) != "charge.created" {
            assert_eq!(kind(&delivery), "charge.payment_detected");
            break;
        }
        tries += 1;
        assert_eq!(delivery.attempts + 1, tries);
        let delay = next_attempt(tries, 0.5).map(|delay| i64::try_from(delay.as_millis()).unwrap());
        let next_at = delay.map(|delay| world.clock.now_ms() + delay);
        record(&world, &delivery, false, next_at).await;
        world.wait(delay.unwrap_or_default());
    }
    assert_eq!(tries, 10);
    let stored = rows(
        &world.store,
        "select state, attempts, last_status from delivery order by outbox_id",
    )
    .await;
    assert_eq!(stored[0], ["dead", "10", "500"]);
    assert_eq!(stored[1][..2], ["pending", "0"]);
}

async fn an_event_is_owed_with_its_change_or_not_at_all(database: Database) {
    let world = World::settled(database).await;
    let mut changes = world.engine.outbox_changes();
    changes.mark_unchanged();
    let mut refused = crate::harness::world::pro_for("acme");
    refused.plan = "free".to_owned();
    world.engine.execute(refused).await.unwrap_err();
    assert!(!changes.has_changed().unwrap());
    assert!(due(&world).await.is_empty());
    world.ask("acme").await;
    assert!(changes.has_changed().unwrap(), "whoever delivers is woken");
    assert_eq!(due(&world).await.len(), 1);
}
