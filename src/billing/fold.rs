//! The one function that turns a tenant's sources into what it has now.
//!
//! Every provider's record is judged by itself, and the best one wins, so that no provider's end can take away what
//! another was paid for. Nothing else decides a plan. It must not change a source: an ended period stays as it was told.

use std::cmp::Reverse;

use super::catalogue::Catalogue;
use crate::domain::{Access, Entitlement, Millis, Provider, Source, SourceState};

/// How long after its period's end a Stripe source goes on when Stripe says nothing: 72 hours. Our clock and a lost
/// webhook are no reason to take a paid plan away.
pub const STRIPE_SILENCE_MS: i64 = 72 * 60 * 60 * 1000;

/// What a tenant with these `sources` has at `now`: the best by access, plan rank, provider and period end. Their order
/// does not matter.
///
/// Stripe goes before crypto at the same plan: it renews by itself, so it is the longer promise. A source whose plan
/// the catalogue does not know is below every source whose plan it knows; it keeps its plan's name. Where no source
/// gives access: the default plan in full, or nothing where the catalogue has none.
///
/// `valid_until` is the first instant after `now` at which the same sources give another answer: the end of the source
/// that decided, or the beginning of a better one. It is none where time alone changes nothing.
#[must_use]
pub fn fold(sources: &[Source], catalogue: &Catalogue, now: Millis) -> Entitlement {
    let at = |instant| fold_at(sources, catalogue, instant);
    let decided = at(now);
    let mut bounds: Vec<Millis> = sources
        .iter()
        .flat_map(|source| [begin(source), source_end(source)])
        .flatten()
        .filter(|bound| *bound > now)
        .collect();
    bounds.sort_unstable();
    Entitlement {
        valid_until: bounds.into_iter().find(|bound| at(*bound) != decided),
        ..decided
    }
}

/// What they give at one instant.
fn fold_at(sources: &[Source], catalogue: &Catalogue, now: Millis) -> Entitlement {
    let best = sources
        .iter()
        .map(|source| (source, access(source, now)))
        .filter(|(_, access)| *access > Access::None)
        .max_by_key(|(source, access)| {
            (
                *access,
                catalogue.plan(source.plan.as_str()).map(|plan| plan.rank),
                provider_order(source.provider),
                source.period_end.unwrap_or(Millis::MAX),
                Reverse(source.provider_ref.as_str()),
            )
        });
    if let Some((source, access)) = best {
        let plan = catalogue
            .plan(source.plan.as_str())
            .map_or_else(|| source.plan.clone(), |plan| plan.id.clone());
        return Entitlement {
            plan: Some(plan),
            access,
            valid_until: None,
            decided_by: Some((source.provider, source.provider_ref.clone())),
        };
    }
    let plan = catalogue.default_plan().map(|plan| plan.id.clone());
    Entitlement {
        access: if plan.is_some() {
            Access::Full
        } else {
            Access::None
        },
        plan,
        valid_until: None,
        decided_by: None,
    }
}

/// Whether a source gives any access at `now`.
#[must_use]
pub fn gives_access(source: &Source, now: Millis) -> bool {
    access(source, now) > Access::None
}

fn access(source: &Source, now: Millis) -> Access {
    let is_before = begin(source).is_some_and(|begin| now < begin);
    if is_before || source_end(source).is_some_and(|end| now >= end) {
        return Access::None;
    }
    match (source.provider, source.state) {
        // It is paid, and its time has come.
        (Provider::Crypto, SourceState::Pending) if source.period_start.is_some() => Access::Full,
        (_, SourceState::Trialing | SourceState::Active | SourceState::PastDue) => Access::Full,
        (_, SourceState::Restricted) => Access::Restricted,
        (_, SourceState::Pending | SourceState::Paused | SourceState::Ended) => Access::None,
    }
}

