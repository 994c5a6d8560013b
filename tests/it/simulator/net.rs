//! How messages travel: sockets and HTTP in virtual time. An endpoint's messages arrive at milliseconds of its own, so that
//! no two endpoints are ever heard at the same moment and the order of things is that of the seed.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use alloy::primitives::B256;
use futures_util::future::BoxFuture;
use futures_util::{Sink, Stream};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::sleep_until;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tollgate::chain::{Broken, HttpAnswer, Network, Socket};

use super::fault::Fault;
use super::node::{self, Reply};
use super::world::World;

/// Endpoints are told apart by the milliseconds in which they speak.
pub const SLOTS: i64 = 8;

/// The world behind its lock, which nobody holds over an await.
pub type Shared = Arc<Mutex<World>>;

pub fn lock(shared: &Shared) -> MutexGuard<'_, World> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The network of one world.
#[derive(Clone)]
pub struct Net(pub Shared);

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Net")
    }
}

fn slot_of(url: &SecretString) -> usize {
    let digits = url.expose_secret().chars().filter(char::is_ascii_digit);
    digits.collect::<String>().parse().expect("a URL of this world")
}

impl Network for Net {
    fn dial(&self, url: &SecretString) -> BoxFuture<'static, Result<Socket, Broken>> {
        let (shared, slot) = (Arc::clone(&self.0), slot_of(url));
        Box::pin(async move {
            travel(&shared, slot).await;
            let (ours, theirs) = unbounded_channel();
            let (outgoing, incoming) = unbounded_channel();
            let mut world = lock(&shared);
            let now_ms = world.now_ms();
            if world.strikes(slot, Fault::NoDial, now_ms) {
                world.note(slot, "dial", "refused");
                return Err(Broken::Connection("refused".to_owned()));
            }
            world.note(slot, "dial", "open");
            let line = Arc::new(Mutex::new(Line {
                out: ours,
                subscriptions: Vec::new(),
                announced: None,
                opened: world.next_line(),
                deaf: world.strikes(slot, Fault::Deaf, now_ms),
            }));
            world.lines[slot].push(Arc::clone(&line));
            drop(world);
            tokio::spawn(serve(shared, slot, line, incoming));
            Ok(Box::new(Pair {
                incoming: theirs,
                outgoing,
            }) as Socket)
        })
    }

    fn post(&self, url: &SecretString, body: String) -> BoxFuture<'static, Result<HttpAnswer, Broken>> {
        let (shared, slot) = (Arc::clone(&self.0), slot_of(url));
        Box::pin(async move {
            travel(&shared, slot).await;
            let request: Value = serde_json::from_str(&body).expect("requests are JSON");
            let answer = answer_post(&mut lock(&shared), slot, &request);
            travel(&shared, slot).await;
            match answer {
                Some(answer) => Ok(answer),
                None => std::future::pending().await,
            }
        })
    }
}

/// Half of a way to an endpoint or back.
async fn travel(shared: &Shared, slot: usize) {
    let until = {
        let mut world = lock(shared);
        let now_ms = world.now_ms();
        let latency = world.latency_ms(slot);
        world.instant(in_slot(now_ms + latency, slot))
    };
    sleep_until(until).await;
}

/// The first millisecond from this one on that is the endpoint's.
fn in_slot(at_ms: i64, slot: usize) -> i64 {
    let slot = i64::try_from(slot).unwrap();
    at_ms + (slot - at_ms).rem_euclid(SLOTS)
}

fn answer_post(world: &mut World, slot: usize, request: &Value) -> Option<HttpAnswer> {
    let calls: Vec<&Value> = match request {
        Value::Array(calls) => calls.iter().collect(),
        call => vec![call],
    };
    let mut answers = Vec::new();
    for call in calls {
        match reply(world, slot, call) {
            Reply::Result(result) => answers.push(answer(call, &result)),
            Reply::Error(code, message) => {
                let error = json!({"code": code, "message": message});
                answers.push(json!({"jsonrpc": "2.0", "id": call["id"], "error": error}));
            }
            Reply::Silence => return None,
            Reply::Plain(status, pause, body) => return Some(http(status, pause, body.to_owned())),
            Reply::Cut(result) => {
                let mut text = answer(call, &result).to_string();
                text.truncate(text.len() / 2);
                return Some(http(200, None, text));
            }
        }
    }
    let body = match request {
        Value::Array(_) => Value::Array(answers),
        _ => answers.swap_remove(0),
    };
    Some(http(200, None, body.to_string()))
}

