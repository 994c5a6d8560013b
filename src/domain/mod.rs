//! Values only: what the other rooms speak of. Nothing here knows the time, the database, the network or a policy.
//!
//! Each type is valid once it exists: parsing is the only way in from text, and it names what was wrong.

mod amount;
mod block;
mod charge;
mod credit;
mod finality;
mod gate;
mod holding;
mod hosted;
mod ids;
mod look;
mod notice;
mod payment;
mod plan;
mod product;
mod review;
mod role;
mod rule;
mod source;
mod transfer;

pub use amount::{Amount, AmountError};
pub use block::{BlockRef, Header, Heights, Level, LogEntry, ProvenBlock, Tag};
pub use charge::{Charge, ChargeFlag, ChargeState, ChargeTerms, Flags, Quote, Reference, Totals, WhenActive};
pub use credit::{Credit, CreditEntry, CreditError, CreditKind};
pub use finality::{Agreement, Evidence, Facts, Finality, Finalized, Held, MAX_TIERS, Settled, Tier};
pub use gate::{
    AsOf, Decision, Eligibility, Gap, Gate, GateAction, LeafTrace, Need, Read, Reading, WalletLink,
};
pub use holding::{
    Asset, CONSECUTIVE_TRANSFER, Fault, Scope, TRANSFER_BATCH, TRANSFER_SINGLE, TokenId, TokenIdError,
};
pub use hosted::{
    CheckoutKey, CheckoutService, Heard, HostedPayment, HostedReport, HostedState, Price, Sender, SenderError,
};
pub use ids::{ChainId, ChargeId, GateId, IdError, RefundId, TenantId, UserId};
pub use look::{Look, LookError, LookOutcome, LookUp, MinedTransaction};
pub use notice::{Hindrance, Notice};
pub use payment::{
    Authorization, Decider, Grounds, MatchRule, Payment, PaymentFlag, PaymentKey, PaymentKeyError,
    PaymentState, WalletOwner,
};
pub use plan::{Interval, PlanId};
pub use product::Product;
pub use review::{Claim, Disposition, Refund, RefundProof, RefundState};
pub use role::Role;
pub use rule::{Aggregation, ContractAt, Contracts, IdMatch, IdRange, Rule};
pub use source::{Access, Entitlement, PlanChange, Provider, Source, SourceState};
pub use transfer::{
    AUTHORIZATION_USED, NATIVE_COIN, NATIVE_LOG_INDEX, NATIVE_ORDINAL, Standard, TRANSFER, Token,
    TokenDomain, Transfer,
};

/// Milliseconds since the Unix epoch, in UTC. The unit of every stored time.
pub type Millis = i64;
