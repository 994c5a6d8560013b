//! Receipts: what gates answer for a user, signed, so that the chat product need not ask again; and the keys that verify them.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CACHE_CONTROL;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Shared;
use super::asker::{Asker, NamedInHeaders, NamedInQuery};
use super::extract::JsonBody;
use super::problem::Problem;
use super::verify::{DecisionView, VerifyRequest, VerifyView, verified};
use crate::domain::Millis;
use crate::engine::rfc3339;
use crate::jwt::PublicKey;

/// What gates answer, and the receipt of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReceiptView {
    /// A JWT (`EdDSA`, `typ` `eligibility-receipt+jwt`) that names the gates which let the user in; null where none does. Its
    /// claims: `iss` (where `server.public_url` is set), `sub` (the user), `aud` (the tenant), `iat`, `exp`, and `gates`,
    /// each with `gateId`, `action`, `asOf` and `stale` as in the results.
    receipt: Option<String>,
    /// Until when it is good.
    expires_at: Option<String>,
    #[serde(flatten)]
    verified: VerifyView,
}

/// The keys that verify receipts (RFC 7517).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeysView {
    /// Newest first.
    keys: Vec<PublicKey>,
}

/// A signed receipt of what gates answer for a user
///
/// It names only gates that let the user in; every gate's answer stands in the results. Whoever trusts it trusts what was so
/// when it was made, for as long as it lives (`receipts.ttl`).
#[utoipa::path(
    post,
    path = "/api/token-gates/receipt",
    operation_id = "create_receipt",
    tag = "gates",
    params(NamedInQuery, NamedInHeaders),
    request_body = VerifyRequest,
    responses((status = 200, body = ReceiptView))
)]
pub(super) async fn create(
    State(app): State<Shared>,
    asker: Asker,
    JsonBody { value: body, .. }: JsonBody<VerifyRequest>,
) -> Result<Json<ReceiptView>, Problem> {
    let verified = verified(&app, &asker, body)?;
    let Some(user) = verified.user() else {
        let detail = "name a user (userId, or the header x-user-id): nobody has proven a wallet by naming it";
        return Err(Problem::malformed("USER_REQUIRED", detail).at("userId"));
    };
    let now = app.now();
    let ttl_ms = i64::try_from(app.receipt_ttl.as_millis()).unwrap_or(i64::MAX);
    let expires_at = now.saturating_add(ttl_ms);
    let gates: Vec<Value> = verified.granted().map(claim).collect();
    let receipt = if gates.is_empty() {
        None
    } else {
        let claims = json!({
            "sub": user,
            "aud": verified.tenant(),
            "iat": seconds(now),
            "exp": seconds(expires_at),
            "gates": gates,
        });
        let claims = with_issuer(claims, app.engine.settings().public_url.as_deref());
        Some(app.engine.receipt_signer().await?.sign(&claims))
    };
    Ok(Json(ReceiptView {
        expires_at: receipt.as_ref().map(|_| rfc3339(expires_at)),
        receipt,
        verified,
    }))
}

fn claim(result: &DecisionView) -> Value {
    let DecisionView {
        gate_id,
        action,
        as_of,
        stale,
        ..
    } = result;
    json!({"gateId": gate_id, "action": action, "asOf": as_of, "stale": stale})
}

fn with_issuer(mut claims: Value, issuer: Option<&str>) -> Value {
    if let Some(issuer) = issuer {
        claims["iss"] = json!(issuer);
    }
    claims
}

/// Times of tokens are whole seconds (RFC 7519, section 2).
const fn seconds(at: Millis) -> i64 {
    at.div_euclid(1000)
}

/// The keys that verify receipts
///
/// A key that was replaced stays here until what it signed has ended. There is none before the first receipt.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    operation_id = "receipt_keys",
    tag = "gates",
    responses((status = 200, body = KeysView))
)]
pub(super) async fn keys(State(app): State<Shared>) -> ([(HeaderName, &'static str); 1], Json<KeysView>) {
    let keys = app.engine.receipt_keys();
    ([(CACHE_CONTROL, "public, max-age=300")], Json(KeysView { keys }))
}
