//! Everything outside of the process: the chain, the endpoints, the people, the time. It outlives every process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy::primitives::{Address, U256};
use serde_json::Value;
use tokio::time::Instant;
use tollgate::domain::Tag;

use super::disk::Disk;
use super::fault::Fault;
use super::miner::{Due, Miner};
use super::net::{Line, SLOTS};
use super::node::{Node, Reply};
use super::oracle::Memory;
use super::plan::{CALM_PAUSE_MS, CrashAt, DAWN_MS, Plan};
use super::policy::Sayings;
use super::trace::Trace;
use super::tree::Branch;
use super::tx;
use crate::random::Random;

/// The millisecond, of every eight, in which the world itself acts; no endpoint speaks in it.
const OWN_SLOT: i64 = 6;

/// What somebody is going to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    Mine,
    /// A tenant asks for a charge.
    Charge(u64),
    /// Somebody pays so much.
    Pay(U256),
    Gate(Address),
    /// Charges expire, periods end.
    Deadlines,
    Inspect,
    FullDisk(bool),
    Restart,
    Rival,
    /// An endpoint's operator forges a branch.
    Forge(usize),
    /// What was final is taken back, and comes again.
    Overturn,
    ComeBack,
    /// A person resolves a quarantine, if there is one.
    Resolve,
}

/// The world.
pub struct World {
    pub plan: Plan,
    pub miner: Miner,
    pub nodes: Vec<Node>,
    pub lines: Vec<Vec<Arc<Mutex<Line>>>>,
    pub trace: Trace,
    /// What must never be, and was.
    pub breaches: Vec<String>,
    pub random: Random,
    /// The process's database, for the messages that it counts.
    pub disk: Option<Arc<Disk>>,
    agenda: BTreeMap<(i64, u64), Deed>,
    planned: u64,
    lines_opened: u64,
    /// A moment of the runtime, and when in the world it was.
    epoch: (Instant, i64),
    /// Ends of processes that are still to come.
    pub crashes: Vec<CrashAt>,
    /// Since when nothing goes wrong.
    pub calm_since_ms: Option<i64>,
    pub calm_blocks: u64,
    /// When the last process ended.
    pub ended_ms: i64,
    pub memory: Memory,
    /// Contracts for which a gate was asked, and no answer came.
    pub gates: BTreeSet<Address>,
    /// What charges are waiting for.
    pub dues: Vec<Due>,
    pub sayings: Sayings,
    /// The chain as it was before it was overturned, to come back to.
    pub overturned: Option<Branch>,
}

impl World {
    pub fn new(plan: Plan, is_kept: bool) -> Self {
        // Most reorganisations end above what is final by themselves.
        let final_depth = usize::try_from(plan.max_depth).unwrap() + 2;
        let mut miner = Miner::new(plan.random(1), final_depth, plan.fill, plan.bustle);
        let prelude = usize::try_from(plan.prelude).unwrap();
        miner.prelude(prelude, plan.block_ms, DAWN_MS);
        let nodes = (2..).zip(&plan.endpoints);
        let nodes = nodes
            .map(|(of, endpoint)| Node::new(endpoint.clone(), plan.random(of)))
            .collect();
        let mut world = Self {
            miner,
            nodes,
            lines: plan.endpoints.iter().map(|_| Vec::new()).collect(),
            trace: Trace::new(is_kept),
            breaches: Vec::new(),
            random: plan.random(100),
            disk: None,
            agenda: BTreeMap::new(),
            planned: 0,
            lines_opened: 0,
            epoch: (Instant::now(), DAWN_MS),
            crashes: plan.crashes.clone(),
            calm_since_ms: None,
            calm_blocks: 0,
            ended_ms: DAWN_MS,
            memory: Memory::default(),
            gates: BTreeSet::new(),
            dues: Vec::new(),
            sayings: Sayings::default(),
            overturned: None,
            plan,
        };
        world.arrange();
        world
    }

