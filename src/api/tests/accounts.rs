//! What a tenant has paid on-chain: credit, what a plan would cost, and what it wants when its period ends.

use alloy::primitives::U256;
use serde_json::json;

use super::webhooks::{event, signed};
use super::*;
use crate::engine::ApplyInbox;

const CREATE: &str = "/api/billing/crypto/stablecoin?tenantId=acme";
const CREDIT: &str = "/api/billing/credit?tenantId=acme";
const SUBSCRIPTION: &str = "/api/billing/subscription?tenantId=acme";
const RESUME: &str = "/api/billing/subscription/resume?tenantId=acme";
const PREVIEW: &str = "/api/billing/subscription/preview?tenantId=acme";

impl Api {
    /// Reads one block that holds payments of so much by Alice, each in a transaction of its own.
    async fn receive(&self, amounts: &[&Value]) {
        let opened = OpenChain {
            chain: ANVIL,
            genesis: B256::ZERO,
            head: 1,
        };
        let fence = self.engine.execute(opened).await.unwrap().fence;
        let mut paid = block(1);
        let payments = (0_u8..).zip(amounts).map(|(index, amount)| LogEntry {
            address: USDC,
            topics: vec![TRANSFER, ALICE.into_word(), TREASURY.into_word()],
            data: Bytes::from(
                amount
                    .as_str()
                    .unwrap()
                    .parse::<U256>()
                    .unwrap()
                    .to_be_bytes_vec(),
            ),
            tx_hash: B256::repeat_byte(0xa0 + index),
            log_index: index.into(),
            ordinal: Some(0),
        });
        paid.logs = payments.collect();
        let advance = Advance {
            chain: ANVIL,
            fence,
            head: 1,
            rollback_to: None,
            blocks: vec![paid],
            evidence: Evidence::default(),
        };
        self.engine.execute(advance).await.unwrap();
    }

    /// A month of pro for acme, paid so many times.
    async fn pay_for_pro(&self, times: usize) -> Value {
        let charge = self.post(CREATE, json!({"plan": "pro"})).await.ok().clone();
        self.receive(&vec![&charge["due"]["baseUnits"]; times]).await;
        charge
    }

    /// Stripe tells of a month of pro for acme.
    async fn subscribe_at_stripe(&self) {
        self.send(signed(&event("evt_1").to_string())).await.ok();
        for key in self.engine.pending_inbox().await.unwrap() {
            self.engine.execute(ApplyInbox { key }).await.unwrap();
        }
    }
}

#[tokio::test]
async fn what_is_paid_twice_is_credit_and_buys_the_next_month_at_once() {
    let api = Api::open().await;
    let nothing = api.get(CREDIT).await;
    assert_eq!(
        nothing.ok(),
        &json!({"tenantId": "acme", "balances": [], "entries": [], "nextCursor": null})
    );
    let charge = api.pay_for_pro(2).await;
    let due = charge["due"]["amount"].as_str().unwrap();
    let credit = api.get(CREDIT).await;
    assert_eq!(credit.ok()["balances"], json!([{"unit": "USD", "balance": due}]));
    let at = "2025-10-09T08:53:20.000Z";
    let excess = json!({"unit": "USD", "amount": due, "kind": "excess", "chargeId": charge["id"], "at": at});
    assert_eq!(credit.body["entries"], json!([excess]));

    let preview = api.post(PREVIEW, json!({"plan": "pro"})).await;
    let asked = |answer: &Answer| {
        (
            answer.body["credit"].clone(),
            answer.body["asked"]["baseUnits"].clone(),
        )
    };
    preview.ok();
    assert_eq!(asked(&preview), (json!("15"), json!("0")));
    assert_eq!(preview.body["periodStart"], "2025-11-09T08:53:18.000Z");
    assert_eq!(preview.body["periodEnd"], "2025-12-09T08:53:18.000Z");
    let covered = api.post(CREATE, json!({"plan": "pro"})).await;
    assert_eq!(covered.status, 201);
    assert_eq!(covered.body["state"], "paid");
    assert_eq!(asked(&covered), asked(&preview));
    let subscription = api.get(SUBSCRIPTION).await;
    assert_eq!(subscription.ok()["currentPeriodEnd"], preview.body["periodEnd"]);
    api.delete(&format!(
        "/api/billing/crypto/charge/{}?tenantId=acme",
        covered.body["id"].as_str().unwrap()
    ))
    .await
    .refused(409, "CHARGE_NOT_OPEN");
    let rest = api.get(CREDIT).await;
    let balance = rest.ok()["balances"][0]["balance"].as_str().unwrap();
    assert_eq!(format!("15{}", &balance[1..]), due);
    // A year is asked for less what is left.
    let year = api.post(CREATE, json!({"plan": "pro", "interval": "year"})).await;
    assert_eq!(year.ok()["credit"], balance);
    let asked = Amount::from_units(year.body["asked"]["amount"].as_str().unwrap(), 6).unwrap();
    let whole = asked.saturating_add(Amount::from_units(balance, 6).unwrap());
    assert_eq!(whole, Amount::from(150_000_000));
}

