//! Tenants' credit: its entries, and their sum.

use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::value::Columns;
use super::{StoreError, WriteTx};
use crate::domain::{Credit, CreditEntry, TenantId};

fn entry_from(row: &AnyRow) -> Result<(i64, CreditEntry), StoreError> {
    let entry = CreditEntry {
        tenant: row.parsed("tenant", "a tenant id")?,
        unit: row.text("unit")?,
        amount: row.parsed("amount", "a signed amount")?,
        kind: row.word("kind")?,
        charge: row.parsed("charge", "a charge id")?,
        actor: row.text("actor")?,
        cause: row.text("cause")?,
        at: row.int("at")?,
    };
    Ok((row.int("id")?, entry))
}

/// A tenant's credit in every unit that it ever had any in, by unit.
///
/// # Errors
/// The database fails.
pub async fn credit_balances(
    conn: &mut AnyConnection,
    tenant: &TenantId,
) -> Result<Vec<(String, Credit)>, StoreError> {
    let rows = sqlx::query("select unit, balance from credit where tenant = $1 order by unit")
        .bind(tenant.as_str())
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| Ok((row.text("unit")?, row.parsed("balance", "a signed amount")?)))
        .collect()
}

/// At most `limit` entries of a tenant with their ids, newest first, all below the id `before`.
///
/// # Errors
/// The database fails.
pub async fn credit_entries(
    conn: &mut AnyConnection,
    tenant: &TenantId,
    before: i64,
    limit: i64,
) -> Result<Vec<(i64, CreditEntry)>, StoreError> {
    let rows =
        sqlx::query("select * from credit_entry where tenant = $1 and id < $2 order by id desc limit $3")
            .bind(tenant.as_str())
            .bind(before)
            .bind(limit)
            .fetch_all(conn)
            .await?;
    rows.iter().map(entry_from).collect()
}

impl WriteTx {
    /// Adds an entry. Whoever adds one brings the balance up to it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_credit_entry(&mut self, entry: &CreditEntry) -> Result<(), StoreError> {
        sqlx::query(
            "insert into credit_entry (tenant, unit, amount, kind, charge, actor, cause, at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(entry.tenant.as_str())
        .bind(entry.unit.as_str())
        .bind(entry.amount.to_string())
        .bind(entry.kind.as_str())
        .bind(entry.charge.as_str())
        .bind(entry.actor.as_str())
        .bind(entry.cause.as_str())
        .bind(entry.at)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Stores the sum of a tenant's entries in one unit.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_credit(
        &mut self,
        tenant: &TenantId,
        unit: &str,
        balance: Credit,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "insert into credit (tenant, unit, balance) values ($1, $2, $3) \
             on conflict (tenant, unit) do update set balance = excluded.balance",
        )
        .bind(tenant.as_str())
        .bind(unit)
        .bind(balance.to_string())
        .execute(self.conn())
        .await?;
        Ok(())
    }
}
