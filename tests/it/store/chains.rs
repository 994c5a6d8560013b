//! Heights, headers, and what is forgotten.

use tollgate::domain::{Asset, ChainId, Heights, Held, Reference, Scope, Settled, Standard};
use tollgate::store::{self, BalanceRow, Movement, Role};

use super::samples::{
    CHAIN, MOST, OTHER, PAYER, TOKEN, begin, block, charge, hash, header, instance, open, payment,
};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::column;

on_both!(
    a_chain_is_stored_with_and_without_heights,
    what_holds_a_chain_is_stored,
    headers_are_kept_in_order_and_forgotten_from_both_ends,
    a_header_of_the_same_height_is_refused,
    a_wiped_chain_leaves_others_alone,
);

async fn a_chain_is_stored_with_and_without_heights(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    assert_eq!(store::chain_row(tx.conn(), CHAIN).await.unwrap(), None);
    tx.insert_chain(CHAIN, hash(1), 7).await.unwrap();
    tx.insert_chain(OTHER, hash(2), 0).await.unwrap();
    let new = store::chain_row(tx.conn(), CHAIN).await.unwrap().unwrap();
    assert_eq!(
        (new.genesis, new.start_number, new.heights),
        (hash(1), 7, Heights::default())
    );
    let heights = Heights {
        head: 0,
        read: Some(block(12, 12)),
        settled: Some(block(10, 10)),
        settled_time_ms: 120_000,
        upper: [
            None,
            Some(Settled {
                block: block(9, 9),
                time_ms: 108_000,
            }),
            None,
        ],
        finalized: Some(block(8, 8)),
        absent_ms: 96_000,
    };
    tx.set_heights(CHAIN, &heights).await.unwrap();
    tx.commit().await.unwrap();

    let mut conn = store.read().await.unwrap();
    let rows = store::chain_rows(&mut conn).await.unwrap();
    let found: Vec<_> = rows.iter().map(|row| (row.chain, row.heights)).collect();
    assert_eq!(found, [(OTHER, Heights::default()), (CHAIN, heights)]);

    let mut tx = begin(&store).await;
    tx.set_heights(CHAIN, &Heights::default()).await.unwrap();
    let emptied = store::chain_row(tx.conn(), CHAIN).await.unwrap().unwrap();
    assert_eq!(emptied.heights, Heights::default());
    let again = tx.insert_chain(CHAIN, hash(1), 7).await.unwrap_err();
    assert!(again.is_retryable(), "another registered it first: {again}");
}

async fn what_holds_a_chain_is_stored(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    tx.insert_chain(CHAIN, hash(1), 7).await.unwrap();
    let row = store::chain_row(tx.conn(), CHAIN).await.unwrap().unwrap();
    assert_eq!(
        (row.policy.as_str(), row.stalled, row.quarantined),
        ("", None, None)
    );
    let held = |reason: &str| {
        Some(Held {
            since: 5,
            reason: reason.to_owned(),
        })
    };
    for (stalled, quarantined) in [
        (held("the tag went backwards"), None),
        (held("both"), held("below \"final\"")),
        (None, None),
    ] {
        tx.set_held(CHAIN, stalled.as_ref(), quarantined.as_ref())
            .await
            .unwrap();
        let row = store::chain_row(tx.conn(), CHAIN).await.unwrap().unwrap();
        assert_eq!((row.stalled, row.quarantined), (stalled, quarantined));
    }
    tx.set_policy(CHAIN, "low,high").await.unwrap();
    tx.set_start(CHAIN, 9).await.unwrap();
    let row = store::chain_row(tx.conn(), CHAIN).await.unwrap().unwrap();
    assert_eq!((row.policy.as_str(), row.start_number), ("low,high", 9));
}

