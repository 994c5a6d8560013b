//! Random transfers, reorgs, activations and stretches of the past, compared after every step with a model that only
//! counts the settled blocks of the canonical chain.

use std::collections::BTreeMap;

use alloy::primitives::Address;

use crate::harness::blocks::{Tx, nft, tx};
use crate::harness::databases::Database;
use crate::harness::holders::{MEMBERS, NOBODY};
use crate::harness::random::Random;
use crate::harness::world::{CHAIN, World};

const PASS: Address = Address::repeat_byte(0x72);
const CONTRACTS: [Address; 2] = [MEMBERS, PASS];
const HOLDERS: [Address; 3] = [
    Address::repeat_byte(1),
    Address::repeat_byte(2),
    Address::repeat_byte(3),
];
const STEPS: u64 = 30;
/// Tokens of each contract.
const IDS: u64 = 4;

/// Who owns what on the canonical chain, so that only what can happen happens.
type Owners = BTreeMap<(Address, u64), Address>;

type Counts = BTreeMap<&'static str, u64>;

struct Play {
    world: World,
    random: Random,
    /// The owners after each block, from the block before the first on.
    owners: Vec<Owners>,
    next_tx: u64,
}

impl Play {
    async fn begin(database: Database, seed: u64) -> Self {
        Self {
            world: World::open(database).await,
            random: Random::of(seed),
            owners: vec![Owners::new()],
            next_tx: 1,
        }
    }

    /// A block's random transfers; mints, moves and burns.
    fn transfers(&mut self) -> Vec<Tx> {
        let mut owners = self.owners.last().unwrap().clone();
        let mut transactions = Vec::new();
        for _ in 0..self.random.below(3) {
            let mut logs = Vec::new();
            for _ in 0..self.random.between(1, 2) {
                let token = (self.random.pick(&CONTRACTS), self.random.below(IDS));
                let from = owners.get(&token).copied().unwrap_or(NOBODY);
                let to = match self.random.below(5) {
                    0 if from != NOBODY => NOBODY,
                    _ => self.random.pick(&HOLDERS),
                };
                owners.insert(token, to);
                logs.push(nft(token.0, from, to, token.1));
            }
            transactions.push(tx(self.next_tx, logs).after_foreign_logs(self.random.below(3)));
            self.next_tx += 1;
        }
        self.owners.push(owners);
        transactions
    }

    /// Mines some blocks and has them read in one step, after going back to `ancestor` where one is named.
    async fn blocks(&mut self, ancestor: Option<u64>, count: u64) {
        let ancestor = ancestor.map(|ancestor| {
            let blocks = usize::try_from(ancestor).unwrap();
            self.owners.truncate(blocks + 1);
            self.world.blocks.fork_above(ancestor)
        });
        let mut blocks = Vec::new();
        for _ in 0..count {
            let transactions = self.transfers();
            blocks.push(self.world.build(&transactions));
        }
        self.world.advance(ancestor, blocks).await.unwrap();
    }

    async fn step(&mut self) -> &'static str {
        let tip = self.world.blocks.tip().map_or(0, |tip| tip.number);
        match self.random.below(16) {
            0..=2 if tip > 1 => {
                let ancestor = tip - self.random.between(1, (tip - 1).min(9));
                let count = self.random.below(9);
                self.blocks(Some(ancestor), count).await;
                "reorg"
            }
            3 => {
                let contract = self.random.pick(&CONTRACTS);
                self.world.watch(contract).await;
                "watch"
            }
            4 | 5 => {
                self.world.activate(&CONTRACTS).await.unwrap();
                "activate"
            }
            6..=9 => self.fold().await,
            10 => self.restart().await,
            _ => {
                let count = self.random.between(1, 4);
                self.blocks(None, count).await;
                "blocks"
            }
        }
    }

    /// Folds a random stretch of one contract's past, if there is any.
    async fn fold(&mut self) -> &'static str {
        let contract = self.random.pick(&CONTRACTS);
        let watches = self.world.engine.watches(CHAIN);
        let Some(watch) = watches.iter().find(|watch| watch.contract == contract) else {
            return "no watch";
        };
        let settled = self.world.engine.chain(CHAIN).unwrap().heights.settled;
        let bound = watch.live_from.and_then(|live_from| live_from.checked_sub(1));
        let last = bound
            .zip(settled)
            .map(|(bound, settled)| bound.min(settled.number));
        let Some(last) = last.filter(|last| watch.next_number <= *last) else {
            return "no past";
        };
        let last = self.random.between(watch.next_number, last);
        let blocks = self.world.blocks.between(watch.next_number, last);
        self.world.fold(contract, blocks).await.unwrap();
        "fold"
    }

    /// Forgets one contract's balances and reads its past again.
    async fn restart(&mut self) -> &'static str {
        let watches = self.world.engine.watches(CHAIN);
        let Some(watch) = watches.first() else {
            return "no watch";
        };
        self.world.restart_history(watch.contract).await;
        "restart"
    }

    fn compare(&self, context: &str) {
        for contract in CONTRACTS {
            self.world
                .assert_balances(&self.world.engine, contract, &HOLDERS, context);
        }
    }
}

/// Plays one game; how often each kind of step was made.
async fn play(database: Database, seed: u64) -> Counts {
    let mut play = Play::begin(database, seed).await;
    let mut counts = Counts::new();
    let count = play.random.between(1, 12);
    play.blocks(None, count).await;
    // Some begin with a stretch that is longer than what is kept.
    if seed.is_multiple_of(8) {
        play.world.watch(MEMBERS).await;
        play.world.activate(&[MEMBERS]).await.unwrap();
        for _ in 0..2 {
            let count = play.random.between(1, 300);
            play.blocks(None, count).await;
        }
    }
    for step in 0..STEPS {
        let done = play.step().await;
        *counts.entry(done).or_default() += 1;
        play.compare(&format!("seed {seed}, step {step}, {done}"));
    }
    // In the end everything is known, and the model agrees.
    for contract in CONTRACTS {
        play.world.watch(contract).await;
    }
    play.world.activate(&CONTRACTS).await.unwrap();
    play.blocks(None, 5).await;
    for contract in CONTRACTS {
        play.world.fold_all(contract).await;
        let watch = play.world.watch_of(contract);
        assert!(watch.is_complete(), "seed {seed}: {watch:?}");
    }
    play.compare(&format!("seed {seed}, at the end"));
    play.world.assert_reload_is_identity().await;
    counts
}

/// So many games; each kind of step must have come often.
async fn play_all(database: fn() -> Database, seeds: std::ops::Range<u64>) {
    let games = seeds.end - seeds.start;
    let mut totals = Counts::new();
    for seed in seeds {
        for (done, count) in play(database(), seed).await {
            *totals.entry(done).or_default() += count;
        }
    }
    for kind in ["blocks", "reorg", "watch", "activate", "fold", "restart"] {
        let count = totals.get(kind).copied().unwrap_or_default();
        assert!(count > games, "{kind} came too rarely: {totals:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_order_of_blocks_reorgs_and_history_gives_the_settled_balances_on_sqlite() {
    play_all(Database::sqlite, 0..200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_order_of_blocks_reorgs_and_history_gives_the_settled_balances_on_postgres() {
    play_all(Database::postgres, 200..216).await;
}
