//! What gates answer for a user or a wallet: from memory, with the blocks it rests on and the reasons.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::asker::{Asker, NamedInHeaders, NamedInQuery};
use super::extract::JsonBody;
use super::problem::Problem;
use super::{App, Shared};
use crate::access::{needs, parse_address};
use crate::domain::{
    AsOf, ChainId, Eligibility, Gate, GateAction, GateId, LeafTrace, Millis, Read, Reading, TenantId, UserId,
};
use crate::engine::{Subject, rfc3339};
use crate::metrics::{GATE_DECISION_SECONDS, GATE_DECISIONS_TOTAL};

/// The most gates that one request may name.
const MAX_GATES: usize = 500;

/// A settled block is always some confirmations old; beyond this many times that it is stale,
const STALE_AFTER_CONFIRMATIONS: u32 = 4;

/// and never before this.
const STALE_AFTER_MIN: Duration = Duration::from_mins(5);

/// For whom, and which gates.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct VerifyRequest {
    /// Whose gates; may stand in the query or in a header instead.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// The user, of whom every proven wallet counts; may stand in the query or in a header instead.
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
    /// One wallet. With a user, it must be proven to be that user's; alone, nobody has proven anything. `walletAddress` is
    /// understood too.
    #[serde(alias = "walletAddress")]
    wallet: Option<String>,
    /// At most 500 gates; all of the tenant's unless said.
    #[schema(value_type = Option<Vec<String>>)]
    gate_ids: Option<Vec<GateId>>,
}

/// What gates answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VerifyView {
    /// Whose gates.
    tenant_id: String,
    /// For whom.
    user_id: Option<String>,
    /// For which wallet, where only one counts.
    wallet: Option<String>,
    /// Whether every wallet that counts was proven to be the user's.
    proven: bool,
    /// Whether every gate lets them in; false where there is none.
    has_access: bool,
    /// In the order of the request.
    results: Vec<DecisionView>,
}

/// One gate's answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DecisionView {
    /// The gate.
    pub(super) gate_id: String,
    /// What it guards.
    #[schema(value_type = Object)]
    pub(super) action: GateAction,
    /// Whether it may answer eligible at all.
    enabled: bool,
    /// `eligible`, `ineligible` or `unknown`, which is never a no.
    #[schema(value_type = String)]
    eligibility: Eligibility,
    /// Whether it lets them in: eligible.
    has_access: bool,
    /// The settled block of each chain that it rests on.
    pub(super) as_of: Vec<AsOfView>,
    /// Whether a chain that it needs has no settled block, or one older than four times its confirmations (five minutes at
    /// least).
    pub(super) stale: bool,
    /// The wallets whose balances were summed.
    wallets: Vec<String>,
    /// Every leaf of the rule, in its order.
    trace: Vec<LeafView>,
}

/// A settled block.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AsOfView {
    /// The chain's number.
    chain_id: u64,
    /// The chain as CAIP-2.
    chain: String,
    /// Its height.
    block_number: u64,
    /// Its hash.
    block_hash: String,
    /// Its own time.
    block_time: String,
    /// Seconds since then.
    age_seconds: i64,
}

/// One leaf, with what was read for it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LeafView {
    /// JSON pointer to the leaf in the rule.
    pointer: String,
    /// Its type.
    #[serde(rename = "type")]
    kind: &'static str,
    /// What was compared: a balance over wallets and contracts, else 1 for yes and 0 for no; null where it is not known.
    reading: Option<String>,
    /// Why it is not known: `not_read`, `no_transfers`, `malformed_log`, `too_many_tokens`, `overdrawn` or `no_user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<&'static str>,
    /// How much is needed at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<String>,
    /// How much is allowed at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<String>,
    /// The balances that make it up, as of their chain's block in `asOf`; those of zero are left out.
    reads: Vec<ReadView>,
    /// How many more there are.
    reads_omitted: usize,
    /// What followed.
    #[schema(value_type = String)]
    outcome: Eligibility,
}

/// One balance that was read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ReadView {
    /// The chain's number.
    chain_id: u64,
    /// The contract.
    contract: String,
    /// The token, where it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    /// Whose.
    wallet: String,
    /// How much; null where it is not known.
    reading: Option<String>,
    /// Why it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<&'static str>,
    /// The height of the settled block that it is as of.
    block_number: Option<u64>,
}

