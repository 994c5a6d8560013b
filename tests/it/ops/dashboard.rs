//! The dashboard and the alerts as files: what they name exists, and every panel can be understood.

use std::collections::BTreeSet;

use serde_json::Value;
use tollgate::metrics::{ALL, Kind, Metric};

use crate::harness::repository;

/// What stands for Grafana's variables where there is no Grafana; the longer names first.
const VARIABLES: [(&str, &str); 4] = [
    ("$__rate_interval", "1m"),
    ("$__range", "1h"),
    ("$chain", ".*"),
    ("$job", ".*"),
];

/// One expression of the dashboard, as Prometheus is asked.
#[derive(Debug)]
pub(super) struct Shown {
    pub panel: String,
    pub expression: String,
    /// The labels that its legend names.
    pub legend: Vec<String>,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn dashboard() -> Value {
    serde_json::from_str(&read("config/grafana/tollgate.json")).unwrap()
}

fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Every expression of every panel.
pub(super) fn expressions() -> Vec<Shown> {
    let dashboard = dashboard();
    let of_panel = |panel: &Value| {
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let title = text(panel, "title").to_owned();
        targets.into_iter().map(move |target| Shown {
            panel: title.clone(),
            expression: substituted(text(&target, "expr")),
            legend: between(text(&target, "legendFormat"), "{{", "}}"),
        })
    };
    panels(&dashboard).iter().flat_map(of_panel).collect()
}

fn substituted(expression: &str) -> String {
    let replace = |text: String, (name, value): &(&str, &str)| text.replace(name, value);
    let text = VARIABLES.iter().fold(expression.to_owned(), replace);
    assert!(!text.contains('$'), "an unknown variable: {text}");
    text
}

fn between(text: &str, open: &str, close: &str) -> Vec<String> {
    let pieces = text.split(open).skip(1);
    pieces
        .filter_map(|piece| piece.split_once(close))
        .map(|(name, _)| name.trim().to_owned())
        .collect()
}

/// The words of a text that look like metrics of ours.
fn metric_names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("tollgate_")).collect()
}

/// Whether `/metrics` can hold a series of this name.
fn is_series(name: &str) -> bool {
    let is_of = |metric: &Metric| match name.strip_prefix(metric.name) {
        Some("") => metric.kind != Kind::Histogram,
        Some("_bucket" | "_sum" | "_count") => metric.kind == Kind::Histogram,
        _ => false,
    };
    ALL.iter().any(is_of)
}

#[test]
fn the_dashboard_and_the_alerts_name_metrics_that_exist() {
    for path in [
        "config/grafana/tollgate.json",
        "config/alerts.yml",
        "config/alerts_test.yml",
    ] {
        let text = read(path);
        let named = metric_names(&text);
        assert!(named.len() > 10, "{path} names {named:?}");
        let unknown: Vec<_> = named.into_iter().filter(|name| !is_series(name)).collect();
        assert!(
            unknown.is_empty(),
            "{path} names what src/metrics.rs does not: {unknown:?}"
        );
    }
}

#[test]
fn the_readme_names_metrics_that_exist() {
    let text = read("README.md");
    let known = |name: &&str| !ALL.iter().any(|metric| metric.name == *name);
    let unknown: Vec<_> = metric_names(&text).into_iter().filter(known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn a_metric_that_is_not_in_the_list_is_found_out() {
    let names = metric_names(r#"rate(tollgate_chain_heads{chain="tollgate"}[5m]) / (tollgate_chain_head)"#);
    assert_eq!(
        Vec::from_iter(&names),
        [&"tollgate_chain_head", &"tollgate_chain_heads"]
    );
    assert!(is_series("tollgate_chain_head"));
    assert!(is_series("tollgate_http_request_seconds_bucket"));
    for wrong in [
        "tollgate_chain_heads",
        "tollgate_chain_head_bucket",
        "tollgate_http_request_seconds",
    ] {
        assert!(!is_series(wrong), "{wrong}");
    }
}

#[test]
fn every_panel_has_its_unit_its_data_and_says_what_to_do() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(39));
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<_> = variables.iter().map(|variable| text(variable, "name")).collect();
    assert_eq!(variables, ["datasource", "job", "chain"]);
    let mut ids = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = text(panel, "title");
        assert!(
            !title.is_empty() && ids.insert(panel["id"].as_u64().unwrap()),
            "{panel}"
        );
        match text(panel, "type") {
            "row" => continue,
            "timeseries" | "stat" | "table" => {}
            other => panic!("{title} is a {other}"),
        }
        let defaults = &panel["fieldConfig"]["defaults"];
        assert!(!text(defaults, "unit").is_empty(), "{title} has no unit");
        assert!(
            defaults["thresholds"]["steps"].is_array(),
            "{title} has no thresholds"
        );
        assert!(
            text(panel, "description").len() > 40,
            "{title} does not say what to do"
        );
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{title} shows nothing");
        for one in targets.iter().chain([panel]) {
            assert_eq!(text(&one["datasource"], "uid"), "${datasource}", "{title}");
        }
    }
}

#[test]
fn every_metric_is_on_the_dashboard() {
    let text = read("config/grafana/tollgate.json");
    let shown = metric_names(&text);
    let is_shown = |metric: &&Metric| {
        ["", "_bucket", "_count"]
            .iter()
            .any(|suffix| shown.contains(format!("{}{suffix}", metric.name).as_str()))
    };
    let hidden: Vec<_> = ALL.iter().filter(|metric| !is_shown(metric)).collect();
    assert!(hidden.is_empty(), "{hidden:#?}");
}

#[test]
fn no_two_panels_are_the_same_and_each_line_can_be_told_from_the_others() {
    let dashboard = dashboard();
    let (mut titles, mut data) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        let title = text(panel, "title");
        assert!(titles.insert(title), "two panels are called {title}");
        let targets = panel["targets"].as_array().into_iter().flatten();
        for target in targets {
            let expression = text(target, "expr");
            assert!(data.insert(expression), "{title} shows again {expression}");
            let grouped = between(expression, " by (", ")").into_iter().next();
            let labels = grouped.iter().flat_map(|labels| labels.split(", "));
            let legend = text(target, "legendFormat");
            for label in labels.filter(|label| !["le", "job"].contains(label)) {
                let told = legend.contains(&format!("{{{{{label}}}}}")) || target["format"] == "table";
                assert!(
                    told,
                    "{title} does not tell one {label} from the other: {expression}"
                );
            }
        }
    }
}

#[test]
fn no_panel_lies_on_another() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    for panel in panels(&dashboard) {
        let place = |field: &str| panel["gridPos"][field].as_u64().unwrap();
        let (left, top) = (place("x"), place("y"));
        assert!(left + place("w") <= 24, "{panel}");
        for x in left..left + place("w") {
            for y in top..top + place("h") {
                assert!(taken.insert((x, y)), "{} at {x}, {y}", panel["title"]);
            }
        }
    }
}
