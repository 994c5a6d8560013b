//! From a subscription at Stripe to a source in our words.
//!
//! Owns what happens when Stripe says something that we do not know: the last word stands, and a person is told. Must not
//! end, restrict or move a paid plan for want of an answer. What a price buys is the catalogue's, and is asked for.

use super::extract::{Item, PriceRef, SubscriptionSnapshot};
use crate::domain::{Interval, Millis, PlanId, Provider, Source, SourceState, TenantId};

/// When the snapshot was true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// When the event arose, or the object was fetched.
    pub at: Millis,
    /// Its place among all that is known of the subscription: [`super::version`], or the instant of the fetch.
    pub version: i64,
}

/// Why there is no source to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSource {
    /// Something later is stored already.
    #[error("a later state of the subscription is stored already")]
    Stale,
    /// The subscription is new, and the catalogue has none of its prices.
    #[error("the catalogue has none of the prices of subscription {subscription}: {prices}")]
    UnknownPrice {
        /// `sub_…`
        subscription: String,
        /// Their ids, separated by commas.
        prices: String,
    },
}

/// The source that `snapshot` is for `tenant`, after `previous`. `plan_of` is the catalogue: by price id or lookup key. The
/// first item that it knows is the plan; the others, such as metered extras, buy none.
///
/// The same snapshot again gives the same source.
///
/// # Errors
/// Where nothing is to be written. [`NoSource::UnknownPrice`] needs a person, [`NoSource::Stale`] needs nobody.
pub fn to_source(
    snapshot: &SubscriptionSnapshot,
    seen: Seen,
    tenant: &TenantId,
    previous: Option<&Source>,
    plan_of: impl Fn(&PriceRef) -> Option<(PlanId, Interval)>,
) -> Result<Source, NoSource> {
    if previous.is_some_and(|previous| previous.version > seen.version) {
        return Err(NoSource::Stale);
    }
    let known = snapshot
        .items
        .iter()
        .find_map(|item| item.price.as_ref().and_then(&plan_of).map(|found| (item, found)));
    let mut attention = Vec::new();
    let (plan, interval) = match (&known, previous) {
        (Some((_, (plan, interval))), _) => (plan.clone(), Some(*interval)),
        (None, Some(previous)) => {
            attention.push(format!("unknown price: {}", price_ids(snapshot)));
            (previous.plan.clone(), previous.interval)
        }
        (None, None) => {
            return Err(NoSource::UnknownPrice {
                subscription: snapshot.id.clone(),
                prices: price_ids(snapshot),
            });
        }
    };
    let state = snapshot.status.state().unwrap_or_else(|| {
        attention.push(format!("unknown status: {}", snapshot.status.as_str()));
        previous.map_or(SourceState::Pending, |previous| previous.state)
    });
    let item_period = known.and_then(|(item, _): (&Item, _)| item.period);
    let period = item_period.or(snapshot.period);
    Ok(Source {
        provider: Provider::Stripe,
        provider_ref: snapshot.id.clone(),
        tenant: tenant.clone(),
        plan,
        interval,
        state,
        period_start: period.map(|period| period.start),
        period_end: period.map(|period| period.end),
        next: None,
        access_until: None,
        ended_at: (state == SourceState::Ended).then(|| snapshot.ended_at.unwrap_or(seen.at)),
        scheduled_end: snapshot.scheduled_end,
        trial_end: snapshot.trial_end,
        first_unpaid_at: first_unpaid_at(state, seen.at, previous),
        version: seen.version,
        attention: (!attention.is_empty()).then(|| attention.join("; ")),
    })
}

/// Dunning counts from the first failed renewal until a payment closes it, however often Stripe tries in between.
fn first_unpaid_at(state: SourceState, at: Millis, previous: Option<&Source>) -> Option<Millis> {
    let since = previous.and_then(|previous| previous.first_unpaid_at);
    match state {
        SourceState::PastDue | SourceState::Restricted => since.or(Some(at)),
        SourceState::Ended | SourceState::Paused => since,
        SourceState::Pending | SourceState::Trialing | SourceState::Active => None,
    }
}

fn price_ids(snapshot: &SubscriptionSnapshot) -> String {
    let prices = snapshot.items.iter().filter_map(|item| item.price.as_ref());
    let ids: Vec<_> = prices.map(|price| price.id.as_str()).collect();
    if ids.is_empty() {
        "none".to_owned()
    } else {
        ids.join(", ")
    }
}
