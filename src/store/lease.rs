//! Who does what only one instance at a time may do, and how others see that it is alive.

use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::value::Columns;
use super::{StoreError, WriteTx};
use crate::domain::ChainId;

/// What one instance at a time does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Reads and writes a chain's blocks.
    Chain(ChainId),
    /// Delivers events to the webhook of this name.
    Webhook(String),
}

impl Role {
    fn key(&self) -> String {
        match self {
            Self::Chain(chain) => format!("chain:{chain}"),
            Self::Webhook(name) => format!("webhook:{name}"),
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.key())
    }
}

/// An instance: one process, from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Unguessable, and new at every start.
    pub id: String,
    /// What people call it: host and process.
    pub label: String,
}

/// A lease as it was seen. While its holder is alive, one of the three counts moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Counts the holders; who has an older one writes nothing.
    pub fence: i64,
    /// Counts a chain's transactions, whoever led it.
    pub beat: i64,
    /// Counts the holder's signs of life.
    pub pulse: i64,
    /// None: whoever wants it may take it.
    pub holder: Option<Instance>,
}

fn lease_from(row: &AnyRow) -> Result<Lease, StoreError> {
    let holder = (row.opt_text("holder")?, row.opt_text("label")?);
    Ok(Lease {
        fence: row.int("fence")?,
        beat: row.int("beat")?,
        pulse: row.int("pulse")?,
        holder: match holder {
            (Some(id), label) => Some(Instance {
                id,
                label: label.unwrap_or_default(),
            }),
            (None, _) => None,
        },
    })
}

/// A lease; none where nobody ever had it.
///
/// # Errors
/// The database fails.
pub async fn lease(conn: &mut AnyConnection, role: &Role) -> Result<Option<Lease>, StoreError> {
    let row = sqlx::query("select * from lease where role = $1")
        .bind(role.key())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(lease_from).transpose()
}

/// How many transactions of a chain were counted; none when it was never led.
///
/// # Errors
/// The database fails.
pub async fn beat(conn: &mut AnyConnection, chain: ChainId) -> Result<Option<i64>, StoreError> {
    Ok(lease(conn, &Role::Chain(chain)).await?.map(|lease| lease.beat))
}

impl WriteTx {
    /// Gives a lease to `holder`, whoever had it; that one can write no more. Returns the new fence.
    ///
    /// # Errors
    /// The database fails.
    pub async fn take_lease(&mut self, role: &Role, holder: &Instance) -> Result<i64, StoreError> {
        let row = sqlx::query(
            "insert into lease (role, fence, beat, pulse, holder, label) values ($1, 1, 0, 0, $2, $3) \
             on conflict (role) do update set fence = lease.fence + 1, holder = excluded.holder, \
             label = excluded.label returning fence",
        )
        .bind(role.key())
        .bind(holder.id.as_str())
        .bind(holder.label.as_str())
        .fetch_one(self.conn())
        .await?;
        row.int("fence")
    }

    /// Gives a lease to `holder` if it has not moved since it was `seen`, none standing for one that was never had. Returns
    /// the new fence; none when it moved, so that its holder is alive or another was faster.
    ///
    /// # Errors
    /// The database fails.
    pub async fn take_unmoved_lease(
        &mut self,
        role: &Role,
        seen: Option<&Lease>,
        holder: &Instance,
    ) -> Result<Option<i64>, StoreError> {
        let taking = match seen {
            None => sqlx::query(
                "insert into lease (role, fence, beat, pulse, holder, label) values ($1, 1, 0, 0, $2, $3) \
                 on conflict (role) do nothing returning fence",
            )
            .bind(role.key())
            .bind(holder.id.as_str())
            .bind(holder.label.as_str()),
            Some(seen) => sqlx::query(
                "update lease set fence = fence + 1, holder = $2, label = $3 \
                 where role = $1 and fence = $4 and beat = $5 and pulse = $6 returning fence",
            )
            .bind(role.key())
            .bind(holder.id.as_str())
            .bind(holder.label.as_str())
            .bind(seen.fence)
            .bind(seen.beat)
            .bind(seen.pulse),
        };
        let row = taking.fetch_optional(self.conn()).await?;
        row.map(|row| row.int("fence")).transpose()
    }

    /// A sign of life of the holder with this fence; `false` when the lease is another's.
    ///
    /// # Errors
    /// The database fails.
    pub async fn pulse_lease(&mut self, role: &Role, fence: i64) -> Result<bool, StoreError> {
        let done = sqlx::query("update lease set pulse = pulse + 1 where role = $1 and fence = $2")
            .bind(role.key())
            .bind(fence)
            .execute(self.conn())
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Leaves a lease to whoever wants it, if it is still this instance's. What it was about to write is fenced out.
    ///
    /// # Errors
    /// The database fails.
    pub async fn release_lease(&mut self, role: &Role, holder: &Instance) -> Result<(), StoreError> {
        sqlx::query(
            "update lease set fence = fence + 1, holder = null, label = null where role = $1 and holder = $2",
        )
        .bind(role.key())
        .bind(holder.id.as_str())
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Counts a transaction of the chain's leader with this fence, and holds the lease until it ends. Returns the count; none
    /// when the lease is another's.
    ///
    /// # Errors
    /// The database fails.
    pub async fn claim_lease(&mut self, chain: ChainId, fence: i64) -> Result<Option<i64>, StoreError> {
        let row =
            sqlx::query("update lease set beat = beat + 1 where role = $1 and fence = $2 returning beat")
                .bind(Role::Chain(chain).key())
                .bind(fence)
                .fetch_optional(self.conn())
                .await?;
        row.map(|row| row.int("beat")).transpose()
    }

    /// Counts a transaction that changes what the leader of a chain keeps in memory, whoever makes it. None when the chain
    /// was never led.
    ///
    /// # Errors
    /// The database fails.
    pub async fn count_beat(&mut self, chain: ChainId) -> Result<Option<i64>, StoreError> {
        let row = sqlx::query("update lease set beat = beat + 1 where role = $1 returning beat")
            .bind(Role::Chain(chain).key())
            .fetch_optional(self.conn())
            .await?;
        row.map(|row| row.int("beat")).transpose()
    }
}
