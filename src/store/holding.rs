//! Watched contracts, the movements that a reorg may still take back, and settled balances.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, U256};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::value::{Columns, ROWS_PER_STATEMENT, int, value_lists};
use super::{StoreError, WriteTx};
use crate::domain::{Asset, ChainId, Scope, Standard, TokenId};

/// A contract whose transfers are folded into balances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// The chain.
    pub chain: ChainId,
    /// The contract.
    pub contract: Address,
    /// What is kept of it.
    pub scope: Scope,
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
    /// The lowest block in which something of it moved.
    pub first_moved: Option<u64>,
    /// The lowest block with a log of it that cannot be understood.
    pub malformed_at: Option<u64>,
    /// The lowest block from which on its tokens are not kept one by one.
    pub crowded_at: Option<u64>,
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
    /// By how much: base units, or tokens.
    pub quantity: U256,
    /// Of what; a token where its contract's tokens are kept one by one.
    pub asset: Asset,
}

/// One settled balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BalanceRow {
    /// The contract.
    pub contract: Address,
    /// The holder.
    pub holder: Address,
    /// What is held.
    pub asset: Asset,
    /// Base units, or the number of tokens.
    pub value: U256,
}

fn watch_from(row: &AnyRow) -> Result<Watch, StoreError> {
    Ok(Watch {
        chain: ChainId(row.unsigned("chain")?),
        contract: row.address("contract")?,
        scope: scope_from(row)?,
        from_number: row.unsigned("from_number")?,
        next_number: row.unsigned("next_number")?,
        next_parent: row.opt_hash("next_parent")?,
        live_from: row.opt_unsigned("live_from")?,
        live_parent: row.opt_hash("live_parent")?,
        first_moved: row.opt_unsigned("first_moved")?,
        malformed_at: row.opt_unsigned("malformed_at")?,
        crowded_at: row.opt_unsigned("crowded_at")?,
    })
}

fn scope_from(row: &AnyRow) -> Result<Scope, StoreError> {
    let bits = u8::try_from(row.int("scope")?).ok();
    bits.and_then(Scope::from_bits).ok_or(StoreError::Corrupt {
        column: "scope",
        expected: "what is kept",
    })
}

/// One byte for the standard, and the token's 32 where it is one.
fn asset_blob(asset: Asset) -> Vec<u8> {
    let mut blob = vec![standard_byte(asset.standard)];
    if let Some(id) = asset.id {
        blob.extend_from_slice(&id.0.to_be_bytes::<32>());
    }
    blob
}

fn asset_from(blob: &[u8]) -> Option<Asset> {
    let (first, id) = blob.split_first()?;
    let standard = standard_from(*first)?;
    match id.len() {
        0 => Some(Asset::all(standard)),
        32 => Some(Asset::one(standard, TokenId(U256::from_be_slice(id)))),
        _ => None,
    }
}

const fn standard_byte(standard: Standard) -> u8 {
    match standard {
        Standard::Erc20 => 0,
        Standard::Erc721 => 1,
        Standard::Erc1155 => 2,
    }
}

