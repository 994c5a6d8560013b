//! The catalogue as it is written. Fields that a check can explain better than serde are optional or loose here.
//!
//! Nothing outside this room sees these types, and no rule is applied here.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCatalogue {
    pub(super) name: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) currency: Option<String>,
    pub(super) default_plan: Option<String>,
    pub(super) denied_status: Option<i64>,
    #[serde(default)]
    pub(super) features: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) meters: BTreeMap<String, RawMeter>,
    #[serde(default)]
    pub(super) plans: BTreeMap<String, RawPlan>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMeter {
    pub(super) name: Option<String>,
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    pub(super) window: Option<String>,
    pub(super) unit: Option<String>,
    pub(super) cost: Option<RawCost>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCost {
    pub(super) price: toml::Value,
    pub(super) per: i64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPlan {
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) rank: Option<i64>,
    pub(super) extends: Option<String>,
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    #[serde(default)]
    pub(super) contact_sales: bool,
    #[serde(default)]
    pub(super) price: RawPrices<toml::Value>,
    #[serde(default)]
    pub(super) crypto: RawPrices<toml::Value>,
    #[serde(default)]
    pub(super) stripe: RawPrices<Vec<String>>,
    #[serde(default)]
    pub(super) features: Vec<String>,
    #[serde(default)]
    pub(super) limits: BTreeMap<String, toml::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPrices<T> {
    pub(super) month: Option<T>,
    pub(super) year: Option<T>,
}

impl<T> Default for RawPrices<T> {
    fn default() -> Self {
        Self {
            month: None,
            year: None,
        }
    }
}
