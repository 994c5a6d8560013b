//! A transaction, asked about: by the users who say that they paid by it, and by operators.
//!
//! A look at the chain is the composition root's to make; here it is counted against whoever asks. Whose charge a payment is
//! is told to nobody else: a stranger's payment, and one that no charge has, are answered alike.

use std::sync::{Arc, OnceLock};

use alloy::primitives::B256;
use axum::Json;
use axum::extract::{Path, State};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::asker::{Asker, NamedInHeaders, NamedInQuery};
use super::charges;
use super::extract::InQuery;
use super::payments::hash;
use super::problem::Problem;
use super::{App, Shared};
use crate::domain::{BlockRef, ChainId, LookError, LookOutcome, LookUp, MatchRule, PaymentState};
use crate::engine::{AmountView, ExplainedPayment, TxExplanation, TxOutcome};

/// Looks for one question of a caller, who may not ask too often: on however many chains, it is one.
#[derive(Debug)]
struct Counted {
    app: Shared,
    caller: String,
    admitted: OnceLock<bool>,
}

impl LookUp for Counted {
    fn look(&self, chain: ChainId, tx_hash: B256) -> BoxFuture<'static, LookOutcome> {
        if *self
            .admitted
            .get_or_init(|| self.app.limits.may_look(&self.caller))
        {
            self.app.looks.look(chain, tx_hash)
        } else {
            ready(Err(LookError::TooMany)).boxed()
        }
    }

    fn links(
        &self,
        chain: ChainId,
        below: BlockRef,
        above: BlockRef,
    ) -> BoxFuture<'static, Result<bool, LookError>> {
        self.app.looks.links(chain, below, above)
    }
}

/// The configured chain that a request names: by its name in the configuration, or as everywhere.
fn configured(app: &App, text: String) -> Result<ChainId, Problem> {
    let settings = app.engine.settings();
    if let Some(named) = settings.chains.iter().find(|chain| chain.name == text) {
        return Ok(named.id);
    }
    let chain = charges::chain(&serde_json::Value::String(text));
    let chain = chain.map_err(|_| {
        let problem = "must be a chain: 137, 0x89, eip155:137 or its name in the configuration";
        Problem::invalid("chain", problem)
    })?;
    let problem = format!("{chain} is not a configured chain");
    app.chain(chain)
        .map(|known| known.id)
        .ok_or_else(|| Problem::invalid("chain", &problem))
}

async fn explain(
    app: &Shared,
    asker: &Asker,
    chain: Option<ChainId>,
    tx_hash: B256,
) -> Result<TxExplanation, Problem> {
    let looks = Counted {
        app: Arc::clone(app),
        caller: asker.origin().actor,
        admitted: OnceLock::new(),
    };
    let explained = app.engine.explain_tx(&looks, chain, tx_hash).await?;
    if explained.outcome == TxOutcome::TooMany {
        return Err(Problem::too_many_looks());
    }
    Ok(explained)
}

/// Explains a transaction
///
/// Which of its logs are payments, which checks held or failed, which rule gave them to which charge, and what the charge's
/// tenant has by it; or precisely why not. A transaction that was never read is looked at on the chain, and on the other
/// configured chains where the named one does not know it; what a look shows never counts.
#[utoipa::path(
    get,
    path = "/api/admin/explain/tx/{chain}/{hash}",
    operation_id = "explain_transaction",
    tag = "operators",
    params(
        ("chain" = String, Path, description = "The chain: 137, 0x89, eip155:137, or its name in the configuration"),
        ("hash" = String, Path, description = "The transaction")
    ),
    responses((status = 200, body = TxExplanation))
)]
pub(super) async fn explained(
    State(app): State<Shared>,
    asker: Asker,
    Path((chain, tx_hash)): Path<(String, String)>,
) -> Result<Json<TxExplanation>, Problem> {
    let chain = configured(&app, chain)?;
    let tx_hash = hash("hash", &tx_hash)?;
    explain(&app, &asker, Some(chain), tx_hash).await.map(Json)
}

/// Where to look.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ChainQuery {
    /// The chain: 137, `0x89`, `eip155:137`, or its name in the configuration. Without one, every configured chain.
    chain: Option<String>,
}

/// What a transaction paid for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VerifiedView {
    /// The transaction.
    tx_hash: String,
    /// The chain's number; 0 where no chain knows the transaction.
    chain_id: u64,
    /// The chain as CAIP-2.
    chain: String,
    /// Whether it counts for a charge of the asker's. Never true of anybody else's payment.
    confirmed: bool,
    /// `counted`, `confirming`, `not_yours`, `wrong_token`, `orphaned`, `unproven`; and of a transaction that was never read
    /// `not_read`, `before_start`, `missed`, `other_branch`, `below_dust`, `zero_value`, `own_transfer`, `not_money`,
    /// `wrong_recipient`, `no_transfer`, `reverted`, `no_treasury`, `other_chain`, `pending`, `refund`, `unknown` or
    /// `unavailable`.
    status: String,
    /// The same in words.
    detail: String,
    /// The charge that it pays, where it is the asker's.
    charge_id: Option<String>,
    /// The rule that gave it to that charge.
    #[schema(value_type = Option<String>)]
    rule: Option<MatchRule>,
    /// What was paid.
    amount: Option<AmountView>,
    /// Confirmations of `confirmations_required`.
    confirmations: Option<u64>,
    /// Blocks that must stand on its block, itself included.
    confirmations_required: Option<u64>,
    /// Each of its payments.
    payments: Vec<VerifiedPayment>,
}

