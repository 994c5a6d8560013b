//! Gates: a rule over holdings, the action it guards, and the decision.

use alloy::primitives::{Address, U256};
use serde::{Deserialize, Serialize};

use super::{Amount, BlockRef, ChainId, GateId, Millis, TenantId, UserId};

/// A rule tree. The written form is `{"type": "all", "of": [...]}` and so on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
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
    /// The number of tokens of an ERC-721 contract that the user's wallets hold together.
    Erc721Balance {
        /// The chain.
        chain_id: ChainId,
        /// The contract.
        contract: Address,
        /// Inclusive; 1 unless said.
        at_least: Amount,
    },
}

/// One balance that a rule needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BalanceRead {
    /// The chain.
    pub chain: ChainId,
    /// The contract.
    pub contract: Address,
}

/// What is known of one balance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// The settled sum over the user's wallets.
    Known(U256),
    /// Not read yet, or unreadable.
    Unknown,
}

/// The three answers. `unknown` is never a no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Eligibility {
    /// The rule holds.
    Eligible,
    /// The rule does not hold.
    Ineligible,
    /// Not enough is known to say.
    Unknown,
}

/// The settled block of one chain that a decision rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsOf {
    /// The chain.
    pub chain: ChainId,
    /// The block.
    pub block: BlockRef,
    /// The block's own time.
    pub time_ms: Millis,
}

/// One leaf of the rule, with what was read for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafTrace {
    /// JSON pointer to the leaf in the rule, `/of/0`.
    pub pointer: String,
    /// What it needed.
    pub read: BalanceRead,
    /// What was known.
    pub reading: Reading,
    /// What it was compared with, inclusive.
    pub at_least: U256,
    /// What followed.
    pub outcome: Eligibility,
}

/// A rule's outcome with its reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The answer.
    pub eligibility: Eligibility,
    /// Every leaf, in the order of the tree.
    pub trace: Vec<LeafTrace>,
}

/// What a gate guards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum GateAction {
    /// The chat product gives a role.
    GrantRole {
        /// The role's id in the chat product.
        role_id: String,
    },
    /// The chat product lets the user in.
    GrantAccess,
    /// The chat product switches a feature on.
    UnlockFeature {
        /// The feature's id in the chat product.
        feature_id: String,
    },
    /// The chat product opens a channel.
    UnlockChannel {
        /// The channel's id in the chat product.
        channel_id: String,
    },
}

/// A rule and what it guards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// Its id.
    pub id: GateId,
    /// Whose it is.
    pub tenant: TenantId,
    /// For people.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// A disabled gate answers ineligible.
    pub enabled: bool,
    /// What it guards.
    pub action: GateAction,
    /// What must hold.
    pub rule: Rule,
    /// When it was made.
    pub created_at: Millis,
}

/// A wallet that was proven to be a user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalletLink {
    /// The user's tenant.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// The wallet.
    pub address: Address,
    /// When it was proven.
    pub linked_at: Millis,
}
