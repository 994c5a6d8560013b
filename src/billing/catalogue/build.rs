//! From the catalogue as written to the catalogue checked, with every mistake collected on the way.
//!
//! A mistake leaves a harmless stand-in behind so that the check goes on; nothing with a stand-in ever leaves this room.

use std::collections::{BTreeMap, HashMap};

use super::quantity;
use super::raw::{RawCatalogue, RawMeter, RawPlan};
use super::{
    Catalogue, CatalogueError, CatalogueErrors, Cost, CryptoPrice, CryptoPrices, Limit, Meter, MeterKind,
    Plan, Prices, StripePrices, Subject, Unit,
};
use crate::domain::{Amount, Interval, PlanId};

#[derive(Default)]
struct Problems(Vec<CatalogueError>);

impl Problems {
    fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(CatalogueError {
            path: path.into(),
            message: message.into(),
        });
    }

    /// The value, or the stand-in and one more mistake.
    fn or<T>(&mut self, path: impl Into<String>, value: Result<T, String>, stand_in: T) -> T {
        value.unwrap_or_else(|message| {
            self.add(path, message);
            stand_in
        })
    }
}

pub(super) fn build(
    raw: RawCatalogue,
    stripe_prices: &[(String, String, String)],
) -> Result<Catalogue, CatalogueErrors> {
    let mut problems = Problems::default();
    for (feature, title) in &raw.features {
        problems.or(format!("features.{feature}"), quantity::name(feature), ());
        required(&mut problems, format!("features.{feature}"), Some(title));
    }
    let meters: BTreeMap<String, Meter> = raw
        .meters
        .iter()
        .map(|(id, meter)| (id.clone(), check_meter(&mut problems, id, meter)))
        .collect();
    let mut plans = check_plans(&mut problems, &raw, &meters);
    plans.sort_by_key(|plan| plan.rank);
    let by_name = index_names(&mut problems, &plans);
    add_stripe_prices(&mut problems, &mut plans, &by_name, stripe_prices);
    let by_stripe_price = index_stripe_prices(&mut problems, &plans);
    let default_plan = raw
        .default_plan
        .as_deref()
        .and_then(|name| check_default_plan(&mut problems, &plans, &by_name, name));
    let catalogue = Catalogue {
        name: required(&mut problems, "name", raw.name.as_ref()),
        subject: check_subject(&mut problems, raw.subject.as_deref()),
        currency: check_currency(&mut problems, raw.currency.as_deref()),
        denied_status: check_denied_status(&mut problems, raw.denied_status),
        features: raw.features,
        meters,
        plans,
        default_plan,
        by_name,
        by_stripe_price,
    };
    if problems.0.is_empty() {
        Ok(catalogue)
    } else {
        Err(CatalogueErrors(problems.0))
    }
}

fn required(problems: &mut Problems, path: impl Into<String>, text: Option<&String>) -> String {
    let text = text.filter(|text| !text.trim().is_empty());
    problems.or(
        path,
        text.cloned()
            .ok_or_else(|| "is missing: write a name for people".to_owned()),
        String::new(),
    )
}

fn check_subject(problems: &mut Problems, text: Option<&str>) -> Subject {
    let subject = match text {
        Some("tenant") => Ok(Subject::Tenant),
        Some("user") => Ok(Subject::User),
        Some("community") => Ok(Subject::Community),
        _ => Err("must be \"tenant\", \"user\" or \"community\"".to_owned()),
    };
    problems.or("subject", subject, Subject::Tenant)
}

fn check_currency(problems: &mut Problems, text: Option<&str>) -> String {
    let code = text.filter(|text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()));
    problems.or(
        "currency",
        code.map(str::to_owned)
            .ok_or_else(|| "must be an ISO 4217 code such as \"USD\"".to_owned()),
        String::new(),
    )
}

fn check_denied_status(problems: &mut Problems, status: Option<i64>) -> u16 {
    let status = match status {
        None | Some(403) => Ok(403),
        Some(402) => Ok(402),
        Some(other) => Err(format!("must be 402 or 403, not {other}")),
    };
    problems.or("denied_status", status, 403)
}

