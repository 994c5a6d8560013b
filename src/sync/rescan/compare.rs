//! Proven blocks against what is stored of them. Pure.

use std::collections::{BTreeMap, HashMap};

use alloy::primitives::{Address, U256};

use super::difference::{Difference, Money, Place};
use crate::domain::{Amount, BlockRef, ChainId, Payment, PaymentKey, PaymentState, ProvenBlock, Transfer};
use crate::engine::StoredRange;
use crate::ledger::{self, AcceptedMoney};
use crate::store::{Movement, Observation, Watch};

/// A payment as the chain proves it.
struct Found {
    block: BlockRef,
    transfer: Transfer,
}

/// The payments of these blocks that count as such today.
fn found(chain: ChainId, blocks: &[ProvenBlock], money: &AcceptedMoney) -> BTreeMap<PaymentKey, Found> {
    let transfers = blocks.iter().flat_map(|block| {
        let transfers = block.logs.iter().filter_map(ledger::transfer);
        transfers.map(|transfer| (block.header.block(), transfer))
    });
    let payments = transfers.filter(|(_, transfer)| ledger::is_payment(transfer, money).is_some());
    let keyed = payments.filter_map(|(block, transfer)| {
        let key = PaymentKey {
            chain,
            tx_hash: transfer.tx_hash,
            ordinal: transfer.ordinal?,
        };
        Some((key, Found { block, transfer }))
    });
    keyed.collect()
}

/// Payments and their observations. What is stored of tokens that are not accepted today is left out: its logs were not
/// asked for. Returns how many payments the chain proves.
pub(super) fn payments(
    blocks: &[ProvenBlock],
    (chain, money): (ChainId, &AcceptedMoney),
    stored: &StoredRange,
    differences: &mut Vec<Difference>,
) -> usize {
    let found = found(chain, blocks, money);
    let in_force = stored
        .payments
        .iter()
        .filter(|payment| payment.state != PaymentState::Orphaned);
    let here: BTreeMap<PaymentKey, &Payment> = in_force.map(|payment| (payment.key, payment)).collect();
    let observed: BTreeMap<PaymentKey, &Observation> = stored
        .observations
        .iter()
        .map(|observation| (observation.key, observation))
        .collect();
    for (key, there) in &found {
        let place = Place::new(there.block.number, key);
        let Some(payment) = here.get(key) else {
            let money = moved(&there.transfer);
            differences.push(Difference::PaymentMissing { place, money });
            continue;
        };
        let before = differences.len();
        differences.extend(fields(payment, there, place));
        let is_observed = observed
            .get(key)
            .is_some_and(|one| one.block_hash == there.block.hash);
        if !is_observed && differences.len() == before {
            differences.push(Difference::ObservationMissing { place });
        }
    }
    for (key, payment) in here.iter().filter(|(key, _)| !found.contains_key(key)) {
        if counts_today(payment, money) {
            let money = Money {
                token: payment.token,
                payer: payment.payer,
                amount: payment.amount,
            };
            let place = Place::new(payment.block.number, key);
            differences.push(Difference::PaymentExtra { place, money });
        }
    }
    for (key, observation) in &observed {
        let is_known = found.contains_key(key) || here.contains_key(key);
        // What is not money today left only its payment to compare with.
        if !is_known && !stored.payments.iter().any(|payment| payment.key == *key) {
            let place = Place::new(observation.block_number, key);
            differences.push(Difference::ObservationExtra { place });
        }
    }
    found.len()
}

fn moved(transfer: &Transfer) -> Money {
    Money {
        token: transfer.contract,
        payer: transfer.from,
        amount: Amount(transfer.value),
    }
}

fn counts_today(payment: &Payment, money: &AcceptedMoney) -> bool {
    let token = money.tokens.iter().find(|token| token.address == payment.token);
    payment.treasury == money.treasury && token.is_some_and(|token| payment.amount >= token.dust)
}

