//! What is stored of a transaction, with everything that follows from it.

use std::collections::BTreeSet;

use alloy::primitives::B256;
use sqlx::AnyConnection;

use super::super::found::{ClaimantView, RefundView, ReviewView};
use super::super::view::ChargeView;
use super::super::{Engine, EngineError, Settings};
use super::view::{CandidateView, CheckView, ExplainedPayment, TxExplanation, TxOutcome};
use super::words;
use crate::domain::{
    ChainId, Charge, ChargeId, Disposition, Level, Payment, PaymentState, Standard, Tag, Tier, Transfer,
};
use crate::ledger;
use crate::store::{self, ChainRow, FoundPayment};

/// Charges that are named of one payment.
const MAX_CANDIDATES: usize = 20;

impl Engine {
    /// Explains a transaction by its payments on a chain, of which there is at least one.
    pub(super) async fn stored(
        &self,
        conn: &mut AnyConnection,
        settings: &Settings,
        (chain, tx_hash): (ChainId, B256),
        found: &[FoundPayment],
    ) -> Result<TxExplanation, EngineError> {
        let row = store::chain_row(conn, chain).await?;
        let mut payments = Vec::new();
        for found in found.iter().filter(|found| found.payment.key.chain == chain) {
            payments.push(self.stored_one(conn, settings, row.as_ref(), found).await?);
        }
        let first = payments.iter().min_by_key(|payment| payment.outcome);
        let told = first.map_or_else(words::nothing, |first| (first.outcome, first.detail.clone()));
        let refunds = store::refunds_by_hash(conn, chain, tx_hash).await?;
        Ok(TxExplanation {
            payments,
            refunds: refunds.iter().map(RefundView::new).collect(),
            ..TxExplanation::of_nothing(settings, Some(chain), tx_hash, told)
        })
    }

    async fn stored_one(
        &self,
        conn: &mut AnyConnection,
        settings: &Settings,
        row: Option<&ChainRow>,
        found: &FoundPayment,
    ) -> Result<ExplainedPayment, EngineError> {
        let payment = &found.payment;
        let charge = match &payment.allocation {
            Some((charge, _)) => store::charge(conn, charge).await?,
            None => None,
        };
        let candidates = candidates(conn, payment).await?;
        let claims = store::claims_of(conn, payment.key.tx_hash).await?;
        let links = store::wallets_at(conn, payment.payer).await?;
        let refunds = store::refunds_of(conn, &payment.key).await?;
        let read = row.and_then(|row| row.heights.read).map(|read| read.number);
        let depth = read.map(|read| (read + 1).saturating_sub(payment.block.number));
        let tier = tier_of(settings, payment);
        let outcome = outcome(found);
        let waits = row.and_then(|row| row.quarantined.as_ref().or(row.stalled.as_ref()));
        let told = words::Stored {
            payment,
            charge: charge.as_ref(),
            confirmations: depth.unwrap_or_default(),
            tier,
            held: waits.map(|held| held.reason.as_str()),
        };
        let charge_view = match &charge {
            Some(charge) => {
                let payments = store::payments_of_charge(conn, &charge.terms.id).await?;
                Some(ChargeView::new(settings, charge, &payments, read))
            }
            None => None,
        };
        let now = self.inner.clock.now_ms();
        let tenant = charge
            .as_ref()
            .map(|charge| self.tenant(&charge.terms.tenant, now));
        Ok(ExplainedPayment {
            payment: ReviewView::new(settings, found),
            outcome,
            detail: told.explain(outcome),
            confirmations: depth.filter(|_| payment.state != PaymentState::Orphaned),
            confirmations_required: tier.map_or(0, |tier| tier.confirmations),
            waits_for: tier.and_then(|tier| tier.tag).map(Tag::as_str),
            checks: checks(settings, payment),
            charge: charge_view,
            candidates: candidates.iter().map(CandidateView::from).collect(),
            claims: claims
                .iter()
                .map(|claim| ClaimantView::new(claim, &links))
                .collect(),
            refunds: refunds.iter().map(RefundView::new).collect(),
            entitlement: tenant.as_ref().map(|tenant| tenant.entitlement.clone()),
            sources: tenant.map(|tenant| tenant.sources).unwrap_or_default(),
        })
    }
}

/// The charges that a payment without one may be meant for.
async fn candidates(conn: &mut AnyConnection, payment: &Payment) -> Result<Vec<Charge>, EngineError> {
    if payment.allocation.is_some() {
        return Ok(Vec::new());
    }
    let named: BTreeSet<ChargeId> = payment.concerns();
    let named: Vec<ChargeId> = named.into_iter().take(MAX_CANDIDATES).collect();
    let mut charges = store::charges(conn, &named).await?;
    charges.sort_by(|one, other| one.terms.id.cmp(&other.terms.id));
    Ok(charges)
}

fn tier_of<'s>(settings: &'s Settings, payment: &Payment) -> Option<&'s Tier> {
    let chain = settings.chain(payment.key.chain).ok()?;
    let token = chain.known_token(payment.token)?;
    chain.finality.tier_of(payment.amount, token.decimals)
}

fn outcome(found: &FoundPayment) -> TxOutcome {
    let payment = &found.payment;
    match (payment.state, found.disposition) {
        (PaymentState::Orphaned, _) => TxOutcome::Orphaned,
        (_, Some(Disposition::Ignored)) => TxOutcome::Ignored,
        (_, Some(Disposition::Refunded)) => TxOutcome::Refunded,
        _ if payment.level == Level::None => TxOutcome::Unproven,
        (PaymentState::Confirming, None) => TxOutcome::Confirming,
        (PaymentState::Confirmed | PaymentState::Final, None) if payment.allocation.is_some() => {
            TxOutcome::Counted
        }
        (PaymentState::Confirmed | PaymentState::Final, None) => TxOutcome::Unmatched,
    }
}

/// The checks of a log that is a payment, by the configuration of now, and those of its block.
fn checks(settings: &Settings, payment: &Payment) -> Vec<CheckView> {
    let chain = settings.chain(payment.key.chain).ok();
    let money = chain.and_then(|chain| settings.money(chain));
    let transfer = Transfer {
        contract: payment.token,
        from: payment.payer,
        to: payment.treasury,
        value: payment.amount.0,
        standard: Standard::Erc20,
        tx_hash: payment.key.tx_hash,
        log_index: payment.log_index,
        ordinal: Some(payment.key.ordinal),
    };
    let examined = money.map(|money| ledger::examine_transfer(transfer, &money).checks);
    let of_log = examined.unwrap_or_default();
    let of_block = [
        CheckView {
            check: "proven",
            holds: matches!(payment.level, Level::Receipts | Level::Asked),
            means: "its block is proven to a level that credits",
        },
        CheckView {
            check: "canonical",
            holds: payment.state != PaymentState::Orphaned,
            means: "its block is on the chain that is read",
        },
        CheckView {
            check: "settled",
            holds: payment.state.counts(),
            means: "the finality policy covers its block",
        },
    ];
    of_log.iter().map(CheckView::from).chain(of_block).collect()
}
