//! Who holds a lease, who may take it, and the file beside an `SQLite` database.

use std::time::Duration;

use secrecy::SecretString;
use tollgate::config::StoreSettings;
use tollgate::store::{self, Backend, FileLock, Lease, Role, StoreError};

use super::samples::{CHAIN, OTHER, begin, instance, open};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::column;

on_both!(
    a_lease_has_one_holder,
    a_lease_is_taken_only_as_it_was_seen,
    a_released_lease_is_free_and_its_holder_fenced_out,
    a_reading_transaction_does_not_see_what_is_written_after_it,
    only_a_server_is_shared,
);

fn chain() -> Role {
    Role::Chain(CHAIN)
}

async fn a_lease_has_one_holder(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    assert!(
        tx.claim_lease(CHAIN, 1).await.unwrap().is_none(),
        "nobody holds it"
    );
    let first = tx.take_lease(&chain(), &instance("one")).await.unwrap();
    assert!(tx.claim_lease(CHAIN, first).await.unwrap().is_some());
    tx.commit().await.unwrap();

    let mut tx = begin(&store).await;
    let second = tx.take_lease(&chain(), &instance("other")).await.unwrap();
    assert!(second > first);
    assert!(tx.claim_lease(CHAIN, first).await.unwrap().is_none());
    assert!(!tx.pulse_lease(&chain(), first).await.unwrap());
    assert_eq!(
        tx.claim_lease(CHAIN, second).await.unwrap(),
        Some(2),
        "whoever leads, it is one count"
    );
    assert_eq!(tx.count_beat(CHAIN).await.unwrap(), Some(3), "and whoever counts");
    assert_eq!(tx.claim_lease(CHAIN, second).await.unwrap(), Some(4));
    assert_eq!(store::beat(tx.conn(), CHAIN).await.unwrap(), Some(4));
    assert_eq!(store::beat(tx.conn(), OTHER).await.unwrap(), None);
    assert_eq!(tx.count_beat(OTHER).await.unwrap(), None, "nobody leads it");
    let of_another_chain = tx
        .take_lease(&Role::Chain(OTHER), &instance("one"))
        .await
        .unwrap();
    assert!(
        tx.claim_lease(OTHER, of_another_chain + 1)
            .await
            .unwrap()
            .is_none()
    );
    tx.commit().await.unwrap();
    let beats = column(&store, "select beat from lease order by role").await;
    assert_eq!(beats, ["0", "4"]);
}

async fn a_lease_is_taken_only_as_it_was_seen(database: Database) {
    let (store, _database) = open(database).await;
    let role = Role::Webhook("chat".to_owned());
    let (one, other) = (instance("one"), instance("other"));
    let mut tx = begin(&store).await;
    assert_eq!(store::lease(tx.conn(), &role).await.unwrap(), None);
    let fence = tx.take_unmoved_lease(&role, None, &one).await.unwrap();
    assert_eq!(fence, Some(1));
    assert_eq!(tx.take_unmoved_lease(&role, None, &other).await.unwrap(), None);
    let seen = store::lease(tx.conn(), &role).await.unwrap().unwrap();
    let held = Lease {
        fence: 1,
        beat: 0,
        pulse: 0,
        holder: Some(one.clone()),
    };
    assert_eq!(seen, held);

    assert!(tx.pulse_lease(&role, 1).await.unwrap());
    let taken = tx.take_unmoved_lease(&role, Some(&seen), &other).await.unwrap();
    assert_eq!(taken, None, "its holder has moved it");
    let seen = store::lease(tx.conn(), &role).await.unwrap().unwrap();
    let taken = tx.take_unmoved_lease(&role, Some(&seen), &other).await.unwrap();
    assert_eq!(taken, Some(2));
    let taken = tx.take_unmoved_lease(&role, Some(&seen), &one).await.unwrap();
    assert_eq!(taken, None, "another was faster");
    let after = store::lease(tx.conn(), &role).await.unwrap().unwrap();
    assert_eq!((after.pulse, after.holder), (1, Some(other)));
    assert_eq!(store::lease(tx.conn(), &chain()).await.unwrap(), None);
}

