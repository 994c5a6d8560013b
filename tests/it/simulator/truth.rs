//! What must follow from a branch of the tree: computed from what the transactions were made to do, with none of the code
//! that is tested.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy::primitives::{Address, B256, U256};

use super::block::Block;
use super::tx::Effect;

/// A payment where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paid {
    pub amount: U256,
    pub block: B256,
    pub number: u64,
    pub index: u64,
}

/// A payment's identity: transaction, and ordinal in it.
pub type Key = (B256, u32);

/// The payments of these blocks.
pub fn payments(blocks: &[Arc<Block>]) -> BTreeMap<Key, Paid> {
    let mut payments = BTreeMap::new();
    for block in blocks {
        for log in &block.logs {
            if let Effect::Payment(amount) = log.effect {
                let paid = Paid {
                    amount,
                    block: block.hash,
                    number: block.number,
                    index: log.index,
                };
                payments.insert((log.tx_hash, log.ordinal), paid);
            }
        }
    }
    payments
}

/// What each holder of a contract has after these blocks, modulo 2^256; nobody with nothing is named.
pub fn balances<'b>(
    blocks: impl Iterator<Item = &'b Arc<Block>>,
    contract: Address,
) -> BTreeMap<Address, U256> {
    let mut balances: BTreeMap<Address, U256> = BTreeMap::new();
    for effect in blocks.flat_map(|block| &block.logs).map(|log| log.effect) {
        let Effect::Movement {
            contract: of,
            from,
            to,
            quantity,
        } = effect
        else {
            continue;
        };
        if of != contract {
            continue;
        }
        for (holder, by) in [(to, quantity), (from, quantity.wrapping_neg())] {
            let balance = balances.entry(holder).or_default();
            *balance = balance.wrapping_add(by);
        }
    }
    balances.remove(&Address::ZERO);
    balances.retain(|_, balance| !balance.is_zero());
    balances
}
