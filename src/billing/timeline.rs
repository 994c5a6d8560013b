//! What a tenant's payments on-chain buy: one line of periods, whichever plans they are of.
//!
//! All by block time. The line is a fold of the purchases in force, never a date that is moved on: take one away, fold
//! again, and it is what it would have been without it.

use super::period::add_interval;
use crate::domain::{ChargeId, Credit, Interval, Millis, PlanId};

/// One charge that bought a period of a plan, in force: paid, and not orphaned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// The charge.
    pub charge: ChargeId,
    /// The plan.
    pub plan: PlanId,
    /// Its place in the upgrade path when it was bought.
    pub rank: u32,
    /// How long.
    pub interval: Interval,
    /// The time of the block that paid it.
    pub paid_at: Millis,
    /// When its price was quoted: as of then the time that it replaces is valued.
    pub quoted_at: Millis,
    /// It must not begin before: the end of the subscription that it waits for.
    pub not_before: Option<Millis>,
    /// In what it was paid.
    pub unit: String,
    /// What it cost.
    pub value: Credit,
}

/// One purchase's place in the line: from `start` up to `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Who bought it.
    pub charge: ChargeId,
    /// The plan.
    pub plan: PlanId,
    /// Its place in the upgrade path.
    pub rank: u32,
    /// How long it was bought for.
    pub interval: Interval,
    /// The first instant.
    pub start: Millis,
    /// The first instant after it.
    pub end: Millis,
    /// When the run of periods without a gap began: its day of the month is that of every later end.
    pub anchor: Millis,
    /// In what it was paid.
    pub unit: String,
    /// What of its cost was not given back.
    pub value: Credit,
}

/// Paid time that a purchase replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returned {
    /// The charge that replaced it.
    pub by: ChargeId,
    /// In what it was paid.
    pub unit: String,
    /// What it was worth, rounded down.
    pub value: Credit,
}

/// The line, and what was given back on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeline {
    /// In order, and never two at once.
    pub segments: Vec<Segment>,
    /// In the order of the purchases.
    pub returned: Vec<Returned>,
}

/// Consecutive periods of one plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The first instant.
    pub start: Millis,
    /// The first instant after it.
    pub end: Millis,
    /// How long the last purchase of it was for.
    pub interval: Interval,
}

impl Run {
    /// Whether it covers `at`.
    #[must_use]
    pub const fn covers(&self, at: Millis) -> bool {
        self.start <= at && at < self.end
    }
}

/// Lays out `purchases`, whatever their order.
///
/// A purchase comes after everything from then on that is of its own plan or a better one: so paying early extends, and a
/// lower plan begins when the higher one ends. What is left of lower plans is given back for its unused time: so a higher
/// plan begins at once. Paying within `grace_ms` after the end of the same plan extends from that end; paying later
/// begins anew, with a new anchor.
#[must_use]
pub fn lay_out(purchases: &[Purchase], grace_ms: i64) -> Timeline {
    let mut ordered: Vec<&Purchase> = purchases.iter().collect();
    ordered.sort_by_key(|purchase| (purchase.paid_at, &purchase.charge));
    let mut timeline = Timeline::default();
    for purchase in ordered {
        timeline.place(purchase, grace_ms.max(0));
    }
    timeline
}

impl Timeline {
    fn place(&mut self, purchase: &Purchase, grace_ms: i64) {
        let from = purchase
            .not_before
            .map_or(purchase.paid_at, |earliest| earliest.max(purchase.paid_at));
        let stays = |segment: &Segment| segment.end <= from || segment.rank >= purchase.rank;
        let kept = self.segments.iter().rposition(stays).map_or(0, |last| last + 1);
        let mut start = from;
        if let Some(before) = kept.checked_sub(1).and_then(|last| self.segments.get(last)) {
            // Another plan that has begun in between is paid for those days.
            let is_newest = self
                .segments
                .iter()
                .skip(kept)
                .all(|segment| segment.start >= from);
            let in_grace = from < before.end.saturating_add(grace_ms);
            let goes_on = before.plan == purchase.plan && in_grace && is_newest;
            if goes_on || before.end > from {
                start = before.end;
            }
        }
        // As the price was: by the quote, unless it only begins later.
        let valued_at = if from == purchase.paid_at {
            purchase.quoted_at.min(from)
        } else {
            from
        };
        self.give_back(kept, start, valued_at, purchase);
        let before = self.segments.last();
        let anchor = before
            .filter(|before| before.plan == purchase.plan && before.end == start)
            .map_or(start, |before| before.anchor);
        self.segments.push(Segment {
            charge: purchase.charge.clone(),
            plan: purchase.plan.clone(),
            rank: purchase.rank,
            interval: purchase.interval,
            start,
            end: add_interval(anchor, start, purchase.interval, 1),
            anchor,
            unit: purchase.unit.clone(),
            value: purchase.value,
        });
    }

    /// Ends what stands from the segment `kept` on at `at`, and gives back what it was worth after `valued_at`.
    fn give_back(&mut self, kept: usize, at: Millis, valued_at: Millis, purchase: &Purchase) {
        for mut segment in self.segments.split_off(kept) {
            let value = if valued_at <= segment.start {
                segment.value
            } else {
                let left = segment.end.saturating_sub(valued_at);
                let whole = segment.end.saturating_sub(segment.start);
                segment.value.share(length(left), length(whole))
            };
            self.returned.push(Returned {
                by: purchase.charge.clone(),
                unit: segment.unit.clone(),
                value,
            });
            if segment.start < at {
                segment.end = at;
                segment.value = segment.value.minus(value);
                self.segments.push(segment);
            }
        }
    }

    /// The run of a plan that covers `now`; else the next one; else the last one.
    #[must_use]
    pub fn run_of(&self, plan: &PlanId, now: Millis) -> Option<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for segment in self.segments.iter().filter(|segment| segment.plan == *plan) {
            match runs.last_mut().filter(|run| run.end == segment.start) {
                Some(run) => {
                    run.end = segment.end;
                    run.interval = segment.interval;
                }
                None => runs.push(Run {
                    start: segment.start,
                    end: segment.end,
                    interval: segment.interval,
                }),
            }
        }
        let next = runs.iter().position(|run| now < run.end);
        next.map_or_else(|| runs.last(), |next| runs.get(next)).cloned()
    }

    /// The next instant after `now` at which one of its periods begins or ends.
    #[must_use]
    pub fn next_change(&self, now: Millis) -> Option<Millis> {
        let bounds = self
            .segments
            .iter()
            .flat_map(|segment| [segment.start, segment.end]);
        bounds.filter(|at| *at > now).min()
    }

    /// What `charge` replaced, by unit.
    pub fn returned_by<'t>(&'t self, charge: &'t ChargeId) -> impl Iterator<Item = (&'t str, Credit)> {
        let by = self
            .returned
            .iter()
            .filter(move |returned| returned.by == *charge);
        by.map(|returned| (returned.unit.as_str(), returned.value))
    }
}

fn length(ms: i64) -> u64 {
    u64::try_from(ms).unwrap_or(0)
}

#[cfg(test)]
pub(super) mod tests;
