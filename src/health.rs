//! Whether this process sees what it answers about. Each room sets what it knows, and whoever asks is told what is wrong.
//!
//! Owns the bounds beyond which we are blind. Values and arithmetic only: the time is an argument, and nothing here asks
//! a chain or the database. A chain of which nothing was said is not healthy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::domain::{ChainId, Level, Millis};

/// An event that is owed for longer than this is a sign that nobody is told of anything, in milliseconds.
pub const OUTBOX_AGE_MAX_MS: i64 = 60 * 60 * 1000;

/// A chain is silent after this many of its block times without a header,
const SILENT_AFTER_BLOCKS: u32 = 12;

/// and never before this.
const SILENT_AFTER_MIN: Duration = Duration::from_secs(30);

/// What the task of one chain knows of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChainHealth {
    /// When the newest header arrived, by our clock; none before the first.
    pub last_header_at_ms: Option<Millis>,
    /// Blocks between the head and what was read.
    pub behind: u64,
    /// The level that its blocks are proven to, once that is known.
    pub level: Option<Level>,
    /// Why the chain is not read: halted, quarantined, endpoints down. Never a URL.
    pub problem: Option<&'static str>,
}

/// What is known of one RPC endpoint of a chain. Never a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStatus {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Who runs it.
    pub operator: Arc<str>,
    /// Whether its WebSocket session is up.
    pub connected: bool,
    /// The height that it told last; none before the first.
    pub head: Option<u64>,
    /// How long one header takes, on the average of the latest.
    pub latency: Option<Duration>,
    /// What is wrong with it: `wrong_chain`, `wrong_genesis`, `contradicts_final`, `billing`, `rate_limited`, `unproven`,
    /// `too_large`, `not_json_rpc`, `silent` or `unreachable`.
    pub problem: Option<&'static str>,
}

/// An endpoint that cannot be relied on. Its chain may be read by others all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadEndpoint {
    /// The chain's name.
    pub chain: String,
    /// The endpoint's name.
    pub endpoint: String,
    /// As [`EndpointStatus::problem`].
    pub problem: &'static str,
}

/// What the database said when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Database {
    /// It answers; the oldest event that is owed was made then.
    Answers {
        /// None where nothing is owed.
        oldest_owed_at_ms: Option<Millis>,
    },
    /// It does not.
    Silent,
}

/// One reason not to be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// What is out of bounds: `chain_unread`, `chain_header_age`, `chain_behind`, `chain_problem`, `chain_quarantined`,
    /// `chain_finality_stalled`, `chain_agreement`, `outbox_age` or `database`.
    pub check: &'static str,
    /// The chain's name, where it is about one.
    pub chain: Option<String>,
    /// How it is, and the bound.
    pub detail: String,
}

/// Something that keeps a chain's blocks from counting, or that is worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    /// `chain_quarantined`, `chain_finality_stalled` or `chain_agreement`.
    pub check: &'static str,
    /// In words. Never a URL.
    pub detail: String,
    /// It is as configured, and no reason not to be ready.
    pub is_note: bool,
}

/// Whether to be trusted, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Whether nothing is out of bounds.
    pub ready: bool,
    /// What is.
    pub reasons: Vec<Reason>,
    /// What is as configured, and should be known.
    pub notes: Vec<Reason>,
    /// The endpoints that have a problem; by themselves they make nothing not ready.
    pub endpoints: Vec<BadEndpoint>,
}

/// What is known of the health of this process. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<ChainId, Watched>>>);

#[derive(Debug)]
struct Watched {
    name: String,
    header_age_max_ms: i64,
    behind_max: u64,
    health: ChainHealth,
    concerns: Vec<Concern>,
    endpoints: Vec<EndpointStatus>,
}

/// How old the newest header of a chain may be.
#[must_use]
pub fn header_age_max(block_time: Duration) -> Duration {
    block_time
        .saturating_mul(SILENT_AFTER_BLOCKS)
        .max(SILENT_AFTER_MIN)
}

impl Health {
    /// Adds a chain, unhealthy until its task says otherwise. What is known of a chain that was added before is kept.
    pub fn expect_chain(&self, chain: ChainId, name: &str, block_time: Duration) {
        let age_max = header_age_max(block_time);
        let behind_max = age_max.as_millis() / block_time.as_millis().max(1);
        let watched = Watched {
            name: name.to_owned(),
            header_age_max_ms: i64::try_from(age_max.as_millis()).unwrap_or(i64::MAX),
            behind_max: u64::try_from(behind_max).unwrap_or(u64::MAX),
            health: ChainHealth::default(),
            concerns: Vec::new(),
            endpoints: Vec::new(),
        };
        self.chains().entry(chain).or_insert(watched);
    }

