//! The store's contract: every public function of it, on both databases, through one body.

mod access;
mod callers;
mod chains;
mod charges;
mod credit;
mod faults;
mod holdings;
mod hosted;
mod leases;
mod mailboxes;
mod notices;
mod payments;
mod receipts;
mod references;
mod reviews;
mod samples;
mod sources;
mod transactions;

use crate::harness::repository;

/// What is written as `pub fn` or `pub async fn` in a text.
fn public_functions(text: &str) -> Vec<&str> {
    let lines = text.lines().map(str::trim_start);
    let declared = lines.filter_map(|line| {
        let rest = line.strip_prefix("pub async fn ");
        rest.or_else(|| line.strip_prefix("pub fn "))
    });
    declared
        .filter_map(|rest| rest.split(['(', '<']).next())
        .collect()
}

fn texts(folder: &str) -> Vec<String> {
    let files = std::fs::read_dir(repository(folder)).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    paths
        .filter(|path| path.is_file())
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect()
}

#[test]
fn every_public_function_of_the_store_is_called_here() {
    let tests = texts("tests/it/store").concat();
    let sources = texts("src/store");
    let functions: Vec<&str> = sources.iter().flat_map(|text| public_functions(text)).collect();
    assert!(functions.len() > 60, "{functions:?}");
    let called = |name: &str| tests.contains(&format!(".{name}(")) || tests.contains(&format!("::{name}("));
    let missing: Vec<_> = functions.iter().filter(|name| !called(name)).collect();
    assert!(missing.is_empty(), "never called: {missing:?}");
}
