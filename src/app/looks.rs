//! Who looks at a transaction that somebody asks about: a reader of its own for each chain, made when it is first needed, so
//! that no question ever waits for the task that reads the blocks.

use std::collections::HashMap;
use std::sync::Arc;

use alloy::primitives::B256;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;

use crate::chain::{self, ChainError, ChainReader, LogFilter, Network};
use crate::config;
use crate::domain::{ChainId, LookError, LookOutcome, LookUp};
use crate::engine::Engine;

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
            let settings = inner.engine.settings();
            let settings = settings.chains.iter().find(|known| known.id == chain);
            let settings = settings.ok_or(LookError::UnknownChain)?;
            let look = async { inner.reader(settings).await?.look(tx_hash).await };
            look.await.map(Arc::new).map_err(|error: ChainError| {
                tracing::debug!(chain = %settings.name, %error, "a transaction could not be looked at");
                LookError::Unavailable
            })
        }
        .boxed()
    }
}

impl Inner {
    async fn reader(&self, settings: &config::Chain) -> Result<ChainReader, ChainError> {
        let mut readers = self.readers.lock().await;
        if let Some((made_by, reader)) = readers.get(&settings.id)
            && made_by == settings
        {
            return Ok(reader.clone());
        }
        let mut quiet = settings.clone();
        for endpoint in quiet.endpoints.iter_mut().filter(|endpoint| endpoint.http.is_some()) {
            // A socket would be told of every head.
            endpoint.ws = None;
        }
        let (reader, _stream) = chain::connect(&quiet, &self.network, self.engine.clock(), LogFilter::default())?;
        reader.find_level().await?;
        readers.insert(settings.id, (settings.clone(), reader.clone()));
        Ok(reader)
    }
}
