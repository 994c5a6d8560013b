//! The WebSocket session of one endpoint: it connects, subscribes, carries requests, and reconnects for ever.
//!
//! One task owns the socket. Each life of the socket begins with `eth_chainId`; only then is anything believed or sent.
//! A socket that is silent for two ping periods is taken for half-open and left; one that falls behind the poll has lost
//! its subscription and is left too. Nothing waits for the reader of the stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use alloy::primitives::bytes::Bytes;
use futures_util::StreamExt;
use secrecy::SecretString;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::connection::{Connection, Lost};
use super::error::Failure;
use super::filter::LogFilter;
use super::identity::Identity;
use super::network::{Network, Socket};
use super::stream::Mailbox;
use crate::retry::Backoff;

/// Requests that wait for the socket to take them.
const MAX_WAITING: usize = 256;
const MIN_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(15);

/// The times that govern a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// From the dial to the answers to `eth_chainId` and the subscriptions.
    pub connect: Duration,
    /// Between two pings; twice this without a byte is a dead socket.
    pub ping: Duration,
    /// How long the socket may be behind the poll.
    pub behind: Duration,
}

impl Pace {
    pub fn new(request_timeout: Duration, block_time: Duration) -> Self {
        Self {
            connect: request_timeout.max(Duration::from_secs(1)),
            ping: Duration::from_secs(15),
            behind: (block_time * 3).max(Duration::from_secs(3)),
        }
    }
}

/// One request on its way to the socket.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub id: u64,
    pub text: String,
    pub reply: oneshot::Sender<Bytes>,
}

/// Whether the socket is up. Those who wait for it go on in the order in which they came.
#[derive(Debug, Default)]
struct Link {
    is_up: AtomicBool,
    came_up: Notify,
}

/// The way into a session. Dropping it ends the session's task.
#[derive(Debug)]
pub(super) struct Session {
    requests: mpsc::Sender<Outgoing>,
    link: Arc<Link>,
    suspicion: watch::Sender<Option<Instant>>,
    task: tokio::task::AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Session {
    /// Starts the task.
    pub fn start(
        identity: Arc<Identity>,
        (network, url): (Arc<dyn Network>, SecretString),
        pace: Pace,
        filter: watch::Receiver<LogFilter>,
        mailbox: Arc<Mailbox>,
        slot: usize,
    ) -> Self {
        let (requests, incoming) = mpsc::channel(MAX_WAITING);
        let link = Arc::new(Link::default());
        let (suspicion, suspected) = watch::channel(None);
        let keeper = Keeper {
            identity,
            network,
            url,
            pace,
            filter,
            mailbox,
            slot,
            incoming,
            link: Arc::clone(&link),
            suspected,
        };
        let task = tokio::spawn(keeper.keep()).abort_handle();
        Self {
            requests,
            link,
            suspicion,
            task,
        }
    }

    pub fn is_connected(&self) -> bool {
        self.link.is_up.load(Ordering::SeqCst)
    }

    /// Waits until the socket is up; the caller bounds the time.
    pub async fn wait_connected(&self) {
        while !self.is_connected() {
            let came_up = self.link.came_up.notified();
            if !self.is_connected() {
                came_up.await;
            }
        }
    }

    /// A request sent at `sent` was not answered in time: if nothing else was heard since, the socket is left at once
    /// rather than after two ping periods.
    pub fn suspect(&self, sent: Instant) {
        self.suspicion.send_replace(Some(sent));
    }

    /// Sends one request and waits for its answer; fails as soon as the socket does. The caller bounds the time.
    pub async fn send(&self, id: u64, text: String) -> Result<Bytes, Failure> {
        let down = || Failure::transport("the socket is down");
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(Outgoing { id, text, reply })
            .await
            .map_err(|_| down())?;
        answer.await.map_err(|_| down())
    }
}

/// The task's state across the lives of the socket.
struct Keeper {
    identity: Arc<Identity>,
    network: Arc<dyn Network>,
    url: SecretString,
    pace: Pace,
    filter: watch::Receiver<LogFilter>,
    mailbox: Arc<Mailbox>,
    slot: usize,
    incoming: mpsc::Receiver<Outgoing>,
    link: Arc<Link>,
    suspected: watch::Receiver<Option<Instant>>,
}

impl Keeper {
    async fn keep(mut self) {
        let mut backoff = Backoff::new(MIN_DELAY, MAX_DELAY);
        loop {
            let lost = match self.dial().await {
                Ok(socket) => self.live(socket, &mut backoff).await,
                Err(lost) => lost,
            };
            self.identity.recheck.store(true, Ordering::Relaxed);
            if self.link.is_up.swap(false, Ordering::SeqCst) {
                self.mailbox.disconnected(self.slot);
            }
            self.identity.show_connected(false);
            self.identity.count_disconnect(lost.reason(), lost.problem());
            let delay = backoff.next_delay();
            tracing::warn!(
                chain = %self.identity.chain, endpoint = %self.identity.endpoint,
                reason = lost.reason(), ?delay, "the socket was lost"
            );
            self.refuse_for(delay).await;
        }
    }

