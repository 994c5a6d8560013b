//! The one structure that answers and the command line show.

use alloy::primitives::B256;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::Settings;
use super::super::found::{ClaimantView, RefundView, ReviewView};
use super::super::view::{AmountView, ChargeView, EntitlementView, SourceView, rfc3339};
use super::words;
use crate::config;
use crate::domain::{Amount, ChainId, Charge, Level, LogEntry, MinedTransaction, Standard};
use crate::ledger::{Check, Examined, Finding};

/// Logs of one transaction that are shown, the nearest to a payment first.
const MAX_LOGS: usize = 50;

/// What a transaction is to this service, in a word. Of several payments the first of these is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TxOutcome {
    /// It counts for a charge.
    Counted,
    /// In a proven block, and not covered by the finality policy yet.
    Confirming,
    /// It counts, and no charge has it: it waits for a person.
    Unmatched,
    /// An operator ignored it.
    Ignored,
    /// An operator sent it back, or says so.
    Refunded,
    /// On a chain whose blocks prove nothing: shown, and never credited.
    Unproven,
    /// A reorganisation left its block behind.
    Orphaned,
    /// It is an operator's own, and sends a payment back.
    Refund,
    /// A payment, in a block that is not read yet.
    NotRead,
    /// A payment, in a block below the first that is read.
    BeforeStart,
    /// A payment that should be stored, and is not.
    Missed,
    /// An endpoint says that it is in a block which is not of the chain that is read.
    OtherBranch,
    /// It pays less than the token's dust.
    BelowDust,
    /// It pays nothing at all.
    ZeroValue,
    /// A treasury of ours paid itself, or another of ours.
    OwnTransfer,
    /// It pays the treasury in what is no token of ours.
    WrongToken,
    /// It sends the treasury a token with an id.
    NotMoney,
    /// It pays somebody else.
    WrongRecipient,
    /// It moves nothing that concerns us.
    NoTransfer,
    /// It was reverted.
    Reverted,
    /// The chain takes no payments.
    NoTreasury,
    /// It is on another configured chain.
    OtherChain,
    /// It is in no block yet.
    Pending,
    /// No endpoint knows it.
    Unknown,
    /// It was never read, and the chain cannot be looked at now.
    Unavailable,
    /// It was never read, and its caller has looked too often.
    TooMany,
}

impl TxOutcome {
    /// The word in answers.
    #[must_use]
    pub fn word(self) -> String {
        let word = serde_json::to_value(self).ok();
        word.and_then(|word| word.as_str().map(str::to_owned))
            .unwrap_or_default()
    }
}

/// A transaction, explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TxExplanation {
    /// The transaction.
    pub tx_hash: String,
    /// The chain's number.
    pub chain_id: u64,
    /// The chain as CAIP-2.
    pub chain: String,
    /// Its name in the configuration.
    pub chain_name: String,
    /// What it is to this service.
    pub outcome: TxOutcome,
    /// The same in words, with what to do.
    pub detail: String,
    /// The block that a look found it in; none where it is stored, or in no block.
    pub block: Option<SeenBlock>,
    /// Its payments as they are stored.
    pub payments: Vec<ExplainedPayment>,
    /// Of a transaction that was looked at, its logs, the nearest to a payment first, with what holds of each.
    pub logs: Vec<ExaminedView>,
    /// Logs that are left out.
    pub logs_left_out: usize,
    /// The refunds that name it as the operator's transaction.
    pub refunds: Vec<RefundView>,
}

/// A block that an endpoint says a transaction is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SeenBlock {
    /// Its height.
    pub number: u64,
    /// Its hash.
    pub hash: String,
    /// Its own time.
    pub time: String,
    /// `receipts`: its receipts rebuild the root of a header of the chain that is read. `asked`: endpoints say so. `none`: one
    /// endpoint says so, on a chain that proves nothing.
    #[schema(value_type = String)]
    pub level: Level,
    /// Whether it is one of the kept headers of the chain that is read.
    pub on_our_chain: bool,
}

impl SeenBlock {
    pub(super) fn new(mined: &MinedTransaction, level: Level, on_our_chain: bool) -> Self {
        Self {
            number: mined.block.number,
            hash: mined.block.hash.to_string(),
            time: rfc3339(mined.block_time_ms),
            level,
            on_our_chain,
        }
    }
}

/// One thing that must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CheckView {
    /// `transfer`, `token`, `recipient`, `payer`, `value`, `dust`, `proven`, `canonical` or `settled`.
    pub check: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// What is asked.
    pub means: &'static str,
}

impl From<&(Check, bool)> for CheckView {
    fn from((check, holds): &(Check, bool)) -> Self {
        Self {
            check: check.as_str(),
            holds: *holds,
            means: check.question(),
        }
    }
}

/// A log of a transaction that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExaminedView {
    /// Its index in its block.
    pub log_index: u64,
    /// Its index in its transaction.
    pub ordinal: Option<u32>,
    /// The contract that emitted it.
    pub contract: String,
    /// The token's symbol, where it is configured.
    pub symbol: Option<String>,
    /// Who sends, where it is a transfer.
    pub from: Option<String>,
    /// Who receives.
    pub to: Option<String>,
    /// In base units, or the token's id.
    pub base_units: Option<String>,
    /// The amount, where the token is configured.
    pub value: Option<AmountView>,
    /// Each check, and whether it holds.
    pub checks: Vec<CheckView>,
    /// What it is: `payment`, `below_dust`, `zero_value`, `own_transfer`, `wrong_token`, `not_money`, `wrong_recipient` or
    /// `unrelated`.
    pub finding: &'static str,
}

