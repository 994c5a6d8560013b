//! Claims: a user says that a transaction is theirs. It counts where they have proven the wallet that paid, and the charge is
//! theirs; else it waits, for the transaction, a proof, or an operator.
//!
//! Whoever claims what is another's is answered as if nothing were known of it.

use std::collections::BTreeSet;

use alloy::primitives::B256;
use serde::Serialize;
use sqlx::AnyConnection;
use utoipa::ToSchema;

use super::charges::CLOCK_SKEW_MS;
use super::payments::{evidence, subject};
use super::view::rfc3339;
use super::work::{Command, Origin, Work};
use super::{EngineError, matching, settle};
use crate::domain::{
    Charge, ChargeId, Claim, Decider, MatchRule, Millis, Payment, PaymentFlag, PaymentState, TenantId,
    UserId, WalletOwner,
};
use crate::store::{self, FoundPayment, OpenCharge, PaymentFilter};

/// Claims of one tenant that may wait at once.
const MAX_WAITING: i64 = 100;

/// Claims of one transaction that may wait at once, of all tenants and of one. Who has proven the wallet need not wait.
const MAX_CLAIMANTS: usize = 40;
const MAX_CLAIMANTS_OF_TENANT: usize = 10;

/// A claim waits this long for its transaction, a proof, or an operator.
const CLAIM_LIFETIME_MS: Millis = 30 * 24 * 60 * 60 * 1000;

/// Charges of a user that are looked at: two are too many.
const MAX_OPEN: i64 = 8;

/// Payments of one transaction that are looked at.
const MAX_PAYMENTS: i64 = 100;

/// Says that a transaction is the user's. Said again, it is judged again.
#[derive(Debug, Clone)]
pub struct ClaimPayment {
    /// Who asks, for the audit.
    pub origin: Origin,
    /// The user's tenant.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// The transaction.
    pub tx_hash: B256,
    /// The charge that it pays; none: the only one that it can.
    pub charge: Option<ChargeId>,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClaimView {
    /// The transaction.
    pub tx_hash: String,
    /// `applied`: it paid for the charge. `waiting`: nothing shows yet that it is the user's: it may not be on the chain, its
    /// wallet may not be proven, or it may be somebody else's, which is not told.
    pub state: &'static str,
    /// The charge.
    pub charge_id: Option<String>,
    /// The payments that were given to it.
    pub payment_ids: Vec<String>,
    /// When it was claimed.
    pub claimed_at: String,
}

impl Command for ClaimPayment {
    type Output = ClaimView;

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<ClaimView, EngineError> {
        let charge = self.own_charge(work).await?;
        let known = store::claims_of(work.tx.conn(), self.tx_hash).await?;
        let since = work.now.saturating_sub(CLAIM_LIFETIME_MS);
        let is_crowded = is_crowded(&known, &self.tenant, since);
        let mine = known
            .into_iter()
            .find(|claim| claim.tenant == self.tenant && claim.user == self.user);
        let payments = payments_of(work.tx.conn(), self.tx_hash).await?;
        self.check_replay(work, mine.as_ref(), &payments).await?;
        if mine.is_none() {
            let waiting = store::waiting_claims(work.tx.conn(), &self.tenant, since).await?;
            if waiting >= MAX_WAITING {
                return Err(EngineError::Conflict {
                    code: "TOO_MANY_CLAIMS",
                    problem: format!("{MAX_WAITING} claims of this tenant are waiting already"),
                });
            }
        }
        let named = charge.map(|charge| (charge.terms.chain, charge.terms.id));
        let mut claim = Claim {
            tx_hash: self.tx_hash,
            tenant: self.tenant.clone(),
            user: self.user.clone(),
            charge: named.or_else(|| mine.as_ref().and_then(|mine| mine.charge.clone())),
            claimed_at: mine.as_ref().map_or(work.now, |mine| mine.claimed_at),
            applied_at: mine.as_ref().and_then(|mine| mine.applied_at),
        };
        let applied = self.apply(work, &mut claim, payments).await?;
        if is_crowded && mine.is_none() && applied.is_empty() {
            return Err(EngineError::Conflict {
                code: "TOO_MANY_CLAIMS",
                problem: "too many claims of this transaction are waiting; prove the wallet that paid first"
                    .to_owned(),
            });
        }
        work.tx.put_claim(&claim, since).await?;
        if mine.as_ref() != Some(&claim) {
            let after = serde_json::json!({
                "tenantId": claim.tenant,
                "userId": claim.user,
                "chargeId": claim.charge.as_ref().map(|(_, charge)| charge),
                "applied": !applied.is_empty(),
            });
            let subject = format!("tx:{}", self.tx_hash);
            work.audit("payment.claim", subject, (None, Some(after))).await?;
        }
        Ok(view(&claim, &applied))
    }
}

/// Whether no more may wait for a transaction.
fn is_crowded(known: &[Claim], tenant: &TenantId, since: Millis) -> bool {
    let waits = |claim: &&Claim| claim.applied_at.is_none() && claim.claimed_at > since;
    let waiting = || known.iter().filter(waits);
    let of_tenant = waiting().filter(|claim| claim.tenant == *tenant).count();
    waiting().count() >= MAX_CLAIMANTS || of_tenant >= MAX_CLAIMANTS_OF_TENANT
}

impl ClaimPayment {
    async fn own_charge(&self, work: &mut Work<'_>) -> Result<Option<Charge>, EngineError> {
        let Some(id) = &self.charge else {
            return Ok(None);
        };
        let charge = store::charge(work.tx.conn(), id).await?;
        let is_own = |charge: &Charge| is_theirs(charge, &self.tenant, &self.user);
        let charge = charge.filter(is_own).ok_or(EngineError::NotFound("charge"))?;
        Ok(Some(charge))
    }

