//! From what was written to what the other rooms are given: every section but the chains.
//!
//! Owns the bounds. Each check looks at every key before it gives up, so that an operator sees all faults at once; a
//! value exists only where all of its parts do. It must not log, and no fault may hold a value.

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use toml::{Table, Value};
use tracing_subscriber::EnvFilter;

use super::checked::{
    CatalogueSettings, Config, Log, Payments, Receipts, Server, StoreSettings, Stripe, Wallets,
    WebhookEndpoint,
};
use super::env::{Env, Published};
use super::fault::{Faults, join, read};
use super::{check_chain, check_checkout, check_jwt, raw, value};
use crate::domain::Amount;

const MAX_SECRET_FILE_BYTES: u64 = 64 * 1024;

/// What checks look things up in, and where they put faults.
pub(super) struct Context<'a> {
    pub(super) env: &'a Env,
    /// What relative paths start from.
    pub(super) base: &'a Path,
    pub(super) faults: Faults,
}

/// Checks all sections; `None` where a fault was added.
pub(super) fn config(mut table: Table, published: Published, context: &mut Context<'_>) -> Option<Config> {
    let server = section(&mut table, "server", context).and_then(|raw| server(&raw, &mut context.faults));
    let store = section(&mut table, "store", context).and_then(|raw| store(raw, context));
    let log = section(&mut table, "log", context).and_then(|raw| log(raw, &mut context.faults));
    let catalogue = section(&mut table, "catalogue", context).map(|raw: raw::Catalogue| CatalogueSettings {
        path: raw.path.map(|path| context.base.join(path)),
        stripe_prices: published.stripe_prices,
    });
    let payments =
        section(&mut table, "payments", context).and_then(|raw| payments(raw, &mut context.faults));
    let wallets = section(&mut table, "wallets", context).and_then(|raw| wallets(&raw, &mut context.faults));
    let receipts =
        section(&mut table, "receipts", context).and_then(|raw| receipts(&raw, &mut context.faults));
    let stripe = section(&mut table, "stripe", context).and_then(|raw| stripe(raw, context));
    let checkout =
        section(&mut table, "checkout", context).and_then(|raw| check_checkout::checkout(raw, context));
    let jwt = section(&mut table, "jwt", context).and_then(|raw| check_jwt::jwt(raw, context));
    let webhooks = webhooks(table.remove("webhooks"), context);
    let chains = check_chain::chains(table.remove("chains"), &published.treasuries, context);
    if let (Some(payments), Some(chains)) = (&payments, &chains) {
        check_chain::tolerance_fits(payments, chains, &mut context.faults);
    }
    for unknown in table.keys() {
        context.faults.add(unknown, "is not a known section");
    }
    Some(Config {
        server: server?,
        store: store?,
        log: log?,
        catalogue: catalogue?,
        payments: payments?,
        wallets: wallets?,
        receipts: receipts?,
        stripe: stripe?,
        checkout: checkout?,
        jwt: jwt?,
        webhooks: webhooks?,
        chains: chains?,
    })
}

fn section<T: serde::de::DeserializeOwned>(
    table: &mut Table,
    name: &str,
    context: &mut Context<'_>,
) -> Option<T> {
    let value = table.remove(name).unwrap_or_else(|| Value::Table(Table::new()));
    read(name, value, &mut context.faults)
}

const SECOND: Duration = Duration::from_secs(1);

