//! The rule tree of a gate. Its written form, `{"type": "all", "of": [...]}` and so on, is what callers send, what is
//! stored, and what is shown.

use alloy::primitives::Address;
use serde::{Deserialize, Serialize, Serializer};

use super::{Amount, ChainId, PlanId, TokenId, UserId};

/// A rule tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Rule {
    /// Every branch holds.
    All {
        /// The branches, at least one.
        of: Vec<Rule>,
    },
    /// Some branch holds.
    Any {
        /// The branches, at least one.
        of: Vec<Rule>,
    },
    /// The branch does not hold.
    Not {
        /// The branch.
        of: Box<Rule>,
    },
    /// At least `k` branches hold.
    AtLeast {
        /// How many, from 1 to the number of branches.
        k: u32,
        /// The branches.
        of: Vec<Rule>,
    },
    /// An amount of ERC-20 tokens. Of several contracts the balances are added, in the base units of the one with the most
    /// decimals.
    Erc20Balance {
        /// The contracts.
        #[serde(flatten)]
        contracts: Contracts,
        /// Inclusive, in base units.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_least: Option<Amount>,
        /// Inclusive, in base units.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_most: Option<Amount>,
        /// Over the user's wallets.
        #[serde(default, skip_serializing_if = "Aggregation::is_sum")]
        aggregation: Aggregation,
    },
    /// A number of ERC-721 tokens.
    Erc721Balance {
        /// The contracts; of several, the tokens are counted together.
        #[serde(flatten)]
        contracts: Contracts,
        /// Inclusive; 1 unless said.
        at_least: Amount,
        /// Over the user's wallets.
        #[serde(default, skip_serializing_if = "Aggregation::is_sum")]
        aggregation: Aggregation,
    },
    /// One of these ERC-721 tokens.
    Erc721Token {
        /// The contracts.
        #[serde(flatten)]
        contracts: Contracts,
        /// The tokens,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ids: Vec<TokenId>,
        /// and ranges of them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ranges: Vec<IdRange>,
    },
    /// An amount of ERC-1155 tokens.
    Erc1155Balance {
        /// The contracts; of several, what is held of an id is added.
        #[serde(flatten)]
        contracts: Contracts,
        /// The ids; none for all that the contract has, together.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ids: Vec<TokenId>,
        /// Inclusive; 1 unless said.
        at_least: Amount,
        /// Which of the ids must be held so.
        #[serde(default, rename = "match", skip_serializing_if = "IdMatch::is_any")]
        id_match: IdMatch,
        /// Over the user's wallets.
        #[serde(default, skip_serializing_if = "Aggregation::is_sum")]
        aggregation: Aggregation,
    },
    /// Whoever the catalogue sells plans to, the gate's tenant or the user, has this plan, and all of it.
    PlanActive {
        /// The plan.
        plan: PlanId,
    },
    /// The user, or one of the wallets, is on a list.
    Allowlist {
        /// The wallets.
        #[serde(
            default,
            skip_serializing_if = "Vec::is_empty",
            serialize_with = "all_checksummed"
        )]
        wallets: Vec<Address>,
        /// The users.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        users: Vec<UserId>,
    },
}

impl Rule {
    /// The word of its `type`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::All { .. } => "all",
            Self::Any { .. } => "any",
            Self::Not { .. } => "not",
            Self::AtLeast { .. } => "at_least",
            Self::Erc20Balance { .. } => "erc20_balance",
            Self::Erc721Balance { .. } => "erc721_balance",
            Self::Erc721Token { .. } => "erc721_token",
            Self::Erc1155Balance { .. } => "erc1155_balance",
            Self::PlanActive { .. } => "plan_active",
            Self::Allowlist { .. } => "allowlist",
        }
    }
}

/// A contract on its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContractAt {
    /// The chain.
    pub chain_id: ChainId,
    /// The contract.
    #[serde(serialize_with = "checksummed")]
    pub contract: Address,
    /// Of an ERC-20: base units are 10^-decimals. Known wherever several contracts are added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u8>,
}

impl ContractAt {
    /// A contract, whatever its decimals.
    #[must_use]
    pub const fn new(chain_id: ChainId, contract: Address) -> Self {
        Self {
            chain_id,
            contract,
            decimals: None,
        }
    }
}

/// The contracts of a leaf. One stands in the leaf itself, several in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Contracts {
    /// One.
    One(ContractAt),
    /// Several.
    Many {
        /// At least one.
        contracts: Vec<ContractAt>,
    },
}

impl Contracts {
    /// One contract, whatever its decimals.
    #[must_use]
    pub const fn one(chain_id: ChainId, contract: Address) -> Self {
        Self::One(ContractAt::new(chain_id, contract))
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[ContractAt] {
        match self {
            Self::One(contract) => std::slice::from_ref(contract),
            Self::Many { contracts } => contracts,
        }
    }
}

/// How the wallets of a user count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// Together.
    #[default]
    Sum,
    /// One of them alone must be enough.
    PerWallet,
}

impl Aggregation {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_sum(&self) -> bool {
        *self == Self::Sum
    }
}

/// Which of several ids must be held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdMatch {
    /// So much of one of them.
    #[default]
    Any,
    /// So much of each.
    All,
    /// So much of all together.
    Sum,
}

impl IdMatch {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_any(&self) -> bool {
        *self == Self::Any
    }
}

/// Token ids from one to another, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IdRange {
    /// The lowest.
    pub from: TokenId,
    /// The highest.
    pub to: TokenId,
}

fn checksummed<S: Serializer>(address: &Address, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&address.to_checksum(None))
}

fn all_checksummed<S: Serializer>(addresses: &[Address], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(addresses.iter().map(|address| address.to_checksum(None)))
}
