//! Payments, and the observations they rest on.

use alloy::primitives::B256;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::value::{Columns, ROWS_PER_STATEMENT, int, json_text, list, value_lists};
use super::{StoreError, WriteTx};
use crate::domain::{BlockRef, ChainId, ChargeId, Payment, PaymentKey, PaymentState};

/// Rows of one statement, of so many columns.
const PAYMENTS_PER_STATEMENT: usize = 16;

pub(super) fn payment_from(row: &AnyRow) -> Result<Payment, StoreError> {
    let charge: Option<ChargeId> = row.opt_parsed("charge", "a charge id")?;
    Ok(Payment {
        key: PaymentKey {
            chain: ChainId(row.unsigned("chain")?),
            tx_hash: row.hash("tx_hash")?,
            ordinal: row.small("ordinal")?,
        },
        state: row.word("state")?,
        token: row.address("token")?,
        payer: row.address("payer")?,
        treasury: row.address("treasury")?,
        amount: row.amount("amount")?,
        block: BlockRef {
            number: row.unsigned("block_number")?,
            hash: row.hash("block_hash")?,
        },
        block_time_ms: row.int("block_time")?,
        log_index: row.unsigned("log_index")?,
        level: row.word("level")?,
        allocation: match charge {
            Some(charge) => Some((charge, row.word("rule")?)),
            None => None,
        },
        grounds: row.json("evidence")?,
        flags: row.json("flags")?,
    })
}

/// One payment.
///
/// # Errors
/// The database fails.
pub async fn payment(conn: &mut AnyConnection, key: &PaymentKey) -> Result<Option<Payment>, StoreError> {
    let row = sqlx::query("select * from payment where chain = $1 and tx_hash = $2 and ordinal = $3")
        .bind(int(key.chain.0))
        .bind(key.tx_hash.to_vec())
        .bind(i64::from(key.ordinal))
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(payment_from).transpose()
}

/// The payments of these transactions.
///
/// # Errors
/// The database fails.
pub async fn payments_of_transactions(
    conn: &mut AnyConnection,
    chain: ChainId,
    transactions: &[B256],
) -> Result<Vec<Payment>, StoreError> {
    let mut payments = Vec::new();
    for hashes in transactions.chunks(ROWS_PER_STATEMENT) {
        let text = format!(
            "select * from payment where chain = $1 and tx_hash in ({})",
            list(1, hashes.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text)).bind(int(chain.0));
        for hash in hashes {
            query = query.bind(hash.to_vec());
        }
        for row in query.fetch_all(&mut *conn).await? {
            payments.push(payment_from(&row)?);
        }
    }
    Ok(payments)
}

