//! What a charge buys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Interval, PlanId};

/// A plan for a period. Channels and credit join here when they are sold.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Product {
    /// One period of a plan.
    Plan {
        /// The plan.
        plan: PlanId,
        /// The period.
        interval: Interval,
    },
}

impl fmt::Display for Product {
    /// The stored form, `plan:pro:month`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan { plan, interval } => write!(f, "plan:{plan}:{}", interval.as_str()),
        }
    }
}

impl FromStr for Product {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("plan:").ok_or("an unknown kind of product")?;
        let (plan, interval) = rest.rsplit_once(':').ok_or("a plan without an interval")?;
        Ok(Self::Plan {
            plan: PlanId::from(plan),
            interval: interval.parse()?,
        })
    }
}
