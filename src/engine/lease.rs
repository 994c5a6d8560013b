//! Leases: what one instance at a time does, where several share one database.
//!
//! A holder shows that it is alive by its transactions and, between two of them, by a pulse. Who waits judges it by these
//! counts not moving while it looks, on its own clock, so no two clocks are ever compared; and takes the lease only as it
//! last saw it, so that a holder that moved meanwhile keeps it. What protects the data is the fence that each transaction
//! claims; this decides only who tries.

use std::time::Duration;

use tokio::time::MissedTickBehavior;

use super::work::{Command, Origin, Work};
use super::{Engine, EngineError, random_id};
use crate::domain::ChainId;
use crate::store::{self, Instance, Lease, Role};

/// How often a lease is looked at, by its holder and by those who wait for it.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks in a row at which nothing had moved before a holder is held to be gone.
const SILENT_LOOKS: u32 = 4;

/// A name for this process that no other has.
pub(super) fn this_instance() -> Result<Instance, EngineError> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    let host = host.ok().or_else(|| std::env::var("HOSTNAME").ok());
    let host = host.as_deref().map_or("host", str::trim).to_owned();
    Ok(Instance {
        id: random_id("ins_")?,
        label: format!("{host}:{}", std::process::id()),
    })
}

/// Whether a lease still moves, from one look to the next.
#[derive(Debug, Default)]
struct Silence {
    last: Option<(i64, i64, i64)>,
    unmoved: u32,
}

impl Silence {
    /// Counts a look; `true` once its holder is held to be gone.
    fn look(&mut self, lease: &Lease) -> bool {
        let counts = Some((lease.fence, lease.beat, lease.pulse));
        if self.last == counts {
            self.unmoved = self.unmoved.saturating_add(1);
        } else {
            *self = Self {
                last: counts,
                unmoved: 0,
            };
        }
        self.unmoved >= SILENT_LOOKS
    }

    /// A look that failed: the database may have failed the holder too, so all that was seen before counts for nothing.
    fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Ours, with this fence.
    Ours(i64),
    /// Another's, who is alive as far as is known; none for one that was faster just now.
    Theirs(Option<Instance>),
}

/// Waits for a lease, one look after the other.
#[derive(Debug)]
pub struct Candidate {
    engine: Engine,
    role: Role,
    silence: Silence,
}

impl Candidate {
    /// Who wants a lease.
    pub fn new(engine: Engine, role: Role) -> Self {
        Self {
            engine,
            role,
            silence: Silence::default(),
        }
    }

    /// Looks once, and takes the lease if it is free or its holder is gone. Look every [`LOOK_EVERY`].
    ///
    /// # Errors
    /// The database fails.
    pub async fn look(&mut self) -> Result<Turn, EngineError> {
        let outcome = self.try_look().await;
        if outcome.is_err() {
            self.silence.forget();
        }
        outcome
    }

    async fn try_look(&mut self) -> Result<Turn, EngineError> {
        let seen = self.engine.lease(&self.role).await?;
        let own = &self.engine.inner.instance;
        if let Some(lease) = &seen
            && let Some(holder) = &lease.holder
        {
            if holder == own {
                return Ok(Turn::Ours(lease.fence));
            }
            // On SQLite the lock on the file has decided: whoever held this lease is gone.
            if self.engine.is_shared() && !self.silence.look(lease) {
                return Ok(Turn::Theirs(Some(holder.clone())));
            }
        }
        let before = seen.as_ref().and_then(|lease| lease.holder.clone());
        let role = self.role.clone();
        let Some(fence) = self.engine.execute(TakeLease { role, seen }).await? else {
            return Ok(Turn::Theirs(None));
        };
        let former = before.map(|holder| holder.label);
        tracing::info!(role = %self.role, ?former, "this instance took a lease");
        Ok(Turn::Ours(fence))
    }

    /// Looks until the lease is ours; returns its fence.
    pub async fn lead(mut self) -> i64 {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match self.look().await {
                Ok(Turn::Ours(fence)) => return fence,
                Ok(Turn::Theirs(_)) => {}
                Err(error) => {
                    tracing::warn!(role = %self.role, kind = error.kind(), "a lease could not be looked at");
                }
            }
        }
    }
}

