//! Watched contracts, the movements that a reorg may still take back, and settled balances.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, U256};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::value::{Columns, ROWS_PER_STATEMENT, int, value_lists};
use super::{StoreError, WriteTx};
use crate::domain::ChainId;

/// A contract whose transfers are folded into balances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// The chain.
    pub chain: ChainId,
    /// The contract.
    pub contract: Address,
    /// The first block that may hold a transfer of it.
    pub from_number: u64,
    /// The next block of its history to read.
    pub next_number: u64,
    /// The hash of the block below that one, where history has begun.
    pub next_parent: Option<B256>,
    /// From here on the chain's own blocks bring its transfers; `None` until its filter is active.
    pub live_from: Option<u64>,
    /// The hash of the block below that one: where history must end.
    pub live_parent: Option<B256>,
}

impl Watch {
    /// Whether every transfer up to the settled block is in the balances.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.live_from
            .is_some_and(|live_from| self.next_number >= live_from)
    }
}

/// One transfer of a watched contract, in a block that a reorg may still take back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Movement {
    /// The block.
    pub block_number: u64,
    /// The contract.
    pub contract: Address,
    /// Who has less after it; zero for a mint.
    pub sender: Address,
    /// Who has more after it; zero for a burn.
    pub recipient: Address,
    /// By how much: base units, or 1 for one ERC-721 token.
    pub quantity: U256,
}

/// One settled balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalanceRow {
    /// The contract.
    pub contract: Address,
    /// The holder.
    pub holder: Address,
    /// Base units, or the number of tokens.
    pub value: U256,
}

fn watch_from(row: &AnyRow) -> Result<Watch, StoreError> {
    Ok(Watch {
        chain: ChainId(row.unsigned("chain")?),
        contract: row.address("contract")?,
        from_number: row.unsigned("from_number")?,
        next_number: row.unsigned("next_number")?,
        next_parent: row.opt_hash("next_parent")?,
        live_from: row.opt_unsigned("live_from")?,
        live_parent: row.opt_hash("live_parent")?,
    })
}

/// The watched contracts of a chain.
///
/// # Errors
/// The database fails.
pub async fn watches(conn: &mut AnyConnection, chain: ChainId) -> Result<Vec<Watch>, StoreError> {
    let rows = sqlx::query("select * from watch where chain = $1 order by contract")
        .bind(int(chain.0))
        .fetch_all(conn)
        .await?;
    rows.iter().map(watch_from).collect()
}

/// The movements in blocks from `above` (exclusive) to `up_to` (inclusive).
///
/// # Errors
/// The database fails.
pub async fn movements_between(
    conn: &mut AnyConnection,
    chain: ChainId,
    above: u64,
    up_to: u64,
) -> Result<Vec<Movement>, StoreError> {
    let rows =
        sqlx::query("select * from movement where chain = $1 and block_number > $2 and block_number <= $3")
            .bind(int(chain.0))
            .bind(int(above))
            .bind(int(up_to))
            .fetch_all(conn)
            .await?;
    let mut movements = Vec::new();
    for row in &rows {
        unpack(row, &mut movements)?;
    }
    Ok(movements)
}

/// Bytes of one movement within its row.
const PACKED: usize = 20 + 20 + 32;

/// One row for all that a contract's transfers of one block moved: a block may hold hundreds.
fn pack(movements: &[&Movement]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(movements.len() * PACKED);
    for movement in movements {
        packed.extend_from_slice(movement.sender.as_slice());
        packed.extend_from_slice(movement.recipient.as_slice());
        packed.extend_from_slice(&movement.quantity.to_be_bytes::<32>());
    }
    packed
}

fn unpack(row: &AnyRow, movements: &mut Vec<Movement>) -> Result<(), StoreError> {
    let (block_number, contract) = (row.unsigned("block_number")?, row.address("contract")?);
    let packed = row.blob("moves")?;
    let (moves, rest) = packed.as_chunks::<PACKED>();
    if !rest.is_empty() {
        return Err(StoreError::Corrupt {
            column: "moves",
            expected: "whole movements",
        });
    }
    movements.extend(moves.iter().map(|packed| Movement {
        block_number,
        contract,
        sender: Address::from_slice(&packed[..20]),
        recipient: Address::from_slice(&packed[20..40]),
        quantity: U256::from_be_slice(&packed[40..]),
    }));
    Ok(())
}

/// Every settled balance of a chain that is not zero.
///
/// # Errors
/// The database fails.
pub async fn balances(conn: &mut AnyConnection, chain: ChainId) -> Result<Vec<BalanceRow>, StoreError> {
    let rows = sqlx::query("select contract, holder, value from balance where chain = $1")
        .bind(int(chain.0))
        .fetch_all(conn)
        .await?;
    let balance = |row: &AnyRow| {
        Ok(BalanceRow {
            contract: row.address("contract")?,
            holder: row.address("holder")?,
            value: row.quantity("value")?,
        })
    };
    rows.iter().map(balance).collect()
}

