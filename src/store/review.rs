//! What people say and decide of payments: dispositions, claims and refunds.

use alloy::primitives::B256;
use sqlx::AnyConnection;
use sqlx::any::AnyRow;

use super::value::{Columns, int};
use super::{StoreError, WriteTx};
use crate::domain::{
    BlockRef, ChainId, ChargeId, Claim, Disposition, Millis, PaymentKey, Refund, RefundProof, TenantId,
};

/// The most claims of one transaction that are looked at: more of them are no help to anybody.
const MAX_CLAIMS: i64 = 50;

/// What an operator decided of a payment.
///
/// # Errors
/// The database fails.
pub async fn disposition(
    conn: &mut AnyConnection,
    key: &PaymentKey,
) -> Result<Option<Disposition>, StoreError> {
    let row =
        sqlx::query("select disposition from payment where chain = $1 and tx_hash = $2 and ordinal = $3")
            .bind(int(key.chain.0))
            .bind(key.tx_hash.to_vec())
            .bind(i64::from(key.ordinal))
            .fetch_optional(conn)
            .await?;
    row.map_or(Ok(None), |row| row.opt_word("disposition"))
}

fn claim_from(row: &AnyRow) -> Result<Claim, StoreError> {
    let charge: Option<ChargeId> = row.opt_parsed("charge", "a charge id")?;
    Ok(Claim {
        tx_hash: row.hash("tx_hash")?,
        tenant: row.parsed("tenant", "a tenant id")?,
        user: row.parsed("user_id", "a user id")?,
        charge: match charge {
            Some(charge) => Some((ChainId(row.unsigned("chain")?), charge)),
            None => None,
        },
        claimed_at: row.int("claimed_at")?,
        applied_at: row.opt_int("applied_at")?,
    })
}

/// The claims of a transaction, oldest first, at most fifty.
///
/// # Errors
/// The database fails.
pub async fn claims_of(conn: &mut AnyConnection, tx_hash: B256) -> Result<Vec<Claim>, StoreError> {
    let rows =
        sqlx::query("select * from claim where tx_hash = $1 order by claimed_at, tenant, user_id limit $2")
            .bind(tx_hash.to_vec())
            .bind(MAX_CLAIMS)
            .fetch_all(conn)
            .await?;
    rows.iter().map(claim_from).collect()
}

/// How many claims of a tenant made after `since` wait for their transaction, a proof or an operator.
///
/// # Errors
/// The database fails.
pub async fn waiting_claims(
    conn: &mut AnyConnection,
    tenant: &TenantId,
    since: Millis,
) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "select count(*) as waiting from claim where tenant = $1 and applied_at is null and claimed_at > $2",
    )
    .bind(tenant.as_str())
    .bind(since)
    .fetch_one(conn)
    .await?;
    row.int("waiting")
}

fn refund_from(row: &AnyRow) -> Result<Refund, StoreError> {
    let small = |column| {
        let number = row.opt_int(column)?.map(u32::try_from).transpose();
        number.map_err(|_| StoreError::Corrupt {
            column,
            expected: "a small non-negative integer",
        })
    };
    let proof = match small("refund_ordinal")? {
        Some(ordinal) => Some(RefundProof {
            ordinal,
            log_index: row.unsigned("refund_log_index")?,
            sent: row.amount("sent")?,
            block: BlockRef {
                number: row.unsigned("block_number")?,
                hash: row.hash("block_hash")?,
            },
        }),
        None => None,
    };
    Ok(Refund {
        id: row.parsed("id", "a refund id")?,
        payment: PaymentKey {
            chain: ChainId(row.unsigned("chain")?),
            tx_hash: row.hash("tx_hash")?,
            ordinal: small("ordinal")?.unwrap_or_default(),
        },
        tx_hash: row.hash("refund_tx_hash")?,
        amount: row.amount("amount")?,
        state: row.word("state")?,
        reason: row.text("reason")?,
        actor: row.text("actor")?,
        recorded_at: row.int("recorded_at")?,
        look_at: row.int("look_at")?,
        proof,
        problem: row.opt_text("problem")?,
    })
}

/// One refund.
///
/// # Errors
/// The database fails.
pub async fn refund(conn: &mut AnyConnection, id: &str) -> Result<Option<Refund>, StoreError> {
    let row = sqlx::query("select * from refund where id = $1")
        .bind(id)
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(refund_from).transpose()
}

/// The refunds that were recorded of a payment, oldest first.
///
/// # Errors
/// The database fails.
pub async fn refunds_of(conn: &mut AnyConnection, key: &PaymentKey) -> Result<Vec<Refund>, StoreError> {
    let rows = sqlx::query(
        "select * from refund where chain = $1 and tx_hash = $2 and ordinal = $3 order by recorded_at, id",
    )
    .bind(int(key.chain.0))
    .bind(key.tx_hash.to_vec())
    .bind(i64::from(key.ordinal))
    .fetch_all(conn)
    .await?;
    rows.iter().map(refund_from).collect()
}

/// The refunds that name a transaction of the operator's, oldest first.
///
/// # Errors
/// The database fails.
pub async fn refunds_by_hash(
    conn: &mut AnyConnection,
    chain: ChainId,
    tx_hash: B256,
) -> Result<Vec<Refund>, StoreError> {
    let rows =
        sqlx::query("select * from refund where refund_tx_hash = $2 and chain = $1 order by recorded_at, id")
            .bind(int(chain.0))
            .bind(tx_hash.to_vec())
            .fetch_all(conn)
            .await?;
    rows.iter().map(refund_from).collect()
}

