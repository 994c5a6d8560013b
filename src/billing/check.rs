//! May this be done under this plan? One feature, one meter with an amount, or a minimum plan.
//!
//! Compares and explains; it counts nothing. What is used now is given by whoever counts it.

use std::fmt;

use serde::{Serialize, Serializer};

use super::catalogue::{Catalogue, Limit, Meter, MeterKind, Plan};
use crate::domain::{Access, Entitlement, PlanId};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Whether the plan has a feature.
    Feature(String),
    /// Whether so much more of a meter is within the plan's limit.
    Meter {
        /// The meter.
        name: String,
        /// How much more, in the meter's unit; for a static meter the request's own size.
        amount: u64,
        /// How much is used now. Needed for counters and gauges; a static meter has no use for it.
        current: Option<u64>,
    },
    /// Whether the plan is this one or a higher one; by id or alias.
    MinimumPlan(String),
}

/// The answer's stable word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckCode {
    /// Go ahead.
    Allowed,
    /// The plan lacks the feature.
    FeatureNotInPlan,
    /// It would be more than the plan allows.
    LimitExceeded,
    /// The plan is below the one that is asked for.
    PlanTooLow,
    /// The plan would allow it, and access to it is restricted until somebody pays.
    AccessRestricted,
    /// Nothing is paid for, and there is no default plan.
    NoPlan,
    /// What is paid for is a plan that the catalogue does not know, and the default plan does not allow it.
    UnknownPlan,
}

impl CheckCode {
    /// The word in answers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::FeatureNotInPlan => "feature_not_in_plan",
            Self::LimitExceeded => "limit_exceeded",
            Self::PlanTooLow => "plan_too_low",
            Self::AccessRestricted => "access_restricted",
            Self::NoPlan => "no_plan",
            Self::UnknownPlan => "unknown_plan",
        }
    }
}

impl Serialize for CheckCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How near the limit the use is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Threshold {
    /// 75 % is used.
    Warn,
    /// 90 % is used.
    Upsell,
    /// Nothing is left.
    Exceeded,
}

impl Threshold {
    /// The highest threshold that `percent` has reached.
    #[must_use]
    pub const fn reached(percent: u64) -> Option<Self> {
        match percent {
            0..75 => None,
            75..90 => Some(Self::Warn),
            90..100 => Some(Self::Upsell),
            _ => Some(Self::Exceeded),
        }
    }
}

/// The answer. The figures are those before the amount asked for, and stand only where a meter was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckOutcome {
    /// Whether to go ahead.
    pub allowed: bool,
    /// Why.
    pub code: CheckCode,
    /// The feature that was asked for.
    pub feature: Option<String>,
    /// The meter that was asked for.
    pub meter: Option<String>,
    /// Its limit; none where no plan gives one.
    pub limit: Option<Limit>,
    /// What is used now; none for a static meter.
    pub current_usage: Option<u64>,
    /// What is left now; none where it is unlimited or the meter is static.
    pub remaining: Option<u64>,
    /// The whole percent of the limit that is used now, above 100 where a limit was lowered; none likewise.
    pub percent: Option<u64>,
    /// The highest threshold that this percent has reached.
    pub threshold: Option<Threshold>,
    /// The lowest plan on offer, above the present one, that would allow it.
    pub upgrade_required: Option<PlanId>,
    /// One sentence for people.
    pub message: String,
}