/// When the source begins, where our clock says so: what is active has begun, whatever that says.
fn begin(source: &Source) -> Option<Millis> {
    match (source.provider, source.state) {
        (Provider::Crypto, SourceState::Pending) => source.period_start,
        _ => None,
    }
}

/// When the source ends if nothing more is heard of it; none where only word from its provider can end it.
///
/// One that its provider has ended, ended then.
#[must_use]
pub fn source_end(source: &Source) -> Option<Millis> {
    let by_clock = match source.provider {
        // Without a period nothing was paid.
        Provider::Crypto => Some(source.access_until.or(source.period_end).unwrap_or(Millis::MIN)),
        Provider::Stripe => source
            .period_end
            .or(source.trial_end)
            .map(|end| end.saturating_add(STRIPE_SILENCE_MS)),
    };
    // The payer's wish is the provider's word, so it needs no second one.
    [by_clock, source.scheduled_end, source.ended_at]
        .into_iter()
        .flatten()
        .min()
}

/// Higher is preferred.
const fn provider_order(provider: Provider) -> u8 {
    match provider {
        Provider::Crypto => 0,
        Provider::Stripe => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::super::random::Random;
    use super::*;
    use crate::domain::PlanId;

    const NOW: Millis = 1_760_000_000_000;
    const DAY_MS: i64 = 86_400_000;

    fn catalogue() -> Catalogue {
        Catalogue::shipped(&[]).unwrap()
    }

    fn source(provider: Provider, plan: &str, state: SourceState, period_end: Millis) -> Source {
        Source {
            provider,
            provider_ref: format!("{}-{plan}", provider.as_str()),
            tenant: "acme".parse().unwrap(),
            plan: PlanId::from(plan),
            interval: None,
            state,
            period_start: None,
            period_end: Some(period_end),
            scheduled_end: None,
            next: None,
            access_until: None,
            ended_at: None,
            trial_end: None,
            first_unpaid_at: None,
            version: 0,
            attention: None,
        }
    }

    fn plan_at(sources: &[Source], now: Millis) -> (Option<String>, Access) {
        let entitlement = fold(sources, &catalogue(), now);
        (entitlement.plan.map(|plan| plan.to_string()), entitlement.access)
    }

    fn has(plan: &str, access: Access) -> (Option<String>, Access) {
        (Some(plan.to_owned()), access)
    }

    #[test]
    fn who_pays_for_nothing_has_the_default_plan_or_nothing() {
        let nothing = fold(&[], &catalogue(), NOW);
        assert_eq!(nothing.plan, Some(PlanId::from("free")));
        assert_eq!(
            (nothing.access, nothing.valid_until, nothing.decided_by),
            (Access::Full, None, None)
        );

        let text = include_str!("../../config/plans.toml").replace("default_plan = \"free\"", "");
        let without_default = Catalogue::parse(&text, &[]).unwrap();
        let nothing = fold(&[], &without_default, NOW);
        assert_eq!((nothing.plan, nothing.access), (None, Access::None));
    }

    #[test]
    fn each_state_gives_its_access() {
        for provider in [Provider::Stripe, Provider::Crypto] {
            for (state, expected) in [
                (SourceState::Pending, has("free", Access::Full)),
                (SourceState::Trialing, has("pro", Access::Full)),
                (SourceState::Active, has("pro", Access::Full)),
                (SourceState::PastDue, has("pro", Access::Full)),
                (SourceState::Restricted, has("pro", Access::Restricted)),
                (SourceState::Paused, has("free", Access::Full)),
                (SourceState::Ended, has("free", Access::Full)),
            ] {
                let source = source(provider, "pro", state, NOW + 1);
                assert_eq!(plan_at(&[source], NOW), expected, "{provider:?} {state:?}");
            }
        }
    }

    #[test]
    fn crypto_ends_with_its_period_to_the_millisecond() {
        let crypto = source(Provider::Crypto, "pro", SourceState::Active, NOW);
        assert_eq!(
            fold(from_ref(&crypto), &catalogue(), NOW - 1).valid_until,
            Some(NOW)
        );
        assert_eq!(plan_at(from_ref(&crypto), NOW - 1), has("pro", Access::Full));
        assert_eq!(plan_at(from_ref(&crypto), NOW), has("free", Access::Full));
        let unpaid = Source {
            period_end: None,
            ..crypto
        };
        assert_eq!(plan_at(&[unpaid], NOW), has("free", Access::Full));
    }

    #[test]
    fn stripe_does_not_end_by_our_clock_until_72_hours_of_silence() {
        let stripe = source(Provider::Stripe, "pro", SourceState::Active, NOW);
        let end = NOW + STRIPE_SILENCE_MS;
        assert_eq!(plan_at(from_ref(&stripe), end - 1), has("pro", Access::Full));
        assert_eq!(plan_at(from_ref(&stripe), end), has("free", Access::Full));
        assert_eq!(fold(from_ref(&stripe), &catalogue(), NOW).valid_until, Some(end));

        let trial = Source {
            state: SourceState::Trialing,
            period_end: None,
            trial_end: Some(NOW),
            ..stripe.clone()
        };
        assert_eq!(fold(&[trial], &catalogue(), NOW).valid_until, Some(end));
        let endless = Source {
            period_end: None,
            ..stripe
        };
        assert_eq!(fold(&[endless], &catalogue(), NOW).valid_until, None);
    }

    #[test]
    fn a_scheduled_end_ends_at_once() {
        let cancelled = Source {
            scheduled_end: Some(NOW),
            ..source(Provider::Stripe, "pro", SourceState::Active, NOW)
        };
        assert_eq!(
            fold(from_ref(&cancelled), &catalogue(), NOW - 1).valid_until,
            Some(NOW)
        );
        assert_eq!(plan_at(&[cancelled], NOW), has("free", Access::Full));
    }

    #[test]
    fn a_paid_period_that_begins_later_gives_its_plan_then() {
        let queued = Source {
            period_start: Some(NOW + 1),
            ..source(Provider::Crypto, "pro", SourceState::Pending, NOW + DAY_MS)
        };
        let before = fold(from_ref(&queued), &catalogue(), NOW);
        assert_eq!(
            (before.plan, before.valid_until),
            (Some(PlanId::from("free")), Some(NOW + 1))
        );
        let within = fold(from_ref(&queued), &catalogue(), NOW + 1);
        assert_eq!(
            (within.plan, within.valid_until),
            (Some(PlanId::from("pro")), Some(NOW + DAY_MS))
        );
    }

    #[test]
    fn a_reversed_payment_gives_access_until_its_grace_ends() {
        let reversed = Source {
            access_until: Some(NOW + 1),
            ..source(Provider::Crypto, "pro", SourceState::PastDue, NOW + DAY_MS)
        };
        assert_eq!(plan_at(from_ref(&reversed), NOW), has("pro", Access::Full));
        assert_eq!(plan_at(&[reversed], NOW + 1), has("free", Access::Full));
    }

    #[test]
    fn full_access_goes_before_rank_and_stripe_before_crypto() {
        let restricted = source(Provider::Stripe, "enterprise", SourceState::Restricted, NOW + 1);
        let crypto = source(Provider::Crypto, "pro", SourceState::Active, NOW + DAY_MS);
        let stripe = source(Provider::Stripe, "pro", SourceState::Active, NOW + 1);
        let of = |sources: &[Source]| fold(sources, &catalogue(), NOW).decided_by.unwrap().0;
        assert_eq!(
            plan_at(&[restricted.clone(), crypto.clone()], NOW),
            has("pro", Access::Full)
        );
        assert_eq!(of(&[restricted, crypto.clone()]), Provider::Crypto);
        assert_eq!(of(&[crypto, stripe]), Provider::Stripe);
    }

    #[test]
    fn an_alias_is_the_plan_and_an_unknown_plan_is_kept_but_never_preferred() {
        let renamed = source(Provider::Crypto, "Professional", SourceState::Active, NOW + 1);
        assert_eq!(plan_at(from_ref(&renamed), NOW), has("pro", Access::Full));
        let forgotten = source(Provider::Stripe, "legacy", SourceState::Active, NOW + 1);
        assert_eq!(plan_at(from_ref(&forgotten), NOW), has("legacy", Access::Full));
        assert_eq!(plan_at(&[forgotten, renamed], NOW), has("pro", Access::Full));
    }

    fn random_sources(random: &mut Random) -> Vec<Source> {
        let near = |random: &mut Random| NOW + i64::try_from(random.below(9)).unwrap() * DAY_MS - 4 * DAY_MS;
        (0..random.below(6))
            .map(|index| Source {
                provider_ref: format!("ref-{index}"),
                period_start: (random.below(3) == 0).then(|| near(random)),
                period_end: (random.below(6) > 0).then(|| near(random)),
                access_until: (random.below(5) == 0).then(|| near(random)),
                scheduled_end: (random.below(5) == 0).then(|| near(random)),
                trial_end: (random.below(5) == 0).then(|| near(random)),
                ..source(
                    random.pick(&[Provider::Stripe, Provider::Crypto]),
                    random.pick(&["free", "pro", "professional", "enterprise", "custom", "legacy"]),
                    random.pick(&[
                        SourceState::Pending,
                        SourceState::Trialing,
                        SourceState::Active,
                        SourceState::Active,
                        SourceState::PastDue,
                        SourceState::Restricted,
                        SourceState::Paused,
                        SourceState::Ended,
                    ]),
                    NOW,
                )
            })
            .collect()
    }

    #[test]
    fn the_order_of_sources_never_matters() {
        let (catalogue, mut random) = (catalogue(), Random::new(3));
        for _ in 0..3_000 {
            let mut sources = random_sources(&mut random);
            let before = fold(&sources, &catalogue, NOW);
            random.shuffle(&mut sources);
            assert_eq!(before, fold(&sources, &catalogue, NOW), "{sources:?}");
        }
    }

    #[test]
    fn one_sources_end_never_takes_what_another_gives() {
        let (catalogue, mut random) = (catalogue(), Random::new(4));
        for _ in 0..3_000 {
            let sources = random_sources(&mut random);
            for ended in 0..sources.len() {
                let mut after = sources.clone();
                after[ended].state = SourceState::Ended;
                let mut without = sources.clone();
                without.remove(ended);
                assert_eq!(
                    fold(&after, &catalogue, NOW),
                    fold(&without, &catalogue, NOW),
                    "{sources:?}"
                );
                let (all, rest) = (fold(&sources, &catalogue, NOW), fold(&without, &catalogue, NOW));
                if all.decided_by != Some((sources[ended].provider, sources[ended].provider_ref.clone())) {
                    assert_eq!(
                        (all.plan, all.access, all.decided_by),
                        (rest.plan, rest.access, rest.decided_by),
                        "the end of a source that did not decide changed the answer"
                    );
                }
            }
        }
    }

    #[test]
    fn nothing_changes_before_valid_until_and_something_does_then() {
        let (catalogue, mut random) = (catalogue(), Random::new(5));
        let mut changes = 0;
        for _ in 0..3_000 {
            let sources = random_sources(&mut random);
            let now = fold(&sources, &catalogue, NOW);
            let horizon = NOW + 30 * DAY_MS;
            let until = now.valid_until.unwrap_or(horizon);
            assert!(until > NOW);
            for instant in (NOW..until).step_by(6 * 3_600_000).chain([until - 1]) {
                assert_eq!(now, fold(&sources, &catalogue, instant), "{sources:?}");
            }
            if now.valid_until.is_some() {
                assert_ne!(now, fold(&sources, &catalogue, until), "{sources:?}");
                changes += 1;
            }
        }
        assert!(changes > 1_000);
    }
}
