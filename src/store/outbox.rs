//! What is owed to the chat product, and the record of every change.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::value::{Columns, ROWS_PER_STATEMENT, int, list, value_lists};
use super::{StoreError, WriteTx};
use crate::domain::Millis;

/// An event that a change owes to the chat product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `webhook-id`: unguessable, and the same on every try.
    pub id: String,
    /// Its type, such as `charge.paid`.
    pub kind: &'static str,
    /// What it is about, such as `charge:…`; events of one resource arrive in order.
    pub resource: String,
    /// The resource's own count of changes.
    pub sequence: i64,
    /// The whole body, as it is signed and sent.
    pub body: String,
}

/// An entry of the record: who changed what, why, from what, to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Who: `chain:1`, `key:…`, `stripe`, `clock`.
    pub actor: String,
    /// What was done, such as `charge.create`.
    pub action: &'static str,
    /// To what, such as `charge:…`.
    pub subject: String,
    /// Why: a block, an event id, a request.
    pub cause: String,
    /// JSON of the state before, where there was one.
    pub before: Option<String>,
    /// JSON of the state after, where there is one.
    pub after: Option<String>,
}

/// One event on its way to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The endpoint's name in the configuration.
    pub endpoint: String,
    /// The row of the event.
    pub outbox_id: i64,
    /// The event's id.
    pub event_id: String,
    /// What it is about.
    pub resource: String,
    /// Tries so far.
    pub attempts: u32,
    /// The body.
    pub body: String,
}

fn delivery_from(row: &AnyRow) -> Result<Delivery, StoreError> {
    Ok(Delivery {
        endpoint: row.text("endpoint")?,
        outbox_id: row.int("outbox_id")?,
        event_id: row.text("event_id")?,
        resource: row.text("resource")?,
        attempts: u32::try_from(row.int("attempts")?).unwrap_or(u32::MAX),
        body: row.text("body")?,
    })
}

/// The deliveries to one endpoint that are due: of each resource only the oldest, so that one resource's events arrive
/// in order and a failing one holds up no other.
///
/// # Errors
/// The database fails.
pub async fn due_deliveries(
    conn: &mut AnyConnection,
    endpoint: &str,
    now: Millis,
    limit: i64,
) -> Result<Vec<Delivery>, StoreError> {
    let rows = sqlx::query(
        "select d.endpoint, d.outbox_id, o.event_id, d.resource, d.attempts, o.body from delivery d \
         join outbox o on o.id = d.outbox_id where d.endpoint = $1 and d.state = 'pending' and d.next_at <= $2 \
         and not exists (select 1 from delivery e where e.endpoint = d.endpoint and e.resource = d.resource \
         and e.state = 'pending' and e.outbox_id < d.outbox_id) order by d.next_at, d.outbox_id limit $3",
    )
    .bind(endpoint)
    .bind(now)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(delivery_from).collect()
}

/// When the oldest event that is still owed to one endpoint was made.
///
/// # Errors
/// The database fails.
pub async fn oldest_due_delivery(
    conn: &mut AnyConnection,
    endpoint: &str,
) -> Result<Option<Millis>, StoreError> {
    let row = sqlx::query(
        "select o.created_at from delivery d join outbox o on o.id = d.outbox_id \
         where d.endpoint = $1 and d.state = 'pending' order by d.outbox_id limit 1",
    )
    .bind(endpoint)
    .fetch_optional(conn)
    .await?;
    row.map(|row| row.int("created_at")).transpose()
}

