//! Sources, entitlements and customers.

use tollgate::domain::{Access, Entitlement, Interval, PlanId, Provider, Source, SourceState};
use tollgate::store;

use super::samples::{begin, open, tenant};
use crate::harness::databases::{Database, on_both};

on_both!(
    a_source_is_stored_whole_and_replaced,
    sources_come_in_one_order_for_one_tenant_and_for_all,
    an_entitlement_is_stored_whole_and_found_when_it_is_due,
    a_customer_belongs_to_the_last_tenant_named,
);

fn empty(provider: Provider, reference: &str, of: &str) -> Source {
    Source {
        provider,
        provider_ref: reference.to_owned(),
        tenant: tenant(of),
        plan: PlanId::from("pro"),
        interval: None,
        state: SourceState::Pending,
        period_start: None,
        period_end: None,
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

async fn a_source_is_stored_whole_and_replaced(database: Database) {
    let (store, _database) = open(database).await;
    let empty = empty(Provider::Stripe, "sub_1", "acme");
    let full = Source {
        tenant: tenant("globex"),
        plan: PlanId::from("enterprise"),
        interval: Some(Interval::Year),
        state: SourceState::PastDue,
        period_start: Some(1),
        period_end: Some(2),
        scheduled_end: Some(3),
        next: Some((PlanId::from("starter"), Interval::Month)),
        access_until: Some(6),
        ended_at: Some(7),
        trial_end: Some(4),
        first_unpaid_at: Some(5),
        version: i64::MAX,
        attention: Some("unknown status: \"fröhlich\" 🙂".to_owned()),
        ..empty.clone()
    };
    let mut tx = begin(&store).await;
    let find =
        async |tx: &mut store::WriteTx, provider| store::source(tx.conn(), provider, "sub_1").await.unwrap();
    assert_eq!(find(&mut tx, Provider::Stripe).await, None);
    for stored in [&empty, &full, &empty] {
        tx.put_source(stored).await.unwrap();
        assert_eq!(find(&mut tx, Provider::Stripe).await.as_ref(), Some(stored));
    }
    assert_eq!(find(&mut tx, Provider::Crypto).await, None);
    for state in [
        SourceState::Pending,
        SourceState::Trialing,
        SourceState::Active,
        SourceState::PastDue,
        SourceState::Restricted,
        SourceState::Paused,
        SourceState::Ended,
    ] {
        let stored = Source {
            state,
            ..full.clone()
        };
        tx.put_source(&stored).await.unwrap();
        assert_eq!(find(&mut tx, Provider::Stripe).await, Some(stored));
    }
}

async fn sources_come_in_one_order_for_one_tenant_and_for_all(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    let all = [
        empty(Provider::Stripe, "b", "acme"),
        empty(Provider::Crypto, "c", "acme"),
        empty(Provider::Stripe, "a", "acme"),
        empty(Provider::Stripe, "d", "aaa"),
    ];
    for source in &all {
        tx.put_source(source).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    let references = |sources: Vec<Source>| -> Vec<String> {
        sources.into_iter().map(|source| source.provider_ref).collect()
    };
    let found = store::sources(&mut conn, Some(&tenant("acme"))).await.unwrap();
    assert_eq!(references(found), ["c", "a", "b"]);
    let found = store::sources(&mut conn, None).await.unwrap();
    assert_eq!(references(found), ["d", "c", "a", "b"]);
    let found = store::sources(&mut conn, Some(&tenant("nobody"))).await;
    assert!(found.unwrap().is_empty());
}

async fn an_entitlement_is_stored_whole_and_found_when_it_is_due(database: Database) {
    let (store, _database) = open(database).await;
    let nothing = Entitlement {
        plan: None,
        access: Access::None,
        valid_until: None,
        decided_by: None,
    };
    let paid = |valid_until| Entitlement {
        plan: Some(PlanId::from("pro")),
        access: Access::Restricted,
        valid_until: Some(valid_until),
        decided_by: Some((Provider::Crypto, "acme/pro".to_owned())),
    };
    let mut tx = begin(&store).await;
    assert_eq!(
        store::entitlement(tx.conn(), &tenant("acme")).await.unwrap(),
        None
    );
    for (stored, sequence) in [(&nothing, 1), (&paid(500), 2), (&nothing, i64::MAX)] {
        tx.put_entitlement(&tenant("acme"), stored, None, sequence)
            .await
            .unwrap();
        let found = store::entitlement(tx.conn(), &tenant("acme")).await.unwrap();
        assert_eq!(found, Some((stored.clone(), sequence)));
    }
    for (name, valid_until, refold_at) in [("late", 700, 600), ("early", 500, 500)] {
        tx.put_entitlement(&tenant(name), &paid(valid_until), Some(refold_at), 1)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    for (now, limit, expected) in [
        (499, 9, vec![]),
        (500, 9, vec![tenant("early")]),
        (600, 9, vec![tenant("early"), tenant("late")]),
        (600, 1, vec![tenant("early")]),
    ] {
        let due = store::tenants_due(&mut conn, now, limit).await.unwrap();
        assert_eq!(due, expected, "{now} {limit}");
    }
    let mut all = store::entitlements(&mut conn).await.unwrap();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        all,
        [
            (tenant("acme"), nothing, i64::MAX),
            (tenant("early"), paid(500), 1),
            (tenant("late"), paid(700), 1),
        ]
    );
}

async fn a_customer_belongs_to_the_last_tenant_named(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    let find = async |tx: &mut store::WriteTx, provider| {
        store::customer_tenant(tx.conn(), provider, "cus_1")
            .await
            .unwrap()
    };
    assert_eq!(find(&mut tx, Provider::Stripe).await, None);
    for name in ["acme", "acme", "globex"] {
        tx.put_customer(Provider::Stripe, "cus_1", &tenant(name))
            .await
            .unwrap();
        assert_eq!(find(&mut tx, Provider::Stripe).await, Some(tenant(name)));
    }
    assert_eq!(find(&mut tx, Provider::Crypto).await, None);
}
