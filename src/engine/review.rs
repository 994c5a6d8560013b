//! What operators decide of payments that no rule gave to a charge: they assign, ignore, or say that they sent it back.

use alloy::primitives::B256;
use serde_json::json;

use super::found::{RefundView, ReviewView};
use super::payments::subject;
use super::work::{Command, Origin, Work};
use super::{EngineError, matching, parse_own, random_id, settle};
use crate::domain::{
    Amount, Charge, ChargeId, Decider, Disposition, MatchRule, PaymentKey, PaymentState, Refund, RefundState,
};
use crate::ledger;
use crate::store::{self, FoundPayment};

/// The longest reason, in characters.
pub const MAX_REASON_CHARS: usize = 500;

/// Refunds of one payment that may be recorded, those that failed included.
const MAX_REFUNDS: usize = 10;

/// Gives a payment that has no charge to one.
#[derive(Debug, Clone)]
pub struct AssignPayment {
    /// Who decides, for the audit.
    pub origin: Origin,
    /// The payment.
    pub payment: PaymentKey,
    /// The charge: on the payment's chain, in its token, to its treasury.
    pub charge: ChargeId,
    /// Why.
    pub reason: String,
    /// Also where it comes after the charge's grace, or late for a price that has changed since.
    pub accept_late: bool,
}

impl Command for AssignPayment {
    type Output = ReviewView;

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<ReviewView, EngineError> {
        check_reason(&self.reason)?;
        let found = unmatched(work, &self.payment).await?;
        if found.disposition == Some(Disposition::Refunded) {
            return Err(refunded());
        }
        let charge = store::charge(work.tx.conn(), &self.charge).await?;
        let charge =
            charge.ok_or_else(|| EngineError::invalid("chargeId", "names no charge that there is"))?;
        check_place(&found, &charge)?;
        if !self.accept_late {
            check_time(work, &found, &charge)?;
        }
        let before = json!(ReviewView::new(work.settings, &found));
        let decider = Decider {
            actor: self.origin.actor.clone(),
            note: Some(self.reason.clone()),
        };
        let given = (&self.charge, MatchRule::Operator);
        let (payment, touched) = settle::allocate_to(work, &found.payment, given, decider).await?;
        work.tx.set_disposition(&self.payment, None).await?;
        let after = record(
            work,
            &self.payment,
            ("payment.assign", "payment.assigned"),
            before,
        )
        .await?;
        super::claims::mark_applied(work, &payment, &charge).await?;
        settle::settle_charges(work, &touched, None).await?;
        Ok(after)
    }
}

/// Only what is paid where, and in what, the charge says can be credited to it.
fn check_place(found: &FoundPayment, charge: &Charge) -> Result<(), EngineError> {
    if ledger::is_assignable(&found.payment, charge) {
        return Ok(());
    }
    let (payment, terms) = (&found.payment, &charge.terms);
    let problem = format!(
        "is to be paid in token {} on chain {} to {}, and the payment is of token {} on chain {} to {}: it can be ignored or \
         refunded, and not credited to this charge",
        terms.token, terms.chain, terms.treasury, payment.token, payment.key.chain, payment.treasury
    );
    Err(EngineError::invalid("chargeId", problem))
}

/// What no rule would credit for its time is credited only where the operator says so.
fn check_time(work: &Work<'_>, found: &FoundPayment, charge: &Charge) -> Result<(), EngineError> {
    let at = found.payment.block_time_ms;
    let problem = if at > charge.terms.grace_until {
        "this payment was made after the charge's grace"
    } else if matching::is_held(work.terms(), charge, at)? {
        "this payment was made late, and the price has changed since"
    } else {
        return Ok(());
    };
    Err(EngineError::Conflict {
        code: "PAYMENT_LATE",
        problem: format!("{problem}; with acceptLate it is assigned all the same"),
    })
}

/// Takes a payment that has no charge out of the queue: nothing follows from it.
#[derive(Debug, Clone)]
pub struct IgnorePayment {
    /// Who decides, for the audit.
    pub origin: Origin,
    /// The payment.
    pub payment: PaymentKey,
    /// Why.
    pub reason: String,
}

impl Command for IgnorePayment {
    type Output = ReviewView;

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<ReviewView, EngineError> {
        check_reason(&self.reason)?;
        let found = unmatched(work, &self.payment).await?;
        let before = ReviewView::new(work.settings, &found);
        match found.disposition {
            Some(Disposition::Refunded) => return Err(refunded()),
            Some(Disposition::Ignored) => return Ok(before),
            None => {}
        }
        let ignored = Some(Disposition::Ignored);
        work.tx.set_disposition(&self.payment, ignored).await?;
        let mut payment = found.payment;
        payment.grounds.decider = Some(Decider {
            actor: self.origin.actor.clone(),
            note: Some(self.reason.clone()),
        });
        work.tx.put_payment(&payment).await?;
        // The charges that it may have been meant for are flagged by it no more.
        work.tx.put_candidates(&self.payment, &[]).await?;
        settle::settle_charges(work, &payment.concerns(), None).await?;
        let kinds = ("payment.ignore", "payment.ignored");
        record(work, &self.payment, kinds, json!(before)).await
    }
}

