//! JSON-RPC over HTTP: one POST, and what its status alone says. No retries here.

use std::sync::Arc;

use alloy::primitives::bytes::Bytes;
use secrecy::SecretString;

use super::classify::classify;
use super::error::{ErrorClass, Failure, Problem};
use super::network::{Broken, HttpAnswer, Network};
use super::rpc::MAX_BODY_BYTES;

/// One endpoint's HTTP side. `Debug` does not show the URL.
#[derive(Debug)]
pub(super) struct Http {
    network: Arc<dyn Network>,
    url: SecretString,
}

impl Http {
    pub fn new(network: Arc<dyn Network>, url: SecretString) -> Self {
        Self { network, url }
    }

    /// Sends `request`, and reads the answer with its HTTP status.
    pub async fn post(&self, request: String) -> Result<(Bytes, u16), Failure> {
        let answer = self.network.post(&self.url, request).await;
        let HttpAnswer {
            status,
            retry_after,
            body,
        } = answer.map_err(failure)?;
        if status == 429 || status == 402 {
            let shown = String::from_utf8_lossy(&body[..body.len().min(512)]);
            let class = match classify(Some(status), None, &shown) {
                ErrorClass::RateLimited { .. } => ErrorClass::RateLimited { retry_after },
                class => class,
            };
            return Err(Failure::new(class, format!("HTTP {status}: {shown}")));
        }
        Ok((body, status))
    }
}

fn failure(broken: Broken) -> Failure {
    match broken {
        Broken::Connection(message) => Failure::transport(message),
        Broken::TooLarge => Failure::new(
            ErrorClass::TooDense { suggested: None },
            format!("an answer of more than {MAX_BODY_BYTES} bytes"),
        )
        .showing(Problem::TooLarge),
    }
}
