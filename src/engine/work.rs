//! One command's transaction, with what it will owe and publish once it is durable.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;

use serde_json::{Value, json};

use super::answers::Change;
use super::matching::Terms;
use super::view::rfc3339;
use super::{EngineError, Inner, Settings, random_id};
use crate::domain::{ChainId, ChargeId, Credit, CreditEntry, CreditKind, Millis, TenantId};
use crate::store::{self, Audit, Event, StoreError, WriteTx};

/// Who does something, and why; for the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `key:…`, `chain:1`, `stripe`, `clock`.
    pub actor: String,
    /// A request id, a block, an event id.
    pub cause: String,
}

/// A change of state.
pub trait Command: Send + Sync + 'static {
    /// What the caller learns.
    type Output: Send + 'static;

    /// Who asks, and why.
    fn origin(&self) -> Origin;

    /// The chains whose commands this one must be in order with, ascending and each once: those whose blocks or watches it
    /// changes.
    fn chains(&self) -> Vec<ChainId> {
        Vec::new()
    }

    /// Does it within one transaction. May be run more than once: only the last run is kept.
    fn run(&self, work: &mut Work<'_>) -> impl Future<Output = Result<Self::Output, EngineError>> + Send;
}

/// What is published once a transaction is durable.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) changes: Vec<Change>,
    /// Charges whose rows changed.
    pub(super) charges: Vec<ChargeId>,
    /// Entries that were added to the record.
    pub(super) audits: i64,
    pub(super) owes_events: bool,
    pub(super) has_inbox: bool,
    pub(super) watches_changed: bool,
}

/// Entries of the record, and events, that are held to be written together.
const MAX_UNWRITTEN: usize = 1_000;

/// An event that is not numbered yet.
#[derive(Debug)]
struct Owed {
    id: String,
    kind: &'static str,
    resource: String,
    data: Value,
}

/// A transaction in progress.
#[derive(Debug)]
pub struct Work<'e> {
    pub(super) engine: &'e Inner,
    /// In force from the beginning of this transaction to its end.
    pub(super) settings: &'e Settings,
    pub(super) tx: WriteTx,
    pub(super) now: Millis,
    pub(super) published: Published,
    beats: HashMap<ChainId, i64>,
    origin: Origin,
    audits: Vec<Audit>,
    owed: Vec<Owed>,
}

impl<'e> Work<'e> {
    pub(super) fn begin(engine: &'e Inner, settings: &'e Settings, tx: WriteTx, origin: Origin) -> Self {
        Self {
            engine,
            settings,
            tx,
            now: engine.clock.now_ms(),
            published: Published::default(),
            beats: HashMap::new(),
            origin,
            audits: Vec::new(),
            owed: Vec::new(),
        }
    }

    /// By what payments are judged.
    pub(super) fn terms(&self) -> Terms<'e> {
        Terms {
            settings: self.settings,
            catalogue: &self.engine.catalogue,
        }
    }

    /// Goes on as the leader of a chain, from what memory holds of it.
    pub(super) async fn lead(&mut self, chain: ChainId, fence: i64) -> Result<(), EngineError> {
        let beat = self.tx.claim_lease(chain, fence).await?;
        self.follow_beat(chain, beat.ok_or(EngineError::LeaseLost(chain))?)
    }

    /// Changes what a chain's leader keeps in memory, whoever leads it.
    pub(super) async fn join(&mut self, chain: ChainId) -> Result<(), EngineError> {
        match self.tx.count_beat(chain).await? {
            Some(beat) => self.follow_beat(chain, beat),
            None => Ok(()),
        }
    }

    fn follow_beat(&mut self, chain: ChainId, beat: i64) -> Result<(), EngineError> {
        let before = self
            .beats
            .insert(chain, beat)
            .or_else(|| self.engine.answers.beat(chain));
        if before != Some(beat - 1) {
            return Err(EngineError::Stale(chain));
        }
        self.publish(Change::Beat(chain, beat));
        Ok(())
    }

    /// Brings an answer in memory up to date once this is durable.
    pub(super) fn publish(&mut self, change: Change) {
        self.published.changes.push(change);
    }

    /// Records what is done, and why.
    pub(super) async fn audit(
        &mut self,
        action: &'static str,
        subject: String,
        (before, after): (Option<Value>, Option<Value>),
    ) -> Result<(), EngineError> {
        self.audits.push(Audit {
            actor: self.origin.actor.clone(),
            action,
            subject,
            cause: self.origin.cause.clone(),
            before: before.map(|value| value.to_string()),
            after: after.map(|value| value.to_string()),
        });
        self.published.audits += 1;
        if self.audits.len() >= MAX_UNWRITTEN {
            self.write_audits().await?;
        }
        Ok(())
    }

    /// An entry of a tenant's credit, with who causes it.
    pub(super) fn credit_entry(
        &self,
        tenant: &TenantId,
        (charge, unit, kind): (&ChargeId, &str, CreditKind),
        amount: Credit,
    ) -> CreditEntry {
        CreditEntry {
            tenant: tenant.clone(),
            unit: unit.to_owned(),
            amount,
            kind,
            charge: charge.clone(),
            actor: self.origin.actor.clone(),
            cause: self.origin.cause.clone(),
            at: self.now,
        }
    }

    /// Owes an event: the body is fixed here, as every try will send it. Its sequence counts the resource's events.
    pub(super) async fn owe(
        &mut self,
        kind: &'static str,
        resource: String,
        data: Value,
    ) -> Result<(), EngineError> {
        self.owed.push(Owed {
            id: random_id("evt_")?,
            kind,
            resource,
            data,
        });
        self.published.owes_events = true;
        if self.owed.len() >= MAX_UNWRITTEN {
            self.write_owed().await?;
        }
        Ok(())
    }

    async fn write_audits(&mut self) -> Result<(), StoreError> {
        let audits = std::mem::take(&mut self.audits);
        self.tx.insert_audits(&audits, self.now).await
    }

    async fn write_owed(&mut self) -> Result<(), StoreError> {
        let owed = std::mem::take(&mut self.owed);
        let resources: BTreeSet<&str> = owed.iter().map(|owed| owed.resource.as_str()).collect();
        let resources: Vec<&str> = resources.into_iter().collect();
        let counts = store::event_counts(self.tx.conn(), &resources).await?;
        let mut counts: HashMap<String, i64> = counts.into_iter().collect();
        let timestamp = rfc3339(self.now);
        let number = |owed: Owed| {
            let count = counts.entry(owed.resource.clone()).or_default();
            *count = count.saturating_add(1);
            let body = json!({
                "type": owed.kind,
                "timestamp": timestamp,
                "sequence": *count,
                "data": owed.data,
            });
            Event {
                id: owed.id,
                kind: owed.kind,
                resource: owed.resource,
                sequence: *count,
                body: body.to_string(),
            }
        };
        let events: Vec<Event> = owed.into_iter().map(number).collect();
        self.tx
            .insert_events(&events, &self.settings.webhooks, self.now)
            .await
    }

    pub(super) async fn commit(mut self) -> Result<Published, StoreError> {
        self.write_audits().await?;
        self.write_owed().await?;
        self.tx.commit().await?;
        Ok(self.published)
    }
}
