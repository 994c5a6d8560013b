//! How far each chain is, and the kept headers.

use alloy::primitives::B256;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::value::{Columns, int};
use super::{StoreError, WriteTx};
use crate::domain::{BlockRef, ChainId, Header, Heights, Millis};

/// What is stored of one chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainRow {
    /// The chain.
    pub chain: ChainId,
    /// The hash of its block 0.
    pub genesis: B256,
    /// The first block that is read.
    pub start_number: u64,
    /// The heights as of the last commit; `head` is not stored and zero here.
    pub heights: Heights,
}

/// A header of the window, as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptHeader {
    /// Its position.
    pub block: BlockRef,
    /// The block below.
    pub parent_hash: B256,
    /// Its own time.
    pub time_ms: Millis,
}

fn chain_from(row: &AnyRow) -> Result<ChainRow, StoreError> {
    let position = |number, hash| -> Option<BlockRef> {
        Some(BlockRef {
            number: number?,
            hash: hash?,
        })
    };
    Ok(ChainRow {
        chain: ChainId(row.unsigned("chain")?),
        genesis: row.hash("genesis")?,
        start_number: row.unsigned("start_number")?,
        heights: Heights {
            head: 0,
            read: position(row.opt_unsigned("read_number")?, row.opt_hash("read_hash")?),
            settled: position(row.opt_unsigned("settled_number")?, row.opt_hash("settled_hash")?),
            settled_time_ms: row.int("settled_time")?,
        },
    })
}

/// One chain, if it was ever read.
///
/// # Errors
/// The database fails.
pub async fn chain_row(conn: &mut AnyConnection, chain: ChainId) -> Result<Option<ChainRow>, StoreError> {
    let row = sqlx::query("select * from chain where chain = $1")
        .bind(int(chain.0))
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(chain_from).transpose()
}

/// Every chain that was ever read.
///
/// # Errors
/// The database fails.
pub async fn chain_rows(conn: &mut AnyConnection) -> Result<Vec<ChainRow>, StoreError> {
    let rows = sqlx::query("select * from chain order by chain")
        .fetch_all(conn)
        .await?;
    rows.iter().map(chain_from).collect()
}

fn kept_from(row: &AnyRow) -> Result<KeptHeader, StoreError> {
    Ok(KeptHeader {
        block: BlockRef {
            number: row.unsigned("number")?,
            hash: row.hash("hash")?,
        },
        parent_hash: row.hash("parent_hash")?,
        time_ms: row.int("time")?,
    })
}

/// The kept header at one height.
///
/// # Errors
/// The database fails.
pub async fn header_at(
    conn: &mut AnyConnection,
    chain: ChainId,
    number: u64,
) -> Result<Option<KeptHeader>, StoreError> {
    let row =
        sqlx::query("select number, hash, parent_hash, time from header where chain = $1 and number = $2")
            .bind(int(chain.0))
            .bind(int(number))
            .fetch_optional(conn)
            .await?;
    row.as_ref().map(kept_from).transpose()
}

/// The kept headers of a chain, lowest first.
///
/// # Errors
/// The database fails.
pub async fn headers(conn: &mut AnyConnection, chain: ChainId) -> Result<Vec<KeptHeader>, StoreError> {
    let rows =
        sqlx::query("select number, hash, parent_hash, time from header where chain = $1 order by number")
            .bind(int(chain.0))
            .fetch_all(conn)
            .await?;
    rows.iter().map(kept_from).collect()
}

impl WriteTx {
    /// Registers a chain that was never read.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_chain(
        &mut self,
        chain: ChainId,
        genesis: B256,
        start_number: u64,
    ) -> Result<(), StoreError> {
        sqlx::query("insert into chain (chain, genesis, start_number) values ($1, $2, $3)")
            .bind(int(chain.0))
            .bind(genesis.to_vec())
            .bind(int(start_number))
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Stores a chain's heights.
    ///
    /// # Errors
    /// The database fails.
    pub async fn set_heights(&mut self, chain: ChainId, heights: &Heights) -> Result<(), StoreError> {
        sqlx::query(
            "update chain set read_number = $1, read_hash = $2, settled_number = $3, settled_hash = $4, \
             settled_time = $5 where chain = $6",
        )
        .bind(heights.read.map(|block| int(block.number)))
        .bind(heights.read.map(|block| block.hash.to_vec()))
        .bind(heights.settled.map(|block| int(block.number)))
        .bind(heights.settled.map(|block| block.hash.to_vec()))
        .bind(heights.settled_time_ms)
        .bind(int(chain.0))
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Adds a header to the window.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_header(&mut self, chain: ChainId, header: &Header) -> Result<(), StoreError> {
        sqlx::query(
            "insert into header (chain, number, hash, parent_hash, time) values ($1, $2, $3, $4, $5)",
        )
        .bind(int(chain.0))
        .bind(int(header.number))
        .bind(header.hash.to_vec())
        .bind(header.parent_hash.to_vec())
        .bind(header.time_ms())
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Takes the headers above `number` out of the window.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete_headers_above(&mut self, chain: ChainId, number: u64) -> Result<(), StoreError> {
        sqlx::query("delete from header where chain = $1 and number > $2")
            .bind(int(chain.0))
            .bind(int(number))
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Forgets the headers and movements below `number`: no reorg can reach them any more.
    ///
    /// # Errors
    /// The database fails.
    pub async fn prune_below(&mut self, chain: ChainId, number: u64) -> Result<(), StoreError> {
        for statement in [
            "delete from header where chain = $1 and number < $2",
            "delete from movement where chain = $1 and block_number < $2",
        ] {
            sqlx::query(statement)
                .bind(int(chain.0))
                .bind(int(number))
                .execute(self.conn())
                .await?;
        }
        Ok(())
    }

    /// Forgets all that was read or sold on a chain, for a development chain that was started anew. Gates, wallets, other
    /// chains and the audit stay.
    ///
    /// # Errors
    /// The database fails.
    pub async fn wipe_chain(&mut self, chain: ChainId) -> Result<(), StoreError> {
        for statement in [
            "delete from header where chain = $1",
            "delete from movement where chain = $1",
            "delete from balance where chain = $1",
            "delete from observation where chain = $1",
            "delete from payment where chain = $1",
            "delete from amount_lease where chain = $1",
            "delete from charge where chain = $1",
            "delete from chain where chain = $1",
            "update watch set next_number = from_number, next_parent = null, live_from = null, live_parent = null \
             where chain = $1",
        ] {
            sqlx::query(statement)
                .bind(int(chain.0))
                .execute(self.conn())
                .await?;
        }
        Ok(())
    }
}
