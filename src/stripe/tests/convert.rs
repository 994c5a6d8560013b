//! Sources from subscriptions: what is unknown keeps the last word, and no order of events changes the end.

use serde_json::{Value, json};

use super::*;
use crate::domain::{Millis, PlanId, Source};

fn catalogue(price: &PriceRef) -> Option<(PlanId, Interval)> {
    match (price.id.as_str(), price.lookup_key.as_deref()) {
        ("price_pro_m", _) => Some((PlanId::from("pro"), Interval::Month)),
        (_, Some("business_yearly")) => Some((PlanId::from("business"), Interval::Year)),
        _ => None,
    }
}

fn seen(at: Millis) -> Seen {
    Seen { at, version: at }
}

fn source_after(object: &Value, at: Millis, previous: Option<&Source>) -> Source {
    to_source(&snapshot(object), seen(at), &tenant(), previous, catalogue).unwrap()
}

#[test]
fn a_known_price_becomes_a_source() {
    let source = source_after(&shape_of_today(), CREATED_S * 1000, None);
    assert_eq!(source.plan, PlanId::from("pro"));
    assert_eq!(source.interval, Some(Interval::Month));
    assert_eq!(
        (source.period_start, source.period_end),
        (Some(PERIOD.start), Some(PERIOD.end))
    );
    assert_eq!(
        (source.state, source.attention.as_deref()),
        (SourceState::Active, None)
    );
}

#[test]
fn the_plan_is_the_first_item_that_the_catalogue_knows_with_its_own_period() {
    let mut object = shape_of_basil();
    let yearly = json!({
        "id": "si_2", "price": {"id": "price_other", "lookup_key": "business_yearly"},
        "current_period_start": START_S, "current_period_end": END_S + 86_400,
    });
    let items = object["items"]["data"].as_array_mut().unwrap();
    items[0]["price"]["id"] = "price_metered_tokens".into();
    items.push(yearly);
    let source = source_after(&object, 1, None);
    assert_eq!(
        (source.plan, source.interval),
        (PlanId::from("business"), Some(Interval::Year))
    );
    assert_eq!(source.period_end, Some((END_S + 86_400) * 1000));
}

#[test]
fn an_unknown_price_keeps_the_last_plan_and_asks_for_attention() {
    let mut object = shape_of_today();
    object["items"]["data"][0]["price"]["id"] = "price_new".into();
    let before = source_after(&shape_of_2020(), 1000, None);
    let after = source_after(&object, 2000, Some(&before));
    assert_eq!((after.plan.as_str(), after.state), ("pro", SourceState::Active));
    assert_eq!(after.attention.as_deref(), Some("unknown price: price_new"));
    assert_eq!(source_after(&shape_of_2020(), 3000, Some(&after)).attention, None);

    let new = to_source(&snapshot(&object), seen(1), &tenant(), None, catalogue);
    let prices = "price_new".to_owned();
    let subscription = "sub_1".to_owned();
    assert_eq!(new, Err(NoSource::UnknownPrice { subscription, prices }));
}

#[test]
fn an_unknown_status_keeps_the_last_state_and_asks_for_attention() {
    let odd = with(shape_of_today(), &json!({"status": "hibernating"}));
    let before = source_after(&shape_of_2020(), 1000, None);
    let after = source_after(&odd, 2000, Some(&before));
    assert_eq!(after.state, SourceState::Active);
    assert_eq!(after.attention.as_deref(), Some("unknown status: hibernating"));
    assert_eq!(source_after(&odd, 1, None).state, SourceState::Pending);
}

#[test]
fn the_unpaid_time_is_the_first_and_a_payment_clears_it() {
    let late = with(shape_of_today(), &json!({"status": "past_due"}));
    let unpaid = with(shape_of_today(), &json!({"status": "unpaid"}));
    let first = source_after(&late, 1000, None);
    let second = source_after(&unpaid, 2000, Some(&first));
    assert_eq!(
        (second.state, second.first_unpaid_at),
        (SourceState::Restricted, Some(1000))
    );
    assert_eq!(
        source_after(&shape_of_today(), 3000, Some(&second)).first_unpaid_at,
        None
    );
}

#[test]
fn any_order_of_events_and_any_repetition_gives_the_same_source() {
    let events: Vec<_> = [
        ("incomplete", "created"),
        ("active", "updated"),
        ("canceled", "deleted"),
    ]
    .map(|(status, kind)| {
        let object = with(shape_of_today(), &json!({"status": status}));
        let kind = format!("customer.subscription.{kind}");
        StripeEvent::from_value(&event(&kind, "2024-06-20", &object)).unwrap()
    })
    .into();
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
        [2, 2, 1],
    ] {
        let mut stored: Option<Source> = None;
        for event in order.map(|index| &events[index]) {
            let Payload::Subscription(_, found) = &event.payload else {
                panic!("a subscription was not read");
            };
            let seen = Seen {
                at: event.created,
                version: version(event),
            };
            match to_source(found, seen, &tenant(), stored.as_ref(), catalogue) {
                Ok(source) => stored = Some(source),
                Err(error) => assert_eq!(error, NoSource::Stale),
            }
        }
        assert_eq!(stored.unwrap().state, SourceState::Ended, "{order:?}");
    }
}
