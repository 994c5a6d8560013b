//! Gates: a rule over holdings, the action it guards, and the decision.

use alloy::primitives::{Address, U256};
use serde::{Deserialize, Serialize};

use super::{BlockRef, ChainId, ContractAt, Fault, GateId, Millis, Rule, Scope, TenantId, TokenId, UserId};

/// One contract that a rule reads, and what must be kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Need {
    /// The chain.
    pub chain: ChainId,
    /// The contract.
    pub contract: Address,
    /// Its balances.
    pub scope: Scope,
}

/// What is known of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It is this, settled.
    Known(U256),
    /// It is not known, and why.
    Unknown(Gap),
}

/// Why something is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gap {
    /// The chain is not read, nothing of it is settled, or the contract's past is not read to its end.
    NotRead,
    /// No transfer of this kind was ever seen: there may be no such contract, or one of another standard.
    NoTransfers,
    /// The contract's logs cannot be understood.
    Faulty(Fault),
    /// The contract has moved what nobody had.
    Overdrawn,
    /// Who asks has named no user.
    NoUser,
}

impl Gap {
    /// The word in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotRead => "not_read",
            Self::NoTransfers => "no_transfers",
            Self::Faulty(fault) => fault.as_str(),
            Self::Overdrawn => "overdrawn",
            Self::NoUser => "no_user",
        }
    }
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

/// One balance that was read for a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The contract.
    pub at: ContractAt,
    /// The token, where it was one.
    pub id: Option<TokenId>,
    /// Whose.
    pub wallet: Address,
    /// What was known.
    pub reading: Reading,
}

/// One leaf of the rule, with what was read for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafTrace {
    /// JSON pointer to the leaf in the rule, `/of/0`.
    pub pointer: String,
    /// The leaf's type.
    pub kind: &'static str,
    /// What was compared: a balance over wallets and contracts; else 1 for yes and 0 for no.
    pub reading: Reading,
    /// It had to be this at least.
    pub at_least: Option<U256>,
    /// It had to be this at most.
    pub at_most: Option<U256>,
    /// The balances that make it up; those of zero are left out.
    pub reads: Vec<Read>,
    /// How many more there are.
    pub reads_omitted: usize,
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
