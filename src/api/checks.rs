//! May this be done under the plan? One check or many, from memory.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::asker::{Asker, NamedInHeaders, NamedInQuery};
use super::extract::{JsonBody, from_value};
use super::plans::published;
use super::problem::Problem;
use super::{App, Shared};
use crate::billing::{Check, CheckCode, CheckError, CheckOutcome, Limit, Threshold, check_plan};
use crate::domain::{Millis, TenantId};
use crate::engine::rfc3339;

/// The most checks of one request.
const MAX_CHECKS: usize = 500;

/// One check: exactly one of `feature`, `meter` and `minimumPlan`, for a tenant or for a plan.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CheckRequest {
    /// For which tenant; may stand in the query or in a header instead.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// For whoever has this plan in full, by id or alias, in place of a tenant.
    #[serde(alias = "planId")]
    plan: Option<String>,
    /// Whether the plan has this feature.
    feature: Option<String>,
    /// Whether `amount` more of this meter is within the plan's limit.
    meter: Option<String>,
    /// How much more, in the meter's unit; 1 unless said. For a static meter the size of the request itself.
    amount: Option<u64>,
    /// How much is used now; needed for counters and gauges.
    current: Option<u64>,
    /// Whether the plan is this one or a higher one, by id or alias.
    minimum_plan: Option<String>,
}

/// Many checks at once.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ChecksRequest {
    /// For all of them that name neither a tenant nor a plan.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// 1 to 500 checks.
    checks: Vec<CheckRequest>,
}

/// Either.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(
    dead_code,
    reason = "the schema; the two are told apart by `checks`, to name wrong fields"
)]
pub(super) enum CheckBody {
    One(CheckRequest),
    Many(ChecksRequest),
}

/// A check's answer. The figures are those before the amount asked for, and null where there are none.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckView {
    /// Whether to go ahead.
    allowed: bool,
    /// `allowed`, `feature_not_in_plan`, `limit_exceeded`, `plan_too_low`, `access_restricted`, `no_plan` or `unknown_plan`.
    #[schema(value_type = String)]
    code: CheckCode,
    /// The feature that was asked for.
    feature: Option<String>,
    /// The meter that was asked for.
    meter: Option<String>,
    /// The meter's limit in its unit, inclusive; -1 where it is unlimited.
    limit: Option<i64>,
    /// Whether the meter is unlimited.
    unlimited: bool,
    /// What is used now.
    current_usage: Option<u64>,
    /// What is left now; null where it is unlimited.
    remaining: Option<u64>,
    /// The whole percent of the limit that is used now.
    percent: Option<u64>,
    /// `warn` from 75 percent, `upsell` from 90, `exceeded` from 100.
    #[schema(value_type = Option<String>)]
    threshold: Option<Threshold>,
    /// The lowest plan on offer, above the present one, that would allow it.
    upgrade_required: Option<String>,
    /// One sentence for people.
    message: String,
    /// When this was true.
    as_of: String,
    /// Whether a payment on a chain may not be known yet, since a chain is not read to its head.
    stale: bool,
    /// The HTTP status to answer the end user with: 200, or 402 or 403 as the catalogue says.
    http_hint: u16,
}

/// The answers of many checks.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChecksView {
    /// Whether all are allowed.
    allowed: bool,
    /// In the order of the request.
    results: Vec<CheckView>,
}

/// Either.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum CheckAnswer {
    One(CheckView),
    Many(ChecksView),
}

impl IntoResponse for CheckAnswer {
    fn into_response(self) -> Response {
        let payment_required = StatusCode::PAYMENT_REQUIRED;
        let status = match &self {
            Self::One(view) if view.http_hint == payment_required.as_u16() => payment_required,
            _ => StatusCode::OK,
        };
        (status, Json(self)).into_response()
    }
}

/// Checks a feature, a meter or a minimum plan, one or up to 500
///
/// A check that was decided is answered with 200, whatever the decision; where the catalogue's `denied_status` is 402, a
/// single denied check is answered with 402. A check that cannot be decided fails the request and names its field.
#[utoipa::path(
    post,
    path = "/api/billing/check",
    operation_id = "check_plan",
    tag = "usage and checks",
    params(NamedInQuery, NamedInHeaders),
    request_body = CheckBody,
    responses(
        (status = 200, description = "Decided", body = CheckAnswer),
        (status = 402, description = "Denied, where the catalogue says so", body = CheckView)
    )
)]
pub(super) async fn check(
    State(app): State<Shared>,
    asker: Asker,
    body: JsonBody<Value>,
) -> Result<CheckAnswer, Problem> {
    let moment = Moment::of(&app);
    if body.value.get("checks").is_some() {
        let request = from_value(body.value)?;
        return many(&app, &asker, request, &moment).map(CheckAnswer::Many);
    }
    let request = from_value(body.value)?;
    answer(&app, &asker, request, &moment, "").map(CheckAnswer::One)
}

