//! Charges and the amounts leased to them.

use alloy::primitives::Address;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe};

use super::value::{Columns, ROWS_PER_STATEMENT, int, json_text, list, value_lists};
use super::{StoreError, WriteTx};
use crate::domain::{
    Amount, ChainId, Charge, ChargeId, ChargeState, ChargeTerms, Millis, Product, Quote, TenantId, Totals,
    UserId, WalletOwner, WhenActive,
};

/// Charges of one statement: each has many columns, and [`ROWS_PER_STATEMENT`] says why few parameters are better.
const CHARGES_PER_STATEMENT: usize = 20;

pub(super) fn charge_from(row: &AnyRow) -> Result<Charge, StoreError> {
    Ok(Charge {
        terms: ChargeTerms {
            id: row.parsed("id", "a charge id")?,
            tenant: row.parsed("tenant", "a tenant id")?,
            user: row.opt_parsed("user_id", "a user id")?,
            product: row.parsed("product", "a product")?,
            chain: ChainId(row.unsigned("chain")?),
            token: row.address("token")?,
            treasury: row.address("treasury")?,
            price: row.amount("price")?,
            quote: quote_from(row)?,
            due: row.amount("due")?,
            when_active: row.opt_word("when_active")?,
            queued_behind: row.opt_text("queued_behind")?,
            created_at: row.int("created_at")?,
            expires_at: row.int("expires_at")?,
            grace_until: row.int("grace_until")?,
        },
        state: row.word("state")?,
        flags: row.json("flags")?,
        totals: Totals {
            seen: row.amount("seen")?,
            confirmed: row.amount("confirmed")?,
            finalized: row.amount("finalized")?,
        },
        cancelled_at: row.opt_int("cancelled_at")?,
        paid_at: row.opt_int("paid_at")?,
        reversed_at: row.opt_int("reversed_at")?,
        closed_at: row.opt_int("closed_at")?,
        reference: row.hash("reference")?,
        sequence: row.int("sequence")?,
    })
}

fn quote_from(row: &AnyRow) -> Result<Quote, StoreError> {
    Ok(Quote {
        unit: row.text("unit")?,
        decimals: u8::try_from(row.small("decimals")?).unwrap_or(u8::MAX),
        credit: row.parsed("credit", "a signed amount")?,
        unused: row.parsed("unused", "a signed amount")?,
        asked: row.amount("asked")?,
        rank: row.small("rank")?,
    })
}

/// One charge.
///
/// # Errors
/// The database fails.
pub async fn charge(conn: &mut AnyConnection, id: &ChargeId) -> Result<Option<Charge>, StoreError> {
    let row = sqlx::query("select * from charge where id = $1")
        .bind(id.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(charge_from).transpose()
}

/// Those of these charges that exist.
///
/// # Errors
/// The database fails.
pub async fn charges(conn: &mut AnyConnection, ids: &[ChargeId]) -> Result<Vec<Charge>, StoreError> {
    let mut charges = Vec::with_capacity(ids.len());
    for ids in ids.chunks(ROWS_PER_STATEMENT) {
        let text = format!("select * from charge where id in ({})", list(0, ids.len()));
        let mut query = sqlx::query(AssertSqlSafe(text));
        for id in ids {
            query = query.bind(id.as_str());
        }
        for row in query.fetch_all(&mut *conn).await? {
            charges.push(charge_from(&row)?);
        }
    }
    Ok(charges)
}

/// Which of a tenant's charges are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeFilter {
    /// Whose.
    pub tenant: TenantId,
    /// Only those that this user asked for.
    pub user: Option<UserId>,
    /// Only those in this state.
    pub state: Option<ChargeState>,
}

