//! The environment, as an argument.
//!
//! Owns: which variables mean something, and how their text becomes a value. `TOLLGATE__SECTION__KEY` overrides any key;
//! the names that the published documents use are understood where they have a meaning. It must not read the process's
//! environment except in [`Env::of_process`], and no value may reach an error or a warning.

use std::collections::BTreeMap;
use std::fmt;

use super::fault::Faults;

const PREFIX: &str = "TOLLGATE__";

/// Environment variables: those of the process, or those of a test.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<String, String>);

impl Env {
    /// The variables of this process. What is not UTF-8 is replaced, and so refused where it is used.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .map(|(name, value)| {
                let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
                (lossy(name), lossy(value))
            })
            .collect()
    }

    /// The variable's value; an empty one counts as unset, as container tools pass empty ones on.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl fmt::Debug for Env {
    /// How many, and nothing else: values are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Env({} variables)", self.0.len())
    }
}

/// A key that a variable sets.
pub(super) struct Override {
    pub(super) variable: String,
    pub(super) segments: Vec<String>,
    pub(super) value: toml::Value,
}

impl Override {
    fn new(variable: &str, segments: &[&str], value: toml::Value) -> Self {
        let segments = segments.iter().map(|segment| (*segment).to_owned()).collect();
        let variable = variable.to_owned();
        Self {
            variable,
            segments,
            value,
        }
    }
}