    async fn dial(&mut self) -> Result<Socket, Lost> {
        let dialling = timeout(self.pace.connect, self.network.dial(&self.url));
        tokio::pin!(dialling);
        loop {
            tokio::select! {
                biased;
                dialled = &mut dialling => {
                    return match dialled {
                        Ok(Ok(socket)) => Ok(socket),
                        Ok(Err(_)) => Err(Lost::Dial),
                        Err(_) => Err(Lost::Timeout),
                    };
                }
                // Dropping a request tells its sender to go another way.
                Some(_) = self.incoming.recv() => {}
            }
        }
    }

    async fn refuse_for(&mut self, delay: Duration) {
        let until = Instant::now() + delay;
        while let Ok(Some(_)) = tokio::time::timeout_at(until, self.incoming.recv()).await {}
    }

    /// One life of the socket, until it is lost.
    async fn live(&mut self, socket: Socket, backoff: &mut Backoff) -> Lost {
        let (sink, mut source) = socket.split();
        let mut connection = Connection::new(
            Arc::clone(&self.identity),
            Arc::clone(&self.mailbox),
            self.slot,
            self.pace,
            sink,
        );
        let mut genesis = self.identity.genesis.clone();
        genesis.mark_unchanged();
        let filter = self.filter.borrow_and_update().clone();
        if let Err(lost) = connection.introduce(filter).await {
            return lost;
        }
        let mut ticks = interval(self.pace.ping.min(self.pace.behind) / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // In a fixed order, so that a simulation repeats itself; what may come in any number comes last.
            let step = tokio::select! {
                biased;
                _ = ticks.tick() => connection.on_tick().await,
                Ok(()) = self.suspected.changed() => {
                    let sent = *self.suspected.borrow_and_update();
                    connection.on_suspicion(sent)
                }
                Ok(()) = genesis.changed(), if connection.is_ready() => connection.check_genesis().await.map(|_| ()),
                Ok(()) = self.filter.changed(), if connection.is_ready() => {
                    let filter = self.filter.borrow_and_update().clone();
                    connection.subscribe_logs(&filter).await
                }
                Some(request) = self.incoming.recv(), if connection.is_ready() => connection.on_request(request).await,
                message = source.next() => {
                    let received_at = Instant::now();
                    connection.on_message(message, received_at).await
                }
            };
            if let Err(lost) = step {
                return lost;
            }
            if connection.is_ready() && !self.link.is_up.load(Ordering::SeqCst) {
                backoff.reset();
                self.link.is_up.store(true, Ordering::SeqCst);
                self.link.came_up.notify_waiters();
                self.identity.show_connected(true);
                self.identity.streamed.store(0, Ordering::Relaxed);
                self.mailbox.connected(self.slot);
            }
        }
    }
}
