//! The embedded defaults explain every key, and their examples hold.

use std::collections::{BTreeMap, BTreeSet};

use super::super::raw;
use super::*;

const DEFAULTS: &str = include_str!("../../../config/tollgate.toml");

/// The keys of a raw type, from serde's own words about an unknown one.
fn keys<T: serde::de::DeserializeOwned>() -> BTreeSet<String> {
    let table: toml::Table = "no_such_key = 1".parse().unwrap();
    let error = toml::Value::Table(table).try_into::<T>().err().unwrap();
    let known = error.message().rsplit_once("expected ").unwrap().1.to_owned();
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The keys under each header of the annotated defaults, those that are commented out too.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let mut sections: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut header = String::new();
    for line in DEFAULTS.lines().map(|line| line.trim_start_matches('#')) {
        if line.starts_with('[') {
            header = line.trim_matches(['[', ']']).to_owned();
        } else if let Some((key, _)) = line.split_once(" = ")
            && !key.contains(' ')
        {
            sections.entry(header.clone()).or_default().insert(key.to_owned());
        }
    }
    sections
}

#[test]
fn the_annotated_defaults_name_every_key_and_no_other() {
    let mut expected = BTreeMap::from([
        (String::new(), BTreeSet::from(["chain_files".to_owned()])),
        ("server".to_owned(), keys::<raw::Server>()),
        ("store".to_owned(), keys::<raw::Store>()),
        ("log".to_owned(), keys::<raw::Log>()),
        ("catalogue".to_owned(), keys::<raw::Catalogue>()),
        ("payments".to_owned(), keys::<raw::Payments>()),
        ("wallets".to_owned(), keys::<raw::Wallets>()),
        ("receipts".to_owned(), keys::<raw::Receipts>()),
        ("stripe".to_owned(), keys::<raw::Stripe>()),
        ("checkout".to_owned(), keys::<raw::Checkout>()),
        ("jwt".to_owned(), keys::<raw::Jwt>()),
        ("webhooks".to_owned(), keys::<raw::Webhook>()),
        ("chains.example.finality".to_owned(), keys::<raw::Tier>()),
        ("chains.example.tokens".to_owned(), keys::<raw::Token>()),
        ("chains.example.endpoints".to_owned(), keys::<raw::Endpoint>()),
    ]);
    let mut chain = keys::<raw::Chain>();
    assert!(chain.remove("tokens") && chain.remove("endpoints") && chain.remove("finality"));
    expected.insert("chains.example".to_owned(), chain);
    assert_eq!(documented(), expected);
}

#[test]
fn the_examples_in_the_defaults_are_sound_and_show_the_defaults_they_claim() {
    let example = |keep: fn(&str) -> bool| {
        let lines = DEFAULTS.lines().filter_map(|line| {
            let line = line.strip_prefix('#').unwrap_or(line);
            // The short form of the tiers that are shown.
            let twins = ["_file = ", "jwks_path = "];
            let is_twin = twins.iter().any(|twin| line.contains(twin)) || line == "confirmations = 12";
            let wanted = !line.starts_with(' ') && !is_twin && keep(line);
            (wanted || line.starts_with("chain_files")).then_some(line)
        });
        let written = Written::new(&lines.collect::<Vec<_>>().join("\n")).env("INFURA_API_KEY", "k");
        let mut config = written.config();
        // The start of a chain has no default that could be shown.
        config.chains[0].start_block = None;
        format!("{:?} {:?}", config.chains, config.webhooks)
    };
    let claimed = [
        "poll_interval",
        "development",
        "max_log_range",
        "accept",
        "max_tag_age",
        "agree",
        "min_age",
        "confirmations",
        "level",
        "dust",
        "max_in_flight",
        "allow_private_network",
    ];
    assert!(claimed.iter().all(|key| DEFAULTS.contains(&format!("#{key} = "))));
    let least = example(|line| {
        let optional = [
            "poll_interval",
            "development",
            "max_log_range",
            "accept",
            "max_tag_age",
            "agree",
            "min_age",
            "confirmations",
            "level",
            "dust",
            "max_in_flight",
            "allow_private_network",
        ];
        !optional.iter().any(|key| line.starts_with(key))
    });
    assert_eq!(example(|_| true), least);
}
