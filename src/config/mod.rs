//! The operator's configuration: raw as written, then checked.
//!
//! Layers, lowest first: embedded defaults, chain files, the file of `--config`, the environment. All faults are reported
//! at once, each with its key and its remedy, and none with a value. It must not read the process's environment by itself,
//! log, or connect anywhere.

mod changes;
mod check;
mod check_chain;
mod check_checkout;
mod check_finality;
mod check_jwt;
mod checked;
mod env;
mod fault;
mod layers;
mod raw;
#[cfg(test)]
mod tests;
mod value;

use std::path::Path;

pub use changes::{Change, Changes};
pub use checked::{
    CatalogueSettings, Chain, Checkout, CheckoutApi, ClaimPath, Config, Endpoint, Jwks, JwksUrl, Jwt,
    KeyAlgorithm, Log, Payments, Receipts, Server, StoreSettings, Stripe, Wallets, WebhookEndpoint,
};
pub use env::Env;
pub use fault::{ConfigErrors, Fault};

/// A configuration, and what the operator should know about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the other rooms are given.
    pub config: Config,
    /// Worth a line in the log each; they hold no values.
    pub warnings: Vec<String>,
}

/// Reads all layers and checks them. Relative paths start from the directory of `path`.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn load(path: Option<&Path>, env: &Env) -> Result<Loaded, ConfigErrors> {
    let mut faults = fault::Faults::default();
    let published = env::published(env, &mut faults);
    let Some(layers) = layers::gather(path, env, &mut faults) else {
        return Err(faults.into_errors(&[]));
    };
    let mut context = check::Context {
        env,
        base: path.and_then(Path::parent).unwrap_or(Path::new("")),
        faults,
    };
    let warnings = published.warnings.clone();
    let config = check::config(layers.table, published, &mut context);
    match config {
        Some(config) if context.faults.len() == 0 => Ok(Loaded { config, warnings }),
        _ => Err(context.faults.into_errors(&layers.origins)),
    }
}