/// When a request was answered: the same for all of its checks.
struct Moment {
    now: Millis,
    as_of: String,
    stale: bool,
}

impl Moment {
    fn of(app: &App) -> Self {
        let now = app.now();
        Self {
            now,
            as_of: rfc3339(now),
            stale: app.may_miss_payments(now),
        }
    }
}

fn many(app: &App, asker: &Asker, request: ChecksRequest, moment: &Moment) -> Result<ChecksView, Problem> {
    let ChecksRequest { tenant_id, checks } = request;
    if checks.is_empty() || checks.len() > MAX_CHECKS {
        return Err(Problem::invalid(
            "checks",
            &format!("must be 1 to {MAX_CHECKS} checks"),
        ));
    }
    let mut results = Vec::with_capacity(checks.len());
    for (index, mut check) in checks.into_iter().enumerate() {
        let place = format!("checks[{index}].");
        if check.tenant_id.is_none() && check.plan.is_none() {
            check.tenant_id.clone_from(&tenant_id);
        }
        results.push(answer(app, asker, check, moment, &place)?);
    }
    Ok(ChecksView {
        allowed: results.iter().all(|view| view.allowed),
        results,
    })
}

/// `place` is where the check stands in the body.
fn answer(
    app: &App,
    asker: &Asker,
    mut request: CheckRequest,
    moment: &Moment,
    place: &str,
) -> Result<CheckView, Problem> {
    let check = asked(&mut request, place)?;
    let outcome = match (&request.plan, &request.tenant_id) {
        (Some(_), Some(_)) => {
            let problem = "and tenantId are both given: a check is for a plan or for a tenant";
            return Err(Problem::invalid(format!("{place}plan"), problem));
        }
        (Some(name), None) => {
            let catalogue = app.engine.catalogue();
            let plan = catalogue.plan(name).ok_or_else(|| {
                let known: Vec<&str> = catalogue.plans().iter().map(|plan| plan.id.as_str()).collect();
                let problem = format!("{name:?} is not a plan; there are {}", known.join(", "));
                Problem::invalid(format!("{place}plan"), &problem)
            })?;
            check_plan(catalogue, plan, &check)
        }
        (None, tenant) => app
            .engine
            .check(&asker.tenant(tenant.as_ref())?, &check, moment.now),
    };
    let outcome = outcome.map_err(|error| undecided(&error, place))?;
    Ok(CheckView::new(app, outcome, moment))
}

fn asked(request: &mut CheckRequest, place: &str) -> Result<Check, Problem> {
    let CheckRequest {
        feature,
        meter,
        minimum_plan,
        amount,
        current,
        ..
    } = request;
    let check = match (feature.take(), meter.take(), minimum_plan.take()) {
        (Some(feature), None, None) => Check::Feature(feature),
        (None, Some(name), None) => {
            return Ok(Check::Meter {
                name,
                amount: amount.unwrap_or(1),
                current: *current,
            });
        }
        (None, None, Some(plan)) => Check::MinimumPlan(plan),
        _ => {
            let detail =
                format!("{place}feature, {place}meter and {place}minimumPlan: exactly one must be given");
            return Err(Problem::malformed("INVALID_FIELD", detail).at(format!("{place}feature")));
        }
    };
    let stray = match (amount, current) {
        (Some(_), _) => "amount",
        (None, Some(_)) => "current",
        (None, None) => return Ok(check),
    };
    let detail = format!("{place}{stray} belongs to a meter, and none is asked for");
    Err(Problem::malformed("INVALID_FIELD", detail).at(format!("{place}{stray}")))
}

fn undecided(error: &CheckError, place: &str) -> Problem {
    let field = match error {
        CheckError::UnknownFeature { .. } => "feature",
        CheckError::UnknownMeter { .. } => "meter",
        CheckError::UnknownPlan { .. } => "minimumPlan",
        CheckError::CurrentNeeded { .. } => "current",
    };
    Problem::invalid(format!("{place}{field}"), &format!("cannot be checked: {error}"))
}

impl CheckView {
    fn new(app: &App, outcome: CheckOutcome, moment: &Moment) -> Self {
        let denied_status = app.engine.catalogue().denied_status();
        Self {
            allowed: outcome.allowed,
            code: outcome.code,
            feature: outcome.feature,
            meter: outcome.meter,
            limit: outcome.limit.map(published),
            unlimited: outcome.limit == Some(Limit::Unlimited),
            current_usage: outcome.current_usage,
            remaining: outcome.remaining,
            percent: outcome.percent,
            threshold: outcome.threshold,
            upgrade_required: outcome.upgrade_required.map(|plan| plan.to_string()),
            message: outcome.message,
            as_of: moment.as_of.clone(),
            stale: moment.stale,
            http_hint: if outcome.allowed { 200 } else { denied_status },
        }
    }
}
