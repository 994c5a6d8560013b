//! A tenant's account on-chain: the periods that its charges have bought, and the credit that they left.
//!
//! Both are folds of all of its charges. A payment that is reorged away is missing from the next fold, and what was given
//! for it is taken back; credit may fall below zero by that.

use std::collections::BTreeMap;

use super::fold::source_end;
use super::timeline::{Purchase, Run, Timeline, lay_out};
use crate::domain::{
    Amount, Charge, ChargeId, ChargeState, Credit, CreditKind, Millis, PlanChange, PlanId, Product, Provider,
    Source, SourceState, TenantId,
};

/// How long things go on that are not paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Graces {
    /// After a period's end: a payment in this time extends from that end.
    pub renewal_ms: i64,
    /// After a payment was reversed: what it bought goes on for so long, unless it comes back.
    pub reversal_ms: i64,
}

/// What all of a tenant's charges come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// A source for each plan that was ever paid, by plan.
    pub sources: Vec<Source>,
    /// What each charge gives (or takes, below zero) in each unit, and why; without nothings.
    pub credit: BTreeMap<(ChargeId, String, CreditKind), Credit>,
    /// When time alone changes it next.
    pub changes_at: Option<Millis>,
}

/// Folds `charges`, all those of `tenant` that bought something, or hold money or credit, and `known`, its sources as they
/// were.
#[must_use]
pub fn fold_account(
    tenant: &TenantId,
    charges: &[Charge],
    known: &[Source],
    (change, graces): (Option<&PlanChange>, Graces),
    now: Millis,
) -> Account {
    let bought = |paid: &dyn Fn(&Charge) -> bool| -> Vec<Purchase> {
        let paid = charges.iter().filter(|charge| paid(charge));
        paid.filter_map(|charge| purchase(charge, known)).collect()
    };
    let certain = bought(&|charge| charge.state == ChargeState::Paid);
    let change = change.filter(|change| Some(change.at) >= last_paid(charges));
    let at = as_of(&certain, now);
    let certain = lay_out(&certain, graces.renewal_ms);
    let grace_ends = charges
        .iter()
        .filter_map(|charge| grace_end(charge, graces, now))
        .min();
    let in_grace =
        bought(&|charge| charge.state == ChargeState::Paid || grace_end(charge, graces, now).is_some());
    let possible = lay_out(&in_grace, graces.renewal_ms);
    let lines = Lines {
        tenant,
        certain: &certain,
        possible: &possible,
        grace_ends,
        change,
        at,
    };
    let bounds = [certain.next_change(at), possible.next_change(at), grace_ends];
    Account {
        sources: plans(charges, known)
            .into_iter()
            .map(|plan| lines.source(plan))
            .collect(),
        credit: credit(charges, &certain),
        changes_at: bounds.into_iter().flatten().min(),
    }
}

/// What a charge bought, as long as it counts. `known` knows the end of the subscription that it may wait for; one that
/// is no longer known has ended.
#[must_use]
pub fn purchase(charge: &Charge, known: &[Source]) -> Option<Purchase> {
    let terms = &charge.terms;
    let Product::Plan { plan, interval } = &terms.product;
    let behind = terms.queued_behind.as_deref();
    let behind = behind.and_then(|id| known.iter().find(|source| source.provider_ref == id));
    let missing = terms.quote.asked.saturating_sub(charge.totals.confirmed);
    Some(Purchase {
        charge: terms.id.clone(),
        plan: plan.clone(),
        rank: terms.quote.rank,
        interval: *interval,
        paid_at: charge.paid_at?,
        quoted_at: terms.created_at,
        not_before: behind.map(|source| source_end(source).unwrap_or(Millis::MAX)),
        unit: terms.quote.unit.clone(),
        value: Credit::of(terms.price.saturating_sub(missing), terms.quote.decimals),
    })
}

/// When the last of `charges` was paid: a wish that is older is overruled.
#[must_use]
pub fn last_paid(charges: &[Charge]) -> Option<Millis> {
    let paid = charges.iter().filter(|charge| charge.state == ChargeState::Paid);
    paid.filter_map(|charge| charge.paid_at).max()
}

/// The time by which `purchases` are judged at `now`: a chain's clock may be ahead of ours, and what was paid by it counts at
/// once.
#[must_use]
pub fn as_of(purchases: &[Purchase], now: Millis) -> Millis {
    let paid = purchases.iter().map(|purchase| purchase.paid_at);
    paid.fold(now, Millis::max)
}

/// Until when what a reversed charge bought goes on.
fn grace_end(charge: &Charge, graces: Graces, now: Millis) -> Option<Millis> {
    let end = charge.reversed_at?.saturating_add(graces.reversal_ms.max(0));
    (charge.state == ChargeState::Reversed && now < end).then_some(end)
}

