//! Proven blocks against what is stored of them. Pure.

use std::collections::{BTreeMap, HashMap};

use alloy::primitives::Address;

use super::difference::{Difference, Money, Place};
use super::refold::movements_of;
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
    let token = money.token(payment.token);
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
            let there = movements_of(block, watch);
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

#[cfg(test)]
mod tests {
    use alloy::primitives::{B256, Bloom, Bytes, U256, address};

    use super::*;
    use crate::domain::{Flags, Grounds, Header, Level, LogEntry, Scope, Standard, TRANSFER, Token};
    use crate::store::KeptHeader;

    const CHAIN: ChainId = ChainId(1);
    const USDC: Address = address!("0x00000000000000000000000000000000000000bb");
    const NFT: Address = address!("0x00000000000000000000000000000000000000dd");
    const TREASURY: Address = address!("0x00000000000000000000000000000000000000aa");
    const PAYER: Address = address!("0x00000000000000000000000000000000000000cc");

    fn block(number: u64, logs: Vec<LogEntry>) -> ProvenBlock {
        let header = Header {
            number,
            hash: hash(number),
            parent_hash: hash(number - 1),
            timestamp_s: number,
            receipts_root: B256::ZERO,
            bloom: Bloom::ZERO,
        };
        ProvenBlock {
            header,
            logs,
            level: Level::Receipts,
        }
    }

    fn hash(number: u64) -> B256 {
        B256::with_last_byte(u8::try_from(number).unwrap())
    }

    fn coins(token: Address, value: u64) -> LogEntry {
        LogEntry {
            address: token,
            topics: vec![TRANSFER, PAYER.into_word(), TREASURY.into_word()],
            data: Bytes::from(U256::from(value).to_be_bytes_vec()),
            tx_hash: B256::repeat_byte(1),
            log_index: 4,
            ordinal: Some(2),
        }
    }

    fn payment(token: Address, state: PaymentState) -> Payment {
        Payment {
            key: PaymentKey {
                chain: CHAIN,
                tx_hash: B256::repeat_byte(1),
                ordinal: 2,
            },
            state,
            token,
            payer: PAYER,
            treasury: TREASURY,
            amount: Amount::from(500),
            block: BlockRef {
                number: 7,
                hash: hash(7),
            },
            block_time_ms: 7_000,
            log_index: 4,
            level: Level::Receipts,
            allocation: None,
            grounds: Grounds::default(),
            flags: Flags::default(),
        }
    }

    fn observation() -> Observation {
        Observation {
            key: payment(USDC, PaymentState::Confirmed).key,
            block_number: 7,
            block_hash: hash(7),
            log_index: 4,
        }
    }

    fn stored(payments: Vec<Payment>, observations: Vec<Observation>) -> StoredRange {
        StoredRange {
            headers: Vec::new(),
            lowest_kept: Some(7),
            payments,
            observations,
            movements: Vec::new(),
        }
    }

    fn kinds(blocks: &[ProvenBlock], stored: &StoredRange) -> Vec<String> {
        let token = Token {
            chain: CHAIN,
            address: USDC,
            symbol: "USDC".to_owned(),
            unit: "USD".to_owned(),
            decimals: 6,
            dust: Amount::from(100),
        };
        let money = AcceptedMoney {
            treasury: TREASURY,
            ours: vec![TREASURY],
            tokens: vec![token],
            others: Vec::new(),
        };
        let mut differences = Vec::new();
        payments(blocks, (CHAIN, &money), stored, &mut differences);
        differences
            .iter()
            .map(|one| one.to_string().split(':').next().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn payments_and_observations_are_held_against_the_chain() {
        let paid = [block(7, vec![coins(USDC, 500)])];
        let nothing = [block(7, Vec::new())];
        let confirmed = || vec![payment(USDC, PaymentState::Confirmed)];
        let orphaned = || vec![payment(USDC, PaymentState::Orphaned)];
        let seen = || vec![observation()];
        assert!(kinds(&paid, &stored(confirmed(), seen())).is_empty());
        assert_eq!(kinds(&paid, &stored(vec![], vec![])), ["payment missing here"]);
        assert_eq!(
            kinds(&paid, &stored(orphaned(), vec![])),
            ["payment missing here"]
        );
        assert_eq!(
            kinds(&paid, &stored(confirmed(), vec![])),
            ["observation missing here"]
        );
        assert_eq!(
            kinds(&nothing, &stored(confirmed(), seen())),
            ["payment not on the chain"]
        );
        assert!(kinds(&nothing, &stored(orphaned(), vec![])).is_empty());
        assert_eq!(
            kinds(&nothing, &stored(vec![], seen())),
            ["observation not on the chain"]
        );
        let other_amount = [block(7, vec![coins(USDC, 501)])];
        assert_eq!(
            kinds(&other_amount, &stored(confirmed(), seen())),
            ["payment differs"]
        );
    }

    #[test]
    fn what_is_no_money_today_is_not_compared() {
        let of_another = vec![payment(NFT, PaymentState::Confirmed)];
        assert!(kinds(&[block(7, Vec::new())], &stored(of_another, vec![observation()])).is_empty());
        assert!(kinds(&[block(7, vec![coins(USDC, 99)])], &stored(vec![], vec![])).is_empty());
    }

    #[test]
    fn the_highest_header_that_agrees_anchors_the_range() {
        let kept = |number, hash| KeptHeader {
            block: BlockRef { number, hash },
            parent_hash: B256::ZERO,
            time_ms: 0,
        };
        let stored = StoredRange {
            headers: vec![
                kept(7, hash(7)),
                kept(8, hash(8)),
                kept(9, B256::ZERO),
                kept(12, hash(12)),
            ],
            ..stored(vec![], vec![])
        };
        let blocks: Vec<ProvenBlock> = (6..=9).map(|number| block(number, vec![])).collect();
        let mut differences = Vec::new();
        assert_eq!(headers(&blocks, &stored, &mut differences), Some(8));
        let expected = Difference::HeaderDiffers {
            block: 9,
            here: B256::ZERO,
            there: hash(9),
        };
        assert_eq!(differences, [expected]);
        assert_eq!(headers(&blocks[..1], &stored, &mut differences), None);
    }

    #[test]
    fn kept_movements_are_compared_where_the_contract_is_read() {
        let watch = Watch {
            chain: CHAIN,
            contract: NFT,
            scope: Scope::of(Standard::Erc20),
            from_number: 0,
            next_number: 5,
            next_parent: None,
            live_from: Some(8),
            live_parent: None,
            first_moved: None,
            malformed_at: None,
            crowded_at: None,
        };
        // Below what is kept, between its past and its live blocks, and live.
        let blocks = [4, 7, 9].map(|number| block(number, vec![coins(NFT, 3)]));
        let mut differences = Vec::new();
        movements(&blocks, &[watch], &stored(vec![], vec![]), &mut differences);
        let missing = |here| Difference::MovementsDiffer {
            block: 9,
            contract: NFT,
            here,
            there: 1,
        };
        assert_eq!(differences, [missing(0)]);
        let kept = movements_of(&blocks[2], &watch);
        let mut same = stored(vec![], vec![]);
        same.movements = kept.clone();
        differences.clear();
        movements(&blocks, &[watch], &same, &mut differences);
        assert_eq!(differences, []);
        same.movements[0].quantity += U256::ONE;
        movements(&blocks, &[watch], &same, &mut differences);
        assert_eq!(differences, [missing(1)]);
    }
}
