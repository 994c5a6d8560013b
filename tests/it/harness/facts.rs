//! What the database holds after a scenario, and whether an engine that starts from it answers as the running one does.

use alloy::primitives::Address;
use sqlx::{AssertSqlSafe, Row as _};
use tollgate::domain::{ChainId, Gate, GateAction, Heights, Reading, Rule, TenantId, UserId, WalletLink};
use tollgate::engine::{ChainAnswer, Engine, GateAnswer, Subject, TenantView};
use tollgate::store::{Store, Watch};

use super::holders::nfts;
use super::world::{CHAIN, World, tenant};

/// Every table that a command may write.
const TABLES: [&str; 33] = [
    "chain",
    "header",
    "charge",
    "amount_lease",
    "server_secret",
    "receipt_key",
    "charge_reference",
    "token_domain",
    "token_notice",
    "observation",
    "payment",
    "hosted_payment",
    "claim",
    "refund",
    "payment_candidate",
    "source",
    "entitlement",
    "credit_entry",
    "credit",
    "plan_change",
    "renewal_reminder",
    "customer",
    "inbox",
    "watch",
    "movement",
    "balance",
    "gate",
    "wallet_nonce",
    "wallet_link",
    "wallet_release",
    "outbox",
    "delivery",
    "audit",
];

/// Integers and texts of a query, for comparison.
pub async fn rows(store: &Store, query: &str) -> Vec<Vec<String>> {
    let mut conn = store.read().await.unwrap();
    let rows = sqlx::query(AssertSqlSafe(query.to_owned()))
        .fetch_all(&mut *conn)
        .await
        .unwrap();
    let cell = |row: &sqlx::any::AnyRow, index: usize| {
        let number = row.try_get::<i64, _>(index).map(|number| number.to_string());
        let text = number.or_else(|_| row.try_get::<String, _>(index));
        text.unwrap_or_else(|_| "?".to_owned())
    };
    rows.iter()
        .map(|row| (0..row.len()).map(|index| cell(row, index)).collect())
        .collect()
}

/// The only column of a query.
pub async fn column(store: &Store, query: &str) -> Vec<String> {
    rows(store, query)
        .await
        .into_iter()
        .map(|mut row| row.remove(0))
        .collect()
}

/// An ERC-721 balance, as a gate reads it.
pub fn balance(engine: &Engine, contract: Address, holder: Address) -> Reading {
    decide(engine, CHAIN, contract, holder).decision.trace[0].reading
}

/// A gate's answer for one wallet.
pub fn decide(engine: &Engine, chain_id: ChainId, contract: Address, holder: Address) -> GateAnswer {
    decide_by(engine, nfts(chain_id, contract), holder)
}

/// What a rule of one leaf reads of one wallet.
pub fn reading(engine: &Engine, rule: Rule, holder: Address) -> Reading {
    decide_by(engine, rule, holder).decision.trace[0].reading
}

fn decide_by(engine: &Engine, rule: Rule, holder: Address) -> GateAnswer {
    let gate = Gate {
        id: "gate".parse().unwrap(),
        tenant: tenant("acme"),
        name: "one".to_owned(),
        description: None,
        enabled: true,
        action: GateAction::GrantAccess,
        rule,
        created_at: 0,
    };
    let subject = Subject {
        user: None,
        wallets: vec![holder],
    };
    engine.decide(&gate, &subject)
}

/// All that an engine answers from memory.
#[derive(Debug, PartialEq)]
struct Remembered {
    tenants: Vec<TenantView>,
    gates: Vec<Vec<Gate>>,
    wallets: Vec<Vec<Address>>,
    watches: Vec<Watch>,
    balances: Vec<GateAnswer>,
    chain: Option<ChainAnswer>,
}

impl World {
    /// The types of the events that are owed about a resource, in order.
    pub async fn events(&self, resource: &str) -> Vec<String> {
        let query = format!("select type from outbox where resource = '{resource}' order by id");
        column(&self.store, &query).await
    }

    /// The actions that were recorded of a subject, in order.
    pub async fn actions(&self, subject: &str) -> Vec<String> {
        let query = format!("select action from audit where subject = '{subject}' order by id");
        column(&self.store, &query).await
    }

    /// How often an action was recorded.
    pub async fn action_count(&self, action: &str) -> usize {
        let query = format!("select subject from audit where action = '{action}'");
        column(&self.store, &query).await.len()
    }

    /// How many rows each table has, and how far the chain and its lease are: equal means that nothing was written.
    pub async fn footprint(&self) -> Vec<Vec<String>> {
        let mut footprint = Vec::new();
        for table in TABLES {
            footprint.extend(rows(&self.store, &format!("select count(*) from {table}")).await);
        }
        footprint.extend(rows(&self.store, "select role, fence, beat from lease").await);
        footprint.extend(rows(&self.store, "select read_number, settled_number from chain").await);
        footprint
    }

    async fn remembered(&self, engine: &Engine) -> Remembered {
        let now = self.clock.now_ms();
        let mut conn = self.store.read().await.unwrap();
        let links = tollgate::store::wallet_links(&mut conn).await.unwrap();
        let holders = tollgate::store::balances(&mut conn, CHAIN).await.unwrap();
        drop(conn);
        let tenants = "select tenant from source union select tenant from charge union select tenant from gate \
                       union select tenant from entitlement order by 1";
        let tenants: Vec<TenantId> = column(&self.store, tenants)
            .await
            .iter()
            .map(|name| tenant(name))
            .collect();
        let mut users: Vec<(TenantId, UserId)> = links
            .into_iter()
            .map(|WalletLink { tenant, user, .. }| (tenant, user))
            .collect();
        users.sort();
        users.dedup();
        let mut watches = engine.watches(CHAIN);
        watches.sort_by_key(|watch| watch.contract);
        let mut holders: Vec<_> = holders.iter().map(|row| (row.contract, row.holder)).collect();
        holders.sort();
        let gates_of = |tenant| engine.gates(tenant).iter().map(|gate| (**gate).clone()).collect();
        Remembered {
            gates: tenants.iter().map(gates_of).collect(),
            tenants: tenants.iter().map(|tenant| engine.tenant(tenant, now)).collect(),
            wallets: users
                .iter()
                .map(|(tenant, user)| engine.wallets(tenant, user))
                .collect(),
            watches,
            balances: holders
                .iter()
                .map(|(contract, holder)| decide(engine, CHAIN, *contract, *holder))
                .collect(),
            // The head is a hint, and not stored.
            chain: engine.chain(CHAIN).map(|answer| ChainAnswer {
                heights: Heights {
                    head: 0,
                    ..answer.heights
                },
                ..answer
            }),
        }
    }

    /// What is kept in memory is what a start from the database would load.
    pub async fn assert_reload_is_identity(&self) {
        let loaded = self.another_engine().await;
        assert_eq!(
            self.remembered(&self.engine).await,
            self.remembered(&loaded).await,
            "kept in memory, and loaded"
        );
    }
}
