//! From payments to charges: which charge a payment belongs to, and what follows for every charge that was touched.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::EngineError;
use super::payments::{evidence, subject};
pub(super) use super::subscriptions::refold_crypto;
use super::view::ChargeView;
use super::work::Work;
use crate::domain::{
    ChainId, Charge, ChargeFlag, ChargeId, ChargeState, Decider, MatchRule, Millis, Payment, TenantId,
};
use crate::ledger::{self, ChargeClock, Standing};
use crate::store;

/// Gives a payment to a charge, as a person decided: the rules `claim` and `operator`. What it was given to, or may have been
/// meant for, is folded without it. Whether that person may decide so is the caller's to know.
#[expect(
    dead_code,
    reason = "the commands of operators and of claims are to come through it"
)]
pub(super) async fn allocate_to(
    work: &mut Work<'_>,
    before: &Payment,
    (charge, rule): (&ChargeId, MatchRule),
    decider: Decider,
) -> Result<Payment, EngineError> {
    let mut payment = before.clone();
    payment.allocation = Some((charge.clone(), rule));
    payment.grounds.decider = Some(decider);
    work.tx.put_payment(&payment).await?;
    work.tx.put_candidates(&payment.key, &[]).await?;
    let states = (Some(evidence(before)), Some(evidence(&payment)));
    work.audit("payment.allocate", subject(&payment.key), states)
        .await?;
    let mut touched = before.concerns();
    touched.insert(charge.clone());
    settle_charges(work, &touched, None).await?;
    Ok(payment)
}

/// Folds each charge anew; writes what changed, and what follows for its tenant. `absent` is a chain that is being read,
/// and up to when it holds nothing more.
pub(super) async fn settle_charges(
    work: &mut Work<'_>,
    touched: &BTreeSet<ChargeId>,
    absent: Option<(ChainId, Millis)>,
) -> Result<(), EngineError> {
    let mut tenants: BTreeSet<TenantId> = BTreeSet::new();
    let mut absent: BTreeMap<ChainId, Millis> = absent.into_iter().collect();
    for id in touched {
        let Some(before) = store::charge(work.tx.conn(), id).await? else {
            continue;
        };
        let payments = store::payments_of_charge(work.tx.conn(), id).await?;
        let meant = store::payments_meant_for(work.tx.conn(), id).await?;
        let absent_ms = match absent.get(&before.terms.chain) {
            Some(known) => *known,
            None => {
                let row = store::chain_row(work.tx.conn(), before.terms.chain).await?;
                let known = row.map_or(0, |row| row.heights.absent_ms);
                absent.insert(before.terms.chain, known);
                known
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
        let standing = ledger::standing(&before, (&payments, &meant), tolerance, clock);
        let after = apply(&before, standing);
        if after.paid_at != before.paid_at {
            tenants.insert(before.terms.tenant.clone());
        }
        if after.sequence != before.sequence {
            write(work, &before, &after, &payments).await?;
        }
    }
    for tenant in tenants {
        refold_crypto(work, &tenant).await?;
    }
    Ok(())
}

/// The charge with its new standing; its sequence grows only if anything changed.
fn apply(before: &Charge, standing: Standing) -> Charge {
    let Standing {
        state,
        flags,
        totals,
        paid_at,
    } = standing;
    let mut after = Charge {
        state,
        flags,
        totals,
        paid_at,
        ..before.clone()
    };
    if after != *before {
        after.sequence += 1;
    }
    after
}

async fn write(
    work: &mut Work<'_>,
    before: &Charge,
    after: &Charge,
    payments: &[Payment],
) -> Result<(), EngineError> {
    work.tx.update_charge(after).await?;
    let resource = format!("charge:{}", after.terms.id);
    let before_json = json!(ChargeView::new(work.settings, before, &[], None));
    let after_json = json!(ChargeView::new(work.settings, after, &[], None));
    work.audit(
        "charge.settle",
        resource.clone(),
        (Some(before_json), Some(after_json.clone())),
    )
    .await?;
    let evidence: Vec<Value> = payments.iter().map(evidence).collect();
    for kind in events(before, after) {
        let data = json!({"charge": after_json, "payments": evidence});
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
