//! What a charge asks for: the plan's price in the token, less paid time that it replaces, less credit, plus what is owed.
//!
//! Every rounding is to the asker's side of one base unit: what is taken off is rounded down, what is owed is rounded up.

use serde::Serialize;
use sqlx::AnyConnection;
use utoipa::ToSchema;

use super::accounts::graces;
use super::view::{AmountView, TokenView, rfc3339};
use super::{Engine, EngineError, Inner, Settings};
use crate::billing::{self, Purchase, gives_access, source_end};
use crate::config;
use crate::domain::{
    Amount, ChainId, Charge, ChargeState, Credit, Interval, Millis, PlanId, Provider, Quote, Source,
    TenantId, Token, WhenActive,
};
use crate::store;

/// What is asked for, as a caller names it.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The plan, by id or alias.
    pub plan: String,
    /// The period.
    pub interval: Interval,
    /// The chain; may be left out where only one sells.
    pub chain: Option<ChainId>,
    /// The token by symbol or address; may be left out where the chain accepts only one.
    pub token: Option<String>,
    /// What it does while a subscription elsewhere is active; must be chosen then.
    pub when_active: Option<WhenActive>,
}

/// The same, found.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'e> {
    pub(super) plan: PlanId,
    pub(super) rank: u32,
    pub(super) interval: Interval,
    pub(super) chain: &'e config::Chain,
    pub(super) token: &'e Token,
    pub(super) price: Amount,
    when_active: Option<WhenActive>,
}

/// What it costs a tenant now.
#[derive(Debug, Clone)]
pub(super) struct Offer {
    pub(super) quote: Quote,
    /// The subscription whose end it waits for.
    pub(super) queued_behind: Option<String>,
    /// The period that it buys, if it is paid at once.
    pub(super) period: (Millis, Millis),
}

impl Wish {
    /// Finds what is wished for.
    pub(super) fn find<'e>(&self, engine: &Inner, settings: &'e Settings) -> Result<Wanted<'e>, EngineError> {
        let catalogue = &engine.catalogue;
        let plan = catalogue.plan(&self.plan).ok_or_else(|| {
            let known: Vec<&str> = catalogue.plans().iter().map(|plan| plan.id.as_str()).collect();
            EngineError::invalid(
                "plan",
                format!("{:?} is not a plan; there are {}", self.plan, known.join(", ")),
            )
        })?;
        if plan.crypto.of(self.interval).is_none() {
            let period = self.interval.as_str();
            let problem = format!("{} is not sold on-chain by the {period}", plan.id);
            return Err(EngineError::invalid("plan", problem));
        }
        let chain = self.chain(settings)?;
        let token = self.token(chain)?;
        let units = catalogue.crypto_price(plan.id.as_str(), self.interval, token);
        let units = units.ok_or_else(|| {
            let (symbol, period) = (&token.symbol, self.interval.as_str());
            let problem = format!("{symbol} has no price for {} by the {period}", plan.id);
            EngineError::invalid("token", problem)
        })?;
        let price = Amount::from_units(units, token.decimals).map_err(|error| {
            EngineError::invalid("token", format!("cannot carry the price of {units}: it {error}"))
        })?;
        Ok(Wanted {
            plan: plan.id.clone(),
            rank: plan.rank,
            interval: self.interval,
            chain,
            token,
            price,
            when_active: self.when_active,
        })
    }

    fn chain<'e>(&self, settings: &'e Settings) -> Result<&'e config::Chain, EngineError> {
        let sells = |chain: &&config::Chain| chain.treasury.is_some() && !chain.tokens.is_empty();
        let selling: Vec<&config::Chain> = settings.chains.iter().filter(sells).collect();
        let known = || {
            selling
                .iter()
                .map(|chain| chain.id.to_string())
                .collect::<Vec<_>>()
                .join(", ")
        };
        match self.chain {
            Some(id) => selling
                .iter()
                .find(|chain| chain.id == id)
                .copied()
                .ok_or_else(|| {
                    EngineError::invalid(
                        "chainId",
                        format!("{id} accepts no payments; these do: {}", known()),
                    )
                }),
            None => match selling.as_slice() {
                [chain] => Ok(chain),
                [] => Err(EngineError::invalid("chainId", "no chain accepts payments")),
                _ => Err(EngineError::invalid(
                    "chainId",
                    format!("must be one of {}", known()),
                )),
            },
        }
    }

    fn token<'e>(&self, chain: &'e config::Chain) -> Result<&'e Token, EngineError> {
        let known = || {
            chain
                .tokens
                .iter()
                .map(|token| token.symbol.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let Some(name) = &self.token else {
            return match chain.tokens.as_slice() {
                [token] => Ok(token),
                _ => Err(EngineError::invalid(
                    "token",
                    format!("must be one of {}", known()),
                )),
            };
        };
        let address = name.parse::<alloy::primitives::Address>().ok();
        let named =
            |token: &&Token| Some(token.address) == address || token.symbol.eq_ignore_ascii_case(name);
        chain.tokens.iter().find(named).ok_or_else(|| {
            let problem = format!(
                "{name:?} is not accepted on chain {}; these are: {}",
                chain.id,
                known()
            );
            EngineError::invalid("token", problem)
        })
    }
}