/// A tenant's charges, newest first, those of the same time by id downwards; from after a place in that order.
///
/// # Errors
/// The database fails.
pub async fn charges_of_tenant(
    conn: &mut AnyConnection,
    filter: &ChargeFilter,
    after: Option<&(Millis, ChargeId)>,
    limit: i64,
) -> Result<Vec<Charge>, StoreError> {
    let rows = sqlx::query(
        "select * from charge where tenant = $1 and ($2 = '' or user_id = $2) and ($3 = '' or state = $3) \
         and created_at <= $4 and (created_at < $4 or id < $5) order by created_at desc, id desc limit $6",
    )
    .bind(filter.tenant.as_str())
    .bind(filter.user.as_ref().map_or("", UserId::as_str))
    .bind(filter.state.map_or("", ChargeState::as_str))
    .bind(after.map_or(Millis::MAX, |(at, _)| *at))
    .bind(after.map_or("", |(_, id)| id.as_str()))
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(charge_from).collect()
}

/// The subject's charge for the same product, chain and token that still waits for money and has not expired.
///
/// # Errors
/// The database fails.
pub async fn open_charge_for(
    conn: &mut AnyConnection,
    tenant: &TenantId,
    user: Option<&UserId>,
    product: &Product,
    (chain, token): (ChainId, Address),
    now: Millis,
) -> Result<Option<Charge>, StoreError> {
    let row = sqlx::query(
        "select * from charge where tenant = $1 and product = $2 and state in ('open', 'confirming') \
         and chain = $3 and token = $4 and expires_at > $5 and coalesce(user_id, '') = $6 \
         order by created_at desc limit 1",
    )
    .bind(tenant.as_str())
    .bind(product.to_string())
    .bind(int(chain.0))
    .bind(token.to_vec())
    .bind(now)
    .bind(user.map_or("", UserId::as_str))
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(charge_from).transpose()
}

/// What a wallet's user may pay for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCharge {
    /// The charge.
    pub id: ChargeId,
    /// Where it is to be paid.
    pub chain: ChainId,
    /// In which token.
    pub token: Address,
    /// To which address.
    pub treasury: Address,
}

/// The charges of one user, or of the tenant and no user in particular, made up to `made_by`, that a payment at `at` may
/// still settle: at most `limit`, first those of that chain and token.
///
/// # Errors
/// The database fails.
pub async fn open_charges_of(
    conn: &mut AnyConnection,
    owner: &WalletOwner,
    (chain, token): (ChainId, Address),
    (at, made_by): (Millis, Millis),
    limit: i64,
) -> Result<Vec<OpenCharge>, StoreError> {
    let rows = sqlx::query(
        "select id, chain, token, treasury from charge where tenant = $1 and state in ('open', 'confirming', 'expired') \
         and created_at <= $5 and grace_until >= $4 and coalesce(user_id, $6) = $6 \
         order by case when chain = $2 and token = $3 then 0 else 1 end, id limit $7",
    )
    .bind(owner.tenant.as_str())
    .bind(int(chain.0))
    .bind(token.to_vec())
    .bind(at)
    .bind(made_by)
    .bind(owner.user.as_str())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    let open = |row: &AnyRow| {
        Ok(OpenCharge {
            id: row.parsed("id", "a charge id")?,
            chain: ChainId(row.unsigned("chain")?),
            token: row.address("token")?,
            treasury: row.address("treasury")?,
        })
    };
    rows.iter().map(open).collect()
}

/// The charges that hold the leases of these amounts at a block's time. The key allows one for each.
///
/// # Errors
/// The database fails.
pub async fn leased_charges(
    conn: &mut AnyConnection,
    (chain, token, treasury): (ChainId, Address, Address),
    amounts: &[Amount],
    at: Millis,
) -> Result<Vec<(Amount, ChargeId)>, StoreError> {
    let mut leased = Vec::new();
    for amounts in amounts.chunks(ROWS_PER_STATEMENT) {
        let text = format!(
            "select due, charge from amount_lease where chain = $1 and token = $2 and treasury = $3 \
             and valid_from <= $4 and valid_until >= $4 and due in ({})",
            list(4, amounts.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text))
            .bind(int(chain.0))
            .bind(token.to_vec())
            .bind(treasury.to_vec())
            .bind(at);
        for amount in amounts {
            query = query.bind(amount.to_string());
        }
        for row in query.fetch_all(&mut *conn).await? {
            leased.push((row.amount("due")?, row.parsed("charge", "a charge id")?));
        }
    }
    Ok(leased)
}

