//! The judge: holds what is stored and answered against the branch that was read. What it finds at any time must be a
//! function of that branch alone, and at the end that branch must be the chain.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alloy::primitives::{Address, B256, U256};
use sqlx::AnyConnection;
use tollgate::domain::{ChainId, Gate, GateAction, Reading, Tag};
use tollgate::engine::{Engine, Subject};
use tollgate::health::{Health, Reason};

use super::block::Block;
use super::credit;
use super::net::{Shared, lock};
use super::node::CHAIN;
use super::readiness::readiness;
use super::rows::{self, StoredChain, StoredCharge, StoredPayment};
use super::truth::{self, Key, Paid};
use super::tx::{self, COIN, HOLDERS, MEMBERS};
use super::world::World;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// What the judge remembers between two looks.
#[derive(Debug, Default)]
pub struct Memory {
    lease: (i64, i64),
    audit: i64,
    outbox: i64,
    /// Payments that are in force, and how far they got.
    in_force: BTreeMap<String, Standing>,
    /// The newest block that was final, since a person said otherwise.
    finalized: Option<(u64, B256)>,
    sequences: BTreeMap<String, i64>,
    /// Charges that were said to be paid, and not to be reversed since.
    told_paid: BTreeSet<String>,
    /// Nothing may count.
    is_quarantined: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Confirming,
    Confirmed,
    Final,
}

/// One look at the database.
pub async fn inspect(conn: &mut AnyConnection, shared: &Shared) {
    let Some(chain) = rows::chain(conn).await else {
        return;
    };
    let since = {
        let memory = &lock(shared).memory;
        (memory.audit, memory.outbox)
    };
    let headers = rows::headers(conn).await;
    let payments = rows::payments(conn).await;
    let observations = rows::observations(conn).await;
    let charges = rows::charges(conn).await;
    let watches = rows::watches(conn).await;
    let mut balances = Vec::new();
    for watch in watches {
        let stored = rows::balances(conn, watch.contract).await;
        balances.push((watch, stored));
    }
    let audit = rows::audit(conn, since.0).await;
    let events = rows::events(conn, since.1).await;
    let periods = rows::periods(conn).await;
    let credit = credit::stored(conn).await;

    let mut world = lock(shared);
    let world = &mut *world;
    let height = chain.read.map_or(0, |(number, _)| number);
    world.tell(format_args!("inspected at {height}, {} payments", payments.len()));
    world.judge_lease(&chain);
    let Some(branch) = world.judge_heights(&chain, &headers) else {
        return;
    };
    let lowest = chain.settled[0];
    let settled = lowest.map_or(0, |(number, _)| number);
    let start = usize::try_from(chain.start).unwrap().min(branch.len());
    let due = truth::payments(&branch[start..]);
    world.judge_payments(&due, &payments, &chain);
    world.judge_observations(&due, &observations);
    world.judge_events(&events);
    world.judge_audit(&audit);
    world.judge_final(&chain, &branch);
    world.judge_charges(&due, &payments, &charges, &chain);
    world.judge_periods(&charges, &periods);
    world.judge_credit(&charges, &credit);
    for (watch, stored) in balances {
        let is_folded = |block: &&Arc<Block>| {
            let read = block.number < watch.next || watch.live_from.is_some_and(|from| block.number >= from);
            block.number <= settled && read
        };
        let folded = branch.iter().filter(is_folded);
        let expected = truth::balances(folded, watch.contract);
        if expected != stored && lowest.is_some() {
            world.breach(format!(
                "the balances of {} are {stored:?} at {settled} ({watch:?}), and should be {expected:?}",
                watch.contract
            ));
        }
    }
}

impl World {
    fn judge_lease(&mut self, chain: &StoredChain) {
        let before = std::mem::replace(&mut self.memory.lease, chain.lease);
        if chain.lease < before {
            self.breach(format!(
                "the lease went back from {before:?} to {:?}",
                chain.lease
            ));
        }
    }

