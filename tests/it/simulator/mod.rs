//! The deterministic simulator: the real chain task, engine and store against a world of blocks, endpoints, people and
//! faults that one seed makes, in virtual time. The canonical chain itself is the oracle.
//!
//! The same seed is the same run: what is left to chance is drawn from the seed, and what other threads do is waited for.

mod block;
mod credit;
mod disk;
mod drive;
mod fault;
mod gate;
mod miner;
mod net;
mod node;
mod oracle;
mod plan;
mod policy;
mod process;
mod readiness;
mod rows;
mod trace;
mod tree;
mod truth;
mod tx;
mod upheaval;
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
    /// How much was noted on the way.
    pub events: u64,
    /// What was noted, where it was wanted: the plan, and a line for each event.
    pub text: String,
}

/// Lives one seed through; keeps the text of it where that is wanted.
pub fn run(seed: u64, is_kept: bool) -> Report {
    let plan = Plan::of(seed);
    let folder = folder();
    let database = folder.path().join("seed.sqlite");
    std::fs::write(&database, template()).expect("the template is copied");
    // Delays between attempts are drawn from the thread's own generator; the folder's name was too.
    fastrand::seed(seed);
    let mut world = drive::live(&plan, &database, is_kept);
    let text = if is_kept {
        format!("{plan:#?}\n{}", world.trace.take_text())
    } else {
        String::new()
    };
    Report {
        seed,
        breaches: world.breaches,
        digest: world.trace.digest(),
        events: world.trace.events,
        text,
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