async fn headers_are_kept_in_order_and_forgotten_from_both_ends(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    for number in [3, 1, 2, 5, 4] {
        tx.insert_header(CHAIN, &header(number)).await.unwrap();
    }
    tx.insert_header(OTHER, &header(9)).await.unwrap();
    let kept = store::headers(tx.conn(), CHAIN).await.unwrap();
    let numbers: Vec<_> = kept.iter().map(|kept| kept.block.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    assert_eq!(
        (kept[2].block, kept[2].parent_hash, kept[2].time_ms),
        (block(3, 3), hash(2), 36_000)
    );
    assert_eq!(
        store::header_at(tx.conn(), CHAIN, 3).await.unwrap(),
        Some(kept[2])
    );
    assert_eq!(store::header_at(tx.conn(), CHAIN, 9).await.unwrap(), None);

    let movement = |block_number| Movement {
        block_number,
        contract: TOKEN,
        sender: PAYER,
        recipient: PAYER,
        quantity: MOST.0,
        asset: Asset::all(Standard::Erc20),
    };
    let movements: Vec<_> = (1..=5).map(movement).collect();
    tx.insert_movements(CHAIN, &movements).await.unwrap();
    let some = store::headers_at(tx.conn(), CHAIN, &[2, 9, 5]).await.unwrap();
    let mut some: Vec<_> = some.iter().map(|kept| kept.block.number).collect();
    some.sort_unstable();
    assert_eq!(some, [2, 5]);
    assert!(store::headers_at(tx.conn(), CHAIN, &[]).await.unwrap().is_empty());
    for (time, newest) in [
        (35_999, Some(2)),
        (36_000, Some(3)),
        (99_999, Some(5)),
        (11_999, None),
    ] {
        let found = store::header_by_time(tx.conn(), CHAIN, time).await.unwrap();
        assert_eq!(found.map(|kept| kept.block.number), newest, "{time}");
    }
    tx.delete_headers_above(CHAIN, 4).await.unwrap();
    tx.prune_below(CHAIN, 3, 2).await.unwrap();
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    let kept = store::headers(&mut conn, CHAIN).await.unwrap();
    let numbers: Vec<_> = kept.iter().map(|kept| kept.block.number).collect();
    assert_eq!(numbers, [3, 4]);
    let lowest = store::lowest_header(&mut conn, CHAIN).await.unwrap();
    assert_eq!(lowest.map(|kept| kept.block), Some(block(3, 3)));
    let moved = store::movements_between(&mut conn, CHAIN, 0, 9).await.unwrap();
    assert_eq!(moved.len(), 4, "only those below go with the old headers");
    assert_eq!(store::headers(&mut conn, OTHER).await.unwrap().len(), 1);
}

async fn a_header_of_the_same_height_is_refused(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    tx.insert_header(CHAIN, &header(3)).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = begin(&store).await;
    let mut beside = header(3);
    beside.hash = hash(0x33);
    assert!(tx.insert_header(CHAIN, &beside).await.is_err());
    drop(tx);
    let mut conn = store.read().await.unwrap();
    let kept = store::header_at(&mut conn, CHAIN, 3).await.unwrap().unwrap();
    assert_eq!(kept.block.hash, hash(3));
}

/// A watch that has got somewhere, and a balance of its contract.
async fn hold(tx: &mut store::WriteTx, chain: ChainId) {
    let coins = Scope::of(Standard::Erc20);
    tx.insert_watch(chain, TOKEN, (5, coins)).await.unwrap();
    let mut watch = store::watches(tx.conn(), chain).await.unwrap()[0];
    watch.live_from = Some(9);
    watch.next_number = 9;
    watch.first_moved = Some(6);
    watch.malformed_at = Some(7);
    watch.crowded_at = Some(8);
    tx.update_watch(&watch).await.unwrap();
    let balance = BalanceRow {
        contract: TOKEN,
        holder: PAYER,
        asset: Asset::all(Standard::Erc20),
        value: MOST.0,
    };
    tx.put_balances(chain, &[balance]).await.unwrap();
}

async fn a_wiped_chain_leaves_others_alone(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    for chain in [CHAIN, OTHER] {
        tx.insert_chain(chain, hash(1), 0).await.unwrap();
        tx.take_lease(&Role::Chain(chain), &instance("one"))
            .await
            .unwrap();
        tx.insert_header(chain, &header(3)).await.unwrap();
        hold(&mut tx, chain).await;
        let mut charge = charge(&format!("of-{chain}"));
        charge.terms.chain = chain;
        tx.insert_charge(&charge).await.unwrap();
        tx.lease_amount(&charge.terms, (0, 0), (0, 0)).await.unwrap();
        let mut payment = payment(1, 3);
        payment.key.chain = chain;
        tx.put_payment(&payment).await.unwrap();
        tx.put_observations(std::slice::from_ref(&payment)).await.unwrap();
        tx.put_candidates(&payment.key, std::slice::from_ref(&charge.terms.id))
            .await
            .unwrap();
        tx.put_reference(&Reference {
            chain,
            token: TOKEN,
            nonce: charge.reference,
            charge: charge.terms.id.clone(),
            n: 0,
            used_at: None,
        })
        .await
        .unwrap();
    }
    tx.wipe_chain(CHAIN).await.unwrap();
    tx.commit().await.unwrap();
    for table in [
        "chain",
        "header",
        "balance",
        "charge",
        "amount_lease",
        "payment",
        "payment_candidate",
        "charge_reference",
        "observation",
    ] {
        let chains = column(&store, &format!("select chain from {table}")).await;
        assert_eq!(chains, ["1"], "{table}");
    }
    let leases = column(&store, "select role from lease order by role").await;
    assert_eq!(leases, ["chain:1", "chain:137"], "its leader still leads it");
    let mut conn = store.read().await.unwrap();
    let watch = store::watches(&mut conn, CHAIN).await.unwrap()[0];
    assert_eq!(
        (watch.from_number, watch.next_number, watch.live_from),
        (5, 5, None),
        "it is still watched, from its beginning"
    );
    let noted = [watch.first_moved, watch.malformed_at, watch.crowded_at];
    assert_eq!(noted, [None; 3]);
}
