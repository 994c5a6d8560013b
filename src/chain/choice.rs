//! Which endpoint is asked first: pure, from what is known of each.
//!
//! The order of the configuration decides where latencies are alike. Whoever leads keeps the lead within a margin, so that
//! two endpoints of like latency do not take turns.

use std::time::Duration;

/// A later endpoint leads only if its latency is below half of the leader's, by this much at the least.
const MARGIN: Duration = Duration::from_millis(20);

/// The moving average of how long one header takes: a quarter is the newest answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Latency(Option<Duration>);

impl Latency {
    pub fn add(&mut self, took: Duration) {
        self.0 = Some(self.0.map_or(took, |known| (known * 3 + took) / 4));
    }

    pub const fn known(self) -> Option<Duration> {
        self.0
    }
}

/// What the choice depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    /// It would take a request now.
    pub healthy: bool,
    /// Its newest header is too old for its chain.
    pub stale: bool,
    /// None before its first answer.
    pub latency: Option<Duration>,
}

/// The positions of `candidates`, which are in the configured order, best first. `leader` is who was first before.
///
/// First the leader, then the healthy ones, then those whose head stands still, then those that would answer at once with
/// why they are out.
pub(super) fn ranked(candidates: &[Candidate], leader: usize) -> Vec<usize> {
    let rank = |at: usize| {
        let Candidate { healthy, stale, .. } = candidates[at];
        (!healthy, stale)
    };
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&at| rank(at));
    let Some(&best) = order.first() else {
        return order;
    };
    let peers: Vec<usize> = order
        .iter()
        .copied()
        .filter(|&at| rank(at) == rank(best))
        .collect();
    let first = if peers.contains(&leader) { leader } else { best };
    let first = peers.into_iter().fold(first, |first, at| {
        if takes_over(candidates, at, first) {
            at
        } else {
            first
        }
    });
    order.retain(|&at| at != first);
    order.insert(0, first);
    order
}

fn takes_over(candidates: &[Candidate], challenger: usize, leader: usize) -> bool {
    match (candidates[challenger].latency, candidates[leader].latency) {
        (Some(ours), Some(theirs)) if challenger > leader => ours * 2 + MARGIN < theirs,
        (Some(ours), Some(theirs)) => challenger < leader && ours <= theirs + theirs / 4,
        _ => challenger < leader,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healthy(latency_ms: u64) -> Candidate {
        Candidate {
            healthy: true,
            stale: false,
            latency: Some(Duration::from_millis(latency_ms)),
        }
    }

    #[test]
    fn the_configured_order_decides_where_nothing_is_known_or_latencies_are_alike() {
        let unknown = Candidate {
            latency: None,
            ..healthy(0)
        };
        assert_eq!(ranked(&[unknown; 3], 0), [0, 1, 2]);
        assert_eq!(ranked(&[unknown; 3], 2), [0, 1, 2]);
        assert_eq!(ranked(&[healthy(100), healthy(60), healthy(100)], 0), [0, 1, 2]);
        assert_eq!(ranked(&[healthy(5), healthy(1)], 0), [0, 1]);
        assert!(ranked(&[], 0).is_empty());
    }

    #[test]
    fn one_that_is_much_faster_leads_and_keeps_the_lead_until_the_first_is_as_fast() {
        let choose = |first_ms, leader| ranked(&[healthy(first_ms), healthy(50)], leader)[0];
        assert_eq!(choose(120, 0), 0);
        assert_eq!(choose(121, 0), 1);
        for first_ms in [63, 80, 119, 500] {
            assert_eq!(choose(first_ms, 1), 1, "{first_ms}");
        }
        assert_eq!(choose(62, 1), 0);
        assert_eq!(ranked(&[healthy(900), healthy(300), healthy(20)], 0), [2, 0, 1]);
    }

    #[test]
    fn those_that_are_out_or_stand_still_come_last() {
        let out = Candidate {
            healthy: false,
            ..healthy(1)
        };
        let stale = Candidate {
            stale: true,
            ..healthy(1)
        };
        assert_eq!(ranked(&[out, stale, healthy(500)], 0), [2, 1, 0]);
        assert_eq!(ranked(&[out, stale], 0), [1, 0]);
        assert_eq!(ranked(&[out, out], 1), [0, 1]);
    }

    #[test]
    fn latency_moves_by_a_quarter() {
        let mut latency = Latency::default();
        latency.add(Duration::from_millis(100));
        latency.add(Duration::from_millis(20));
        assert_eq!(latency.known(), Some(Duration::from_millis(80)));
    }
}
