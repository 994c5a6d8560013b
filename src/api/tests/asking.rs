//! What is the same for every route: keys, scopes, tenants, bodies, limits, ids, and how refusals look.

use axum::http::header::ALLOW;
use serde_json::json;

use super::*;
use crate::engine::RevokeKey;

const SUBSCRIPTION: &str = "/api/billing/subscription?tenantId=acme";

fn bare(path: &str) -> axum::http::request::Builder {
    Request::builder().uri(path)
}

fn empty(builder: axum::http::request::Builder) -> Request<Body> {
    builder.body(Body::empty()).unwrap()
}

#[tokio::test]
async fn a_key_is_needed_and_is_shown_in_either_header() {
    let api = Api::open().await;
    let nobody = api.send(empty(bare(SUBSCRIPTION))).await;
    nobody.refused(401, "UNAUTHORIZED");
    assert_eq!(nobody.header("www-authenticate"), "Bearer realm=\"tollgate\"");
    let unknown = format!("tg_{}", "0".repeat(64));
    for key in ["", "tg_", "nonsense", "tg_zz", unknown.as_str()] {
        let answer = api.send(empty(bare(SUBSCRIPTION).header("x-api-key", key))).await;
        answer.refused(401, "UNAUTHORIZED");
        assert!(
            answer.header("www-authenticate").contains("invalid_token"),
            "{key:?}"
        );
        assert!(!answer.text.contains(&unknown), "no key is repeated");
    }
    let key = api.key.as_str();
    api.send(empty(bare(SUBSCRIPTION).header("x-api-key", key)))
        .await
        .ok();
    api.send(empty(
        bare(SUBSCRIPTION).header("authorization", format!("bearer {key}")),
    ))
    .await
    .ok();
    let both = bare(SUBSCRIPTION).header("x-api-key", key);
    let both = both.header("authorization", format!("Bearer {unknown}"));
    api.send(empty(both)).await.refused(401, "UNAUTHORIZED");
    let basic = bare(SUBSCRIPTION).header("authorization", format!("Basic {key}"));
    api.send(empty(basic)).await.refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_revoked_key_is_refused_once_it_is_looked_up_again() {
    let mut api = Api::open().await;
    api.get(SUBSCRIPTION).await.ok();
    let keys = api.engine.api_keys().await.unwrap();
    let id = keys[0].id.clone();
    api.engine.execute(RevokeKey { id }).await.unwrap();
    api.clock.advance(10_000);
    api.get(SUBSCRIPTION).await.refused(401, "UNAUTHORIZED");
    api.key = api.new_key(&[Scope::Check]).await;
    api.get(SUBSCRIPTION).await.ok();
}

#[tokio::test]
async fn each_route_names_the_scope_that_a_key_lacks() {
    let mut api = Api::open().await;
    let charge = "/api/billing/crypto/stablecoin?tenantId=acme";
    let nonce = "/api/wallets/nonce?tenantId=acme&userId=alice";
    api.key = api.new_key(&[Scope::Check]).await;
    let denied = api.post(charge, json!({"plan": "pro"})).await;
    assert!(denied.refused(403, "SCOPE_MISSING").ends_with("billing"));
    assert!(
        api.post(nonce, json!({}))
            .await
            .refused(403, "SCOPE_MISSING")
            .ends_with("gates")
    );
    assert!(
        api.get("/api/admin/chains")
            .await
            .refused(403, "SCOPE_MISSING")
            .ends_with("admin")
    );
    api.get(SUBSCRIPTION).await.ok();
    api.get("/api/token-gates?tenantId=acme").await.ok();
    api.key = api.new_key(&[Scope::Billing]).await;
    api.post(charge, json!({"plan": "pro"})).await.ok();
    api.get(SUBSCRIPTION).await.refused(403, "SCOPE_MISSING");
    let gates = api.get("/api/token-gates?tenantId=acme").await;
    assert!(gates.refused(403, "SCOPE_MISSING").ends_with("gates or check"));
    api.key = api.new_key(&[Scope::Admin]).await;
    for path in [
        SUBSCRIPTION,
        "/api/token-gates?tenantId=acme",
        "/api/admin/chains",
    ] {
        api.get(path).await.ok();
    }
}

#[tokio::test]
async fn a_tenant_is_named_once_or_everywhere_the_same() {
    let api = Api::open().await;
    let path = "/api/billing/subscription";
    api.get(path).await.refused(400, "TENANT_REQUIRED");
    let named = |query: &str, header: &'static str| {
        let request = api.request(Method::GET, &format!("{path}{query}"));
        empty(request.header("x-tenant-id", header))
    };
    assert_eq!(api.send(named("", "acme")).await.ok()["tenantId"], "acme");
    api.send(named("?tenantId=acme", "acme")).await.ok();
    let answer = api.send(named("?tenantId=acme", "other")).await;
    let detail = answer.refused(400, "TENANT_CONFLICT");
    assert!(
        detail.contains("\"acme\"") && detail.contains("\"other\""),
        "{detail}"
    );
    let twice = api
        .request(Method::GET, path)
        .header("x-tenant-id", "a")
        .header("x-tenant-id", "b");
    api.send(empty(twice)).await.refused(400, "TENANT_CONFLICT");
    api.get(&format!("{path}?tenantId=a&tenantId=b"))
        .await
        .refused(400, "MALFORMED_QUERY");
    api.get(&format!("{path}?tenantId="))
        .await
        .refused(400, "INVALID_FIELD");
    api.get(&format!("{path}?tenantId=a%20b"))
        .await
        .refused(400, "INVALID_FIELD");
    api.send(named("", "a b")).await.refused(400, "INVALID_FIELD");
    let in_body = json!({"plan": "pro", "tenantId": "other"});
    let answer = api
        .post("/api/billing/crypto/stablecoin?tenantId=acme", in_body)
        .await;
    assert!(answer.refused(400, "TENANT_CONFLICT").contains("the body"));
    let users = json!({"userId": "bob"});
    let answer = api
        .post("/api/wallets/nonce?tenantId=acme&userId=alice", users)
        .await;
    answer.refused(400, "USER_CONFLICT");
}

