//! Hosted checkouts: opened for a charge, and heard of by their providers' events. What came by them is folded with the
//! charge's payments, so they pay, fall short and are reversed by the same rules.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::settle::settle_charges;
use super::view::rfc3339;
use super::work::{Command, Origin, Work};
use super::{Engine, EngineError};
use crate::checkout;
use crate::domain::{
    self, Amount, Charge, ChargeId, ChargeState, CheckoutKey, CheckoutService, Credit, HostedPayment,
    HostedReport, HostedState, Millis, Product,
};
use crate::ledger;
use crate::store;

/// What a checkout may be opened for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckoutOffer {
    /// What is still to pay.
    pub amount: Credit,
    /// In what: the symbol of the charge's token.
    pub currency: String,
    /// What is bought, in words.
    pub description: String,
    /// Until when it should be paid.
    pub expires_at: Millis,
    /// The page of the checkout that was opened last, if one was.
    pub opened: Option<(CheckoutService, String)>,
}

impl Engine {
    /// What a checkout would be opened for; nothing where there is nothing to pay, or the token is no longer known.
    ///
    /// # Errors
    /// There is no such charge; the database fails.
    pub async fn checkout_offer(&self, id: &ChargeId) -> Result<Option<CheckoutOffer>, EngineError> {
        let settings = self.inner.settings();
        let mut snapshot = self.inner.store.begin_read().await?;
        let charge = store::charge(&mut snapshot, id).await?;
        let charge = charge.ok_or(EngineError::NotFound("charge"))?;
        let hosted = store::hosted_payments_of(&mut snapshot, std::slice::from_ref(id)).await?;
        let Charge { terms, totals, .. } = &charge;
        let chain = settings.chain(terms.chain).ok();
        let rest = terms.quote.asked.saturating_sub(totals.seen);
        let is_open = matches!(charge.state, ChargeState::Open | ChargeState::Confirming);
        let token = chain.and_then(|chain| chain.token(terms.token));
        let Some(token) = token.filter(|_| is_open && !rest.is_zero()) else {
            return Ok(None);
        };
        let Product::Plan { plan, interval } = &terms.product;
        Ok(Some(CheckoutOffer {
            amount: Credit::of(rest, terms.quote.decimals),
            currency: token.symbol.clone(),
            description: format!("{plan}, one {}", interval.as_str()),
            expires_at: terms.expires_at,
            opened: hosted
                .into_iter()
                .next_back()
                .map(|hosted| (hosted.key.service, hosted.url)),
        }))
    }
}

/// Stores that a checkout was opened for a charge. What was heard of it before is applied then.
#[derive(Debug, Clone)]
pub struct RecordCheckout {
    /// Who asked for it, for the audit.
    pub origin: Origin,
    /// Which.
    pub key: CheckoutKey,
    /// The charge it is for.
    pub charge: ChargeId,
    /// The page.
    pub url: String,
    /// What it asks: a provider may round up.
    pub asked: domain::Price,
}

impl Command for RecordCheckout {
    /// Its page.
    type Output = String;

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<String, EngineError> {
        if let Some(known) = store::hosted_payment(work.tx.conn(), &self.key).await? {
            return if known.charge == self.charge {
                Ok(known.url)
            } else {
                Err(EngineError::Conflict {
                    code: "CHECKOUT_TAKEN",
                    problem: "the provider answered with a checkout of another charge".to_owned(),
                })
            };
        }
        let charge = store::charge(work.tx.conn(), &self.charge).await?;
        let charge = charge.ok_or(EngineError::NotFound("charge"))?;
        let hosted = HostedPayment {
            key: self.key.clone(),
            charge: self.charge.clone(),
            url: self.url.clone(),
            currency: self.asked.currency.clone(),
            asked: self.asked.amount.to_amount_up(charge.terms.quote.decimals),
            opened_at: work.now,
            // Whatever is heard is later than the charge.
            attempt: (HostedState::Open, charge.terms.created_at),
            pending: Amount::ZERO,
            received: Amount::ZERO,
            evidence: None,
            refunded: Amount::ZERO,
        };
        work.tx.put_hosted_payment(&hosted).await?;
        let subject = format!("charge:{}", self.charge);
        let view = json!(HostedView::from(&hosted));
        work.audit("checkout.open", subject, (None, Some(view))).await?;
        work.published.has_inbox |= work.tx.adopt_inbox(&self.key).await? > 0;
        Ok(hosted.url)
    }
}

