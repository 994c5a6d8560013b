//! Balances of watched contracts: folded from settled transfers, with no row per transfer below the window.
//!
//! The fold is modulo 2^256, so that history and live blocks may arrive in any order and still sum exactly; a balance that
//! ends below zero shows that the history was wrong, and makes its contract unknown instead of wrong (answers). A token that is
//! kept by itself is a balance beside the holder's total.

use std::collections::{BTreeSet, HashMap};

use alloy::primitives::{Address, U256};

use super::EngineError;
use super::chain_state::HeldBy;
use super::work::Work;
use crate::domain::{Asset, BlockRef, ChainId, Fault, ProvenBlock, Scope, Standard, TokenId};
use crate::ledger::{self, Moved};
use crate::metrics;
use crate::store::{self, BalanceRow, Movement, Watch};

/// The most tokens of one contract that are kept one by one: about 130 MB in memory. A contract that has more of them is known
/// by its totals alone.
const MAX_TOKENS_KEPT: usize = 1_000_000;

/// The balances and watches that one command changes on one chain.
pub(super) struct Moves {
    chain: ChainId,
    pub(super) watches: HashMap<Address, Watch>,
    changed_watches: BTreeSet<Address>,
    totals: HashMap<(Address, Address, Standard), U256>,
    /// By contract: of each token by itself.
    tokens: HashMap<Address, HashMap<(Address, Standard, TokenId), U256>>,
    /// Movements of this command's own blocks that are too old to be kept; they settle with it.
    unkept: Vec<Movement>,
}

impl Moves {
    /// The watches come from memory, which only commands in this chain's order change.
    pub(super) fn load(work: &Work<'_>, chain: ChainId) -> Self {
        let watches = work
            .engine
            .answers
            .watches(chain)
            .into_iter()
            .map(|watch| (watch.contract, watch))
            .collect();
        Self {
            chain,
            watches,
            changed_watches: BTreeSet::new(),
            totals: HashMap::new(),
            tokens: HashMap::new(),
            unkept: Vec::new(),
        }
    }

    /// Takes note of a block's movements of contracts that the live blocks bring.
    pub(super) async fn read(
        &mut self,
        work: &mut Work<'_>,
        block: &ProvenBlock,
        kept: bool,
    ) -> Result<(), EngineError> {
        if self.watches.is_empty() {
            return Ok(());
        }
        let number = block.header.number;
        let mut movements = Vec::new();
        let scope_of = |contract: &Address| {
            let watch = self.watches.get(contract)?;
            let is_live = watch.live_from.is_some_and(|live_from| number >= live_from);
            is_live.then(|| counted(watch))
        };
        let faults = ledger::holdings(block, scope_of, |contract, moved| {
            movements.push(movement_of(*contract, number, &moved));
        });
        self.note_moved(number, &movements);
        self.note_faults(number, &faults);
        if kept {
            work.tx.insert_movements(self.chain, &movements).await?;
        } else {
            self.unkept.extend(movements);
        }
        Ok(())
    }

    /// Changes a watch where that makes a difference.
    pub(super) fn change_watch(&mut self, contract: Address, change: impl FnOnce(&mut Watch)) {
        if let Some(watch) = self.watches.get_mut(&contract) {
            let before = *watch;
            change(watch);
            if *watch != before {
                self.changed_watches.insert(contract);
            }
        }
    }

    fn note_moved(&mut self, number: u64, movements: &[Movement]) {
        for movement in movements {
            self.change_watch(movement.contract, |watch| {
                watch.first_moved = Some(lower(watch.first_moved, number));
            });
        }
    }

    pub(super) fn note_faults(&mut self, number: u64, faults: &[(Address, Fault)]) {
        for (contract, fault) in faults {
            ::metrics::counter!(metrics::GATE_FAULTY_LOGS_TOTAL, "fault" => fault.as_str()).increment(1);
            tracing::warn!(chain = %self.chain, %contract, block = number, fault = fault.as_str(),
                "a contract's log cannot be counted: what is held of it is unknown");
            self.change_watch(*contract, |watch| match fault {
                Fault::MalformedLog => watch.malformed_at = Some(lower(watch.malformed_at, number)),
                Fault::TooManyTokens => watch.crowded_at = Some(lower(watch.crowded_at, number)),
            });
        }
    }

