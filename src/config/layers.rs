//! The layers of a configuration, lowest first: embedded defaults, chain files, the operator's file, the environment.
//!
//! Owns: reading files, and laying one table over another. A table is merged key by key, a list is replaced whole. A key
//! and its `_file` twin are one setting: the higher layer's form removes the other. It must not judge values.

use std::path::Path;

use toml::{Table, Value};

use super::env::{Env, Override, overrides};
use super::fault::{Faults, join, parse};

const DEFAULTS: &str = include_str!("../../config/tollgate.toml");
macro_rules! shipped {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../config/chains/", $name, ".toml")),
        )
    };
}

/// The chains that are shipped, usable by name in `chain_files`.
pub(super) const SHIPPED: [(&str, &str); 13] = [
    shipped!("anvil"),
    shipped!("ethereum"),
    shipped!("polygon"),
    shipped!("arbitrum"),
    shipped!("optimism"),
    shipped!("base"),
    shipped!("bsc"),
    shipped!("sepolia"),
    shipped!("amoy"),
    shipped!("arbitrum-sepolia"),
    shipped!("optimism-sepolia"),
    shipped!("base-sepolia"),
    shipped!("bsc-testnet"),
];

const CHAIN_FILES: &str = "chain_files";

/// The merged tables, and which variable set which key.
pub(super) struct Layers {
    pub(super) table: Table,
    /// Key path and variable.
    pub(super) origins: Vec<(String, String)>,
}

/// Reads and merges all layers; `None` where one could not be read, as what is missing would only repeat the fault.
pub(super) fn gather(path: Option<&Path>, env: &Env, faults: &mut Faults) -> Option<Layers> {
    let mut table = parse("the embedded defaults", DEFAULTS, faults)?;
    let mut own = match path {
        Some(path) => read(path, faults)?,
        None => Table::new(),
    };
    let mut overrides = overrides(env, faults);
    let by_env = |one: &Override| one.segments == [CHAIN_FILES];
    let listed = overrides.iter().position(by_env).map(|at| overrides.remove(at));
    let in_file = own.remove(CHAIN_FILES);
    let base = path.and_then(Path::parent).unwrap_or(Path::new(""));
    let named = listed
        .map(|one| one.value)
        .or(in_file)
        .or_else(|| table.remove(CHAIN_FILES));
    table.remove(CHAIN_FILES);

    let failed_before = faults.len();
    for chains in chain_layers(named, base, faults) {
        merge(&mut table, chains);
    }
    merge(&mut table, own);
    let origins = apply(&mut table, overrides, faults);
    (faults.len() == failed_before).then_some(Layers { table, origins })
}

fn read(path: &Path, faults: &mut Faults) -> Option<Table> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| error.kind());
    let text = faults.take(
        &shown,
        text.map_err(|kind| format!("the file cannot be read: {kind}")),
    )?;
    parse(&shown, &text, faults)
}

fn chain_layers(named: Option<Value>, base: &Path, faults: &mut Faults) -> Vec<Table> {
    let Some(named) = named else {
        return Vec::new();
    };
    let files: Option<Vec<String>> = named.try_into().ok();
    let Some(files) = files else {
        faults.add(CHAIN_FILES, "must be a list of shipped names and of files");
        return Vec::new();
    };
    let mut layers = Vec::new();
    for name in files {
        let shipped = SHIPPED.iter().find(|(known, _)| *known == name);
        let table = match shipped {
            Some((_, text)) => parse(&name, text, faults),
            None if !name.contains(['.', '/']) => {
                let known: Vec<&str> = SHIPPED.iter().map(|(known, _)| *known).collect();
                let known = known.join(", ");
                faults.add(
                    CHAIN_FILES,
                    format!("{name} is neither shipped ({known}) nor a file such as \"chains/{name}.toml\""),
                );
                None
            }
            None => read(&base.join(&name), faults),
        };
        let Some(table) = table else { continue };
        if table.keys().any(|key| key != "chains") {
            faults.add(&name, "a chain file may hold [chains.<name>] and nothing else");
        } else {
            layers.push(table);
        }
    }
    layers
}

/// The other key that says the same.
fn twin(key: &str) -> String {
    match key {
        "confirmations" => "finality".to_owned(),
        "finality" => "confirmations".to_owned(),
        key => key
            .strip_suffix("_file")
            .map_or_else(|| format!("{key}_file"), str::to_owned),
    }
}

