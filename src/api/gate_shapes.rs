//! The ways in which a gate may be written: our tree, and the two flat published shapes, which become a tree of one leaf.
//!
//! The shapes are told apart by the field that only one of them has, so that a wrong field is named in the caller's words.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::extract::from_value;
use super::problem::Problem;
use crate::access::{self, RuleError, Surroundings};
use crate::domain::{Amount, AmountError, GateAction, Rule, TenantId};
use crate::engine::Engine;

/// The longest id of a role, a feature or a channel, in bytes.
const MAX_ID_BYTES: usize = 128;

/// What was written of a gate, in whatever shape.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) tenant: Option<TenantId>,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    pub(super) enabled: Option<bool>,
    pub(super) action: Option<GateAction>,
    pub(super) rule: Option<Rule>,
    pub(super) from_block: Option<u64>,
    /// The published shapes need no name.
    is_flat: bool,
}

/// A gate with a rule tree.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TreeGate {
    /// Whose it is; may stand in the query or in a header instead.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// For people, 1 to 200 characters. A new gate needs one.
    name: Option<String>,
    /// For people, at most 200 characters.
    description: Option<String>,
    /// Whether it may answer eligible; true unless said.
    enabled: Option<bool>,
    /// `{"type": "grant_role", "roleId"}`, `grant_access` (unless said), `unlock_feature` with `featureId` or
    /// `unlock_channel` with `channelId`.
    #[schema(value_type = Option<Object>)]
    action: Option<GateAction>,
    /// `all` and `any` with `of`, `not` with `of`, `at_least` with `k` and `of`, over `erc20_balance` (`atLeast`, `atMost`),
    /// `erc721_balance` (`atLeast`), `erc721_token` (`ids`, `ranges`), `erc1155_balance` (`ids`, `atLeast`, `match`), each with
    /// `chainId` and `contract` or a list of `contracts`, `plan_active` (`plan`) and `allowlist` (`wallets`, `users`). A new
    /// gate needs one.
    #[schema(value_type = Option<Object>)]
    rule: Option<Value>,
    /// The block in which the contracts were deployed; needed where the chain has no first block of its own.
    from_block: Option<u64>,
}

/// A gate on one contract, as published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ContractGate {
    /// Whose it is; may stand in the query or in a header instead.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// For people; made from the contract unless said.
    name: Option<String>,
    /// For people.
    description: Option<String>,
    /// Whether it may answer eligible; true unless said.
    enabled: Option<bool>,
    /// `erc20`, `erc721` or `erc1155`.
    #[serde(rename = "type")]
    kind: Option<Value>,
    /// The contract.
    contract_address: Option<Value>,
    /// Its chain: 137, `"0x89"`, `"eip155:137"` or `"polygon"`.
    chain_id: Option<Value>,
    /// `{"type": "minimum_balance", "minimumBalance": "1"}`, in base units, with a `tokenId` for an ERC-1155; or
    /// `{"type": "specific_token", "tokenId": "7"}`. Of an ERC-721 one token unless said.
    condition: Option<Value>,
    /// What it guards; `grant_access` unless said.
    #[schema(value_type = Option<Object>)]
    action: Option<GateAction>,
    /// The block in which the contract was deployed; needed where the chain has no first block of its own.
    from_block: Option<u64>,
}

/// A gate on one contract of a network, as published.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NetworkGate {
    /// Whose it is; may stand in the query or in a header instead.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// For people; made from the contract unless said.
    name: Option<String>,
    /// For people.
    description: Option<String>,
    /// Whether it may answer eligible; true unless said.
    enabled: Option<bool>,
    /// The channel that it opens.
    channel_id: Option<String>,
    /// Or the role that it gives.
    role_id: Option<String>,
    /// Or the feature that it switches on.
    feature_id: Option<String>,
    /// `erc20`, `erc721` or `erc1155`.
    token_type: String,
    /// The contract.
    contract_address: Option<Value>,
    /// Its chain: `"polygon"`, 137, `"0x89"` or `"eip155:137"`.
    #[serde(alias = "chainId")]
    network: Option<Value>,
    /// How many NFTs; 1 unless said.
    min_token_count: Option<Value>,
    /// How much of an ERC-20, in whole tokens such as `"1.5"`; of NFTs the same as `minTokenCount`.
    min_balance: Option<Value>,
    /// The decimals of an ERC-20; needed for one that is not configured.
    decimals: Option<Value>,
    /// Which tokens; one of these ERC-721 tokens is enough, and so much of one of these ERC-1155 ids.
    token_ids: Option<Vec<Value>>,
    /// The block in which the contract was deployed; needed where the chain has no first block of its own.
    from_block: Option<u64>,
}

