//! The references by which payments name their charges, the secret that they are made from, and the tokens that carry them.

use alloy::primitives::{Address, B256};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::value::{Columns, ROWS_PER_STATEMENT, int, list};
use super::{StoreError, WriteTx};
use crate::domain::{ChainId, Reference, TokenDomain};

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

/// The tokens of a chain that take authorizations, by address.
///
/// # Errors
/// The database fails.
pub async fn token_domains(conn: &mut AnyConnection, chain: ChainId) -> Result<Vec<TokenDomain>, StoreError> {
    let rows = sqlx::query("select token, name, version from token_domain where chain = $1 order by token")
        .bind(int(chain.0))
        .fetch_all(conn)
        .await?;
    let domain = |row: &AnyRow| {
        Ok(TokenDomain {
            token: row.address("token")?,
            name: row.text("name")?,
            version: row.text("version")?,
        })
    };
    rows.iter().map(domain).collect()
}

impl WriteTx {
    /// Stores the tokens of a chain that take authorizations, in place of those that are stored.
    ///
    /// # Errors
    /// The database fails.
    pub async fn set_token_domains(
        &mut self,
        chain: ChainId,
        domains: &[TokenDomain],
    ) -> Result<(), StoreError> {
        sqlx::query("delete from token_domain where chain = $1")
            .bind(int(chain.0))
            .execute(self.conn())
            .await?;
        for domain in domains {
            sqlx::query("insert into token_domain (chain, token, name, version) values ($1, $2, $3, $4)")
                .bind(int(chain.0))
                .bind(domain.token.to_vec())
                .bind(domain.name.as_str())
                .bind(domain.version.as_str())
                .execute(self.conn())
                .await?;
        }
        Ok(())
    }

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