/// What came of an event.
pub(super) enum Heard {
    /// The words for it.
    Done(String),
    /// It speaks of a checkout that no charge of ours has.
    OfNoCharge(CheckoutKey),
}

/// Applies what a provider says of a checkout. Nothing is believed of one that was not opened for the charge it names, or
/// asks something else than it was opened for.
pub(super) async fn apply(
    work: &mut Work<'_>,
    service: CheckoutService,
    (event, body): (&str, &Value),
) -> Result<Heard, EngineError> {
    let done = |outcome: &str| Ok(Heard::Done(outcome.to_owned()));
    let report = match checkout::read(service, body) {
        Ok(Some(report)) => report,
        Ok(None) => return done("stored: its type changes nothing"),
        Err(error) => return Ok(Heard::Done(format!("attention: {error}"))),
    };
    let key = CheckoutKey {
        service,
        reference: report.reference.clone(),
    };
    let Some(before) = store::hosted_payment(work.tx.conn(), &key).await? else {
        return Ok(Heard::OfNoCharge(key));
    };
    let Some(charge) = store::charge(work.tx.conn(), &before.charge).await? else {
        return done("attention: its charge is gone");
    };
    if report.charge.as_deref() != Some(before.charge.as_str()) {
        return done("attention: it names another charge than the one that its checkout was opened for");
    }
    let decimals = charge.terms.quote.decimals;
    let is_asked = report.price.amount.to_amount(decimals) == before.asked;
    if report.price.currency != before.currency || !is_asked {
        return done("attention: it asks something else than its checkout was opened for");
    }
    let heard = domain::Heard {
        state: report.state,
        at: time(&report, &charge, work.now),
        received: report.received.to_amount(decimals),
        refunded: report.refunded.to_amount(decimals),
        event: event.to_owned(),
    };
    let after = ledger::hear(&before, &heard);
    if after == before {
        return done("passed over: it says nothing new");
    }
    work.tx.put_hosted_payment(&after).await?;
    let [was, is] = [&before, &after].map(|hosted| Some(json!(HostedView::from(hosted))));
    work.audit("checkout.hear", format!("charge:{}", before.charge), (was, is))
        .await?;
    settle_charges(work, &BTreeSet::from([before.charge]), None).await?;
    done("applied")
}

/// When it was, by the provider's clock: not before the charge, and not after now.
fn time(report: &HostedReport, charge: &Charge, now: Millis) -> Millis {
    report.at.min(now).max(charge.terms.created_at)
}

/// What is known of a hosted checkout; amounts in base units of the charge's token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostedView {
    /// Who hosts it.
    #[schema(value_type = String)]
    pub provider: CheckoutService,
    /// The provider's id of it.
    pub reference: String,
    /// The page.
    pub url: String,
    /// `open`, `pending`, `paid`, `failed`, `expired` or `refunded`.
    #[schema(value_type = String)]
    pub state: HostedState,
    /// The currency it asks in.
    pub currency: String,
    /// What it asks.
    pub asked_base_units: String,
    /// What has arrived.
    pub received_base_units: String,
    /// What of that was sent back.
    pub refunded_base_units: String,
    /// When it arrived.
    pub received_at: Option<String>,
    /// The provider's event that says so.
    pub event: Option<String>,
}

impl From<&HostedPayment> for HostedView {
    fn from(hosted: &HostedPayment) -> Self {
        let evidence = hosted.evidence.as_ref();
        Self {
            provider: hosted.key.service,
            reference: hosted.key.reference.clone(),
            url: hosted.url.clone(),
            state: hosted.state(),
            currency: hosted.currency.clone(),
            asked_base_units: hosted.asked.to_string(),
            received_base_units: hosted.received.to_string(),
            refunded_base_units: hosted.refunded.to_string(),
            received_at: evidence.map(|(at, _)| rfc3339(*at)),
            event: evidence.map(|(_, event)| event.clone()),
        }
    }
}
