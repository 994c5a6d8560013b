//! Who sent a webhook of a hosted checkout: its signature against the raw body.
//!
//! Two schemes, told apart by their header. Coinbase Commerce: `X-CC-Webhook-Signature`, the HMAC-SHA256 of the body in
//! hexadecimal. Coinbase Business (<https://docs.cdp.coinbase.com/webhooks/verify-signatures>): `X-Hook0-Signature` with
//! `t=`, the seconds when it was signed, and either or both of `v0=`, the HMAC of `"{t}.{body}"`, and `v1=`, the HMAC of
//! `"{t}.{h}.{values}.{body}"`, where `h=` lists the names of headers, separated by spaces, and values are theirs, joined by
//! points.

use std::time::Duration;

use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use crate::domain::{CheckoutService, Millis};

/// The header of the closed service.
pub const COMMERCE_HEADER: &str = "x-cc-webhook-signature";
/// The header of the one in use.
pub const BUSINESS_HEADER: &str = "x-hook0-signature";

/// The longest header that is read, in bytes.
const MAX_HEADER_BYTES: usize = 2048;
/// The most signatures of one scheme in a header: a secret that is being replaced makes two.
const MAX_SIGNATURES: usize = 8;
/// The most headers that a signature covers.
const MAX_COVERED: usize = 16;
const MAC_BYTES: usize = 32;

/// Whose signatures are believed.
#[derive(Debug, Clone, Copy)]
pub struct Trusted<'a> {
    /// Any of these may have signed for Coinbase Commerce.
    pub commerce: &'a [SecretString],
    /// Any of these may have signed for Coinbase Business.
    pub business: &'a [SecretString],
    /// How far a signature's time may be from ours, both ways.
    pub tolerance: Duration,
}

/// Why a webhook is not believed. Names neither a secret nor the signature that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not exactly one of the two headers.
    #[error("there must be exactly one signature: X-Hook0-Signature or X-CC-Webhook-Signature")]
    NotOne,
    /// Longer than any that is sent.
    #[error("the signature's header is longer than {MAX_HEADER_BYTES} bytes")]
    HeaderTooLong,
    /// No `t=`, several, or none that is a number of seconds.
    #[error("the signature's header must hold one t= with a number of seconds")]
    BadTimestamp,
    /// Neither a `v0=` nor a `v1=` with its `h=`, in hexadecimal.
    #[error("the signature's header must hold a v0=, or a v1= and one h=, of 64 hexadecimal digits")]
    NoSignature,
    /// Not 64 hexadecimal digits.
    #[error("the signature must be 64 hexadecimal digits")]
    BadHex,
    /// No configured secret made any of the signatures.
    #[error("no configured secret made this signature")]
    Mismatch,
    /// Genuine, and too old or too new: a replay, or a clock that is wrong.
    #[error("the signature's time differs from ours by more than {tolerance_s} s")]
    OutsideTolerance {
        /// The tolerance, in seconds.
        tolerance_s: u64,
    },
}

/// Finds out who signed `body`. `header` gives the values of a header by its name in lower case, each that was sent.
///
/// # Errors
/// Says what was wrong, without a word of what would have been right. The time is judged last, so that
/// [`SignatureError::OutsideTolerance`] always speaks of a genuine signature.
pub fn verify<'h>(
    header: impl Fn(&str) -> Vec<&'h str>,
    body: &[u8],
    trusted: Trusted<'_>,
    now: Millis,
) -> Result<CheckoutService, SignatureError> {
    match (
        header(COMMERCE_HEADER).as_slice(),
        header(BUSINESS_HEADER).as_slice(),
    ) {
        ([signature], []) => {
            commerce(signature, body, trusted.commerce)?;
            Ok(CheckoutService::CoinbaseCommerce)
        }
        ([], [signature]) => {
            business(signature, header, body, trusted, now)?;
            Ok(CheckoutService::CoinbaseBusiness)
        }
        _ => Err(SignatureError::NotOne),
    }
}