/// A charge that rules named for a payment that has none, or that it may be meant for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CandidateView {
    /// The charge.
    pub charge_id: String,
    /// Whose.
    pub tenant_id: String,
    /// The user who asked for it.
    pub user_id: Option<String>,
    /// How far it is.
    pub state: String,
}

impl From<&Charge> for CandidateView {
    fn from(charge: &Charge) -> Self {
        Self {
            charge_id: charge.terms.id.to_string(),
            tenant_id: charge.terms.tenant.to_string(),
            user_id: charge.terms.user.as_ref().map(ToString::to_string),
            state: charge.state.to_string(),
        }
    }
}

/// A stored payment, with everything that follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedPayment {
    /// The payment.
    #[serde(flatten)]
    pub payment: ReviewView,
    /// What it is to this service.
    pub outcome: TxOutcome,
    /// The same in words.
    pub detail: String,
    /// Blocks that stand on its block, itself included; absent once a reorganisation left it behind.
    pub confirmations: Option<u64>,
    /// Blocks that must stand on it, by the tier of its amount.
    pub confirmations_required: u64,
    /// `safe` or `finalized`, where that tier waits for a tag.
    pub waits_for: Option<&'static str>,
    /// Each check, and whether it holds.
    pub checks: Vec<CheckView>,
    /// The charge that it was given to.
    pub charge: Option<ChargeView>,
    /// The charges that rules named, or that it may be meant for, where it was given to none.
    pub candidates: Vec<CandidateView>,
    /// Who claims it.
    pub claims: Vec<ClaimantView>,
    /// What was sent back of it.
    pub refunds: Vec<RefundView>,
    /// What the charge's tenant has now.
    pub entitlement: Option<EntitlementView>,
    /// What that is folded from.
    pub sources: Vec<SourceView>,
}

impl TxExplanation {
    pub(super) fn of_nothing(
        settings: &Settings,
        chain: Option<ChainId>,
        tx_hash: B256,
        (outcome, detail): (TxOutcome, String),
    ) -> Self {
        let known = chain.and_then(|chain| settings.chain(chain).ok());
        let chain = chain.unwrap_or(ChainId(0));
        Self {
            tx_hash: tx_hash.to_string(),
            chain_id: chain.0,
            chain: chain.caip2(),
            chain_name: known.map_or_else(String::new, |chain| chain.name.clone()),
            outcome,
            detail,
            block: None,
            payments: Vec::new(),
            logs: Vec::new(),
            logs_left_out: 0,
            refunds: Vec::new(),
        }
    }

    /// Of one that is not on the chain that was named, and on another.
    pub(super) fn on_another(named: &config::Chain, tx_hash: B256, found: &Self) -> Self {
        Self {
            tx_hash: tx_hash.to_string(),
            chain_id: named.id.0,
            chain: named.id.caip2(),
            chain_name: named.name.clone(),
            outcome: TxOutcome::OtherChain,
            detail: words::other_chain(named, found),
            block: None,
            payments: Vec::new(),
            logs: Vec::new(),
            logs_left_out: 0,
            refunds: Vec::new(),
        }
    }

    pub(super) fn take_logs(&mut self, chain: &config::Chain, examined: &[(&LogEntry, Examined)]) {
        let shown = examined.iter().take(MAX_LOGS);
        self.logs = shown
            .map(|(log, examined)| ExaminedView::new(chain, log, examined))
            .collect();
        self.logs_left_out = examined.len() - self.logs.len();
    }
}

impl ExaminedView {
    fn new(chain: &config::Chain, log: &LogEntry, examined: &Examined) -> Self {
        let token = chain.known_token(log.address);
        let transfer = examined.transfer.as_ref();
        let coins = transfer.filter(|transfer| transfer.standard == Standard::Erc20);
        let value = token.zip(coins).map(|(token, transfer)| {
            let amount = Amount(transfer.value);
            AmountView::new(amount, token.decimals)
        });
        Self {
            log_index: log.log_index,
            ordinal: log.ordinal,
            contract: log.address.to_checksum(None),
            symbol: token.map(|token| token.symbol.clone()),
            from: transfer.map(|transfer| transfer.from.to_checksum(None)),
            to: transfer.map(|transfer| transfer.to.to_checksum(None)),
            base_units: transfer.map(|transfer| transfer.value.to_string()),
            value,
            checks: examined.checks.iter().map(CheckView::from).collect(),
            finding: match examined.finding {
                Finding::Payment => "payment",
                Finding::BelowDust => "below_dust",
                Finding::ZeroValue => "zero_value",
                Finding::OwnTransfer => "own_transfer",
                Finding::WrongToken => "wrong_token",
                Finding::NotMoney => "not_money",
                Finding::WrongRecipient => "wrong_recipient",
                Finding::Unrelated => "unrelated",
            },
        }
    }
}
