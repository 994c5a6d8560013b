//! The HTTP API: it reads a request, asks the engine, and writes the answer. Every route stands in `table`.
//!
//! Nothing here decides about money or access, and nothing here sees a chain: checks are answered from memory, the rest from
//! the database, and what needs a look at a chain is handed out, all within a deadline. The listeners are the app's.

mod admin;
mod asker;
mod changes;
mod charges;
mod checks;
mod claims;
mod cors;
mod coverage;
mod credit;
mod cursor;
mod documents;
mod extract;
mod frame;
mod gate_shapes;
mod gates;
mod guard;
mod hosted;
mod limit;
mod markup;
mod pages;
mod payments;
mod plans;
mod probes;
mod problem;
mod qr;
mod query;
mod receipts;
mod streams;
mod subscription;
#[cfg(test)]
mod tests;
mod tokens;
mod transactions;
mod verify;
mod wallets;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use axum::{Extension, Router};
use tokio_util::sync::CancellationToken;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::checkout::CheckoutProvider;
use crate::config;
use crate::domain::{ChainId, LookUp, Millis, Role};
use crate::engine::{Engine, Scope};
use crate::health::Health;
use crate::jwt::Verifier;
use crate::metrics::Recorder;
use crate::stripe::MAX_EVENT_BYTES;
use guard::Guard;
use limit::Limits;
use pages::Pages;
use query::Known;
use streams::{Seats, Stopping};

/// What the API is told at start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What a caller may send, and how often.
    pub server: config::Server,
    /// Whose signatures are believed.
    pub stripe: config::Stripe,
    /// Whose signatures are believed about hosted checkouts.
    pub checkout: config::Checkout,
    /// Who opens them, if anyone.
    pub provider: Option<Arc<dyn CheckoutProvider>>,
    /// Says whom users' tokens stand for.
    pub tokens: Arc<Verifier>,
    /// How receipts are made.
    pub receipts: config::Receipts,
    /// Looks at transactions that were never read.
    pub looks: Arc<dyn LookUp>,
}

/// What every handler may use.
#[derive(Debug)]
struct App {
    engine: Engine,
    stripe: config::Stripe,
    checkout: config::Checkout,
    provider: Option<Arc<dyn CheckoutProvider>>,
    tokens: Arc<Verifier>,
    looks: Arc<dyn LookUp>,
    health: Health,
    limits: Limits,
    parameters: Known,
    probe: probes::Probe,
    document: String,
    seats: Arc<Seats>,
    pages: Pages,
    receipt_ttl: Duration,
}

type Shared = Arc<App>;

impl App {
    fn now(&self) -> Millis {
        self.engine.clock().now_ms()
    }

    /// Whether a chain that takes payments is not read to its head: what somebody has paid may not be known yet.
    fn may_miss_payments(&self, now: Millis) -> bool {
        let chains = &self.engine.settings().chains;
        let mut selling = chains.iter().filter(|chain| chain.treasury.is_some());
        selling.any(|chain| !self.health.sees(chain.id, now))
    }

    fn chain(&self, id: ChainId) -> Option<config::Chain> {
        let settings = self.engine.settings();
        settings.chains.iter().find(|chain| chain.id == id).cloned()
    }
}

/// Every route, by what it asks of its caller.
fn table() -> Vec<(Guard, OpenApiRouter<Shared>)> {
    const CHECK: Guard = Guard::Caller(&[Scope::Check], Role::User);
    const GATES: Guard = Guard::Caller(&[Scope::Gates], Role::Admin);
    const GATES_READS: Guard = Guard::Caller(&[Scope::Gates, Scope::Check], Role::Admin);
    const WALLETS: Guard = Guard::Caller(&[Scope::Gates], Role::User);
    const WALLETS_READS: Guard = Guard::Caller(&[Scope::Gates, Scope::Check], Role::User);
    const ADMIN: Guard = Guard::Key(&[Scope::Admin]);
    let group = OpenApiRouter::new;
    let probes = group()
        .routes(routes!(probes::livez))
        .routes(routes!(probes::readyz))
        .routes(routes!(probes::healthz));
    let public = group()
        .routes(routes!(plans::list))
        .routes(routes!(plans::one))
        .routes(routes!(documents::show))
        .routes(routes!(receipts::keys))
        .routes(routes!(pages::pay));
    let check = group()
        .routes(routes!(subscription::show))
        .routes(routes!(checks::check))
        .routes(routes!(verify::verify))
        .routes(routes!(receipts::create));
    let gates = group()
        .routes(routes!(gates::create))
        .routes(routes!(gates::update))
        .routes(routes!(gates::delete));
    let gates_reads = group().routes(routes!(gates::list)).routes(routes!(gates::show));
    let wallets = group()
        .routes(routes!(wallets::nonce))
        .routes(routes!(wallets::link))
        .routes(routes!(wallets::unlink));
    let wallets_reads = group().routes(routes!(wallets::list));
    let mut table = vec![
        (Guard::Open, probes),
        (Guard::Public, public),
        (Guard::Webhook, for_providers()),
        (CHECK, check),
        (GATES, gates),
        (GATES_READS, gates_reads),
        (WALLETS, wallets),
        (WALLETS_READS, wallets_reads),
        (ADMIN, operators()),
    ];
    table.extend(billing_table());
    table
}

