//! What differs between two configurations: by name only, as it is logged, and secrets are compared without being shown.

use secrecy::{ExposeSecret as _, SecretString};

use super::checked::{
    Checkout, CheckoutApi, Config, Endpoint, Jwks, JwksUrl, Jwt, StoreSettings, Stripe, WebhookEndpoint,
};
use crate::domain::ChainId;

/// How one of several has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It is there under the same key, and different.
    Changed,
    /// It is gone.
    Removed,
}

/// What differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Chains, by their id.
    pub chains: Vec<(ChainId, Change)>,
    /// Receivers of events, by their name.
    pub webhooks: Vec<(String, Change)>,
    /// Sections that a running process can take over.
    pub sections: Vec<&'static str>,
    /// Keys and sections that only a start reads.
    pub at_restart: Vec<&'static str>,
}

impl Changes {
    /// From one configuration to another.
    #[must_use]
    pub fn between(before: &Config, after: &Config) -> Self {
        let mut changes = Self {
            chains: differences(&before.chains, &after.chains, |chain| chain.id),
            webhooks: differences(&before.webhooks, &after.webhooks, |webhook| webhook.name.clone()),
            ..Self::default()
        };
        let at_restart = [
            ("server.listen", before.server.listen != after.server.listen),
            (
                "server.metrics_listen",
                before.server.metrics_listen != after.server.metrics_listen,
            ),
            ("store", before.store != after.store),
            ("log", before.log != after.log),
            ("catalogue", before.catalogue != after.catalogue),
        ];
        let limits = |config: &Config| {
            let server = &config.server;
            (
                server.max_body_bytes,
                server.request_timeout,
                server.requests_per_second,
                server.max_event_streams,
                server.public_url.clone(),
                server.allowed_origins.clone(),
            )
        };
        let sections = [
            ("server", limits(before) != limits(after)),
            ("payments", before.payments != after.payments),
            ("wallets", before.wallets != after.wallets),
            ("receipts", before.receipts != after.receipts),
            ("stripe", before.stripe != after.stripe),
            ("checkout", before.checkout != after.checkout),
            ("jwt", before.jwt != after.jwt),
        ];
        let differing = |pairs: &[(&'static str, bool)]| -> Vec<&'static str> {
            pairs
                .iter()
                .filter(|(_, differs)| *differs)
                .map(|(name, _)| *name)
                .collect()
        };
        changes.at_restart = differing(&at_restart);
        changes.sections = differing(&sections);
        changes
    }
}

fn differences<T: PartialEq, K: PartialEq>(
    before: &[T],
    after: &[T],
    key: impl Fn(&T) -> K,
) -> Vec<(K, Change)> {
    let find = |among: &[T], wanted: &K| among.iter().position(|one| key(one) == *wanted);
    let removed = before
        .iter()
        .map(&key)
        .filter(|known| find(after, known).is_none());
    let mut found: Vec<(K, Change)> = removed.map(|known| (known, Change::Removed)).collect();
    for one in after {
        match find(before, &key(one)).and_then(|at| before.get(at)) {
            None => found.push((key(one), Change::Added)),
            Some(known) if known != one => found.push((key(one), Change::Changed)),
            Some(_) => {}
        }
    }
    found
}

fn exposed(secret: Option<&SecretString>) -> Option<&str> {
    secret.map(SecretString::expose_secret)
}

fn all_exposed(secrets: &[SecretString]) -> Vec<&str> {
    secrets.iter().map(SecretString::expose_secret).collect()
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            name,
            operator,
            ws,
            http,
            requests_per_second,
            max_in_flight,
            request_timeout,
        } = other;
        self.name == *name
            && self.operator == *operator
            && exposed(self.ws.as_ref()) == exposed(ws.as_ref())
            && exposed(self.http.as_ref()) == exposed(http.as_ref())
            && self.requests_per_second == *requests_per_second
            && self.max_in_flight == *max_in_flight
            && self.request_timeout == *request_timeout
    }
}

impl Eq for Endpoint {}

impl PartialEq for WebhookEndpoint {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            name,
            url,
            secrets,
            allow_private_network,
        } = other;
        self.name == *name
            && self.url.expose_secret() == url.expose_secret()
            && all_exposed(&self.secrets) == all_exposed(secrets)
            && self.allow_private_network == *allow_private_network
    }
}

impl PartialEq for StoreSettings {
    fn eq(&self, other: &Self) -> bool {
        let Self { url, max_connections } = other;
        self.url.expose_secret() == url.expose_secret() && self.max_connections == *max_connections
    }
}

impl PartialEq for Stripe {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            webhook_secrets,
            tolerance,
        } = other;
        all_exposed(&self.webhook_secrets) == all_exposed(webhook_secrets) && self.tolerance == *tolerance
    }
}

impl PartialEq for Checkout {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            api,
            business_secrets,
            commerce_secrets,
            tolerance,
        } = other;
        self.api == *api
            && all_exposed(&self.business_secrets) == all_exposed(business_secrets)
            && all_exposed(&self.commerce_secrets) == all_exposed(commerce_secrets)
            && self.tolerance == *tolerance
    }
}

impl PartialEq for CheckoutApi {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            api_key_id,
            api_key_secret,
            base_url,
            allow_private_network,
            timeout,
        } = other;
        self.api_key_id == *api_key_id
            && self.api_key_secret.expose_secret() == api_key_secret.expose_secret()
            && self.base_url == *base_url
            && self.allow_private_network == *allow_private_network
            && self.timeout == *timeout
    }
}

impl PartialEq for Jwt {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            hs256_secrets,
            jwks,
            algorithms,
            issuer,
            audiences,
            user_claim,
            tenant_claim,
            role_claim,
            default_role,
            leeway,
            requests_per_second,
        } = other;
        all_exposed(&self.hs256_secrets) == all_exposed(hs256_secrets)
            && self.jwks == *jwks
            && self.algorithms == *algorithms
            && self.issuer == *issuer
            && self.audiences == *audiences
            && self.user_claim == *user_claim
            && self.tenant_claim == *tenant_claim
            && self.role_claim == *role_claim
            && self.default_role == *default_role
            && self.leeway == *leeway
            && self.requests_per_second == *requests_per_second
    }
}

impl PartialEq for Jwks {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(own), Self::File(other)) => own.expose_secret() == other.expose_secret(),
            (Self::Url(own), Self::Url(other)) => own == other,
            _ => false,
        }
    }
}

impl PartialEq for JwksUrl {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            url,
            refresh,
            max_age,
            allow_private_network,
        } = other;
        self.url.expose_secret() == url.expose_secret()
            && self.refresh == *refresh
            && self.max_age == *max_age
            && self.allow_private_network == *allow_private_network
    }
}
