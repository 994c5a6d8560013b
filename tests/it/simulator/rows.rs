//! What the database holds, read with plain SQL.

use std::collections::BTreeMap;

use alloy::primitives::{Address, B256, I256, U256};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row as _};

use super::truth::Key;

/// A payment as it is stored.
#[derive(Debug)]
pub struct StoredPayment {
    pub state: String,
    pub amount: U256,
    pub block: B256,
    pub number: u64,
    pub index: u64,
    pub charge: Option<String>,
}

#[derive(Debug)]
pub struct StoredCharge {
    pub id: String,
    pub tenant: String,
    /// How many months it buys.
    pub months: i64,
    pub due: U256,
    /// What was set aside for it, in 10^-18 of a unit; below zero, what it asks for of what is owed.
    pub credit: I256,
    pub state: String,
    /// It was not paid in time.
    pub is_closed: bool,
    pub seen: U256,
    pub confirmed: U256,
}

#[derive(Debug)]
pub struct StoredWatch {
    pub contract: Address,
    pub next: u64,
    pub live_from: Option<u64>,
}

#[derive(Debug)]
pub struct StoredAudit {
    pub id: i64,
    pub at_ms: i64,
    pub action: String,
    pub subject: String,
    pub actor: String,
    pub after: Value,
}

#[derive(Debug)]
pub struct StoredEvent {
    pub id: i64,
    pub kind: String,
    pub resource: String,
    pub sequence: i64,
}

#[derive(Debug)]
pub struct StoredChain {
    pub start: u64,
    pub read: Option<(u64, B256)>,
    /// How far each tier is settled, lowest first; as many as the policy has, at the most.
    pub settled: Vec<Option<(u64, B256)>>,
    pub finalized: Option<(u64, B256)>,
    /// By the clock of whoever set it aside.
    pub quarantined_since: Option<i64>,
    pub lease: (i64, i64),
}

pub async fn all(conn: &mut AnyConnection, query: &str) -> Vec<AnyRow> {
    let query = sqlx::query(AssertSqlSafe(query.to_owned()));
    query.fetch_all(conn).await.expect("the database is read")
}

fn number(row: &AnyRow, column: &str) -> u64 {
    u64::try_from(row.get::<i64, _>(column)).expect("no height is negative")
}

fn hash(row: &AnyRow, column: &str) -> B256 {
    B256::from_slice(&row.get::<Vec<u8>, _>(column))
}

fn amount(row: &AnyRow, column: &str) -> U256 {
    row.get::<String, _>(column).parse().expect("an amount")
}

fn position(row: &AnyRow, at: &str, of: &str) -> Option<(u64, B256)> {
    row.get::<Option<i64>, _>(at)?;
    Some((number(row, at), hash(row, of)))
}

fn json<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Option<T> {
    let text: Option<String> = row.get(column);
    text.map(|text| serde_json::from_str(&text).expect("JSON"))
}

pub async fn chain(conn: &mut AnyConnection) -> Option<StoredChain> {
    let query = "select c.*, l.fence, l.beat from chain c join lease l on l.role = 'chain:' || c.chain";
    let rows = all(conn, query).await;
    let row = rows.first()?;
    let upper: Vec<Value> = json(row, "upper_tiers").expect("the upper tiers");
    let upper = upper.iter().map(|tier| {
        let hash = serde_json::from_value(tier["block"]["hash"].clone()).ok()?;
        Some((tier["block"]["number"].as_u64()?, hash))
    });
    let lowest = position(row, "settled_number", "settled_hash");
    let settled = std::iter::once(lowest).chain(upper).collect();
    let held: Option<Value> = json(row, "quarantined");
    Some(StoredChain {
        start: number(row, "start_number"),
        read: position(row, "read_number", "read_hash"),
        settled,
        finalized: position(row, "finalized_number", "finalized_hash"),
        quarantined_since: held.map(|held| held["since"].as_i64().expect("a time")),
        lease: (row.get("fence"), row.get("beat")),
    })
}

/// The kept headers, lowest first.
pub async fn headers(conn: &mut AnyConnection) -> Vec<(u64, B256)> {
    let rows = all(conn, "select number, hash from header order by number").await;
    rows.iter()
        .map(|row| (number(row, "number"), hash(row, "hash")))
        .collect()
}

