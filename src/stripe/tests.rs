//! The shapes that Stripe has sent over the years, as its documentation and changelog of each version show them.

mod convert;

use serde_json::{Value, json};

use super::*;
use crate::domain::{Interval, SourceState, TenantId};

const CREATED_S: i64 = 1_735_689_600;
const START_S: i64 = 1_735_600_000;
const END_S: i64 = 1_738_278_400;
const PERIOD: Period = Period {
    start: START_S * 1000,
    end: END_S * 1000,
};

fn event(kind: &str, version: &str, object: &Value) -> Value {
    json!({
        "id": "evt_1PgX", "object": "event", "api_version": version, "created": CREATED_S, "livemode": false,
        "pending_webhooks": 1, "request": {"id": "req_1", "idempotency_key": null}, "type": kind,
        "data": {"object": object, "previous_attributes": {"status": "incomplete"}},
    })
}

/// 2020-08-27: the period, the plan and the quantity on the subscription; plan and price side by side on the item.
fn shape_of_2020() -> Value {
    let plan = json!({"id": "price_pro_m", "object": "plan", "interval": "month", "interval_count": 1, "amount": 1500});
    json!({
        "id": "sub_1", "object": "subscription", "status": "active", "customer": "cus_1",
        "current_period_start": START_S, "current_period_end": END_S,
        "cancel_at": null, "cancel_at_period_end": false, "canceled_at": null, "trial_end": null, "ended_at": null,
        "plan": plan, "quantity": 3, "metadata": {"tenant_id": "acme"},
        "items": {"object": "list", "has_more": false, "data": [{
            "id": "si_1", "object": "subscription_item", "quantity": 3, "plan": plan,
            "price": {"id": "price_pro_m", "object": "price", "lookup_key": "pro_monthly", "type": "recurring",
                      "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed"}},
        }]},
    })
}

/// 2022-11-15: as before, here with the customer expanded.
fn shape_of_2022() -> Value {
    let mut object = shape_of_2020();
    object["customer"] = json!({"id": "cus_1", "object": "customer", "email": "jo@example.org"});
    object["on_behalf_of"] = Value::Null;
    object
}

/// 2024-06-20: cancellation details and discounts are new to it.
fn shape_of_2024() -> Value {
    let mut object = shape_of_2020();
    object["cancellation_details"] = json!({"comment": null, "feedback": null, "reason": null});
    object["discounts"] = json!([]);
    object["items"]["data"][0]["discounts"] = json!([]);
    object
}

/// 2025-03-31.basil: the period has moved to the items.
fn shape_of_basil() -> Value {
    let mut object = shape_of_2024();
    for gone in ["current_period_start", "current_period_end", "plan", "quantity"] {
        object.as_object_mut().unwrap().remove(gone);
    }
    let item = &mut object["items"]["data"][0];
    item["current_period_start"] = START_S.into();
    item["current_period_end"] = END_S.into();
    object
}

/// Today's: a billing mode, and no plan on the item any more.
fn shape_of_today() -> Value {
    let mut object = shape_of_basil();
    object["billing_mode"] = json!({"type": "flexible", "flexible": {"proration_discounts": "included"}});
    object["items"]["data"][0].as_object_mut().unwrap().remove("plan");
    object
}

fn updated(object: &Value) -> StripeEvent {
    StripeEvent::from_value(&event(
        "customer.subscription.updated",
        "2025-03-31.basil",
        object,
    ))
    .unwrap()
}

fn snapshot(object: &Value) -> SubscriptionSnapshot {
    SubscriptionSnapshot::from_object(object).unwrap()
}

