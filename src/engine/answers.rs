//! The answers that are kept in memory: what every check is answered from, with no database and no chain on the way.
//!
//! Only durable facts come in, in the order of their sequence; a change that arrives late is passed over. What a chain's
//! block changes is changed under one lock, so that no reader sees a balance with another block's height.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use alloy::primitives::{Address, U256};
use sqlx::AnyConnection;

use super::chain_state::{ChainState, HeldBy};
use super::receipts::ReceiptKeys;
use crate::domain::{
    ChainId, ChargeId, Entitlement, Gate, GateId, Heights, Held, Notice, Source, TenantId, UserId, WalletLink,
};
use crate::store::{self, BalanceRow, StoreError, Watch};

/// How many charges may be shown as `detected` at once; beyond that the hint is not given.
const MAX_SIGHTINGS: usize = 10_000;

/// A tenant's sources and what was folded from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantAnswer {
    /// Every source, for folding again when time has passed.
    pub sources: Vec<Source>,
    /// The fold as it was stored.
    pub entitlement: Entitlement,
    /// Counts its changes.
    pub sequence: i64,
}

/// How far a chain is, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainAnswer {
    /// The heights as of the last commit.
    pub heights: Heights,
    /// Why deadlines stand still.
    pub stalled: Option<Held>,
    /// Why nothing counts until a person resolves it.
    pub quarantined: Option<Held>,
    /// What tokens said last of whether they can be paid in.
    pub notices: Vec<Notice>,
}

/// A durable change of what is kept in memory.
#[derive(Debug)]
pub(super) enum Change {
    Chain {
        chain: ChainId,
        heights: Option<Box<Heights>>,
        balances: Vec<BalanceRow>,
        watches: Vec<Watch>,
    },
    Held {
        chain: ChainId,
        stalled: Option<Held>,
        quarantined: Option<Held>,
    },
    /// One more transaction of a chain is in memory.
    Beat(ChainId, i64),
    /// All of a chain, as it is stored.
    ChainLoaded(ChainId, Box<ChainState>),
    WatchRestarted(ChainId, Watch),
    /// The newest of each.
    Notices(ChainId, Vec<Notice>),
    Tenant(TenantId, Box<TenantAnswer>),
    Wallet(WalletLink),
    WalletReleased(WalletLink),
    Gate(Box<Gate>),
    GateRemoved(TenantId, GateId),
    ReceiptKeys(ReceiptKeys),
}

impl Change {
    /// The chain whose heights it changes.
    pub(super) fn moved(&self) -> Option<ChainId> {
        match self {
            Self::Chain { chain, heights, .. } => heights.as_ref().map(|_| *chain),
            Self::ChainLoaded(chain, _) | Self::Notices(chain, _) => Some(*chain),
            _ => None,
        }
    }
}

/// A transfer that was streamed and is in no proven block yet.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    chain: ChainId,
    block_number: u64,
}

#[derive(Debug)]
pub(super) struct Answers {
    chains: RwLock<HashMap<ChainId, Arc<RwLock<ChainState>>>>,
    tenants: RwLock<HashMap<TenantId, Arc<TenantAnswer>>>,
    wallets: RwLock<HashMap<(TenantId, UserId), Vec<Address>>>,
    gates: RwLock<HashMap<GateId, Arc<Gate>>>,
    receipt_keys: RwLock<Arc<ReceiptKeys>>,
    sightings: Mutex<HashMap<ChargeId, Sighting>>,
}

