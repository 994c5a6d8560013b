//! One life of a socket: which answer belongs to whom, which subscription is which, and when to give the socket up.
//!
//! It must not reconnect: it says why it is lost, and the session begins another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use alloy::primitives::B256;
use alloy::primitives::bytes::Bytes;
use futures_util::SinkExt;
use futures_util::stream::SplitSink;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};

use super::error::Problem;
use super::filter::LogFilter;
use super::header::RawHeader;
use super::identity::Identity;
use super::logs::WireLog;
use super::network::Socket;
use super::rpc::{Quantity, WireHash, decode_one, encode};
use super::session::{Outgoing, Pace};
use super::stream::{Mailbox, StreamedHead};

/// Requests whose answers are awaited; those whose callers gave up are forgotten first.
const MAX_PENDING: usize = 1024;
/// The longest that the network may take to accept a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a socket was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    Dial,
    Timeout,
    Closed,
    Silent,
    Behind,
    WrongChain,
    WrongGenesis,
    Refused,
    Garbage,
    TooLarge,
    Overfull,
}

impl Lost {
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Dial => "dial",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Silent => "silent",
            Self::Behind => "behind",
            Self::WrongChain => "wrong_chain",
            Self::WrongGenesis => "wrong_genesis",
            Self::Refused => "refused",
            Self::Garbage => "garbage",
            Self::TooLarge => "too_large",
            Self::Overfull => "overfull",
        }
    }

    /// What it says of an endpoint that has no other way.
    pub const fn problem(self) -> Problem {
        match self {
            Self::Timeout | Self::Silent => Problem::Silent,
            Self::WrongChain => Problem::WrongChain,
            Self::WrongGenesis => Problem::WrongGenesis,
            Self::Garbage => Problem::NotJsonRpc,
            Self::TooLarge => Problem::TooLarge,
            Self::Dial | Self::Closed | Self::Behind | Self::Refused | Self::Overfull => Problem::Unreachable,
        }
    }
}

#[derive(Debug)]
enum Pending {
    Caller(oneshot::Sender<Bytes>),
    ChainId,
    /// Block 0, with the hash that it must have.
    Genesis(B256),
    SubscribeHeads,
    SubscribeLogs(u64),
    Unsubscribe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Topic {
    Heads,
    /// The generation of the filter that it was made for.
    Logs(u64),
}

/// Either an answer or a notification; the payloads are read by whom they concern.
#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(default)]
    id: Option<u64>,
    #[serde(borrow, default)]
    params: Option<Notification<'a>>,
}

#[derive(Deserialize)]
struct Notification<'a> {
    subscription: String,
    #[serde(borrow)]
    result: &'a RawValue,
}

pub(super) struct Connection {
    identity: Arc<Identity>,
    mailbox: Arc<Mailbox>,
    slot: usize,
    pace: Pace,
    sink: SplitSink<Socket, Message>,
    pending: BTreeMap<u64, Pending>,
    topics: BTreeMap<String, Topic>,
    /// What to subscribe to once the endpoint is known to be of this chain.
    first_filter: Option<LogFilter>,
    generation: u64,
    ready: bool,
    opened: Instant,
    heard: Instant,
    pinged: Instant,
    behind_since: Option<Instant>,
}

impl Connection {
    pub fn new(
        identity: Arc<Identity>,
        mailbox: Arc<Mailbox>,
        slot: usize,
        pace: Pace,
        sink: SplitSink<Socket, Message>,
    ) -> Self {
        let now = Instant::now();
        Self {
            identity,
            mailbox,
            slot,
            pace,
            sink,
            pending: BTreeMap::new(),
            topics: BTreeMap::new(),
            first_filter: None,
            generation: 0,
            ready: false,
            opened: now,
            heard: now,
            pinged: now,
            behind_since: None,
        }
    }

    /// Whether the chain is the right one and heads are subscribed to.
    pub const fn is_ready(&self) -> bool {
        self.ready
    }

    /// Asks for the chain id; the answer sets off the rest.
    pub async fn introduce(&mut self, filter: LogFilter) -> Result<(), Lost> {
        self.first_filter = Some(filter);
        self.ask(Pending::ChainId, "eth_chainId", &json!([])).await
    }

    /// Asks for block 0, where its hash is known; says whether it is.
    pub async fn check_genesis(&mut self) -> Result<bool, Lost> {
        let expected = *self.identity.genesis.borrow();
        if let Some(expected) = expected {
            let params = json!(["0x0", false]);
            self.ask(Pending::Genesis(expected), "eth_getBlockByNumber", &params)
                .await?;
        }
        Ok(expected.is_some())
    }