/// The refunds of a chain that are proven by blocks from `number` on.
///
/// # Errors
/// The database fails.
pub async fn refunds_proven_from(
    conn: &mut AnyConnection,
    chain: ChainId,
    number: u64,
) -> Result<Vec<Refund>, StoreError> {
    let rows = sqlx::query(
        "select * from refund where chain = $1 and block_number >= $2 and state = 'confirmed' \
         order by block_number, refund_log_index",
    )
    .bind(int(chain.0))
    .bind(int(number))
    .fetch_all(conn)
    .await?;
    rows.iter().map(refund_from).collect()
}

/// The log indexes of a block that prove refunds.
///
/// # Errors
/// The database fails.
pub async fn logs_of_refunds(
    conn: &mut AnyConnection,
    chain: ChainId,
    block: BlockRef,
) -> Result<Vec<u64>, StoreError> {
    let rows = sqlx::query(
        "select refund_log_index from refund where chain = $1 and block_number = $2 and block_hash = $3 \
         and refund_log_index is not null",
    )
    .bind(int(chain.0))
    .bind(int(block.number))
    .bind(block.hash.to_vec())
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| row.unsigned("refund_log_index")).collect()
}

/// The pending refunds whose transactions are to be looked at by `now`, longest due first.
///
/// # Errors
/// The database fails.
pub async fn refunds_due(
    conn: &mut AnyConnection,
    now: Millis,
    limit: i64,
) -> Result<Vec<Refund>, StoreError> {
    let rows = sqlx::query(
        "select * from refund where state = 'pending' and look_at <= $1 order by look_at, id limit $2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(refund_from).collect()
}

impl WriteTx {
    /// Stores what an operator decided of a payment, or takes it back.
    ///
    /// # Errors
    /// The database fails.
    pub async fn set_disposition(
        &mut self,
        key: &PaymentKey,
        disposition: Option<Disposition>,
    ) -> Result<(), StoreError> {
        sqlx::query("update payment set disposition = $4 where chain = $1 and tx_hash = $2 and ordinal = $3")
            .bind(int(key.chain.0))
            .bind(key.tx_hash.to_vec())
            .bind(i64::from(key.ordinal))
            .bind(disposition.map(Disposition::as_str))
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Stores a claim, in place of what the same user said of the same transaction before; forgets those of the tenant that
    /// were never applied and are older than `forget_before`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_claim(&mut self, claim: &Claim, forget_before: Millis) -> Result<(), StoreError> {
        sqlx::query("delete from claim where tenant = $1 and applied_at is null and claimed_at < $2")
            .bind(claim.tenant.as_str())
            .bind(forget_before)
            .execute(self.conn())
            .await?;
        sqlx::query(
            "insert into claim (tx_hash, tenant, user_id, chain, charge, claimed_at, applied_at) \
             values ($1, $2, $3, $4, $5, $6, $7) on conflict (tx_hash, tenant, user_id) do update set \
             chain = excluded.chain, charge = excluded.charge, claimed_at = excluded.claimed_at, \
             applied_at = excluded.applied_at",
        )
        .bind(claim.tx_hash.to_vec())
        .bind(claim.tenant.as_str())
        .bind(claim.user.as_str())
        .bind(claim.charge.as_ref().map(|(chain, _)| int(chain.0)))
        .bind(claim.charge.as_ref().map(|(_, charge)| charge.as_str()))
        .bind(claim.claimed_at)
        .bind(claim.applied_at)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Stores a refund as it stands now.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_refund(&mut self, refund: &Refund) -> Result<(), StoreError> {
        let proof = refund.proof;
        sqlx::query(
            "insert into refund (id, chain, tx_hash, ordinal, refund_tx_hash, amount, state, reason, actor, recorded_at, \
             look_at, refund_ordinal, refund_log_index, sent, block_number, block_hash, problem) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
             on conflict (id) do update set state = excluded.state, look_at = excluded.look_at, \
             refund_ordinal = excluded.refund_ordinal, refund_log_index = excluded.refund_log_index, \
             sent = excluded.sent, block_number = excluded.block_number, block_hash = excluded.block_hash, \
             problem = excluded.problem",
        )
        .bind(refund.id.as_str())
        .bind(int(refund.payment.chain.0))
        .bind(refund.payment.tx_hash.to_vec())
        .bind(i64::from(refund.payment.ordinal))
        .bind(refund.tx_hash.to_vec())
        .bind(refund.amount.to_string())
        .bind(refund.state.as_str())
        .bind(refund.reason.as_str())
        .bind(refund.actor.as_str())
        .bind(refund.recorded_at)
        .bind(refund.look_at)
        .bind(proof.map(|proof| i64::from(proof.ordinal)))
        .bind(proof.map(|proof| int(proof.log_index)))
        .bind(proof.map(|proof| proof.sent.to_string()))
        .bind(proof.map(|proof| int(proof.block.number)))
        .bind(proof.map(|proof| proof.block.hash.to_vec()))
        .bind(refund.problem.as_deref())
        .execute(self.conn())
        .await?;
        Ok(())
    }
}