fn commerce(signature: &str, body: &[u8], secrets: &[SecretString]) -> Result<(), SignatureError> {
    let signature = decode(signature).ok_or(SignatureError::BadHex)?;
    if is_by_any(secrets, &[body], &[signature]) {
        Ok(())
    } else {
        Err(SignatureError::Mismatch)
    }
}

/// What a header of Coinbase Business holds.
struct Parts<'a> {
    timestamp: &'a str,
    timestamp_ms: Millis,
    covered: Option<&'a str>,
    of_body: Vec<[u8; MAC_BYTES]>,
    of_headers: Vec<[u8; MAC_BYTES]>,
}

fn business<'h>(
    signature: &str,
    header: impl Fn(&str) -> Vec<&'h str>,
    body: &[u8],
    trusted: Trusted<'_>,
    now: Millis,
) -> Result<(), SignatureError> {
    let parts = parse(signature)?;
    let secrets = trusted.business;
    let stamp = parts.timestamp.as_bytes();
    let mut is_genuine = is_by_any(secrets, &[stamp, b".", body], &parts.of_body);
    if let Some(covered) = parts.covered {
        // As the sender writes it: a header that is not there has an empty value.
        let values: Vec<&str> = covered
            .split(' ')
            .map(|name| {
                header(&name.to_ascii_lowercase())
                    .first()
                    .copied()
                    .unwrap_or_default()
            })
            .collect();
        let values = values.join(".");
        let message = [
            stamp,
            b".",
            covered.as_bytes(),
            b".",
            values.as_bytes(),
            b".",
            body,
        ];
        is_genuine |= is_by_any(secrets, &message, &parts.of_headers);
    }
    if !is_genuine {
        return Err(SignatureError::Mismatch);
    }
    if u128::from(parts.timestamp_ms.abs_diff(now)) > trusted.tolerance.as_millis() {
        return Err(SignatureError::OutsideTolerance {
            tolerance_s: trusted.tolerance.as_secs(),
        });
    }
    Ok(())
}

fn parse(header: &str) -> Result<Parts<'_>, SignatureError> {
    if header.len() > MAX_HEADER_BYTES {
        return Err(SignatureError::HeaderTooLong);
    }
    let all = |wanted: &str| -> Vec<&str> {
        let parts = header.split(',').filter_map(|part| part.split_once('='));
        let named = parts.filter(|(name, _)| name.trim() == wanted);
        named.map(|(_, value)| value).take(MAX_SIGNATURES).collect()
    };
    let &[timestamp] = all("t").as_slice() else {
        return Err(SignatureError::BadTimestamp);
    };
    let timestamp_ms = milliseconds(timestamp).ok_or(SignatureError::BadTimestamp)?;
    let decoded = |name: &str| -> Vec<[u8; MAC_BYTES]> { all(name).into_iter().filter_map(decode).collect() };
    let covered = match all("h").as_slice() {
        &[covered] if covered.split(' ').count() <= MAX_COVERED => Some(covered),
        _ => None,
    };
    let (of_body, of_headers) = (decoded("v0"), decoded("v1"));
    if of_body.is_empty() && (of_headers.is_empty() || covered.is_none()) {
        return Err(SignatureError::NoSignature);
    }
    Ok(Parts {
        timestamp,
        timestamp_ms,
        covered,
        of_body,
        of_headers,
    })
}

fn milliseconds(seconds: &str) -> Option<Millis> {
    let digits_only = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    digits_only
        .then(|| seconds.parse::<Millis>().ok()?.checked_mul(1000))
        .flatten()
}

fn decode(hexadecimal: &str) -> Option<[u8; MAC_BYTES]> {
    let mut signature = [0; MAC_BYTES];
    hex::decode_to_slice(hexadecimal, &mut signature).ok()?;
    Some(signature)
}

