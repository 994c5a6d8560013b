//! Tokens of the chat product's end users (JWT, RFC 7519): who signed one, and whom it stands for.
//!
//! Owns: which key may verify what, what must be claimed, the published keys that are in use, and how receipts of our own are
//! signed. An algorithm is believed
//! only where a key of its kind is configured: HS256 by a secret, RS256, ES256 and `EdDSA` by a published key; what a token
//! says of its own keys is not read. It must not fetch (the job `jwks` does), know what a role may do, or let a token, a
//! secret or a claim into an error.

mod claims;
mod keys;
mod published;
mod receipt;
mod signature;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use secrecy::ExposeSecret as _;

pub use keys::KeySetError;
pub use published::Published;
pub use receipt::{PublicKey, Signer};

use crate::config::{Jwks, Jwt, KeyAlgorithm};
use crate::domain::{Millis, Role, TenantId, UserId};
use claims::Claims;
use keys::KeySet;

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Whom a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its tenant.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// What it may do there.
    pub role: Role,
}

/// Why a token does not stand for anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Too long, not a token, or of a form that is not accepted.
    #[error("it is not a token that is accepted")]
    Form,
    /// No key of ours verifies it.
    #[error("no key verifies it")]
    Signature,
    /// Its time is over.
    #[error("its time is over")]
    Expired,
    /// Its time has not begun.
    #[error("its time has not begun")]
    NotYet,
    /// It is for somebody else.
    #[error("it is for another audience")]
    Audience,
    /// Somebody else issued it.
    #[error("it is of another issuer")]
    Issuer,
    /// A claim is missing or is not what it must be.
    #[error("its {0} is missing or cannot be")]
    Claim(&'static str),
    /// The published keys could not be fetched, or not for too long.
    #[error("the published keys cannot be had")]
    NoKeys,
}

impl TokenError {
    /// The word for it in metrics.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYet => "early",
            Self::Audience => "audience",
            Self::Issuer => "issuer",
            Self::Claim(_) => "claim",
            Self::NoKeys => "keyless",
        }
    }
}

/// Says whom tokens stand for.
#[derive(Debug)]
pub struct Verifier {
    settings: Jwt,
    secrets: Vec<DecodingKey>,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    None,
    Fixed(KeySet),
    Published(Arc<Published>),
}

impl Verifier {
    /// A verifier by these settings. `published` is what the job `jwks` keeps up to date, where the settings name a URL.
    ///
    /// # Errors
    /// The file of keys holds none.
    pub fn new(settings: Jwt, published: Option<Arc<Published>>) -> Result<Self, KeySetError> {
        signature::install();
        let secrets = settings.hs256_secrets.iter();
        let secrets = secrets.map(|secret| DecodingKey::from_secret(secret.expose_secret().as_bytes()));
        let keys = match (&settings.jwks, published) {
            (Some(Jwks::File(text)), _) => Keys::Fixed(KeySet::parse(text.expose_secret().as_bytes())?),
            (Some(Jwks::Url(_)), Some(published)) => Keys::Published(published),
            _ => Keys::None,
        };
        Ok(Self {
            secrets: secrets.collect(),
            settings,
            keys,
        })
    }

    /// Requests per second and user.
    #[must_use]
    pub fn requests_per_second(&self) -> u32 {
        self.settings.requests_per_second
    }

    /// Whom `token` stands for at `now`.
    ///
    /// Waits at most a few seconds, and only where the token names a key that is not known: it may be a new one.
    ///
    /// # Errors
    /// Any [`TokenError`].
    pub async fn verify(&self, token: &str, now: Millis) -> Result<User, TokenError> {
        let header = header(token)?;
        let claims = match header.alg {
            Algorithm::HS256 => {
                let verified = self
                    .secrets
                    .iter()
                    .find_map(|key| verified(token, key, header.alg));
                verified.ok_or(TokenError::Signature)?
            }
            asked => {
                let allowed = self.settings.algorithms.iter();
                let mut allowed = allowed.filter(|known| Algorithm::from(**known) == asked);
                let algorithm = allowed.next().ok_or(TokenError::Signature)?;
                let key = self.key(header.kid.as_deref(), *algorithm, now).await?;
                verified(token, &key, asked).ok_or(TokenError::Signature)?
            }
        };
        claims::judge(&claims, &self.settings, now)
    }

    async fn key(
        &self,
        name: Option<&str>,
        algorithm: KeyAlgorithm,
        now: Millis,
    ) -> Result<DecodingKey, TokenError> {
        match &self.keys {
            Keys::None => Err(TokenError::Signature),
            Keys::Fixed(set) => set.find(name, algorithm).cloned().ok_or(TokenError::Signature),
            Keys::Published(published) => published.find(name, algorithm, now).await,
        }
    }
}

/// The header of a token whose form is accepted. Nothing of it is proven.
fn header(token: &str) -> Result<Header, TokenError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::Form);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Form)?;
    // Other kinds of tokens of the same issuer, such as for logging out, are not for showing who asks (RFC 8725, 3.11).
    let kind = header.typ.as_deref().map(str::to_ascii_lowercase);
    let is_for_access = matches!(kind.as_deref(), None | Some("jwt" | "at+jwt"));
    // What must be understood is not (RFC 7515, 4.1.11).
    if !is_for_access || header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
        return Err(TokenError::Form);
    }
    Ok(header)
}

/// The claims, if this key signed them.
fn verified(token: &str, key: &DecodingKey, algorithm: Algorithm) -> Option<Claims> {
    let mut signature_only = Validation::new(algorithm);
    signature_only.required_spec_claims.clear();
    signature_only.validate_exp = false;
    signature_only.validate_aud = false;
    let decoded = jsonwebtoken::decode::<Claims>(token, key, &signature_only);
    decoded.ok().map(|decoded| decoded.claims)
}
