//! Payments, their observations, and the views for people.

use std::collections::BTreeMap;

use tollgate::domain::{
    Amount, Asset, Authorization, ChargeId, Decider, Flags, Grounds, Level, MatchRule, Payment, PaymentFlag,
    PaymentState, WalletOwner,
};
use tollgate::store::{self, BalanceRow, Observation, StoreError};

use super::samples::{
    CHAIN, MOST, OTHER, PAYER, TOKEN, begin, block, charge, full_charge, hash, open, payment, payment_of,
    tenant, user,
};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::rows;

on_both!(
    a_payment_is_stored_whole_and_replaced,
    payments_are_found_by_charge_state_and_height,
    a_payment_of_nobody_is_found_by_what_it_may_be_meant_for,
    observations_are_marked_and_never_deleted,
    the_views_for_people_say_the_same,
    what_does_not_fit_its_column_is_named,
);

async fn a_payment_is_stored_whole_and_replaced(database: Database) {
    let (store, _database) = open(database).await;
    let first = payment(1, 5);
    let mut flags = Flags::default();
    for flag in [
        PaymentFlag::WrongToken,
        PaymentFlag::WrongChain,
        PaymentFlag::Ambiguous,
        PaymentFlag::Held,
    ] {
        flags.set(flag, true);
    }
    let moved = Payment {
        state: PaymentState::Orphaned,
        token: PAYER,
        payer: TOKEN,
        treasury: PAYER,
        amount: Amount::from(1),
        block: block(6, 6),
        block_time_ms: -1,
        log_index: 9,
        level: Level::Ranged,
        allocation: Some(("one".parse().unwrap(), MatchRule::ExactAmount)),
        grounds: Grounds {
            named: BTreeMap::from([(MatchRule::ExactAmount, vec!["one".parse().unwrap()])]),
            meant: vec!["other".parse().unwrap()],
            authorization: Some(Authorization {
                authorizer: PAYER,
                nonce: hash(9),
                log_index: 8,
            }),
            wallet: Some(WalletOwner {
                tenant: tenant("acme"),
                user: user("jo"),
            }),
            decider: Some(Decider {
                actor: "key:1".to_owned(),
                note: Some("as \"they\" said".to_owned()),
            }),
        },
        flags,
        ..first.clone()
    };
    let mut second_log = first.clone();
    second_log.key.ordinal = u32::MAX;
    let mut tx = begin(&store).await;
    assert_eq!(store::payment(tx.conn(), &first.key).await.unwrap(), None);
    tx.put_payment(&second_log).await.unwrap();
    for stored in [&first, &moved, &first] {
        tx.put_payment(stored).await.unwrap();
        let found = store::payment(tx.conn(), &first.key).await.unwrap();
        assert_eq!(found.as_ref(), Some(stored));
    }
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    let found = store::payment(&mut conn, &second_log.key).await.unwrap();
    assert_eq!(
        found.as_ref(),
        Some(&second_log),
        "another log of the same transaction"
    );
    let hashes = [first.key.tx_hash, hash(7)];
    let mut all = store::payments_of_transactions(&mut conn, CHAIN, &hashes)
        .await
        .unwrap();
    all.sort_by_key(|payment| payment.key.ordinal);
    assert_eq!(all, [first, second_log]);
    let elsewhere = store::payments_of_transactions(&mut conn, OTHER, &hashes).await;
    assert!(elsewhere.unwrap().is_empty());
}