    /// Folds what settles: stored movements above `before` up to `settled`, and the step's own that were not stored. Of
    /// those, what does not settle yet is stored now.
    pub(super) async fn settle(
        &mut self,
        work: &mut Work<'_>,
        before: Option<u64>,
        settled: Option<u64>,
    ) -> Result<(), EngineError> {
        if self.watches.is_empty() {
            return Ok(());
        }
        let unkept = std::mem::take(&mut self.unkept);
        let (old, waiting): (Vec<_>, Vec<_>) = unkept
            .into_iter()
            .partition(|movement| Some(movement.block_number) <= settled);
        if let Some(settled) = settled.filter(|settled| before.is_none_or(|before| before < *settled)) {
            let above = before.unwrap_or_default();
            let stored = store::movements_between(work.tx.conn(), self.chain, above, settled).await?;
            for movement in &stored {
                self.apply(movement);
            }
        }
        for movement in &old {
            self.apply(movement);
        }
        work.tx.insert_movements(self.chain, &waiting).await?;
        Ok(())
    }

    pub(super) fn apply(&mut self, movement: &Movement) {
        self.shift(movement, movement.quantity);
    }

    /// Takes a settled movement back.
    pub(super) fn undo(&mut self, movement: &Movement) {
        self.shift(movement, movement.quantity.wrapping_neg());
    }

    /// Gives the recipient so much more, and the sender so much less, of all that they hold and of the token.
    fn shift(&mut self, movement: &Movement, quantity: U256) {
        let Asset { standard, id } = movement.asset;
        let parties = [
            (movement.recipient, quantity),
            (movement.sender, quantity.wrapping_neg()),
        ];
        for (holder, by) in parties {
            self.add(movement.contract, holder, Asset::all(standard), by);
            if id.is_some() {
                self.add(movement.contract, holder, movement.asset, by);
            }
        }
    }

    /// The zero address mints and burns; what it "holds" is nobody's.
    pub(super) fn add(&mut self, contract: Address, holder: Address, asset: Asset, quantity: U256) {
        if holder == Address::ZERO {
            return;
        }
        let delta = match asset.id {
            None => self.totals.entry((contract, holder, asset.standard)).or_default(),
            Some(id) => {
                let tokens = self.tokens.entry(contract).or_default();
                let token = (holder, asset.standard, id);
                if tokens.len() > MAX_TOKENS_KEPT && !tokens.contains_key(&token) {
                    return;
                }
                tokens.entry(token).or_default()
            }
        };
        *delta = delta.wrapping_add(quantity);
    }

    /// History that was read above `ancestor` is no longer true; the live blocks bring it anew.
    pub(super) fn roll_back_watches(&mut self, ancestor: BlockRef) {
        let first = ancestor.number + 1;
        for watch in self.watches.values_mut() {
            let before = *watch;
            let stays = |block: &u64| *block <= ancestor.number;
            watch.first_moved = watch.first_moved.filter(stays);
            watch.malformed_at = watch.malformed_at.filter(stays);
            // A reorg brings no tokens back that were too many to be kept.
            let crowded = is_crowded(watch);
            watch.crowded_at = watch.crowded_at.filter(|block| crowded || stays(block));
            let live_from = watch.live_from.map(|live_from| live_from.min(first));
            let rewound = watch.next_number > first;
            if live_from != watch.live_from {
                watch.live_from = live_from;
                watch.live_parent = Some(ancestor.hash);
            }
            if rewound {
                watch.next_number = first.max(watch.from_number);
                watch.next_parent = Some(ancestor.hash).filter(|_| watch.next_number == first);
            }
            if *watch != before {
                self.changed_watches.insert(watch.contract);
            }
        }
    }

