//! Charges: made, cancelled, expired. Price, token, chain and treasury come from the server alone.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;

use super::accounts::refold_account;
use super::idempotency::{self, Idempotency, Idempotent};
use super::quotes::{Offer, Wanted, Wish};
use super::view::ChargeView;
use super::work::{Command, Origin, Work};
use super::{EngineError, bounds, parse_own, random_id, references, settle};
use crate::billing::Catalogue;
use crate::domain::{
    Amount, ChainId, Charge, ChargeId, ChargeState, ChargeTerms, Flags, Interval, Millis, Product, TenantId,
    Token, Totals, UserId, WhenActive,
};
use crate::ledger::{self, SuffixPool};
use crate::store;

/// Random amounts that are tried before a charge is refused.
const AMOUNT_TRIES: u32 = 32;

/// A charge matches payments from this much before it was made: a block's clock may be behind ours.
pub(super) const CLOCK_SKEW_MS: i64 = 60_000;

/// After its grace an amount rests this much longer, so that a payment that settles late cannot meet the next charge.
const REST_MS: i64 = 60 * 60 * 1000;

/// Charges that expire in one transaction.
const MAX_EXPIRED: i64 = 100;

/// Asks a tenant to pay for a plan. Asked again while one waits for money, it answers with that one.
#[derive(Debug, Clone)]
pub struct CreateCharge {
    /// Who asks, for the audit.
    pub origin: Origin,
    /// Who is charged.
    pub tenant: TenantId,
    /// The user who asked.
    pub user: Option<UserId>,
    /// The plan, by id or alias.
    pub plan: String,
    /// The period.
    pub interval: Interval,
    /// The chain; may be left out where only one sells.
    pub chain: Option<ChainId>,
    /// The token by symbol or address; may be left out where the chain accepts only one.
    pub token: Option<String>,
    /// What it does while a subscription elsewhere is active; must be chosen then.
    pub when_active: Option<WhenActive>,
    /// The request's idempotency key.
    pub idempotency: Option<Idempotency>,
}

impl Command for CreateCharge {
    type Output = Idempotent;

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<Idempotent, EngineError> {
        if let Some(known) = idempotency::recall(work, self.idempotency.as_ref()).await? {
            return Ok(known);
        }
        if !work.settings.payments.enabled {
            return Err(EngineError::Conflict {
                code: "CRYPTO_PAYMENTS_DISABLED",
                problem: "on-chain payments are switched off (payments.enabled)".to_owned(),
            });
        }
        let wanted = self.wish().find(work.engine, work.settings)?;
        work.engine.check_payable(wanted.token)?;
        let product = Product::Plan {
            plan: wanted.plan.clone(),
            interval: wanted.interval,
        };
        let place = (wanted.chain.id, wanted.token.address);
        let open = store::open_charge_for(
            work.tx.conn(),
            &self.tenant,
            self.user.as_ref(),
            &product,
            place,
            work.now,
        );
        let charge = match open.await? {
            Some(charge) => self.same_choice(charge)?,
            None => self.create(work, &wanted, product).await?,
        };
        let view = ChargeView::new(work.settings, &charge, &[], None);
        let domain = references::domain_of(work.tx.conn(), &charge).await?;
        let answer = json!(view.with_authorization(&charge, domain.as_ref()));
        idempotency::remember(work, self.idempotency.as_ref(), answer).await
    }
}

impl CreateCharge {
    fn wish(&self) -> Wish {
        Wish {
            plan: self.plan.clone(),
            interval: self.interval,
            chain: self.chain,
            token: self.token.clone(),
            when_active: self.when_active,
        }
    }

    /// A charge that waits for money stands for the request, unless that now says otherwise what it is to do.
    fn same_choice(&self, charge: Charge) -> Result<Charge, EngineError> {
        match self.when_active {
            Some(chosen) if charge.terms.when_active != Some(chosen) => Err(EngineError::Conflict {
                code: "CHARGE_OPEN",
                problem: format!(
                    "the charge {} waits for money, and was made without that whenActive: cancel it first",
                    charge.terms.id
                ),
            }),
            _ => Ok(charge),
        }
    }

