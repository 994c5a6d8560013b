//! The laws of this repository that no compiler checks; each test lists every breach, with its file.
//!
//! Functions are counted by clippy (`too-many-lines-threshold`), casts and unwraps are denied by it.

mod ranks;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use super::harness::repository;

const MAX_LINES: usize = 500;
const CODE: [&str; 4] = ["src/", "tests/", "examples/", "benches/"];
/// Written by a program, and full of text that is nobody's.
const GENERATED: [&str; 3] = ["Cargo.lock", "package-lock.json", "anvil-fixtures/artifacts/"];

/// The environment variables of the published documents; each must be known to the configuration.
const PUBLISHED: [&str; 16] = [
    "STRIPE_SECRET_KEY",
    "STRIPE_API_KEY",
    "STRIPE_WEBHOOK_SECRET",
    "STRIPE_SYNC_INTERVAL",
    "STRIPE_PORTAL_CONFIG_ID",
    "STRIPE_PRICE_",
    "STRIPE_PRODUCT_",
    "NEXT_PUBLIC_PAYMENT_WALLET_ADDRESS",
    "COINBASE_COMMERCE_API_KEY",
    "COINBASE_COMMERCE_WEBHOOK_SECRET",
    "TREASURY_WALLET_ADDRESS",
    "PARENT_APP_URL",
    "ENABLE_CRYPTO_PAYMENTS",
    "ENABLE_TOKEN_GATES",
    "ENABLE_PAID_CHANNELS",
    "TOLLGATE__",
];

struct File {
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        Path::new(&self.path).extension() == Some(OsStr::new("rs"))
    }

    fn is_code(&self) -> bool {
        self.is_rust() && CODE.iter().any(|folder| self.path.starts_with(folder))
    }

    /// The lines that hold `needle`, as `path:line`.
    fn lines_with(&self, needle: &str) -> Vec<String> {
        let numbered = (1..).zip(self.text.lines());
        let found = numbered.filter(|(_, line)| line.contains(needle));
        found
            .map(|(number, _)| format!("{}:{number}", self.path))
            .collect()
    }
}

/// Every text file that is in the repository, or would be.
fn files() -> Vec<File> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(repository("."))
        .output()
        .expect("the tidy tests ask git which files are the repository's");
    assert!(listed.status.success(), "this is no git repository");
    let listed = String::from_utf8(listed.stdout).unwrap();
    let paths = listed.split('\0').filter(|path| repository(path).is_file());
    paths
        .filter(|path| !GENERATED.iter().any(|generated| path.contains(generated)))
        .filter_map(|path| {
            let text = std::fs::read_to_string(repository(path)).ok()?;
            Some(File {
                path: path.to_owned(),
                text,
            })
        })
        .collect()
}

/// Where `needle` stands in the files that `within` picks.
fn found(needle: &str, within: impl Fn(&File) -> bool) -> Vec<String> {
    let files = files();
    let chosen = files.iter().filter(|file| within(file));
    chosen.flat_map(|file| file.lines_with(needle)).collect()
}

fn assert_none(law: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{law}:\n{}", breaches.join("\n"));
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let files = files();
    let measured = files.iter().filter(|file| file.is_code());
    let measured = measured.map(|file| (file, file.text.lines().count()));
    let long = measured.filter(|(_, lines)| *lines > MAX_LINES);
    let breaches: Vec<_> = long
        .map(|(file, lines)| format!("{}: {lines}", file.path))
        .collect();
    assert_none("files have at most 500 lines", &breaches);
}

#[test]
fn every_module_says_what_it_is() {
    let files = files();
    // The tests of a module speak for themselves.
    let spoken_for = |file: &File| !file.is_code() || file.path.contains("/tests");
    let silent = files
        .iter()
        .filter(|file| !spoken_for(file) && !file.text.starts_with("//!"));
    let breaches: Vec<_> = silent.map(|file| file.path.clone()).collect();
    assert_none("a file begins with //!", &breaches);
}

#[test]
fn a_module_names_only_lower_ranks() {
    let breaches: Vec<_> = files()
        .iter()
        .filter(|file| file.path.starts_with("src/") && file.is_rust())
        .flat_map(|file| ranks::breaches(&file.path, &file.text))
        .collect();
    assert_none(
        "a module names only modules of a lower rank (ARCHITECTURE.md)",
        &breaches,
    );
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    for needle in [concat!("#[", "allow("), concat!("#![", "allow(")] {
        assert_none("use #[expect(lint, reason)]", &found(needle, File::is_code));
    }
}

#[test]
fn sql_is_only_in_the_store() {
    let elsewhere = |file: &File| file.path.starts_with("src/") && !file.path.starts_with("src/store/");
    let breaches = found(concat!("sqlx::", "query"), elsewhere);
    assert_none("only src/store speaks SQL", &breaches);
}

#[test]
fn only_the_clock_reads_the_time() {
    let elsewhere = |file: &File| file.path.starts_with("src/") && file.path != "src/clock.rs";
    assert_none(
        "time is an argument",
        &found(concat!("System", "Time"), elsewhere),
    );
}

#[test]
fn nothing_is_left_to_do_and_no_machine_is_named() {
    for needle in [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
    ] {
        assert_none(needle, &found(needle, |_| true));
    }
}

#[test]
fn both_databases_have_the_same_migrations() {
    let of = |database: &str| -> BTreeSet<String> {
        let folder = format!("migrations/{database}/");
        let files = files();
        let names = files.iter().filter_map(|file| file.path.strip_prefix(&folder));
        names.map(str::to_owned).collect()
    };
    let (sqlite, postgres) = (of("sqlite"), of("postgres"));
    assert!(!sqlite.is_empty(), "there are no migrations");
    assert_eq!(sqlite, postgres);
}

#[test]
fn the_published_names_are_known() {
    let files = files();
    let known = |name: &&str| {
        let mut configuration = files.iter().filter(|file| file.path.starts_with("src/config/"));
        configuration.any(|file| file.text.contains(*name))
    };
    let unknown: Vec<_> = PUBLISHED.iter().filter(|name| !known(name)).copied().collect();
    assert!(
        unknown.is_empty(),
        "published, and unknown to src/config: {unknown:?}"
    );
}
