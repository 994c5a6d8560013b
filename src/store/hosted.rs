//! The checkouts that were opened for charges, and what was heard of them.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::value::{Columns, ROWS_PER_STATEMENT, list};
use super::{StoreError, WriteTx};
use crate::domain::{ChargeId, CheckoutKey, HostedPayment};

fn hosted_from(row: &AnyRow) -> Result<HostedPayment, StoreError> {
    let received_at = row.opt_int("received_at")?;
    Ok(HostedPayment {
        key: CheckoutKey {
            service: row.word("provider")?,
            reference: row.text("provider_ref")?,
        },
        charge: row.parsed("charge", "a charge id")?,
        url: row.text("url")?,
        currency: row.text("currency")?,
        asked: row.amount("asked")?,
        opened_at: row.int("opened_at")?,
        attempt: (row.word("attempt")?, row.int("attempt_at")?),
        pending: row.amount("pending")?,
        received: row.amount("received")?,
        evidence: received_at.zip(row.opt_text("evidence")?),
        refunded: row.amount("refunded")?,
    })
}

/// One checkout.
///
/// # Errors
/// The database fails.
pub async fn hosted_payment(
    conn: &mut AnyConnection,
    key: &CheckoutKey,
) -> Result<Option<HostedPayment>, StoreError> {
    let row = sqlx::query("select * from hosted_payment where provider = $1 and provider_ref = $2")
        .bind(key.service.as_str())
        .bind(key.reference.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(hosted_from).transpose()
}

/// The checkouts of these charges, oldest first.
///
/// # Errors
/// The database fails.
pub async fn hosted_payments_of(
    conn: &mut AnyConnection,
    charges: &[ChargeId],
) -> Result<Vec<HostedPayment>, StoreError> {
    let mut found = Vec::new();
    for charges in charges.chunks(ROWS_PER_STATEMENT) {
        let text = format!(
            "select * from hosted_payment where charge in ({}) order by opened_at, provider, provider_ref",
            list(0, charges.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for charge in charges {
            query = query.bind(charge.as_str());
        }
        for row in query.fetch_all(&mut *conn).await? {
            found.push(hosted_from(&row)?);
        }
    }
    Ok(found)
}

impl WriteTx {
    /// Stores a checkout, or what has become of it: the charge, the page and what it asks never change.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_hosted_payment(&mut self, hosted: &HostedPayment) -> Result<(), StoreError> {
        let (attempt, attempt_at) = hosted.attempt;
        sqlx::query(
            "insert into hosted_payment (provider, provider_ref, charge, url, currency, asked, opened_at, state, attempt, \
             attempt_at, pending, received, received_at, evidence, refunded) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
             on conflict (provider, provider_ref) do update set state = excluded.state, attempt = excluded.attempt, \
             attempt_at = excluded.attempt_at, pending = excluded.pending, received = excluded.received, \
             received_at = excluded.received_at, evidence = excluded.evidence, refunded = excluded.refunded",
        )
        .bind(hosted.key.service.as_str())
        .bind(hosted.key.reference.as_str())
        .bind(hosted.charge.as_str())
        .bind(hosted.url.as_str())
        .bind(hosted.currency.as_str())
        .bind(hosted.asked.to_string())
        .bind(hosted.opened_at)
        .bind(hosted.state().as_str())
        .bind(attempt.as_str())
        .bind(attempt_at)
        .bind(hosted.pending.to_string())
        .bind(hosted.received.to_string())
        .bind(hosted.evidence.as_ref().map(|(at, _)| *at))
        .bind(hosted.evidence.as_ref().map(|(_, event)| event.as_str()))
        .bind(hosted.refunded.to_string())
        .execute(self.conn())
        .await?;
        Ok(())
    }
}