fn with(mut object: Value, changes: &Value) -> Value {
    for (key, value) in changes.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

#[test]
fn every_shape_since_2020_gives_the_same_subscription() {
    let expected = SubscriptionSnapshot {
        id: "sub_1".to_owned(),
        customer: Some("cus_1".to_owned()),
        status: Status::Active,
        items: Vec::new(),
        period: Some(PERIOD),
        scheduled_end: None,
        trial_end: None,
        ended_at: None,
        subject: Some(Subject {
            kind: SubjectKind::Tenant,
            id: tenant(),
            channel: None,
        }),
    };
    for (version, object) in [
        ("2020-08-27", shape_of_2020()),
        ("2022-11-15", shape_of_2022()),
        ("2024-06-20", shape_of_2024()),
        ("2025-03-31.basil", shape_of_basil()),
        ("2025-09-30.clover", shape_of_today()),
    ] {
        let body = event("customer.subscription.updated", version, &object).to_string();
        let event = StripeEvent::parse(body.as_bytes()).unwrap();
        assert_eq!(event.api_version.as_deref(), Some(version));
        assert_eq!(event.created, CREATED_S * 1000);
        let Payload::Subscription(SubscriptionChange::Updated, mut found) = event.payload else {
            panic!("{version}: {:?}", event.payload);
        };
        let item = found.items.pop().unwrap();
        assert_eq!(item.quantity, Some(3), "{version}");
        let price = item.price.unwrap();
        assert_eq!(price.lookup_key.as_deref(), Some("pro_monthly"), "{version}");
        assert_eq!(price.interval, Some(Interval::Month), "{version}");
        assert_eq!(*found, expected, "{version}");
    }
}

#[test]
fn a_subscription_without_items_is_read_by_its_own_plan() {
    let mut object = shape_of_2020();
    object.as_object_mut().unwrap().remove("items");
    let item = snapshot(&object).items.remove(0);
    assert_eq!(item.price.unwrap().id, "price_pro_m");
    assert_eq!(item.quantity, Some(3));
}

#[test]
fn the_scheduled_end_is_cancel_at_or_the_end_of_the_period() {
    for (changes, expected) in [
        (json!({"cancel_at_period_end": true}), Some(PERIOD.end)),
        (
            json!({"cancel_at_period_end": true, "cancel_at": 1_737_000_000}),
            Some(1_737_000_000_000),
        ),
        (json!({"cancel_at": 1_737_000_000}), Some(1_737_000_000_000)),
        (json!({"cancel_at_period_end": null}), None),
    ] {
        for shape in [shape_of_2020(), shape_of_today()] {
            assert_eq!(
                snapshot(&with(shape, &changes)).scheduled_end,
                expected,
                "{changes}"
            );
        }
    }
}

#[test]
fn only_months_and_years_have_a_word() {
    for (interval, count, expected) in [
        ("month", 1, Some(Interval::Month)),
        ("year", 1, Some(Interval::Year)),
        ("month", 12, Some(Interval::Year)),
        ("month", 3, None),
        ("week", 1, None),
    ] {
        let mut object = shape_of_today();
        object["items"]["data"][0]["price"]["recurring"] =
            json!({"interval": interval, "interval_count": count});
        let price = snapshot(&object).items.remove(0).price.unwrap();
        assert_eq!(price.interval, expected, "{count} {interval}");
    }
}

#[test]
fn the_subject_is_the_first_name_in_the_metadata() {
    for (metadata, expected) in [
        (
            json!({"tenantId": "acme", "user_id": "u1"}),
            Some((SubjectKind::Tenant, "acme", None)),
        ),
        (
            json!({"community_id": "c1"}),
            Some((SubjectKind::Community, "c1", None)),
        ),
        (json!({"userId": "u1"}), Some((SubjectKind::User, "u1", None))),
        (
            json!({"user_id": "u1", "channel_id": "ch"}),
            Some((SubjectKind::User, "u1", Some("ch"))),
        ),
        (json!({"tenant_id": "not an id", "user_id": "u1"}), None),
        (json!({"tenant_id": "acme", "channel_id": 7}), None),
        (json!({}), None),
        (json!(null), None),
    ] {
        let found = snapshot(&with(shape_of_today(), &json!({"metadata": metadata}))).subject;
        let found = found.as_ref();
        let told = found.map(|subject| (subject.kind, subject.id.as_str(), subject.channel.as_deref()));
        assert_eq!(told, expected, "{metadata}");
    }
}

#[test]
fn each_status_has_a_state_and_a_new_one_has_none() {
    for (word, state) in [
        ("incomplete", Some(SourceState::Pending)),
        ("incomplete_expired", Some(SourceState::Ended)),
        ("trialing", Some(SourceState::Trialing)),
        ("active", Some(SourceState::Active)),
        ("past_due", Some(SourceState::PastDue)),
        ("unpaid", Some(SourceState::Restricted)),
        ("canceled", Some(SourceState::Ended)),
        ("paused", Some(SourceState::Paused)),
        ("hibernating", None),
    ] {
        let status = Status::from(word);
        assert_eq!(status.state(), state, "{word}");
        assert_eq!(status.as_str(), word);
    }
}

#[test]
fn a_deleted_subscription_is_over_whatever_its_status_says() {
    let event = event("customer.subscription.deleted", "2020-08-27", &shape_of_2020());
    let Payload::Subscription(SubscriptionChange::Deleted, found) =
        StripeEvent::from_value(&event).unwrap().payload
    else {
        panic!("a deleted subscription was not read");
    };
    assert_eq!(found.status.state(), Some(SourceState::Ended));
}

#[test]
fn a_thin_event_is_a_name() {
    let body = json!({
        "id": "evt_test_65R", "object": "v2.core.event", "type": "v1.billing.meter.error_report_triggered",
        "created": "2025-01-01T00:00:00.250Z", "livemode": true, "context": null, "reason": null,
        "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1"},
    });
    let event = StripeEvent::from_value(&body).unwrap();
    assert_eq!(event.created, CREATED_S * 1000 + 250);
    assert!(event.livemode);
    let related = RelatedObject {
        kind: "billing.meter".to_owned(),
        id: Some("mtr_1".to_owned()),
    };
    assert_eq!(event.payload, Payload::Thin(Some(related)));
    let without = with(body, &json!({"related_object": null}));
    assert_eq!(
        StripeEvent::from_value(&without).unwrap().payload,
        Payload::Thin(None)
    );
}

