//! Gates, nonces and wallets.

use alloy::primitives::{Address, U256};
use tollgate::domain::{
    Aggregation, Amount, ContractAt, Contracts, Gate, GateAction, IdMatch, IdRange, Rule, TokenId,
    WalletLink, WalletOwner,
};
use tollgate::store::{self, Nonce, WalletRelease};

use super::samples::{CHAIN, MOST, TOKEN, begin, open, tenant, user};
use crate::harness::databases::{Database, on_both};

on_both!(
    a_gate_is_stored_whole_and_removed_by_its_tenant,
    a_gate_is_changed_by_its_tenant,
    a_nonce_is_used_once_and_forgotten_long_after,
    a_wallet_is_linked_once_in_each_tenant,
    a_wallet_that_was_released_is_remembered_for_a_while,
);

/// A leaf of each type but one.
fn other_leaves() -> Vec<Rule> {
    vec![
        Rule::Erc20Balance {
            contracts: Contracts::Many {
                contracts: vec![ContractAt {
                    decimals: Some(6),
                    ..ContractAt::new(CHAIN, TOKEN)
                }],
            },
            at_least: None,
            at_most: Some(MOST),
            aggregation: Aggregation::Sum,
        },
        Rule::Erc721Token {
            contracts: Contracts::one(CHAIN, TOKEN),
            ids: vec![TokenId(MOST.0)],
            ranges: vec![IdRange {
                from: TokenId(U256::ZERO),
                to: TokenId(MOST.0),
            }],
        },
        Rule::Erc1155Balance {
            contracts: Contracts::one(CHAIN, TOKEN),
            ids: vec![TokenId(U256::ZERO)],
            at_least: MOST,
            id_match: IdMatch::All,
            aggregation: Aggregation::PerWallet,
        },
        Rule::PlanActive { plan: "pro".into() },
        Rule::Allowlist {
            wallets: vec![TOKEN],
            users: vec![user("jo")],
        },
    ]
}

async fn a_gate_is_stored_whole_and_removed_by_its_tenant(database: Database) {
    let (store, _database) = open(database).await;
    let leaf = |at_least| Rule::Erc721Balance {
        contracts: Contracts::one(CHAIN, TOKEN),
        at_least,
        aggregation: Aggregation::PerWallet,
    };
    let simple = Gate {
        id: "gate-b".parse().unwrap(),
        tenant: tenant("acme"),
        name: "Mitglieder — 🙂".to_owned(),
        description: None,
        enabled: false,
        action: GateAction::GrantAccess,
        rule: leaf(MOST),
        created_at: 5,
    };
    let tree = Rule::AtLeast {
        k: 1,
        of: vec![
            Rule::Not {
                of: Box::new(leaf(Amount::from(2))),
            },
            Rule::Any {
                of: vec![leaf(Amount::from(3))],
            },
            Rule::All {
                of: vec![leaf(Amount::from(4))],
            },
            Rule::Any { of: other_leaves() },
        ],
    };
    let full = Gate {
        id: "gate-a".parse().unwrap(),
        description: Some("it's \"quoted\"".to_owned()),
        enabled: true,
        action: GateAction::UnlockChannel {
            channel_id: "general".to_owned(),
        },
        rule: tree,
        ..simple.clone()
    };
    let mut tx = begin(&store).await;
    tx.insert_gate(&simple).await.unwrap();
    tx.insert_gate(&full).await.unwrap();
    let gates = store::gates(tx.conn()).await.unwrap();
    assert_eq!(gates, [full.clone(), simple.clone()]);
    assert!(!tx.delete_gate(&tenant("globex"), &full.id).await.unwrap());
    assert!(tx.delete_gate(&tenant("acme"), &full.id).await.unwrap());
    assert!(!tx.delete_gate(&tenant("acme"), &full.id).await.unwrap());
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    assert_eq!(store::gates(&mut conn).await.unwrap(), [simple]);
}

async fn a_gate_is_changed_by_its_tenant(database: Database) {
    let (store, _database) = open(database).await;
    let simple = Gate {
        id: "gate-b".parse().unwrap(),
        tenant: tenant("acme"),
        name: "Members".to_owned(),
        description: None,
        enabled: false,
        action: GateAction::GrantAccess,
        rule: Rule::PlanActive { plan: "pro".into() },
        created_at: 5,
    };
    let changed = Gate {
        name: "Friends".to_owned(),
        description: Some("of ours".to_owned()),
        enabled: true,
        action: GateAction::GrantRole {
            role_id: "friend".to_owned(),
        },
        rule: Rule::Any { of: other_leaves() },
        ..simple.clone()
    };
    let (acme, globex) = (tenant("acme"), tenant("globex"));
    let mut tx = begin(&store).await;
    tx.insert_gate(&simple).await.unwrap();
    let theirs = Gate {
        tenant: globex.clone(),
        ..changed.clone()
    };
    tx.update_gate(&theirs).await.unwrap();
    let found = store::gate(tx.conn(), &acme, &simple.id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&simple), "another tenant's is not touched");
    assert_eq!(store::gate(tx.conn(), &globex, &simple.id).await.unwrap(), None);
    tx.update_gate(&changed).await.unwrap();
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    let found = store::gate(&mut conn, &acme, &simple.id).await.unwrap();
    assert_eq!(found, Some(changed));
}