    /// The branch that was read, if anything was.
    fn judge_heights(&mut self, chain: &StoredChain, headers: &[(u64, B256)]) -> Option<Vec<Arc<Block>>> {
        let (read, hash) = chain.read?;
        let Some(branch) = self.miner.tree.branch_to(&hash) else {
            self.breach(format!("block {read} was read, and is of no chain"));
            return None;
        };
        let is_on_it = |(number, hash): &(u64, B256)| {
            let place = usize::try_from(*number).unwrap();
            branch.get(place).is_some_and(|block| block.hash == *hash)
        };
        if !headers.iter().all(is_on_it) || headers.last() != Some(&(read, hash)) {
            self.breach(format!("the kept headers are not those below block {read}"));
        }
        if headers.windows(2).any(|pair| pair[0].0 + 1 != pair[1].0) {
            self.breach("a kept header is missing");
        }
        for (place, settled) in chain.settled.iter().enumerate() {
            let Some(settled) = settled else { continue };
            // It stays where a reorganisation above it takes confirmations away.
            let was_covered = place < self.plan.policy.0.len()
                && self.was_covered(place, *settled, self.now_ms() + self.plan.skew_ms);
            if !was_covered || !is_on_it(settled) {
                self.breach(format!(
                    "block {} is settled in tier {place} where {read} is read: covered: {was_covered}",
                    settled.0
                ));
            }
        }
        if let Some(finalized) = &chain.finalized
            && (!self.was_final(*finalized) || !is_on_it(finalized))
        {
            self.breach(format!("block {} is final, and nobody said so", finalized.0));
        }
        Some(branch)
    }

    fn judge_payments(
        &mut self,
        due: &BTreeMap<Key, Paid>,
        stored: &BTreeMap<Key, StoredPayment>,
        chain: &StoredChain,
    ) {
        for (key, paid) in due {
            let is_final = chain.finalized.is_some_and(|(top, _)| paid.number <= top);
            let state = match (self.is_settled(paid, chain), is_final) {
                (true, true) => "final",
                (true, false) => "confirmed",
                (false, _) => "confirming",
            };
            let is_right = stored.get(key).is_some_and(|stored| {
                let place = (stored.amount, stored.block, stored.number, stored.index);
                stored.state == state && place == (paid.amount, paid.block, paid.number, paid.index)
            });
            if !is_right {
                self.breach(format!(
                    "payment {key:?} is {:?}, and should be {state} as {paid:?}",
                    stored.get(key)
                ));
            }
        }
        for (key, stored) in stored {
            if stored.state != "orphaned" && !due.contains_key(key) {
                self.breach(format!(
                    "payment {key:?} is in force, and on no chain: {stored:?}"
                ));
            }
        }
    }

    /// What was ever read of a block is all of it.
    fn judge_observations(&mut self, due: &BTreeMap<Key, Paid>, stored: &[(B256, u64, Key, bool)]) {
        let mut by_block: BTreeMap<B256, BTreeSet<(u64, Key)>> = BTreeMap::new();
        for (block, index, key, is_canonical) in stored {
            by_block.entry(*block).or_default().insert((*index, *key));
            let is_due = due.get(key).is_some_and(|paid| paid.block == *block);
            if *is_canonical != is_due {
                self.breach(format!("an observation of {key:?} is canonical: {is_canonical}"));
            }
        }
        for (hash, seen) in by_block {
            let whole = self.miner.tree.block(&hash).map(|block| {
                let payments = truth::payments(std::slice::from_ref(block));
                let places = payments.iter().map(|(key, paid)| (paid.index, *key));
                places.collect::<BTreeSet<_>>()
            });
            if whole.as_ref() != Some(&seen) {
                self.breach(format!("block {hash} was read as {seen:?}, and holds {whole:?}"));
            }
        }
    }

    fn judge_charges(
        &mut self,
        due: &BTreeMap<Key, Paid>,
        payments: &BTreeMap<Key, StoredPayment>,
        charges: &[StoredCharge],
        chain: &StoredChain,
    ) {
        for (key, stored) in payments {
            let owner = charges.iter().find(|charge| charge.due == stored.amount);
            if stored.state != "orphaned" && stored.charge != owner.map(|charge| charge.id.clone()) {
                self.breach(format!(
                    "payment {key:?} was given to {:?} instead of {owner:?}",
                    stored.charge
                ));
            }
        }
        for charge in charges {
            let of_it = || due.values().filter(|paid| paid.amount == charge.due);
            let sum = |count: usize| charge.due * U256::from(count);
            let is_settled = |paid: &&Paid| self.is_settled(paid, chain);
            let (seen, confirmed) = (of_it().count(), of_it().filter(is_settled).count());
            if (charge.seen, charge.confirmed) != (sum(seen), sum(confirmed)) {
                self.breach(format!(
                    "{charge:?} has {seen} payments, of which {confirmed} are settled"
                ));
            }
            let was_paid = self.memory.told_paid.contains(&charge.id);
            let is_right = match charge.state.as_str() {
                // Credit paid for what nothing was due for.
                "paid" => (confirmed > 0 || charge.due.is_zero()) && was_paid,
                "reversed" => confirmed == 0 && !was_paid,
                "confirming" => confirmed == 0 && seen > 0 && !was_paid,
                _ => seen == 0 && !was_paid,
            };
            if !is_right {
                self.breach(format!(
                    "{charge:?} has {seen} payments, {confirmed} settled; told to be paid: {was_paid}"
                ));
            }
        }
    }

