//! A payment: a transfer of an accepted token to a treasury of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::{Amount, BlockRef, ChainId, ChargeId, Flags, Level, Millis, TenantId, UserId};

/// What a payment is, whichever block it is in: a reorg may move it to another block and log index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PaymentKey {
    /// The chain.
    pub chain: ChainId,
    /// The transaction.
    pub tx_hash: B256,
    /// The log's index within its transaction.
    pub ordinal: u32,
}

/// Why a text names no payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be <chain id>-<transaction hash>-<index of the log in its transaction>, such as 1-0x…-0")]
pub struct PaymentKeyError;

/// The form in paths and answers, `1-0x…-0`: the same wherever a reorg moves the transaction.
impl fmt::Display for PaymentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.chain, self.tx_hash, self.ordinal)
    }
}

impl FromStr for PaymentKey {
    type Err = PaymentKeyError;

    /// Accepts what `Display` writes, with hexadecimal digits of either case, and nothing else.
    fn from_str(text: &str) -> Result<Self, PaymentKeyError> {
        let mut parts = text.split('-');
        let (Some(chain), Some(hash), Some(ordinal), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(PaymentKeyError);
        };
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(chain) || !is_number(ordinal) || !hash.starts_with("0x") {
            return Err(PaymentKeyError);
        }
        Ok(Self {
            chain: ChainId(chain.parse().map_err(|_| PaymentKeyError)?),
            tx_hash: hash.parse().map_err(|_| PaymentKeyError)?,
            ordinal: ordinal.parse().map_err(|_| PaymentKeyError)?,
        })
    }
}

/// How far a payment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    /// In a proven block that the finality policy does not cover yet.
    Confirming,
    /// Covered by its tier of the finality policy: it counts.
    Confirmed,
    /// Confirmed, and too old to be undone.
    Final,
    /// Its block was left behind by a reorg; it counts for nothing unless it comes back.
    Orphaned,
}

impl PaymentState {
    /// Whether it counts.
    #[must_use]
    pub const fn counts(self) -> bool {
        matches!(self, Self::Confirmed | Self::Final)
    }

    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirming => "confirming",
            Self::Confirmed => "confirmed",
            Self::Final => "final",
            Self::Orphaned => "orphaned",
        }
    }
}

/// The rule that gave a payment to a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchRule {
    /// It was made with an authorization whose nonce is a reference of the charge (EIP-3009).
    Reference,
    /// The amount was leased to exactly one charge at the block's time.
    ExactAmount,
    /// The payer's wallet is proven by one user with one open charge for that token.
    PayerWallet,
    /// The charge's user named the transaction, and has proven the payer's wallet.
    Claim,
    /// An operator said so.
    Operator,
}

impl MatchRule {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::ExactAmount => "exact_amount",
            Self::PayerWallet => "payer_wallet",
            Self::Claim => "claim",
            Self::Operator => "operator",
        }
    }
}

/// What is remarkable about a payment, and why nobody is credited with it by a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentFlag {
    /// A token that is known on its chain, and not accepted there.
    WrongToken,
    /// What it may have been meant for is to be paid on another chain.
    WrongChain,
    /// Rules name several charges.
    Ambiguous,
    /// Late, for a charge whose price has changed since.
    Held,
}

/// An EIP-3009 authorization that a token says was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// Who signed it.
    pub authorizer: Address,
    /// Theirs to choose, and used once by each token.
    pub nonce: B256,
    /// The log's index in its block.
    pub log_index: u64,
}

/// The only user who has proven a wallet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WalletOwner {
    /// Their tenant.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
}

/// A person who decided what no rule could.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decider {
    /// Who, as the audit names them.
    pub actor: String,
    /// What they said of it.
    pub note: Option<String>,
}

/// What was found of whose a payment is; kept with it whatever came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Grounds {
    /// The charges that each rule named.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub named: BTreeMap<MatchRule, Vec<ChargeId>>,
    /// Charges that it is not for, by their terms, and may be meant for: paid in another token, on another chain, too late.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub meant: Vec<ChargeId>,
    /// The authorization it was made with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// The one user who has proven the payer's wallet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wallet: Option<WalletOwner>,
    /// The person who decided, by the rules `claim` and `operator`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decider: Option<Decider>,
}

/// One payment as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Its identity.
    pub key: PaymentKey,
    /// How far it is.
    pub state: PaymentState,
    /// The token's contract.
    pub token: Address,
    /// `Transfer.from`, never the transaction's sender.
    pub payer: Address,
    /// `Transfer.to`.
    pub treasury: Address,
    /// Base units that arrived.
    pub amount: Amount,
    /// The block that holds it, or last held it.
    pub block: BlockRef,
    /// That block's own time.
    pub block_time_ms: Millis,
    /// Its log index in that block.
    pub log_index: u64,
    /// How that block was proven.
    pub level: Level,
    /// The charge it was given to, with the rule; kept across reorgs.
    pub allocation: Option<(ChargeId, MatchRule)>,
    /// What that rests on, or why there is none.
    pub grounds: Grounds,
    /// What is remarkable.
    pub flags: Flags<PaymentFlag>,
}

impl Payment {
    /// The charges that it changes: the one it is given to, or else all that it may be meant for.
    #[must_use]
    pub fn concerns(&self) -> BTreeSet<ChargeId> {
        if let Some((charge, _)) = &self.allocation {
            return BTreeSet::from([charge.clone()]);
        }
        let named = self.grounds.named.values().flatten();
        named.chain(&self.grounds.meant).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payments_name_is_read_as_it_is_written() {
        let key = PaymentKey {
            chain: ChainId(137),
            tx_hash: B256::repeat_byte(0xab),
            ordinal: 3,
        };
        let text = key.to_string();
        assert_eq!(text, format!("137-0x{}-3", "ab".repeat(32)));
        assert_eq!(text.parse(), Ok(key));
        let hash = format!("0x{}", "AB".repeat(32));
        assert_eq!(format!("137-{hash}-3").parse(), Ok(key));
        for bad in [
            String::new(),
            hash.clone(),
            format!("137-{hash}"),
            format!("137-{hash}-"),
            format!("-137-{hash}-3"),
            format!("137-{hash}-3-1"),
            format!("+137-{hash}-3"),
            format!("0x89-{hash}-3"),
            format!("137-{}-3", "ab".repeat(32)),
            format!("137-{hash}00-3"),
            format!("137-{hash}-4294967296"),
        ] {
            assert_eq!(bad.parse::<PaymentKey>(), Err(PaymentKeyError), "{bad:?}");
        }
    }
}