async fn payments_are_found_by_charge_state_and_height(database: Database) {
    let (store, _database) = open(database).await;
    let orphaned = Payment {
        state: PaymentState::Orphaned,
        ..payment_of(1, 3, "one")
    };
    let confirmed = Payment {
        state: PaymentState::Confirmed,
        ..payment_of(2, 4, "one")
    };
    let mut earlier_in_its_block = payment_of(3, 5, "one");
    earlier_in_its_block.log_index = 1;
    let mut of_another_chain = payment_of(4, 5, "other");
    of_another_chain.key.chain = OTHER;
    let all = [
        payment_of(5, 5, "one"),
        earlier_in_its_block,
        payment(6, 9),
        of_another_chain,
        confirmed,
        orphaned,
    ];
    let mut tx = begin(&store).await;
    tx.put_payments(&all).await.unwrap();
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    let seeds = |found: Vec<Payment>| -> Vec<u8> { found.iter().map(|one| one.key.tx_hash[0]).collect() };
    let of_charge = store::payments_of_charge(&mut conn, &"one".parse().unwrap()).await;
    assert_eq!(
        seeds(of_charge.unwrap()),
        [1, 2, 3, 5],
        "in the order of the chain, orphaned too"
    );
    let both = ["one".parse().unwrap(), "other".parse().unwrap()];
    let of_both = store::payments_of_charges(&mut conn, &both).await.unwrap();
    assert_eq!(of_both.len(), 5);
    let confirming = store::payments_up_to(&mut conn, CHAIN, PaymentState::Confirming, 8)
        .await
        .unwrap();
    assert_eq!(seeds(confirming), [3, 5]);
    let confirming = store::payments_up_to(&mut conn, CHAIN, PaymentState::Confirming, 9)
        .await
        .unwrap();
    assert_eq!(seeds(confirming), [3, 5, 6]);
    let confirmed = store::payments_up_to(&mut conn, CHAIN, PaymentState::Confirmed, 9)
        .await
        .unwrap();
    assert_eq!(seeds(confirmed), [2]);
    let above = store::payments_above(&mut conn, CHAIN, 2).await.unwrap();
    assert_eq!(seeds(above), [2, 3, 5, 6], "in force");
    let above = store::payments_above(&mut conn, CHAIN, 5).await.unwrap();
    assert_eq!(seeds(above), [6]);
    let between = store::payments_between(&mut conn, CHAIN, 3, 5).await.unwrap();
    assert_eq!(seeds(between), [1, 2, 3, 5], "orphaned too");
}

async fn a_payment_of_nobody_is_found_by_what_it_may_be_meant_for(database: Database) {
    let (store, _database) = open(database).await;
    let (one, other) = ("one".parse().unwrap(), "other".parse().unwrap());
    let mut tx = begin(&store).await;
    let (later, sooner) = (payment(1, 6), payment(2, 5));
    for payment in [&later, &sooner] {
        tx.put_payment(payment).await.unwrap();
        let named = [&one, &other].map(Clone::clone);
        tx.put_candidates(&payment.key, &named).await.unwrap();
    }
    let of = |charge: &ChargeId, payment: &Payment| (charge.clone(), payment.clone());
    let wanted = [one.clone(), "unknown".parse().unwrap()];
    let found = store::payments_meant_for(tx.conn(), &wanted).await.unwrap();
    assert_eq!(found, [of(&one, &sooner), of(&one, &later)]);
    tx.put_candidates(&later.key, std::slice::from_ref(&one))
        .await
        .unwrap();
    let wanted = [other.clone()];
    let found = store::payments_meant_for(tx.conn(), &wanted).await.unwrap();
    assert_eq!(found, [of(&other, &sooner)], "they are replaced");
    tx.put_payment(&payment_of(2, 5, "other")).await.unwrap();
    let wanted = [one.clone()];
    let found = store::payments_meant_for(tx.conn(), &wanted).await.unwrap();
    assert_eq!(
        found,
        [of(&one, &later)],
        "what is given to a charge is meant for it"
    );
}

