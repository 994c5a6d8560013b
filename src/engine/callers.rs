//! API keys: made once, stored as a hash, remembered briefly.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::work::{Command, Origin, Work};
use super::{Engine, EngineError, random_id};
use crate::domain::Millis;
use crate::store::{self, ApiKey};

/// A key that was revoked elsewhere is refused after at most this long, in milliseconds.
const RECHECK_MS: i64 = 10_000;

/// Keys that are remembered at once.
const MAX_REMEMBERED: usize = 10_000;

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Ask: plan checks, gate checks, subscriptions.
    Check,
    /// Charge tenants.
    Billing,
    /// Change gates and link wallets.
    Gates,
    /// Everything, and the operators' endpoints.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Check, Self::Billing, Self::Gates, Self::Admin];

    /// The word in `tollgate keys create --scopes`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Billing => "billing",
            Self::Gates => "gates",
            Self::Admin => "admin",
        }
    }

    /// The scope of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// A caller that showed a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Names the key in the audit.
    pub key_id: String,
    scopes: Vec<Scope>,
}

impl Caller {
    /// Whether it may do what needs `scope`.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }
}

/// Keys that were looked up lately. Unknown keys are not remembered, so that guesses cannot push out real ones.
#[derive(Debug, Default)]
pub(super) struct KeyRing(Mutex<HashMap<[u8; 32], (Caller, Millis)>>);

impl KeyRing {
    fn recall(&self, hash: &[u8; 32], now: Millis) -> Option<Caller> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (caller, checked_at) = known.get(hash)?;
        (now.saturating_sub(*checked_at) < RECHECK_MS).then(|| caller.clone())
    }

    fn remember(&self, hash: [u8; 32], caller: Option<Caller>, now: Millis) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        match caller {
            Some(caller) => known.insert(hash, (caller, now)),
            None => known.remove(&hash),
        };
    }
}

impl Engine {
    /// Whose key this is, if it is one that is not revoked.
    ///
    /// # Errors
    /// The database fails.
    pub async fn caller(&self, key: &str) -> Result<Option<Caller>, EngineError> {
        let hash: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let now = self.inner.clock.now_ms();
        if let Some(caller) = self.inner.keys.recall(&hash, now) {
            return Ok(Some(caller));
        }
        let mut conn = self.inner.store.read().await?;
        let found = store::api_key_by_hash(&mut conn, &hash).await?;
        let live = found.filter(|key| key.revoked_at.is_none());
        let caller = live.map(|key| Caller {
            scopes: key.scopes.split(' ').filter_map(Scope::parse).collect(),
            key_id: key.id,
        });
        self.inner.keys.remember(hash, caller.clone(), now);
        Ok(caller)
    }

    /// Every key, without what it would take to use one.
    ///
    /// # Errors
    /// The database fails.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, EngineError> {
        let mut conn = self.inner.store.read().await?;
        Ok(store::api_keys(&mut conn).await?)
    }
}

/// Makes a key.
#[derive(Debug, Clone)]
pub struct CreateKey {
    /// For people.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
}

/// A key that was just made. It is shown once.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Names it in the audit.
    pub id: String,
    /// The key.
    pub key: String,
}

impl Command for CreateKey {
    type Output = NewKey;

    fn origin(&self) -> Origin {
        Origin { actor: "operator".to_owned(), cause: "keys create".to_owned() }
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<NewKey, EngineError> {
        let id = random_id("key_")?;
        let mut secret = [0_u8; 32];
        getrandom::fill(&mut secret).map_err(|_| EngineError::NoRandomness)?;
        let key = format!("tg_{}", hex::encode(secret));
        let words: Vec<&str> = self.scopes.iter().map(|scope| scope.as_str()).collect();
        let row = ApiKey {
            id: id.clone(),
            hash: Sha256::digest(key.as_bytes()).to_vec(),
            name: self.name.clone(),
            scopes: words.join(" "),
            created_at: work.now,
            revoked_at: None,
        };
        work.tx.insert_api_key(&row).await?;
        let after = json!({"name": row.name, "scopes": words});
        work.audit("key.create", format!("key:{id}"), (None, Some(after))).await?;
        Ok(NewKey { id, key })
    }
}

/// Revokes a key.
#[derive(Debug, Clone)]
pub struct RevokeKey {
    /// The key's id.
    pub id: String,
}

impl Command for RevokeKey {
    type Output = ();

    fn origin(&self) -> Origin {
        Origin { actor: "operator".to_owned(), cause: "keys revoke".to_owned() }
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        let now = work.now;
        if !work.tx.revoke_api_key(&self.id, now).await? {
            return Err(EngineError::NotFound("key"));
        }
        work.audit("key.revoke", format!("key:{}", self.id), (None, None)).await
    }
}
