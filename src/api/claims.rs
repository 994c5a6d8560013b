//! Claims: a user names the transaction that they paid by.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Shared;
use super::asker::{Asker, NamedInHeaders, NamedInQuery};
use super::extract::JsonBody;
use super::payments::hash;
use super::problem::Problem;
use crate::domain::{ChargeId, TenantId, UserId};
use crate::engine::{ClaimPayment, ClaimView};

/// Which transaction, and what it paid for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ClaimRequest {
    /// The tenant; may stand in the query or in a header instead.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// The user who paid; likewise.
    #[schema(value_type = Option<String>)]
    user_id: Option<UserId>,
    /// The transaction.
    tx_hash: String,
    /// The charge that it paid. May be left out where it can be only one.
    #[schema(value_type = Option<String>)]
    charge_id: Option<ChargeId>,
}

/// Claims a transaction for a charge
///
/// It counts at once where the user has proven the wallet that paid (`/api/wallets/link`) and the charge is theirs; else it
/// waits, also for a transaction that is not on the chain yet. The answer says nothing of what is another's. Asked again,
/// it is judged again.
#[utoipa::path(
    post,
    path = "/api/billing/crypto/claim",
    operation_id = "claim_payment",
    tag = "crypto",
    params(NamedInQuery, NamedInHeaders),
    request_body = ClaimRequest,
    responses((status = 200, body = ClaimView))
)]
pub(super) async fn claim(
    State(app): State<Shared>,
    asker: Asker,
    JsonBody { value: body, .. }: JsonBody<ClaimRequest>,
) -> Result<Json<ClaimView>, Problem> {
    let command = ClaimPayment {
        origin: asker.origin(),
        tenant: asker.tenant(body.tenant_id.as_ref())?,
        user: asker.user(body.user_id.as_ref())?,
        tx_hash: hash("txHash", &body.tx_hash)?,
        charge: body.charge_id,
    };
    Ok(Json(app.engine.execute(command).await?))
}