    fn judge_periods(&mut self, charges: &[StoredCharge], periods: &[(String, String, i64)]) {
        let tenants: BTreeSet<&str> = charges.iter().map(|charge| charge.tenant.as_str()).collect();
        for tenant in tenants {
            let own = charges.iter().filter(|charge| charge.tenant == tenant);
            let paid: i64 = own
                .filter(|charge| charge.state == "paid")
                .map(|charge| charge.months)
                .sum();
            let period = periods.iter().find(|(of, ..)| of == tenant);
            let is_right = match period {
                None => paid == 0,
                Some((_, state, _)) if paid == 0 => state == "ended",
                Some((_, state, length)) => {
                    let months = paid * 28 * DAY_MS..=paid * 31 * DAY_MS + DAY_MS;
                    state == "active" && months.contains(length)
                }
            };
            if !is_right {
                self.breach(format!("{tenant} has {period:?} for {paid} paid months"));
            }
        }
    }

    fn judge_events(&mut self, events: &[rows::StoredEvent]) {
        for event in events {
            self.memory.outbox = event.id;
            let sequence = self.memory.sequences.entry(event.resource.clone()).or_default();
            *sequence += 1;
            if *sequence != event.sequence {
                self.breach(format!("an event of {} is missing or twice", event.resource));
            }
            let Some(charge) = event.resource.strip_prefix("charge:") else {
                continue;
            };
            let is_news = match event.kind.as_str() {
                "charge.paid" => self.memory.told_paid.insert(charge.to_owned()),
                "charge.reversed" => self.memory.told_paid.remove(charge),
                _ => true,
            };
            if !is_news {
                self.breach(format!("{charge} was told to be {} twice", event.kind));
            }
        }
    }

    fn judge_audit(&mut self, audit: &[rows::StoredAudit]) {
        for entry in audit {
            self.memory.audit = entry.id;
            let in_force = &mut self.memory.in_force;
            let is_right = match entry.action.as_str() {
                "payment.read" => in_force
                    .insert(entry.subject.clone(), Standing::Confirming)
                    .is_none(),
                "payment.confirm" => {
                    let before = in_force.insert(entry.subject.clone(), Standing::Confirmed);
                    before == Some(Standing::Confirming)
                }
                "payment.finalize" => {
                    let before = in_force.insert(entry.subject.clone(), Standing::Final);
                    before == Some(Standing::Confirmed)
                }
                "payment.orphan" => match in_force.remove(&entry.subject) {
                    // Only a person undoes what is final, but where all may be undone.
                    Some(Standing::Final) => entry.actor == "operator" || self.plan.development,
                    before => before.is_some(),
                },
                "chain.reset" => {
                    in_force.clear();
                    true
                }
                "chain.quarantine" => {
                    self.memory.is_quarantined = true;
                    self.plan.may_be_quarantined()
                }
                "chain.resolve" => {
                    self.memory.finalized = None;
                    std::mem::replace(&mut self.memory.is_quarantined, false)
                }
                _ => true,
            };
            if !is_right {
                self.breach(format!("{} of {} out of turn", entry.action, entry.subject));
            }
            let counts = ["payment.confirm", "payment.finalize"].contains(&entry.action.as_str());
            if counts && self.memory.is_quarantined {
                self.breach(format!("{} of {} in quarantine", entry.action, entry.subject));
            }
            if entry.action == "payment.confirm" {
                self.judge_confirmation(entry);
            }
        }
    }

    /// What was final is still on the branch that is read.
    fn judge_final(&mut self, chain: &StoredChain, branch: &[Arc<Block>]) {
        let before = std::mem::replace(&mut self.memory.finalized, chain.finalized);
        let Some((number, hash)) = before.filter(|_| !self.plan.development) else {
            return;
        };
        let is_on_it = branch.iter().any(|block| block.hash == hash);
        if !is_on_it || chain.finalized.is_none_or(|(now, _)| now < number) {
            self.breach(format!(
                "block {number} was final, and now that is {:?}",
                chain.finalized
            ));
        }
    }

