//! The ways in which a gate may be written: our tree, and the two flat published shapes, which become a tree of one leaf.
//!
//! The shapes are told apart by the field that only one of them has, so that a wrong field is named in the caller's words.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::extract::from_value;
use super::problem::Problem;
use crate::access::{self, RuleError};
use crate::domain::{GateAction, Rule, TenantId};

/// The longest id of a role, a feature or a channel, in bytes.
const MAX_ID_BYTES: usize = 128;

/// A gate to be made, whatever shape it was written in.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) tenant: Option<TenantId>,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) enabled: bool,
    pub(super) action: GateAction,
    pub(super) rule: Rule,
    pub(super) from_block: Option<u64>,
}

/// A gate with a rule tree.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TreeGate {
    /// Whose it is; may stand in the query or in a header instead.
    #[schema(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// For people, 1 to 200 characters.
    name: String,
    /// For people, at most 200 characters.
    description: Option<String>,
    /// Whether it may answer eligible; true unless said.
    enabled: Option<bool>,
    /// `{"type": "grant_role", "roleId"}`, `grant_access` (unless said), `unlock_feature` with `featureId` or
    /// `unlock_channel` with `channelId`.
    #[schema(value_type = Option<Object>)]
    action: Option<GateAction>,
    /// `{"type": "erc721_balance", "chainId", "contract", "atLeast"}`, or `all` and `any` with `of`, `not` with `of`,
    /// `at_least` with `k` and `of`.
    #[schema(value_type = Object)]
    rule: Value,
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
    /// `erc721`.
    #[serde(rename = "type")]
    kind: Option<Value>,
    /// The contract.
    contract_address: Option<Value>,
    /// Its chain: 137, `"0x89"`, `"eip155:137"` or `"polygon"`.
    chain_id: Option<Value>,
    /// `{"type": "minimum_balance", "minimumBalance": "1"}`; that unless said.
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
    /// `erc721`.
    token_type: String,
    /// The contract.
    contract_address: Option<Value>,
    /// Its chain: `"polygon"`, 137, `"0x89"` or `"eip155:137"`.
    #[serde(alias = "chainId")]
    network: Option<Value>,
    /// How many tokens; 1 unless said.
    min_token_count: Option<Value>,
    /// The same.
    min_balance: Option<Value>,
    /// Must be empty: single tokens are not available.
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
pub(super) fn read(body: Value) -> Result<Draft, Problem> {
    let has = |field| body.get(field).is_some();
    if has("rule") {
        tree(shape(body)?)
    } else if has("tokenType") {
        network(shape(body)?)
    } else if has("contractAddress") {
        contract(shape(body)?)
    } else {
        tree(shape(body)?)
    }
}

fn shape<T: DeserializeOwned>(body: Value) -> Result<T, Problem> {
    from_value(body)
}

fn tree(gate: TreeGate) -> Result<Draft, Problem> {
    let rule = access::parse(&gate.rule).map_err(|error| refused("rule", &error))?;
    Ok(Draft {
        tenant: gate.tenant_id,
        name: gate.name,
        description: gate.description,
        enabled: gate.enabled.unwrap_or(true),
        action: sound(gate.action.unwrap_or(GateAction::GrantAccess))?,
        rule: rule.rule,
        from_block: gate.from_block,
    })
}

fn contract(gate: ContractGate) -> Result<Draft, Problem> {
    let flat = json!({
        "type": gate.kind,
        "contractAddress": gate.contract_address,
        "chainId": gate.chain_id,
        "condition": gate.condition,
    });
    let rule = access::parse(&flat).map_err(|error| refused("", &error))?;
    Ok(Draft {
        tenant: gate.tenant_id,
        name: gate.name.unwrap_or_else(|| title(&rule.rule)),
        description: gate.description,
        enabled: gate.enabled.unwrap_or(true),
        action: sound(gate.action.unwrap_or(GateAction::GrantAccess))?,
        rule: rule.rule,
        from_block: gate.from_block,
    })
}

fn network(gate: NetworkGate) -> Result<Draft, Problem> {
    if gate.token_ids.is_some_and(|ids| !ids.is_empty()) {
        return Err(Problem::invalid(
            "tokenIds",
            "must be empty: single tokens are not available",
        ));
    }
    let minimum = match (gate.min_token_count, gate.min_balance) {
        (Some(_), Some(_)) => {
            let problem = "and minTokenCount are both given: for tokens of this type they mean the same";
            return Err(Problem::invalid("minBalance", problem));
        }
        (count, balance) => count.or(balance),
    };
    let flat = json!({
        "type": gate.token_type.to_ascii_lowercase(),
        "contractAddress": gate.contract_address,
        "chainId": gate.network,
        "condition": {"type": "minimum_balance", "minimumBalance": minimum},
    });
    let rule = access::parse(&flat).map_err(|mut error| {
        error.pointer = match error.pointer.as_str() {
            "/type" => "/tokenType".to_owned(),
            "/chainId" => "/network".to_owned(),
            "/condition/minimumBalance" => "/minTokenCount".to_owned(),
            pointer => pointer.to_owned(),
        };
        refused("", &error)
    })?;
    let action = match (gate.channel_id, gate.role_id, gate.feature_id) {
        (None, None, None) => GateAction::GrantAccess,
        (Some(channel_id), None, None) => GateAction::UnlockChannel { channel_id },
        (None, Some(role_id), None) => GateAction::GrantRole { role_id },
        (None, None, Some(feature_id)) => GateAction::UnlockFeature { feature_id },
        _ => {
            let problem = "stands beside roleId or featureId: a gate guards one thing";
            return Err(Problem::invalid("channelId", problem));
        }
    };
    Ok(Draft {
        tenant: gate.tenant_id,
        name: gate.name.unwrap_or_else(|| title(&rule.rule)),
        description: gate.description,
        enabled: gate.enabled.unwrap_or(true),
        action: sound(action)?,
        rule: rule.rule,
        from_block: gate.from_block,
    })
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
fn refused(under: &str, error: &RuleError) -> Problem {
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
