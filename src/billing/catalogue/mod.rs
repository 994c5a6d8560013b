//! The catalogue: which plans there are, what each allows, and what each costs.
//!
//! Owns the meaning of `plans.toml`. A catalogue that exists is whole: every plan has a limit for every meter, every
//! name resolves to one plan, and every Stripe price to one plan and interval. It must not know who has which plan.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use crate::domain::{Interval, PlanId, Token};

mod build;
mod quantity;
mod raw;
#[cfg(test)]
mod tests;

/// The catalogue that is used where none is configured.
const SHIPPED: &str = include_str!("../../../config/plans.toml");

/// The plans, checked.
#[derive(Debug, Clone)]
pub struct Catalogue {
    name: String,
    subject: Subject,
    currency: String,
    denied_status: u16,
    features: BTreeMap<String, String>,
    meters: BTreeMap<String, Meter>,
    /// In rank order.
    plans: Vec<Plan>,
    default_plan: Option<usize>,
    /// Ids and aliases in lower case.
    by_name: HashMap<String, usize>,
    by_stripe_price: HashMap<String, (PlanId, Interval)>,
}

/// Whose plan it is; the id is opaque to us in every case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A customer organisation.
    Tenant,
    /// A person.
    User,
    /// A community.
    Community,
}

/// What a meter's number is, and how it is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeterKind {
    /// Grows, and starts again with each window.
    Counter(Window),
    /// Goes up and down.
    Gauge,
    /// Compares the request alone.
    Static,
}

/// When a counter starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// With each month.
    CalendarMonth,
    /// With each paid period.
    BillingPeriod,
    /// With each day.
    Day,
    /// With each minute.
    Minute,
    /// Never at once: what is older than this many days no longer counts.
    Rolling {
        /// From 1 to 366.
        days: u16,
    },
    /// Never.
    Lifetime,
}

/// What a meter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes; GB is 2^30.
    Bytes,
}

/// One meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    /// For people.
    pub name: String,
    /// How it is compared.
    pub kind: MeterKind,
    /// What it counts.
    pub unit: Unit,
    /// What its use costs, where that is shown.
    pub cost: Option<Cost>,
}

/// What use costs; shown, never charged by us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// Decimal text in the catalogue's currency.
    pub price: String,
    /// For so many of the meter's units.
    pub per: u64,
}

/// How much of a meter a plan allows, inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Any amount.
    Unlimited,
    /// Up to this, in the meter's unit.
    AtMost(u64),
}

impl Limit {
    /// Whether a total of `used` is within the limit.
    #[must_use]
    pub const fn allows(self, used: u64) -> bool {
        match self {
            Self::Unlimited => true,
            Self::AtMost(most) => used <= most,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("unlimited"),
            Self::AtMost(most) => most.fmt(f),
        }
    }
}

/// One price per interval, as decimal text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prices {
    /// For a month.
    pub month: Option<String>,
    /// For a year.
    pub year: Option<String>,
}

impl Prices {
    /// The price for `interval`.
    #[must_use]
    pub fn of(&self, interval: Interval) -> Option<&str> {
        match interval {
            Interval::Month => self.month.as_deref(),
            Interval::Year => self.year.as_deref(),
        }
    }
}

/// A price on-chain, as decimal text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CryptoPrice {
    /// In the catalogue's currency: of every token that is worth one of it.
    Currency(String),
    /// By the token's symbol, or by the unit of it.
    Tokens(BTreeMap<String, String>),
}

impl CryptoPrice {
    /// The price in `token`, its own before that of its unit.
    fn in_token(&self, token: &Token, currency: &str) -> Option<&str> {
        match self {
            Self::Currency(price) => (token.unit == currency).then_some(price),
            Self::Tokens(prices) => prices
                .get(&token.symbol)
                .or_else(|| prices.get(&token.unit))
                .map(String::as_str),
        }
    }
}

/// One price on-chain per interval.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CryptoPrices {
    /// For a month.
    pub month: Option<CryptoPrice>,
    /// For a year.
    pub year: Option<CryptoPrice>,
}

impl CryptoPrices {
    /// The price for `interval`.
    #[must_use]
    pub fn of(&self, interval: Interval) -> Option<&CryptoPrice> {
        match interval {
            Interval::Month => self.month.as_ref(),
            Interval::Year => self.year.as_ref(),
        }
    }

    fn is_empty(&self) -> bool {
        self.month.is_none() && self.year.is_none()
    }
}

/// Stripe price ids and lookup keys per interval. The first of each is the one to sell by; all are understood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StripePrices {
    /// For a month.
    pub month: Vec<String>,
    /// For a year.
    pub year: Vec<String>,
}

