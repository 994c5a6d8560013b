//! What the sockets say, on its way to one reader: hints, never the truth.
//!
//! A slow reader costs memory nothing and never the newest head: each endpoint has one slot for its latest head, and the
//! streamed logs a bounded queue whose overflow is counted. Must not wait for the reader.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::filter::LogFilter;
use super::logs::StreamedLog;
use crate::domain::{BlockRef, Header};

/// Streamed logs that wait for the reader; further ones are dropped and counted.
const MAX_WAITING_LOGS: usize = 4096;

/// One announcement of an endpoint.
#[derive(Debug, Clone)]
pub enum StreamEvent {
    /// The socket is up: chain id checked, subscribed.
    Connected {
        /// The endpoint's name.
        endpoint: Arc<str>,
    },
    /// The newest head; older ones that were not read in time are gone.
    Head(Box<StreamedHead>),
    /// A log for our filter, as early as the endpoint knows it.
    Log(StreamedLog),
    /// The socket is down: heads and logs may have been missed.
    Disconnected {
        /// The endpoint's name.
        endpoint: Arc<str>,
    },
}

/// A head as it was announced.
#[derive(Debug, Clone)]
pub struct StreamedHead {
    /// Who announced it.
    pub endpoint: Arc<str>,
    /// What it claims to be.
    pub block: BlockRef,
    /// The whole header, where the payload hashes to its hash; where not, fetch it by hash.
    pub header: Option<Header>,
    /// When the last byte of the message had been read.
    pub received_at: Instant,
}

#[derive(Debug, Default)]
struct Slot {
    connected: bool,
    disconnected: bool,
    head: Option<Box<StreamedHead>>,
}

#[derive(Debug)]
struct State {
    slots: Vec<Slot>,
    logs: VecDeque<StreamedLog>,
}

/// Where the sessions leave what they hear.
#[derive(Debug)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    endpoints: Vec<Arc<str>>,
    filled: Notify,
}

impl Mailbox {
    pub fn new(endpoints: Vec<Arc<str>>) -> Self {
        let slots = endpoints.iter().map(|_| Slot::default()).collect();
        Self {
            state: Mutex::new(State {
                slots,
                logs: VecDeque::new(),
            }),
            endpoints,
            filled: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is a single assignment, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, slot: usize, change: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.lock().slots.get_mut(slot) {
            change(slot);
        }
        self.filled.notify_one();
    }

    pub fn connected(&self, slot: usize) {
        self.change(slot, |slot| slot.connected = true);
    }

    pub fn disconnected(&self, slot: usize) {
        self.change(slot, |slot| {
            slot.connected = false;
            slot.disconnected = true;
        });
    }

    pub fn head(&self, slot: usize, head: Box<StreamedHead>) {
        self.change(slot, |slot| slot.head = Some(head));
    }

    /// Whether there was room.
    pub fn log(&self, log: StreamedLog) -> bool {
        let mut state = self.lock();
        let room = state.logs.len() < MAX_WAITING_LOGS;
        if room {
            state.logs.push_back(log);
        }
        drop(state);
        self.filled.notify_one();
        room
    }

    /// Losses of the socket first, then its return, heads, and logs.
    fn take(&self) -> Option<StreamEvent> {
        let mut state = self.lock();
        for (slot, endpoint) in state.slots.iter_mut().zip(&self.endpoints) {
            let endpoint = || Arc::clone(endpoint);
            if std::mem::take(&mut slot.disconnected) {
                return Some(StreamEvent::Disconnected { endpoint: endpoint() });
            }
            if std::mem::take(&mut slot.connected) {
                return Some(StreamEvent::Connected { endpoint: endpoint() });
            }
            if let Some(head) = slot.head.take() {
                return Some(StreamEvent::Head(head));
            }
        }
        state.logs.pop_front().map(StreamEvent::Log)
    }
}

/// The reader's end of the streams of one chain, and where it says what to stream.
#[derive(Debug)]
pub struct StreamHandle {
    mailbox: Arc<Mailbox>,
    filter: watch::Sender<LogFilter>,
}

impl StreamHandle {
    pub(super) fn new(mailbox: Arc<Mailbox>, filter: watch::Sender<LogFilter>) -> Self {
        Self { mailbox, filter }
    }

    /// The next announcement; waits for ever where no endpoint has a socket. Cancel-safe.
    pub async fn next(&mut self) -> StreamEvent {
        loop {
            let filled = self.mailbox.filled.notified();
            if let Some(event) = self.mailbox.take() {
                return event;
            }
            filled.await;
        }
    }

    /// The next log alone, for a reader that is busy with a head. Cancel-safe.
    pub async fn next_log(&self) -> StreamedLog {
        loop {
            let filled = self.mailbox.filled.notified();
            if let Some(log) = self.mailbox.lock().logs.pop_front() {
                return log;
            }
            filled.await;
        }
    }

    /// Replaces what is streamed; every open socket subscribes anew if that is a change.
    pub fn set_filter(&self, filter: LogFilter) {
        self.filter.send_if_modified(|current| {
            let changed = *current != filter;
            *current = filter;
            changed
        });
    }
}