/// How many events each of these resources has had; of those that had none nothing.
///
/// # Errors
/// The database fails.
pub async fn event_counts(
    conn: &mut AnyConnection,
    resources: &[&str],
) -> Result<Vec<(String, i64)>, StoreError> {
    let mut counts = Vec::new();
    for resources in resources.chunks(ROWS_PER_STATEMENT) {
        let text = format!(
            "select resource, max(sequence) as newest from outbox where resource in ({}) group by resource",
            list(0, resources.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for resource in resources {
            query = query.bind(*resource);
        }
        for row in query.fetch_all(&mut *conn).await? {
            counts.push((row.text("resource")?, row.int("newest")?));
        }
    }
    Ok(counts)
}

/// The highest number of an entry of the record; 0 before the first.
///
/// # Errors
/// The database fails.
pub async fn newest_audit(conn: &mut AnyConnection) -> Result<i64, StoreError> {
    let row = sqlx::query("select coalesce(max(id), 0) as newest from audit")
        .fetch_one(conn)
        .await?;
    row.int("newest")
}

/// How many entries of the record have a number above `floor`.
///
/// # Errors
/// The database fails.
pub async fn audits_above(conn: &mut AnyConnection, floor: i64) -> Result<i64, StoreError> {
    let row = sqlx::query("select count(*) as entries from audit where id > $1")
        .bind(floor)
        .fetch_one(conn)
        .await?;
    row.int("entries")
}

impl WriteTx {
    /// Adds entries to the record, in their order.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_audits(&mut self, audits: &[Audit], now: Millis) -> Result<(), StoreError> {
        for rows in audits.chunks(ROWS_PER_STATEMENT) {
            let lists = value_lists(rows.len(), 1, 6);
            let text = format!(
                "insert into audit (at, actor, action, subject, cause, before_state, after_state) values {lists}"
            );
            let mut query = sqlx::query(AssertSqlSafe(text)).bind(now);
            for audit in rows {
                query = query
                    .bind(audit.actor.as_str())
                    .bind(audit.action)
                    .bind(audit.subject.as_str())
                    .bind(audit.cause.as_str())
                    .bind(audit.before.as_deref())
                    .bind(audit.after.as_deref());
            }
            query.execute(self.conn()).await?;
        }
        Ok(())
    }

    /// Owes events to every endpoint named, in their order.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_events(
        &mut self,
        events: &[Event],
        endpoints: &[String],
        now: Millis,
    ) -> Result<(), StoreError> {
        for rows in events.chunks(ROWS_PER_STATEMENT) {
            let lists = value_lists(rows.len(), 1, 5);
            let text = format!(
                "insert into outbox (created_at, event_id, type, resource, sequence, body) values {lists} \
                 returning id, resource"
            );
            let mut query = sqlx::query(AssertSqlSafe(text)).bind(now);
            for event in rows {
                query = query
                    .bind(event.id.as_str())
                    .bind(event.kind)
                    .bind(event.resource.as_str())
                    .bind(event.sequence)
                    .bind(event.body.as_str());
            }
            let inserted = query.fetch_all(self.conn()).await?;
            for endpoint in endpoints {
                self.insert_deliveries(endpoint, &inserted, now).await?;
            }
        }
        Ok(())
    }

    async fn insert_deliveries(
        &mut self,
        endpoint: &str,
        events: &[AnyRow],
        now: Millis,
    ) -> Result<(), StoreError> {
        let lists = value_lists(events.len(), 4, 2);
        let text = format!(
            "insert into delivery (endpoint, attempts, next_at, state, outbox_id, resource) values {lists}"
        );
        let mut query = sqlx::query(AssertSqlSafe(text))
            .bind(endpoint)
            .bind(0_i64)
            .bind(now)
            .bind("pending");
        for event in events {
            query = query.bind(event.int("id")?).bind(event.text("resource")?);
        }
        query.execute(self.conn()).await?;
        Ok(())
    }

    /// Stores the outcome of one try: `delivered`, `dead`, or `pending` with the time of the next try.
    ///
    /// # Errors
    /// The database fails.
    pub async fn update_delivery(
        &mut self,
        delivery: &Delivery,
        state: &'static str,
        next_at: Millis,
        status: Option<u16>,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "update delivery set attempts = $1, next_at = $2, state = $3, last_status = $4 \
             where endpoint = $5 and outbox_id = $6",
        )
        .bind(int(u64::from(delivery.attempts)))
        .bind(next_at)
        .bind(state)
        .bind(status.map(i64::from))
        .bind(delivery.endpoint.as_str())
        .bind(delivery.outbox_id)
        .execute(self.conn())
        .await?;
        Ok(())
    }
}