#[test]
fn an_unknown_type_is_kept_by_name() {
    for (kind, object, expected) in [
        (
            "invoice.upcoming",
            json!({"object": "invoice"}),
            Some(("invoice", None)),
        ),
        (
            "hologram.projected",
            json!({"object": "hologram", "id": "ho_1"}),
            Some(("hologram", Some("ho_1"))),
        ),
        ("customer.subscription.dreamt", json!({"id": 7}), None),
        ("odd", json!("text"), None),
    ] {
        let expected = expected.map(|(kind, id)| RelatedObject {
            kind: kind.to_owned(),
            id: id.map(str::to_owned),
        });
        let found = StripeEvent::from_value(&event(kind, "2024-06-20", &object)).unwrap();
        assert_eq!(found.payload, Payload::Other(expected), "{kind}");
        assert_eq!(version(&found), CREATED_S * 1000);
    }
}

#[test]
fn a_malformed_shape_is_named_by_its_path() {
    let event_of = |object: Value| event("customer.subscription.updated", "2024-06-20", &object);
    let item = |change: Value| {
        let mut object = shape_of_today();
        object["items"]["data"][0] = with(object["items"]["data"][0].clone(), &change);
        event_of(object)
    };
    let whole = event_of(shape_of_today());
    for (body, path) in [
        (json!([]), "event"),
        (json!({}), "event.object"),
        (with(whole.clone(), &json!({"object": "charge"})), "event.object"),
        (with(whole.clone(), &json!({"id": ""})), "event.id"),
        (with(whole.clone(), &json!({"created": -1})), "event.created"),
        (with(whole.clone(), &json!({"created": 1.5})), "event.created"),
        (
            with(whole.clone(), &json!({"created": i64::MAX})),
            "event.created",
        ),
        (with(whole.clone(), &json!({"livemode": "no"})), "event.livemode"),
        (
            with(whole.clone(), &json!({"type": "x".repeat(256)})),
            "event.type",
        ),
        (with(whole, &json!({"data": {}})), "event.data.object"),
        (event_of(json!({"object": "invoice"})), "event.data.object.object"),
        (
            event_of(with(shape_of_today(), &json!({"customer": {}}))),
            "event.data.object.customer.id",
        ),
        (
            event_of(with(shape_of_today(), &json!({"customer": 7}))),
            "event.data.object.customer",
        ),
        (
            event_of(with(shape_of_today(), &json!({"metadata": []}))),
            "event.data.object.metadata",
        ),
        (
            event_of(with(shape_of_today(), &json!({"items": {"data": vec![0; 101]}}))),
            "event.data.object.items.data",
        ),
        (
            item(json!({"price": {"recurring": {}}})),
            "event.data.object.items.data[0].price.id",
        ),
        (
            item(json!({"quantity": -1})),
            "event.data.object.items.data[0].quantity",
        ),
    ] {
        assert_eq!(StripeEvent::from_value(&body).unwrap_err().path, path);
    }
}

#[test]
fn what_is_no_json_or_too_much_of_it_is_refused() {
    assert_eq!(
        StripeEvent::parse(b"{\n!"),
        Err(EventError::NotJson { line: 2, column: 1 })
    );
    assert!(matches!(
        StripeEvent::parse("[".repeat(1000).as_bytes()),
        Err(EventError::NotJson { .. })
    ));
    assert_eq!(
        StripeEvent::parse(&vec![b' '; MAX_EVENT_BYTES + 1]),
        Err(EventError::TooLarge)
    );
}

#[test]
fn within_a_second_the_later_word_has_the_larger_version() {
    let at = |kind: &str, status: &str, created: i64| {
        let object = with(shape_of_today(), &json!({"status": status}));
        let body = with(event(kind, "2024-06-20", &object), &json!({"created": created}));
        version(&StripeEvent::from_value(&body).unwrap())
    };
    let created = at("customer.subscription.created", "incomplete", CREATED_S);
    let updated = at("customer.subscription.updated", "active", CREATED_S);
    let deleted = at("customer.subscription.deleted", "active", CREATED_S);
    assert!(created < updated && updated < deleted);
    assert!(at("customer.subscription.updated", "incomplete", CREATED_S) < updated);
    assert!(at("customer.subscription.created", "active", CREATED_S) < updated);
    assert!(deleted < at("customer.subscription.created", "incomplete", CREATED_S + 1));
}

#[test]
fn our_own_events_have_no_account() {
    assert_eq!(updated(&shape_of_today()).account, None);
    let connected = event("customer.subscription.updated", "2024-06-20", &shape_of_today());
    let connected = with(connected, &json!({"account": "acct_1"}));
    assert_eq!(
        StripeEvent::from_value(&connected).unwrap().account.as_deref(),
        Some("acct_1")
    );
}