    /// Its policy was met by what the world knew when it was applied.
    fn judge_confirmation(&mut self, entry: &rows::StoredAudit) {
        let hash: B256 = serde_json::from_value(entry.after["blockHash"].clone()).expect("evidence");
        let number = entry.after["blockNumber"].as_u64().expect("evidence");
        let amount: U256 = entry.after["baseUnits"]
            .as_str()
            .and_then(|units| units.parse().ok())
            .expect("evidence");
        let at_ms = entry.at_ms + self.plan.skew_ms;
        let place = self.plan.policy.place_of(amount);
        if !self.was_covered(place, (number, hash), at_ms) {
            self.breach(format!(
                "{} was confirmed too early in tier {place}",
                entry.subject
            ));
        }
    }

    fn is_settled(&self, paid: &Paid, chain: &StoredChain) -> bool {
        let settled = chain.settled.get(self.plan.policy.place_of(paid.amount));
        settled.is_some_and(|settled| settled.is_some_and(|(top, _)| paid.number <= top))
    }
}

/// Why the end is not yet what it must be.
pub fn unrest(shared: &Shared, engine: &Engine, health: &Health) -> Option<String> {
    let world = lock(shared);
    let chain = world.miner.tree.canonical();
    let tip = chain.last()?;
    let heights = engine.chain(ChainId(CHAIN))?.heights;
    let read = heights.read.map(|read| read.hash);
    if read != Some(tip.hash) {
        let read = heights.read.map(|read| read.number);
        let problem = health.chain(ChainId(CHAIN)).and_then(|known| known.problem);
        return Some(format!(
            "{read:?} is read, the head is {}: {problem:?}",
            tip.number
        ));
    }
    for place in 0..world.plan.policy.0.len() {
        let settled = heights.settled_at(place).map(|settled| settled.block.number);
        if settled < Some(world.least_covered(place, tip.number)) {
            return Some(format!(
                "{settled:?} is settled in tier {place}, the head is {}",
                tip.number
            ));
        }
    }
    let finalized = heights.finalized.map(|finalized| finalized.number);
    if finalized < Some(world.least_tagged(Tag::Finalized, tip.number)) {
        return Some(format!("{finalized:?} is final, the head is {}", tip.number));
    }
    let readiness = readiness(engine, health);
    let disagree = |reason: &Reason| world.plan.is_forged_for_ever() && reason.check == "chain_agreement";
    if !readiness.reasons.iter().all(disagree) {
        return Some(format!("it is not ready: {:?}", readiness.reasons));
    }
    let watches = engine.watches(ChainId(CHAIN));
    if watches.len() < 2 || !watches.iter().all(tollgate::store::Watch::is_complete) {
        return Some(format!("the past is not complete: {watches:?}"));
    }
    let is_late = world.calm_blocks > world.plan.policy.depth() + 2;
    let waits = world.miner.waiting() > 0 || world.has_plans() || !is_late;
    waits.then(|| "not everything has happened".to_owned())
}

/// What is answered from memory is what follows from the chain.
pub fn judge_answers(shared: &Shared, engine: &Engine) {
    let mut world = lock(shared);
    let chain = Arc::clone(world.miner.tree.canonical());
    let heights = engine.chain(ChainId(CHAIN)).map(|known| known.heights);
    let settled = heights.and_then(|heights| heights.settled);
    let settled = settled.map_or(0, |settled| settled.number);
    for contract in [MEMBERS, COIN] {
        let folded = chain.iter().filter(|block| block.number <= settled);
        let expected = truth::balances(folded, contract);
        if expected.values().any(|balance| balance.bit(255)) {
            continue;
        }
        for holder in HOLDERS {
            let held = expected.get(&holder).copied().unwrap_or_default();
            let answer = balance(engine, contract, holder);
            if answer != Reading::Known(held) {
                world.breach(format!(
                    "{holder} is answered to hold {answer:?} of {contract}, and holds {held}"
                ));
            }
        }
    }
}

fn balance(engine: &Engine, contract: Address, holder: Address) -> Reading {
    let gate = Gate {
        id: "gate".parse().unwrap(),
        tenant: "acme".parse().unwrap(),
        name: "one".to_owned(),
        description: None,
        enabled: true,
        action: GateAction::GrantAccess,
        rule: tx::rule(contract),
        created_at: 0,
    };
    let subject = Subject {
        user: None,
        wallets: vec![holder],
    };
    engine.decide(&gate, &subject).decision.trace[0].reading
}
