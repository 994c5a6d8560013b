//! What comes in from providers, what is owed to the chat product, and the record.

use tollgate::domain::{CheckoutKey, CheckoutService, Sender};
use tollgate::store::{self, Audit, Delivery, Event, InboxKey, Store};

use super::samples::{begin, open};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::rows;

on_both!(
    an_event_comes_in_once,
    events_wait_by_their_failures_and_then_by_their_age,
    an_orphan_waits_for_its_checkout,
    of_each_resource_only_the_oldest_event_is_due,
    a_delivery_is_over_when_it_is_delivered_or_dead,
    an_event_id_is_owed_once,
    events_are_numbered_within_their_resource,
    the_record_keeps_what_it_is_given,
);

fn key(id: &str) -> InboxKey {
    InboxKey {
        provider: Sender::Stripe,
        event_id: id.to_owned(),
    }
}

async fn an_orphan_waits_for_its_checkout(database: Database) {
    let (store, _database) = open(database).await;
    let service = CheckoutService::CoinbaseBusiness;
    let checkout = |reference: &str| CheckoutKey {
        service,
        reference: reference.to_owned(),
    };
    let [first, second, other] = ["1", "2", "3"].map(|id| InboxKey {
        provider: Sender::Checkout(service),
        event_id: id.to_owned(),
    });
    let mut tx = begin(&store).await;
    for (key, reference) in [(&first, "mine"), (&second, "mine"), (&other, "of another")] {
        assert!(tx.insert_inbox(key, "a", "{}", 10).await.unwrap());
        tx.fail_inbox(key, "a try").await.unwrap();
        tx.orphan_inbox(key, &checkout(reference), ("orphan", 20))
            .await
            .unwrap();
    }
    assert_eq!(store::pending_inbox(tx.conn(), 9).await.unwrap(), []);
    assert_eq!(tx.adopt_inbox(&checkout("unheard of")).await.unwrap(), 0);
    assert_eq!(tx.adopt_inbox(&checkout("mine")).await.unwrap(), 2);
    assert_eq!(
        store::pending_inbox(tx.conn(), 9).await.unwrap(),
        [first.clone(), second]
    );
    let adopted = store::inbox_event(tx.conn(), &first).await.unwrap().unwrap();
    assert_eq!((adopted.attempts, adopted.done), (0, false));
    assert_eq!(tx.adopt_inbox(&checkout("mine")).await.unwrap(), 0);
    tx.commit().await.unwrap();
}

