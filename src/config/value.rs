//! One text, one value: durations, addresses, URLs, names and secrets, each with the words for what is wrong.
//!
//! Pure. The words tell the remedy and never hold the text itself, which may be a secret.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use alloy::primitives::Address;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// `500ms`, `30s`, `30m`, `24h`, `7d`: a whole number and one unit.
pub(super) fn duration(text: &str, allowed: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let wrong = || "must be a whole number and ms, s, m, h or d, such as \"30m\"".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let duration = Duration::from_millis(number.checked_mul(*factor).ok_or_else(wrong)?);
    if allowed.contains(&duration) {
        return Ok(duration);
    }
    let (least, most) = (show(*allowed.start()), show(*allowed.end()));
    Err(format!("must be between {least} and {most}"))
}

fn show(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    UNITS
        .iter()
        .rev()
        .find(|(_, factor)| milliseconds.is_multiple_of(u128::from(*factor)))
        .map_or_else(String::new, |(name, factor)| {
            format!("{}{name}", milliseconds / u128::from(*factor))
        })
}

/// A number within its bounds, in the type that the other rooms use.
pub(super) fn number<T: TryFrom<i64>>(number: i64, allowed: &RangeInclusive<i64>) -> Result<T, String> {
    allowed
        .contains(&number)
        .then(|| T::try_from(number).ok())
        .flatten()
        .ok_or_else(|| match (allowed.start(), allowed.end()) {
            (least, &i64::MAX) => format!("must be at least {least}"),
            (least, most) => format!("must be between {least} and {most}"),
        })
}

/// An EIP-55 address; in one case only, it carries no checksum to verify.
pub(super) fn address(text: &str) -> Result<Address, &'static str> {
    let digits = text
        .strip_prefix("0x")
        .ok_or("must begin with 0x and have 40 hexadecimal digits")?;
    let address: Address = digits
        .parse()
        .map_err(|_| "must begin with 0x and have 40 hexadecimal digits")?;
    let mixed =
        digits.bytes().any(|b| b.is_ascii_uppercase()) && digits.bytes().any(|b| b.is_ascii_lowercase());
    if mixed && Address::parse_checksummed(text, None).is_err() {
        return Err("its checksum (EIP-55) is wrong: copy the address again from its source");
    }
    if address.is_zero() {
        return Err("must not be the zero address");
    }
    Ok(address)
}

/// `127.0.0.1:8080`, `[::]:8080`.
pub(super) fn listen(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "must be an IP address and a port, such as \"127.0.0.1:8080\"")
}

/// A URL with a host and one of `schemes`.
pub(super) fn url(text: &str, schemes: &[&str]) -> Result<Url, String> {
    let wrong = || {
        format!(
            "must be a URL that begins with {}",
            schemes.join(":// or ") + "://"
        )
    };
    let url = Url::parse(text).map_err(|_| wrong())?;
    let known = schemes.contains(&url.scheme()) && url.has_host();
    if known { Ok(url) } else { Err(wrong()) }
}

/// Where we are reached from outside, without the slash at its end, so that a path can follow.
pub(super) fn public_url(text: &str) -> Result<String, String> {
    let url = url(text, &["https", "http"])?;
    let is_place = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if is_place && url.password().is_none() {
        Ok(url.as_str().trim_end_matches('/').to_owned())
    } else {
        Err("must be a URL without user, query or fragment".to_owned())
    }
}

/// The origin of a page, exactly as browsers send it: compared as text.
pub(super) fn origin(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "must be an origin as browsers write it, such as \"https://chat.example.com\": scheme, host, \
                         and the port where it is unusual";
    let url = Url::parse(text).map_err(|_| WRONG)?;
    // A wildcard would be taken by its letters and match nothing.
    let is_web = ["https", "http"].contains(&url.scheme()) && !text.contains('*');
    if is_web && url.origin().ascii_serialization() == text {
        Ok(text.to_owned())
    } else {
        Err(WRONG)
    }
}

