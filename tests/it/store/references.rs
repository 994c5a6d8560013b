//! References of charges, and the secret behind them.

use tollgate::domain::{Reference, TokenDomain};
use tollgate::store;

use super::samples::{CHAIN, OTHER, PAYER, TOKEN, begin, hash, open};
use crate::harness::databases::{Database, on_both};

on_both!(
    a_reference_is_found_by_its_nonce_on_its_token,
    a_secret_is_made_once,
    the_domains_of_a_chains_tokens_are_replaced,
);

async fn a_reference_is_found_by_its_nonce_on_its_token(database: Database) {
    let (store, _database) = open(database).await;
    let offered = Reference {
        chain: CHAIN,
        token: TOKEN,
        nonce: hash(1),
        charge: "one".parse().unwrap(),
        n: u32::MAX,
        used_at: None,
    };
    let used = Reference {
        used_at: Some(-1),
        ..offered.clone()
    };
    let mut tx = begin(&store).await;
    for stored in [&offered, &used] {
        tx.put_reference(stored).await.unwrap();
        let found = store::references(tx.conn(), (CHAIN, TOKEN), &[hash(2), hash(1)]).await;
        assert_eq!(found.unwrap(), std::slice::from_ref(stored));
    }
    for (place, nonce) in [
        ((OTHER, TOKEN), hash(1)),
        ((CHAIN, PAYER), hash(1)),
        ((CHAIN, TOKEN), hash(2)),
    ] {
        let found = store::references(tx.conn(), place, &[nonce]).await.unwrap();
        assert!(found.is_empty(), "{found:?}");
    }
}

async fn a_secret_is_made_once(database: Database) {
    let (store, _database) = open(database).await;
    for (name, fresh, expected) in [("a", 1, 1), ("a", 2, 1), ("b", 3, 3)] {
        let mut tx = begin(&store).await;
        let secret = tx.server_secret(name, hash(fresh)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(secret, hash(expected));
    }
}

async fn the_domains_of_a_chains_tokens_are_replaced(database: Database) {
    let (store, _database) = open(database).await;
    let domain = |token, version: &str| TokenDomain {
        token,
        name: "USD Coin".to_owned(),
        version: version.to_owned(),
    };
    let mut tx = begin(&store).await;
    let both = [domain(TOKEN, "2"), domain(PAYER, "1")];
    tx.set_token_domains(CHAIN, &both).await.unwrap();
    tx.set_token_domains(OTHER, &both).await.unwrap();
    let one = [domain(TOKEN, "3")];
    tx.set_token_domains(CHAIN, &one).await.unwrap();
    assert_eq!(store::token_domains(tx.conn(), CHAIN).await.unwrap(), one);
    assert_eq!(store::token_domains(tx.conn(), OTHER).await.unwrap(), both);
}
