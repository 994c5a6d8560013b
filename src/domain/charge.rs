//! A charge: a request to pay, and what became of it.

use std::collections::BTreeSet;
use std::fmt;

use alloy::primitives::{Address, B256};
use serde::{Deserialize, Serialize};

use super::{Amount, ChainId, ChargeId, Credit, Millis, Product, TenantId, UserId};

/// How far a charge is. A function of its terms, its payments and the chain (ledger), stored for the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeState {
    /// Waiting for money.
    Open,
    /// A transfer for it was seen on the wire, in no proven block yet; a hint that is never stored.
    Detected,
    /// A payment for it is in a proven block, and not enough is confirmed.
    Confirming,
    /// Confirmed money covers it.
    Paid,
    /// Past its deadline; still watched until its grace ends.
    Expired,
    /// Cancelled by its tenant; still watched likewise.
    Cancelled,
    /// Was paid, and the payment was orphaned.
    Reversed,
    /// Unpaid when its grace ended.
    Closed,
}

impl ChargeState {
    /// Those that a charge is stored in: all but the hint.
    pub const STORED: [Self; 7] = [
        Self::Open,
        Self::Confirming,
        Self::Paid,
        Self::Expired,
        Self::Cancelled,
        Self::Reversed,
        Self::Closed,
    ];

    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Detected => "detected",
            Self::Confirming => "confirming",
            Self::Paid => "paid",
            Self::Expired => "expired",
            Self::Cancelled => "cancelled",
            Self::Reversed => "reversed",
            Self::Closed => "closed",
        }
    }
}

/// What is remarkable about a charge, beside its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChargeFlag {
    /// Less than due has arrived.
    Underpaid,
    /// More than due has arrived.
    Overpaid,
    /// Money arrived after the deadline.
    Late,
    /// It was paid more than once over.
    Duplicate,
    /// A payment for it was orphaned at some time.
    Reorged,
    /// The deadline slid because the chain had not been read past it.
    ChainBlind,
    /// A payment in another token may have been meant for it.
    WrongToken,
    /// A payment on another chain may have been meant for it.
    WrongChain,
    /// A payment may have been meant for it, or for another charge.
    Ambiguous,
    /// A payment that came late for it waits for a person: its price has changed.
    Held,
    /// Nobody can pay it now: its token's transfers are paused. A view's, never stored.
    TokenPaused,
    /// Nobody can pay it now: the treasury is on its token's blacklist. A view's, never stored.
    TreasuryBlacklisted,
}

/// A small ordered set of flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent, bound(deserialize = "F: Deserialize<'de> + Ord"))]
pub struct Flags<F = ChargeFlag>(BTreeSet<F>);

impl<F> Default for Flags<F> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<F: Copy + Ord> Flags<F> {
    /// Adds `flag` when `holds`.
    pub fn set(&mut self, flag: F, holds: bool) {
        if holds {
            self.0.insert(flag);
        }
    }

    /// Whether `flag` is set.
    #[must_use]
    pub fn has(&self, flag: F) -> bool {
        self.0.contains(&flag)
    }

    /// In a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = F> + '_ {
        self.0.iter().copied()
    }
}

/// How the amount asked came from the price.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quote {
    /// What the token is worth a piece of, such as `USD`: credit is kept by it.
    pub unit: String,
    /// The token's decimals when the charge was made.
    pub decimals: u8,
    /// Credit that was set aside for it; below zero, what its tenant owed and is asked for too.
    pub credit: Credit,
    /// The value of paid time that the product replaces, taken off the price.
    pub unused: Credit,
    /// What is left to ask, before the few base units that make the amount unique. Nothing where credit covers it all.
    pub asked: Amount,
    /// The plan's place in the upgrade path when the charge was made.
    pub rank: u32,
}

/// What a period that is bought on-chain does while a subscription elsewhere is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenActive {
    /// It begins when that one ends.
    Queue,
    /// It begins when it is paid, beside that one.
    Stack,
}

impl WhenActive {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Stack => "stack",
        }
    }
}

/// What was agreed when the charge was made. Never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeTerms {
    /// Its id.
    pub id: ChargeId,
    /// Who is charged.
    pub tenant: TenantId,
    /// The user who asked, where the caller said.
    pub user: Option<UserId>,
    /// What is bought.
    pub product: Product,
    /// Where it is to be paid.
    pub chain: ChainId,
    /// In which token.
    pub token: Address,
    /// To which address.
    pub treasury: Address,
    /// The product's price.
    pub price: Amount,
    /// What was set off against it.
    pub quote: Quote,
    /// The amount to pay: what is asked, and the few base units that make it unique.
    pub due: Amount,
    /// The tenant's choice where it had a subscription elsewhere.
    pub when_active: Option<WhenActive>,
    /// The subscription, by its provider's id, whose end a queued period waits for.
    pub queued_behind: Option<String>,
    /// When it was made.
    pub created_at: Millis,
    /// Until when it should be paid.
    pub expires_at: Millis,
    /// Until when it is still watched, and its amount not leased again.
    pub grace_until: Millis,
}

/// The n-th nonce by which a payment names its charge (EIP-3009).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The chain of the charge.
    pub chain: ChainId,
    /// The token of the charge.
    pub token: Address,
    /// Not to be guessed.
    pub nonce: B256,
    /// The charge.
    pub charge: ChargeId,
    /// Counts the charge's references from 0.
    pub n: u32,
    /// When a payment was first read that used it.
    pub used_at: Option<Millis>,
}

/// The money that reached a charge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// In proven blocks.
    pub seen: Amount,
    /// Covered by the finality policy.
    pub confirmed: Amount,
    /// Of that, what can no longer be undone.
    pub finalized: Amount,
}

/// A charge as it stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// What was agreed.
    pub terms: ChargeTerms,
    /// How far it is.
    pub state: ChargeState,
    /// What is remarkable.
    pub flags: Flags,
    /// The money that reached it.
    pub totals: Totals,
    /// When its tenant cancelled it.
    pub cancelled_at: Option<Millis>,
    /// The time of the block that completed it; kept while it is reversed.
    pub paid_at: Option<Millis>,
    /// When we saw that it was reversed, while it is.
    pub reversed_at: Option<Millis>,
    /// The end of its grace, once its chain is settled past it and it is not paid: what reached it is its tenant's.
    pub closed_at: Option<Millis>,
    /// The nonce (EIP-3009) that names it in an authorization: the newest one, which no payment has used.
    pub reference: B256,
    /// Counts its changes; orders its events.
    pub sequence: i64,
}

impl fmt::Display for ChargeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
