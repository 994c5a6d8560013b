//! The composition root: makes every room from the configuration, in the order of their ranks, and stops them in reverse.
//! What can be replaced while it runs is in `reload`.

mod looks;
mod reload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::api;
use crate::billing::{Catalogue, CatalogueErrors};
use crate::chain::{ChainError, Internet, Network};
use crate::checkout::{ApiError, BusinessApi, CheckoutProvider};
use crate::clock::Clock;
use crate::config::{self, Config, Jwks};
use crate::domain::{ChainId, Hindrance, LookUp};
use crate::egress;
use crate::engine::{Engine, EngineError, Settings};
use crate::health::Health;
use crate::jobs::{self, Looks};
use crate::jwt::{KeySetError, Published, Verifier};
use crate::metrics::{self, Recorder};
use crate::notify::{Notifier, NotifyError};
use crate::store::{FileLock, Store, StoreError};
use crate::sync::ChainTask;
use crate::task::Tasks;

/// How long everything may take to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The catalogue's file cannot be read.
    #[error("catalogue.path: {0}")]
    CatalogueFile(std::io::Error),
    /// The catalogue is wrong.
    #[error("the catalogue is wrong:\n{0}")]
    Catalogue(#[from] CatalogueErrors),
    /// The database does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state does not load.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Nothing can be asked of any chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// An endpoint for events cannot be told anything.
    #[error(transparent)]
    Notify(#[from] NotifyError),
    /// Nobody can be asked to open checkouts.
    #[error(transparent)]
    Checkout(#[from] ApiError),
    /// The file of keys of users' tokens holds none.
    #[error("jwt.jwks_path: {0}")]
    Keys(#[from] KeySetError),
    /// An address cannot be listened on.
    #[error("{key} {address}: {error}")]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
}

/// The service, running.
#[derive(Debug)]
pub struct App {
    /// What it runs by.
    config: Config,
    engine: Engine,
    health: Health,
    network: Arc<dyn Network>,
    /// Says whom users' tokens stand for.
    tokens: Arc<Verifier>,
    /// Looks at transactions that were never read.
    looks: Arc<dyn LookUp>,
    /// The keys of such tokens, where an issuer publishes them.
    published: Option<Arc<Published>>,
    /// What the API answers with.
    routes: watch::Sender<Router>,
    api_address: SocketAddr,
    metrics_address: SocketAddr,
    /// What all else stands on: metrics and jobs.
    base: Tasks,
    /// One for each chain and for each receiver of events.
    workers: Tasks,
    api: Tasks,
    /// The last to go: until then no other process may lead.
    _alone: FileLock,
}

/// Opens the database and loads the state: all that a command needs which does not serve.
///
/// # Errors
/// The catalogue or the database.
pub async fn open_engine(config: &Config, clock: Clock) -> Result<Engine, StartError> {
    let catalogue = load_catalogue(&config.catalogue)?;
    let store = Store::open(&config.store).await?;
    Ok(Engine::open(store, settings(config), catalogue, clock).await?)
}

fn settings(config: &Config) -> Settings {
    let names = config.webhooks.iter().map(|webhook| webhook.name.clone());
    Settings {
        chains: config.chains.clone(),
        payments: config.payments.clone(),
        wallets: config.wallets.clone(),
        webhooks: names.collect(),
        public_url: config.server.public_url.clone(),
    }
}

/// The plans: the named file, or those that are shipped.
///
/// # Errors
/// The file, or everything that is wrong in it.
pub fn load_catalogue(settings: &config::CatalogueSettings) -> Result<Catalogue, StartError> {
    let prices = &settings.stripe_prices;
    match &settings.path {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(StartError::CatalogueFile)?;
            Ok(Catalogue::parse(&text, prices)?)
        }
        None => Ok(Catalogue::shipped(prices)?),
    }
}

impl App {
    /// Starts everything. The listeners are bound before this returns.
    ///
    /// # Errors
    /// Whatever keeps it from starting; nothing is left running then.
    pub async fn start(config: Config, clock: Clock, recorder: Recorder) -> Result<Self, StartError> {
        egress::install_crypto_provider();
        let alone = FileLock::take(&config.store)?;
        let engine = open_engine(&config, clock).await?;
        let health = Health::default();
        let network: Arc<dyn Network> = Arc::new(Internet::new()?);
        let api_listener = listen("server.listen", config.server.listen).await?;
        let metrics_listener = listen("server.metrics_listen", config.server.metrics_listen).await?;
        let api_address = local_address("server.listen", config.server.listen, &api_listener)?;
        let metrics_address = local_address(
            "server.metrics_listen",
            config.server.metrics_listen,
            &metrics_listener,
        )?;
        let (mut base, mut api) = (Tasks::default(), Tasks::default());
        let notifiers = notifiers(&engine, &config.webhooks)?;
        spawn_metrics(&mut base, metrics_listener, recorder, &engine, &health);
        spawn_jobs(&mut base, &engine);
        let published = published(&config.jwt);
        let tokens = Arc::new(Verifier::new(config.jwt.clone(), published.clone())?);
        let looks = looks(&engine, &network);
        let (for_refunds, eyes) = (engine.clone(), Arc::clone(&looks));
        base.supervise("refunds", move |stop| {
            jobs::run_refunds(for_refunds.clone(), Arc::clone(&eyes), stop)
        });
        let checkout = checkout_provider(&config.checkout)?;
        let routes = watch::Sender::new(routes(&config, (&engine, &looks), &health, (&tokens, checkout)));
        let current = routes.subscribe();
        api.spawn("api", move |stop| {
            let served = api::until(changing(current), stop.clone());
            serve(api_listener, served, stop)
        });
        tracing::info!(api = %api_address, metrics = %metrics_address, "listening");
        let mut app = Self {
            config,
            engine,
            health,
            network,
            tokens,
            looks,
            published,
            routes,
            api_address,
            metrics_address,
            base,
            workers: Tasks::default(),
            api,
            _alone: alone,
        };
        for notifier in notifiers {
            app.start_webhook(notifier);
        }
        for chain in app.config.chains.clone() {
            app.start_chain(&chain);
        }
        app.start_jwks();
        Ok(app)
    }

    fn start_jwks(&mut self) {
        if let (Some(Jwks::Url(url)), Some(published)) = (&self.config.jwt.jwks, &self.published) {
            let (url, published) = (url.clone(), Arc::clone(published));
            let clock = self.engine.clock().clone();
            self.workers.supervise(JWKS_TASK, move |stop| {
                jobs::run_jwks(url.clone(), Arc::clone(&published), clock.clone(), stop)
            });
        }
    }

    fn start_webhook(&mut self, notifier: Notifier) {
        let task = webhook_task(notifier.name());
        self.workers
            .supervise(task, move |stop| notifier.clone().run(stop));
    }

    fn start_chain(&mut self, chain: &config::Chain) {
        self.health.expect_chain(chain.id, &chain.name, chain.block_time);
        let endpoints = chain.endpoints.iter().map(|endpoint| endpoint.name.as_str());
        metrics::begin_chain(&chain.name, endpoints);
        let (settings, network) = (chain.clone(), Arc::clone(&self.network));
        let (engine, health) = (self.engine.clone(), self.health.clone());
        self.workers.supervise(chain_task(&chain.name), move |stop| {
            ChainTask::run(
                settings.clone(),
                Arc::clone(&network),
                engine.clone(),
                health.clone(),
                stop,
            )
        });
    }

    /// Where the API listens.
    #[must_use]
    pub fn api_address(&self) -> SocketAddr {
        self.api_address
    }

    /// Where `/metrics` listens.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics_address
    }

    /// The one door, for what runs in the same process.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// How far a chain is.
    #[must_use]
    pub fn heights(&self, chain: ChainId) -> crate::domain::Heights {
        self.engine
            .chain(chain)
            .map(|chain| chain.heights)
            .unwrap_or_default()
    }

    /// Stops everything: the API first, the database last.
    pub async fn stop(self) {
        let end = Instant::now() + STOP_TIMEOUT;
        for tasks in [self.api, self.workers, self.base] {
            let left = end.saturating_duration_since(Instant::now());
            let stopped = tasks.shutdown(left).await;
            if !stopped.aborted.is_empty() {
                tracing::warn!(tasks = ?stopped.aborted, "aborted");
            }
        }
        self.engine.close().await;
    }
}

const JWKS_TASK: &str = "jwks";

fn chain_task(name: &str) -> String {
    format!("chain {name}")
}

fn webhook_task(name: &str) -> String {
    format!("webhook {name}")
}

fn notifiers<'c>(
    engine: &Engine,
    webhooks: impl IntoIterator<Item = &'c config::WebhookEndpoint>,
) -> Result<Vec<Notifier>, NotifyError> {
    let webhooks = webhooks.into_iter();
    webhooks
        .map(|webhook| Notifier::new(engine.clone(), webhook.clone()))
        .collect()
}

