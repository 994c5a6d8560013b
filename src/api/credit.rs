//! What a tenant has paid beyond what it bought, or owes.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::asker::{Asker, NamedInHeaders, NamedInQuery};
use super::cursor::{self, PageQuery};
use super::extract::InQuery;
use super::problem::Problem;
use crate::engine::CreditEntryView;

/// A tenant's credit, and how it came to be.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreditView {
    /// Whose it is.
    tenant_id: String,
    /// By unit; empty where there never was any.
    balances: Vec<BalanceView>,
    /// Newest first.
    entries: Vec<CreditEntryView>,
    /// Gives the next page as `cursor`; null at the end.
    next_cursor: Option<String>,
}

/// The credit in one unit.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BalanceView {
    /// Such as `USD`: every token that is worth one of it.
    unit: String,
    /// In units; below zero it is owed, and asked for with the next charge.
    balance: String,
}

/// What a tenant has in credit
///
/// It is spent before a payment is asked for.
#[utoipa::path(
    get,
    path = "/api/billing/credit",
    operation_id = "show_credit",
    tag = "subscription",
    params(NamedInQuery, NamedInHeaders, PageQuery),
    responses((status = 200, body = CreditView))
)]
pub(super) async fn show(
    State(app): State<Shared>,
    asker: Asker,
    InQuery(page): InQuery<PageQuery>,
) -> Result<Json<CreditView>, Problem> {
    let tenant = asker.tenant(None)?;
    let after = page.after()?;
    let found = app.engine.credit(&tenant, after, page.limit()?).await?;
    let balances = found.balances.into_iter();
    Ok(Json(CreditView {
        tenant_id: tenant.to_string(),
        balances: balances
            .map(|(unit, balance)| BalanceView {
                unit,
                balance: balance.to_units(),
            })
            .collect(),
        entries: found.entries,
        next_cursor: found.next.as_ref().map(cursor::write),
    }))
}
