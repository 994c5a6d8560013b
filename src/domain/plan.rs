//! Names of plans and of the periods they are sold for. What a plan allows is the catalogue's (billing).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

/// A plan's canonical id in the catalogue: lower case, `pro`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PlanId(std::sync::Arc<str>);

impl PlanId {
    /// The id as the catalogue writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for PlanId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl<'de> Deserialize<'de> for PlanId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The period that a price buys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interval {
    /// One calendar month.
    #[serde(alias = "monthly")]
    Month,
    /// One calendar year.
    #[serde(alias = "yearly", alias = "annual")]
    Year,
}

impl Interval {
    /// `month` or `year`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Year => "year",
        }
    }
}

impl FromStr for Interval {
    type Err = &'static str;

    /// Accepts the published aliases too.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "month" | "monthly" => Ok(Self::Month),
            "year" | "yearly" | "annual" => Ok(Self::Year),
            _ => Err("must be \"month\" or \"year\""),
        }
    }
}
