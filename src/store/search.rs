//! Payments as people look for them: by what they know of one, newest first, a page at a time.

use alloy::primitives::{Address, B256};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe};

use super::StoreError;
use super::charge::charge_from;
use super::payment::payment_from;
use super::value::{Columns, int, json_text};
use crate::domain::{
    ChainId, Charge, ChargeId, Disposition, Millis, Payment, PaymentFlag, PaymentKey, PaymentState, TenantId,
};

/// What is known of the payments that are looked for; all of it must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PaymentFilter {
    /// The chain.
    pub chain: Option<ChainId>,
    /// The transaction.
    pub tx_hash: Option<B256>,
    /// The payer or the treasury.
    pub address: Option<Address>,
    /// Whose charge it was given to.
    pub tenant: Option<TenantId>,
    /// The charge it was given to.
    pub charge: Option<ChargeId>,
    /// How far it is.
    pub state: Option<PaymentState>,
    /// Only those in force that no charge has, and that no operator has decided about.
    pub unmatched: bool,
    /// What is remarkable about it.
    pub flag: Option<PaymentFlag>,
}

/// A payment with what stands beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPayment {
    /// The payment.
    pub payment: Payment,
    /// What an operator decided.
    pub disposition: Option<Disposition>,
    /// Whose charge it was given to.
    pub tenant: Option<TenantId>,
}

fn found_from(row: &AnyRow) -> Result<FoundPayment, StoreError> {
    Ok(FoundPayment {
        payment: payment_from(row)?,
        disposition: row.opt_word("disposition")?,
        tenant: row.opt_parsed("tenant", "a tenant id")?,
    })
}

/// A value to bind.
enum Value {
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A query that is put together from what is asked for. Its text holds no value.
struct Search {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Search {
    fn new(filter: &PaymentFilter, after: Option<&(Millis, PaymentKey)>) -> Self {
        let mut search = Self {
            conditions: Vec::new(),
            values: Vec::new(),
        };
        search.add_filter(filter);
        if let Some((block_time_ms, key)) = after {
            let place = [
                search.bind(Value::Int(*block_time_ms)),
                search.bind(Value::Int(int(key.chain.0))),
                search.bind(Value::Bytes(key.tx_hash.to_vec())),
                search.bind(Value::Int(i64::from(key.ordinal))),
            ];
            let place = place.join(", ");
            search.conditions.push(format!(
                "(p.block_time, p.chain, p.tx_hash, p.ordinal) < ({place})"
            ));
        }
        search
    }

    fn add_filter(&mut self, filter: &PaymentFilter) {
        if let Some(chain) = filter.chain {
            self.equal("p.chain", Value::Int(int(chain.0)));
        }
        if let Some(hash) = filter.tx_hash {
            self.equal("p.tx_hash", Value::Bytes(hash.to_vec()));
        }
        if let Some(address) = filter.address {
            let address = self.bind(Value::Bytes(address.to_vec()));
            self.conditions
                .push(format!("(p.payer = {address} or p.treasury = {address})"));
        }
        if let Some(tenant) = &filter.tenant {
            self.equal("c.tenant", Value::Text(tenant.to_string()));
        }
        if let Some(charge) = &filter.charge {
            self.equal("p.charge", Value::Text(charge.to_string()));
        }
        if let Some(state) = filter.state {
            self.equal("p.state", Value::Text(state.as_str().to_owned()));
        }
        if filter.unmatched {
            self.conditions
                .push("p.charge is null and p.disposition is null and p.state <> 'orphaned'".to_owned());
        }
        if let Some(flag) = filter.flag {
            let flag = self.bind(Value::Text(format!("%{}%", json_text(&flag))));
            self.conditions
                .push(format!("p.flags <> '[]' and p.flags like {flag}"));
        }
    }

    fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    fn equal(&mut self, column: &str, value: Value) {
        let value = self.bind(value);
        self.conditions.push(format!("{column} = {value}"));
    }

    fn text(&self) -> String {
        let conditions = if self.conditions.is_empty() {
            String::new()
        } else {
            format!("where {} ", self.conditions.join(" and "))
        };
        let limit = self.values.len() + 1;
        format!(
            "select p.*, c.tenant from payment p left join charge c on c.id = p.charge {conditions}\
             order by p.block_time desc, p.chain desc, p.tx_hash desc, p.ordinal desc limit ${limit}"
        )
    }

