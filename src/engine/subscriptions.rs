//! From sources to entitlements. One function folds all sources of a tenant, whoever wrote them; no adapter ever writes
//! what a tenant has.

use std::collections::BTreeMap;

use serde_json::json;

use super::EngineError;
use super::answers::{Change, TenantAnswer};
use super::view::{EntitlementView, SourceView};
use super::work::{Command, Origin, Work};
use crate::billing::{self, Paid};
use crate::domain::{ChargeState, Entitlement, PlanId, Product, Provider, Source, SourceState, TenantId};
use crate::store;

/// Tenants that are folded again in one transaction.
const MAX_TENANTS: i64 = 100;

/// The crypto source of a tenant and plan. Both are within bounds and hold no `/` that matters: it is never parsed.
fn crypto_ref(tenant: &TenantId, plan: &PlanId) -> String {
    format!("{tenant}/{plan}")
}

/// Folds the crypto sources of a tenant from its paid charges, and then what it has.
pub(super) async fn refold_crypto(work: &mut Work<'_>, tenant: &TenantId) -> Result<(), EngineError> {
    let mut paid: BTreeMap<PlanId, Vec<Paid>> = BTreeMap::new();
    for charge in store::account_charges(work.tx.conn(), tenant).await? {
        if charge.state != ChargeState::Paid {
            continue;
        }
        let Product::Plan { plan, interval } = charge.terms.product;
        if let Some(at) = charge.paid_at {
            paid.entry(plan).or_default().push(Paid { at, interval });
        }
    }
    let known = store::sources(work.tx.conn(), Some(tenant)).await?;
    let known = known
        .into_iter()
        .filter(|source| source.provider == Provider::Crypto);
    for source in known {
        // A plan that nothing pays for any more is folded too, to nothing.
        paid.entry(source.plan).or_default();
    }
    for (plan, payments) in paid {
        let source = crypto_source(work, tenant, &plan, &payments);
        put_source(work, source).await?;
    }
    refold(work, tenant).await
}

fn crypto_source(work: &Work<'_>, tenant: &TenantId, plan: &PlanId, payments: &[Paid]) -> Source {
    let grace_ms = i64::try_from(work.settings.payments.charge_grace.as_millis()).unwrap_or(i64::MAX);
    let period = billing::fold_periods(payments, grace_ms);
    let ended = period.is_none_or(|period| period.end <= work.now);
    Source {
        provider: Provider::Crypto,
        provider_ref: crypto_ref(tenant, plan),
        tenant: tenant.clone(),
        plan: plan.clone(),
        interval: payments
            .iter()
            .max_by_key(|paid| paid.at)
            .map(|paid| paid.interval),
        state: if ended {
            SourceState::Ended
        } else {
            SourceState::Active
        },
        period_start: period.map(|period| period.start),
        period_end: period.map(|period| period.end),
        scheduled_end: None,
        access_until: None,
        ended_at: None,
        trial_end: None,
        first_unpaid_at: None,
        version: 0,
        attention: None,
    }
}

/// Stores a source if it changed, and says what happened to the subscription.
pub(super) async fn put_source(work: &mut Work<'_>, after: Source) -> Result<(), EngineError> {
    let before = store::source(work.tx.conn(), after.provider, &after.provider_ref).await?;
    if before.as_ref() == Some(&after) {
        return Ok(());
    }
    work.tx.put_source(&after).await?;
    let subject = format!("source:{}:{}", after.provider.as_str(), after.provider_ref);
    let after_json = json!(SourceView::from(&after));
    let before_json = before.as_ref().map(|before| json!(SourceView::from(before)));
    work.audit("source.put", subject, (before_json, Some(after_json.clone())))
        .await?;
    let kind = subscription_event(before.as_ref(), &after);
    let data = json!({"tenantId": after.tenant, "subscription": after_json});
    work.owe(kind, format!("tenant:{}", after.tenant), data).await
}

/// What a change of a source is called.
fn subscription_event(before: Option<&Source>, after: &Source) -> &'static str {
    let lives = |source: &Source| matches!(source.state, SourceState::Active | SourceState::Trialing);
    let was_live = before.is_some_and(lives);
    match after.state {
        SourceState::Active | SourceState::Trialing if !was_live => "subscription.activated",
        SourceState::Active if before.is_some_and(|before| before.period_end < after.period_end) => {
            "subscription.renewed"
        }
        state if before.is_some_and(|before| before.state == state) => "subscription.changed",
        SourceState::PastDue => "subscription.past_due",
        SourceState::Restricted => "subscription.restricted",
        SourceState::Ended => "subscription.ended",
        SourceState::Pending | SourceState::Trialing | SourceState::Active | SourceState::Paused => {
            "subscription.changed"
        }
    }
}

/// Folds all sources of a tenant into what it has now.
pub(super) async fn refold(work: &mut Work<'_>, tenant: &TenantId) -> Result<(), EngineError> {
    let sources = store::sources(work.tx.conn(), Some(tenant)).await?;
    let after = billing::fold(&sources, &work.engine.catalogue, work.now);
    let stored = store::entitlement(work.tx.conn(), tenant).await?;
    // The sequence orders what is published, and sources are published too.
    let known = work.engine.answers.tenant(tenant);
    let same_sources = known.is_some_and(|known| known.sources == sources);
    let sequence = match &stored {
        Some((before, sequence)) if *before == after && same_sources => *sequence,
        Some((_, sequence)) => sequence + 1,
        None => 1,
    };
    let before = stored.as_ref().map(|(before, _)| before);
    if before != Some(&after) || !same_sources {
        let refold_at = after.valid_until;
        work.tx
            .put_entitlement(tenant, &after, refold_at, sequence)
            .await?;
    }
    if before != Some(&after) {
        let subject = format!("tenant:{tenant}");
        let view = |entitlement: &Entitlement| json!(EntitlementView::from(entitlement));
        let (before_json, after_json) = (before.map(view), view(&after));
        work.audit(
            "entitlement.fold",
            subject.clone(),
            (before_json.clone(), Some(after_json.clone())),
        )
        .await?;
        let default = billing::fold(&[], &work.engine.catalogue, work.now);
        let before = before.unwrap_or(&default);
        if (&before.plan, before.access) != (&after.plan, after.access) {
            let data = json!({"tenantId": tenant, "before": view(before), "entitlement": after_json});
            work.owe("entitlement.changed", subject, data).await?;
        }
    }
    let answer = TenantAnswer {
        sources,
        entitlement: after,
        sequence,
    };
    work.publish(Change::Tenant(tenant.clone(), Box::new(answer)));
    Ok(())
}

/// Folds the tenants again whose entitlement may have changed by time alone.
#[derive(Debug, Clone, Copy)]
pub struct RefoldDue;

impl Command for RefoldDue {
    /// How many were folded.
    type Output = usize;

    fn origin(&self) -> Origin {
        Origin {
            actor: "clock".to_owned(),
            cause: "a period ended".to_owned(),
        }
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<usize, EngineError> {
        let now = work.now;
        let tenants = store::tenants_due(work.tx.conn(), now, MAX_TENANTS).await?;
        for tenant in &tenants {
            refold_crypto(work, tenant).await?;
        }
        Ok(tenants.len())
    }
}
