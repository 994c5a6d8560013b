//! What people say and decide of payments: dispositions, claims and refunds.

use tollgate::domain::{
    Charge, Claim, Disposition, Payment, PaymentFlag, PaymentState, Refund, RefundProof, RefundState,
};
use tollgate::store::{self, PaymentFilter};

use super::samples::{
    CHAIN, MOST, OTHER, PAYER, TOKEN, TREASURY, begin, block, charge, hash, open, payment, payment_of,
    tenant, user,
};
use crate::harness::databases::{Database, on_both};

on_both!(
    a_disposition_outlives_what_the_chain_does,
    claims_are_replaced_counted_and_forgotten,
    a_refund_is_stored_whole_and_found,
    one_transfer_proves_one_refund,
    the_refunds_that_a_block_and_those_above_prove_are_found,
    payments_are_found_by_what_is_known_of_them,
    a_page_begins_where_the_one_before_ended,
    charges_are_found_by_when_they_were_made,
);

async fn a_disposition_outlives_what_the_chain_does(database: Database) {
    let (store, _database) = open(database).await;
    let (first, second) = (payment(1, 5), payment(2, 5));
    let mut tx = begin(&store).await;
    assert_eq!(store::disposition(tx.conn(), &first.key).await.unwrap(), None);
    tx.put_payment(&first).await.unwrap();
    tx.put_payment(&second).await.unwrap();
    for said in [Some(Disposition::Refunded), None, Some(Disposition::Ignored)] {
        tx.set_disposition(&first.key, said).await.unwrap();
        tx.put_payment(&first).await.unwrap();
        assert_eq!(store::disposition(tx.conn(), &first.key).await.unwrap(), said);
    }
    assert_eq!(store::disposition(tx.conn(), &second.key).await.unwrap(), None);
}

fn claim(of: u8, by: &str) -> Claim {
    Claim {
        tx_hash: hash(of),
        tenant: tenant("acme"),
        user: user(by),
        charge: None,
        claimed_at: 100,
        applied_at: None,
    }
}

async fn claims_are_replaced_counted_and_forgotten(database: Database) {
    let (store, _database) = open(database).await;
    let first = claim(1, "alice");
    let again = Claim {
        charge: Some((CHAIN, "one".parse().unwrap())),
        claimed_at: 200,
        ..first.clone()
    };
    let other = Claim {
        tenant: tenant("beta"),
        claimed_at: 150,
        ..claim(1, "alice")
    };
    let mut tx = begin(&store).await;
    for claim in [&first, &other, &claim(2, "alice"), &again] {
        tx.put_claim(claim, 0).await.unwrap();
    }
    assert_eq!(
        store::claims_of(tx.conn(), hash(1)).await.unwrap(),
        [other.clone(), again.clone()],
        "oldest first, one for each user"
    );
    let acme = tenant("acme");
    let waiting = |since| (acme.clone(), since);
    for ((tenant, since), count) in [(waiting(99), 2), (waiting(100), 1), (waiting(200), 0)] {
        let counted = store::waiting_claims(tx.conn(), &tenant, since).await.unwrap();
        assert_eq!(counted, count, "since {since}");
    }
    let applied = Claim {
        applied_at: Some(300),
        ..again
    };
    tx.put_claim(&applied, 0).await.unwrap();
    assert_eq!(store::waiting_claims(tx.conn(), &acme, 0).await.unwrap(), 1);
    let late = Claim {
        claimed_at: 900,
        ..claim(3, "bob")
    };
    tx.put_claim(&late, 500).await.unwrap();
    assert!(
        store::claims_of(tx.conn(), hash(2)).await.unwrap().is_empty(),
        "never applied, and old"
    );
    assert_eq!(
        store::claims_of(tx.conn(), hash(1)).await.unwrap(),
        [other, applied],
        "another tenant's, and what was applied"
    );
}

fn pending(id: &str, of: u8) -> Refund {
    Refund {
        id: id.parse().unwrap(),
        payment: payment(of, 5).key,
        tx_hash: hash(0xaa),
        amount: MOST,
        state: RefundState::Pending,
        reason: "paid — twice".to_owned(),
        actor: "key:one".to_owned(),
        recorded_at: 100,
        look_at: 200,
        proof: None,
        problem: None,
    }
}

