//! Plans, subscriptions and checks.

use serde_json::json;

use super::*;

const CHECK: &str = "/api/billing/check";

#[tokio::test]
async fn plans_are_public_and_found_by_alias() {
    let mut api = Api::open().await;
    api.key = String::new();
    let plans = api.get("/api/billing/plans").await;
    let plans = plans.ok();
    assert_eq!(plans["currency"], "USD");
    let ids: Vec<&str> = plans["plans"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|plan| plan["id"].as_str())
        .collect();
    assert_eq!(ids, ["free", "pro", "enterprise", "custom"]);
    assert_eq!(plans["meters"]["messages"]["window"], "calendar_month");
    let pro = api.get("/api/billing/plans/Professional").await;
    let pro = pro.ok();
    assert_eq!(pro["id"], "pro");
    assert_eq!(pro["limits"]["messages"], -1);
    assert_eq!(pro["limits"]["users"], 100);
    assert_eq!(pro["price"], json!({"month": "15", "year": "150"}));
    assert_eq!(pro["priceId"]["month"], "nchat_pro_month");
    api.get("/api/billing/plans/gold")
        .await
        .refused(404, "PLAN_NOT_FOUND");
}

#[tokio::test]
async fn a_tenant_without_sources_has_the_default_plan() {
    let api = Api::open().await;
    let answer = api.get("/api/billing/subscription?tenantId=acme").await;
    let subscription = answer.ok();
    assert_eq!(subscription["plan"], "free");
    assert_eq!(subscription["status"], "none");
    assert_eq!(subscription["access"], "full");
    assert_eq!(subscription["sources"], json!([]));
    assert_eq!(subscription["asOf"], "2025-10-09T08:53:20.000Z");
    assert_eq!(subscription["stale"], true, "the chain that sells was never read");
    api.read_blocks().await;
    let answer = api.get("/api/billing/subscription?tenantId=acme").await;
    assert_eq!(answer.ok()["stale"], false);
}

#[tokio::test]
async fn a_check_answers_with_the_figures() {
    let api = Api::open().await;
    let check = json!({"tenantId": "acme", "meter": "users", "amount": 1, "current": 8});
    let answer = api.post(CHECK, check).await;
    let allowed = answer.ok();
    assert_eq!(allowed["allowed"], true);
    assert_eq!(allowed["code"], "allowed");
    assert_eq!(
        (&allowed["limit"], &allowed["unlimited"]),
        (&json!(10), &json!(false))
    );
    assert_eq!(
        (&allowed["currentUsage"], &allowed["remaining"]),
        (&json!(8), &json!(2))
    );
    assert_eq!(
        (&allowed["percent"], &allowed["threshold"]),
        (&json!(80), &json!("warn"))
    );
    assert_eq!(allowed["httpHint"], 200);
    let answer = api
        .post(
            CHECK,
            json!({"tenantId": "acme", "meter": "users", "amount": 3, "current": 8}),
        )
        .await;
    assert_eq!(answer.status, 200, "a decided check is an answer");
    assert_eq!(answer.body["allowed"], false);
    assert_eq!(answer.body["code"], "limit_exceeded");
    assert_eq!(answer.body["upgradeRequired"], "pro");
    assert_eq!(answer.body["httpHint"], 403);
    let answer = api
        .post(CHECK, json!({"plan": "pro", "meter": "messages", "current": 5}))
        .await;
    assert_eq!(
        (&answer.ok()["limit"], &answer.body["unlimited"]),
        (&json!(-1), &json!(true))
    );
    let answer = api
        .post(CHECK, json!({"tenantId": "acme", "feature": "sso"}))
        .await;
    assert_eq!(answer.ok()["upgradeRequired"], "enterprise");
    let answer = api
        .post(CHECK, json!({"tenantId": "acme", "minimumPlan": "professional"}))
        .await;
    assert_eq!(answer.ok()["code"], "plan_too_low");
}