fn server(raw: &raw::Server, faults: &mut Faults) -> Option<Server> {
    let listen = faults.take("server.listen", value::listen(&raw.listen));
    let metrics = faults.take("server.metrics_listen", value::listen(&raw.metrics_listen));
    if let (Some(api), Some(metrics)) = (listen, metrics)
        && api == metrics
        && api.port() != 0
    {
        faults.add("server.metrics_listen", "must not be the same as server.listen");
    }
    let body = value::number(raw.max_body_bytes, &(1024..=16 * 1024 * 1024));
    let body = faults.take("server.max_body_bytes", body);
    let allowed = Duration::from_millis(100)..=Duration::from_mins(5);
    let timeout = faults.take(
        "server.request_timeout",
        value::duration(&raw.request_timeout, &allowed),
    );
    let rate = value::number(raw.requests_per_second, &(1..=1_000_000));
    let rate = faults.take("server.requests_per_second", rate);
    let streams = value::number(raw.max_event_streams, &(1..=100_000));
    let streams = faults.take("server.max_event_streams", streams);
    let public_url = raw.public_url.as_deref().map(value::public_url);
    let public_url = public_url.map(|url| faults.take("server.public_url", url));
    let mut origins = Vec::new();
    for (place, text) in raw.allowed_origins.iter().enumerate() {
        let key = format!("server.allowed_origins[{place}]");
        origins.extend(faults.take(&key, value::origin(text)));
    }
    Some(Server {
        listen: listen?,
        metrics_listen: metrics?,
        max_body_bytes: body?,
        request_timeout: timeout?,
        requests_per_second: rate?,
        max_event_streams: streams?,
        public_url: match public_url {
            Some(url) => Some(url?),
            None => None,
        },
        allowed_origins: origins,
    })
}

fn store(raw: raw::Store, context: &mut Context<'_>) -> Option<StoreSettings> {
    let url = context.secret("store", "url", raw.url, raw.url_file);
    let connections = value::number(raw.max_connections, &(1..=500));
    let connections = context.faults.take("store.max_connections", connections);
    if let Some(Some(url)) = &url {
        let text = url.expose_secret();
        let sqlite = text
            .strip_prefix("sqlite:")
            .is_some_and(|rest| !rest.trim_matches('/').is_empty());
        if !sqlite && value::url(text, &["postgres", "postgresql"]).is_err() {
            let problem = "must begin with sqlite:// and name a file, or be a postgres:// URL with a host";
            context.faults.add("store.url", problem);
        }
    } else if url.is_some() {
        context.faults.add("store.url", "is required");
    }
    Some(StoreSettings {
        url: url??,
        max_connections: connections?,
    })
}

fn log(raw: raw::Log, faults: &mut Faults) -> Option<Log> {
    let json = match raw.format.as_str() {
        "text" => Some(false),
        "json" => Some(true),
        _ => None,
    };
    let json = faults.take("log.format", json.ok_or("must be \"text\" or \"json\""));
    if raw.filter.is_empty() || EnvFilter::builder().parse(&raw.filter).is_err() {
        let problem = "must be a tracing filter such as \"info,tollgate=debug\"";
        faults.add("log.filter", problem);
    }
    Some(Log {
        json: json?,
        filter: raw.filter,
    })
}

fn payments(raw: raw::Payments, faults: &mut Faults) -> Option<Payments> {
    const DAY: Duration = Duration::from_hours(24);
    let lifetime = Duration::from_mins(1)..=30 * DAY;
    let ttl = faults.take("payments.charge_ttl", value::duration(&raw.charge_ttl, &lifetime));
    let watched = Duration::from_mins(1)..=90 * DAY;
    let grace = faults.take(
        "payments.charge_grace",
        value::duration(&raw.charge_grace, &watched),
    );
    let reversal = Duration::ZERO..=30 * DAY;
    let reversal = faults.take(
        "payments.reversal_grace",
        value::duration(&raw.reversal_grace, &reversal),
    );
    let most = value::number::<u32>(raw.tolerance_max_basis_points, &(0..=500));
    let most = faults.take("payments.tolerance_max_basis_points", most);
    let share = value::number::<u32>(raw.tolerance_basis_points, &(0..=500));
    let share = faults.take("payments.tolerance_basis_points", share);
    if let (Some(share), Some(most)) = (share, most)
        && share > most
    {
        let problem = "must not be above payments.tolerance_max_basis_points";
        faults.add("payments.tolerance_basis_points", problem);
    }
    let units = Amount::from_units(&raw.tolerance_units.0, check_chain::MAX_DECIMALS);
    faults.take("payments.tolerance_units", units);
    Some(Payments {
        enabled: raw.enabled,
        charge_ttl: ttl?,
        charge_grace: grace?,
        reversal_grace: reversal?,
        tolerance_basis_points: share?,
        tolerance_units: raw.tolerance_units.0,
        tolerance_max_basis_points: most?,
    })
}

