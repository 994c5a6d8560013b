//! `tollgate-sim`: runs seeds of the simulator, as many as are asked for, or replays one and tells of it.
//!
//!     cargo run --release --example tollgate-sim -- --seeds 20000 --from 1
//!     cargo run --release --example tollgate-sim -- --replay 4711

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what it runs is the tests' own"
)]

#[path = "../../tests/it/harness/random.rs"]
mod random;
#[path = "../../tests/it/simulator/mod.rs"]
mod simulator;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;

/// Runs seeds of the simulator.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Seeds that run at once; as many as there are processors where it is left out.
    #[arg(long)]
    threads: Option<usize>,
    /// Runs each seed twice, and compares.
    #[arg(long)]
    twice: bool,
    /// Logs of the code that is tested, as `RUST_LOG` names them.
    #[arg(long)]
    log: Option<String>,
    /// Runs this seed twice, tells of it, and compares the two.
    #[arg(long)]
    replay: Option<u64>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(filter) = &arguments.log {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .without_time()
            .init();
    }
    let ok = match arguments.replay {
        Some(seed) => replay(seed),
        None => run(&arguments),
    };
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(seed: u64) -> bool {
    let report = simulator::run(seed, true);
    println!("{}", report.text);
    print(&report);
    let again = simulator::run(seed, true);
    println!("digest {:016x} over {} events", report.digest, report.events);
    let differ = report.text.lines().zip(again.text.lines()).find(|(a, b)| a != b);
    if let Some((first, second)) = differ {
        println!("played again, this is the first difference:\n{first}\n{second}");
    }
    report.breaches.is_empty() && report.digest == again.digest
}

fn run(arguments: &Arguments) -> bool {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(processors).max(1);
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from + arguments.seeds;
    let (failed, events) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let mut report = simulator::run(seed, false);
                    if arguments.twice && report.digest != simulator::run(seed, false).digest {
                        report
                            .breaches
                            .push("it ran otherwise the second time".to_owned());
                    }
                    events.fetch_add(report.events, Ordering::Relaxed);
                    if !report.breaches.is_empty() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        print(&report);
                    }
                }
            });
        }
    });
    let took = start.elapsed().as_secs_f64();
    let failed = failed.into_inner();
    println!(
        "{} seeds from {}: {failed} failed; {:.1} seeds/s, {} events, {took:.1} s",
        arguments.seeds,
        arguments.from,
        f64::from(u32::try_from(arguments.seeds).unwrap_or(u32::MAX)) / took,
        events.into_inner(),
    );
    failed == 0
}

fn print(report: &simulator::Report) {
    for breach in &report.breaches {
        println!("seed {}: {breach}", report.seed);
    }
}
