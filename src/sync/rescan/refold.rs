//! A contract's balances folded again from its proven past, against those that are stored. Pure.

use std::collections::HashMap;

use alloy::primitives::{Address, U256};

use crate::domain::{Asset, ProvenBlock};
use crate::ledger;
use crate::store::{BalanceRow, Movement, Watch};

/// What a contract's transfers move in a block, in the order of the block.
pub(super) fn movements_of(block: &ProvenBlock, watch: &Watch) -> Vec<Movement> {
    let mut movements = Vec::new();
    let ours = |contract: &Address| (*contract == watch.contract).then_some(watch.scope);
    // What cannot be counted is noted where it is read.
    let _faults = ledger::holdings(block, ours, |contract, moved| {
        movements.push(Movement {
            block_number: block.header.number,
            contract: *contract,
            sender: moved.from,
            recipient: moved.to,
            quantity: moved.quantity,
            asset: Asset {
                standard: moved.standard,
                id: moved.id,
            },
        });
    });
    movements
}

/// What one contract's holders have, folded again.
#[derive(Debug)]
pub(super) struct Refolded {
    watch: Watch,
    held: HashMap<(Address, Asset), U256>,
}

/// A balance that is stored otherwise than it is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Differing {
    pub holder: Address,
    pub asset: Asset,
    pub here: U256,
    pub there: U256,
}

impl Refolded {
    pub(super) fn new(watch: &Watch) -> Self {
        Self {
            watch: *watch,
            held: HashMap::new(),
        }
    }

    pub(super) fn add(&mut self, block: &ProvenBlock) {
        for Movement {
            sender,
            recipient,
            quantity,
            asset,
            ..
        } in movements_of(block, &self.watch)
        {
            for (holder, by) in [(recipient, quantity), (sender, quantity.wrapping_neg())] {
                self.change(holder, Asset::all(asset.standard), by);
                if asset.id.is_some() && self.watch.crowded_at.is_none() {
                    self.change(holder, asset, by);
                }
            }
        }
    }

    fn change(&mut self, holder: Address, asset: Asset, quantity: U256) {
        if holder != Address::ZERO {
            let value = self.held.entry((holder, asset)).or_default();
            *value = value.wrapping_add(quantity);
        }
    }

    /// Every balance that is stored otherwise, by holder.
    pub(super) fn differing<'r>(mut self, stored: impl Iterator<Item = &'r BalanceRow>) -> Vec<Differing> {
        let mut differing = Vec::new();
        let is_kept = |row: &&BalanceRow| row.asset.id.is_none() || self.watch.crowded_at.is_none();
        for row in stored.filter(is_kept) {
            let (holder, asset, here) = (row.holder, row.asset, row.value);
            let there = self.held.remove(&(holder, asset)).unwrap_or_default();
            if here != there {
                differing.push(Differing {
                    holder,
                    asset,
                    here,
                    there,
                });
            }
        }
        let missing = self.held.into_iter().filter(|(_, there)| !there.is_zero());
        differing.extend(missing.map(|((holder, asset), there)| Differing {
            holder,
            asset,
            here: U256::ZERO,
            there,
        }));
        differing.sort_unstable();
        differing
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{B256, Bloom};

    use super::*;
    use crate::domain::{ChainId, Header, Level, LogEntry, Scope, Standard, TRANSFER, TokenId};

    const NFT: Address = Address::repeat_byte(0xdd);
    const ALICE: Address = Address::repeat_byte(0xa1);
    const BOB: Address = Address::repeat_byte(0xb0);

    fn given(contract: Address, id: u8) -> LogEntry {
        LogEntry {
            address: contract,
            topics: vec![
                TRANSFER,
                ALICE.into_word(),
                BOB.into_word(),
                B256::with_last_byte(id),
            ],
            data: alloy::primitives::Bytes::new(),
            tx_hash: B256::ZERO,
            log_index: 0,
            ordinal: None,
        }
    }

    fn folded(scope: Scope) -> Refolded {
        let watch = Watch {
            chain: ChainId(1),
            contract: NFT,
            scope,
            from_number: 0,
            next_number: 0,
            next_parent: None,
            live_from: None,
            live_parent: None,
            first_moved: None,
            malformed_at: None,
            crowded_at: None,
        };
        let header = Header {
            number: 7,
            hash: B256::ZERO,
            parent_hash: B256::ZERO,
            timestamp_s: 0,
            receipts_root: B256::ZERO,
            bloom: Bloom::ZERO,
        };
        let block = ProvenBlock {
            header,
            logs: vec![given(NFT, 3), given(BOB, 9)],
            level: Level::Receipts,
        };
        let mut refolded = Refolded::new(&watch);
        refolded.add(&block);
        refolded
    }

    fn row(holder: Address, asset: Asset, value: U256) -> BalanceRow {
        BalanceRow {
            contract: NFT,
            holder,
            asset,
            value,
        }
    }

    #[test]
    fn balances_are_folded_again_and_compared_both_ways() {
        let all = Asset::all(Standard::Erc721);
        let minus = U256::ONE.wrapping_neg();
        let counted = || folded(Scope::of(Standard::Erc721));
        let right = [row(BOB, all, U256::ONE), row(ALICE, all, minus)];
        assert_eq!(counted().differing(right.iter()), []);
        let wrong = [row(NFT, all, U256::ONE), row(ALICE, all, minus)];
        let differing = |holder, here, there| Differing {
            holder,
            asset: all,
            here,
            there,
        };
        assert_eq!(
            counted().differing(wrong.iter()),
            [
                differing(BOB, U256::ZERO, U256::ONE),
                differing(NFT, U256::ONE, U256::ZERO)
            ]
        );
    }

    #[test]
    fn each_token_is_compared_where_tokens_are_kept() {
        let token = Asset::one(Standard::Erc721, TokenId(U256::from(3)));
        let found = folded(Scope::of(Standard::Erc721).with_ids()).differing([].iter());
        assert_eq!(found.len(), 4, "for each holder the total and the token");
        assert!(
            found
                .iter()
                .any(|found| (found.holder, found.asset) == (BOB, token))
        );
    }
}
