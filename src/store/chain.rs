//! How far each chain is, and the kept headers.

use alloy::primitives::B256;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::value::{Columns, int, json_text};
use super::{StoreError, WriteTx};
use crate::domain::{BlockRef, ChainId, Header, Heights, Held, MAX_TIERS, Millis, Settled};

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
    /// The names of the tiers that it was settled by; empty before the first.
    pub policy: String,
    /// Why deadlines stand still on it.
    pub stalled: Option<Held>,
    /// Why nothing counts on it until a person resolves it.
    pub quarantined: Option<Held>,
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

fn upper_from(row: &AnyRow) -> Result<[Option<Settled>; MAX_TIERS - 1], StoreError> {
    let stored: Vec<Option<Settled>> = row.json("upper_tiers")?;
    let mut upper = [None; MAX_TIERS - 1];
    for (tier, stored) in upper.iter_mut().zip(stored) {
        *tier = stored;
    }
    Ok(upper)
}

fn held_from(row: &AnyRow, column: &'static str) -> Result<Option<Held>, StoreError> {
    match row.opt_text(column)? {
        Some(_) => row.json(column).map(Some),
        None => Ok(None),
    }
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
            upper: upper_from(row)?,
            finalized: position(
                row.opt_unsigned("finalized_number")?,
                row.opt_hash("finalized_hash")?,
            ),
            absent_ms: row.int("absent_time")?,
        },
        policy: row.text("policy")?,
        stalled: held_from(row, "stalled")?,
        quarantined: held_from(row, "quarantined")?,
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

/// Those of these heights whose headers are kept.
///
/// # Errors
/// The database fails.
pub async fn headers_at(
    conn: &mut AnyConnection,
    chain: ChainId,
    numbers: &[u64],
) -> Result<Vec<KeptHeader>, StoreError> {
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let parameters: Vec<String> = (2..numbers.len() + 2).map(|place| format!("${place}")).collect();
    let text = format!(
        "select number, hash, parent_hash, time from header where chain = $1 and number in ({})",
        parameters.join(", ")
    );
    let mut query = sqlx::query(AssertSqlSafe(text)).bind(int(chain.0));
    for number in numbers {
        query = query.bind(int(*number));
    }
    let rows = query.fetch_all(conn).await?;
    rows.iter().map(kept_from).collect()
}

/// The newest kept header whose own time is not after `time`.
///
/// # Errors
/// The database fails.
pub async fn header_by_time(
    conn: &mut AnyConnection,
    chain: ChainId,
    time: Millis,
) -> Result<Option<KeptHeader>, StoreError> {
    let row = sqlx::query(
        "select number, hash, parent_hash, time from header where chain = $1 and time <= $2 \
         order by number desc limit 1",
    )
    .bind(int(chain.0))
    .bind(time)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(kept_from).transpose()
}

/// The lowest kept header.
///
/// # Errors
/// The database fails.
pub async fn lowest_header(
    conn: &mut AnyConnection,
    chain: ChainId,
) -> Result<Option<KeptHeader>, StoreError> {
    let row = sqlx::query(
        "select number, hash, parent_hash, time from header where chain = $1 order by number limit 1",
    )
    .bind(int(chain.0))
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
             settled_time = $5, upper_tiers = $6, finalized_number = $7, finalized_hash = $8, absent_time = $9 \
             where chain = $10",
        )
        .bind(heights.read.map(|block| int(block.number)))
        .bind(heights.read.map(|block| block.hash.to_vec()))
        .bind(heights.settled.map(|block| int(block.number)))
        .bind(heights.settled.map(|block| block.hash.to_vec()))
        .bind(heights.settled_time_ms)
        .bind(json_text(&heights.upper))
        .bind(heights.finalized.map(|block| int(block.number)))
        .bind(heights.finalized.map(|block| block.hash.to_vec()))
        .bind(heights.absent_ms)
        .bind(int(chain.0))
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Has a chain of which nothing is kept read from this block on.
    ///
    /// # Errors
    /// The database fails.
    pub async fn set_start(&mut self, chain: ChainId, number: u64) -> Result<(), StoreError> {
        sqlx::query("update chain set start_number = $1 where chain = $2")
            .bind(int(number))
            .bind(int(chain.0))
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Stores by which tiers a chain is settled.
    ///
    /// # Errors
    /// The database fails.
    pub async fn set_policy(&mut self, chain: ChainId, names: &str) -> Result<(), StoreError> {
        sqlx::query("update chain set policy = $1 where chain = $2")
            .bind(names)
            .bind(int(chain.0))
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Stores why deadlines stand still on a chain, and why nothing counts on it; none where all is well.
    ///
    /// # Errors
    /// The database fails.
    pub async fn set_held(
        &mut self,
        chain: ChainId,
        stalled: Option<&Held>,
        quarantined: Option<&Held>,
    ) -> Result<(), StoreError> {
        sqlx::query("update chain set stalled = $1, quarantined = $2 where chain = $3")
            .bind(stalled.map(json_text))
            .bind(quarantined.map(json_text))
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

    /// Forgets the headers below `headers`, the movements below `movements`, and of the notices below `headers` all but the
    /// newest: no reorg can reach them any more.
    ///
    /// # Errors
    /// The database fails.
    pub async fn prune_below(
        &mut self,
        chain: ChainId,
        headers: u64,
        movements: u64,
    ) -> Result<(), StoreError> {
        for (statement, number) in [
            ("delete from header where chain = $1 and number < $2", headers),
            (
                "delete from movement where chain = $1 and block_number < $2",
                movements,
            ),
            (
                "delete from token_notice where chain = $1 and block_number < (select max(newer.block_number) \
                 from token_notice newer where newer.chain = token_notice.chain and newer.token = token_notice.token \
                 and newer.hindrance = token_notice.hindrance and newer.block_number < $2)",
                headers,
            ),
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
            "delete from refund where chain = $1",
            "delete from claim where chain = $1",
            "delete from payment_candidate where chain = $1",
            "delete from amount_lease where chain = $1",
            "delete from charge_reference where chain = $1",
            "delete from charge where chain = $1",
            "delete from token_notice where chain = $1",
            "delete from chain where chain = $1",
            "update watch set next_number = from_number, next_parent = null, live_from = null, live_parent = null, \
             first_moved = null, malformed_at = null, crowded_at = null where chain = $1",
        ] {
            sqlx::query(statement)
                .bind(int(chain.0))
                .execute(self.conn())
                .await?;
        }
        Ok(())
    }
}
