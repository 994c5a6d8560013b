//! How the database is opened, written and left.

use std::sync::atomic::{AtomicU32, Ordering};

use secrecy::SecretString;
use tollgate::config::StoreSettings;
use tollgate::store::{self, Backend, Store, StoreError};

use super::samples::{CHAIN, OTHER, begin, hash, open, tenant};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::column;

on_both!(
    a_dropped_transaction_leaves_no_trace,
    readers_see_what_is_committed_and_nothing_else,
    a_reading_transaction_sees_one_state,
    many_transactions_that_read_and_then_write_all_succeed,
    what_is_stored_is_there_after_it_was_opened_again,
    a_closed_store_answers_with_an_error,
    the_schema_is_the_same_on_both,
);

async fn a_dropped_transaction_leaves_no_trace(database: Database) {
    let (store, _database) = open(database).await;
    for _ in 0..20 {
        let mut tx = begin(&store).await;
        tx.insert_chain(CHAIN, hash(1), 0).await.unwrap();
        drop(tx);
    }
    let mut conn = store.read().await.unwrap();
    assert_eq!(store::chain_row(&mut conn, CHAIN).await.unwrap(), None);
    // A statement that failed inside is dropped with the rest.
    let mut tx = begin(&store).await;
    tx.insert_chain(OTHER, hash(1), 0).await.unwrap();
    tx.insert_chain(OTHER, hash(1), 0).await.unwrap_err();
    drop(tx);
    let mut tx = begin(&store).await;
    tx.insert_chain(CHAIN, hash(1), 0).await.unwrap();
    tx.commit().await.unwrap();
    let rows = store::chain_rows(&mut conn).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.chain).collect::<Vec<_>>(), [CHAIN]);
}

async fn readers_see_what_is_committed_and_nothing_else(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    tx.insert_chain(CHAIN, hash(1), 0).await.unwrap();
    let mut conn = store.read().await.unwrap();
    assert_eq!(store::chain_row(&mut conn, CHAIN).await.unwrap(), None);
    assert!(store::chain_row(tx.conn(), CHAIN).await.unwrap().is_some());
    tx.commit().await.unwrap();
    assert!(store::chain_row(&mut conn, CHAIN).await.unwrap().is_some());
}

async fn a_reading_transaction_sees_one_state(database: Database) {
    let (store, _database) = open(database).await;
    let mut reading = store.begin_read().await.unwrap();
    assert_eq!(store::chain_row(&mut reading, CHAIN).await.unwrap(), None);
    let mut tx = begin(&store).await;
    tx.insert_chain(CHAIN, hash(1), 0).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store::chain_row(&mut reading, CHAIN).await.unwrap(), None);
    drop(reading);
    let mut reading = store.begin_read().await.unwrap();
    assert!(store::chain_row(&mut reading, CHAIN).await.unwrap().is_some());
}

/// Reads a tenant's sequence, and stores one more. The whole of it is run again when it lost a race, as the engine does.
async fn count_up(store: &Store, races: &AtomicU32) -> Result<(), StoreError> {
    loop {
        let attempt = async {
            let mut tx = store.begin_write().await?;
            let (entitlement, sequence) = store::entitlement(tx.conn(), &tenant("acme")).await?.unwrap();
            tokio::task::yield_now().await;
            tx.put_entitlement(&tenant("acme"), &entitlement, None, sequence + 1)
                .await?;
            tx.commit().await
        };
        match attempt.await {
            Err(error) if error.is_retryable() => races.fetch_add(1, Ordering::Relaxed),
            outcome => return outcome,
        };
    }
}

/// Half of them by another opening of the same database, as a second process would have.
async fn many_transactions_that_read_and_then_write_all_succeed(database: Database) {
    let (store, database) = open(database).await;
    let openings = [store.clone(), database.open().await];
    let nothing = tollgate::domain::Entitlement {
        plan: None,
        access: tollgate::domain::Access::None,
        valid_until: None,
        decided_by: None,
    };
    let mut tx = begin(&store).await;
    tx.put_entitlement(&tenant("acme"), &nothing, None, 0)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let races = std::sync::Arc::new(AtomicU32::new(0));
    let tasks = (0..50).map(|index| {
        let (store, races) = (openings[index % 2].clone(), std::sync::Arc::clone(&races));
        tokio::spawn(async move { count_up(&store, &races).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap().unwrap();
    }
    let mut conn = store.read().await.unwrap();
    let found = store::entitlement(&mut conn, &tenant("acme")).await.unwrap();
    assert_eq!(found, Some((nothing, 50)), "no update was lost");
    if store.backend() == Backend::Sqlite {
        assert_eq!(
            races.load(Ordering::Relaxed),
            0,
            "writers wait in line and never race"
        );
    }
}

async fn what_is_stored_is_there_after_it_was_opened_again(database: Database) {
    let store = database.open().await;
    let mut tx = begin(&store).await;
    tx.insert_chain(CHAIN, hash(1), 0).await.unwrap();
    tx.commit().await.unwrap();
    store.close().await;
    let store = database.open().await;
    let mut conn = store.read().await.unwrap();
    assert!(store::chain_row(&mut conn, CHAIN).await.unwrap().is_some());
}

async fn a_closed_store_answers_with_an_error(database: Database) {
    let (store, _database) = open(database).await;
    store.close().await;
    let refused = store.read().await.map(drop).unwrap_err();
    assert!(!refused.is_retryable(), "{refused}");
    assert_eq!(refused.kind(), "database_closed");
    assert!(store.begin_write().await.is_err());
}

/// The tables, their columns and the views, as one database names them.
async fn schema(store: &Store) -> Vec<String> {
    let text = match store.backend() {
        Backend::Sqlite => {
            "select m.name || '.' || c.name from sqlite_master m join pragma_table_info(m.name) c \
             where m.type in ('table', 'view') and m.name not like 'sqlite%' and m.name <> '_sqlx_migrations'"
        }
        Backend::Postgres => {
            "select table_name || '.' || column_name from information_schema.columns \
             where table_schema = 'public' and table_name <> '_sqlx_migrations'"
        }
    };
    let mut names = column(store, text).await;
    names.sort();
    names
}

/// The same columns by the same names; run with each database as the one that is given.
async fn the_schema_is_the_same_on_both(database: Database) {
    let (store, _database) = open(database).await;
    let (other, _other_database) = open(match store.backend() {
        Backend::Sqlite => Database::postgres(),
        Backend::Postgres => Database::sqlite(),
    })
    .await;
    let names = schema(&store).await;
    assert!(names.contains(&"v_balances.value".to_owned()), "{names:?}");
    assert_eq!(names, schema(&other).await);
}

#[tokio::test]
async fn an_unknown_kind_of_database_is_refused() {
    let settings = StoreSettings {
        url: SecretString::from("mysql://localhost/x"),
        max_connections: 1,
    };
    let refused = Store::open(&settings).await.unwrap_err();
    assert!(matches!(refused, StoreError::UnknownDatabase), "{refused}");
}
