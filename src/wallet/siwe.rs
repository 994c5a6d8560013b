//! Sign-In with Ethereum (EIP-4361) for plain keys: the message is ours in every field, and the key of its address signed it.
//!
//! Owns the comparison with what we asked for; the grammar is the `signinwithethereum` crate's. The signature is checked on the
//! message as it came, never on one that was written again. Must not say that a contract wallet's signature is invalid: only
//! its contract can ([`SiweError::NotThisKey`]).

use std::time::Duration;

use alloy::primitives::{Address, Signature, eip191_hash_message};
use signinwithethereum::{Message, TimeStamp};

use crate::domain::{ChainId, Millis};

/// The longest message that is read, in bytes.
const MAX_MESSAGE_BYTES: usize = 4096;
/// r, s and v (EIP-191, yellow paper appendix F).
const SIGNATURE_BYTES: usize = 65;
/// How far a wallet's clock may be ahead of ours, in milliseconds.
const CLOCK_SKEW_MS: i64 = 60_000;

/// What we asked the user to sign.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The authority, such as `chat.example.org`; compared byte by byte.
    pub domain: &'a str,
    /// The URI; compared byte by byte.
    pub uri: &'a str,
    /// The chains that a message may name.
    pub chains: &'a [ChainId],
    /// The nonce that was issued to this user. That it is still good, and is spent now, is the caller's to see to.
    pub nonce: &'a str,
    /// How long a nonce lives: a message issued longer ago than this is too old.
    pub nonce_lifetime: Duration,
    /// The time.
    pub now: Millis,
}

/// Why a message proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiweError {
    /// Longer than any honest one.
    #[error("the message is longer than {MAX_MESSAGE_BYTES} bytes")]
    MessageTooLong,
    /// Not an EIP-4361 message.
    #[error("the message is not a Sign-In with Ethereum message (EIP-4361)")]
    Malformed,
    /// Made for another site: the sign of phishing.
    #[error("the message is for another domain")]
    WrongDomain,
    /// For another resource of ours, or of someone else.
    #[error("the message is for another URI")]
    WrongUri,
    /// Names a chain that we do not serve.
    #[error("the message names chain {0}, which is not served here")]
    WrongChain(ChainId),
    /// Not the nonce that this user was given.
    #[error("the message has another nonce than the one that was issued")]
    WrongNonce,
    /// Issued more than a minute ahead of our clock.
    #[error("the message was issued in the future")]
    IssuedInFuture,
    /// Issued longer ago than a nonce lives.
    #[error("the message was issued too long ago")]
    TooOld,
    /// Its own expiration time has come.
    #[error("the message has expired")]
    Expired,
    /// Its own not-before time has not come.
    #[error("the message is not valid yet")]
    NotYetValid,
    /// Not 0x and hexadecimal digits.
    #[error("the signature is not hexadecimal")]
    SignatureNotHex,
    /// Not 65 bytes: no plain key's signature; a contract wallet's may have any length.
    #[error("the signature of a plain key has {SIGNATURE_BYTES} bytes")]
    SignatureLength,
    /// `v` is none of 27, 28, 0 and 1.
    #[error("the signature's recovery id is none of 27, 28, 0 and 1")]
    RecoveryId,
    /// `s` in the upper half of the order (EIP-2): the same signature a second time, in other bytes.
    #[error("the signature's s is in the upper half of the curve's order")]
    HighS,
    /// Some other key signed, or another message was signed, or the address is a contract's.
    #[error("the address's own key did not sign this message")]
    NotThisKey,
}

/// The nonce in `message`, to find whom it was issued to. Nothing is proven by it.
///
/// # Errors
/// A message that is too long or not EIP-4361.
pub fn nonce_of(message: &str) -> Result<String, SiweError> {
    parse(message).map(|message| message.nonce)
}

