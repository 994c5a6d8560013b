//! A chain that contradicts what was final: the word of some endpoints against others, or the chain's own, which is set aside
//! until a person has looked.

use std::time::Duration;

use super::task::{ChainTask, Halt, SyncError};
use crate::chain::Dispute;
use crate::engine::Quarantine;
use crate::health::Concern;

/// How often it is looked whether a person has resolved a quarantine.
const RESOLVED_POLL: Duration = Duration::from_secs(1);

impl ChainTask {
    /// Why the chain must be set aside; none where other endpoints still have what was read, or could say so.
    pub(super) async fn condemned(&mut self, halt: Halt) -> Option<String> {
        if let Halt::Quarantined(reason) = halt {
            return Some(reason);
        }
        // Who lacks the lowest block that is kept lacks what is final, too.
        let Some(ours) = self.heights.finalized.or(self.window.lowest()) else {
            tracing::warn!(chain = %self.settings.name, %halt, "nothing is kept that this could contradict");
            return None;
        };
        match self.reader.dispute(ours).await {
            Dispute::Lost(endpoints) => Some(format!("{halt}; so say {}", endpoints.join(", "))),
            Dispute::Upheld => None,
            Dispute::Open => {
                tracing::error!(chain = %self.settings.name, %halt, "some endpoint says so; others do not answer yet");
                self.report(Some(
                    "an endpoint contradicts what was final, and the others do not answer",
                ));
                None
            }
        }
    }

    /// Sets the chain aside: nothing counts on it until a person says who is right.
    pub(super) async fn quarantine(&mut self, reason: &str) -> Result<(), SyncError> {
        let quarantine = Quarantine {
            chain: self.settings.id,
            fence: self.fence,
            reason: reason.to_owned(),
        };
        self.engine.execute(quarantine).await?;
        tracing::error!(chain = %self.settings.name, reason, "the chain is quarantined until it is resolved");
        let concern = Concern {
            check: "chain_quarantined",
            detail: format!(
                "{reason}. Find out who is right, then: tollgate chain resolve --chain {} --keep, or --accept-from <block>",
                self.settings.name
            ),
            is_note: false,
        };
        self.health.set_concerns(self.settings.id, vec![concern]);
        self.report(Some("quarantined"));
        Ok(())
    }

    /// Waits until the quarantine is resolved, whichever process does it.
    pub(super) async fn wait_until_resolved(&self) {
        loop {
            tokio::time::sleep(RESOLVED_POLL).await;
            match self.engine.quarantine(self.settings.id).await {
                Ok(None) => break,
                Ok(Some(_)) => {}
                Err(error) => {
                    tracing::warn!(chain = %self.settings.name, %error, "the quarantine cannot be looked up");
                }
            }
        }
        tracing::info!(chain = %self.settings.name, "the quarantine was resolved; the chain is looked at again");
    }
}