impl Wanted<'_> {
    /// What it costs `tenant` at `now`.
    pub(super) async fn offer(
        &self,
        settings: &Settings,
        conn: &mut AnyConnection,
        tenant: &TenantId,
        now: Millis,
    ) -> Result<Offer, EngineError> {
        let charges = store::account_charges(conn, tenant).await?;
        let sources = store::sources(conn, Some(tenant)).await?;
        let balances = store::credit_balances(conn, tenant).await?;
        let behind = self.behind(&sources, now)?;
        let mut purchases: Vec<Purchase> = charges
            .iter()
            .filter(|charge| charge.state == ChargeState::Paid)
            .filter_map(|charge| billing::purchase(charge, &sources))
            .collect();
        let now = billing::as_of(&purchases, now);
        // After every charge of ours, whose ids are lower.
        let id = super::parse_own("~")?;
        purchases.push(Purchase {
            charge: id,
            plan: self.plan.clone(),
            rank: self.rank,
            interval: self.interval,
            paid_at: now,
            quoted_at: now,
            not_before: behind.map(|source| source_end(source).unwrap_or(Millis::MAX)),
            unit: self.token.unit.clone(),
            value: Credit::of(self.price, self.token.decimals),
        });
        let line = billing::lay_out(&purchases, graces(settings).renewal_ms);
        let ours = purchases.last().map(|purchase| &purchase.charge);
        let segment = line.segments.iter().find(|segment| Some(&segment.charge) == ours);
        let unused = ours.into_iter().flat_map(|id| line.returned_by(id));
        let unused = unused
            .filter(|(unit, _)| *unit == self.token.unit)
            .fold(Credit::ZERO, |sum, (_, value)| sum.plus(value));
        let balance = balances.iter().find(|(unit, _)| *unit == self.token.unit);
        let balance = balance.map_or(Credit::ZERO, |(_, balance)| *balance);
        let asked_back = being_repaid(&charges, &self.token.unit);
        Ok(Offer {
            quote: self.quote(unused, balance.plus(asked_back)),
            queued_behind: behind.map(|source| source.provider_ref.clone()),
            period: segment.map_or((now, now), |segment| (segment.start, segment.end)),
        })
    }

    /// The subscription elsewhere that the period waits for, if it is to wait.
    fn behind<'s>(&self, sources: &'s [Source], now: Millis) -> Result<Option<&'s Source>, EngineError> {
        let elsewhere = sources
            .iter()
            .filter(|source| source.provider != Provider::Crypto && gives_access(source, now))
            .max_by_key(|source| source_end(source).unwrap_or(Millis::MAX));
        match (elsewhere, self.when_active) {
            (Some(source), Some(WhenActive::Queue)) => Ok(Some(source)),
            (Some(source), None) => Err(EngineError::Conflict {
                code: "QUEUE_OR_STACK",
                problem: format!(
                    "a subscription to {} is active at {}: name whenActive, \"queue\" to begin when that ends, or \
                     \"stack\" to begin when this is paid, beside it",
                    source.plan,
                    source.provider.as_str()
                ),
            }),
            _ => Ok(None),
        }
    }

    /// Sets unused time and then credit off against the price. What a tenant owes is asked for too, up to the price once
    /// more. A rest that is too small to be a payment is asked as the least that is one.
    fn quote(&self, unused: Credit, credit: Credit) -> Quote {
        let (price, decimals) = (self.price, self.token.decimals);
        let mut unused = unused.to_amount(decimals).min(price);
        let owed = Credit::ZERO.minus(credit).to_amount_up(decimals).min(price);
        let mut spent = credit.to_amount(decimals).min(price.saturating_sub(unused));
        let left = |unused: Amount, spent| {
            price
                .saturating_sub(unused)
                .saturating_sub(spent)
                .saturating_add(owed)
        };
        let least = self.token.dust.min(price);
        let rest = left(unused, spent);
        if !rest.is_zero() && rest < least {
            let missing = least.saturating_sub(rest);
            unused = unused.saturating_sub(missing.saturating_sub(spent));
            spent = spent.saturating_sub(missing);
        }
        Quote {
            unit: self.token.unit.clone(),
            decimals,
            credit: Credit::of(spent, decimals).minus(Credit::of(owed, decimals)),
            unused: Credit::of(unused, decimals),
            asked: left(unused, spent),
            rank: self.rank,
        }
    }
}

