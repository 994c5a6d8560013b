//! Between a client and its node: passes on what both say, WebSocket and HTTP on one port, and goes wrong on request.
//!
//! It reads JSON-RPC only as far as its faults need, and counts what is asked. It must not judge what the client makes of
//! it. Nothing here names the rest of the tests, so that the benches can use it too.

mod fault;
mod http;
mod socket;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use fault::{Fault, HUGE_BYTES, Rule, Way};
use fault::{Rules, number_of};

/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;
/// How much of a huge body is written at once.
const PART_BYTES: usize = 64 * 1024;

/// A proxy in front of one node. Dropping it closes everything.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What was asked and what it cost.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// Requests by way and method; each of a batch is one.
    pub requests: BTreeMap<(Way, String), u64>,
    /// Bytes of requests.
    pub bytes_up: u64,
    /// Bytes of answers and notifications.
    pub bytes_down: u64,
}

impl Traffic {
    /// How often a method was asked for, on both ways.
    pub fn asked(&self, method: &str) -> u64 {
        let of_method = self.requests.iter().filter(|((_, asked), _)| asked == method);
        of_method.map(|(_, count)| count).sum()
    }

    /// Everything that was asked on one way.
    pub fn over(&self, way: Way) -> u64 {
        let over = self.requests.iter().filter(|((over, _), _)| *over == way);
        over.map(|(_, count)| count).sum()
    }
}

/// A fault that is in force until it is lifted, or the proxy healed.
pub struct Injected {
    rule: Arc<Rule>,
    shared: Arc<Shared>,
}

impl Injected {
    /// How often it made a difference.
    pub fn strikes(&self) -> u64 {
        self.rule.strikes()
    }

    /// Ends it, and says how often it made a difference.
    pub fn lift(self) -> u64 {
        self.shared
            .rules
            .send_modify(|rules| rules.retain(|rule| !Arc::ptr_eq(rule, &self.rule)));
        self.strikes()
    }
}

