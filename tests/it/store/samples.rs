//! Rows to write: with every column set, and with every column empty that may be.

use alloy::primitives::{Address, B256, Bloom, I256, U256};
use tollgate::domain::{
    Amount, BlockRef, ChainId, Charge, ChargeFlag, ChargeState, ChargeTerms, Credit, Flags, Grounds, Header,
    Interval, Level, MatchRule, Payment, PaymentKey, PaymentState, PlanId, Product, Quote, TenantId, Totals,
    UserId, WhenActive,
};
use tollgate::store::{Instance, Store, WriteTx};

use crate::harness::databases::Database;

pub const CHAIN: ChainId = ChainId(137);
pub const OTHER: ChainId = ChainId(1);
pub const TOKEN: Address = Address::repeat_byte(0xbb);
pub const TREASURY: Address = Address::repeat_byte(0xaa);
pub const PAYER: Address = Address::repeat_byte(0xcc);
pub const MOST: Amount = Amount(U256::MAX);

/// An open store; the database goes with the second value.
pub async fn open(database: Database) -> (Store, Database) {
    (database.open().await, database)
}

pub async fn begin(store: &Store) -> WriteTx {
    store.begin_write().await.unwrap()
}

pub fn instance(name: &str) -> Instance {
    Instance {
        id: format!("ins_{name}"),
        label: format!("{name}:1"),
    }
}

pub fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

pub fn hash(byte: u8) -> B256 {
    B256::repeat_byte(byte)
}

pub fn block(number: u64, byte: u8) -> BlockRef {
    BlockRef {
        number,
        hash: hash(byte),
    }
}

/// Its hash is its number's, its parent's is one less.
pub fn header(number: u8) -> Header {
    Header {
        number: number.into(),
        hash: hash(number),
        parent_hash: hash(number - 1),
        timestamp_s: u64::from(number) * 12,
        receipts_root: hash(0xee),
        bloom: Bloom::ZERO,
    }
}

pub fn month_of_pro() -> Product {
    Product::Plan {
        plan: PlanId::from("pro"),
        interval: Interval::Month,
    }
}

/// An open charge of acme for 15.000001 that expires at 1000 and is watched until 2000; nothing is set that may be null.
pub fn charge(id: &str) -> Charge {
    Charge {
        terms: ChargeTerms {
            id: id.parse().unwrap(),
            tenant: tenant("acme"),
            user: None,
            product: month_of_pro(),
            chain: CHAIN,
            token: TOKEN,
            treasury: TREASURY,
            price: Amount::from(15_000_000),
            quote: Quote {
                unit: "USD".to_owned(),
                decimals: 6,
                asked: Amount::from(15_000_000),
                ..Quote::default()
            },
            when_active: None,
            queued_behind: None,
            due: Amount::from(15_000_001),
            created_at: 100,
            expires_at: 1_000,
            grace_until: 2_000,
        },
        state: ChargeState::Open,
        flags: Flags::default(),
        totals: Totals::default(),
        cancelled_at: None,
        paid_at: None,
        reversed_at: None,
        closed_at: None,
        reference: B256::ZERO,
        sequence: 1,
    }
}

/// The same with every column set, and the largest amounts.
pub fn full_charge(id: &str) -> Charge {
    let mut flags = Flags::default();
    for flag in [
        ChargeFlag::Underpaid,
        ChargeFlag::Overpaid,
        ChargeFlag::Late,
        ChargeFlag::Duplicate,
        ChargeFlag::Reorged,
        ChargeFlag::ChainBlind,
        ChargeFlag::WrongToken,
        ChargeFlag::WrongChain,
        ChargeFlag::Ambiguous,
        ChargeFlag::Held,
    ] {
        flags.set(flag, true);
    }
    let mut charge = charge(id);
    charge.terms.user = Some(user("jo"));
    charge.terms.price = MOST;
    charge.terms.due = MOST;
    charge.terms.quote = Quote {
        unit: "ETH".to_owned(),
        decimals: u8::MAX,
        credit: Credit(I256::MIN),
        unused: Credit(I256::MAX),
        asked: MOST,
        rank: u32::MAX,
    };
    charge.terms.queued_behind = Some("sub_1".to_owned());
    charge.terms.when_active = Some(WhenActive::Queue);
    Charge {
        flags,
        totals: Totals {
            seen: MOST,
            confirmed: MOST,
            finalized: MOST,
        },
        cancelled_at: Some(-1),
        paid_at: Some(i64::MAX),
        reversed_at: Some(-2),
        closed_at: Some(i64::MIN),
        reference: hash(0xfe),
        sequence: i64::MAX,
        ..charge
    }
}

/// A payment in the block of that number, confirming and given to nobody.
pub fn payment(seed: u8, number: u8) -> Payment {
    Payment {
        key: PaymentKey {
            chain: CHAIN,
            tx_hash: hash(seed),
            ordinal: 0,
        },
        state: PaymentState::Confirming,
        token: TOKEN,
        payer: PAYER,
        treasury: TREASURY,
        amount: MOST,
        block: block(number.into(), number),
        block_time_ms: i64::from(number) * 12_000,
        log_index: 3,
        level: Level::Receipts,
        allocation: None,
        grounds: Grounds::default(),
        flags: Flags::default(),
    }
}

/// The same, given to a charge.
pub fn payment_of(seed: u8, number: u8, charge: &str) -> Payment {
    Payment {
        allocation: Some((charge.parse().unwrap(), MatchRule::PayerWallet)),
        ..payment(seed, number)
    }
}
