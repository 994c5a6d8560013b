//! Explanations in words: one text for the answer of the API and for the command line.

use std::fmt;

use super::super::found::RefundView;
use super::Relation;
use super::view::{ExaminedView, ExplainedPayment, TxExplanation, TxOutcome};
use crate::config;
use crate::domain::{
    Charge, LookError, MatchRule, MinedTransaction, Payment, PaymentFlag, RefundState, Tier,
};
use crate::ledger::{AcceptedMoney, Examined, Finding};

type Told = (TxOutcome, String);

pub(super) fn nothing() -> Told {
    (TxOutcome::Unknown, "nothing is known of it".to_owned())
}

pub(super) fn unknown(chains: &[String]) -> String {
    let chains = chains.join(", ");
    format!("no endpoint knows this transaction; asked were those of {chains}")
}

pub(super) fn unseen(error: LookError) -> Told {
    let outcome = match error {
        LookError::TooMany => TxOutcome::TooMany,
        LookError::UnknownChain | LookError::Unavailable | LookError::Busy => TxOutcome::Unavailable,
    };
    let detail = format!("it was never read, and cannot be looked at now: {error}; try again");
    (outcome, detail)
}

pub(super) fn pending() -> Told {
    let detail = "the endpoints know this transaction, and it is in no block yet";
    (TxOutcome::Pending, detail.to_owned())
}

pub(super) fn reverted() -> Told {
    let detail = "the transaction was reverted: it moved nothing";
    (TxOutcome::Reverted, detail.to_owned())
}

pub(super) fn no_transfer() -> Told {
    let detail = "the transaction emitted no log: it moved no token. A plain transfer of the chain's own coin leaves no log";
    (TxOutcome::NoTransfer, detail.to_owned())
}

pub(super) fn other_branch() -> Told {
    let detail = "an endpoint says that it is in a block which is not of the chain that is read: a reorganisation, or an \
                  endpoint that is wrong. Nothing follows from it";
    (TxOutcome::OtherBranch, detail.to_owned())
}

pub(super) fn no_treasury(chain: &config::Chain) -> Told {
    let detail = format!("no payments are taken on {}: it has no treasury", chain.name);
    (TxOutcome::NoTreasury, detail)
}

pub(super) fn other_chain(named: &config::Chain, found: &TxExplanation) -> String {
    format!(
        "no endpoint of {} knows this transaction; it is on {} ({}): ask for it there",
        named.name, found.chain_name, found.chain
    )
}

pub(super) fn orphaned(now: &str) -> String {
    format!("a reorganisation left the block of this payment behind, and it counts for nothing; now: {now}")
}

pub(super) fn refund(refund: &RefundView, now: &str) -> String {
    let payment = &refund.payment_id;
    match (refund.state, &refund.problem) {
        (RefundState::Confirmed, _) => format!("it sent back the payment {payment}"),
        (state, problem) => {
            let problem = problem.as_deref().unwrap_or(now);
            let state = state.as_str();
            format!("an operator recorded that it sends back the payment {payment}: {state}, {problem}")
        }
    }
}

/// Of a payment that is not stored.
pub(super) fn unstored(relation: Relation, mined: &MinedTransaction, chain: &config::Chain) -> Told {
    let (number, name) = (mined.block.number, &chain.name);
    match relation {
        Relation::Unread => {
            let detail = format!("it is a payment in block {number}; {name} is not read so far yet");
            (TxOutcome::NotRead, detail)
        }
        Relation::BeforeStart => {
            let detail = format!(
                "it is a payment in block {number}, below the first block that is read of {name} (start_block)"
            );
            (TxOutcome::BeforeStart, detail)
        }
        Relation::Ours | Relation::Old | Relation::OtherBranch => {
            let detail = format!(
                "it is a payment in block {number}, which was read, and it is not stored: the treasury or the token may \
                 have been configured since. `tollgate rescan --chain {name} --from {number} --to {number} --repair` reads \
                 it again"
            );
            (TxOutcome::Missed, detail)
        }
    }
}

