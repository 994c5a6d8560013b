//! Requests that may be sent twice: the answer is remembered in the transaction of its effect.

use sha2::{Digest, Sha256};

use super::work::Work;
use super::EngineError;
use crate::store::{self, Remembered};

/// How long an answer is remembered, in milliseconds: a day.
const REMEMBERED_FOR_MS: i64 = 24 * 60 * 60 * 1000;

/// A request's idempotency key.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// Whose key it is, and for which route: keys of different callers never meet.
    pub scope: String,
    /// The key that the caller chose.
    pub key: String,
    /// SHA-256 of the request.
    pub fingerprint: [u8; 32],
}

impl Idempotency {
    /// The key of a request with this body.
    #[must_use]
    pub fn new(scope: String, key: String, body: &[u8]) -> Self {
        Self { scope, key, fingerprint: Sha256::digest(body).into() }
    }
}

/// An answer, with whether it is one that was given before.
#[derive(Debug, Clone)]
pub struct Idempotent {
    /// The body of the answer.
    pub answer: serde_json::Value,
    /// Whether it was given before.
    pub replayed: bool,
}

/// The answer that was given to this request before, if it was.
pub(super) async fn recall(
    work: &mut Work<'_>,
    idempotency: Option<&Idempotency>,
) -> Result<Option<Idempotent>, EngineError> {
    let Some(Idempotency { scope, key, fingerprint }) = idempotency else { return Ok(None) };
    match store::remembered_answer(work.tx.conn(), scope, key).await? {
        None => Ok(None),
        Some(known) if known.fingerprint == fingerprint => {
            let answer = serde_json::from_str(&known.answer).unwrap_or_default();
            Ok(Some(Idempotent { answer, replayed: true }))
        }
        Some(_) => Err(EngineError::KeyReused),
    }
}

/// Remembers the answer that is given now.
pub(super) async fn remember(
    work: &mut Work<'_>,
    idempotency: Option<&Idempotency>,
    answer: serde_json::Value,
) -> Result<Idempotent, EngineError> {
    if let Some(Idempotency { scope, key, fingerprint }) = idempotency {
        let remembered = Remembered { fingerprint: fingerprint.to_vec(), answer: answer.to_string() };
        let times = (work.now, work.now - REMEMBERED_FOR_MS);
        work.tx.remember_answer((scope, key), &remembered, times).await?;
    }
    Ok(Idempotent { answer, replayed: false })
}