    /// Forgets a chain: nobody is to be told of it any more.
    pub fn forget_chain(&self, chain: ChainId) {
        self.chains().remove(&chain);
    }

    /// Sets what is known of a chain; one that was never expected is passed over.
    pub fn set_chain(&self, chain: ChainId, health: ChainHealth) {
        if let Some(watched) = self.chains().get_mut(&chain) {
            watched.health = health;
        }
    }

    /// Sets what keeps a chain's blocks from counting.
    pub fn set_concerns(&self, chain: ChainId, concerns: Vec<Concern>) {
        if let Some(watched) = self.chains().get_mut(&chain) {
            watched.concerns = concerns;
        }
    }

    /// Sets what is known of a chain's endpoints; as [`Health::set_chain`].
    pub fn set_endpoints(&self, chain: ChainId, endpoints: Vec<EndpointStatus>) {
        if let Some(watched) = self.chains().get_mut(&chain) {
            watched.endpoints = endpoints;
        }
    }

    /// What is known of a chain's endpoints, in the configured order; empty before its task said so.
    #[must_use]
    pub fn endpoints(&self, chain: ChainId) -> Vec<EndpointStatus> {
        let chains = self.chains();
        chains
            .get(&chain)
            .map_or_else(Vec::new, |watched| watched.endpoints.clone())
    }

    /// What is known of a chain.
    #[must_use]
    pub fn chain(&self, chain: ChainId) -> Option<ChainHealth> {
        self.chains().get(&chain).map(|watched| watched.health)
    }

    /// Whether a chain is read up to its head at `now`. One that was never expected is not.
    #[must_use]
    pub fn sees(&self, chain: ChainId, now: Millis) -> bool {
        self.chains()
            .get(&chain)
            .is_some_and(|watched| watched.reason(now).is_none())
    }

    /// Whether nothing about a chain is out of bounds at `now`: it is seen, and its blocks count. One that was never expected
    /// is not ready.
    #[must_use]
    pub fn is_ready(&self, chain: ChainId, now: Millis) -> bool {
        self.chains().get(&chain).is_some_and(|watched| {
            watched.reason(now).is_none() && watched.concerns.iter().all(|one| one.is_note)
        })
    }

    /// What is out of bounds at `now`.
    #[must_use]
    pub fn readiness(&self, now: Millis, database: Database) -> Readiness {
        let chains = self.chains();
        let (mut reasons, mut notes) = (Vec::new(), Vec::new());
        for watched in chains.values() {
            reasons.extend(watched.reason(now));
            for concern in &watched.concerns {
                let list = if concern.is_note { &mut notes } else { &mut reasons };
                list.push(Reason {
                    check: concern.check,
                    chain: Some(watched.name.clone()),
                    detail: concern.detail.clone(),
                });
            }
        }
        reasons.extend(database_reason(now, database));
        Readiness {
            ready: reasons.is_empty(),
            reasons,
            notes,
            endpoints: chains.values().flat_map(Watched::bad_endpoints).collect(),
        }
    }

    /// A panic while it was held leaves every entry whole: each is set at once.
    fn chains(&self) -> MutexGuard<'_, BTreeMap<ChainId, Watched>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn bad_endpoints(&self) -> impl Iterator<Item = BadEndpoint> {
        self.endpoints.iter().filter_map(|endpoint| {
            Some(BadEndpoint {
                chain: self.name.clone(),
                endpoint: endpoint.name.to_string(),
                problem: endpoint.problem?,
            })
        })
    }

    fn reason(&self, now: Millis) -> Option<Reason> {
        let because = |check, detail| {
            Some(Reason {
                check,
                chain: Some(self.name.clone()),
                detail,
            })
        };
        let ChainHealth {
            last_header_at_ms,
            behind,
            problem,
            ..
        } = self.health;
        if let Some(problem) = problem {
            return because("chain_problem", problem.to_owned());
        }
        let Some(last_header_at_ms) = last_header_at_ms else {
            return because("chain_unread", "no header was read yet".to_owned());
        };
        let age_ms = now.saturating_sub(last_header_at_ms);
        if age_ms > self.header_age_max_ms {
            let (age, max) = (age_ms / 1000, self.header_age_max_ms / 1000);
            let detail = format!("the newest header came {age} s ago; at most {max} s are normal");
            return because("chain_header_age", detail);
        }
        if behind > self.behind_max {
            let detail = format!(
                "{behind} blocks below the head; at most {} are normal",
                self.behind_max
            );
            return because("chain_behind", detail);
        }
        None
    }
}