fn fields(here: &Payment, there: &Found, place: Place) -> impl Iterator<Item = Difference> {
    let Found { block, transfer } = there;
    let pairs = [
        ("block", here.block.hash.to_string(), block.hash.to_string()),
        (
            "logIndex",
            here.log_index.to_string(),
            transfer.log_index.to_string(),
        ),
        ("token", here.token.to_string(), transfer.contract.to_string()),
        ("payer", here.payer.to_string(), transfer.from.to_string()),
        ("treasury", here.treasury.to_string(), transfer.to.to_string()),
        ("amount", here.amount.to_string(), transfer.value.to_string()),
    ];
    let differing = pairs.into_iter().filter(|(_, here, there)| here != there);
    differing.map(move |(field, here, there)| Difference::PaymentDiffers {
        place,
        field,
        here,
        there,
    })
}

/// Kept headers. Returns the highest that is the chain's: up to there the blocks are of the chain that was read.
pub(super) fn headers(
    blocks: &[ProvenBlock],
    stored: &StoredRange,
    differences: &mut Vec<Difference>,
) -> Option<u64> {
    let there: HashMap<u64, BlockRef> = blocks
        .iter()
        .map(|block| (block.header.number, block.header.block()))
        .collect();
    let mut anchor = None;
    for kept in &stored.headers {
        match there.get(&kept.block.number) {
            Some(block) if *block == kept.block => anchor = Some(kept.block.number),
            Some(block) => differences.push(Difference::HeaderDiffers {
                block: block.number,
                here: kept.block.hash,
                there: block.hash,
            }),
            None => {}
        }
    }
    anchor
}

/// The movements that are kept of watched contracts, of the blocks that are read for them.
pub(super) fn movements(
    blocks: &[ProvenBlock],
    watches: &[Watch],
    stored: &StoredRange,
    differences: &mut Vec<Difference>,
) {
    let Some(lowest) = stored.lowest_kept else {
        return;
    };
    let mut here: HashMap<(u64, Address), Vec<&Movement>> = HashMap::new();
    for movement in &stored.movements {
        here.entry((movement.block_number, movement.contract))
            .or_default()
            .push(movement);
    }
    for block in blocks.iter().filter(|block| block.header.number >= lowest) {
        let number = block.header.number;
        for watch in watches.iter().filter(|watch| covers(watch, number)) {
            let there = movements_of(block, watch.contract);
            let here = here.remove(&(number, watch.contract)).unwrap_or_default();
            if !here.iter().copied().eq(&there) {
                differences.push(Difference::MovementsDiffer {
                    block: number,
                    contract: watch.contract,
                    here: here.len(),
                    there: there.len(),
                });
            }
        }
    }
}

/// Whether a block was read for a contract, by its history or live.
fn covers(watch: &Watch, number: u64) -> bool {
    let by_history = (watch.from_number..watch.next_number).contains(&number);
    by_history || watch.live_from.is_some_and(|live_from| number >= live_from)
}

/// What a contract's transfers move in a block, in the order of the block.
fn movements_of(block: &ProvenBlock, contract: Address) -> Vec<Movement> {
    let transfers = block.logs.iter().filter_map(ledger::transfer);
    let ours = transfers.filter(|transfer| transfer.contract == contract);
    ours.map(|transfer| Movement {
        block_number: block.header.number,
        contract,
        sender: transfer.from,
        recipient: transfer.to,
        quantity: ledger::movement(&transfer),
    })
    .collect()
}

/// What one contract's holders have, folded again.
#[derive(Debug, Default)]
pub(super) struct Refolded(HashMap<Address, U256>);

impl Refolded {
    pub(super) fn add(&mut self, block: &ProvenBlock, contract: Address) {
        for movement in movements_of(block, contract) {
            self.change(movement.recipient, movement.quantity);
            self.change(movement.sender, movement.quantity.wrapping_neg());
        }
    }

    fn change(&mut self, holder: Address, quantity: U256) {
        if holder != Address::ZERO {
            let value = self.0.entry(holder).or_default();
            *value = value.wrapping_add(quantity);
        }
    }

    /// Every holder whose stored balance is another, with both, by holder.
    pub(super) fn differing(
        mut self,
        stored: impl Iterator<Item = (Address, U256)>,
    ) -> Vec<(Address, U256, U256)> {
        let mut differing = Vec::new();
        for (holder, here) in stored {
            let there = self.0.remove(&holder).unwrap_or_default();
            if here != there {
                differing.push((holder, here, there));
            }
        }
        let missing = self.0.into_iter().filter(|(_, there)| !there.is_zero());
        differing.extend(missing.map(|(holder, there)| (holder, U256::ZERO, there)));
        differing.sort_unstable();
        differing
    }
}