/// Why none of its logs is a payment, by the one that is nearest to being one.
pub(super) fn finding(nearest: &Examined, money: &AcceptedMoney) -> Told {
    let Some(transfer) = &nearest.transfer else {
        let detail = "none of its logs is a transfer of a token";
        return (TxOutcome::NoTransfer, detail.to_owned());
    };
    let (treasury, contract, value) = (money.treasury, transfer.contract, transfer.value);
    match nearest.finding {
        Finding::BelowDust => {
            let dust = money.token(contract).map(|token| token.dust).unwrap_or_default();
            let detail = format!(
                "it pays {value} base units, and less than {dust} of this token is no payment (dust)"
            );
            (TxOutcome::BelowDust, detail)
        }
        Finding::ZeroValue => {
            let detail = "it transfers nothing at all: anyone can make such a transfer in anyone's name";
            (TxOutcome::ZeroValue, detail.to_owned())
        }
        Finding::OwnTransfer => {
            let from = transfer.from;
            let detail = format!(
                "it is from {from}, which is a treasury of ours: what one pays another is no payment"
            );
            (TxOutcome::OwnTransfer, detail)
        }
        Finding::WrongToken => {
            let detail = format!(
                "it pays the treasury in the token {contract}, which is none of ours on this chain, whatever its symbol"
            );
            (TxOutcome::WrongToken, detail)
        }
        Finding::NotMoney => {
            let detail = format!(
                "it sends the treasury a token with an id (ERC-721) of {contract}, which is no money"
            );
            (TxOutcome::NotMoney, detail)
        }
        Finding::WrongRecipient => {
            let to = transfer.to;
            let detail = format!("it pays {to}, and this chain's treasury is {treasury}");
            (TxOutcome::WrongRecipient, detail)
        }
        Finding::Unrelated | Finding::Payment => {
            let detail = format!("none of its transfers is to the treasury {treasury} or of a token of ours");
            (TxOutcome::NoTransfer, detail)
        }
    }
}

/// What the words of a stored payment are made of.
pub(super) struct Stored<'a> {
    pub(super) payment: &'a Payment,
    pub(super) charge: Option<&'a Charge>,
    pub(super) confirmations: u64,
    pub(super) tier: Option<&'a Tier>,
    /// Why nothing new counts on its chain.
    pub(super) held: Option<&'a str>,
}

impl Stored<'_> {
    pub(super) fn explain(&self, outcome: TxOutcome) -> String {
        match outcome {
            TxOutcome::Counted => self.given("it counts, and pays"),
            TxOutcome::Confirming => self.confirming(),
            TxOutcome::Ignored => "an operator ignored it; it can still be assigned".to_owned(),
            TxOutcome::Refunded => "an operator recorded that it was sent back; see its refunds".to_owned(),
            TxOutcome::Unproven => {
                "the blocks of its chain prove nothing: it is shown, and never credited by itself".to_owned()
            }
            TxOutcome::Orphaned => {
                "a reorganisation left its block behind: it counts for nothing unless it comes back"
                    .to_owned()
            }
            _ => self.unmatched(),
        }
    }

    fn given(&self, verb: &str) -> String {
        match (&self.payment.allocation, self.charge) {
            (Some((id, rule)), Some(charge)) => format!(
                "{verb} charge {id} ({}) of tenant {} by the rule {}: {}",
                charge.state,
                charge.terms.tenant,
                rule.as_str(),
                because(*rule)
            ),
            (Some((id, rule)), None) => format!("{verb} charge {id} by the rule {}", rule.as_str()),
            (None, _) => "no charge has it".to_owned(),
        }
    }

    fn confirming(&self) -> String {
        let wanted = self.tier.map_or_else(String::new, |tier| {
            let tag = tier
                .tag
                .map_or_else(String::new, |tag| format!(" and the tag {}", tag.as_str()));
            format!("; its tier {:?} asks for {}{tag}", tier.name, tier.confirmations)
        });
        let held = self.held.map_or_else(String::new, |held| {
            format!("; nothing counts on its chain now: {held}")
        });
        let given = if self.payment.allocation.is_some() {
            self.given("it will pay")
        } else {
            self.unmatched()
        };
        let confirmations = self.confirmations;
        format!("it is in a proven block with {confirmations} confirmations{wanted}{held}; {given}")
    }

    fn unmatched(&self) -> String {
        let flags = &self.payment.flags;
        let why = if flags.has(PaymentFlag::WrongToken) {
            "its token is known and not accepted, or not the one that the charge asks for"
        } else if flags.has(PaymentFlag::WrongChain) {
            "the charge that it may be meant for is to be paid on another chain"
        } else if flags.has(PaymentFlag::Ambiguous) {
            "rules name different charges for it, and nothing is guessed"
        } else if flags.has(PaymentFlag::Held) {
            "it is late for its charge, whose price has changed since"
        } else {
            "no rule gives it to exactly one charge: no reference, no amount that a charge leased, no proven wallet with one \
             open charge, no claim"
        };
        format!("no charge has it: {why}. It waits for an operator")
    }
}

