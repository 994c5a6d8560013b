//! On-chain charges. Price, token address, treasury and amount are the server's; a caller only chooses among them.

use axum::Json;
use axum::extract::State;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::asker::{Asker, IdempotencyKey, NamedInHeaders, NamedInQuery, Viewer};
use super::cursor::{self, PageQuery};
use super::extract::{Id, InQuery, JsonBody};
use super::problem::Problem;
use super::qr;
use crate::access::parse_chain;
use crate::domain::{Amount, ChainId, ChargeId, ChargeState, Interval, TenantId, UserId, WhenActive};
use crate::engine::{CancelCharge, ChargeView, CreateCharge, Idempotent};
use crate::store::ChargeFilter;

/// What to charge for, and where it is to be paid.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ChargeRequest {
    /// Who is charged; may stand in the query or in a header instead.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// The user who asks; likewise.
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
    /// The plan, by id or alias; `planId` is understood too.
    #[serde(alias = "planId")]
    plan: String,
    /// `month` unless said, or `year`; `monthly`, `yearly` and `annual` are understood too.
    #[serde(default = "month")]
    #[schema(value_type = Option<String>)]
    interval: Interval,
    /// The chain: 137, `"0x89"`, `"eip155:137"` or `"polygon"`; `network` is understood too. May be left out where only one
    /// chain takes payments.
    #[serde(alias = "chain", alias = "network")]
    chain_id: Option<Value>,
    /// The token, by symbol or address. May be left out where the chain accepts only one.
    token: Option<String>,
    /// Needed while a subscription elsewhere is active: `queue` begins the period when that ends, `stack` when it is paid.
    #[schema(value_type = Option<String>)]
    when_active: Option<WhenActive>,
}

pub(super) fn month() -> Interval {
    Interval::Month
}

/// Something that was created, or that an earlier request with the same key had created.
pub(super) struct Created {
    /// The answer.
    pub(super) outcome: Idempotent,
    /// The path of what was created, up to its id.
    pub(super) under: &'static str,
}

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        let id = self.outcome.answer.get("id").and_then(Value::as_str);
        let location = format!("{}{}", self.under, id.unwrap_or_default());
        let mut response = (StatusCode::CREATED, Json(self.outcome.answer)).into_response();
        let headers = response.headers_mut();
        if let Ok(location) = HeaderValue::from_str(&location) {
            headers.insert(LOCATION, location);
        }
        if self.outcome.replayed {
            headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
        }
        response
    }
}

/// The chain that a body names.
pub(super) fn chain(value: &Value) -> Result<ChainId, Problem> {
    parse_chain(value).ok_or_else(|| {
        let problem = "must be a chain: 137, \"0x89\", \"eip155:137\" or \"polygon\"";
        Problem::invalid("chainId", problem)
    })
}

/// Creates an on-chain charge
///
/// Asked again while a charge of the same tenant, user, plan, chain and token waits for money, it answers with that one.
#[utoipa::path(
    post,
    path = "/api/billing/crypto/stablecoin",
    operation_id = "create_charge",
    tag = "crypto",
    params(NamedInQuery, NamedInHeaders, IdempotencyKey),
    request_body = ChargeRequest,
    responses((
        status = 201,
        body = ChargeView,
        headers(("Idempotency-Replayed" = String, description = "`true` where this answer was given before"))
    ))
)]
pub(super) async fn create(
    State(app): State<Shared>,
    asker: Asker,
    key: IdempotencyKey,
    JsonBody { value: body, raw }: JsonBody<ChargeRequest>,
) -> Result<Created, Problem> {
    let tenant = asker.tenant(body.tenant_id.as_ref())?;
    let user = asker.user_if_named(body.user_id.as_ref())?;
    let command = CreateCharge {
        origin: asker.origin(),
        idempotency: asker.idempotency(key, "charge.create", (&tenant, user.as_ref()), &raw),
        tenant,
        user,
        plan: body.plan,
        interval: body.interval,
        chain: body.chain_id.as_ref().map(chain).transpose()?,
        token: body.token,
        when_active: body.when_active,
    };
    let outcome = app.engine.execute(command).await?;
    let under = "/api/billing/crypto/charge/";
    Ok(Created { outcome, under })
}

/// A charge as it stands
///
/// Without a key its id is enough, which nobody can guess: then it is shown without `tenantId` and `userId`. A user with the
/// role `user` sees its own.
#[utoipa::path(
    get,
    path = "/api/billing/crypto/charge/{id}",
    operation_id = "show_charge",
    tag = "crypto",
    params(("id" = String, Path, description = "The charge"), NamedInQuery, NamedInHeaders),
    responses((status = 200, body = ChargeView))
)]
pub(super) async fn show(
    State(app): State<Shared>,
    viewer: Viewer,
    Id(id): Id<ChargeId>,
) -> Result<Json<ChargeView>, Problem> {
    Ok(Json(seen_by(&app, &viewer, &id).await?))
}

