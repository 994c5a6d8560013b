//! `tollgate explain`

use std::sync::Arc;

use alloy::primitives::B256;
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, wait};
use crate::app;
use crate::chain::{Internet, Network};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::domain::ChainId;
use crate::egress;

/// What to explain.
#[derive(Debug, Subcommand)]
pub(super) enum Explain {
    /// Say what a transaction is to this service: which log, which checks, which rule, which charge, or precisely why not. A
    /// transaction that was never read is looked at on the chain. It may run beside the service.
    Tx(Tx),
}

/// Which transaction.
#[derive(Debug, Args)]
pub(super) struct Tx {
    /// The chain, by its name in the configuration or its number.
    chain: String,
    /// The transaction's hash.
    hash: B256,
    /// Print one JSON object, as the API answers.
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn execute(&self, loaded: &Loaded) -> Result<(), Failure> {
        let Self::Tx(tx) = self;
        let chain = tx.chain(loaded)?;
        egress::install_crypto_provider();
        let explained = wait(async {
            let network: Arc<dyn Network> = Arc::new(Internet::new()?);
            let engine = app::open_engine(&loaded.config, Clock::system()).await?;
            let looks = app::looks(&engine, &network);
            let explained = engine.explain_tx(looks.as_ref(), Some(chain), tx.hash).await;
            engine.close().await;
            Ok(explained?)
        })?;
        if tx.json {
            println!("{}", json!(explained));
        } else {
            print!("{explained}");
        }
        Ok(())
    }
}

impl Tx {
    fn chain(&self, loaded: &Loaded) -> Result<ChainId, Failure> {
        let chains = &loaded.config.chains;
        let is_named = |id: ChainId| [id.to_string(), id.caip2()].contains(&self.chain);
        let named = chains
            .iter()
            .find(|chain| chain.name == self.chain || is_named(chain.id));
        named.map(|chain| chain.id).ok_or_else(|| {
            let known: Vec<&str> = chains.iter().map(|chain| chain.name.as_str()).collect();
            let (chain, known) = (&self.chain, known.join(", "));
            Failure(format!("there is no chain {chain:?}; there are: {known}"))
        })
    }
}
