//! Events of providers: stored before they are answered, and applied later, once, in whatever order they come.

use serde_json::{Value, json};

use super::accounts::refold_account;
use super::checkouts::{self, Heard};
use super::subscriptions::put_source;
use super::work::{Command, Origin, Work};
use super::{Engine, EngineError};
use crate::domain::{CheckoutKey, Provider, Sender, TenantId};
use crate::metrics;
use crate::store::{self, InboxKey};
use crate::stripe::{self, NoSource, Payload, PriceRef, Seen, StripeEvent, SubscriptionSnapshot};

/// Tries of one event, a second apart at the least, until it is left to a person.
const MAX_TRIES: i64 = 1_000;

/// Events that are looked for at once.
const BATCH: i64 = 100;

/// Stores an event that a provider signed.
#[derive(Debug, Clone)]
pub struct ReceiveEvent {
    /// Who sent it.
    pub provider: Sender,
    /// The provider's id of it.
    pub event_id: String,
    /// The provider's type.
    pub kind: String,
    /// The body, redacted.
    pub body: Value,
}

impl Command for ReceiveEvent {
    /// Whether it is new.
    type Output = bool;

    fn origin(&self) -> Origin {
        Origin {
            actor: self.provider.as_str().to_owned(),
            cause: self.event_id.clone(),
        }
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<bool, EngineError> {
        let key = InboxKey {
            provider: self.provider,
            event_id: self.event_id.clone(),
        };
        let now = work.now;
        let is_new = work
            .tx
            .insert_inbox(&key, &self.kind, &self.body.to_string(), now)
            .await?;
        work.published.has_inbox = is_new;
        Ok(is_new)
    }
}

/// Applies one event of the inbox, with the mark that it is done.
#[derive(Debug, Clone)]
pub struct ApplyInbox {
    /// Which.
    pub key: InboxKey,
}

impl Command for ApplyInbox {
    type Output = ();

    fn origin(&self) -> Origin {
        Origin {
            actor: self.key.provider.as_str().to_owned(),
            cause: self.key.event_id.clone(),
        }
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        let event = store::inbox_event(work.tx.conn(), &self.key).await?;
        let Some(event) = event.filter(|event| !event.done) else {
            return Ok(());
        };
        let body: Value = serde_json::from_str(&event.body).unwrap_or_default();
        let outcome = match self.key.provider {
            Sender::Stripe => match StripeEvent::from_value(&body) {
                Ok(event) => apply_stripe(work, &event).await?,
                // It was signed, so it is Stripe's; a shape that we cannot read must be seen by a person, not tried again.
                Err(error) => format!("attention: {error}"),
            },
            Sender::Checkout(service) => {
                match checkouts::apply(work, service, (&self.key.event_id, &body)).await? {
                    Heard::Done(outcome) => outcome,
                    Heard::OfNoCharge(checkout) => return self.orphan(work, &checkout).await,
                }
            }
        };
        self.call_a_person(&outcome);
        let now = work.now;
        Ok(work.tx.finish_inbox(&self.key, &outcome, now).await?)
    }
}

impl ApplyInbox {
    /// It is applied once a charge of ours has its checkout; until then a person may wonder whose it is.
    async fn orphan(&self, work: &mut Work<'_>, checkout: &CheckoutKey) -> Result<(), EngineError> {
        let outcome = "attention: orphan: no charge of ours has its checkout";
        self.call_a_person(outcome);
        let now = work.now;
        Ok(work.tx.orphan_inbox(&self.key, checkout, (outcome, now)).await?)
    }

