//! The only SQL. One text serves `SQLite` and `PostgreSQL` through sqlx's `Any`.
//!
//! Reading functions take a connection; writing functions are methods of [`WriteTx`], the one way to write. There is no
//! policy here: a row goes in and comes out, and what it means is decided by the callers.
//!
//! The law of the SQL: integers, text, blobs; times in unix milliseconds; money in decimal text that SQL never adds or
//! compares; errors are told apart by kind and never by a constraint's name.

mod access;
mod bounds;
mod caller;
mod chain;
mod charge;
mod credit;
mod faults;
mod holding;
mod hosted;
mod inbox;
mod lease;
mod lock;
mod notice;
mod outbox;
mod payment;
mod receipt;
mod reference;
mod renewal;
mod review;
mod search;
mod source;
mod value;

use std::sync::Arc;

use secrecy::ExposeSecret;
use sqlx::any::AnyPoolOptions;
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Connection as _, Executor, Transaction};

use crate::config::StoreSettings;

pub use access::{
    Nonce, WalletRelease, gate, gates, nonce, sole_owners, wallet_link, wallet_links, wallet_links_of,
    wallet_release, wallets_at,
};
pub use bounds::{held_amounts, waiting_charges};
pub use caller::{ApiKey, Remembered, api_key_by_hash, api_keys, remembered_answer};
pub use chain::{
    ChainRow, KeptHeader, chain_row, chain_rows, header_at, header_by_time, headers, headers_at,
    lowest_header,
};
pub use charge::{
    ChargeFilter, OpenCharge, account_charges, charge, charge_ids_due, charges, charges_of_tenant,
    leased_charges, open_charge_for, open_charges_of, pool_usage, tenants_charged_on,
};
pub use credit::{credit_balances, credit_entries};
pub use faults::{Faults, Moment};
pub use holding::{BalanceRow, Movement, Watch, balances, movements_between, watches};
pub use hosted::{hosted_payment, hosted_payments_of};
pub use inbox::{InboxEvent, InboxKey, inbox_event, pending_inbox};
pub use lease::{Instance, Lease, Role, beat, lease};
pub use lock::FileLock;
pub use notice::notices;
pub use outbox::{
    Audit, Delivery, Event, audits_above, due_deliveries, event_counts, newest_audit, oldest_due_delivery,
};
pub use payment::{
    Observation, observations_between, payment, payments_above, payments_between, payments_meant_for,
    payments_of_charge, payments_of_charges, payments_of_transactions, payments_up_to,
};
pub use receipt::{ReceiptKey, receipt_keys};
pub use reference::{references, token_domains};
pub use renewal::{plan_change, sources_to_remind};
pub use review::{
    claims_of, disposition, logs_of_refunds, refund, refunds_by_hash, refunds_due, refunds_of,
    refunds_proven_from, waiting_claims,
};
pub use search::{FoundPayment, PaymentFilter, charges_made_between, found_payment, search_payments};
pub use source::{customer_tenant, entitlement, entitlements, source, sources, tenants_due};

/// The longest that a transaction on `PostgreSQL` may wait for us. A process that was stopped, or cut off, in the middle of one
/// would hold its locks for as long, and nobody else could lead its chains.
const IDLE_IN_TRANSACTION: &str = "set idle_in_transaction_session_timeout = '5s'";

/// Which database is behind the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// One file, one writer.
    Sqlite,
    /// A server; write transactions are serializable.
    Postgres,
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names no database that we know.
    #[error("store.url must begin with sqlite:// or postgres://")]
    UnknownDatabase,
    /// Another process has the file.
    #[error(
        "store.url: another tollgate runs on this SQLite database; stop it first, or give several instances one \
         PostgreSQL database"
    )]
    InUse,
    /// Whether another process has the file cannot be known.
    #[error(
        "store.url: the lock file beside the SQLite database cannot be made ({0}); its directory must exist and be \
         writable"
    )]
    Lock(std::io::ErrorKind),
    /// A stored value is not what its column holds.
    #[error("column {column} holds what is not {expected}")]
    Corrupt {
        /// The column.
        column: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// The database refused, or could not be reached.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the schema could not be migrated: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

impl StoreError {
    /// A word for logs. The database's own text stays here: it may hold SQL or an address.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::UnknownDatabase => "database_unknown",
            Self::InUse | Self::Lock(_) => "database_locked",
            Self::Corrupt { .. } => "database_corrupt",
            Self::Migration(_) => "database_migration",
            Self::Database(sqlx::Error::PoolTimedOut) => "database_busy",
            Self::Database(sqlx::Error::PoolClosed) => "database_closed",
            Self::Database(sqlx::Error::Io(_) | sqlx::Error::Tls(_)) => "database_unreachable",
            Self::Database(_) => "database_refused",
        }
    }

    /// Whether the same transaction may succeed when it is run again: it lost a race, and nothing of it was kept.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        let Self::Database(sqlx::Error::Database(error)) = self else {
            return false;
        };
        // PostgreSQL: serialization failure, deadlock. SQLite: busy, and its extended codes.
        matches!(
            error.code().as_deref(),
            Some("40001" | "40P01" | "5" | "261" | "517" | "773")
        ) || error.is_unique_violation()
    }
}

/// The database, open and at the current schema.
#[derive(Debug, Clone)]
pub struct Store {
    readers: AnyPool,
    writers: AnyPool,
    backend: Backend,
    faults: Option<Arc<dyn Faults>>,
}

impl Store {
    /// Opens the database, creating an `SQLite` file that does not exist, and brings the schema up to date.
    ///
    /// # Errors
    /// An unknown kind of URL, a database that cannot be reached, a migration that fails.
    pub async fn open(settings: &StoreSettings) -> Result<Self, StoreError> {
        Self::open_with(settings, None).await
    }

