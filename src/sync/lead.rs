//! Who reads a chain, where several instances share one database: one leads, the others follow it and take its place.
//!
//! A follower asks no endpoint; memory is brought up to the leader's blocks by the engine. Its readiness is that of the
//! blocks which the leader reads, and of what holds them. A halt ends an instance's turn: another, whose configuration may be better, gets one.

use std::sync::Arc;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::task::{ChainTask, Halt, SyncError};
use crate::chain::Network;
use crate::config;
use crate::domain::Held;
use crate::engine::{Candidate, Engine, EngineError, LOOK_EVERY, Turn};
use crate::health::{ChainHealth, Concern, Health};
use crate::metrics;
use crate::store::{Instance, Role};

impl ChainTask {
    /// Leads or follows a chain until `stop`. A halt is shown in readiness and waits there for a person.
    ///
    /// # Errors
    /// The chain must be started anew, or its endpoints' settings are unusable.
    pub async fn run(
        settings: config::Chain,
        network: Arc<dyn Network>,
        engine: Engine,
        health: Health,
        stop: CancellationToken,
    ) -> Result<(), SyncError> {
        let place = Place {
            settings,
            network,
            engine,
            health,
        };
        let outcome = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                outcome = place.take_turn(&stop) => match outcome {
                    Err(SyncError::Deposed) => place.note_deposed(),
                    outcome => break outcome,
                },
            }
        };
        place.show(false);
        place.engine.release_lease(place.role()).await;
        if let Err(SyncError::Halted(halt)) = &outcome {
            place.note_halted(halt);
            stop.cancelled().await;
            return Ok(());
        }
        outcome
    }
}

/// An instance's place at one chain.
struct Place {
    settings: config::Chain,
    network: Arc<dyn Network>,
    engine: Engine,
    health: Health,
}

impl Place {
    fn role(&self) -> Role {
        Role::Chain(self.settings.id)
    }

    /// Waits until this instance may lead, and leads.
    async fn take_turn(&self, stop: &CancellationToken) -> Result<(), SyncError> {
        let (fence, role) = (self.follow().await, self.role());
        self.show(true);
        let reading = ChainTask::read_as_leader(
            self.settings.clone(),
            Arc::clone(&self.network),
            self.engine.clone(),
            self.health.clone(),
            stop.clone(),
        );
        tokio::select! {
            outcome = reading => outcome,
            // The chain is opened with a higher fence than the lease was taken with.
            () = self.engine.keep_lease(&role, fence + 1) => Err(SyncError::Deposed),
        }
    }

    /// Follows whoever leads, until it is our turn; returns the fence.
    async fn follow(&self) -> i64 {
        let mut candidate = Candidate::new(self.engine.clone(), self.role());
        let mut leader = None;
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let outcome = match candidate.look().await {
                Ok(Turn::Ours(fence)) => return fence,
                Ok(Turn::Theirs(holder)) => {
                    self.note_leader(&mut leader, holder);
                    self.report().await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                tracing::warn!(chain = %self.settings.name, kind = error.kind(), "the leader cannot be seen");
            }
        }
    }

    fn note_leader(&self, known: &mut Option<Instance>, holder: Option<Instance>) {
        if holder.is_some() && *known != holder {
            let leader = holder.as_ref().map(|holder| holder.label.as_str());
            tracing::info!(chain = %self.settings.name, leader, "another instance leads this chain: following it");
            self.show(false);
            *known = holder;
        }
    }

    /// What is read is as old as the leader's newest block.
    async fn report(&self) -> Result<(), EngineError> {
        let chain = self.settings.id;
        let newest = self.engine.newest_block_time(chain).await?;
        let now = self.engine.clock().now_ms();
        let health = ChainHealth {
            last_header_at_ms: newest.map(|at| at.min(now)),
            ..ChainHealth::default()
        };
        self.health.set_chain(chain, health);
        self.health.set_concerns(chain, self.held());
        self.health.set_endpoints(chain, Vec::new());
        Ok(())
    }

    /// What keeps the leader's blocks from counting, as it stored it.
    fn held(&self) -> Vec<Concern> {
        let known = self.engine.chain(self.settings.id).unwrap_or_default();
        let concern = |check, held: Option<Held>| {
            let detail = held?.reason;
            Some(Concern {
                check,
                detail,
                is_note: false,
            })
        };
        let quarantined = concern("chain_quarantined", known.quarantined);
        let stalled = concern("chain_finality_stalled", known.stalled);
        quarantined.into_iter().chain(stalled).collect()
    }

    fn note_deposed(&self) {
        tracing::warn!(chain = %self.settings.name, "another instance took this chain over");
        self.show(false);
    }

    fn note_halted(&self, halt: &Halt) {
        tracing::error!(chain = %self.settings.name, %halt, "the chain is halted until a person acts");
        let mut health = self.health.chain(self.settings.id).unwrap_or_default();
        health.problem = Some(halt.problem());
        self.health.set_chain(self.settings.id, health);
    }

    fn show(&self, leads: bool) {
        let chain = self.settings.name.clone();
        ::metrics::gauge!(metrics::LEASE_LEADER, "chain" => chain).set(f64::from(u8::from(leads)));
    }
}
