//! Subscription sources, the entitlement folded from them, and whose customer is whose.

use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::value::Columns;
use super::{StoreError, WriteTx};
use crate::domain::{Entitlement, Interval, Millis, PlanId, Provider, Source, TenantId};

fn source_from(row: &AnyRow) -> Result<Source, StoreError> {
    let next_plan = row.opt_text("next_plan")?;
    Ok(Source {
        provider: row.word("provider")?,
        provider_ref: row.text("provider_ref")?,
        tenant: row.parsed("tenant", "a tenant id")?,
        plan: PlanId::from(row.text("plan")?.as_str()),
        interval: row.opt_parsed("billing_interval", "an interval")?,
        state: row.word("state")?,
        period_start: row.opt_int("period_start")?,
        period_end: row.opt_int("period_end")?,
        scheduled_end: row.opt_int("scheduled_end")?,
        next: next_plan
            .as_deref()
            .map(PlanId::from)
            .zip(row.opt_parsed("next_interval", "an interval")?),
        access_until: row.opt_int("access_until")?,
        ended_at: row.opt_int("ended_at")?,
        trial_end: row.opt_int("trial_end")?,
        first_unpaid_at: row.opt_int("first_unpaid_at")?,
        version: row.int("version")?,
        attention: row.opt_text("attention")?,
    })
}

fn entitlement_from(row: &AnyRow) -> Result<(TenantId, Entitlement, i64), StoreError> {
    let provider: Option<String> = row.opt_text("decided_by_provider")?;
    let decided_by = match (provider, row.opt_text("decided_by_ref")?) {
        (Some(_), Some(reference)) => Some((row.word("decided_by_provider")?, reference)),
        _ => None,
    };
    let entitlement = Entitlement {
        plan: row.opt_text("plan")?.map(|plan| PlanId::from(plan.as_str())),
        access: row.word("access")?,
        valid_until: row.opt_int("valid_until")?,
        decided_by,
    };
    Ok((
        row.parsed("tenant", "a tenant id")?,
        entitlement,
        row.int("sequence")?,
    ))
}

/// One source by its provider's id.
///
/// # Errors
/// The database fails.
pub async fn source(
    conn: &mut AnyConnection,
    provider: Provider,
    provider_ref: &str,
) -> Result<Option<Source>, StoreError> {
    let row = sqlx::query("select * from source where provider = $1 and provider_ref = $2")
        .bind(provider.as_str())
        .bind(provider_ref)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(source_from).transpose()
}

/// The sources of one tenant, or of all, in the same order.
///
/// # Errors
/// The database fails.
pub async fn sources(conn: &mut AnyConnection, tenant: Option<&TenantId>) -> Result<Vec<Source>, StoreError> {
    let rows = match tenant {
        Some(tenant) => {
            let query = sqlx::query("select * from source where tenant = $1 order by provider, provider_ref");
            query.bind(tenant.as_str()).fetch_all(conn).await?
        }
        None => {
            sqlx::query("select * from source order by tenant, provider, provider_ref")
                .fetch_all(conn)
                .await?
        }
    };
    rows.iter().map(source_from).collect()
}

/// A tenant's entitlement as last folded, with its sequence.
///
/// # Errors
/// The database fails.
pub async fn entitlement(
    conn: &mut AnyConnection,
    tenant: &TenantId,
) -> Result<Option<(Entitlement, i64)>, StoreError> {
    let row = sqlx::query("select * from entitlement where tenant = $1")
        .bind(tenant.as_str())
        .fetch_optional(conn)
        .await?;
    Ok(row
        .as_ref()
        .map(entitlement_from)
        .transpose()?
        .map(|(_, entitlement, sequence)| (entitlement, sequence)))
}

/// Every entitlement that was ever folded, with its sequence.
///
/// # Errors
/// The database fails.
pub async fn entitlements(conn: &mut AnyConnection) -> Result<Vec<(TenantId, Entitlement, i64)>, StoreError> {
    let rows = sqlx::query("select * from entitlement").fetch_all(conn).await?;
    rows.iter().map(entitlement_from).collect()
}

