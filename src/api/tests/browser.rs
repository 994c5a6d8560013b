//! What end users may do with their tokens: which role each route needs, and that nobody reaches another tenant or user.
//! The tokens are those of `src/jwt/tests`, good at `NOW`.

use std::collections::BTreeMap;

use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, VARY};
use serde_json::json;

use super::expected::{EXPECTED, Needs};
use super::*;
use crate::api::documents;
use crate::config::{ClaimPath, Jwt};
use crate::domain::Role;

const ORIGIN: &str = "https://chat.example.org";

fn fixture() -> Value {
    serde_json::from_str(include_str!("../../jwt/tests/tokens.json")).unwrap()
}

fn token(name: &str) -> String {
    fixture()["tokens"][name].as_str().unwrap().to_owned()
}

pub(super) fn jwt() -> Jwt {
    let claim = |name: &str| ClaimPath(vec![name.to_owned()]);
    Jwt {
        hs256_secrets: vec![fixture()["secrets"][0].as_str().unwrap().into()],
        jwks: None,
        algorithms: Vec::new(),
        issuer: Some("https://id.example.com/".to_owned()),
        audiences: vec!["tollgate".to_owned()],
        user_claim: claim("sub"),
        tenant_claim: claim("tenant"),
        role_claim: claim("role"),
        default_role: None,
        leeway: Duration::from_secs(30),
        requests_per_second: 1000,
    }
}

impl Api {
    /// The same, asked by whom this token of the fixture stands for.
    pub(super) async fn by(&self, name: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(AUTHORIZATION, format!("Bearer {}", token(name)));
        let request = request.header(CONTENT_TYPE, "application/json");
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        self.send(request.body(body).unwrap()).await
    }
}

/// The routes of the table, with what its description says of them.
fn routes() -> BTreeMap<String, Value> {
    let document = serde_json::to_value(documents::build()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().unwrap().iter();
        item.map(move |(method, operation)| (format!("{} {path}", method.to_uppercase()), operation.clone()))
    });
    operations.collect()
}

#[test]
fn every_route_has_its_expectation() {
    let expected: Vec<&str> = EXPECTED.iter().map(|(route, _)| *route).collect();
    for route in routes().keys() {
        assert!(
            expected.contains(&route.as_str()),
            "{route}: say in EXPECTED what users get"
        );
    }
    for route in expected {
        assert!(routes().contains_key(route), "{route} is no longer there");
    }
}

#[test]
fn the_description_names_the_role_that_each_route_needs() {
    let routes = routes();
    for (route, needs) in EXPECTED {
        let ways = routes[*route]["security"].as_array().cloned().unwrap_or_default();
        let role = ways.iter().find_map(|way| way.get("userToken")).cloned();
        let expected = match needs {
            Needs::User(role) => Some(json!([role.as_str()])),
            Needs::Nothing | Needs::Key => None,
        };
        assert_eq!(role, expected, "{route}");
    }
}

/// Splits a route, with something in the place of each id.
fn call(route: &str) -> (Method, String) {
    let (method, path) = route.split_once(' ').unwrap();
    let parts = path.split('/');
    let parts = parts.map(|part| if part.starts_with('{') { "x" } else { part });
    let path: Vec<&str> = parts.collect();
    (method.parse().unwrap(), path.join("/"))
}