fn check_meter(problems: &mut Problems, id: &str, raw: &RawMeter) -> Meter {
    let path = format!("meters.{id}");
    problems.or(path.clone(), quantity::name(id), ());
    let kind = match (raw.kind.as_deref(), raw.window.as_deref()) {
        (Some("counter"), Some(window)) => quantity::window(window)
            .map(MeterKind::Counter)
            .map_err(|message| ("window", message)),
        (Some("counter"), None) => Err((
            "window",
            "is missing: a counter needs one, such as \"calendar_month\"".to_owned(),
        )),
        (Some("gauge" | "static"), Some(_)) => {
            Err(("window", "belongs to a counter: leave it out".to_owned()))
        }
        (Some("gauge"), None) => Ok(MeterKind::Gauge),
        (Some("static"), None) => Ok(MeterKind::Static),
        _ => Err(("type", "must be \"counter\", \"gauge\" or \"static\"".to_owned())),
    };
    let kind = kind.unwrap_or_else(|(field, message)| {
        problems.add(format!("{path}.{field}"), message);
        MeterKind::Gauge
    });
    let unit = match raw.unit.as_deref() {
        None => Ok(Unit::Count),
        Some("bytes") => Ok(Unit::Bytes),
        Some(_) => Err("must be \"bytes\", or be left out".to_owned()),
    };
    Meter {
        name: required(problems, format!("{path}.name"), raw.name.as_ref()),
        kind,
        unit: problems.or(format!("{path}.unit"), unit, Unit::Count),
        cost: raw.cost.as_ref().map(|cost| Cost {
            price: problems
                .or(
                    format!("{path}.cost.price"),
                    quantity::price(&cost.price),
                    Default::default(),
                )
                .0,
            per: u64::try_from(cost.per)
                .ok()
                .filter(|per| *per > 0)
                .unwrap_or_else(|| {
                    problems.add(format!("{path}.cost.per"), "must be at least 1");
                    1
                }),
        }),
    }
}

fn check_plans(problems: &mut Problems, raw: &RawCatalogue, meters: &BTreeMap<String, Meter>) -> Vec<Plan> {
    if raw.plans.is_empty() {
        problems.add("plans", "is empty: write at least one plan");
    }
    let mut ranks: HashMap<u32, &str> = HashMap::new();
    let mut plans = Vec::new();
    for (id, plan) in &raw.plans {
        let path = format!("plans.{id}");
        problems.or(path.clone(), quantity::name(id), ());
        check_names_used(problems, raw, &path, plan);
        let rank = check_rank(problems, &path, plan.rank);
        if let Some(rank) = rank
            && let Some(other) = ranks.insert(rank, id)
        {
            problems.add(
                format!("{path}.rank"),
                format!("is {rank}, as is that of \"{other}\": ranks are unique"),
            );
        }
        let lineage = lineage(problems, raw, id);
        plans.push(Plan {
            id: PlanId::from(id.as_str()),
            name: required(problems, format!("{path}.name"), plan.name.as_ref()),
            description: plan.description.clone(),
            rank: rank.unwrap_or_default(),
            aliases: plan.aliases.clone(),
            contact_sales: plan.contact_sales,
            features: lineage
                .iter()
                .flatten()
                .flat_map(|plan| plan.features.iter().cloned())
                .collect(),
            limits: check_limits(problems, &path, meters, plan, lineage.as_deref()),
            price: check_prices(problems, &path, plan),
            crypto: check_crypto(problems, &path, plan),
            stripe: StripePrices {
                month: plan.stripe.month.clone().unwrap_or_default(),
                year: plan.stripe.year.clone().unwrap_or_default(),
            },
        });
    }
    plans
}

fn check_rank(problems: &mut Problems, path: &str, rank: Option<i64>) -> Option<u32> {
    let rank = rank.and_then(|rank| u32::try_from(rank).ok());
    if rank.is_none() {
        problems.add(
            format!("{path}.rank"),
            "must be a whole number from 0, unique among the plans",
        );
    }
    rank
}

/// The features and meters that a plan names must exist.
fn check_names_used(problems: &mut Problems, raw: &RawCatalogue, path: &str, plan: &RawPlan) {
    for (at, feature) in plan.features.iter().enumerate() {
        if !raw.features.contains_key(feature) {
            problems.add(
                format!("{path}.features[{at}]"),
                format!("names the unknown feature {feature:?}: add it to [features], or correct it"),
            );
        }
    }
    for meter in plan
        .limits
        .keys()
        .filter(|meter| !raw.meters.contains_key(*meter))
    {
        problems.add(
            format!("{path}.limits.{meter}"),
            "names an unknown meter: add it to [meters], or correct it",
        );
    }
}

