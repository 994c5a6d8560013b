//! Which module may name which: the ranks of ARCHITECTURE.md, read from the text of the source.
//!
//! It reads `crate::x`, `crate::{x, y}` and `super::x` that reaches the root; comments do not count.

/// From the lowest. Those in one list may name each other, unless they are closed to each other.
const RANKS: [Rank; 6] = [
    open(&["domain"]),
    open(&[
        "clock",
        "task",
        "metrics",
        "telemetry",
        "health",
        "retry",
        "config",
        "egress",
    ]),
    closed(&[
        "chain", "ledger", "billing", "access", "wallet", "stripe", "checkout", "jwt", "store",
    ]),
    open(&["engine"]),
    closed(&["sync", "notify", "jobs", "api"]),
    open(&["app", "cli", "main", "lib"]),
];

struct Rank {
    rooms: &'static [&'static str],
    siblings_see_each_other: bool,
}

const fn open(rooms: &'static [&'static str]) -> Rank {
    Rank {
        rooms,
        siblings_see_each_other: true,
    }
}

const fn closed(rooms: &'static [&'static str]) -> Rank {
    Rank {
        rooms,
        siblings_see_each_other: false,
    }
}

/// What the file at `path` (from the repository's root, below src/) names and may not.
pub fn breaches(path: &str, text: &str) -> Vec<String> {
    let modules = path.trim_start_matches("src/").trim_end_matches(".rs");
    let modules: Vec<_> = modules.split('/').filter(|name| *name != "mod").collect();
    let room = modules[0];
    if rank_of(room).is_none() {
        return vec![format!("{path}: the module {room} has no rank")];
    }
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let named = named_from_crate(&code)
        .into_iter()
        .chain(named_from_super(&code, modules.len()));
    let wrong = named.filter(|named| !may_name(room, named));
    wrong.map(|named| format!("{path}: names {named}")).collect()
}

fn rank_of(room: &str) -> Option<usize> {
    RANKS.iter().position(|rank| rank.rooms.contains(&room))
}

fn may_name(room: &str, named: &str) -> bool {
    if room == named {
        return true;
    }
    let (Some(own), Some(other)) = (rank_of(room), rank_of(named)) else {
        return false;
    };
    other < own || (other == own && RANKS[own].siblings_see_each_other)
}

/// The first modules of the paths that begin with `crate::`.
fn named_from_crate(code: &str) -> Vec<&str> {
    let mut named = Vec::new();
    for (at, matched) in code.match_indices("crate::") {
        let inside_a_word = code[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_');
        if inside_a_word || code[..at].ends_with('$') {
            continue;
        }
        let rest = &code[at + matched.len()..];
        match rest.strip_prefix('{') {
            Some(group) => named.extend(heads(group)),
            None => named.push(word(rest)),
        }
    }
    named
}

/// The modules of the root that a file, whose module stands `depth` below it, names through `super::`. Only known names count:
/// within a `mod tests` of the file the same chain ends one module lower.
fn named_from_super(code: &str, depth: usize) -> Vec<&str> {
    let chain = "super::".repeat(depth);
    let found = code.match_indices(&chain);
    let named = found.map(|(at, _)| word(&code[at + chain.len()..]));
    named.filter(|name| rank_of(name).is_some()).collect()
}

/// The first word of each path in a group, up to the brace that closes it.
fn heads(group: &str) -> Vec<&str> {
    let (mut depth, mut at_head, mut heads) = (0_u32, true, Vec::new());
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_head = true,
            _ if at_head && !letter.is_whitespace() => {
                heads.push(word(&group[at..]));
                at_head = false;
            }
            _ => {}
        }
    }
    heads
}

fn word(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
    &text[..end.unwrap_or(text.len())]
}

#[test]
fn a_lower_module_may_be_named_and_no_other() {
    for (path, code, wrong) in [
        ("src/ledger/mod.rs", "use crate::domain::Amount;", ""),
        ("src/ledger/mod.rs", "use crate::ledger::matching;", ""),
        ("src/ledger/mod.rs", "use crate::billing::fold;", "names billing"),
        (
            "src/ledger/mod.rs",
            "fn f() { crate::engine::g() }",
            "names engine",
        ),
        ("src/ledger/mod.rs", "// crate::engine is told", ""),
        ("src/ledger/mod.rs", "use super::engine::g;", "names engine"),
        (
            "src/ledger/matching.rs",
            "use super::super::engine::g;",
            "names engine",
        ),
        ("src/ledger/matching.rs", "use super::charge::g;", ""),
        (
            "src/task.rs",
            "use crate::{metrics::{a, b}, clock, api::c};",
            "names api",
        ),
        ("src/domain/mod.rs", "use crate::clock::Clock;", "names clock"),
        ("src/api/mod.rs", "use crate::jobs::ask;", "names jobs"),
        ("src/main.rs", "use tollgate::app;", ""),
        ("src/attic/mod.rs", "", "the module attic has no rank"),
        ("src/ledger/mod.rs", "use crate::attic;", "names attic"),
    ] {
        let found = breaches(path, code);
        let expected = if wrong.is_empty() {
            Vec::new()
        } else {
            vec![format!("{path}: {wrong}")]
        };
        assert_eq!(found, expected, "{code}");
    }
}
