//! What is owed to the chat product, and what became of each try to deliver it.

use super::work::{Command, Origin, Work};
use super::{Engine, EngineError};
use crate::domain::Millis;
use crate::store::{self, Delivery};

/// Deliveries that are looked for at once.
const BATCH: i64 = 32;

/// Stores what became of one try.
#[derive(Debug, Clone)]
pub struct RecordDelivery {
    /// The delivery, with this try counted.
    pub delivery: Delivery,
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// Whether it arrived.
    pub delivered: bool,
    /// When to try again; none is for ever.
    pub next_at: Option<Millis>,
}

impl Command for RecordDelivery {
    type Output = ();

    fn origin(&self) -> Origin {
        Origin {
            actor: "notify".to_owned(),
            cause: self.delivery.event_id.clone(),
        }
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        let state = match (self.delivered, self.next_at) {
            (true, _) => "delivered",
            (false, Some(_)) => "pending",
            (false, None) => "dead",
        };
        let next_at = self.next_at.unwrap_or(work.now);
        work.tx
            .update_delivery(&self.delivery, state, next_at, self.status)
            .await?;
        // The next event of the same resource may go now.
        work.published.owes_events = state != "pending";
        Ok(())
    }
}

impl Engine {
    /// What is due to one endpoint, the oldest of each resource.
    ///
    /// # Errors
    /// The database fails.
    pub async fn due_deliveries(&self, endpoint: &str) -> Result<Vec<Delivery>, EngineError> {
        let mut conn = self.inner.store.read().await?;
        let now = self.inner.clock.now_ms();
        let due = store::due_deliveries(&mut conn, endpoint, now, BATCH).await?;
        // Whoever is told of a change may ask about it at once.
        self.inner.caught_up().await;
        Ok(due)
    }

    /// When the oldest event was made that is still owed to anyone who is configured.
    ///
    /// # Errors
    /// The database fails.
    pub async fn oldest_owed(&self) -> Result<Option<Millis>, EngineError> {
        let mut conn = self.inner.store.read().await?;
        let mut oldest: Option<Millis> = None;
        for endpoint in &self.inner.settings().webhooks {
            let owed = store::oldest_due_delivery(&mut conn, endpoint).await?;
            oldest = [oldest, owed].into_iter().flatten().min();
        }
        Ok(oldest)
    }
}