#[tokio::test]
async fn each_route_lets_in_the_roles_that_it_names_and_no_others() {
    let api = Api::open().await;
    let users = [
        ("alice", Role::User),
        ("admin", Role::Admin),
        ("owner", Role::Owner),
    ];
    for (route, needs) in EXPECTED {
        let (method, path) = call(route);
        for (name, role) in users {
            let answer = api.by(name, method.clone(), &path, Some(json!({}))).await;
            match needs {
                Needs::User(least) if role < *least => {
                    let detail = answer.refused(403, "ROLE_REQUIRED");
                    assert!(detail.ends_with(least.as_str()), "{route}: {detail}");
                }
                Needs::Key => drop(answer.refused(403, "KEY_REQUIRED")),
                Needs::User(_) | Needs::Nothing => {
                    let status = answer.status.as_u16();
                    assert!(
                        ![401, 403, 500].contains(&status),
                        "{route} {name}: {}",
                        answer.text
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn naming_another_tenant_or_user_is_refused_on_every_route_and_everywhere() {
    let api = Api::open().await;
    for (route, needs) in EXPECTED {
        let Needs::User(least) = needs else { continue };
        let (method, path) = call(route);
        let ask = async |name: &str, query: &str, header: Option<(&'static str, &str)>, body: Value| {
            let mut request = Request::builder()
                .method(method.clone())
                .uri(format!("{path}{query}"));
            request = request.header(AUTHORIZATION, format!("Bearer {}", token(name)));
            request = request.header(CONTENT_TYPE, "application/json");
            if let Some((name, value)) = header {
                request = request.header(name, value);
            }
            api.send(request.body(Body::from(body.to_string())).unwrap())
                .await
        };
        // An owner elsewhere, who names this tenant in each place.
        let own = ask(
            "stranger",
            "?tenantId=other",
            Some(("x-tenant-id", "other")),
            json!({}),
        )
        .await;
        assert_ne!(own.status, 403, "{route}: {}", own.text);
        let named = ask("stranger", "?tenantId=acme", None, json!({})).await;
        named.refused(403, "TENANT_FORBIDDEN");
        for header in ["acme", "OTHER", ""] {
            let named = ask("stranger", "", Some(("x-tenant-id", header)), json!({})).await;
            named.refused(403, "TENANT_FORBIDDEN");
        }
        let twice = ask(
            "stranger",
            "?tenantId=other",
            Some(("x-tenant-id", "acme")),
            json!({}),
        )
        .await;
        twice.refused(403, "TENANT_FORBIDDEN");
        // A user without a role acts for itself, and others for everybody in their tenant.
        if *least == Role::User {
            let named = ask("alice", "?userId=bob", None, json!({})).await;
            named.refused(403, "USER_FORBIDDEN");
            let named = ask("alice", "", Some(("x-user-id", "bob")), json!({})).await;
            named.refused(403, "USER_FORBIDDEN");
            let own = ask("alice", "?userId=alice&tenantId=acme", None, json!({})).await;
            assert_ne!(own.status, 403, "{route}: {}", own.text);
        }
        let other = ask("admin", "?userId=bob", None, json!({})).await;
        assert_ne!(other.status, 403, "{route}: {}", other.text);
    }
}

#[tokio::test]
async fn naming_another_in_the_body_is_refused() {
    let api = Api::open().await;
    let gate = json!({"tenantId": "acme", "name": "x", "rule": {"type": "erc721_balance", "chainId": 31337,
        "contract": NFT.to_string(), "atLeast": "1"}});
    for (path, mut body) in [
        ("/api/billing/crypto/stablecoin", json!({"plan": "pro"})),
        ("/api/billing/subscription/preview", json!({"plan": "pro"})),
        ("/api/billing/check", json!({"feature": "api_access"})),
        (
            "/api/billing/check",
            json!({"checks": [{"feature": "api_access", "tenantId": "acme"}]}),
        ),
        ("/api/token-gates/verify", json!({})),
        ("/api/wallets/nonce", json!({})),
        ("/api/wallets/link", json!({"message": "x", "signature": "0x"})),
        ("/api/token-gates", gate),
    ] {
        if body.get("checks").is_none() {
            body["tenantId"] = "acme".into();
        }
        let answer = api.by("stranger", Method::POST, path, Some(body)).await;
        answer.refused(403, "TENANT_FORBIDDEN");
    }
    for (path, body) in [
        ("/api/token-gates/verify", json!({"userId": "bob"})),
        ("/api/wallets/nonce", json!({"userId": "bob"})),
        (
            "/api/wallets/link",
            json!({"userId": "bob", "message": "x", "signature": "0x"}),
        ),
    ] {
        let answer = api.by("alice", Method::POST, path, Some(body.clone())).await;
        answer.refused(403, "USER_FORBIDDEN");
        let answer = api.by("admin", Method::POST, path, Some(body)).await;
        assert_ne!(answer.status, 403, "{}", answer.text);
    }
}

#[tokio::test]
async fn what_is_left_out_is_the_users_own() {
    let api = Api::open().await;
    let subscription = "/api/billing/subscription";
    for (name, tenant) in [("alice", "acme"), ("stranger", "other")] {
        let answer = api.by(name, Method::GET, subscription, None).await;
        assert_eq!(answer.ok()["tenantId"], tenant);
    }
    let charge = api.by(
        "admin",
        Method::POST,
        "/api/billing/crypto/stablecoin",
        Some(json!({"plan": "pro"})),
    );
    let charge = charge.await.ok().clone();
    assert_eq!(
        (&charge["tenantId"], &charge["userId"]),
        (&json!("acme"), &json!("ada"))
    );
    let verified = api
        .by("alice", Method::POST, "/api/token-gates/verify", Some(json!({})))
        .await;
    assert_eq!(verified.ok()["userId"], "alice");
    let unproven = json!({"wallet": ALICE.to_string()});
    let verified = api
        .by("alice", Method::POST, "/api/token-gates/verify", Some(unproven))
        .await;
    verified.refused(403, "WALLET_NOT_LINKED");
}

#[tokio::test]
async fn a_charge_is_seen_by_its_user_and_by_those_with_a_role_in_its_tenant() {
    let api = Api::open().await;
    let path = "/api/billing/crypto/stablecoin?tenantId=acme&userId=alice";
    let charge = api.post(path, json!({"plan": "pro"})).await.ok()["id"].clone();
    let path = format!("/api/billing/crypto/charge/{}", charge.as_str().unwrap());
    for name in ["alice", "admin", "owner"] {
        assert_eq!(
            api.by(name, Method::GET, &path, None).await.ok()["userId"],
            "alice"
        );
    }
    for name in ["bob", "stranger"] {
        api.by(name, Method::GET, &path, None)
            .await
            .refused(404, "CHARGE_NOT_FOUND");
    }
    api.by("stranger", Method::DELETE, &path, None)
        .await
        .refused(404, "CHARGE_NOT_FOUND");
    // A token that does not hold is not taken for none.
    api.by("expired", Method::GET, &path, None)
        .await
        .refused(401, "TOKEN_EXPIRED");
    api.by("admin", Method::DELETE, &path, None).await.ok();
}

#[tokio::test]
async fn a_refusal_says_no_more_of_a_token_than_its_holder_can_mend() {
    let api = Api::open().await;
    for (name, code, detail) in [
        (
            "expired",
            "TOKEN_EXPIRED",
            "this token has expired; get a new one",
        ),
        ("not_yet", "TOKEN_INVALID", "this token is not valid yet"),
        (
            "other_audience",
            "TOKEN_INVALID",
            "this token is for another audience",
        ),
        ("other_issuer", "TOKEN_INVALID", "this token is not valid here"),
        ("unknown_secret", "TOKEN_INVALID", "this token is not valid here"),
        ("none", "TOKEN_INVALID", "this token is not valid here"),
        ("rs256", "TOKEN_INVALID", "this token is not valid here"),
        ("without_tenant", "TOKEN_INVALID", "this token is not valid here"),
        ("other_role", "TOKEN_INVALID", "this token is not valid here"),
        ("too_long", "TOKEN_INVALID", "this token is not valid here"),
    ] {
        let answer = api.by(name, Method::GET, "/api/billing/subscription", None).await;
        assert_eq!(answer.refused(401, code), detail, "{name}");
        assert!(
            answer.header("www-authenticate").contains("invalid_token"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn one_credential_is_shown_and_a_token_only_as_bearer() {
    let api = Api::open().await;
    let (alice, admin) = (
        format!("Bearer {}", token("alice")),
        format!("Bearer {}", token("admin")),
    );
    let key = format!("Bearer {}", api.key);
    for headers in [
        [
            ("authorization", alice.as_str()),
            ("authorization", admin.as_str()),
        ],
        [("authorization", key.as_str()), ("authorization", alice.as_str())],
        [("authorization", alice.as_str()), ("x-api-key", api.key.as_str())],
        [("x-api-key", &alice["Bearer ".len()..]), ("x-user-id", "alice")],
        [
            ("authorization", &alice["Bearer ".len()..]),
            ("x-user-id", "alice"),
        ],
        [("cookie", alice.as_str()), ("x-user-id", "alice")],
    ] {
        let request = Request::builder().uri("/api/billing/subscription");
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = api.send(request.body(Body::empty()).unwrap()).await;
        answer.refused(401, "UNAUTHORIZED");
    }
    let in_query = format!("/api/billing/subscription?access_token={}", token("alice"));
    let request = Request::builder().uri(in_query).body(Body::empty()).unwrap();
    api.send(request).await.refused(401, "UNAUTHORIZED");
}

#[tokio::test]
async fn a_user_has_a_bucket_and_idempotency_keys_of_its_own() {
    let few = |config: &mut Config| config.jwt.requests_per_second = 1;
    let api = Api::with(few, Catalogue::shipped(&[]).unwrap()).await;
    let ask = async |name: &str| api.by(name, Method::GET, "/api/billing/subscription", None).await;
    let first = ask("alice").await;
    first.ok();
    assert_eq!(first.header("ratelimit-policy"), "\"user\";q=2;w=2");
    ask("alice").await.ok();
    ask("alice").await.refused(429, "RATE_LIMITED");
    ask("bob").await.ok();
    let create = async |name: &str| {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/api/billing/crypto/stablecoin");
        let request = request.header(AUTHORIZATION, format!("Bearer {}", token(name)));
        let request = request
            .header(CONTENT_TYPE, "application/json")
            .header("idempotency-key", "1");
        let body = Body::from(json!({"plan": "pro"}).to_string());
        api.send(request.body(body).unwrap()).await.ok().clone()
    };
    let (admin, owner) = (create("admin").await, create("owner").await);
    assert_eq!(
        (&admin["userId"], &owner["userId"]),
        (&json!("ada"), &json!("olga"))
    );
    assert_eq!(create("admin").await, admin);
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_call_and_no_other() {
    let api = Api::open().await;
    let preflight = async |origin: &str| {
        let request = Request::builder().method(Method::OPTIONS).uri("/api/token-gates");
        let request = request
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        let request = request.header("access-control-request-headers", "authorization,content-type");
        api.send(request.body(Body::empty()).unwrap()).await
    };
    let allowed = preflight(ORIGIN).await;
    assert_eq!(allowed.status, 200);
    assert_eq!(allowed.header("access-control-allow-origin"), ORIGIN);
    for (header, word) in [
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "authorization"),
        ("access-control-allow-headers", "idempotency-key"),
        ("vary", "origin"),
    ] {
        assert!(
            allowed.header(header).contains(word),
            "{header}: {}",
            allowed.header(header)
        );
    }
    assert_eq!(allowed.header("access-control-allow-credentials"), "");
    for other in [
        "https://evil.example",
        "null",
        "http://chat.example.org",
        "https://chat.example.org.evil.example",
    ] {
        let refused = preflight(other).await;
        assert_eq!(refused.headers.get(ACCESS_CONTROL_ALLOW_ORIGIN), None, "{other}");
    }
    // Refusals can be read too, and no answer is kept for another origin.
    for (path, status) in [
        ("/api/billing/subscription", 401),
        ("/nothing", 404),
        ("/api/billing/plans", 200),
    ] {
        let request = Request::builder().uri(path).header("origin", ORIGIN);
        let answer = api.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), ORIGIN, "{path}");
        assert!(
            answer.headers[VARY].to_str().unwrap().contains("origin"),
            "{path}"
        );
    }
    let none = |config: &mut Config| config.server.allowed_origins.clear();
    let closed = Api::with(none, Catalogue::shipped(&[]).unwrap()).await;
    let request = Request::builder()
        .uri("/api/billing/plans")
        .header("origin", ORIGIN);
    let answer = closed.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.headers.get(ACCESS_CONTROL_ALLOW_ORIGIN), None);
}