#[tokio::test]
async fn credit_is_listed_by_pages_and_nobody_elses() {
    let api = Api::open().await;
    api.pay_for_pro(3).await;
    api.post(CREATE, json!({"plan": "pro"})).await.ok();
    let whole = api.get(CREDIT).await.ok()["entries"].clone();
    assert_eq!(whole.as_array().unwrap().len(), 2);
    assert_eq!(whole[0]["kind"], "set_aside", "newest first");
    let mut listed = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = api.get(&format!("{CREDIT}&limit=1{cursor}")).await;
        listed.extend(page.ok()["entries"].as_array().unwrap().clone());
        match page.body["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(Value::from(listed), whole);
    let other = api.get("/api/billing/credit?tenantId=beta").await;
    assert_eq!(
        (&other.ok()["balances"], &other.body["entries"]),
        (&json!([]), &json!([]))
    );
    let of_ours = api
        .get(&format!("/api/billing/credit?tenantId=beta&limit=1{cursor}"))
        .await;
    assert_eq!(
        of_ours.ok()["entries"],
        json!([]),
        "a cursor is a place, and no key"
    );
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("cursor=zzz", "cursor"),
        ("cursor=MSB4", "cursor"),
    ] {
        let answer = api.get(&format!("{CREDIT}&{query}")).await;
        answer.refused_field(400, field);
    }
    api.get("/api/billing/credit")
        .await
        .refused(400, "TENANT_REQUIRED");
}

#[tokio::test]
async fn a_wrong_wish_is_refused_by_field_and_changes_nothing() {
    let api = Api::open().await;
    api.pay_for_pro(1).await;
    let records = api.records().await;
    let both = [
        (json!({}), 400, "plan"),
        (json!({"plan": 1}), 400, "plan"),
        (json!({"plan": null}), 400, "plan"),
        (json!({"plan": "gold"}), 422, "plan"),
        (json!({"plan": "free"}), 422, "plan"),
        (json!({"plan": "custom"}), 422, "plan"),
        (json!({"plan": "pro", "interval": "week"}), 400, "interval"),
        (json!({"plan": "pro", "interval": 1}), 400, "interval"),
        (json!({"plan": "pro", "tenantId": 1}), 400, "tenantId"),
        (json!({"plan": "pro", "tenantId": ""}), 400, "tenantId"),
        (json!({"plan": "pro", "price": "1"}), 400, "price"),
        (json!(["pro"]), 400, "body"),
    ];
    let preview = [
        (json!({"plan": "pro", "chainId": -1}), 422, "chainId"),
        (json!({"plan": "pro", "chainId": {}}), 422, "chainId"),
        (json!({"plan": "pro", "chainId": 137}), 422, "chainId"),
        (json!({"plan": "pro", "token": 1}), 400, "token"),
        (json!({"plan": "pro", "token": "DOGE"}), 422, "token"),
        (json!({"plan": "pro", "whenActive": "later"}), 400, "whenActive"),
        (json!({"plan": "pro", "whenActive": true}), 400, "whenActive"),
    ];
    for (body, status, field) in both.iter().chain(&preview) {
        let answer = api.post(PREVIEW, body.clone()).await;
        assert_eq!(answer.body["field"], *field, "{body}: {}", answer.text);
        answer.refused(*status, "INVALID_FIELD");
    }
    let change = [
        (json!({"plan": "pro", "whenActive": "queue"}), 400, "whenActive"),
        (json!({"plan": "pro", "token": "USDC"}), 400, "token"),
    ];
    for (body, status, field) in both.iter().chain(&change) {
        let answer = api.put(SUBSCRIPTION, body.clone()).await;
        assert_eq!(answer.body["field"], *field, "{body}: {}", answer.text);
        answer.refused(*status, "INVALID_FIELD");
    }
    for body in [json!("later"), json!(1), json!([])] {
        let answer = api.post(CREATE, json!({"plan": "pro", "whenActive": body})).await;
        assert_eq!(answer.body["field"], "whenActive", "{}", answer.text);
        answer.refused(400, "INVALID_FIELD");
    }
    let named = json!({"plan": "pro", "tenantId": "beta"});
    api.post(PREVIEW, named.clone())
        .await
        .refused(400, "TENANT_CONFLICT");
    api.put(SUBSCRIPTION, named).await.refused(400, "TENANT_CONFLICT");
    assert_eq!(api.records().await, records);
}