pub async fn payments(conn: &mut AnyConnection) -> BTreeMap<Key, StoredPayment> {
    let rows = all(conn, "select * from payment").await;
    let stored = rows.iter().map(|row| {
        let ordinal = u32::try_from(number(row, "ordinal")).unwrap();
        let payment = StoredPayment {
            state: row.get("state"),
            amount: amount(row, "amount"),
            block: hash(row, "block_hash"),
            number: number(row, "block_number"),
            index: number(row, "log_index"),
            charge: row.get("charge"),
        };
        ((hash(row, "tx_hash"), ordinal), payment)
    });
    stored.collect()
}

/// Block, index, transaction, ordinal, and whether it is canonical.
pub async fn observations(conn: &mut AnyConnection) -> Vec<(B256, u64, Key, bool)> {
    let rows = all(conn, "select * from observation order by block_number, log_index").await;
    let seen = rows.iter().map(|row| {
        let ordinal = u32::try_from(number(row, "ordinal")).unwrap();
        let key = (hash(row, "tx_hash"), ordinal);
        let is_canonical = number(row, "canonical") == 1;
        (
            hash(row, "block_hash"),
            number(row, "log_index"),
            key,
            is_canonical,
        )
    });
    seen.collect()
}

pub async fn charges(conn: &mut AnyConnection) -> Vec<StoredCharge> {
    let rows = all(conn, "select * from charge order by created_at, id").await;
    let stored = rows.iter().map(|row| StoredCharge {
        id: row.get("id"),
        tenant: row.get("tenant"),
        months: if row.get::<String, _>("product").ends_with("year") {
            12
        } else {
            1
        },
        due: amount(row, "due"),
        credit: row.get::<String, _>("credit").parse().expect("a signed amount"),
        state: row.get("state"),
        is_closed: row.get::<Option<i64>, _>("closed_at").is_some(),
        seen: amount(row, "seen"),
        confirmed: amount(row, "confirmed"),
    });
    stored.collect()
}

pub async fn watches(conn: &mut AnyConnection) -> Vec<StoredWatch> {
    let rows = all(conn, "select * from watch order by contract").await;
    let stored = rows.iter().map(|row| StoredWatch {
        contract: Address::from_slice(&row.get::<Vec<u8>, _>("contract")),
        next: number(row, "next_number"),
        live_from: row
            .get::<Option<i64>, _>("live_from")
            .map(|from| u64::try_from(from).unwrap()),
    });
    stored.collect()
}

/// Who holds something of a contract.
pub async fn balances(conn: &mut AnyConnection, contract: Address) -> BTreeMap<Address, U256> {
    let rows = all(conn, "select contract, holder, value from balance").await;
    let stored = rows.iter().filter_map(|row| {
        let bytes = |column| row.get::<Vec<u8>, _>(column);
        let is_wanted = bytes("contract") == contract.as_slice();
        let value = U256::from_be_slice(&bytes("value"));
        (is_wanted && !value.is_zero()).then(|| (Address::from_slice(&bytes("holder")), value))
    });
    stored.collect()
}

/// What was recorded since.
pub async fn audit(conn: &mut AnyConnection, since: i64) -> Vec<StoredAudit> {
    let query = format!("select * from audit where id > {since} order by id");
    let rows = all(conn, &query).await;
    let stored = rows.iter().map(|row| StoredAudit {
        id: row.get("id"),
        at_ms: row.get("at"),
        action: row.get("action"),
        subject: row.get("subject"),
        actor: row.get("actor"),
        after: json(row, "after_state").unwrap_or_default(),
    });
    stored.collect()
}

pub async fn events(conn: &mut AnyConnection, since: i64) -> Vec<StoredEvent> {
    let query = format!("select id, type, resource, sequence from outbox where id > {since} order by id");
    let rows = all(conn, &query).await;
    let stored = rows.iter().map(|row| StoredEvent {
        id: row.get("id"),
        kind: row.get("type"),
        resource: row.get("resource"),
        sequence: row.get("sequence"),
    });
    stored.collect()
}

/// Tenant, state, and how long the period is in milliseconds.
pub async fn periods(conn: &mut AnyConnection) -> Vec<(String, String, i64)> {
    let rows = all(conn, "select * from source where provider = 'crypto'").await;
    let stored = rows.iter().map(|row| {
        let bound = |column| row.get::<Option<i64>, _>(column).unwrap_or(0);
        let length = bound("period_end") - bound("period_start");
        (row.get("tenant"), row.get("state"), length)
    });
    stored.collect()
}
