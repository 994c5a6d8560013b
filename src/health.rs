//! Whether we can see: what the tasks say of themselves, and what readiness follows from it at a given time.
//!
//! Nothing reports healthy while blind: a chain that was never read, whose newest header is too old, or that is halted
//! makes the whole service not ready, by name.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{ChainId, Millis};

/// No header may be older than so many block times.
const MAX_HEADER_BLOCK_TIMES: u32 = 12;

/// A header younger than this is never too old, however fast the blocks.
const MIN_HEADER_AGE: Duration = Duration::from_secs(30);

/// The oldest event that is owed may be this old.
const MAX_OUTBOX_AGE: Duration = Duration::from_hours(1);

/// What the tasks report. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    chains: BTreeMap<ChainId, ChainState>,
    oldest_owed_at: Option<Millis>,
}

#[derive(Debug)]
struct ChainState {
    max_header_age_ms: i64,
    newest_header_ms: Option<Millis>,
    max_behind: u64,
    behind: u64,
    problem: Option<String>,
}

/// One reason not to be ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// `chain_unread`, `header_age`, `chain_behind`, `chain_problem`, `outbox_age` or `database`.
    pub check: &'static str,
    /// The chain that it concerns.
    pub chain_id: Option<u64>,
    /// In words, with the figure and its bound.
    pub detail: String,
}

impl Health {
    /// Expects a chain with blocks about every `block_time`: until its first header it is unread.
    pub fn expect_chain(&self, chain: ChainId, block_time: Duration) {
        let bound = (block_time * MAX_HEADER_BLOCK_TIMES).max(MIN_HEADER_AGE);
        let max_header_age_ms = i64::try_from(bound.as_millis()).unwrap_or(i64::MAX);
        let state = ChainState {
            max_header_age_ms,
            newest_header_ms: None,
            max_behind: u64::try_from(bound.as_millis() / block_time.as_millis().max(1)).unwrap_or(u64::MAX),
            behind: 0,
            problem: None,
        };
        self.change(|health| {
            health.chains.insert(chain, state);
        });
    }

    /// A verified header of this time was seen.
    pub fn saw_header(&self, chain: ChainId, time_ms: Millis) {
        self.change(|health| {
            if let Some(state) = health.chains.get_mut(&chain) {
                state.newest_header_ms = state.newest_header_ms.max(Some(time_ms));
            }
        });
    }

    /// How many blocks lie between the head and what was read.
    pub fn set_behind(&self, chain: ChainId, blocks: u64) {
        self.change(|health| {
            if let Some(state) = health.chains.get_mut(&chain) {
                state.behind = blocks;
            }
        });
    }

    /// Says what is wrong with a chain beyond the age of its headers, or that nothing is.
    pub fn set_problem(&self, chain: ChainId, problem: Option<String>) {
        self.change(|health| {
            if let Some(state) = health.chains.get_mut(&chain) {
                state.problem = problem;
            }
        });
    }

    /// When the oldest event that is still owed was made.
    pub fn set_oldest_owed(&self, at: Option<Millis>) {
        self.change(|health| health.oldest_owed_at = at);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Every reason not to be ready at `now`; none when ready. The database is the caller's to ask.
    #[must_use]
    pub fn reasons(&self, now: Millis) -> Vec<Reason> {
        let health = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut reasons = Vec::new();
        for (chain, state) in &health.chains {
            let chain_id = Some(chain.0);
            if let Some(problem) = &state.problem {
                reasons.push(Reason {
                    check: "chain_problem",
                    chain_id,
                    detail: problem.clone(),
                });
            }
            if state.behind > state.max_behind {
                let (behind, bound) = (state.behind, state.max_behind);
                let detail = format!("{behind} blocks of the head are not read; the bound is {bound}");
                reasons.push(Reason {
                    check: "chain_behind",
                    chain_id,
                    detail,
                });
            }
            match state.newest_header_ms.map(|time| now.saturating_sub(time)) {
                None => {
                    let detail = "no block was read yet".to_owned();
                    reasons.push(Reason {
                        check: "chain_unread",
                        chain_id,
                        detail,
                    });
                }
                Some(age) if age > state.max_header_age_ms => {
                    let (age, bound) = (age / 1000, state.max_header_age_ms / 1000);
                    let detail = format!("the newest header is {age} s old; the bound is {bound} s");
                    reasons.push(Reason {
                        check: "header_age",
                        chain_id,
                        detail,
                    });
                }
                Some(_) => {}
            }
        }
        let owed = health.oldest_owed_at.map(|at| now.saturating_sub(at) / 1000);
        let bound = i64::try_from(MAX_OUTBOX_AGE.as_secs()).unwrap_or(i64::MAX);
        if let Some(age) = owed.filter(|age| *age > bound) {
            let detail = format!("the oldest event that is owed is {age} s old; the bound is {bound} s");
            reasons.push(Reason {
                check: "outbox_age",
                chain_id: None,
                detail,
            });
        }
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHAIN: ChainId = ChainId(1);

    fn checks(health: &Health, now: Millis) -> Vec<&'static str> {
        health.reasons(now).iter().map(|reason| reason.check).collect()
    }

    #[test]
    fn a_chain_is_red_until_it_is_read_and_when_it_stalls() {
        let health = Health::default();
        health.expect_chain(CHAIN, Duration::from_secs(12));
        assert_eq!(checks(&health, 0), ["chain_unread"]);
        health.saw_header(CHAIN, 1_000_000);
        assert_eq!(checks(&health, 1_144_000), [""; 0]);
        assert_eq!(checks(&health, 1_144_001), ["header_age"]);
        health.saw_header(CHAIN, 900_000);
        assert_eq!(
            checks(&health, 1_144_000),
            [""; 0],
            "an older header takes nothing back"
        );
    }

    #[test]
    fn a_halted_chain_and_a_stuck_outbox_are_named() {
        let health = Health::default();
        health.expect_chain(CHAIN, Duration::from_millis(10));
        health.saw_header(CHAIN, 0);
        health.set_problem(CHAIN, Some("another genesis".to_owned()));
        health.set_oldest_owed(Some(0));
        assert_eq!(checks(&health, 30_000), ["chain_problem"]);
        assert_eq!(
            checks(&health, 3_601_000),
            ["chain_problem", "header_age", "outbox_age"]
        );
        health.set_behind(CHAIN, 3_001);
        health.set_oldest_owed(Some(3_600_000));
        assert_eq!(checks(&health, 30_000), ["chain_problem", "chain_behind"]);
        health.set_behind(CHAIN, 3_000);
        health.set_problem(CHAIN, None);
        health.set_oldest_owed(None);
        assert_eq!(checks(&health, 30_000), [""; 0]);
    }
}