    fn call_a_person(&self, outcome: &str) {
        if outcome.starts_with("attention") {
            ::metrics::counter!(metrics::INBOX_ATTENTION_TOTAL).increment(1);
            tracing::warn!(event = %self.key.event_id, outcome, "a provider's event needs a person");
        }
    }
}

async fn apply_stripe(work: &mut Work<'_>, event: &StripeEvent) -> Result<String, EngineError> {
    if event.account.is_some() {
        return Ok("attention: it is of a connected account, and none is served here".to_owned());
    }
    let snapshot = match &event.payload {
        Payload::Subscription(_, snapshot) => snapshot,
        Payload::Thin(_) => {
            return Ok("attention: a thin event needs its object fetched; send snapshots".to_owned());
        }
        Payload::Other(_) => return Ok("stored: its type changes nothing".to_owned()),
    };
    if snapshot
        .subject
        .as_ref()
        .is_some_and(|subject| subject.channel.is_some())
    {
        return Ok("attention: it buys a channel, and none is sold here".to_owned());
    }
    let previous = store::source(work.tx.conn(), Provider::Stripe, &snapshot.id).await?;
    let known = previous.as_ref().map(|previous| &previous.tenant);
    let Some(tenant) = subject_of(work, snapshot, known).await? else {
        return Ok("attention: orphan: neither its metadata nor its customer names a tenant".to_owned());
    };
    let seen = Seen {
        at: event.created,
        version: stripe::version(event),
    };
    let catalogue = &work.engine.catalogue;
    let plan_of = |price: &PriceRef| {
        let by_key = price
            .lookup_key
            .as_deref()
            .and_then(|key| catalogue.plan_for_stripe_price(key));
        catalogue.plan_for_stripe_price(&price.id).or(by_key)
    };
    let source = stripe::to_source(snapshot, seen, &tenant, previous.as_ref(), plan_of);
    if let (Some(customer), false) = (&snapshot.customer, source == Err(NoSource::Stale)) {
        work.tx.put_customer(Provider::Stripe, customer, &tenant).await?;
    }
    match source {
        Ok(source) => {
            let attention = source.attention.clone();
            put_source(work, source).await?;
            refold_account(work, &tenant).await?;
            // A subscription that moved to another tenant leaves its former one with less.
            if let Some(former) = previous
                .map(|previous| previous.tenant)
                .filter(|former| *former != tenant)
            {
                refold_account(work, &former).await?;
            }
            Ok(attention.map_or_else(
                || "applied".to_owned(),
                |attention| format!("attention: {attention}"),
            ))
        }
        Err(NoSource::Stale) => Ok("passed over: a later state is known".to_owned()),
        Err(error @ NoSource::UnknownPrice { .. }) => Ok(format!("attention: {error}")),
    }
}

/// Whose subscription it is: its own metadata, else whose it was before, else the tenant that its customer was seen with.
async fn subject_of(
    work: &mut Work<'_>,
    snapshot: &SubscriptionSnapshot,
    known: Option<&TenantId>,
) -> Result<Option<TenantId>, EngineError> {
    let named = snapshot.subject.as_ref().map(|subject| &subject.id);
    if let Some(tenant) = named.or(known) {
        return Ok(Some(tenant.clone()));
    }
    match &snapshot.customer {
        Some(customer) => Ok(store::customer_tenant(work.tx.conn(), Provider::Stripe, customer).await?),
        None => Ok(None),
    }
}

/// Counts a failed try of an event, so that it does not hold up the others.
#[derive(Debug, Clone)]
pub struct GiveUpInbox {
    /// Which.
    pub key: InboxKey,
    /// What went wrong.
    pub problem: String,
}

impl Command for GiveUpInbox {
    type Output = ();

    fn origin(&self) -> Origin {
        Origin {
            actor: self.key.provider.as_str().to_owned(),
            cause: self.key.event_id.clone(),
        }
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        work.tx.fail_inbox(&self.key, &self.problem).await?;
        let event = store::inbox_event(work.tx.conn(), &self.key).await?;
        if event.is_some_and(|event| event.attempts >= MAX_TRIES) {
            let (now, outcome) = (work.now, format!("attention: given up: {}", self.problem));
            work.tx.finish_inbox(&self.key, &outcome, now).await?;
            work.audit(
                "inbox.give_up",
                format!("event:{}", self.key.event_id),
                (None, Some(json!(outcome))),
            )
            .await?;
            ::metrics::counter!(metrics::INBOX_ATTENTION_TOTAL).increment(1);
        }
        Ok(())
    }
}

impl Engine {
    /// Events that wait to be applied, those that never failed first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn pending_inbox(&self) -> Result<Vec<InboxKey>, EngineError> {
        let mut conn = self.inner.store.read().await?;
        Ok(store::pending_inbox(&mut conn, BATCH).await?)
    }
}