    /// What happens whatever else does.
    fn arrange(&mut self) {
        let storm = self.plan.storm_until_ms - DAWN_MS;
        let sometime = |random: &mut Random| {
            let after = random.below(storm.unsigned_abs());
            DAWN_MS + i64::try_from(after).unwrap()
        };
        self.agree(DAWN_MS + 300, Deed::Mine);
        for tenant in 0..self.plan.charges {
            let at = sometime(&mut self.random);
            self.agree(at, Deed::Charge(tenant % 3));
        }
        for contract in [tx::MEMBERS, tx::COIN] {
            let at = sometime(&mut self.random);
            self.agree(at, Deed::Gate(contract));
        }
        for _ in 0..3 {
            let at = sometime(&mut self.random);
            self.agree(at, Deed::Inspect);
            let at = sometime(&mut self.random);
            self.agree(at, Deed::Deadlines);
        }
        for _ in 0..self.plan.restarts {
            let at = sometime(&mut self.random);
            self.agree(at, Deed::Restart);
        }
        for _ in 0..self.plan.rivals {
            let at = sometime(&mut self.random);
            self.agree(at, Deed::Rival);
        }
        if let Some(forger) = self.plan.forger {
            for _ in 0..2 {
                let at = sometime(&mut self.random);
                self.agree(at, Deed::Forge(forger.slot));
            }
        }
        if self.plan.overturn.is_some() {
            let at = sometime(&mut self.random);
            self.agree(at, Deed::Overturn);
        }
        self.agree(DAWN_MS + storm / 2, Deed::Resolve);
        for _ in 0..self.plan.disk.fulls {
            let at = sometime(&mut self.random);
            self.agree(at, Deed::FullDisk(true));
            self.agree(at + 3 * self.plan.block_ms, Deed::FullDisk(false));
        }
    }

    /// Somebody will do it, at this time or right after.
    pub fn agree(&mut self, at_ms: i64, deed: Deed) {
        let at_ms = at_ms + (OWN_SLOT - at_ms).rem_euclid(SLOTS);
        self.planned += 1;
        self.agenda.insert((at_ms, self.planned), deed);
    }

    /// When something comes next.
    pub fn next_ms(&self) -> Option<i64> {
        self.agenda.first_key_value().map(|((at_ms, _), _)| *at_ms)
    }

    /// What comes next.
    pub fn next_deed(&mut self) -> Option<Deed> {
        self.agenda.pop_first().map(|(_, deed)| deed)
    }

    /// Whether more is to happen than blocks.
    pub fn has_plans(&self) -> bool {
        let is_plan = |deed: &Deed| !matches!(deed, Deed::Mine | Deed::Resolve);
        self.agenda.values().any(is_plan)
    }

    /// A process begins: its runtime's time goes on from where the world is.
    pub fn begin_process(&mut self, disk: Arc<Disk>, at_ms: i64) {
        self.epoch = (Instant::now(), at_ms);
        self.disk = Some(disk);
        for lines in &mut self.lines {
            lines.clear();
        }
    }

    pub fn end_process(&mut self, how: std::fmt::Arguments<'_>) {
        self.tell(how);
        self.ended_ms = self.now_ms();
        for contract in std::mem::take(&mut self.gates) {
            self.agree(self.ended_ms, Deed::Gate(contract));
        }
        self.disk = None;
        for lines in &mut self.lines {
            lines.clear();
        }
    }

    /// Milliseconds since the Unix epoch, as the world has them.
    pub fn now_ms(&self) -> i64 {
        let (instant, at_ms) = self.epoch;
        at_ms + i64::try_from(instant.elapsed().as_millis()).unwrap()
    }

    /// How long the process has lived.
    pub fn process_age_ms(&self) -> i64 {
        self.now_ms() - self.epoch.1
    }

    /// When a time of the world is, for the runtime's timers.
    pub fn instant(&self, at_ms: i64) -> Instant {
        let (instant, epoch_ms) = self.epoch;
        let after = u64::try_from(at_ms - epoch_ms).unwrap_or(0);
        instant + Duration::from_millis(after)
    }

    pub fn is_calm(&self) -> bool {
        self.calm_since_ms.is_some()
    }

    /// The storm is over.
    pub fn calm(&mut self) {
        self.calm_since_ms = Some(self.now_ms());
        for node in &mut self.nodes {
            node.plan.spells.0.clear();
            if !self.plan.is_forged_for_ever() {
                node.forged = None;
            }
        }
        for line in self.lines.iter().flatten() {
            super::net::hear_again(line);
        }
        if let Some(disk) = &self.disk {
            disk.calm();
        }
        self.crashes.clear();
    }

    pub fn note(&mut self, slot: usize, what: &str, kind: &str) {
        let at_ms = self.now_ms() - DAWN_MS;
        self.trace.note(at_ms, format_args!("e{slot} {what} {kind}"));
        if let Some(disk) = &self.disk {
            disk.message();
        }
    }

