//! What is to follow a period that was paid on-chain: the change that its tenant wants, and the reminders of its end.

use sqlx::AnyConnection;

use super::value::Columns;
use super::{StoreError, WriteTx};
use crate::domain::{Interval, Millis, PlanChange, PlanId, TenantId};

/// The change that a tenant wishes for the end of its period.
///
/// # Errors
/// The database fails.
pub async fn plan_change(
    conn: &mut AnyConnection,
    tenant: &TenantId,
) -> Result<Option<PlanChange>, StoreError> {
    let row = sqlx::query("select plan, billing_interval, at from plan_change where tenant = $1")
        .bind(tenant.as_str())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let plan = row.opt_text("plan")?.map(|plan| PlanId::from(plan.as_str()));
    Ok(Some(PlanChange {
        next: plan.zip(row.opt_parsed("billing_interval", "an interval")?),
        at: row.int("at")?,
    }))
}

/// Paid crypto sources whose end is after `now` and at most `ahead` away, and of whose end no reminder of `days` or fewer
/// was sent; as tenant and provider reference.
///
/// # Errors
/// The database fails.
pub async fn sources_to_remind(
    conn: &mut AnyConnection,
    now: Millis,
    (days, ahead): (i64, Millis),
    limit: i64,
) -> Result<Vec<(TenantId, String)>, StoreError> {
    let rows = sqlx::query(
        "select s.tenant, s.provider_ref from source s where s.provider = 'crypto' and s.state = 'active' \
         and s.period_end > $1 and s.period_end <= $2 and not exists (select 1 from renewal_reminder r \
         where r.provider_ref = s.provider_ref and r.period_end = s.period_end and r.days <= $3) \
         order by s.period_end, s.provider_ref limit $4",
    )
    .bind(now)
    .bind(now.saturating_add(ahead))
    .bind(days)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| Ok((row.parsed("tenant", "a tenant id")?, row.text("provider_ref")?)))
        .collect()
}

impl WriteTx {
    /// Notes that a source's end was seen to so many days before, whether anything was sent or not.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_reminder(
        &mut self,
        provider_ref: &str,
        period_end: Millis,
        days: i64,
        now: Millis,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "insert into renewal_reminder (provider_ref, period_end, days, sent_at) values ($1, $2, $3, $4)",
        )
        .bind(provider_ref)
        .bind(period_end)
        .bind(days)
        .bind(now)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Stores the change that a tenant wishes; none takes it back.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_plan_change(
        &mut self,
        tenant: &TenantId,
        change: Option<&PlanChange>,
    ) -> Result<(), StoreError> {
        let Some(change) = change else {
            sqlx::query("delete from plan_change where tenant = $1")
                .bind(tenant.as_str())
                .execute(self.conn())
                .await?;
            return Ok(());
        };
        let next = change.next.as_ref();
        sqlx::query(
            "insert into plan_change (tenant, plan, billing_interval, at) values ($1, $2, $3, $4) \
             on conflict (tenant) do update set plan = excluded.plan, \
             billing_interval = excluded.billing_interval, at = excluded.at",
        )
        .bind(tenant.as_str())
        .bind(next.map(|(plan, _)| plan.as_str()))
        .bind(next.map(|(_, interval)| Interval::as_str(*interval)))
        .bind(change.at)
        .execute(self.conn())
        .await?;
        Ok(())
    }
}
