//! From payments to charges: which charge a payment belongs to, and what follows for every charge that was touched.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use super::accounts::refold_account;
use super::checkouts::HostedView;
use super::payments::evidence;
use super::view::ChargeView;
use super::work::Work;
use super::{EngineError, charges};
use crate::domain::{
    ChainId, Charge, ChargeFlag, ChargeId, ChargeState, Decider, HostedPayment, MatchRule, Millis, Payment,
    TenantId,
};
use crate::ledger::{self, ChargeClock, Money, Standing};
use crate::store;

/// Payments of one charge up to which what is left of it gets an amount of its own: whoever pays in smaller parts is known by
/// the reference or the wallet.
const MAX_PARTS: usize = 8;

/// Gives a payment to a charge, as a person decided: the rules `claim` and `operator`. Whether that person may decide so is the
/// caller's to know, and to record. Returns it with the charges to fold: what it may have been meant for goes without it.
pub(super) async fn allocate_to(
    work: &mut Work<'_>,
    before: &Payment,
    (charge, rule): (&ChargeId, MatchRule),
    decider: Decider,
) -> Result<(Payment, BTreeSet<ChargeId>), EngineError> {
    let mut payment = before.clone();
    payment.allocation = Some((charge.clone(), rule));
    payment.grounds.decider = Some(decider);
    work.tx.put_payment(&payment).await?;
    work.tx.put_candidates(&payment.key, &[]).await?;
    let mut touched = before.concerns();
    touched.insert(charge.clone());
    Ok((payment, touched))
}

/// Folds each charge anew; writes what changed, and what follows for its tenant. `absent` is a chain that is being read,
/// and up to when it holds nothing more.
pub(super) async fn settle_charges(
    work: &mut Work<'_>,
    touched: &BTreeSet<ChargeId>,
    absent: Option<(ChainId, Millis)>,
) -> Result<(), EngineError> {
    let mut tenants: BTreeSet<TenantId> = BTreeSet::new();
    let mut changed: Vec<Charge> = Vec::new();
    let mut absent: BTreeMap<ChainId, Millis> = absent.into_iter().collect();
    for loaded in load(work, touched).await? {
        let before = &loaded.charge;
        let absent_ms = match absent.entry(before.terms.chain) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => {
                let row = store::chain_row(work.tx.conn(), before.terms.chain).await?;
                *unknown.insert(row.map_or(0, |row| row.heights.absent_ms))
            }
        };
        let chain = work.settings.chain(before.terms.chain).ok();
        // A chain or token that is no longer configured keeps its charges exact: no tolerance.
        let token = chain.and_then(|chain| chain.token(before.terms.token));
        let tolerance = token.map(|token| work.settings.payments.tolerance(before.terms.due, token));
        let clock = ChargeClock {
            now: work.now,
            absent_ms,
        };
        let tolerance = tolerance.unwrap_or_default();
        let price =
            token.and_then(|token| charges::price(&work.engine.catalogue, &before.terms.product, token));
        let money = Money {
            payments: &loaded.payments,
            meant: &loaded.meant,
            hosted: &loaded.hosted,
            // What has paid for it once goes on to.
            price_holds: before.paid_at.is_some() || price == Some(before.terms.price),
        };
        let standing = ledger::standing(before, money, tolerance, clock);
        let after = apply(before, standing);
        if changes_account(before, &after) {
            tenants.insert(before.terms.tenant.clone());
        }
        if after.sequence != before.sequence {
            tell(work, &after, &loaded).await?;
        }
        let is_less = after.totals.seen != before.totals.seen && after.flags.has(ChargeFlag::Underpaid);
        if let Some(token) = token.filter(|_| is_less && loaded.payments.len() <= MAX_PARTS) {
            charges::lease_rest(work, &after, token.decimals).await?;
        }
        if after.sequence != before.sequence {
            changed.push(after);
        }
    }
    work.tx.update_charges(&changed).await?;
    for tenant in tenants {
        refold_account(work, &tenant).await?;
    }
    Ok(())
}

/// A charge with its money.
struct Loaded {
    charge: Charge,
    /// What it was given.
    payments: Vec<Payment>,
    /// What may be meant for it.
    meant: Vec<Payment>,
    hosted: Vec<HostedPayment>,
}

