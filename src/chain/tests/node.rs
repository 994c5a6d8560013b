//! Nodes within the test: a socket that the test plays by hand, and an HTTP node over a small true chain.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy::consensus::{Eip658Value, Header as FullHeader, Receipt, ReceiptEnvelope, ReceiptWithBloom};
use alloy::eips::Encodable2718;
use alloy::primitives::{Address, B256, Bloom, Bytes, Log, LogData, keccak256};
use alloy_trie::root::ordered_trie_root_with_encoder;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::{SinkExt, StreamExt};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::chain::{Internet, LogFilter, Network};
use crate::config;
use crate::domain::{ChainId, Finality};
use crate::domain::{Scope, Standard, TRANSFER};

pub const CHAIN: u64 = 31_337;
pub const TOKEN: Address = Address::repeat_byte(0x11);
pub const TREASURY: Address = Address::repeat_byte(0x22);
pub const GATE: Address = Address::repeat_byte(0x33);

/// Bounds what a test waits for; nothing is timed by it.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what)
        .await
        .expect("it never came")
}

/// A contract of which the ERC-20 transfers are asked for.
pub fn coins(contract: Address) -> BTreeMap<Address, Scope> {
    BTreeMap::from([(contract, Scope::of(Standard::Erc20))])
}

pub fn filter() -> LogFilter {
    let set = |address| BTreeSet::from([address]);
    LogFilter::new(&set(TOKEN), &set(TREASURY), &coins(GATE))
}

pub fn internet() -> Arc<dyn Network> {
    crate::egress::install_crypto_provider();
    Arc::new(Internet::new().unwrap())
}

pub fn endpoint(name: &str, ws: Option<String>, http: Option<String>) -> config::Endpoint {
    config::Endpoint {
        name: name.to_owned(),
        operator: name.to_owned(),
        ws: ws.map(SecretString::from),
        http: http.map(SecretString::from),
        requests_per_second: 10_000,
        max_in_flight: 16,
        request_timeout: Duration::from_secs(10),
    }
}

pub fn settings(endpoints: Vec<config::Endpoint>) -> config::Chain {
    // Where another test was first, its provider serves as well.
    config::Chain {
        name: "test".to_owned(),
        id: ChainId(CHAIN),
        block_time: Duration::from_secs(1),
        poll_interval: Duration::from_secs(1),
        finality: Finality::of_confirmations(1),
        max_tag_age: Duration::from_mins(30),
        start_block: None,
        development: true,
        treasury: Some(TREASURY),
        tokens: Vec::new(),
        other_tokens: Vec::new(),
        endpoints,
        max_log_range: 100,
        agree: 1,
        level: None,
    }
}

/// A WebSocket server whose every word is the test's.
pub struct SocketNode {
    listener: TcpListener,
    pub url: String,
}

/// The node's end of one connection.
pub struct Line(WebSocketStream<TcpStream>);

impl SocketNode {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/SECRET", listener.local_addr().unwrap());
        Self { listener, url }
    }

    pub async fn accept(&self) -> Line {
        let (stream, _) = soon(self.listener.accept()).await.unwrap();
        Line(soon(tokio_tungstenite::accept_async(stream)).await.unwrap())
    }

    /// Accepts, and answers the introduction; the subscriptions are `heads` and `logs-0`, `logs-1`, ….
    pub async fn accept_and_introduce(&self, log_subscriptions: usize) -> Line {
        let mut line = self.accept().await;
        line.serve("eth_chainId", json!("0x7a69")).await;
        let params = line.serve("eth_subscribe", json!("heads")).await;
        assert_eq!(params, json!(["newHeads"]));
        for number in 0..log_subscriptions {
            let params = line.serve("eth_subscribe", json!(format!("logs-{number}"))).await;
            assert_eq!(params[0], "logs");
        }
        line
    }
}

