use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use futures_util::stream;

use super::*;

const LONG: Duration = Duration::from_secs(20);

#[derive(Clone, Default)]
struct Hits(Arc<AtomicU32>);

async fn echo(State(hits): State<Hits>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    hits.0.fetch_add(1, Ordering::SeqCst);
    let id = headers.get("webhook-id").cloned();
    let id = id.map_or_else(String::new, |value| value.to_str().unwrap().to_owned());
    format!("{id} {}", String::from_utf8(body.to_vec()).unwrap())
}

/// Serves on loopback until the test's runtime ends; returns the origin and the count of calls of `/echo`.
async fn server() -> (String, Hits) {
    let hits = Hits::default();
    let endless = || async {
        let chunks = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 1000])));
        Body::from_stream(chunks)
    };
    let stuck = || async {
        let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"first"))]);
        Body::from_stream(futures_util::StreamExt::chain(first, stream::pending()))
    };
    let busy = || async { (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "7")]) };
    let moved = || async { (StatusCode::FOUND, [(header::LOCATION, "/echo")]) };
    let router = Router::new()
        .route("/echo", post(echo))
        .route("/endless", post(endless))
        .route("/stuck", post(stuck))
        .route("/busy", post(busy))
        .route("/moved", post(moved))
        .with_state(hits.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (origin, hits)
}

fn private() -> Egress {
    Egress::new(Policy {
        allow_private_network: true,
        ..Policy::default()
    })
    .unwrap()
}

async fn outcome(egress: &Egress, url: &str) -> Result<EgressResponse, EgressError> {
    egress.post(url, &[], Vec::new(), LONG).await
}

#[tokio::test]
async fn private_addresses_are_refused_before_a_connection() {
    let (origin, hits) = server().await;
    let port = origin.rsplit(':').next().unwrap();
    let public = Egress::new(Policy::default()).unwrap();
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f.0.0.1",
        "2130706433",
        "017700000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "localhost",
        "0.0.0.0",
        "169.254.169.254",
    ] {
        let url = format!("https://{host}:{port}/echo");
        assert_eq!(outcome(&public, &url).await, Err(EgressError::Refused), "{host}");
    }
    assert_eq!(hits.0.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn metadata_services_are_refused_even_where_private_networks_are_allowed() {
    for host in [
        "169.254.169.254",
        "[fe80::1]",
        "0.0.0.0",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
    ] {
        let url = format!("http://{host}/");
        assert_eq!(
            outcome(&private(), &url).await,
            Err(EgressError::Refused),
            "{host}"
        );
    }
}

#[tokio::test]
async fn urls_that_are_not_plain_https_are_refused() {
    let public = Egress::new(Policy::default()).unwrap();
    for url in [
        "",
        "/echo",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://user@example.com/",
        "https://user:password@example.com/",
    ] {
        let refused = outcome(&public, url).await;
        assert!(matches!(refused, Err(EgressError::Url(_))), "{url}: {refused:?}");
    }
}

#[tokio::test]
async fn a_post_carries_its_headers_and_body_and_returns_the_answer() {
    let (origin, _) = server().await;
    let localhost = origin.replace("127.0.0.1", "localhost");
    for origin in [origin, localhost] {
        let answer = private()
            .post(
                &format!("{origin}/echo"),
                &[("webhook-id", "msg_1")],
                b"hello".to_vec(),
                LONG,
            )
            .await
            .unwrap();
        assert_eq!(
            answer,
            EgressResponse {
                status: 200,
                retry_after: None,
                body: b"msg_1 hello".to_vec(),
                truncated: false
            }
        );
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (origin, hits) = server().await;
    let answer = outcome(&private(), &format!("{origin}/moved")).await.unwrap();
    assert_eq!(answer.status, 302);
    assert_eq!(hits.0.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_endless_body_is_cut_at_the_limit() {
    let (origin, _) = server().await;
    let answer = outcome(&private(), &format!("{origin}/endless")).await.unwrap();
    assert_eq!(answer.body.len(), MAX_RESPONSE_BYTES);
    assert!(answer.truncated);
}

#[tokio::test]
async fn a_body_that_stops_coming_times_out() {
    let (origin, _) = server().await;
    let url = format!("{origin}/stuck");
    let waited = private()
        .post(&url, &[], Vec::new(), Duration::from_millis(300))
        .await;
    assert_eq!(waited, Err(EgressError::Timeout));
}

#[tokio::test]
async fn retry_after_is_read() {
    let (origin, _) = server().await;
    let answer = outcome(&private(), &format!("{origin}/busy")).await.unwrap();
    assert_eq!(
        (answer.status, answer.retry_after),
        (503, Some(Duration::from_secs(7)))
    );
}

#[tokio::test]
async fn failures_are_named_without_the_url() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let (origin, _) = server().await;
    let tls_to_plain = origin.replace("http://", "https://");
    for (url, expected) in [
        (
            format!("http://{closed}/?token=s3cret"),
            EgressError::Connect(std::io::ErrorKind::ConnectionRefused),
        ),
        (format!("{tls_to_plain}/?token=s3cret"), EgressError::Tls),
        (
            "http://no-such-host.invalid/?token=s3cret".to_owned(),
            EgressError::Unresolved,
        ),
    ] {
        let failed = outcome(&private(), &url).await.unwrap_err();
        assert_eq!(failed, expected);
        assert!(failed.is_transient());
        let text = format!("{failed} {failed:?}");
        assert!(!text.contains("s3cret") && !text.contains("127.0.0.1"), "{text}");
    }
}

#[tokio::test]
async fn a_header_that_http_cannot_carry_is_refused() {
    let (origin, hits) = server().await;
    let url = format!("{origin}/echo");
    for header in [("webhook-id", "a\r\nb: c"), ("two words", "a")] {
        let refused = private().post(&url, &[header], Vec::new(), LONG).await;
        assert_eq!(refused, Err(EgressError::Header));
    }
    assert_eq!(hits.0.load(Ordering::SeqCst), 0);
}