/// The plan and those it extends, the first ancestor first; `None` where the path leads nowhere or in a circle.
fn lineage<'a>(problems: &mut Problems, raw: &'a RawCatalogue, id: &'a str) -> Option<Vec<&'a RawPlan>> {
    let mut names = vec![id];
    let mut lineage = vec![raw.plans.get(id)?];
    while let Some(parent) = lineage.last()?.extends.as_deref() {
        if let Some(start) = names.iter().position(|name| *name == parent) {
            // Each plan of a circle finds it, and one of them says so.
            if start == 0 && names.iter().min() == Some(&id) {
                names.push(parent);
                problems.add(
                    format!("plans.{id}.extends"),
                    format!("goes in a circle: {}", names.join(" → ")),
                );
            }
            return None;
        }
        let Some(plan) = raw.plans.get(parent) else {
            if names.len() == 1 {
                problems.add(
                    format!("plans.{id}.extends"),
                    format!("names the unknown plan {parent:?}: write a plan's id, or leave it out"),
                );
            }
            return None;
        };
        names.push(parent);
        lineage.push(plan);
    }
    lineage.reverse();
    Some(lineage)
}

fn check_limits(
    problems: &mut Problems,
    path: &str,
    meters: &BTreeMap<String, Meter>,
    plan: &RawPlan,
    lineage: Option<&[&RawPlan]>,
) -> BTreeMap<String, Limit> {
    for (id, meter) in meters {
        if let Some(value) = plan.limits.get(id) {
            problems.or(
                format!("{path}.limits.{id}"),
                quantity::limit(value, meter.unit).map(|_| ()),
                (),
            );
        }
    }
    let Some(lineage) = lineage else {
        return BTreeMap::new();
    };
    let mut limits = BTreeMap::new();
    for (id, meter) in meters {
        let written = lineage.iter().rev().find_map(|plan| plan.limits.get(id));
        let Some(value) = written else {
            problems.add(
                format!("{path}.limits.{id}"),
                "is missing: write a number or \"unlimited\", here or in a plan that it extends",
            );
            continue;
        };
        // An ancestor's bad value is told of where it stands, once.
        limits.insert(
            id.clone(),
            quantity::limit(value, meter.unit).unwrap_or(Limit::AtMost(0)),
        );
    }
    limits
}

fn check_prices(problems: &mut Problems, path: &str, plan: &RawPlan) -> Prices {
    let mut read = |interval: &str, value: &Option<toml::Value>| {
        let path = format!("{path}.price.{interval}");
        let value = sold(problems, &path, plan, value.as_ref())?;
        Some(problems.or(path, quantity::price(value), Default::default()).0)
    };
    Prices {
        month: read("month", &plan.price.month),
        year: read("year", &plan.price.year),
    }
}

/// A price of nothing is shown, and never sold: nobody can send nothing.
fn check_crypto(problems: &mut Problems, path: &str, plan: &RawPlan) -> CryptoPrices {
    let mut read = |interval: &str, value: &Option<toml::Value>| {
        let path = format!("{path}.crypto.{interval}");
        Some(match sold(problems, &path, plan, value.as_ref())? {
            toml::Value::Table(prices) => {
                if prices.is_empty() {
                    problems.add(&path, "is empty: write a price for a token, or leave it out");
                }
                let read = |(token, price): (&String, &toml::Value)| {
                    let path = format!("{path}.{token}");
                    let price = problems.or(path, quantity::token_price(price), String::new());
                    (token.clone(), price)
                };
                CryptoPrice::Tokens(prices.iter().map(read).collect())
            }
            price => CryptoPrice::Currency(problems.or(path, quantity::crypto_price(price), String::new())),
        })
    };
    CryptoPrices {
        month: read("month", &plan.crypto.month),
        year: read("year", &plan.crypto.year),
    }
}

/// A price that is written, where the plan may have one.
fn sold<'a>(
    problems: &mut Problems,
    path: &str,
    plan: &RawPlan,
    value: Option<&'a toml::Value>,
) -> Option<&'a toml::Value> {
    let value = value?;
    if plan.contact_sales {
        problems.add(
            path,
            "belongs to no plan with `contact_sales`: leave one of them out",
        );
        return None;
    }
    Some(value)
}

