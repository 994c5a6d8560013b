//! Each event against its shape, and shapes that nobody promised: random bytes, lying offsets, ranges without end.

use alloy::primitives::{B256, Bytes, keccak256};
use alloy::sol;
use alloy::sol_types::SolEvent;

use super::*;

sol! {
    event TransferSingle(address indexed operator, address indexed from, address indexed to, uint256 id, uint256 value);
    event TransferBatch(address indexed operator, address indexed from, address indexed to, uint256[] ids, uint256[] values);
    event ConsecutiveTransfer(uint256 indexed fromTokenId, uint256 toTokenId, address indexed fromAddress, address indexed toAddress);
}

const ALICE: Address = Address::repeat_byte(0xa1);
const BOB: Address = Address::repeat_byte(0xb0);
const OPERATOR: Address = Address::repeat_byte(0x0e);

fn log(topics: Vec<B256>, data: Vec<u8>) -> LogEntry {
    LogEntry {
        address: Address::repeat_byte(9),
        topics,
        data: Bytes::from(data),
        tx_hash: B256::ZERO,
        log_index: 0,
        ordinal: None,
    }
}

fn of(event: &impl SolEvent) -> LogEntry {
    let encoded = event.encode_log_data();
    log(encoded.topics().to_vec(), encoded.data.to_vec())
}

fn read(log: &LogEntry, scope: Scope) -> Result<Vec<Moved>, Fault> {
    let mut moved = Vec::new();
    let outcome = moved_by(log, scope, &mut MAX_CONSECUTIVE.clone(), |one| moved.push(one));
    let expected = match outcome {
        Err(Fault::MalformedLog) => moved.is_empty(),
        Err(Fault::TooManyTokens) => moved.iter().all(|one| one.id.is_none()),
        Ok(()) => true,
    };
    assert!(expected, "{log:?}");
    outcome.map(|()| moved)
}

fn moved(standard: Standard, quantity: u64, id: Option<u64>) -> Moved {
    Moved {
        from: ALICE,
        to: BOB,
        quantity: U256::from(quantity),
        standard,
        id: id.map(|id| TokenId(U256::from(id))),
    }
}

fn word(number: u64) -> [u8; 32] {
    U256::from(number).to_be_bytes()
}

fn batch_of(ids: &[u64], values: &[u64]) -> LogEntry {
    let numbers = |list: &[u64]| list.iter().map(|number| U256::from(*number)).collect();
    of(&TransferBatch {
        operator: OPERATOR,
        from: ALICE,
        to: BOB,
        ids: numbers(ids),
        values: numbers(values),
    })
}

fn range_of(first: U256, last: U256) -> LogEntry {
    of(&ConsecutiveTransfer {
        fromTokenId: first,
        toTokenId: last,
        fromAddress: ALICE,
        toAddress: BOB,
    })
}

const FUNGIBLE: Scope = Scope::of(Standard::Erc20);
const COUNTED: Scope = Scope::of(Standard::Erc721);
const BY_ID: Scope = COUNTED.with_ids();
const PASSES: Scope = Scope::of(Standard::Erc1155);

#[test]
fn each_standard_counts_where_it_is_kept_and_nowhere_else() {
    let coins = log(
        vec![TRANSFER, ALICE.into_word(), BOB.into_word()],
        word(500).to_vec(),
    );
    let nft = log(
        vec![TRANSFER, ALICE.into_word(), BOB.into_word(), word(7).into()],
        Vec::new(),
    );
    let pass = of(&TransferSingle {
        operator: OPERATOR,
        from: ALICE,
        to: BOB,
        id: U256::from(3),
        value: U256::from(40),
    });
    assert_eq!(
        read(&coins, FUNGIBLE),
        Ok(vec![moved(Standard::Erc20, 500, None)])
    );
    assert_eq!(read(&nft, COUNTED), Ok(vec![moved(Standard::Erc721, 1, None)]));
    assert_eq!(read(&nft, BY_ID), Ok(vec![moved(Standard::Erc721, 1, Some(7))]));
    assert_eq!(read(&pass, PASSES), Ok(vec![moved(Standard::Erc1155, 40, None)]));
    assert_eq!(
        read(&pass, PASSES.with_ids()),
        Ok(vec![moved(Standard::Erc1155, 40, Some(3))])
    );
    for (log, scope) in [
        (&coins, COUNTED),
        (&coins, PASSES),
        (&nft, FUNGIBLE),
        (&nft, PASSES),
        (&pass, BY_ID),
    ] {
        assert_eq!(read(log, scope), Ok(Vec::new()), "{scope:?}");
    }
    assert_eq!(
        read(&log(Vec::new(), vec![1]), BY_ID),
        Ok(Vec::new()),
        "anonymous"
    );
}

