//! A published set of keys (JWKS, RFC 7517): which of them may verify a token. A key's kind decides its algorithm; what a
//! token's header says only chooses among them. Symmetric keys in a set are public, so they are none.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

use crate::config::KeyAlgorithm;

/// The most keys of a set.
const MAX_KEYS: usize = 64;

/// The longest name of a key, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Why a text is not a set of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is not JSON, or not an object with a list of keys.
    #[error("is not a JWKS: a JSON object with a list of keys")]
    NotASet,
    /// It holds more keys than anybody needs.
    #[error("holds more than {MAX_KEYS} keys")]
    TooMany,
    /// Nothing in it verifies tokens.
    #[error("holds no key for RS256, ES256 or EdDSA")]
    Empty,
    /// A name and an algorithm stand for two keys.
    #[error("names two keys of one algorithm alike")]
    Ambiguous,
}

/// Keys that may verify tokens.
#[derive(Clone, Default)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Clone)]
struct Key {
    name: Option<String>,
    algorithm: KeyAlgorithm,
    verifies: DecodingKey,
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({} keys)", self.0.len())
    }
}

#[derive(Deserialize)]
struct Written {
    /// Read one by one: a key of a kind that is not known yet is no reason to refuse the others.
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set; keys that cannot verify are passed over.
    pub(super) fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        let Written { keys } = serde_json::from_slice(text).map_err(|_| KeySetError::NotASet)?;
        if keys.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let mut set: Vec<Key> = Vec::new();
        for key in keys.into_iter().filter_map(Key::read) {
            let alike = |other: &Key| (&other.name, other.algorithm) == (&key.name, key.algorithm);
            if set.iter().any(alike) {
                return Err(KeySetError::Ambiguous);
            }
            set.push(key);
        }
        if set.is_empty() {
            return Err(KeySetError::Empty);
        }
        Ok(Self(set))
    }

    /// The key that a token's header asks for: by its name, or without one the only key of the algorithm.
    pub(super) fn find(&self, name: Option<&str>, algorithm: KeyAlgorithm) -> Option<&DecodingKey> {
        let mut fitting = self.0.iter().filter(|key| key.algorithm == algorithm);
        match name {
            Some(name) => fitting.find(|key| key.name.as_deref() == Some(name)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
        .map(|key| &key.verifies)
    }
}

impl Key {
    fn read(written: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(written).ok()?;
        let (algorithm, key) = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => (KeyAlgorithm::Rs256, rsa_key(&rsa.n, &rsa.e)?),
            AlgorithmParameters::EllipticCurve(point) if point.curve == EllipticCurve::P256 => {
                let key = DecodingKey::from_ec_components(&point.x, &point.y).ok()?;
                (KeyAlgorithm::Es256, key)
            }
            AlgorithmParameters::OctetKeyPair(point) if point.curve == EllipticCurve::Ed25519 => {
                let key = DecodingKey::from_ed_components(&point.x).ok()?;
                (KeyAlgorithm::EdDsa, key)
            }
            _ => return None,
        };
        let common = jwk.common;
        let signs = common
            .public_key_use
            .is_none_or(|usage| usage == PublicKeyUse::Signature);
        let operations = common.key_operations;
        let may_verify = operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        let meant = Algorithm::from(algorithm).into();
        let is_for_it = common.key_algorithm.is_none_or(|named| named == meant);
        let name = common.key_id;
        let is_short = name.as_ref().is_none_or(|name| name.len() <= MAX_NAME_BYTES);
        let usable = signs && may_verify && is_for_it && is_short;
        usable.then_some(Self {
            name,
            algorithm,
            verifies: key,
        })
    }
}

/// ring refuses numbers with leading zeros, which some publish.
fn rsa_key(modulus: &str, exponent: &str) -> Option<DecodingKey> {
    let number = |text: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes.get(zeros..).map(<[u8]>::to_vec)
    };
    let (modulus, exponent) = (number(modulus)?, number(exponent)?);
    Some(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
}

impl From<KeyAlgorithm> for Algorithm {
    fn from(algorithm: KeyAlgorithm) -> Self {
        match algorithm {
            KeyAlgorithm::Rs256 => Self::RS256,
            KeyAlgorithm::Es256 => Self::ES256,
            KeyAlgorithm::EdDsa => Self::EdDSA,
        }
    }
}
