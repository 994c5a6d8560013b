//! The keys of receipts.

use tollgate::store::{self, ReceiptKey};

use super::samples::{begin, hash, open};
use crate::harness::databases::{Database, on_both};

on_both!(keys_are_retired_together_and_forgotten_when_they_are_old);

fn key(kid: &str, created_at: i64) -> ReceiptKey {
    ReceiptKey {
        kid: kid.to_owned(),
        seed: hash(u8::try_from(created_at).unwrap()),
        created_at,
        retired_at: None,
    }
}

async fn keys_are_retired_together_and_forgotten_when_they_are_old(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    assert_eq!(store::receipt_keys(tx.conn()).await.unwrap(), []);
    for key in [key("one", 1), key("three", 3), key("two", 2)] {
        tx.insert_receipt_key(&key).await.unwrap();
    }
    let stored = store::receipt_keys(tx.conn()).await.unwrap();
    assert_eq!(stored, [key("three", 3), key("two", 2), key("one", 1)]);
    let shown = format!("{stored:?}");
    assert!(shown.contains("three") && !shown.contains("seed"), "{shown}");

    tx.retire_receipt_keys(10, 9).await.unwrap();
    tx.insert_receipt_key(&key("four", 4)).await.unwrap();
    tx.retire_receipt_keys(20, 9).await.unwrap();
    let stored = store::receipt_keys(tx.conn()).await.unwrap();
    let retired: Vec<_> = stored
        .iter()
        .map(|key| (key.kid.as_str(), key.retired_at))
        .collect();
    let ten = Some(10);
    assert_eq!(
        retired,
        [("four", Some(20)), ("three", ten), ("two", ten), ("one", ten)],
        "when one was retired is not said again"
    );
    tx.retire_receipt_keys(30, 10).await.unwrap();
    let stored = store::receipt_keys(tx.conn()).await.unwrap();
    assert_eq!(stored.len(), 1, "{stored:?}");
}
