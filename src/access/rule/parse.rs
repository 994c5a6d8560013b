//! Reading a rule that a caller sent: the tree, and the flat published shape, which becomes a tree of one leaf.
//!
//! Read by hand and not by serde: serde would build the whole before anyone could count it, and lose the place of an
//! error.

use std::str::FromStr;

use alloy::primitives::Address;
use serde_json::{Map, Value};

use super::{Parsed, RuleError, ZERO_MINIMUM, validate, within_bounds};
use crate::domain::{Amount, ChainId, Rule};

/// The names that the published documents give to chains.
const CHAIN_NAMES: [(&str, u64); 6] = [
    ("ethereum", 1),
    ("polygon", 137),
    ("arbitrum", 42_161),
    ("optimism", 10),
    ("base", 8_453),
    ("bsc", 56),
];

const TREE_TYPES: &str = "\"all\", \"any\", \"not\", \"at_least\" or \"erc721_balance\"";

/// Reads a rule, in either written form, and checks it.
///
/// The flat form is known by its `contractAddress`. Only what makes the rule is read from it: `type`,
/// `contractAddress`, `chainId` and `condition`; the name, the action and the rest are the caller's.
///
/// # Errors
/// The first place that is wrong; those of [`validate`].
pub fn parse(value: &Value) -> Result<Parsed, RuleError> {
    let rule = match value.as_object() {
        Some(flat) if flat.contains_key("contractAddress") => read_flat(flat)?,
        _ => read_node(value, "", 1, &mut 0)?,
    };
    let lints = validate(&rule)?;
    Ok(Parsed { rule, lints })
}

/// Reads a chain as a number, decimal or hexadecimal text (`"0x89"`), CAIP-2 (`"eip155:137"`) or name (`"polygon"`).
pub fn parse_chain(value: &Value) -> Option<ChainId> {
    let chain = match value {
        Value::Number(number) => ChainId(number.as_u64()?),
        Value::String(text) => {
            let named = CHAIN_NAMES
                .iter()
                .find(|(name, _)| text.eq_ignore_ascii_case(name));
            named.map_or_else(|| ChainId::from_str(text).ok(), |(_, id)| Some(ChainId(*id)))?
        }
        _ => return None,
    };
    (chain.0 > 0).then_some(chain)
}

fn read_node(value: &Value, pointer: &str, depth: usize, nodes: &mut usize) -> Result<Rule, RuleError> {
    *nodes += 1;
    within_bounds(*nodes, depth, pointer)?;
    let node = value
        .as_object()
        .ok_or_else(|| RuleError::new(pointer, "must be an object with a \"type\""))?;
    let mut branches = || -> Result<Vec<Rule>, RuleError> {
        let pointer = format!("{pointer}/of");
        let of = node.get("of").and_then(Value::as_array);
        of.ok_or_else(|| RuleError::new(pointer.clone(), "must be an array of rules"))?
            .iter()
            .enumerate()
            .map(|(index, branch)| read_node(branch, &format!("{pointer}/{index}"), depth + 1, nodes))
            .collect()
    };
    match node.get("type").and_then(Value::as_str) {
        Some("all") => {
            only(node, pointer, &["of"])?;
            Ok(Rule::All { of: branches()? })
        }
        Some("any") => {
            only(node, pointer, &["of"])?;
            Ok(Rule::Any { of: branches()? })
        }
        Some("at_least") => {
            only(node, pointer, &["k", "of"])?;
            let k = node
                .get("k")
                .and_then(Value::as_u64)
                .and_then(|k| u32::try_from(k).ok());
            let k =
                k.ok_or_else(|| RuleError::new(format!("{pointer}/k"), "must be a whole number from 1"))?;
            Ok(Rule::AtLeast { k, of: branches()? })
        }
        Some("not") => {
            only(node, pointer, &["of"])?;
            let pointer = format!("{pointer}/of");
            let branch = node
                .get("of")
                .ok_or_else(|| RuleError::new(pointer.clone(), "is missing: it must be a rule"))?;
            let of = Box::new(read_node(branch, &pointer, depth + 1, nodes)?);
            Ok(Rule::Not { of })
        }
        Some("erc721_balance") => {
            only(node, pointer, &["chainId", "contract", "atLeast"])?;
            Ok(Rule::Erc721Balance {
                chain_id: read_chain(node, pointer)?,
                contract: read_contract(node, pointer, "contract")?,
                at_least: read_minimum(node.get("atLeast"), &format!("{pointer}/atLeast"))?,
            })
        }
        Some(kind @ ("erc721" | "erc20" | "erc1155")) => Err(RuleError::new(
            format!("{pointer}/type"),
            format!("is {kind:?}, which belongs to the flat form with a \"contractAddress\""),
        )),
        Some(kind) if is_planned(kind) => Err(not_available(&format!("{pointer}/type"), kind)),
        _ => Err(RuleError::new(
            format!("{pointer}/type"),
            format!("must be {TREE_TYPES}"),
        )),
    }
}

