//! Fetches the keys that users' tokens are verified by: regularly, and early when a token names one that is not known.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::JwksUrl;
use crate::egress::{Egress, EgressError, Policy};
use crate::jwt::Published;
use crate::metrics::{JWKS_AGE_SECONDS, JWKS_FETCHES_TOTAL};

/// The longest that one fetch may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// After a fetch that brought nothing.
const RETRY: Duration = Duration::from_secs(30);

/// Keeps `published` up to date until `stop`.
///
/// # Errors
/// The HTTP client cannot be built.
pub async fn run(
    url: JwksUrl,
    published: Arc<Published>,
    clock: Clock,
    stop: CancellationToken,
) -> Result<(), EgressError> {
    let egress = Egress::new(Policy {
        allow_private_network: url.allow_private_network,
        ..Policy::default()
    })?;
    while !stop.is_cancelled() {
        let fetched = stop
            .run_until_cancelled(fetch(&egress, &url, &published, &clock))
            .await;
        let pause = if fetched == Some(true) {
            url.refresh
        } else {
            url.refresh.min(RETRY)
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
            () = published.wanted() => {}
        }
    }
    Ok(())
}

/// Fetches once; whether it brought keys.
async fn fetch(egress: &Egress, url: &JwksUrl, published: &Published, clock: &Clock) -> bool {
    published.begin();
    let answer = egress.get(url.url.expose_secret(), TIMEOUT).await;
    let problem = match &answer {
        Ok(answer) if answer.truncated => Some("the answer is too large".to_owned()),
        Ok(answer) if answer.status != 200 => Some(format!("the status is {}", answer.status)),
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    };
    let body = answer
        .ok()
        .filter(|_| problem.is_none())
        .map(|answer| answer.body);
    let now = clock.now_ms();
    let refused = published.end(body.as_deref(), now).err();
    let outcome = match (&problem, refused) {
        (Some(_), _) => "failed",
        (None, Some(_)) => "refused",
        (None, None) => "fetched",
    };
    let problem = problem.or_else(|| refused.map(|error| format!("the answer {error}")));
    metrics::counter!(JWKS_FETCHES_TOTAL, "outcome" => outcome).increment(1);
    let age = published.age(now).unwrap_or_default();
    metrics::gauge!(JWKS_AGE_SECONDS).set(age.as_secs_f64());
    if let Some(problem) = &problem {
        tracing::warn!(
            problem,
            age_s = age.as_secs(),
            "the keys of users' tokens could not be fetched"
        );
    }
    problem.is_none()
}