#[test]
fn a_batch_moves_each_of_its_pairs() {
    assert_eq!(
        read(&batch_of(&[1, 2, 1], &[5, 0, 6]), PASSES.with_ids()),
        Ok(vec![
            moved(Standard::Erc1155, 5, Some(1)),
            moved(Standard::Erc1155, 0, Some(2)),
            moved(Standard::Erc1155, 6, Some(1)),
        ])
    );
    assert_eq!(read(&batch_of(&[], &[]), PASSES), Ok(Vec::new()));
    assert_eq!(
        read(&batch_of(&[1, 2], &[5]), PASSES),
        Err(Fault::MalformedLog),
        "arrays of different lengths"
    );
}

#[test]
fn a_range_is_counted_one_by_one_as_far_as_there_is_a_bound() {
    let number = |number: u64| U256::from(number);
    assert_eq!(
        read(&range_of(number(5), number(7)), BY_ID),
        Ok((5..=7).map(|id| moved(Standard::Erc721, 1, Some(id))).collect())
    );
    let most = range_of(number(1), number(MAX_CONSECUTIVE));
    assert_eq!(read(&most, BY_ID).unwrap().len(), 10_000);
    let more = range_of(number(0), number(MAX_CONSECUTIVE));
    assert_eq!(read(&more, BY_ID), Err(Fault::TooManyTokens));
    assert_eq!(
        read(&more, COUNTED),
        Ok(vec![moved(Standard::Erc721, 10_001, None)]),
        "together there may be any number"
    );
    let at_the_end = range_of(U256::MAX - U256::ONE, U256::MAX);
    assert_eq!(read(&at_the_end, BY_ID).unwrap()[1].id, Some(TokenId(U256::MAX)));
    let all = range_of(U256::ZERO, U256::MAX);
    for scope in [BY_ID, COUNTED] {
        assert_eq!(read(&all, scope), Err(Fault::MalformedLog), "2^256 of them");
    }
    assert_eq!(
        read(&range_of(number(2), number(1)), COUNTED),
        Err(Fault::MalformedLog)
    );
}

#[test]
fn the_bound_is_of_a_block_and_of_each_contract_in_it() {
    let range = |contract: u8, first: u64, count: u64| LogEntry {
        address: Address::repeat_byte(contract),
        ..range_of(U256::from(first), U256::from(first + count - 1))
    };
    let block = ProvenBlock {
        header: crate::domain::Header {
            number: 1,
            hash: B256::ZERO,
            parent_hash: B256::ZERO,
            timestamp_s: 0,
            receipts_root: B256::ZERO,
            bloom: alloy::primitives::Bloom::ZERO,
        },
        logs: vec![
            range(1, 0, 9_999),
            range(2, 0, 10_000),
            range(1, 20_000, 2),
            range(1, 30_000, 1),
            range(3, 0, 5),
        ],
        level: crate::domain::Level::Receipts,
    };
    let watched = |contract: &Address| (*contract != Address::repeat_byte(3)).then_some(BY_ID);
    let mut counted: HashMap<Address, (U256, usize)> = HashMap::new();
    let faults = holdings(&block, watched, |contract, moved| {
        let (tokens, by_id) = counted.entry(*contract).or_default();
        *tokens += moved.quantity;
        *by_id += usize::from(moved.id.is_some());
    });
    assert_eq!(faults, [(Address::repeat_byte(1), Fault::TooManyTokens)]);
    assert_eq!(
        counted[&Address::repeat_byte(1)],
        (U256::from(10_002), 10_000),
        "what does not fit is counted together"
    );
    assert_eq!(counted[&Address::repeat_byte(2)], (U256::from(10_000), 10_000));
    assert_eq!(counted.len(), 2);
}

