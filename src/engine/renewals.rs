//! What follows a period that was paid on-chain: reminders of its end, and the change that its tenant wants.

use serde_json::json;

use super::accounts::refold_account;
use super::view::SourceView;
use super::work::{Command, Origin, Work};
use super::{Engine, EngineError};
use crate::billing::{self, reminders_due};
use crate::domain::{Interval, PlanChange, Provider, Source, SourceState, TenantId};
use crate::store;

/// Reminders in one transaction.
const MAX_REMINDERS: i64 = 100;

/// Reminds tenants that what they have paid ends: of the reminders that are due only the nearest to the end, once.
#[derive(Debug, Clone, Copy)]
pub struct RemindRenewals;

impl Command for RemindRenewals {
    /// How many were looked at.
    type Output = usize;

    fn origin(&self) -> Origin {
        Origin {
            actor: "clock".to_owned(),
            cause: "a period ends soon".to_owned(),
        }
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<usize, EngineError> {
        let mut looked_at = 0;
        let now = work.now;
        for (days, ahead) in reminders_due() {
            let due = store::sources_to_remind(work.tx.conn(), now, (days, ahead), MAX_REMINDERS).await?;
            for (tenant, reference) in &due {
                remind(work, tenant, reference, days).await?;
            }
            looked_at += due.len();
        }
        Ok(looked_at)
    }
}

async fn remind(
    work: &mut Work<'_>,
    tenant: &TenantId,
    reference: &str,
    days: i64,
) -> Result<(), EngineError> {
    let sources = store::sources(work.tx.conn(), Some(tenant)).await?;
    let Some(source) = sources.iter().find(|source| source.provider_ref == reference) else {
        return Ok(());
    };
    let end = source.period_end.unwrap_or_default();
    let now = work.now;
    work.tx.insert_reminder(reference, end, days, now).await?;
    let goes_on = sources
        .iter()
        .any(|other| other.provider == Provider::Crypto && other.period_end > source.period_end);
    if goes_on || source.scheduled_end.is_some() {
        return Ok(());
    }
    let data = json!({"tenantId": tenant, "daysBefore": days, "subscription": SourceView::from(source)});
    work.owe("subscription.renewal_reminder", format!("tenant:{tenant}"), data)
        .await
}

/// Wants another plan, or the same by another period, when what is paid on-chain ends. The plan that there is takes an
/// earlier wish back.
#[derive(Debug, Clone)]
pub struct ChangePlan {
    /// Who asks, for the audit.
    pub origin: Origin,
    /// Whose.
    pub tenant: TenantId,
    /// The plan, by id or alias.
    pub plan: String,
    /// The period.
    pub interval: Interval,
}

impl Command for ChangePlan {
    type Output = ();

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        let source = paid_on_chain(work, &self.tenant).await?;
        let catalogue = &work.engine.catalogue;
        let plan = catalogue
            .plan(&self.plan)
            .ok_or_else(|| EngineError::invalid("plan", format!("{:?} is not a plan", self.plan)))?;
        if plan.crypto.of(self.interval).is_none() {
            let problem = format!(
                "{} is not sold on-chain by the {}",
                plan.id,
                self.interval.as_str()
            );
            return Err(EngineError::invalid("plan", problem));
        }
        let current = catalogue.plan(source.plan.as_str());
        if current.is_some_and(|current| plan.rank > current.rank) {
            return Err(EngineError::Conflict {
                code: "UPGRADE_NEEDS_PAYMENT",
                problem: format!(
                    "{} is above {}, and begins when it is paid: create a charge for it; unused time is taken off",
                    plan.id, source.plan
                ),
            });
        }
        let is_kept = plan.id == source.plan && Some(self.interval) == source.interval;
        let next = (!is_kept).then(|| PlanChange {
            next: Some((plan.id.clone(), self.interval)),
            at: work.now,
        });
        wish(work, &self.tenant, next.as_ref()).await
    }
}

/// Wants nothing more when what is paid on-chain ends: no reminders, and the end is shown.
#[derive(Debug, Clone)]
pub struct CancelPlan {
    /// Who asks, for the audit.
    pub origin: Origin,
    /// Whose.
    pub tenant: TenantId,
}

impl Command for CancelPlan {
    type Output = ();

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        paid_on_chain(work, &self.tenant).await?;
        let end = PlanChange {
            next: None,
            at: work.now,
        };
        wish(work, &self.tenant, Some(&end)).await
    }
}

/// Takes back what was wished for the end.
#[derive(Debug, Clone)]
pub struct ResumePlan {
    /// Who asks, for the audit.
    pub origin: Origin,
    /// Whose.
    pub tenant: TenantId,
}

impl Command for ResumePlan {
    type Output = ();

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        paid_on_chain(work, &self.tenant).await?;
        wish(work, &self.tenant, None).await
    }
}

/// The last period that a tenant has paid on-chain, if that is what it has now.
async fn paid_on_chain(work: &mut Work<'_>, tenant: &TenantId) -> Result<Source, EngineError> {
    let sources = store::sources(work.tx.conn(), Some(tenant)).await?;
    let deciding = billing::fold(&sources, &work.engine.catalogue, work.now).decided_by;
    match deciding {
        Some((Provider::Stripe, _)) => Err(EngineError::Conflict {
            code: "STRIPE_NOT_CALLED",
            problem: "this subscription is at Stripe, and this version does not call Stripe: change it there"
                .to_owned(),
        }),
        Some((Provider::Crypto, _)) => sources
            .into_iter()
            .filter(|source| source.provider == Provider::Crypto && source.state == SourceState::Active)
            .max_by_key(|source| source.period_end)
            .ok_or_else(nothing_paid),
        None => Err(nothing_paid()),
    }
}

fn nothing_paid() -> EngineError {
    EngineError::Conflict {
        code: "NO_SUBSCRIPTION",
        problem: "nothing is paid for now: create a charge for the plan that is wanted".to_owned(),
    }
}

async fn wish(
    work: &mut Work<'_>,
    tenant: &TenantId,
    change: Option<&PlanChange>,
) -> Result<(), EngineError> {
    let charges = store::account_charges(work.tx.conn(), tenant).await?;
    let paid_at = billing::last_paid(&charges);
    let before = store::plan_change(work.tx.conn(), tenant).await?;
    let before = before.filter(|before| Some(before.at) >= paid_at);
    let same = before.as_ref().map(|before| &before.next) == change.map(|change| &change.next);
    if same {
        return Ok(());
    }
    // By the clock of the chain, if that is ahead of ours: what is wished now is wished after that payment.
    let change = change.map(|change| PlanChange {
        at: paid_at.map_or(change.at, |paid_at| change.at.max(paid_at)),
        ..change.clone()
    });
    let change = change.as_ref();
    work.tx.put_plan_change(tenant, change).await?;
    let shown = |change: &PlanChange| {
        let next = change.next.as_ref();
        json!({"next": next.map(|(plan, interval)| json!({"plan": plan, "interval": interval}))})
    };
    work.audit(
        "subscription.wish",
        format!("tenant:{tenant}"),
        (before.as_ref().map(shown), change.map(shown)),
    )
    .await?;
    refold_account(work, tenant).await
}

impl Engine {
    /// Whether a reminder is due: a look that takes no write lock.
    pub(super) async fn has_reminders(&self, conn: &mut sqlx::AnyConnection) -> Result<bool, EngineError> {
        let now = self.inner.clock.now_ms();
        for (days, ahead) in reminders_due() {
            if !store::sources_to_remind(conn, now, (days, ahead), 1)
                .await?
                .is_empty()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
