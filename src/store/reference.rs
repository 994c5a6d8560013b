//! The references by which payments name their charges, and the secret that they are made from.

use alloy::primitives::{Address, B256};
use sqlx::AnyConnection;

use super::value::{Columns, int};
use super::{StoreError, WriteTx};
use crate::domain::{ChainId, Reference};

/// The reference with this nonce.
///
/// # Errors
/// The database fails.
pub async fn reference(
    conn: &mut AnyConnection,
    (chain, token): (ChainId, Address),
    nonce: B256,
) -> Result<Option<Reference>, StoreError> {
    let row = sqlx::query("select * from charge_reference where chain = $1 and token = $2 and nonce = $3")
        .bind(int(chain.0))
        .bind(token.to_vec())
        .bind(nonce.to_vec())
        .fetch_optional(conn)
        .await?;
    let reference = row.map(|row| {
        Ok(Reference {
            chain,
            token,
            nonce,
            charge: row.parsed("charge", "a charge id")?,
            n: row.small("n")?,
            used_at: row.opt_int("used_at")?,
        })
    });
    reference.transpose()
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
