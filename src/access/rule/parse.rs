//! Reading a rule that a caller sent: the tree, and the flat published shape, which becomes a tree of one leaf.
//!
//! Read by hand and not by serde: serde would build the whole before anyone could count it, and lose the place of an
//! error.

use alloy::primitives::Address;
use serde_json::{Map, Value};

use super::validate::{MAX_DECIMALS, validate, within_bounds, within_entries};
use super::value::{amount, chain, contract, minimum, parse_address, parse_token_id};
use super::{Lint, RuleError, flat};
use crate::domain::{
    Aggregation, ChainId, ContractAt, Contracts, IdMatch, IdRange, PlanId, Rule, TokenId, UserId,
};

const TREE_TYPES: &str = "\"all\", \"any\", \"not\", \"at_least\", \"erc20_balance\", \"erc721_balance\", \
     \"erc721_token\", \"erc1155_balance\", \"plan_active\" or \"allowlist\"";

/// A rule that was read and is sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// The rule.
    pub rule: Rule,
    /// What its author should know.
    pub lints: Vec<Lint>,
}

/// What a rule may speak of without saying all of it.
pub trait Surroundings {
    /// The decimals of an ERC-20, where they are configured.
    fn decimals(&self, chain: ChainId, contract: Address) -> Option<u8>;

    /// The plan of this name or alias.
    fn plan(&self, name: &str) -> Option<PlanId>;
}

/// Reads a rule, in either written form, and checks it.
///
/// The flat form is known by its `contractAddress`. Only what makes the rule is read from it: `type`,
/// `contractAddress`, `chainId` and `condition`; the name, the action and the rest are the caller's.
///
/// # Errors
/// The first place that is wrong; those of [`validate`].
pub fn parse(value: &Value, surroundings: &impl Surroundings) -> Result<Parsed, RuleError> {
    let read = |value: &Value| {
        let mut reader = Reader {
            surroundings,
            nodes: 0,
            entries: 0,
        };
        let rule = reader.node(value, "", 1)?;
        let lints = validate(&rule)?;
        Ok(Parsed { rule, lints })
    };
    match value.as_object() {
        Some(shape) if shape.contains_key("contractAddress") => {
            let rewritten = flat::rewrite(shape)?;
            read(&rewritten.leaf).map_err(|error| rewritten.original(error))
        }
        _ => read(value),
    }
}

struct Reader<'s, S> {
    surroundings: &'s S,
    nodes: usize,
    entries: usize,
}

/// One node of the tree, and where it stands.
#[derive(Clone, Copy)]
struct Node<'v> {
    fields: &'v Map<String, Value>,
    pointer: &'v str,
}

impl<'v> Node<'v> {
    fn wrong(self, field: &str, message: impl Into<String>) -> RuleError {
        RuleError::new(format!("{}/{field}", self.pointer), message)
    }

    /// Refuses other fields, which have no meaning here: a misspelt one would silently weaken the rule.
    fn only(self, fields: &[&str]) -> Result<(), RuleError> {
        only(self.fields, self.pointer, fields)
    }

    /// A list that may be left out.
    fn list(self, field: &str) -> Result<&'v [Value], RuleError> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(self.wrong(field, "must be a list")),
        }
    }

    fn word<T: serde::de::DeserializeOwned + Default>(
        self,
        field: &str,
        words: &str,
    ) -> Result<T, RuleError> {
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(T::default()),
            Some(value) => T::deserialize(value).map_err(|_| self.wrong(field, format!("must be {words}"))),
        }
    }

    fn aggregation(self) -> Result<Aggregation, RuleError> {
        self.word("aggregation", "\"sum\" or \"per_wallet\"")
    }
}

