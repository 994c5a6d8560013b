//! Delivers what is owed to one endpoint: the oldest event of each resource, several resources at once, until it arrives or
//! its tries are used up.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use super::{Outcome, SecretError, Signer, next_attempt, outcome};
use crate::config;
use crate::egress::{Egress, EgressError, Policy};
use crate::engine::{Candidate, Engine, EngineError, RecordDelivery};
use crate::metrics;
use crate::store::{Delivery, Role};

/// Deliveries to one endpoint that are under way at once.
const IN_FLIGHT: usize = 8;

/// The longest that one try may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What became of a try, as the metrics call it.
const OUTCOMES: [&str; 4] = ["delivered", "refused", "failed", "dead"];

/// How often it is looked for what has become due by time.
const POLL: Duration = Duration::from_secs(1);

/// Why an endpoint cannot be told anything.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// Its secrets cannot sign.
    #[error("webhooks.{name}: {error}")]
    Secret {
        /// The endpoint.
        name: String,
        /// What is wrong with them.
        error: SecretError,
    },
    /// The HTTP client cannot be made.
    #[error("webhooks.{name}: {error}")]
    Egress {
        /// The endpoint.
        name: String,
        /// What is wrong.
        error: EgressError,
    },
}

/// One endpoint of the chat product.
#[derive(Debug, Clone)]
pub struct Notifier {
    engine: Engine,
    endpoint: config::WebhookEndpoint,
    egress: Egress,
    signer: Signer,
}

impl Notifier {
    /// An endpoint as it is configured.
    ///
    /// # Errors
    /// Its secrets cannot sign.
    pub fn new(engine: Engine, endpoint: config::WebhookEndpoint) -> Result<Self, NotifyError> {
        let name = || endpoint.name.clone();
        let signer =
            Signer::new(&endpoint.secrets).map_err(|error| NotifyError::Secret { name: name(), error })?;
        let policy = Policy {
            allow_private_network: endpoint.allow_private_network,
            ..Policy::default()
        };
        let egress = Egress::new(policy).map_err(|error| NotifyError::Egress { name: name(), error })?;
        for outcome in OUTCOMES {
            // From zero, so that the first dead letter is an increase.
            ::metrics::counter!(metrics::OUTBOX_DELIVERIES_TOTAL, "webhook" => name(), "outcome" => outcome)
                .increment(0);
        }
        Ok(Self {
            engine,
            endpoint,
            egress,
            signer,
        })
    }

    /// The endpoint's name in the configuration.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.endpoint.name
    }

    /// Delivers until `stop`, or until the endpoint answers that it is gone. Where several instances share a database, one of
    /// them delivers.
    ///
    /// # Errors
    /// The database fails.
    pub async fn run(self, stop: CancellationToken) -> Result<(), EngineError> {
        let role = Role::Webhook(self.endpoint.name.clone());
        let outcome = loop {
            let candidate = Candidate::new(self.engine.clone(), role.clone());
            let Some(fence) = stop.run_until_cancelled(candidate.lead()).await else {
                break Ok(());
            };
            tokio::select! {
                outcome = self.deliver_all(&stop) => break outcome,
                _ = self.engine.keep_lease(&role, fence) => {
                    tracing::warn!(webhook = %self.endpoint.name, "another instance delivers now");
                }
            }
        };
        self.engine.release_lease(role).await;
        outcome
    }

    async fn deliver_all(&self, stop: &CancellationToken) -> Result<(), EngineError> {
        let mut changes = self.engine.outbox_changes();
        loop {
            let due = self.engine.due_deliveries(&self.endpoint.name).await?;
            if due.is_empty() {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    _ = changes.changed() => {}
                    () = tokio::time::sleep(POLL) => {}
                }
                continue;
            }
            let mut tries = stream::iter(due)
                .map(|delivery| self.deliver(delivery))
                .buffer_unordered(IN_FLIGHT);
            while let Some(outcome) = tries.next().await {
                if outcome? == Outcome::Gone {
                    tracing::error!(webhook = %self.endpoint.name, "it answered 410: nothing more is sent until a restart");
                    stop.cancelled().await;
                    return Ok(());
                }
            }
            if stop.is_cancelled() {
                return Ok(());
            }
        }
    }

    async fn deliver(&self, mut delivery: Delivery) -> Result<Outcome, EngineError> {
        let now = self.engine.clock().now_ms();
        let timestamp_s = now / 1000;
        let signature = self
            .signer
            .sign(&delivery.event_id, timestamp_s, delivery.body.as_bytes());
        let timestamp = timestamp_s.to_string();
        let headers = [
            ("content-type", "application/json"),
            ("webhook-id", delivery.event_id.as_str()),
            ("webhook-timestamp", timestamp.as_str()),
            ("webhook-signature", signature.as_str()),
        ];
        let body = delivery.body.clone().into_bytes();
        let answer = self
            .egress
            .post(self.endpoint.url.expose_secret(), &headers, body, TIMEOUT)
            .await;
        let result = answer
            .as_ref()
            .map_or(Outcome::Failed, |answer| outcome(answer.status));
        delivery.attempts = delivery.attempts.saturating_add(1);
        let delay = next_attempt(delivery.attempts, luck());
        let retry_after = answer.as_ref().ok().and_then(|answer| answer.retry_after);
        let delay =
            delay.map(|delay| delay.max(retry_after.unwrap_or_default().min(Duration::from_hours(24))));
        let delay_ms = delay.map(|delay| i64::try_from(delay.as_millis()).unwrap_or(i64::MAX));
        let [delivered, refused, failed, dead] = OUTCOMES;
        let word = match (result, delay_ms) {
            (Outcome::Delivered, _) => delivered,
            (_, None) => dead,
            (Outcome::Gone, _) => refused,
            (Outcome::Failed, _) => failed,
        };
        let name = self.endpoint.name.clone();
        ::metrics::counter!(metrics::OUTBOX_DELIVERIES_TOTAL, "webhook" => name, "outcome" => word)
            .increment(1);
        let problem = answer.as_ref().err();
        tracing::debug!(event = %delivery.event_id, attempt = delivery.attempts, outcome = word, ?problem, "tried");
        self.engine
            .execute(RecordDelivery {
                delivery,
                status: answer.ok().map(|answer| answer.status),
                delivered: result == Outcome::Delivered,
                next_at: delay_ms.map(|delay| self.engine.clock().now_ms().saturating_add(delay)),
            })
            .await?;
        Ok(result)
    }
}

/// Evenly spread in 0..1, for the jitter.
fn luck() -> f64 {
    let mut bytes = [0_u8; 4];
    match getrandom::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
