//! The payments of proven blocks: read, judged and stored. Nothing of them counts yet.

use std::collections::{BTreeSet, HashMap, HashSet};

use alloy::primitives::B256;
use serde_json::json;

use super::chain::Step;
use super::view::PaymentView;
use super::work::Work;
use super::{EngineError, matching, references};
use crate::domain::{
    Flags, Grounds, Level, LogEntry, Payment, PaymentFlag, PaymentKey, PaymentState, ProvenBlock,
};
use crate::ledger::{self, AcceptedMoney};
use crate::metrics;
use crate::store;

impl Step<'_> {
    /// Stores the payments of one block, none of which may be in force already. Returns how many there are.
    pub(super) async fn read_payments(
        &mut self,
        work: &mut Work<'_>,
        block: &ProvenBlock,
    ) -> Result<usize, EngineError> {
        let Some(money) = work.settings.money(self.chain) else {
            return Ok(0);
        };
        let mut payments = self.decode(block, &money)?;
        if payments.is_empty() {
            return Ok(0);
        }
        let (mut judged, returned) = self.take_known(work, &mut payments).await?;
        let terms = work.terms();
        let used = matching::judge(work.tx.conn(), terms, &mut payments).await?;
        references::use_up(work, used).await?;
        judged.append(&mut payments);
        judged.sort_by_key(|payment| payment.log_index);
        work.tx.put_payments(&judged).await?;
        work.tx.put_observations(&judged).await?;
        for payment in &judged {
            self.record(work, payment, returned.contains(&payment.key))
                .await?;
        }
        Ok(judged.len())
    }

    /// The payments in a block's logs, with the authorizations that they were made with.
    fn decode(&self, block: &ProvenBlock, money: &AcceptedMoney) -> Result<Vec<Payment>, EngineError> {
        let chain = self.chain.id;
        let mut payments = Vec::new();
        let mut before: Option<&LogEntry> = None;
        for log in &block.logs {
            let before = before.replace(log);
            let Some(transfer) = ledger::transfer(log) else {
                continue;
            };
            let Some(amount) = ledger::is_payment(&transfer, money) else {
                continue;
            };
            let (Level::Receipts | Level::Asked | Level::None, Some(ordinal)) =
                (block.level, transfer.ordinal)
            else {
                return Err(self.unproven());
            };
            if block.level == Level::None {
                ::metrics::counter!(metrics::PAYMENT_UNCREDITED_TOTAL, "chain" => self.chain.name.clone())
                    .increment(1);
            }
            payments.push(Payment {
                key: PaymentKey {
                    chain,
                    tx_hash: transfer.tx_hash,
                    ordinal,
                },
                state: PaymentState::Confirming,
                token: transfer.contract,
                payer: transfer.from,
                treasury: transfer.to,
                amount,
                block: block.header.block(),
                block_time_ms: block.header.time_ms(),
                log_index: transfer.log_index,
                level: block.level,
                allocation: None,
                grounds: Grounds {
                    authorization: ledger::authorization_of(&transfer, before),
                    ..Grounds::default()
                },
                flags: Flags::default(),
            });
        }
        Ok(payments)
    }

    /// Takes those out of `payments` that came back as they were, with the charge that they were given to, or as an operator
    /// decided of them. Also returns the keys of all that were known.
    async fn take_known(
        &mut self,
        work: &mut Work<'_>,
        payments: &mut Vec<Payment>,
    ) -> Result<(Vec<Payment>, HashSet<PaymentKey>), EngineError> {
        let transactions: BTreeSet<B256> = payments.iter().map(|payment| payment.key.tx_hash).collect();
        let transactions: Vec<B256> = transactions.into_iter().collect();
        let known = store::payments_of_transactions(work.tx.conn(), self.chain.id, &transactions).await?;
        let mut known: HashMap<PaymentKey, Payment> =
            known.into_iter().map(|known| (known.key, known)).collect();
        let (mut keys, mut returned) = (HashSet::new(), HashSet::new());
        let mut kept = Vec::new();
        let mut fresh = Vec::with_capacity(payments.len());
        for mut payment in payments.drain(..) {
            // The receipts root does not cover transaction hashes: one payment cannot stand in two places.
            if !keys.insert(payment.key) {
                return Err(self.unproven());
            }
            match known.remove(&payment.key) {
                Some(known) if known.state != PaymentState::Orphaned => return Err(self.unproven()),
                Some(known) => {
                    self.touched.extend(known.concerns());
                    returned.insert(known.key);
                    let is_settled = known.allocation.is_some() || is_decided(work, &known.key).await?;
                    if is_same(&known, &payment) && is_settled {
                        payment.allocation = known.allocation;
                        payment.grounds = known.grounds;
                        payment.flags = known.flags;
                        kept.push(payment);
                    } else {
                        fresh.push(payment);
                    }
                }
                None => fresh.push(payment),
            }
        }
        *payments = fresh;
        Ok((kept, returned))
    }

    fn unproven(&self) -> EngineError {
        ::metrics::counter!(metrics::PAYMENT_UNPROVEN_TOTAL).increment(1);
        EngineError::Unproven(self.chain.id)
    }

    /// What follows for one payment that is stored; `returned` when it was known before.
    async fn record(
        &mut self,
        work: &mut Work<'_>,
        payment: &Payment,
        returned: bool,
    ) -> Result<(), EngineError> {
        let subject = subject(&payment.key);
        work.audit("payment.read", subject.clone(), (None, Some(evidence(payment))))
            .await?;
        let concerns = payment.concerns();
        self.touched.extend(concerns.iter().cloned());
        let is_settled = payment.allocation.is_some() || returned && is_decided(work, &payment.key).await?;
        let candidates: Vec<_> = if is_settled {
            Vec::new()
        } else {
            concerns.into_iter().collect()
        };
        if returned || !candidates.is_empty() {
            work.tx.put_candidates(&payment.key, &candidates).await?;
        }
        if is_settled {
            return Ok(());
        }
        if payment.flags.has(PaymentFlag::Ambiguous) {
            ::metrics::counter!(metrics::PAYMENT_AMBIGUOUS_TOTAL).increment(1);
        }
        let resource = format!("payment:{subject}");
        work.owe("payment.unmatched", resource, evidence(payment)).await
    }
}

/// Whether a payment that came back is what it was: the same transaction may do something else in another block.
fn is_same(before: &Payment, after: &Payment) -> bool {
    let what = |payment: &Payment| (payment.token, payment.payer, payment.treasury, payment.amount);
    what(before) == what(after)
}

/// Whether an operator ignored a payment, or sent it back: no rule gives it to a charge after that.
async fn is_decided(work: &mut Work<'_>, key: &PaymentKey) -> Result<bool, EngineError> {
    Ok(store::disposition(work.tx.conn(), key).await?.is_some())
}

/// How the audit names a payment.
pub(super) fn subject(key: &PaymentKey) -> String {
    format!("{}:{}:{}", key.chain.caip2(), key.tx_hash, key.ordinal)
}

/// What is known of a payment, for the audit and the events.
pub(super) fn evidence(payment: &Payment) -> serde_json::Value {
    json!(PaymentView::from(payment))
}
