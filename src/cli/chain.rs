//! `tollgate chain`

use clap::{Args, Subcommand};

use super::{Failure, wait};
use crate::app;
use crate::clock::Clock;
use crate::config::Loaded;
use crate::engine::{Resolution, ResolveQuarantine, rfc3339};

/// What to do with a chain.
#[derive(Debug, Subcommand)]
pub(super) enum Chain {
    /// End a chain's quarantine. A running service notices within seconds.
    Resolve(Resolve),
}

/// Which chain, and who was right.
#[derive(Debug, Args)]
pub(super) struct Resolve {
    /// The chain, by its name in the configuration.
    #[arg(long, value_name = "NAME")]
    chain: String,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct How {
    /// The endpoints were wrong: nothing is undone, and the chain is looked at again.
    #[arg(long)]
    keep: bool,
    /// The chain really was reorganised: every payment at or above this block is reversed, watched contracts are read again
    /// from their beginning, and the chain is read on from here.
    #[arg(long, value_name = "BLOCK")]
    accept_from: Option<u64>,
}

impl Chain {
    pub(super) fn execute(&self, loaded: &Loaded) -> Result<(), Failure> {
        let Self::Resolve(Resolve { chain, how }) = self;
        let named = loaded.config.chains.iter().find(|known| known.name == *chain);
        let known = named.ok_or_else(|| {
            let others = loaded.config.chains.iter().map(|known| known.name.as_str());
            let others: Vec<&str> = others.collect();
            Failure(format!(
                "no chain is called {chain:?}; there are: {}",
                others.join(", ")
            ))
        })?;
        let resolution = how.accept_from.map_or(Resolution::Keep, Resolution::AcceptFrom);
        wait(async {
            let engine = app::open_engine(&loaded.config, Clock::system()).await?;
            let held = engine.chain(known.id).and_then(|answer| answer.quarantined);
            let command = ResolveQuarantine {
                chain: known.id,
                resolution,
            };
            engine.execute(command).await?;
            if let Some(held) = held {
                println!(
                    "{chain} was quarantined since {}: {}",
                    rfc3339(held.since),
                    held.reason
                );
            }
            match resolution {
                Resolution::Keep => {
                    println!("resolved: nothing was undone, and the chain is looked at again");
                }
                Resolution::AcceptFrom(block) => {
                    println!("resolved: undone from block {block} on, and read anew");
                }
            }
            engine.close().await;
            Ok(())
        })
    }
}
