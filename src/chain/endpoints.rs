//! A chain's endpoints: which is asked first, what is expected of all of them, and how each of them is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use alloy::primitives::B256;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::choice;
use super::endpoint::Endpoint;
use super::survey;
use crate::health::EndpointStatus;

/// A chain's endpoints. Clones are one; dropping the last ends their tasks.
#[derive(Debug, Clone)]
pub struct Endpoints(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    all: Vec<Endpoint>,
    /// The position of the endpoint that is asked first.
    leader: AtomicUsize,
    genesis: watch::Sender<Option<B256>>,
    survey: AbortHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.survey.abort();
    }
}

impl Endpoints {
    /// `genesis` is what the identities of `all` listen to.
    pub(super) fn new(all: Vec<Endpoint>, genesis: watch::Sender<Option<B256>>) -> Self {
        let survey = tokio::spawn(survey::survey(all.clone())).abort_handle();
        Self(Arc::new(Shared {
            all,
            leader: AtomicUsize::new(0),
            genesis,
            survey,
        }))
    }

    /// All of them, in the configured order.
    pub fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.0.all.iter()
    }

    /// Best first: by health, then latency, then the configured order. Those that are out come last, and answer at once with
    /// why they are.
    #[must_use]
    pub fn ranked(&self) -> Vec<Endpoint> {
        let candidates: Vec<_> = self.iter().map(Endpoint::candidate).collect();
        let before = self.0.leader.load(Ordering::Relaxed);
        let order = choice::ranked(&candidates, before);
        if let Some(&first) = order.first()
            && self.0.leader.swap(first, Ordering::Relaxed) != first
        {
            let identity = self.0.all[first].identity();
            tracing::info!(chain = %identity.chain, endpoint = %identity.endpoint, "this endpoint is asked first now");
        }
        order.into_iter().map(|at| self.0.all[at].clone()).collect()
    }

    /// From now on, who has another block 0 is never used.
    pub(super) fn expect_genesis(&self, genesis: B256) {
        self.0.genesis.send_if_modified(|expected| {
            let is_news = *expected != Some(genesis);
            *expected = Some(genesis);
            is_news
        });
    }

    /// How each of them is, in the configured order.
    pub(super) fn status(&self) -> Vec<EndpointStatus> {
        self.iter().map(Endpoint::status).collect()
    }
}
