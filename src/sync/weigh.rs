//! What was heard beside the blocks takes effect: tiers that may move up do, and what stalls is said.

use std::sync::Arc;

use super::confirm::{self, Clocked, Opinion};
use super::lookout::Heard;
use super::task::{ChainTask, SyncError};
use crate::domain::{BlockRef, Evidence};
use crate::engine::MarkStalled;
use crate::health::Concern;
use crate::metrics;

impl ChainTask {
    /// What blocks are measured against now.
    pub(super) fn evidence(&self) -> Evidence {
        confirm::evidence(&self.tags, &self.council, self.clocked())
    }

    fn clocked(&self) -> Clocked<'_> {
        let now = self.engine.clock().now_ms();
        (&self.window, now, self.settings.max_tag_age)
    }

    /// Takes in one look around.
    pub(super) async fn weigh(&mut self, heard: Heard) -> Result<(), SyncError> {
        self.tags.safe.hear(&self.window, &heard.safe);
        self.tags.finalized.hear(&self.window, &heard.finalized);
        let mut outcome = Ok(());
        for (endpoint, head) in &heard.heads {
            let lags = self.window.contains(head.block());
            if !lags && !self.is_outvoted(endpoint) {
                self.saw(head);
                outcome = outcome.and(self.follow_head(head).await);
            }
        }
        self.hear_operators(&heard.opinions);
        outcome?;
        self.mark_stalled().await?;
        self.settle().await?;
        self.show_finality();
        Ok(())
    }

    /// An endpoint announced a block: where it is one of ours, its operator vouches for it.
    pub(super) async fn hear_vouch(&mut self, endpoint: &Arc<str>, block: BlockRef) -> Result<(), SyncError> {
        if !self.council.is_asked() || !self.window.contains(block) {
            return Ok(());
        }
        let mut endpoints = self.settings.endpoints.iter();
        let Some(known) = endpoints.find(|known| known.name == **endpoint) else {
            return Ok(());
        };
        let opinion = Opinion {
            operator: known.operator.as_str().into(),
            endpoint: Arc::clone(endpoint),
            blocks: vec![block],
        };
        self.hear_operators(&[opinion]);
        self.settle().await
    }

    /// Whether what an endpoint said last contradicts what enough operators say, or what was final. Its head is then none of
    /// this chain's.
    pub(super) fn is_outvoted(&self, endpoint: &str) -> bool {
        let outvoted = self.council.outvoted(&self.window);
        outvoted.iter().any(|(known, _)| **known == *endpoint) || self.reader.is_contradicting(endpoint)
    }

    fn hear_operators(&mut self, opinions: &[Opinion]) {
        for endpoint in self.council.hear(&self.window, opinions) {
            tracing::error!(chain = %self.settings.name, %endpoint, "an endpoint contradicts what was read");
            let chain = self.settings.name.clone();
            ::metrics::counter!(metrics::ENDPOINT_DISAGREEMENTS_TOTAL, "chain" => chain, "endpoint" => endpoint.to_string())
                .increment(1);
        }
        for (endpoint, block) in self.council.outvoted(&self.window) {
            self.reader.put_aside(&endpoint, block.number);
        }
    }

    /// Lets tiers move up that wait for no block.
    async fn settle(&mut self) -> Result<(), SyncError> {
        let evidence = self.evidence();
        if confirm::would_settle(&self.settings.finality, &self.heights, &evidence) {
            self.advance(None, Vec::new()).await?;
        }
        Ok(())
    }

    async fn mark_stalled(&mut self) -> Result<(), SyncError> {
        let reason = confirm::stalled(&self.settings.finality, &self.tags, self.clocked());
        if reason.is_some() != self.stalled.is_some() {
            if let Some(reason) = &reason {
                tracing::error!(chain = %self.settings.name, %reason, "finality stalls");
            } else {
                tracing::info!(chain = %self.settings.name, "finality moves again");
            }
            let (chain, fence) = (self.settings.id, self.fence);
            let mark = MarkStalled {
                chain,
                fence,
                reason: reason.clone(),
            };
            self.engine.execute(mark).await?;
        }
        self.stalled = reason;
        Ok(())
    }

    /// Says what keeps blocks from counting.
    pub(super) fn show_finality(&self) {
        let concern = |check, detail| Concern {
            check,
            detail,
            is_note: false,
        };
        let stalled = self.stalled.clone();
        let mut concerns: Vec<Concern> = stalled
            .map(|reason| concern("chain_finality_stalled", reason))
            .into_iter()
            .collect();
        concerns.extend(self.council.discord().map(|detail| Concern {
            check: "chain_agreement",
            detail,
            is_note: self.council.is_content(),
        }));
        if !self.council.is_asked() {
            concerns.push(Concern {
                check: "chain_agreement",
                detail: "one operator is believed: nobody else is asked whether its blocks are the chain's"
                    .to_owned(),
                is_note: true,
            });
        }
        self.health.set_concerns(self.settings.id, concerns);
        self.health.set_endpoints(self.settings.id, self.reader.status());
        self.show(
            metrics::CHAIN_FINALIZED,
            self.heights.finalized.map(|block| block.number),
        );
        if let crate::domain::Agreement::UpTo(agreed) = self.council.agreement(&self.window) {
            self.show(metrics::CHAIN_AGREED, Some(agreed.number));
        }
    }

    /// Whether enough operators have this block at its height, where more than one is asked.
    pub(super) async fn is_backed(&self, block: BlockRef) -> Result<bool, SyncError> {
        if !self.council.is_asked() {
            return Ok(true);
        }
        let said = self.reader.headers_at(block.number).await;
        let same = said
            .iter()
            .filter_map(|said| said.header.as_ref().ok())
            .filter(|header| header.hash == block.hash);
        Ok(same.count() >= self.council.agree())
    }
}
