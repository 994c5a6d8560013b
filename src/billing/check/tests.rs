//! Every answer that a check can give, against the shipped catalogue.

use super::*;

fn catalogue() -> Catalogue {
    Catalogue::shipped(&[]).unwrap()
}

fn has(plan: Option<&str>, access: Access) -> Entitlement {
    Entitlement {
        plan: plan.map(PlanId::from),
        access,
        valid_until: None,
        decided_by: None,
    }
}

fn feature(name: &str) -> Check {
    Check::Feature(name.to_owned())
}

fn meter(name: &str, amount: u64, current: impl Into<Option<u64>>) -> Check {
    Check::Meter {
        name: name.to_owned(),
        amount,
        current: current.into(),
    }
}

fn least(plan: &str) -> Check {
    Check::MinimumPlan(plan.to_owned())
}

fn ask(plan: &str, question: &Check) -> CheckOutcome {
    check(&catalogue(), &has(Some(plan), Access::Full), question).unwrap()
}

fn upgrade(outcome: &CheckOutcome) -> Option<&str> {
    outcome.upgrade_required.as_ref().map(PlanId::as_str)
}

#[test]
fn a_feature_is_in_the_plan_or_names_the_way_up() {
    let outcome = ask("pro", &feature("video_calls"));
    assert!(outcome.allowed);
    assert_eq!((outcome.code, upgrade(&outcome)), (CheckCode::Allowed, None));
    assert_eq!(outcome.feature.as_deref(), Some("video_calls"));

    for (plan, name, way) in [
        ("free", "video_calls", "pro"),
        ("free", "sso", "enterprise"),
        ("pro", "sso", "enterprise"),
    ] {
        let outcome = ask(plan, &feature(name));
        assert!(!outcome.allowed);
        assert_eq!(outcome.code, CheckCode::FeatureNotInPlan);
        assert_eq!(upgrade(&outcome), Some(way));
    }
    assert_eq!(
        ask("free", &feature("sso")).message,
        "The plan Free does not include: Single sign-on. The plan Enterprise would allow it."
    );
}

#[test]
fn a_meter_is_allowed_up_to_its_limit_and_not_one_more() {
    let outcome = ask("free", &meter("users", 1, 9));
    assert!(outcome.allowed);
    assert_eq!(
        (
            outcome.limit,
            outcome.current_usage,
            outcome.remaining,
            outcome.percent,
            outcome.threshold
        ),
        (
            Some(Limit::AtMost(10)),
            Some(9),
            Some(1),
            Some(90),
            Some(Threshold::Upsell)
        )
    );
    let outcome = ask("free", &meter("users", 1, 10));
    assert!(!outcome.allowed);
    assert_eq!(
        (outcome.code, upgrade(&outcome)),
        (CheckCode::LimitExceeded, Some("pro"))
    );
    assert_eq!(
        (outcome.remaining, outcome.percent, outcome.threshold),
        (Some(0), Some(100), Some(Threshold::Exceeded))
    );
    assert_eq!(
        outcome.message,
        "Users: 1 asked for, and the plan Free allows 10, of which 10 are used. The plan Pro would allow it."
    );
    assert_eq!(upgrade(&ask("free", &meter("users", 91, 10))), Some("enterprise"));
}

#[test]
fn use_above_a_lowered_limit_leaves_nothing_and_wraps_nowhere() {
    let outcome = ask("free", &meter("users", 0, 25));
    assert!(!outcome.allowed);
    assert_eq!((outcome.remaining, outcome.percent), (Some(0), Some(250)));
    let outcome = ask("free", &meter("users", u64::MAX, u64::MAX));
    assert!(!outcome.allowed);
    assert_eq!(outcome.percent, Some(u64::MAX));
    assert!(ask("enterprise", &meter("users", u64::MAX, u64::MAX)).allowed);
}

#[test]
fn unlimited_has_no_remainder_and_no_percent() {
    let outcome = ask("pro", &meter("messages", 1_000_000, 5));
    assert!(outcome.allowed);
    assert_eq!(
        (
            outcome.limit,
            outcome.current_usage,
            outcome.remaining,
            outcome.percent,
            outcome.threshold
        ),
        (Some(Limit::Unlimited), Some(5), None, None, None)
    );
}

#[test]
fn a_static_meter_compares_the_request_alone() {
    let limit = 10 << 20;
    assert!(ask("free", &meter("file_upload", limit, None)).allowed);
    let outcome = ask("free", &meter("file_upload", limit + 1, None));
    assert_eq!(
        (outcome.allowed, outcome.code, upgrade(&outcome)),
        (false, CheckCode::LimitExceeded, Some("pro"))
    );
    assert_eq!((outcome.current_usage, outcome.percent), (None, None));
    // What the caller gives as used means nothing here.
    assert!(ask("free", &meter("file_upload", limit, 99)).allowed);
    assert_eq!(
        upgrade(&ask("free", &meter("call_participants", 101, None))),
        Some("custom")
    );
    assert_eq!(
        upgrade(&ask("free", &meter("call_participants", 501, None))),
        None
    );
}