impl Line {
    /// The next request: id, method, parameters.
    pub async fn request(&mut self) -> (u64, String, Value) {
        loop {
            match soon(self.0.next()).await.expect("the client hung up").unwrap() {
                Message::Text(text) => {
                    let request: Value = serde_json::from_str(&text).unwrap();
                    let method = request["method"].as_str().unwrap().to_owned();
                    return (request["id"].as_u64().unwrap(), method, request["params"].clone());
                }
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    pub async fn say(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).await.unwrap();
    }

    pub async fn reply(&mut self, id: u64, result: Value) {
        self.say(json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string())
            .await;
    }

    /// Answers the next request, which must be for `method`; returns its parameters.
    pub async fn serve(&mut self, method: &str, result: Value) -> Value {
        let (id, asked, params) = self.request().await;
        assert_eq!(asked, method);
        self.reply(id, result).await;
        params
    }

    pub async fn notify(&mut self, subscription: &str, result: Value) {
        let params = json!({"subscription": subscription, "result": result});
        self.say(json!({"jsonrpc": "2.0", "method": "eth_subscription", "params": params}).to_string())
            .await;
    }

    /// Waits until the client is gone.
    pub async fn hung_up(&mut self) {
        while let Some(Ok(message)) = soon(self.0.next()).await {
            if matches!(message, Message::Close(_)) {
                return;
            }
        }
    }
}

/// What the HTTP node does instead of answering truly.
#[derive(Debug, Clone)]
pub enum Fault {
    Result(Value),
    Error(i64, &'static str),
    Raw(u16, &'static str),
    RetryAfter(&'static str),
    /// The true answer, so much later.
    Late(Duration),
    /// An answer without an end.
    Endless,
}

type Meddle = dyn Fn(&str, &Value, Result<Value, (i64, String)>) -> Option<Fault> + Send + Sync;

/// An HTTP node over a chain.
pub struct HttpNode {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    chain: Chain,
    meddle: Box<Meddle>,
    asked: Mutex<Vec<(String, Value)>>,
}

impl HttpNode {
    /// An honest node.
    pub async fn start(chain: Chain) -> Self {
        Self::with(chain, |_, _, _| None).await
    }

    /// A node whose answers pass through `meddle`, which is given method, parameters and the true answer.
    pub async fn with(
        chain: Chain,
        meddle: impl Fn(&str, &Value, Result<Value, (i64, String)>) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            chain,
            meddle: Box::new(meddle),
            asked: Mutex::default(),
        });
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let url = format!("http://{}/SECRET", listener.local_addr().unwrap());
        let router = Router::new()
            .fallback(post(answer))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared }
    }

    /// How often each request for `method` was made, with its parameters.
    pub fn asked(&self, method: &str) -> Vec<Value> {
        let asked = self.shared.asked.lock().unwrap();
        asked
            .iter()
            .filter(|(name, _)| name == method)
            .map(|(_, params)| params.clone())
            .collect()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, body: String) -> Response {
    let request: Value = serde_json::from_str(&body).unwrap();
    let requests = request
        .as_array()
        .cloned()
        .unwrap_or_else(|| vec![request.clone()]);
    let mut answers = Vec::new();
    for one in requests {
        let (method, params) = (one["method"].as_str().unwrap(), &one["params"]);
        shared
            .asked
            .lock()
            .unwrap()
            .push((method.to_owned(), params.clone()));
        let truth = shared.chain.answer(method, params);
        let outcome = match (shared.meddle)(method, params, truth.clone()) {
            None => truth,
            Some(Fault::Result(result)) => Ok(result),
            Some(Fault::Error(code, message)) => Err((code, message.to_owned())),
            Some(Fault::Raw(status, text)) => {
                return (StatusCode::from_u16(status).unwrap(), text).into_response();
            }
            Some(Fault::Late(by)) => {
                tokio::time::sleep(by).await;
                truth
            }
            Some(Fault::Endless) => {
                let megabyte = || Ok::<_, std::io::Error>(vec![b' '; 1 << 20]);
                let endless = futures_util::stream::repeat_with(megabyte);
                return Body::from_stream(endless).into_response();
            }
            Some(Fault::RetryAfter(seconds)) => {
                let mut headers = HeaderMap::new();
                headers.insert("retry-after", seconds.parse().unwrap());
                return (StatusCode::TOO_MANY_REQUESTS, headers, "slow down").into_response();
            }
        };
        answers.push(match outcome {
            Ok(result) => json!({"jsonrpc": "2.0", "id": one["id"], "result": result}),
            Err((code, message)) => {
                json!({"jsonrpc": "2.0", "id": one["id"], "error": {"code": code, "message": message}})
            }
        });
    }
    let answer = if request.is_array() {
        Value::Array(answers)
    } else {
        answers.remove(0)
    };
    answer.to_string().into_response()
}

/// What does not recompute on a chain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Quirk {
    #[default]
    Nothing,
    Hashes,
    Roots,
    /// Blooms are empty.
    Blooms,
}

/// A chain with true hashes, roots and blooms, but for its quirk: one transaction a block.
#[derive(Debug, Clone, Default)]
pub struct Chain {
    blocks: Vec<Block>,
    quirk: Quirk,
}

#[derive(Debug, Clone)]
pub struct Block {
    pub hash: B256,
    pub header: FullHeader,
    tx_hash: B256,
    receipt: ReceiptEnvelope,
}

/// A `Transfer` of one unit to `to`.
pub fn transfer(contract: Address, to: Address) -> Log {
    let topics = vec![TRANSFER, Address::repeat_byte(0x44).into_word(), to.into_word()];
    Log {
        address: contract,
        data: LogData::new_unchecked(topics, Bytes::from(vec![1])),
    }
}

impl Chain {
    /// Block 0 upwards, with these logs.
    pub fn of(blocks: impl IntoIterator<Item = Vec<Log>>) -> Self {
        Self::with(Quirk::Nothing, blocks)
    }

    /// Likewise, with a quirk.
    pub fn with(quirk: Quirk, blocks: impl IntoIterator<Item = Vec<Log>>) -> Self {
        let mut chain = Self {
            blocks: Vec::new(),
            quirk,
        };
        for logs in blocks {
            chain.push(logs, &Bloom::ZERO);
        }
        chain
    }

    /// One more block; `bloom` adds to its header's bloom what no log put there.
    pub fn push(&mut self, logs: Vec<Log>, bloom: &Bloom) {
        let number = u64::try_from(self.blocks.len()).unwrap();
        let receipt = Receipt {
            status: Eip658Value::Eip658(true),
            cumulative_gas_used: 21_000,
            logs,
        };
        let receipt = ReceiptEnvelope::Eip1559(ReceiptWithBloom::from(receipt));
        let root = ordered_trie_root_with_encoder(&[&receipt], |receipt, out| receipt.encode_2718(out));
        let header = FullHeader {
            parent_hash: self.blocks.last().map_or(B256::ZERO, |block| block.hash),
            number,
            timestamp: 1_700_000_000 + number,
            receipts_root: if self.quirk == Quirk::Roots {
                keccak256(root)
            } else {
                root
            },
            logs_bloom: match self.quirk {
                Quirk::Blooms => Bloom::ZERO,
                _ => *receipt.logs_bloom() | *bloom,
            },
            base_fee_per_gas: Some(7),
            ..FullHeader::default()
        };
        let mut hash = header.hash_slow();
        if self.quirk == Quirk::Hashes {
            hash = keccak256(hash);
        }
        self.blocks.push(Block {
            hash,
            tx_hash: keccak256(hash),
            header,
            receipt,
        });
    }

    pub fn block(&self, number: usize) -> &Block {
        &self.blocks[number]
    }

    fn head(&self) -> u64 {
        u64::try_from(self.blocks.len()).unwrap() - 1
    }

    fn find(&self, id: &Value) -> Option<&Block> {
        let text = id.as_str().unwrap();
        if text == "latest" {
            return self.blocks.last();
        }
        self.blocks
            .iter()
            .find(|block| text == format!("{:#x}", block.header.number) || text == block.hash.to_string())
    }

    fn answer(&self, method: &str, params: &Value) -> Result<Value, (i64, String)> {
        let or_null = |value: Option<Value>| Ok(value.unwrap_or(Value::Null));
        match method {
            "eth_chainId" => Ok(json!(format!("{CHAIN:#x}"))),
            "web3_clientVersion" => Ok(json!("test/1")),
            "eth_blockNumber" => Ok(json!(format!("{:#x}", self.head()))),
            "eth_getBlockByNumber" | "eth_getBlockByHash" => or_null(self.find(&params[0]).map(Block::json)),
            "eth_getBlockReceipts" => {
                or_null(self.find(&params[0]).map(|block| json!([block.receipt_json()])))
            }
            "eth_getTransactionReceipt" => {
                let of = |block: &&Block| params[0] == block.tx_hash.to_string();
                or_null(self.blocks.iter().find(of).map(Block::receipt_json))
            }
            "eth_getLogs" => self.logs(&params[0]),
            "eth_call" => Err((3, "execution reverted: no".to_owned())),
            "eth_getCode" => Ok(json!("0x6001")),
            _ => Err((-32601, "Method not found".to_owned())),
        }
    }

    fn logs(&self, query: &Value) -> Result<Value, (i64, String)> {
        let number = |field: &str| {
            u64::from_str_radix(query[field].as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
        };
        let (from, to) = match query.get("blockHash") {
            Some(hash) => {
                let block = self.find(hash).ok_or((-32000, "unknown block".to_owned()))?;
                (block.header.number, block.header.number)
            }
            None => (number("fromBlock"), number("toBlock")),
        };
        if to > self.head() {
            return Err((-32602, "BlockOutOfRangeError: above the head".to_owned()));
        }
        let asked = |log: &Value| {
            let within = |list: &Value, value: &Value| {
                list.is_null() || list.as_array().unwrap().iter().any(|one| one == value)
            };
            let topics = query["topics"].as_array().unwrap();
            within(&query["address"], &log["address"])
                && topics
                    .iter()
                    .enumerate()
                    .all(|(at, list)| within(list, &log["topics"][at]))
        };
        let blocks = self
            .blocks
            .iter()
            .filter(|block| (from..=to).contains(&block.header.number));
        Ok(Value::Array(
            blocks.flat_map(Block::logs_json).filter(asked).collect(),
        ))
    }
}

impl Block {
    pub fn json(&self) -> Value {
        let mut block = serde_json::to_value(&self.header).unwrap();
        block["hash"] = json!(self.hash);
        block["transactions"] = json!([self.tx_hash]);
        block
    }

    pub fn logs_json(&self) -> Vec<Value> {
        let logs = self.receipt.logs().iter().enumerate();
        logs.map(|(at, log)| {
            json!({
                "address": format!("{:#x}", log.address), "topics": log.data.topics(), "data": log.data.data,
                "blockNumber": format!("{:#x}", self.header.number), "blockHash": self.hash,
                "transactionHash": self.tx_hash, "transactionIndex": "0x0",
                "logIndex": format!("{at:#x}"), "removed": false,
            })
        })
        .collect()
    }

    pub fn receipt_json(&self) -> Value {
        json!({
            "type": "0x2", "status": "0x1", "cumulativeGasUsed": "0x5208", "logsBloom": self.receipt.logs_bloom(),
            "logs": self.logs_json(), "blockHash": self.hash, "transactionHash": self.tx_hash, "transactionIndex": "0x0",
        })
    }
}
