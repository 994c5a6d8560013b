//! The deterministic simulator: the real chain task, engine and store against a world of blocks, endpoints, people and
//! faults that one seed makes, in virtual time. The canonical chain itself is the oracle.
//!
//! The same seed is the same run: what is left to chance is drawn from the seed, and what other threads do is waited for.

mod block;
mod disk;
mod drive;
mod fault;
mod miner;
mod net;
mod node;
mod oracle;
mod plan;
mod process;
mod rows;
mod trace;
mod tree;
mod truth;
mod tx;
mod world;

use std::path::Path;
use std::sync::OnceLock;

use secrecy::SecretString;
use tempfile::TempDir;
use tollgate::config::StoreSettings;
use tollgate::store::Store;

use plan::Plan;

/// How a seed ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub seed: u64,
    /// What must never be, and was. Empty where all came right.
    pub breaches: Vec<String>,
    /// The same for the same seed.
    pub digest: u64,
    /// What was noted on the way.
    pub events: u64,
}

/// Lives one seed through; tells of it where `is_loud`.
pub fn run(seed: u64, is_loud: bool) -> Report {
    let plan = Plan::of(seed);
    if is_loud {
        println!("{plan:#?}");
    }
    let folder = folder();
    let database = folder.path().join("seed.sqlite");
    std::fs::write(&database, template()).expect("the template is copied");
    // Delays between attempts are drawn from the thread's own generator; the folder's name was too.
    fastrand::seed(seed);
    let world = drive::live(&plan, &database, is_loud);
    Report {
        seed,
        breaches: world.breaches,
        digest: world.trace.digest(),
        events: world.trace.events,
    }
}

/// In memory where the system has a place for it.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.expect("a folder")
}

/// The bytes of a database at the current schema, made once.
fn template() -> &'static [u8] {
    static TEMPLATE: OnceLock<Vec<u8>> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let folder = folder();
        let path = folder.path().join("template.sqlite");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let settings = StoreSettings {
                url: SecretString::from(format!("sqlite://{}", path.display())),
                max_connections: 1,
            };
            let store = Store::open(&settings).await.expect("a new database");
            store.close().await;
        });
        std::fs::read(path).expect("the template is read")
    })
}