/// A number where it is known, else why it is not.
fn told(reading: Reading) -> (Option<String>, Option<&'static str>) {
    match reading {
        Reading::Known(value) => (Some(value.to_string()), None),
        Reading::Unknown(gap) => (None, Some(gap.as_str())),
    }
}

impl ReadView {
    fn new(read: &Read, as_of: &[AsOf]) -> Self {
        let (reading, unknown) = told(read.reading);
        let as_of = as_of.iter().find(|as_of| as_of.chain == read.at.chain_id);
        Self {
            chain_id: read.at.chain_id.0,
            contract: read.at.contract.to_checksum(None),
            token_id: read.id.map(|id| id.to_string()),
            wallet: read.wallet.to_checksum(None),
            reading,
            unknown,
            block_number: as_of.map(|as_of| as_of.block.number),
        }
    }
}

impl VerifyView {
    pub(super) fn tenant(&self) -> &str {
        &self.tenant_id
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.user_id.as_deref()
    }

    /// The answers that let them in.
    pub(super) fn granted(&self) -> impl Iterator<Item = &DecisionView> {
        self.results.iter().filter(|result| result.has_access)
    }
}

impl AsOfView {
    fn new(as_of: &AsOf, now: Millis) -> Self {
        Self {
            chain_id: as_of.chain.0,
            chain: as_of.chain.caip2(),
            block_number: as_of.block.number,
            block_hash: as_of.block.hash.to_string(),
            block_time: rfc3339(as_of.time_ms),
            age_seconds: now.saturating_sub(as_of.time_ms).max(0) / 1000,
        }
    }
}

impl LeafView {
    fn new(leaf: &LeafTrace, as_of: &[AsOf]) -> Self {
        let (reading, unknown) = told(leaf.reading);
        Self {
            pointer: leaf.pointer.clone(),
            kind: leaf.kind,
            reading,
            unknown,
            at_least: leaf.at_least.map(|least| least.to_string()),
            at_most: leaf.at_most.map(|most| most.to_string()),
            reads: leaf.reads.iter().map(|read| ReadView::new(read, as_of)).collect(),
            reads_omitted: leaf.reads_omitted,
            outcome: leaf.outcome,
        }
    }
}

/// Who asks to be let in, and the one wallet that counts, where one was named.
struct Asked {
    subject: Subject,
    wallet: Option<Address>,
}

/// What gates answer for a user or a wallet
#[utoipa::path(
    post,
    path = "/api/token-gates/verify",
    operation_id = "verify_gates",
    tag = "gates",
    params(NamedInQuery, NamedInHeaders),
    request_body = VerifyRequest,
    responses((status = 200, body = VerifyView))
)]
pub(super) async fn verify(
    State(app): State<Shared>,
    asker: Asker,
    JsonBody { value: body, .. }: JsonBody<VerifyRequest>,
) -> Result<Json<VerifyView>, Problem> {
    Ok(Json(verified(&app, &asker, body)?))
}

/// What gates answer to a request.
pub(super) fn verified(app: &App, asker: &Asker, body: VerifyRequest) -> Result<VerifyView, Problem> {
    let tenant = asker.tenant(body.tenant_id.as_ref())?;
    let Asked { subject, wallet } = asked(app, asker, &tenant, &body)?;
    let gates = gates(app, &tenant, body.gate_ids)?;
    let now = app.now();
    let decide = |gate: &Arc<Gate>| decide(app, gate, &subject, now);
    let results: Vec<DecisionView> = gates.iter().map(decide).collect();
    Ok(VerifyView {
        tenant_id: tenant.to_string(),
        proven: subject.user.is_some(),
        user_id: subject.user.map(|user| user.to_string()),
        wallet: wallet.map(|wallet| wallet.to_checksum(None)),
        // Nothing asked is nothing shown: without a gate nobody is let in.
        has_access: !results.is_empty() && results.iter().all(|result| result.has_access),
        results,
    })
}

