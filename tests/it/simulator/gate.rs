//! What makes the database's own thread keep to the seed's order: it begins a command only when the runtime has come to
//! rest, so that no answer is ever there before it is waited for.
//!
//! The driver enters the sender's tracing span on that thread before each command. The subscriber here gives every sender
//! one span of its own, and whoever enters it waits; all else goes on to the subscriber of the process.

use std::sync::{Condvar, Mutex, PoisonError};

use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Subscriber};
use tracing_core::span::Current;

/// The span of every command; no other subscriber counts that far.
const COMMAND: u64 = u64::MAX;

#[derive(Debug, Default)]
struct State {
    arrived: u64,
    released: u64,
    is_free: bool,
}

/// The gate before the database.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    opened: Condvar,
}

impl Gate {
    /// The runtime is at rest: the command that waits may begin.
    pub fn open(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.released != state.arrived {
            state.released = state.arrived;
            drop(state);
            self.opened.notify_all();
        }
    }

    /// Nobody waits any more: the process is over.
    pub fn leave_open(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.is_free = true;
        drop(state);
        self.opened.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.arrived += 1;
        let place = state.arrived;
        while !state.is_free && state.released < place {
            state = self.opened.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Puts the gate before what other threads do for this one.
pub struct Keeper {
    gate: std::sync::Arc<Gate>,
    command: &'static Metadata<'static>,
    beyond: Dispatch,
}

impl Keeper {
    pub fn new(gate: std::sync::Arc<Gate>) -> Self {
        let span = tracing::info_span!("database");
        Self {
            gate,
            command: span.metadata().expect("a span is described"),
            beyond: tracing::dispatcher::get_default(Clone::clone),
        }
    }
}

impl Subscriber for Keeper {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.beyond.enabled(metadata)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        self.beyond.new_span(attributes)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.beyond.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.beyond.record_follows_from(span, follows);
    }

    fn event(&self, event: &Event<'_>) {
        self.beyond.event(event);
    }

    fn enter(&self, span: &Id) {
        if span.into_u64() == COMMAND {
            self.gate.pass();
        } else {
            self.beyond.enter(span);
        }
    }

    fn exit(&self, span: &Id) {
        if span.into_u64() != COMMAND {
            self.beyond.exit(span);
        }
    }

    fn clone_span(&self, span: &Id) -> Id {
        if span.into_u64() == COMMAND {
            span.clone()
        } else {
            self.beyond.clone_span(span)
        }
    }

    fn try_close(&self, span: Id) -> bool {
        span.into_u64() != COMMAND && self.beyond.try_close(span)
    }

    fn current_span(&self) -> Current {
        Current::new(Id::from_u64(COMMAND), self.command)
    }
}
