//! The values of a rule as callers write them: chains, addresses, amounts, token ids.

use std::str::FromStr;

use alloy::primitives::Address;
use serde_json::{Map, Value};

use super::RuleError;
use super::validate::ZERO_MINIMUM;
use crate::domain::{Amount, ChainId, TokenId, TokenIdError};

/// The names that the published documents give to chains.
const CHAIN_NAMES: [(&str, u64); 6] = [
    ("ethereum", 1),
    ("polygon", 137),
    ("arbitrum", 42_161),
    ("optimism", 10),
    ("base", 8_453),
    ("bsc", 56),
];

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

/// Reads a token id: a number, or text in decimal or after `0x` in hexadecimal.
///
/// # Errors
/// It is none, or not below 2^256.
pub fn parse_token_id(value: &Value) -> Result<TokenId, TokenIdError> {
    match value {
        Value::String(text) => text.parse(),
        Value::Number(number) => number.to_string().parse(),
        _ => Err(TokenIdError),
    }
}

pub(super) fn chain(node: &Map<String, Value>, pointer: &str) -> Result<ChainId, RuleError> {
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

pub(super) fn contract(node: &Map<String, Value>, pointer: &str) -> Result<Address, RuleError> {
    let wrong = |message: &str| RuleError::new(format!("{pointer}/contract"), message);
    let text = node.get("contract").and_then(Value::as_str).unwrap_or_default();
    let address = parse_address(text).map_err(wrong)?;
    if address.is_zero() {
        return Err(wrong("must not be the zero address: no contract is there"));
    }
    Ok(address)
}

/// An amount in base units, or a number of tokens, as decimal text or a number; none where it is not said.
pub(super) fn amount(
    node: &Map<String, Value>,
    field: &str,
    pointer: &str,
) -> Result<Option<Amount>, RuleError> {
    let amount = match node.get(field) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.parse().ok(),
        Some(Value::Number(number)) => number.as_u64().map(Amount::from),
        Some(_) => None,
    };
    let place = format!("{pointer}/{field}");
    amount
        .map(Some)
        .ok_or_else(|| RuleError::new(place, "must be a whole number such as \"1\""))
}

/// A minimum: 1 where it is not said, and never zero.
pub(super) fn minimum(node: &Map<String, Value>, pointer: &str) -> Result<Amount, RuleError> {
    let amount = amount(node, "atLeast", pointer)?.unwrap_or(Amount::from(1));
    if amount.is_zero() {
        return Err(RuleError::new(format!("{pointer}/atLeast"), ZERO_MINIMUM));
    }
    Ok(amount)
}
