//! The one door to the state. A command loads what it needs, asks the pure rooms, and writes everything that follows
//! (the rows, the audit, the events owed) in one transaction; then the answers in memory are brought up to it.
//!
//! Invariants: no await but the database inside a transaction; nothing is answered from memory before it is durable; a
//! caller that goes away does not interrupt its command; a transaction that lost a race runs again, from the start.

mod access;
mod accounts;
mod answers;
mod bounds;
mod callers;
mod chain;
mod chain_state;
mod charges;
mod checkouts;
mod claims;
mod deliveries;
mod eligibility;
mod error;
mod explain;
mod finality;
mod followed;
mod found;
mod history;
mod holdings;
mod idempotency;
mod inbox;
mod journal;
mod lease;
mod listing;
mod matching;
mod notices;
mod payments;
mod quarantine;
mod quotes;
mod read;
mod receipts;
mod references;
mod refresh;
mod refunds;
mod renewals;
mod repair;
mod review;
mod settings;
mod settle;
mod stored;
mod subscriptions;
mod view;
mod wallets;
mod watching;
mod work;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::billing::Catalogue;
use crate::clock::Clock;
use crate::domain::ChainId;
use crate::metrics;
use crate::store::{Instance, Store, StoreError};

pub use access::{CreateGate, DeleteGate, UpdateGate};
pub use accounts::{CreditEntryView, CreditPage, RefoldDue};
pub use answers::{ChainAnswer, TenantAnswer};
pub use callers::{Caller, CreateKey, NewKey, RevokeKey, Scope};
pub use chain::{Advance, OpenChain, OpenedChain, ResetChain};
pub use charges::{CancelCharge, CreateCharge, ExpireCharges};
pub use checkouts::{CheckoutOffer, HostedView, RecordCheckout};
pub use claims::{ClaimPayment, ClaimView};
pub use deliveries::RecordDelivery;
pub use eligibility::{GateAnswer, Subject};
pub use error::EngineError;
pub use explain::{
    CandidateView, CheckView, ExaminedView, ExplainedPayment, SeenBlock, TxExplanation, TxOutcome,
};
pub use followed::FollowedCharge;
pub use found::{
    ClaimantView, PaymentPage, ReasonView, RefundView, ReviewView, SuggestionView, UnmatchedView,
};
pub use history::{ActivateWatches, FoldHistory, RestartHistory};
pub use idempotency::{Idempotency, Idempotent};
pub use inbox::{ApplyInbox, GiveUpInbox, ReceiveEvent};
pub use journal::MAX_JOURNAL;
pub use lease::{Candidate, LOOK_EVERY, Turn};
pub use listing::ChargePage;
pub use notices::HearTokens;
pub use quarantine::{MarkStalled, Quarantine, Resolution, ResolveQuarantine};
pub use quotes::{OfferView, Wish};
pub use read::TenantView;
pub use receipts::MakeReceiptKey;
pub use references::LearnDomains;
pub use refunds::JudgeRefund;
pub use renewals::{CancelPlan, ChangePlan, RemindRenewals, ResumePlan};
pub use repair::{CorrectBalances, Correction, RepairBlock};
pub use review::{AssignPayment, IgnorePayment, MAX_REASON_CHARS, RecordRefund};
pub use settings::Settings;
pub use stored::{StoredHoldings, StoredRange};
pub use view::{AmountView, ChargeView, EntitlementView, PaymentView, SourceView, TokenView, rfc3339};
pub use wallets::{IssueNonce, IssuedNonce, LinkWallet, UnlinkWallet};
pub use work::{Command, Origin};

use answers::{Answers, Change};
use callers::KeyRing;
use followed::Bells;
use refresh::Record;
use settings::ChainLocks;

/// How often a transaction that lost a race is run again.
const MAX_ATTEMPTS: u32 = 10;