/// Says that a payment without a charge was sent back, by this transaction. It is followed until it is settled.
#[derive(Debug, Clone)]
pub struct RecordRefund {
    /// Who decides, for the audit.
    pub origin: Origin,
    /// The payment.
    pub payment: PaymentKey,
    /// The operator's transaction, on the payment's chain.
    pub tx_hash: B256,
    /// How much of the payment is sent back; all of it unless said.
    pub amount: Option<Amount>,
    /// Why.
    pub reason: String,
}

impl Command for RecordRefund {
    type Output = RefundView;

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<RefundView, EngineError> {
        check_reason(&self.reason)?;
        let found = unmatched(work, &self.payment).await?;
        let amount = self.amount.unwrap_or(found.payment.amount);
        if amount.is_zero() || amount > found.payment.amount {
            let problem = format!(
                "must be from 1 to {}, which is what was paid",
                found.payment.amount
            );
            return Err(EngineError::invalid("baseUnits", problem));
        }
        if self.tx_hash == self.payment.tx_hash {
            return Err(EngineError::invalid("txHash", "is the payment's own transaction"));
        }
        let known = store::refunds_of(work.tx.conn(), &self.payment).await?;
        let in_force =
            |refund: &&Refund| matches!(refund.state, RefundState::Pending | RefundState::Confirmed);
        if let Some(known) = known.iter().find(in_force) {
            if known.tx_hash == self.tx_hash && known.amount == amount {
                return Ok(RefundView::new(known));
            }
            return Err(refunded());
        }
        if known.len() >= MAX_REFUNDS {
            return Err(EngineError::Conflict {
                code: "TOO_MANY_REFUNDS",
                problem: format!("{MAX_REFUNDS} refunds of this payment have failed already"),
            });
        }
        self.store(work, &found, amount).await
    }
}

impl RecordRefund {
    async fn store(
        &self,
        work: &mut Work<'_>,
        found: &FoundPayment,
        amount: Amount,
    ) -> Result<RefundView, EngineError> {
        let refund = Refund {
            id: parse_own(&random_id("ref_")?)?,
            payment: self.payment,
            tx_hash: self.tx_hash,
            amount,
            state: RefundState::Pending,
            reason: self.reason.clone(),
            actor: self.origin.actor.clone(),
            recorded_at: work.now,
            look_at: work.now,
            proof: None,
            problem: None,
        };
        work.tx.put_refund(&refund).await?;
        let refunded = Some(Disposition::Refunded);
        work.tx.set_disposition(&self.payment, refunded).await?;
        let before = json!(ReviewView::new(work.settings, found));
        let view = RefundView::new(&refund);
        let states = (Some(before), Some(json!(view)));
        work.audit("payment.refund", subject(&self.payment), states)
            .await?;
        Ok(view)
    }
}

fn refunded() -> EngineError {
    EngineError::Conflict {
        code: "PAYMENT_REFUNDED",
        problem: "another refund of this payment is recorded already".to_owned(),
    }
}

fn check_reason(reason: &str) -> Result<(), EngineError> {
    let chars = reason.chars().count();
    let is_said = !reason.trim().is_empty() && !reason.chars().any(char::is_control);
    if is_said && chars <= MAX_REASON_CHARS {
        return Ok(());
    }
    let problem = format!("must say why, in 1 to {MAX_REASON_CHARS} characters on one line");
    Err(EngineError::invalid("reason", problem))
}

/// A payment in force that has no charge.
async fn unmatched(work: &mut Work<'_>, key: &PaymentKey) -> Result<FoundPayment, EngineError> {
    let found = store::found_payment(work.tx.conn(), key).await?;
    let found = found.ok_or(EngineError::NotFound("payment"))?;
    if let Some((charge, rule)) = &found.payment.allocation {
        return Err(EngineError::Conflict {
            code: "PAYMENT_MATCHED",
            problem: format!(
                "this payment belongs to charge {charge} by the rule {}",
                rule.as_str()
            ),
        });
    }
    if found.payment.state == PaymentState::Orphaned {
        return Err(EngineError::Conflict {
            code: "PAYMENT_ORPHANED",
            problem: "this payment was left behind by a reorganisation, and is no money now".to_owned(),
        });
    }
    Ok(found)
}

/// Writes the record of a decision, and owes its event; the payment as it is now.
async fn record(
    work: &mut Work<'_>,
    key: &PaymentKey,
    (action, event): (&'static str, &'static str),
    before: serde_json::Value,
) -> Result<ReviewView, EngineError> {
    let found = store::found_payment(work.tx.conn(), key).await?;
    let found = found.ok_or(EngineError::NotFound("payment"))?;
    let after = ReviewView::new(work.settings, &found);
    let subject = subject(key);
    let shown = json!(after);
    work.audit(action, subject.clone(), (Some(before), Some(shown.clone())))
        .await?;
    work.owe(event, format!("payment:{subject}"), shown).await?;
    Ok(after)
}