/// What open charges ask for already of what is owed in a unit.
fn being_repaid(charges: &[Charge], unit: &str) -> Credit {
    let is_open = |charge: &&Charge| charge.state != ChargeState::Paid && charge.closed_at.is_none();
    let of_unit = charges.iter().filter(is_open).map(|charge| &charge.terms.quote);
    of_unit
        .filter(|quote| quote.unit == unit && quote.credit.is_owed())
        .fold(Credit::ZERO, |sum, quote| sum.minus(quote.credit))
}

/// What a plan would cost a tenant now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OfferView {
    /// The plan.
    pub plan: String,
    /// The period, `month` or `year`.
    pub interval: &'static str,
    /// The chain's number.
    pub chain_id: u64,
    /// The token to pay in.
    pub token: TokenView,
    /// The plan's price.
    pub price: AmountView,
    /// The value of paid time that it would replace, taken off. In units.
    pub unused_time: String,
    /// Credit that would be taken off; below zero, what is owed and would be asked for too. In units.
    pub credit: String,
    /// What would be asked; a charge adds a few base units that make its amount unique.
    pub asked: AmountView,
    /// When it would begin, paid now.
    pub period_start: String,
    /// When it would end.
    pub period_end: String,
}

impl OfferView {
    pub(super) fn new(wanted: &Wanted<'_>, offer: &Offer) -> Self {
        let token = wanted.token;
        let (start, end) = offer.period;
        Self {
            plan: wanted.plan.to_string(),
            interval: wanted.interval.as_str(),
            chain_id: wanted.chain.id.0,
            token: TokenView {
                address: token.address.to_checksum(None),
                symbol: token.symbol.clone(),
                decimals: token.decimals,
            },
            price: AmountView::new(wanted.price, token.decimals),
            unused_time: offer.quote.unused.to_units(),
            credit: offer.quote.credit.to_units(),
            asked: AmountView::new(offer.quote.asked, token.decimals),
            period_start: rfc3339(start),
            period_end: rfc3339(end),
        }
    }
}

impl Engine {
    /// What a plan would cost a tenant now; nothing is changed, and nothing is promised.
    ///
    /// # Errors
    /// The wish is wrong, or the database fails.
    pub async fn preview(&self, tenant: &TenantId, wish: &Wish) -> Result<OfferView, EngineError> {
        let settings = self.inner.settings();
        let wanted = wish.find(&self.inner, &settings)?;
        let mut snapshot = self.inner.store.begin_read().await?;
        let now = self.inner.clock.now_ms();
        let offer = wanted.offer(&settings, &mut snapshot, tenant, now).await?;
        Ok(OfferView::new(&wanted, &offer))
    }
}