async fn a_released_lease_is_free_and_its_holder_fenced_out(database: Database) {
    let (store, _database) = open(database).await;
    let (one, other) = (instance("one"), instance("other"));
    let mut tx = begin(&store).await;
    let fence = tx.take_lease(&chain(), &one).await.unwrap();
    tx.release_lease(&chain(), &other).await.unwrap();
    assert!(
        tx.claim_lease(CHAIN, fence).await.unwrap().is_some(),
        "only its holder releases it"
    );
    tx.release_lease(&chain(), &one).await.unwrap();
    assert_eq!(tx.claim_lease(CHAIN, fence).await.unwrap(), None);
    let free = store::lease(tx.conn(), &chain()).await.unwrap().unwrap();
    assert_eq!((free.holder.as_ref(), free.beat), (None, 1));
    let taken = tx
        .take_unmoved_lease(&chain(), Some(&free), &other)
        .await
        .unwrap();
    assert!(taken > Some(fence));
}

async fn a_reading_transaction_does_not_see_what_is_written_after_it(database: Database) {
    let (store, _database) = open(database).await;
    let mut reading = store.begin_read().await.unwrap();
    assert_eq!(store::beat(&mut reading, CHAIN).await.unwrap(), None);
    let mut tx = begin(&store).await;
    tx.take_lease(&chain(), &instance("one")).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(store::beat(&mut reading, CHAIN).await.unwrap(), None);
    drop(reading);
    let mut reading = store.begin_read().await.unwrap();
    assert_eq!(store::beat(&mut reading, CHAIN).await.unwrap(), Some(0));
}

async fn only_a_server_is_shared(database: Database) {
    let (store, _database) = open(database).await;
    assert_eq!(store.is_shared(), store.backend() == Backend::Postgres);
}

/// A process that is stopped in the middle of a transaction must not keep its locks: nobody could take its lease.
#[tokio::test]
async fn postgres_ends_a_transaction_that_waits_for_us_too_long() {
    let (store, _database) = open(Database::postgres()).await;
    let mut stuck = begin(&store).await;
    stuck.take_lease(&chain(), &instance("one")).await.unwrap();
    let waiting = async {
        let mut tx = begin(&store).await;
        let fence = tx.take_lease(&chain(), &instance("other")).await.unwrap();
        tx.commit().await.unwrap();
        fence
    };
    let fence = tokio::time::timeout(Duration::from_secs(15), waiting).await;
    assert_eq!(fence.unwrap(), 1, "what the other had written is gone");
    assert!(stuck.commit().await.is_err());
}

#[test]
fn an_sqlite_file_is_locked_under_all_of_its_names_until_the_lock_goes() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path(), &link).unwrap();
    let settings = |path: &std::path::Path, query: &str| StoreSettings {
        url: SecretString::from(format!("sqlite://{}/t.sqlite{query}", path.display())),
        max_connections: 1,
    };
    let (plain, linked) = (settings(directory.path(), ""), settings(&link, "?mode=rwc"));
    let lock = FileLock::take(&plain).unwrap();
    for settings in [&plain, &linked] {
        let refused = FileLock::take(settings).unwrap_err();
        assert!(matches!(refused, StoreError::InUse), "{refused}");
        assert!(refused.to_string().starts_with("store.url: "), "{refused}");
    }
    drop(lock);
    FileLock::take(&linked).unwrap();
    let nowhere = settings(&directory.path().join("nowhere"), "");
    let refused = FileLock::take(&nowhere).unwrap_err();
    assert!(matches!(refused, StoreError::Lock(_)), "{refused}");
}

#[test]
fn a_server_is_not_locked() {
    let settings = StoreSettings {
        url: SecretString::from("postgres://localhost/tollgate"),
        max_connections: 1,
    };
    let (_one, _other) = (
        FileLock::take(&settings).unwrap(),
        FileLock::take(&settings).unwrap(),
    );
}