/// A secret that HS256 signs by (RFC 7518, 3.2: no shorter than the hash).
pub(super) fn hs256_secret(text: &str) -> Result<(), &'static str> {
    if (32..=1024).contains(&text.len()) {
        Ok(())
    } else {
        Err("must be 32 to 1024 bytes, random")
    }
}

/// A secret that a provider of checkouts signs by, as it gave it.
pub(super) fn checkout_secret(text: &str) -> Result<(), &'static str> {
    if (16..=1024).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err("must be 16 to 1024 printable characters without spaces, as the provider gave it")
    }
}

/// What is written into logs, metrics and paths.
pub(super) fn name(text: &str) -> Result<String, &'static str> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if text.is_empty() || text.len() > 32 || !text.bytes().all(allowed) {
        return Err("must be 1 to 32 of a-z, 0-9, - and _");
    }
    Ok(text.to_owned())
}

/// What people call a token.
pub(super) fn symbol(text: &str) -> Result<String, &'static str> {
    if text.is_empty() || text.len() > 16 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must be 1 to 16 visible ASCII characters");
    }
    Ok(text.to_owned())
}

/// The authority that a Sign-In with Ethereum message names: a host, and a port where it is not the usual one.
pub(super) fn domain(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "must be a host such as \"chat.example.com\", without scheme, path or user";
    if text.contains(['/', '@', '?', '#', '\\']) || text.chars().any(|c| c.is_whitespace() || c.is_control())
    {
        return Err(WRONG);
    }
    match Url::parse(&format!("https://{text}/")) {
        Ok(url) if url.has_host() => Ok(text.to_owned()),
        _ => Err(WRONG),
    }
}

/// A Standard Webhooks secret: `whsec_` and 24 to 64 bytes in base64.
pub(super) fn webhook_secret(text: &str) -> Result<(), &'static str> {
    let encoded = text
        .strip_prefix("whsec_")
        .ok_or("must begin with whsec_, followed by 24 to 64 bytes in base64")?;
    match STANDARD.decode(encoded) {
        Ok(bytes) if (24..=64).contains(&bytes.len()) => Ok(()),
        Ok(_) => Err("must hold 24 to 64 bytes in base64 after whsec_"),
        Err(_) => Err("must be base64 after whsec_"),
    }
}

/// The signing secret of a Stripe webhook endpoint.
pub(super) fn stripe_secret(text: &str) -> Result<(), &'static str> {
    match text.strip_prefix("whsec_") {
        Some(rest) if !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(()),
        _ => Err("must be the endpoint's signing secret, which begins with whsec_"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_a_unit() {
        let any = Duration::ZERO..=Duration::MAX;
        for (text, milliseconds) in [
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("30m", 1_800_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(duration(text, &any), Ok(Duration::from_millis(milliseconds)));
        }
        for text in [
            "",
            "30",
            "m",
            "1.5h",
            "-1s",
            "1 h",
            "1h30m",
            "1w",
            "+1s",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(duration(text, &any).is_err(), "{text:?}");
        }
    }

    #[test]
    fn bounds_are_shown_in_the_largest_whole_unit() {
        let allowed = Duration::from_millis(1500)..=Duration::from_hours(48);
        assert_eq!(
            duration("1s", &allowed),
            Err("must be between 1500ms and 2d".to_owned())
        );
    }

    #[test]
    fn an_address_in_mixed_case_must_carry_its_checksum() {
        let good = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";
        assert!(address(good).is_ok());
        assert!(address(&good.to_lowercase()).is_ok());
        assert!(address(&format!("0x{}", good[2..].to_uppercase())).is_ok());
        for bad in [
            "0xa0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
            "A0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
            "0x0000000000000000000000000000000000000000",
            "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB4",
            "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB4g",
            "0x0xb86991c6218b36c1d19D4a2e9Eb0cE3606eB48",
        ] {
            assert!(address(bad).is_err(), "{bad}");
        }
    }
}
