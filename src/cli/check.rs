//! `tollgate check`

use super::Failure;
use crate::app;
use crate::config::Loaded;

/// Says what the configuration amounts to. What is wrong was said before this is reached.
pub(super) fn check(loaded: &Loaded) -> Result<(), Failure> {
    let Loaded { config, warnings } = loaded;
    let catalogue = app::load_catalogue(&config.catalogue)?;
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
        let tokens: Vec<&str> = chain.tokens.iter().map(|token| token.symbol.as_str()).collect();
        println!(
            "chain {} ({}): {} endpoints, {} to agree, finality {}, tokens: {}",
            chain.name,
            chain.id,
            chain.endpoints.len(),
            chain.agree,
            chain.finality.names(),
            if tokens.is_empty() {
                "none".to_owned()
            } else {
                tokens.join(", ")
            }
        );
    }
    println!("the configuration is good");
    Ok(())
}