/// A lock is only poisoned by a panic between two assignments; what it guards is still whole.
pub(super) fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Answers {
    pub(super) async fn load(conn: &mut AnyConnection, chain_ids: &[ChainId]) -> Result<Self, StoreError> {
        let mut chains = HashMap::new();
        for chain in chain_ids {
            let state = ChainState::load(conn, *chain).await?;
            chains.insert(*chain, Arc::new(RwLock::new(state)));
        }
        let mut sources: HashMap<TenantId, Vec<Source>> = HashMap::new();
        for source in store::sources(conn, None).await? {
            sources.entry(source.tenant.clone()).or_default().push(source);
        }
        let mut tenants = HashMap::new();
        for (tenant, entitlement, sequence) in store::entitlements(conn).await? {
            let sources = sources.remove(&tenant).unwrap_or_default();
            tenants.insert(
                tenant,
                Arc::new(TenantAnswer {
                    sources,
                    entitlement,
                    sequence,
                }),
            );
        }
        let mut wallets: HashMap<(TenantId, UserId), Vec<Address>> = HashMap::new();
        for link in store::wallet_links(conn).await? {
            wallets
                .entry((link.tenant, link.user))
                .or_default()
                .push(link.address);
        }
        let gates = store::gates(conn).await?;
        let gates = gates
            .into_iter()
            .map(|gate| (gate.id.clone(), Arc::new(gate)))
            .collect();
        Ok(Self {
            chains: RwLock::new(chains),
            tenants: RwLock::new(tenants),
            wallets: RwLock::new(wallets),
            gates: RwLock::new(gates),
            receipt_keys: RwLock::new(Arc::new(ReceiptKeys::load(conn).await?)),
            sightings: Mutex::default(),
        })
    }

    /// The count of a chain's transactions that memory is as of.
    pub(super) fn beat(&self, chain: ChainId) -> Option<i64> {
        self.state(chain).and_then(|lock| read(&lock).beat)
    }

    /// Keeps these chains in memory and no others; those that are new as they were loaded.
    pub(super) fn set_chains(&self, chains: &BTreeSet<ChainId>, loaded: Vec<(ChainId, ChainState)>) {
        let mut states = write(&self.chains);
        states.retain(|chain, _| chains.contains(chain));
        let loaded = loaded.into_iter();
        states.extend(loaded.map(|(chain, state)| (chain, Arc::new(RwLock::new(state)))));
    }

    pub(super) fn state(&self, chain: ChainId) -> Option<Arc<RwLock<ChainState>>> {
        read(&self.chains).get(&chain).cloned()
    }

    /// The chains that are kept in memory.
    pub(super) fn chains(&self) -> Vec<ChainId> {
        read(&self.chains).keys().copied().collect()
    }

    /// Replaces everything by what is stored.
    pub(super) async fn reload(&self, conn: &mut AnyConnection) -> Result<(), StoreError> {
        for chain in self.chains() {
            let state = ChainState::load(conn, chain).await?;
            if let Some(lock) = self.state(chain) {
                *write(&lock) = state;
            }
        }
        self.reload_people(conn).await
    }

    /// Replaces all but the chains by what is stored.
    pub(super) async fn reload_people(&self, conn: &mut AnyConnection) -> Result<(), StoreError> {
        fn take<T>(lock: RwLock<T>) -> T {
            lock.into_inner().unwrap_or_else(PoisonError::into_inner)
        }
        let loaded = Self::load(conn, &[]).await?;
        *write(&self.tenants) = take(loaded.tenants);
        *write(&self.wallets) = take(loaded.wallets);
        *write(&self.gates) = take(loaded.gates);
        *write(&self.receipt_keys) = take(loaded.receipt_keys);
        Ok(())
    }

    pub(super) fn apply(&self, change: Change) {
        match change {
            Change::Chain {
                chain,
                heights,
                balances,
                watches,
            } => self.apply_chain(chain, heights.as_deref(), &balances, watches),
            Change::Held {
                chain,
                stalled,
                quarantined,
            } => self.change(chain, |state| {
                state.stalled = stalled;
                state.quarantined = quarantined;
            }),
            Change::Beat(chain, beat) => self.change(chain, |state| state.beat = Some(beat)),
            Change::ChainLoaded(chain, mut loaded) => self.change(chain, |state| {
                loaded.keep_watches_of(state);
                *state = *loaded;
            }),
            Change::Notices(chain, notices) => self.change(chain, |state| state.notices = notices),
            Change::WatchRestarted(chain, watch) => self.change(chain, |state| state.restart(watch)),
            Change::Tenant(tenant, answer) => {
                let mut tenants = write(&self.tenants);
                if tenants
                    .get(&tenant)
                    .is_none_or(|known| known.sequence <= answer.sequence)
                {
                    tenants.insert(tenant, Arc::from(answer));
                }
            }
            Change::Wallet(link) => {
                let mut wallets = write(&self.wallets);
                let linked = wallets.entry((link.tenant, link.user)).or_default();
                if let Err(place) = linked.binary_search(&link.address) {
                    linked.insert(place, link.address);
                }
            }
            Change::WalletReleased(link) => {
                if let Some(linked) = write(&self.wallets).get_mut(&(link.tenant, link.user)) {
                    linked.retain(|address| *address != link.address);
                }
            }
            Change::Gate(gate) => {
                write(&self.gates).insert(gate.id.clone(), Arc::from(gate));
            }
            Change::GateRemoved(tenant, id) => {
                write(&self.gates).retain(|_, gate| gate.id != id || gate.tenant != tenant);
            }
            Change::ReceiptKeys(keys) => *write(&self.receipt_keys) = Arc::new(keys),
        }
    }

    fn change(&self, chain: ChainId, change: impl FnOnce(&mut ChainState)) {
        if let Some(lock) = self.state(chain) {
            change(&mut write(&lock));
        }
    }

    /// All under one lock: no reader sees a balance with another block's height.
    fn apply_chain(
        &self,
        chain: ChainId,
        heights: Option<&Heights>,
        balances: &[BalanceRow],
        watches: Vec<Watch>,
    ) {
        let Some(lock) = self.state(chain) else {
            return;
        };
        let mut state = write(&lock);
        for watch in watches {
            state.put_watch(watch);
        }
        for balance in balances {
            state.put_balance(balance);
        }
        if let Some(heights) = heights {
            state.heights = *heights;
            drop(state);
            self.unsight(chain, heights.read.map_or(0, |read| read.number));
        }
    }

    pub(super) fn receipt_keys(&self) -> Arc<ReceiptKeys> {
        Arc::clone(&read(&self.receipt_keys))
    }

    pub(super) fn chain(&self, chain: ChainId) -> Option<ChainAnswer> {
        let lock = self.state(chain)?;
        let state = read(&lock);
        Some(ChainAnswer {
            heights: state.heights,
            stalled: state.stalled.clone(),
            quarantined: state.quarantined.clone(),
            notices: state.notices.clone(),
        })
    }

    /// The balances of these holders of a contract, as folded so far.
    pub(super) fn folded(&self, chain: ChainId, held: &[HeldBy]) -> Vec<U256> {
        let Some(lock) = self.state(chain) else {
            return vec![U256::ZERO; held.len()];
        };
        let state = read(&lock);
        held.iter().map(|held| state.folded(held)).collect()
    }

    /// How many tokens of a contract are kept one by one.
    pub(super) fn tokens_kept(&self, chain: ChainId, contract: Address) -> usize {
        self.state(chain)
            .map_or(0, |lock| read(&lock).tokens_kept(contract))
    }

    /// In the order of their contracts.
    pub(super) fn watches(&self, chain: ChainId) -> Vec<Watch> {
        let Some(lock) = self.state(chain) else {
            return Vec::new();
        };
        let state = read(&lock);
        state.watches()
    }

    pub(super) fn tenant(&self, tenant: &TenantId) -> Option<Arc<TenantAnswer>> {
        read(&self.tenants).get(tenant).cloned()
    }

    pub(super) fn wallets(&self, tenant: &TenantId, user: &UserId) -> Vec<Address> {
        read(&self.wallets)
            .get(&(tenant.clone(), user.clone()))
            .cloned()
            .unwrap_or_default()
    }

    pub(super) fn gate(&self, tenant: &TenantId, id: &GateId) -> Option<Arc<Gate>> {
        read(&self.gates)
            .get(id)
            .filter(|gate| gate.tenant == *tenant)
            .cloned()
    }

    pub(super) fn gates(&self, tenant: &TenantId) -> Vec<Arc<Gate>> {
        let mut gates: Vec<_> = read(&self.gates)
            .values()
            .filter(|gate| gate.tenant == *tenant)
            .cloned()
            .collect();
        gates.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        gates
    }

    /// Shows a charge as detected until its chain is read past the block; `false` when too many are.
    pub(super) fn sight(&self, charge: ChargeId, chain: ChainId, block_number: u64) -> bool {
        let mut sightings = self.sightings.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = sightings.len() < MAX_SIGHTINGS;
        if fits {
            sightings.insert(charge, Sighting { chain, block_number });
        }
        fits
    }

    pub(super) fn is_sighted(&self, charge: &ChargeId) -> bool {
        let sightings = self.sightings.lock().unwrap_or_else(PoisonError::into_inner);
        sightings.contains_key(charge)
    }

    /// Proven blocks up to `read` have said what was true of the sightings in them.
    fn unsight(&self, chain: ChainId, read: u64) {
        let mut sightings = self.sightings.lock().unwrap_or_else(PoisonError::into_inner);
        sightings.retain(|_, sighting| sighting.chain != chain || sighting.block_number > read);
    }
}
