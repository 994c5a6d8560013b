//! What becomes of a refund that an operator recorded: its transaction is looked at until the chain that is read has settled
//! it. What an endpoint says is weighed against the kept headers: a block that is not of them, nor linked to them, shows
//! nothing.

use serde_json::json;

use super::found::RefundView;
use super::payments::{evidence, subject};
use super::work::{Command, Origin, Work};
use super::{Engine, EngineError};
use crate::domain::{
    BlockRef, ChainId, Look, LookOutcome, Millis, MinedTransaction, Payment, Refund, RefundId, RefundState,
};
use crate::ledger::{self, RefundVerdict};
use crate::store;

/// A transaction that is in no block this long after it was recorded is taken for gone.
const VANISHED_AFTER_MS: Millis = 24 * 60 * 60 * 1000;

/// Between two looks: a tenth of the time that the refund is known,
const LOOK_PARTS: Millis = 10;
/// within these bounds.
const LOOK_MIN_MS: Millis = 1_000;
const LOOK_MAX_MS: Millis = 10 * 60 * 1000;

/// Judges a refund by a look at its transaction.
#[derive(Debug, Clone)]
pub struct JudgeRefund {
    /// The refund.
    pub refund: RefundId,
    /// What was seen.
    pub look: LookOutcome,
    /// A kept header that the transaction's block is an ancestor of, where it lies below them all and that was shown.
    pub linked_to: Option<BlockRef>,
}

impl Command for JudgeRefund {
    type Output = ();

    fn origin(&self) -> Origin {
        Origin {
            actor: "clock".to_owned(),
            cause: "a refund's transaction was looked at".to_owned(),
        }
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        let refund = store::refund(work.tx.conn(), self.refund.as_str()).await?;
        let pending = refund.filter(|refund| refund.state == RefundState::Pending);
        let Some(mut refund) = pending else {
            return Ok(());
        };
        let payment = store::payment(work.tx.conn(), &refund.payment).await?;
        let payment = payment.ok_or(EngineError::NotFound("payment"))?;
        let known_ms = work.now.saturating_sub(refund.recorded_at);
        let is_old = known_ms >= VANISHED_AFTER_MS;
        match self.verdict(work, &refund, &payment).await? {
            Seen::Settled(RefundVerdict::Confirmed(proof)) => {
                refund.state = RefundState::Confirmed;
                refund.proof = Some(proof);
                refund.problem = None;
            }
            Seen::Settled(RefundVerdict::Failed(problem)) => {
                refund.state = RefundState::Failed;
                refund.problem = Some(problem);
            }
            Seen::Settled(RefundVerdict::Wait(problem)) => refund.problem = Some(problem),
            Seen::Nowhere(_) if is_old => {
                refund.state = RefundState::Vanished;
                let problem = "the transaction is in no block a day after it was recorded";
                refund.problem = Some(problem.to_owned());
            }
            Seen::Nowhere(problem) | Seen::Unsettled(problem) => refund.problem = Some(problem.to_owned()),
        }
        let pause = (known_ms / LOOK_PARTS).clamp(LOOK_MIN_MS, LOOK_MAX_MS);
        refund.look_at = work.now.saturating_add(pause);
        work.tx.put_refund(&refund).await?;
        match refund.state {
            RefundState::Pending => Ok(()),
            RefundState::Confirmed => {
                record(
                    work,
                    (&refund, &payment),
                    ("payment.refund_confirm", "payment.refunded"),
                )
                .await
            }
            RefundState::Failed | RefundState::Vanished => {
                // It waits for a decision again.
                work.tx.set_disposition(&payment.key, None).await?;
                let kinds = ("payment.refund_fail", "payment.refund_failed");
                record(work, (&refund, &payment), kinds).await
            }
        }
    }
}

