//! How much of what all share one tenant may take: charges that wait for money, and the amounts that name them.

use super::EngineError;
use super::work::Work;
use crate::domain::{ChargeTerms, Millis, TenantId};
use crate::ledger::SuffixPool;
use crate::store;

/// Charges of one tenant that may wait for money at once.
const MAX_WAITING: i64 = 100;

/// Amounts of one price that may be kept for a tenant's charges, cancelled and expired ones with them, where there are
/// thousands.
const MAX_HELD: u64 = 200;

/// Refuses one more charge where so many of the tenant's wait for money already.
pub(super) async fn room_for_charge(work: &mut Work<'_>, tenant: &TenantId) -> Result<(), EngineError> {
    if store::waiting_charges(work.tx.conn(), tenant, MAX_WAITING).await? < MAX_WAITING {
        return Ok(());
    }
    Err(EngineError::Conflict {
        code: "TOO_MANY_CHARGES",
        problem: format!("{MAX_WAITING} charges of this tenant wait for money already: pay or cancel some"),
    })
}

/// Refuses one more amount of a price where the tenant's charges have their share. `kept_ms` is for how long a charge keeps
/// one.
pub(super) async fn room_for_amount(
    work: &mut Work<'_>,
    terms: &ChargeTerms,
    (pool, kept_ms): (SuffixPool, Millis),
) -> Result<(), EngineError> {
    let share = (pool.count / 10).clamp(1, MAX_HELD);
    let since = work.now.saturating_sub(kept_ms);
    let now = work.now;
    let held = store::held_amounts(work.tx.conn(), terms, (since, now)).await?;
    if u64::try_from(held).unwrap_or(u64::MAX) < share {
        return Ok(());
    }
    Err(EngineError::Conflict {
        code: "TOO_MANY_CHARGES",
        problem: format!(
            "{share} amounts of this price are kept for charges of this tenant; each is free again after its grace"
        ),
    })
}
