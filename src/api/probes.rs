//! Health: alive is not ready. Ready means that what is answered here is not older than its bounds.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::{App, Shared};
use crate::domain::Millis;
use crate::engine::rfc3339;
use crate::health::{BadEndpoint, Database, Readiness, Reason};

/// The longest that the database may take to answer a probe.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// Probes within this of one another share what the database said, in milliseconds.
const SHARED_FOR_MS: i64 = 1000;

/// What the database said last, and when. Held while it is asked, so that many probes are one question.
#[derive(Debug, Default)]
pub(super) struct Probe(Mutex<Option<(Millis, Database)>>);

impl Probe {
    async fn ask(&self, app: &App, now: Millis) -> Database {
        let mut last = self.0.lock().await;
        if let Some((at, said)) = *last
            && now.saturating_sub(at) < SHARED_FOR_MS
        {
            return said;
        }
        let said = match tokio::time::timeout(DATABASE_TIMEOUT, app.engine.oldest_owed()).await {
            Ok(Ok(oldest_owed_at_ms)) => Database::Answers { oldest_owed_at_ms },
            Ok(Err(_)) | Err(_) => Database::Silent,
        };
        *last = Some((now, said));
        said
    }
}

/// That the process answers.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LiveView {
    /// `alive`.
    status: &'static str,
}

/// Whether to be trusted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReadyView {
    /// `ready` or `not_ready`.
    status: &'static str,
    /// What is out of bounds.
    #[schema(value_type = Vec<ReasonView>)]
    reasons: Vec<Reason>,
    /// The endpoints that have a problem. A chain that others read is ready all the same.
    #[schema(value_type = Vec<BadEndpointView>)]
    endpoints: Vec<BadEndpoint>,
    /// What is as configured, and should be known.
    #[schema(value_type = Vec<ReasonView>)]
    notes: Vec<Reason>,
}

/// An endpoint that cannot be relied on.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "the schema of health::BadEndpoint, which is below every schema"
)]
struct BadEndpointView {
    /// The chain's name.
    chain: String,
    /// The endpoint's name.
    endpoint: String,
    /// `wrong_chain`, `wrong_genesis`, `contradicts_final`, `billing`, `rate_limited`, `unproven`, `too_large`,
    /// `not_json_rpc`, `silent` or `unreachable`.
    problem: String,
}

/// One thing that is out of bounds.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "the schema of health::Reason, which is below every schema"
)]
struct ReasonView {
    /// `chain_unread`, `chain_header_age`, `chain_behind`, `chain_problem`, `chain_quarantined`, `chain_finality_stalled`,
    /// `chain_agreement`, `outbox_age` or `database`.
    check: String,
    /// The chain's name, where it is about one.
    chain: Option<String>,
    /// How it is, and the bound.
    detail: String,
}

/// Both, with how far each chain is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthView {
    /// Always true: a process that is not alive does not answer.
    alive: bool,
    /// Whether to be trusted.
    ready: bool,
    /// What is out of bounds.
    #[schema(value_type = Vec<ReasonView>)]
    reasons: Vec<Reason>,
    /// The endpoints that have a problem.
    #[schema(value_type = Vec<BadEndpointView>)]
    endpoints: Vec<BadEndpoint>,
    /// Every configured chain.
    chains: Vec<ChainHealthView>,
    /// The version that runs.
    version: &'static str,
    /// When this was true.
    as_of: String,
}

/// How far a chain is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChainHealthView {
    /// The chain's number.
    chain_id: u64,
    /// Its name in the configuration.
    name: String,
    /// Seconds since its newest header arrived.
    header_age_seconds: Option<i64>,
    /// Blocks between its head and what was read.
    behind: u64,
    /// Why it is not read.
    problem: Option<&'static str>,
}

async fn readiness(app: &App, now: Millis) -> Readiness {
    let database = app.probe.ask(app, now).await;
    app.health.readiness(now, database)
}

fn status(readiness: &Readiness) -> StatusCode {
    if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Whether the process is alive
#[utoipa::path(get, path = "/livez", tag = "health", responses((status = 200, body = LiveView)))]
pub(super) async fn livez() -> Json<LiveView> {
    Json(LiveView { status: "alive" })
}

/// Whether its answers can be trusted
///
/// Not ready when a chain was not read yet, is silent for twelve block times (half a minute at least), lags that far behind
/// its head, or reports a problem; when it is quarantined, its finality stalls or its operators do not agree; when an event has been owed for more than an hour; when the database does not answer.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses(
        (status = 200, description = "Ready", body = ReadyView),
        (status = 503, description = "Not ready, and why", body = ReadyView)
    )
)]
pub(super) async fn readyz(State(app): State<Shared>) -> (StatusCode, Json<ReadyView>) {
    let readiness = readiness(&app, app.now()).await;
    let view = ReadyView {
        status: if readiness.ready { "ready" } else { "not_ready" },
        reasons: readiness.reasons.clone(),
        notes: readiness.notes.clone(),
        endpoints: readiness.endpoints.clone(),
    };
    (status(&readiness), Json(view))
}

/// Both, in detail
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    responses(
        (status = 200, description = "Ready", body = HealthView),
        (status = 503, description = "Not ready, and why", body = HealthView)
    )
)]
pub(super) async fn healthz(State(app): State<Shared>) -> (StatusCode, Json<HealthView>) {
    let now = app.now();
    let readiness = readiness(&app, now).await;
    let code = status(&readiness);
    let view = HealthView {
        alive: true,
        ready: readiness.ready,
        reasons: readiness.reasons,
        endpoints: readiness.endpoints,
        chains: chains(&app, now),
        version: env!("CARGO_PKG_VERSION"),
        as_of: rfc3339(now),
    };
    (code, Json(view))
}

fn chains(app: &App, now: Millis) -> Vec<ChainHealthView> {
    let view = |chain: &crate::config::Chain| {
        let health = app.health.chain(chain.id).unwrap_or_default();
        let age_s = |at: Millis| now.saturating_sub(at).max(0) / 1000;
        ChainHealthView {
            chain_id: chain.id.0,
            name: chain.name.clone(),
            header_age_seconds: health.last_header_at_ms.map(age_s),
            behind: health.behind,
            problem: health.problem,
        }
    };
    app.engine.settings().chains.iter().map(view).collect()
}