/// How many amounts are taken that were made from one that is asked: [`WriteTx::lease_amount`] would not give them.
///
/// # Errors
/// The database fails.
pub async fn pool_usage(
    conn: &mut AnyConnection,
    (chain, token, treasury): (ChainId, Address, Address),
    asked: Amount,
    (now, settled_time): (Millis, Millis),
) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "select count(*) as taken from amount_lease where chain = $1 and token = $2 and treasury = $3 and asked = $4 \
         and (free_at > $5 or valid_until >= $6)",
    )
    .bind(int(chain.0))
    .bind(token.to_vec())
    .bind(treasury.to_vec())
    .bind(asked.to_string())
    .bind(now)
    .bind(settled_time)
    .fetch_one(conn)
    .await?;
    row.int("taken")
}

/// The charges of a tenant that bought something, hold money or hold credit: what its periods and its credit are folded
/// from.
///
/// # Errors
/// The database fails.
pub async fn account_charges(conn: &mut AnyConnection, tenant: &TenantId) -> Result<Vec<Charge>, StoreError> {
    let rows = sqlx::query(
        "select * from charge where tenant = $1 and (state in ('paid', 'reversed') or confirmed <> '0' \
         or credit <> '0') order by created_at, id",
    )
    .bind(tenant.as_str())
    .fetch_all(conn)
    .await?;
    rows.iter().map(charge_from).collect()
}

/// The tenants that were ever charged on a chain.
///
/// # Errors
/// The database fails.
pub async fn tenants_charged_on(
    conn: &mut AnyConnection,
    chain: ChainId,
) -> Result<Vec<TenantId>, StoreError> {
    let rows = sqlx::query("select distinct tenant from charge where chain = $1 order by tenant")
        .bind(int(chain.0))
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| row.parsed("tenant", "a tenant id"))
        .collect()
}

/// Charges that time alone changes now: their chain is settled past their deadline or their grace, or it is not and they
/// do not say so yet. Oldest deadline first.
///
/// # Errors
/// The database fails.
pub async fn charge_ids_due(
    conn: &mut AnyConnection,
    now: Millis,
    limit: i64,
) -> Result<Vec<ChargeId>, StoreError> {
    let rows = sqlx::query(
        "select c.id from charge c join chain h on h.chain = c.chain where (c.state = 'open' and c.expires_at <= $1 \
         and (h.absent_time >= c.expires_at or c.flags not like '%chain_blind%')) \
         or (c.closed_at is null and c.state in ('expired', 'cancelled', 'reversed') and c.grace_until <= $1 \
         and h.absent_time >= c.grace_until) \
         order by c.expires_at limit $2",
    )
    .bind(now)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| row.parsed("id", "a charge id")).collect()
}