#[tokio::test]
async fn a_wish_for_the_end_is_shown_kept_once_and_taken_back() {
    let api = Api::open().await;
    for nothing in [
        api.put(SUBSCRIPTION, json!({"plan": "pro"})).await,
        api.delete(SUBSCRIPTION).await,
        api.post(RESUME, json!({})).await,
    ] {
        nothing.refused(409, "NO_SUBSCRIPTION");
    }
    api.pay_for_pro(1).await;
    let end = json!("2025-11-09T08:53:18.000Z");
    let source = |answer: &Answer, field: &str| answer.ok()["sources"][0][field].clone();
    let cancelled = api.delete(SUBSCRIPTION).await;
    assert_eq!(cancelled.ok()["plan"], "pro", "until it ends");
    assert_eq!(cancelled.body["scheduledEnd"], end);
    let records = api.records().await;
    assert_eq!(api.delete(SUBSCRIPTION).await.ok()["scheduledEnd"], end);
    assert_eq!(api.records().await, records, "asked twice, done once");
    let resumed = api.post(RESUME, json!({})).await;
    assert_eq!(resumed.ok()["scheduledEnd"], Value::Null);
    let records = api.records().await;
    api.post(RESUME, json!({})).await.ok();
    assert_eq!(api.records().await, records);

    let yearly = json!({"planId": "professional", "interval": "yearly"});
    let changed = api.put(SUBSCRIPTION, yearly.clone()).await;
    assert_eq!(source(&changed, "nextPlan"), "pro");
    assert_eq!(source(&changed, "nextInterval"), "year");
    let records = api.records().await;
    api.put(SUBSCRIPTION, yearly).await.ok();
    assert_eq!(api.records().await, records);
    let kept = api.put(SUBSCRIPTION, json!({"plan": "pro"})).await;
    assert_eq!(source(&kept, "nextPlan"), Value::Null, "as it is");
    let up = api.put(SUBSCRIPTION, json!({"plan": "enterprise"})).await;
    up.refused(409, "UPGRADE_NEEDS_PAYMENT");
    let of_another = "/api/billing/subscription?tenantId=beta";
    api.delete(of_another).await.refused(409, "NO_SUBSCRIPTION");
}

#[tokio::test]
async fn beside_stripe_the_caller_chooses_and_what_is_at_stripe_is_changed_there() {
    let api = Api::open().await;
    api.subscribe_at_stripe().await;
    for refused in [
        api.put(SUBSCRIPTION, json!({"plan": "pro", "interval": "year"}))
            .await,
        api.delete(SUBSCRIPTION).await,
        api.post(RESUME, json!({})).await,
    ] {
        refused.refused(409, "STRIPE_NOT_CALLED");
    }
    for path in [PREVIEW, CREATE] {
        let answer = api.post(path, json!({"plan": "pro"})).await;
        let detail = answer.refused(409, "QUEUE_OR_STACK");
        assert!(
            detail.contains("\"queue\"") && detail.contains("\"stack\""),
            "{detail}"
        );
    }
    let preview = async |choice: &str| {
        let body = json!({"plan": "enterprise", "whenActive": choice});
        let answer = api.post(PREVIEW, body).await;
        answer.ok()["periodStart"].as_str().unwrap().to_owned()
    };
    assert_eq!(preview("stack").await, "2025-10-09T08:53:20.000Z");
    // Stripe's period, and the 72 hours in which nothing is heard.
    assert_eq!(preview("queue").await, "2025-10-13T08:53:20.000Z");

    let key = [("idempotency-key", "k-1")];
    let queue = json!({"plan": "pro", "whenActive": "queue"});
    let first = api.post_with(CREATE, &key, queue.clone()).await;
    assert_eq!(first.ok()["whenActive"], "queue");
    let replayed = api.post_with(CREATE, &key, queue).await;
    assert_eq!(replayed.header("idempotency-replayed"), "true");
    assert_eq!(replayed.body, first.body);
    let stack = json!({"plan": "pro", "whenActive": "stack"});
    let other = api.post_with(CREATE, &key, stack.clone()).await;
    other.refused(422, "IDEMPOTENCY_KEY_REUSED");
    api.post(CREATE, stack).await.refused(409, "CHARGE_OPEN");
    let same = api.post(CREATE, json!({"plan": "pro"})).await;
    assert_eq!(same.ok()["id"], first.body["id"]);
}

#[tokio::test]
async fn keys_without_the_scope_neither_see_nor_change_an_account() {
    let mut api = Api::open().await;
    api.key = api.new_key(&[Scope::Check]).await;
    api.get(CREDIT).await.ok();
    api.post(PREVIEW, json!({"plan": "pro"})).await.ok();
    for refused in [
        api.put(SUBSCRIPTION, json!({"plan": "pro"})).await,
        api.delete(SUBSCRIPTION).await,
        api.post(RESUME, json!({})).await,
    ] {
        refused.refused(403, "SCOPE_MISSING");
    }
    api.key = api.new_key(&[Scope::Gates]).await;
    api.get(CREDIT).await.refused(403, "SCOPE_MISSING");
    api.post(PREVIEW, json!({"plan": "pro"}))
        .await
        .refused(403, "SCOPE_MISSING");
}