fn http(status: u16, pause_s: Option<u64>, body: String) -> HttpAnswer {
    HttpAnswer {
        status,
        retry_after: pause_s.map(Duration::from_secs),
        body: body.into(),
    }
}

fn answer(call: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": call["id"], "result": result})
}

fn reply(world: &mut World, slot: usize, call: &Value) -> Reply {
    let method = call["method"].as_str().expect("a request has a method");
    let reply = world.respond(slot, method, &call["params"]);
    let kind = match &reply {
        Reply::Result(Value::Null) => "null",
        Reply::Result(_) => "ok",
        Reply::Error(..) => "error",
        Reply::Silence => "silence",
        Reply::Plain(..) => "plain",
        Reply::Cut(_) => "cut",
    };
    world.note(slot, method, &format!("{kind} #{}", call["id"]));
    reply
}

/// The node's end of one socket.
pub struct Line {
    out: UnboundedSender<Message>,
    subscriptions: Vec<(String, Value)>,
    /// The head that was announced last.
    announced: Option<B256>,
    /// Counts the sockets, and names the subscriptions.
    opened: u64,
    /// Subscribed to, and never heard of.
    deaf: bool,
}

async fn serve(
    shared: Shared,
    slot: usize,
    line: Arc<Mutex<Line>>,
    mut incoming: UnboundedReceiver<Message>,
) {
    while let Some(message) = incoming.recv().await {
        let now_ms = lock(&shared).now_ms();
        if lock(&shared).spell(slot, Fault::HalfOpen, now_ms) {
            continue;
        }
        if lock(&shared).strikes(slot, Fault::Hangup, now_ms) {
            break;
        }
        tokio::spawn(handle(Arc::clone(&shared), slot, Arc::clone(&line), message));
    }
    lock(&shared).hang_up(slot, &line);
}

async fn handle(shared: Shared, slot: usize, line: Arc<Mutex<Line>>, message: Message) {
    travel(&shared, slot).await;
    let text = match message {
        Message::Text(text) => text,
        Message::Ping(payload) => {
            line_of(&line).say(Message::Pong(payload));
            return;
        }
        _ => return,
    };
    let call: Value = serde_json::from_str(&text).expect("requests are JSON");
    let said = {
        let mut world = lock(&shared);
        match subscribed(&mut world, slot, &line, &call) {
            Some(result) => Some(answer(&call, &result).to_string()),
            None => match reply(&mut world, slot, &call) {
                Reply::Result(result) => Some(answer(&call, &result).to_string()),
                Reply::Error(code, message) => {
                    let error = json!({"code": code, "message": message});
                    Some(json!({"jsonrpc": "2.0", "id": call["id"], "error": error}).to_string())
                }
                Reply::Silence => None,
                Reply::Plain(_, _, body) => Some(body.to_owned()),
                Reply::Cut(result) => {
                    let mut text = answer(&call, &result).to_string();
                    text.truncate(text.len() / 2);
                    Some(text)
                }
            },
        }
    };
    travel(&shared, slot).await;
    if let Some(said) = said {
        line_of(&line).say(Message::text(said));
    }
}

fn line_of(line: &Arc<Mutex<Line>>) -> MutexGuard<'_, Line> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

fn subscribed(world: &mut World, slot: usize, line: &Arc<Mutex<Line>>, call: &Value) -> Option<Value> {
    let params = &call["params"];
    let mut line = line_of(line);
    match call["method"].as_str()? {
        "eth_subscribe" => {
            let id = format!("0x{:x}{:x}", line.opened, line.subscriptions.len());
            let wanted = match params[0].as_str()? {
                "newHeads" => Value::Null,
                _ => params[1].clone(),
            };
            line.subscriptions.push((id.clone(), wanted));
            let view = world.view(slot);
            line.announced.get_or_insert(node::tip(&view).hash);
            world.note(slot, "eth_subscribe", "ok");
            Some(json!(id))
        }
        "eth_unsubscribe" => {
            // Its place stays, so that no later one takes its name.
            for (id, wanted) in &mut line.subscriptions {
                if *id == params[0] {
                    *wanted = json!({"address": []});
                }
            }
            Some(json!(true))
        }
        _ => None,
    }
}

