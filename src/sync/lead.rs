//! Who reads a chain, where several instances share one database: one leads, the others follow it and take its place.
//!
//! A follower asks no endpoint; memory is brought up to the leader's blocks by the engine. Its readiness is that of the
//! blocks which the leader reads, and of what holds them. A halt ends an instance's turn: another, whose configuration may be
//! better, gets one. So does a chain that cannot be opened; who gave such a turn up rests before the next, longer each time, so
//! that a chain whose endpoints nobody reaches is not passed to and fro.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::task::{ChainTask, Halt, SyncError};
use crate::chain::Network;
use crate::config;
use crate::domain::Held;
use crate::engine::{Candidate, Engine, EngineError, LOOK_EVERY, Turn};
use crate::health::{ChainHealth, Concern, Health, header_age_max};
use crate::metrics;
use crate::retry::Backoff;
use crate::store::{Instance, Role};

/// How long an instance rests that could not open the chain.
const REST_MIN: Duration = Duration::from_secs(2);
const REST_MAX: Duration = Duration::from_mins(1);

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
        let mut place = Place {
            settings,
            network,
            engine,
            health,
            rests: Rests::default(),
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
    rests: Rests,
}

/// When an instance that gave its turn up wants another.
#[derive(Debug)]
struct Rests {
    until: Instant,
    backoff: Backoff,
}

impl Default for Rests {
    fn default() -> Self {
        Self {
            until: Instant::now(),
            backoff: Backoff::new(REST_MIN, REST_MAX),
        }
    }
}

impl Rests {
    /// A turn ended; whether the chain was read in it.
    fn note(&mut self, was_read: bool) {
        if was_read {
            *self = Self::default();
        } else {
            self.until = Instant::now() + self.backoff.next_delay();
        }
    }

    fn last(&self) -> bool {
        Instant::now() < self.until
    }
}

impl Place {
    fn role(&self) -> Role {
        Role::Chain(self.settings.id)
    }

    /// Waits until this instance may lead, and leads.
    async fn take_turn(&mut self, stop: &CancellationToken) -> Result<(), SyncError> {
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
            was_read = self.engine.keep_lease(&role, fence + 1) => {
                self.rests.note(was_read);
                Err(SyncError::Deposed)
            }
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
            let rests = self.rests.last() && self.is_led().await;
            let turn = if rests {
                Ok(Turn::Theirs(None))
            } else {
                candidate.look().await
            };
            let outcome = match turn {
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

    /// Whether anybody has the lease; a chain that was left is not rested from.
    async fn is_led(&self) -> bool {
        let lease = self.engine.lease(&self.role()).await;
        lease.is_ok_and(|lease| lease.is_some_and(|lease| lease.holder.is_some()))
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
        let newest = self.engine.newest_block(chain).await?;
        let now = self.engine.clock().now_ms();
        let health = ChainHealth {
            last_header_at_ms: newest.map(|(at, _)| at.min(now)),
            ..ChainHealth::default()
        };
        self.health.set_chain(chain, health);
        let unsettled = newest.and_then(|(_, waiting)| self.unsettled(waiting));
        let concerns = self.held().into_iter().chain(unsettled).collect();
        self.health.set_concerns(chain, concerns);
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

    /// Too many of the leader's blocks wait: what its operators say is its own to know, and this is what comes of it.
    fn unsettled(&self, waiting: u64) -> Option<Concern> {
        let lowest = self.settings.finality.tiers().first()?;
        let block_time = self.settings.block_time;
        let slack = header_age_max(block_time).saturating_add(lowest.min_age);
        let slack = slack.as_millis() / block_time.as_millis().max(1);
        let most = u64::try_from(slack).ok()?.checked_add(lowest.patience()?)?;
        (self.settings.agree > 1 && waiting > most).then(|| Concern {
            check: "chain_agreement",
            detail: format!("the leader has read {waiting} blocks above the newest that counts"),
            is_note: false,
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_cannot_open_the_chain_rests_longer_each_time_and_not_after_it_was_read() {
        let mut rests = Rests::default();
        assert!(!rests.last());
        let mut longest = Duration::ZERO;
        for _ in 0..50 {
            rests.note(false);
            let rest = rests.until - Instant::now();
            assert!(rests.last() && (REST_MIN..=REST_MAX).contains(&rest), "{rest:?}");
            longest = longest.max(rest);
            tokio::time::advance(rest).await;
            assert!(!rests.last());
        }
        assert!(longest > REST_MAX / 3, "{longest:?}");
        rests.note(false);
        rests.note(true);
        assert!(!rests.last());
        rests.note(false);
        assert!(rests.until - Instant::now() <= 2 * REST_MIN, "from the beginning");
    }
}