const fn standard_from(byte: u8) -> Option<Standard> {
    match byte {
        0 => Some(Standard::Erc20),
        1 => Some(Standard::Erc721),
        2 => Some(Standard::Erc1155),
        _ => None,
    }
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

/// Bytes of one movement within its row: how many follow of its asset, sender, recipient, quantity.
const PACKED: usize = 1 + 20 + 20 + 32;

/// One row for all that a contract's transfers of one block moved: a block may hold hundreds.
fn pack(movements: &[&Movement]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(movements.len() * (PACKED + 1));
    for movement in movements {
        let asset = asset_blob(movement.asset);
        packed.push(if asset.len() == 1 { 1 } else { 33 });
        packed.extend_from_slice(movement.sender.as_slice());
        packed.extend_from_slice(movement.recipient.as_slice());
        packed.extend_from_slice(&movement.quantity.to_be_bytes::<32>());
        packed.extend_from_slice(&asset);
    }
    packed
}

fn unpack(row: &AnyRow, movements: &mut Vec<Movement>) -> Result<(), StoreError> {
    let (block_number, contract) = (row.unsigned("block_number")?, row.address("contract")?);
    let packed = row.blob("moves")?;
    let mut rest = packed.as_slice();
    let mut next = || {
        let (fixed, after) = rest.split_first_chunk::<PACKED>()?;
        let (asset, after) = after.split_at_checked(usize::from(fixed[0]))?;
        rest = after;
        Some(Movement {
            block_number,
            contract,
            sender: Address::from_slice(&fixed[1..21]),
            recipient: Address::from_slice(&fixed[21..41]),
            quantity: U256::from_be_slice(&fixed[41..]),
            asset: asset_from(asset)?,
        })
    };
    movements.extend(std::iter::from_fn(&mut next));
    if rest.is_empty() {
        return Ok(());
    }
    Err(StoreError::Corrupt {
        column: "moves",
        expected: "whole movements",
    })
}

/// Every settled balance of a chain that is not zero.
///
/// # Errors
/// The database fails.
pub async fn balances(conn: &mut AnyConnection, chain: ChainId) -> Result<Vec<BalanceRow>, StoreError> {
    let rows = sqlx::query("select contract, holder, asset, value from balance where chain = $1")
        .bind(int(chain.0))
        .fetch_all(conn)
        .await?;
    let balance = |row: &AnyRow| {
        Ok(BalanceRow {
            contract: row.address("contract")?,
            holder: row.address("holder")?,
            asset: asset_from(&row.blob("asset")?).ok_or(StoreError::Corrupt {
                column: "asset",
                expected: "a standard and perhaps a token",
            })?,
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
        (from_number, scope): (u64, Scope),
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "insert into watch (chain, contract, from_number, next_number, scope) values ($1, $2, $3, $3, $4) \
             on conflict (chain, contract) do nothing",
        )
        .bind(int(chain.0))
        .bind(contract.to_vec())
        .bind(int(from_number))
        .bind(i64::from(scope.bits()))
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
            "update watch set next_number = $1, next_parent = $2, live_from = $3, live_parent = $4, first_moved = $5, \
             malformed_at = $6, crowded_at = $7 where chain = $8 and contract = $9",
        )
        .bind(int(watch.next_number))
        .bind(watch.next_parent.map(|hash| hash.to_vec()))
        .bind(watch.live_from.map(int))
        .bind(watch.live_parent.map(|hash| hash.to_vec()))
        .bind(watch.first_moved.map(int))
        .bind(watch.malformed_at.map(int))
        .bind(watch.crowded_at.map(int))
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

    /// Forgets everything that was folded of a contract, so that its history is read again from `from_number` on, for what
    /// `scope` keeps.
    ///
    /// # Errors
    /// The database fails.
    pub async fn restart_watch(
        &mut self,
        chain: ChainId,
        contract: Address,
        (from_number, scope): (u64, Scope),
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
             live_parent = null, first_moved = null, malformed_at = null, crowded_at = null, scope = $2 \
             where chain = $3 and contract = $4",
        )
        .bind(int(from_number))
        .bind(i64::from(scope.bits()))
        .bind(int(chain.0))
        .bind(contract.to_vec())
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Stores balances as they are now. What nobody holds has no row.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_balances(&mut self, chain: ChainId, balances: &[BalanceRow]) -> Result<(), StoreError> {
        let mut balances: Vec<&BalanceRow> = balances.iter().collect();
        // In the order of the key, so that neighbours are written together.
        balances.sort_unstable_by_key(|balance| (balance.contract, balance.holder, balance.asset));
        for of_contract in balances.chunk_by(|one, next| one.contract == next.contract) {
            let (gone, held): (Vec<&BalanceRow>, Vec<&BalanceRow>) =
                of_contract.iter().partition(|balance| balance.value.is_zero());
            for rows in held.chunks(ROWS_PER_STATEMENT) {
                self.put_balances_of_one(chain, rows).await?;
            }
            for rows in gone.chunks(ROWS_PER_STATEMENT) {
                self.delete_balances_of_one(chain, rows).await?;
            }
        }
        Ok(())
    }

    async fn put_balances_of_one(&mut self, chain: ChainId, rows: &[&BalanceRow]) -> Result<(), StoreError> {
        let Some(first) = rows.first() else {
            return Ok(());
        };
        let lists = value_lists(rows.len(), 2, 3);
        let text = format!(
            "insert into balance (chain, contract, holder, asset, value) values {lists} \
             on conflict (chain, contract, holder, asset) do update set value = excluded.value"
        );
        let mut query = sqlx::query(AssertSqlSafe(text))
            .bind(int(chain.0))
            .bind(first.contract.to_vec());
        for balance in rows {
            query = query
                .bind(balance.holder.to_vec())
                .bind(asset_blob(balance.asset))
                .bind(balance.value.to_be_bytes_vec());
        }
        query.execute(self.conn()).await?;
        Ok(())
    }

    async fn delete_balances_of_one(
        &mut self,
        chain: ChainId,
        rows: &[&BalanceRow],
    ) -> Result<(), StoreError> {
        let Some(first) = rows.first() else {
            return Ok(());
        };
        let each =
            (0..rows.len()).map(|row| format!("(holder = ${} and asset = ${})", 3 + 2 * row, 4 + 2 * row));
        let each: Vec<String> = each.collect();
        let text = format!(
            "delete from balance where chain = $1 and contract = $2 and ({})",
            each.join(" or ")
        );
        let mut query = sqlx::query(AssertSqlSafe(text))
            .bind(int(chain.0))
            .bind(first.contract.to_vec());
        for balance in rows {
            query = query
                .bind(balance.holder.to_vec())
                .bind(asset_blob(balance.asset));
        }
        query.execute(self.conn()).await?;
        Ok(())
    }
}
