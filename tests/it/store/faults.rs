//! What a simulation lets happen to the database, and what the database does to a transaction by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use sqlx::Executor as _;
use tollgate::store::{self, Backend, Faults, Moment};

use super::samples::{CHAIN, OTHER, begin, hash, open};
use crate::harness::databases::{Database, on_both};

on_both!(
    a_fault_comes_at_its_moment,
    a_connection_whose_transaction_was_ended_for_it_is_left,
    a_store_is_in_use_while_somebody_has_a_connection,
    only_a_file_of_its_own_is_not_shared,
);

/// Fails at one moment.
#[derive(Debug)]
struct FailsAt {
    moment: Moment,
    statements: AtomicU64,
}

impl Faults for FailsAt {
    fn at(&self, moment: Moment) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        let fails = moment == self.moment;
        Box::pin(async move {
            if fails {
                Err(sqlx::Error::WorkerCrashed)
            } else {
                Ok(())
            }
        })
    }

    fn statement(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }
}

async fn a_fault_comes_at_its_moment(database: Database) {
    let (whole, database) = open(database).await;
    for (moment, is_kept) in [(Moment::Commit, false), (Moment::Committed, true)] {
        let faults = Arc::new(FailsAt {
            moment,
            statements: AtomicU64::new(0),
        });
        let store = database.open_with(Arc::clone(&faults) as Arc<dyn Faults>).await;
        let mut tx = begin(&store).await;
        tx.insert_chain(CHAIN, hash(1), 0).await.unwrap();
        assert_eq!(faults.statements.load(Ordering::Relaxed), 1);
        tx.commit().await.unwrap_err();
        let mut conn = whole.read().await.unwrap();
        let row = store::chain_row(&mut conn, CHAIN).await.unwrap();
        assert_eq!(row.is_some(), is_kept, "{moment:?}");
    }
    for moment in [Moment::Read, Moment::Begin] {
        let statements = AtomicU64::new(0);
        let store = database.open_with(Arc::new(FailsAt { moment, statements })).await;
        assert_eq!(store.read().await.is_err(), moment == Moment::Read);
        assert_eq!(store.begin_write().await.is_err(), moment == Moment::Begin);
    }
}

/// As `SQLite` does where the disk is full.
async fn a_connection_whose_transaction_was_ended_for_it_is_left(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    tx.insert_chain(CHAIN, hash(1), 0).await.unwrap();
    tx.conn().execute("rollback").await.unwrap();
    drop(tx);
    let mut tx = begin(&store).await;
    tx.insert_chain(OTHER, hash(1), 0).await.unwrap();
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    let rows = store::chain_rows(&mut conn).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.chain).collect::<Vec<_>>(), [OTHER]);
}

async fn a_store_is_in_use_while_somebody_has_a_connection(database: Database) {
    let (store, _database) = open(database).await;
    let conn = store.read().await.unwrap();
    assert!(store.in_use());
    drop(conn);
    let given_back = async {
        while store.in_use() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), given_back)
        .await
        .unwrap();
}

async fn only_a_file_of_its_own_is_not_shared(database: Database) {
    let (store, database) = open(database).await;
    assert_eq!(store.is_shared(), store.backend() == Backend::Postgres);
    let faults = FailsAt {
        moment: Moment::Commit,
        statements: AtomicU64::new(0),
    };
    assert!(database.open_with(Arc::new(faults)).await.is_shared());
}
