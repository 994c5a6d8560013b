//! Changes of what is paid on-chain: shown before they are asked for, and wished for the end of the period.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Shared;
use super::asker::{Asker, NamedInHeaders, NamedInQuery};
use super::charges::{chain, month};
use super::extract::JsonBody;
use super::problem::Problem;
use super::subscription::SubscriptionView;
use crate::domain::{Interval, TenantId, WhenActive};
use crate::engine::{CancelPlan, ChangePlan, OfferView, ResumePlan, Wish};

/// What is wanted, and in what it would be paid.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PreviewRequest {
    /// Whose; may stand in the query or in a header instead.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// The plan, by id or alias; `planId` is understood too.
    #[serde(alias = "planId")]
    plan: String,
    /// `month` unless said, or `year`.
    #[serde(default = "month")]
    #[schema(value_type = Option<String>)]
    interval: Interval,
    /// The chain; may be left out where only one takes payments.
    #[serde(alias = "chain", alias = "network")]
    chain_id: Option<Value>,
    /// The token, by symbol or address. May be left out where the chain accepts only one.
    token: Option<String>,
    /// `queue` or `stack`, where a subscription elsewhere is active.
    #[schema(value_type = Option<String>)]
    when_active: Option<WhenActive>,
}

/// What a plan would cost now, on-chain
///
/// Its price, less unused time that it would replace, less credit. Nothing is changed, and nothing is promised.
#[utoipa::path(
    post,
    path = "/api/billing/subscription/preview",
    operation_id = "preview_subscription",
    tag = "subscription",
    params(NamedInQuery, NamedInHeaders),
    request_body = PreviewRequest,
    responses((status = 200, body = OfferView))
)]
pub(super) async fn preview(
    State(app): State<Shared>,
    asker: Asker,
    JsonBody { value: body, .. }: JsonBody<PreviewRequest>,
) -> Result<Json<OfferView>, Problem> {
    let tenant = asker.tenant(body.tenant_id.as_ref())?;
    let wish = Wish {
        plan: body.plan,
        interval: body.interval,
        chain: body.chain_id.as_ref().map(chain).transpose()?,
        token: body.token,
        when_active: body.when_active,
    };
    Ok(Json(app.engine.preview(&tenant, &wish).await?))
}

/// What is wanted when the paid period ends.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ChangeRequest {
    /// Whose; may stand in the query or in a header instead.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// The plan, by id or alias; `planId` is understood too.
    #[serde(alias = "planId")]
    plan: String,
    /// `month` unless said, or `year`.
    #[serde(default = "month")]
    #[schema(value_type = Option<String>)]
    interval: Interval,
}

/// Wants a lower plan, or another interval, when the period ends
///
/// Of what is paid on-chain. The plan that there is takes an earlier wish back; a higher one begins when a charge for it
/// is paid.
#[utoipa::path(
    put,
    path = "/api/billing/subscription",
    operation_id = "change_subscription",
    tag = "subscription",
    params(NamedInQuery, NamedInHeaders),
    request_body = ChangeRequest,
    responses((status = 200, body = SubscriptionView))
)]
pub(super) async fn change(
    State(app): State<Shared>,
    asker: Asker,
    JsonBody { value: body, .. }: JsonBody<ChangeRequest>,
) -> Result<Json<SubscriptionView>, Problem> {
    let tenant = asker.tenant(body.tenant_id.as_ref())?;
    let command = ChangePlan {
        origin: asker.origin(),
        tenant: tenant.clone(),
        plan: body.plan,
        interval: body.interval,
    };
    app.engine.execute(command).await?;
    Ok(Json(SubscriptionView::now(&app, &tenant)))
}

/// Ends what is paid on-chain when its period ends
///
/// No reminders are sent. A payment, or `resume`, takes it back.
#[utoipa::path(
    delete,
    path = "/api/billing/subscription",
    operation_id = "cancel_subscription",
    tag = "subscription",
    params(NamedInQuery, NamedInHeaders),
    responses((status = 200, body = SubscriptionView))
)]
pub(super) async fn cancel(
    State(app): State<Shared>,
    asker: Asker,
) -> Result<Json<SubscriptionView>, Problem> {
    let tenant = asker.tenant(None)?;
    let command = CancelPlan {
        origin: asker.origin(),
        tenant: tenant.clone(),
    };
    app.engine.execute(command).await?;
    Ok(Json(SubscriptionView::now(&app, &tenant)))
}

/// Takes back what was wished for the end of the period
#[utoipa::path(
    post,
    path = "/api/billing/subscription/resume",
    operation_id = "resume_subscription",
    tag = "subscription",
    params(NamedInQuery, NamedInHeaders),
    responses((status = 200, body = SubscriptionView))
)]
pub(super) async fn resume(
    State(app): State<Shared>,
    asker: Asker,
) -> Result<Json<SubscriptionView>, Problem> {
    let tenant = asker.tenant(None)?;
    let command = ResumePlan {
        origin: asker.origin(),
        tenant: tenant.clone(),
    };
    app.engine.execute(command).await?;
    Ok(Json(SubscriptionView::now(&app, &tenant)))
}
