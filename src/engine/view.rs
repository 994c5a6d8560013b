//! How charges, payments and entitlements are shown: one shape for answers, events and the audit.

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::Settings;
use crate::domain::{
    Access, Amount, Charge, ChargeFlag, ChargeState, Entitlement, Grounds, Hindrance, Interval, Level,
    MatchRule, Millis, Payment, PaymentFlag, PaymentState, Product, Provider, Source, SourceState, Token,
    TokenDomain, Totals, WhenActive,
};

/// A time as answers write it, RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn rfc3339(at: Millis) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |at| format!("{at:.3}"))
}

/// An amount of a token, exact, both ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AmountView {
    /// In units, `15.001234`.
    pub amount: String,
    /// In base units, `15001234`.
    pub base_units: String,
    /// The token's decimals.
    pub decimals: u8,
}

impl AmountView {
    pub(super) fn new(amount: Amount, decimals: u8) -> Self {
        Self {
            amount: amount.to_units(decimals),
            base_units: amount.to_string(),
            decimals,
        }
    }
}

/// A token, by its address on its chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenView {
    /// Its contract, checksummed (EIP-55).
    pub address: String,
    /// What people call it.
    pub symbol: String,
    /// Base units are 10^-decimals.
    pub decimals: u8,
}

impl From<&Token> for TokenView {
    fn from(token: &Token) -> Self {
        Self {
            address: token.address.to_checksum(None),
            symbol: token.symbol.clone(),
            decimals: token.decimals,
        }
    }
}

/// A charge and all that a wallet needs to pay it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChargeView {
    /// Its id, unguessable.
    pub id: String,
    /// Who is charged; absent for those who only hold the id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<String>,
    /// The user who asked, where the caller said; likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// `open`, `detected`, `confirming`, `paid`, `expired`, `cancelled`, `reversed` or `closed`.
    #[schema(value_type = String)]
    pub state: ChargeState,
    /// What is remarkable: `underpaid`, `overpaid`, `late`, `duplicate`, `reorged`, `chain_blind`; and of
    /// payments that are credited to nobody and may be meant for it, `wrong_token`, `wrong_chain`, `ambiguous`, `held`;
    /// and while nobody can pay it, `token_paused`, `treasury_blacklisted`.
    #[schema(value_type = Vec<String>)]
    pub flags: Vec<ChargeFlag>,
    /// The plan that is bought.
    pub plan: String,
    /// The period that is bought, `month` or `year`.
    pub interval: &'static str,
    /// The chain's number.
    pub chain_id: u64,
    /// The chain as CAIP-2, `eip155:1`.
    pub chain: String,
    /// The token to pay in.
    pub token: TokenView,
    /// The address to pay to, checksummed (EIP-55).
    pub treasury: String,
    /// The plan's price.
    pub price: AmountView,
    /// Credit that was set aside for it, taken off; below zero, what was owed and is asked for too. In units.
    pub credit: String,
    /// The value of paid time that it replaces, taken off. In units.
    pub unused_time: String,
    /// What is left, before the few base units that make the amount unique.
    pub asked: AmountView,
    /// The choice where a subscription elsewhere was active: `queue` or `stack`.
    #[schema(value_type = Option<String>)]
    pub when_active: Option<WhenActive>,
    /// The amount to pay, exactly: it names this charge.
    pub due: AmountView,
    /// What was seen in proven blocks.
    pub seen: AmountView,
    /// What is confirmed.
    pub confirmed: AmountView,
    /// Of that, what can no longer be undone by a reorganisation.
    #[serde(rename = "final")]
    pub finalized: AmountView,
    /// What is still to pay.
    pub remaining: AmountView,
    /// Confirmations of the newest payment, of `confirmations_required`; absent before there is one.
    pub confirmations: Option<u64>,
    /// Blocks that must stand on a payment's block, itself included, by the tier of the amount due. Where that tier waits
    /// for a tag too, they alone are not enough.
    pub confirmations_required: u64,
    /// The page where it is paid: a URL where `server.public_url` is set, else a path.
    pub pay_url: String,
    /// The payment request as a URI (EIP-681), for what is still to pay.
    pub payment_uri: String,
    /// A nonce that names this charge in an authorization (EIP-3009), whoever pays and whatever amount. Used once: after it
    /// was seen there is another.
    pub reference: String,
    /// Typed data (EIP-712) for `eth_signTypedData_v4`, where the token takes authorizations (EIP-3009): it pays what is still to
    /// pay. `message.from` is left out: the wallet that signs puts its own address there, and anyone may then submit
    /// `transferWithAuthorization`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub authorization: Option<serde_json::Value>,
    /// The same in words.
    pub instructions: String,
    /// When it was made.
    pub created_at: String,
    /// Until when it should be paid.
    pub expires_at: String,
    /// Until when a payment is still recognised.
    pub grace_until: String,
    /// The time of the block that completed it; kept while it is reversed.
    pub paid_at: Option<String>,
    /// Counts its changes.
    pub sequence: i64,
}

