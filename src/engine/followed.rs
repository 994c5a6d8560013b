//! Charges that somebody looks at for a while. Whoever follows one is woken when it may look different. Its row is read
//! again only where the row may have changed: what a block adds to its confirmations is counted in memory.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::read::Looked;
use super::view::ChargeView;
use super::{Engine, EngineError};
use crate::domain::{ChainId, ChargeId, TenantId};
use crate::store;

/// How often something happened that a charge's view is made of.
#[derive(Debug, Default, Clone, Copy)]
struct Rung {
    /// To its row, or to what was streamed of it.
    charge: u64,
    /// To its chain.
    chain: u64,
}

#[derive(Debug)]
struct Bell {
    chain: ChainId,
    followers: usize,
    rung: watch::Sender<Rung>,
}

/// Wakes those who follow charges. Only charges that are followed have a bell.
#[derive(Debug, Default)]
pub(super) struct Bells(Mutex<HashMap<ChargeId, Bell>>);

impl Bells {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<ChargeId, Bell>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// These charges changed, and then these chains moved.
    pub(super) fn ring(&self, charges: &[ChargeId], chains: &[ChainId]) {
        if charges.is_empty() && chains.is_empty() {
            return;
        }
        self.with(|bells| {
            for bell in charges.iter().filter_map(|charge| bells.get(charge)) {
                bell.rung.send_modify(|rung| rung.charge += 1);
            }
            for bell in bells.values().filter(|bell| chains.contains(&bell.chain)) {
                bell.rung.send_modify(|rung| rung.chain += 1);
            }
        });
    }

    /// Others wrote: any charge may have changed, or any of one chain.
    pub(super) fn ring_all(&self, chain: Option<ChainId>) {
        self.with(|bells| {
            let concerned = bells
                .values()
                .filter(|bell| chain.is_none_or(|chain| bell.chain == chain));
            for bell in concerned {
                bell.rung.send_modify(|rung| rung.charge += 1);
            }
        });
    }

    fn join(&self, charge: &ChargeId, chain: ChainId) -> watch::Receiver<Rung> {
        self.with(|bells| {
            let bell = bells.entry(charge.clone()).or_insert_with(|| Bell {
                chain,
                followers: 0,
                rung: watch::Sender::new(Rung::default()),
            });
            bell.followers += 1;
            bell.rung.subscribe()
        })
    }

    fn leave(&self, charge: &ChargeId) {
        self.with(|bells| {
            let Some(bell) = bells.get_mut(charge) else {
                return;
            };
            bell.followers -= 1;
            if bell.followers == 0 {
                bells.remove(charge);
            }
        });
    }
}

/// A place among those who follow a charge, given up when it is dropped.
#[derive(Debug)]
struct Place {
    engine: Engine,
    id: ChargeId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.engine.inner.bells.leave(&self.id);
    }
}

/// A charge that is followed.
#[derive(Debug)]
pub struct FollowedCharge {
    place: Place,
    looked: Looked,
    rung: watch::Receiver<Rung>,
    seen: Rung,
}

impl Engine {
    /// Follows a charge from now on. `tenant` limits it to that tenant's own.
    ///
    /// # Errors
    /// There is no such charge, or the database fails.
    pub async fn follow(
        &self,
        id: &ChargeId,
        tenant: Option<&TenantId>,
    ) -> Result<FollowedCharge, EngineError> {
        let found = store::charge(&mut *self.inner.store.read().await?, id).await?;
        let chain = found.ok_or(EngineError::NotFound("charge"))?.terms.chain;
        // Before it is looked at, so that nothing that happens afterwards is missed.
        let mut rung = self.inner.bells.join(id, chain);
        let place = Place {
            engine: self.clone(),
            id: id.clone(),
        };
        let seen = *rung.borrow_and_update();
        Ok(FollowedCharge {
            looked: self.look(id, tenant).await?,
            place,
            rung,
            seen,
        })
    }
}

impl FollowedCharge {
    /// As it stood when it last changed.
    #[must_use]
    pub fn view(&self) -> ChargeView {
        self.place.engine.show(&self.looked)
    }

    /// Waits until it may look different.
    ///
    /// # Errors
    /// It had to be read again, and the database failed.
    pub async fn changed(&mut self) -> Result<(), EngineError> {
        // The bell stays as long as this follows it.
        self.rung.changed().await.map_err(|_| EngineError::Interrupted)?;
        let now = *self.rung.borrow_and_update();
        let Place { engine, id } = &self.place;
        if now.charge == self.seen.charge {
            engine.look_again(&mut self.looked);
        } else {
            self.looked = engine.look(id, None).await?;
        }
        self.seen = now;
        Ok(())
    }
}