/// Everything that was allocated to these charges, in the order of the chain, orphaned payments too.
///
/// # Errors
/// The database fails.
pub async fn payments_of_charges(
    conn: &mut AnyConnection,
    charges: &[ChargeId],
) -> Result<Vec<Payment>, StoreError> {
    let mut payments = Vec::new();
    for charges in charges.chunks(ROWS_PER_STATEMENT) {
        let text = format!(
            "select * from payment where charge in ({}) order by block_number, log_index",
            list(0, charges.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for charge in charges {
            query = query.bind(charge.as_str());
        }
        for row in query.fetch_all(&mut *conn).await? {
            payments.push(payment_from(&row)?);
        }
    }
    Ok(payments)
}

/// Everything that was allocated to a charge, in the order of the chain, orphaned payments too.
///
/// # Errors
/// The database fails.
pub async fn payments_of_charge(
    conn: &mut AnyConnection,
    charge: &ChargeId,
) -> Result<Vec<Payment>, StoreError> {
    let rows = sqlx::query("select * from payment where charge = $1 order by block_number, log_index")
        .bind(charge.as_str())
        .fetch_all(conn)
        .await?;
    rows.iter().map(payment_from).collect()
}

/// The payments that are given to no charge, each with one of these charges that it may have been meant for, in the order of
/// the chain, orphaned ones too.
///
/// # Errors
/// The database fails.
pub async fn payments_meant_for(
    conn: &mut AnyConnection,
    charges: &[ChargeId],
) -> Result<Vec<(ChargeId, Payment)>, StoreError> {
    let mut payments = Vec::new();
    for charges in charges.chunks(ROWS_PER_STATEMENT) {
        let text = format!(
            "select c.charge as candidate, p.* from payment_candidate c join payment p on p.chain = c.chain \
             and p.tx_hash = c.tx_hash and p.ordinal = c.ordinal where p.charge is null and c.charge in ({}) \
             order by p.block_number, p.log_index",
            list(0, charges.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for charge in charges {
            query = query.bind(charge.as_str());
        }
        for row in query.fetch_all(&mut *conn).await? {
            payments.push((row.parsed("candidate", "a charge id")?, payment_from(&row)?));
        }
    }
    Ok(payments)
}

/// The payments of one state in blocks up to `number`. One of level `none` waits for nothing: it never counts.
///
/// # Errors
/// The database fails.
pub async fn payments_up_to(
    conn: &mut AnyConnection,
    chain: ChainId,
    state: PaymentState,
    number: u64,
) -> Result<Vec<Payment>, StoreError> {
    let rows = sqlx::query(
        "select * from payment where chain = $1 and state = $3 and level <> 'none' and block_number <= $2 \
         order by block_number, log_index",
    )
    .bind(int(chain.0))
    .bind(int(number))
    .bind(state.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(payment_from).collect()
}

/// The payments in force whose blocks are above `number`.
///
/// # Errors
/// The database fails.
pub async fn payments_above(
    conn: &mut AnyConnection,
    chain: ChainId,
    number: u64,
) -> Result<Vec<Payment>, StoreError> {
    let rows = sqlx::query(
        "select * from payment where chain = $1 and block_number > $2 and state <> 'orphaned' \
         order by block_number, log_index",
    )
    .bind(int(chain.0))
    .bind(int(number))
    .fetch_all(conn)
    .await?;
    rows.iter().map(payment_from).collect()
}

/// The payments whose blocks are `from..=to`, orphaned ones too, in the order of the chain.
///
/// # Errors
/// The database fails.
pub async fn payments_between(
    conn: &mut AnyConnection,
    chain: ChainId,
    from: u64,
    to: u64,
) -> Result<Vec<Payment>, StoreError> {
    let rows = sqlx::query(
        "select * from payment where chain = $1 and block_number >= $2 and block_number <= $3 \
         order by block_number, log_index",
    )
    .bind(int(chain.0))
    .bind(int(from))
    .bind(int(to))
    .fetch_all(conn)
    .await?;
    rows.iter().map(payment_from).collect()
}

/// That a payment's log stood in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Observation {
    /// The payment.
    pub key: PaymentKey,
    /// The block's height.
    pub block_number: u64,
    /// The block's hash.
    pub block_hash: B256,
    /// The log's index in that block.
    pub log_index: u64,
}

/// The canonical observations in the blocks `from..=to`, in the order of the chain.
///
/// # Errors
/// The database fails.
pub async fn observations_between(
    conn: &mut AnyConnection,
    chain: ChainId,
    from: u64,
    to: u64,
) -> Result<Vec<Observation>, StoreError> {
    let rows = sqlx::query(
        "select * from observation where chain = $1 and block_number >= $2 and block_number <= $3 and canonical = 1 \
         order by block_number, log_index",
    )
    .bind(int(chain.0))
    .bind(int(from))
    .bind(int(to))
    .fetch_all(conn)
    .await?;
    let observation = |row: &AnyRow| {
        Ok(Observation {
            key: PaymentKey {
                chain,
                tx_hash: row.hash("tx_hash")?,
                ordinal: row.small("ordinal")?,
            },
            block_number: row.unsigned("block_number")?,
            block_hash: row.hash("block_hash")?,
            log_index: row.unsigned("log_index")?,
        })
    };
    rows.iter().map(observation).collect()
}

impl WriteTx {
    /// Stores payments as they stand now.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_payments(&mut self, payments: &[Payment]) -> Result<(), StoreError> {
        for rows in payments.chunks(PAYMENTS_PER_STATEMENT) {
            let text = format!(
                "insert into payment (chain, tx_hash, ordinal, state, token, payer, treasury, amount, block_number, \
                 block_hash, block_time, log_index, level, charge, rule, evidence, flags) values {} \
                 on conflict (chain, tx_hash, ordinal) do update set state = excluded.state, token = excluded.token, \
                 payer = excluded.payer, treasury = excluded.treasury, amount = excluded.amount, \
                 block_number = excluded.block_number, block_hash = excluded.block_hash, \
                 block_time = excluded.block_time, log_index = excluded.log_index, level = excluded.level, \
                 charge = excluded.charge, rule = excluded.rule, evidence = excluded.evidence, flags = excluded.flags",
                value_lists(rows.len(), 0, 17)
            );
            let mut query = sqlx::query(AssertSqlSafe(text));
            for payment in rows {
                query = query
                    .bind(int(payment.key.chain.0))
                    .bind(payment.key.tx_hash.to_vec())
                    .bind(i64::from(payment.key.ordinal))
                    .bind(payment.state.as_str())
                    .bind(payment.token.to_vec())
                    .bind(payment.payer.to_vec())
                    .bind(payment.treasury.to_vec())
                    .bind(payment.amount.to_string())
                    .bind(int(payment.block.number))
                    .bind(payment.block.hash.to_vec())
                    .bind(payment.block_time_ms)
                    .bind(int(payment.log_index))
                    .bind(payment.level.as_str())
                    .bind(payment.allocation.as_ref().map(|(charge, _)| charge.as_str()))
                    .bind(payment.allocation.as_ref().map(|(_, rule)| rule.as_str()))
                    .bind(json_text(&payment.grounds))
                    .bind(json_text(&payment.flags));
            }
            query.execute(self.conn()).await?;
        }
        Ok(())
    }

    /// Stores a payment as it stands now.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_payment(&mut self, payment: &Payment) -> Result<(), StoreError> {
        self.put_payments(std::slice::from_ref(payment)).await
    }

    /// Stores the charges that a payment may have been meant for, in place of those that are stored.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_candidates(&mut self, key: &PaymentKey, charges: &[ChargeId]) -> Result<(), StoreError> {
        sqlx::query("delete from payment_candidate where chain = $1 and tx_hash = $2 and ordinal = $3")
            .bind(int(key.chain.0))
            .bind(key.tx_hash.to_vec())
            .bind(i64::from(key.ordinal))
            .execute(self.conn())
            .await?;
        for charge in charges {
            sqlx::query(
                "insert into payment_candidate (chain, tx_hash, ordinal, charge) values ($1, $2, $3, $4) \
                 on conflict (chain, tx_hash, ordinal, charge) do nothing",
            )
            .bind(int(key.chain.0))
            .bind(key.tx_hash.to_vec())
            .bind(i64::from(key.ordinal))
            .bind(charge.as_str())
            .execute(self.conn())
            .await?;
        }
        Ok(())
    }

    /// Records that payments' logs stood in their blocks, canonical again where they were left behind before.
    ///
    /// # Errors
    /// The database fails.
    pub async fn put_observations(&mut self, payments: &[Payment]) -> Result<(), StoreError> {
        for rows in payments.chunks(ROWS_PER_STATEMENT) {
            let text = format!(
                "insert into observation (canonical, chain, block_hash, log_index, block_number, tx_hash, ordinal) \
                 values {} on conflict (chain, block_hash, log_index) do update set canonical = 1",
                value_lists(rows.len(), 1, 6)
            );
            let mut query = sqlx::query(AssertSqlSafe(text)).bind(1_i64);
            for payment in rows {
                query = query
                    .bind(int(payment.key.chain.0))
                    .bind(payment.block.hash.to_vec())
                    .bind(int(payment.log_index))
                    .bind(int(payment.block.number))
                    .bind(payment.key.tx_hash.to_vec())
                    .bind(i64::from(payment.key.ordinal));
            }
            query.execute(self.conn()).await?;
        }
        Ok(())
    }

    /// Marks the observations of blocks above `number` as left behind.
    ///
    /// # Errors
    /// The database fails.
    pub async fn orphan_observations_above(&mut self, chain: ChainId, number: u64) -> Result<(), StoreError> {
        sqlx::query(
            "update observation set canonical = 0 where chain = $1 and block_number > $2 and canonical = 1",
        )
        .bind(int(chain.0))
        .bind(int(number))
        .execute(self.conn())
        .await?;
        Ok(())
    }
}
