//! Whether a transaction sends a payment back.

use alloy::primitives::Address;

use super::transfer;
use crate::domain::{Amount, Level, MinedTransaction, Payment, Refund, RefundProof, Standard, Transfer};

/// What a settled transaction of an operator shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundVerdict {
    /// Nothing, for a reason that may pass.
    Wait(String),
    /// It sends the money back.
    Confirmed(RefundProof),
    /// It does not; the words say what it does instead.
    Failed(String),
}

/// Judges a transaction that is settled on the chain, and proven no worse than the payment was: whoever looks at a chain finds
/// out by itself how that can be proven, and may have been misled. `used` are the log indexes of its block that prove other
/// refunds.
#[must_use]
pub fn judge_refund(
    (refund, payment): (&Refund, &Payment),
    mined: &MinedTransaction,
    used: &[u64],
) -> RefundVerdict {
    let is_proven = match mined.level {
        Level::Receipts => true,
        Level::Asked => payment.level == Level::Asked,
        Level::Ranged | Level::None => false,
    };
    if !is_proven {
        return RefundVerdict::Wait("its block is not proven as well as the payment's".to_owned());
    }
    if mined.reverted {
        return RefundVerdict::Failed("the transaction was reverted".to_owned());
    }
    let sent: Vec<Transfer> = mined
        .logs
        .iter()
        .filter_map(transfer)
        .filter(|transfer| transfer.standard == Standard::Erc20)
        .collect();
    let mut nearest: Option<Short> = None;
    for transfer in &sent {
        match falls_short((refund, payment), transfer, used) {
            Ok(ordinal) => {
                return RefundVerdict::Confirmed(RefundProof {
                    ordinal,
                    log_index: transfer.log_index,
                    sent: Amount(transfer.value),
                    block: mined.block,
                });
            }
            Err(short) => nearest = Some(nearest.map_or(short, |nearest| nearest.max(short))),
        }
    }
    RefundVerdict::Failed(match nearest {
        None => "the transaction holds no transfer of a token".to_owned(),
        Some(short) => short.explain(refund, payment),
    })
}

/// Why a transfer is not the refund; the later, the nearer it is to be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Short {
    /// It is not from the treasury.
    Elsewhere,
    /// To somebody else, of whatever token.
    WrongRecipient(Address),
    /// To the payer, of another token.
    WrongToken(Address),
    /// Less than was recorded.
    TooLittle(Amount),
    /// It proves another refund already.
    Used,
}

impl Short {
    fn explain(self, refund: &Refund, payment: &Payment) -> String {
        let Payment {
            payer,
            treasury,
            token,
            ..
        } = payment;
        match self {
            Self::Elsewhere => format!("the transaction sends nothing from the treasury {treasury}"),
            Self::WrongRecipient(to) => {
                format!("the transaction sends to {to}, and the payer is {payer}")
            }
            Self::WrongToken(sent) => {
                format!("the transaction sends the token {sent}, and {token} was paid")
            }
            Self::TooLittle(sent) => format!(
                "the transaction sends {sent} base units, and {} were to be sent back",
                refund.amount
            ),
            Self::Used => "the transaction's transfer proves another refund already".to_owned(),
        }
    }
}

/// The transfer's place in its transaction, if it sends the payment back.
fn falls_short(
    (refund, payment): (&Refund, &Payment),
    transfer: &Transfer,
    used: &[u64],
) -> Result<u32, Short> {
    let sent = Amount(transfer.value);
    let Some(ordinal) = transfer.ordinal.filter(|_| transfer.from == payment.treasury) else {
        return Err(Short::Elsewhere);
    };
    if transfer.to != payment.payer {
        return Err(Short::WrongRecipient(transfer.to));
    }
    if transfer.contract != payment.token {
        return Err(Short::WrongToken(transfer.contract));
    }
    if sent < refund.amount {
        return Err(Short::TooLittle(sent));
    }
    if used.contains(&transfer.log_index) {
        return Err(Short::Used);
    }
    Ok(ordinal)
}
