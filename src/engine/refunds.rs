//! What becomes of a refund that an operator recorded: its transaction is looked at until the chain has settled it.

use serde_json::json;

use super::chain::subject;
use super::found::RefundView;
use super::work::{Command, Origin, Work};
use super::EngineError;
use crate::domain::{LookOutcome, Millis, Payment, Refund, RefundId, RefundState};
use crate::ledger::{self, RefundVerdict};
use crate::store;

/// A transaction that is not on the chain this long after it was recorded is taken for gone.
const VANISHED_AFTER_MS: Millis = 24 * 60 * 60 * 1000;

/// Between two looks: a tenth of the time that it is known,
const LOOK_PARTS: Millis = 10;
/// within these bounds.
const LOOK_MIN_MS: Millis = 1_000;
const LOOK_MAX_MS: Millis = 5 * 60 * 1000;

/// Judges a refund by a look at its transaction.
#[derive(Debug, Clone)]
pub struct JudgeRefund {
    /// The refund.
    pub refund: RefundId,
    /// What was seen.
    pub look: LookOutcome,
}

impl Command for JudgeRefund {
    type Output = ();

    fn origin(&self) -> Origin {
        Origin {
            actor: "clock".to_owned(),
            cause: "a refund was followed".to_owned(),
        }
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        let refund = store::refund(work.tx.conn(), self.refund.as_str()).await?;
        let pending = refund.filter(|refund| refund.state == RefundState::Pending);
        let Some(mut refund) = pending else {
            return Ok(());
        };
        let Some(payment) = store::payment(work.tx.conn(), &refund.payment).await? else {
            return Ok(());
        };
        let known_ms = work.now.saturating_sub(refund.recorded_at);
        match self.verdict(work, &refund, &payment).await? {
            RefundVerdict::Confirmed(proof) => {
                refund.state = RefundState::Confirmed;
                refund.proof = Some(proof);
                refund.problem = None;
            }
            RefundVerdict::Failed(problem) => {
                refund.state = RefundState::Failed;
                refund.problem = Some(problem.to_owned());
            }
            RefundVerdict::Missing if known_ms >= VANISHED_AFTER_MS => {
                refund.state = RefundState::Vanished;
                refund.problem = Some("the transaction is not on the chain a day after it was recorded".to_owned());
            }
            RefundVerdict::Missing => refund.problem = Some("no endpoint knows the transaction".to_owned()),
            RefundVerdict::Wait(problem) => refund.problem = problem.map(str::to_owned),
        }
        let pause = (known_ms / LOOK_PARTS).clamp(LOOK_MIN_MS, LOOK_MAX_MS);
        refund.look_at = work.now.saturating_add(pause);
        work.tx.put_refund(&refund).await?;
        finish(work, &refund, &payment).await
    }
}

impl JudgeRefund {
    async fn verdict(
        &self,
        work: &mut Work<'_>,
        refund: &Refund,
        payment: &Payment,
    ) -> Result<RefundVerdict, EngineError> {
        let look = match &self.look {
            Ok(look) => look,
            Err(_) => return Ok(RefundVerdict::Wait(Some("the chain's endpoints do not answer now"))),
        };
        let chain = refund.payment.chain;
        let others = store::refunds_by_hash(work.tx.conn(), chain, refund.tx_hash).await?;
        let used: Vec<u32> = others
            .iter()
            .filter_map(|other| other.proof.map(|proof| proof.ordinal))
            .collect();
        let Ok(settings) = work.settings.chain(chain) else {
            return Ok(RefundVerdict::Wait(Some("the chain is not configured any more")));
        };
        let decimals = settings.token(payment.token).map_or(0, |token| token.decimals);
        let place = settings.finality.place_of(refund.amount, decimals);
        let row = store::chain_row(work.tx.conn(), chain).await?;
        let row = row.filter(|row| row.quarantined.is_none());
        let settled = row.and_then(|row| row.heights.settled_at(place));
        let settled = settled.map(|settled| settled.block.number);
        Ok(ledger::judge_refund((refund, payment), look, settled, &used))
    }
}

/// Records what is decided, and tells of it. A refund that came to nothing gives the payment back to the queue.
async fn finish(work: &mut Work<'_>, refund: &Refund, payment: &Payment) -> Result<(), EngineError> {
    let (action, event) = match refund.state {
        RefundState::Pending => return Ok(()),
        RefundState::Confirmed => ("payment.refund_confirm", "payment.refunded"),
        RefundState::Failed | RefundState::Vanished => {
            work.tx.set_disposition(&payment.key, None).await?;
            ("payment.refund_fail", "payment.refund_failed")
        }
    };
    let subject = subject(&payment.key);
    let after = json!(RefundView::new(refund));
    work.audit(action, subject.clone(), (None, Some(after.clone())))
        .await?;
    let data = json!({"payment": super::chain::evidence(payment), "refund": after});
    work.owe(event, format!("payment:{subject}"), data).await
}