    /// Subscribes for the first time, once the endpoint was found to be of this chain.
    async fn begin(&mut self) -> Result<(), Lost> {
        let Some(filter) = self.first_filter.take() else {
            return Ok(());
        };
        self.ask(Pending::SubscribeHeads, "eth_subscribe", &json!(["newHeads"]))
            .await?;
        self.subscribe_logs(&filter).await
    }

    /// Subscribes to what `filter` asks for, before it leaves the older subscriptions, so that nothing falls between.
    pub async fn subscribe_logs(&mut self, filter: &LogFilter) -> Result<(), Lost> {
        self.generation += 1;
        for parameters in filter.subscriptions() {
            let pending = Pending::SubscribeLogs(self.generation);
            self.ask(pending, "eth_subscribe", &json!(["logs", parameters]))
                .await?;
        }
        self.leave_older_logs().await
    }

    async fn leave_older_logs(&mut self) -> Result<(), Lost> {
        let current = Topic::Logs(self.generation);
        let older: Vec<String> = self
            .topics
            .iter()
            .filter(|(_, topic)| **topic != Topic::Heads && **topic != current)
            .map(|(id, _)| id.clone())
            .collect();
        for id in older {
            self.topics.remove(&id);
            self.ask(Pending::Unsubscribe, "eth_unsubscribe", &json!([id]))
                .await?;
        }
        Ok(())
    }

    async fn ask(&mut self, pending: Pending, method: &str, params: &Value) -> Result<(), Lost> {
        let id = self.identity.next_id();
        self.expect(id, pending)?;
        self.send(Message::text(encode(id, method, params))).await
    }

    pub async fn on_request(&mut self, request: Outgoing) -> Result<(), Lost> {
        self.expect(request.id, Pending::Caller(request.reply))?;
        self.send(Message::text(request.text)).await
    }

    fn expect(&mut self, id: u64, pending: Pending) -> Result<(), Lost> {
        if self.pending.len() >= MAX_PENDING {
            self.forget_abandoned();
        }
        if self.pending.len() >= MAX_PENDING {
            return Err(Lost::Overfull);
        }
        self.pending.insert(id, pending);
        Ok(())
    }

    fn forget_abandoned(&mut self) {
        self.pending
            .retain(|_, pending| !matches!(pending, Pending::Caller(reply) if reply.is_closed()));
    }

