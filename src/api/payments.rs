//! Payments for operators: searched, and decided about where no rule could.

use alloy::primitives::B256;
use axum::Json;
use axum::extract::State;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Shared;
use super::asker::Asker;
use super::charges::chain;
use super::cursor::{self, PageQuery};
use super::extract::{Id, InQuery, JsonBody};
use super::problem::Problem;
use crate::access::parse_address;
use crate::domain::{Amount, ChargeId, PaymentKey, TenantId};
use crate::engine::{AssignPayment, IgnorePayment, RecordRefund, RefundView, ReviewView, UnmatchedView};
use crate::store::PaymentFilter;

/// The most unmatched payments of one page: each is compared with some hundred charges.
const MAX_UNMATCHED: usize = 50;

/// What is known of the payments that are looked for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(super) struct PaymentQuery {
    /// The chain: 137, `0x89`, `eip155:137` or `polygon`.
    chain: Option<String>,
    /// The transaction.
    tx_hash: Option<String>,
    /// The payer's address, or the treasury's.
    address: Option<String>,
    /// Whose charge it was given to.
    tenant: Option<String>,
    /// The charge it was given to.
    charge: Option<String>,
    /// `confirming`, `confirmed`, `final` or `orphaned`.
    state: Option<String>,
    /// `true`: only those in force that no charge has, and that nobody has decided about.
    unmatched: Option<String>,
    /// `wrong_token`, `wrong_chain`, `ambiguous` or `held`.
    flag: Option<String>,
}

impl PaymentQuery {
    fn filter(self) -> Result<PaymentFilter, Problem> {
        let chain = self.chain.map(|text| chain(&serde_json::Value::String(text)));
        let address = self.address.as_deref().map(parse_address).transpose();
        let unmatched = match self.unmatched.as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(Problem::invalid("unmatched", "must be true or false")),
        };
        Ok(PaymentFilter {
            chain: chain.transpose().map_err(|problem| problem.at("chain"))?,
            tx_hash: self
                .tx_hash
                .as_deref()
                .map(|text| hash("txHash", text))
                .transpose()?,
            address: address.map_err(|problem| Problem::invalid("address", problem))?,
            tenant: id::<TenantId>("tenant", self.tenant)?,
            charge: id::<ChargeId>("charge", self.charge)?,
            state: word("state", self.state, "confirming, confirmed, final or orphaned")?,
            unmatched,
            flag: word("flag", self.flag, "wrong_token, wrong_chain, ambiguous or held")?,
        })
    }
}

fn id<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<T>, Problem> {
    let parsed = text.map(|text| text.parse()).transpose();
    parsed.map_err(|error| Problem::invalid(field, &format!("is wrong: {error}")))
}

fn word<T: DeserializeOwned>(
    field: &'static str,
    text: Option<String>,
    known: &str,
) -> Result<Option<T>, Problem> {
    let parsed = text.map(|text| serde_json::from_value(serde_json::Value::String(text)));
    let parsed = parsed.transpose();
    parsed.map_err(|_| Problem::invalid(field, &format!("must be one of {known}")))
}

/// The hash of a transaction that a request names.
pub(super) fn hash(field: &'static str, text: &str) -> Result<B256, Problem> {
    let digits = text.strip_prefix("0x").unwrap_or_default();
    let parsed = if digits.len() == 64 {
        text.parse().ok()
    } else {
        None
    };
    let problem = "must be a transaction hash: 0x and 64 hexadecimal digits";
    parsed.ok_or_else(|| Problem::invalid(field, problem))
}

/// One page of payments.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PaymentsView {
    /// Newest first.
    payments: Vec<ReviewView>,
    /// The `cursor` of the next page; null on the last.
    next_cursor: Option<String>,
}

/// One page of unmatched payments.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UnmatchedPageView {
    /// Newest first.
    payments: Vec<UnmatchedView>,
    /// The `cursor` of the next page; null on the last.
    next_cursor: Option<String>,
}

/// Looks for payments
///
/// Every filter that is given must hold.
#[utoipa::path(
    get,
    path = "/api/admin/payments",
    operation_id = "search_payments",
    tag = "operators",
    params(PaymentQuery, PageQuery),
    responses((status = 200, body = PaymentsView))
)]
pub(super) async fn search(
    State(app): State<Shared>,
    InQuery(query): InQuery<PaymentQuery>,
    InQuery(page): InQuery<PageQuery>,
) -> Result<Json<PaymentsView>, Problem> {
    let filter = query.filter()?;
    let (after, limit) = (page.after()?, page.limit()?);
    let page = app.engine.search_payments(&filter, after.as_ref(), limit).await?;
    Ok(Json(PaymentsView {
        payments: page
            .payments
            .iter()
            .map(|found| app.engine.review(found))
            .collect(),
        next_cursor: page.next.as_ref().map(cursor::write),
    }))
}

