//! When an endpoint's chain lacks a block that was final here: who still has that block, and who does not.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;

use super::endpoint::Endpoint;
use super::error::Problem;
use super::operators::{ask, operators_of};
use super::reader::ChainReader;
use super::rpc::quantity;
use crate::domain::BlockRef;

/// What the endpoints say of a block that was final.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dispute {
    /// Enough operators have it, no fewer than have another, and these are put aside.
    Upheld,
    /// Nobody can say yet: one that could be asked does not answer, or none does.
    Open,
    /// Enough operators have another; the endpoints' names.
    Lost(Vec<Arc<str>>),
}

impl ChainReader {
    /// Asks every endpoint for its block at the height of `ours`. One whose head stands still follows no chain any more.
    pub async fn dispute(&self, ours: BlockRef) -> Dispute {
        let endpoints = self.endpoints().ranked();
        let params = json!([quantity(ours.number), false]);
        let asked = endpoints
            .iter()
            .map(|endpoint| ask(endpoint, params.clone(), Some(ours.number)));
        let answers = join_all(asked).await;
        let (mut same, mut other, mut silent) = (Vec::new(), Vec::new(), false);
        for (endpoint, answer) in endpoints.iter().zip(answers) {
            match answer {
                Ok(header) if header.hash == ours.hash => {
                    if !endpoint.identity().is_stale() {
                        same.push(endpoint);
                    }
                }
                Ok(_) => other.push(endpoint),
                Err(_) => silent |= is_usable(endpoint),
            }
        }
        let (upheld, contradicted) = (operators_of(&same), operators_of(&other));
        if upheld >= contradicted.max(self.agree()) {
            for endpoint in other {
                put_aside(endpoint, ours);
            }
            return Dispute::Upheld;
        }
        if silent || contradicted < self.agree() {
            return Dispute::Open;
        }
        let names = other
            .iter()
            .map(|endpoint| Arc::clone(&endpoint.identity().endpoint));
        Dispute::Lost(names.collect())
    }

    /// Whether an endpoint is put aside because its chain lacks what was final.
    #[must_use]
    pub fn is_contradicting(&self, endpoint: &str) -> bool {
        let mut endpoints = self.endpoints().iter();
        endpoints.any(|known| {
            known.name() == endpoint && known.standing().quarantined() == Some(Problem::ContradictsFinal)
        })
    }
}

fn put_aside(endpoint: &Endpoint, ours: BlockRef) {
    let identity = endpoint.identity();
    if endpoint.standing().contradicted() {
        identity.count_quarantine();
    }
    tracing::error!(
        chain = %identity.chain, endpoint = endpoint.name(), number = ours.number, hash = %ours.hash,
        "the endpoint has another block where this one was final; others still have it, and the endpoint is put aside"
    );
}

/// Whether its answer is waited for: it is healthy, and its head does not stand still.
fn is_usable(endpoint: &Endpoint) -> bool {
    endpoint.is_healthy() && !endpoint.identity().is_stale()
}