async fn an_event_comes_in_once(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    assert_eq!(store::inbox_event(tx.conn(), &key("evt_1")).await.unwrap(), None);
    assert!(
        tx.insert_inbox(&key("evt_1"), "a", "{\"first\": \"ü\"}", 10)
            .await
            .unwrap()
    );
    assert!(!tx.insert_inbox(&key("evt_1"), "b", "{}", 20).await.unwrap());
    let of_another = InboxKey {
        provider: Sender::Checkout(CheckoutService::CoinbaseBusiness),
        ..key("evt_1")
    };
    assert!(tx.insert_inbox(&of_another, "c", "{}", 30).await.unwrap());
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    let found = store::inbox_event(&mut conn, &key("evt_1"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (
            found.kind.as_str(),
            found.body.as_str(),
            found.attempts,
            found.done
        ),
        ("a", "{\"first\": \"ü\"}", 0, false)
    );
    let found = store::inbox_event(&mut conn, &of_another).await.unwrap();
    assert_eq!(found.unwrap().key, of_another);
}

async fn events_wait_by_their_failures_and_then_by_their_age(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    for (id, at) in [("third", 30), ("first", 10), ("second", 20)] {
        tx.insert_inbox(&key(id), "a", "{}", at).await.unwrap();
    }
    let pending = async |tx: &mut store::WriteTx, limit| {
        let pending = store::pending_inbox(tx.conn(), limit).await.unwrap();
        let ids = pending.into_iter().map(|key| key.event_id);
        ids.collect::<Vec<_>>()
    };
    assert_eq!(pending(&mut tx, 9).await, ["first", "second", "third"]);
    assert_eq!(pending(&mut tx, 1).await, ["first"]);
    tx.fail_inbox(&key("first"), "no").await.unwrap();
    assert_eq!(pending(&mut tx, 9).await, ["second", "third", "first"]);
    tx.finish_inbox(&key("second"), "applied", 40).await.unwrap();
    assert_eq!(pending(&mut tx, 9).await, ["third", "first"]);
    let failed = store::inbox_event(tx.conn(), &key("first"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((failed.attempts, failed.done), (1, false));
    let done = store::inbox_event(tx.conn(), &key("second"))
        .await
        .unwrap()
        .unwrap();
    assert!(done.done);
    tx.commit().await.unwrap();
    let outcomes = rows(&store, "select outcome, done_at from inbox order by received_at").await;
    assert_eq!(outcomes, [["no", "?"], ["applied", "40"], ["?", "?"]]);
}

fn event(id: &str, resource: &str) -> Event {
    Event {
        id: id.to_owned(),
        kind: "charge.paid",
        resource: resource.to_owned(),
        sequence: 1,
        body: format!("{{\"id\": \"{id}\"}}"),
    }
}

fn endpoints(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn due(store: &Store, endpoint: &str, now: i64) -> Vec<Delivery> {
    let mut conn = store.read().await.unwrap();
    store::due_deliveries(&mut conn, endpoint, now, 100)
        .await
        .unwrap()
}

async fn due_ids(store: &Store, endpoint: &str, now: i64) -> Vec<String> {
    let due = due(store, endpoint, now).await;
    due.into_iter().map(|delivery| delivery.event_id).collect()
}

async fn of_each_resource_only_the_oldest_event_is_due(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    let both = endpoints(&["chat", "books"]);
    for (id, resource, at) in [("a1", "a", 10), ("a2", "a", 10), ("b1", "b", 20), ("b2", "b", 20)] {
        tx.insert_events(&[event(id, resource)], &both, at).await.unwrap();
    }
    tx.insert_events(&[event("c1", "c")], &endpoints(&["chat"]), 30)
        .await
        .unwrap();
    tx.insert_events(&[event("d1", "d")], &[], 5).await.unwrap();
    tx.commit().await.unwrap();
    assert!(due(&store, "chat", 9).await.is_empty());
    assert_eq!(due_ids(&store, "chat", 10).await, ["a1"]);
    assert_eq!(due_ids(&store, "chat", 30).await, ["a1", "b1", "c1"]);
    assert_eq!(due_ids(&store, "books", 30).await, ["a1", "b1"]);

    // One that fails holds up its own resource at its own endpoint.
    let mut first = due(&store, "chat", 30).await.remove(0);
    first.attempts = 1;
    let mut tx = begin(&store).await;
    tx.update_delivery(&first, "pending", 500, Some(503))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(due_ids(&store, "chat", 499).await, ["b1", "c1"]);
    assert_eq!(due_ids(&store, "books", 499).await, ["a1", "b1"]);
    let again = due(&store, "chat", 500).await;
    assert_eq!(again.last().unwrap(), &first, "the longest due first");
    let mut conn = store.read().await.unwrap();
    let limited = store::due_deliveries(&mut conn, "chat", 500, 2).await.unwrap();
    assert_eq!(limited.len(), 2);
}

async fn a_delivery_is_over_when_it_is_delivered_or_dead(database: Database) {
    let (store, _database) = open(database).await;
    let mut conn = store.read().await.unwrap();
    let oldest_for = async |conn: &mut sqlx::AnyConnection, endpoint| {
        store::oldest_due_delivery(conn, endpoint).await.unwrap()
    };
    assert_eq!(oldest_for(&mut conn, "chat").await, None);
    drop(conn);
    let mut tx = begin(&store).await;
    tx.insert_events(&[event("b1", "a")], &endpoints(&["books"]), 5)
        .await
        .unwrap();
    for (id, at) in [("a1", 10), ("a2", 20), ("a3", 30)] {
        tx.insert_events(&[event(id, "a")], &endpoints(&["chat"]), at)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    for (id, state, status, oldest) in [
        ("a1", "delivered", Some(204), Some(20)),
        ("a2", "dead", None, Some(30)),
        ("a3", "delivered", Some(200), None),
    ] {
        let delivery = due(&store, "chat", 99).await.remove(0);
        assert_eq!(delivery.event_id, id);
        let mut tx = begin(&store).await;
        tx.update_delivery(&delivery, state, 40, status).await.unwrap();
        assert_eq!(oldest_for(tx.conn(), "chat").await, oldest);
        assert_eq!(oldest_for(tx.conn(), "books").await, Some(5));
        tx.commit().await.unwrap();
    }
    assert!(due(&store, "chat", 99).await.is_empty());
}

async fn an_event_id_is_owed_once(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    tx.insert_events(&[event("a1", "a")], &endpoints(&["chat"]), 10)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut tx = begin(&store).await;
    let again = tx
        .insert_events(&[event("a1", "b")], &endpoints(&["chat"]), 20)
        .await;
    assert!(again.unwrap_err().is_retryable());
    drop(tx);
    assert_eq!(due_ids(&store, "chat", 99).await, ["a1"]);
}

async fn events_are_numbered_within_their_resource(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    for (id, resource, expected) in [("a1", "a", 1), ("b1", "b", 1), ("a2", "a", 2), ("a3", "a", 3)] {
        let counts = store::event_counts(tx.conn(), &["unknown", resource])
            .await
            .unwrap();
        let newest = counts.first().map_or(0, |(_, newest)| *newest);
        assert_eq!(newest + 1, expected, "{id}");
        assert!(counts.iter().all(|(of, _)| of == resource), "{counts:?}");
        let event = Event {
            sequence: expected,
            ..event(id, resource)
        };
        tx.insert_events(&[event], &[], 10).await.unwrap();
    }
}

async fn the_record_keeps_what_it_is_given(database: Database) {
    let (store, _database) = open(database).await;
    let empty = Audit {
        actor: "clock".to_owned(),
        action: "charge.settle",
        subject: "charge:1".to_owned(),
        cause: String::new(),
        before: None,
        after: None,
    };
    let full = Audit {
        before: Some("{}".to_owned()),
        after: Some("{\"a\": \"ü\"}".to_owned()),
        ..empty.clone()
    };
    let mut tx = begin(&store).await;
    assert_eq!(store::newest_audit(tx.conn()).await.unwrap(), 0);
    for (audit, at) in [(&empty, 1), (&full, 2), (&full, 2)] {
        tx.insert_audits(std::slice::from_ref(audit), at).await.unwrap();
    }
    let newest = store::newest_audit(tx.conn()).await.unwrap();
    for (floor, entries) in [(0, 3), (newest - 1, 1), (newest, 0)] {
        assert_eq!(store::audits_above(tx.conn(), floor).await.unwrap(), entries);
    }
    tx.commit().await.unwrap();
    let found = rows(
        &store,
        "select at, actor, action, subject, cause, before_state, after_state from audit order by id",
    );
    let full = [
        "2",
        "clock",
        "charge.settle",
        "charge:1",
        "",
        "{}",
        "{\"a\": \"ü\"}",
    ];
    assert_eq!(
        found.await,
        [
            ["1", "clock", "charge.settle", "charge:1", "", "?", "?"],
            full,
            full
        ]
    );
}
