//! From sources to entitlements. One function folds all sources of a tenant, whoever wrote them; no adapter ever writes
//! what a tenant has.

use serde_json::json;

use super::EngineError;
use super::answers::{Change, TenantAnswer};
use super::view::{EntitlementView, SourceView};
use super::work::Work;
use crate::billing;
use crate::domain::{Entitlement, Millis, Source, SourceState, TenantId};
use crate::store;

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

/// Folds all sources of a tenant into what it has now. Time alone changes the sources at `changes_at`.
pub(super) async fn refold(
    work: &mut Work<'_>,
    tenant: &TenantId,
    changes_at: Option<Millis>,
) -> Result<(), EngineError> {
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
    let refold_at = [changes_at, after.valid_until].into_iter().flatten().min();
    work.tx
        .put_entitlement(tenant, &after, refold_at, sequence)
        .await?;
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
