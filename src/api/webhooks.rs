//! Webhooks of Stripe and of hosted checkouts: verified on the bytes as they came, redacted, stored, and only then answered.
//! Nothing is applied here.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::extract::RawBody;
use super::problem::Problem;
use super::{App, Shared};
use crate::checkout;
use crate::checkout::signature::Trusted;
use crate::domain::Sender;
use crate::engine::ReceiveEvent;
use crate::stripe::{redact, signature};

/// The longest id or type of an event that is believed to be one, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// That an event is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReceivedView {
    /// Always true.
    received: bool,
    /// Whether it was kept before.
    duplicate: bool,
}

/// Takes an event from Stripe
///
/// 400 for a signature that is not Stripe's, 503 where no signing secret is configured or the event could not be kept;
/// everything else that Stripe signed is kept, whatever its type.
#[utoipa::path(
    post,
    path = "/api/billing/webhook",
    operation_id = "receive_stripe_event",
    tag = "webhooks",
    params(("Stripe-Signature" = String, Header, description = "`t=…,v1=…`")),
    request_body(content = Object, description = "An event, snapshot or thin, up to 256 KiB"),
    responses((status = 200, body = ReceivedView))
)]
pub(super) async fn stripe(
    State(app): State<Shared>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Json<ReceivedView>, Problem> {
    verify(&app, &headers, &body)?;
    let is_new = app.engine.execute(event(&body)?).await?;
    Ok(Json(ReceivedView {
        received: true,
        duplicate: !is_new,
    }))
}

fn verify(app: &App, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    let config = &app.stripe;
    if config.webhook_secrets.is_empty() {
        let detail = "no Stripe webhook secret is configured";
        return Err(Problem::unavailable("WEBHOOK_NOT_CONFIGURED", detail));
    }
    let mut shown = headers.get_all("stripe-signature").iter();
    let (shown, more) = (shown.next(), shown.next());
    let header = shown.filter(|_| more.is_none());
    let header = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let secrets = &config.webhook_secrets;
    signature::verify(header, body, secrets, config.tolerance, app.now())
        .map_err(|error| Problem::malformed("INVALID_SIGNATURE", error.to_string()))
}

/// What is kept needs a name and a type, and no more: a shape that we cannot read is a person's to look at, and no reason
/// for Stripe to send it again.
fn event(body: &[u8]) -> Result<ReceiveEvent, Problem> {
    let not_an_event = |detail: &str| Problem::malformed("NOT_AN_EVENT", detail);
    let mut body: Value = serde_json::from_slice(body).map_err(|_| not_an_event("the body is not JSON"))?;
    redact(&mut body);
    let name = |field: &'static str| {
        let text = body.get(field).and_then(Value::as_str);
        let sound = |text: &&str| {
            (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let text = text.filter(sound).map(str::to_owned);
        text.ok_or_else(|| not_an_event("the body lacks the id or the type of an event").at(field))
    };
    Ok(ReceiveEvent {
        provider: Sender::Stripe,
        event_id: name("id")?,
        kind: name("type")?,
        body,
    })
}

/// Takes an event from a provider of hosted checkouts
///
/// 400 for a signature that is not the provider's, 503 where no signing secret is configured or the event could not be kept;
/// everything else that the provider signed is kept, whatever its type.
#[utoipa::path(
    post,
    path = "/api/billing/crypto/webhook",
    operation_id = "receive_checkout_event",
    tag = "webhooks",
    params(
        ("X-Hook0-Signature" = Option<String>, Header, description = "Coinbase Business: `t=…,v0=…`, or `t=…,h=…,v1=…`"),
        ("X-CC-Webhook-Signature" = Option<String>, Header, description = "Coinbase Commerce: hexadecimal")
    ),
    request_body(content = Object, description = "An event, up to 256 KiB"),
    responses((status = 200, body = ReceivedView))
)]
pub(super) async fn hosted(
    State(app): State<Shared>,
    headers: HeaderMap,
    RawBody(raw): RawBody,
) -> Result<Json<ReceivedView>, Problem> {
    let config = &app.checkout;
    let trusted = Trusted {
        commerce: &config.commerce_secrets,
        business: &config.business_secrets,
        tolerance: config.tolerance,
    };
    if trusted.commerce.is_empty() && trusted.business.is_empty() {
        let detail = "no secret of a provider of hosted checkouts is configured";
        return Err(Problem::unavailable("WEBHOOK_NOT_CONFIGURED", detail));
    }
    let values = |name: &str| -> Vec<&str> {
        let values = headers.get_all(name).iter();
        values.map(|value| value.to_str().unwrap_or_default()).collect()
    };
    let service = checkout::signature::verify(values, &raw, trusted, app.now())
        .map_err(|error| Problem::malformed("INVALID_SIGNATURE", error.to_string()))?;
    let not_an_event = |detail: String| Problem::malformed("NOT_AN_EVENT", detail);
    let parsed = serde_json::from_slice(&raw);
    let mut body: Value = parsed.map_err(|_| not_an_event("the body is not JSON".to_owned()))?;
    let name = checkout::name(service, &raw, &body)
        .map_err(|error| not_an_event(error.to_string()).at(error.place))?;
    redact(&mut body);
    let received = ReceiveEvent {
        provider: Sender::Checkout(service),
        event_id: name.id,
        kind: name.kind,
        body,
    };
    let is_new = app.engine.execute(received).await?;
    Ok(Json(ReceivedView {
        received: true,
        duplicate: !is_new,
    }))
}
