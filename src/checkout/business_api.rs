//! Opens checkouts at Coinbase Business
//! (<https://docs.cdp.coinbase.com/api-reference/business-api/rest-api/checkouts/create-checkout>).
//!
//! Asked again for the same charge and price, it sends the same idempotency key, so there is one checkout however often an
//! answer was lost. Must not let the key, the URL or an answer's text into an error.

use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::field::{Field, FieldError};
use super::token::Signer;
use super::{CHARGE_FIELD, CheckoutProvider, KeyError, OpenError, Opened, Wanted, round_up};
use crate::config;
use crate::domain::{CheckoutService, Credit, Millis, Price};
use crate::egress::{Egress, EgressError, EgressResponse, Policy};
use crate::retry::Backoff;

/// The only currency that is asked for: what is asked in others is converted, and another sum arrives.
const CURRENCY: &str = "USDC";

/// The digits after the point that an amount may have.
const DECIMALS: u8 = 2;

const PATH: &str = "/api/v1/checkouts";

/// Tries of one request.
const MAX_TRIES: u32 = 3;

/// The least and the most that is waited between two of them.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// Why there is nobody who opens checkouts.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The secret is no key.
    #[error("checkout.api_key_secret {0}")]
    Key(#[from] KeyError),
    /// No HTTP client.
    #[error(transparent)]
    Client(#[from] EgressError),
}

/// The client.
pub struct BusinessApi {
    egress: Egress,
    signer: Signer,
    url: Url,
    /// Bounds all tries of one request together.
    timeout: Duration,
    allow_private_network: bool,
}

impl fmt::Debug for BusinessApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusinessApi")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl BusinessApi {
    /// A client that goes by `settings`.
    ///
    /// # Errors
    /// The secret is no key; there is no HTTP client.
    pub fn new(settings: &config::CheckoutApi) -> Result<Self, ApiError> {
        let mut url = settings.base_url.clone();
        url.set_path(&format!(
            "{}{PATH}",
            settings.base_url.path().trim_end_matches('/')
        ));
        Ok(Self {
            egress: Egress::new(Policy {
                allow_private_network: settings.allow_private_network,
                ..Policy::default()
            })?,
            signer: Signer::new(&settings.api_key_id, &settings.api_key_secret)?,
            url,
            timeout: settings.timeout,
            allow_private_network: settings.allow_private_network,
        })
    }

    async fn ask(&self, wanted: &Wanted, now: Millis) -> Result<Opened, OpenError> {
        let price = Price {
            amount: round_up(wanted.price.amount, DECIMALS),
            currency: wanted.price.currency.clone(),
        };
        let (key, body) = (idempotency_key(wanted, &price), body(wanted, &price));
        let mut tried = 1;
        let mut pauses = Backoff::new(MIN_PAUSE, MAX_PAUSE);
        loop {
            let answer = self.post(&key, &body, now).await;
            let may_pass = match &answer {
                Ok(answer) => matches!(answer.status, 408 | 425 | 429 | 500..),
                Err(error) => error.is_transient(),
            };
            if !may_pass || tried == MAX_TRIES {
                return self.read(answer, price);
            }
            tokio::time::sleep(pauses.next_delay()).await;
            tried += 1;
        }
    }

    async fn post(&self, key: &str, body: &Value, now: Millis) -> Result<EgressResponse, EgressError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|_| EgressError::Client)?;
        let host = self.url.host_str().unwrap_or_default();
        let request = format!("POST {host}{}", self.url.path());
        let token = self
            .signer
            .token(&request, nonce, now)
            .map_err(|_| EgressError::Client)?;
        let headers = [
            ("authorization", format!("Bearer {token}")),
            ("content-type", "application/json".to_owned()),
            ("x-idempotency-key", key.to_owned()),
        ];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let body = body.to_string().into_bytes();
        self.egress
            .post(self.url.as_str(), &headers, body, self.timeout)
            .await
    }

    fn read(&self, answer: Result<EgressResponse, EgressError>, asked: Price) -> Result<Opened, OpenError> {
        let answer = answer.map_err(|_| OpenError::Unavailable)?;
        match answer.status {
            200 | 201 if !answer.truncated => {}
            200..=299 => return Err(OpenError::NotACheckout),
            408 | 425 | 429 | 500.. => return Err(OpenError::Unavailable),
            status => return Err(OpenError::Refused(status)),
        }
        let body: Value = serde_json::from_slice(&answer.body).map_err(|_| OpenError::NotACheckout)?;
        let (reference, url, amount, currency) = checkout(&body).map_err(|_| OpenError::NotACheckout)?;
        if (amount, currency.as_str()) != (asked.amount, asked.currency.as_str()) {
            return Err(OpenError::AnotherPrice);
        }
        let is_page = Url::parse(&url).is_ok_and(|url| {
            url.scheme() == "https" || (self.allow_private_network && url.scheme() == "http")
        });
        if !is_page {
            return Err(OpenError::NotACheckout);
        }
        Ok(Opened {
            reference,
            url,
            price: asked,
        })
    }
}

impl CheckoutProvider for BusinessApi {
    fn service(&self) -> CheckoutService {
        CheckoutService::CoinbaseBusiness
    }

    fn takes(&self, currency: &str) -> bool {
        currency == CURRENCY
    }

    fn open<'a>(&'a self, wanted: &'a Wanted, now: Millis) -> BoxFuture<'a, Result<Opened, OpenError>> {
        Box::pin(async move {
            tokio::time::timeout(self.timeout, self.ask(wanted, now))
                .await
                .unwrap_or(Err(OpenError::Unavailable))
        })
    }
}

fn body(wanted: &Wanted, price: &Price) -> Value {
    let mut body = json!({
        "amount": two_decimals(price.amount),
        "currency": price.currency,
        "description": wanted.description,
        "expiresAt": instant(wanted.expires_at),
        "metadata": {CHARGE_FIELD: wanted.charge},
    });
    if let (Some(body), Some(url)) = (body.as_object_mut(), &wanted.return_url) {
        body.insert("successRedirectUrl".to_owned(), Value::from(url.as_str()));
        body.insert("failRedirectUrl".to_owned(), Value::from(url.as_str()));
    }
    body
}

/// `15.00`.
fn two_decimals(amount: Credit) -> String {
    let cents = amount.to_amount(DECIMALS).to_string();
    let cents = format!("{cents:0>3}");
    let (whole, cents) = cents.split_at(cents.len() - usize::from(DECIMALS));
    format!("{whole}.{cents}")
}

fn instant(at: Millis) -> String {
    jiff::Timestamp::from_second(at.div_euclid(1000)).map_or_else(|_| String::new(), |at| at.to_string())
}

/// A UUID (version 4 by its form, as the provider asks) that is the same for the same charge and price.
fn idempotency_key(wanted: &Wanted, price: &Price) -> String {
    let named = format!("{}/{}/{}", wanted.charge, price.amount, price.currency);
    let digest = Sha256::digest(named.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = hex::encode(bytes);
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}

fn checkout(body: &Value) -> Result<(String, String, Credit, String), FieldError> {
    let checkout = Field::root(body);
    Ok((
        checkout.require("id")?.name()?,
        checkout.require("url")?.name()?,
        checkout.require("amount")?.sum()?,
        checkout.require("currency")?.name()?,
    ))
}
