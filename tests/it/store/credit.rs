//! Tenants' credit, and what is to follow their periods.

use alloy::primitives::I256;
use tollgate::domain::{
    Credit, CreditEntry, CreditKind, Interval, PlanChange, PlanId, Provider, Source, SourceState,
};
use tollgate::store::{self, Store};

use super::samples::{begin, open, tenant};
use crate::harness::databases::{Database, on_both};

on_both!(
    an_entry_is_stored_whole_and_entries_come_newest_first,
    a_balance_is_replaced_and_kept_by_unit,
    a_wish_for_another_plan_is_replaced_and_taken_back,
    a_source_is_reminded_of_each_end_and_day_once,
);

fn entry(of: &str, amount: Credit, kind: CreditKind) -> CreditEntry {
    CreditEntry {
        tenant: tenant(of),
        unit: "USD".to_owned(),
        amount,
        kind,
        charge: "chg_1".parse().unwrap(),
        actor: "chain:1".to_owned(),
        cause: "block 7".to_owned(),
        at: i64::MIN,
    }
}

async fn an_entry_is_stored_whole_and_entries_come_newest_first(database: Database) {
    let (store, _database) = open(database).await;
    let entries = [
        entry("acme", Credit(I256::MIN), CreditKind::Excess),
        entry("acme", Credit(I256::MAX), CreditKind::SetAside),
        entry("acme", Credit::ZERO, CreditKind::Repaid),
        entry("acme", Credit(I256::ONE), CreditKind::UnusedTime),
    ];
    let mut tx = begin(&store).await;
    for stored in entries
        .iter()
        .chain([&entry("globex", Credit::ZERO, CreditKind::Excess)])
    {
        tx.insert_credit_entry(stored).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    let acme = tenant("acme");
    let first = store::credit_entries(&mut conn, &acme, i64::MAX, 3)
        .await
        .unwrap();
    let last = store::credit_entries(&mut conn, &acme, first[2].0, 3)
        .await
        .unwrap();
    let found: Vec<_> = first.into_iter().chain(last).map(|(_, entry)| entry).collect();
    assert_eq!(found, entries.into_iter().rev().collect::<Vec<_>>());
}

async fn a_balance_is_replaced_and_kept_by_unit(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    for (of, unit, balance) in [
        ("acme", "USD", Credit(I256::MAX)),
        ("acme", "ETH", Credit::ZERO),
        ("acme", "USD", Credit(I256::MIN)),
        ("globex", "USD", Credit(I256::ONE)),
    ] {
        tx.put_credit(&tenant(of), unit, balance).await.unwrap();
    }
    let found = store::credit_balances(tx.conn(), &tenant("acme")).await.unwrap();
    let expected = [
        ("ETH".to_owned(), Credit::ZERO),
        ("USD".to_owned(), Credit(I256::MIN)),
    ];
    assert_eq!(found, expected);
}

async fn a_wish_for_another_plan_is_replaced_and_taken_back(database: Database) {
    let (store, _database) = open(database).await;
    let acme = tenant("acme");
    let lower = PlanChange {
        next: Some((PlanId::from("starter"), Interval::Year)),
        at: 7,
    };
    let end = PlanChange {
        next: None,
        at: i64::MAX,
    };
    let mut tx = begin(&store).await;
    assert_eq!(store::plan_change(tx.conn(), &acme).await.unwrap(), None);
    for change in [Some(&lower), Some(&end), Some(&lower), None, None] {
        tx.put_plan_change(&acme, change).await.unwrap();
        tx.put_plan_change(&tenant("globex"), Some(&end)).await.unwrap();
        assert_eq!(
            store::plan_change(tx.conn(), &acme).await.unwrap().as_ref(),
            change
        );
    }
}

fn source(reference: &str, provider: Provider, state: SourceState, period_end: i64) -> Source {
    Source {
        provider,
        provider_ref: reference.to_owned(),
        tenant: tenant("acme"),
        plan: PlanId::from("pro"),
        interval: None,
        state,
        period_start: None,
        period_end: Some(period_end),
        scheduled_end: None,
        next: None,
        access_until: None,
        ended_at: None,
        trial_end: None,
        first_unpaid_at: None,
        version: 0,
        attention: None,
    }
}

async fn due(store: &Store, now: i64, days: i64, limit: i64) -> Vec<String> {
    let mut conn = store.read().await.unwrap();
    let found = store::sources_to_remind(&mut conn, now, (days, days * 10), limit).await;
    found
        .unwrap()
        .into_iter()
        .map(|(_, reference)| reference)
        .collect()
}

async fn a_source_is_reminded_of_each_end_and_day_once(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    for source in [
        source("b", Provider::Crypto, SourceState::Active, 101),
        source("a", Provider::Crypto, SourceState::Active, 100),
        source("ended", Provider::Crypto, SourceState::Ended, 100),
        source("elsewhere", Provider::Stripe, SourceState::Active, 100),
    ] {
        tx.put_source(&source).await.unwrap();
    }
    tx.commit().await.unwrap();
    assert!(due(&store, 29, 7, 9).await.is_empty());
    assert_eq!(due(&store, 30, 7, 9).await, ["a"]);
    assert_eq!(due(&store, 99, 7, 9).await, ["a", "b"]);
    assert_eq!(due(&store, 99, 7, 1).await, ["a"]);
    assert_eq!(due(&store, 100, 7, 9).await, ["b"], "its end is past");

    let mut tx = begin(&store).await;
    tx.insert_reminder("a", 100, 3, 70).await.unwrap();
    let twice = tx.insert_reminder("a", 100, 3, 71).await.unwrap_err();
    assert!(twice.is_retryable());
    drop(tx);
    let mut tx = begin(&store).await;
    tx.insert_reminder("a", 100, 3, 70).await.unwrap();
    tx.insert_reminder("b", 100, 3, 70).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        due(&store, 90, 7, 9).await,
        ["b"],
        "a was told at three days, so not at seven"
    );
    assert_eq!(due(&store, 99, 1, 9).await, ["a", "b"]);
}