fn index_names(problems: &mut Problems, plans: &[Plan]) -> HashMap<String, usize> {
    let mut by_name: HashMap<String, usize> = HashMap::new();
    for (index, plan) in plans.iter().enumerate() {
        by_name.insert(plan.id.as_str().to_ascii_lowercase(), index);
    }
    for (index, plan) in plans.iter().enumerate() {
        for (at, alias) in plan.aliases.iter().enumerate() {
            let path = format!("plans.{}.aliases[{at}]", plan.id);
            if alias.trim().is_empty() {
                problems.add(path, "is empty: write a name, or leave it out");
                continue;
            }
            let taken = by_name.insert(alias.to_ascii_lowercase(), index);
            if let Some(other) = taken.and_then(|other| plans.get(other)) {
                problems.add(
                    path,
                    format!(
                        "is {alias:?}, which already names the plan \"{}\": a name is one plan's",
                        other.id
                    ),
                );
            }
        }
    }
    by_name
}

fn add_stripe_prices(
    problems: &mut Problems,
    plans: &mut [Plan],
    by_name: &HashMap<String, usize>,
    stripe_prices: &[(String, String, String)],
) {
    // Last to first, since each goes to the front.
    for (at, (name, interval, price)) in stripe_prices.iter().enumerate().rev() {
        let path = format!("stripe_prices[{at}]");
        let index = by_name.get(&name.to_ascii_lowercase());
        let Some(plan) = index.and_then(|index| plans.get_mut(*index)) else {
            let known: Vec<&str> = plans.iter().map(|plan| plan.id.as_str()).collect();
            problems.add(
                path,
                format!(
                    "names the unknown plan {name:?}: the plans are {}",
                    known.join(", ")
                ),
            );
            continue;
        };
        let prices = match interval.to_ascii_lowercase().parse() {
            Ok(Interval::Month) => &mut plan.stripe.month,
            Ok(Interval::Year) => &mut plan.stripe.year,
            Err(message) => {
                problems.add(path, format!("has the interval {interval:?}, which {message}"));
                continue;
            }
        };
        prices.retain(|known| known != price);
        prices.insert(0, price.clone());
    }
}

fn index_stripe_prices(problems: &mut Problems, plans: &[Plan]) -> HashMap<String, (PlanId, Interval)> {
    let mut index: HashMap<String, (PlanId, Interval)> = HashMap::new();
    for plan in plans {
        for interval in [Interval::Month, Interval::Year] {
            for (at, price) in plan.stripe.of(interval).iter().enumerate() {
                let path = format!("plans.{}.stripe.{}[{at}]", plan.id, interval.as_str());
                if price.is_empty() || price.contains(char::is_whitespace) {
                    problems.add(
                        path,
                        "must be a price id or lookup key without spaces: correct it, or leave it out",
                    );
                    continue;
                }
                if let Some((other, per)) = index.insert(price.clone(), (plan.id.clone(), interval)) {
                    problems.add(
                        path,
                        format!(
                            "is {price:?}, which already sells \"{other}\" by the {}: a price sells one thing",
                            per.as_str()
                        ),
                    );
                }
            }
        }
    }
    index
}

fn check_default_plan(
    problems: &mut Problems,
    plans: &[Plan],
    by_name: &HashMap<String, usize>,
    name: &str,
) -> Option<usize> {
    let found = by_name.get(&name.to_ascii_lowercase()).copied();
    let Some((index, plan)) = found.and_then(|index| Some((index, plans.get(index)?))) else {
        problems.add(
            "default_plan",
            format!("names the unknown plan {name:?}: write a plan's id, or leave it out"),
        );
        return None;
    };
    let priced = [&plan.price.month, &plan.price.year].into_iter().flatten();
    let is_free = |price: &String| Amount::from_units(price, 0).is_ok_and(Amount::is_zero);
    if plan.is_offered() || !priced.into_iter().all(is_free) {
        problems.add(
            "default_plan",
            format!(
                "names \"{}\", which is sold: everybody would have it for nothing",
                plan.id
            ),
        );
    }
    Some(index)
}