    /// Something that an endpoint has no part in.
    pub fn tell(&mut self, what: std::fmt::Arguments<'_>) {
        let at_ms = self.now_ms() - DAWN_MS;
        self.trace.note(at_ms, what);
    }

    /// For whoever replays it; the digest knows nothing of it.
    pub fn aside(&mut self, what: std::fmt::Arguments<'_>) {
        let at_ms = self.now_ms() - DAWN_MS;
        self.trace.aside(at_ms, what);
    }

    pub fn breach(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.tell(format_args!("BREACH"));
        self.aside(format_args!("{what}"));
        self.breaches.push(what);
    }

    pub fn next_line(&mut self) -> u64 {
        self.lines_opened += 1;
        self.lines_opened
    }

    pub fn hang_up(&mut self, slot: usize, line: &Arc<Mutex<Line>>) {
        self.lines[slot].retain(|open| !Arc::ptr_eq(open, line));
    }

    pub fn spell(&self, slot: usize, fault: Fault, now_ms: i64) -> bool {
        self.nodes[slot].plan.spells.spell(fault, now_ms).is_some()
    }

    pub fn strikes(&mut self, slot: usize, fault: Fault, now_ms: i64) -> bool {
        let Node { plan, random, .. } = &mut self.nodes[slot];
        plan.spells.strikes(fault, now_ms, random)
    }

    pub fn lag_ms(&self, slot: usize) -> i64 {
        self.nodes[slot].plan.lag_ms
    }

    pub fn latency_ms(&mut self, slot: usize) -> i64 {
        let Node { plan, random, .. } = &mut self.nodes[slot];
        i64::try_from(random.between(1, plan.latency_ms)).unwrap()
    }

    pub fn view(&mut self, slot: usize) -> Branch {
        let now_ms = self.now_ms();
        self.nodes[slot].view(&self.miner.tree, now_ms)
    }

    pub fn respond(&mut self, slot: usize, method: &str, params: &Value) -> Reply {
        let now_ms = self.now_ms();
        let reply = self.nodes[slot].respond(&self.miner.tree, now_ms, method, params);
        if let (Reply::Result(header), "eth_getBlockByNumber") = (&reply, method) {
            self.note_saying(slot, &params[0], header);
        }
        reply
    }

    /// An endpoint said that a block stands at a height, at a tag, or at the head.
    pub fn note_saying(&mut self, slot: usize, which: &Value, header: &Value) {
        let Ok(hash) = serde_json::from_value(header["hash"].clone()) else {
            return;
        };
        let (now_ms, operator) = (self.now_ms(), self.nodes[slot].plan.operator);
        match which.as_str() {
            Some("safe") => self.sayings.tagged(Tag::Safe, operator, hash, now_ms),
            Some("finalized") => self.sayings.tagged(Tag::Finalized, operator, hash, now_ms),
            _ => self.sayings.named(operator, hash, now_ms),
        }
    }

    /// The chain goes on, or elsewhere.
    pub fn weather(&mut self) {
        let now_ms = self.now_ms();
        let Plan {
            reorgs,
            max_depth,
            development,
            block_ms,
            ..
        } = self.plan;
        let is_storm = !self.is_calm();
        let depth = usize::try_from(self.random.between(1, max_depth)).unwrap();
        if is_storm && self.random.chance(reorgs) {
            // No growth is a replacement at the same height.
            let growth = self.random.pick(&[0, 0, 1, 1, 2]);
            if development && self.random.chance(40) {
                self.miner.roll_back(now_ms, depth);
                self.tell(format_args!("rolled back by {depth}"));
            } else {
                self.miner.reorganise(now_ms, depth, growth);
                self.tell(format_args!("reorganised by {depth}, {growth} more"));
            }
        } else {
            self.miner.mine(now_ms);
            let height = self.miner.tree.canonical().len() - 1;
            self.tell(format_args!("block {height}"));
        }
        self.forge_on();
        let next_ms = if is_storm {
            let half = block_ms.unsigned_abs() / 2;
            let pause = half + self.random.below(2 * half + 1);
            i64::try_from(pause).unwrap()
        } else {
            block_ms + CALM_PAUSE_MS
        };
        self.agree(now_ms + next_ms, Deed::Mine);
    }
}
