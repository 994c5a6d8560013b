//! API keys, and the answers that were given.

use tollgate::store::{self, ApiKey, Remembered};

use super::samples::{begin, open};
use crate::harness::databases::{Database, on_both};

on_both!(
    a_key_is_found_by_its_hash_and_revoked_once,
    an_answer_is_remembered_within_its_scope_until_it_is_old,
);

async fn a_key_is_found_by_its_hash_and_revoked_once(database: Database) {
    let (store, _database) = open(database).await;
    let key = |id: &str, byte, created_at| ApiKey {
        id: id.to_owned(),
        hash: vec![byte; 32],
        name: "für den Chat".to_owned(),
        scopes: "check billing".to_owned(),
        created_at,
        revoked_at: None,
    };
    let (late, early) = (key("a", 0, 20), key("b", 0xff, 10));
    let mut tx = begin(&store).await;
    tx.insert_api_key(&late).await.unwrap();
    tx.insert_api_key(&early).await.unwrap();
    assert_eq!(
        store::api_keys(tx.conn()).await.unwrap(),
        [early.clone(), late.clone()]
    );
    assert!(tx.revoke_api_key("a", 30).await.unwrap());
    assert!(!tx.revoke_api_key("a", 40).await.unwrap());
    assert!(!tx.revoke_api_key("unknown", 40).await.unwrap());
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    let found = store::api_key_by_hash(&mut conn, &[0xff; 32]).await.unwrap();
    assert_eq!(found, Some(early));
    let revoked = store::api_key_by_hash(&mut conn, &[0; 32])
        .await
        .unwrap()
        .unwrap();
    assert_eq!(revoked.revoked_at, Some(30));
    assert_eq!(store::api_key_by_hash(&mut conn, &[1; 32]).await.unwrap(), None);
    drop(conn);
    let mut tx = begin(&store).await;
    assert!(
        tx.insert_api_key(&key("c", 0, 50)).await.is_err(),
        "a hash is one key's"
    );
}

async fn an_answer_is_remembered_within_its_scope_until_it_is_old(database: Database) {
    let (store, _database) = open(database).await;
    let answer = |byte: u8| Remembered {
        fingerprint: vec![byte; 32],
        answer: format!("{{\"byte\": {byte}}}"),
    };
    let mut tx = begin(&store).await;
    assert_eq!(store::remembered_answer(tx.conn(), "s", "k").await.unwrap(), None);
    tx.remember_answer(("s", "k"), &answer(1), (10, 0)).await.unwrap();
    tx.remember_answer(("t", "k"), &answer(2), (20, 10))
        .await
        .unwrap();
    for (scope, byte) in [("s", 1), ("t", 2)] {
        let found = store::remembered_answer(tx.conn(), scope, "k").await.unwrap();
        assert_eq!(found, Some(answer(byte)));
    }
    tx.remember_answer(("s", "other"), &answer(3), (30, 11))
        .await
        .unwrap();
    assert_eq!(store::remembered_answer(tx.conn(), "s", "k").await.unwrap(), None);
    assert!(
        store::remembered_answer(tx.conn(), "t", "k")
            .await
            .unwrap()
            .is_some()
    );
    tx.commit().await.unwrap();
    let mut tx = begin(&store).await;
    let raced = tx
        .remember_answer(("t", "k"), &answer(9), (40, 0))
        .await
        .unwrap_err();
    assert!(raced.is_retryable(), "run again, it is recalled");
}