fn proven(id: &str, of: u8, ordinal: u32) -> Refund {
    Refund {
        state: RefundState::Confirmed,
        look_at: 300,
        proof: Some(RefundProof {
            ordinal,
            log_index: u64::from(ordinal) + 7,
            sent: MOST,
            block: block(7, 7),
        }),
        problem: Some("none".to_owned()),
        ..pending(id, of)
    }
}

async fn a_refund_is_stored_whole_and_found(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    let first = pending("ref_1", 1);
    let later = Refund {
        recorded_at: 101,
        look_at: 100,
        ..pending("ref_2", 1)
    };
    let of_another = Refund {
        tx_hash: hash(0xbb),
        look_at: 900,
        ..pending("ref_3", 2)
    };
    for refund in [&later, &first, &of_another] {
        tx.put_refund(refund).await.unwrap();
    }
    let both = [first.clone(), later.clone()];
    assert_eq!(store::refunds_of(tx.conn(), &first.payment).await.unwrap(), both);
    assert_eq!(
        store::refunds_by_hash(tx.conn(), CHAIN, hash(0xaa))
            .await
            .unwrap(),
        both
    );
    let elsewhere = store::refunds_by_hash(tx.conn(), OTHER, hash(0xaa)).await;
    assert_eq!(elsewhere.unwrap(), []);
    let due = store::refunds_due(tx.conn(), 200, 10).await.unwrap();
    assert_eq!(due, [later.clone(), first.clone()], "longest due first");
    assert_eq!(store::refunds_due(tx.conn(), 200, 1).await.unwrap(), [later]);
    let confirmed = proven("ref_1", 1, u32::MAX);
    tx.put_refund(&confirmed).await.unwrap();
    assert_eq!(store::refund(tx.conn(), "ref_1").await.unwrap(), Some(confirmed));
    assert_eq!(store::refund(tx.conn(), "ref_9").await.unwrap(), None);
    let due = store::refunds_due(tx.conn(), 200, 10).await.unwrap();
    assert_eq!(due.len(), 1, "what is decided is looked at no more");
}

async fn one_transfer_proves_one_refund(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    tx.put_refund(&proven("ref_1", 1, 0)).await.unwrap();
    tx.put_refund(&proven("ref_2", 2, 1)).await.unwrap();
    let found = store::logs_of_refunds(tx.conn(), CHAIN, block(7, 7))
        .await
        .unwrap();
    assert_eq!(found.len(), 2);
    assert!(found.contains(&7) && found.contains(&8), "{found:?}");
    for (chain, block) in [(OTHER, block(7, 7)), (CHAIN, block(7, 8)), (CHAIN, block(8, 7))] {
        let found = store::logs_of_refunds(tx.conn(), chain, block).await.unwrap();
        assert_eq!(found, Vec::<u64>::new());
    }
    // Also where it is said to be of another transaction.
    let of_another_hash = Refund {
        tx_hash: hash(0xbb),
        ..proven("ref_3", 3, 0)
    };
    let twice = tx.put_refund(&of_another_hash).await;
    assert!(twice.is_err(), "{twice:?}");
}

async fn the_refunds_that_a_block_and_those_above_prove_are_found(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    tx.put_refund(&proven("ref_1", 1, 0)).await.unwrap();
    tx.put_refund(&pending("ref_2", 2)).await.unwrap();
    for (chain, number, count) in [(CHAIN, 7, 1), (CHAIN, 0, 1), (CHAIN, 8, 0), (OTHER, 7, 0)] {
        let found = store::refunds_proven_from(tx.conn(), chain, number)
            .await
            .unwrap();
        assert_eq!(found.len(), count, "{chain} from {number}");
    }
    tx.put_refund(&pending("ref_1", 1)).await.unwrap();
    let found = store::refunds_proven_from(tx.conn(), CHAIN, 7).await.unwrap();
    assert_eq!(found, [], "and not once they are looked for again");
}

/// A filter with what is set.
fn only(set: impl FnOnce(&mut PaymentFilter)) -> PaymentFilter {
    let mut filter = PaymentFilter::default();
    set(&mut filter);
    filter
}

