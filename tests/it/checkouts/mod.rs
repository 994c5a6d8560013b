//! Hosted checkouts from end to end: the API over HTTP, a provider that misbehaves, and its webhooks in the hands of others.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate::checkout::{BusinessApi, CheckoutProvider};
use tollgate::config;
use tollgate::engine::{CreateKey, Scope, rfc3339};

use crate::harness::databases::{Database, on_both};
use crate::harness::facts::column;
use crate::harness::fake_checkout::{FakeCheckout, KEY_ID, Mood, WEBHOOK_SECRET, event, signature};
use crate::harness::http_client;
use crate::harness::served::Served;
use crate::harness::world::World;

on_both!(
    a_charge_is_opened_at_the_provider_and_paid_by_its_webhook,
    a_checkout_is_opened_once_however_often_it_is_asked_for,
    an_answer_that_was_lost_opens_no_second_checkout,
    what_is_no_checkout_of_the_charge_is_not_shown_to_anyone,
    a_provider_that_is_silent_keeps_nobody_waiting,
    what_a_provider_did_not_sign_is_not_kept,
    events_that_are_held_back_swapped_and_sent_again_end_the_same,
    without_a_provider_a_charge_has_its_own_page,
);

const CHARGE: &str = "/api/billing/crypto/charge";
const WEBHOOK: &str = "/api/billing/crypto/webhook";
const OLD_SECRET: &str = "a-secret-of-last-year";
const TIMEOUT: Duration = Duration::from_millis(1_500);

/// The API, served, with the provider that it asks.
struct Shop {
    world: World,
    provider: FakeCheckout,
    address: SocketAddr,
    key: String,
    http: reqwest::Client,
}

impl Shop {
    async fn open(database: Database) -> Self {
        Self::with(database, true).await
    }

    async fn with(database: Database, has_provider: bool) -> Self {
        let http = http_client();
        let world = World::settled(database).await;
        let provider = FakeCheckout::start().await;
        let account = config::CheckoutApi {
            api_key_id: KEY_ID.to_owned(),
            api_key_secret: provider.key_secret().into(),
            base_url: provider.url().parse().unwrap(),
            allow_private_network: true,
            timeout: TIMEOUT,
        };
        let opens: Option<Arc<dyn CheckoutProvider>> =
            has_provider.then(|| Arc::new(BusinessApi::new(&account).unwrap()) as Arc<dyn CheckoutProvider>);
        let checkout = config::Checkout {
            api: has_provider.then_some(account),
            business_secrets: vec![OLD_SECRET.into(), WEBHOOK_SECRET.into()],
            commerce_secrets: Vec::new(),
            tolerance: Duration::from_mins(5),
        };
        let address = Served::selling(&world.engine, (checkout, opens)).await.address;
        let new_key = CreateKey {
            name: "test".to_owned(),
            scopes: Scope::ALL.to_vec(),
        };
        let key = world.engine.execute(new_key).await.unwrap().key;
        Self {
            world,
            provider,
            address,
            key,
            http,
        }
    }

    /// Asks for a month of pro for a tenant; the status and the answer.
    async fn ask(&self, tenant: &str, idempotency_key: Option<&str>) -> (u16, Value) {
        let request = self.http.post(format!("http://{}{CHARGE}", self.address));
        let mut request = request
            .bearer_auth(&self.key)
            .header("x-tenant-id", tenant)
            .header("content-type", "application/json");
        if let Some(key) = idempotency_key {
            request = request.header("idempotency-key", key);
        }
        let answer = request.body(r#"{"plan": "pro"}"#).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        for secret in [
            self.provider.key_secret(),
            self.provider.url(),
            KEY_ID,
            WEBHOOK_SECRET,
        ] {
            assert!(!text.contains(secret), "{text}");
        }
        (status, serde_json::from_str(&text).unwrap())
    }

    async fn hosted(&self, tenant: &str) -> Value {
        let (status, answer) = self.ask(tenant, None).await;
        assert_eq!(status, 201, "{answer}");
        answer
    }

