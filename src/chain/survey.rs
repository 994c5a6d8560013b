//! Looks at the endpoints that are not asked anyway, so that each is known before it is needed: its chain, its head, its
//! latency, and what is wrong with it. Whose chain it serves is asked of each from time to time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::endpoint::{Endpoint, Lane};
use super::reader::fetch_header;
use super::rpc::Quantity;

/// Soon after the start, when whoever is asked first was asked.
const FIRST: Duration = Duration::from_secs(1);
/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Whoever told its head within this is not asked.
const HEARD_WITHIN: Duration = Duration::from_secs(15);
/// Looks between two questions whose chain an endpoint serves: a minute.
const LOOKS_PER_RECHECK: u64 = 12;

/// Never ends. An endpoint that is silent holds up its own next look and no other's, for one timeout.
pub(super) async fn survey(endpoints: Vec<Endpoint>) {
    let mut ticks = interval_at(Instant::now() + FIRST, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 1_u64.. {
        ticks.tick().await;
        let rechecks = round.is_multiple_of(LOOKS_PER_RECHECK);
        join_all(endpoints.iter().map(|endpoint| look(endpoint, rechecks))).await;
    }
}

async fn look(endpoint: &Endpoint, rechecks: bool) {
    if rechecks {
        recheck(endpoint).await;
    }
    if !endpoint.identity().was_heard_within(HEARD_WITHIN) {
        match fetch_header(endpoint, "eth_getBlockByNumber", json!(["latest", false])).await {
            Ok(header) => endpoint.saw_latest(&header),
            Err(error) => tracing::debug!(%error, "an endpoint failed the survey"),
        }
    }
    endpoint.show_problem();
}

/// Behind one address another node may answer by now, and no failure shows it.
async fn recheck(endpoint: &Endpoint) {
    const METHOD: &str = "eth_chainId";
    let identity = endpoint.identity();
    identity.recheck.store(true, Ordering::Relaxed);
    let checked = async {
        let Quantity(found) = endpoint.request_by(Lane::Bulk, METHOD, json!([])).await?;
        let checked = identity.check_chain(found);
        checked.map_err(|failure| identity.failed(METHOD, failure))
    };
    if let Err(error) = checked.await {
        tracing::debug!(%error, "an endpoint could not be asked again whose chain it serves");
    }
}