impl WriteTx {
    /// Watches a contract from `from_number` on, unless it is watched already.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_watch(
        &mut self,
        chain: ChainId,
        contract: Address,
        from_number: u64,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "insert into watch (chain, contract, from_number, next_number) values ($1, $2, $3, $3) \
             on conflict (chain, contract) do nothing",
        )
        .bind(int(chain.0))
        .bind(contract.to_vec())
        .bind(int(from_number))
        .execute(self.conn())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Stores how far a watched contract is.
    ///
    /// # Errors
    /// The database fails.
    pub async fn update_watch(&mut self, watch: &Watch) -> Result<(), StoreError> {
        sqlx::query(
            "update watch set next_number = $1, next_parent = $2, live_from = $3, live_parent = $4 \
             where chain = $5 and contract = $6",
        )
        .bind(int(watch.next_number))
        .bind(watch.next_parent.map(|hash| hash.to_vec()))
        .bind(watch.live_from.map(int))
        .bind(watch.live_parent.map(|hash| hash.to_vec()))
        .bind(int(watch.chain.0))
        .bind(watch.contract.to_vec())
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Stores movements of recent blocks.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_movements(
        &mut self,
        chain: ChainId,
        movements: &[Movement],
    ) -> Result<(), StoreError> {
        let mut by_row: BTreeMap<(u64, Address), Vec<&Movement>> = BTreeMap::new();
        for movement in movements {
            let row = (movement.block_number, movement.contract);
            by_row.entry(row).or_default().push(movement);
        }
        let rows: Vec<_> = by_row.into_iter().collect();
        for rows in rows.chunks(ROWS_PER_STATEMENT) {
            let lists = value_lists(rows.len(), 1, 3);
            let text = format!("insert into movement (chain, block_number, contract, moves) values {lists}");
            let mut query = sqlx::query(AssertSqlSafe(text)).bind(int(chain.0));
            for ((block_number, contract), movements) in rows {
                query = query
                    .bind(int(*block_number))
                    .bind(contract.to_vec())
                    .bind(pack(movements));
            }
            query.execute(self.conn()).await?;
        }
        Ok(())
    }

    /// Forgets the movements of blocks above `number`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete_movements_above(&mut self, chain: ChainId, number: u64) -> Result<(), StoreError> {
        sqlx::query("delete from movement where chain = $1 and block_number > $2")
            .bind(int(chain.0))
            .bind(int(number))
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Forgets everything that was folded of a contract, so that its history is read again from `from_number` on.
    ///
    /// # Errors
    /// The database fails.
    pub async fn restart_watch(
        &mut self,
        chain: ChainId,
        contract: Address,
        from_number: u64,
    ) -> Result<(), StoreError> {
        for statement in [
            "delete from balance where chain = $1 and contract = $2",
            "delete from movement where chain = $1 and contract = $2",
        ] {
            let query = sqlx::query(statement).bind(int(chain.0)).bind(contract.to_vec());
            query.execute(self.conn()).await?;
        }
        sqlx::query(
            "update watch set from_number = $1, next_number = $1, next_parent = null, live_from = null, \
             live_parent = null where chain = $2 and contract = $3",
        )
        .bind(int(from_number))
        .bind(int(chain.0))
        .bind(contract.to_vec())
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Stores balances as they are now.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_balances(&mut self, chain: ChainId, balances: &[BalanceRow]) -> Result<(), StoreError> {
        let mut balances: Vec<&BalanceRow> = balances.iter().collect();
        // In the order of the key, so that neighbours are written together.
        balances.sort_unstable_by_key(|balance| (balance.contract, balance.holder));
        for of_contract in balances.chunk_by(|one, next| one.contract == next.contract) {
            for rows in of_contract.chunks(ROWS_PER_STATEMENT) {
                self.put_balances_of_one(chain, rows).await?;
            }
        }
        Ok(())
    }

    async fn put_balances_of_one(&mut self, chain: ChainId, rows: &[&BalanceRow]) -> Result<(), StoreError> {
        let Some(first) = rows.first() else {
            return Ok(());
        };
        let lists = value_lists(rows.len(), 2, 2);
        let text = format!(
            "insert into balance (chain, contract, holder, value) values {lists} \
             on conflict (chain, contract, holder) do update set value = excluded.value"
        );
        let mut query = sqlx::query(AssertSqlSafe(text))
            .bind(int(chain.0))
            .bind(first.contract.to_vec());
        for balance in rows {
            query = query
                .bind(balance.holder.to_vec())
                .bind(balance.value.to_be_bytes_vec());
        }
        query.execute(self.conn()).await?;
        Ok(())
    }
}
