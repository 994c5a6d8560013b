//! What hinders payments in tokens.

use tollgate::domain::{Hindrance, Notice};
use tollgate::store;

use super::samples::{CHAIN, OTHER, PAYER, TOKEN, begin, hash, open};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::column;

on_both!(
    the_newest_notice_of_each_counts,
    old_notices_are_forgotten_but_for_the_newest,
);

fn paused(block_number: u64, holds: bool) -> Notice {
    Notice {
        token: TOKEN,
        hindrance: Hindrance::TokenPaused,
        block_number,
        holds,
    }
}

async fn the_newest_notice_of_each_counts(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    let listed = Notice {
        hindrance: Hindrance::TreasuryBlacklisted,
        ..paused(7, true)
    };
    let of_another = Notice {
        token: PAYER,
        ..paused(3, true)
    };
    for notice in [
        paused(5, true),
        paused(9, false),
        paused(9, true),
        listed,
        of_another,
    ] {
        tx.put_notice(CHAIN, &notice).await.unwrap();
    }
    tx.put_notice(OTHER, &paused(1, true)).await.unwrap();
    let all = store::notices(tx.conn(), CHAIN).await.unwrap();
    assert_eq!(
        all,
        [paused(9, true), listed, of_another],
        "of one block the last"
    );
    tx.delete_notices_above(CHAIN, 6).await.unwrap();
    let below = store::notices(tx.conn(), CHAIN).await.unwrap();
    assert_eq!(below, [paused(5, true), of_another]);
    tx.delete_notices_above(CHAIN, 0).await.unwrap();
    assert!(store::notices(tx.conn(), CHAIN).await.unwrap().is_empty());
    assert_eq!(store::notices(tx.conn(), OTHER).await.unwrap(), [paused(1, true)]);
    tx.insert_chain(OTHER, hash(1), 0).await.unwrap();
    tx.wipe_chain(OTHER).await.unwrap();
    assert!(store::notices(tx.conn(), OTHER).await.unwrap().is_empty());
}

async fn old_notices_are_forgotten_but_for_the_newest(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    for block in [2, 4, 6, 8] {
        tx.put_notice(CHAIN, &paused(block, block == 6)).await.unwrap();
        tx.put_notice(OTHER, &paused(block, true)).await.unwrap();
    }
    tx.prune_below(CHAIN, 7, 7).await.unwrap();
    tx.commit().await.unwrap();
    let kept = "select block_number from token_notice where chain = 137 order by block_number";
    assert_eq!(column(&store, kept).await, ["6", "8"]);
    let others = "select block_number from token_notice where chain = 1";
    assert_eq!(column(&store, others).await.len(), 4);
}