/// Why a check cannot be answered. Each names what exists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// No such feature.
    #[error("there is no feature {name:?}; there are {}", known.join(", "))]
    UnknownFeature {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No such meter.
    #[error("there is no meter {name:?}; there are {}", known.join(", "))]
    UnknownMeter {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// No such plan.
    #[error("there is no plan {name:?}; there are {}", known.join(", "))]
    UnknownPlan {
        /// What was asked for.
        name: String,
        /// What there is, in rank order.
        known: Vec<String>,
    },
    /// A counter or gauge without its present value.
    #[error("`current` is needed: the meter {meter:?} compares what is used now and the amount together")]
    CurrentNeeded {
        /// The meter.
        meter: String,
    },
}

/// Checks what `entitlement` allows.
///
/// Only full access gives the plan itself. With restricted access, and with a plan that the catalogue does not know,
/// what the default plan allows is allowed and nothing beyond it; without a default plan that is nothing. Access none
/// allows nothing beyond the default plan either.
///
/// # Errors
/// A feature, meter or plan that the catalogue does not have; a counter or gauge without `current`.
pub fn check(
    catalogue: &Catalogue,
    entitlement: &Entitlement,
    check: &Check,
) -> Result<CheckOutcome, CheckError> {
    let paid = entitlement
        .plan
        .as_ref()
        .filter(|_| entitlement.access > Access::None);
    let known = paid.and_then(|plan| catalogue.plan(plan.as_str()));
    if let (Some(plan), Access::Full) = (known, entitlement.access) {
        return check_plan(catalogue, plan, check);
    }
    let question = Question::read(catalogue, check)?;
    let fallback = catalogue.default_plan();
    let outcome = question.ask(catalogue, fallback);
    if outcome.allowed {
        return Ok(outcome);
    }
    match (known, paid) {
        (Some(plan), _) if question.ask(catalogue, Some(plan)).allowed => Ok(CheckOutcome {
            code: CheckCode::AccessRestricted,
            upgrade_required: None,
            message: format!(
                "The plan {} includes this, but a payment for it is overdue.",
                plan.name
            ),
            ..outcome
        }),
        (Some(plan), _) => Ok(question.ask(catalogue, Some(plan))),
        (None, Some(plan)) => Ok(CheckOutcome {
            code: CheckCode::UnknownPlan,
            upgrade_required: None,
            message: format!("The catalogue does not know the plan {plan} that is paid for."),
            ..outcome
        }),
        (None, None) => Ok(outcome),
    }
}

/// Checks what `plan` allows to whoever has it in full.
///
/// # Errors
/// Those of [`check()`].
pub fn check_plan(catalogue: &Catalogue, plan: &Plan, check: &Check) -> Result<CheckOutcome, CheckError> {
    Ok(Question::read(catalogue, check)?.ask(catalogue, Some(plan)))
}

/// A check whose names are the catalogue's.
enum Question<'a> {
    Feature {
        id: &'a str,
        title: &'a str,
    },
    Meter {
        id: &'a str,
        meter: &'a Meter,
        amount: u64,
        /// None for a static meter.
        current: Option<u64>,
    },
    MinimumPlan(&'a Plan),
}

impl<'a> Question<'a> {
    fn read(catalogue: &'a Catalogue, check: &'a Check) -> Result<Self, CheckError> {
        match check {
            Check::Feature(name) => {
                let known = catalogue.features().get_key_value(name);
                let (id, title) = known.ok_or_else(|| CheckError::UnknownFeature {
                    name: name.clone(),
                    known: catalogue.features().keys().cloned().collect(),
                })?;
                Ok(Self::Feature { id, title })
            }
            Check::Meter {
                name,
                amount,
                current,
            } => {
                let known = catalogue.meters().get_key_value(name);
                let (id, meter) = known.ok_or_else(|| CheckError::UnknownMeter {
                    name: name.clone(),
                    known: catalogue.meters().keys().cloned().collect(),
                })?;
                let current = current.filter(|_| meter.kind != MeterKind::Static);
                if current.is_none() && meter.kind != MeterKind::Static {
                    return Err(CheckError::CurrentNeeded { meter: name.clone() });
                }
                Ok(Self::Meter {
                    id,
                    meter,
                    amount: *amount,
                    current,
                })
            }
            Check::MinimumPlan(name) => {
                let plan = catalogue.plan(name).ok_or_else(|| CheckError::UnknownPlan {
                    name: name.clone(),
                    known: catalogue.plans().iter().map(|plan| plan.id.to_string()).collect(),
                })?;
                Ok(Self::MinimumPlan(plan))
            }
        }
    }

    fn allowed_by(&self, plan: &Plan) -> bool {
        match self {
            Self::Feature { id, .. } => plan.features.contains(*id),
            Self::Meter {
                id, amount, current, ..
            } => {
                // A sum beyond all numbers is within no limit but the unlimited.
                let total = current.unwrap_or(0).checked_add(*amount);
                match plan.limits.get(*id) {
                    Some(Limit::Unlimited) => true,
                    Some(limit) => total.is_some_and(|total| limit.allows(total)),
                    None => false,
                }
            }
            Self::MinimumPlan(least) => plan.rank >= least.rank,
        }
    }

    fn ask(&self, catalogue: &Catalogue, plan: Option<&Plan>) -> CheckOutcome {
        let allowed = plan.is_some_and(|plan| self.allowed_by(plan));
        let upgrade = catalogue
            .upgrade(plan.map(|plan| plan.rank), |plan| self.allowed_by(plan))
            .filter(|_| !allowed);
        let code = match (allowed, plan, self) {
            (true, ..) => CheckCode::Allowed,
            (false, None, _) => CheckCode::NoPlan,
            (false, _, Self::Feature { .. }) => CheckCode::FeatureNotInPlan,
            (false, _, Self::Meter { .. }) => CheckCode::LimitExceeded,
            (false, _, Self::MinimumPlan(_)) => CheckCode::PlanTooLow,
        };
        let mut outcome = CheckOutcome {
            allowed,
            code,
            feature: None,
            meter: None,
            limit: None,
            current_usage: None,
            remaining: None,
            percent: None,
            threshold: None,
            upgrade_required: upgrade.map(|plan| plan.id.clone()),
            message: self.message(code, plan, upgrade),
        };
        match self {
            Self::Feature { id, .. } => outcome.feature = Some((*id).to_owned()),
            Self::Meter { id, current, .. } => {
                outcome.meter = Some((*id).to_owned());
                outcome.limit = plan.and_then(|plan| plan.limits.get(*id)).copied();
                outcome.current_usage = *current;
                if let (Some(Limit::AtMost(most)), Some(current)) = (outcome.limit, *current) {
                    let percent = percent(current, most);
                    outcome.remaining = Some(most.saturating_sub(current));
                    outcome.percent = Some(percent);
                    outcome.threshold = Threshold::reached(percent);
                }
            }
            Self::MinimumPlan(_) => {}
        }
        outcome
    }

    fn message(&self, code: CheckCode, plan: Option<&Plan>, upgrade: Option<&Plan>) -> String {
        let plan_name = plan.map_or("none", |plan| plan.name.as_str());
        let because = match code {
            CheckCode::Allowed => return format!("The plan {plan_name} allows it."),
            CheckCode::NoPlan => "There is no paid plan.".to_owned(),
            _ => match self {
                Self::Feature { title, .. } => format!("The plan {plan_name} does not include: {title}."),
                Self::Meter {
                    id,
                    meter,
                    amount,
                    current,
                } => {
                    let limit = plan.and_then(|plan| plan.limits.get(*id)).copied();
                    let limit = limit.unwrap_or(Limit::AtMost(0));
                    let used = current.map(|current| format!(", of which {current} are used"));
                    format!(
                        "{}: {amount} asked for, and the plan {plan_name} allows {limit}{}.",
                        meter.name,
                        used.unwrap_or_default()
                    )
                }
                Self::MinimumPlan(least) => {
                    format!("The plan {plan_name} is below {}, which this needs.", least.name)
                }
            },
        };
        upgrade.map_or(because.clone(), |plan| {
            format!("{because} The plan {} would allow it.", plan.name)
        })
    }
}

/// Whole percents of `most`, rounded down; everything is all of nothing.
fn percent(used: u64, most: u64) -> u64 {
    match u128::from(used).saturating_mul(100).checked_div(u128::from(most)) {
        Some(percent) => u64::try_from(percent).unwrap_or(u64::MAX),
        None => 100,
    }
}

impl fmt::Display for CheckCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