/// The charge as far as its viewer may see it.
async fn seen_by(app: &Shared, viewer: &Viewer, id: &ChargeId) -> Result<ChargeView, Problem> {
    let tenant = viewer.tenant()?;
    let charge = app.engine.charge(id, tenant.as_ref()).await?;
    if !viewer.may_see(charge.user_id.as_deref()) {
        return Err(Problem::not_found("charge"));
    }
    Ok(match tenant {
        Some(_) => charge,
        None => charge.without_people(),
    })
}

/// Which charges a list holds.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ChargesQuery {
    /// `open`, `confirming`, `paid`, `expired`, `cancelled`, `reversed` or `closed`. A charge that is `detected` is listed
    /// as the `open` one that it is.
    state: Option<String>,
}

impl ChargesQuery {
    fn state(&self) -> Result<Option<ChargeState>, Problem> {
        let Some(word) = &self.state else {
            return Ok(None);
        };
        let state = ChargeState::STORED
            .into_iter()
            .find(|state| state.as_str() == word);
        state.map(Some).ok_or_else(|| {
            let known = ChargeState::STORED.map(ChargeState::as_str).join(", ");
            Problem::malformed("INVALID_FIELD", format!("state must be one of {known}")).at("state")
        })
    }
}

/// A page of charges.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChargesView {
    /// Newest first.
    charges: Vec<ChargeView>,
    /// Gives the next page as `cursor`; null at the end.
    next_cursor: Option<String>,
}

/// A tenant's charges, newest first
///
/// Where a user is named, only those that this user asked for.
#[utoipa::path(
    get,
    path = "/api/billing/crypto/charges",
    operation_id = "list_charges",
    tag = "crypto",
    params(NamedInQuery, NamedInHeaders, ChargesQuery, PageQuery),
    responses((status = 200, body = ChargesView))
)]
pub(super) async fn list(
    State(app): State<Shared>,
    asker: Asker,
    InQuery(query): InQuery<ChargesQuery>,
    InQuery(page): InQuery<PageQuery>,
) -> Result<Json<ChargesView>, Problem> {
    let filter = ChargeFilter {
        tenant: asker.tenant(None)?,
        user: asker.user_if_named(None)?,
        state: query.state()?,
    };
    let after = page.after()?;
    let found = app.engine.charges(&filter, after.as_ref(), page.limit()?).await?;
    Ok(Json(ChargesView {
        charges: found.charges,
        next_cursor: found.next.as_ref().map(cursor::write),
    }))
}

/// What a QR code holds.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct QrQuery {
    /// `uri`, the payment request (EIP-681), unless said; or `address`, the treasury's alone, for wallets that read no more.
    of: Option<String>,
    /// What is still to pay, in base units, as the asker knows it: another value is another picture to a cache.
    owed: Option<String>,
}

/// A charge's QR code
///
/// An SVG of one code, dark on light, with its quiet border.
#[utoipa::path(
    get,
    path = "/api/billing/crypto/charge/{id}/qr.svg",
    operation_id = "show_charge_qr_code",
    tag = "crypto",
    params(("id" = String, Path, description = "The charge"), QrQuery, NamedInQuery, NamedInHeaders),
    responses((status = 200, description = "The code", content_type = "image/svg+xml", body = String))
)]
pub(super) async fn qr_code(
    State(app): State<Shared>,
    viewer: Viewer,
    Id(id): Id<ChargeId>,
    InQuery(query): InQuery<QrQuery>,
) -> Result<impl IntoResponse, Problem> {
    if query.owed.is_some_and(|owed| owed.parse::<Amount>().is_err()) {
        let detail = "owed must be a whole number of base units";
        return Err(Problem::malformed("INVALID_FIELD", detail).at("owed"));
    }
    let charge = seen_by(&app, &viewer, &id).await?;
    let drawn = match query.of.as_deref().unwrap_or("uri") {
        "uri" => qr::svg(&charge.payment_uri, &charge.instructions),
        "address" => qr::svg(
            &charge.treasury,
            &format!("The address to pay to: {}", charge.treasury),
        ),
        _ => {
            let detail = "of must be uri or address";
            return Err(Problem::malformed("INVALID_FIELD", detail).at("of"));
        }
    };
    let headers = [
        (CONTENT_TYPE, "image/svg+xml"),
        // Whoever holds the id may see it, so no shared cache may keep it.
        (CACHE_CONTROL, "private, max-age=60"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'"),
    ];
    Ok((headers, drawn.ok_or_else(Problem::internal)?))
}

/// Cancels a charge
///
/// Money that is under way is still recognised until its grace ends.
#[utoipa::path(
    delete,
    path = "/api/billing/crypto/charge/{id}",
    operation_id = "cancel_charge",
    tag = "crypto",
    params(("id" = String, Path, description = "The charge"), NamedInQuery, NamedInHeaders),
    responses((status = 200, body = ChargeView))
)]
pub(super) async fn cancel(
    State(app): State<Shared>,
    asker: Asker,
    Id(id): Id<ChargeId>,
) -> Result<Json<ChargeView>, Problem> {
    let command = CancelCharge {
        origin: asker.origin(),
        tenant: asker.tenant(None)?,
        id,
    };
    Ok(Json(app.engine.execute(command).await?))
}
