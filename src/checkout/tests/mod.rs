//! What the providers' documents show, read; and what they do not, refused.

use serde_json::{Value, json};

use super::*;
use crate::domain::HostedState;

const BUSINESS: CheckoutService = CheckoutService::CoinbaseBusiness;
const COMMERCE: CheckoutService = CheckoutService::CoinbaseCommerce;

fn units(text: &str) -> Credit {
    let amount = crate::domain::Amount::from_units(text, 18).unwrap();
    Credit::of(amount, 18)
}

fn business(kind: &str, more: &Value) -> Value {
    let mut event = json!({
        "id": "69163c762331ed43dc64a6ef", "url": "https://payments.coinbase.com/payment-links/pl_1", "amount": "100.00",
        "currency": "USDC", "network": "base", "eventType": kind, "metadata": {"chargeId": "chg_1", "other": 5},
        "createdAt": "2025-11-13T20:15:49.329Z", "updatedAt": "2025-11-13T20:16:55.097Z",
    });
    let members = event.as_object_mut().unwrap();
    members.extend(more.as_object().unwrap().clone());
    event
}

fn commerce(kind: &str, payments: &Value) -> Value {
    json!({"attempt_number": 1, "id": "delivery-1", "scheduled_for": "2023-08-30T19:29:21Z", "event": {
        "api_version": "2018-03-22", "created_at": "2023-08-30T19:29:20Z", "id": "event-1", "resource": "event",
        "type": kind, "data": {
            "id": "2aee9dd1-67b8-43ef-8dfe-977959850f27", "code": "XA6G6ZFR",
            "pricing": {"local": {"amount": "15.00", "currency": "USD"}, "settlement": {"amount": "15", "currency": "USDC"}},
            "metadata": {"chargeId": "chg_1"}, "payments": payments,
            "timeline": [
                {"time": "2023-08-30T18:55:51Z", "status": "NEW"},
                {"time": "2023-08-30T19:24:45Z", "status": "PENDING"},
                {"time": "2023-08-30T19:29:20Z", "status": "COMPLETED"}
            ],
        },
    }})
}

fn payment(amount: &str, currency: &str, status: &str) -> Value {
    let value = json!({"local": {"amount": amount, "currency": currency}, "crypto": {"amount": "1", "currency": "USDC"}});
    json!({"payment_id": "0x1f", "network": "base", "status": status, "detected_at": "2023-08-30T19:20:00Z", "value": value})
}

fn report(service: CheckoutService, event: &Value) -> HostedReport {
    read(service, event).unwrap().unwrap()
}

#[test]
fn a_business_checkout_that_was_paid_has_received_what_was_settled() {
    let paid = report(BUSINESS, &business("checkout.payment.success", &json!({})));
    assert_eq!(
        paid,
        HostedReport {
            reference: "69163c762331ed43dc64a6ef".to_owned(),
            charge: Some("chg_1".to_owned()),
            price: Price {
                amount: units("100"),
                currency: "USDC".to_owned()
            },
            state: HostedState::Paid,
            at: 1_763_065_015_097,
            received: units("100"),
            refunded: Credit::ZERO,
        }
    );
    let settled = |total: &str, currency: &str| {
        let settlement =
            json!({"totalAmount": total, "feeAmount": "1.25", "netAmount": "98.75", "currency": currency});
        report(
            BUSINESS,
            &business("checkout.payment.success", &json!({"settlement": settlement})),
        )
        .received
    };
    assert_eq!(settled("99.5", "USDC"), units("99.5"));
    // What it is worth elsewhere is not what was paid.
    assert_eq!(settled("86.20", "EUR"), units("100"));
}

#[test]
fn a_business_refund_says_what_was_there_and_what_went_back() {
    let refund = |more: Value| report(BUSINESS, &business("checkout.refund.success", &more));
    let all = refund(json!({"refundedAmount": "100.00"}));
    assert_eq!(
        (all.state, all.received, all.refunded),
        (HostedState::Refunded, units("100"), units("100"))
    );
    let part = refund(json!({"refundedAmount": "40", "status": "PARTIALLY_REFUNDED"}));
    assert_eq!((part.received, part.refunded), (units("100"), units("40")));
    assert_eq!(refund(json!({})).refunded, units("100"));
}

#[test]
fn other_business_events_move_no_money() {
    for (kind, state) in [
        ("checkout.payment.failed", HostedState::Failed),
        ("checkout.payment.expired", HostedState::Expired),
    ] {
        let found = report(
            BUSINESS,
            &business(
                kind,
                &json!({"settlement": {"totalAmount": "5", "currency": "USDC"}}),
            ),
        );
        assert_eq!((found.state, found.received), (state, Credit::ZERO));
    }
    for kind in [
        "checkout.refund.failed",
        "checkout.payment.created",
        "something.new",
    ] {
        assert_eq!(read(BUSINESS, &business(kind, &json!({}))), Ok(None));
    }
}

