//! The token that a request to Coinbase carries: a JWT over the request's method, host and path, for two minutes
//! (<https://docs.cdp.coinbase.com/coinbase-business/authentication-authorization/api-key-authentication>).
//!
//! A key is Ed25519 (64 bytes in base64: the seed and its public key) or ECDSA on P-256 (PEM, SEC 1 or PKCS #8), as the
//! provider hands it out.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::domain::Millis;

/// How long a token may be used, in seconds; the provider takes no more.
const LIFETIME_S: i64 = 120;

/// `ECPrivateKey` (RFC 5915) for P-256 with its public key, up to and from the private key on, and up to the public one.
const SEC1_BEFORE_PRIVATE: [u8; 7] = [0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20];
const SEC1_BEFORE_PUBLIC: [u8; 17] = [
    0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0xa1, 0x44, 0x03, 0x42, 0x00,
];
const P256_PRIVATE_BYTES: usize = 32;
const ED25519_SEED_BYTES: usize = 32;
const ED25519_PUBLIC_BYTES: usize = 32;

/// Why a secret is not a key. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Neither of the two forms.
    #[error("must be an Ed25519 key in base64, or an ECDSA key on P-256 in PEM, as the provider gave it")]
    Form,
    /// The public key is not of the private one.
    #[error("its two halves do not belong together: copy it again from its source")]
    Halves,
    /// The system gives no randomness to sign with.
    #[error("could not be used: the system gives no randomness")]
    Randomness,
}

/// What signs requests.
pub(super) struct Signer {
    key_id: String,
    key: Key,
}

enum Key {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Signer {
    pub(super) fn new(key_id: &str, secret: &SecretString) -> Result<Self, KeyError> {
        let secret = secret.expose_secret().replace("\\n", "\n");
        let key = match pem(&secret)? {
            Some(der) => Key::P256(p256(&der)?),
            None => Key::Ed25519(ed25519(&secret)?),
        };
        Ok(Self {
            key_id: key_id.to_owned(),
            key,
        })
    }

    /// A token for one request, `POST business.coinbase.com/api/v1/checkouts` for instance. `nonce` is random.
    pub(super) fn token(&self, request: &str, nonce: [u8; 16], now: Millis) -> Result<String, KeyError> {
        let now_s = now.div_euclid(1000);
        let algorithm = match self.key {
            Key::Ed25519(_) => "EdDSA",
            Key::P256(_) => "ES256",
        };
        let header = json!({"alg": algorithm, "kid": self.key_id, "nonce": hex::encode(nonce), "typ": "JWT"});
        let claims = json!({
            "exp": now_s + LIFETIME_S,
            "iss": "cdp",
            "nbf": now_s,
            "sub": self.key_id,
            "uri": request,
        });
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = format!("{header}.{claims}");
        let signature = match &self.key {
            Key::Ed25519(key) => URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes())),
            Key::P256(key) => {
                let signed = key.sign(&SystemRandom::new(), message.as_bytes());
                URL_SAFE_NO_PAD.encode(signed.map_err(|_| KeyError::Randomness)?)
            }
        };
        Ok(format!("{message}.{signature}"))
    }
}

/// The bytes of a PEM block; nothing where it is no PEM.
fn pem(text: &str) -> Result<Option<Vec<u8>>, KeyError> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if !lines.clone().any(|line| line.starts_with("-----BEGIN")) {
        return Ok(None);
    }
    let is_private =
        |line: &str| ["-----BEGIN EC PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----"].contains(&line);
    // What openssl writes of the curve may stand before it.
    lines
        .by_ref()
        .find(|line| is_private(line))
        .ok_or(KeyError::Form)?;
    let body: String = lines.take_while(|line| !line.starts_with("-----END")).collect();
    STANDARD.decode(body).map(Some).map_err(|_| KeyError::Form)
}

fn p256(der: &[u8]) -> Result<EcdsaKeyPair, KeyError> {
    let random = SystemRandom::new();
    let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
    if let Ok(key) = EcdsaKeyPair::from_pkcs8(algorithm, der, &random) {
        return Ok(key);
    }
    let after = der.strip_prefix(&SEC1_BEFORE_PRIVATE).ok_or(KeyError::Form)?;
    let (private, after) = after.split_at_checked(P256_PRIVATE_BYTES).ok_or(KeyError::Form)?;
    let public = after.strip_prefix(&SEC1_BEFORE_PUBLIC).ok_or(KeyError::Form)?;
    EcdsaKeyPair::from_private_key_and_public_key(algorithm, private, public, &random)
        .map_err(|_| KeyError::Halves)
}