/// Whether any secret made any signature of the message. All are compared, in constant time.
fn is_by_any(secrets: &[SecretString], message: &[&[u8]], signatures: &[[u8; MAC_BYTES]]) -> bool {
    let mut is_genuine = subtle::Choice::from(0);
    for secret in secrets {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        let mut context = hmac::Context::with_key(&key);
        for part in message {
            context.update(part);
        }
        let expected = context.sign();
        for signature in signatures {
            is_genuine |= expected.as_ref().ct_eq(signature);
        }
    }
    is_genuine.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_760_000_000_000;
    const BODY: &[u8] = r#"{"eventType":"checkout.payment.success","note":"Zürich – 10 €"}"#.as_bytes();
    const SECRET: &str = "checkout-secret-of-the-tests";
    const OLD_SECRET: &str = "checkout-secret-of-last-year";
    const COVERED: &str = "content-type x-hook0-id x-absent";

    // Made by node:crypto: `createHmac("sha256", secret).update(message).digest("hex")` over the body, over
    // `1760000000.${body}`, and over `1760000000.${COVERED}.application/json.5d1f..${body}`.
    const OF_BODY: &str = "2d0ac1de42a023e2c860b6fac0a8a5bb9f8ef2acf78d2995d730dd3a130dd332";
    const OF_BODY_OLD: &str = "25b71a9f1fdba49b57d9486f242d35c2374c166ee37677db3bebbaa2556dd61e";
    const V0: &str = "d21b97cea5bdb94955d45af198326f143eed4f78d8f7b3444fef363155ad5f12";
    const V0_OLD: &str = "a1b919504b77e1b814a8515b4d114244b67001a9a79fc225540463c77ffa5298";
    const V1: &str = "8b1b82c99d32ea27dc195bf650424b5140c7b9361958b95cb239d513a57b826a";

    fn check_with(
        headers: &[(&str, &str)],
        secrets: &[&str],
        now: Millis,
    ) -> Result<CheckoutService, SignatureError> {
        let secrets: Vec<SecretString> = secrets.iter().map(|secret| (*secret).into()).collect();
        let trusted = Trusted {
            commerce: &secrets,
            business: &secrets,
            tolerance: Duration::from_mins(5),
        };
        let values = |name: &str| -> Vec<&str> {
            let named = headers.iter().filter(|(known, _)| *known == name);
            named.map(|(_, value)| *value).collect()
        };
        verify(values, BODY, trusted, now)
    }

    fn commerce(signature: &str) -> Result<CheckoutService, SignatureError> {
        check_with(&[(COMMERCE_HEADER, signature)], &[OLD_SECRET, SECRET], NOW)
    }

    fn business(signature: &str) -> Result<CheckoutService, SignatureError> {
        let headers = [
            (BUSINESS_HEADER, signature),
            ("content-type", "application/json"),
            ("x-hook0-id", "5d1f"),
        ];
        check_with(&headers, &[OLD_SECRET, SECRET], NOW)
    }

    #[test]
    fn what_nodes_crypto_signed_is_believed_by_any_of_the_secrets() {
        for signature in [OF_BODY, OF_BODY_OLD, &OF_BODY.to_uppercase()] {
            assert_eq!(
                commerce(signature),
                Ok(CheckoutService::CoinbaseCommerce),
                "{signature}"
            );
        }
        let stranger = "0".repeat(64);
        for signature in [
            format!("t=1760000000,v0={V0}"),
            format!("t=1760000000,v0={V0_OLD}"),
            format!("t=1760000000,h={COVERED},v1={V1}"),
            format!("t=1760000000,v0={V0},h={COVERED},v1={V1}"),
            format!("t=1760000000,v0={stranger},v0={V0}"),
            format!("t=1760000000,v0={stranger},h={COVERED},v1={V1}"),
            format!("v9=x,v0={V0},t=1760000000"),
        ] {
            assert_eq!(
                business(&signature),
                Ok(CheckoutService::CoinbaseBusiness),
                "{signature}"
            );
        }
    }

    #[test]
    fn what_others_signed_is_not() {
        let mismatch = Err(SignatureError::Mismatch);
        assert_eq!(commerce(V0), mismatch);
        assert_eq!(check_with(&[(COMMERCE_HEADER, OF_BODY)], &[], NOW), mismatch);
        assert_eq!(
            check_with(&[(COMMERCE_HEADER, OF_BODY)], &["another"], NOW),
            mismatch
        );
        for signature in [
            format!("t=1760000001,v0={V0}"),
            format!("t=01760000000,v0={V0}"),
            format!("t=1760000000,v0={OF_BODY}"),
            format!("t=1760000000,v0={V1}"),
            format!("t=1760000000,h={COVERED},v1={V0}"),
            format!("t=1760000000,h=content-type,v1={V1}"),
        ] {
            assert_eq!(business(&signature), mismatch, "{signature}");
        }
        let other_header = [
            (BUSINESS_HEADER, format!("t=1760000000,h={COVERED},v1={V1}")),
            ("content-type", "text/plain".to_owned()),
            ("x-hook0-id", "5d1f".to_owned()),
        ];
        let other_header = other_header
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        assert_eq!(check_with(&other_header, &[SECRET], NOW), mismatch);
    }

    #[test]
    fn each_malformed_header_has_its_own_error() {
        for (signature, error) in [
            (String::new(), SignatureError::BadTimestamp),
            (format!("v0={V0}"), SignatureError::BadTimestamp),
            (format!("t=,v0={V0}"), SignatureError::BadTimestamp),
            (format!("t=-5,v0={V0}"), SignatureError::BadTimestamp),
            (format!("t=1760000000,t=1,v0={V0}"), SignatureError::BadTimestamp),
            (
                format!("t=9223372036854775807,v0={V0}"),
                SignatureError::BadTimestamp,
            ),
            ("t=1760000000".to_owned(), SignatureError::NoSignature),
            ("t=1760000000,v0=zz".to_owned(), SignatureError::NoSignature),
            (format!("t=1760000000,v1={V1}"), SignatureError::NoSignature),
            (
                format!("t=1760000000,h=a,h=b,v1={V1}"),
                SignatureError::NoSignature,
            ),
            (
                format!("t=1760000000,h={},v1={V1}", "a ".repeat(16)),
                SignatureError::NoSignature,
            ),
            (format!("t=1,{}", "v".repeat(2048)), SignatureError::HeaderTooLong),
        ] {
            assert_eq!(business(&signature), Err(error), "{signature}");
        }
        for signature in ["", "zz", &OF_BODY[..62], &format!("{OF_BODY}00")] {
            assert_eq!(commerce(signature), Err(SignatureError::BadHex), "{signature}");
        }
    }

    #[test]
    fn one_signature_by_one_scheme_is_taken() {
        let by_both = format!("t=1760000000,v0={V0}");
        for headers in [
            Vec::new(),
            vec![(COMMERCE_HEADER, OF_BODY), (BUSINESS_HEADER, by_both.as_str())],
            vec![(COMMERCE_HEADER, OF_BODY), (COMMERCE_HEADER, OF_BODY)],
            vec![(BUSINESS_HEADER, &by_both), (BUSINESS_HEADER, &by_both)],
        ] {
            assert_eq!(check_with(&headers, &[SECRET], NOW), Err(SignatureError::NotOne));
        }
    }

    #[test]
    fn the_tolerance_holds_both_ways_and_is_inclusive() {
        let signature = format!("t=1760000000,v0={V0}");
        let outside = Err(SignatureError::OutsideTolerance { tolerance_s: 300 });
        let inside = Ok(CheckoutService::CoinbaseBusiness);
        for (offset_ms, expected) in [
            (-300_001, &outside),
            (-300_000, &inside),
            (300_000, &inside),
            (300_001, &outside),
        ] {
            let found = check_with(&[(BUSINESS_HEADER, &signature)], &[SECRET], NOW + offset_ms);
            assert_eq!(found, *expected, "{offset_ms}");
        }
    }
}