/// Where the keys that an issuer publishes will be.
fn published(settings: &config::Jwt) -> Option<Arc<Published>> {
    match &settings.jwks {
        Some(Jwks::Url(url)) => Some(Arc::new(Published::new(url.max_age))),
        Some(Jwks::File(_)) | None => None,
    }
}

/// Who is asked to open checkouts.
fn checkout_provider(settings: &config::Checkout) -> Result<Option<Arc<dyn CheckoutProvider>>, ApiError> {
    let Some(api) = &settings.api else {
        return Ok(None);
    };
    Ok(Some(Arc::new(BusinessApi::new(api)?)))
}

/// Who looks at transactions that were never read, bounded; within the process of the service, or for one command.
#[must_use]
pub fn looks(engine: &Engine, network: &Arc<dyn Network>) -> Arc<dyn LookUp> {
    let eyes = looks::Readers::new(engine.clone(), Arc::clone(network));
    Arc::new(Looks::new(Arc::new(eyes)))
}

fn routes(
    config: &Config,
    (engine, looks): (&Engine, &Arc<dyn LookUp>),
    health: &Health,
    (tokens, provider): (&Arc<Verifier>, Option<Arc<dyn CheckoutProvider>>),
) -> Router {
    let settings = api::Settings {
        server: config.server.clone(),
        stripe: config.stripe.clone(),
        checkout: config.checkout.clone(),
        provider,
        tokens: Arc::clone(tokens),
        receipts: config.receipts,
        looks: Arc::clone(looks),
    };
    api::router(engine.clone(), settings, health.clone())
}

