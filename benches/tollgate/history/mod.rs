//! `history_fold`: the whole past of a gate's contract, read, checked and folded into exact balances, against fetching and
//! decoding the same logs with nothing else; and `ingest`, the same on `PostgreSQL` against `SQLite`.
//!
//! The limit and ours alternate, and each ratio is of neighbours in time: the machine's other load is in both.

mod fetch;
mod fold;

use super::anvil::Anvil;
use super::chain::Place;
use super::child;
use super::emitter::{self, Emitted};
use super::report::{Line, rate, round};
use super::scratch::Stores;
use super::{Outcome, Size};

pub use fetch::run as fetch;
pub use fold::run as fold;

/// The child that fetches and decodes.
pub const FETCH: &str = "history-fetch";
/// The child that is ours.
pub const FOLD: &str = "history-fold";

const AGAINST: &str = "fetch and decode: reqwest and alloy's Log";
const WIDTHS: [u64; 3] = [10, 50, 200];
const CONNECTIONS: [usize; 2] = [1, 2];

/// One measurement of ours.
#[derive(Debug, Clone, Copy)]
struct Measured {
    logs_per_second: f64,
    ratio: f64,
    peak_rss_mb: f64,
}

pub async fn run(size: Size) -> Outcome {
    // Nothing mines by itself: a block is mined for each transaction.
    let anvil = Anvil::start(&["--no-mining"]).await?;
    let emitted = emitter::fill(&anvil, size.pick(200, 2_000)).await?;
    let best = best_plan(&anvil, &emitted).await?;
    let stores = Stores::both()?;
    let mut measured = [Vec::new(), Vec::new()];
    for _ in 0..size.pick(1, 3) {
        for (store, measured) in stores.iter().zip(&mut measured) {
            let limit = limit(&anvil, &emitted, best).await?;
            let database = store.new_database()?;
            let task = fold::Task {
                place: Place::new(&anvil, database.url.clone()),
                emitted: emitted.clone(),
            };
            let folded: fold::Folded = child::run(FOLD, &task).await?;
            let logs_per_second = rate(emitted.logs(), folded.seconds);
            eprintln!(
                "  {}: {folded:?}, {logs_per_second:.0} logs/s; limit {limit:.0}",
                store.name()
            );
            measured.push(Measured {
                logs_per_second,
                ratio: logs_per_second / limit,
                peak_rss_mb: folded.peak_rss_mb,
            });
        }
    }
    let medians = measured.map(median);
    for (store, measured) in stores.iter().zip(&medians) {
        line(store, measured, emitted.logs()).print()?;
    }
    let [sqlite, postgres] = medians;
    let ingest = Line {
        bench: "ingest",
        value: round(postgres.logs_per_second, 0),
        unit: "logs/s",
        ratio: Some(round(postgres.logs_per_second / sqlite.logs_per_second, 3)),
        against: Some("history_fold on SQLite".to_owned()),
        store: Some("postgres"),
        n: Some(emitted.logs()),
        ..Line::default()
    };
    ingest.print()
}

fn line(store: &Stores, measured: &Measured, logs: u64) -> Line {
    Line {
        bench: "history_fold",
        value: round(measured.logs_per_second, 0),
        unit: "logs/s",
        ratio: Some(round(measured.ratio, 3)),
        against: Some(AGAINST.to_owned()),
        peak_rss_mb: Some(round(measured.peak_rss_mb, 1)),
        store: Some(store.name()),
        n: Some(logs),
        ..Line::default()
    }
}

/// The one with the median ratio; its memory is the most that any of them took.
fn median(mut measured: Vec<Measured>) -> Measured {
    measured.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
    let peak_rss_mb = measured.iter().map(|one| one.peak_rss_mb).fold(0.0, f64::max);
    let middle = measured.get(measured.len() / 2);
    middle.map_or(
        Measured {
            logs_per_second: 0.0,
            ratio: 0.0,
            peak_rss_mb,
        },
        |middle| Measured {
            peak_rss_mb,
            ..*middle
        },
    )
}

/// The ranges and connections at which logs come fastest.
async fn best_plan(anvil: &Anvil, emitted: &Emitted) -> Outcome<(u64, usize)> {
    let mut best = ((0, 0), 0.0);
    for connections in CONNECTIONS {
        for width in WIDTHS {
            let reached = limit(anvil, emitted, (width, connections)).await?;
            eprintln!("  limit with {width} blocks, {connections} connections: {reached:.0} logs/s");
            if reached > best.1 {
                best = ((width, connections), reached);
            }
        }
    }
    Ok(best.0)
}

async fn limit(anvil: &Anvil, emitted: &Emitted, (width, connections): (u64, usize)) -> Outcome<f64> {
    let task = fetch::Task {
        http: anvil.http_url(),
        emitted: emitted.clone(),
        width,
        connections,
    };
    let fetched: fetch::Fetched = child::run(FETCH, &task).await?;
    if fetched.logs != emitted.logs() {
        return Err(format!("{} logs were fetched instead of {}", fetched.logs, emitted.logs()).into());
    }
    Ok(rate(fetched.logs, fetched.seconds))
}