async fn observations_are_marked_and_never_deleted(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    for number in [3, 4, 5] {
        tx.put_observations(&[payment(1, number)]).await.unwrap();
    }
    let query = "select block_number, canonical from observation order by block_number";
    let seen = store::observations_between(tx.conn(), CHAIN, 4, 4).await.unwrap();
    let expected = Observation {
        key: payment(1, 4).key,
        block_number: 4,
        block_hash: payment(1, 4).block.hash,
        log_index: payment(1, 4).log_index,
    };
    assert_eq!(seen, [expected]);
    tx.orphan_observations_above(CHAIN, 3).await.unwrap();
    let canonical = store::observations_between(tx.conn(), CHAIN, 0, 9).await.unwrap();
    assert_eq!(
        canonical.iter().map(|one| one.block_number).collect::<Vec<_>>(),
        [3]
    );
    tx.orphan_observations_above(OTHER, 0).await.unwrap();
    // Its block is canonical again.
    tx.put_observations(&[payment(1, 5)]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(rows(&store, query).await, [["3", "1"], ["4", "0"], ["5", "1"]]);
}

async fn the_views_for_people_say_the_same(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    tx.insert_charge(&full_charge("full")).await.unwrap();
    tx.insert_charge(&charge("empty")).await.unwrap();
    tx.put_payment(&payment_of(1, 5, "full")).await.unwrap();
    tx.put_payment(&payment(2, 6)).await.unwrap();
    let balance = BalanceRow {
        contract: TOKEN,
        holder: PAYER,
        asset: Asset::all(tollgate::domain::Standard::Erc20),
        value: MOST.0,
    };
    tx.put_balances(CHAIN, &[balance]).await.unwrap();
    tx.commit().await.unwrap();
    let hex = |byte: &str, count| format!("0x{}", byte.repeat(count));
    let payments = rows(
        &store,
        "select tx_hash, token, payer, amount, block_hash, tenant from v_payments order by block_number",
    );
    let most = MOST.to_string();
    assert_eq!(
        payments.await,
        [
            [
                hex("01", 32),
                hex("bb", 20),
                hex("cc", 20),
                most.clone(),
                hex("05", 32),
                "acme".to_owned()
            ],
            [
                hex("02", 32),
                hex("bb", 20),
                hex("cc", 20),
                most.clone(),
                hex("06", 32),
                "?".to_owned()
            ],
        ]
    );
    let charges = rows(
        &store,
        "select id, token, treasury, due, product from v_charges order by id",
    );
    let plan = "plan:pro:month".to_owned();
    assert_eq!(
        charges.await,
        [
            [
                "empty".to_owned(),
                hex("bb", 20),
                hex("aa", 20),
                "15000001".to_owned(),
                plan.clone()
            ],
            ["full".to_owned(), hex("bb", 20), hex("aa", 20), most, plan],
        ]
    );
    let balances = rows(&store, "select chain, contract, holder, value from v_balances").await;
    assert_eq!(
        balances,
        [["137".to_owned(), hex("bb", 20), hex("cc", 20), hex("ff", 32)]]
    );
    for view in ["v_payments", "v_charges", "v_balances"] {
        let all = rows(&store, &format!("select * from {view}")).await;
        assert!(!all.is_empty(), "{view}");
    }
}

async fn what_does_not_fit_its_column_is_named(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    tx.put_payment(&payment(1, 5)).await.unwrap();
    for (set, column) in [
        ("ordinal = 4294967296", "ordinal"),
        ("amount = '1.5'", "amount"),
        ("amount = '-1'", "amount"),
        ("state = 'lost'", "state"),
        ("block_number = -1", "block_number"),
        ("level = ''", "level"),
        ("charge = 'two words'", "charge"),
    ] {
        let text = sqlx::AssertSqlSafe(format!("update payment set {set}"));
        sqlx::query(text).execute(tx.conn()).await.unwrap();
        let found = store::payments_above(tx.conn(), CHAIN, 0).await;
        let found = match found {
            // A negative height is below every other.
            Ok(none) if none.is_empty() => {
                store::payments_up_to(tx.conn(), CHAIN, PaymentState::Confirming, 9).await
            }
            found => found,
        };
        assert!(
            matches!(&found, Err(StoreError::Corrupt { column: named, .. }) if *named == column),
            "{set}: {found:?}"
        );
        sqlx::query("delete from payment")
            .execute(tx.conn())
            .await
            .unwrap();
        tx.put_payment(&payment(1, 5)).await.unwrap();
    }
}
