//! One chain in memory: its heights, the contracts that are watched, and every settled balance of them.

use std::collections::{BTreeMap, HashMap};

use alloy::primitives::{Address, U256};
use sqlx::AnyConnection;

use crate::domain::{
    AsOf, Asset, ChainId, Fault, Gap, Heights, Held, IdRange, Notice, Reading, Scope, Standard, TokenId,
};
use crate::store::{self, BalanceRow, StoreError, Watch};

#[derive(Debug, Default)]
pub(super) struct ChainState {
    pub(super) heights: Heights,
    pub(super) stalled: Option<Held>,
    pub(super) quarantined: Option<Held>,
    pub(super) notices: Vec<Notice>,
    /// The count of the chain's transactions that this state is as of.
    pub(super) beat: Option<i64>,
    contracts: HashMap<Address, Contract>,
}

/// One holder's balance of a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct HeldBy {
    pub(super) contract: Address,
    pub(super) holder: Address,
    pub(super) asset: Asset,
}

#[derive(Debug)]
struct Contract {
    watch: Watch,
    totals: HashMap<(Address, Standard), U256>,
    /// Of each token by itself, in the order of its id for each holder.
    tokens: BTreeMap<(Standard, Address, TokenId), U256>,
    /// Balances that are folded to below zero: history or the contract itself is not what it says.
    impossible: u64,
}

/// Balances are folded modulo 2^256; more than half of that is a debt, which no token has.
fn is_impossible(value: U256) -> bool {
    value.bit(255)
}

impl Contract {
    fn new(watch: Watch) -> Self {
        Self {
            watch,
            totals: HashMap::new(),
            tokens: BTreeMap::new(),
            impossible: 0,
        }
    }

    fn put(&mut self, row: &BalanceRow) {
        let Asset { standard, id } = row.asset;
        let (total, token) = ((row.holder, standard), id.map(|id| (standard, row.holder, id)));
        let before = match (token, row.value.is_zero()) {
            (None, true) => self.totals.remove(&total),
            (None, false) => self.totals.insert(total, row.value),
            (Some(token), true) => self.tokens.remove(&token),
            (Some(token), false) => self.tokens.insert(token, row.value),
        };
        self.impossible -= u64::from(before.is_some_and(is_impossible));
        self.impossible += u64::from(is_impossible(row.value));
    }

    fn folded(&self, holder: Address, Asset { standard, id }: Asset) -> U256 {
        let value = match id {
            None => self.totals.get(&(holder, standard)),
            Some(id) => self.tokens.get(&(standard, holder, id)),
        };
        value.copied().unwrap_or_default()
    }

    /// Why balances of this kind are not known at the settled block, if they are not.
    fn gap(&self, needed: Scope, settled: u64) -> Option<Gap> {
        let happened = |block: Option<u64>| block.is_some_and(|block| block <= settled);
        let watch = &self.watch;
        if !watch.scope.covers(needed) || !watch.is_complete() {
            Some(Gap::NotRead)
        } else if happened(watch.malformed_at) {
            Some(Gap::Faulty(Fault::MalformedLog))
        } else if needed.keeps_ids() && happened(watch.crowded_at) {
            Some(Gap::Faulty(Fault::TooManyTokens))
        } else if self.impossible > 0 {
            Some(Gap::Overdrawn)
        } else if !happened(watch.first_moved) {
            Some(Gap::NoTransfers)
        } else {
            None
        }
    }
}

impl ChainState {
    pub(super) async fn load(conn: &mut AnyConnection, chain: ChainId) -> Result<Self, StoreError> {
        let mut state = Self::default();
        if let Some(row) = store::chain_row(conn, chain).await? {
            state.heights = row.heights;
            state.stalled = row.stalled;
            state.quarantined = row.quarantined;
        }
        state.beat = store::beat(conn, chain).await?;
        state.notices = store::notices(conn, chain).await?;
        for watch in store::watches(conn, chain).await? {
            state.put_watch(watch);
        }
        for balance in store::balances(conn, chain).await? {
            state.put_balance(&balance);
        }
        Ok(state)
    }

    pub(super) fn put_watch(&mut self, watch: Watch) {
        let known = self.contracts.entry(watch.contract);
        known.or_insert_with(|| Contract::new(watch)).watch = watch;
    }

    /// A contract is read again from its beginning.
    pub(super) fn restart(&mut self, watch: Watch) {
        self.contracts.insert(watch.contract, Contract::new(watch));
    }

    /// Watches are never removed: one of an older state that is not here was added since.
    pub(super) fn keep_watches_of(&mut self, older: &mut Self) {
        for (contract, known) in older.contracts.drain() {
            self.contracts.entry(contract).or_insert(known);
        }
    }

    pub(super) fn put_balance(&mut self, row: &BalanceRow) {
        if let Some(contract) = self.contracts.get_mut(&row.contract) {
            contract.put(row);
        }
    }

    /// In the order of their contracts.
    pub(super) fn watches(&self) -> Vec<Watch> {
        let mut watches: Vec<Watch> = self.contracts.values().map(|known| known.watch).collect();
        watches.sort_by_key(|watch| watch.contract);
        watches
    }

    pub(super) fn folded(&self, held: &HeldBy) -> U256 {
        let contract = self.contracts.get(&held.contract);
        contract.map_or(U256::ZERO, |contract| contract.folded(held.holder, held.asset))
    }

    pub(super) fn tokens_kept(&self, contract: Address) -> usize {
        self.contracts
            .get(&contract)
            .map_or(0, |contract| contract.tokens.len())
    }

    /// The settled block that balances are as of; none before the first.
    pub(super) fn as_of(&self, chain: ChainId) -> Option<AsOf> {
        let time_ms = self.heights.settled_time_ms;
        self.heights.settled.map(|block| AsOf {
            chain,
            block,
            time_ms,
        })
    }

    pub(super) fn balance(&self, contract: Address, asset: Asset, wallet: Address) -> Reading {
        let scope = Scope::of(asset.standard);
        let needed = if asset.id.is_some() {
            scope.with_ids()
        } else {
            scope
        };
        self.known(contract, needed)
            .map_or_else(Reading::Unknown, |known| {
                Reading::Known(known.folded(wallet, asset))
            })
    }

    /// Whether a wallet holds an ERC-721 token in one of these ranges: 1, or 0.
    pub(super) fn holds_one_in(&self, contract: Address, ranges: &[IdRange], wallet: Address) -> Reading {
        let standard = Standard::Erc721;
        let read = |known: &Contract| {
            let holds = |range: &IdRange| {
                let (from, to) = ((standard, wallet, range.from), (standard, wallet, range.to));
                known.tokens.range(from..=to).next().is_some()
            };
            Reading::Known(U256::from(ranges.iter().any(holds)))
        };
        self.known(contract, Scope::of(standard).with_ids())
            .map_or_else(Reading::Unknown, read)
    }

    fn known(&self, contract: Address, needed: Scope) -> Result<&Contract, Gap> {
        let settled = self.heights.settled.ok_or(Gap::NotRead)?.number;
        let contract = self.contracts.get(&contract).ok_or(Gap::NotRead)?;
        contract.gap(needed, settled).map_or(Ok(contract), Err)
    }
}
