//! Which pages may call from a browser (CORS). Whoever calls shows a key or a token in a header: cookies are neither set nor
//! read, so browsers are never told to send them.

use std::time::Duration;

use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method};
use tower_http::cors::CorsLayer;

/// How long a browser may remember what it was allowed.
const MAX_AGE: Duration = Duration::from_mins(10);

/// What is allowed to pages of these origins; `None` where there are none.
pub(super) fn layer(origins: &[String]) -> Option<CorsLayer> {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    if origins.is_empty() {
        return None;
    }
    let sent = [
        "idempotency-key",
        "x-request-id",
        "x-tenant-id",
        "x-user-id",
        "last-event-id",
    ];
    let shown = [
        "idempotency-replayed",
        "ratelimit",
        "ratelimit-policy",
        "x-request-id",
    ];
    let sent = sent.map(HeaderName::from_static).into_iter();
    let shown = shown.map(HeaderName::from_static).into_iter();
    let layer = CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers(
            sent.chain([ACCEPT, AUTHORIZATION, CONTENT_TYPE])
                .collect::<Vec<_>>(),
        )
        .expose_headers(shown.chain([LOCATION, RETRY_AFTER]).collect::<Vec<_>>())
        .max_age(MAX_AGE);
    Some(layer)
}