#[tokio::test]
async fn many_checks_are_answered_in_their_order() {
    let api = Api::open().await;
    let checks = json!({"tenantId": "acme", "checks": [
        {"feature": "threads"},
        {"feature": "sso"},
        {"plan": "enterprise", "feature": "sso"},
        {"meter": "file_upload", "amount": 1024},
    ]});
    let answer = api.post(CHECK, checks).await;
    let allowed: Vec<bool> = answer.ok()["results"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["allowed"].as_bool())
        .collect();
    assert_eq!(allowed, [true, false, true, true]);
    assert_eq!(answer.body["allowed"], false);
    let many =
        |count: usize| json!({"tenantId": "acme", "checks": vec![json!({"feature": "threads"}); count]});
    assert_eq!(
        api.post(CHECK, many(500)).await.ok()["results"]
            .as_array()
            .unwrap()
            .len(),
        500
    );
    api.post(CHECK, many(501)).await.refused_field(422, "checks");
    api.post(CHECK, many(0)).await.refused_field(422, "checks");
    let wrong = json!({"tenantId": "acme", "checks": [{"feature": "threads"}, {"feature": "nonsense"}]});
    api.post(CHECK, wrong)
        .await
        .refused_field(422, "checks[1].feature");
    let wrong = json!({"tenantId": "acme", "checks": [{"meter": "users", "amount": -1}]});
    api.post(CHECK, wrong)
        .await
        .refused_field(400, "checks[0].amount");
    let other = json!({"tenantId": "acme", "checks": [{"feature": "threads", "tenantId": "beta"}]});
    api.post(CHECK, other).await.ok();
    let other = json!({"checks": [{"feature": "threads", "tenantId": "beta"}]});
    api.post(&format!("{CHECK}?tenantId=acme"), other)
        .await
        .refused(400, "TENANT_CONFLICT");
}

#[tokio::test]
async fn what_cannot_be_decided_names_its_field() {
    let api = Api::open().await;
    for (check, status, field) in [
        (json!({"feature": "nonsense"}), 422, "feature"),
        (json!({"meter": "nonsense", "current": 1}), 422, "meter"),
        (json!({"meter": "users"}), 422, "current"),
        (json!({"minimumPlan": "gold"}), 422, "minimumPlan"),
        (json!({"plan": "gold", "feature": "sso"}), 422, "plan"),
        (
            json!({"plan": "pro", "tenantId": "acme", "feature": "sso"}),
            422,
            "plan",
        ),
        (json!({}), 400, "feature"),
        (json!({"feature": "sso", "meter": "users"}), 400, "feature"),
        (json!({"feature": "sso", "amount": 1}), 400, "amount"),
        (json!({"feature": "sso", "current": 1}), 400, "current"),
        (
            json!({"meter": "users", "amount": -1, "current": 1}),
            400,
            "amount",
        ),
        (
            json!({"meter": "users", "amount": 1.5, "current": 1}),
            400,
            "amount",
        ),
        (
            json!({"meter": "users", "amount": "1", "current": 1}),
            400,
            "amount",
        ),
        (json!({"meter": "users", "current": 1e300}), 400, "current"),
        (json!({"feature": "sso", "nonsense": 1}), 400, "nonsense"),
    ] {
        let answer = api.post(&format!("{CHECK}?tenantId=acme"), check.clone()).await;
        assert_eq!(answer.body["field"], field, "{check} {}", answer.text);
        answer.refused_field(status, field);
    }
    api.post(CHECK, json!({"feature": "sso"}))
        .await
        .refused(400, "TENANT_REQUIRED");
    let huge = json!({"tenantId": "acme", "meter": "users", "amount": u64::MAX, "current": u64::MAX});
    assert_eq!(api.post(CHECK, huge).await.ok()["allowed"], false);
}

#[tokio::test]
async fn a_denied_check_is_402_where_the_catalogue_says_so() {
    let text = include_str!("../../../config/plans.toml").replace("# denied_status", "denied_status");
    let api = Api::with(|_| (), Catalogue::parse(&text, &[]).unwrap()).await;
    let denied = api
        .post(CHECK, json!({"tenantId": "acme", "feature": "sso"}))
        .await;
    assert_eq!(denied.status, 402);
    assert_eq!(denied.body["httpHint"], 402);
    assert_eq!(denied.header("content-type"), "application/json");
    let many = json!({"tenantId": "acme", "checks": [{"feature": "sso"}]});
    let many = api.post(CHECK, many).await;
    assert_eq!(many.status, 200);
    assert_eq!(many.body["results"][0]["httpHint"], 402);
}