/// The chain changed: each endpoint tells its sockets, when it comes to know it.
pub fn chain_changed(shared: &Shared) {
    let mut world = lock(shared);
    let now_ms = world.now_ms();
    for slot in 0..world.lines.len() {
        let heard_ms = in_slot(now_ms + world.lag_ms(slot) + world.latency_ms(slot), slot);
        let at = world.instant(heard_ms);
        for line in &world.lines[slot] {
            tokio::spawn(tell(Arc::clone(shared), slot, Arc::clone(line), at));
        }
    }
}

async fn tell(shared: Shared, slot: usize, line: Arc<Mutex<Line>>, at: tokio::time::Instant) {
    sleep_until(at).await;
    let mut world = lock(&shared);
    let now_ms = world.now_ms();
    if world.spell(slot, Fault::HalfOpen, now_ms) {
        return;
    }
    let mut line = line_of(&line);
    let view = world.view(slot);
    let news = news(&world, &view, line.announced);
    line.announced = Some(node::tip(&view).hash);
    if line.deaf || line.subscriptions.is_empty() {
        return;
    }
    let mut heads: Vec<usize> = news.collect();
    if world.strikes(slot, Fault::SkipsHeads, now_ms) {
        heads.clear();
    }
    if world.strikes(slot, Fault::Duplicates, now_ms) {
        heads.extend(heads.clone());
    }
    if world.strikes(slot, Fault::OutOfOrder, now_ms) {
        heads.reverse();
    }
    let thin = world.nodes[slot].plan.thin_heads;
    for place in heads {
        let block = &view[place];
        let mut head = block.header.clone();
        if thin {
            head.as_object_mut().unwrap().remove("withdrawalsRoot");
        }
        world.note_saying(slot, &Value::Null, &head);
        line.notify(&head, Value::is_null);
        for log in &block.logs {
            if !world.strikes(slot, Fault::DropsStreamedLogs, now_ms) {
                line.notify(&log.wire, |wanted| {
                    !wanted.is_null() && node::matches(wanted, &log.wire)
                });
            }
        }
        world.note(slot, "head", "told");
    }
}

/// The places of the blocks that were not announced, lowest first.
fn news(
    world: &World,
    view: &super::tree::Branch,
    announced: Option<B256>,
) -> impl Iterator<Item = usize> + use<> {
    let known = announced.and_then(|hash| world.miner.tree.branch_to(&hash));
    let known = known.unwrap_or_default();
    let common = view
        .iter()
        .zip(&known)
        .take_while(|(ours, theirs)| ours.hash == theirs.hash)
        .count();
    common..view.len()
}

/// A node that is well again forgets its broken sockets.
pub fn hear_again(line: &Arc<Mutex<Line>>) {
    line_of(line).deaf = false;
}

impl Line {
    fn say(&self, message: Message) {
        // A client that is gone hears nothing.
        let _gone = self.out.send(message);
    }

    fn notify(&self, payload: &Value, is_wanted: impl Fn(&Value) -> bool) {
        for (id, wanted) in &self.subscriptions {
            if is_wanted(wanted) {
                let params = json!({"subscription": id, "result": payload});
                let text = json!({"jsonrpc": "2.0", "method": "eth_subscription", "params": params});
                self.say(Message::text(text.to_string()));
            }
        }
    }
}

/// The client's end of one socket.
struct Pair {
    incoming: UnboundedReceiver<Message>,
    outgoing: UnboundedSender<Message>,
}

impl Stream for Pair {
    type Item = Result<Message, SocketError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.incoming.poll_recv(context).map(|message| message.map(Ok))
    }
}

impl Sink<Message> for Pair {
    type Error = SocketError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), SocketError> {
        self.outgoing
            .send(message)
            .map_err(|_| SocketError::ConnectionClosed)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        Poll::Ready(Ok(()))
    }
}