const fn because(rule: MatchRule) -> &'static str {
    match rule {
        MatchRule::Reference => "it was made with an authorization whose nonce is a reference of that charge",
        MatchRule::ExactAmount => "its amount was leased to that charge alone at the time of its block",
        MatchRule::PayerWallet => "its payer's wallet is proven by one user, with that one open charge",
        MatchRule::Claim => "the charge's user claimed it, and has proven the payer's wallet",
        MatchRule::Operator => "an operator decided so",
    }
}

/// For people: a line each, what was found first.
impl fmt::Display for TxExplanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} on {} ({})", self.tx_hash, self.chain_name, self.chain)?;
        writeln!(f, "{}: {}", self.outcome.word(), self.detail)?;
        if let Some(block) = &self.block {
            let whose = if block.on_our_chain {
                "of the chain that is read"
            } else {
                "as an endpoint says"
            };
            let level = block.level.as_str();
            writeln!(
                f,
                "block {} {}, {}, {whose}, level {level}",
                block.number, block.hash, block.time
            )?;
        }
        for payment in &self.payments {
            payment.fmt(f)?;
        }
        for log in &self.logs {
            log.fmt(f)?;
        }
        if self.logs_left_out > 0 {
            writeln!(f, "and {} more logs", self.logs_left_out)?;
        }
        for refund in &self.refunds {
            write_refund(f, "it is recorded as refund", refund)?;
        }
        Ok(())
    }
}

fn write_refund(f: &mut fmt::Formatter<'_>, what: &str, refund: &RefundView) -> fmt::Result {
    let state = refund.state.as_str();
    let problem = refund.problem.as_deref().unwrap_or_default();
    writeln!(
        f,
        "  {what} {} of {} base units of payment {} by {}: {state} {problem}",
        refund.id, refund.base_units, refund.payment_id, refund.tx_hash
    )
}

impl fmt::Display for ExplainedPayment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.payment.payment;
        writeln!(f, "payment {}", self.payment.id)?;
        writeln!(f, "  {}: {}", self.outcome.word(), self.detail)?;
        let amount = match (&self.payment.value, &self.payment.symbol) {
            (Some(value), Some(symbol)) => format!("{} {symbol}", value.amount),
            _ => format!("{} base units of {}", shown.base_units, shown.token),
        };
        writeln!(f, "  {amount} from {} to {}", shown.from, shown.to)?;
        writeln!(
            f,
            "  log {} of block {} {}, {}",
            shown.log_index, shown.block_number, shown.block_hash, self.payment.block_time
        )?;
        for check in &self.checks {
            let holds = if check.holds { "holds" } else { "FAILS" };
            writeln!(f, "  {holds} {}: {}", check.check, check.means)?;
        }
        let evidence = serde_json::to_string(&shown.evidence).unwrap_or_default();
        writeln!(f, "  evidence {evidence}")?;
        if let Some(charge) = &self.charge {
            writeln!(
                f,
                "  charge {}: {}, {} of {} confirmed, plan {} for a {}",
                charge.id,
                charge.state,
                charge.confirmed.amount,
                charge.due.amount,
                charge.plan,
                charge.interval
            )?;
        }
        if let Some(entitlement) = &self.entitlement {
            let plan = entitlement.plan.as_deref().unwrap_or("none");
            let until = entitlement.valid_until.as_deref().unwrap_or("no end");
            writeln!(
                f,
                "  entitlement: plan {plan}, access {:?}, until {until}",
                entitlement.access
            )?;
        }
        for charge in &self.candidates {
            let (id, tenant, state) = (&charge.charge_id, &charge.tenant_id, &charge.state);
            writeln!(f, "  may be meant for charge {id} ({state}) of tenant {tenant}")?;
        }
        for claim in &self.claims {
            let proven = if claim.proven { "has" } else { "has not" };
            let (tenant, user) = (&claim.tenant_id, &claim.user_id);
            writeln!(
                f,
                "  claimed by {tenant}/{user}, who {proven} proven the payer's wallet"
            )?;
        }
        for refund in &self.refunds {
            write_refund(f, "refund", refund)?;
        }
        Ok(())
    }
}

impl fmt::Display for ExaminedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "log {} of {}: {}", self.log_index, self.contract, self.finding)?;
        if let (Some(from), Some(to), Some(units)) = (&self.from, &self.to, &self.base_units) {
            writeln!(f, "  {units} from {from} to {to}")?;
        }
        for check in &self.checks {
            let holds = if check.holds { "holds" } else { "FAILS" };
            writeln!(f, "  {holds} {}: {}", check.check, check.means)?;
        }
        Ok(())
    }
}