fn merge(lower: &mut Table, higher: Table) {
    let keys: Vec<String> = higher.keys().cloned().collect();
    for key in &keys {
        let twin = twin(key);
        // Both forms in one layer stay, for the check to refuse.
        if !keys.contains(&twin) {
            lower.remove(&twin);
        }
    }
    for (key, value) in higher {
        match (lower.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                lower.insert(key, value);
            }
        }
    }
}

fn apply(table: &mut Table, overrides: Vec<Override>, faults: &mut Faults) -> Vec<(String, String)> {
    let mut origins: Vec<(String, String)> = Vec::new();
    for Override {
        variable,
        segments,
        value,
    } in overrides
    {
        let Some((last, tables)) = segments.split_last() else {
            continue;
        };
        let Some((target, path)) = descend(table, tables) else {
            let message = "overrides a key inside something that is not a table or a list with that place";
            faults.add(&variable, message);
            continue;
        };
        let last = spelling(target, last);
        let path = join(&path, &last);
        let same = |(known, _): &&(String, String)| *known == path || *known == twin(&path);
        if let Some((_, other)) = origins.iter().find(same) {
            faults.add(
                &variable,
                format!("sets {path}, which {other} sets too; remove one"),
            );
            continue;
        }
        target.remove(&twin(&last));
        target.insert(last, value);
        origins.push((path, variable));
    }
    origins
}

/// The table at `segments`, made where it is missing, and its path. A number is a place in a list.
fn descend<'a>(table: &'a mut Table, segments: &[String]) -> Option<(&'a mut Table, String)> {
    let mut at = table;
    let mut path = String::new();
    let mut rest = segments;
    while let Some((segment, after)) = rest.split_first() {
        let key = spelling(at, segment);
        path = join(&path, &key);
        rest = after;
        let entry = at.entry(key).or_insert_with(|| Value::Table(Table::new()));
        at = match entry {
            Value::Table(below) => below,
            Value::Array(list) => {
                let (place, after) = rest.split_first()?;
                let place: usize = place.parse().ok()?;
                path = format!("{path}[{place}]");
                rest = after;
                if place == list.len() {
                    list.push(Value::Table(Table::new()));
                }
                list.get_mut(place)?.as_table_mut()?
            }
            _ => return None,
        };
    }
    Some((at, path))
}

/// A variable's name cannot hold a hyphen, and a chain's may.
fn spelling(table: &Table, segment: &str) -> String {
    let same = |key: &&String| key.replace('-', "_") == segment;
    table
        .keys()
        .find(same)
        .cloned()
        .unwrap_or_else(|| segment.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Table {
        text.parse().unwrap()
    }

    #[test]
    fn tables_merge_and_lists_are_replaced() {
        let mut lower = table("a = 1\nlist = [1, 2]\n[t]\nx = 1\ny = 2");
        merge(&mut lower, table("list = [3]\n[t]\ny = 3\nz = 4"));
        assert_eq!(lower, table("a = 1\nlist = [3]\n[t]\nx = 1\ny = 3\nz = 4"));
    }

    #[test]
    fn the_higher_form_of_a_secret_removes_the_lower_one() {
        let mut lower = table("url = 'sqlite://a'\nkey_file = 'k'");
        merge(&mut lower, table("url_file = 'f'\nkey = 'secret'"));
        assert_eq!(lower, table("url_file = 'f'\nkey = 'secret'"));
    }

    #[test]
    fn variables_reach_lists_and_names_with_hyphens() {
        let mut lower = table("[chains.base-sepolia]\nid = 1\n[[chains.base-sepolia.endpoints]]\nname = 'a'");
        let set = |segments: &[&str], value: &str| Override {
            variable: "V".to_owned(),
            segments: segments.iter().map(|s| (*s).to_owned()).collect(),
            value: value.into(),
        };
        let mut faults = Faults::default();
        let origins = apply(
            &mut lower,
            vec![
                set(&["chains", "base_sepolia", "endpoints", "0", "http"], "x"),
                set(&["chains", "base_sepolia", "endpoints", "1", "name"], "b"),
                set(&["chains", "base_sepolia", "endpoints", "7", "name"], "b"),
                set(&["chains", "base_sepolia", "id", "deeper"], "b"),
            ],
            &mut faults,
        );
        let paths: Vec<&str> = origins.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "chains.base-sepolia.endpoints[0].http",
                "chains.base-sepolia.endpoints[1].name"
            ]
        );
        assert_eq!(faults.len(), 2);
    }
}
