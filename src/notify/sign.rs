//! Signatures of outgoing webhooks, by Standard Webhooks (<https://www.standardwebhooks.com>).
//!
//! Owns the secrets while the process runs. Must not show them: neither the errors nor `Debug` hold any of their bytes.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
/// What the specification asks for: at least 24 and at most 64 bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Why a text is not a secret that can sign. The secret is not repeated; `position` counts from 1 in the configured list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There is none.
    #[error("a webhook endpoint needs at least one secret")]
    None,
    /// It does not begin with `whsec_`.
    #[error("webhook secret {position} must begin with \"whsec_\"")]
    NoPrefix {
        /// Which one.
        position: usize,
    },
    /// What follows is not padded base64.
    #[error("webhook secret {position} must be base64 after \"whsec_\"")]
    NotBase64 {
        /// Which one.
        position: usize,
    },
    /// Too short to be safe, or longer than the specification allows.
    #[error("webhook secret {position} must hold 24 to 64 bytes")]
    Length {
        /// Which one.
        position: usize,
    },
}

/// Signs for one receiver with each of its secrets: during a rotation the receiver may know either.
#[derive(Clone)]
pub struct Signer(Vec<Hmac<Sha256>>);

impl Signer {
    /// Reads `whsec_` secrets, in the order of the configuration.
    ///
    /// # Errors
    /// No secret, or the first one that cannot sign.
    pub fn new(secrets: &[SecretString]) -> Result<Self, SecretError> {
        if secrets.is_empty() {
            return Err(SecretError::None);
        }
        let numbered = (1..).zip(secrets);
        let keys: Result<_, _> = numbered.map(|(position, secret)| key(secret, position)).collect();
        keys.map(Self)
    }

    /// The `webhook-signature` header of `body`: `v1,<base64>` for each secret, separated by spaces. `message_id` and
    /// `timestamp_s` (seconds since the epoch) are the `webhook-id` and `webhook-timestamp` headers of the same attempt.
    #[must_use]
    pub fn sign(&self, message_id: &str, timestamp_s: i64, body: &[u8]) -> String {
        let timestamp = timestamp_s.to_string();
        let signed = self.0.iter().map(|key| {
            let mut mac = key.clone();
            for part in [message_id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
                mac.update(part);
            }
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        });
        signed.collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Debug for Signer {
    /// How many secrets, and nothing of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({} secrets)", self.0.len())
    }
}

fn key(secret: &SecretString, position: usize) -> Result<Hmac<Sha256>, SecretError> {
    let text = secret.expose_secret().strip_prefix(PREFIX);
    let text = text.ok_or(SecretError::NoPrefix { position })?;
    let bytes = STANDARD
        .decode(text)
        .map_err(|_| SecretError::NotBase64 { position })?;
    if !KEY_BYTES.contains(&bytes.len()) {
        return Err(SecretError::Length { position });
    }
    Hmac::new_from_slice(&bytes).map_err(|_| SecretError::Length { position })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "whsec_dG9sbGdhdGUtc3RhbmRhcmQtd2ViaG9va3Mtb25lISE=";
    const SECOND: &str = "whsec_dG9sbGdhdGUtc3RhbmRhcmQtd2ViaG9va3MtdHdvISE=";
    const ID: &str = "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W";
    const BODY: &str = r#"{"type":"charge.paid","timestamp":"2023-01-19T00:13:51Z","data":{"note":"10 €"}}"#;

    /// Made with the npm package standardwebhooks 1.1.1: `new Webhook(secret).sign(id, new Date(1674087231000), body)`.
    const FIRST_SIGNED: &str = "v1,FH7brC+WMILccBLLiWXrGXx1hvbfCinZEZmMiP0F2rI=";
    const SECOND_SIGNED: &str = "v1,Gj1GOp/ORW7nNJXCpXVwqZUYJJh1/d9PHxJyS9uPdKU=";

    fn signer(secrets: &[&str]) -> Result<Signer, SecretError> {
        let secrets: Vec<_> = secrets.iter().map(|text| SecretString::from(*text)).collect();
        Signer::new(&secrets)
    }

    #[test]
    fn the_official_library_and_we_agree() {
        for (secret, signed) in [(FIRST, FIRST_SIGNED), (SECOND, SECOND_SIGNED)] {
            let signature = signer(&[secret])
                .unwrap()
                .sign(ID, 1_674_087_231, BODY.as_bytes());
            assert_eq!(signature, signed);
        }
    }

    #[test]
    fn during_a_rotation_every_secret_signs() {
        let signature = signer(&[FIRST, SECOND])
            .unwrap()
            .sign(ID, 1_674_087_231, BODY.as_bytes());
        assert_eq!(signature, format!("{FIRST_SIGNED} {SECOND_SIGNED}"));
    }

    #[test]
    fn what_cannot_sign_is_refused_by_its_place_and_not_repeated() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        for (secret, error) in [
            ("hunter2", SecretError::NoPrefix { position: 2 }),
            ("whsec_hunter2!", SecretError::NotBase64 { position: 2 }),
            (&short, SecretError::Length { position: 2 }),
            (&long, SecretError::Length { position: 2 }),
        ] {
            let refused = signer(&[FIRST, secret]).unwrap_err();
            assert_eq!(refused, error);
            assert!(!refused.to_string().contains("hunter2"));
        }
        assert_eq!(signer(&[]).unwrap_err(), SecretError::None);
        assert_eq!(format!("{:?}", signer(&[FIRST]).unwrap()), "Signer(1 secrets)");
    }
}
