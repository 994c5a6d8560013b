//! API keys, by their hash, and the answers that were given to repeated requests.

use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::value::Columns;
use super::{StoreError, WriteTx};
use crate::domain::Millis;

/// A caller's key. The key itself is never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Names it in the audit.
    pub id: String,
    /// SHA-256 of the key.
    pub hash: Vec<u8>,
    /// For people.
    pub name: String,
    /// What it may do, separated by spaces.
    pub scopes: String,
    /// When it was made.
    pub created_at: Millis,
    /// When it was revoked.
    pub revoked_at: Option<Millis>,
}

/// An answer that was given to a request with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// A hash of the request.
    pub fingerprint: Vec<u8>,
    /// The body of the answer.
    pub answer: String,
}

fn key_from(row: &AnyRow) -> Result<ApiKey, StoreError> {
    Ok(ApiKey {
        id: row.text("id")?,
        hash: row.blob("hash")?,
        name: row.text("name")?,
        scopes: row.text("scopes")?,
        created_at: row.int("created_at")?,
        revoked_at: row.opt_int("revoked_at")?,
    })
}

/// The key with this hash, revoked or not.
///
/// # Errors
/// The database fails.
pub async fn api_key_by_hash(conn: &mut AnyConnection, hash: &[u8]) -> Result<Option<ApiKey>, StoreError> {
    let row = sqlx::query("select * from api_key where hash = $1")
        .bind(hash.to_vec())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(key_from).transpose()
}

/// Every key.
///
/// # Errors
/// The database fails.
pub async fn api_keys(conn: &mut AnyConnection) -> Result<Vec<ApiKey>, StoreError> {
    let rows = sqlx::query("select * from api_key order by created_at, id")
        .fetch_all(conn)
        .await?;
    rows.iter().map(key_from).collect()
}

/// The answer that was given to a request, within its scope.
///
/// # Errors
/// The database fails.
pub async fn remembered_answer(
    conn: &mut AnyConnection,
    scope: &str,
    key: &str,
) -> Result<Option<Remembered>, StoreError> {
    let row = sqlx::query("select fingerprint, answer from idempotency where scope = $1 and key = $2")
        .bind(scope)
        .bind(key)
        .fetch_optional(conn)
        .await?;
    let from = |row: AnyRow| {
        Ok(Remembered {
            fingerprint: row.blob("fingerprint")?,
            answer: row.text("answer")?,
        })
    };
    row.map(from).transpose()
}

impl WriteTx {
    /// Stores a new key.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_api_key(&mut self, key: &ApiKey) -> Result<(), StoreError> {
        sqlx::query("insert into api_key (id, hash, name, scopes, created_at) values ($1, $2, $3, $4, $5)")
            .bind(key.id.as_str())
            .bind(key.hash.clone())
            .bind(key.name.as_str())
            .bind(key.scopes.as_str())
            .bind(key.created_at)
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Revokes a key; `false` when there is none that could be.
    ///
    /// # Errors
    /// The database fails.
    pub async fn revoke_api_key(&mut self, id: &str, now: Millis) -> Result<bool, StoreError> {
        let done = sqlx::query("update api_key set revoked_at = $1 where id = $2 and revoked_at is null")
            .bind(now)
            .bind(id)
            .execute(self.conn())
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Remembers an answer, and forgets those given before `forget_before`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn remember_answer(
        &mut self,
        (scope, key): (&str, &str),
        remembered: &Remembered,
        (now, forget_before): (Millis, Millis),
    ) -> Result<(), StoreError> {
        sqlx::query("delete from idempotency where created_at < $1")
            .bind(forget_before)
            .execute(self.conn())
            .await?;
        sqlx::query(
            "insert into idempotency (scope, key, fingerprint, answer, created_at) values ($1, $2, $3, $4, $5)",
        )
        .bind(scope)
        .bind(key)
        .bind(remembered.fingerprint.clone())
        .bind(remembered.answer.as_str())
        .bind(now)
        .execute(self.conn())
        .await?;
        Ok(())
    }
}
