//! The keys that receipts are signed by.

use alloy::primitives::B256;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::value::Columns;
use super::{StoreError, WriteTx};
use crate::domain::Millis;

/// A key that signs receipts, or did.
#[derive(Clone, PartialEq, Eq)]
pub struct ReceiptKey {
    /// Names it in receipts.
    pub kid: String,
    /// The private key's 32 bytes (RFC 8032).
    pub seed: B256,
    /// When it was made.
    pub created_at: Millis,
    /// Since when it signs no more.
    pub retired_at: Option<Millis>,
}

impl std::fmt::Debug for ReceiptKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("ReceiptKey");
        shown
            .field("kid", &self.kid)
            .field("retired_at", &self.retired_at);
        shown.finish_non_exhaustive()
    }
}

fn key_from(row: &AnyRow) -> Result<ReceiptKey, StoreError> {
    Ok(ReceiptKey {
        kid: row.text("kid")?,
        seed: row.hash("seed")?,
        created_at: row.int("created_at")?,
        retired_at: row.opt_int("retired_at")?,
    })
}

/// Every key, newest first.
///
/// # Errors
/// The database fails.
pub async fn receipt_keys(conn: &mut AnyConnection) -> Result<Vec<ReceiptKey>, StoreError> {
    let rows = sqlx::query("select * from receipt_key order by created_at desc, kid")
        .fetch_all(conn)
        .await?;
    rows.iter().map(key_from).collect()
}

impl WriteTx {
    /// Stores a new key.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_receipt_key(&mut self, key: &ReceiptKey) -> Result<(), StoreError> {
        sqlx::query("insert into receipt_key (kid, seed, created_at, retired_at) values ($1, $2, $3, $4)")
            .bind(key.kid.as_str())
            .bind(key.seed.to_vec())
            .bind(key.created_at)
            .bind(key.retired_at)
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Retires every key that still signs, and forgets those that were retired by `forget_until`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn retire_receipt_keys(&mut self, now: Millis, forget_until: Millis) -> Result<(), StoreError> {
        sqlx::query("update receipt_key set retired_at = $1 where retired_at is null")
            .bind(now)
            .execute(self.conn())
            .await?;
        sqlx::query("delete from receipt_key where retired_at <= $1")
            .bind(forget_until)
            .execute(self.conn())
            .await?;
        Ok(())
    }
}