    async fn send(&mut self, message: Message) -> Result<(), Lost> {
        match timeout(SEND_TIMEOUT, self.sink.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Lost::Closed),
            Err(_) => Err(Lost::Timeout),
        }
    }

    pub async fn on_message(
        &mut self,
        message: Option<Result<Message, SocketError>>,
        received_at: Instant,
    ) -> Result<(), Lost> {
        self.heard = Instant::now();
        match message {
            Some(Ok(Message::Text(text))) => self.on_text(text.into(), received_at).await,
            Some(Ok(Message::Binary(text))) => self.on_text(text, received_at).await,
            // tungstenite queues the pong; sending anything flushes it.
            Some(Ok(Message::Ping(_))) => match timeout(SEND_TIMEOUT, self.sink.flush()).await {
                Ok(Ok(())) => Ok(()),
                _ => Err(Lost::Closed),
            },
            Some(Ok(Message::Pong(_) | Message::Frame(_))) => Ok(()),
            Some(Err(SocketError::Capacity(_))) => Err(Lost::TooLarge),
            Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Lost::Closed),
        }
    }

    async fn on_text(&mut self, text: Bytes, received_at: Instant) -> Result<(), Lost> {
        let Ok(incoming) = serde_json::from_slice::<Incoming<'_>>(&text) else {
            return Err(Lost::Garbage);
        };
        match (incoming.id, incoming.params) {
            (Some(id), _) => match self.pending.remove(&id) {
                Some(pending) => self.on_answer(id, pending, &text).await,
                // Late, after its caller's timeout.
                None => Ok(()),
            },
            (None, Some(notification)) => {
                self.on_notification(&notification, received_at);
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }

    async fn on_answer(&mut self, id: u64, pending: Pending, text: &Bytes) -> Result<(), Lost> {
        match pending {
            Pending::Caller(reply) => {
                // A caller that is gone has timed out, and was told so.
                let _gone = reply.send(text.clone());
                Ok(())
            }
            Pending::Unsubscribe => Ok(()),
            Pending::ChainId => {
                let Quantity(found) = decode_one(id, text, None).map_err(|_| Lost::Refused)?;
                self.identity.check_chain(found).map_err(|_| Lost::WrongChain)?;
                if self.check_genesis().await? {
                    return Ok(());
                }
                self.begin().await
            }
            Pending::Genesis(expected) => {
                let found = decode_one::<WireHash>(id, text, None).map(|block| block.hash);
                self.identity
                    .check_genesis(expected, found)
                    .map_err(|failure| match failure.problem {
                        Problem::WrongGenesis => Lost::WrongGenesis,
                        _ => Lost::Refused,
                    })?;
                self.begin().await
            }
            Pending::SubscribeHeads => {
                let subscription = decode_one(id, text, None).map_err(|_| Lost::Refused)?;
                self.topics.insert(subscription, Topic::Heads);
                self.ready = true;
                Ok(())
            }
            Pending::SubscribeLogs(generation) => {
                match decode_one::<String>(id, text, None) {
                    Ok(subscription) => {
                        self.topics.insert(subscription, Topic::Logs(generation));
                    }
                    // Streamed logs only show a payment earlier; without them the heads still bring it.
                    Err(failure) => tracing::warn!(
                        chain = %self.identity.chain, endpoint = %self.identity.endpoint,
                        error = self.identity.scrubbed(&failure.message), "logs cannot be subscribed to"
                    ),
                }
                // The filter may have changed while the answer was on its way.
                self.leave_older_logs().await
            }
        }
    }

    fn on_notification(&mut self, notification: &Notification<'_>, received_at: Instant) {
        let payload = notification.result.get();
        match self.topics.get(&notification.subscription) {
            Some(Topic::Heads) => match serde_json::from_str::<RawHeader>(payload) {
                Ok(raw) => self.on_head(&raw, received_at),
                Err(_) => self.identity.count_unproven(),
            },
            Some(Topic::Logs(_)) => match serde_json::from_str::<WireLog>(payload) {
                Ok(log) => {
                    if !self.mailbox.log(log.into()) {
                        self.identity.count_dropped_log();
                    }
                }
                Err(_) => self.identity.count_unproven(),
            },
            None => {}
        }
    }

    fn on_head(&mut self, raw: &RawHeader, received_at: Instant) {
        let block = raw.block();
        self.identity.saw_head(block.number, raw.timestamp_s());
        self.identity.streamed.store(block.number, Ordering::Relaxed);
        self.mailbox.head(
            self.slot,
            Box::new(StreamedHead {
                endpoint: Arc::clone(&self.identity.endpoint),
                block,
                header: raw.prove().ok(),
                received_at,
            }),
        );
    }

    /// Pings, and gives up a socket that is silent, behind the poll, or not ready in time.
    pub async fn on_tick(&mut self) -> Result<(), Lost> {
        let now = Instant::now();
        self.identity.show_header_age();
        if !self.ready && now.duration_since(self.opened) > self.pace.connect {
            return Err(Lost::Timeout);
        }
        if now.duration_since(self.heard) > 2 * self.pace.ping {
            return Err(Lost::Silent);
        }
        if self.is_behind(now) {
            return Err(Lost::Behind);
        }
        self.forget_abandoned();
        if now.duration_since(self.pinged) >= self.pace.ping {
            self.pinged = now;
            self.send(Message::Ping(Bytes::new())).await?;
        }
        Ok(())
    }

    /// Nothing was heard since `sent`, although an answer was due.
    pub fn on_suspicion(&self, sent: Option<Instant>) -> Result<(), Lost> {
        match sent {
            Some(sent) if self.heard < sent => Err(Lost::Silent),
            _ => Ok(()),
        }
    }

    fn is_behind(&mut self, now: Instant) -> bool {
        let polled = self.identity.polled.load(Ordering::Relaxed);
        let streamed = self.identity.streamed.load(Ordering::Relaxed);
        // Zero until the first head of this life: a chain may be quiet, but then the poll stands still as well.
        if streamed == 0 {
            self.identity.streamed.store(polled, Ordering::Relaxed);
            return false;
        }
        if polled <= streamed {
            self.behind_since = None;
            return false;
        }
        let since = *self.behind_since.get_or_insert(now);
        now.duration_since(since) > self.pace.behind
    }
}