fn read_flat(flat: &Map<String, Value>) -> Result<Rule, RuleError> {
    match flat.get("type").and_then(Value::as_str) {
        Some("erc721") => {}
        Some(kind @ ("erc20" | "erc1155" | "native")) => return Err(not_available("/type", kind)),
        _ => {
            return Err(RuleError::new(
                "/type",
                "must be \"erc721\" beside a \"contractAddress\"",
            ));
        }
    }
    let no_condition = Map::new();
    let condition = match flat.get("condition") {
        None | Some(Value::Null) => &no_condition,
        Some(Value::Object(condition)) => condition,
        Some(_) => return Err(RuleError::new("/condition", "must be an object with a \"type\"")),
    };
    match condition.get("type").and_then(Value::as_str) {
        Some("minimum_balance") => {}
        None if condition.is_empty() => {}
        Some(kind @ ("specific_token" | "trait_match")) => {
            return Err(not_available("/condition/type", kind));
        }
        _ => return Err(RuleError::new("/condition/type", "must be \"minimum_balance\"")),
    }
    only(condition, "/condition", &["minimumBalance"])?;
    Ok(Rule::Erc721Balance {
        chain_id: read_chain(flat, "")?,
        contract: read_contract(flat, "", "contractAddress")?,
        at_least: read_minimum(condition.get("minimumBalance"), "/condition/minimumBalance")?,
    })
}

fn read_chain(node: &Map<String, Value>, pointer: &str) -> Result<ChainId, RuleError> {
    node.get("chainId").and_then(parse_chain).ok_or_else(|| {
        let names: Vec<&str> = CHAIN_NAMES.iter().map(|(name, _)| *name).collect();
        RuleError::new(
            format!("{pointer}/chainId"),
            format!(
                "must be a chain: 137, \"0x89\", \"eip155:137\", or one of {}",
                names.join(", ")
            ),
        )
    })
}

/// Reads an address: 0x and 40 hexadecimal digits, whose checksum (EIP-55) must be right where they are in mixed case.
///
/// # Errors
/// What an address must be.
pub fn parse_address(text: &str) -> Result<Address, &'static str> {
    let address = text
        .strip_prefix("0x")
        .filter(|digits| digits.len() == 40)
        .and_then(|_| Address::from_str(text).ok())
        .ok_or("must be an address: 0x and 40 hexadecimal digits")?;
    let mixed = text.bytes().any(|byte| (b'A'..=b'F').contains(&byte))
        && text.bytes().any(|byte| (b'a'..=b'f').contains(&byte));
    if mixed && Address::parse_checksummed(text, None).is_err() {
        return Err("has a wrong checksum (EIP-55): a digit may be mistyped");
    }
    Ok(address)
}

fn read_contract(node: &Map<String, Value>, pointer: &str, field: &str) -> Result<Address, RuleError> {
    let wrong = |message: &str| RuleError::new(format!("{pointer}/{field}"), message);
    let text = node.get(field).and_then(Value::as_str).unwrap_or_default();
    let address = parse_address(text).map_err(wrong)?;
    if address.is_zero() {
        return Err(wrong("must not be the zero address: no contract is there"));
    }
    Ok(address)
}

/// A number of tokens as decimal text or a number; 1 where it is not said.
fn read_minimum(value: Option<&Value>, pointer: &str) -> Result<Amount, RuleError> {
    let amount = match value {
        None | Some(Value::Null) => Some(Amount::from(1)),
        Some(Value::String(text)) => text.parse().ok(),
        Some(Value::Number(number)) => number.as_u64().map(Amount::from),
        Some(_) => None,
    };
    let amount = amount.ok_or_else(|| RuleError::new(pointer, "must be a whole number such as \"1\""))?;
    if amount.is_zero() {
        return Err(RuleError::new(pointer, ZERO_MINIMUM));
    }
    Ok(amount)
}

/// Refuses a field that has no meaning here: a misspelt one would silently weaken the rule.
fn only(node: &Map<String, Value>, pointer: &str, fields: &[&str]) -> Result<(), RuleError> {
    let unknown = node
        .keys()
        .find(|key| *key != "type" && !fields.contains(&key.as_str()));
    unknown.map_or(Ok(()), |key| {
        let escaped = key.replace('~', "~0").replace('/', "~1");
        Err(RuleError::new(
            format!("{pointer}/{escaped}"),
            format!("is unknown here: there are {}", fields.join(", ")),
        ))
    })
}

/// The leaves of the gates to come.
fn is_planned(kind: &str) -> bool {
    matches!(
        kind,
        "erc20_balance"
            | "erc721_token"
            | "erc721_trait"
            | "erc1155_balance"
            | "native_balance"
            | "contract_call"
            | "plan_active"
            | "allowlist"
    )
}

fn not_available(pointer: &str, kind: &str) -> RuleError {
    RuleError::new(pointer, format!("is {kind:?}, which is not available"))
}