impl ChargeView {
    /// `payments` are those allocated to it; `read` is the height up to which the chain is read.
    pub(super) fn new(settings: &Settings, charge: &Charge, payments: &[Payment], read: Option<u64>) -> Self {
        let terms = &charge.terms;
        let chain = settings.chain(terms.chain).ok();
        let token = chain.and_then(|chain| chain.token(terms.token));
        let decimals = token.map_or(0, |token| token.decimals);
        let symbol = token.map_or_else(String::new, |token| token.symbol.clone());
        let Product::Plan { plan, interval } = &terms.product;
        let amount = |amount| AmountView::new(amount, decimals);
        let due = amount(terms.due);
        let to_pay = to_pay(charge);
        let newest = payments
            .iter()
            .rev()
            .find(|payment| payment.state != PaymentState::Orphaned);
        let depth = |payment: &Payment| read.map(|read| (read + 1).saturating_sub(payment.block.number));
        let tier = chain.and_then(|chain| chain.finality.tier_of(terms.due, decimals));
        let token_address = terms.token.to_checksum(None);
        let treasury = terms.treasury.to_checksum(None);
        let chain_name = chain.map_or_else(|| terms.chain.caip2(), |chain| chain.name.clone());
        Self {
            id: terms.id.to_string(),
            tenant_id: Some(terms.tenant.to_string()),
            user_id: terms.user.as_ref().map(ToString::to_string),
            state: charge.state,
            flags: charge.flags.iter().collect(),
            plan: plan.to_string(),
            interval: interval.as_str(),
            chain_id: terms.chain.0,
            chain: terms.chain.caip2(),
            pay_url: format!(
                "{}/pay/{}",
                settings.public_url.as_deref().unwrap_or_default(),
                terms.id
            ),
            payment_uri: format!(
                "ethereum:{token_address}@{}/transfer?address={treasury}&uint256={}",
                terms.chain, to_pay
            ),
            reference: charge.reference.to_string(),
            authorization: None,
            instructions: format!(
                "Send exactly {} {symbol} (token {token_address}) on {chain_name} (chain {}) to {treasury}",
                to_pay.to_units(decimals),
                terms.chain
            ),
            token: TokenView {
                address: token_address,
                symbol,
                decimals,
            },
            treasury,
            remaining: amount(terms.due.saturating_sub(charge.totals.seen)),
            price: amount(terms.price),
            credit: terms.quote.credit.to_units(),
            unused_time: terms.quote.unused.to_units(),
            asked: amount(terms.quote.asked),
            when_active: terms.when_active,
            due,
            seen: amount(charge.totals.seen),
            confirmed: amount(charge.totals.confirmed),
            finalized: amount(charge.totals.finalized),
            confirmations: newest.and_then(depth),
            confirmations_required: tier.map_or(0, |tier| tier.confirmations),
            created_at: rfc3339(terms.created_at),
            expires_at: rfc3339(terms.expires_at),
            grace_until: rfc3339(terms.grace_until),
            paid_at: charge.paid_at.map(rfc3339),
            sequence: charge.sequence,
        }
    }

