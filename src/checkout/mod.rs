//! Hosted checkouts: who signed a webhook, what its event says in our words, and the client that opens a checkout.
//!
//! Each provider's vocabulary stands in a file of its own and leaves it as a [`HostedReport`]. What a report is worth is not
//! decided here: the engine compares it with what was opened. Reading and verifying are pure; only `business_api` asks.

mod business;
mod business_api;
mod commerce;
mod field;
pub mod signature;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;

use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::domain::{ChargeId, CheckoutService, Credit, HostedReport, Millis, Price};

pub use business_api::{ApiError, BusinessApi};
pub use field::FieldError;
pub use token::KeyError;

/// The member of a checkout's metadata that names our charge.
const CHARGE_FIELD: &str = "chargeId";

/// The longest id or type of an event, and id of a checkout, that is read, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// What names an event for the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventName {
    /// The same when it is sent again.
    pub id: String,
    /// The provider's type of it.
    pub kind: String,
}

/// The name of an event whose signature was verified. `body` is its JSON, `raw` the bytes that were signed.
///
/// # Errors
/// What it lacks.
pub fn name(service: CheckoutService, raw: &[u8], body: &Value) -> Result<EventName, FieldError> {
    match service {
        CheckoutService::CoinbaseCommerce => commerce::name(body),
        CheckoutService::CoinbaseBusiness => business::name(raw, body),
    }
}

/// What an event says of a checkout; nothing where its type is none that we know.
///
/// # Errors
/// The place of what is not as the provider documents it.
pub fn read(service: CheckoutService, body: &Value) -> Result<Option<HostedReport>, FieldError> {
    match service {
        CheckoutService::CoinbaseCommerce => commerce::read(body),
        CheckoutService::CoinbaseBusiness => business::read(body),
    }
}

/// A checkout that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// For which charge; asked again for the same charge and price it is the same checkout.
    pub charge: ChargeId,
    /// What it shall ask; a provider whose amounts are coarser rounds up.
    pub price: Price,
    /// What is bought, in words.
    pub description: String,
    /// Until when it may be paid.
    pub expires_at: Millis,
    /// Where the payer goes afterwards.
    pub return_url: Option<String>,
}

/// A checkout that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The provider's id of it.
    pub reference: String,
    /// Its page.
    pub url: String,
    /// What it asks.
    pub price: Price,
}

/// Why no checkout was opened. Holds nothing of what was sent or answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No answer in time, or one that says to try again.
    #[error("the provider of checkouts does not answer")]
    Unavailable,
    /// It said no.
    #[error("the provider of checkouts refuses, with status {0}")]
    Refused(u16),
    /// The answer is not one that its documentation knows.
    #[error("the provider of checkouts answers something that is not a checkout")]
    NotACheckout,
    /// The answer is a checkout of something else.
    #[error("the provider of checkouts answers with a checkout of another price")]
    AnotherPrice,
}

impl OpenError {
    /// A word for metrics.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Refused(_) => "refused",
            Self::NotACheckout | Self::AnotherPrice => "misread",
        }
    }
}

/// Who can open checkouts.
pub trait CheckoutProvider: fmt::Debug + Send + Sync {
    /// Its name.
    fn service(&self) -> CheckoutService;

    /// Whether it takes a currency.
    fn takes(&self, currency: &str) -> bool;

    /// Opens one, or answers with the one that was opened before for the same charge and price. Bounded in time.
    fn open<'a>(&'a self, wanted: &'a Wanted, now: Millis) -> BoxFuture<'a, Result<Opened, OpenError>>;
}

/// `amount` rounded up to `decimals` digits after the point.
fn round_up(amount: Credit, decimals: u8) -> Credit {
    Credit::of(amount.to_amount_up(decimals), decimals)
}