/// Answers each request with the routes that are current when it comes.
fn changing(current: watch::Receiver<Router>) -> Router {
    Router::new().fallback(move |request: Request| {
        let routes = current.borrow().clone();
        routes.oneshot(request)
    })
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|error| StartError::Listen { key, address, error })
}

fn local_address(
    key: &'static str,
    address: SocketAddr,
    listener: &TcpListener,
) -> Result<SocketAddr, StartError> {
    listener
        .local_addr()
        .map_err(|error| StartError::Listen { key, address, error })
}

async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let server = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = server.await {
        tracing::error!(%error, "a listener failed");
    }
}

fn spawn_metrics(
    tasks: &mut Tasks,
    listener: TcpListener,
    recorder: Recorder,
    engine: &Engine,
    health: &Health,
) {
    let (upkeep, engine, health) = (recorder.clone(), engine.clone(), health.clone());
    tasks.spawn("metrics upkeep", move |stop| async move {
        while stop
            .run_until_cancelled(tokio::time::sleep(metrics::UPKEEP_INTERVAL))
            .await
            .is_some()
        {
            upkeep.upkeep();
            show_chains(&engine, &health);
        }
    });
    tasks.spawn("metrics", move |stop| {
        serve(listener, api::metrics_router(recorder), stop)
    });
}

/// What every instance knows of a chain, whoever leads it; it goes on with the clock while nothing is heard.
fn show_chains(engine: &Engine, health: &Health) {
    let now = engine.clock().now_ms();
    for chain in &engine.settings().chains {
        let known = engine.chain(chain.id).unwrap_or_default();
        let highest = chain.finality.tiers().len().saturating_sub(1);
        let lag = known.heights.settled_at(highest).map_or(f64::NAN, |settled| {
            let lag_s = now.saturating_sub(settled.time_ms).max(0) / 1000;
            // A century is as old as any.
            u32::try_from(lag_s).map_or(f64::INFINITY, f64::from)
        });
        let word = |is: bool| f64::from(u8::from(is));
        for (name, value) in [
            (metrics::CHAIN_READY, word(health.is_ready(chain.id, now))),
            (metrics::CHAIN_QUARANTINED, word(known.quarantined.is_some())),
            (metrics::CHAIN_FINALITY_LAG_SECONDS, lag),
        ] {
            ::metrics::gauge!(name, "chain" => chain.name.clone()).set(value);
        }
        for token in &chain.tokens {
            let held = known.hindrances(token.address);
            for hindrance in Hindrance::ALL {
                let value = word(held.contains(&hindrance));
                metrics::show_token(&chain.name, &token.symbol, hindrance, value);
            }
        }
    }
}

fn spawn_jobs(tasks: &mut Tasks, engine: &Engine) {
    let (for_inbox, for_deadlines) = (engine.clone(), engine.clone());
    tasks.supervise("inbox", move |stop| jobs::run_inbox(for_inbox.clone(), stop));
    tasks.supervise("deadlines", move |stop| {
        jobs::run_deadlines(for_deadlines.clone(), stop)
    });
    if engine.is_shared() {
        let for_refresh = engine.clone();
        tasks.supervise("refresh", move |stop| {
            jobs::run_refresh(for_refresh.clone(), stop)
        });
    }
}