    /// Sends a body to the webhook with these headers; the status and the code of a refusal.
    async fn send(&self, body: impl Into<Vec<u8>>, headers: &[(&str, &str)]) -> (u16, String) {
        let mut request = self.http.post(format!("http://{}{WEBHOOK}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body.into()).send().await.unwrap();
        let status = answer.status().as_u16();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default();
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    }

    fn now_s(&self) -> i64 {
        self.world.clock.now_ms() / 1000
    }

    /// Sends an event as the provider would.
    async fn tell(&self, event: &str) {
        let signature = signature(event, WEBHOOK_SECRET, self.now_s());
        let sent = self.send(event, &[("x-hook0-signature", &signature)]).await;
        assert_eq!(sent, (200, String::new()));
        self.world.apply_inbox().await;
    }

    /// An event of the checkout of a charge, now.
    fn event(&self, charge: &Value, kind: &str) -> String {
        let opened = self.provider.opened();
        let checkout = opened
            .iter()
            .find(|one| one["metadata"]["chargeId"] == charge["id"])
            .unwrap();
        event(checkout, kind, &rfc3339(self.world.clock.now_ms()))
    }

    async fn kept(&self) -> String {
        column(&self.world.store, "select count(*) from inbox")
            .await
            .remove(0)
    }
}

async fn a_charge_is_opened_at_the_provider_and_paid_by_its_webhook(database: Database) {
    let shop = Shop::open(database).await;
    let charge = shop.hosted("acme").await;
    let opened = shop.provider.opened();
    assert_eq!(
        (charge["hosted_url"].clone(), &charge["provider"]),
        (opened[0]["url"].clone(), &json!("coinbase_business"))
    );
    assert_eq!(
        (&charge["state"], &charge["tenantId"]),
        (&json!("open"), &json!("acme"))
    );
    let (_, body) = shop.provider.asked().remove(0);
    assert_eq!(
        body,
        json!({
            "amount": "15.00", "currency": "USDC", "description": "pro, one month",
            "expiresAt": "2025-10-09T09:54:08Z", "metadata": {"chargeId": charge["id"]},
        })
    );
    shop.world.wait(1_000);
    let success = shop.event(&charge, "checkout.payment.success");
    shop.tell(&success).await;
    shop.tell(&success).await;
    assert_eq!(
        (shop.world.plan("acme"), shop.kept().await),
        ("pro".into(), "1".into())
    );
    // What is paid is not asked for again: the next charge is another, with a checkout of its own.
    let next = shop.hosted("acme").await;
    assert!(
        next["id"] != charge["id"] && next["hosted_url"] != charge["hosted_url"],
        "{next}"
    );
}

async fn a_checkout_is_opened_once_however_often_it_is_asked_for(database: Database) {
    let shop = Shop::open(database).await;
    let first = shop.hosted("acme").await;
    let (_, keyed) = shop.ask("acme", Some("one")).await;
    let (_, again) = shop.ask("acme", Some("one")).await;
    for other in [&keyed, &again] {
        assert_eq!(
            (&other["id"], &other["hosted_url"]),
            (&first["id"], &first["hosted_url"])
        );
    }
    assert_eq!(shop.provider.asked().len(), 1);
    // Two at once may both ask the provider, which then says the same to both.
    let (one, two) = tokio::join!(shop.ask("other", None), shop.ask("other", None));
    assert_eq!((one.0, two.0), (201, 201));
    assert_eq!(
        (&one.1["id"], &one.1["hosted_url"]),
        (&two.1["id"], &two.1["hosted_url"])
    );
    assert_eq!(shop.provider.opened().len(), 2);
    let rows = column(&shop.world.store, "select count(*) from hosted_payment").await;
    assert_eq!(rows, ["2"]);
}

async fn an_answer_that_was_lost_opens_no_second_checkout(database: Database) {
    let shop = Shop::open(database).await;
    shop.provider
        .next([Mood::LosesTheAnswer, Mood::Status(429), Mood::Status(500)]);
    let (status, refused) = shop.ask("acme", Some("one")).await;
    assert_eq!(
        (status, &refused["code"]),
        (503, &json!("CHECKOUT_UNAVAILABLE")),
        "{refused}"
    );
    assert_eq!(shop.provider.asked().len(), 3);
    shop.provider.next([Mood::LosesTheAnswer]);
    let (status, charge) = shop.ask("acme", Some("one")).await;
    assert_eq!(status, 201, "{charge}");
    let keys: Vec<String> = shop.provider.asked().into_iter().map(|(key, _)| key).collect();
    assert!(
        keys.len() == 5 && keys.iter().all(|key| *key == keys[0]),
        "{keys:?}"
    );
    assert_eq!(shop.provider.opened().len(), 1);
    let charges = column(&shop.world.store, "select count(*) from charge").await;
    assert_eq!(charges, ["1"]);
}

async fn what_is_no_checkout_of_the_charge_is_not_shown_to_anyone(database: Database) {
    let shop = Shop::open(database).await;
    for (number, mood) in [
        Mood::Garbled,
        Mood::Endless,
        Mood::AnotherPrice,
        Mood::AnotherCurrency,
        Mood::Script,
        Mood::Nameless,
        Mood::Status(302),
        Mood::Status(400),
        Mood::Status(401),
        Mood::Status(204),
    ]
    .into_iter()
    .enumerate()
    {
        shop.provider.next([mood]);
        let (status, refused) = shop.ask(&format!("tenant-{number}"), None).await;
        assert_eq!(
            (status, &refused["code"]),
            (503, &json!("CHECKOUT_UNAVAILABLE")),
            "{mood:?} {refused}"
        );
        assert_eq!(
            shop.provider.asked().len(),
            number + 1,
            "{mood:?} is not asked for again"
        );
    }
    let rows = column(&shop.world.store, "select count(*) from hosted_payment").await;
    assert_eq!(rows, ["0"]);
}

async fn a_provider_that_is_silent_keeps_nobody_waiting(database: Database) {
    let shop = Shop::open(database).await;
    shop.provider.next([Mood::Silent]);
    let answered = tokio::time::timeout(4 * TIMEOUT, shop.ask("acme", None)).await;
    let (status, refused) = answered.expect("it is answered in time");
    assert_eq!((status, &refused["code"]), (503, &json!("CHECKOUT_UNAVAILABLE")));
    assert_eq!(shop.hosted("acme").await["provider"], "coinbase_business");
}

async fn what_a_provider_did_not_sign_is_not_kept(database: Database) {
    let shop = Shop::open(database).await;
    let charge = shop.hosted("acme").await;
    let event = shop.event(&charge, "checkout.payment.success");
    let now = shop.now_s();
    let genuine = signature(&event, WEBHOOK_SECRET, now);
    let invalid = (400, "INVALID_SIGNATURE".to_owned());
    let (stale, early) = (
        signature(&event, WEBHOOK_SECRET, now - 301),
        signature(&event, WEBHOOK_SECRET, now + 301),
    );
    let forged = signature(&event, "a-secret-of-a-stranger", now);
    let renamed = genuine.replace("v0=", "v1=");
    for headers in [
        vec![],
        vec![("x-hook0-signature", "")],
        vec![("x-hook0-signature", forged.as_str())],
        vec![("x-hook0-signature", &stale)],
        vec![("x-hook0-signature", &early)],
        vec![("x-hook0-signature", &renamed)],
        vec![("x-hook0-signature", &genuine), ("x-hook0-signature", &genuine)],
        vec![("x-hook0-signature", &genuine), ("x-cc-webhook-signature", "00")],
        vec![("x-cc-webhook-signature", &genuine[genuine.len() - 64..])],
        vec![("stripe-signature", &genuine)],
    ] {
        assert_eq!(shop.send(event.clone(), &headers).await, invalid, "{headers:?}");
    }
    let tampered = event.replace("15.00", "99.00");
    assert_eq!(
        shop.send(tampered, &[("x-hook0-signature", &genuine)]).await,
        invalid
    );
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"eventType": 5}"#,
        r#"{"eventType": "with space"}"#,
    ] {
        let signed = signature(body, WEBHOOK_SECRET, now);
        let refused = shop.send(body, &[("x-hook0-signature", &signed)]).await;
        assert_eq!(refused, (400, "NOT_AN_EVENT".to_owned()), "{body}");
    }
    let huge = format!(r#"{{"eventType": "{}"}}"#, "x".repeat(256 * 1024));
    let signed = signature(&huge, WEBHOOK_SECRET, now);
    let refused = shop.send(huge, &[("x-hook0-signature", &signed)]).await;
    assert_eq!(refused, (413, "BODY_TOO_LARGE".to_owned()));
    assert_eq!(
        (shop.kept().await, shop.world.plan("acme")),
        ("0".into(), "free".into())
    );
    // A secret that is being replaced still signs.
    let by_the_old = signature(&event, OLD_SECRET, now - 300);
    assert_eq!(
        shop.send(event, &[("x-hook0-signature", &by_the_old)]).await.0,
        200
    );
    let unheard_of = r#"{"eventType": "something.new"}"#;
    shop.tell(unheard_of).await;
    assert_eq!(
        (shop.kept().await, shop.world.plan("acme")),
        ("2".into(), "pro".into())
    );
}

async fn events_that_are_held_back_swapped_and_sent_again_end_the_same(database: Database) {
    let shop = Shop::open(database).await;
    for (tenant, order) in [("first", [0, 1, 2]), ("second", [2, 1, 0]), ("third", [1, 2, 1])] {
        let charge = shop.hosted(tenant).await;
        let mut events = Vec::new();
        for kind in [
            "checkout.payment.failed",
            "checkout.payment.success",
            "checkout.payment.expired",
        ] {
            shop.world.wait(1_000);
            events.push(shop.event(&charge, kind));
        }
        for index in order {
            shop.tell(&events[index]).await;
        }
        for event in &events {
            shop.tell(event).await;
        }
        assert_eq!(shop.world.plan(tenant), "pro", "{tenant}");
        // The same words about another's charge are not its provider's: the id is of a checkout that was opened for this one.
        let victim = shop.hosted(&format!("victim-of-{tenant}")).await;
        let mut swapped: Value = serde_json::from_str(&events[1]).unwrap();
        swapped["metadata"]["chargeId"] = victim["id"].clone();
        shop.tell(&swapped.to_string()).await;
        assert_eq!(shop.world.plan(&format!("victim-of-{tenant}")), "free");
    }
    let paid = column(
        &shop.world.store,
        "select distinct state from hosted_payment where received <> '0'",
    )
    .await;
    assert_eq!(paid, ["paid"]);
    shop.world.assert_reload_is_identity().await;
}

async fn without_a_provider_a_charge_has_its_own_page(database: Database) {
    let shop = Shop::with(database, false).await;
    let charge = shop.hosted("acme").await;
    assert_eq!(charge["hosted_url"], charge["payUrl"]);
    assert_eq!(
        charge["payUrl"],
        format!("/pay/{}", charge["id"].as_str().unwrap())
    );
    assert_eq!(charge["provider"], Value::Null);
    assert!(shop.provider.asked().is_empty());
}
