//! Gates, the nonces of wallet proofs, and the wallets that were proven.

use alloy::primitives::Address;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::value::{Columns, ROWS_PER_STATEMENT, json_text, list};
use super::{StoreError, WriteTx};
use crate::domain::{Gate, GateId, Millis, TenantId, UserId, WalletLink, WalletOwner};

/// A nonce that was given to a user for one proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce {
    /// The user's tenant.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// Until when it may be used.
    pub expires_at: Millis,
    /// When it was used.
    pub used_at: Option<Millis>,
}

/// A wallet that a user gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalletRelease {
    /// Whose it was.
    pub user: UserId,
    /// Since when it is not.
    pub released_at: Millis,
}

/// Every gate.
///
/// # Errors
/// The database fails.
pub async fn gates(conn: &mut AnyConnection) -> Result<Vec<Gate>, StoreError> {
    let rows = sqlx::query("select * from gate order by tenant, created_at, id")
        .fetch_all(conn)
        .await?;
    rows.iter().map(gate_from).collect()
}

/// One of a tenant's gates.
///
/// # Errors
/// The database fails.
pub async fn gate(
    conn: &mut AnyConnection,
    tenant: &TenantId,
    id: &GateId,
) -> Result<Option<Gate>, StoreError> {
    let row = sqlx::query("select * from gate where tenant = $1 and id = $2")
        .bind(tenant.as_str())
        .bind(id.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(gate_from).transpose()
}

fn gate_from(row: &AnyRow) -> Result<Gate, StoreError> {
    Ok(Gate {
        id: row.parsed("id", "a gate id")?,
        tenant: row.parsed("tenant", "a tenant id")?,
        name: row.text("name")?,
        description: row.opt_text("description")?,
        enabled: row.int("enabled")? == 1,
        action: row.json("action")?,
        rule: row.json("rule")?,
        created_at: row.int("created_at")?,
    })
}

/// A nonce, used or not.
///
/// # Errors
/// The database fails.
pub async fn nonce(conn: &mut AnyConnection, nonce: &str) -> Result<Option<Nonce>, StoreError> {
    let row = sqlx::query("select * from wallet_nonce where nonce = $1")
        .bind(nonce)
        .fetch_optional(conn)
        .await?;
    let from = |row: AnyRow| {
        Ok(Nonce {
            tenant: row.parsed("tenant", "a tenant id")?,
            user: row.parsed("user_id", "a user id")?,
            expires_at: row.int("expires_at")?,
            used_at: row.opt_int("used_at")?,
        })
    };
    row.map(from).transpose()
}

fn link_from(row: &AnyRow) -> Result<WalletLink, StoreError> {
    Ok(WalletLink {
        tenant: row.parsed("tenant", "a tenant id")?,
        user: row.parsed("user_id", "a user id")?,
        address: row.address("address")?,
        linked_at: row.int("linked_at")?,
    })
}

/// Whose a wallet is in one tenant.
///
/// # Errors
/// The database fails.
pub async fn wallet_link(
    conn: &mut AnyConnection,
    tenant: &TenantId,
    address: Address,
) -> Result<Option<WalletLink>, StoreError> {
    let row = sqlx::query("select * from wallet_link where tenant = $1 and address = $2")
        .bind(tenant.as_str())
        .bind(address.to_vec())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(link_from).transpose()
}

/// Who has proven a wallet, by tenant; at most three.
///
/// # Errors
/// The database fails.
pub async fn wallets_at(conn: &mut AnyConnection, address: Address) -> Result<Vec<WalletLink>, StoreError> {
    let rows = sqlx::query("select * from wallet_link where address = $1 order by tenant limit 3")
        .bind(address.to_vec())
        .fetch_all(conn)
        .await?;
    rows.iter().map(link_from).collect()
}

/// The users who alone have proven one of these wallets.
///
/// # Errors
/// The database fails.
pub async fn sole_owners(
    conn: &mut AnyConnection,
    wallets: &[Address],
) -> Result<Vec<(Address, WalletOwner)>, StoreError> {
    let mut owners = Vec::new();
    for wallets in wallets.chunks(ROWS_PER_STATEMENT) {
        let text = format!(
            "select address, min(tenant) as tenant, min(user_id) as user_id from wallet_link where address in ({}) \
             group by address having count(*) = 1 order by address",
            list(0, wallets.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for wallet in wallets {
            query = query.bind(wallet.to_vec());
        }
        for row in query.fetch_all(&mut *conn).await? {
            let owner = WalletOwner {
                tenant: row.parsed("tenant", "a tenant id")?,
                user: row.parsed("user_id", "a user id")?,
            };
            owners.push((row.address("address")?, owner));
        }
    }
    Ok(owners)
}

/// The wallets of one user.
///
/// # Errors
/// The database fails.
pub async fn wallet_links_of(
    conn: &mut AnyConnection,
    tenant: &TenantId,
    user: &UserId,
) -> Result<Vec<WalletLink>, StoreError> {
    let rows = sqlx::query("select * from wallet_link where tenant = $1 and user_id = $2 order by address")
        .bind(tenant.as_str())
        .bind(user.as_str())
        .fetch_all(conn)
        .await?;
    rows.iter().map(link_from).collect()
}

/// Every wallet that was proven, by address.
///
/// # Errors
/// The database fails.
pub async fn wallet_links(conn: &mut AnyConnection) -> Result<Vec<WalletLink>, StoreError> {
    let rows = sqlx::query("select * from wallet_link order by address, tenant")
        .fetch_all(conn)
        .await?;
    rows.iter().map(link_from).collect()
}

/// Who gave a wallet up last, and when; forgotten after a while.
///
/// # Errors
/// The database fails.
pub async fn wallet_release(
    conn: &mut AnyConnection,
    tenant: &TenantId,
    address: Address,
) -> Result<Option<WalletRelease>, StoreError> {
    let row =
        sqlx::query("select user_id, released_at from wallet_release where tenant = $1 and address = $2")
            .bind(tenant.as_str())
            .bind(address.to_vec())
            .fetch_optional(conn)
            .await?;
    let release = |row: &AnyRow| {
        Ok(WalletRelease {
            user: row.parsed("user_id", "a user id")?,
            released_at: row.int("released_at")?,
        })
    };
    row.as_ref().map(release).transpose()
}

impl WriteTx {
    /// Stores a new gate.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_gate(&mut self, gate: &Gate) -> Result<(), StoreError> {
        sqlx::query(
            "insert into gate (id, tenant, name, description, enabled, action, rule, created_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(gate.id.as_str())
        .bind(gate.tenant.as_str())
        .bind(gate.name.as_str())
        .bind(gate.description.as_deref())
        .bind(i64::from(gate.enabled))
        .bind(json_text(&gate.action))
        .bind(json_text(&gate.rule))
        .bind(gate.created_at)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Stores a gate as it is now.
    ///
    /// # Errors
    /// The database fails.
    pub async fn update_gate(&mut self, gate: &Gate) -> Result<(), StoreError> {
        sqlx::query(
            "update gate set name = $1, description = $2, enabled = $3, action = $4, rule = $5 \
             where tenant = $6 and id = $7",
        )
        .bind(gate.name.as_str())
        .bind(gate.description.as_deref())
        .bind(i64::from(gate.enabled))
        .bind(json_text(&gate.action))
        .bind(json_text(&gate.rule))
        .bind(gate.tenant.as_str())
        .bind(gate.id.as_str())
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Removes a gate of a tenant; `false` when there is none.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete_gate(&mut self, tenant: &TenantId, id: &GateId) -> Result<bool, StoreError> {
        let done = sqlx::query("delete from gate where tenant = $1 and id = $2")
            .bind(tenant.as_str())
            .bind(id.as_str())
            .execute(self.conn())
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Stores a nonce, and forgets those that expired long ago; of the same user's others the last `keep` to expire stay.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_nonce(
        &mut self,
        text: &str,
        nonce: &Nonce,
        (forget_before, keep): (Millis, i64),
    ) -> Result<(), StoreError> {
        sqlx::query("delete from wallet_nonce where expires_at < $1")
            .bind(forget_before)
            .execute(self.conn())
            .await?;
        sqlx::query(
            "delete from wallet_nonce where tenant = $1 and user_id = $2 and nonce not in (select nonce from \
             wallet_nonce where tenant = $1 and user_id = $2 order by expires_at desc, nonce desc limit $3)",
        )
        .bind(nonce.tenant.as_str())
        .bind(nonce.user.as_str())
        .bind(keep)
        .execute(self.conn())
        .await?;
        sqlx::query("insert into wallet_nonce (nonce, tenant, user_id, expires_at) values ($1, $2, $3, $4)")
            .bind(text)
            .bind(nonce.tenant.as_str())
            .bind(nonce.user.as_str())
            .bind(nonce.expires_at)
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Uses a nonce up; `false` when it was used before.
    ///
    /// # Errors
    /// The database fails.
    pub async fn use_nonce(&mut self, text: &str, now: Millis) -> Result<bool, StoreError> {
        let done = sqlx::query("update wallet_nonce set used_at = $1 where nonce = $2 and used_at is null")
            .bind(now)
            .bind(text)
            .execute(self.conn())
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Stores a proven wallet.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_wallet_link(&mut self, link: &WalletLink) -> Result<(), StoreError> {
        sqlx::query("insert into wallet_link (tenant, address, user_id, linked_at) values ($1, $2, $3, $4)")
            .bind(link.tenant.as_str())
            .bind(link.address.to_vec())
            .bind(link.user.as_str())
            .bind(link.linked_at)
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Removes a proven wallet, remembers whose it was, and forgets releases of `forget_until` and before.
    ///
    /// # Errors
    /// The database fails.
    pub async fn release_wallet(
        &mut self,
        link: &WalletLink,
        now: Millis,
        forget_until: Millis,
    ) -> Result<(), StoreError> {
        sqlx::query("delete from wallet_link where tenant = $1 and address = $2 and user_id = $3")
            .bind(link.tenant.as_str())
            .bind(link.address.to_vec())
            .bind(link.user.as_str())
            .execute(self.conn())
            .await?;
        sqlx::query("delete from wallet_release where released_at <= $1")
            .bind(forget_until)
            .execute(self.conn())
            .await?;
        sqlx::query(
            "insert into wallet_release (tenant, address, user_id, released_at) values ($1, $2, $3, $4) \
             on conflict (tenant, address) do update set user_id = excluded.user_id, \
             released_at = excluded.released_at",
        )
        .bind(link.tenant.as_str())
        .bind(link.address.to_vec())
        .bind(link.user.as_str())
        .bind(now)
        .execute(self.conn())
        .await?;
        Ok(())
    }
}