    async fn create(
        &self,
        work: &mut Work<'_>,
        wanted: &Wanted<'_>,
        product: Product,
    ) -> Result<Charge, EngineError> {
        bounds::room_for_charge(work, &self.tenant).await?;
        let (chain, token) = (wanted.chain, wanted.token);
        let treasury = chain
            .treasury
            .ok_or_else(|| EngineError::unknown_chain(chain.id))?;
        let offer = wanted.offer(work.settings, work.tx.conn(), &self.tenant, work.now);
        let Offer {
            quote, queued_behind, ..
        } = offer.await?;
        let payments = &work.settings.payments;
        let expires_at = work.now.saturating_add(millis(payments.charge_ttl));
        let mut terms = ChargeTerms {
            id: parse_own(&random_id("chg_")?)?,
            tenant: self.tenant.clone(),
            user: self.user.clone(),
            product,
            chain: chain.id,
            token: token.address,
            treasury,
            price: wanted.price,
            due: quote.asked,
            quote,
            when_active: self.when_active,
            queued_behind,
            created_at: work.now,
            expires_at,
            grace_until: expires_at.saturating_add(millis(payments.charge_grace)),
        };
        if !terms.due.is_zero() {
            lease_amount(work, &mut terms, ledger::suffixes(token)).await?;
        }
        let reference = references::offer(work, &terms).await?;
        let charge = Charge {
            terms,
            state: ChargeState::Open,
            flags: Flags::default(),
            totals: Totals::default(),
            cancelled_at: None,
            paid_at: None,
            reversed_at: None,
            closed_at: None,
            reference,
            sequence: 1,
        };
        work.tx.insert_charge(&charge).await?;
        let resource = format!("charge:{}", charge.terms.id);
        let view = json!(ChargeView::new(work.settings, &charge, &[], None));
        work.audit("charge.create", resource.clone(), (None, Some(view.clone())))
            .await?;
        work.owe("charge.created", resource, json!({"charge": view}))
            .await?;
        if charge.terms.due.is_zero() {
            settle_one(work, &charge).await?;
        } else if !charge.terms.quote.credit.is_zero() {
            refold_account(work, &self.tenant).await?;
        }
        let charge = store::charge(work.tx.conn(), &charge.terms.id).await?;
        charge.ok_or(EngineError::NotFound("charge"))
    }
}

/// What a product costs now, in base units of a token; none where it is not sold so.
pub(super) fn price(catalogue: &Catalogue, product: &Product, token: &Token) -> Option<Amount> {
    let Product::Plan { plan, interval } = product;
    let units = catalogue.crypto_price(plan.as_str(), *interval, token)?;
    Amount::from_units(units, token.decimals).ok()
}

