//! A Stripe event, told apart: a snapshot of a subscription, a thin event that only names its object, or another one.
//!
//! Owns the envelope and the order of events (<https://docs.stripe.com/api/events/object>,
//! <https://docs.stripe.com/event-destinations#thin-events>). A type that is not understood is never an error: Stripe adds
//! types at any time. Must not keep card data; what is stored beside the event goes through [`super::redact()`] first.

use serde_json::Value;

use super::extract::{Status, SubscriptionSnapshot, read_subscription};
use super::shape::{Node, ShapeError, optional};
use crate::domain::Millis;

/// The largest event that is read, in bytes.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;

/// Why a body is not an event. The text of the body is never repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Above [`MAX_EVENT_BYTES`].
    #[error("the event is larger than {MAX_EVENT_BYTES} bytes")]
    TooLarge,
    /// Not JSON, or nested too deeply.
    #[error("the event is not JSON, at line {line}, column {column}")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// JSON, and not an event as Stripe documents it.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeEvent {
    /// `evt_…`; unique, and the same when Stripe delivers again.
    pub id: String,
    /// The type as Stripe writes it, `customer.subscription.updated`.
    pub kind: String,
    /// When the event arose; whole seconds for snapshots.
    pub created: Millis,
    /// Whether it speaks of real money.
    pub livemode: bool,
    /// The connected account that it arose in; none for our own.
    pub account: Option<String>,
    /// The API version that shaped it; none for thin events.
    pub api_version: Option<String>,
    /// What it speaks of.
    pub payload: Payload,
}

/// What an event speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// A subscription as it stood when the event arose.
    Subscription(SubscriptionChange, Box<SubscriptionSnapshot>),
    /// Only a name: what it stands for must be fetched. None where the event speaks of no object.
    Thin(Option<RelatedObject>),
    /// A type that is not extracted; with its object's name where it has one.
    Other(Option<RelatedObject>),
}

/// The name of an object at Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelatedObject {
    /// `invoice`, or `billing.meter` in a thin event.
    pub kind: String,
    /// Its id; some, such as an upcoming invoice, have none.
    pub id: Option<String>,
}

/// What happened to a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubscriptionChange {
    /// Made.
    Created,
    /// Its trial ends in three days, or ended at once.
    TrialWillEnd,
    /// Changed, renewed, or its status moved.
    Updated,
    /// Goes on after a pause.
    Resumed,
    /// Paused because its trial ended without a payment method.
    Paused,
    /// Over.
    Deleted,
}

impl SubscriptionChange {
    fn of(kind: &str) -> Option<Self> {
        Some(match kind.strip_prefix("customer.subscription.")? {
            "created" => Self::Created,
            "trial_will_end" => Self::TrialWillEnd,
            "updated" => Self::Updated,
            "resumed" => Self::Resumed,
            "paused" => Self::Paused,
            "deleted" => Self::Deleted,
            _ => return None,
        })
    }

    const fn precedence(self) -> i64 {
        match self {
            Self::Created => 0,
            Self::TrialWillEnd => 1,
            Self::Updated => 2,
            Self::Resumed => 3,
            Self::Paused => 4,
            Self::Deleted => 9,
        }
    }
}

impl StripeEvent {
    /// Reads the raw body of a webhook whose signature was verified.
    ///
    /// # Errors
    /// A body that is too large, is not JSON, or lacks what every event has; a subscription event whose subscription is not
    /// one. An unknown type is not an error.
    pub fn parse(body: &[u8]) -> Result<Self, EventError> {
        if body.len() > MAX_EVENT_BYTES {
            return Err(EventError::TooLarge);
        }
        let value = serde_json::from_slice(body).map_err(|error| EventError::NotJson {
            line: error.line(),
            column: error.column(),
        })?;
        Ok(Self::from_value(&value)?)
    }

    /// Reads an event that was parsed before, such as one from the inbox.
    ///
    /// # Errors
    /// The path of what is not as Stripe documents it.
    pub fn from_value(event: &Value) -> Result<Self, ShapeError> {
        let event = Node::root(event, "event");
        let object = event.require("object")?;
        match object.text()?.as_str() {
            "event" => snapshot(&event),
            "v2.core.event" => thin(&event),
            _ => Err(object.wrong("\"event\" or \"v2.core.event\"")),
        }
    }
}

/// The place of an event among those about the same object: larger is later, and equal is either the same event or one that
/// Stripe gives no order to (the later delivery then stands). Comparable with plain milliseconds, such as the instant at
/// which the object was fetched.
///
/// Events carry whole seconds, so that a renewal's events often share one. Within a second the kind of change decides
/// (deleted, then paused, resumed, updated, created), and then the status, by the way that subscriptions go.
#[must_use]
pub fn version(event: &StripeEvent) -> i64 {
    let tie = match &event.payload {
        Payload::Subscription(change, snapshot) => {
            change.precedence() * 100 + lateness(&snapshot.status) * 10
        }
        Payload::Thin(_) | Payload::Other(_) => 0,
    };
    event.created.saturating_add(tie)
}

/// Which status is the later one within a second. Where both ways are possible, the one that leaves access.
const fn lateness(status: &Status) -> i64 {
    match status {
        Status::Incomplete => 0,
        Status::Unknown(_) => 1,
        Status::Trialing => 2,
        Status::Unpaid => 3,
        Status::PastDue => 4,
        Status::Active => 5,
        Status::Paused => 6,
        Status::IncompleteExpired => 8,
        Status::Canceled => 9,
    }
}

fn snapshot(event: &Node<'_>) -> Result<StripeEvent, ShapeError> {
    let kind = event.require("type")?.text()?;
    let object = event.require("data")?.require("object")?;
    let payload = match SubscriptionChange::of(&kind) {
        Some(change) => {
            let mut subscription = read_subscription(&object)?;
            if change == SubscriptionChange::Deleted {
                subscription.status = Status::Canceled;
            }
            Payload::Subscription(change, Box::new(subscription))
        }
        None => Payload::Other(name(&object, "object")),
    };
    Ok(StripeEvent {
        id: event.require("id")?.text()?,
        kind,
        created: event.require("created")?.seconds()?,
        livemode: event.require("livemode")?.boolean()?,
        account: optional(event, "account", Node::id)?,
        api_version: optional(event, "api_version", Node::text)?,
        payload,
    })
}

fn thin(event: &Node<'_>) -> Result<StripeEvent, ShapeError> {
    Ok(StripeEvent {
        id: event.require("id")?.text()?,
        kind: event.require("type")?.text()?,
        created: event.require("created")?.instant()?,
        livemode: event.require("livemode")?.boolean()?,
        account: optional(event, "context", Node::text)?,
        api_version: None,
        payload: Payload::Thin(event.get("related_object")?.and_then(|node| name(&node, "type"))),
    })
}

/// What is not extracted is named where it can be, and no reason to refuse the event.
fn name(object: &Node<'_>, kind: &str) -> Option<RelatedObject> {
    Some(RelatedObject {
        kind: object.get(kind).ok()??.text().ok()?,
        id: object.get("id").ok().flatten().and_then(|node| node.text().ok()),
    })
}