    /// One hash pays for one charge. Only what is the user's own is looked at, so that a refusal tells nothing of others.
    async fn check_replay(
        &self,
        work: &mut Work<'_>,
        mine: Option<&Claim>,
        payments: &[FoundPayment],
    ) -> Result<(), EngineError> {
        let Some(charge) = &self.charge else {
            return Ok(());
        };
        let given = payments
            .iter()
            .filter_map(|found| found.payment.allocation.as_ref());
        let given: Vec<ChargeId> = given.map(|(charge, _)| charge.clone()).collect();
        let given = store::charges(work.tx.conn(), &given).await?.into_iter();
        let own = given.filter(|charge| is_theirs(charge, &self.tenant, &self.user));
        let claimed = mine.and_then(|mine| mine.charge.as_ref().map(|(_, charge)| charge.clone()));
        let mut paid = own.map(|charge| charge.terms.id).chain(claimed);
        // The other charge is not named: its id is a capability.
        if paid.any(|other| other != *charge) {
            return Err(EngineError::Conflict {
                code: "TRANSACTION_CLAIMED",
                problem: "this transaction pays for another charge, and for one only".to_owned(),
            });
        }
        Ok(())
    }

    /// Gives what is provably the user's to their charge. Returns the payments of this transaction that it has.
    async fn apply(
        &self,
        work: &mut Work<'_>,
        claim: &mut Claim,
        payments: Vec<FoundPayment>,
    ) -> Result<Vec<Payment>, EngineError> {
        let mut applied = Vec::new();
        for FoundPayment {
            payment,
            disposition,
            tenant,
        } in payments
        {
            if let Some((charge, _)) = &payment.allocation {
                let is_claimed = claim.charge.as_ref().is_none_or(|(_, named)| named == charge);
                if tenant.as_ref() == Some(&self.tenant) && is_claimed {
                    let own = store::charge(work.tx.conn(), charge).await?;
                    if let Some(own) = own.filter(|own| is_theirs(own, &self.tenant, &self.user)) {
                        claim.charge = Some((own.terms.chain, own.terms.id));
                        applied.push(payment);
                    }
                }
                continue;
            }
            if payment.state == PaymentState::Orphaned || disposition.is_some() {
                continue;
            }
            let Some(charge) = provable(work.tx.conn(), &payment, claim).await? else {
                continue;
            };
            if matching::is_held(work.terms(), &charge, payment.block_time_ms)? {
                hold(work, payment, &charge).await?;
                continue;
            }
            let decider = Decider {
                actor: format!("user:{}/{}", self.tenant, self.user),
                note: None,
            };
            let given = (&charge.terms.id, MatchRule::Claim);
            let (payment, touched) = settle::allocate_to(work, &payment, given, decider).await?;
            claim.charge = Some((charge.terms.chain, charge.terms.id.clone()));
            let shown = evidence(&payment);
            let subject = subject(&payment.key);
            work.audit("payment.claimed", subject.clone(), (None, Some(shown.clone())))
                .await?;
            work.owe("payment.assigned", format!("payment:{subject}"), shown)
                .await?;
            settle::settle_charges(work, &touched, None).await?;
            applied.push(payment);
        }
        if !applied.is_empty() {
            claim.applied_at = claim.applied_at.or(Some(work.now));
        }
        Ok(applied)
    }
}

/// Leaves a payment that is late for a changed price to a person, with the charge that it was claimed for.
async fn hold(work: &mut Work<'_>, mut payment: Payment, charge: &Charge) -> Result<(), EngineError> {
    let id = &charge.terms.id;
    payment.flags.set(PaymentFlag::Held, true);
    let named = payment.grounds.named.entry(MatchRule::Claim).or_default();
    if !named.contains(id) {
        named.push(id.clone());
    }
    work.tx.put_payment(&payment).await?;
    let concerns = payment.concerns();
    let candidates: Vec<ChargeId> = concerns.iter().cloned().collect();
    work.tx.put_candidates(&payment.key, &candidates).await?;
    settle::settle_charges(work, &concerns, None).await
}

fn view(claim: &Claim, applied: &[Payment]) -> ClaimView {
    ClaimView {
        tx_hash: claim.tx_hash.to_string(),
        state: if applied.is_empty() { "waiting" } else { "applied" },
        charge_id: claim.charge.as_ref().map(|(_, charge)| charge.to_string()),
        payment_ids: applied.iter().map(|payment| payment.key.to_string()).collect(),
        claimed_at: rfc3339(claim.claimed_at),
    }
}

fn is_theirs(charge: &Charge, tenant: &TenantId, user: &UserId) -> bool {
    let terms = &charge.terms;
    terms.tenant == *tenant && terms.user.as_ref().is_none_or(|own| own == user)
}

async fn payments_of(conn: &mut AnyConnection, tx_hash: B256) -> Result<Vec<FoundPayment>, EngineError> {
    let filter = PaymentFilter {
        tx_hash: Some(tx_hash),
        ..PaymentFilter::default()
    };
    Ok(store::search_payments(conn, &filter, None, MAX_PAYMENTS).await?)
}

/// The charge that a claim gives a payment to: its user has proven the payer's wallet, and has that charge, or only one that
/// the payment can settle.
async fn provable(
    conn: &mut AnyConnection,
    payment: &Payment,
    claim: &Claim,
) -> Result<Option<Charge>, EngineError> {
    let link = store::wallet_link(conn, &claim.tenant, payment.payer).await?;
    if link.is_none_or(|link| link.user != claim.user) {
        return Ok(None);
    }
    let id = if let Some((_, id)) = &claim.charge {
        id.clone()
    } else {
        let owner = WalletOwner {
            tenant: claim.tenant.clone(),
            user: claim.user.clone(),
        };
        let place = (payment.key.chain, payment.token);
        let at = payment.block_time_ms;
        let times = (at, at.saturating_add(CLOCK_SKEW_MS));
        let open = store::open_charges_of(conn, &owner, place, times, MAX_OPEN).await?;
        let is_here = |open: &&OpenCharge| {
            (open.chain, open.token, open.treasury) == (place.0, place.1, payment.treasury)
        };
        let here: Vec<&OpenCharge> = open.iter().filter(is_here).collect();
        match here.as_slice() {
            [only] => only.id.clone(),
            _ => return Ok(None),
        }
    };
    let charge = store::charge(conn, &id).await?;
    let is_payable = |charge: &Charge| {
        crate::ledger::is_assignable(payment, charge) && payment.block_time_ms <= charge.terms.grace_until
    };
    Ok(charge.filter(is_payable))
}

/// Rule 4 for a payment that is read: the charges that claims made in advance give it to.
pub(super) async fn named(conn: &mut AnyConnection, payment: &Payment) -> Result<Vec<ChargeId>, EngineError> {
    let mut named = BTreeSet::new();
    for claim in store::claims_of(conn, payment.key.tx_hash).await? {
        let charge = provable(conn, payment, &claim).await?;
        named.extend(charge.map(|charge| charge.terms.id));
    }
    Ok(named.into_iter().collect())
}

/// The claims of a payment's transaction that its charge fulfils wait no more.
pub(super) async fn mark_applied(
    work: &mut Work<'_>,
    payment: &Payment,
    charge: &Charge,
) -> Result<(), EngineError> {
    for mut claim in store::claims_of(work.tx.conn(), payment.key.tx_hash).await? {
        let other = claim
            .charge
            .as_ref()
            .is_some_and(|(_, named)| *named != charge.terms.id);
        if other || claim.applied_at.is_some() || !is_theirs(charge, &claim.tenant, &claim.user) {
            continue;
        }
        claim.charge = Some((charge.terms.chain, charge.terms.id.clone()));
        claim.applied_at = Some(work.now);
        work.tx.put_claim(&claim, Millis::MIN).await?;
    }
    Ok(())
}