    /// With the typed data to sign, where the token takes authorizations and there is something left to pay.
    pub(super) fn with_authorization(self, charge: &Charge, domain: Option<&TokenDomain>) -> Self {
        let payable = matches!(
            self.state,
            ChargeState::Open | ChargeState::Detected | ChargeState::Confirming
        ) && charge.totals.seen < charge.terms.due;
        Self {
            authorization: domain
                .filter(|_| payable)
                .map(|domain| typed_data(charge, domain)),
            ..self
        }
    }

    /// With what keeps everybody from paying it, unless it is paid, or will not be any more.
    pub(super) fn hindered_by(mut self, hindrances: &[Hindrance]) -> Self {
        let is_settled = matches!(
            self.state,
            ChargeState::Paid | ChargeState::Cancelled | ChargeState::Closed
        );
        if !is_settled {
            self.flags
                .extend(hindrances.iter().map(|hindrance| hindrance.flag()));
        }
        self
    }

    /// As those may see it who hold the charge's id and nothing else: whose it is stays unsaid.
    #[must_use]
    pub fn without_people(self) -> Self {
        Self {
            tenant_id: None,
            user_id: None,
            ..self
        }
    }
}

/// What is still to pay; all of it where nothing was paid, or enough.
fn to_pay(charge: &Charge) -> Amount {
    let Totals { seen, .. } = charge.totals;
    let rest = charge.terms.due.saturating_sub(seen);
    if rest.is_zero() { charge.terms.due } else { rest }
}

/// The typed data of `transferWithAuthorization` (EIP-3009) over what is still to pay, until the charge expires, as
/// `eth_signTypedData_v4` takes it but for `message.from`.
fn typed_data(charge: &Charge, domain: &TokenDomain) -> serde_json::Value {
    let field = |name: &str, kind: &str| json!({"name": name, "type": kind});
    let terms = &charge.terms;
    json!({
        "types": {
            "EIP712Domain": [
                field("name", "string"),
                field("version", "string"),
                field("chainId", "uint256"),
                field("verifyingContract", "address"),
            ],
            "TransferWithAuthorization": [
                field("from", "address"),
                field("to", "address"),
                field("value", "uint256"),
                field("validAfter", "uint256"),
                field("validBefore", "uint256"),
                field("nonce", "bytes32"),
            ],
        },
        "primaryType": "TransferWithAuthorization",
        "domain": {
            "name": domain.name,
            "version": domain.version,
            "chainId": terms.chain.0,
            "verifyingContract": terms.token.to_checksum(None),
        },
        "message": {
            "to": terms.treasury.to_checksum(None),
            "value": to_pay(charge).to_string(),
            "validAfter": "0",
            "validBefore": terms.expires_at.div_euclid(1000).to_string(),
            "nonce": charge.reference,
        },
    })
}

/// A payment, with where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentView {
    /// The chain's number.
    pub chain_id: u64,
    /// The transaction.
    pub tx_hash: String,
    /// The log's index within its transaction.
    pub ordinal: u32,
    /// `confirming`, `confirmed`, `final` or `orphaned`.
    #[schema(value_type = String)]
    pub state: PaymentState,
    /// The token's contract.
    pub token: String,
    /// Who paid: `Transfer.from`.
    pub from: String,
    /// To whom.
    pub to: String,
    /// In base units.
    pub base_units: String,
    /// The height of its block.
    pub block_number: u64,
    /// The hash of its block.
    pub block_hash: String,
    /// The log's index in that block.
    pub log_index: u64,
    /// How the block was proven.
    #[schema(value_type = String)]
    pub level: Level,
    /// The charge it was given to.
    pub charge_id: Option<String>,
    /// The rule that gave it: `reference`, `exact_amount`, `payer_wallet`, `claim` or `operator`.
    #[schema(value_type = Option<String>)]
    pub rule: Option<MatchRule>,
    /// What that rests on, or why it was given to none: the charges that rules named, and what they went by.
    #[schema(value_type = Object)]
    pub evidence: Grounds,
    /// What is remarkable: `wrong_token`, `wrong_chain`, `ambiguous`, `held`.
    #[schema(value_type = Vec<String>)]
    pub flags: Vec<PaymentFlag>,
}

