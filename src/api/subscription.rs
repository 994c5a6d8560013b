//! What a tenant has now, and from whom.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::asker::{Asker, NamedInHeaders, NamedInQuery};
use super::problem::Problem;
use crate::domain::{SourceState, TenantId};
use crate::engine::{EntitlementView, SourceView, TenantView, rfc3339};

/// What a tenant has now: the fold of its sources.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubscriptionView {
    /// Whose it is.
    tenant_id: String,
    #[serde(flatten)]
    entitlement: EntitlementView,
    /// The state of the source that decided: `pending`, `trialing`, `active`, `past_due`, `restricted`, `paused` or `ended`;
    /// `none` where the plan is the default one, or there is none.
    status: &'static str,
    /// The period it renews by.
    interval: Option<&'static str>,
    /// The current period's beginning.
    current_period_start: Option<String>,
    /// The current period's end.
    current_period_end: Option<String>,
    /// When it will end by the payer's wish.
    scheduled_end: Option<String>,
    /// Every source, whether it decided or not.
    sources: Vec<SourceView>,
    /// Counts the changes of what the tenant has.
    sequence: i64,
    /// When this was true.
    as_of: String,
    /// Whether a payment on a chain may not be known yet, since a chain is not read to its head.
    stale: bool,
}

impl SubscriptionView {
    /// As it is in memory now.
    pub(super) fn now(app: &Shared, tenant: &TenantId) -> Self {
        let now = app.now();
        let freshness = (rfc3339(now), app.may_miss_payments(now));
        Self::new(tenant, app.engine.tenant(tenant, now), freshness)
    }

    fn new(tenant: &TenantId, view: TenantView, (as_of, stale): (String, bool)) -> Self {
        let TenantView {
            entitlement,
            sources,
            sequence,
        } = view;
        let decides = |source: &&SourceView| {
            Some(source.provider) == entitlement.provider
                && Some(&source.source) == entitlement.source.as_ref()
        };
        let deciding = sources.iter().find(decides);
        Self {
            tenant_id: tenant.to_string(),
            status: deciding.map_or("none", |source| SourceState::as_str(source.state)),
            interval: deciding.and_then(|source| source.interval),
            current_period_start: deciding.and_then(|source| source.period_start.clone()),
            current_period_end: deciding.and_then(|source| source.period_end.clone()),
            scheduled_end: deciding.and_then(|source| source.scheduled_end.clone()),
            entitlement,
            sources,
            sequence,
            as_of,
            stale,
        }
    }
}

/// What a tenant has now
#[utoipa::path(
    get,
    path = "/api/billing/subscription",
    operation_id = "show_subscription",
    tag = "subscription",
    params(NamedInQuery, NamedInHeaders),
    responses((status = 200, body = SubscriptionView))
)]
pub(super) async fn show(State(app): State<Shared>, asker: Asker) -> Result<Json<SubscriptionView>, Problem> {
    let tenant = asker.tenant(None)?;
    Ok(Json(SubscriptionView::now(&app, &tenant)))
}
