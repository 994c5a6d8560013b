//! The configuration read again while it runs: what differs is replaced, all else goes on as it was. A chain whose settings
//! change is stopped and started; what it misses meanwhile is a gap like any other. The log says what changed by name only.

use std::sync::Arc;
use std::time::Duration;

use super::{
    App, JWKS_TASK, StartError, chain_task, checkout_provider, notifiers, published, routes, settings,
    webhook_task,
};
use crate::config::{self, Change, Changes, Config, ConfigErrors, Loaded};
use crate::jwt::Verifier;
use crate::metrics;

/// How long one task may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

impl App {
    /// Goes by a configuration that was read while this runs. If it is wrong, every fault is logged and the old one stays in
    /// force. Says whether it was taken over.
    pub async fn reload(&mut self, read: Result<Loaded, ConfigErrors>) -> bool {
        let applied = match read {
            Ok(Loaded { config, warnings }) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                self.go_by(config).await.map_err(|error| {
                    tracing::error!(%error, "the new configuration cannot be taken over; the old one stays in force");
                })
            }
            Err(ConfigErrors(faults)) => {
                for fault in faults {
                    tracing::error!(
                        key = fault.path,
                        problem = fault.problem,
                        "the new configuration is wrong"
                    );
                }
                tracing::error!("the configuration was read again and is wrong; the old one stays in force");
                Err(())
            }
        };
        let outcome = if applied.is_ok() { "applied" } else { "refused" };
        ::metrics::counter!(metrics::CONFIG_RELOADS_TOTAL, "outcome" => outcome).increment(1);
        applied.is_ok()
    }

    async fn go_by(&mut self, config: Config) -> Result<(), StartError> {
        let changes = Changes::between(&self.config, &config);
        let webhooks = config.webhooks.iter();
        let webhooks = webhooks.filter(|webhook| differs(&changes.webhooks, &webhook.name, Change::Removed));
        let notifiers = notifiers(&self.engine, webhooks)?;
        let same_keys = config.jwt.jwks == self.config.jwt.jwks;
        // What was fetched stays in use where it comes from the same place.
        let published = if same_keys {
            self.published.clone()
        } else {
            published(&config.jwt)
        };
        let tokens = Arc::new(Verifier::new(config.jwt.clone(), published.clone())?);
        let checkout = checkout_provider(&config.checkout)?;
        self.stop_changed(&changes).await;
        if let Err(error) = self.engine.reconfigure(settings(&config)).await {
            self.start_again(&changes)?;
            return Err(error.into());
        }
        self.report(&changes, &config);
        let before = std::mem::replace(&mut self.config, config);
        // What only a start reads is as it was, and is reported again next time.
        self.config.store = before.store;
        self.config.log = before.log;
        self.config.catalogue = before.catalogue;
        self.config.server.listen = before.server.listen;
        self.config.server.metrics_listen = before.server.metrics_listen;
        end_metrics(&before.chains, &self.config.chains);
        if changes
            .sections
            .iter()
            .any(|section| ["server", "receipts", "stripe", "checkout", "jwt"].contains(section))
        {
            (self.tokens, self.published) = (tokens, published);
            let routes = routes(
                &self.config,
                (&self.engine, &self.looks),
                &self.health,
                (&self.tokens, checkout),
            );
            self.routes.send_modify(|current| *current = routes);
        }
        if !same_keys {
            self.workers.stop(JWKS_TASK, STOP_TIMEOUT).await;
            self.start_jwks();
        }
        for notifier in notifiers {
            self.start_webhook(notifier);
        }
        self.start_chains(&changes, Change::Removed);
        Ok(())
    }

    async fn stop_changed(&mut self, changes: &Changes) {
        for (id, _) in &changes.chains {
            let known = self.config.chains.iter().find(|chain| chain.id == *id);
            if let Some(chain) = known {
                self.workers.stop(&chain_task(&chain.name), STOP_TIMEOUT).await;
                self.health.forget_chain(*id);
            }
        }
        for (name, _) in &changes.webhooks {
            self.workers.stop(&webhook_task(name), STOP_TIMEOUT).await;
        }
    }

    /// Starts what was stopped, by the configuration that stays in force.
    fn start_again(&mut self, changes: &Changes) -> Result<(), StartError> {
        let webhooks = self.config.webhooks.iter();
        let webhooks = webhooks.filter(|webhook| differs(&changes.webhooks, &webhook.name, Change::Added));
        for notifier in notifiers(&self.engine, webhooks)? {
            self.start_webhook(notifier);
        }
        self.start_chains(changes, Change::Added);
        Ok(())
    }

    /// Starts the chains in force that differ in another way than this.
    fn start_chains(&mut self, changes: &Changes, but: Change) {
        let chains = self.config.chains.iter();
        let chains: Vec<_> = chains
            .filter(|chain| differs(&changes.chains, &chain.id, but))
            .cloned()
            .collect();
        for chain in chains {
            self.start_chain(&chain);
        }
    }

    fn report(&self, changes: &Changes, config: &Config) {
        let chains = config.chains.iter().chain(&self.config.chains);
        for (id, change) in &changes.chains {
            let name = chains
                .clone()
                .find(|chain| chain.id == *id)
                .map(|chain| &chain.name);
            tracing::info!(chain = name, ?change, "configuration read again");
        }
        for (webhook, change) in &changes.webhooks {
            tracing::info!(webhook, ?change, "configuration read again");
        }
        for section in &changes.sections {
            tracing::info!(section, "configuration read again");
        }
        for key in &changes.at_restart {
            tracing::warn!(
                key,
                "changed in the configuration; it needs a restart, and is as before until then"
            );
        }
        if *changes == Changes::default() {
            tracing::info!("configuration read again; nothing differs");
        }
    }
}

/// Chains, tokens and endpoints that are gone are not shown as they were last.
fn end_metrics(before: &[config::Chain], now: &[config::Chain]) {
    for chain in before {
        let still = now.iter().find(|still| still.name == chain.name);
        for token in &chain.tokens {
            let of_still =
                still.and_then(|still| still.tokens.iter().find(|other| other.symbol == token.symbol));
            if of_still.is_none() {
                metrics::end_token(&chain.name, &token.symbol);
            }
        }
        let Some(still) = still else {
            metrics::end_chain(&chain.name);
            continue;
        };
        for endpoint in &chain.endpoints {
            if !still.endpoints.iter().any(|still| still.name == endpoint.name) {
                metrics::end_endpoint(&chain.name, &endpoint.name);
            }
        }
    }
}

/// Whether this one is among those that differ, in another way than this.
fn differs<K: PartialEq>(all: &[(K, Change)], key: &K, but: Change) -> bool {
    all.iter().any(|(known, change)| known == key && *change != but)
}