/// The one door. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    instance: Instance,
    store: Store,
    settings: RwLock<Arc<Settings>>,
    catalogue: Catalogue,
    clock: Clock,
    answers: Answers,
    keys: KeyRing,
    bells: Bells,
    chain_locks: ChainLocks,
    /// Held from a commit until its answers are in memory; whoever waits for it finds memory no older than the database.
    publishing: tokio::sync::RwLock<()>,
    /// How much of the record memory is as of.
    record: Record,
    /// A commit's outcome is unknown, or another instance wrote: memory must be loaded anew before anything is built on it.
    memory_unsure: AtomicBool,
    inbox: watch::Sender<()>,
    outbox: watch::Sender<()>,
    watches: watch::Sender<()>,
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
        let mut snapshot = store.begin_read().await?;
        let answers = Answers::load(&mut snapshot, &chains).await?;
        let record = Record::load(&mut snapshot).await?;
        drop(snapshot);
        let inner = Inner {
            instance: lease::this_instance()?,
            store,
            settings: RwLock::new(Arc::new(settings)),
            catalogue,
            clock,
            answers,
            keys: KeyRing::default(),
            bells: Bells::default(),
            chain_locks: ChainLocks::default(),
            publishing: tokio::sync::RwLock::default(),
            record,
            memory_unsure: AtomicBool::new(false),
            inbox: watch::Sender::new(()),
            outbox: watch::Sender::new(()),
            watches: watch::Sender::new(()),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
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
        let mut order = Vec::new();
        // Each in turn and always in the same order, so that two commands never wait for each other.
        for chain in command.chains() {
            self.inner.settings().chain(chain)?;
            order.push(self.inner.chain_locks.lock(chain).await);
        }
        let mut attempt = 1;
        loop {
            let outcome = self.attempt(command).await;
            match outcome {
                Err(EngineError::Store(error)) if error.is_retryable() && attempt < MAX_ATTEMPTS => {
                    ::metrics::counter!(metrics::ENGINE_RETRIES_TOTAL).increment(1);
                    tokio::time::sleep(pause_before(attempt)).await;
                    attempt += 1;
                }
                Err(EngineError::Stale(_)) if attempt < MAX_ATTEMPTS => {
                    self.inner.memory_unsure.store(true, Ordering::SeqCst);
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt<C: Command>(&self, command: &C) -> Result<C::Output, EngineError> {
        self.inner.make_sure().await?;
        let settings = self.inner.settings();
        let begun = Instant::now();
        let tx = self.inner.store.begin_write().await?;
        let mut work = work::Work::begin(&self.inner, &settings, tx, command.origin());
        let output = command.run(&mut work).await?;
        let _publishing = self.inner.publishing.read().await;
        match work.commit().await {
            Ok(published) => {
                ::metrics::histogram!(metrics::ENGINE_TRANSACTION_SECONDS).record(begun.elapsed());
                self.inner.publish(published);
            }
            // The database said no, so nothing of it is there.
            Err(error) if error.is_retryable() => return Err(error.into()),
            Err(error) => {
                self.inner.memory_unsure.store(true, Ordering::SeqCst);
                return Err(error.into());
            }
        }
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

    /// What the engine was told last.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.inner.settings()
    }

    /// Changes whenever an event has come in.
    #[must_use]
    pub fn inbox_changes(&self) -> watch::Receiver<()> {
        self.inner.inbox.subscribe()
    }

    /// Changes whenever an event may be due to be delivered.
    #[must_use]
    pub fn outbox_changes(&self) -> watch::Receiver<()> {
        self.inner.outbox.subscribe()
    }

    /// Changes whenever a contract was added to those that are watched.
    #[must_use]
    pub fn watch_changes(&self) -> watch::Receiver<()> {
        self.inner.watches.subscribe()
    }
}

/// Full jitter over a window that doubles: racing transactions spread out instead of racing again.
fn pause_before(attempt: u32) -> Duration {
    Duration::from_micros(fastrand::u64(0..=2_000 << attempt.min(7)))
}

impl Inner {
    /// Waits until memory answers everything that was durable when this was called.
    async fn caught_up(&self) {
        drop(self.publishing.write().await);
    }

    fn publish(&self, published: work::Published) {
        self.record.wrote(published.audits);
        let chains: Vec<ChainId> = published.changes.iter().filter_map(Change::moved).collect();
        for change in published.changes {
            self.answers.apply(change);
        }
        self.bells.ring(&published.charges, &chains);
        if published.owes_events {
            self.outbox.send_replace(());
        }
        if published.has_inbox {
            self.inbox.send_replace(());
        }
        if published.watches_changed {
            self.watches.send_replace(());
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
    text.parse().map_err(|_| {
        EngineError::Store(StoreError::Corrupt {
            column: "id",
            expected: "an id of ours",
        })
    })
}