    /// As [`Store::open`], with what a simulation lets happen from then on.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with(
        settings: &StoreSettings,
        faults: Option<Arc<dyn Faults>>,
    ) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let url = settings.url.expose_secret();
        let mut store = if url.starts_with("sqlite:") {
            Self::open_sqlite(url, settings.max_connections).await?
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let pool = AnyPoolOptions::new()
                .max_connections(settings.max_connections)
                .after_connect(|connection, _| {
                    Box::pin(async move { connection.execute(IDLE_IN_TRANSACTION).await.map(drop) })
                })
                .connect(url)
                .await?;
            Self {
                readers: pool.clone(),
                writers: pool,
                backend: Backend::Postgres,
                faults: None,
            }
        } else {
            return Err(StoreError::UnknownDatabase);
        };
        store.migrate().await?;
        store.faults = faults;
        Ok(store)
    }

    /// One connection writes, so that writers wait in the pool's fair queue and never for a lock; the rest read. Where only
    /// one is allowed, it does both.
    async fn open_sqlite(url: &str, max_connections: u32) -> Result<Self, StoreError> {
        let create = if url.contains('?') {
            url.to_owned()
        } else {
            format!("{url}?mode=rwc")
        };
        // Where the disk is full SQLite ends the transaction by itself, the rollback that follows fails, and sqlx would refuse
        // every further transaction of that connection.
        let pool = |connections| {
            let options = AnyPoolOptions::new().max_connections(connections);
            let whole = options.before_acquire(|connection, _| {
                let is_whole = !connection.is_in_transaction();
                Box::pin(async move { Ok(is_whole) })
            });
            whole.after_connect(|connection, _| {
                Box::pin(async move {
                    connection
                        .execute(
                            "pragma journal_mode = wal; pragma synchronous = full; pragma busy_timeout = 10000; \
                             pragma foreign_keys = on; pragma journal_size_limit = 67108864",
                        )
                        .await?;
                    Ok(())
                })
            })
        };
        let writers = pool(1).connect(&create).await?;
        let readers = if max_connections == 1 {
            writers.clone()
        } else {
            pool(max_connections).connect(&create).await?
        };
        Ok(Self {
            readers,
            writers,
            backend: Backend::Sqlite,
            faults: None,
        })
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        match self.backend {
            Backend::Sqlite => sqlx::migrate!("migrations/sqlite").run(&self.writers).await?,
            Backend::Postgres => sqlx::migrate!("migrations/postgres").run(&self.writers).await?,
        }
        Ok(())
    }

    /// Which database this is.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Whether several instances may work on it at once: a server's database, and one whose faults are simulated, where no
    /// lock on a file keeps others out.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.backend == Backend::Postgres || self.faults.is_some()
    }

    /// A connection for reading.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn read(&self) -> Result<PoolConnection<Any>, StoreError> {
        happens(self.faults.as_ref(), Moment::Read).await?;
        Ok(self.readers.acquire().await?)
    }

    /// Whether a connection is in use: something is under way that no timer of the runtime knows of.
    #[must_use]
    pub fn in_use(&self) -> bool {
        let used = |pool: &AnyPool| usize::try_from(pool.size()).is_ok_and(|size| size > pool.num_idle());
        used(&self.writers) || used(&self.readers)
    }

    /// Begins a transaction that sees one state of the database, and is to write nothing.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn begin_read(&self) -> Result<Transaction<'static, Any>, StoreError> {
        happens(self.faults.as_ref(), Moment::Read).await?;
        let begin = match self.backend {
            Backend::Sqlite => "begin",
            Backend::Postgres => "begin isolation level repeatable read read only",
        };
        Ok(self.readers.begin_with(begin).await?)
    }

    /// Begins the one kind of transaction that may write. Dropped without [`WriteTx::commit`], it leaves no trace.
    ///
    /// # Errors
    /// The database cannot be reached.
    pub async fn begin_write(&self) -> Result<WriteTx, StoreError> {
        // SQLite: a plain begin takes the write lock at the first write, when it may be too late to wait for it.
        let begin = match self.backend {
            Backend::Sqlite => "begin immediate",
            Backend::Postgres => "begin isolation level serializable",
        };
        happens(self.faults.as_ref(), Moment::Begin).await?;
        Ok(WriteTx {
            tx: self.writers.begin_with(begin).await?,
            faults: self.faults.clone(),
        })
    }

    /// Closes every connection, once those in use are given back.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writers.close().await;
    }
}

/// A write transaction.
#[derive(Debug)]
pub struct WriteTx {
    tx: Transaction<'static, Any>,
    faults: Option<Arc<dyn Faults>>,
}

impl WriteTx {
    /// The connection, for reading what this transaction sees.
    pub fn conn(&mut self) -> &mut AnyConnection {
        if let Some(faults) = &self.faults {
            faults.statement();
        }
        &mut self.tx
    }

    /// Makes it durable.
    ///
    /// # Errors
    /// The outcome is unknown when the connection fails here: read the height again before anything else.
    pub async fn commit(self) -> Result<(), StoreError> {
        happens(self.faults.as_ref(), Moment::Commit).await?;
        self.tx.commit().await?;
        happens(self.faults.as_ref(), Moment::Committed).await
    }
}

async fn happens(faults: Option<&Arc<dyn Faults>>, moment: Moment) -> Result<(), StoreError> {
    match faults {
        Some(faults) => Ok(faults.at(moment).await?),
        None => Ok(()),
    }
}