impl<S: Surroundings> Reader<'_, S> {
    fn node(&mut self, value: &Value, pointer: &str, depth: usize) -> Result<Rule, RuleError> {
        self.nodes += 1;
        within_bounds(self.nodes, depth, pointer)?;
        let fields = value
            .as_object()
            .ok_or_else(|| RuleError::new(pointer, "must be an object with a \"type\""))?;
        let node = Node { fields, pointer };
        match fields.get("type").and_then(Value::as_str) {
            Some("all") => {
                node.only(&["of"])?;
                let of = self.branches(node, depth)?;
                Ok(Rule::All { of })
            }
            Some("any") => {
                node.only(&["of"])?;
                let of = self.branches(node, depth)?;
                Ok(Rule::Any { of })
            }
            Some("at_least") => {
                node.only(&["k", "of"])?;
                let k = fields.get("k").and_then(Value::as_u64);
                let k = k.and_then(|k| u32::try_from(k).ok());
                let k = k.ok_or_else(|| node.wrong("k", "must be a whole number from 1"))?;
                let of = self.branches(node, depth)?;
                Ok(Rule::AtLeast { k, of })
            }
            Some("not") => {
                node.only(&["of"])?;
                let branch = fields.get("of");
                let branch = branch.ok_or_else(|| node.wrong("of", "is missing: it must be a rule"))?;
                let of = self.node(branch, &format!("{pointer}/of"), depth + 1)?;
                Ok(Rule::Not { of: Box::new(of) })
            }
            Some(kind) => self.leaf(kind, node),
            None => Err(node.wrong("type", format!("must be {TREE_TYPES}"))),
        }
    }

    fn branches(&mut self, node: Node<'_>, depth: usize) -> Result<Vec<Rule>, RuleError> {
        let of = node.fields.get("of").and_then(Value::as_array);
        of.ok_or_else(|| node.wrong("of", "must be an array of rules"))?
            .iter()
            .enumerate()
            .map(|(index, branch)| self.node(branch, &format!("{}/of/{index}", node.pointer), depth + 1))
            .collect()
    }

    fn leaf(&mut self, kind: &str, node: Node<'_>) -> Result<Rule, RuleError> {
        const CONTRACT: [&str; 3] = ["chainId", "contract", "contracts"];
        let Node { fields, pointer } = node;
        let allowed = |own: &[&'static str]| node.only(&[&CONTRACT[..], own].concat());
        match kind {
            "erc20_balance" => {
                allowed(&["decimals", "atLeast", "atMost", "aggregation"])?;
                let at_least = match amount(fields, "atLeast", pointer)? {
                    Some(_) => Some(minimum(fields, pointer)?),
                    None => None,
                };
                Ok(Rule::Erc20Balance {
                    contracts: self.contracts(node, true)?,
                    at_least,
                    at_most: amount(fields, "atMost", pointer)?,
                    aggregation: node.aggregation()?,
                })
            }
            "erc721_balance" => {
                allowed(&["atLeast", "aggregation"])?;
                Ok(Rule::Erc721Balance {
                    contracts: self.contracts(node, false)?,
                    at_least: minimum(fields, pointer)?,
                    aggregation: node.aggregation()?,
                })
            }
            "erc721_token" => {
                allowed(&["ids", "ranges"])?;
                Ok(Rule::Erc721Token {
                    contracts: self.contracts(node, false)?,
                    ids: self.ids(node)?,
                    ranges: self.ranges(node)?,
                })
            }
            "erc1155_balance" => {
                allowed(&["ids", "atLeast", "match", "aggregation"])?;
                Ok(Rule::Erc1155Balance {
                    contracts: self.contracts(node, false)?,
                    ids: self.ids(node)?,
                    at_least: minimum(fields, pointer)?,
                    id_match: node.word::<IdMatch>("match", "\"any\", \"all\" or \"sum\"")?,
                    aggregation: node.aggregation()?,
                })
            }
            "plan_active" => {
                node.only(&["plan"])?;
                let plan = fields.get("plan").and_then(Value::as_str);
                let plan = plan.and_then(|name| self.surroundings.plan(name));
                let plan = plan.ok_or_else(|| node.wrong("plan", "must be a plan of the catalogue"))?;
                Ok(Rule::PlanActive { plan })
            }
            "allowlist" => {
                node.only(&["wallets", "users"])?;
                let (wallets, users) = (self.wallets(node)?, self.users(node)?);
                Ok(Rule::Allowlist { wallets, users })
            }
            _ => Err(unknown(kind, node)),
        }
    }

    /// Counts a list before anything of it is built.
    fn counted<'v>(&mut self, node: Node<'v>, field: &str) -> Result<&'v [Value], RuleError> {
        let list = node.list(field)?;
        self.entries = self.entries.saturating_add(list.len());
        within_entries(self.entries, &format!("{}/{field}", node.pointer))?;
        Ok(list)
    }

    fn each<T>(
        &mut self,
        node: Node<'_>,
        field: &str,
        read: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<Vec<T>, RuleError> {
        let list = self.counted(node, field)?.iter().enumerate();
        list.map(|(index, value)| {
            read(value).map_err(|message| node.wrong(&format!("{field}/{index}"), message))
        })
        .collect()
    }

    fn contracts(&mut self, node: Node<'_>, is_money: bool) -> Result<Contracts, RuleError> {
        if !node.fields.contains_key("contracts") {
            return Ok(Contracts::One(self.contract(node, is_money)?));
        }
        for field in ["chainId", "contract", "decimals"] {
            if node.fields.contains_key(field) {
                return Err(node.wrong(field, "stands beside \"contracts\": each of those says its own"));
            }
        }
        let mut contracts = Vec::new();
        for (index, value) in self.counted(node, "contracts")?.iter().enumerate() {
            let pointer = format!("{}/contracts/{index}", node.pointer);
            let fields = value.as_object();
            let fields = fields.ok_or_else(|| {
                RuleError::new(&*pointer, "must be an object with \"chainId\" and \"contract\"")
            })?;
            let at = Node {
                fields,
                pointer: &pointer,
            };
            let known = ["chainId", "contract", "decimals"];
            at.only(if is_money { &known } else { &known[..2] })?;
            contracts.push(self.contract(at, is_money)?);
        }
        Ok(Contracts::Many { contracts })
    }

    fn contract(&self, node: Node<'_>, is_money: bool) -> Result<ContractAt, RuleError> {
        let chain_id = chain(node.fields, node.pointer)?;
        let contract = contract(node.fields, node.pointer)?;
        if !is_money {
            return Ok(ContractAt::new(chain_id, contract));
        }
        let written = match node.fields.get("decimals") {
            None | Some(Value::Null) => None,
            Some(value) => {
                let decimals = value.as_u64().and_then(|decimals| u8::try_from(decimals).ok());
                let decimals = decimals.filter(|decimals| *decimals <= MAX_DECIMALS);
                let message = format!("must be a whole number, at most {MAX_DECIMALS}");
                Some(decimals.ok_or_else(|| node.wrong("decimals", message))?)
            }
        };
        let known = self.surroundings.decimals(chain_id, contract);
        match (written, known) {
            (Some(written), Some(known)) if written != known => {
                let message = format!("contradicts the configuration, where this token has {known}");
                Err(node.wrong("decimals", message))
            }
            (written, known) => Ok(ContractAt {
                chain_id,
                contract,
                decimals: written.or(known),
            }),
        }
    }

    fn ids(&mut self, node: Node<'_>) -> Result<Vec<TokenId>, RuleError> {
        let read = |value: &Value| parse_token_id(value).map_err(|error| error.to_string());
        let mut ids = self.each(node, "ids", read)?;
        // An id that is there twice would count double.
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    fn ranges(&mut self, node: Node<'_>) -> Result<Vec<IdRange>, RuleError> {
        let mut ranges = Vec::new();
        for (index, value) in self.counted(node, "ranges")?.iter().enumerate() {
            let end = |end: &str| {
                let id = value.get(end).map(parse_token_id);
                let place = format!("ranges/{index}/{end}");
                let missing = || node.wrong(&place, "is missing: a range is {\"from\", \"to\"}");
                id.ok_or_else(missing)?
                    .map_err(|error| node.wrong(&place, error.to_string()))
            };
            ranges.push(IdRange {
                from: end("from")?,
                to: end("to")?,
            });
        }
        Ok(ranges)
    }

    fn wallets(&mut self, node: Node<'_>) -> Result<Vec<Address>, RuleError> {
        let read = |value: &Value| {
            let wallet = parse_address(value.as_str().unwrap_or_default());
            wallet.map_err(str::to_owned)
        };
        self.each(node, "wallets", read)
    }

    fn users(&mut self, node: Node<'_>) -> Result<Vec<UserId>, RuleError> {
        let read = |value: &Value| {
            let user = value.as_str().unwrap_or_default().parse::<UserId>();
            user.map_err(|_| "must be a user id: 1 to 128 visible ASCII characters".to_owned())
        };
        self.each(node, "users", read)
    }
}

/// Why there is no such leaf.
fn unknown(kind: &str, node: Node<'_>) -> RuleError {
    match kind {
        "erc721" | "erc20" | "erc1155" => node.wrong(
            "type",
            format!("is {kind:?}, which belongs to the flat form with a \"contractAddress\""),
        ),
        "erc721_trait" | "native_balance" | "contract_call" => {
            not_available(&format!("{}/type", node.pointer), kind)
        }
        _ => node.wrong("type", format!("must be {TREE_TYPES}")),
    }
}

pub(super) fn only(node: &Map<String, Value>, pointer: &str, fields: &[&str]) -> Result<(), RuleError> {
    let unknown = node
        .keys()
        .find(|key| *key != "type" && !fields.contains(&key.as_str()));
    unknown.map_or(Ok(()), |key| {
        let escaped = key.replace('~', "~0").replace('/', "~1");
        let place = format!("{pointer}/{escaped}");
        if matches!(key.as_str(), "heldFor" | "atBlock") {
            return Err(RuleError::new(place, "is not available yet"));
        }
        let message = format!("is unknown here: there are {}", fields.join(", "));
        Err(RuleError::new(place, message))
    })
}

pub(super) fn not_available(pointer: &str, kind: &str) -> RuleError {
    RuleError::new(pointer, format!("is {kind:?}, which is not available yet"))
}
