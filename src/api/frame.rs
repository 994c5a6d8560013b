//! What is around every request: its id, its deadline, its place in the metrics, and the writing of what went wrong.
//!
//! Labels are route templates and known methods, never a path as it came.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument as _;

use super::problem::{self, Problem};
use crate::metrics::{HTTP_REQUEST_SECONDS, HTTP_REQUESTS_TOTAL};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken over from a caller, in bytes.
const MAX_ID_BYTES: usize = 64;

/// Names one request in answers, in the log and in the audit.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) String);

impl RequestId {
    fn of(request: &Request) -> Self {
        let given = request.headers().get(REQUEST_ID);
        let sane = |text: &&str| {
            (1..=MAX_ID_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let given = given.and_then(|value| value.to_str().ok()).filter(sane);
        given.map_or_else(Self::random, |text| Self(text.to_owned()))
    }

    fn random() -> Self {
        let mut bytes = [0_u8; 12];
        // Without randomness the id is one of many zeros, which is no reason to refuse the request.
        getrandom::fill(&mut bytes).unwrap_or_default();
        Self(format!("req_{}", hex::encode(bytes)))
    }
}

/// The outermost layer.
pub(super) async fn frame(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = RequestId::of(&request);
    let method = label(request.method());
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let span = tracing::info_span!("request", id = %id.0, method, route);
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).instrument(span.clone()).await;
    problem::write(&mut response, &id.0);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, value);
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let status = response.status().as_str().to_owned();
    let took = started.elapsed();
    span.in_scope(|| tracing::debug!(status, ?took, "answered"));
    metrics::histogram!(HTTP_REQUEST_SECONDS, "route" => route.clone(), "method" => method).record(took);
    metrics::counter!(HTTP_REQUESTS_TOTAL, "route" => route, "method" => method, "status" => status)
        .increment(1);
    response
}

/// A method may be any word; a label may not.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Gives up on a request that takes too long. What it asked the engine for is done all the same.
pub(super) async fn deadline(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let answered = tokio::time::timeout(limit, next.run(request)).await;
    answered.unwrap_or_else(|_| {
        let detail =
            "this took too long; a change may have been made: ask again with the same Idempotency-Key";
        Problem::unavailable("TIMEOUT", detail).into_response()
    })
}

/// Answers for a handler that panicked. What it said may hold anything, so it is not repeated.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request's handler panicked");
    Problem::internal().into_response()
}
