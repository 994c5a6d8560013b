//! Random histories of blocks, reorgs, tags and operators: after each step every tier, payment, charge and plan is what a
//! plain model says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use alloy::primitives::B256;
use tollgate::domain::{Agreement, Amount, BlockRef, Evidence, Finalized, Heights, Settled, Tag, Tier};
use tollgate::engine::EngineError;

use super::finality::{tier, with_tiers};
use crate::harness::blocks::{Tx, nft, tx};
use crate::harness::databases::Database;
use crate::harness::facts::rows;
use crate::harness::holders::{MEMBERS, NOBODY};
use crate::harness::random::Random;
use crate::harness::world::{Asked, BLOCK_MS, CHAIN, PAYER, World, payment};

const STEPS: u64 = 30;

/// What the model says of one transaction's payment.
#[derive(Debug, Clone)]
struct Paid {
    asked: Asked,
    tenant: String,
    transaction: Tx,
    counted_once: bool,
}

struct Play {
    world: World,
    random: Random,
    paid: Vec<Paid>,
    /// The payments of each canonical block, by number.
    held: BTreeMap<u64, Vec<usize>>,
    heights: Heights,
}

fn policy(random: &mut Random) -> Vec<Tier> {
    let mut tiers = vec![
        tier("low", Some("10"), 0),
        tier("mid", Some("15.005"), 0),
        tier("high", None, 0),
    ];
    for tier in &mut tiers {
        tier.confirmations = random.between(1, 6);
        tier.tag = random.pick(&[None, Some(Tag::Safe), Some(Tag::Finalized)]);
        let blocks = random.between(2, 12);
        tier.or_confirmations = tier.tag.filter(|_| random.below(2) == 0).map(|_| blocks);
        tier.min_age = Duration::from_secs(random.pick(&[0, 0, 24, 40]));
    }
    tiers
}

impl Play {
    async fn begin(database: Database, seed: u64) -> Self {
        let mut random = Random::of(seed);
        let mut settings = with_tiers(policy(&mut random));
        settings.chains[0].agree = random.pick(&[1, 2]);
        let world = World::open_with(database, settings).await;
        world.watch(MEMBERS).await;
        world.activate(&[MEMBERS]).await.unwrap();
        Self {
            world,
            random,
            paid: Vec::new(),
            held: BTreeMap::new(),
            heights: Heights::default(),
        }
    }

    fn tip(&self) -> u64 {
        self.world.blocks.tip().map_or(0, |tip| tip.number)
    }

    fn block(&self, number: u64) -> Settled {
        let header = &self.world.blocks.between(number, number)[0].header;
        Settled {
            block: header.block(),
            time_ms: header.time_ms(),
        }
    }

    /// A new charge, or one whose payment is nowhere now.
    async fn payment(&mut self) -> usize {
        let standing: BTreeSet<usize> = self.held.values().flatten().copied().collect();
        let gone = (0..self.paid.len()).find(|index| !standing.contains(index));
        if let Some(index) = gone.filter(|_| self.random.below(2) == 0) {
            return index;
        }
        let tenant = format!("t{}", self.paid.len());
        let asked = self.world.ask(&tenant).await;
        let seed = u64::try_from(self.paid.len()).unwrap();
        let minted = nft(MEMBERS, NOBODY, PAYER, seed);
        self.paid.push(Paid {
            transaction: tx(seed, vec![payment(asked.due), minted]),
            asked,
            tenant,
            counted_once: false,
        });
        self.paid.len() - 1
    }

    async fn blocks(&mut self, ancestor: Option<u64>, count: u64) {
        // The charges of a branch are asked for before it is built, or they would match nothing of its blocks.
        let mut payments = Vec::new();
        if let Some(ancestor) = ancestor {
            self.held.retain(|number, _| *number <= ancestor);
        }
        let first = ancestor.unwrap_or_else(|| self.tip()) + 1;
        for number in first..first + count {
            if self.random.below(3) == 0 {
                let index = self.payment().await;
                self.held.entry(number).or_default().push(index);
                payments.push((number, index));
            }
        }
        let back = ancestor.map(|ancestor| self.world.blocks.fork_above(ancestor));
        let mut blocks = Vec::new();
        for number in first..first + count {
            let of_block = payments.iter().filter(|(at, _)| *at == number);
            let before = self.random.below(3);
            let transactions: Vec<Tx> = of_block
                .map(|(_, index)| self.paid[*index].transaction.clone().after_foreign_logs(before))
                .collect();
            blocks.push(self.world.build(&transactions));
        }
        if let Some(ancestor) = ancestor {
            let is_above = |block: Option<BlockRef>| block.is_some_and(|block| block.number > ancestor);
            for place in 0..3 {
                if is_above(self.heights.settled_at(place).map(|settled| settled.block)) {
                    self.heights.settle_at(place, Some(self.block(ancestor)));
                }
            }
        }
        self.world.advance(back, blocks).await.unwrap();
        self.expect();
    }