fn asked(app: &App, asker: &Asker, tenant: &TenantId, body: &VerifyRequest) -> Result<Asked, Problem> {
    let user = asker.user_if_named(body.user_id.as_ref())?;
    let wallet = body.wallet.as_deref().map(parse_address).transpose();
    let wallet = wallet.map_err(|problem| Problem::invalid("wallet", problem))?;
    let proven = user.as_ref().map(|user| app.engine.wallets(tenant, user));
    let wallets = match (proven, wallet) {
        (Some(proven), None) => proven,
        (Some(proven), Some(wallet)) if !proven.contains(&wallet) => {
            let detail = "this wallet is not proven to be the user's";
            let problem = Problem::new(StatusCode::FORBIDDEN, "WALLET_NOT_LINKED", detail);
            return Err(problem.at("wallet"));
        }
        (_, Some(wallet)) => vec![wallet],
        (None, None) => {
            let detail = "name a user (userId, or the header x-user-id) or a wallet";
            return Err(Problem::malformed("USER_REQUIRED", detail).at("userId"));
        }
    };
    Ok(Asked {
        subject: Subject { user, wallets },
        wallet,
    })
}

fn gates(app: &App, tenant: &TenantId, named: Option<Vec<GateId>>) -> Result<Vec<Arc<Gate>>, Problem> {
    let Some(ids) = named else {
        return Ok(app.engine.gates(tenant));
    };
    if ids.len() > MAX_GATES {
        let problem = format!("must be at most {MAX_GATES} gates");
        return Err(Problem::invalid("gateIds", &problem));
    }
    let gate = |(index, id): (usize, &GateId)| {
        let gate = app.engine.gate(tenant, id);
        gate.ok_or_else(|| Problem::not_found("gate").at(format!("gateIds[{index}]")))
    };
    ids.iter().enumerate().map(gate).collect()
}

fn decide(app: &App, gate: &Gate, subject: &Subject, now: Millis) -> DecisionView {
    let started = Instant::now();
    let answer = app.engine.decide(gate, subject);
    let eligibility = answer.decision.eligibility;
    metrics::histogram!(GATE_DECISION_SECONDS).record(started.elapsed());
    metrics::counter!(GATE_DECISIONS_TOTAL, "eligibility" => word(eligibility)).increment(1);
    DecisionView {
        gate_id: gate.id.to_string(),
        action: gate.action.clone(),
        enabled: gate.enabled,
        eligibility,
        has_access: eligibility == Eligibility::Eligible,
        as_of: answer
            .as_of
            .iter()
            .map(|as_of| AsOfView::new(as_of, now))
            .collect(),
        stale: is_stale(app, gate, &answer.as_of, now),
        wallets: subject
            .wallets
            .iter()
            .map(|wallet| wallet.to_checksum(None))
            .collect(),
        trace: answer
            .decision
            .trace
            .iter()
            .map(|leaf| LeafView::new(leaf, &answer.as_of))
            .collect(),
    }
}

const fn word(eligibility: Eligibility) -> &'static str {
    match eligibility {
        Eligibility::Eligible => "eligible",
        Eligibility::Ineligible => "ineligible",
        Eligibility::Unknown => "unknown",
    }
}

fn is_stale(app: &App, gate: &Gate, as_of: &[AsOf], now: Millis) -> bool {
    let fresh = |chain: ChainId| {
        let settled = as_of.iter().find(|as_of| as_of.chain == chain);
        settled.is_some_and(|settled| now.saturating_sub(settled.time_ms) <= age_max_ms(app, chain))
    };
    needs(&gate.rule).iter().any(|need| !fresh(need.chain))
}

/// How old the settled block of a chain may be; of one that is no longer configured, nothing is fresh.
fn age_max_ms(app: &App, chain: ChainId) -> Millis {
    let settings = app.engine.settings();
    let Some(chain) = settings.chains.iter().find(|known| known.id == chain) else {
        return -1;
    };
    let settles_in = chain.finality.tiers().first().map_or(Duration::ZERO, |lowest| {
        let confirmations = u32::try_from(lowest.depth()).unwrap_or(u32::MAX);
        let by_tag = lowest.tag.map_or(Duration::ZERO, |_| chain.max_tag_age);
        let by_depth = chain.block_time.saturating_mul(confirmations);
        by_depth.max(by_tag).max(lowest.min_age)
    });
    let bound = settles_in.saturating_mul(STALE_AFTER_CONFIRMATIONS);
    i64::try_from(bound.max(STALE_AFTER_MIN).as_millis()).unwrap_or(i64::MAX)
}