fn wallets(raw: &raw::Wallets, faults: &mut Faults) -> Option<Wallets> {
    let domain = faults.take("wallets.domain", value::domain(&raw.domain));
    let uri = value::url(&raw.uri, &["https", "http"]);
    let uri = faults.take("wallets.uri", uri);
    let allowed = Duration::from_mins(1)..=Duration::from_hours(1);
    let nonce_ttl = faults.take("wallets.nonce_ttl", value::duration(&raw.nonce_ttl, &allowed));
    let allowed = Duration::ZERO..=90 * Duration::from_hours(24);
    let relink_after = value::duration(&raw.relink_after, &allowed);
    let relink_after = faults.take("wallets.relink_after", relink_after);
    uri?;
    Some(Wallets {
        domain: domain?,
        // As written: a message must name it exactly, and parsing adds a slash.
        uri: raw.uri.clone(),
        nonce_ttl: nonce_ttl?,
        relink_after: relink_after?,
    })
}

fn receipts(raw: &raw::Receipts, faults: &mut Faults) -> Option<Receipts> {
    let allowed = Duration::from_secs(10)..=Duration::from_hours(1);
    let ttl = faults.take("receipts.ttl", value::duration(&raw.ttl, &allowed));
    Some(Receipts { ttl: ttl? })
}

fn stripe(raw: raw::Stripe, context: &mut Context<'_>) -> Option<Stripe> {
    let secrets = context.secrets(
        ("stripe", "webhook_secrets"),
        (raw.webhook_secrets, raw.webhook_secrets_file),
        value::stripe_secret,
    );
    let allowed = SECOND..=Duration::from_mins(15);
    let tolerance = value::duration(&raw.tolerance, &allowed);
    let tolerance = context.faults.take("stripe.tolerance", tolerance);
    Some(Stripe {
        webhook_secrets: secrets?,
        tolerance: tolerance?,
    })
}

fn webhooks(written: Option<Value>, context: &mut Context<'_>) -> Option<Vec<WebhookEndpoint>> {
    let written = written.unwrap_or(Value::Array(Vec::new()));
    let list: Vec<Value> = read("webhooks", written, &mut context.faults)?;
    let mut webhooks: Vec<WebhookEndpoint> = Vec::new();
    let mut complete = true;
    for (place, written) in list.into_iter().enumerate() {
        let path = format!("webhooks[{place}]");
        match webhook(&path, written, context) {
            Some(webhook) if webhooks.iter().any(|other| other.name == webhook.name) => {
                let problem = "is the name of another webhook; each needs its own";
                context.faults.add(join(&path, "name"), problem);
            }
            Some(webhook) => webhooks.push(webhook),
            None => complete = false,
        }
    }
    complete.then_some(webhooks)
}

fn webhook(path: &str, written: Value, context: &mut Context<'_>) -> Option<WebhookEndpoint> {
    let raw: raw::Webhook = read(path, written, &mut context.faults)?;
    let name = context.faults.take(&join(path, "name"), value::name(&raw.name));
    let url = context.secret(path, "url", raw.url, raw.url_file);
    let url_path = join(path, "url");
    match &url {
        Some(Some(url)) => {
            let private = raw.allow_private_network;
            let schemes: &[&str] = if private { &["https", "http"] } else { &["https"] };
            let parsed = value::url(url.expose_secret(), schemes);
            if let Some(url) = context.faults.take(&url_path, parsed)
                && (!url.username().is_empty() || url.password().is_some())
            {
                let problem = "must not hold a user name or password";
                context.faults.add(url_path, problem);
            }
        }
        Some(None) => context.faults.add(url_path, "is required"),
        None => {}
    }
    let written = (raw.secrets, raw.secrets_file);
    let secrets = context.secrets((path, "secrets"), written, value::webhook_secret);
    if secrets.as_ref().is_some_and(Vec::is_empty) {
        let problem = "must hold at least one secret";
        context.faults.add(join(path, "secrets"), problem);
    }
    Some(WebhookEndpoint {
        name: name?,
        url: url??,
        secrets: secrets?,
        allow_private_network: raw.allow_private_network,
    })
}

