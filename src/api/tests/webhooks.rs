//! Stripe's webhooks: only what Stripe signed is kept, and it is kept once.

use secrecy::SecretString;
use serde_json::json;

use super::*;
use crate::engine::ApplyInbox;
use crate::stripe::{MAX_EVENT_BYTES, signature};

const PATHS: [&str; 2] = ["/api/billing/webhook", "/api/webhooks/stripe"];

fn now_s() -> u64 {
    u64::try_from(NOW / 1000).unwrap()
}

fn signed_with(path: &str, body: &str, secret: &str, at_s: u64) -> Request<Body> {
    let header = signature::sign(body.as_bytes(), &SecretString::from(secret), at_s);
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("stripe-signature", header);
    request.body(Body::from(body.to_owned())).unwrap()
}

pub(super) fn signed(body: &str) -> Request<Body> {
    signed_with(PATHS[0], body, SECRET, now_s())
}

pub(super) fn event(id: &str) -> Value {
    let item = json!({"price": {"id": "nchat_pro_month"}, "current_period_end": now_s() + 86_400});
    let subscription = json!({
        "id": "sub_1", "object": "subscription", "status": "active", "customer": "cus_1", "created": now_s(),
        "metadata": {"tenant_id": "acme"}, "items": {"object": "list", "data": [item]}, "currency": "usd",
        "current_period_start": now_s(), "current_period_end": now_s() + 86_400,
    });
    json!({
        "id": id, "object": "event", "type": "customer.subscription.created", "created": now_s(),
        "livemode": false, "data": {"object": subscription},
    })
}

#[tokio::test]
async fn a_signed_event_is_kept_once_and_takes_effect() {
    let api = Api::open().await;
    let body = event("evt_1").to_string();
    let first = api.send(signed(&body)).await;
    assert_eq!(first.ok(), &json!({"received": true, "duplicate": false}));
    let again = api
        .send(signed_with(PATHS[1], &body, "whsec_of_last_year", now_s() - 300))
        .await;
    assert_eq!(again.ok(), &json!({"received": true, "duplicate": true}));
    let pending = api.engine.pending_inbox().await.unwrap();
    assert_eq!(pending.len(), 1);
    for key in pending {
        api.engine.execute(ApplyInbox { key }).await.unwrap();
    }
    let subscription = api.get("/api/billing/subscription?tenantId=acme").await;
    assert_eq!(subscription.ok()["plan"], "pro", "{}", subscription.text);
    assert_eq!(subscription.body["status"], "active");
    assert_eq!(subscription.body["provider"], "stripe");
    assert_eq!(subscription.body["currentPeriodEnd"], "2025-10-10T08:53:20.000Z");
}

#[tokio::test]
async fn a_forged_or_replayed_signature_keeps_nothing() {
    let api = Api::open().await;
    let body = event("evt_1").to_string();
    let unsigned = |header: Option<&str>| {
        let request = Request::builder().method(Method::POST).uri(PATHS[0]);
        let request = header.into_iter().fold(request, |request, header| {
            request.header("stripe-signature", header)
        });
        request.body(Body::from(body.clone())).unwrap()
    };
    let genuine = signature::sign(body.as_bytes(), &SecretString::from(SECRET), now_s());
    let two = {
        let request = Request::builder().method(Method::POST).uri(PATHS[0]);
        let request = request
            .header("stripe-signature", &genuine)
            .header("stripe-signature", "t=1,v1=00");
        request.body(Body::from(body.clone())).unwrap()
    };
    for request in [
        unsigned(None),
        unsigned(Some("")),
        unsigned(Some("t=1,v1=00")),
        unsigned(Some(&genuine.replace("v1=", "v0="))),
        unsigned(Some(&format!("{genuine},t=1"))),
        two,
        signed_with(PATHS[0], &body, "whsec_of_a_stranger", now_s()),
        signed_with(PATHS[0], &body, SECRET, now_s() - 301),
        signed_with(PATHS[0], &body, SECRET, now_s() + 301),
    ] {
        let answer = api.send(request).await;
        assert!(!answer.refused(400, "INVALID_SIGNATURE").contains("whsec"));
    }
    let mut tampered = signed(&body);
    *tampered.body_mut() = Body::from(body.replace("acme", "evil"));
    api.send(tampered).await.refused(400, "INVALID_SIGNATURE");
    assert!(api.engine.pending_inbox().await.unwrap().is_empty());
}

#[tokio::test]
async fn whatever_stripe_signed_is_kept() {
    let api = Api::open().await;
    let unreadable = json!({
        "id": "evt_2", "object": "event", "type": "customer.subscription.updated", "data": {"object": {"id": 5}},
    });
    for body in [
        json!({"id": "evt_1", "object": "event", "type": "something.new"}),
        unreadable,
    ] {
        api.send(signed(&body.to_string())).await.ok();
    }
    assert_eq!(api.engine.pending_inbox().await.unwrap().len(), 2);
    for body in [
        "",
        "{",
        "[]",
        "{}",
        "{\"id\":\"evt_1\"}",
        "{\"id\":\"a b\",\"type\":\"x\"}",
        "{\"id\":1,\"type\":\"x\"}",
    ] {
        api.send(signed(body)).await.refused(400, "NOT_AN_EVENT");
    }
    let with_filler = |bytes: usize| {
        let empty = json!({"id": "evt_3", "type": "x", "filler": ""}).to_string();
        empty.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - empty.len())))
    };
    api.send(signed(&with_filler(MAX_EVENT_BYTES))).await.ok();
    api.send(signed(&with_filler(MAX_EVENT_BYTES + 1)))
        .await
        .refused(413, "BODY_TOO_LARGE");
}

#[tokio::test]
async fn card_data_is_not_kept() {
    let api = Api::open().await;
    let body = json!({
        "id": "evt_1", "object": "event", "type": "payment_method.attached",
        "data": {"object": {"card": {"number": "4242424242424242", "cvc": "123", "last4": "4242"}}},
    });
    api.send(signed(&body.to_string())).await.ok();
    api.engine.close().await;
    let stored = std::fs::read_dir(api.folder.path()).unwrap();
    for file in stored {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let found = bytes.windows(16).any(|window| window == b"4242424242424242");
        assert!(!found);
    }
}

#[tokio::test]
async fn without_a_secret_the_endpoint_is_off() {
    let off = |config: &mut Config| config.stripe.webhook_secrets.clear();
    let api = Api::with(off, Catalogue::shipped(&[]).unwrap()).await;
    api.send(signed(&event("evt_1").to_string()))
        .await
        .refused(503, "WEBHOOK_NOT_CONFIGURED");
}

#[tokio::test]
async fn an_event_that_could_not_be_kept_is_asked_for_again() {
    let api = Api::open().await;
    api.engine.close().await;
    api.send(signed(&event("evt_1").to_string()))
        .await
        .refused(503, "UNAVAILABLE");
}