/// What a look shows of a refund.
enum Seen {
    /// The transaction is in no block.
    Nowhere(&'static str),
    /// Nothing that can be relied on yet.
    Unsettled(&'static str),
    /// It is settled.
    Settled(RefundVerdict),
}

impl JudgeRefund {
    async fn verdict(
        &self,
        work: &mut Work<'_>,
        refund: &Refund,
        payment: &Payment,
    ) -> Result<Seen, EngineError> {
        let mined = match self.look.as_deref() {
            Ok(Look::Unknown) => return Ok(Seen::Nowhere("no endpoint knows the transaction")),
            Ok(Look::Pending) => return Ok(Seen::Nowhere("the transaction is in no block yet")),
            Ok(Look::Mined(mined)) => mined,
            Err(_) => return Ok(Seen::Unsettled("the chain's endpoints do not answer now")),
        };
        let chain = payment.key.chain;
        if let Some(problem) = self.unsettled(work, (refund, payment), mined).await? {
            return Ok(Seen::Unsettled(problem));
        }
        let used = store::logs_of_refunds(work.tx.conn(), chain, mined.block).await?;
        Ok(Seen::Settled(ledger::judge_refund(
            (refund, payment),
            mined,
            &used,
        )))
    }

    /// Why the block of its transaction cannot be relied on.
    async fn unsettled(
        &self,
        work: &mut Work<'_>,
        (refund, payment): (&Refund, &Payment),
        mined: &MinedTransaction,
    ) -> Result<Option<&'static str>, EngineError> {
        let chain = payment.key.chain;
        let Ok(settings) = work.settings.chain(chain) else {
            return Ok(Some("the chain is not configured any more"));
        };
        let decimals = settings
            .known_token(payment.token)
            .map_or(0, |token| token.decimals);
        let place = settings.finality.place_of(refund.amount, decimals);
        let Some(row) = store::chain_row(work.tx.conn(), chain).await? else {
            return Ok(Some("the chain was not read yet"));
        };
        if row.quarantined.is_some() {
            return Ok(Some("the chain is quarantined"));
        }
        let settled = row.heights.settled_at(place);
        if settled.is_none_or(|settled| settled.block.number < mined.block.number) {
            return Ok(Some("its block is not settled yet"));
        }
        let kept = store::header_at(work.tx.conn(), chain, mined.block.number).await?;
        match (kept, self.linked_to) {
            (Some(kept), _) if kept.block == mined.block => Ok(None),
            (None, Some(above)) => {
                let above_kept = store::header_at(work.tx.conn(), chain, above.number).await?;
                let is_kept = above_kept.is_some_and(|kept| kept.block == above);
                Ok((!is_kept).then_some("the block that it was linked to is left behind"))
            }
            (Some(_), _) => Ok(Some(
                "an endpoint says that it is in a block which is not of the chain that is read",
            )),
            (None, None) => Ok(Some(
                "its block is too old to be linked to the headers that are kept",
            )),
        }
    }
}

/// Writes what is decided of a refund, and tells of it.
async fn record(
    work: &mut Work<'_>,
    (refund, payment): (&Refund, &Payment),
    (action, event): (&'static str, &'static str),
) -> Result<(), EngineError> {
    let subject = subject(&payment.key);
    let after = json!(RefundView::new(refund));
    let states = (None, Some(after.clone()));
    work.audit(action, subject.clone(), states).await?;
    let data = json!({"payment": evidence(payment), "refund": after});
    work.owe(event, format!("payment:{subject}"), data).await
}

/// The refunds that blocks from `number` on prove are not proven any more: their transactions are looked for again.
pub(super) async fn reopen_from(work: &mut Work<'_>, chain: ChainId, number: u64) -> Result<(), EngineError> {
    for mut refund in store::refunds_proven_from(work.tx.conn(), chain, number).await? {
        let payment = store::payment(work.tx.conn(), &refund.payment).await?;
        let payment = payment.ok_or(EngineError::NotFound("payment"))?;
        refund.state = RefundState::Pending;
        refund.proof = None;
        refund.problem = Some("its block was left behind by a reorganisation".to_owned());
        refund.look_at = work.now;
        work.tx.put_refund(&refund).await?;
        let kinds = ("payment.refund_reopen", "payment.refund_reorged");
        record(work, (&refund, &payment), kinds).await?;
    }
    Ok(())
}

impl Engine {
    /// The refunds whose transactions are to be looked at now.
    ///
    /// # Errors
    /// The database fails.
    pub async fn refunds_due(&self, limit: i64) -> Result<Vec<Refund>, EngineError> {
        let mut conn = self.inner.store.read().await?;
        let now = self.inner.clock.now_ms();
        Ok(store::refunds_due(&mut conn, now, limit).await?)
    }

    /// The lowest header that is kept of a chain.
    ///
    /// # Errors
    /// The database fails.
    pub async fn lowest_header(&self, chain: ChainId) -> Result<Option<BlockRef>, EngineError> {
        let mut conn = self.inner.store.read().await?;
        let lowest = store::lowest_header(&mut conn, chain).await?;
        Ok(lowest.map(|kept| kept.block))
    }
}