/// The payments that wait for a decision
///
/// Each with who claims it, and the charges that it may be for, with the reasons. At most 50 a page.
#[utoipa::path(
    get,
    path = "/api/admin/payments/unmatched",
    operation_id = "list_unmatched_payments",
    tag = "operators",
    params(PageQuery),
    responses((status = 200, body = UnmatchedPageView))
)]
pub(super) async fn unmatched(
    State(app): State<Shared>,
    InQuery(page): InQuery<PageQuery>,
) -> Result<Json<UnmatchedPageView>, Problem> {
    let filter = PaymentFilter {
        unmatched: true,
        ..PaymentFilter::default()
    };
    let (after, limit) = (page.after()?, page.limit()?.min(MAX_UNMATCHED));
    let page = app.engine.search_payments(&filter, after.as_ref(), limit).await?;
    let mut payments = Vec::with_capacity(page.payments.len());
    for found in &page.payments {
        payments.push(app.engine.unmatched(found).await?);
    }
    Ok(Json(UnmatchedPageView {
        payments,
        next_cursor: page.next.as_ref().map(cursor::write),
    }))
}

/// To which charge a payment goes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AssignRequest {
    /// The charge: on the payment's chain, in its token, to its treasury.
    #[schema(value_type = String)]
    charge_id: ChargeId,
    /// Why; kept in the record.
    reason: String,
    /// Also where the payment came after the charge's grace, or late for a price that has changed since.
    #[serde(default)]
    accept_late: bool,
}

/// Gives an unmatched payment to a charge
#[utoipa::path(
    post,
    path = "/api/admin/payments/{id}/assign",
    operation_id = "assign_payment",
    tag = "operators",
    params(("id" = String, Path, description = "The payment, `<chain id>-<transaction hash>-<log's index in it>`")),
    request_body = AssignRequest,
    responses((status = 200, body = ReviewView))
)]
pub(super) async fn assign(
    State(app): State<Shared>,
    asker: Asker,
    Id(payment): Id<PaymentKey>,
    JsonBody { value: body, .. }: JsonBody<AssignRequest>,
) -> Result<Json<ReviewView>, Problem> {
    let command = AssignPayment {
        origin: asker.origin(),
        payment,
        charge: body.charge_id,
        reason: body.reason,
        accept_late: body.accept_late,
    };
    Ok(Json(app.engine.execute(command).await?))
}

/// Why a payment is ignored.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct IgnoreRequest {
    /// Why; kept in the record.
    reason: String,
}

/// Takes an unmatched payment out of the queue
///
/// It may still be assigned later.
#[utoipa::path(
    post,
    path = "/api/admin/payments/{id}/ignore",
    operation_id = "ignore_payment",
    tag = "operators",
    params(("id" = String, Path, description = "The payment, `<chain id>-<transaction hash>-<log's index in it>`")),
    request_body = IgnoreRequest,
    responses((status = 200, body = ReviewView))
)]
pub(super) async fn ignore(
    State(app): State<Shared>,
    asker: Asker,
    Id(payment): Id<PaymentKey>,
    JsonBody { value: body, .. }: JsonBody<IgnoreRequest>,
) -> Result<Json<ReviewView>, Problem> {
    let command = IgnorePayment {
        origin: asker.origin(),
        payment,
        reason: body.reason,
    };
    Ok(Json(app.engine.execute(command).await?))
}

/// How a payment was sent back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RefundRequest {
    /// Your transaction, on the payment's chain: a transfer of its token from the treasury to the payer.
    tx_hash: String,
    /// How much of it you sent back, in base units; all of it unless said.
    base_units: Option<String>,
    /// Why; kept in the record.
    reason: String,
}

/// Records that an unmatched payment was sent back
///
/// tollgate sends nothing: it follows your transaction until it is settled, and then says `payment.refunded`.
#[utoipa::path(
    post,
    path = "/api/admin/payments/{id}/refund",
    operation_id = "refund_payment",
    tag = "operators",
    params(("id" = String, Path, description = "The payment, `<chain id>-<transaction hash>-<log's index in it>`")),
    request_body = RefundRequest,
    responses((status = 200, body = RefundView))
)]
pub(super) async fn refund(
    State(app): State<Shared>,
    asker: Asker,
    Id(payment): Id<PaymentKey>,
    JsonBody { value: body, .. }: JsonBody<RefundRequest>,
) -> Result<Json<RefundView>, Problem> {
    let amount = body.base_units.map(|text| text.parse::<Amount>()).transpose();
    let amount =
        amount.map_err(|_| Problem::invalid("baseUnits", "must be a whole number in decimal digits"))?;
    let command = RecordRefund {
        origin: asker.origin(),
        payment,
        tx_hash: hash("txHash", &body.tx_hash)?,
        amount,
        reason: body.reason,
    };
    Ok(Json(app.engine.execute(command).await?))
}
