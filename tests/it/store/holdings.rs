//! Watches, movements and balances.

use alloy::primitives::{Address, U256};
use tollgate::domain::{Asset, Scope, Standard, TokenId};
use tollgate::store::{self, BalanceRow, Movement, Watch};

use super::samples::{CHAIN, OTHER, PAYER, TOKEN, begin, hash, open};
use crate::harness::databases::{Database, on_both};

on_both!(
    a_watch_is_inserted_once_and_updated_with_and_without_its_columns,
    movements_of_more_rows_than_a_statement_holds_are_found_by_height,
    balances_are_replaced_and_hold_every_value,
    a_restarted_watch_forgets_only_its_own_contract,
);

const SECOND: Address = Address::repeat_byte(0x02);
const COINS: Scope = Scope::of(Standard::Erc20);
const PASSES: Scope = Scope::of(Standard::Erc1155).with_ids();

const fn token(id: u64) -> Asset {
    Asset::one(Standard::Erc1155, TokenId(U256::from_limbs([id, 0, 0, u64::MAX])))
}

async fn a_watch_is_inserted_once_and_updated_with_and_without_its_columns(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    assert!(tx.insert_watch(CHAIN, TOKEN, (5, COINS)).await.unwrap());
    assert!(!tx.insert_watch(CHAIN, TOKEN, (9, PASSES)).await.unwrap());
    assert!(tx.insert_watch(OTHER, TOKEN, (0, PASSES)).await.unwrap());
    let new = store::watches(tx.conn(), CHAIN).await.unwrap();
    let expected = Watch {
        chain: CHAIN,
        contract: TOKEN,
        scope: COINS,
        from_number: 5,
        next_number: 5,
        next_parent: None,
        live_from: None,
        live_parent: None,
        first_moved: None,
        malformed_at: None,
        crowded_at: None,
    };
    assert_eq!(new, [expected]);
    assert!(!expected.is_complete());
    let full = Watch {
        next_number: 12,
        next_parent: Some(hash(11)),
        live_from: Some(12),
        live_parent: Some(hash(11)),
        first_moved: Some(6),
        malformed_at: Some(7),
        crowded_at: Some(8),
        ..expected
    };
    assert!(full.is_complete());
    tx.update_watch(&full).await.unwrap();
    assert_eq!(store::watches(tx.conn(), CHAIN).await.unwrap(), [full]);
    tx.update_watch(&expected).await.unwrap();
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    assert_eq!(store::watches(&mut conn, CHAIN).await.unwrap(), [expected]);
    assert_eq!(store::watches(&mut conn, OTHER).await.unwrap().len(), 1);
}

fn movement(block_number: u64, index: u64, contract: Address) -> Movement {
    Movement {
        block_number,
        contract,
        sender: Address::ZERO,
        recipient: PAYER,
        quantity: U256::MAX - U256::from(index),
        asset: if index.is_multiple_of(2) {
            Asset::all(Standard::Erc20)
        } else {
            token(index)
        },
    }
}

async fn movements_of_more_rows_than_a_statement_holds_are_found_by_height(database: Database) {
    let (store, _database) = open(database).await;
    // 246 rows: in each of 123 blocks one contract moves twice, the other once.
    let all: Vec<_> = (0..369)
        .map(|index| movement(10 + index / 3, index, if index % 3 == 2 { SECOND } else { TOKEN }))
        .collect();
    let mut tx = begin(&store).await;
    tx.insert_movements(CHAIN, &[]).await.unwrap();
    tx.insert_movements(CHAIN, &all).await.unwrap();
    tx.insert_movements(OTHER, &all[..1]).await.unwrap();
    let mut found = store::movements_between(tx.conn(), CHAIN, 0, u64::MAX)
        .await
        .unwrap();
    found.sort_by_key(|movement| U256::MAX - movement.quantity);
    assert_eq!(found, all);
    let count = async |tx: &mut store::WriteTx, above, up_to| {
        store::movements_between(tx.conn(), CHAIN, above, up_to)
            .await
            .unwrap()
            .len()
    };
    assert_eq!(count(&mut tx, 10, 11).await, 3, "above the one, up to the other");
    assert_eq!(count(&mut tx, 12, 12).await, 0);
    tx.delete_movements_above(CHAIN, 10).await.unwrap();
    assert_eq!(count(&mut tx, 0, 999).await, 3);
    tx.commit().await.unwrap();
    let mut tx = begin(&store).await;
    assert!(
        tx.insert_movements(CHAIN, &all[..1]).await.is_err(),
        "a contract's movements of a block are stored once"
    );
}

