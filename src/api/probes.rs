//! Health: alive is not ready. Ready means that what is answered here is not older than its bounds.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::Mutex;
use utoipa::ToSchema;

use super::{App, Shared};
use crate::config;
use crate::domain::Millis;
use crate::engine::rfc3339;
use crate::health::Reason;

/// The longest that the database may take to answer a probe.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(2);

/// What is read may be this many blocks below the head,
const BEHIND_BLOCKS: u64 = 12;

/// or as many as come in this time.
const BEHIND_MIN: Duration = Duration::from_secs(30);

/// Probes within this of one another share what the database said, in milliseconds.
const SHARED_FOR_MS: i64 = 1000;

/// Whether the database answered last, and when it was asked. Held while it is asked, so that many probes are one question.
#[derive(Debug, Default)]
pub(super) struct Probe(Mutex<Option<(Millis, bool)>>);

impl Probe {
    async fn database_answers(&self, app: &App, now: Millis) -> bool {
        let mut last = self.0.lock().await;
        if let Some((at, answered)) = *last
            && now.saturating_sub(at) < SHARED_FOR_MS
        {
            return answered;
        }
        let said = tokio::time::timeout(DATABASE_TIMEOUT, app.engine.ping()).await;
        let answered = matches!(said, Ok(Ok(())));
        *last = Some((now, answered));
        answered
    }
}

/// Why we do not see a chain at `now`: what its task says, and what the blocks that are read say.
pub(super) fn blindness(app: &App, chain: &config::Chain, now: Millis) -> Vec<Reason> {
    let chain_id = Some(chain.id.0);
    let mut reasons = app.health.reasons(now);
    reasons.retain(|reason| reason.chain_id == chain_id);
    let heights = app.engine.chain(chain.id).unwrap_or_default().heights;
    match heights.read {
        None if reasons.is_empty() => reasons.push(Reason {
            check: "chain_unread",
            chain_id,
            detail: "no block was read yet".to_owned(),
        }),
        Some(read) => {
            let (behind, bound) = (heights.head.saturating_sub(read.number), behind_max(chain));
            let detail = format!("{behind} blocks below the head; the bound is {bound}");
            let check = "chain_behind";
            reasons.extend((behind > bound).then_some(Reason {
                check,
                chain_id,
                detail,
            }));
        }
        None => {}
    }
    reasons
}

/// As many blocks as may pass without a header.
fn behind_max(chain: &config::Chain) -> u64 {
    let in_half_a_minute = BEHIND_MIN.as_millis() / chain.block_time.as_millis().max(1);
    u64::try_from(in_half_a_minute)
        .unwrap_or(u64::MAX)
        .max(BEHIND_BLOCKS)
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
    reasons: Vec<Reason>,
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
    reasons: Vec<Reason>,
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
    /// The newest number that an endpoint announced; 0 before the first.
    head: u64,
    /// The height up to which it is read.
    read: Option<u64>,
    /// The height up to which it may change money or access.
    settled: Option<u64>,
}

/// What is out of bounds at `now`; nothing when ready.
async fn reasons(app: &App, now: Millis) -> Vec<Reason> {
    let mut reasons = app.health.reasons(now);
    reasons.retain(|reason| reason.chain_id.is_none());
    let chains = app.engine.settings().chains.iter();
    reasons.extend(chains.flat_map(|chain| blindness(app, chain, now)));
    if !app.probe.database_answers(app, now).await {
        reasons.push(Reason {
            check: "database",
            chain_id: None,
            detail: "the database does not answer".to_owned(),
        });
    }
    reasons
}

fn status(reasons: &[Reason]) -> StatusCode {
    if reasons.is_empty() {
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
/// its head, or reports a problem; when an event has been owed for more than an hour; when the database does not answer.
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
    let reasons = reasons(&app, app.now()).await;
    let ready = reasons.is_empty();
    let status_word = if ready { "ready" } else { "not_ready" };
    (
        status(&reasons),
        Json(ReadyView {
            status: status_word,
            reasons,
        }),
    )
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
    let reasons = reasons(&app, now).await;
    let code = status(&reasons);
    let view = HealthView {
        alive: true,
        ready: reasons.is_empty(),
        reasons,
        chains: chains(&app),
        version: env!("CARGO_PKG_VERSION"),
        as_of: rfc3339(now),
    };
    (code, Json(view))
}

fn chains(app: &App) -> Vec<ChainHealthView> {
    let view = |chain: &config::Chain| {
        let heights = app.engine.chain(chain.id).unwrap_or_default().heights;
        ChainHealthView {
            chain_id: chain.id.0,
            name: chain.name.clone(),
            head: heights.head,
            read: heights.read.map(|block| block.number),
            settled: heights.settled.map(|block| block.number),
        }
    };
    app.engine.settings().chains.iter().map(view).collect()
}