    /// Some endpoint says something; sometimes of a block that is none of ours.
    async fn hear(&mut self) {
        let tip = self.tip();
        let said = |world: &World, random: &mut Random| {
            let number = random.between(1, tip);
            let mut block = world.blocks.between(number, number)[0].header.block();
            if random.below(5) == 0 {
                block.hash = B256::repeat_byte(0xee);
            }
            block
        };
        let evidence = Evidence {
            safe: Some(said(&self.world, &mut self.random)).filter(|_| self.random.below(4) > 0),
            finalized: match self.random.below(4) {
                0 => Finalized::Unknown,
                1 => Finalized::Untagged,
                _ => {
                    // Far enough below the tip, so that there is something left to reorganise.
                    let block = said(&self.world, &mut self.random);
                    let low = self.block(block.number.min(tip.saturating_sub(8).max(1))).block;
                    Finalized::Block(low)
                }
            },
            agreement: match self.random.below(4) {
                0 => Agreement::Nothing,
                _ => Agreement::UpTo(said(&self.world, &mut self.random)),
            },
        };
        self.world
            .wait(i64::try_from(self.random.below(3)).unwrap() * BLOCK_MS);
        self.world.hear(evidence).await;
        self.expect();
    }

    /// Moves the model's tiers up, block by block.
    fn expect(&mut self) {
        let tip = self.tip();
        let chain = &self.world.engine.settings().chains[0];
        let (agree, tiers) = (chain.agree, chain.finality.tiers().to_vec());
        let evidence = self.world.evidence;
        let ours = |block: BlockRef| block.number <= tip && self.block(block.number).block == block;
        let up_to = |block: Option<BlockRef>, number: u64| {
            block.is_some_and(|block| ours(block) && number <= block.number)
        };
        let agreed = |number: u64| match evidence.agreement {
            Agreement::Unasked => agree < 2,
            Agreement::Nothing => false,
            Agreement::UpTo(block) => up_to(Some(block), number),
        };
        let finalized = match evidence.finalized {
            Finalized::Block(block) => Some(block),
            _ => None,
        };
        let now = self.world.clock.now_ms();
        let mut heights = self.heights;
        for (place, tier) in tiers.iter().enumerate() {
            for number in 1..=tip {
                let agreed_on = (number..=tip).filter(|above| agreed(*above));
                let standing = u64::try_from(agreed_on.count()).unwrap();
                let tagged = match tier.tag {
                    None => true,
                    Some(Tag::Safe) => up_to(evidence.safe, number),
                    Some(Tag::Finalized) => up_to(finalized, number),
                };
                let deep = tier.or_confirmations.is_some_and(|blocks| standing >= blocks);
                let age_ms = now - self.block(number).time_ms;
                let old = age_ms >= i64::try_from(tier.min_age.as_millis()).unwrap();
                let is_above = heights
                    .settled_at(place)
                    .is_none_or(|settled| settled.block.number < number);
                if standing >= tier.confirmations && (tagged || deep) && old && is_above {
                    heights.settle_at(place, Some(self.block(number)));
                }
            }
        }
        for number in 1..=tip {
            if up_to(finalized, number)
                && agreed(number)
                && heights.finalized.is_none_or(|known| known.number < number)
            {
                heights.finalized = Some(self.block(number).block);
            }
        }
        self.heights = heights;
    }