    pub(super) fn put_watch(&mut self, watch: Watch) {
        self.watches.insert(watch.contract, watch);
        self.changed_watches.insert(watch.contract);
    }

    /// Writes what changed; returns it for publication.
    pub(super) async fn store(
        mut self,
        work: &mut Work<'_>,
    ) -> Result<(Vec<BalanceRow>, Vec<Watch>), EngineError> {
        let totals = std::mem::take(&mut self.totals).into_iter();
        let total = |((contract, holder, standard), delta)| {
            let asset = Asset::all(standard);
            let held = HeldBy {
                contract,
                holder,
                asset,
            };
            (held, delta)
        };
        let mut balances = self.balances(work, totals.map(total).collect());
        for (contract, tokens) in std::mem::take(&mut self.tokens) {
            balances.extend(self.tokens_of(work, contract, tokens));
        }
        work.tx.put_balances(self.chain, &balances).await?;
        let mut watches = Vec::new();
        for contract in self.changed_watches {
            if let Some(watch) = self.watches.get(&contract) {
                work.tx.update_watch(watch).await?;
                watches.push(*watch);
            }
        }
        Ok((balances, watches))
    }

    fn balances(&self, work: &Work<'_>, mut deltas: Vec<(HeldBy, U256)>) -> Vec<BalanceRow> {
        deltas.retain(|(_, delta)| !delta.is_zero());
        let held: Vec<HeldBy> = deltas.iter().map(|(held, _)| *held).collect();
        let before = work.engine.answers.folded(self.chain, &held);
        let row = |((held, delta), before): (&(HeldBy, U256), U256)| BalanceRow {
            contract: held.contract,
            holder: held.holder,
            asset: held.asset,
            value: before.wrapping_add(*delta),
        };
        deltas.iter().zip(before).map(row).collect()
    }

    /// The tokens of one contract, unless they are more than are kept.
    fn tokens_of(
        &mut self,
        work: &Work<'_>,
        contract: Address,
        tokens: HashMap<(Address, Standard, TokenId), U256>,
    ) -> Vec<BalanceRow> {
        if self.watches.get(&contract).is_none_or(is_crowded) {
            return Vec::new();
        }
        let overflowed = tokens.len() > MAX_TOKENS_KEPT;
        let token = |((holder, standard, id), delta)| {
            let asset = Asset::one(standard, id);
            let held = HeldBy {
                contract,
                holder,
                asset,
            };
            (held, delta)
        };
        let rows = self.balances(work, tokens.into_iter().map(token).collect());
        let held = rows.iter().filter(|row| !row.value.is_zero()).count();
        let kept = work.engine.answers.tokens_kept(self.chain, contract);
        // Those that are replaced are counted twice; far below the bound that makes no difference.
        if !overflowed && kept + held <= MAX_TOKENS_KEPT {
            return rows;
        }
        self.change_watch(contract, |watch| watch.crowded_at = Some(watch.from_number));
        Vec::new()
    }
}

/// The lower of a block that is known and another.
pub(super) fn lower(known: Option<u64>, number: u64) -> u64 {
    known.map_or(number, |known| known.min(number))
}

/// Whether a contract has more tokens than are kept, whatever becomes of its blocks.
fn is_crowded(watch: &Watch) -> bool {
    watch.crowded_at.is_some_and(|block| block <= watch.from_number)
}

/// What is counted of a contract from now on.
pub(super) fn counted(watch: &Watch) -> Scope {
    if is_crowded(watch) {
        watch.scope.without_ids()
    } else {
        watch.scope
    }
}

pub(super) fn movement_of(contract: Address, block_number: u64, moved: &Moved) -> Movement {
    Movement {
        block_number,
        contract,
        sender: moved.from,
        recipient: moved.to,
        quantity: moved.quantity,
        asset: Asset {
            standard: moved.standard,
            id: moved.id,
        },
    }
}
