//! One provider's subscription record, and the fold of them all.

use serde::{Deserialize, Serialize};

use super::{Interval, Millis, PlanId, TenantId};

/// Who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Payments that we proved on a chain.
    Crypto,
    /// A Stripe subscription.
    Stripe,
}

impl Provider {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crypto => "crypto",
            Self::Stripe => "stripe",
        }
    }
}

/// A source's state, in our words for every provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Nothing was paid yet; or it was, and its time has not come.
    Pending,
    /// In a free trial.
    Trialing,
    /// Paid.
    Active,
    /// A renewal failed; access goes on for now.
    PastDue,
    /// A renewal failed for long; access is restricted.
    Restricted,
    /// Paused by the payer.
    Paused,
    /// Over.
    Ended,
}

impl SourceState {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Trialing => "trialing",
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Restricted => "restricted",
            Self::Paused => "paused",
            Self::Ended => "ended",
        }
    }
}

/// One provider's subscription record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Who says so.
    pub provider: Provider,
    /// The provider's own id, unique per provider: a Stripe subscription id, or ours for crypto.
    pub provider_ref: String,
    /// Whose it is.
    pub tenant: TenantId,
    /// Which plan it pays for.
    pub plan: PlanId,
    /// The period it renews by, where known.
    pub interval: Option<Interval>,
    /// How it stands.
    pub state: SourceState,
    /// The current period's beginning.
    pub period_start: Option<Millis>,
    /// The current period's end.
    pub period_end: Option<Millis>,
    /// When it will end by the payer's wish.
    pub scheduled_end: Option<Millis>,
    /// What its payer wants when it ends, where that is something else.
    pub next: Option<(PlanId, Interval)>,
    /// Until when it gives access, where that is not the period's end: the grace of a payment that was reversed.
    pub access_until: Option<Millis>,
    /// When its provider ended it.
    pub ended_at: Option<Millis>,
    /// When its trial ends.
    pub trial_end: Option<Millis>,
    /// Since when a renewal has been unpaid.
    pub first_unpaid_at: Option<Millis>,
    /// The provider's own clock for the state stored here; an older one never overwrites it. Zero for crypto.
    pub version: i64,
    /// Something a person should look at: an unknown price or status.
    pub attention: Option<String>,
}

/// How much of the plan may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Nothing.
    None,
    /// What the product leaves to those who owe.
    Restricted,
    /// All of it.
    Full,
}

impl Access {
    /// The stored word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Restricted => "restricted",
            Self::Full => "full",
        }
    }
}

/// A change that a tenant wishes for the end of what it has paid on-chain. A later payment for a plan overrules it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanChange {
    /// What it wants next; none to end.
    pub next: Option<(PlanId, Interval)>,
    /// When it said so.
    pub at: Millis,
}

/// What a tenant has now: the fold of its sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entitlement {
    /// The plan, or none where the catalogue has no default.
    pub plan: Option<PlanId>,
    /// How much of it.
    pub access: Access,
    /// The next instant at which the fold can change by time alone.
    pub valid_until: Option<Millis>,
    /// The source that decided, as provider and `provider_ref`; none for the default plan.
    pub decided_by: Option<(Provider, String)>,
}
