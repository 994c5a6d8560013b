//! One process: the real engine, store and chain task over the world's network, on a runtime whose time is virtual.
//!
//! Time goes on only where nothing is under way: while the database's own thread works, the runtime is kept awake. That
//! thread begins when all else has come to rest (`gate`), and what comes back from it waits until all else has come to rest
//! again. So the order of things depends on the seed alone.

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use secrecy::SecretString;
use tollgate::billing::Catalogue;
use tollgate::chain::Network;
use tollgate::clock::Clock;
use tollgate::config::{self, StoreSettings};
use tollgate::domain::{Amount, ChainId, Level, Token};
use tollgate::engine::{Engine, EngineError, Settings};
use tollgate::health::Health;
use tollgate::jobs;
use tollgate::store::{Faults, Store, StoreError};
use tollgate::sync::ChainTask;
use tollgate::task::Tasks;

use super::disk::Disk;
use super::gate::Gate;
use super::net::{Net, Shared, lock};
use super::node::CHAIN;
use super::plan::{EndpointPlan, Plan};
use super::tx::{TREASURY, USDC};

/// Keeps a runtime awake while its database works.
#[derive(Default)]
pub struct Vigil {
    store: Mutex<Option<Store>>,
    pub gate: Arc<Gate>,
}

impl Vigil {
    fn is_needed(&self) -> bool {
        let watched = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        watched.as_ref().is_none_or(Store::in_use)
    }

    /// Until then everything counts as work.
    pub fn watch(&self, store: Store) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = Some(store);
    }
}

/// A runtime with virtual time; `vigil` says when it must not go on.
pub fn runtime(vigil: &Arc<Vigil>) -> tokio::runtime::Runtime {
    let vigil = Arc::clone(vigil);
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        // What other threads wake is looked at when there is nothing else to do.
        .global_queue_interval(u32::MAX)
        .max_blocking_threads(1)
        .on_thread_park(move || {
            if vigil.is_needed() {
                vigil.gate.open();
                tokio::spawn(async {});
                std::thread::yield_now();
            }
        })
        .build()
        .expect("a runtime")
}

/// The chain as it is configured.
pub fn settings(plan: &Plan) -> config::Chain {
    let block_time = Duration::from_millis(plan.block_ms.unsigned_abs());
    let token = Token {
        chain: ChainId(CHAIN),
        address: USDC,
        symbol: "USDC".to_owned(),
        unit: "USD".to_owned(),
        decimals: 6,
        dust: Amount::from(1_000),
    };
    config::Chain {
        name: "sim".to_owned(),
        id: ChainId(CHAIN),
        block_time,
        poll_interval: block_time,
        finality: plan.policy.finality(),
        max_tag_age: Duration::from_millis(plan.max_tag_age_ms.unsigned_abs()),
        start_block: Some(plan.start_block),
        development: plan.development,
        treasury: Some(TREASURY),
        tokens: vec![token],
        other_tokens: Vec::new(),
        endpoints: (0..).zip(&plan.endpoints).map(endpoint).collect(),
        // An answer that is decoded off the thread would come back in an order of its own.
        max_log_range: 24,
        agree: plan.agree,
        level: Some(Level::Receipts),
    }
}

fn endpoint((slot, plan): (usize, &EndpointPlan)) -> config::Endpoint {
    config::Endpoint {
        name: format!("e{slot}"),
        operator: format!("operator {}", plan.operator),
        ws: plan
            .has_socket
            .then(|| SecretString::from(format!("ws://e{slot}.invalid"))),
        http: plan
            .has_http
            .then(|| SecretString::from(format!("http://e{slot}.invalid"))),
        // Its clock is not the runtime's: it limits nothing here.
        requests_per_second: 1_000_000,
        max_in_flight: 16,
        request_timeout: Duration::from_secs(5),
    }
}

fn engine_settings(plan: &Plan) -> Settings {
    Settings {
        chains: vec![settings(plan)],
        payments: config::Payments {
            enabled: true,
            charge_ttl: Duration::from_mins(2),
            charge_grace: Duration::from_hours(24),
            reversal_grace: Duration::ZERO,
            tolerance_basis_points: 0,
            tolerance_units: "0".to_owned(),
            tolerance_max_basis_points: 0,
        },
        wallets: config::Wallets {
            domain: "localhost".to_owned(),
            uri: "http://localhost".to_owned(),
            nonce_ttl: Duration::from_mins(10),
            relink_after: Duration::from_hours(24),
        },
        webhooks: vec!["chat".to_owned()],
        public_url: None,
    }
}

/// An instance: one engine, and the task of its chain; with others, what keeps its memory up with theirs.
pub struct Instance {
    pub engine: Engine,
    pub health: Health,
    tasks: Tasks,
}

/// Opens the database.
pub async fn open(path: &Path, disk: &Arc<Disk>) -> Result<Store, StoreError> {
    let settings = StoreSettings {
        url: SecretString::from(format!("sqlite://{}", path.display())),
        // One: the order in which two would answer is nobody's.
        max_connections: 1,
    };
    let faults: Arc<dyn Faults> = Arc::clone(disk) as Arc<dyn Faults>;
    Store::open_with(&settings, Some(faults)).await
}

impl Instance {
    pub async fn start(shared: &Shared, store: &Store) -> Result<Self, EngineError> {
        let (plan, clock) = {
            let mut world = lock(shared);
            let skew = world.plan.skew_ms;
            let ahead = i64::try_from(world.random.below(2 * skew.unsigned_abs() + 1)).unwrap_or(0);
            let now_ms = world.now_ms() + ahead - skew;
            (world.plan.clone(), Clock::of_runtime(now_ms))
        };
        let catalogue = Catalogue::shipped(&[]).expect("the shipped catalogue");
        let engine = Engine::open(store.clone(), engine_settings(&plan), catalogue, clock).await?;
        let health = Health::default();
        let chain = settings(&plan);
        health.expect_chain(chain.id, &chain.name, chain.block_time);
        let mut tasks = Tasks::default();
        let (shared, for_task, for_health) = (Arc::clone(shared), engine.clone(), health.clone());
        let network: Arc<dyn Network> = Arc::new(Net(Arc::clone(&shared)));
        tasks.supervise("chain", move |stop| {
            let run = ChainTask::run(
                chain.clone(),
                Arc::clone(&network),
                for_task.clone(),
                for_health.clone(),
                stop,
            );
            let shared = Arc::clone(&shared);
            async move {
                let outcome = AssertUnwindSafe(run).catch_unwind().await;
                let outcome = outcome.unwrap_or_else(|_| {
                    lock(&shared).breach("a chain's task panicked");
                    Ok(())
                });
                if let Err(error) = &outcome {
                    let mut world = lock(&shared);
                    world.tell(format_args!("a chain's task failed"));
                    world.aside(format_args!("{error}"));
                }
                outcome
            }
        });
        if plan.rivals > 0 {
            let for_refresh = engine.clone();
            tasks.supervise("refresh", move |stop| {
                jobs::run_refresh(for_refresh.clone(), stop)
            });
        }
        Ok(Self {
            engine,
            health,
            tasks,
        })
    }

    pub async fn stop(self) {
        self.tasks.shutdown(Duration::from_secs(10)).await;
    }
}