impl WriteTx {
    /// Stores a new charge.
    ///
    /// # Errors
    /// The database fails.
    pub async fn insert_charge(&mut self, charge: &Charge) -> Result<(), StoreError> {
        let terms = &charge.terms;
        sqlx::query(
            "insert into charge (id, tenant, user_id, product, chain, token, treasury, price, due, created_at, \
             expires_at, grace_until, state, flags, seen, confirmed, finalized, cancelled_at, paid_at, \
             reference, sequence, unit, decimals, credit, unused, asked, rank, when_active, queued_behind, \
             reversed_at, closed_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
             $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31)",
        )
        .bind(terms.id.as_str())
        .bind(terms.tenant.as_str())
        .bind(terms.user.as_ref().map(UserId::as_str))
        .bind(terms.product.to_string())
        .bind(int(terms.chain.0))
        .bind(terms.token.to_vec())
        .bind(terms.treasury.to_vec())
        .bind(terms.price.to_string())
        .bind(terms.due.to_string())
        .bind(terms.created_at)
        .bind(terms.expires_at)
        .bind(terms.grace_until)
        .bind(charge.state.as_str())
        .bind(json_text(&charge.flags))
        .bind(charge.totals.seen.to_string())
        .bind(charge.totals.confirmed.to_string())
        .bind(charge.totals.finalized.to_string())
        .bind(charge.cancelled_at)
        .bind(charge.paid_at)
        .bind(charge.reference.to_vec())
        .bind(charge.sequence)
        .bind(terms.quote.unit.as_str())
        .bind(i64::from(terms.quote.decimals))
        .bind(terms.quote.credit.to_string())
        .bind(terms.quote.unused.to_string())
        .bind(terms.quote.asked.to_string())
        .bind(i64::from(terms.quote.rank))
        .bind(terms.when_active.map(WhenActive::as_str))
        .bind(terms.queued_behind.as_deref())
        .bind(charge.reversed_at)
        .bind(charge.closed_at)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Stores what became of charges; their terms never change.
    ///
    /// # Errors
    /// The database fails.
    pub async fn update_charges(&mut self, charges: &[Charge]) -> Result<(), StoreError> {
        for rows in charges.chunks(CHARGES_PER_STATEMENT) {
            let text = format!(
                "with told (id, state, flags, seen, confirmed, finalized, cancelled_at, paid_at, reference, sequence, \
                 reversed_at, closed_at) as (values {}) update charge set state = told.state, flags = told.flags, \
                 seen = told.seen, confirmed = told.confirmed, finalized = told.finalized, \
                 cancelled_at = told.cancelled_at, paid_at = told.paid_at, reference = told.reference, \
                 sequence = told.sequence, reversed_at = told.reversed_at, closed_at = told.closed_at \
                 from told where charge.id = told.id",
                value_lists(rows.len(), 0, 12)
            );
            let mut query = sqlx::query(AssertSqlSafe(text));
            for charge in rows {
                query = query
                    .bind(charge.terms.id.as_str())
                    .bind(charge.state.as_str())
                    .bind(json_text(&charge.flags))
                    .bind(charge.totals.seen.to_string())
                    .bind(charge.totals.confirmed.to_string())
                    .bind(charge.totals.finalized.to_string())
                    .bind(charge.cancelled_at)
                    .bind(charge.paid_at)
                    .bind(charge.reference.to_vec())
                    .bind(charge.sequence)
                    .bind(charge.reversed_at)
                    .bind(charge.closed_at);
            }
            query.execute(self.conn()).await?;
        }
        Ok(())
    }

    /// Stores what became of a charge; its terms never change.
    ///
    /// # Errors
    /// The database fails.
    pub async fn update_charge(&mut self, charge: &Charge) -> Result<(), StoreError> {
        self.update_charges(std::slice::from_ref(charge)).await
    }

    /// Leases the amount due to a charge, unless another holds it: until after `now`, or for blocks that are not settled
    /// yet. It matches payments whose block is between `valid_from` and the end of grace, and is free again at `free_at`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn lease_amount(
        &mut self,
        terms: &ChargeTerms,
        (valid_from, free_at): (Millis, Millis),
        (now, settled_time): (Millis, Millis),
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "insert into amount_lease (chain, token, treasury, due, charge, valid_from, valid_until, free_at, asked) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9) on conflict (due, chain, token, treasury) do update \
             set charge = excluded.charge, valid_from = excluded.valid_from, valid_until = excluded.valid_until, \
             free_at = excluded.free_at, asked = excluded.asked \
             where amount_lease.free_at <= $10 and amount_lease.valid_until < $11",
        )
        .bind(int(terms.chain.0))
        .bind(terms.token.to_vec())
        .bind(terms.treasury.to_vec())
        .bind(terms.due.to_string())
        .bind(terms.id.as_str())
        .bind(valid_from)
        .bind(terms.grace_until)
        .bind(free_at)
        .bind(terms.quote.asked.to_string())
        .bind(now)
        .bind(settled_time)
        .execute(self.conn())
        .await?;
        Ok(done.rows_affected() == 1)
    }
}
