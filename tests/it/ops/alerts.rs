//! The alerts, by promtool: they are rules, each is tested, and each tells what to do.

use crate::harness::prometheus::{promtool, try_promtool};
use crate::harness::repository;

const ALERTS: &str = "alerts.yml";
const TESTS: &str = "alerts_test.yml";

fn read(name: &str) -> String {
    std::fs::read_to_string(repository("config").join(name)).unwrap()
}

fn names(alerts: &str) -> Vec<&str> {
    let lines = alerts.lines();
    lines
        .filter_map(|line| line.trim_start().strip_prefix("- alert: "))
        .collect()
}

#[test]
fn promtool_accepts_the_alerts_and_their_tests() {
    promtool(&["check", "rules", ALERTS], "");
    promtool(&["test", "rules", TESTS], "");
}

#[test]
fn every_alert_is_missed_by_its_tests_where_it_does_not_fire() {
    let alerts = read(ALERTS);
    let directory = tempfile::tempdir().unwrap();
    // All under other names, so that nothing fires that is waited for.
    let without = alerts.replace("- alert: ", "- alert: Not");
    std::fs::write(directory.path().join(ALERTS), without).unwrap();
    std::fs::write(directory.path().join(TESTS), read(TESTS)).unwrap();
    let told = try_promtool(directory.path(), &["test", "rules", TESTS], "").unwrap_err();
    let names = names(&alerts);
    assert!(names.len() > 20, "{names:?}");
    let missed = |name: &&str| told.contains(&format!("alertname=\"{name}\""));
    let untested: Vec<_> = names.into_iter().filter(|name| !missed(name)).collect();
    assert!(untested.is_empty(), "no test sees {untested:?} fire");
}
