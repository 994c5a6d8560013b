//! The plans as the published pages show them: `-1` stands for unlimited.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::problem::Problem;
use super::tokens::{self, OfferedToken};
use crate::billing::{Catalogue, CryptoPrice, Limit, Meter, MeterKind, Plan, Prices, Subject, Unit, Window};
use crate::domain::Interval;

/// Every plan, with what its words mean.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlansView {
    /// What the catalogue is called.
    catalogue: String,
    /// Whose plans they are: `tenant`, `user` or `community`.
    subject: &'static str,
    /// The ISO 4217 code of every list price.
    currency: String,
    /// In rank order.
    plans: Vec<PlanView>,
    /// The features that exist, with their names for people.
    features: BTreeMap<String, String>,
    /// The meters that exist.
    meters: BTreeMap<String, MeterView>,
    /// The tokens that charges may be made in, by chain.
    tokens: Vec<OfferedToken>,
}

/// One plan.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlanView {
    /// Its id.
    id: String,
    /// For people.
    name: String,
    /// For people.
    description: Option<String>,
    /// Its place in the upgrade path; higher is better.
    rank: u32,
    /// Other names that are understood.
    aliases: Vec<String>,
    /// Whether it is what everybody has who pays for nothing.
    is_default: bool,
    /// Sold by contract.
    contact_sales: bool,
    /// The features that are on.
    features: Vec<String>,
    /// The limit of every meter in the meter's unit, inclusive; -1 is unlimited.
    limits: BTreeMap<String, i64>,
    /// List prices in `currency`.
    price: PricesView,
    /// The ISO 4217 code of `price`.
    currency: String,
    /// Prices on-chain of every token that is worth one of `currency`; null where it is not sold so.
    crypto: PricesView,
    /// Prices on-chain by the token's symbol or unit, where they are told one by one.
    crypto_tokens: TokenPricesView,
    /// The Stripe prices to sell by.
    price_id: PricesView,
}

/// One value an interval.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PricesView {
    /// For a month.
    month: Option<String>,
    /// For a year.
    year: Option<String>,
}

/// Prices by token an interval.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TokenPricesView {
    /// For a month.
    month: BTreeMap<String, String>,
    /// For a year.
    year: BTreeMap<String, String>,
}

fn in_currency(price: Option<&CryptoPrice>) -> Option<String> {
    match price {
        Some(CryptoPrice::Currency(price)) => Some(price.clone()),
        Some(CryptoPrice::Tokens(_)) | None => None,
    }
}

fn by_token(price: Option<&CryptoPrice>) -> BTreeMap<String, String> {
    match price {
        Some(CryptoPrice::Tokens(prices)) => prices.clone(),
        Some(CryptoPrice::Currency(_)) | None => BTreeMap::new(),
    }
}

/// One meter.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MeterView {
    /// For people.
    name: String,
    /// `counter`, `gauge` or `static`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// When a counter starts again: `calendar_month`, `billing_period`, `day`, `minute`, `rolling:30d` or `lifetime`.
    window: Option<String>,
    /// `count` or `bytes`.
    unit: &'static str,
}

impl From<&Prices> for PricesView {
    fn from(prices: &Prices) -> Self {
        Self {
            month: prices.month.clone(),
            year: prices.year.clone(),
        }
    }
}

impl From<&Meter> for MeterView {
    fn from(meter: &Meter) -> Self {
        let (kind, window) = match meter.kind {
            MeterKind::Counter(window) => ("counter", Some(window_text(window))),
            MeterKind::Gauge => ("gauge", None),
            MeterKind::Static => ("static", None),
        };
        Self {
            name: meter.name.clone(),
            kind,
            window,
            unit: match meter.unit {
                Unit::Count => "count",
                Unit::Bytes => "bytes",
            },
        }
    }
}

fn window_text(window: Window) -> String {
    match window {
        Window::CalendarMonth => "calendar_month".to_owned(),
        Window::BillingPeriod => "billing_period".to_owned(),
        Window::Day => "day".to_owned(),
        Window::Minute => "minute".to_owned(),
        Window::Rolling { days } => format!("rolling:{days}d"),
        Window::Lifetime => "lifetime".to_owned(),
    }
}

/// A limit as the published shape has it.
pub(super) fn published(limit: Limit) -> i64 {
    match limit {
        Limit::Unlimited => -1,
        Limit::AtMost(most) => i64::try_from(most).unwrap_or(i64::MAX),
    }
}

impl PlanView {
    fn new(catalogue: &Catalogue, plan: &Plan) -> Self {
        let sold_by = |interval| plan.stripe.of(interval).first().cloned();
        let default = catalogue.default_plan().map(|default| &default.id);
        let limit = |(meter, limit): (&String, &Limit)| (meter.clone(), published(*limit));
        Self {
            id: plan.id.to_string(),
            name: plan.name.clone(),
            description: plan.description.clone(),
            rank: plan.rank,
            aliases: plan.aliases.clone(),
            is_default: default == Some(&plan.id),
            contact_sales: plan.contact_sales,
            features: plan.features.iter().cloned().collect(),
            limits: plan.limits.iter().map(limit).collect(),
            price: PricesView::from(&plan.price),
            currency: catalogue.currency().to_owned(),
            crypto: PricesView {
                month: in_currency(plan.crypto.month.as_ref()),
                year: in_currency(plan.crypto.year.as_ref()),
            },
            crypto_tokens: TokenPricesView {
                month: by_token(plan.crypto.month.as_ref()),
                year: by_token(plan.crypto.year.as_ref()),
            },
            price_id: PricesView {
                month: sold_by(Interval::Month),
                year: sold_by(Interval::Year),
            },
        }
    }
}

impl PlansView {
    fn new(catalogue: &Catalogue, tokens: Vec<OfferedToken>) -> Self {
        let plans = catalogue.plans().iter();
        let meters = catalogue.meters().iter();
        Self {
            catalogue: catalogue.name().to_owned(),
            subject: match catalogue.subject() {
                Subject::Tenant => "tenant",
                Subject::User => "user",
                Subject::Community => "community",
            },
            currency: catalogue.currency().to_owned(),
            plans: plans.map(|plan| PlanView::new(catalogue, plan)).collect(),
            features: catalogue.features().clone(),
            meters: meters.map(|(id, meter)| (id.clone(), meter.into())).collect(),
            tokens,
        }
    }
}

/// Every plan
#[utoipa::path(
    get,
    path = "/api/billing/plans",
    operation_id = "list_plans",
    tag = "plans",
    responses((status = 200, body = PlansView))
)]
pub(super) async fn list(State(app): State<Shared>) -> Json<PlansView> {
    let tokens = tokens::of_all(&app.engine);
    Json(PlansView::new(app.engine.catalogue(), tokens))
}

/// One plan
#[utoipa::path(
    get,
    path = "/api/billing/plans/{id}",
    operation_id = "show_plan",
    tag = "plans",
    params(("id" = String, Path, description = "The plan's id or an alias of it")),
    responses((status = 200, body = PlanView))
)]
pub(super) async fn one(
    State(app): State<Shared>,
    id: Result<Path<String>, axum::extract::rejection::PathRejection>,
) -> Result<Json<PlanView>, Problem> {
    let catalogue = app.engine.catalogue();
    let plan = id.ok().and_then(|Path(id)| catalogue.plan(&id));
    let plan = plan.ok_or_else(|| Problem::not_found("plan"))?;
    Ok(Json(PlanView::new(catalogue, plan)))
}