/// The published names that are not overrides of one key.
#[derive(Default)]
pub(super) struct Published {
    /// The variable and its text, for chains that name no treasury.
    pub(super) treasuries: Vec<(&'static str, String)>,
    /// Plan, interval (`month`, `year`) and Stripe price id.
    pub(super) stripe_prices: Vec<(String, String, String)>,
    pub(super) warnings: Vec<String>,
}

/// Published, known, and without a meaning so far.
const NOT_YET: &[&str] = &[
    "STRIPE_SECRET_KEY",
    "STRIPE_API_KEY",
    "STRIPE_SYNC_INTERVAL",
    "STRIPE_PORTAL_CONFIG_ID",
    "COINBASE_COMMERCE_API_KEY",
    "PARENT_APP_URL",
    "ENABLE_TOKEN_GATES",
    "ENABLE_PAID_CHANNELS",
];

/// The published names of lists of one secret, with section and key.
const SECRETS: [(&str, &str, &str); 2] = [
    ("STRIPE_WEBHOOK_SECRET", "stripe", "webhook_secrets"),
    (
        "COINBASE_COMMERCE_WEBHOOK_SECRET",
        "checkout",
        "commerce_webhook_secrets",
    ),
];

const TREASURIES: [&str; 2] = ["TREASURY_WALLET_ADDRESS", "NEXT_PUBLIC_PAYMENT_WALLET_ADDRESS"];

/// The keys that variables set, published names included, in the order of their names.
pub(super) fn overrides(env: &Env, faults: &mut Faults) -> Vec<Override> {
    let mut overrides = Vec::new();
    for (variable, text) in &env.0 {
        let Some(path) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        let segments: Vec<String> = path.split("__").map(str::to_lowercase).collect();
        if segments.iter().any(String::is_empty) {
            faults.add(variable, "must name a key as TOLLGATE__SECTION__KEY");
            continue;
        }
        let variable = variable.clone();
        let value = value(text);
        overrides.push(Override {
            variable,
            segments,
            value,
        });
    }
    for (variable, section, key) in SECRETS {
        if let Some(secret) = env.get(variable) {
            let value = toml::Value::Array(vec![secret.into()]);
            overrides.push(Override::new(variable, &[section, key], value));
        }
        let (variable, key) = (format!("{variable}_FILE"), format!("{key}_file"));
        if let Some(file) = env.get(&variable) {
            overrides.push(Override::new(&variable, &[section, &key], file.into()));
        }
    }
    if let Some(text) = env.get("ENABLE_CRYPTO_PAYMENTS") {
        match switch(text) {
            Some(on) => overrides.push(Override::new(
                "ENABLE_CRYPTO_PAYMENTS",
                &["payments", "enabled"],
                on.into(),
            )),
            None => faults.add("ENABLE_CRYPTO_PAYMENTS", "must be true or false"),
        }
    }
    overrides
}

pub(super) fn published(env: &Env, faults: &mut Faults) -> Published {
    let mut published = Published::default();
    for name in TREASURIES {
        if let Some(text) = env.get(name) {
            published.treasuries.push((name, text.to_owned()));
        }
    }
    for variable in env.0.keys() {
        let Some(value) = env.get(variable) else {
            continue;
        };
        let product = variable.starts_with("STRIPE_PRODUCT_");
        let plain = variable.strip_suffix("_FILE").unwrap_or(variable);
        if product || NOT_YET.contains(&plain) {
            published
                .warnings
                .push(format!("{variable} is set and has no effect yet"));
        } else if let Some((plan, interval)) = price_of(variable) {
            add_price(&mut published, variable, (plan, interval, value), faults);
        } else if variable.starts_with("STRIPE_PRICE_") {
            let warning =
                format!("{variable} is not read: it must end in _MONTH, _MONTHLY, _YEAR or _YEARLY");
            published.warnings.push(warning);
        }
    }
    published
}

fn add_price(
    published: &mut Published,
    variable: &str,
    (plan, interval, price): (String, &str, &str),
    faults: &mut Faults,
) {
    if price.len() > 255 || !price.bytes().all(|byte| byte.is_ascii_graphic()) {
        faults.add(variable, "must be a Stripe price id such as price_123");
        return;
    }
    let same = |(other, every, _): &&(String, String, String)| *other == plan && every == interval;
    match published.stripe_prices.iter().find(same) {
        Some((_, _, known)) if known == price => {}
        Some(_) => faults.add(
            variable,
            format!("another variable names another price for {plan} by {interval}; remove one"),
        ),
        None => {
            let entry = (plan, interval.to_owned(), price.to_owned());
            published.stripe_prices.push(entry);
        }
    }
}

/// `STRIPE_<PLAN>_<MONTHLY|YEARLY>_PRICE_ID` and `STRIPE_PRICE_<PLAN>_<INTERVAL>`.
fn price_of(variable: &str) -> Option<(String, &'static str)> {
    let rest = variable.strip_prefix("STRIPE_")?;
    let named = rest
        .strip_suffix("_PRICE_ID")
        .or_else(|| rest.strip_prefix("PRICE_"))?;
    let (plan, interval) = named.rsplit_once('_')?;
    let interval = match interval {
        "MONTH" | "MONTHLY" => "month",
        "YEAR" | "YEARLY" => "year",
        _ => return None,
    };
    (!plan.is_empty()).then(|| (plan.to_lowercase(), interval))
}

fn switch(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// The TOML value that the text is, else the text. No key takes a float, a date or a number that is not decimal, so what
/// looks like one (an amount, an address) stays text.
fn value(text: &str) -> toml::Value {
    let hexadecimal = text.starts_with("0x");
    let parsed = format!("v = {text}")
        .parse::<toml::Table>()
        .ok()
        .filter(|table| table.len() == 1)
        .and_then(|mut table| table.remove("v"));
    match parsed {
        Some(toml::Value::Float(_) | toml::Value::Datetime(_)) | None => text.into(),
        Some(toml::Value::Integer(_)) if hexadecimal => text.into(),
        Some(value) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_the_toml_value_that_it_is() {
        assert_eq!(value("5"), toml::Value::Integer(5));
        assert_eq!(value("true"), toml::Value::Boolean(true));
        assert_eq!(value("[\"a\", \"b\"]").as_array().map(Vec::len), Some(2));
        assert_eq!(value("\"quoted\""), "quoted".into());
        for text in [
            "30m",
            "127.0.0.1:80",
            "0.05",
            "0x01",
            "2026-01-01",
            "",
            "a\nb = 1",
            "5\nb = 1",
        ] {
            assert_eq!(value(text), text.into(), "{text:?}");
        }
    }

    #[test]
    fn both_published_forms_of_a_price_are_read() {
        let price = |name| price_of(name);
        assert_eq!(
            price("STRIPE_PRO_MONTHLY_PRICE_ID"),
            Some(("pro".to_owned(), "month"))
        );
        assert_eq!(price("STRIPE_PRICE_PRO_YEAR"), Some(("pro".to_owned(), "year")));
        assert_eq!(
            price("STRIPE_PRICE_BIG_TEAM_MONTHLY"),
            Some(("big_team".to_owned(), "month"))
        );
        for other in [
            "STRIPE_PRICE_ID",
            "STRIPE_PRICE_MONTHLY",
            "STRIPE_PRO_PRICE_ID",
            "PRICE_PRO_YEAR",
        ] {
            assert_eq!(price(other), None, "{other}");
        }
    }
}
