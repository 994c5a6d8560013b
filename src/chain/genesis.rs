//! Block 0: the identity of a chain. It is compared and never recomputed, as on some chains it hashes to something else.

use std::collections::BTreeMap;

use alloy::primitives::B256;
use futures_util::future::join_all;
use serde_json::json;

use super::endpoint::Endpoint;
use super::error::ChainError;
use super::operators::operators_of;
use super::reader::{ChainReader, no_endpoint};
use super::rpc::WireHash;

impl ChainReader {
    /// From now on, an endpoint whose block 0 has another hash is never used, and named in [`ChainReader::status`]. Each is
    /// asked once per connection, and once a minute.
    pub fn expect_genesis(&self, genesis: B256) {
        self.endpoints().expect_genesis(genesis);
    }

    /// The hash of block 0 as the best endpoint gives it.
    ///
    /// # Errors
    /// Every endpoint failed.
    pub async fn genesis_hash(&self) -> Result<B256, ChainError> {
        self.try_each(|endpoint| async move { genesis_of(&endpoint).await })
            .await
    }

    /// The hash of block 0 of a chain of which nothing is known yet: what most operators give that give one. One of another
    /// chain, believed now, would make strangers of all the right ones later.
    ///
    /// # Errors
    /// [`ChainError::GenesisDiffers`], naming the endpoints, where no majority has the same; [`ChainError::GenesisUntold`]
    /// where fewer operators gave one than must agree; or every endpoint failed.
    pub async fn first_genesis(&self) -> Result<B256, ChainError> {
        let endpoints: Vec<Endpoint> = self.endpoints().iter().cloned().collect();
        let answers = join_all(endpoints.iter().map(genesis_of)).await;
        let mut said: BTreeMap<B256, Vec<&Endpoint>> = BTreeMap::new();
        let mut failure = None;
        for (endpoint, answer) in endpoints.iter().zip(answers) {
            match answer {
                Ok(genesis) => said.entry(genesis).or_default().push(endpoint),
                Err(error) => {
                    tracing::warn!(%error, "an endpoint does not give block 0, with which the chain is begun");
                    failure.get_or_insert(error);
                }
            }
        }
        let groups = said.iter().map(|(genesis, who)| (operators_of(who), *genesis));
        let Some((most, genesis)) = groups.clone().max() else {
            return Err(failure.unwrap_or_else(no_endpoint));
        };
        let all: usize = groups.map(|(operators, _)| operators).sum();
        if 2 * most <= all {
            return Err(ChainError::GenesisDiffers(in_words(&said)));
        }
        let agree = self.agree();
        if most < agree {
            return Err(ChainError::GenesisUntold { agree });
        }
        Ok(genesis)
    }
}

async fn genesis_of(endpoint: &Endpoint) -> Result<B256, ChainError> {
    let params = json!(["0x0", false]);
    let block: WireHash = endpoint.request("eth_getBlockByNumber", params).await?;
    Ok(block.hash)
}

fn in_words(said: &BTreeMap<B256, Vec<&Endpoint>>) -> String {
    let group = |(genesis, who): (&B256, &Vec<&Endpoint>)| {
        let names: Vec<&str> = who.iter().map(|endpoint| endpoint.name()).collect();
        format!("{} has {genesis}", names.join(" and "))
    };
    said.iter().map(group).collect::<Vec<_>>().join(", ")
}
