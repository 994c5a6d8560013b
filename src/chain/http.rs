//! JSON-RPC over HTTP: one POST, a bounded body, and nothing of the URL in what it says.
//!
//! Its connections are kept alive, so that requests in flight together run in parallel. No retries here.

use std::time::Duration;

use alloy::primitives::bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};

use super::error::{ErrorClass, Failure, classify};
use super::rpc::MAX_BODY_BYTES;

/// Idle connections that are kept per endpoint.
const MAX_IDLE: usize = 8;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest pause that a Retry-After is believed for.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);

/// One endpoint's HTTP side. `Debug` does not show the URL.
#[derive(Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    url: SecretString,
}

impl Http {
    /// `None` where the TLS provider of the process is not installed, or the URL is none.
    pub fn new(url: &SecretString) -> Option<Self> {
        reqwest::Url::parse(url.expose_secret()).ok()?;
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .tcp_nodelay(true)
            // A redirect would carry the key in the path to whoever is named.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .ok()?;
        Some(Self {
            client,
            url: url.clone(),
        })
    }

    /// Sends `request`, and reads the answer with its HTTP status.
    pub async fn post(&self, request: String) -> Result<(Bytes, u16), Failure> {
        let mut response = self
            .client
            .post(self.url.expose_secret())
            .header(CONTENT_TYPE, "application/json")
            .body(request)
            .send()
            .await
            .map_err(|error| failure(&error))?;
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER));
        let expected = response
            .content_length()
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or(0);
        let mut body = BytesMut::with_capacity(expected.min(MAX_BODY_BYTES));
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(Failure::new(
                    ErrorClass::TooDense { suggested: None },
                    format!("an answer of more than {MAX_BODY_BYTES} bytes"),
                ));
            }
            body.extend_from_slice(&chunk);
        }
        if status == 429 || status == 402 {
            let shown = String::from_utf8_lossy(&body[..body.len().min(512)]);
            let class = match classify(Some(status), None, &shown) {
                ErrorClass::RateLimited { .. } => ErrorClass::RateLimited { retry_after },
                class => class,
            };
            return Err(Failure::new(class, format!("HTTP {status}: {shown}")));
        }
        Ok((body.freeze(), status))
    }
}

/// reqwest's own text names the URL, so only the causes below it are shown.
fn failure(error: &reqwest::Error) -> Failure {
    let kind = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "cannot connect"
    } else if error.is_body() || error.is_decode() {
        "the answer broke off"
    } else {
        "the request failed"
    };
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if std::ptr::addr_eq(cause, std::ptr::from_ref(error)) {
        return Failure::transport(kind);
    }
    Failure::transport(format!("{kind}: {cause}"))
}
