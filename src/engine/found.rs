//! Payments as operators look at them: searched, with what was decided and claimed, and with the charges that an unmatched
//! one may be for.

use serde::Serialize;
use utoipa::ToSchema;

use super::view::{AmountView, PaymentView, rfc3339};
use super::{Engine, EngineError, Settings};
use crate::domain::{
    ChainId, Claim, Disposition, Grounds, Millis, Payment, PaymentKey, Refund, RefundState, TenantId,
    WalletLink,
};
use crate::ledger::{self, Compared, Suggestion};
use crate::store::{self, ChargeFilter, FoundPayment, PaymentFilter};

/// A charge may be meant by a payment that comes this much after it was made.
const SUGGESTED_FOR_MS: Millis = 7 * 24 * 60 * 60 * 1000;
/// Charges that a payment is compared with: the newest by the time of its block,
const MAX_COMPARED: i64 = 200;
/// and the newest of each tenant that has to do with it.
const MAX_OF_TENANT: i64 = 20;
/// Tenants that may have to do with one payment.
const MAX_TENANTS: usize = 10;

/// A payment with what was decided about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewView {
    /// Names it: chain, transaction, and the index of the log in its transaction.
    pub id: String,
    /// What was transferred.
    #[serde(flatten)]
    pub payment: PaymentView,
    /// The amount, where the token is configured.
    pub value: Option<AmountView>,
    /// The token's symbol, where it is configured.
    pub symbol: Option<String>,
    /// The time of its block.
    pub block_time: String,
    /// Whose charge it was given to.
    pub tenant_id: Option<String>,
    /// `ignored` or `refunded`, where an operator decided so.
    #[schema(value_type = Option<String>)]
    pub disposition: Option<Disposition>,
}

impl ReviewView {
    pub(super) fn new(settings: &Settings, found: &FoundPayment) -> Self {
        let payment = &found.payment;
        let chain = settings.chain(payment.key.chain).ok();
        let token = chain.and_then(|chain| chain.token(payment.token));
        Self {
            id: payment.key.to_string(),
            payment: PaymentView::from(payment),
            value: token.map(|token| AmountView::new(payment.amount, token.decimals)),
            symbol: token.map(|token| token.symbol.clone()),
            block_time: rfc3339(payment.block_time_ms),
            tenant_id: found.tenant.as_ref().map(ToString::to_string),
            disposition: found.disposition,
        }
    }
}

/// A refund, and how far its transaction is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefundView {
    /// Its id.
    pub id: String,
    /// The payment that is sent back.
    pub payment_id: String,
    /// The operator's transaction.
    pub tx_hash: String,
    /// At least so many base units of the payment's token must be sent to the payer.
    pub base_units: String,
    /// `pending`, `confirmed`, `failed` or `vanished`.
    #[schema(value_type = String)]
    pub state: RefundState,
    /// Why, as the operator said.
    pub reason: String,
    /// Who recorded it.
    pub recorded_by: String,
    /// When it was recorded.
    pub recorded_at: String,
    /// Base units that were sent, once it is confirmed.
    pub sent_base_units: Option<String>,
    /// The block of the transfer that proves it.
    pub block_number: Option<u64>,
    /// Why it is not confirmed.
    pub problem: Option<String>,
}

impl RefundView {
    pub(super) fn new(refund: &Refund) -> Self {
        let proof = refund.proof;
        Self {
            id: refund.id.to_string(),
            payment_id: refund.payment.to_string(),
            tx_hash: refund.tx_hash.to_string(),
            base_units: refund.amount.to_string(),
            state: refund.state,
            reason: refund.reason.clone(),
            recorded_by: refund.actor.clone(),
            recorded_at: rfc3339(refund.recorded_at),
            sent_base_units: proof.map(|proof| proof.sent.to_string()),
            block_number: proof.map(|proof| proof.block.number),
            problem: refund.problem.clone(),
        }
    }
}

/// A claim, as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimantView {
    /// The user's tenant.
    pub tenant_id: String,
    /// Who claims it.
    pub user_id: String,
    /// The charge that it is said to pay.
    pub charge_id: Option<String>,
    /// When.
    pub claimed_at: String,
    /// Whether the payer's wallet is proven to be theirs.
    pub proven: bool,
}

