//! The references by which payments name their charges, and the secret that they are made from.

use alloy::primitives::{Address, B256};
use sqlx::{AnyConnection, AssertSqlSafe};

use super::value::{Columns, ROWS_PER_STATEMENT, int, list};
use super::{StoreError, WriteTx};
use crate::domain::{ChainId, Reference};

/// The references on one token with these nonces.
///
/// # Errors
/// The database fails.
pub async fn references(
    conn: &mut AnyConnection,
    (chain, token): (ChainId, Address),
    nonces: &[B256],
) -> Result<Vec<Reference>, StoreError> {
    let mut found = Vec::new();
    for nonces in nonces.chunks(ROWS_PER_STATEMENT) {
        let text = format!(
            "select * from charge_reference where chain = $1 and token = $2 and nonce in ({})",
            list(2, nonces.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text))
            .bind(int(chain.0))
            .bind(token.to_vec());
        for nonce in nonces {
            query = query.bind(nonce.to_vec());
        }
        for row in query.fetch_all(&mut *conn).await? {
            found.push(Reference {
                chain,
                token,
                nonce: row.hash("nonce")?,
                charge: row.parsed("charge", "a charge id")?,
                n: row.small("n")?,
                used_at: row.opt_int("used_at")?,
            });
        }
    }
    Ok(found)
}

impl WriteTx {
    /// The secret of that name; `fresh` becomes it where there is none yet.
    ///
    /// # Errors
    /// The database fails.
    pub async fn server_secret(&mut self, name: &str, fresh: B256) -> Result<B256, StoreError> {
        sqlx::query("insert into server_secret (name, value) values ($1, $2) on conflict (name) do nothing")
            .bind(name)
            .bind(fresh.to_vec())
            .execute(self.conn())
            .await?;
        let row = sqlx::query("select value from server_secret where name = $1")
            .bind(name)
            .fetch_one(self.conn())
            .await?;
        row.hash("value")
    }

    /// Stores a new reference, or when it was used.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_reference(&mut self, reference: &Reference) -> Result<(), StoreError> {
        sqlx::query(
            "insert into charge_reference (chain, token, nonce, charge, n, used_at) values ($1, $2, $3, $4, $5, $6) \
             on conflict (chain, token, nonce) do update set used_at = excluded.used_at",
        )
        .bind(int(reference.chain.0))
        .bind(reference.token.to_vec())
        .bind(reference.nonce.to_vec())
        .bind(reference.charge.as_str())
        .bind(i64::from(reference.n))
        .bind(reference.used_at)
        .execute(self.conn())
        .await?;
        Ok(())
    }
}
