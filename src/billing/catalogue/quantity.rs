//! The small texts of a catalogue: limits, sizes, windows, prices and names. Each answers with what to write instead.

use toml::Value;

use super::{Limit, Unit, Window};
use crate::domain::Amount;

/// No stablecoin that we know carries fewer, so a price within this is exact in all of them.
const PRICE_DECIMALS: u8 = 6;

/// As fine as ether; a token that is coarser says so when it is asked for.
const MOST_DECIMALS: u8 = 18;

/// The longest id of a plan, feature or meter, in bytes.
const MAX_NAME_BYTES: usize = 64;

pub(super) fn limit(value: &Value, unit: Unit) -> Result<Limit, String> {
    match value {
        Value::String(text) if text == "unlimited" => Ok(Limit::Unlimited),
        Value::String(text) if unit == Unit::Bytes => size(text).map(Limit::AtMost),
        Value::Integer(number) => u64::try_from(*number)
            .map(Limit::AtMost)
            .map_err(|_| "must not be negative: write \"unlimited\" where there is no limit".to_owned()),
        _ if unit == Unit::Bytes => {
            Err("must be a number of bytes, a size such as \"100 GB\", or \"unlimited\"".to_owned())
        }
        _ => Err("must be a whole number or \"unlimited\"".to_owned()),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("must be a size such as \"100 GB\" or \"10 MB\", or \"unlimited\", not {text:?}");
    let (digits, unit) = text.split_once(' ').ok_or_else(wrong)?;
    let shift = match unit {
        "B" => 0,
        "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        _ => return Err(wrong()),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number
        .checked_mul(1 << shift)
        .filter(|bytes| i64::try_from(*bytes).is_ok())
        .ok_or_else(|| format!("must be below 2^63 bytes, not {text:?}"))
}

pub(super) fn window(text: &str) -> Result<Window, String> {
    match text {
        "calendar_month" => Ok(Window::CalendarMonth),
        "billing_period" => Ok(Window::BillingPeriod),
        "day" => Ok(Window::Day),
        "minute" => Ok(Window::Minute),
        "lifetime" => Ok(Window::Lifetime),
        _ => rolling(text).ok_or_else(|| {
            "must be \"calendar_month\", \"billing_period\", \"day\", \"minute\", \"rolling:30d\" (1 to 366 days) \
             or \"lifetime\""
                .to_owned()
        }),
    }
}

fn rolling(text: &str) -> Option<Window> {
    let digits = text.strip_prefix("rolling:")?.strip_suffix('d')?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let days = digits.parse().ok().filter(|days| (1..=366).contains(days))?;
    Some(Window::Rolling { days })
}

/// A price as the text that was written. A number would have gone through a float.
pub(super) fn price(value: &Value) -> Result<(String, Amount), String> {
    decimal(value, PRICE_DECIMALS)
}

fn decimal(value: &Value, decimals: u8) -> Result<(String, Amount), String> {
    let Value::String(text) = value else {
        return Err("must be in quotes, such as \"15\" or \"7.50\"".to_owned());
    };
    let amount = Amount::from_units(text, decimals).map_err(|error| error.to_string())?;
    Ok((text.clone(), amount))
}

/// A price in every token of the currency; above nothing.
pub(super) fn crypto_price(value: &Value) -> Result<String, String> {
    above_zero(price(value)?)
}

/// A price in one token, as fine as that may be.
pub(super) fn token_price(value: &Value) -> Result<String, String> {
    above_zero(decimal(value, MOST_DECIMALS)?)
}

fn above_zero((text, amount): (String, Amount)) -> Result<String, String> {
    if amount.is_zero() {
        return Err("must be above zero: leave it out where the plan is not sold on-chain".to_owned());
    }
    Ok(text)
}

pub(super) fn name(text: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    if text.is_empty() || text.len() > MAX_NAME_BYTES || !text.bytes().all(plain) {
        return Err(format!(
            "must be named with 1 to {MAX_NAME_BYTES} lower-case letters, digits, \"_\" and \"-\""
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two() {
        for (text, bytes) in [
            ("7 B", 7),
            ("1 KB", 1024),
            ("10 MB", 10 << 20),
            ("100 GB", 100 << 30),
            ("2 TB", 2 << 40),
        ] {
            let value = Value::String(text.to_owned());
            assert_eq!(limit(&value, Unit::Bytes), Ok(Limit::AtMost(bytes)));
            assert!(limit(&value, Unit::Count).is_err(), "{text} of things");
        }
    }

    #[test]
    fn bad_limits_are_refused_with_what_to_write() {
        for text in [
            "",
            "GB",
            "100GB",
            "1.5 GB",
            "+1 GB",
            "-1 GB",
            "1 gb",
            "1  GB",
            "Unlimited",
            "99999999 TB",
        ] {
            let refused = limit(&Value::String(text.to_owned()), Unit::Bytes);
            assert!(refused.is_err(), "{text:?}");
        }
        let negative = limit(&Value::Integer(-1), Unit::Count).unwrap_err();
        assert!(negative.contains("\"unlimited\""), "{negative}");
        assert!(limit(&Value::Float(1.5), Unit::Count).is_err());
        assert!(limit(&Value::Boolean(true), Unit::Bytes).is_err());
    }

    #[test]
    fn windows_are_read() {
        assert_eq!(window("rolling:30d"), Ok(Window::Rolling { days: 30 }));
        assert_eq!(window("minute"), Ok(Window::Minute));
        for text in [
            "rolling:0d",
            "rolling:367d",
            "rolling:+1d",
            "rolling:d",
            "rolling:30",
            "month",
            "",
        ] {
            assert!(window(text).is_err(), "{text:?}");
        }
    }
}