impl ClaimantView {
    pub(super) fn new(claim: &Claim, links: &[WalletLink]) -> Self {
        let is_theirs = |link: &WalletLink| (&link.tenant, &link.user) == (&claim.tenant, &claim.user);
        Self {
            tenant_id: claim.tenant.to_string(),
            user_id: claim.user.to_string(),
            charge_id: claim.charge.as_ref().map(|(_, charge)| charge.to_string()),
            claimed_at: rfc3339(claim.claimed_at),
            proven: links.iter().any(is_theirs),
        }
    }
}

/// Why a charge is suggested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReasonView {
    /// `claimed`, `named_by_rule`, `payer_wallet`, `tenant_wallet`, `exact_amount`, `within_tolerance`, `same_units`,
    /// `partial`, `above`, `open`, `expired` or `cancelled`.
    pub reason: &'static str,
    /// What it adds to the score.
    pub points: u32,
}

/// A charge that an unmatched payment may be for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuggestionView {
    /// The charge.
    pub charge_id: String,
    /// Whose.
    pub tenant_id: String,
    /// The user who asked for it.
    pub user_id: Option<String>,
    /// How far the charge is.
    pub state: String,
    /// Where it is to be paid.
    pub chain_id: u64,
    /// In which token.
    pub token: String,
    /// What is due, in base units of that token.
    pub due_base_units: String,
    /// Whether it can be credited with this payment: the same chain, token and treasury.
    pub assignable: bool,
    /// The sum of the reasons' points; it ranks, and decides nothing.
    pub score: u32,
    /// Why it is suggested.
    pub reasons: Vec<ReasonView>,
}

impl From<&Suggestion> for SuggestionView {
    fn from(suggestion: &Suggestion) -> Self {
        let terms = &suggestion.charge.terms;
        let reasons = suggestion.reasons.iter().map(|reason| ReasonView {
            reason: reason.as_str(),
            points: reason.points(),
        });
        Self {
            charge_id: terms.id.to_string(),
            tenant_id: terms.tenant.to_string(),
            user_id: terms.user.as_ref().map(ToString::to_string),
            state: suggestion.charge.state.to_string(),
            chain_id: terms.chain.0,
            token: terms.token.to_checksum(None),
            due_base_units: terms.due.to_string(),
            assignable: suggestion.assignable,
            score: suggestion.score,
            reasons: reasons.collect(),
        }
    }
}

/// A payment that no charge has, with what helps to decide about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UnmatchedView {
    /// The payment.
    #[serde(flatten)]
    pub payment: ReviewView,
    /// What each rule found.
    #[schema(value_type = Object)]
    pub evidence: serde_json::Value,
    /// Who says that it is theirs.
    pub claims: Vec<ClaimantView>,
    /// The charges that it may be for, the likeliest first; at most five.
    pub suggestions: Vec<SuggestionView>,
    /// Refunds that failed.
    pub refunds: Vec<RefundView>,
}

/// One page of payments.
#[derive(Debug, Clone)]
pub struct PaymentPage {
    /// Newest first.
    pub payments: Vec<FoundPayment>,
    /// Behind what the next page begins; none on the last.
    pub next: Option<(Millis, PaymentKey)>,
}

