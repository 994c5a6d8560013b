//! What `make bench` runs: one JSON object a line on standard output, progress on standard error.
//!
//! `ONLY=<prefix>` picks benches by name and `QUICK=1` shrinks their work; arguments are cargo's, and pick nothing. What is
//! measured runs in a process of its own, started from this same program, so that its memory and its time are its own.

mod anvil;
mod chain;
mod child;
mod emitter;
mod guard;
mod history;
mod idle;
mod loss;
mod matching;
mod payments;
mod postgres;
mod proc;
#[path = "../../tests/it/harness/proxy/mod.rs"]
#[expect(dead_code, reason = "the tests use more of its faults")]
mod proxy;
mod recorder;
mod reorg;
mod report;
mod scene;
mod scratch;
mod traffic;
mod wait;

use std::process::ExitCode;

/// What anything here ends with; a bench that fails says why, and the others still run.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How much work is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// A look.
    Quick,
    /// What benchmarks.md says.
    Full,
}

impl Size {
    fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// The benches, each with the names of the lines that it prints.
const BENCHES: [&[&str]; 7] = [
    &["history_fold", "ingest"],
    &["head_to_commit"],
    &["match"],
    &["rpc_per_block"],
    &["reorg_recovery"],
    &["endpoint_loss"],
    &["idle_memory"],
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let outcome = match arguments.next().as_deref() {
        Some(child::ARGUMENT) => child::main(arguments.next().as_deref()),
        _ => run_benches(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run_benches() -> Outcome {
    let only = std::env::var("ONLY").unwrap_or_default();
    let size = match std::env::var("QUICK").as_deref() {
        Ok("1") => Size::Quick,
        _ => Size::Full,
    };
    let runtime = child::runtime()?;
    let mut failed = Vec::new();
    for names in BENCHES {
        if !names.iter().any(|name| name.starts_with(&only)) {
            continue;
        }
        let name = names.first().copied().unwrap_or_default();
        eprintln!("{name} …");
        if let Err(error) = runtime.block_on(run_one(name, size)) {
            eprintln!("{name}: {error}");
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(format!("failed: {}", failed.join(", ")).into())
}

async fn run_one(name: &str, size: Size) -> Outcome {
    match name {
        "history_fold" => history::run(size).await,
        "head_to_commit" => payments::run(size).await,
        "match" => matching::run(size).await,
        "rpc_per_block" => traffic::run(size).await,
        "reorg_recovery" => reorg::run(size).await,
        "endpoint_loss" => loss::run(size).await,
        "idle_memory" => idle::run(size).await,
        _ => Err("there is no such bench".into()),
    }
}