#[tokio::test]
async fn bodies_are_json_within_the_cap_and_name_the_field_that_is_wrong() {
    let api = Api::open().await;
    let path = "/api/billing/crypto/stablecoin?tenantId=acme";
    let raw = |body: String, kind: &'static str| {
        let request = api.request(Method::POST, path).header(CONTENT_TYPE, kind);
        request.body(Body::from(body)).unwrap()
    };
    for body in ["{", "{\"plan\":}", "nonsense", "{\"plan\":\"pro\"} {}", "\u{0}"] {
        let answer = api.send(raw(body.to_owned(), "application/json")).await;
        answer.refused(400, "MALFORMED_JSON");
    }
    let deep = "[".repeat(10_000);
    api.send(raw(deep, "application/json"))
        .await
        .refused(400, "INVALID_FIELD");
    let large = format!("{{\"plan\":\"{}\"}}", "x".repeat(70_000));
    api.send(raw(large, "application/json"))
        .await
        .refused(413, "BODY_TOO_LARGE");
    let form = api
        .send(raw("plan=pro".to_owned(), "application/x-www-form-urlencoded"))
        .await;
    form.refused(415, "UNSUPPORTED_MEDIA_TYPE");
    let sound = "{\"plan\":\"pro\"}".to_owned();
    api.send(raw(sound, "Application/JSON; charset=utf-8")).await.ok();
    for (body, field) in [
        (json!({}), "plan"),
        (json!({"plan": 5}), "plan"),
        (json!({"plan": "pro", "planId": "pro"}), "plan"),
        (json!({"plan": "pro", "interval": "weekly"}), "interval"),
        (json!({"plan": "pro", "amount": "1"}), "amount"),
        (json!({"plan": "pro", "tenantId": "a b"}), "tenantId"),
        (json!([]), "body"),
    ] {
        let answer = api.post(path, body.clone()).await;
        answer.refused(400, "INVALID_FIELD");
        assert_eq!(answer.body["field"], field, "{body} {}", answer.text);
    }
}

#[tokio::test]
async fn an_unknown_route_method_or_path_is_a_problem_too() {
    let api = Api::open().await;
    api.get("/api/nothing").await.refused(404, "ROUTE_NOT_FOUND");
    api.get("/").await.refused(404, "ROUTE_NOT_FOUND");
    api.get("/metrics").await.refused(404, "ROUTE_NOT_FOUND");
    let wrong = api
        .send(empty(
            Request::builder().method(Method::PUT).uri("/api/token-gates"),
        ))
        .await;
    wrong.refused(405, "METHOD_NOT_ALLOWED");
    let allowed = wrong.headers[ALLOW].to_str().unwrap();
    assert!(allowed.contains("GET") && allowed.contains("POST"), "{allowed}");
    api.get("/api/billing/plans/%ff")
        .await
        .refused(404, "PLAN_NOT_FOUND");
    let head = Request::builder().method(Method::HEAD).uri("/livez");
    assert_eq!(api.send(empty(head)).await.status, 200);
}