impl StripePrices {
    /// Those for `interval`.
    #[must_use]
    pub fn of(&self, interval: Interval) -> &[String] {
        match interval {
            Interval::Month => &self.month,
            Interval::Year => &self.year,
        }
    }

    fn is_empty(&self) -> bool {
        self.month.is_empty() && self.year.is_empty()
    }
}

/// One plan, with what it took from those it extends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its id, in lower case.
    pub id: PlanId,
    /// For people.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Its place in the upgrade path; no two plans share one.
    pub rank: u32,
    /// Other names that are understood.
    pub aliases: Vec<String>,
    /// Sold by contract.
    pub contact_sales: bool,
    /// The features that are on.
    pub features: BTreeSet<String>,
    /// A limit for every meter of the catalogue.
    pub limits: BTreeMap<String, Limit>,
    /// What people are shown, in the catalogue's currency.
    pub price: Prices,
    /// What it costs on-chain.
    pub crypto: CryptoPrices,
    /// What Stripe calls it.
    pub stripe: StripePrices,
}

impl Plan {
    /// Whether somebody can get it: at a price, on-chain or by Stripe, or by contract.
    #[must_use]
    pub fn is_offered(&self) -> bool {
        self.contact_sales || !self.crypto.is_empty() || !self.stripe.is_empty()
    }
}

/// One mistake in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} {message}")]
pub struct CatalogueError {
    /// The field, as in `plans.pro.limits.users`, or the line where the text could not be read.
    pub path: String,
    /// What is wrong with it, and what to write.
    pub message: String,
}

/// Every mistake in the catalogue; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueErrors(pub Vec<CatalogueError>);

impl fmt::Display for CatalogueErrors {
    /// A line each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CatalogueErrors {}

impl Catalogue {
    /// Reads a catalogue. `stripe_prices` are plan, interval and price id from elsewhere than the file; they go before
    /// the file's own.
    ///
    /// # Errors
    /// Everything that is wrong with it at once; a text that is not of the right shape stops at its first mistake.
    pub fn parse(text: &str, stripe_prices: &[(String, String, String)]) -> Result<Self, CatalogueErrors> {
        let raw = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| before.matches('\n').count() + 1);
            CatalogueErrors(vec![CatalogueError {
                path: format!("line {line}"),
                message: error.message().to_owned(),
            }])
        })?;
        build::build(raw, stripe_prices)
    }

    /// The catalogue that is built in.
    ///
    /// # Errors
    /// Those of [`Catalogue::parse`]; with an empty `stripe_prices` there are none.
    pub fn shipped(stripe_prices: &[(String, String, String)]) -> Result<Self, CatalogueErrors> {
        Self::parse(SHIPPED, stripe_prices)
    }

    /// What the catalogue is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whose plans they are.
    pub fn subject(&self) -> Subject {
        self.subject
    }

    /// The ISO 4217 code of every list price.
    pub fn currency(&self) -> &str {
        &self.currency
    }

    /// The HTTP status to suggest for a refused check: 402 or 403.
    pub fn denied_status(&self) -> u16 {
        self.denied_status
    }

    /// The features that exist, with their names for people.
    pub fn features(&self) -> &BTreeMap<String, String> {
        &self.features
    }

    /// The meters that exist.
    pub fn meters(&self) -> &BTreeMap<String, Meter> {
        &self.meters
    }

    /// Every plan in rank order.
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// The plan with this id or alias, in any case.
    pub fn plan(&self, name: &str) -> Option<&Plan> {
        self.plans.get(*self.by_name.get(&name.to_ascii_lowercase())?)
    }

    /// The plan of those who pay for nothing, where there is one.
    pub fn default_plan(&self) -> Option<&Plan> {
        self.plans.get(self.default_plan?)
    }

    /// What a Stripe price id or lookup key sells.
    pub fn plan_for_stripe_price(&self, price: &str) -> Option<(PlanId, Interval)> {
        self.by_stripe_price.get(price).cloned()
    }

    /// The price of a plan in units of `token`, as decimal text; none where it is not sold for that.
    pub fn crypto_price(&self, plan: &str, interval: Interval, token: &Token) -> Option<&str> {
        let price = self.plan(plan)?.crypto.of(interval)?;
        price.in_token(token, &self.currency)
    }

    /// The lowest plan above the rank `above` that is offered and of which `allows` holds: the way up.
    pub fn upgrade(&self, above: Option<u32>, allows: impl Fn(&Plan) -> bool) -> Option<&Plan> {
        self.plans
            .iter()
            .filter(|plan| Some(plan.rank) > above && plan.is_offered())
            .find(|plan| allows(plan))
    }
}