    fn query<'q>(self, text: String, limit: i64) -> Query<'q, Any, AnyArguments> {
        let mut query = sqlx::query(AssertSqlSafe(text));
        for value in self.values {
            query = match value {
                Value::Int(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
            };
        }
        query.bind(limit)
    }
}

/// The payments that a filter asks for, newest first, from behind `after`.
///
/// # Errors
/// The database fails.
pub async fn search_payments(
    conn: &mut AnyConnection,
    filter: &PaymentFilter,
    after: Option<&(Millis, PaymentKey)>,
    limit: i64,
) -> Result<Vec<FoundPayment>, StoreError> {
    let search = Search::new(filter, after);
    let text = search.text();
    let rows = search.query(text, limit).fetch_all(conn).await?;
    rows.iter().map(found_from).collect()
}

/// One payment with what stands beside it.
///
/// # Errors
/// The database fails.
pub async fn found_payment(
    conn: &mut AnyConnection,
    key: &PaymentKey,
) -> Result<Option<FoundPayment>, StoreError> {
    let row = sqlx::query(
        "select p.*, c.tenant from payment p left join charge c on c.id = p.charge \
         where p.chain = $1 and p.tx_hash = $2 and p.ordinal = $3",
    )
    .bind(int(key.chain.0))
    .bind(key.tx_hash.to_vec())
    .bind(i64::from(key.ordinal))
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(found_from).transpose()
}

/// The charges that were made between two times, newest first: those that somebody may have meant to pay.
///
/// # Errors
/// The database fails.
pub async fn charges_made_between(
    conn: &mut AnyConnection,
    (from, to): (Millis, Millis),
    limit: i64,
) -> Result<Vec<Charge>, StoreError> {
    let rows = sqlx::query(
        "select * from charge where created_at >= $1 and created_at <= $2 order by created_at desc, id limit $3",
    )
    .bind(from)
    .bind(to)
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(charge_from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreSettings;
    use crate::store::Store;

    fn filters() -> Vec<(PaymentFilter, &'static str)> {
        let filter = PaymentFilter::default;
        vec![
            (filter(), "payment_by_time"),
            (
                PaymentFilter {
                    chain: Some(ChainId(1)),
                    ..filter()
                },
                "payment_by_chain_and_time",
            ),
            (
                PaymentFilter {
                    tx_hash: Some(B256::ZERO),
                    ..filter()
                },
                "payment_by_hash",
            ),
            (
                PaymentFilter {
                    address: Some(Address::ZERO),
                    ..filter()
                },
                "payment_by_payer",
            ),
            (
                PaymentFilter {
                    tenant: "acme".parse().ok(),
                    ..filter()
                },
                "payment_by_charge",
            ),
            (
                PaymentFilter {
                    charge: "one".parse().ok(),
                    ..filter()
                },
                "payment_by_charge",
            ),
            (
                PaymentFilter {
                    state: Some(PaymentState::Orphaned),
                    ..filter()
                },
                "payment_by_state_and_time",
            ),
            (
                PaymentFilter {
                    unmatched: true,
                    ..filter()
                },
                "payment_unmatched",
            ),
            (
                PaymentFilter {
                    flag: Some(PaymentFlag::Ambiguous),
                    ..filter()
                },
                "payment_flagged",
            ),
        ]
    }

    #[tokio::test]
    async fn every_filter_has_its_index() {
        let folder = tempfile::tempdir().unwrap();
        let settings = StoreSettings {
            url: format!("sqlite://{}/t.sqlite", folder.path().display()).into(),
            max_connections: 1,
        };
        let store = Store::open(&settings).await.unwrap();
        let mut conn = store.read().await.unwrap();
        let after = (1, format!("1-{}-0", B256::ZERO).parse().unwrap());
        for (filter, index) in filters() {
            for after in [None, Some(&after)] {
                let search = Search::new(&filter, after);
                let text = format!("explain query plan {}", search.text());
                let plan = search.query(text, 10).fetch_all(&mut *conn).await.unwrap();
                let plan: Vec<String> = plan.iter().map(|row| row.text("detail").unwrap()).collect();
                assert!(
                    plan.iter().any(|step| step.contains(index)),
                    "{filter:?}: {plan:#?}"
                );
            }
        }
    }
}
