//! What a full block of payments costs, with few open charges and with many: from the command that reads it to its commit.
//!
//! The block is handed to the engine as the chain room would have proven it. Charges are written past the engine, as one by
//! one they would take longer than everything else. The payments are for as many charges among few as among many, and then
//! each for another. Nine tenths name their charge by the amount and a tenth by its reference alone; every one must be given
//! to the charge that it is for.

use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256, Bloom, Bytes, U256, keccak256};
use tollgate::clock::Clock;
use tollgate::config::{self, StoreSettings};
use tollgate::domain::{
    AUTHORIZATION_USED, Amount, Charge, ChargeState, ChargeTerms, Evidence, Finality, Flags, Header,
    Interval, Level, LogEntry, PlanId, Product, ProvenBlock, Quote, Reference, TRANSFER, Token, Totals,
};
use tollgate::engine::{Advance, Engine, OpenChain};
use tollgate::store::{self, Store};

use super::chain::{CHAIN, Place};
use super::report::{Line, percentile, round};
use super::scratch::{Database, Stores};
use super::{Outcome, Size};

const FEW: u64 = 100;
const PAYMENTS: u64 = 250;
const PRICES: u64 = 50;
/// Of so many payments one names its charge by a reference.
const REFERENCE_EVERY: u64 = 10;
/// Charges written in one transaction.
const AT_ONCE: u64 = 1_000;
const TREASURY: Address = Address::repeat_byte(0xaa);
const USDC: Address = Address::repeat_byte(0xbb);

pub async fn run(size: Size) -> Outcome {
    let (many, rounds) = size.pick((10_000, 3), (100_000, 9));
    for stores in Stores::both()? {
        let mut few = Vec::new();
        for _ in 0..rounds {
            // Each time anew: a round pays for all of them.
            few.extend(measure(&stores, (FEW, FEW), 1).await?);
        }
        let of_many = measure(&stores, (many, FEW), rounds).await?;
        let many_paid = measure(&stores, (many, PAYMENTS), rounds).await?;
        for (charges, paid, taken) in [
            (FEW, FEW, &few),
            (many, FEW, &of_many),
            (many, PAYMENTS, &many_paid),
        ] {
            let ratio = (charges > FEW).then(|| percentile(taken, 50) / percentile(&few, 50));
            Line {
                bench: "match",
                value: round(percentile(taken, 50), 2),
                unit: "ms",
                case: Some(format!(
                    "{PAYMENTS} payments for {paid} of {charges} open charges"
                )),
                ratio: ratio.map(|ratio| round(ratio, 2)),
                against: ratio.map(|_| format!("{PAYMENTS} payments for {FEW} of {FEW}")),
                p95_ms: Some(round(percentile(taken, 95), 2)),
                store: Some(stores.name()),
                n: Some(PAYMENTS),
                ..Line::default()
            }
            .print()?;
        }
    }
    Ok(())
}

/// Milliseconds for each of `rounds` blocks, with so many open charges, of which `paid` are paid in each block.
async fn measure(stores: &Stores, (charges, paid): (u64, u64), rounds: u64) -> Outcome<Vec<f64>> {
    let database = stores.new_database()?;
    let mut bench = Bench::open(&database).await?;
    bench.write_charges(charges).await?;
    for _ in 0..3 {
        bench.read(&[]).await?;
    }
    let mut taken = Vec::new();
    for number in 0..rounds {
        // Spread over all of the charges, and in each round others, as far as there are.
        let index = |at: u64| ((at % paid) * (charges / paid) + number) % charges;
        let indices: Vec<u64> = (0..PAYMENTS).map(index).collect();
        taken.push(bench.read(&indices).await?.as_secs_f64() * 1e3);
        let given = bench.given().await?;
        if given != PAYMENTS * (number + 1) {
            return Err(format!("{given} payments were given to a charge, of {PAYMENTS} a block").into());
        }
    }
    bench.engine.close().await;
    Ok(taken)
}

struct Bench {
    engine: Engine,
    store: Store,
    fence: i64,
    tip: Option<Header>,
    transactions: u64,
    now_ms: i64,
}

impl Bench {
    async fn open(database: &Database) -> Outcome<Self> {
        let place = Place {
            http: String::new(),
            ws: String::new(),
            database: database.url.clone(),
        };
        let token = Token {
            chain: CHAIN,
            address: USDC,
            symbol: "USDC".to_owned(),
            unit: "USD".to_owned(),
            decimals: 6,
            dust: Amount::from(10_000),
        };
        // Matching alone: what is read counts only many blocks later.
        let chain = config::Chain {
            finality: Finality::of_confirmations(100),
            ..place.chain(Some(1), Some(TREASURY), vec![token])
        };
        let engine = place.engine(&chain).await?;
        let settings = StoreSettings {
            url: database.url.as_str().into(),
            max_connections: 2,
        };
        let open = OpenChain {
            chain: CHAIN,
            genesis: B256::ZERO,
            head: 0,
        };
        Ok(Self {
            fence: engine.execute(open).await?.fence,
            store: Store::open(&settings).await?,
            now_ms: Clock::system().now_ms(),
            engine,
            tip: None,
            transactions: 0,
        })
    }