async fn payments_are_found_by_what_is_known_of_them(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    tx.insert_charge(&charge("one")).await.unwrap();
    let mut of_another_chain = payment(4, 9);
    of_another_chain.key.chain = OTHER;
    of_another_chain.payer = TREASURY;
    of_another_chain.treasury = PAYER;
    let mut flagged = payment(5, 2);
    flagged.flags.set(PaymentFlag::Ambiguous, true);
    let orphaned = Payment {
        state: PaymentState::Orphaned,
        ..payment(3, 8)
    };
    let all = [
        payment(1, 5),
        payment_of(2, 6, "one"),
        orphaned,
        of_another_chain,
        flagged,
    ];
    for payment in &all {
        tx.put_payment(payment).await.unwrap();
    }
    tx.set_disposition(&payment(1, 5).key, Some(Disposition::Ignored))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    for (filter, seeds) in [
        (PaymentFilter::default(), vec![4, 3, 2, 1, 5]),
        (only(|filter| filter.chain = Some(OTHER)), vec![4]),
        (only(|filter| filter.tx_hash = Some(hash(2))), vec![2]),
        (only(|filter| filter.address = Some(PAYER)), vec![4, 3, 2, 1, 5]),
        (only(|filter| filter.address = Some(TOKEN)), vec![]),
        (only(|filter| filter.tenant = Some(tenant("acme"))), vec![2]),
        (only(|filter| filter.tenant = Some(tenant("beta"))), vec![]),
        (only(|filter| filter.charge = "one".parse().ok()), vec![2]),
        (
            only(|filter| filter.state = Some(PaymentState::Orphaned)),
            vec![3],
        ),
        (only(|filter| filter.unmatched = true), vec![4, 5]),
        (only(|filter| filter.flag = Some(PaymentFlag::Ambiguous)), vec![5]),
        (only(|filter| filter.flag = Some(PaymentFlag::WrongToken)), vec![]),
        (
            only(|filter| {
                filter.chain = Some(CHAIN);
                filter.unmatched = true;
            }),
            vec![5],
        ),
    ] {
        let found = store::search_payments(&mut conn, &filter, None, 10)
            .await
            .unwrap();
        let found: Vec<u8> = found.iter().map(|one| one.payment.key.tx_hash[0]).collect();
        assert_eq!(found, seeds, "{filter:?}");
    }
}

async fn a_page_begins_where_the_one_before_ended(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    tx.insert_charge(&charge("one")).await.unwrap();
    for payment in [
        payment(1, 5),
        payment_of(2, 6, "one"),
        payment(3, 8),
        payment(4, 9),
    ] {
        tx.put_payment(&payment).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    let second = (payment(3, 8).block_time_ms, payment(3, 8).key);
    let page = store::search_payments(&mut conn, &PaymentFilter::default(), Some(&second), 2)
        .await
        .unwrap();
    let page: Vec<u8> = page.iter().map(|one| one.payment.key.tx_hash[0]).collect();
    assert_eq!(page, [2, 1]);
    let found = store::found_payment(&mut conn, &payment(2, 6).key)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.payment, found.tenant),
        (payment_of(2, 6, "one"), Some(tenant("acme")))
    );
    assert_eq!(
        store::found_payment(&mut conn, &payment(9, 6).key).await.unwrap(),
        None
    );
}

async fn charges_are_found_by_when_they_were_made(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    for (id, of, made) in [("a", "acme", 10), ("b", "beta", 20), ("c", "acme", 30)] {
        let mut charge = charge(id);
        charge.terms.tenant = tenant(of);
        charge.terms.created_at = made;
        charge.reference = hash(id.as_bytes()[0]);
        tx.insert_charge(&charge).await.unwrap();
    }
    let ids =
        |found: Vec<Charge>| -> Vec<String> { found.iter().map(|one| one.terms.id.to_string()).collect() };
    let between = store::charges_made_between(tx.conn(), (10, 20), 9).await.unwrap();
    assert_eq!(ids(between), ["b", "a"], "newest first");
    let newest = store::charges_made_between(tx.conn(), (0, 90), 1).await.unwrap();
    assert_eq!(ids(newest), ["c"]);
}