/// Every plan that was ever paid on-chain, also one that nothing pays for any more.
fn plans<'a>(charges: &'a [Charge], known: &'a [Source]) -> Vec<&'a PlanId> {
    let bought = charges.iter().filter(|charge| charge.paid_at.is_some());
    let mut plans: Vec<&PlanId> = bought
        .map(|charge| {
            let Product::Plan { plan, .. } = &charge.terms.product;
            plan
        })
        .chain(
            known
                .iter()
                .filter(|source| source.provider == Provider::Crypto)
                .map(|source| &source.plan),
        )
        .collect();
    plans.sort();
    plans.dedup();
    plans
}

/// The line of what is paid, and the line with what was reversed and is in its grace.
struct Lines<'a> {
    tenant: &'a TenantId,
    certain: &'a Timeline,
    possible: &'a Timeline,
    grace_ends: Option<Millis>,
    change: Option<&'a PlanChange>,
    at: Millis,
}

impl Lines<'_> {
    fn source(&self, plan: &PlanId) -> Source {
        let at = self.at;
        let covers = |run: &Run| run.covers(at);
        let certain = self.certain.run_of(plan, at);
        let in_grace = self.possible.run_of(plan, at).filter(covers);
        let (run, state) = match (certain, in_grace) {
            (Some(run), _) if run.covers(at) => (Some(run), SourceState::Active),
            (_, Some(run)) => (Some(run), SourceState::PastDue),
            (Some(run), None) if run.start > at => (Some(run), SourceState::Pending),
            (run, None) => (run, SourceState::Ended),
        };
        let end = run.as_ref().map(|run| run.end);
        let is_last = self.certain.segments.last().map(|segment| segment.end) == end;
        let change = self.change.filter(|_| is_last && state == SourceState::Active);
        let ends_by_wish = change.is_some_and(|change| change.next.is_none());
        Source {
            provider: Provider::Crypto,
            // Both are within bounds and hold no `/` that matters: it is never parsed.
            provider_ref: format!("{}/{plan}", self.tenant),
            tenant: self.tenant.clone(),
            plan: plan.clone(),
            interval: run.as_ref().map(|run| run.interval),
            state,
            period_start: run.as_ref().map(|run| run.start),
            period_end: end,
            scheduled_end: end.filter(|_| ends_by_wish),
            next: change.and_then(|change| change.next.clone()),
            access_until: match state {
                SourceState::PastDue => self.grace_ends.into_iter().chain(end).min(),
                _ => None,
            },
            ended_at: None,
            trial_end: None,
            first_unpaid_at: None,
            version: 0,
            attention: None,
        }
    }
}

fn credit(charges: &[Charge], line: &Timeline) -> BTreeMap<(ChargeId, String, CreditKind), Credit> {
    let mut credit: BTreeMap<(ChargeId, String, CreditKind), Credit> = BTreeMap::new();
    let mut add = |charge: &Charge, unit: &str, kind, amount: Credit| {
        let of = (charge.terms.id.clone(), unit.to_owned(), kind);
        let sum = credit.entry(of).or_default();
        *sum = sum.plus(amount);
    };
    for charge in charges {
        let quote = &charge.terms.quote;
        for (kind, amount) in effects(charge) {
            add(charge, &quote.unit, kind, amount);
        }
        if charge.state == ChargeState::Paid {
            for (unit, value) in line.returned_by(&charge.terms.id) {
                add(charge, unit, CreditKind::UnusedTime, value);
            }
            add(
                charge,
                &quote.unit,
                CreditKind::UnusedTime,
                Credit::ZERO.minus(quote.unused),
            );
        }
    }
    credit.retain(|_, amount| !amount.is_zero());
    credit
}

/// What a charge gives by its own money and credit. Credit is set aside from the beginning, so that it is never spent
/// twice, until the charge can no longer be paid.
fn effects(charge: &Charge) -> [(CreditKind, Credit); 3] {
    let quote = &charge.terms.quote;
    let is_paid = charge.state == ChargeState::Paid;
    let is_closed = charge.closed_at.is_some();
    let confirmed = charge.totals.confirmed;
    let beyond = match (is_paid, is_closed) {
        (true, _) => confirmed.saturating_sub(charge.terms.due),
        (false, true) => confirmed,
        (false, false) => Amount::ZERO,
    };
    let taken = Credit::ZERO.minus(quote.credit);
    let set_aside = if quote.credit.is_owed() || (is_closed && !is_paid) {
        Credit::ZERO
    } else {
        taken
    };
    let repaid = if quote.credit.is_owed() && is_paid {
        taken
    } else {
        Credit::ZERO
    };
    [
        (CreditKind::Excess, Credit::of(beyond, quote.decimals)),
        (CreditKind::SetAside, set_aside),
        (CreditKind::Repaid, repaid),
    ]
}

#[cfg(test)]
mod history;
#[cfg(test)]
mod tests;