#[test]
fn thresholds_are_reached_at_75_90_and_100() {
    for (used, percent, threshold) in [
        (0, 0, None),
        (749, 74, None),
        (750, 75, Some(Threshold::Warn)),
        (899, 89, Some(Threshold::Warn)),
        (900, 90, Some(Threshold::Upsell)),
        (999, 99, Some(Threshold::Upsell)),
        (1_000, 100, Some(Threshold::Exceeded)),
    ] {
        let outcome = ask("free", &meter("api_calls", 0, used));
        assert_eq!(
            (outcome.percent, outcome.threshold),
            (Some(percent), threshold),
            "{used}"
        );
    }
    assert_eq!(percent(0, 0), 100);
}

#[test]
fn a_minimum_plan_goes_by_rank_and_alias() {
    assert!(ask("enterprise", &least("Professional")).allowed);
    assert!(ask("pro", &least("pro")).allowed);
    let outcome = ask("free", &least("professional"));
    assert_eq!(
        (outcome.allowed, outcome.code, upgrade(&outcome)),
        (false, CheckCode::PlanTooLow, Some("pro"))
    );
}

#[test]
fn restricted_access_leaves_what_the_default_plan_allows() {
    let catalogue = catalogue();
    let owing = has(Some("pro"), Access::Restricted);
    let ask = |question: &Check| check(&catalogue, &owing, question).unwrap();
    assert!(ask(&feature("threads")).allowed);
    assert!(ask(&meter("users", 1, 9)).allowed);
    assert!(ask(&least("free")).allowed);
    for question in [feature("video_calls"), meter("users", 1, 10), least("pro")] {
        let outcome = ask(&question);
        assert!(!outcome.allowed);
        assert_eq!(
            (outcome.code, upgrade(&outcome)),
            (CheckCode::AccessRestricted, None)
        );
    }
    // Paying what is owed would not help here, so the way up is named.
    let outcome = ask(&feature("sso"));
    assert_eq!(
        (outcome.code, upgrade(&outcome)),
        (CheckCode::FeatureNotInPlan, Some("enterprise"))
    );
}

#[test]
fn without_access_only_the_default_plan_is_left() {
    let catalogue = catalogue();
    for entitlement in [has(Some("enterprise"), Access::None), has(None, Access::None)] {
        assert!(
            check(&catalogue, &entitlement, &feature("threads"))
                .unwrap()
                .allowed
        );
        let refused = check(&catalogue, &entitlement, &feature("sso")).unwrap();
        assert_eq!(
            (refused.code, upgrade(&refused)),
            (CheckCode::FeatureNotInPlan, Some("enterprise"))
        );
    }
    let text = include_str!("../../../config/plans.toml").replace("default_plan = \"free\"", "");
    let catalogue = Catalogue::parse(&text, &[]).unwrap();
    let nothing = has(None, Access::None);
    for question in [feature("threads"), meter("users", 0, 0), least("free")] {
        let refused = check(&catalogue, &nothing, &question).unwrap();
        assert_eq!((refused.allowed, refused.code), (false, CheckCode::NoPlan));
        assert_eq!(upgrade(&refused), Some("pro"));
    }
    let owing = check(
        &catalogue,
        &has(Some("pro"), Access::Restricted),
        &feature("threads"),
    )
    .unwrap();
    assert_eq!((owing.allowed, owing.code), (false, CheckCode::AccessRestricted));
}

#[test]
fn a_paid_plan_that_the_catalogue_forgot_is_told_apart_from_no_plan() {
    let catalogue = catalogue();
    let forgotten = has(Some("legacy"), Access::Full);
    assert!(
        check(&catalogue, &forgotten, &feature("threads"))
            .unwrap()
            .allowed
    );
    let refused = check(&catalogue, &forgotten, &feature("sso")).unwrap();
    assert_eq!((refused.code, upgrade(&refused)), (CheckCode::UnknownPlan, None));
    assert!(refused.message.contains("legacy"));
}

#[test]
fn what_cannot_be_answered_names_what_there_is() {
    let catalogue = catalogue();
    let pro = has(Some("pro"), Access::Full);
    for (question, expected) in [
        (
            feature("video"),
            "there is no feature \"video\"; there are audit_logs, direct_messages, e2ee",
        ),
        (
            meter("seats", 1, 1),
            "there is no meter \"seats\"; there are active_users, api_calls, call_participants",
        ),
        (
            least("gold"),
            "there is no plan \"gold\"; there are free, pro, enterprise, custom",
        ),
        (
            meter("users", 1, None),
            "`current` is needed: the meter \"users\"",
        ),
        (
            meter("messages", 1, None),
            "`current` is needed: the meter \"messages\"",
        ),
    ] {
        let error = check(&catalogue, &pro, &question).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}
