//! Looks at the endpoints that are not asked anyway, so that each is known before it is needed: its chain, its head, its
//! latency, and what is wrong with it.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::endpoint::Endpoint;
use super::reader::fetch_header;

/// Soon after the start, when whoever is asked first was asked.
const FIRST: Duration = Duration::from_secs(1);
/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// Whoever told its head within this is not asked.
const HEARD_WITHIN: Duration = Duration::from_secs(15);

/// Never ends. An endpoint that is silent holds up its own next look and no other's, for one timeout.
pub(super) async fn survey(endpoints: Vec<Endpoint>) {
    let mut ticks = interval_at(Instant::now() + FIRST, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        join_all(endpoints.iter().map(look)).await;
    }
}

async fn look(endpoint: &Endpoint) {
    if !endpoint.identity().was_heard_within(HEARD_WITHIN) {
        match fetch_header(endpoint, "eth_getBlockByNumber", json!(["latest", false])).await {
            Ok(header) => endpoint.saw_latest(&header),
            Err(error) => tracing::debug!(%error, "an endpoint failed the survey"),
        }
    }
    endpoint.show_problem();
}
