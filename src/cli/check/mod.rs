//! `tollgate check`: what the configuration amounts to, and what its endpoints and tokens are in truth.

mod probe;
mod table;

use std::sync::Arc;

use super::{Failure, wait};
use crate::app;
use crate::chain::{Internet, Network};
use crate::clock::Clock;
use crate::config::{self, Loaded};
use crate::egress;
use crate::jwt::Verifier;

/// Says what the configuration amounts to, and asks every endpoint unless `offline`. What is wrong with the configuration
/// alone was said before this is reached.
pub(super) fn check(loaded: &Loaded, offline: bool) -> Result<(), Failure> {
    let Loaded { config, warnings } = loaded;
    let catalogue = app::load_catalogue(&config.catalogue)?;
    Verifier::new(config.jwt.clone(), None).map_err(app::StartError::Keys)?;
    for warning in warnings {
        println!("warning: {warning}");
    }
    println!(
        "catalogue {}: {} plans in {}",
        catalogue.name(),
        catalogue.plans().len(),
        catalogue.currency()
    );
    for chain in &config.chains {
        println!("{}", summary(chain));
    }
    if offline || config.chains.is_empty() {
        println!("the configuration is good");
        return Ok(());
    }
    let faults = wait(probe_all(&config.chains))?;
    if faults.is_empty() {
        println!("the configuration is good, and its endpoints answer as it says");
        return Ok(());
    }
    let faults = faults.join("\n  ");
    Err(Failure(format!(
        "the endpoints do not answer as the configuration says:\n  {faults}"
    )))
}

fn summary(chain: &config::Chain) -> String {
    let tokens: Vec<&str> = chain.tokens.iter().map(|token| token.symbol.as_str()).collect();
    let tokens = if tokens.is_empty() {
        "none".to_owned()
    } else {
        tokens.join(", ")
    };
    format!(
        "chain {} ({}): {} endpoints, finality {}, tokens: {tokens}",
        chain.name,
        chain.id,
        chain.endpoints.len(),
        chain.finality.names(),
    )
}

/// Prints a table for each chain, and returns all faults.
async fn probe_all(chains: &[config::Chain]) -> Result<Vec<String>, Failure> {
    egress::install_crypto_provider();
    let network: Arc<dyn Network> = Arc::new(Internet::new()?);
    let clock = Clock::system();
    let probes = chains.iter().map(|chain| probe::chain(&network, &clock, chain));
    let mut faults = Vec::new();
    for (chain, probe) in chains.iter().zip(futures_util::future::join_all(probes).await) {
        println!("\nchain {} ({})", chain.name, chain.id);
        table::print(&probe.endpoint_rows());
        if !probe.tokens.is_empty() {
            println!();
            table::print(&probe.token_rows());
        }
        for warning in &probe.warnings {
            println!("  warning: {warning}");
        }
        faults.extend(probe.faults);
    }
    println!();
    Ok(faults)
}
