//! Charges that are paid on a page: a provider's where one opens checkouts, else ours.

use axum::extract::State;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Shared;
use super::asker::{Asker, IdempotencyKey, NamedInHeaders, NamedInQuery};
use super::charges::{self, ChargeRequest, Created};
use super::extract::JsonBody;
use super::problem::Problem;
use crate::checkout::{OpenError, Wanted};
use crate::domain::{ChargeId, CheckoutKey, CheckoutService, Price};
use crate::engine::{ChargeView, CheckoutOffer, Origin, RecordCheckout};
use crate::metrics::CHECKOUT_OPENS_TOTAL;

/// A charge with the page where it is paid.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HostedChargeView {
    /// The charge; its other fields stand beside these.
    #[serde(flatten)]
    #[schema(value_type = ChargeView)]
    charge: Value,
    /// The page: of the provider's checkout, or `payUrl`.
    hosted_url: String,
    /// Who hosts that page, `coinbase_business`; null for our own.
    #[schema(value_type = Option<String>)]
    provider: Option<CheckoutService>,
}

/// Creates a charge with a page to pay it on
///
/// As `/api/billing/crypto/stablecoin`; where a provider of hosted checkouts is configured and takes the charge's token, a
/// checkout is opened for it too. Asked again for the same charge it answers with the same checkout. 503 where the provider does
/// not answer: the charge stands, and may be paid at its `payUrl` meanwhile.
#[utoipa::path(
    post,
    path = "/api/billing/crypto/charge",
    operation_id = "create_hosted_charge",
    tag = "crypto",
    params(NamedInQuery, NamedInHeaders, IdempotencyKey),
    request_body = ChargeRequest,
    responses((
        status = 201,
        body = HostedChargeView,
        headers(("Idempotency-Replayed" = String, description = "`true` where this charge was answered with before"))
    ))
)]
pub(super) async fn create(
    State(app): State<Shared>,
    asker: Asker,
    key: IdempotencyKey,
    body: JsonBody<ChargeRequest>,
) -> Result<Created, Problem> {
    let origin = asker.origin();
    let mut created = charges::create(State(app.clone()), asker, key, body).await?;
    let charge = created.outcome.answer;
    let text = |field: &str| charge.get(field).and_then(Value::as_str).map(str::to_owned);
    let (id, pay_url) = text("id").zip(text("payUrl")).ok_or_else(Problem::internal)?;
    let id: ChargeId = id.parse().map_err(|_| Problem::internal())?;
    let hosted = page(&app, &id, (&pay_url, origin)).await?;
    let (provider, hosted_url) = match hosted {
        Some((service, url)) => (Some(service), url),
        None => (None, pay_url),
    };
    let view = HostedChargeView {
        charge,
        hosted_url,
        provider,
    };
    created.outcome.answer = serde_json::to_value(view).map_err(|_| Problem::internal())?;
    Ok(created)
}

/// The page of a provider's checkout for a charge, opened now if it was not; none where nobody hosts it.
async fn page(
    app: &Shared,
    id: &ChargeId,
    (pay_url, origin): (&str, Origin),
) -> Result<Option<(CheckoutService, String)>, Problem> {
    let Some(provider) = &app.provider else {
        return Ok(None);
    };
    let Some(offer) = app.engine.checkout_offer(id).await? else {
        return Ok(None);
    };
    if offer.opened.is_some() || !provider.takes(&offer.currency) {
        return Ok(offer.opened);
    }
    let opened = provider.open(&wanted(id, offer, pay_url), app.now()).await;
    let outcome = opened.as_ref().map_or_else(|error| error.kind(), |_| "opened");
    metrics::counter!(CHECKOUT_OPENS_TOTAL, "outcome" => outcome).increment(1);
    let opened = opened.map_err(unopened)?;
    let record = RecordCheckout {
        origin,
        key: CheckoutKey {
            service: provider.service(),
            reference: opened.reference,
        },
        charge: id.clone(),
        url: opened.url,
        asked: opened.price,
    };
    let url = app.engine.execute(record).await?;
    Ok(Some((provider.service(), url)))
}

fn wanted(id: &ChargeId, offer: CheckoutOffer, pay_url: &str) -> Wanted {
    Wanted {
        charge: id.clone(),
        price: Price {
            amount: offer.amount,
            currency: offer.currency,
        },
        description: offer.description,
        expires_at: offer.expires_at,
        return_url: pay_url.starts_with("https://").then(|| pay_url.to_owned()),
    }
}

fn unopened(error: OpenError) -> Problem {
    tracing::warn!(%error, "no checkout was opened");
    let detail =
        "the provider of checkouts opened none; the charge stands: ask again, or pay it at its payUrl";
    Problem::unavailable("CHECKOUT_UNAVAILABLE", detail)
}
