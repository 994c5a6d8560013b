//! Why the engine did not do it, in terms that the API can answer with.

use alloy::primitives::Address;

use crate::domain::ChainId;
use crate::store::StoreError;

/// Why a command was refused or failed. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A field of the request is wrong; the text says how to put it right.
    #[error("{field} {problem}")]
    Invalid {
        /// The field, as the request names it.
        field: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// There is no such thing, or it is not the caller's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// It contradicts what is already so.
    #[error("{problem}")]
    Conflict {
        /// A stable word for programs.
        code: &'static str,
        /// What it contradicts.
        problem: String,
    },
    /// The same idempotency key came with another request.
    #[error("this Idempotency-Key was used with another request")]
    KeyReused,
    /// Another instance leads this chain now.
    #[error("another instance leads chain {0}")]
    LeaseLost(ChainId),
    /// Blocks that do not extend what was read; the height must be read again.
    #[error("the blocks do not extend what was read of chain {0}")]
    NotLinked(ChainId),
    /// Memory is not as the database is: another instance wrote, or a commit took effect late.
    #[error("chain {0} was changed by another")]
    Stale(ChainId),
    /// Nothing of the chain is settled yet, so its past cannot be told from what may be reorganised.
    #[error("nothing of chain {0} is settled yet")]
    NotSettled(ChainId),
    /// A contract's history does not end in the chain that we read.
    #[error("the history of {0} is not of the chain that we read")]
    ForeignHistory(Address),
    /// A reorg would undo what is final.
    #[error("a reorg of chain {0} goes below what is final")]
    BelowFinalized(ChainId),
    /// A log that would move money came without proof.
    #[error("a payment on chain {0} came without proof")]
    Unproven(ChainId),
    /// The command's task ended before it did.
    #[error("the command was interrupted")]
    Interrupted,
    /// The system has no randomness to give.
    #[error("the system gives no randomness")]
    NoRandomness,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EngineError {
    /// A wrong field.
    pub(super) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            problem: problem.into(),
        }
    }

    /// A word for logs and answers: never a text of the database, which may hold SQL or its address.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "invalid",
            Self::NotFound(_) => "not_found",
            Self::Conflict { code, .. } => code,
            Self::KeyReused => "key_reused",
            Self::LeaseLost(_) => "lease_lost",
            Self::NotLinked(_) => "not_linked",
            Self::Stale(_) => "stale",
            Self::NotSettled(_) => "not_settled",
            Self::ForeignHistory(_) => "foreign_history",
            Self::BelowFinalized(_) => "below_finalized",
            Self::Unproven(_) => "unproven",
            Self::Interrupted => "interrupted",
            Self::NoRandomness => "no_randomness",
            Self::Store(error) => error.kind(),
        }
    }

    /// Whether the same request may succeed later, with nobody changing anything here.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Store(StoreError::Database(_)) | Self::NoRandomness | Self::Stale(_)
        )
    }

    /// A chain that the configuration does not name.
    pub(super) fn unknown_chain(chain: ChainId) -> Self {
        Self::invalid("chainId", format!("{chain} is not a configured chain"))
    }
}
