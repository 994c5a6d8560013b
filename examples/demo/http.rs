//! JSON over HTTP, as any client would speak it.

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;

use crate::failure::Outcome;

/// An HTTP client. Cheap to clone.
#[derive(Clone)]
pub struct Http(reqwest::Client);

/// What came back.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; text where it is not JSON.
    pub body: Value,
}

impl Http {
    /// A client that goes straight to this machine, whatever proxy the environment names.
    pub fn new() -> Outcome<Self> {
        tollgate::egress::install_crypto_provider();
        Ok(Self(reqwest::Client::builder().no_proxy().build()?))
    }

    /// GET.
    pub async fn get(&self, url: &str, headers: HeaderMap) -> Outcome<Answer> {
        read(self.0.get(url).headers(headers)).await
    }

    /// POST of a body that says that it is JSON.
    pub async fn post(&self, url: &str, headers: HeaderMap, body: String) -> Outcome<Answer> {
        let request = self.0.post(url).headers(headers);
        read(request.header(CONTENT_TYPE, "application/json").body(body)).await
    }
}

async fn read(request: reqwest::RequestBuilder) -> Outcome<Answer> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    let text = response.text().await?;
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok(Answer { status, body })
}
