//! A tenant's account on-chain: folded from its charges whenever one of them changes, or time has passed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::subscriptions::{put_source, refold};
use super::view::rfc3339;
use super::work::{Command, Origin, Work};
use super::{Engine, EngineError, Settings};
use crate::billing::{self, Graces};
use crate::domain::{ChargeId, Credit, CreditEntry, CreditKind, Millis, TenantId};
use crate::store;

/// Tenants that are folded again in one transaction.
const MAX_TENANTS: i64 = 100;

/// What each charge gave, by its unit and the reason.
type Given = BTreeMap<(ChargeId, String, CreditKind), Credit>;

/// Folds a tenant's charges into its crypto sources and its credit, and then all of its sources into what it has.
pub(super) async fn refold_account(work: &mut Work<'_>, tenant: &TenantId) -> Result<(), EngineError> {
    let charges = store::account_charges(work.tx.conn(), tenant).await?;
    let known = store::sources(work.tx.conn(), Some(tenant)).await?;
    let change = store::plan_change(work.tx.conn(), tenant).await?;
    let rules = (change.as_ref(), graces(work.settings));
    let account = billing::fold_account(tenant, &charges, &known, rules, work.now);
    for source in account.sources {
        put_source(work, source).await?;
    }
    write_credit(work, tenant, &account.credit).await?;
    refold(work, tenant, account.changes_at).await
}

pub(super) fn graces(settings: &Settings) -> Graces {
    let ms = |grace: std::time::Duration| Millis::try_from(grace.as_millis()).unwrap_or(Millis::MAX);
    Graces {
        renewal_ms: ms(settings.payments.charge_grace),
        reversal_ms: ms(settings.payments.reversal_grace),
    }
}

/// Adds the entries that lead from what was written of each charge to what it gives now.
async fn write_credit(work: &mut Work<'_>, tenant: &TenantId, given: &Given) -> Result<(), EngineError> {
    let balances = store::credit_balances(work.tx.conn(), tenant).await?;
    if balances.is_empty() && given.is_empty() {
        return Ok(());
    }
    let mut written = Given::new();
    for (_, entry) in store::credit_entries(work.tx.conn(), tenant, i64::MAX, i64::MAX).await? {
        let sum = written.entry((entry.charge, entry.unit, entry.kind)).or_default();
        *sum = sum.plus(entry.amount);
    }
    let mut balances: BTreeMap<String, Credit> = balances.into_iter().collect();
    let mut changed: BTreeMap<String, Vec<CreditEntry>> = BTreeMap::new();
    let keys: BTreeSet<_> = written.keys().chain(given.keys()).collect();
    for key @ (charge, unit, kind) in keys {
        let of = |given: &Given| given.get(key).copied().unwrap_or_default();
        let amount = of(given).minus(of(&written));
        if amount.is_zero() {
            continue;
        }
        let entry = work.credit_entry(tenant, (charge, unit, *kind), amount);
        work.tx.insert_credit_entry(&entry).await?;
        let balance = balances.entry(unit.clone()).or_default();
        *balance = balance.plus(amount);
        changed.entry(unit.clone()).or_default().push(entry);
    }
    for (unit, entries) in changed {
        let balance = balances.get(&unit).copied().unwrap_or_default();
        let by = entries
            .iter()
            .fold(Credit::ZERO, |sum, entry| sum.plus(entry.amount));
        tell_credit(work, tenant, &unit, (balance.minus(by), balance), &entries).await?;
    }
    Ok(())
}

async fn tell_credit(
    work: &mut Work<'_>,
    tenant: &TenantId,
    unit: &str,
    (before, after): (Credit, Credit),
    entries: &[CreditEntry],
) -> Result<(), EngineError> {
    work.tx.put_credit(tenant, unit, after).await?;
    let subject = format!("tenant:{tenant}");
    let entries: Vec<Value> = entries
        .iter()
        .map(|entry| json!(CreditEntryView::from(entry)))
        .collect();
    let balance = |balance: Credit| json!({"unit": unit, "balance": balance.to_units()});
    let mut after = balance(after);
    if let Some(after) = after.as_object_mut() {
        after.insert("entries".to_owned(), Value::Array(entries));
    }
    work.audit(
        "credit.change",
        subject.clone(),
        (Some(balance(before)), Some(after.clone())),
    )
    .await?;
    let data = json!({"tenantId": tenant, "credit": after});
    work.owe("credit.changed", subject, data).await
}

/// Folds the tenants again whose account may have changed by time alone.
#[derive(Debug, Clone, Copy)]
pub struct RefoldDue;

impl Command for RefoldDue {
    /// How many were folded.
    type Output = usize;

    fn origin(&self) -> Origin {
        Origin {
            actor: "clock".to_owned(),
            cause: "a period ended".to_owned(),
        }
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<usize, EngineError> {
        let now = work.now;
        let tenants = store::tenants_due(work.tx.conn(), now, MAX_TENANTS).await?;
        for tenant in &tenants {
            refold_account(work, tenant).await?;
        }
        Ok(tenants.len())
    }
}

/// One change of a tenant's credit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreditEntryView {
    /// In what, such as `USD`.
    pub unit: String,
    /// By how much, in units; below zero it was taken.
    pub amount: String,
    /// `excess`, `set_aside`, `repaid` or `unused_time`.
    #[schema(value_type = String)]
    pub kind: CreditKind,
    /// The charge that gave or took it.
    pub charge_id: String,
    /// When.
    pub at: String,
}

impl From<&CreditEntry> for CreditEntryView {
    fn from(entry: &CreditEntry) -> Self {
        Self {
            unit: entry.unit.clone(),
            amount: entry.amount.to_units(),
            kind: entry.kind,
            charge_id: entry.charge.to_string(),
            at: rfc3339(entry.at),
        }
    }
}

/// A tenant's credit with a page of its entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditPage {
    /// By unit.
    pub balances: Vec<(String, Credit)>,
    /// Newest first.
    pub entries: Vec<CreditEntryView>,
    /// Where the next page begins: the time and the number of the last entry.
    pub next: Option<(Millis, i64)>,
}

impl Engine {
    /// A tenant's credit, and at most `limit` of its entries below the place `after`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn credit(
        &self,
        tenant: &TenantId,
        after: Option<(Millis, i64)>,
        limit: usize,
    ) -> Result<CreditPage, EngineError> {
        let before = after.map_or(i64::MAX, |(_, id)| id);
        let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut snapshot = self.inner.store.begin_read().await?;
        let balances = store::credit_balances(&mut snapshot, tenant).await?;
        let mut entries = store::credit_entries(&mut snapshot, tenant, before, wanted).await?;
        let has_more = entries.len() > limit;
        entries.truncate(limit);
        let last = entries.last().filter(|_| has_more);
        Ok(CreditPage {
            next: last.map(|(id, entry)| (entry.at, *id)),
            balances,
            entries: entries.iter().map(|(_, entry)| entry.into()).collect(),
        })
    }
}
