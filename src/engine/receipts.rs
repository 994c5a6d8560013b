//! The keys that receipts are signed by: made when the first receipt is asked for, and replaced when an operator says so.

use std::sync::Arc;

use alloy::primitives::B256;
use serde_json::json;
use sqlx::AnyConnection;

use super::answers::Change;
use super::work::{Command, Origin, Work};
use super::{Engine, EngineError};
use crate::domain::Millis;
use crate::jwt::{PublicKey, Signer};
use crate::store::{self, ReceiptKey, StoreError};

/// How long a key that signs no more is still published: longer than any receipt lives.
const PUBLISHED_FOR_MS: Millis = 2 * 60 * 60 * 1000;

/// The keys, newest first, each with when it was retired.
#[derive(Debug, Default)]
pub(super) struct ReceiptKeys(Vec<(Arc<Signer>, Option<Millis>)>);

impl ReceiptKeys {
    pub(super) async fn load(conn: &mut AnyConnection) -> Result<Self, StoreError> {
        let signer = |key: ReceiptKey| {
            let signer = Signer::new(&key.seed.0).ok_or(StoreError::Corrupt {
                column: "seed",
                expected: "the seed of a key",
            })?;
            Ok((Arc::new(signer), key.retired_at))
        };
        let keys = store::receipt_keys(conn).await?;
        keys.into_iter()
            .map(signer)
            .collect::<Result<_, StoreError>>()
            .map(Self)
    }

    /// The key that signs.
    pub(super) fn current(&self) -> Option<Arc<Signer>> {
        let mut signing = self.0.iter().filter(|(_, retired_at)| retired_at.is_none());
        signing.next().map(|(signer, _)| Arc::clone(signer))
    }

    fn published(&self, now: Millis) -> Vec<PublicKey> {
        let is_published = |retired_at: Option<Millis>| {
            retired_at.is_none_or(|at| now.saturating_sub(at) < PUBLISHED_FOR_MS)
        };
        let published = self.0.iter().filter(|(_, retired_at)| is_published(*retired_at));
        published.map(|(signer, _)| signer.public().clone()).collect()
    }
}

impl Engine {
    /// The key that receipts are signed by; the first is made when it is asked for.
    ///
    /// # Errors
    /// The database fails.
    pub async fn receipt_signer(&self) -> Result<Arc<Signer>, EngineError> {
        match self.inner.answers.receipt_keys().current() {
            Some(signer) => Ok(signer),
            None => self.execute(MakeReceiptKey::First).await,
        }
    }

    /// The keys that may have signed a receipt which is still good, newest first.
    #[must_use]
    pub fn receipt_keys(&self) -> Vec<PublicKey> {
        let now = self.inner.clock.now_ms();
        self.inner.answers.receipt_keys().published(now)
    }
}

/// Makes a key that signs receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MakeReceiptKey {
    /// Unless there is one.
    First,
    /// In place of the one there is, which verifies until its receipts have ended.
    Next,
    /// In place of all there are: what they signed is believed no more.
    Only,
}

impl Command for MakeReceiptKey {
    type Output = Arc<Signer>;

    fn origin(&self) -> Origin {
        let (actor, cause) = match self {
            Self::First => ("receipts", "the first receipt"),
            Self::Next => ("operator", "keys rotate-receipts"),
            Self::Only => ("operator", "keys rotate-receipts --revoke"),
        };
        Origin {
            actor: actor.to_owned(),
            cause: cause.to_owned(),
        }
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<Arc<Signer>, EngineError> {
        let before = ReceiptKeys::load(work.tx.conn()).await?.current();
        if let (Self::First, Some(signer)) = (self, &before) {
            return Ok(Arc::clone(signer));
        }
        let forget_until = match self {
            Self::First | Self::Next => work.now.saturating_sub(PUBLISHED_FOR_MS),
            Self::Only => work.now,
        };
        work.tx.retire_receipt_keys(work.now, forget_until).await?;
        let mut seed = B256::ZERO;
        getrandom::fill(seed.as_mut_slice()).map_err(|_| EngineError::NoRandomness)?;
        let signer = Signer::new(&seed.0).ok_or(EngineError::NoRandomness)?;
        let key = ReceiptKey {
            kid: signer.kid().to_owned(),
            seed,
            created_at: work.now,
            retired_at: None,
        };
        work.tx.insert_receipt_key(&key).await?;
        let before = before.map(|signer| json!({"kid": signer.kid()}));
        let subject = format!("receipt_key:{}", key.kid);
        work.audit(
            "receipt_key.create",
            subject,
            (before, Some(json!({"kid": key.kid}))),
        )
        .await?;
        let keys = ReceiptKeys::load(work.tx.conn()).await?;
        work.publish(Change::ReceiptKeys(keys));
        Ok(Arc::new(signer))
    }
}