    async fn write_charges(&self, charges: u64) -> Outcome {
        for first in (0..charges).step_by(usize::try_from(AT_ONCE)?) {
            let mut tx = self.store.begin_write().await?;
            for index in first..charges.min(first + AT_ONCE) {
                let charge = self.charge(index)?;
                let times = (charge.terms.created_at, charge.terms.grace_until);
                tx.insert_charge(&charge).await?;
                if !tx.lease_amount(&charge.terms, times, (self.now_ms, 0)).await? {
                    return Err("two charges have one amount".into());
                }
                tx.put_reference(&Reference {
                    chain: CHAIN,
                    token: USDC,
                    nonce: charge.reference,
                    charge: charge.terms.id,
                    n: 0,
                    used_at: None,
                })
                .await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// The charge of that index: each price has as many, told apart by their last base units.
    fn charge(&self, index: u64) -> Outcome<Charge> {
        let price = Amount::from((10 + index % PRICES) * 1_000_000);
        Ok(Charge {
            terms: ChargeTerms {
                id: format!("chg_{index:032x}").parse()?,
                tenant: format!("tenant-{index}").parse()?,
                user: None,
                product: Product::Plan {
                    plan: PlanId::from("pro"),
                    interval: Interval::Month,
                },
                chain: CHAIN,
                token: USDC,
                treasury: TREASURY,
                price,
                due: due(index),
                quote: Quote {
                    unit: "USD".to_owned(),
                    decimals: 6,
                    asked: price,
                    ..Quote::default()
                },
                when_active: None,
                queued_behind: None,
                created_at: self.now_ms - 60_000,
                expires_at: self.now_ms + 3_600_000,
                grace_until: self.now_ms + 7_200_000,
            },
            state: ChargeState::Open,
            flags: Flags::default(),
            totals: Totals::default(),
            cancelled_at: None,
            paid_at: None,
            reversed_at: None,
            closed_at: None,
            reference: nonce(index),
            sequence: 1,
        })
    }

    /// Has the engine read a block in which these charges are paid; how long that took.
    async fn read(&mut self, paid: &[u64]) -> Outcome<Duration> {
        let mut logs = Vec::new();
        for (at, index) in (0_u64..).zip(paid) {
            self.transactions += 1;
            let tx_hash = keccak256(self.transactions.to_be_bytes());
            let payer = Address::from_word(keccak256(at.to_le_bytes()));
            let by_reference = at % REFERENCE_EVERY == 0;
            let mut push = |topics, data, ordinal| {
                let log_index = u64::try_from(logs.len()).unwrap_or(u64::MAX);
                logs.push(LogEntry {
                    address: USDC,
                    topics,
                    data,
                    tx_hash,
                    log_index,
                    ordinal: Some(ordinal),
                });
            };
            if by_reference {
                let topics = vec![AUTHORIZATION_USED, payer.into_word(), nonce(*index)];
                push(topics, Bytes::new(), 0);
            }
            // With a reference the amount is nobody's.
            let amount = if by_reference {
                U256::from(9_500_000)
            } else {
                due(*index).0
            };
            let topics = vec![TRANSFER, payer.into_word(), TREASURY.into_word()];
            push(
                topics,
                Bytes::from(amount.to_be_bytes_vec()),
                u32::from(by_reference),
            );
        }
        let header = self.next_header();
        let advance = Advance {
            chain: CHAIN,
            fence: self.fence,
            head: header.number,
            rollback_to: None,
            blocks: vec![ProvenBlock {
                header,
                logs,
                level: Level::Receipts,
            }],
            evidence: Evidence::default(),
        };
        let begun = Instant::now();
        self.engine.execute(advance).await?;
        Ok(begun.elapsed())
    }

    fn next_header(&mut self) -> Header {
        let number = self.tip.as_ref().map_or(1, |tip| tip.number + 1);
        let header = Header {
            number,
            hash: keccak256(number.to_be_bytes()),
            parent_hash: self.tip.as_ref().map_or(B256::ZERO, |tip| tip.hash),
            timestamp_s: u64::try_from(self.now_ms / 1000).unwrap_or_default() + number,
            receipts_root: B256::ZERO,
            bloom: Bloom::ZERO,
        };
        self.tip = Some(header.clone());
        header
    }

    /// How many payments were given to a charge.
    async fn given(&self) -> Outcome<u64> {
        let mut conn = self.store.read().await?;
        let payments = store::payments_between(&mut conn, CHAIN, 0, u64::MAX).await?;
        let given = payments.iter().filter(|payment| payment.allocation.is_some());
        Ok(u64::try_from(given.count())?)
    }
}

fn due(index: u64) -> Amount {
    Amount::from((10 + index % PRICES) * 1_000_000 + 1 + index / PRICES)
}

fn nonce(index: u64) -> B256 {
    keccak256((u64::MAX - index).to_be_bytes())
}