/// Checks that `message` is what we asked for, and that the plain key of its address signed it. `signature` is hexadecimal,
/// with or without 0x. Returns the address.
///
/// # Errors
/// The first thing that does not hold; the signature is judged last.
pub fn verify(message: &str, signature: &str, expected: &Expected<'_>) -> Result<Address, SiweError> {
    let asked = parse(message)?;
    check_fields(&asked, expected)?;
    check_times(&asked, expected)?;
    let signer = recover(message, signature)?;
    let address = Address::from(asked.address);
    if signer == Some(address) {
        Ok(address)
    } else {
        Err(SiweError::NotThisKey)
    }
}

fn parse(message: &str) -> Result<Message, SiweError> {
    if message.len() > MAX_MESSAGE_BYTES {
        return Err(SiweError::MessageTooLong);
    }
    message.parse().map_err(|_| SiweError::Malformed)
}

fn check_fields(asked: &Message, expected: &Expected<'_>) -> Result<(), SiweError> {
    // As text: the parsed authority compares without regard to case.
    if asked.domain.as_str() != expected.domain {
        return Err(SiweError::WrongDomain);
    }
    // A scheme before the domain is optional, and must not say otherwise than the URI.
    let scheme = expected.uri.split_once(':').map(|(scheme, _)| scheme);
    if asked.scheme.is_some() && asked.scheme.as_deref() != scheme {
        return Err(SiweError::WrongDomain);
    }
    if asked.uri.as_str() != expected.uri {
        return Err(SiweError::WrongUri);
    }
    let chain = ChainId(asked.chain_id);
    if !expected.chains.contains(&chain) {
        return Err(SiweError::WrongChain(chain));
    }
    if asked.nonce != expected.nonce {
        return Err(SiweError::WrongNonce);
    }
    Ok(())
}

fn check_times(asked: &Message, expected: &Expected<'_>) -> Result<(), SiweError> {
    let now = expected.now;
    let issued_at = milliseconds(&asked.issued_at);
    if issued_at > now.saturating_add(CLOCK_SKEW_MS) {
        return Err(SiweError::IssuedInFuture);
    }
    if i128::from(now) - i128::from(issued_at) > lifetime_ms(expected.nonce_lifetime) {
        return Err(SiweError::TooOld);
    }
    if asked
        .expiration_time
        .as_ref()
        .is_some_and(|end| milliseconds(end) <= now)
    {
        return Err(SiweError::Expired);
    }
    if asked
        .not_before
        .as_ref()
        .is_some_and(|start| milliseconds(start) > now)
    {
        return Err(SiweError::NotYetValid);
    }
    Ok(())
}

/// RFC 3339 years are 0 to 9999, so milliseconds always fit.
fn milliseconds(instant: &TimeStamp) -> Millis {
    let instant = instant.as_ref();
    instant.unix_timestamp().saturating_mul(1000) + i64::from(instant.millisecond())
}

fn lifetime_ms(lifetime: Duration) -> i128 {
    i128::try_from(lifetime.as_millis()).unwrap_or(i128::MAX)
}

/// The signer by EIP-191 recovery; none where no key can have made the signature.
fn recover(message: &str, signature: &str) -> Result<Option<Address>, SiweError> {
    let digits = signature.strip_prefix("0x").unwrap_or(signature);
    if digits.len() > 2 * SIGNATURE_BYTES {
        return Err(SiweError::SignatureLength);
    }
    let bytes = hex::decode(digits).map_err(|_| SiweError::SignatureNotHex)?;
    let bytes: [u8; SIGNATURE_BYTES] = bytes.try_into().map_err(|_| SiweError::SignatureLength)?;
    let parity = match bytes[SIGNATURE_BYTES - 1] {
        0 | 27 => false,
        1 | 28 => true,
        _ => return Err(SiweError::RecoveryId),
    };
    let signature = Signature::from_bytes_and_parity(&bytes[..SIGNATURE_BYTES - 1], parity);
    if signature.normalize_s().is_some() {
        return Err(SiweError::HighS);
    }
    let hash = eip191_hash_message(message.as_bytes());
    Ok(signature.recover_address_from_prehash(&hash).ok())
}

#[cfg(test)]
mod tests;
