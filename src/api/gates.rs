//! Gates: made, shown, removed. What a gate answers is [`verify`](super::verify)'s.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Shared;
use super::asker::{Asker, IdempotencyKey, NamedInHeaders, NamedInQuery};
use super::charges::Created;
use super::extract::{Id, JsonBody};
use super::gate_shapes::{self, GateBody};
use super::problem::Problem;
use crate::access::{self, Lint};
use crate::domain::{Gate, GateAction, GateId};
use crate::engine::{CreateGate, DeleteGate, UpdateGate, rfc3339};

/// A gate.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct GateView {
    /// Its id.
    id: String,
    /// Whose it is.
    tenant_id: String,
    /// For people.
    name: String,
    /// For people.
    description: Option<String>,
    /// Whether it may answer eligible.
    enabled: bool,
    /// What it guards.
    #[schema(value_type = Object)]
    action: GateAction,
    /// What must hold.
    #[schema(value_type = Object)]
    rule: Value,
    /// What may surprise.
    lints: Vec<LintView>,
    /// When it was made.
    created_at: String,
}

/// Something that is accepted and may surprise.
#[derive(Debug, Serialize, ToSchema)]
struct LintView {
    /// JSON pointer to the place in the rule.
    pointer: String,
    /// `not_over_balance`, `at_most_is_negation`, `not_over_wallets`, `never_holds` or `always_holds`.
    code: &'static str,
    /// One sentence for people.
    message: &'static str,
}

/// A tenant's gates.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GatesView {
    /// Oldest first.
    gates: Vec<GateView>,
}

impl From<&Lint> for LintView {
    fn from(lint: &Lint) -> Self {
        Self {
            pointer: lint.pointer.clone(),
            code: lint.code.as_str(),
            message: lint.code.message(),
        }
    }
}

impl GateView {
    fn new(gate: &Gate, lints: &[Lint]) -> Self {
        Self {
            id: gate.id.to_string(),
            tenant_id: gate.tenant.to_string(),
            name: gate.name.clone(),
            description: gate.description.clone(),
            enabled: gate.enabled,
            action: gate.action.clone(),
            rule: json!(gate.rule),
            lints: lints.iter().map(LintView::from).collect(),
            created_at: rfc3339(gate.created_at),
        }
    }
}

impl From<&Gate> for GateView {
    fn from(gate: &Gate) -> Self {
        // Only a sound rule is ever stored.
        Self::new(gate, &access::validate(&gate.rule).unwrap_or_default())
    }
}

/// Makes a gate
///
/// Takes our tree and both flat published shapes. The contracts that it needs are read from their deployment on.
#[utoipa::path(
    post,
    path = "/api/token-gates",
    operation_id = "create_gate",
    tag = "gates",
    params(NamedInQuery, NamedInHeaders, IdempotencyKey),
    request_body = GateBody,
    responses((
        status = 201,
        body = GateView,
        headers(("Idempotency-Replayed" = String, description = "`true` where this answer was given before"))
    ))
)]
pub(super) async fn create(
    State(app): State<Shared>,
    asker: Asker,
    key: IdempotencyKey,
    JsonBody { value: body, raw }: JsonBody<Value>,
) -> Result<Created, Problem> {
    let draft = gate_shapes::read(body, &app.engine)?;
    let tenant = asker.tenant(draft.tenant.as_ref())?;
    let (name, rule) = draft.complete()?;
    let command = CreateGate {
        origin: asker.origin(),
        idempotency: asker.idempotency(key, "gate.create", (&tenant, None), &raw),
        tenant,
        name,
        description: draft.description,
        enabled: draft.enabled.unwrap_or(true),
        action: draft.action.unwrap_or(GateAction::GrantAccess),
        rule,
        from_block: draft.from_block,
        view: |gate, lints| json!(GateView::new(gate, lints)),
    };
    let outcome = app.engine.execute(command).await?;
    let under = "/api/token-gates/";
    Ok(Created { outcome, under })
}

/// A tenant's gates
#[utoipa::path(
    get,
    path = "/api/token-gates",
    operation_id = "list_gates",
    tag = "gates",
    params(NamedInQuery, NamedInHeaders),
    responses((status = 200, body = GatesView))
)]
pub(super) async fn list(State(app): State<Shared>, asker: Asker) -> Result<Json<GatesView>, Problem> {
    let gates = app.engine.gates(&asker.tenant(None)?);
    let gates = gates.iter().map(|gate| GateView::from(&**gate)).collect();
    Ok(Json(GatesView { gates }))
}

/// One gate
#[utoipa::path(
    get,
    path = "/api/token-gates/{id}",
    operation_id = "show_gate",
    tag = "gates",
    params(("id" = String, Path, description = "The gate"), NamedInQuery, NamedInHeaders),
    responses((status = 200, body = GateView))
)]
pub(super) async fn show(
    State(app): State<Shared>,
    asker: Asker,
    Id(id): Id<GateId>,
) -> Result<Json<GateView>, Problem> {
    let gate = app.engine.gate(&asker.tenant(None)?, &id);
    let gate = gate.ok_or_else(|| Problem::not_found("gate"))?;
    Ok(Json(GateView::from(&*gate)))
}

/// Changes a gate
///
/// What is left out stays as it is. A rule may be written in each of the shapes that a new gate may.
#[utoipa::path(
    put,
    path = "/api/token-gates/{id}",
    operation_id = "update_gate",
    tag = "gates",
    params(("id" = String, Path, description = "The gate"), NamedInQuery, NamedInHeaders),
    request_body = GateBody,
    responses((status = 200, body = GateView))
)]
pub(super) async fn update(
    State(app): State<Shared>,
    asker: Asker,
    Id(id): Id<GateId>,
    JsonBody { value: body, .. }: JsonBody<Value>,
) -> Result<Json<GateView>, Problem> {
    let draft = gate_shapes::read(body, &app.engine)?;
    let command = UpdateGate {
        origin: asker.origin(),
        tenant: asker.tenant(draft.tenant.as_ref())?,
        id,
        name: draft.name,
        description: draft.description,
        enabled: draft.enabled,
        action: draft.action,
        rule: draft.rule,
        from_block: draft.from_block,
        view: |gate, lints| json!(GateView::new(gate, lints)),
    };
    let gate = app.engine.execute(command).await?;
    Ok(Json(GateView::from(&gate)))
}

/// Removes a gate
#[utoipa::path(
    delete,
    path = "/api/token-gates/{id}",
    operation_id = "delete_gate",
    tag = "gates",
    params(("id" = String, Path, description = "The gate"), NamedInQuery, NamedInHeaders),
    responses((status = 204, description = "It is gone"))
)]
pub(super) async fn delete(
    State(app): State<Shared>,
    asker: Asker,
    Id(id): Id<GateId>,
) -> Result<StatusCode, Problem> {
    let command = DeleteGate {
        origin: asker.origin(),
        tenant: asker.tenant(None)?,
        id,
    };
    app.engine.execute(command).await?;
    Ok(StatusCode::NO_CONTENT)
}
