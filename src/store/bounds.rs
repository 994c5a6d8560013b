//! How much of what all share one tenant has taken.

use sqlx::AnyConnection;

use super::StoreError;
use super::value::{Columns, int};
use crate::domain::{ChargeTerms, Millis, TenantId};

/// How many charges of a tenant wait for money; `most` where there are more.
///
/// # Errors
/// The database fails.
pub async fn waiting_charges(
    conn: &mut AnyConnection,
    tenant: &TenantId,
    most: i64,
) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "select count(*) as waiting from (select id from charge where tenant = $1 \
         and state in ('open', 'confirming') limit $2) as waiting",
    )
    .bind(tenant.as_str())
    .bind(most)
    .fetch_one(conn)
    .await?;
    row.int("waiting")
}

/// How many amounts of the price of `terms` are kept beyond `now` for charges of its tenant that were made after `since`.
///
/// # Errors
/// The database fails.
pub async fn held_amounts(
    conn: &mut AnyConnection,
    terms: &ChargeTerms,
    (since, now): (Millis, Millis),
) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "select count(*) as held from charge c join amount_lease l on l.charge = c.id where c.tenant = $1 \
         and c.created_at > $2 and l.free_at > $3 and l.chain = $4 and l.token = $5 and l.treasury = $6 \
         and l.asked = $7",
    )
    .bind(terms.tenant.as_str())
    .bind(since)
    .bind(now)
    .bind(int(terms.chain.0))
    .bind(terms.token.to_vec())
    .bind(terms.treasury.to_vec())
    .bind(terms.quote.asked.to_string())
    .fetch_one(conn)
    .await?;
    row.int("held")
}