impl From<&Payment> for PaymentView {
    fn from(payment: &Payment) -> Self {
        Self {
            chain_id: payment.key.chain.0,
            tx_hash: payment.key.tx_hash.to_string(),
            ordinal: payment.key.ordinal,
            state: payment.state,
            token: payment.token.to_checksum(None),
            from: payment.payer.to_checksum(None),
            to: payment.treasury.to_checksum(None),
            base_units: payment.amount.to_string(),
            block_number: payment.block.number,
            block_hash: payment.block.hash.to_string(),
            log_index: payment.log_index,
            level: payment.level,
            charge_id: payment.allocation.as_ref().map(|(charge, _)| charge.to_string()),
            rule: payment.allocation.as_ref().map(|(_, rule)| *rule),
            evidence: payment.grounds.clone(),
            flags: payment.flags.iter().collect(),
        }
    }
}

/// What a tenant has now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EntitlementView {
    /// The plan; null where nothing is paid for and there is no default.
    pub plan: Option<String>,
    /// `full`, `restricted` or `none`.
    #[schema(value_type = String)]
    pub access: Access,
    /// The next instant at which this may change by time alone.
    pub valid_until: Option<String>,
    /// The provider of the source that decided; null for the default plan.
    #[schema(value_type = Option<String>)]
    pub provider: Option<Provider>,
    /// That source's id.
    pub source: Option<String>,
}

impl From<&Entitlement> for EntitlementView {
    fn from(entitlement: &Entitlement) -> Self {
        let decided_by = entitlement.decided_by.as_ref();
        Self {
            plan: entitlement.plan.as_ref().map(ToString::to_string),
            access: entitlement.access,
            valid_until: entitlement.valid_until.map(rfc3339),
            provider: decided_by.map(|(provider, _)| *provider),
            source: decided_by.map(|(_, reference)| reference.clone()),
        }
    }
}

/// One provider's subscription record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    /// Who says so.
    #[schema(value_type = String)]
    pub provider: Provider,
    /// The provider's id.
    pub source: String,
    /// The plan it pays for.
    pub plan: String,
    /// The period it renews by.
    pub interval: Option<&'static str>,
    /// `pending`, `trialing`, `active`, `past_due`, `restricted`, `paused` or `ended`.
    #[schema(value_type = String)]
    pub state: SourceState,
    /// The current period's beginning.
    pub period_start: Option<String>,
    /// The current period's end.
    pub period_end: Option<String>,
    /// When it will end by the payer's wish.
    pub scheduled_end: Option<String>,
    /// The plan that the payer wants when it ends.
    pub next_plan: Option<String>,
    /// By which period.
    pub next_interval: Option<&'static str>,
    /// Until when access goes on that a reversed payment had bought.
    pub access_until: Option<String>,
    /// Something a person should look at.
    pub attention: Option<String>,
}

impl From<&Source> for SourceView {
    fn from(source: &Source) -> Self {
        Self {
            provider: source.provider,
            source: source.provider_ref.clone(),
            plan: source.plan.to_string(),
            interval: source.interval.map(Interval::as_str),
            state: source.state,
            period_start: source.period_start.map(rfc3339),
            period_end: source.period_end.map(rfc3339),
            scheduled_end: source.scheduled_end.map(rfc3339),
            next_plan: source.next.as_ref().map(|(plan, _)| plan.to_string()),
            next_interval: source.next.as_ref().map(|(_, interval)| interval.as_str()),
            access_until: source.access_until.map(rfc3339),
            attention: source.attention.clone(),
        }
    }
}
