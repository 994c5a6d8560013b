//! One endpoint: what it answers, honestly or not. How its answers travel is `net`'s.

use std::sync::Arc;

use alloy::primitives::{B256, Bloom, Bytes, U256};
use serde_json::{Value, json};
use tollgate::domain::Tag;

use super::block::{Block, quantity};
use super::fault::{Fault, Spells};
use super::plan::EndpointPlan;
use super::tree::{Branch, Tree};
use super::tx::USDC;
use crate::random::Random;

pub const CHAIN: u64 = 31_337;

/// How long a balanced node's other half is behind, and how long data may come after its head.
const BEHIND_MS: i64 = 25_000;
const LATE_MS: i64 = 4_000;

/// What comes back for one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Result(Value),
    Error(i64, &'static str),
    /// Nothing, ever.
    Silence,
    /// What is no JSON-RPC at all: a status, a pause in seconds, a body.
    Plain(u16, Option<u64>, &'static str),
    /// A text that breaks off.
    Cut(Value),
}

/// What one endpoint knows, and how it is.
pub struct Node {
    pub plan: EndpointPlan,
    pub random: Random,
    /// The branch of its own making that it tells of.
    pub forged: Option<Branch>,
}

impl Node {
    pub fn new(plan: EndpointPlan, random: Random) -> Self {
        Self {
            plan,
            random,
            forged: None,
        }
    }

    fn strikes(&mut self, fault: Fault, now_ms: i64) -> bool {
        let Self { plan, random, .. } = self;
        plan.spells.strikes(fault, now_ms, random)
    }

    fn spells(&self) -> &Spells {
        &self.plan.spells
    }

    /// The chain as this node sees it now.
    pub fn view(&mut self, tree: &Tree, now_ms: i64) -> Branch {
        if let Some(branch) = &self.forged {
            return Arc::clone(branch);
        }
        let mut at_ms = now_ms - self.plan.lag_ms;
        if let Some(spell) = self.spells().spell(Fault::Stale, now_ms) {
            at_ms = spell.from_ms - self.plan.lag_ms;
        }
        if self.strikes(Fault::Balanced, now_ms) && self.random.chance(50) {
            at_ms -= BEHIND_MS;
        }
        Arc::clone(tree.canonical_at(at_ms))
    }

    /// The answer to one request, with what is wrong at this time.
    pub fn respond(&mut self, tree: &Tree, now_ms: i64, method: &str, params: &Value) -> Reply {
        const ANY: [Fault; 8] = [
            Fault::Error,
            Fault::Timeout,
            Fault::RateLimited,
            Fault::RateLimitedFor(7),
            Fault::Billing,
            Fault::Html,
            Fault::Truncated,
            Fault::Null,
        ];
        let fault = {
            let Self { plan, random, .. } = self;
            plan.spells.first(&ANY, now_ms, random)
        };
        match fault {
            Some(Fault::Error) => {
                let texts = [
                    (-32_000, "internal error"),
                    (-32_603, "we are under too much load"),
                    (-32_000, "header not found"),
                    (-32_005, "too many requests"),
                    (-32_000, "missing trie node"),
                ];
                let (code, text) = self.random.pick(&texts);
                Reply::Error(code, text)
            }
            Some(Fault::Timeout) => Reply::Silence,
            Some(Fault::RateLimited) => Reply::Plain(429, None, "slow down"),
            Some(Fault::RateLimitedFor(seconds)) => Reply::Plain(429, Some(seconds), "slow down"),
            Some(Fault::Billing) => Reply::Plain(402, None, "payment required"),
            Some(Fault::Html) => Reply::Plain(200, None, "<html><body>One moment, please</body></html>"),
            Some(Fault::Null) => Reply::Result(Value::Null),
            Some(Fault::Truncated) => match self.answer(tree, now_ms, method, params) {
                Reply::Result(value) => Reply::Cut(value),
                other => other,
            },
            _ => self.answer(tree, now_ms, method, params),
        }
    }

    fn answer(&mut self, tree: &Tree, now_ms: i64, method: &str, params: &Value) -> Reply {
        match method {
            "eth_chainId" => {
                let other = self.strikes(Fault::OtherChain, now_ms);
                Reply::Result(quantity(if other { 1 } else { CHAIN }))
            }
            "eth_blockNumber" => {
                let view = self.view(tree, now_ms);
                Reply::Result(quantity(tip(&view).number))
            }
            "eth_getBlockByNumber" => self.by_number(tree, now_ms, &params[0]),
            "eth_getBlockByHash" => {
                let block = self.known(tree, now_ms, &params[0]);
                Reply::Result(block.map_or(Value::Null, |block| self.header(now_ms, &block)))
            }
            "eth_getBlockReceipts" if self.plan.serves_block_receipts => {
                self.receipts(tree, now_ms, &params[0])
            }
            "eth_getTransactionReceipt" => self.receipt(tree, now_ms, &params[0]),
            "eth_getLogs" => self.logs(tree, now_ms, &params[0]),
            "eth_getCode" => Reply::Result(json!("0x6001")),
            "eth_call" => call(&params[0]),
            "web3_clientVersion" => Reply::Result(json!("anvil/v1.0.0")),
            _ => Reply::Error(-32_601, "the method does not exist"),
        }
    }

    fn by_number(&mut self, tree: &Tree, now_ms: i64, which: &Value) -> Reply {
        let view = self.view(tree, now_ms);
        let block = match which.as_str().unwrap_or_default() {
            "latest" => Some(Arc::clone(tip(&view))),
            "safe" => Some(self.tagged(tree, now_ms, Tag::Safe)),
            "finalized" => Some(self.tagged(tree, now_ms, Tag::Finalized)),
            text => view.get(usize::try_from(parse(text)).unwrap()).cloned(),
        };
        Reply::Result(block.map_or(Value::Null, |block| self.header(now_ms, &block)))
    }

    fn tagged(&mut self, tree: &Tree, now_ms: i64, tag: Tag) -> Arc<Block> {
        let stands = self.spells().spell(Fault::TagsStand, now_ms);
        let at_ms = stands.map_or(now_ms, |spell| spell.from_ms);
        let view = self.view(tree, at_ms);
        let mut depth = match tag {
            Tag::Safe => self.plan.safe_depth,
            Tag::Finalized => 2 * self.plan.safe_depth,
        };
        if self.strikes(Fault::TagsGoBack, now_ms) {
            depth += self.random.between(1, 6);
        }
        let mut place = usize::try_from(tip(&view).number.saturating_sub(depth)).unwrap();
        // What is final is never taken back, but by a forger.
        if tag == Tag::Finalized && self.forged.is_none() {
            place = place.min(tree.finalized);
        }
        let block = &view[place];
        let elsewhere = self
            .strikes(Fault::TagsElsewhere, now_ms)
            .then(|| tree.sibling(block));
        Arc::clone(elsewhere.flatten().unwrap_or(block))
    }

    fn header(&mut self, now_ms: i64, block: &Block) -> Value {
        let mut header = block.header.clone();
        if self.strikes(Fault::ZeroBloom, now_ms) {
            header["logsBloom"] = json!(Bloom::ZERO);
        }
        if self.strikes(Fault::FullBloom, now_ms) {
            header["logsBloom"] = json!(Bloom::repeat_byte(0xff));
        }
        header
    }

    /// A block by its hash, on whichever branch, once this node has heard of it.
    fn known(&mut self, tree: &Tree, now_ms: i64, hash: &Value) -> Option<Arc<Block>> {
        let hash: B256 = serde_json::from_value(hash.clone()).ok()?;
        let mut at_ms = now_ms - self.plan.lag_ms;
        if let Some(spell) = self.spells().spell(Fault::Stale, now_ms) {
            at_ms = spell.from_ms - self.plan.lag_ms;
        }
        if self.strikes(Fault::NoDataYet, now_ms) {
            at_ms -= LATE_MS;
        }
        if self.strikes(Fault::Balanced, now_ms) && self.random.chance(50) {
            at_ms -= BEHIND_MS;
        }
        let is_known = |block: &&Arc<Block>| {
            let is_made_up = block.forger.is_some_and(|forger| forger != self.plan.operator);
            block.born_ms <= at_ms && !is_made_up
        };
        tree.block(&hash).filter(is_known).cloned()
    }

    fn receipts(&mut self, tree: &Tree, now_ms: i64, hash: &Value) -> Reply {
        let Some(block) = self.known(tree, now_ms, hash) else {
            return Reply::Result(Value::Null);
        };
        if self.strikes(Fault::NullReceipts, now_ms) {
            return Reply::Result(Value::Null);
        }
        if self.strikes(Fault::EmptyReceipts, now_ms) {
            return Reply::Result(json!([]));
        }
        let mut receipts = block.receipts.clone();
        if self.strikes(Fault::SiblingsReceipts, now_ms)
            && let Some(sibling) = tree.sibling(&block)
        {
            receipts.clone_from(&sibling.receipts);
        }
        for receipt in &mut receipts {
            if let Some(logs) = receipt["logs"].as_array_mut() {
                self.spoil(tree, now_ms, &block, logs);
            }
        }
        Reply::Result(Value::Array(receipts))
    }

    fn receipt(&mut self, tree: &Tree, now_ms: i64, hash: &Value) -> Reply {
        let view = self.view(tree, now_ms);
        if self.strikes(Fault::NullReceipts, now_ms) {
            return Reply::Result(Value::Null);
        }
        let mut all = view.iter().rev().flat_map(|block| &block.receipts);
        let found = all.find(|receipt| receipt["transactionHash"] == *hash);
        Reply::Result(found.cloned().unwrap_or(Value::Null))
    }

    fn logs(&mut self, tree: &Tree, now_ms: i64, filter: &Value) -> Reply {
        let view = self.view(tree, now_ms);
        let bound = |key: &str| usize::try_from(parse(filter[key].as_str().unwrap())).unwrap();
        let (from, to) = (bound("fromBlock"), bound("toBlock"));
        if to >= view.len() {
            return if self.plan.answers_above_its_head {
                Reply::Result(json!([]))
            } else {
                Reply::Error(-32_000, "One of the blocks specified in filter cannot be found.")
            };
        }
        if to - from >= self.plan.max_range {
            return Reply::Error(-32_602, "block range is too wide");
        }
        let found = view[from..=to].iter().flat_map(|block| &block.logs);
        let mut logs: Vec<Value> = found
            .map(|log| &log.wire)
            .filter(|log| matches(filter, log))
            .cloned()
            .collect();
        if self.strikes(Fault::EmptyLogs, now_ms) {
            logs.clear();
        }
        // In history one log that is missing beside others of its block is not noticed, and is not money (chain.md 4): here
        // a block loses all of its logs or none.
        if !logs.is_empty() && self.strikes(Fault::DropsALog, now_ms) {
            let place = self.random.below(logs.len() as u64);
            let block = logs[usize::try_from(place).unwrap()]["blockHash"].clone();
            logs.retain(|log| log["blockHash"] != block);
        }
        if self.strikes(Fault::DropsTheLastLog, now_ms) {
            let block = logs.last().map(|log| log["blockHash"].clone());
            logs.retain(|log| Some(&log["blockHash"]) != block.as_ref());
        }
        if self.strikes(Fault::SiblingsLog, now_ms) {
            logs.extend(siblings_log(tree, &view[to]));
        }
        Reply::Result(Value::Array(logs))
    }

    fn spoil(&mut self, tree: &Tree, now_ms: i64, block: &Block, logs: &mut Vec<Value>) {
        if !logs.is_empty() && self.strikes(Fault::DropsALog, now_ms) {
            let place = self.random.below(logs.len() as u64);
            logs.remove(usize::try_from(place).unwrap());
        }
        if self.strikes(Fault::DropsTheLastLog, now_ms) {
            logs.pop();
        }
        if self.strikes(Fault::SiblingsLog, now_ms) {
            logs.extend(siblings_log(tree, block));
        }
    }
}

fn siblings_log(tree: &Tree, block: &Block) -> Option<Value> {
    let log = tree.sibling(block)?.logs.last()?;
    Some(log.wire.clone())
}

fn call(request: &Value) -> Reply {
    let is_usdc = request["to"] == json!(USDC);
    let input = request["data"].as_str().or(request["input"].as_str());
    let word = |number: u64| U256::from(number).to_be_bytes::<32>();
    match input.map(|input| &input[..10]) {
        Some("0x313ce567") if is_usdc => Reply::Result(json!(Bytes::from(word(6)))),
        Some("0x95d89b41") => {
            let mut symbol = [word(32), word(4), [0; 32]].concat();
            symbol[64..68].copy_from_slice(b"USDC");
            Reply::Result(json!(Bytes::from(symbol)))
        }
        _ => Reply::Error(3, "execution reverted"),
    }
}

/// Whether a log is one that a filter asks for.
pub fn matches(filter: &Value, log: &Value) -> bool {
    let among = |wanted: &Value, found: &Value| match wanted {
        Value::Null => true,
        Value::Array(any) => any.contains(found),
        one => one == found,
    };
    let topics = filter["topics"].as_array().map_or(&[][..], Vec::as_slice);
    among(&filter["address"], &log["address"])
        && topics
            .iter()
            .enumerate()
            .all(|(place, wanted)| among(wanted, &log["topics"][place]))
}

pub fn tip(view: &Branch) -> &Arc<Block> {
    view.last().expect("a chain has a block 0")
}

fn parse(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("a quantity")
}