impl Engine {
    /// A page of the payments that a filter asks for, newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn search_payments(
        &self,
        filter: &PaymentFilter,
        after: Option<&(Millis, PaymentKey)>,
        limit: usize,
    ) -> Result<PaymentPage, EngineError> {
        let mut conn = self.inner.store.read().await?;
        let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut payments = store::search_payments(&mut conn, filter, after, one_more).await?;
        let is_last = payments.len() <= limit;
        payments.truncate(limit);
        let last = payments.last().filter(|_| !is_last);
        let next = last.map(|found| (found.payment.block_time_ms, found.payment.key));
        Ok(PaymentPage { payments, next })
    }

    /// How operators see a payment.
    #[must_use]
    pub fn review(&self, found: &FoundPayment) -> ReviewView {
        ReviewView::new(&self.inner.settings(), found)
    }

    /// An unmatched payment with all that helps to decide about it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn unmatched(&self, found: &FoundPayment) -> Result<UnmatchedView, EngineError> {
        let settings = self.inner.settings();
        let mut conn = self.inner.store.read().await?;
        let payment = &found.payment;
        let claims = store::claims_of(&mut conn, payment.key.tx_hash).await?;
        let links = store::wallets_at(&mut conn, payment.payer).await?;
        let refunds = store::refunds_of(&mut conn, &payment.key).await?;
        let charges = compared(&mut conn, &settings, payment, (&claims, &links)).await?;
        let decimals = decimals(&settings, payment.key.chain, payment.token);
        let suggestions = ledger::suggest((payment, decimals), &claims, &links, charges);
        Ok(UnmatchedView {
            payment: ReviewView::new(&settings, found),
            evidence: serde_json::json!(payment.grounds),
            claims: claims
                .iter()
                .map(|claim| ClaimantView::new(claim, &links))
                .collect(),
            suggestions: suggestions.iter().map(SuggestionView::from).collect(),
            refunds: refunds.iter().map(RefundView::new).collect(),
        })
    }
}

fn decimals(settings: &Settings, chain: ChainId, token: alloy::primitives::Address) -> u8 {
    let chain = settings.chain(chain).ok();
    let token = chain.and_then(|chain| chain.token(token));
    token.map_or(0, |token| token.decimals)
}

/// The charges that a payment is compared with: those that the rules named, those of tenants that have to do with it, and
/// those made in the week before its block.
async fn compared(
    conn: &mut sqlx::AnyConnection,
    settings: &Settings,
    payment: &Payment,
    (claims, links): (&[Claim], &[WalletLink]),
) -> Result<Vec<Compared>, EngineError> {
    let at = payment
        .block_time_ms
        .saturating_add(super::charges::CLOCK_SKEW_MS);
    let named = named(&payment.grounds);
    let mut charges = Vec::new();
    for id in &named {
        charges.extend(store::charge(conn, id).await?);
    }
    for (_, id) in claims.iter().filter_map(|claim| claim.charge.as_ref()) {
        charges.extend(store::charge(conn, id).await?);
    }
    for tenant in tenants(claims, links) {
        let filter = ChargeFilter {
            tenant,
            user: None,
            state: None,
        };
        charges.extend(store::charges_of_tenant(conn, &filter, None, MAX_OF_TENANT).await?);
    }
    let week = (at.saturating_sub(SUGGESTED_FOR_MS), at);
    charges.extend(store::charges_made_between(conn, week, MAX_COMPARED).await?);
    charges.sort_by(|one, other| one.terms.id.cmp(&other.terms.id));
    charges.dedup_by(|one, other| one.terms.id == other.terms.id);
    let compared = |charge: crate::domain::Charge| {
        let terms = &charge.terms;
        let chain = settings.chain(terms.chain).ok();
        let token = chain.and_then(|chain| chain.token(terms.token));
        let tolerance = token.map(|token| settings.payments.tolerance(terms.due, token));
        Compared {
            decimals: token.map_or(0, |token| token.decimals),
            tolerance: tolerance.unwrap_or_default(),
            is_named: named.contains(&terms.id),
            charge,
        }
    };
    Ok(charges.into_iter().map(compared).collect())
}

/// The charges that the rules named, a few at most.
fn named(grounds: &Grounds) -> Vec<crate::domain::ChargeId> {
    let named = grounds.named.values().flatten().chain(&grounds.meant);
    let mut named: Vec<_> = named.take(MAX_TENANTS).cloned().collect();
    named.sort();
    named.dedup();
    named
}

fn tenants(claims: &[Claim], links: &[WalletLink]) -> Vec<TenantId> {
    let claiming = claims.iter().map(|claim| &claim.tenant);
    let mut tenants: Vec<TenantId> = links
        .iter()
        .map(|link| &link.tenant)
        .chain(claiming)
        .cloned()
        .collect();
    tenants.sort();
    tenants.dedup();
    tenants.truncate(MAX_TENANTS);
    tenants
}