fn database_reason(now: Millis, database: Database) -> Option<Reason> {
    let (check, detail) = match database {
        Database::Silent => ("database", "the database does not answer".to_owned()),
        Database::Answers { oldest_owed_at_ms } => {
            let age_ms = now.saturating_sub(oldest_owed_at_ms?);
            if age_ms <= OUTBOX_AGE_MAX_MS {
                return None;
            }
            let (age, max) = (age_ms / 1000, OUTBOX_AGE_MAX_MS / 1000);
            let detail = format!("the oldest event is owed for {age} s; at most {max} s are normal");
            ("outbox_age", detail)
        }
    };
    Some(Reason {
        check,
        chain: None,
        detail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: ChainId = ChainId(1);
    const NOW: Millis = 1_000_000_000;
    const FINE: Database = Database::Answers {
        oldest_owed_at_ms: None,
    };

    fn checks(health: ChainHealth, now: Millis, database: Database) -> Vec<&'static str> {
        let known = Health::default();
        known.expect_chain(CHAIN, "ethereum", Duration::from_secs(12));
        known.set_chain(CHAIN, health);
        assert_eq!(known.chain(CHAIN), Some(health));
        let readiness = known.readiness(now, database);
        assert_eq!(readiness.ready, readiness.reasons.is_empty());
        readiness.reasons.iter().map(|reason| reason.check).collect()
    }

    #[test]
    fn each_bound_is_inclusive_and_names_itself() {
        let heard = ChainHealth {
            last_header_at_ms: Some(NOW),
            behind: 12,
            level: None,
            problem: None,
        };
        let owed = |age_ms| Database::Answers {
            oldest_owed_at_ms: Some(NOW - age_ms),
        };
        assert!(checks(heard, NOW, FINE).is_empty());
        assert!(checks(heard, NOW + 144_000, FINE).is_empty());
        assert_eq!(checks(heard, NOW + 144_001, FINE), ["chain_header_age"]);
        assert_eq!(
            checks(ChainHealth { behind: 13, ..heard }, NOW, FINE),
            ["chain_behind"]
        );
        let problem = Some("halted");
        assert_eq!(
            checks(ChainHealth { problem, ..heard }, NOW, FINE),
            ["chain_problem"]
        );
        assert_eq!(checks(ChainHealth::default(), NOW, FINE), ["chain_unread"]);
        assert_eq!(checks(heard, NOW, Database::Silent), ["database"]);
        assert!(checks(heard, NOW, owed(OUTBOX_AGE_MAX_MS)).is_empty());
        assert_eq!(checks(heard, NOW, owed(OUTBOX_AGE_MAX_MS + 1)), ["outbox_age"]);
    }

    #[test]
    fn a_chain_is_ready_while_readiness_names_nothing_of_it() {
        let known = Health::default();
        let concern = |is_note| Concern {
            check: "chain_agreement",
            detail: "words".to_owned(),
            is_note,
        };
        let heard = ChainHealth {
            last_header_at_ms: Some(NOW),
            ..ChainHealth::default()
        };
        let is_ready = |concerns: Vec<Concern>, now| {
            known.set_concerns(CHAIN, concerns);
            let ready = known.is_ready(CHAIN, now);
            assert_eq!(ready, known.readiness(now, FINE).ready);
            ready
        };
        known.expect_chain(CHAIN, "ethereum", Duration::from_secs(12));
        assert!(!is_ready(Vec::new(), NOW), "it was not read yet");
        known.set_chain(CHAIN, heard);
        assert!(is_ready(Vec::new(), NOW));
        assert!(is_ready(vec![concern(true)], NOW), "as configured");
        assert!(!is_ready(vec![concern(true), concern(false)], NOW));
        assert!(known.sees(CHAIN, NOW), "what is seen need not count");
        assert!(!is_ready(Vec::new(), NOW + 144_001));
        assert!(!known.is_ready(ChainId(2), NOW), "a stranger");
    }

    #[test]
    fn a_fast_chain_is_given_half_a_minute() {
        assert_eq!(header_age_max(Duration::from_millis(250)), SILENT_AFTER_MIN);
        assert_eq!(header_age_max(Duration::from_secs(12)), Duration::from_secs(144));
    }

    #[test]
    fn expecting_a_chain_again_forgets_nothing_and_a_stranger_is_never_seen() {
        let known = Health::default();
        let heard = ChainHealth {
            last_header_at_ms: Some(NOW),
            ..ChainHealth::default()
        };
        known.expect_chain(CHAIN, "ethereum", Duration::from_secs(12));
        known.set_chain(CHAIN, heard);
        known.expect_chain(CHAIN, "ethereum", Duration::from_secs(12));
        known.set_chain(ChainId(2), heard);
        assert!(known.clone().sees(CHAIN, NOW));
        assert!(!known.sees(ChainId(2), NOW));
    }
}