impl Context<'_> {
    /// A secret from its key or its `_file` twin. The outer `None` is a fault, the inner one a secret that is not given.
    #[expect(
        clippy::option_option,
        reason = "a fault and an absent secret lead to different words"
    )]
    pub(super) fn secret(
        &mut self,
        path: &str,
        key: &str,
        inline: Option<String>,
        file: Option<String>,
    ) -> Option<Option<SecretString>> {
        let path = join(path, key);
        match (inline, file) {
            (None, None) => Some(None),
            (Some(text), None) => Some(Some(text.into())),
            (None, Some(file)) => {
                let path = format!("{path}_file");
                let text = secret_file(&self.base.join(file));
                self.faults.take(&path, text).map(|text| Some(text.into()))
            }
            (Some(_), Some(_)) => {
                let problem = format!("{path}_file is set too; remove one");
                self.faults.add(path, problem);
                None
            }
        }
    }

    /// Secrets from a list, or from the lines of a file.
    pub(super) fn secrets(
        &mut self,
        (path, key): (&str, &str),
        (inline, file): (Option<Vec<String>>, Option<String>),
        check: fn(&str) -> Result<(), &'static str>,
    ) -> Option<Vec<SecretString>> {
        let key = join(path, key);
        let (key, texts) = match (inline, file) {
            (inline, None) => (key, inline.unwrap_or_default()),
            (None, Some(file)) => {
                let key = format!("{key}_file");
                let text = self.faults.take(&key, secret_file(&self.base.join(file)))?;
                let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
                (key, lines.map(str::to_owned).collect())
            }
            (Some(_), Some(_)) => {
                let problem = format!("{key}_file is set too; remove one");
                self.faults.add(key, problem);
                return None;
            }
        };
        let mut sound = true;
        for (place, text) in texts.iter().enumerate() {
            let checked = self.faults.take(&format!("{key}[{place}]"), check(text));
            sound &= checked.is_some();
        }
        sound.then(|| texts.into_iter().map(SecretString::from).collect())
    }

    /// Replaces each `${NAME}` by the variable, or by the content of the file that `NAME_FILE` names.
    pub(super) fn substitute(&self, text: &str) -> Result<String, String> {
        let mut done = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or("holds ${ without a closing }")?;
            done.push_str(before);
            done.push_str(&self.variable(name)?);
            rest = after;
        }
        Ok(done + rest)
    }

    /// Whether a variable is set, or a file is named that holds it.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.env.get(name).is_some() || self.env.get(&format!("{name}_FILE")).is_some()
    }

    fn variable(&self, name: &str) -> Result<String, String> {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(sound) {
            return Err("holds ${…} with something that is not a variable's name".to_owned());
        }
        let file = format!("{name}_FILE");
        match (self.env.get(name), self.env.get(&file)) {
            (Some(value), None) => Ok(value.to_owned()),
            (None, Some(path)) => {
                secret_file(&self.base.join(path)).map_err(|problem| format!("{file}: {problem}"))
            }
            (None, None) => Err(format!("needs the environment variable {name}, which is not set")),
            (Some(_), Some(_)) => Err(format!("{name} and {file} are both set; remove one")),
        }
    }
}

pub(super) fn secret_file(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map(|found| found.len());
    if size.is_ok_and(|size| size > MAX_SECRET_FILE_BYTES) {
        return Err("the file is too large for a secret".to_owned());
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("the file cannot be read: {}", error.kind()))?;
    match text.trim() {
        "" => Err("the file is empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}