impl Proxy {
    /// Starts one in front of the node at `http_url`, which serves WebSocket on the same port. Within a tokio runtime.
    ///
    /// # Errors
    /// There is no port to listen on.
    pub fn start(http_url: &str) -> io::Result<Self> {
        tollgate::egress::install_crypto_provider();
        // Bound and never listened on: it keeps the port while connections are refused.
        let reserved = socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = reserved.local_addr()?;
        let listener = socket(address)?.listen(BACKLOG)?;
        let shared = Arc::new(Shared {
            node: Mutex::new(authority(http_url)),
            client: reqwest::Client::builder()
                .no_proxy()
                .build()
                .map_err(io::Error::other)?,
            rules: watch::Sender::default(),
            traffic: Mutex::default(),
        });
        let task = tokio::spawn(listen(reserved, listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    pub fn http_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn ws_url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Puts a fault in force, beside those that are.
    pub fn inject(&self, rule: impl Into<Rule>) -> Injected {
        let rule = Arc::new(rule.into());
        self.shared
            .rules
            .send_modify(|rules| rules.push(Arc::clone(&rule)));
        Injected {
            rule,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Ends all faults. Connections that were refused are accepted a moment later.
    pub fn heal(&self) {
        self.shared.rules.send_replace(Rules::new());
    }

    /// Passes on to another node from now on; sockets that are open stay with the old one.
    pub fn turn_to(&self, http_url: &str) {
        *lock(&self.shared.node) = authority(http_url);
    }

    /// What was asked until now.
    pub fn traffic(&self) -> Traffic {
        lock(&self.shared.traffic).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn authority(http_url: &str) -> String {
    http_url.trim_start_matches("http://").to_owned()
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all connections share.
struct Shared {
    /// Host and port of the node.
    node: Mutex<String>,
    client: reqwest::Client,
    rules: watch::Sender<Rules>,
    traffic: Mutex<Traffic>,
}

/// What becomes of an answer on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    Whole,
    Truncated,
    Html,
    Huge,
    Status(u16, Option<u64>),
    Silence,
    Close,
}

/// How an answer is passed on, and how much later.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    passage: Passage,
    delay: Duration,
}

/// How often a notification is passed on, and how much later.
#[derive(Debug, Clone, Copy)]
struct Notice {
    times: usize,
    swap: bool,
    delay: Duration,
}

impl Shared {
    fn node(&self) -> String {
        lock(&self.node).clone()
    }

    /// Counts a request, and changes it as the faults want.
    fn take_request(&self, way: Way, request: &mut Value) {
        let method = request["method"].as_str().unwrap_or_default().to_owned();
        for rule in self.matching(way, &method, &request["params"]) {
            rule.change_request(request);
        }
        *lock(&self.traffic).requests.entry((way, method)).or_default() += 1;
    }

    fn count_up(&self, bytes: usize) {
        lock(&self.traffic).bytes_up += u64::try_from(bytes).unwrap_or_default();
    }

    fn count_down(&self, bytes: usize) {
        lock(&self.traffic).bytes_down += u64::try_from(bytes).unwrap_or_default();
    }

    fn matching(&self, way: Way, method: &str, params: &Value) -> Rules {
        let rules = self.rules.borrow();
        let matching = rules.iter().filter(|rule| rule.matches(way, method, params));
        matching.cloned().collect()
    }

    /// Changes the answer to a request as the faults want, and says how it goes on.
    fn judge(&self, way: Way, request: &Value, answer: &mut Value) -> Verdict {
        let mut verdict = Verdict {
            passage: Passage::Whole,
            delay: Duration::ZERO,
        };
        let method = request["method"].as_str().unwrap_or_default();
        for rule in self.matching(way, method, &request["params"]) {
            match rule.fault {
                Fault::Cut => verdict.passage = Passage::Close,
                Fault::Stall => verdict.passage = Passage::Silence,
                Fault::Delay(delay) => verdict.delay += delay,
                Fault::Status(status, retry_after) => verdict.passage = Passage::Status(status, retry_after),
                Fault::Html => verdict.passage = Passage::Html,
                Fault::Truncated => verdict.passage = Passage::Truncated,
                Fault::Huge => verdict.passage = Passage::Huge,
                _ => {
                    rule.change_answer(request, answer);
                    continue;
                }
            }
            rule.struck();
        }
        verdict
    }

    /// What becomes of a notification for the subscription `kind`.
    fn judge_notice(&self, kind: &str, result: &Value) -> Notice {
        let mut notice = Notice {
            times: 1,
            swap: false,
            delay: Duration::ZERO,
        };
        let number = number_of(&result["number"]).or_else(|| number_of(&result["blockNumber"]));
        for rule in self.matching(Way::Ws, kind, result) {
            match rule.fault {
                Fault::Lose => notice.times = 0,
                Fault::LagAt(head) if number.is_some_and(|number| number > head) => notice.times = 0,
                Fault::Repeat => notice.times *= 2,
                Fault::Swap => notice.swap = true,
                Fault::Delay(delay) => notice.delay += delay,
                _ => continue,
            }
            rule.struck();
        }
        notice
    }

    /// Waits until whole connections of a way are struck, and says by what.
    async fn connections_struck(&self, way: Way) -> Passage {
        let mut rules = self.rules.subscribe();
        let struck = rules
            .wait_for(|rules| connection_fault(rules, way).is_some())
            .await;
        let found = struck.ok().and_then(|rules| connection_fault(&rules, way));
        let Some((rule, passage)) = found else {
            return Passage::Close;
        };
        rule.struck();
        passage
    }

    async fn until(&self, holds: impl Fn(&[Arc<Rule>]) -> bool) {
        let mut rules = self.rules.subscribe();
        // The sender lives as long as this.
        let _seen = rules.wait_for(|rules| holds(rules)).await;
    }

    /// Sends a huge body, for as long as it is taken.
    async fn pour(&self, sink: &mut (impl AsyncWrite + Unpin), chunked: bool) -> io::Result<()> {
        let part = vec![b'0'; PART_BYTES];
        let mut left = HUGE_BYTES;
        while left > 0 {
            if chunked {
                sink.write_all(format!("{PART_BYTES:x}\r\n").as_bytes()).await?;
            }
            sink.write_all(&part).await?;
            if chunked {
                sink.write_all(b"\r\n").await?;
            }
            self.count_down(PART_BYTES);
            left = left.saturating_sub(u64::try_from(PART_BYTES).unwrap_or(u64::MAX));
        }
        Ok(())
    }
}

/// What strikes whole connections of a way.
fn connection_fault(rules: &[Arc<Rule>], way: Way) -> Option<(Arc<Rule>, Passage)> {
    rules.iter().find_map(|rule| {
        let passage = match rule.fault {
            Fault::Cut => Passage::Close,
            Fault::Stall => Passage::Silence,
            _ => return None,
        };
        rule.strikes_connections(way).then(|| (Arc::clone(rule), passage))
    })
}

/// Whether no connection is accepted at all.
fn refuses(rules: &[Arc<Rule>]) -> bool {
    let cut = |rule: &Arc<Rule>| {
        rule.fault == Fault::Cut && rule.strikes_connections(Way::Ws) && rule.strikes_connections(Way::Http)
    };
    rules.iter().any(cut)
}

async fn listen(reserved: TcpSocket, first: TcpListener, shared: Arc<Shared>) {
    let mut listener = Some(first);
    let mut connections = JoinSet::new();
    loop {
        shared.until(|rules| !refuses(rules)).await;
        let again = || reserved.local_addr().and_then(socket)?.listen(BACKLOG);
        let Ok(listener) = listener.take().map_or_else(again, Ok) else {
            // Whoever waits for the proxy says so.
            return;
        };
        loop {
            tokio::select! {
                biased;
                () = shared.until(refuses) => break,
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        connections.spawn(serve(stream, Arc::clone(&shared)));
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// One connection; its first byte says of which way it is.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut first = [0];
    let _nodelay = stream.set_nodelay(true);
    match stream.peek(&mut first).await {
        Ok(1) if first == *b"G" => socket::serve(stream, &shared).await,
        Ok(1) => http::serve(stream, &shared).await,
        _ => {}
    }
}

/// Reads until the other side gives up, and answers nothing.
async fn stall(mut stream: impl AsyncRead + Unpin) {
    let _gone = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}