    async fn step(&mut self) -> &'static str {
        let tip = self.tip();
        let finalized = self.heights.finalized.map_or(1, |block| block.number);
        match self.random.below(8) {
            0 | 1 if tip > finalized => {
                let ancestor = self.random.between(finalized, tip - 1);
                let count = self.random.below(12);
                self.blocks(Some(ancestor), count).await;
                "reorg"
            }
            2 if finalized > 1 => {
                let number = self.random.between(1, finalized - 1);
                let ancestor = self.block(number).block;
                let refused = self.world.advance(Some(ancestor), Vec::new()).await;
                assert!(
                    matches!(refused, Err(EngineError::BelowFinalized(CHAIN))),
                    "{refused:?}"
                );
                "refused"
            }
            3 | 4 => {
                self.hear().await;
                "heard"
            }
            _ => {
                let count = self.random.between(1, 5);
                self.blocks(None, count).await;
                "blocks"
            }
        }
    }

    async fn compare(&mut self, context: &str) {
        let found = self.world.engine.chain(CHAIN).unwrap().heights;
        for place in 0..3 {
            assert_eq!(
                found.settled_at(place),
                self.heights.settled_at(place),
                "{context}: tier {place}"
            );
        }
        assert_eq!(found.finalized, self.heights.finalized, "{context}");
        let chain = self.world.engine.settings().chains[0].clone();
        let query = "select charge, state from payment";
        let stored: BTreeMap<String, String> = rows(&self.world.store, query)
            .await
            .into_iter()
            .map(|row| (row[0].clone(), row[1].clone()))
            .collect();
        for index in 0..self.paid.len() {
            let block = self
                .held
                .iter()
                .find(|(_, held)| held.contains(&index))
                .map(|(number, _)| *number);
            let paid = &mut self.paid[index];
            let place = chain.finality.place_of(paid.asked.due, 6);
            let settled = self.heights.settled_at(place).map(|settled| settled.block.number);
            let finalized = self.heights.finalized.map(|block| block.number);
            let payment = match block {
                None => "orphaned",
                Some(_) if block > settled => "confirming",
                Some(_) if block > finalized => "confirmed",
                Some(_) => "final",
            };
            let counts = matches!(payment, "confirmed" | "final");
            paid.counted_once |= counts;
            let charge = match (payment, counts, paid.counted_once) {
                (_, true, _) => "paid",
                (_, false, true) => "reversed",
                ("confirming", ..) => "confirming",
                _ => "open",
            };
            let (asked, tenant) = (paid.asked.clone(), paid.tenant.clone());
            assert_eq!(
                stored.get(asked.id.as_str()).map(String::as_str),
                Some(payment),
                "{context}: {tenant}"
            );
            let view = self.world.charge(&asked).await;
            assert_eq!(view.state.as_str(), charge, "{context}: {tenant}");
            let total = |holds: bool| if holds { asked.due } else { Amount::ZERO };
            let totals = [total(block.is_some()), total(counts), total(payment == "final")];
            let shown = [
                view.seen.base_units,
                view.confirmed.base_units,
                view.finalized.base_units,
            ];
            assert_eq!(
                shown,
                totals.map(|total| total.to_string()),
                "{context}: {tenant}"
            );
            let plan = if counts { "pro" } else { "free" };
            assert_eq!(self.world.plan(&tenant), plan, "{context}: {tenant}");
        }
        self.world
            .assert_balances(&self.world.engine, MEMBERS, &[PAYER], context);
    }
}

async fn play(database: Database, seed: u64) -> BTreeMap<&'static str, u64> {
    let mut play = Play::begin(database, seed).await;
    let mut counts = BTreeMap::new();
    play.blocks(None, 3).await;
    for step in 0..STEPS {
        let done = play.step().await;
        *counts.entry(done).or_default() += 1;
        play.compare(&format!("seed {seed}, step {step}, {done}")).await;
    }
    play.world.assert_reload_is_identity().await;
    counts
}

async fn play_all(database: fn() -> Database, seeds: std::ops::Range<u64>) {
    let games = seeds.end - seeds.start;
    let mut totals: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in seeds {
        for (done, count) in play(database(), seed).await {
            *totals.entry(done).or_default() += count;
        }
    }
    for kind in ["blocks", "reorg", "heard", "refused"] {
        assert!(
            totals.get(kind).copied().unwrap_or_default() > games,
            "{kind} came too rarely: {totals:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_history_gives_the_money_that_the_policy_says_on_sqlite() {
    play_all(Database::sqlite, 0..100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_history_gives_the_money_that_the_policy_says_on_postgres() {
    play_all(Database::postgres, 100..108).await;
}
