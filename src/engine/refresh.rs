//! Memory where several instances share one database: brought up to what the others wrote, about once a second.
//!
//! A chain is loaded anew when its beat has moved, and everything about people when the record has entries that are not
//! ours: each change of them writes one. A change log that names what changed replaces both later; until then a busy
//! database costs each instance a load a second.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use sqlx::AnyConnection;

use super::answers::Change;
use super::chain_state::ChainState;
use super::{Engine, EngineError, Inner};
use crate::domain::ChainId;
use crate::store::{self, StoreError};

/// Entries of the record that are counted again at each look. Numbers are not given in the order of commits: what is below
/// them must have been committed by then.
const OVERLAP: i64 = 25_000;

/// With more than this many, the count starts higher.
const MAX_COUNTED: i64 = 2 * OVERLAP;

/// How much of the record memory is as of.
#[derive(Debug)]
pub(super) struct Record {
    /// Entries that this instance has added.
    own: AtomicI64,
    counted: Mutex<Counted>,
}

/// Entries above `floor` that are not ours, but for a constant: `foreign` only tells whether there are more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    floor: i64,
    foreign: i64,
}

impl Record {
    pub(super) async fn load(conn: &mut AnyConnection) -> Result<Self, StoreError> {
        let record = Self {
            own: AtomicI64::new(0),
            counted: Mutex::new(Counted {
                floor: i64::MIN,
                foreign: 0,
            }),
        };
        record.caught_up(conn).await?;
        Ok(record)
    }

    /// This instance has added entries, and memory is as of them.
    pub(super) fn wrote(&self, entries: i64) {
        self.own.fetch_add(entries, Ordering::SeqCst);
    }

    /// Whether others have added entries that memory is not as of. No commit of ours may be on its way into memory.
    async fn has_news(&self, conn: &mut AnyConnection) -> Result<bool, StoreError> {
        let Counted { floor, foreign } = self.counted();
        let entries = store::audits_above(conn, floor).await?;
        Ok(entries - self.own.load(Ordering::SeqCst) != foreign)
    }

    /// Memory is as of what this connection sees. No commit of ours may be on its way into memory.
    async fn caught_up(&self, conn: &mut AnyConnection) -> Result<(), StoreError> {
        let newest = store::newest_audit(conn).await?;
        let mut floor = self.counted().floor;
        if newest.saturating_sub(floor) > MAX_COUNTED {
            floor = newest.saturating_sub(OVERLAP).max(0);
        }
        let foreign = store::audits_above(conn, floor).await? - self.own.load(Ordering::SeqCst);
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = Counted { floor, foreign };
        Ok(())
    }

    fn counted(&self) -> Counted {
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Brings memory up to what other instances have written. A chain that this one leads is as of its last block anyhow,
    /// unless another watches a contract more.
    ///
    /// # Errors
    /// The database fails.
    pub async fn refresh(&self) -> Result<(), EngineError> {
        for chain in self.inner.answers.chains() {
            self.inner.refresh_chain(chain).await?;
        }
        self.inner.refresh_people().await
    }
}

impl Inner {
    async fn refresh_chain(&self, chain: ChainId) -> Result<(), EngineError> {
        let beat = store::beat(&mut *self.store.read().await?, chain).await?;
        if beat == self.answers.beat(chain) {
            return Ok(());
        }
        // From here on no command about this chain is under way: what is loaded is no older than memory.
        let _order = self.chain_locks.lock(chain).await;
        let mut snapshot = self.store.begin_read().await?;
        if store::beat(&mut snapshot, chain).await? == self.answers.beat(chain) {
            return Ok(());
        }
        let mut state = ChainState::load(&mut snapshot, chain).await?;
        // The head is not stored, and is at least what was read.
        let announced = self.answers.chain(chain).unwrap_or_default().heights.head;
        let read = state.heights.read.map_or(0, |read| read.number);
        state.heights.head = announced.max(read);
        self.answers.apply(Change::ChainLoaded(chain, Box::new(state)));
        self.bells.ring_all(Some(chain));
        self.watches.send_replace(());
        Ok(())
    }

    async fn refresh_people(&self) -> Result<(), EngineError> {
        // The connection first: those who hold the others may be waiting for the lock.
        let mut snapshot = self.store.begin_read().await?;
        let _alone = self.publishing.write().await;
        if self.record.has_news(&mut snapshot).await? {
            self.answers.reload_people(&mut snapshot).await?;
            self.bells.ring_all(None);
        }
        Ok(self.record.caught_up(&mut snapshot).await?)
    }

    /// Loads memory anew where it may not be as the database is. No commit is between the database and memory meanwhile.
    pub(super) async fn make_sure(&self) -> Result<(), EngineError> {
        if !self.memory_unsure.load(Ordering::SeqCst) {
            return Ok(());
        }
        // The connection first, as above.
        let mut snapshot = self.store.begin_read().await?;
        let _alone = self.publishing.write().await;
        if self.memory_unsure.load(Ordering::SeqCst) {
            self.answers.reload(&mut snapshot).await?;
            self.bells.ring_all(None);
            self.record.caught_up(&mut snapshot).await?;
            self.memory_unsure.store(false, Ordering::SeqCst);
            tracing::warn!("memory was not sure to be as the database is, and was loaded anew");
        }
        Ok(())
    }
}
