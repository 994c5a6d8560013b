//! From payments to charges: which charge a payment belongs to, and what follows for every charge that was touched.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::EngineError;
use super::accounts::refold_account;
use super::charges::CLOCK_SKEW_MS;
use super::view::ChargeView;
use super::work::Work;
use crate::domain::{Charge, ChargeFlag, ChargeId, ChargeState, MatchRule, Millis, Payment, TenantId};
use crate::ledger::{self, Candidates, ChargeClock, Match, Standing};
use crate::metrics;
use crate::store;

/// The charge that a payment belongs to, if exactly one does.
pub(super) async fn allocate(
    work: &mut Work<'_>,
    payment: &Payment,
) -> Result<Option<(ChargeId, MatchRule)>, EngineError> {
    let candidates = candidates(work.tx.conn(), payment).await?;
    match ledger::decide(&candidates) {
        Match::Charge(charge, rule) => Ok(Some((charge, rule))),
        Match::Unmatched => Ok(None),
        Match::Ambiguous => {
            ::metrics::counter!(metrics::PAYMENT_AMBIGUOUS_TOTAL).increment(1);
            Ok(None)
        }
    }
}

/// What each rule names for a payment.
pub(super) async fn candidates(
    conn: &mut sqlx::AnyConnection,
    payment: &Payment,
) -> Result<Candidates, EngineError> {
    let place = (payment.key.chain, payment.token, payment.treasury);
    let at = payment.block_time_ms;
    let times = (at, at.saturating_add(CLOCK_SKEW_MS));
    let exact_amount = store::leased_charges(conn, place, payment.amount, at).await?;
    let links = store::wallets_at(conn, payment.payer).await?;
    let payer_wallet = match links.as_slice() {
        [link] => store::open_charges_of_tenant(conn, &link.tenant, &link.user, place, times).await?,
        _ => Vec::new(),
    };
    Ok(Candidates {
        exact_amount,
        payer_wallet,
    })
}

/// Folds each charge anew; writes what changed, and what follows for its tenant.
pub(super) async fn settle_charges(
    work: &mut Work<'_>,
    touched: &BTreeSet<ChargeId>,
    absent_ms: Millis,
) -> Result<(), EngineError> {
    let mut tenants: BTreeSet<TenantId> = BTreeSet::new();
    for id in touched {
        let Some(before) = store::charge(work.tx.conn(), id).await? else {
            continue;
        };
        let payments = store::payments_of_charge(work.tx.conn(), id).await?;
        let chain = work.settings.chain(before.terms.chain).ok();
        // A chain or token that is no longer configured keeps its charges exact: no tolerance.
        let token = chain.and_then(|chain| chain.token(before.terms.token));
        let tolerance = token.map(|token| work.settings.payments.tolerance(before.terms.due, token));
        let clock = ChargeClock {
            now: work.now,
            absent_ms,
        };
        let standing = ledger::standing(&before, &payments, tolerance.unwrap_or_default(), clock);
        let after = apply(&before, standing);
        if changes_account(&before, &after) {
            tenants.insert(before.terms.tenant.clone());
        }
        if after.sequence != before.sequence {
            write(work, &before, &after, &payments).await?;
        }
    }
    for tenant in tenants {
        refold_account(work, &tenant).await?;
    }
    Ok(())
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
    let evidence: Vec<Value> = payments.iter().map(super::chain::evidence).collect();
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