#[tokio::test]
async fn every_answer_carries_a_request_id_and_takes_over_a_sane_one() {
    let api = Api::open().await;
    let made = api.get("/livez").await;
    assert!(made.header("x-request-id").starts_with("req_"));
    assert_eq!(made.header("cache-control"), "no-store");
    let long = "x".repeat(65);
    for (given, kept) in [
        ("trace-1", true),
        ("a b", false),
        ("", false),
        (long.as_str(), false),
    ] {
        let answer = api
            .send(empty(bare("/nothing").header("x-request-id", given)))
            .await;
        answer.refused(404, "ROUTE_NOT_FOUND");
        assert_eq!(answer.header("x-request-id") == given, kept, "{given:?}");
    }
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_when_to_come_back() {
    let api = Api::with(
        |config| config.server.requests_per_second = 1,
        Catalogue::shipped(&[]).unwrap(),
    )
    .await;
    let first = api.get(SUBSCRIPTION).await;
    first.ok();
    assert_eq!(first.header("ratelimit-policy"), "\"key\";q=2;w=2");
    assert_eq!(first.header("ratelimit"), "\"key\";r=1;t=1");
    api.get(SUBSCRIPTION).await.ok();
    let refused = api.get(SUBSCRIPTION).await;
    refused.refused(429, "RATE_LIMITED");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.header("ratelimit"), "\"key\";r=0;t=1");
    let mut other = api;
    other.key = other.new_key(&[Scope::Check]).await;
    other.get(SUBSCRIPTION).await.ok();
    for _ in 0..100 {
        other.get("/livez").await.ok();
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let no_time = |config: &mut Config| config.server.request_timeout = Duration::ZERO;
    let api = Api::with(no_time, Catalogue::shipped(&[]).unwrap()).await;
    let answer = api
        .post(
            "/api/billing/crypto/stablecoin?tenantId=acme",
            json!({"plan": "pro"}),
        )
        .await;
    answer.refused(503, "TIMEOUT");
}

#[tokio::test]
async fn a_panic_is_a_problem_that_repeats_nothing() {
    async fn broken() {
        panic!("postgres://user:{URL_SECRET}@host");
    }
    let folder = tempfile::tempdir().unwrap();
    let mut api = Api::open().await;
    let routes = Router::new().route("/broken", axum::routing::get(broken));
    let server = config(folder.path()).server;
    api.router = crate::api::framed(routes, &server);
    api.get("/broken").await.refused(500, "INTERNAL");
}

#[tokio::test]
async fn a_failing_database_is_named_without_its_words() {
    let api = Api::open().await;
    api.get(SUBSCRIPTION).await.ok();
    api.engine.close().await;
    let answer = api.get("/api/billing/crypto/charge/chg_1?tenantId=acme").await;
    let detail = answer.refused(503, "UNAVAILABLE");
    assert!(!detail.to_lowercase().contains("pool"), "{detail}");
    assert_eq!(answer.header("retry-after"), "1");
    api.get(SUBSCRIPTION).await.ok();
}

#[tokio::test]
async fn requests_are_counted_by_route_and_never_by_path() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let api = Api::open().await;
    let guard = metrics::set_default_local_recorder(&recorder);
    api.get("/api/billing/plans/pro").await.ok();
    api.get("/nothing/4711").await.refused(404, "ROUTE_NOT_FOUND");
    let word = Request::builder().method("BREW").uri("/livez");
    assert_eq!(api.send(empty(word)).await.status, 405);
    drop(guard);
    let text = handle.render();
    for line in [
        r#"tollgate_http_requests_total{route="/api/billing/plans/{id}",method="GET",status="200"} 1"#,
        r#"tollgate_http_requests_total{route="unmatched",method="GET",status="404"} 1"#,
        r#"tollgate_http_requests_total{route="/livez",method="other",status="405"} 1"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("4711"));
}

#[tokio::test]
async fn a_parameter_that_a_route_does_not_know_is_refused_by_name() {
    let api = Api::open().await;
    for (path, name) in [
        ("/api/billing/subscription?tenantId=acme&tenant=acme", "tenant"),
        (
            "/api/billing/subscription?tenantId=acme&tenantID=globex",
            "tenantID",
        ),
        (
            "/api/billing/crypto/charges?tenantId=acme&state=open&limt=5",
            "limt",
        ),
        ("/api/billing/plans?%66oo%20=1", "foo "),
        ("/api/admin/payments?txhash=0x00", "txhash"),
        ("/api/admin/chains?x", "x"),
    ] {
        let refused = api.get(path).await;
        let detail = refused.refused(400, "UNKNOWN_PARAMETER");
        assert_eq!(refused.body["field"], name, "{path}: {detail}");
    }
    let refused = api.get("/api/billing/subscription?userid=jo").await;
    let detail = refused.refused(400, "UNKNOWN_PARAMETER");
    assert!(detail.ends_with("known here: tenantId, userId"), "{detail}");
    let long = api
        .get(&format!("/api/billing/plans?{}=1", "x".repeat(1_000)))
        .await;
    assert!(long.refused(400, "UNKNOWN_PARAMETER").len() < 200);
    // By an alias as by the path that it stands for, and in every method.
    let body = serde_json::json!({"plan": "pro", "tenantId": "acme"});
    for path in [
        "/api/billing/crypto/stablecoin",
        "/api/billing/crypto/payment",
        "/api/billing/crypto/charge",
    ] {
        let refused = api.post(&format!("{path}?dryRun=true"), body.clone()).await;
        refused.refused(400, "UNKNOWN_PARAMETER");
    }
    let charges = api.get("/api/billing/crypto/charges?tenantId=acme").await;
    assert_eq!(charges.ok()["charges"], serde_json::json!([]));
    for path in ["/livez?probe=1", "/openapi.json?v=1"] {
        api.get(path).await.ok();
    }
    // Nobody learns what a route knows without being let in.
    let mut stranger = Api::open().await;
    stranger.key = String::new();
    stranger
        .get("/api/billing/subscription?userid=jo")
        .await
        .refused(401, "UNAUTHORIZED");
}