/// The routes of charges, credit and subscriptions.
fn billing_table() -> Vec<(Guard, OpenApiRouter<Shared>)> {
    const BILLING: Guard = Guard::Caller(&[Scope::Billing], Role::Admin);
    const BILLING_READS: Guard = Guard::Caller(&[Scope::Billing, Scope::Check], Role::User);
    const ACCOUNT_READS: Guard = Guard::Caller(&[Scope::Billing, Scope::Check], Role::Admin);
    const CLAIMS: Guard = Guard::Caller(&[Scope::Billing], Role::User);
    const CHARGE: Guard = Guard::Capability(&[Scope::Billing, Scope::Check], Role::User);
    let group = OpenApiRouter::new;
    let billing = group()
        .routes(routes!(charges::create))
        .route("/api/billing/crypto/payment", post(charges::create))
        .routes(routes!(hosted::create))
        .routes(routes!(charges::cancel))
        .routes(routes!(changes::change, changes::cancel))
        .routes(routes!(changes::resume));
    let billing_reads = group()
        .routes(routes!(charges::list))
        .routes(routes!(transactions::verify))
        .route("/api/billing/crypto/status/{txHash}", get(transactions::verify));
    let account_reads = group()
        .routes(routes!(credit::show))
        .routes(routes!(changes::preview));
    let claims = group().routes(routes!(claims::claim));
    let charge = group()
        .routes(routes!(charges::show))
        .routes(routes!(charges::qr_code))
        .routes(routes!(streams::events));
    vec![
        (BILLING, billing),
        (BILLING_READS, billing_reads),
        (ACCOUNT_READS, account_reads),
        (CLAIMS, claims),
        (CHARGE, charge),
    ]
}

/// What providers call.
fn for_providers() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(webhooks::stripe))
        .route("/api/webhooks/stripe", post(webhooks::stripe))
        .routes(routes!(webhooks::hosted))
        .layer(DefaultBodyLimit::max(MAX_EVENT_BYTES))
}

/// What operators look at, and decide.
fn operators() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(admin::chains))
        .routes(routes!(coverage::show))
        .routes(routes!(payments::search))
        .routes(routes!(payments::unmatched))
        .routes(routes!(payments::assign))
        .routes(routes!(payments::ignore))
        .routes(routes!(payments::refund))
        .routes(routes!(transactions::explained))
}

/// Published paths that answer as another does.
const ALIASES: [(&str, &str); 3] = [
    ("/api/billing/crypto/payment", "/api/billing/crypto/stablecoin"),
    (
        "/api/billing/crypto/status/{txHash}",
        "/api/billing/crypto/verify/{txHash}",
    ),
    ("/api/webhooks/stripe", "/api/billing/webhook"),
];

/// The API over an engine. Chains that `health` was not told of are expected from now on, and unhealthy until their
/// tasks say otherwise.
pub fn router(engine: Engine, settings: Settings, health: Health) -> Router {
    for chain in &engine.settings().chains {
        health.expect_chain(chain.id, &chain.name, chain.block_time);
    }
    let Settings {
        server,
        stripe,
        checkout,
        provider,
        tokens,
        receipts,
        looks,
    } = settings;
    let app = Arc::new(App {
        limits: Limits::new(server.requests_per_second, tokens.requests_per_second()),
        parameters: Known::new(&documents::build()),
        probe: probes::Probe::default(),
        document: documents::text(),
        seats: Seats::new(server.max_event_streams),
        pages: Pages::new(),
        receipt_ttl: receipts.ttl,
        engine,
        stripe,
        checkout,
        provider,
        tokens,
        looks,
        health,
    });
    let mut router = Router::new();
    for (guard, routes) in table() {
        let guarded = from_fn_with_state((app.clone(), guard), guard::guard);
        router = router.merge(Router::from(routes).route_layer(guarded));
    }
    framed(router, &server).with_state(app)
}

/// The API, with answers that would go on ended when `stop` is cancelled; so that a listener can close.
pub fn until(router: Router, stop: CancellationToken) -> Router {
    router.layer(Extension(Stopping(stop)))
}

/// What is around every route. The last layer is the outermost.
fn framed<S: Clone + Send + Sync + 'static>(router: Router<S>, server: &config::Server) -> Router<S> {
    router
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .layer(DefaultBodyLimit::max(server.max_body_bytes))
        .layer(from_fn_with_state(server.request_timeout, frame::deadline))
        .layer(CatchPanicLayer::custom(frame::panicked))
        .layer(option_layer(cors::layer(&server.allowed_origins)))
        .layer(from_fn(frame::frame))
}

/// `GET /metrics` and nothing else, for its own listener.
pub fn metrics_router(recorder: Recorder) -> Router {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    let render = move || async move { ([(CONTENT_TYPE, TEXT)], recorder.render()) };
    Router::new().route("/metrics", get(render))
}

/// The description of the API, `OpenAPI` 3.1.
pub fn openapi() -> utoipa::openapi::OpenApi {
    documents::build()
}