async fn a_nonce_is_used_once_and_forgotten_long_after(database: Database) {
    let (store, _database) = open(database).await;
    let nonce = |expires_at| Nonce {
        tenant: tenant("acme"),
        user: user("jo"),
        expires_at,
        used_at: None,
    };
    let mut tx = begin(&store).await;
    assert_eq!(store::nonce(tx.conn(), "first").await.unwrap(), None);
    tx.insert_nonce("first", &nonce(100), (0, 9)).await.unwrap();
    assert_eq!(store::nonce(tx.conn(), "first").await.unwrap(), Some(nonce(100)));
    assert!(tx.use_nonce("first", 50).await.unwrap());
    assert!(!tx.use_nonce("first", 60).await.unwrap());
    assert!(!tx.use_nonce("unknown", 60).await.unwrap());
    let used = store::nonce(tx.conn(), "first").await.unwrap().unwrap();
    assert_eq!(used.used_at, Some(50));
    tx.insert_nonce("second", &nonce(200), (100, 9)).await.unwrap();
    assert!(store::nonce(tx.conn(), "first").await.unwrap().is_some());
    tx.insert_nonce("third", &nonce(300), (101, 9)).await.unwrap();
    assert_eq!(store::nonce(tx.conn(), "first").await.unwrap(), None);
    tx.commit().await.unwrap();
    let mut tx = begin(&store).await;
    assert!(tx.insert_nonce("third", &nonce(300), (0, 9)).await.is_err());
}

async fn a_wallet_is_linked_once_in_each_tenant(database: Database) {
    let (store, _database) = open(database).await;
    let link = |of: &str, by: &str, byte| WalletLink {
        tenant: tenant(of),
        user: user(by),
        address: Address::repeat_byte(byte),
        linked_at: i64::from(byte),
    };
    let all = [
        link("acme", "jo", 2),
        link("acme", "jo", 1),
        link("globex", "ann", 1),
        link("initech", "bob", 1),
        link("umbrella", "eve", 1),
    ];
    let mut tx = begin(&store).await;
    for link in &all {
        tx.insert_wallet_link(link).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    let first = Address::repeat_byte(1);
    let found = store::wallet_link(&mut conn, &tenant("globex"), first).await;
    assert_eq!(found.unwrap(), Some(all[2].clone()));
    let unknown = store::wallet_link(&mut conn, &tenant("acme"), Address::ZERO).await;
    assert_eq!(unknown.unwrap(), None);
    let of_jo = store::wallet_links_of(&mut conn, &tenant("acme"), &user("jo")).await;
    assert_eq!(of_jo.unwrap(), [all[1].clone(), all[0].clone()]);
    let at = store::wallets_at(&mut conn, first).await.unwrap();
    assert_eq!(at, all[1..4], "three, in the order of their tenants");
    let wallets = [first, Address::ZERO, Address::repeat_byte(2)];
    let owners = store::sole_owners(&mut conn, &wallets).await.unwrap();
    let jo = WalletOwner {
        tenant: tenant("acme"),
        user: user("jo"),
    };
    assert_eq!(
        owners,
        [(Address::repeat_byte(2), jo)],
        "the other one is four people's"
    );
    let every = store::wallet_links(&mut conn).await.unwrap();
    let addresses: Vec<_> = every.iter().map(|link| link.address[0]).collect();
    assert_eq!(addresses, [1, 1, 1, 1, 2]);
    drop(conn);
    let mut tx = begin(&store).await;
    let taken = tx.insert_wallet_link(&link("acme", "eve", 1)).await;
    assert!(taken.unwrap_err().is_retryable(), "then it is found, and refused");
}

async fn a_wallet_that_was_released_is_remembered_for_a_while(database: Database) {
    let (store, _database) = open(database).await;
    let address = Address::repeat_byte(1);
    let link = |of: &str, by: &str| WalletLink {
        tenant: tenant(of),
        user: user(by),
        address,
        linked_at: 1,
    };
    let mut tx = begin(&store).await;
    for link in [link("acme", "jo"), link("globex", "ann")] {
        tx.insert_wallet_link(&link).await.unwrap();
    }
    let none = store::wallet_release(tx.conn(), &tenant("acme"), address).await;
    assert_eq!(none.unwrap(), None);
    tx.release_wallet(&link("acme", "jo"), 10, 0).await.unwrap();
    tx.release_wallet(&link("acme", "eve"), 20, 0).await.unwrap();
    let release = store::wallet_release(tx.conn(), &tenant("acme"), address).await;
    let last = WalletRelease {
        user: user("eve"),
        released_at: 20,
    };
    assert_eq!(release.unwrap(), Some(last));
    let left = store::wallet_links(tx.conn()).await.unwrap();
    assert_eq!(left, [link("globex", "ann")]);
    tx.release_wallet(&link("globex", "ann"), 30, 20).await.unwrap();
    let forgotten = store::wallet_release(tx.conn(), &tenant("acme"), address).await;
    assert_eq!(forgotten.unwrap(), None);
}