async fn balances_are_replaced_and_hold_every_value(database: Database) {
    let (store, _database) = open(database).await;
    let row = |index: u8, value| BalanceRow {
        contract: TOKEN,
        holder: Address::repeat_byte(index),
        asset: Asset::all(Standard::Erc1155),
        value,
    };
    let first: Vec<_> = (1..=120).map(|index| row(index, U256::from(index))).collect();
    let mut tx = begin(&store).await;
    tx.put_balances(CHAIN, &[]).await.unwrap();
    tx.put_balances(CHAIN, &first).await.unwrap();
    tx.put_balances(OTHER, &first[..1]).await.unwrap();
    let held = |index: u8, id: u64, value: u64| BalanceRow {
        asset: token(id),
        ..row(index, U256::from(value))
    };
    let second = [row(1, U256::MAX), row(2, U256::ZERO), row(121, U256::ONE)];
    tx.put_balances(CHAIN, &[held(1, 7, 3), held(1, 8, 4), held(3, 7, 5)])
        .await
        .unwrap();
    // Nobody holds them any more: 60 tokens that have no rows, and one that has.
    let gone: Vec<_> = (0..60).map(|id| held(9, id, 0)).chain([held(1, 7, 0)]).collect();
    tx.put_balances(CHAIN, &gone).await.unwrap();
    tx.put_balances(CHAIN, &second).await.unwrap();
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    let mut found = store::balances(&mut conn, CHAIN).await.unwrap();
    found.sort_by_key(|row| (row.holder, row.asset));
    let mut expected = first;
    expected[0] = second[0];
    expected.push(second[2]);
    expected.extend([held(1, 8, 4), held(3, 7, 5)]);
    // What nobody holds has no row.
    expected.retain(|row| row.holder != second[1].holder);
    expected.sort_by_key(|row| (row.holder, row.asset));
    assert_eq!(found, expected);
}

async fn a_restarted_watch_forgets_only_its_own_contract(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    for contract in [TOKEN, SECOND] {
        tx.insert_watch(CHAIN, contract, (3, COINS)).await.unwrap();
        let watch = Watch {
            chain: CHAIN,
            contract,
            scope: COINS,
            from_number: 3,
            next_number: 8,
            next_parent: Some(hash(7)),
            live_from: Some(8),
            live_parent: Some(hash(7)),
            first_moved: Some(4),
            malformed_at: Some(5),
            crowded_at: Some(6),
        };
        tx.update_watch(&watch).await.unwrap();
        let balance = BalanceRow {
            contract,
            holder: PAYER,
            asset: token(1),
            value: U256::ONE,
        };
        tx.put_balances(CHAIN, &[balance]).await.unwrap();
        let index = u64::from(contract == SECOND);
        tx.insert_movements(CHAIN, &[movement(9, index, contract)])
            .await
            .unwrap();
    }
    tx.restart_watch(CHAIN, TOKEN, (2, PASSES)).await.unwrap();
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    let watches = store::watches(&mut conn, CHAIN).await.unwrap();
    assert_eq!(watches[0].live_from, Some(8), "{SECOND} is as it was");
    assert_eq!(
        (
            watches[1].from_number,
            watches[1].next_number,
            watches[1].next_parent,
            watches[1].live_from,
            watches[1].live_parent
        ),
        (2, 2, None, None, None)
    );
    let noted = [
        watches[1].first_moved,
        watches[1].malformed_at,
        watches[1].crowded_at,
    ];
    assert_eq!((watches[1].scope, noted), (PASSES, [None; 3]));
    let balances = store::balances(&mut conn, CHAIN).await.unwrap();
    assert_eq!((balances.len(), balances[0].contract), (1, SECOND));
    let moved = store::movements_between(&mut conn, CHAIN, 0, 99).await.unwrap();
    assert_eq!((moved.len(), moved[0].contract), (1, SECOND));
}
