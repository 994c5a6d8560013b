//! What the engine is told: at start, and again while it runs. A command sees one telling of it, from its transaction's
//! beginning to its end.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use super::chain_state::ChainState;
use super::{Engine, EngineError, Inner};
use crate::config;
use crate::domain::ChainId;
use crate::ledger::AcceptedMoney;

/// What the engine is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The chains.
    pub chains: Vec<config::Chain>,
    /// How charges behave.
    pub payments: config::Payments,
    /// How wallets are proven.
    pub wallets: config::Wallets,
    /// The names of those who are told of events.
    pub webhooks: Vec<String>,
    /// Where payers reach the checkout page, without a slash at its end.
    pub public_url: Option<String>,
}

impl Settings {
    pub(super) fn chain(&self, chain: ChainId) -> Result<&config::Chain, EngineError> {
        let found = self.chains.iter().find(|candidate| candidate.id == chain);
        found.ok_or_else(|| EngineError::unknown_chain(chain))
    }

    /// What counts as money on a chain, where anything does.
    #[must_use]
    pub fn money(&self, chain: &config::Chain) -> Option<AcceptedMoney> {
        let treasury = chain.treasury?;
        Some(AcceptedMoney {
            treasury,
            ours: self.chains.iter().filter_map(|chain| chain.treasury).collect(),
            tokens: chain.tokens.clone(),
            others: chain.other_tokens.clone(),
        })
    }
}

/// What keeps commands about one chain in order. Only chains that are, or were, configured have one.
#[derive(Debug, Default)]
pub(super) struct ChainLocks(Mutex<HashMap<ChainId, Arc<tokio::sync::Mutex<()>>>>);

impl ChainLocks {
    pub(super) async fn lock(&self, chain: ChainId) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(locks.entry(chain).or_default())
        };
        lock.lock_owned().await
    }
}

impl Engine {
    /// Goes by other settings from now on. The tasks of chains that change or go must have ended: what they left under way is
    /// waited for. A new chain is answered of as it is stored; one that goes is answered of no more, and its rows stay.
    ///
    /// # Errors
    /// The database fails; then nothing has changed.
    pub async fn reconfigure(&self, settings: Settings) -> Result<(), EngineError> {
        let inner = &self.inner;
        let ids = |settings: &Settings| -> BTreeSet<ChainId> {
            settings.chains.iter().map(|chain| chain.id).collect()
        };
        let (before, after) = (ids(&inner.settings()), ids(&settings));
        let mut order = Vec::new();
        for chain in before.union(&after) {
            order.push(inner.chain_locks.lock(*chain).await);
        }
        let mut loaded = Vec::new();
        let mut snapshot = inner.store.begin_read().await?;
        for chain in after.difference(&before) {
            loaded.push((*chain, ChainState::load(&mut snapshot, *chain).await?));
        }
        inner.answers.set_chains(&after, loaded);
        *inner.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        Ok(())
    }
}

impl Inner {
    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read().unwrap_or_else(PoisonError::into_inner))
    }
}
