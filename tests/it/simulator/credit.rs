//! What tenants have in credit, held against what their charges cost and what reached them.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::{I256, U256};
use sqlx::{AnyConnection, Row as _};

use super::rows::{self, StoredCharge};
use super::world::World;

/// Tenants' sums, in 10^-18 of a unit; there is one unit.
type Sums = BTreeMap<String, I256>;

/// What is stored: the balances, and what their entries come to.
pub struct StoredCredit {
    balances: Sums,
    entries: Sums,
}

pub async fn stored(conn: &mut AnyConnection) -> StoredCredit {
    StoredCredit {
        balances: sums(conn, "select tenant, balance as amount from credit").await,
        entries: sums(conn, "select tenant, amount from credit_entry").await,
    }
}

async fn sums(conn: &mut AnyConnection, query: &str) -> Sums {
    let mut sums = Sums::new();
    for row in rows::all(conn, query).await {
        let amount: I256 = row.get::<String, _>("amount").parse().expect("a signed amount");
        *sums.entry(row.get("tenant")).or_default() += amount;
    }
    sums
}

impl World {
    /// A paid charge gives what reached it beyond what was due; one that ended unpaid all of it. Credit that was set aside
    /// for a charge is gone until that ends unpaid; what was owed is repaid by a charge that is paid.
    pub fn judge_credit(&mut self, charges: &[StoredCharge], stored: &StoredCredit) {
        let mut due = Sums::new();
        for charge in charges {
            let paid = charge.state == "paid";
            let is_in_force = paid || !charge.is_closed;
            let gives = match (paid, charge.is_closed) {
                (true, _) => charge.confirmed - charge.due,
                (false, true) => charge.confirmed,
                (false, false) => U256::ZERO,
            };
            let takes = if charge.credit.is_negative() {
                paid
            } else {
                is_in_force
            };
            let sum = due.entry(charge.tenant.clone()).or_default();
            // Six decimals, and credit has eighteen.
            *sum += I256::from_raw(gives * U256::from(1_000_000_000_000_u64));
            *sum -= if takes { charge.credit } else { I256::ZERO };
        }
        let tenants: BTreeSet<&String> = due.keys().chain(stored.balances.keys()).collect();
        for tenant in tenants {
            let of = |sums: &Sums| sums.get(tenant).copied().unwrap_or_default();
            let (balance, entries) = (of(&stored.balances), of(&stored.entries));
            let due = of(&due);
            if balance != due || entries != due {
                self.breach(format!(
                    "{tenant} has {balance} in credit, by entries of {entries}, and should have {due}"
                ));
            }
        }
    }
}