#[test]
fn what_has_the_signature_and_not_the_shape_is_malformed() {
    let indexed = |count: usize| vec![ALICE.into_word(); count];
    let with = |signature: B256, topics: usize, data: Vec<u8>| {
        log([vec![signature], indexed(topics)].concat(), data)
    };
    let dirty = B256::repeat_byte(1);
    for (log, scope) in [
        (with(TRANSFER, 2, vec![0; 31]), FUNGIBLE),
        (with(TRANSFER, 2, vec![0; 64]), FUNGIBLE),
        (with(TRANSFER, 0, vec![0; 96]), COUNTED),
        (with(TRANSFER, 3, vec![0; 32]), BY_ID),
        (
            log(vec![TRANSFER, dirty, ALICE.into_word()], vec![0; 32]),
            FUNGIBLE,
        ),
        (with(CONSECUTIVE_TRANSFER, 3, Vec::new()), COUNTED),
        (with(CONSECUTIVE_TRANSFER, 2, vec![0; 32]), COUNTED),
        (with(TRANSFER_SINGLE, 3, vec![0; 63]), PASSES),
        (with(TRANSFER_SINGLE, 3, vec![0; 96]), PASSES),
        (with(TRANSFER_SINGLE, 2, vec![0; 64]), PASSES),
        (with(TRANSFER_BATCH, 3, Vec::new()), PASSES),
        (with(TRANSFER_BATCH, 3, vec![0xff; 64]), PASSES),
        (
            log(vec![TRANSFER_BATCH, dirty, dirty, dirty], vec![0; 64]),
            PASSES,
        ),
    ] {
        assert_eq!(read(&log, scope), Err(Fault::MalformedLog), "{log:?}");
    }
}

#[test]
fn offsets_and_lengths_that_lead_out_of_the_data_are_refused() {
    let good = batch_of(&[1, 2], &[3, 4]);
    let words = good.data.len() / 32;
    for at in [0, 1, 2, 5] {
        for lie in [
            U256::MAX,
            U256::from(u64::MAX),
            U256::from(words * 32),
            U256::from(1) << 255,
        ] {
            let mut data = good.data.to_vec();
            data[at * 32..at * 32 + 32].copy_from_slice(&lie.to_be_bytes::<32>());
            let log = log(good.topics.clone(), data);
            assert_eq!(read(&log, PASSES), Err(Fault::MalformedLog), "word {at} is {lie}");
        }
    }
    for shorter in 0..good.data.len() {
        let log = log(good.topics.clone(), good.data[..shorter].to_vec());
        assert_eq!(read(&log, PASSES), Err(Fault::MalformedLog), "{shorter} bytes");
    }
}

#[test]
fn random_bytes_never_panic_and_move_no_more_than_their_length_allows() {
    let mut seed = B256::repeat_byte(7);
    let mut next = || {
        seed = keccak256(seed);
        seed
    };
    let mut understood = 0;
    for round in 0..20_000_usize {
        let dice = next();
        let signature = [TRANSFER, TRANSFER_SINGLE, TRANSFER_BATCH, CONSECUTIVE_TRANSFER][round % 4];
        let mut topics = vec![signature];
        for _ in 0..dice[0] % 4 {
            // Mostly numbers that are addresses too, and small.
            let mut topic = next();
            topic.0[..usize::from(dice[1] % 32)].fill(0);
            topics.push(topic);
        }
        let mut data = Vec::new();
        for _ in 0..dice[2] % 12 {
            let mut word = next();
            if dice[3] % 4 != 0 {
                // Something that may be an offset or a length.
                word.0[..31].fill(0);
                word.0[31] &= 0xe7;
            }
            data.extend(word);
        }
        data.truncate(data.len().saturating_sub(usize::from(dice[4] % 3)));
        let length = data.len();
        let log = log(topics, data);
        for bits in 0..16 {
            let scope = Scope::from_bits(bits).unwrap();
            if let Ok(moved) = read(&log, scope) {
                let most = if signature == CONSECUTIVE_TRANSFER {
                    10_000
                } else {
                    1 + length / 32
                };
                assert!(moved.len() <= most, "{log:?}");
                understood += usize::from(!moved.is_empty());
            }
        }
    }
    assert!(understood > 500, "{understood}");
}