/// Any of the three.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "the schema; the shapes are told apart by hand")]
pub(super) enum GateBody {
    Tree(TreeGate),
    Contract(ContractGate),
    Network(NetworkGate),
}

/// Reads a gate in any of its shapes.
pub(super) fn read(body: Value, engine: &Engine) -> Result<Draft, Problem> {
    let has = |field| body.get(field).is_some();
    if has("rule") {
        tree(shape(body)?, engine)
    } else if has("tokenType") {
        network(shape(body)?, engine)
    } else if has("contractAddress") {
        contract(shape(body)?, engine)
    } else {
        tree(shape(body)?, engine)
    }
}

impl Draft {
    /// The name and the rule of a new gate, which must have both.
    pub(super) fn complete(&self) -> Result<(String, Rule), Problem> {
        let missing = |field: &'static str| {
            Problem::malformed("INVALID_FIELD", format!("{field}: missing field `{field}`")).at(field)
        };
        let name = self.name.clone();
        let (Some(rule), true) = (&self.rule, name.is_some() || self.is_flat) else {
            return Err(missing(if name.is_none() { "name" } else { "rule" }));
        };
        Ok((name.unwrap_or_else(|| title(rule)), rule.clone()))
    }
}

fn shape<T: DeserializeOwned>(body: Value) -> Result<T, Problem> {
    from_value(body)
}

fn tree(gate: TreeGate, engine: &Engine) -> Result<Draft, Problem> {
    let rule = gate.rule.as_ref().map(|rule| access::parse(rule, engine));
    let rule = rule.transpose().map_err(|error| refused("rule", &error))?;
    Ok(Draft {
        tenant: gate.tenant_id,
        name: gate.name,
        description: gate.description,
        enabled: gate.enabled,
        action: gate.action.map(sound).transpose()?,
        rule: rule.map(|rule| rule.rule),
        from_block: gate.from_block,
        is_flat: false,
    })
}

fn contract(gate: ContractGate, engine: &Engine) -> Result<Draft, Problem> {
    let flat = json!({
        "type": gate.kind,
        "contractAddress": gate.contract_address,
        "chainId": gate.chain_id,
        "condition": gate.condition,
    });
    let rule = access::parse(&flat, engine).map_err(|error| refused("", &error))?;
    Ok(Draft {
        tenant: gate.tenant_id,
        name: gate.name,
        description: gate.description,
        enabled: gate.enabled,
        action: gate.action.map(sound).transpose()?,
        rule: Some(rule.rule),
        from_block: gate.from_block,
        is_flat: true,
    })
}

fn network(gate: NetworkGate, engine: &Engine) -> Result<Draft, Problem> {
    let leaf = leaf(&gate, engine)?;
    let rule = access::parse(&leaf, engine).map_err(|mut error| {
        error.pointer = published(&gate, &error.pointer);
        refused("", &error)
    })?;
    let action = match (gate.channel_id, gate.role_id, gate.feature_id) {
        (None, None, None) => None,
        (Some(channel_id), None, None) => Some(GateAction::UnlockChannel { channel_id }),
        (None, Some(role_id), None) => Some(GateAction::GrantRole { role_id }),
        (None, None, Some(feature_id)) => Some(GateAction::UnlockFeature { feature_id }),
        _ => {
            let problem = "stands beside roleId or featureId: a gate guards one thing";
            return Err(Problem::invalid("channelId", problem));
        }
    };
    Ok(Draft {
        tenant: gate.tenant_id,
        name: gate.name,
        description: gate.description,
        enabled: gate.enabled,
        action: action.map(sound).transpose()?,
        rule: Some(rule.rule),
        from_block: gate.from_block,
        is_flat: true,
    })
}