fn ed25519(text: &str) -> Result<Ed25519KeyPair, KeyError> {
    let bytes = STANDARD.decode(text.trim()).map_err(|_| KeyError::Form)?;
    let (seed, public) = bytes
        .split_at_checked(ED25519_SEED_BYTES)
        .filter(|(_, public)| public.len() == ED25519_PUBLIC_BYTES)
        .ok_or(KeyError::Form)?;
    let key = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Form)?;
    if key.public_key().as_ref() == public {
        Ok(key)
    } else {
        Err(KeyError::Halves)
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    const REQUEST: &str = "POST business.coinbase.com/api/v1/checkouts";
    const NOW: Millis = 1_760_000_000_999;
    const NONCE: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    /// The key of seed 07…07 with its public key, and the token that node:crypto makes with it:
    /// `sign(null, header + "." + claims, createPrivateKey({key: pkcs8 of the seed, format: "der", type: "pkcs8"}))`.
    const ED25519: &str =
        "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwfqSmxj4pxSCr71UHsTLsX5lUd2rr6+e5JCHuppFEbSLA==";
    const TOKEN: &str = "eyJhbGciOiJFZERTQSIsImtpZCI6ImtleS0xIiwibm9uY2UiOiIwMDAxMDIwMzA0MDUwNjA3MDgwOTBhMGIwYzBkM\
                         GUwZiIsInR5cCI6IkpXVCJ9.eyJleHAiOjE3NjAwMDAxMjAsImlzcyI6ImNkcCIsIm5iZiI6MTc2MDAwMDAwMCwi\
                         c3ViIjoia2V5LTEiLCJ1cmkiOiJQT1NUIGJ1c2luZXNzLmNvaW5iYXNlLmNvbS9hcGkvdjEvY2hlY2tvdXRzIn0.\
                         KBY4ogh3RS8VNP-G27LGZBN2JbRDjDTrNv6Y-wuiY0J7zr1kXf99hKMlQ8h61WGf-8TR4yqIleHe0l1BwGtkBQ";

    /// One key of node's `generateKeyPairSync("ec", {namedCurve: "prime256v1"})`, for tests alone, exported both ways; and its
    /// public point.
    const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----\n\
                        MHcCAQEEICx1Uk3rbph2Ot26bBvTcKsYx28pcSm1BG+PzO6NeQ59oAoGCCqGSM49\n\
                        AwEHoUQDQgAEWkUj90mHzYKUmJTq2N3x0+FZO/eIZxTtmNuDwhtXHEoYSKjt1A0W\n\
                        +i2EgZRFgg0d3FY+pXJ9AiwI3SVcid0+xQ==\n-----END EC PRIVATE KEY-----\n";
    const PKCS8: &str = "-----BEGIN PRIVATE KEY-----\n\
                         MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgLHVSTetumHY63bps\n\
                         G9NwqxjHbylxKbUEb4/M7o15Dn2hRANCAARaRSP3SYfNgpSYlOrY3fHT4Vk794hn\n\
                         FO2Y24PCG1ccShhIqO3UDRb6LYSBlEWCDR3cVj6lcn0CLAjdJVyJ3T7F\n-----END PRIVATE KEY-----";
    const POINT: &str = "045a4523f74987cd82949894ead8ddf1d3e1593bf7886714ed98db83c21b571c4a1848a8edd40d16fa2d84819445820\
                         d1ddc563ea5727d022c08dd255c89dd3ec5";

    fn signer(secret: &str) -> Result<Signer, KeyError> {
        Signer::new("key-1", &secret.into())
    }

    #[test]
    fn nodes_crypto_and_we_make_the_same_token() {
        let token = signer(ED25519).unwrap().token(REQUEST, NONCE, NOW).unwrap();
        assert_eq!(token, TOKEN);
    }

    #[test]
    fn an_ecdsa_key_is_read_in_both_forms_and_signs() {
        let one_line = SEC1.replace('\n', "\\n");
        let after_the_curve =
            format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{SEC1}");
        for secret in [SEC1, PKCS8, &one_line, &after_the_curve] {
            let token = signer(secret).unwrap().token(REQUEST, NONCE, NOW).unwrap();
            let (message, signature) = token.rsplit_once('.').unwrap();
            assert!(message.starts_with(&URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","kid":"key-1","#)[..36]));
            let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, hex::decode(POINT).unwrap());
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            key.verify(message.as_bytes(), &signature).unwrap();
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let other_half = format!("{}{}", &ED25519[..80], "AAAAAA==");
        for (secret, error) in [
            ("", KeyError::Form),
            ("not a key", KeyError::Form),
            ("AAAA", KeyError::Form),
            (&ED25519[..44], KeyError::Form),
            (&other_half, KeyError::Halves),
            (&SEC1.replace("EC PRIVATE", "PUBLIC"), KeyError::Form),
            (&SEC1.replace("MHcC", "MHcD"), KeyError::Form),
            (
                &SEC1.replace("AwEHoUQDQgAEWkUj", "AwEHoUQDQgAEXkUj"),
                KeyError::Halves,
            ),
        ] {
            assert_eq!(signer(secret).err(), Some(error), "{secret}");
        }
    }
}
