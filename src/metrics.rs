//! The names, units and HELP texts of every metric, and the recorder behind `/metrics`.
//!
//! Owns the list: rooms record under these constants, never under a name of their own. It must not open a listener (the app
//! serves what [`Recorder::render`] gives), and no label may hold a URL, a wallet, a tenant or anything else without bound.
//!
//! What an instance knows of a chain and its endpoints only by leading it stands still once it leads no more: read it
//! beside [`LEASE_LEADER`].

use std::time::Duration;

use metrics::Unit;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::domain::Hindrance;

/// How often [`Recorder::upkeep`] should be called; what histograms hold grows between two calls.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The buckets of every `*_seconds` histogram: from a check in memory to a chain that stands still.
const SECONDS: &[f64] = &[
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    30.0, 60.0, 120.0, 300.0, 900.0, 3600.0,
];

/// What a metric's value does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

/// One metric, as `/metrics` describes it.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// The full name.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// What it counts.
    pub unit: Unit,
    /// The HELP text, labels included.
    pub help: &'static str,
}

macro_rules! metrics_list {
    ($($(#[doc = $help:literal])+ $kind:ident $constant:ident = $name:literal in $unit:ident;)+) => {
        $($(#[doc = $help])+ pub const $constant: &str = $name;)+

        /// Every metric.
        pub const ALL: &[Metric] = &[
            $(Metric { name: $name, kind: Kind::$kind, unit: Unit::$unit, help: concat!($($help),+) },)+
        ];
    };
}

metrics_list! {
    /// Number of the newest block that an endpoint announced, by chain.
    Gauge CHAIN_HEAD = "tollgate_chain_head" in Count;
    /// Number of the newest block that is linked and complete, by chain.
    Gauge CHAIN_READ = "tollgate_chain_read" in Count;
    /// Number of the newest block that may change money or access, by chain.
    Gauge CHAIN_SETTLED = "tollgate_chain_settled" in Count;
    /// Number of the newest block that is never undone without a person, by chain.
    Gauge CHAIN_FINALIZED = "tollgate_chain_finalized" in Count;
    /// Number of the newest block that enough operators report, by chain; absent where one is believed.
    Gauge CHAIN_AGREED = "tollgate_chain_agreed" in Count;
    /// Age of the newest block that the highest tier of the finality policy covers, by chain; every instance shows it.
    Gauge CHAIN_FINALITY_LAG_SECONDS = "tollgate_chain_finality_lag_seconds" in Seconds;
    /// 1 while a chain is set aside until a person resolves it, else 0, by chain; every instance shows it.
    Gauge CHAIN_QUARANTINED = "tollgate_chain_quarantined" in Count;
    /// Blocks that are left to read, by chain: its own below the head, and those of watched contracts' past.
    Gauge CHAIN_BACKFILL_REMAINING_BLOCKS = "tollgate_chain_backfill_remaining_blocks" in Count;
    /// Reorgs, by chain and depth (1, 2-5, 6-20, 21+ blocks).
    Counter CHAIN_REORGS_TOTAL = "tollgate_chain_reorgs_total" in Count;
    /// From the last byte of a head's announcement to the commit of its block, by chain.
    Histogram CHAIN_HEAD_TO_COMMIT_SECONDS = "tollgate_chain_head_to_commit_seconds" in Seconds;
    /// Logs that a proven block held and that were never streamed, by chain.
    Counter CHAIN_UNSTREAMED_TOTAL = "tollgate_chain_unstreamed_logs_total" in Count;
    /// Logs that were streamed and that no proven block held, by chain.
    Counter CHAIN_STREAMED_UNPROVEN_TOTAL = "tollgate_chain_streamed_unproven_logs_total" in Count;
    /// 1 at the level to which a chain's blocks are proven, else 0, by chain and level (receipts, asked, none).
    Gauge CHAIN_LEVEL = "tollgate_chain_level" in Count;
    /// Blocks, or ranges of them, on whose logs operators did not agree, by chain.
    Counter CHAIN_LOG_DISAGREEMENTS_TOTAL = "tollgate_chain_log_disagreements_total" in Count;
    /// From a payment's block to the moment it counted here, by chain.
    Histogram CHAIN_CONFIRMATION_LAG_SECONDS = "tollgate_chain_confirmation_lag_seconds" in Seconds;
    /// 1 while nothing about the chain is out of bounds, else 0, by chain; /readyz says what is.
    /// Where another instance leads it: while the blocks that the leader stores are young enough, and count.
    Gauge CHAIN_READY = "tollgate_chain_ready" in Count;

    /// 1 while this instance leads the chain, 0 while it follows another that does, by chain.
    Gauge LEASE_LEADER = "tollgate_lease_leader" in Count;

    /// Requests to endpoints, by chain, endpoint, method and outcome.
    Counter ENDPOINT_REQUESTS_TOTAL = "tollgate_endpoint_requests_total" in Count;
    /// How long endpoints took to answer, by chain, endpoint and method.
    Histogram ENDPOINT_REQUEST_SECONDS = "tollgate_endpoint_request_seconds" in Seconds;
    /// Age of the newest header that an endpoint announced, by chain and endpoint.
    Gauge ENDPOINT_HEADER_AGE_SECONDS = "tollgate_endpoint_header_age_seconds" in Seconds;
    /// Sockets that were dropped, by chain, endpoint and reason.
    Counter ENDPOINT_DISCONNECTS_TOTAL = "tollgate_endpoint_disconnects_total" in Count;
    /// Streamed logs that nobody read in time, by chain and endpoint.
    Counter ENDPOINT_STREAMED_LOGS_DROPPED_TOTAL = "tollgate_endpoint_streamed_logs_dropped_total" in Count;
    /// Answers that did not prove what they claimed, by chain and endpoint.
    Counter ENDPOINT_UNPROVEN_TOTAL = "tollgate_endpoint_unproven_total" in Count;
    /// Times that an endpoint was put aside because of such an answer, by chain and endpoint.
    Counter ENDPOINT_QUARANTINES_TOTAL = "tollgate_endpoint_quarantines_total" in Count;
    /// 1 while something is wrong with an endpoint, by chain, endpoint and problem, such as silent or unproven.
    Gauge ENDPOINT_PROBLEM = "tollgate_endpoint_problem" in Count;
    /// 1 while the WebSocket session is up, else 0, by chain and endpoint.
    Gauge ENDPOINT_CONNECTED = "tollgate_endpoint_connected" in Count;

    /// Blocks at heights that were read and that an endpoint has otherwise, by chain and endpoint.
    Counter ENDPOINT_DISAGREEMENTS_TOTAL = "tollgate_endpoint_disagreements_total" in Count;

    /// 1 while nobody can pay in an accepted token, else 0, by chain, token and hindrance, as flags call it: that its issuer
    /// paused it, or blacklists the treasury. Every instance shows it.
    Gauge TOKEN_HINDERED = "tollgate_token_hindered" in Count;

    /// Payments that met the finality policy, by chain.
    Counter PAYMENT_CONFIRMED_TOTAL = "tollgate_payment_confirmed_total" in Count;
    /// Logs that would have been payments and came without proof; they were refused. Must stay 0.
    Counter PAYMENT_UNPROVEN_TOTAL = "tollgate_payment_unproven_total" in Count;
    /// Payments on chains whose blocks cannot be proven; they are shown and never count. By chain.
    Counter PAYMENT_UNCREDITED_TOTAL = "tollgate_payment_uncredited_total" in Count;
    /// Payments that rules gave to different charges, and that wait for an operator.
    Counter PAYMENT_AMBIGUOUS_TOTAL = "tollgate_payment_ambiguous_total" in Count;
    /// Events of providers that a person should look at.
    Counter INBOX_ATTENTION_TOTAL = "tollgate_inbox_attention_total" in Count;
    /// Checkouts that providers were asked to open, by outcome (opened, unavailable, refused, misread).
    Counter CHECKOUT_OPENS_TOTAL = "tollgate_checkout_opens_total" in Count;
    /// Transactions that lost a race and were run again.
    Counter ENGINE_RETRIES_TOTAL = "tollgate_engine_retries_total" in Count;
    /// From the beginning of a transaction to its commit, the wait for its turn included.
    Histogram ENGINE_TRANSACTION_SECONDS = "tollgate_engine_transaction_seconds" in Seconds;

    /// Decisions asked for, by eligibility (eligible, ineligible, unknown).
    Counter GATE_DECISIONS_TOTAL = "tollgate_gate_decisions_total" in Count;
    /// How long a decision took, reads of the chain included.
    Histogram GATE_DECISION_SECONDS = "tollgate_gate_decision_seconds" in Seconds;
    /// Logs of gates' contracts that could not be counted, by fault (malformed, or too many tokens): what is held of those
    /// contracts is unknown.
    Counter GATE_FAULTY_LOGS_TOTAL = "tollgate_gate_faulty_logs_total" in Count;

    /// Age of the oldest event that is owed and not delivered.
    Gauge OUTBOX_OLDEST_AGE_SECONDS = "tollgate_outbox_oldest_age_seconds" in Seconds;
    /// Attempts to deliver an event, by webhook and outcome (delivered, refused, failed, dead).
    Counter OUTBOX_DELIVERIES_TOTAL = "tollgate_outbox_deliveries_total" in Count;

    /// Requests answered, by route template, method and status.
    Counter HTTP_REQUESTS_TOTAL = "tollgate_http_requests_total" in Count;
    /// How long answers took, by route template and method.
    Histogram HTTP_REQUEST_SECONDS = "tollgate_http_request_seconds" in Seconds;

    /// Users' tokens that were refused, by reason (form, signature, expired, early, audience, issuer, claim, keyless).
    Counter TOKENS_REFUSED_TOTAL = "tollgate_tokens_refused_total" in Count;
    /// Fetches of the keys that users' tokens are verified by, by outcome (fetched, failed, refused).
    Counter JWKS_FETCHES_TOTAL = "tollgate_jwks_fetches_total" in Count;
    /// Age of those keys at the last fetch that did not bring any, else 0.
    Gauge JWKS_AGE_SECONDS = "tollgate_jwks_age_seconds" in Seconds;

    /// Readings of the configuration while it ran, by outcome (applied, refused).
    Counter CONFIG_RELOADS_TOTAL = "tollgate_config_reloads_total" in Count;
    /// Ends of tasks that nobody asked to stop, by task and outcome (failed, panicked, returned).
    Counter TASK_FAILURES_TOTAL = "tollgate_task_failures_total" in Count;
    /// 1, with the version as a label.
    Gauge BUILD_INFO = "tollgate_build_info" in Count;
}

/// Reorgs of at most so many blocks, and the word for them in [`CHAIN_REORGS_TOTAL`].
const REORG_DEPTHS: [(u64, &str); 4] = [(1, "1"), (5, "2-5"), (20, "6-20"), (u64::MAX, "21+")];

/// How [`CHAIN_REORGS_TOTAL`] calls a reorg of so many blocks.
#[must_use]
pub fn reorg_depth(blocks: u64) -> &'static str {
    let word = REORG_DEPTHS.iter().find(|(most, _)| blocks <= *most);
    word.map_or("21+", |(_, word)| word)
}

/// Shows a chain's counters before they count: in a series that begins above zero, Prometheus sees no increase.
pub fn begin_chain<'a>(chain: &str, endpoints: impl IntoIterator<Item = &'a str>) {
    for name in [
        CHAIN_UNSTREAMED_TOTAL,
        CHAIN_STREAMED_UNPROVEN_TOTAL,
        CHAIN_LOG_DISAGREEMENTS_TOTAL,
        PAYMENT_CONFIRMED_TOTAL,
        PAYMENT_UNCREDITED_TOTAL,
    ] {
        metrics::counter!(name, "chain" => chain.to_owned()).increment(0);
    }
    for (_, depth) in REORG_DEPTHS {
        metrics::counter!(CHAIN_REORGS_TOTAL, "chain" => chain.to_owned(), "depth" => depth).increment(0);
    }
    for endpoint in endpoints {
        let labels = [("chain", chain.to_owned()), ("endpoint", endpoint.to_owned())];
        for name in [
            ENDPOINT_UNPROVEN_TOTAL,
            ENDPOINT_QUARANTINES_TOTAL,
            ENDPOINT_DISAGREEMENTS_TOTAL,
            ENDPOINT_STREAMED_LOGS_DROPPED_TOTAL,
        ] {
            metrics::counter!(name, &labels).increment(0);
        }
    }
}

/// Takes the word back that each instance has of a chain, which is not configured any more.
pub fn end_chain(chain: &str) {
    for name in [
        LEASE_LEADER,
        CHAIN_READY,
        CHAIN_QUARANTINED,
        CHAIN_FINALITY_LAG_SECONDS,
    ] {
        metrics::gauge!(name, "chain" => chain.to_owned()).set(f64::NAN);
    }
}

/// As [`end_chain`], of a token that is not accepted any more.
pub fn end_token(chain: &str, token: &str) {
    for hindrance in Hindrance::ALL {
        show_token(chain, token, hindrance, f64::NAN);
    }
}

/// Shows whether something keeps everybody from paying in a token: 1 or 0.
pub fn show_token(chain: &str, token: &str, hindrance: Hindrance, value: f64) {
    let labels = [
        ("chain", chain.to_owned()),
        ("token", token.to_owned()),
        ("hindrance", hindrance.as_str().to_owned()),
    ];
    metrics::gauge!(TOKEN_HINDERED, &labels).set(value);
}

/// As [`end_chain`], of an endpoint of a chain that stays.
pub fn end_endpoint(chain: &str, endpoint: &str) {
    let labels = [("chain", chain.to_owned()), ("endpoint", endpoint.to_owned())];
    for name in [ENDPOINT_HEADER_AGE_SECONDS, ENDPOINT_CONNECTED] {
        metrics::gauge!(name, &labels).set(f64::NAN);
    }
}

/// Why there is no recorder.
#[derive(Debug, thiserror::Error)]
pub enum MetricsError {
    /// The exporter refused its settings, or another recorder is in place.
    #[error("the metrics recorder could not be installed: {0}")]
    Install(#[from] metrics_exporter_prometheus::BuildError),
}

/// What the metrics are read from. Cheap to clone.
#[derive(Clone)]
pub struct Recorder(PrometheusHandle);

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Recorder")
    }
}

impl Recorder {
    /// All metrics in the Prometheus text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds what histograms have gathered; call it every [`UPKEEP_INTERVAL`].
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// Installs the recorder of this process and describes every metric.
///
/// # Errors
/// A second call.
pub fn install() -> Result<Recorder, MetricsError> {
    let handle = builder()?.install_recorder()?;
    describe();
    Ok(Recorder(handle))
}

fn builder() -> Result<PrometheusBuilder, MetricsError> {
    let suffix = Matcher::Suffix("_seconds".to_owned());
    Ok(PrometheusBuilder::new().set_buckets_for_metric(suffix, SECONDS)?)
}

fn describe() {
    for metric in ALL {
        let Metric { name, unit, .. } = *metric;
        let help = metric.help.trim();
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(name, unit, help),
            Kind::Gauge => metrics::describe_gauge!(name, unit, help),
            Kind::Histogram => metrics::describe_histogram!(name, unit, help),
        }
    }
    for outcome in ["applied", "refused"] {
        metrics::counter!(CONFIG_RELOADS_TOTAL, "outcome" => outcome).increment(0);
    }
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    for name in [
        PAYMENT_UNPROVEN_TOTAL,
        PAYMENT_AMBIGUOUS_TOTAL,
        INBOX_ATTENTION_TOTAL,
        ENGINE_RETRIES_TOTAL,
    ] {
        metrics::counter!(name).increment(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(record: impl Fn()) -> String {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            describe();
            record();
        });
        handle.run_upkeep();
        handle.render()
    }

    #[test]
    fn every_metric_is_rendered_with_its_help_and_type() {
        let text = rendered(|| {
            for metric in ALL {
                let name = metric.name;
                match metric.kind {
                    Kind::Counter => metrics::counter!(name).increment(1),
                    Kind::Gauge => metrics::gauge!(name).set(1.0),
                    Kind::Histogram => metrics::histogram!(name).record(0.5),
                }
            }
        });
        for metric in ALL {
            let kind = format!("{:?}", metric.kind).to_lowercase();
            let lines = [
                format!("# HELP {} {}", metric.name, metric.help.trim()),
                format!("# TYPE {} {kind}", metric.name),
            ];
            for line in lines {
                assert!(text.lines().any(|found| found == line), "{line}\n{text}");
            }
        }
        assert!(text.contains("tollgate_http_request_seconds_bucket{le=\"0.0001\"}"));
    }

    #[test]
    fn what_must_stay_zero_is_shown_as_zero() {
        let text = rendered(|| begin_chain("ethereum", ["infura"]));
        for line in [
            "tollgate_payment_unproven_total 0".to_owned(),
            format!(
                "tollgate_chain_reorgs_total{{chain=\"ethereum\",depth=\"{}\"}} 0",
                reorg_depth(21)
            ),
            "tollgate_endpoint_unproven_total{chain=\"ethereum\",endpoint=\"infura\"} 0".to_owned(),
            "tollgate_endpoint_disagreements_total{chain=\"ethereum\",endpoint=\"infura\"} 0".to_owned(),
            "tollgate_payment_uncredited_total{chain=\"ethereum\"} 0".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_reorg_is_named_by_its_depth() {
        for (blocks, word) in [
            (0, "1"),
            (1, "1"),
            (2, "2-5"),
            (5, "2-5"),
            (6, "6-20"),
            (20, "6-20"),
            (21, "21+"),
        ] {
            assert_eq!(reorg_depth(blocks), word, "{blocks}");
        }
        assert_eq!(reorg_depth(u64::MAX), "21+");
    }

    #[test]
    fn names_state_their_unit_and_are_used_once() {
        let mut names: Vec<&str> = ALL.iter().map(|metric| metric.name).collect();
        for metric in ALL {
            let counted = metric.name.ends_with("_total");
            assert_eq!(counted, metric.kind == Kind::Counter, "{}", metric.name);
            let timed = metric.name.ends_with("_seconds");
            assert_eq!(timed, metric.unit == Unit::Seconds, "{}", metric.name);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