/// The leaf that a gate on a contract of a network stands for.
fn leaf(gate: &NetworkGate, engine: &Engine) -> Result<Value, Problem> {
    let ids = gate.token_ids.as_deref().unwrap_or_default();
    let mut leaf = json!({"chainId": gate.network, "contract": gate.contract_address});
    let standard = gate.token_type.to_ascii_lowercase();
    if standard == "erc20" {
        if !ids.is_empty() || gate.min_token_count.is_some() {
            let field = if ids.is_empty() {
                "minTokenCount"
            } else {
                "tokenIds"
            };
            return Err(Problem::invalid(
                field,
                "is for NFTs: of an ERC-20 say minBalance",
            ));
        }
        leaf["type"] = "erc20_balance".into();
        leaf["decimals"] = json!(gate.decimals);
        leaf["atLeast"] = base_units(gate, engine)?;
        return Ok(leaf);
    }
    let count = match (&gate.min_token_count, &gate.min_balance) {
        (Some(_), Some(_)) => {
            let problem = "and minTokenCount are both given: for tokens of this type they mean the same";
            return Err(Problem::invalid("minBalance", problem));
        }
        (count, balance) => count.as_ref().or(balance.as_ref()),
    };
    match (standard.as_str(), ids) {
        ("erc721", []) => leaf["type"] = "erc721_balance".into(),
        ("erc721", ids) => {
            leaf["type"] = "erc721_token".into();
            leaf["ids"] = json!(ids);
            if count.is_some_and(|count| count != 1 && count != "1") {
                let problem = "must be 1 beside tokenIds: one of them is enough";
                return Err(Problem::invalid("minTokenCount", problem));
            }
            return Ok(leaf);
        }
        ("erc1155", ids) => {
            leaf["type"] = "erc1155_balance".into();
            leaf["ids"] = json!(ids);
        }
        _ => {
            let problem = "must be \"erc20\", \"erc721\" or \"erc1155\"";
            return Err(Problem::invalid("tokenType", problem));
        }
    }
    leaf["atLeast"] = json!(count);
    Ok(leaf)
}

/// `minBalance` is in whole tokens, and what is stored in base units: it takes the token's decimals.
fn base_units(gate: &NetworkGate, engine: &Engine) -> Result<Value, Problem> {
    let text = match &gate.min_balance {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => {
            return Err(Problem::invalid(
                "minBalance",
                "must be a number of tokens such as \"1.5\"",
            ));
        }
    };
    let written = gate.decimals.as_ref().and_then(Value::as_u64);
    let known = || {
        let chain = access::parse_chain(gate.network.as_ref()?)?;
        let contract = access::parse_address(gate.contract_address.as_ref()?.as_str()?);
        engine.decimals(chain, contract.ok()?)
    };
    let decimals = written
        .and_then(|decimals| u8::try_from(decimals).ok())
        .or_else(known);
    let decimals = decimals.ok_or_else(|| {
        let problem = "is needed: minBalance is in whole tokens, and this token is not configured here";
        Problem::invalid("decimals", problem)
    })?;
    let amount = Amount::from_units(&text, decimals);
    let amount = amount.map_err(|error: AmountError| Problem::invalid("minBalance", &error.to_string()))?;
    Ok(json!(amount))
}

/// Where a field of the leaf stands in the published shape.
fn published(gate: &NetworkGate, pointer: &str) -> String {
    let minimum = if gate.min_token_count.is_some() {
        "/minTokenCount"
    } else {
        "/minBalance"
    };
    let places = [
        ("/chainId", "/network"),
        ("/contract", "/contractAddress"),
        ("/atLeast", minimum),
        ("/ids", "/tokenIds"),
    ];
    let place = places.iter().find(|(leaf, _)| pointer.starts_with(leaf));
    place.map_or_else(
        || pointer.to_owned(),
        |(leaf, flat)| pointer.replacen(leaf, flat, 1),
    )
}

/// What a gate is called that nobody named.
fn title(rule: &Rule) -> String {
    let need = access::needs(rule).into_iter().next();
    need.map_or_else(String::new, |need| {
        format!("{} on {}", need.contract.to_checksum(None), need.chain.caip2())
    })
}

fn sound(action: GateAction) -> Result<GateAction, Problem> {
    let (field, id) = match &action {
        GateAction::GrantAccess => return Ok(action),
        GateAction::GrantRole { role_id } => ("roleId", role_id),
        GateAction::UnlockFeature { feature_id } => ("featureId", feature_id),
        GateAction::UnlockChannel { channel_id } => ("channelId", channel_id),
    };
    let visible = id.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && (1..=MAX_ID_BYTES).contains(&id.len()) {
        return Ok(action);
    }
    let problem = format!("must be 1 to {MAX_ID_BYTES} visible ASCII characters");
    Err(Problem::invalid(field, &problem))
}

/// A rule's error at its path: the JSON pointer `/of/0/atLeast` under `rule` is `rule.of[0].atLeast`.
pub(super) fn refused(under: &str, error: &RuleError) -> Problem {
    let mut path = under.to_owned();
    for step in error.pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        if step.bytes().all(|byte| byte.is_ascii_digit()) {
            path = format!("{path}[{step}]");
        } else if path.is_empty() {
            path = step;
        } else {
            path = format!("{path}.{step}");
        }
    }
    Problem::invalid(path, &error.message)
}
