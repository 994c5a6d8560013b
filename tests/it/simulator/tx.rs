//! Transactions: what they do, and the logs by which a chain says so.

use alloy::primitives::{Address, B256, Bytes, Log, U256, address, keccak256};
use tollgate::domain::{Aggregation, Amount, ChainId, Contracts, Rule, TRANSFER};

use super::node::CHAIN;
use crate::random::Random;

pub const USDC: Address = address!("0x00000000000000000000000000000000000000bb");
/// Says that it is USDC.
pub const FAKE: Address = address!("0x00000000000000000000000000000000000000bc");
pub const TREASURY: Address = address!("0x00000000000000000000000000000000000000aa");
/// The watched ERC-721.
pub const MEMBERS: Address = address!("0x0000000000000000000000000000000000000721");
/// The watched ERC-20.
pub const COIN: Address = address!("0x0000000000000000000000000000000000000020");
pub const HOLDERS: [Address; 4] = [
    address!("0x00000000000000000000000000000000000000c1"),
    address!("0x00000000000000000000000000000000000000c2"),
    address!("0x00000000000000000000000000000000000000c3"),
    address!("0x00000000000000000000000000000000000000c4"),
];
const PAYER: Address = address!("0x00000000000000000000000000000000000000cc");

/// What a log means to us, as whoever made it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    Payment(U256),
    Movement {
        contract: Address,
        from: Address,
        to: Address,
        quantity: U256,
    },
}

/// One log, with what it means.
#[derive(Debug, Clone)]
pub struct Act {
    pub log: Log,
    pub effect: Effect,
}

/// One transaction, the same in whichever block it is.
#[derive(Debug, Clone)]
pub struct Tx {
    pub hash: B256,
    /// The type of its receipt (EIP-2718).
    pub kind: u8,
    pub acts: Vec<Act>,
    /// No block before this time holds it.
    pub sent_at_s: u64,
}

fn log(contract: Address, topics: Vec<B256>, data: impl Into<Bytes>) -> Log {
    Log::new_unchecked(contract, topics, data.into())
}

fn transfer(contract: Address, from: Address, to: Address, value: U256) -> Log {
    let topics = vec![TRANSFER, from.into_word(), to.into_word()];
    log(contract, topics, value.to_be_bytes_vec())
}

/// What a gate on one of the contracts asks for.
pub fn rule(contract: Address) -> Rule {
    let (contracts, one) = (Contracts::one(ChainId(CHAIN), contract), Amount::from(1));
    if contract == COIN {
        Rule::Erc20Balance {
            contracts,
            at_least: Some(one),
            at_most: None,
            aggregation: Aggregation::Sum,
        }
    } else {
        Rule::Erc721Balance {
            contracts,
            at_least: one,
            aggregation: Aggregation::Sum,
        }
    }
}

/// Money for the treasury.
pub fn payment(amount: U256) -> Act {
    Act {
        log: transfer(USDC, PAYER, TREASURY, amount),
        effect: Effect::Payment(amount),
    }
}

/// Money that nobody is charged for, in every tier that a policy may have.
pub fn stray(random: &mut Random) -> Act {
    let amounts = [
        2_000_003,
        12_000_007,
        50_000_009,
        400_000_011,
        3_000_000_000_013_u64,
    ];
    payment(U256::from(random.pick(&amounts)))
}

fn coins(from: Address, to: Address, quantity: U256) -> Act {
    Act {
        log: transfer(COIN, from, to, quantity),
        effect: Effect::Movement {
            contract: COIN,
            from,
            to,
            quantity,
        },
    }
}

fn token(from: Address, to: Address, id: u64) -> Act {
    let id = B256::from(U256::from(id));
    Act {
        log: log(
            MEMBERS,
            vec![TRANSFER, from.into_word(), to.into_word(), id],
            Bytes::new(),
        ),
        effect: Effect::Movement {
            contract: MEMBERS,
            from,
            to,
            quantity: U256::ONE,
        },
    }
}

/// What the holders are given first, so that no order of later transactions takes more than is there.
pub fn endowment() -> Vec<Act> {
    let mints = HOLDERS.iter().enumerate().flat_map(|(place, holder)| {
        let first = u64::try_from(place).unwrap() * 10;
        let tokens = (first..first + 10).map(|id| token(Address::ZERO, *holder, id));
        let coins = coins(Address::ZERO, *holder, U256::from(1_000_000_u64));
        tokens.chain([coins])
    });
    mints.collect()
}

/// A holding that changes hands, is minted or burnt.
pub fn movement(random: &mut Random) -> Act {
    let from = random.pick(&HOLDERS);
    let to = random.pick(&[HOLDERS[0], HOLDERS[1], HOLDERS[2], HOLDERS[3], Address::ZERO]);
    match random.below(4) {
        0 => token(Address::ZERO, from, 1_000 + random.below(1_000_000)),
        1 => coins(Address::ZERO, from, U256::from(random.below(1_000))),
        2 => token(from, to, random.below(40)),
        _ => coins(from, to, U256::from(random.below(5))),
    }
}

/// What looks like a payment and is none, or belongs to nobody.
pub fn oddity(random: &mut Random) -> Act {
    let nothing = |log| Act {
        log,
        effect: Effect::Nothing,
    };
    let word = |address: Address| address.into_word();
    let some = U256::from(random.between(1_000, 1_000_000_000));
    match random.below(10) {
        0 => nothing(transfer(FAKE, PAYER, TREASURY, some)),
        1 => nothing(transfer(USDC, PAYER, TREASURY, U256::ZERO)),
        2 => nothing(transfer(USDC, PAYER, TREASURY, U256::from(999))),
        3 => nothing(transfer(USDC, TREASURY, TREASURY, some)),
        4 => payment(U256::MAX),
        5 => {
            let topics = vec![TRANSFER, word(PAYER), word(TREASURY), B256::from(some)];
            nothing(log(USDC, topics, Bytes::new()))
        }
        6 => {
            let topics = vec![TRANSFER, word(PAYER), word(TREASURY)];
            nothing(log(USDC, topics, vec![1; 31]))
        }
        7 => {
            let mut dirty = word(PAYER);
            dirty.0[0] = 1;
            let topics = vec![TRANSFER, dirty, word(TREASURY)];
            nothing(log(USDC, topics, some.to_be_bytes_vec()))
        }
        8 => nothing(transfer(USDC, TREASURY, PAYER, some)),
        _ => noise(random),
    }
}

/// A log that is nobody's business here.
pub fn noise(random: &mut Random) -> Act {
    let topic = keccak256(random.below(1_000).to_be_bytes());
    let contract = Address::from_word(keccak256(random.below(50).to_be_bytes()));
    Act {
        log: log(contract, vec![topic], vec![7; 8]),
        effect: Effect::Nothing,
    }
}

/// A transaction of its own hash.
pub fn tx(random: &mut Random, id: u64, acts: Vec<Act>, sent_at_s: u64) -> Tx {
    Tx {
        hash: keccak256(id.to_be_bytes()),
        kind: random.pick(&[0, 1, 2, 2, 2, 3, 4, 0x6a, 0x7e]),
        acts,
        sent_at_s,
    }
}
