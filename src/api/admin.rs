//! What operators look at. Endpoints by name only: their URLs hold keys.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use super::tokens::{self, OfferedToken};
use super::{App, Shared};
use crate::config;
use crate::domain::{BlockRef, Held, Level, Millis, Settled, Tag, Tier};
use crate::engine::rfc3339;
use crate::health::EndpointStatus;
use crate::store::{Instance, Role};

/// Every configured chain.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChainsView {
    /// In the order of the configuration.
    chains: Vec<ChainView>,
}

/// One chain, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChainView {
    /// Its number.
    chain_id: u64,
    /// Its number as CAIP-2.
    chain: String,
    /// Its name in the configuration.
    name: String,
    /// The newest number that an endpoint announced; 0 before the first.
    head: u64,
    /// The newest block that is linked and complete.
    read: Option<BlockView>,
    /// The newest block that may change money or access.
    settled: Option<BlockView>,
    /// That block's own time.
    settled_at: Option<String>,
    /// Seconds since then.
    settled_age_seconds: Option<i64>,
    /// When a block counts, by the amount that is at stake; the lowest tier first.
    tiers: Vec<TierView>,
    /// The newest block that is never undone without a person.
    finalized: Option<BlockView>,
    /// Distinct operators that must report a block before it counts.
    agree: usize,
    /// Why deadlines stand still, and since when.
    stalled: Option<HeldView>,
    /// Why nothing counts until a person resolves it, and since when.
    quarantined: Option<HeldView>,
    /// The usual time between blocks, in milliseconds.
    block_time_ms: u64,
    /// Blocks between the head and what was read, as its task says.
    behind: u64,
    /// When its newest header arrived.
    last_header_at: Option<String>,
    /// How its blocks are proven: `receipts`, `asked`, or `none`, where payments are shown and never count.
    #[schema(value_type = Option<String>)]
    level: Option<Level>,
    /// Why it is not read.
    problem: Option<&'static str>,
    /// The instance that reads it, as host and process; none while nobody does.
    leader: Option<String>,
    /// Whether that is the instance that answers.
    leads: bool,
    /// Where payments are received.
    treasury: Option<String>,
    /// The accepted tokens, and whether they can be paid in now.
    tokens: Vec<OfferedToken>,
    /// Contracts whose holders are followed.
    watched_contracts: usize,
    /// Where it is read from.
    endpoints: Vec<EndpointView>,
}

/// One tier of a finality policy, and how far it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TierView {
    /// Its name.
    name: String,
    /// Amounts up to this many units belong to it; all others to the last.
    up_to: Option<String>,
    /// Blocks that must stand on a block, itself included.
    confirmations: u64,
    /// `safe` or `finalized`, where it waits for a tag.
    tag: Option<&'static str>,
    /// So many blocks do as well as the tag.
    or_confirmations: Option<u64>,
    /// How old a block must be, in seconds.
    min_age_seconds: u64,
    /// The newest block that it covers.
    settled: Option<BlockView>,
    /// That block's own time.
    settled_at: Option<String>,
}

/// Since when, and why.
#[derive(Debug, Serialize, ToSchema)]
struct HeldView {
    /// Since when.
    since: String,
    /// In words.
    reason: String,
}

/// A block.
#[derive(Debug, Serialize, ToSchema)]
struct BlockView {
    /// Its height.
    number: u64,
    /// Its hash.
    hash: String,
}

/// One RPC provider, without its URLs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EndpointView {
    /// Its name in the configuration.
    name: String,
    /// Who runs it.
    operator: String,
    /// Whether its WebSocket session is up.
    connected: bool,
    /// The height that it told last.
    head: Option<u64>,
    /// How long one header takes, in milliseconds, on the average of the latest.
    latency_ms: Option<u64>,
    /// What is wrong with it: `wrong_chain`, `wrong_genesis`, `contradicts_final`, `billing`, `rate_limited`,
    /// `unproven`, `too_large`, `not_json_rpc`, `silent` or `unreachable`.
    problem: Option<&'static str>,
}

