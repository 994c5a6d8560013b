//! Who looks at a transaction that somebody asks about: a reader of its own for each chain, made when it is first needed, so
//! that no question ever waits for the task that reads the blocks, nor a follower of another instance has nobody to ask.

use std::collections::HashMap;
use std::sync::Arc;

use alloy::primitives::B256;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use crate::chain::{self, ChainError, ChainReader, LogFilter, Network};
use crate::config;
use crate::domain::{BlockRef, ChainId, LookError, LookOutcome, LookUp};
use crate::engine::Engine;

/// The part of an endpoint's rate, and of its requests in flight, that looks may take: one in so many.
const SHARE: u32 = 4;

/// The chains' readers. Clones share them.
#[derive(Debug, Clone)]
pub struct Readers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    network: Arc<dyn Network>,
    /// With the settings that each was made by.
    readers: Mutex<HashMap<ChainId, (config::Chain, ChainReader)>>,
}

impl Readers {
    /// Of the chains that the engine goes by.
    #[must_use]
    pub fn new(engine: Engine, network: Arc<dyn Network>) -> Self {
        Self(Arc::new(Inner {
            engine,
            network,
            readers: Mutex::default(),
        }))
    }
}

impl LookUp for Readers {
    fn look(&self, chain: ChainId, tx_hash: B256) -> BoxFuture<'static, LookOutcome> {
        let inner = Arc::clone(&self.0);
        async move {
            let reader = inner.reader(chain).await?;
            let look = reader.look(tx_hash).await;
            look.map(Arc::new).map_err(|error| unavailable(chain, &error))
        }
        .boxed()
    }

    fn links(
        &self,
        chain: ChainId,
        below: BlockRef,
        above: BlockRef,
    ) -> BoxFuture<'static, Result<bool, LookError>> {
        let inner = Arc::clone(&self.0);
        async move {
            let reader = inner.reader(chain).await?;
            let links = reader.links(below, above).await;
            links.map_err(|error| unavailable(chain, &error))
        }
        .boxed()
    }
}

fn unavailable(chain: ChainId, error: &ChainError) -> LookError {
    tracing::debug!(%chain, %error, "a transaction could not be looked at");
    LookError::Unavailable
}

impl Inner {
    async fn reader(&self, chain: ChainId) -> Result<ChainReader, LookError> {
        let settings = self.engine.settings();
        let settings = settings.chains.iter().find(|known| known.id == chain);
        let settings = settings.ok_or(LookError::UnknownChain)?;
        let made = {
            let mut readers = self.readers.lock().await;
            match readers.get(&chain) {
                Some((made_by, reader)) if made_by == settings => return Ok(reader.clone()),
                _ => drop(readers.remove(&chain)),
            }
            let connected = chain::connect(
                &sparing(settings),
                &self.network,
                self.engine.clock(),
                LogFilter::default(),
            );
            let (reader, _stream) = connected.map_err(|error| unavailable(chain, &error))?;
            reader
        };
        // Whoever comes meanwhile makes another; both are right, and the last is kept.
        let level = made.find_level().await;
        level.map_err(|error| unavailable(chain, &error))?;
        let mut readers = self.readers.lock().await;
        readers.insert(chain, (settings.clone(), made.clone()));
        Ok(made)
    }
}

/// The chain's settings for somebody who asks beside the task that reads it: over HTTP where there is any, as a socket would
/// be told of every head, and at a part of the rate.
fn sparing(settings: &config::Chain) -> config::Chain {
    let mut sparing = settings.clone();
    for endpoint in &mut sparing.endpoints {
        if endpoint.http.is_some() {
            endpoint.ws = None;
        }
        endpoint.requests_per_second = (endpoint.requests_per_second / SHARE).max(1);
        endpoint.max_in_flight = endpoint.max_in_flight.div_ceil(SHARE);
    }
    sparing
}
