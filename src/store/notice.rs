//! What hinders payments in tokens, by the blocks that say so.

use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::value::{Columns, int};
use super::{StoreError, WriteTx};
use crate::domain::{ChainId, Notice};

/// The newest notice of each token and hindrance on a chain, by token.
///
/// # Errors
/// The database fails.
pub async fn notices(conn: &mut AnyConnection, chain: ChainId) -> Result<Vec<Notice>, StoreError> {
    let rows = sqlx::query(
        "select token, hindrance, block_number, holds from token_notice n where chain = $1 and not exists \
         (select 1 from token_notice newer where newer.chain = n.chain and newer.token = n.token \
         and newer.hindrance = n.hindrance and newer.block_number > n.block_number) order by token, hindrance",
    )
    .bind(int(chain.0))
    .fetch_all(conn)
    .await?;
    let notice = |row: &AnyRow| {
        Ok(Notice {
            token: row.address("token")?,
            hindrance: row.word("hindrance")?,
            block_number: row.unsigned("block_number")?,
            holds: row.int("holds")? != 0,
        })
    };
    rows.iter().map(notice).collect()
}

impl WriteTx {
    /// Stores a notice; of one block the last counts.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_notice(&mut self, chain: ChainId, notice: &Notice) -> Result<(), StoreError> {
        sqlx::query(
            "insert into token_notice (chain, token, hindrance, block_number, holds) values ($1, $2, $3, $4, $5) \
             on conflict (chain, token, hindrance, block_number) do update set holds = excluded.holds",
        )
        .bind(int(chain.0))
        .bind(notice.token.to_vec())
        .bind(notice.hindrance.as_str())
        .bind(int(notice.block_number))
        .bind(i64::from(notice.holds))
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Forgets the notices of blocks above `number`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete_notices_above(&mut self, chain: ChainId, number: u64) -> Result<(), StoreError> {
        sqlx::query("delete from token_notice where chain = $1 and block_number > $2")
            .bind(int(chain.0))
            .bind(int(number))
            .execute(self.conn())
            .await?;
        Ok(())
    }
}