impl Engine {
    /// Whether other instances may work on the same database.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.inner.store.is_shared()
    }

    /// What this process is called.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.inner.instance
    }

    /// A lease; none where nobody ever had it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn lease(&self, role: &Role) -> Result<Option<Lease>, EngineError> {
        let mut conn = self.inner.store.read().await?;
        Ok(store::lease(&mut conn, role).await?)
    }

    /// Keeps a lease alive for as long as this instance has it, and returns when it has lost it. `from` is the lowest fence
    /// that is kept: an instance that was given a chain and cannot open it shows no sign of life, and another gets its turn.
    /// Says whether it ever showed one.
    pub async fn keep_lease(&self, role: &Role, from: i64) -> bool {
        if !self.is_shared() {
            return std::future::pending().await;
        }
        let (mut beat, mut was_kept) = (None, false);
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match self.keep_once(role, from, &mut beat).await {
                Ok(Some(fence)) => was_kept |= fence >= from,
                Ok(None) => return was_kept,
                Err(error) => {
                    tracing::warn!(%role, kind = error.kind(), "a lease could not be kept alive");
                }
            }
        }
    }

    /// A transaction since the last look is as good a sign as a pulse. Returns the fence; none when the lease is another's.
    async fn keep_once(
        &self,
        role: &Role,
        from: i64,
        beat: &mut Option<i64>,
    ) -> Result<Option<i64>, EngineError> {
        let held = self.lease(role).await?;
        let held = held.filter(|lease| lease.holder.as_ref() == Some(self.instance()));
        let Some(lease) = held else {
            return Ok(None);
        };
        if beat.replace(lease.beat) != Some(lease.beat) || lease.fence < from {
            return Ok(Some(lease.fence));
        }
        let (role, fence) = (role.clone(), lease.fence);
        let is_held = self.execute(PulseLease { role, fence }).await?;
        Ok(is_held.then_some(fence))
    }

    /// Leaves a lease to the others, if this instance has it, and writes nothing under it any more.
    pub async fn release_lease(&self, role: Role) {
        if let Err(error) = self.execute(ReleaseLease { role: role.clone() }).await {
            tracing::warn!(%role, kind = error.kind(), "a lease could not be released; others wait until it is silent");
        }
    }
}

/// The order with a chain's own commands: a sign of life or a farewell never races what is being written.
fn order(role: &Role) -> Vec<ChainId> {
    match role {
        Role::Chain(chain) => vec![*chain],
        Role::Webhook(_) => Vec::new(),
    }
}

fn origin(cause: &str) -> Origin {
    Origin {
        actor: "lease".to_owned(),
        cause: cause.to_owned(),
    }
}

/// Takes a lease as it was last seen.
#[derive(Debug, Clone)]
struct TakeLease {
    role: Role,
    seen: Option<Lease>,
}

impl Command for TakeLease {
    /// The fence; none when the lease has moved.
    type Output = Option<i64>;

    fn origin(&self) -> Origin {
        origin("it is free")
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<Option<i64>, EngineError> {
        let own = &work.engine.instance;
        Ok(work
            .tx
            .take_unmoved_lease(&self.role, self.seen.as_ref(), own)
            .await?)
    }
}

/// Shows that the holder is alive.
#[derive(Debug, Clone)]
struct PulseLease {
    role: Role,
    fence: i64,
}

impl Command for PulseLease {
    /// Whether it still holds it.
    type Output = bool;

    fn origin(&self) -> Origin {
        origin("it is held")
    }

    fn chains(&self) -> Vec<ChainId> {
        order(&self.role)
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<bool, EngineError> {
        Ok(work.tx.pulse_lease(&self.role, self.fence).await?)
    }
}

/// Leaves a lease to the others.
#[derive(Debug, Clone)]
struct ReleaseLease {
    role: Role,
}

impl Command for ReleaseLease {
    type Output = ();

    fn origin(&self) -> Origin {
        origin("its holder stops")
    }

    fn chains(&self) -> Vec<ChainId> {
        order(&self.role)
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        let own = &work.engine.instance;
        Ok(work.tx.release_lease(&self.role, own).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_gone_when_nothing_moved_at_four_looks_in_a_row() {
        let lease = |fence, beat, pulse| Lease {
            fence,
            beat,
            pulse,
            holder: None,
        };
        let mut silence = Silence::default();
        let mut looks = |counts: &[(i64, i64, i64)]| -> Vec<bool> {
            let look = |(fence, beat, pulse): &(i64, i64, i64)| silence.look(&lease(*fence, *beat, *pulse));
            counts.iter().map(look).collect()
        };
        assert_eq!(looks(&[(1, 0, 0); 5]), [false, false, false, false, true]);
        for moved in [(1, 0, 1), (1, 1, 1), (2, 1, 1)] {
            assert_eq!(looks(&[moved; 5]), [false, false, false, false, true]);
        }
        assert_eq!(looks(&[(3, 0, 0); 4]), [false; 4]);
        silence.forget();
        let unmoved: Vec<bool> = (0..5).map(|_| silence.look(&lease(3, 0, 0))).collect();
        assert_eq!(unmoved, [false, false, false, false, true]);
    }
}
