//! What a payer sees who holds a charge's id: its page, and its events.

use axum::body::BodyDataStream;
use futures_util::StreamExt as _;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::engine::CancelCharge;

async fn charge(api: &Api, user: &str) -> Value {
    let body = json!({"plan": "pro", "userId": user});
    let path = "/api/billing/crypto/stablecoin?tenantId=acme";
    api.post(path, body).await.ok().clone()
}

fn id(charge: &Value) -> &str {
    charge["id"].as_str().unwrap()
}

async fn cancel(api: &Api, charge: &Value) {
    let command = CancelCharge {
        origin: crate::engine::Origin {
            actor: "test".to_owned(),
            cause: "test".to_owned(),
        },
        tenant: "acme".parse().unwrap(),
        id: id(charge).parse().unwrap(),
    };
    api.engine.execute(command).await.unwrap();
}

/// What a stream says, as it comes.
struct Listening(BodyDataStream);

impl Listening {
    /// The next event: its name, its id, its data.
    async fn next(&mut self) -> Option<(String, String, Value)> {
        let chunk = self.0.next().await?.unwrap();
        let text = String::from_utf8(chunk.to_vec()).unwrap();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let data = serde_json::from_str(&field("data:")).unwrap_or_default();
        Some((field("event:"), field("id:"), data))
    }
}

async fn listen(router: &Router, charge: &Value, last: Option<&str>) -> Result<Listening, Answer> {
    let path = format!("/api/billing/crypto/charge/{}/events", id(charge));
    let mut request = Request::builder().uri(path);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    if response.status() == StatusCode::OK {
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        return Ok(Listening(response.into_body().into_data_stream()));
    }
    let (parts, body) = response.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    Err(Answer {
        status: parts.status,
        headers: parts.headers,
        body: serde_json::from_str(&text).unwrap_or_default(),
        text,
    })
}

#[tokio::test]
async fn a_stream_tells_the_charge_at_once_and_each_change() {
    let api = Api::open().await;
    let charge = charge(&api, "alice").await;
    let mut stream = listen(&api.router, &charge, None).await.unwrap();
    let (name, first, data) = stream.next().await.unwrap();
    assert_eq!((name.as_str(), first.as_str()), ("charge", "1.open.0"));
    assert_eq!(
        (&data["state"], &data["tenantId"]),
        (&json!("open"), &Value::Null)
    );
    // A block that holds nothing for it is no news.
    api.read_blocks().await;
    cancel(&api, &charge).await;
    let (_, second, data) = stream.next().await.unwrap();
    assert_eq!(
        (second.as_str(), &data["state"]),
        ("2.cancelled.0", &json!("cancelled"))
    );
    // Who comes back is told what was missed, and nothing twice.
    let mut back = listen(&api.router, &charge, Some(&first)).await.unwrap();
    assert_eq!(back.next().await.unwrap().1, second);
    let mut waiting = listen(&api.router, &charge, Some(&second)).await.unwrap();
    let nothing = tokio::time::timeout(Duration::from_millis(100), waiting.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
}

#[tokio::test]
async fn streams_are_bounded_and_end_when_the_service_stops() {
    let api = Api::open().await;
    let (one, other) = (charge(&api, "a").await, charge(&api, "b").await);
    let stop = CancellationToken::new();
    let router = crate::api::until(api.router.clone(), stop.clone());
    let mut open = Vec::new();
    for _ in 0..8 {
        open.push(listen(&router, &one, None).await.unwrap());
    }
    let refused = listen(&router, &one, None).await.err().unwrap();
    refused.refused(429, "STREAMS_EXHAUSTED");
    assert_eq!(refused.header("retry-after"), "1");
    for _ in 0..2 {
        open.push(listen(&router, &other, None).await.unwrap());
    }
    let refused = listen(&router, &other, None).await.err().unwrap();
    refused.refused(503, "STREAMS_EXHAUSTED");
    // A seat is free again once its reader has gone.
    open.pop();
    open.push(listen(&router, &other, None).await.unwrap());
    let unknown = json!({"id": "chg_0"});
    open.pop();
    let refused = listen(&router, &unknown, None).await.err().unwrap();
    refused.refused(404, "CHARGE_NOT_FOUND");
    stop.cancel();
    for mut stream in open {
        assert_eq!(stream.next().await.unwrap().0, "charge");
        assert!(stream.next().await.is_none());
    }
}

#[tokio::test]
async fn the_page_runs_nothing_but_what_is_built_in_and_is_framed_by_nobody() {
    let mut api = Api::open().await;
    let charge = charge(&api, "alice").await;
    assert_eq!(charge["payUrl"], format!("/pay/{}", id(&charge)));
    api.key = String::new();
    let bare = |path: &str| Request::builder().uri(path).body(Body::empty()).unwrap();
    let page = api.send(bare(charge["payUrl"].as_str().unwrap())).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    let policy = page.header("content-security-policy");
    for directive in [
        "default-src 'none'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(directive), "{directive}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(!page.text.contains("alice") && !page.text.contains("acme"));
    assert!(!page.text.contains("{{"), "every place is filled");
    for needed in ["treasury", "paymentUri"] {
        let text = charge[needed].as_str().unwrap().replace('&', "&amp;");
        assert!(page.text.contains(&text), "{needed}");
    }
    for path in ["/pay/chg_0", "/pay/a%20b"] {
        let missing = api.send(bare(path)).await;
        assert_eq!(missing.status, 404);
        assert!(
            missing.text.contains("There is no such payment request"),
            "{}",
            missing.text
        );
    }
}

#[tokio::test]
async fn what_is_configured_cannot_write_markup() {
    let hostile = |config: &mut Config| {
        config.chains[0].tokens[0].symbol = "<b>{{id}}\"".to_owned();
        config.server.public_url = Some("https://pay.example.com/shop".to_owned());
    };
    let api = Api::with(hostile, Catalogue::shipped(&[]).unwrap()).await;
    let charge = charge(&api, "alice").await;
    let url = format!("https://pay.example.com/shop/pay/{}", id(&charge));
    assert_eq!(charge["payUrl"], url);
    let page = api.get(&format!("/pay/{}", id(&charge))).await;
    assert!(page.text.contains("&lt;b&gt;{{id}}&quot;"));
    assert!(!page.text.contains("<b>{{"));
}
