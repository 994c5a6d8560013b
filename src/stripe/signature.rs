//! Who sent a Stripe webhook: the `Stripe-Signature` header against the raw body.
//!
//! Owns the scheme of <https://docs.stripe.com/webhooks#verify-manually>: `t=…,v1=…`, HMAC-SHA256 of `"{t}." + body`.
//! Must see the bytes as they came; a body that was parsed and written again has another signature.

use std::time::Duration;

use hmac::digest::{Digest, Key};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::domain::Millis;

/// The longest header that is read, in bytes: room for a timestamp and some thirty signatures.
const MAX_HEADER_BYTES: usize = 2048;
const MAC_BYTES: usize = 32;

/// Why a webhook is not believed. Names neither the secret nor the signature that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no header, or nothing in it.
    #[error("the Stripe-Signature header is empty")]
    Empty,
    /// Longer than any that Stripe sends.
    #[error("the Stripe-Signature header is longer than {MAX_HEADER_BYTES} bytes")]
    HeaderTooLong,
    /// No `t=`.
    #[error("the Stripe-Signature header has no timestamp")]
    NoTimestamp,
    /// More than one `t=`: which of them was signed would be the sender's choice.
    #[error("the Stripe-Signature header has more than one timestamp")]
    DuplicateTimestamp,
    /// `t` is not a number of seconds, or overflows.
    #[error("the Stripe-Signature header's timestamp is not a number of seconds")]
    BadTimestamp,
    /// No signature at all.
    #[error("the Stripe-Signature header has no v1 signature")]
    NoSignature,
    /// Signatures, and none of them of a scheme that proves anything (`v0` is Stripe's test scheme).
    #[error("the Stripe-Signature header has signatures of other schemes only, and no v1")]
    NoV1,
    /// No `v1` is 64 hexadecimal digits.
    #[error("the Stripe-Signature header's v1 signature is not 64 hexadecimal digits")]
    BadHex,
    /// Nothing to compare with: the endpoint is switched off.
    #[error("no Stripe webhook secret is configured")]
    NoSecret,
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

struct Header<'a> {
    timestamp: &'a str,
    timestamp_ms: Millis,
    signatures: Vec<[u8; MAC_BYTES]>,
}

/// Checks that one of `secrets` signed `body` within `tolerance` of `now`, both ways and inclusive. Any `v1` may match.
///
/// # Errors
/// Says what was wrong, without a word of what would have been right. The time is judged last, so that
/// [`SignatureError::OutsideTolerance`] always speaks of a genuine signature.
pub fn verify(
    header: &str,
    body: &[u8],
    secrets: &[SecretString],
    tolerance: Duration,
    now: Millis,
) -> Result<(), SignatureError> {
    let header = parse(header)?;
    if secrets.is_empty() {
        return Err(SignatureError::NoSecret);
    }
    let mut genuine = subtle::Choice::from(0);
    for secret in secrets {
        let expected = mac(secret, header.timestamp, body);
        for signature in &header.signatures {
            genuine |= expected.as_slice().ct_eq(signature);
        }
    }
    if !bool::from(genuine) {
        return Err(SignatureError::Mismatch);
    }
    if u128::from(header.timestamp_ms.abs_diff(now)) > tolerance.as_millis() {
        return Err(SignatureError::OutsideTolerance {
            tolerance_s: tolerance.as_secs(),
        });
    }
    Ok(())
}

/// Makes the header that Stripe would send, for tests and the demo of a chat product that has no Stripe account.
#[must_use]
pub fn sign(body: &[u8], secret: &SecretString, timestamp_s: u64) -> String {
    let timestamp = timestamp_s.to_string();
    let signature = hex::encode(mac(secret, &timestamp, body));
    format!("t={timestamp},v1={signature}")
}