/// One payment of a transaction.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct VerifiedPayment {
    /// Names it.
    id: String,
    /// As of the transaction.
    status: String,
    /// In words.
    detail: String,
    /// `confirming`, `confirmed`, `final` or `orphaned`: how far the chain is, whoever paid for what.
    #[schema(value_type = String)]
    state: PaymentState,
    /// The token's contract.
    token: String,
    /// Its symbol, where it is accepted.
    symbol: Option<String>,
    /// Who paid.
    from: String,
    /// What was paid.
    amount: Option<AmountView>,
    /// Blocks that stand on its block, itself included.
    confirmations: Option<u64>,
    /// Blocks that must stand on it.
    confirmations_required: u64,
    /// `safe` or `finalized`, where it waits for a tag as well.
    waits_for: Option<&'static str>,
    /// The charge that it pays, where it is the asker's.
    charge_id: Option<String>,
    /// How far that charge is.
    charge_state: Option<String>,
    /// The rule that gave it to that charge.
    #[schema(value_type = Option<String>)]
    rule: Option<MatchRule>,
    /// The asker's own charges that it may be meant for.
    candidates: Vec<String>,
}

/// Whose charges may be shown.
struct Own<'a> {
    tenant: &'a str,
    asker: &'a Asker,
}

impl Own<'_> {
    fn has(&self, tenant: Option<&str>, user: Option<&str>) -> bool {
        tenant == Some(self.tenant) && self.asker.may_see(user)
    }

    fn payment(&self, explained: &ExplainedPayment) -> VerifiedPayment {
        let ExplainedPayment { payment: review, .. } = explained;
        let charge = explained.charge.as_ref();
        let charge = charge.filter(|charge| self.has(charge.tenant_id.as_deref(), charge.user_id.as_deref()));
        let candidates = explained.candidates.iter();
        let candidates: Vec<String> = candidates
            .filter(|charge| self.has(Some(&charge.tenant_id), charge.user_id.as_deref()))
            .map(|charge| charge.charge_id.clone())
            .collect();
        let is_accepted = review.symbol.is_some();
        let (status, detail) = match (charge, explained.outcome) {
            (Some(_), outcome) => (outcome.word(), explained.detail.clone()),
            (None, outcome @ (TxOutcome::Orphaned | TxOutcome::Unproven)) => {
                (outcome.word(), explained.detail.clone())
            }
            (None, _) if !is_accepted => (
                TxOutcome::WrongToken.word(),
                "its token is not accepted: no charge is paid by it".to_owned(),
            ),
            (None, _) => (
                "not_yours".to_owned(),
                "no charge of yours has this payment. If you made it, prove the wallet that paid and claim it".to_owned(),
            ),
        };
        VerifiedPayment {
            id: review.id.clone(),
            status,
            detail,
            state: review.payment.state,
            token: review.payment.token.clone(),
            symbol: review.symbol.clone(),
            from: review.payment.from.clone(),
            amount: review.value.clone(),
            confirmations: explained.confirmations,
            confirmations_required: explained.confirmations_required,
            waits_for: explained.waits_for,
            charge_id: charge.map(|charge| charge.id.clone()),
            charge_state: charge.map(|charge| charge.state.to_string()),
            rule: charge.and(review.payment.rule),
            candidates,
        }
    }

    fn view(&self, explained: TxExplanation) -> VerifiedView {
        let payments: Vec<VerifiedPayment> = explained
            .payments
            .iter()
            .map(|payment| self.payment(payment))
            .collect();
        // What is the asker's before what is not.
        let told = payments.iter().max_by_key(|payment| payment.charge_id.is_some());
        let counted = TxOutcome::Counted.word();
        let detail = match explained.outcome {
            TxOutcome::Refund => "it is a transaction of the operator's, and pays for nothing".to_owned(),
            _ => explained.detail,
        };
        VerifiedView {
            tx_hash: explained.tx_hash,
            chain_id: explained.chain_id,
            chain: explained.chain,
            confirmed: payments
                .iter()
                .any(|payment| payment.charge_id.is_some() && payment.status == counted),
            status: told.map_or_else(|| explained.outcome.word(), |told| told.status.clone()),
            detail: told.map_or(detail, |told| told.detail.clone()),
            charge_id: told.and_then(|told| told.charge_id.clone()),
            rule: told.and_then(|told| told.rule),
            amount: told.and_then(|told| told.amount.clone()),
            confirmations: told.and_then(|told| told.confirmations),
            confirmations_required: told.map(|told| told.confirmations_required),
            payments,
        }
    }
}

/// What a transaction paid for
///
/// Answered from proven blocks; for a transaction that was never read, the chain is looked at once, and the answer says why it
/// does not count. Of charges, only the asker's own are told of.
#[utoipa::path(
    get,
    path = "/api/billing/crypto/verify/{txHash}",
    operation_id = "verify_transaction",
    tag = "crypto",
    params(
        ("txHash" = String, Path, description = "The transaction"),
        ChainQuery,
        NamedInQuery,
        NamedInHeaders
    ),
    responses((status = 200, body = VerifiedView))
)]
pub(super) async fn verify(
    State(app): State<Shared>,
    asker: Asker,
    InQuery(query): InQuery<ChainQuery>,
    Path(tx_hash): Path<String>,
) -> Result<Json<VerifiedView>, Problem> {
    let tenant = asker.tenant(None)?;
    let tx_hash = hash("txHash", &tx_hash)?;
    let chain = query.chain.map(|text| configured(&app, text)).transpose()?;
    let explained = explain(&app, &asker, chain, tx_hash).await?;
    let own = Own {
        tenant: tenant.as_str(),
        asker: &asker,
    };
    Ok(Json(own.view(explained)))
}
