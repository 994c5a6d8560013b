//! What is wrong with a configuration, all of it at once.
//!
//! Owns the wording of what serde and TOML report. It must never repeat a value: what stands in the wrong place may be a
//! secret, and so may the line that a syntax error points at.

use std::fmt;

/// One thing that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The key (`chains.anvil.tokens[0].address`), the file, or the environment variable.
    pub path: String,
    /// What must be changed, without the value that is wrong.
    pub problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

/// Everything that is wrong with a configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Fault>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is refused")?;
        for fault in &self.0 {
            write!(f, "\n  {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The faults that were found so far.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, path: impl Into<String>, problem: impl fmt::Display) {
        let problem = problem.to_string();
        let path = path.into();
        self.0.push(Fault { path, problem });
    }

    /// The value, or a fault at `path` and nothing.
    pub(super) fn take<T, E: fmt::Display>(&mut self, path: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|problem| self.add(path, problem)).ok()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The faults, those of a key that an environment variable set naming it.
    pub(super) fn into_errors(mut self, origins: &[(String, String)]) -> ConfigErrors {
        for fault in &mut self.0 {
            // An unknown table may have come into being only because a variable sets a key inside it.
            let unknown = fault.problem.starts_with("is not a known");
            let set_by = origins
                .iter()
                .find(|(path, _)| covers(path, &fault.path) || unknown && covers(&fault.path, path));
            if let Some((_, variable)) = set_by {
                fault.problem = format!("{} (set by {variable})", fault.problem);
            }
        }
        ConfigErrors(self.0)
    }
}

fn covers(origin: &str, path: &str) -> bool {
    path.strip_prefix(origin)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Reads a table into `T`, or adds a fault that names the key below `path`.
pub(super) fn read<T: serde::de::DeserializeOwned>(
    path: &str,
    value: toml::Value,
    faults: &mut Faults,
) -> Option<T> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| {
            let below = error.path().to_string();
            let below = if below == "." { String::new() } else { below };
            let (key, problem) = reworded(error.inner().message());
            faults.add(
                join(path, &join(&below, key.as_deref().unwrap_or_default())),
                problem,
            );
        })
        .ok()
}

/// `outer.inner`, where each may be empty and `inner` may be an index.
pub(super) fn join(outer: &str, inner: &str) -> String {
    let separator = match (outer, inner) {
        ("", _) | (_, "") => "",
        (_, inner) if inner.starts_with('[') => "",
        _ => ".",
    };
    format!("{outer}{separator}{inner}")
}

/// serde's words without the value that they quote, and the key that they name and that is not in the path.
fn reworded(message: &str) -> (Option<String>, String) {
    if let Some(rest) = message.strip_prefix("missing field `") {
        let key = rest.split('`').next().unwrap_or_default();
        return (Some(key.to_owned()), "is required".to_owned());
    }
    // The value is quoted before these words, so the last ones are serde's own.
    let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
    if message.starts_with("unknown field") {
        let known = expected.map_or_else(String::new, |known| {
            format!(
                "; known here: {}",
                known
                    .trim_start_matches("one of ")
                    .replace("` or `", ", ")
                    .replace('`', "")
            )
        });
        return (None, format!("is not a known key{known}"));
    }
    let wanted = match expected {
        Some("i64") => "an integer",
        Some("a sequence") => "a list",
        Some(text) if text.starts_with("struct") || text == "a map" => "a table",
        Some(text) => text,
        None => return (None, "cannot be read".to_owned()),
    };
    (None, format!("must be {wanted}"))
}

/// Parses a file's text. The words of a syntax error hold no part of the text; its line does, and is only numbered.
pub(super) fn parse(path: &str, text: &str, faults: &mut Faults) -> Option<toml::Table> {
    text.parse::<toml::Table>()
        .map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            faults.add(path, format!("line {line}: {}", error.message()));
        })
        .ok()
}
