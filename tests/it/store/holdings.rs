//! Watches, movements and balances.

use alloy::primitives::{Address, U256};
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

async fn a_watch_is_inserted_once_and_updated_with_and_without_its_columns(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    assert!(tx.insert_watch(CHAIN, TOKEN, 5).await.unwrap());
    assert!(!tx.insert_watch(CHAIN, TOKEN, 9).await.unwrap());
    assert!(tx.insert_watch(OTHER, TOKEN, 0).await.unwrap());
    let new = store::watches(tx.conn(), CHAIN).await.unwrap();
    let expected = Watch {
        chain: CHAIN,
        contract: TOKEN,
        from_number: 5,
        next_number: 5,
        next_parent: None,
        live_from: None,
        live_parent: None,
    };
    assert_eq!(new, [expected]);
    assert!(!expected.is_complete());
    let full = Watch {
        next_number: 12,
        next_parent: Some(hash(11)),
        live_from: Some(12),
        live_parent: Some(hash(11)),
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
        value,
    };
    let first: Vec<_> = (1..=120).map(|index| row(index, U256::from(index))).collect();
    let mut tx = begin(&store).await;
    tx.put_balances(CHAIN, &[]).await.unwrap();
    tx.put_balances(CHAIN, &first).await.unwrap();
    tx.put_balances(OTHER, &first[..1]).await.unwrap();
    let second = [row(1, U256::MAX), row(2, U256::ZERO), row(121, U256::ONE)];
    tx.put_balances(CHAIN, &second).await.unwrap();
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    let mut found = store::balances(&mut conn, CHAIN).await.unwrap();
    found.sort_by_key(|row| row.holder);
    let mut expected = first;
    expected[0] = second[0];
    expected[1] = second[1];
    expected.push(second[2]);
    assert_eq!(found, expected);
}

async fn a_restarted_watch_forgets_only_its_own_contract(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    for contract in [TOKEN, SECOND] {
        tx.insert_watch(CHAIN, contract, 3).await.unwrap();
        let watch = Watch {
            chain: CHAIN,
            contract,
            from_number: 3,
            next_number: 8,
            next_parent: Some(hash(7)),
            live_from: Some(8),
            live_parent: Some(hash(7)),
        };
        tx.update_watch(&watch).await.unwrap();
        let balance = BalanceRow {
            contract,
            holder: PAYER,
            value: U256::ONE,
        };
        tx.put_balances(CHAIN, &[balance]).await.unwrap();
        let index = u64::from(contract == SECOND);
        tx.insert_movements(CHAIN, &[movement(9, index, contract)])
            .await
            .unwrap();
    }
    tx.restart_watch(CHAIN, TOKEN, 2).await.unwrap();
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
    let balances = store::balances(&mut conn, CHAIN).await.unwrap();
    assert_eq!((balances.len(), balances[0].contract), (1, SECOND));
    let moved = store::movements_between(&mut conn, CHAIN, 0, 99).await.unwrap();
    assert_eq!((moved.len(), moved[0].contract), (1, SECOND));
}
