//! A hosted checkout: a page of a provider where a charge may be paid, and the money that came by it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Amount, ChargeId, Credit, Millis};

/// Who hosts checkouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckoutService {
    /// Coinbase Commerce, closed on 2026-03-31: its events are still replayed, and nothing is opened there.
    CoinbaseCommerce,
    /// Coinbase Business.
    CoinbaseBusiness,
}

impl CheckoutService {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CoinbaseCommerce => "coinbase_commerce",
            Self::CoinbaseBusiness => "coinbase_business",
        }
    }
}

/// Who sends events that are stored before they are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sender {
    /// Stripe.
    Stripe,
    /// A provider of hosted checkouts.
    Checkout(CheckoutService),
}

impl Sender {
    const ALL: [Self; 3] = [
        Self::Stripe,
        Self::Checkout(CheckoutService::CoinbaseCommerce),
        Self::Checkout(CheckoutService::CoinbaseBusiness),
    ];

    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::Checkout(service) => service.as_str(),
        }
    }
}

/// A word that is no sender's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be one of those who send events")]
pub struct SenderError;

impl FromStr for Sender {
    type Err = SenderError;

    fn from_str(text: &str) -> Result<Self, SenderError> {
        let mut known = Self::ALL.into_iter();
        known.find(|sender| sender.as_str() == text).ok_or(SenderError)
    }
}

/// Names one checkout.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckoutKey {
    /// Who hosts it.
    pub service: CheckoutService,
    /// The provider's own id of it.
    pub reference: String,
}

impl fmt::Display for CheckoutKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service.as_str(), self.reference)
    }
}

/// How far the payment of a checkout is, in our words for every provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostedState {
    /// Nothing was paid.
    Open,
    /// Its time has passed, and nothing was paid.
    Expired,
    /// An attempt to pay it failed.
    Failed,
    /// A payment is under way.
    Pending,
    /// Money has arrived; whether it is enough, its charge says.
    Paid,
    /// All that had arrived was sent back.
    Refunded,
}

impl HostedState {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Expired => "expired",
            Self::Failed => "failed",
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Refunded => "refunded",
        }
    }
}

/// A sum in a provider's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// How much.
    pub amount: Credit,
    /// Of what, such as `USDC`.
    pub currency: String,
}

/// What one event of a provider says of a checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedReport {
    /// The provider's id of the checkout.
    pub reference: String,
    /// The charge that the checkout says it is for.
    pub charge: Option<String>,
    /// What the checkout asks.
    pub price: Price,
    /// What is said of it.
    pub state: HostedState,
    /// When, by the provider's clock: of money that arrived, the earliest time that is told of it.
    pub at: Millis,
    /// What has arrived, or is under way where it is pending.
    pub received: Credit,
    /// What of that was sent back.
    pub refunded: Credit,
}

/// The same in base units of the charge's token, with the event that said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// What is said.
    pub state: HostedState,
    /// When.
    pub at: Millis,
    /// What has arrived, or is under way.
    pub received: Amount,
    /// What was sent back.
    pub refunded: Amount,
    /// The provider's id of the event.
    pub event: String,
}

/// A checkout that was opened for a charge, and what was heard of it since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedPayment {
    /// Which.
    pub key: CheckoutKey,
    /// The charge that it was opened for.
    pub charge: ChargeId,
    /// The page.
    pub url: String,
    /// The currency that it asks in: the symbol of the charge's token.
    pub currency: String,
    /// What it asks, in base units of the charge's token, as all amounts here.
    pub asked: Amount,
    /// When it was opened.
    pub opened_at: Millis,
    /// The last that was said of attempts to pay it, `open` to `pending`; and when, by the provider's clock.
    pub attempt: (HostedState, Millis),
    /// What is under way by that attempt.
    pub pending: Amount,
    /// What has arrived.
    pub received: Amount,
    /// When it did, and the event that said so.
    pub evidence: Option<(Millis, String)>,
    /// What of that was sent back.
    pub refunded: Amount,
}

impl HostedPayment {
    /// How far it is.
    #[must_use]
    pub fn state(&self) -> HostedState {
        if self.received.is_zero() {
            self.attempt.0
        } else if self.refunded >= self.received {
            HostedState::Refunded
        } else {
            HostedState::Paid
        }
    }
}