impl EndpointView {
    /// `known` is what its chain's task says of it, once it does.
    fn new(endpoint: &config::Endpoint, known: &[EndpointStatus]) -> Self {
        let known = known.iter().find(|status| *status.name == *endpoint.name);
        let latency = known.and_then(|status| status.latency);
        Self {
            name: endpoint.name.clone(),
            operator: endpoint.operator.clone(),
            connected: known.is_some_and(|status| status.connected),
            head: known.and_then(|status| status.head),
            latency_ms: latency.map(|latency| u64::try_from(latency.as_millis()).unwrap_or(u64::MAX)),
            problem: known.and_then(|status| status.problem),
        }
    }
}

impl From<BlockRef> for BlockView {
    fn from(block: BlockRef) -> Self {
        Self {
            number: block.number,
            hash: block.hash.to_string(),
        }
    }
}

impl TierView {
    fn new(tier: &Tier, settled: Option<Settled>) -> Self {
        Self {
            name: tier.name.clone(),
            up_to: tier.up_to.clone(),
            confirmations: tier.confirmations,
            tag: tier.tag.map(Tag::as_str),
            or_confirmations: tier.or_confirmations,
            min_age_seconds: tier.min_age.as_secs(),
            settled: settled.map(|settled| settled.block.into()),
            settled_at: settled.map(|settled| rfc3339(settled.time_ms)),
        }
    }
}

impl From<Held> for HeldView {
    fn from(held: Held) -> Self {
        Self {
            since: rfc3339(held.since),
            reason: held.reason,
        }
    }
}

impl ChainView {
    fn new(app: &App, chain: &config::Chain, leader: Option<Instance>, now: Millis) -> Self {
        let answer = app.engine.chain(chain.id).unwrap_or_default();
        let heights = answer.heights;
        let tiers = chain.finality.tiers().iter().enumerate();
        let tiers = tiers.map(|(place, tier)| TierView::new(tier, heights.settled_at(place)));
        let health = app.health.chain(chain.id).unwrap_or_default();
        let settled_at = heights.settled.map(|_| heights.settled_time_ms);
        let known = app.health.endpoints(chain.id);
        let endpoint = |endpoint| EndpointView::new(endpoint, &known);
        let tokens = tokens::of_chain(chain, &answer);
        Self {
            chain_id: chain.id.0,
            chain: chain.id.caip2(),
            name: chain.name.clone(),
            head: heights.head,
            read: heights.read.map(BlockView::from),
            settled: heights.settled.map(BlockView::from),
            settled_at: settled_at.map(rfc3339),
            settled_age_seconds: settled_at.map(|at| now.saturating_sub(at).max(0) / 1000),
            tiers: tiers.collect(),
            finalized: heights.finalized.map(BlockView::from),
            agree: chain.agree,
            stalled: answer.stalled.map(HeldView::from),
            quarantined: answer.quarantined.map(HeldView::from),
            block_time_ms: u64::try_from(chain.block_time.as_millis()).unwrap_or(u64::MAX),
            behind: health.behind,
            last_header_at: health.last_header_at_ms.map(rfc3339),
            level: health.level,
            problem: health.problem,
            leads: leader.as_ref() == Some(app.engine.instance()),
            leader: leader.map(|leader| leader.label),
            treasury: chain.treasury.map(|treasury| treasury.to_checksum(None)),
            tokens,
            watched_contracts: app.engine.watches(chain.id).len(),
            endpoints: chain.endpoints.iter().map(endpoint).collect(),
        }
    }
}

/// Every chain, and how far it is
#[utoipa::path(
    get,
    path = "/api/admin/chains",
    operation_id = "list_chains",
    tag = "operators",
    responses((status = 200, body = ChainsView))
)]
pub(super) async fn chains(State(app): State<Shared>) -> Result<Json<ChainsView>, Problem> {
    let now = app.now();
    let mut chains = Vec::new();
    for chain in &app.engine.settings().chains {
        let lease = app.engine.lease(&Role::Chain(chain.id)).await?;
        let leader = lease.and_then(|lease| lease.holder);
        chains.push(ChainView::new(&app, chain, leader, now));
    }
    Ok(Json(ChainsView { chains }))
}
