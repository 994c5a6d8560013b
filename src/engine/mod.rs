//! The one door to the state. A command loads what it needs, asks the pure rooms, and writes everything that follows
//! (the rows, the audit, the events owed) in one transaction; then the answers in memory are brought up to it.
//!
//! Invariants: no await but the database inside a transaction; nothing is answered from memory before it is durable; a
//! caller that goes away does not interrupt its command; a transaction that lost a race runs again, from the start.

mod access;
mod answers;
mod callers;
mod chain;
mod charges;
mod deliveries;
mod error;
mod holdings;
mod idempotency;
mod inbox;
mod read;
mod settle;
mod subscriptions;
mod view;
mod work;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use crate::billing::Catalogue;
use crate::clock::Clock;
use crate::config;
use crate::domain::{ChainId, Token};
use crate::ledger::AcceptedMoney;
use crate::store::{Store, StoreError};

pub use access::{CreateGate, DeleteGate, IssueNonce, IssuedNonce, LinkWallet};
pub use answers::{ChainAnswer, ReadBalance, TenantAnswer};
pub use callers::{Caller, CreateKey, NewKey, RevokeKey, Scope};
pub use chain::{Advance, OpenChain, OpenedChain, ResetChain};
pub use charges::{CancelCharge, CreateCharge, ExpireCharges};
pub use deliveries::DeliveryOutcome;
pub use error::EngineError;
pub use holdings::{ActivateWatches, FoldHistory, RestartHistory};
pub use idempotency::{Idempotency, Idempotent};
pub use inbox::{ApplyInbox, InboxOutcome, ReceiveEvent};
pub use subscriptions::RefoldDue;
pub use view::{AmountView, ChargeView, EntitlementView, PaymentView, SourceView, TokenView, rfc3339};
pub use work::{Command, Origin};

use answers::Answers;

/// How often a transaction that lost a race is run again.
const MAX_ATTEMPTS: u32 = 10;

/// What the engine is told at start.
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
}

/// The one door. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    settings: Settings,
    catalogue: Catalogue,
    clock: Clock,
    answers: Answers,
    chain_locks: HashMap<ChainId, tokio::sync::Mutex<()>>,
    inbox_ready: Notify,
    outbox_ready: Notify,
    watches_changed: Notify,
}

impl Engine {
    /// Opens the door: loads the answers that are kept in memory.
    ///
    /// # Errors
    /// The database fails, or holds what it cannot.
    pub async fn open(
        store: Store,
        settings: Settings,
        catalogue: Catalogue,
        clock: Clock,
    ) -> Result<Self, EngineError> {
        let chains: Vec<ChainId> = settings.chains.iter().map(|chain| chain.id).collect();
        let answers = Answers::load(&store, &chains).await?;
        let chain_locks = chains.into_iter().map(|chain| (chain, tokio::sync::Mutex::new(()))).collect();
        let inner = Inner {
            store,
            settings,
            catalogue,
            clock,
            answers,
            chain_locks,
            inbox_ready: Notify::new(),
            outbox_ready: Notify::new(),
            watches_changed: Notify::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Runs a command to its end, even when the caller goes away.
    ///
    /// # Errors
    /// What the command refuses, and a database that fails.
    pub async fn execute<C: Command>(&self, command: C) -> Result<C::Output, EngineError> {
        let engine = self.clone();
        tokio::spawn(async move { engine.run(&command).await })
            .await
            .map_err(|_| EngineError::Interrupted)?
    }

    async fn run<C: Command>(&self, command: &C) -> Result<C::Output, EngineError> {
        let _order = match command.chain() {
            Some(chain) => Some(self.inner.chain_lock(chain)?.lock().await),
            None => None,
        };
        let mut attempt = 1;
        loop {
            let outcome = self.attempt(command).await;
            match outcome {
                Err(EngineError::Store(error)) if error.is_retryable() && attempt < MAX_ATTEMPTS => {
                    metrics::counter!("tollgate_engine_retries_total").increment(1);
                    tokio::time::sleep(pause_before(attempt)).await;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt<C: Command>(&self, command: &C) -> Result<C::Output, EngineError> {
        let tx = self.inner.store.begin_write().await?;
        let mut work = work::Work::begin(&self.inner, tx, command.origin());
        let output = command.run(&mut work).await?;
        let published = work.commit().await?;
        self.inner.publish(published);
        Ok(output)
    }

    /// The plans.
    #[must_use]
    pub fn catalogue(&self) -> &Catalogue {
        &self.inner.catalogue
    }

    /// The clock that the engine goes by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// What the engine was told at start.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Waits until an event may have come in.
    pub async fn inbox_ready(&self) {
        self.inner.inbox_ready.notified().await;
    }

    /// Waits until an event may be owed.
    pub async fn outbox_ready(&self) {
        self.inner.outbox_ready.notified().await;
    }

    /// Waits until a contract was added to those that are watched.
    pub async fn watches_changed(&self) {
        self.inner.watches_changed.notified().await;
    }
}

/// Full jitter over a window that doubles: racing transactions spread out instead of racing again.
fn pause_before(attempt: u32) -> Duration {
    let mut byte = [0_u8; 1];
    let share = if getrandom::fill(&mut byte).is_ok() { u64::from(byte[0]) } else { 128 };
    Duration::from_micros((2_000 << attempt.min(7)) * share / 255)
}

impl Inner {
    fn chain_lock(&self, chain: ChainId) -> Result<&tokio::sync::Mutex<()>, EngineError> {
        self.chain_locks.get(&chain).ok_or_else(|| EngineError::unknown_chain(chain))
    }

    fn chain(&self, chain: ChainId) -> Result<&config::Chain, EngineError> {
        let found = self.settings.chains.iter().find(|candidate| candidate.id == chain);
        found.ok_or_else(|| EngineError::unknown_chain(chain))
    }

    /// What counts as money on a chain, where anything does.
    fn money(&self, chain: &config::Chain) -> Option<AcceptedMoney> {
        let tokens: Vec<Token> = chain.tokens.clone();
        chain.treasury.map(|treasury| AcceptedMoney { treasury, tokens })
    }

    fn publish(&self, published: work::Published) {
        if published.owes_events {
            self.outbox_ready.notify_one();
        }
        if published.has_inbox {
            self.inbox_ready.notify_one();
        }
        if published.watches_changed {
            self.watches_changed.notify_waiters();
        }
        for change in published.changes {
            self.answers.apply(change);
        }
    }
}

/// 128 random bits after a prefix that says what it names.
///
/// # Errors
/// The system has no randomness to give.
fn random_id(prefix: &str) -> Result<String, EngineError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| EngineError::NoRandomness)?;
    Ok(format!("{prefix}{}", hex::encode(bytes)))
}

/// An id that was just made is within every bound of its type.
fn parse_own<T: std::str::FromStr>(text: &str) -> Result<T, EngineError> {
    text.parse().map_err(|_| EngineError::Store(StoreError::Corrupt { column: "id", expected: "an id of ours" }))
}