#[test]
fn a_commerce_charge_has_received_its_confirmed_payments() {
    let read = |kind: &str, payments: Value| {
        let found = report(COMMERCE, &commerce(kind, &payments));
        (found.state, found.received.to_units(), found.at)
    };
    let (seen, listed, said) = (1_693_423_485_000, 1_693_423_200_000, 1_693_423_760_000);
    let (paid, pending) = (HostedState::Paid, HostedState::Pending);
    let both = json!([
        payment("10.00", "USD", "CONFIRMED"),
        payment("7.5", "USD", "confirmed")
    ]);
    for (kind, payments, expected) in [
        ("charge:created", json!([]), (HostedState::Open, "0", said)),
        ("charge:failed", json!([]), (HostedState::Failed, "0", said)),
        ("charge:pending", json!([]), (pending, "15", said)),
        (
            "charge:pending",
            json!([payment("9", "USD", "pending")]),
            (pending, "9", said),
        ),
        ("charge:confirmed", json!([]), (paid, "15", seen)),
        ("charge:confirmed", both.clone(), (paid, "17.5", listed)),
        ("charge:delayed", json!([]), (paid, "0", seen)),
        (
            "charge:delayed",
            json!([payment("9", "USD", "CONFIRMED"), payment("6", "USD", "PENDING")]),
            (paid, "9", listed),
        ),
        ("charge:resolved", both, (paid, "17.5", listed)),
        (
            "charge:confirmed",
            json!([payment("9", "EUR", "CONFIRMED")]),
            (paid, "15", listed),
        ),
    ] {
        let (state, received, at) = expected;
        assert_eq!(
            read(kind, payments.clone()),
            (state, received.to_owned(), at),
            "{kind} {payments}"
        );
    }
    assert_eq!(
        super::read(COMMERCE, &commerce("charge:something", &json!([]))),
        Ok(None)
    );
    let named = report(COMMERCE, &commerce("charge:confirmed", &json!([])));
    assert_eq!(named.reference, "2aee9dd1-67b8-43ef-8dfe-977959850f27");
    assert_eq!(
        (named.charge.as_deref(), named.price.currency.as_str()),
        (Some("chg_1"), "USD")
    );
}

#[test]
fn what_is_not_as_documented_is_named_by_its_place() {
    let wrong = |service, event: Value| read(service, &event).unwrap_err().place;
    let with = |field: &str, value: Value| business("checkout.payment.success", &json!({field: value}));
    for (field, value) in [
        ("id", json!(5)),
        ("id", json!("")),
        ("id", json!("with space")),
        ("id", json!("x".repeat(256))),
        ("amount", json!(100.0)),
        ("amount", json!("1e3")),
        ("amount", json!("-1")),
        ("amount", json!("0.0000000000000000001")),
        ("amount", json!("1".repeat(81))),
        ("currency", json!(null)),
        ("updatedAt", json!("yesterday")),
        ("refundedAmount", json!({})),
    ] {
        assert_eq!(wrong(BUSINESS, with(field, value.clone())), field, "{value}");
    }
    assert_eq!(
        wrong(BUSINESS, with("metadata", json!({"chargeId": 5}))),
        "metadata.chargeId"
    );
    assert_eq!(
        wrong(BUSINESS, with("settlement", json!({"currency": "USDC"}))),
        "settlement.totalAmount"
    );
    assert_eq!(wrong(BUSINESS, json!([])), "eventType");
    assert_eq!(wrong(COMMERCE, json!({})), "event");
    assert_eq!(
        wrong(COMMERCE, json!({"event": {"type": "charge:created"}})),
        "event.data"
    );
    let payments = json!([payment("1", "USD", "CONFIRMED"), {"status": "CONFIRMED"}]);
    assert_eq!(
        wrong(COMMERCE, commerce("charge:confirmed", &payments)),
        "event.data.payments[1].value"
    );
    let nameless = |charge: Value| report(BUSINESS, &with("metadata", charge)).charge;
    assert_eq!((nameless(json!(null)), nameless(json!({}))), (None, None));
}

#[test]
fn an_event_has_one_name_however_often_it_is_sent() {
    let event = commerce("charge:confirmed", &json!([]));
    let named = name(COMMERCE, b"whatever", &event).unwrap();
    assert_eq!(
        (named.id.as_str(), named.kind.as_str()),
        ("event-1", "charge:confirmed")
    );
    let event = business("checkout.payment.success", &json!({}));
    let named = name(BUSINESS, b"abc", &event).unwrap();
    // FIPS 180-2, B.1.
    let of_abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(
        (named.id.as_str(), named.kind.as_str()),
        (of_abc, "checkout.payment.success")
    );
    for (service, place) in [(BUSINESS, "eventType"), (COMMERCE, "event")] {
        assert_eq!(name(service, b"", &json!({})).unwrap_err().place, place);
    }
}

#[test]
fn a_price_is_rounded_up_and_never_down() {
    for (asked, expected) in [
        ("15", "15"),
        ("58.333334", "58.34"),
        ("0.000001", "0.01"),
        ("58.33", "58.33"),
    ] {
        assert_eq!(round_up(units(asked), 2).to_units(), expected);
    }
}