fn parse(header: &str) -> Result<Header<'_>, SignatureError> {
    if header.trim().is_empty() {
        return Err(SignatureError::Empty);
    }
    if header.len() > MAX_HEADER_BYTES {
        return Err(SignatureError::HeaderTooLong);
    }
    let (mut timestamp, mut schemes, mut v1) = (None, 0_u32, Vec::new());
    for part in header.split(',') {
        match part.split_once('=') {
            Some(("t", value)) if timestamp.replace(value).is_some() => {
                return Err(SignatureError::DuplicateTimestamp);
            }
            Some(("v1", value)) => v1.push(value),
            Some((scheme, _)) if scheme.starts_with('v') => schemes += 1,
            _ => {}
        }
    }
    let timestamp = timestamp.ok_or(SignatureError::NoTimestamp)?;
    let timestamp_ms = milliseconds(timestamp).ok_or(SignatureError::BadTimestamp)?;
    if v1.is_empty() {
        return Err(if schemes == 0 {
            SignatureError::NoSignature
        } else {
            SignatureError::NoV1
        });
    }
    let signatures: Vec<_> = v1.into_iter().filter_map(decode).collect();
    if signatures.is_empty() {
        return Err(SignatureError::BadHex);
    }
    Ok(Header {
        timestamp,
        timestamp_ms,
        signatures,
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

/// The secret is the key as it is written, `whsec_` included.
fn mac(secret: &SecretString, timestamp: &str, body: &[u8]) -> [u8; MAC_BYTES] {
    let mut mac = keyed(secret.expose_secret().as_bytes());
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// RFC 2104, section 2: a key longer than a block is hashed first, and a shorter one is filled with zeros. Done here because
/// the library's own way from a slice has an error that cannot happen.
fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    let mut block = Key::<Hmac<Sha256>>::default();
    if secret.len() > block.len() {
        block[..MAC_BYTES].copy_from_slice(&Sha256::digest(secret));
    } else {
        block[..secret.len()].copy_from_slice(secret);
    }
    Hmac::new(&block)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE_MINUTES: Duration = Duration::from_mins(5);
    const T_S: u64 = 1_735_689_600;
    const NOW: Millis = 1_735_689_600_000;

    /// Secret, body and header; made with the npm package stripe 18.5.0:
    /// `stripe.webhooks.generateTestHeaderString({payload, secret, timestamp: 1735689600})`.
    const VECTORS: [(&str, &str, &str); 4] = [
        (
            "whsec_vector_one",
            r#"{"id":"evt_1","object":"event"}"#,
            "t=1735689600,v1=f1387d09c92e650c6a0ca3bd3fecdd05748f2751b6d72b3cdfb26c2b7723c878",
        ),
        (
            "whsec_vector_two",
            r#"{"id":"evt_1","object":"event"}"#,
            "t=1735689600,v1=f5138d0f9f934959710a55598d0be2549dbaf6305f7966b175cee40336620ec7",
        ),
        (
            "whsec_vector_one",
            r#"{"note":"Zürich – 10 €\n"}"#,
            "t=1735689600,v1=36171a04031f17d08825e711d6a6b7750e7561cf78474a7f3c8581e513017d3c",
        ),
        (
            "whsec_vector_one",
            "",
            "t=1735689600,v1=93a54d71ec1c9132c2045cf4f4800638f9006af905685c302c6e4b48a3a776d8",
        ),
    ];

    fn secrets(texts: &[&str]) -> Vec<SecretString> {
        texts.iter().map(|text| SecretString::from(*text)).collect()
    }

    fn check(header: &str, now: Millis) -> Result<(), SignatureError> {
        let body = VECTORS[0].1.as_bytes();
        verify(header, body, &secrets(&["whsec_vector_one"]), FIVE_MINUTES, now)
    }

    fn v1(vector: usize) -> &'static str {
        VECTORS[vector].2.split_once(',').unwrap().1
    }

    #[test]
    fn the_official_library_and_we_agree() {
        for (secret, body, header) in VECTORS {
            assert_eq!(sign(body.as_bytes(), &SecretString::from(secret), T_S), header);
            let outcome = verify(header, body.as_bytes(), &secrets(&[secret]), FIVE_MINUTES, NOW);
            assert_eq!(outcome, Ok(()));
        }
    }

    #[test]
    fn a_secret_longer_than_a_block_is_hashed() {
        let secret = SecretString::from(format!("whsec_{}", "k".repeat(100)));
        let header = "t=1735689600,v1=fbcf6e2f16dd3161e1988af33a9292e79b3dc9d90dfa12b6d4424796addddd75";
        assert_eq!(sign(b"{}", &secret, T_S), header);
    }

    #[test]
    fn any_signature_may_match_any_secret() {
        let both = secrets(&["whsec_vector_two", "whsec_vector_one"]);
        let body = VECTORS[0].1.as_bytes();
        for header in [VECTORS[0].2.to_owned(), VECTORS[1].2.to_owned()] {
            assert_eq!(verify(&header, body, &both, FIVE_MINUTES, NOW), Ok(()));
        }
        let stranger = format!("v1={}", "0".repeat(64));
        for header in [
            format!("t={T_S},{stranger},{}", v1(0)),
            format!("{},v0=ff,t={T_S},unknown", v1(0)),
            format!("t={T_S},v1=not-hex,{}", v1(0)),
            format!("t={T_S},{}", v1(0).to_uppercase().replace("V1", "v1")),
        ] {
            assert_eq!(check(&header, NOW), Ok(()), "{header}");
        }
    }

    #[test]
    fn another_secret_body_or_time_does_not_match() {
        let body = VECTORS[0].1.as_bytes();
        let other = secrets(&["whsec_vector_two"]);
        let mismatch = Err(SignatureError::Mismatch);
        assert_eq!(verify(VECTORS[0].2, body, &other, FIVE_MINUTES, NOW), mismatch);
        let one = secrets(&["whsec_vector_one"]);
        assert_eq!(verify(VECTORS[0].2, b"{}", &one, FIVE_MINUTES, NOW), mismatch);
        assert_eq!(check(&format!("t={},{}", T_S + 1, v1(0)), NOW), mismatch);
        assert_eq!(check(&format!("t=0{T_S},{}", v1(0)), NOW), mismatch);
        assert_eq!(
            verify(VECTORS[0].2, body, &[], FIVE_MINUTES, NOW),
            Err(SignatureError::NoSecret)
        );
    }

    #[test]
    fn the_tolerance_holds_both_ways_and_is_inclusive() {
        let outside = Err(SignatureError::OutsideTolerance { tolerance_s: 300 });
        for (offset_ms, expected) in [
            (-300_001, outside.clone()),
            (-300_000, Ok(())),
            (300_000, Ok(())),
            (300_001, outside),
        ] {
            assert_eq!(check(VECTORS[0].2, NOW + offset_ms), expected, "{offset_ms}");
        }
        assert!(check(VECTORS[0].2, Millis::MIN).is_err());
        assert!(check(VECTORS[0].2, Millis::MAX).is_err());
    }

    #[test]
    fn each_malformed_header_has_its_own_error() {
        let v1 = v1(0);
        for (header, error) in [
            (String::new(), SignatureError::Empty),
            ("  ".to_owned(), SignatureError::Empty),
            (format!("t=1,{}", "v".repeat(2048)), SignatureError::HeaderTooLong),
            (v1.to_owned(), SignatureError::NoTimestamp),
            ("nonsense".to_owned(), SignatureError::NoTimestamp),
            (
                format!("t={T_S},t={T_S},{v1}"),
                SignatureError::DuplicateTimestamp,
            ),
            (format!("t=,{v1}"), SignatureError::BadTimestamp),
            (format!("t=-1,{v1}"), SignatureError::BadTimestamp),
            (format!("t=+{T_S},{v1}"), SignatureError::BadTimestamp),
            (
                format!("t=9223372036854775807,{v1}"),
                SignatureError::BadTimestamp,
            ),
            (
                format!("t=99999999999999999999,{v1}"),
                SignatureError::BadTimestamp,
            ),
            (format!("t={T_S}"), SignatureError::NoSignature),
            (format!("t={T_S},v0={}", "0".repeat(64)), SignatureError::NoV1),
            (format!("t={T_S},v1="), SignatureError::BadHex),
            (format!("t={T_S},v1=zz"), SignatureError::BadHex),
            (format!("t={T_S},{v1}00"), SignatureError::BadHex),
        ] {
            assert_eq!(check(&header, NOW), Err(error), "{header}");
        }
    }

    #[test]
    fn no_error_tells_a_secret() {
        let error = verify(
            VECTORS[0].2,
            b"{}",
            &secrets(&["whsec_hidden"]),
            FIVE_MINUTES,
            NOW,
        );
        let told = format!("{error:?} {}", error.clone().unwrap_err());
        assert!(!told.contains("hidden"), "{told}");
    }
}
