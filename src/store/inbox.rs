//! What providers told us: stored before it is answered, done in the transaction of its effect.

use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::value::Columns;
use super::{StoreError, WriteTx};
use crate::domain::{CheckoutKey, Millis, Sender};

/// Names one event: a provider sends an id more than once, and means one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxKey {
    /// Who sent it.
    pub provider: Sender,
    /// The provider's id of the event.
    pub event_id: String,
}

/// An event that waits to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxEvent {
    /// Its name.
    pub key: InboxKey,
    /// The provider's type, such as `customer.subscription.created`.
    pub kind: String,
    /// The body, redacted.
    pub body: String,
    /// How often it was tried.
    pub attempts: i64,
    /// Whether it was applied, or given up.
    pub done: bool,
}

fn event_from(row: &AnyRow) -> Result<InboxEvent, StoreError> {
    Ok(InboxEvent {
        key: InboxKey {
            provider: row.parsed("provider", "one who sends events")?,
            event_id: row.text("event_id")?,
        },
        kind: row.text("type")?,
        body: row.text("body")?,
        attempts: row.int("attempts")?,
        done: row.opt_int("done_at")?.is_some(),
    })
}

/// The names of events that wait to be applied, oldest first.
///
/// # Errors
/// The database fails.
pub async fn pending_inbox(conn: &mut AnyConnection, limit: i64) -> Result<Vec<InboxKey>, StoreError> {
    let rows = sqlx::query(
        "select provider, event_id from inbox where done_at is null order by attempts, received_at limit $1",
    )
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let key = |row: &AnyRow| {
        Ok(InboxKey {
            provider: row.parsed("provider", "one who sends events")?,
            event_id: row.text("event_id")?,
        })
    };
    rows.iter().map(key).collect()
}

/// One event.
///
/// # Errors
/// The database fails.
pub async fn inbox_event(conn: &mut AnyConnection, key: &InboxKey) -> Result<Option<InboxEvent>, StoreError> {
    let row = sqlx::query("select * from inbox where provider = $1 and event_id = $2")
        .bind(key.provider.as_str())
        .bind(key.event_id.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(event_from).transpose()
}

impl WriteTx {
    /// Stores an event; `false` when this id was stored before, and then nothing changes.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_inbox(
        &mut self,
        key: &InboxKey,
        kind: &str,
        body: &str,
        now: Millis,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "insert into inbox (provider, event_id, type, body, received_at) values ($1, $2, $3, $4, $5) \
             on conflict (provider, event_id) do nothing",
        )
        .bind(key.provider.as_str())
        .bind(key.event_id.as_str())
        .bind(kind)
        .bind(body)
        .bind(now)
        .execute(self.conn())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Marks an event as done, with what came of it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn finish_inbox(
        &mut self,
        key: &InboxKey,
        outcome: &str,
        now: Millis,
    ) -> Result<(), StoreError> {
        sqlx::query("update inbox set done_at = $1, outcome = $2 where provider = $3 and event_id = $4")
            .bind(now)
            .bind(outcome)
            .bind(key.provider.as_str())
            .bind(key.event_id.as_str())
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Marks an event as done that speaks of a checkout of no charge of ours: it is an orphan until one has it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn orphan_inbox(
        &mut self,
        key: &InboxKey,
        checkout: &CheckoutKey,
        (outcome, now): (&str, Millis),
    ) -> Result<(), StoreError> {
        sqlx::query(
            "update inbox set done_at = $1, outcome = $2, awaits = $3 where provider = $4 and event_id = $5",
        )
        .bind(now)
        .bind(outcome)
        .bind(checkout.reference.as_str())
        .bind(key.provider.as_str())
        .bind(key.event_id.as_str())
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Lets the orphans of a checkout be applied again; how many there are.
    ///
    /// # Errors
    /// The database fails.
    pub async fn adopt_inbox(&mut self, checkout: &CheckoutKey) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "update inbox set done_at = null, outcome = null, attempts = 0, awaits = null where provider = $1 \
             and awaits = $2",
        )
        .bind(checkout.service.as_str())
        .bind(checkout.reference.as_str())
        .execute(self.conn())
        .await?;
        Ok(done.rows_affected())
    }

    /// Counts a try that failed.
    ///
    /// # Errors
    /// The database fails.
    pub async fn fail_inbox(&mut self, key: &InboxKey, outcome: &str) -> Result<(), StoreError> {
        sqlx::query(
            "update inbox set attempts = attempts + 1, outcome = $1 where provider = $2 and event_id = $3",
        )
        .bind(outcome)
        .bind(key.provider.as_str())
        .bind(key.event_id.as_str())
        .execute(self.conn())
        .await?;
        Ok(())
    }
}