/// The tenants whose sources or entitlement may have changed by time alone.
///
/// # Errors
/// The database fails.
pub async fn tenants_due(
    conn: &mut AnyConnection,
    now: Millis,
    limit: i64,
) -> Result<Vec<TenantId>, StoreError> {
    let rows =
        sqlx::query("select tenant from entitlement where refold_at <= $1 order by refold_at limit $2")
            .bind(now)
            .bind(limit)
            .fetch_all(conn)
            .await?;
    rows.iter()
        .map(|row| row.parsed("tenant", "a tenant id"))
        .collect()
}

/// Whose customer this is, if a subscription ever said.
///
/// # Errors
/// The database fails.
pub async fn customer_tenant(
    conn: &mut AnyConnection,
    provider: Provider,
    customer: &str,
) -> Result<Option<TenantId>, StoreError> {
    let row = sqlx::query("select tenant from customer where provider = $1 and customer_ref = $2")
        .bind(provider.as_str())
        .bind(customer)
        .fetch_optional(conn)
        .await?;
    row.map(|row| row.parsed("tenant", "a tenant id")).transpose()
}

impl WriteTx {
    /// Stores a source as it stands now.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_source(&mut self, source: &Source) -> Result<(), StoreError> {
        sqlx::query(
            "insert into source (provider, provider_ref, tenant, plan, billing_interval, state, period_start, \
             period_end, scheduled_end, trial_end, first_unpaid_at, version, attention, access_until, ended_at, \
             next_plan, next_interval) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
             on conflict (provider, provider_ref) do update set tenant = excluded.tenant, plan = excluded.plan, \
             billing_interval = excluded.billing_interval, state = excluded.state, \
             period_start = excluded.period_start, period_end = excluded.period_end, \
             scheduled_end = excluded.scheduled_end, trial_end = excluded.trial_end, \
             first_unpaid_at = excluded.first_unpaid_at, version = excluded.version, \
             attention = excluded.attention, access_until = excluded.access_until, ended_at = excluded.ended_at, \
             next_plan = excluded.next_plan, next_interval = excluded.next_interval",
        )
        .bind(source.provider.as_str())
        .bind(source.provider_ref.as_str())
        .bind(source.tenant.as_str())
        .bind(source.plan.as_str())
        .bind(source.interval.map(Interval::as_str))
        .bind(source.state.as_str())
        .bind(source.period_start)
        .bind(source.period_end)
        .bind(source.scheduled_end)
        .bind(source.trial_end)
        .bind(source.first_unpaid_at)
        .bind(source.version)
        .bind(source.attention.as_deref())
        .bind(source.access_until)
        .bind(source.ended_at)
        .bind(source.next.as_ref().map(|(plan, _)| plan.as_str()))
        .bind(source.next.as_ref().map(|(_, interval)| Interval::as_str(*interval)))
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Stores what a tenant has now, and when it is to be folded again.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_entitlement(
        &mut self,
        tenant: &TenantId,
        entitlement: &Entitlement,
        refold_at: Option<Millis>,
        sequence: i64,
    ) -> Result<(), StoreError> {
        let decided_by = entitlement.decided_by.as_ref();
        sqlx::query(
            "insert into entitlement (tenant, plan, access, valid_until, decided_by_provider, decided_by_ref, sequence, \
             refold_at) values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict (tenant) do update set plan = excluded.plan, \
             access = excluded.access, valid_until = excluded.valid_until, refold_at = excluded.refold_at, \
             decided_by_provider = excluded.decided_by_provider, decided_by_ref = excluded.decided_by_ref, \
             sequence = excluded.sequence",
        )
        .bind(tenant.as_str())
        .bind(entitlement.plan.as_ref().map(PlanId::as_str))
        .bind(entitlement.access.as_str())
        .bind(entitlement.valid_until)
        .bind(decided_by.map(|(provider, _)| provider.as_str()))
        .bind(decided_by.map(|(_, reference)| reference.as_str()))
        .bind(sequence)
        .bind(refold_at)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Remembers whose customer this is.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_customer(
        &mut self,
        provider: Provider,
        customer: &str,
        tenant: &TenantId,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "insert into customer (provider, customer_ref, tenant) values ($1, $2, $3) \
             on conflict (provider, customer_ref) do update set tenant = excluded.tenant",
        )
        .bind(provider.as_str())
        .bind(customer)
        .bind(tenant.as_str())
        .execute(self.conn())
        .await?;
        Ok(())
    }
}
