//! Whether a transaction sends a payment back.

use crate::domain::{
    Amount, Look, MinedTransaction, Payment, Refund, RefundProof, RefundState, Standard,
};
use crate::domain::Level;

use super::transfer;

/// What a look at an operator's transaction shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundVerdict {
    /// Nothing yet; the words say why, where there is a reason.
    Wait(Option<&'static str>),
    /// It is settled and sends the money back.
    Confirmed(RefundProof),
    /// It is settled, and does not.
    Failed(&'static str),
    /// It is not to be found on the chain.
    Missing,
}

impl RefundVerdict {
    /// The state that it leads to at once.
    #[must_use]
    pub const fn state(&self) -> RefundState {
        match self {
            Self::Wait(_) | Self::Missing => RefundState::Pending,
            Self::Confirmed(_) => RefundState::Confirmed,
            Self::Failed(_) => RefundState::Failed,
        }
    }
}

/// Judges a look. `settled` is the height up to which an amount like the refund's counts on that chain; `used` are the
/// ordinals of the same transaction that prove other refunds already.
#[must_use]
pub fn judge_refund(
    (refund, payment): (&Refund, &Payment),
    look: &Look,
    settled: Option<u64>,
    used: &[u32],
) -> RefundVerdict {
    let mined = match look {
        Look::Unknown => return RefundVerdict::Missing,
        Look::Pending => return RefundVerdict::Wait(None),
        Look::Mined(mined) => mined,
    };
    if settled.is_none_or(|settled| settled < mined.block.number) {
        return RefundVerdict::Wait(None);
    }
    if !matches!(mined.level, Level::Receipts | Level::Asked) {
        return RefundVerdict::Wait(Some("this chain's blocks prove nothing"));
    }
    if mined.reverted {
        return RefundVerdict::Failed("the transaction was reverted");
    }
    match proof((refund, payment), mined, used) {
        Some(proof) => RefundVerdict::Confirmed(proof),
        None => RefundVerdict::Failed(
            "the transaction holds no transfer of at least that amount of the payment's token from the treasury to the \
             payer that does not prove another refund",
        ),
    }
}

fn proof(
    (refund, payment): (&Refund, &Payment),
    mined: &MinedTransaction,
    used: &[u32],
) -> Option<RefundProof> {
    mined.logs.iter().find_map(|log| {
        let transfer = transfer(log)?;
        let ordinal = transfer.ordinal?;
        let way = (transfer.contract, transfer.from, transfer.to);
        let is_back = transfer.standard == Standard::Erc20
            && way == (payment.token, payment.treasury, payment.payer)
            && Amount(transfer.value) >= refund.amount
            && !used.contains(&ordinal);
        is_back.then_some(RefundProof {
            ordinal,
            sent: Amount(transfer.value),
            block: mined.block,
        })
    })
}