/// Those of these charges that exist, in order.
async fn load(work: &mut Work<'_>, touched: &BTreeSet<ChargeId>) -> Result<Vec<Loaded>, EngineError> {
    let ids: Vec<ChargeId> = touched.iter().cloned().collect();
    let mut charges = store::charges(work.tx.conn(), &ids).await?;
    charges.sort_by(|one, other| one.terms.id.cmp(&other.terms.id));
    let mut given: HashMap<ChargeId, Vec<Payment>> = HashMap::new();
    for payment in store::payments_of_charges(work.tx.conn(), &ids).await? {
        if let Some((charge, _)) = &payment.allocation {
            given.entry(charge.clone()).or_default().push(payment);
        }
    }
    let mut meant: HashMap<ChargeId, Vec<Payment>> = HashMap::new();
    for (charge, payment) in store::payments_meant_for(work.tx.conn(), &ids).await? {
        meant.entry(charge).or_default().push(payment);
    }
    let mut hosted: HashMap<ChargeId, Vec<HostedPayment>> = HashMap::new();
    for checkout in store::hosted_payments_of(work.tx.conn(), &ids).await? {
        hosted.entry(checkout.charge.clone()).or_default().push(checkout);
    }
    let with_money = charges.into_iter().map(|charge| {
        let id = &charge.terms.id;
        Loaded {
            payments: given.remove(id).unwrap_or_default(),
            meant: meant.remove(id).unwrap_or_default(),
            hosted: hosted.remove(id).unwrap_or_default(),
            charge,
        }
    });
    Ok(with_money.collect())
}

/// Whether its tenant's periods or credit may follow.
fn changes_account(before: &Charge, after: &Charge) -> bool {
    let holds_nothing = after.totals.confirmed.is_zero() && after.terms.quote.credit.is_zero();
    let of = |charge: &Charge| {
        let closed_at = charge.closed_at.filter(|_| !holds_nothing);
        (
            charge.paid_at,
            charge.reversed_at,
            closed_at,
            charge.totals.confirmed,
        )
    };
    of(before) != of(after)
}

/// The charge with its new standing; its sequence grows only if anything changed.
fn apply(before: &Charge, standing: Standing) -> Charge {
    let Standing {
        state,
        flags,
        totals,
        paid_at,
        reversed_at,
        closed_at,
    } = standing;
    let mut after = Charge {
        state,
        flags,
        totals,
        paid_at,
        reversed_at,
        closed_at,
        ..before.clone()
    };
    if after != *before {
        after.sequence += 1;
    }
    after
}

/// Records a change of a charge, and owes its events.
async fn tell(work: &mut Work<'_>, after: &Charge, loaded: &Loaded) -> Result<(), EngineError> {
    let before = &loaded.charge;
    work.published.charges.push(after.terms.id.clone());
    let resource = format!("charge:{}", after.terms.id);
    let before_json = json!(ChargeView::new(work.settings, before, &[], None));
    let after_json = json!(ChargeView::new(work.settings, after, &[], None));
    work.audit(
        "charge.settle",
        resource.clone(),
        (Some(before_json), Some(after_json.clone())),
    )
    .await?;
    let evidence: Vec<Value> = loaded.payments.iter().map(evidence).collect();
    let hosted: Vec<HostedView> = loaded.hosted.iter().map(HostedView::from).collect();
    for kind in events(before, after) {
        let data = json!({"charge": after_json, "payments": evidence, "hostedPayments": hosted});
        work.owe(kind, resource.clone(), data).await?;
    }
    Ok(())
}

/// What a change of a charge is called.
fn events(before: &Charge, after: &Charge) -> Vec<&'static str> {
    let newly = |flag| after.flags.has(flag) && !before.flags.has(flag);
    let mut events = Vec::new();
    if after.totals.seen > before.totals.seen {
        events.push("charge.payment_detected");
    }
    if newly(ChargeFlag::Underpaid) {
        events.push("charge.underpaid");
    }
    match (before.state, after.state) {
        (before, after) if before == after => {}
        (_, ChargeState::Paid) => events.push("charge.paid"),
        (_, ChargeState::Reversed) => events.push("charge.reversed"),
        (_, ChargeState::Expired) => events.push("charge.expired"),
        (_, ChargeState::Cancelled) => events.push("charge.cancelled"),
        (_, ChargeState::Closed) => events.push("charge.closed"),
        (ChargeState::Confirming, ChargeState::Open) if after.totals.seen < before.totals.seen => {
            events.push("charge.payment_orphaned");
        }
        _ => {}
    }
    if newly(ChargeFlag::Overpaid) {
        events.push("charge.overpaid");
    }
    events
}
