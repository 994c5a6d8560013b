//! The description of the API is the one that is checked in.

use std::path::Path;

use super::*;
use crate::api::documents;

/// Write it anew with `UPDATE_OPENAPI=1 cargo test --lib api::tests::documents`.
#[test]
fn the_description_is_the_one_that_is_checked_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/openapi.json");
    let made = format!("{}\n", documents::text());
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = made
        .lines()
        .zip(kept.lines())
        .position(|(made, kept)| made != kept);
    assert!(
        made == kept,
        "the API changed from line {}: look at it, then run with UPDATE_OPENAPI=1",
        differing.map_or(kept.lines().count(), |line| line + 1)
    );
}

#[tokio::test]
async fn the_description_is_public_and_says_what_each_route_needs() {
    let mut api = Api::open().await;
    api.key = String::new();
    let answer = api.get("/openapi.json").await;
    let document = answer.ok();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(answer.header("content-type"), "application/json");
    let paths = document["paths"].as_object().unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(ids.insert(id), "{method} {path} shares its id");
            let responses = operation["responses"].as_object().unwrap();
            let described = |response: &Value| response["description"].is_string();
            assert!(responses.values().all(described), "{method} {path}");
            let ways = operation["security"].as_array();
            let is_open = ways.is_none_or(|ways| ways.contains(&serde_json::json!({})));
            let problem = &operation["responses"]["default"]["content"]["application/problem+json"];
            assert_eq!(
                problem["schema"]["$ref"], "#/components/schemas/Problem",
                "{method} {path}"
            );
            let path = path.replace("{id}", "x");
            let method: Method = method.to_uppercase().parse().unwrap();
            let request = Request::builder().method(method).uri(&path);
            let refused =
                api.send(request.body(Body::empty()).unwrap()).await.status == StatusCode::UNAUTHORIZED;
            assert_eq!(refused, !is_open, "{path}");
        }
    }
    assert_eq!(paths.len(), 42);
    let text = answer.text.as_str();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(
            schemas.contains_key(name),
            "{name} is referred to and not described"
        );
    }
}

#[tokio::test]
async fn metrics_have_a_router_of_their_own() {
    let recorder = crate::metrics::install().unwrap();
    let router = crate::api::metrics_router(recorder);
    let request = |path: &str| Request::builder().uri(path).body(Body::empty()).unwrap();
    let answer = router.clone().oneshot(request("/metrics")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.headers()[CONTENT_TYPE],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX)
        .await
        .unwrap();
    assert!(
        String::from_utf8(bytes.to_vec())
            .unwrap()
            .contains("tollgate_build_info")
    );
    assert_eq!(router.oneshot(request("/livez")).await.unwrap().status(), 404);
}
