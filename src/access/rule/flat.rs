//! The flat published shape, `{type, contractAddress, chainId, condition}`: rewritten as a tree of one leaf, and its errors
//! as errors of the flat shape.

use serde_json::{Map, Value, json};

use super::RuleError;
use super::parse::{not_available, only};

/// A leaf, and where each of its fields stood.
pub(super) struct Rewritten {
    pub leaf: Value,
    places: Vec<(&'static str, &'static str)>,
}

impl Rewritten {
    /// The same error at the place that the caller wrote.
    pub fn original(&self, error: RuleError) -> RuleError {
        let place = self
            .places
            .iter()
            .find(|(leaf, _)| error.pointer.starts_with(leaf));
        let pointer = place.map(|(_, flat)| (*flat).to_owned());
        RuleError {
            pointer: pointer.unwrap_or(error.pointer),
            message: error.message,
        }
    }
}

/// Reads a flat shape. Only what makes the rule is read: the name, the action and the rest are the caller's.
pub(super) fn rewrite(flat: &Map<String, Value>) -> Result<Rewritten, RuleError> {
    let standard = match flat.get("type").and_then(Value::as_str) {
        Some(standard @ ("erc20" | "erc721" | "erc1155")) => standard,
        Some(kind @ "native") => return Err(not_available("/type", kind)),
        _ => {
            let message = "must be \"erc20\", \"erc721\" or \"erc1155\" beside a \"contractAddress\"";
            return Err(RuleError::new("/type", message));
        }
    };
    let no_condition = Map::new();
    let condition = match flat.get("condition") {
        None | Some(Value::Null) => &no_condition,
        Some(Value::Object(condition)) => condition,
        Some(_) => return Err(RuleError::new("/condition", "must be an object with a \"type\"")),
    };
    let mut leaf = json!({"chainId": flat.get("chainId"), "contract": flat.get("contractAddress")});
    let (minimum, id) = (condition.get("minimumBalance"), condition.get("tokenId"));
    match (condition.get("type").and_then(Value::as_str), standard) {
        (Some("minimum_balance"), "erc1155") => {
            only(condition, "/condition", &["minimumBalance", "tokenId"])?;
            leaf["type"] = "erc1155_balance".into();
            leaf["atLeast"] = minimum.cloned().unwrap_or_default();
            if let Some(id) = id.filter(|id| !id.is_null()) {
                leaf["ids"] = json!([id]);
            }
        }
        (Some("minimum_balance"), _) | (None, "erc721") => {
            if condition.get("type").is_none() && !condition.is_empty() {
                return Err(no_condition_type());
            }
            only(condition, "/condition", &["minimumBalance"])?;
            leaf["type"] = format!("{standard}_balance").into();
            leaf["atLeast"] = minimum.cloned().unwrap_or_default();
        }
        (Some("specific_token"), "erc721" | "erc1155") => {
            only(condition, "/condition", &["tokenId"])?;
            let id = id.ok_or_else(|| RuleError::new("/condition/tokenId", "is missing: name the token"))?;
            let kind = if standard == "erc721" {
                "erc721_token"
            } else {
                "erc1155_balance"
            };
            leaf["type"] = kind.into();
            leaf["ids"] = json!([id]);
        }
        (Some("specific_token"), _) => {
            let message =
                "is \"specific_token\", and an ERC-20 has no single tokens: use \"minimum_balance\"";
            return Err(RuleError::new("/condition/type", message));
        }
        (Some(kind @ "trait_match"), _) => return Err(not_available("/condition/type", kind)),
        _ => return Err(no_condition_type()),
    }
    Ok(Rewritten {
        leaf,
        places: vec![
            ("/chainId", "/chainId"),
            ("/contract", "/contractAddress"),
            ("/atLeast", "/condition/minimumBalance"),
            ("/ids", "/condition/tokenId"),
        ],
    })
}

fn no_condition_type() -> RuleError {
    RuleError::new(
        "/condition/type",
        "must be \"minimum_balance\" or \"specific_token\"",
    )
}