fn millis(duration: Duration) -> Millis {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Now, and up to when the charge's chain is known: money for the charge that has an amount now may stand in blocks that are
/// not read yet.
async fn seen_up_to(work: &mut Work<'_>, terms: &ChargeTerms) -> Result<(Millis, Millis), EngineError> {
    let row = store::chain_row(work.tx.conn(), terms.chain).await?;
    Ok((work.now, row.map_or(0, |row| row.heights.absent_ms)))
}

/// From when a lease matches payments, and when its amount is free again.
const fn lease_times(terms: &ChargeTerms) -> (Millis, Millis) {
    (
        terms.created_at - CLOCK_SKEW_MS,
        terms.grace_until.saturating_add(REST_MS),
    )
}

/// Makes the amount due one that no other charge may be asked for.
async fn lease_amount(
    work: &mut Work<'_>,
    terms: &mut ChargeTerms,
    pool: SuffixPool,
) -> Result<(), EngineError> {
    let place = (terms.chain, terms.token, terms.treasury);
    let seen = seen_up_to(work, terms).await?;
    let kept_ms = lease_times(terms).1.saturating_sub(terms.created_at);
    bounds::room_for_amount(work, terms, (pool, kept_ms)).await?;
    let taken = store::pool_usage(work.tx.conn(), place, terms.quote.asked, seen).await?;
    let taken = u64::try_from(taken).unwrap_or(u64::MAX);
    // Nine tenths: beyond that a random pick fails too often, and an attacker could name the few that are left.
    if taken.saturating_mul(10) >= pool.count.saturating_mul(9) {
        return Err(EngineError::Conflict {
            code: "AMOUNTS_EXHAUSTED",
            problem: "too many open charges for this price; try again when some have closed".to_owned(),
        });
    }
    let times = lease_times(terms);
    for _ in 0..AMOUNT_TRIES {
        let mut bytes = [0_u8; 8];
        getrandom::fill(&mut bytes).map_err(|_| EngineError::NoRandomness)?;
        let suffix = 1 + u64::from_be_bytes(bytes) % pool.count;
        terms.due = terms
            .quote
            .asked
            .saturating_add(Amount::from(suffix.saturating_mul(pool.step)));
        if work.tx.lease_amount(terms, times, seen).await? {
            return Ok(());
        }
    }
    Err(EngineError::Conflict {
        code: "AMOUNTS_EXHAUSTED",
        problem: "no unique amount was free; try again".to_owned(),
    })
}

/// Leases what is left of a partly paid charge beside what it asked for, so that whoever pays just that pays for it: where
/// it carries an addition still, and no other charge has it.
pub(super) async fn lease_rest(
    work: &mut Work<'_>,
    charge: &Charge,
    token: &Token,
) -> Result<(), EngineError> {
    let rest = charge.terms.due.saturating_sub(charge.totals.seen);
    if !ledger::carries_suffix(rest, ledger::suffixes(token)) {
        return Ok(());
    }
    let mut terms = charge.terms.clone();
    terms.due = rest;
    let seen = seen_up_to(work, &terms).await?;
    let times = lease_times(&terms);
    work.tx.lease_amount(&terms, times, seen).await?;
    Ok(())
}

/// Cancels a tenant's charge. It is still watched until its grace ends.
#[derive(Debug, Clone)]
pub struct CancelCharge {
    /// Who asks, for the audit.
    pub origin: Origin,
    /// Whose it must be.
    pub tenant: TenantId,
    /// The charge.
    pub id: ChargeId,
}

impl Command for CancelCharge {
    type Output = ChargeView;

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<ChargeView, EngineError> {
        let charge = store::charge(work.tx.conn(), &self.id).await?;
        let charge = charge.filter(|charge| charge.terms.tenant == self.tenant);
        let mut charge = charge.ok_or(EngineError::NotFound("charge"))?;
        let cancellable = matches!(
            charge.state,
            ChargeState::Open | ChargeState::Expired | ChargeState::Cancelled
        );
        if !cancellable {
            return Err(EngineError::Conflict {
                code: "CHARGE_NOT_OPEN",
                problem: format!("a charge that is {} cannot be cancelled", charge.state),
            });
        }
        if charge.cancelled_at.is_none() {
            charge.cancelled_at = Some(work.now);
            work.tx.update_charge(&charge).await?;
            settle_one(work, &charge).await?;
        }
        let charge = store::charge(work.tx.conn(), &self.id)
            .await?
            .ok_or(EngineError::NotFound("charge"))?;
        Ok(ChargeView::new(work.settings, &charge, &[], None))
    }
}

/// Lets charges expire and close whose time has come, as far as their chains are settled past it.
#[derive(Debug, Clone, Copy)]
pub struct ExpireCharges;

impl Command for ExpireCharges {
    /// How many were looked at.
    type Output = usize;

    fn origin(&self) -> Origin {
        Origin {
            actor: "clock".to_owned(),
            cause: "a deadline passed".to_owned(),
        }
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<usize, EngineError> {
        let now = work.now;
        let due = store::charge_ids_due(work.tx.conn(), now, MAX_EXPIRED).await?;
        for id in &due {
            if let Some(charge) = store::charge(work.tx.conn(), id).await? {
                settle_one(work, &charge).await?;
            }
        }
        Ok(due.len())
    }
}

/// Folds one charge anew.
async fn settle_one(work: &mut Work<'_>, charge: &Charge) -> Result<(), EngineError> {
    let touched = BTreeSet::from([charge.terms.id.clone()]);
    settle::settle_charges(work, &touched, None).await
}
