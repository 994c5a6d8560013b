//! A subscription as Stripe sends it, in every shape from 2020 to today, as one typed value.
//!
//! The period stands on the subscription (until 2025-03-31.basil) or on its items; objects are expanded or named by id. It
//! keeps what the fold needs and nothing of the payer's: no name, address or card. Must not judge what a price buys.
//! Source: <https://docs.stripe.com/api/subscriptions/object> and the changelog of its versions.

use serde_json::Value;

use super::shape::{Node, ShapeError, optional};
use crate::domain::{Interval, Millis, SourceState, TenantId};

/// The most items of one subscription that are read; Stripe sends at most 20.
const MAX_ITEMS: usize = 100;

/// A subscription at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionSnapshot {
    /// `sub_…`.
    pub id: String,
    /// `cus_…`, whether it came expanded or not.
    pub customer: Option<String>,
    /// How it stands.
    pub status: Status,
    /// What it is made of, in Stripe's order.
    pub items: Vec<Item>,
    /// The current period: the subscription's own, or its first item's that has one.
    pub period: Option<Period>,
    /// When it will end by the payer's wish: `cancel_at`, or the period's end if `cancel_at_period_end` is set.
    pub scheduled_end: Option<Millis>,
    /// When its trial ends or ended.
    pub trial_end: Option<Millis>,
    /// When it ended, where it has.
    pub ended_at: Option<Millis>,
    /// Whose it is, where its metadata says so.
    pub subject: Option<Subject>,
}

/// Stripe's status word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The first payment has not succeeded.
    Incomplete,
    /// The first payment never succeeded.
    IncompleteExpired,
    /// In a trial.
    Trialing,
    /// In good standing.
    Active,
    /// A renewal failed and is tried again.
    PastDue,
    /// A renewal failed and is not tried again; Stripe advises to revoke access.
    Unpaid,
    /// Over.
    Canceled,
    /// Its trial ended without a payment method.
    Paused,
    /// A word that Stripe has added since.
    Unknown(String),
}

/// One item of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its price, or the plan that older shapes have in its place.
    pub price: Option<PriceRef>,
    /// Seats; none for metered prices.
    pub quantity: Option<u64>,
    /// Its own period, since 2025-03-31.basil.
    pub period: Option<Period>,
}

/// What names a price in the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceRef {
    /// `price_…`, or `plan_…` and free text in older accounts.
    pub id: String,
    /// The name that survives a change of price.
    pub lookup_key: Option<String>,
    /// The period it renews by; none for those that the catalogue has no word for, such as weeks or quarters.
    pub interval: Option<Interval>,
}

/// From `start` up to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first instant.
    pub start: Millis,
    /// The first instant after it.
    pub end: Millis,
}

/// What kind of id the metadata gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubjectKind {
    /// `tenant_id`, `tenantId`.
    Tenant,
    /// `community_id`, `communityId`.
    Community,
    /// `user_id`, `userId`.
    User,
}

/// Whose subscription it is, by the chat product's own ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// What kind of id.
    pub kind: SubjectKind,
    /// The id; plans and subscriptions are the tenant's, whatever the chat product calls it.
    pub id: TenantId,
    /// `channel_id`: the subscription buys a channel, and no plan.
    pub channel: Option<String>,
}

/// The names of the subject, in the order in which they count.
const SUBJECT_KEYS: [(&str, SubjectKind); 6] = [
    ("tenant_id", SubjectKind::Tenant),
    ("tenantId", SubjectKind::Tenant),
    ("community_id", SubjectKind::Community),
    ("communityId", SubjectKind::Community),
    ("user_id", SubjectKind::User),
    ("userId", SubjectKind::User),
];

impl Status {
    /// In our words; none for a word that is not known.
    #[must_use]
    pub const fn state(&self) -> Option<SourceState> {
        Some(match self {
            Self::Incomplete => SourceState::Pending,
            Self::Trialing => SourceState::Trialing,
            Self::Active => SourceState::Active,
            Self::PastDue => SourceState::PastDue,
            Self::Unpaid => SourceState::Restricted,
            Self::Paused => SourceState::Paused,
            Self::Canceled | Self::IncompleteExpired => SourceState::Ended,
            Self::Unknown(_) => return None,
        })
    }

    /// The word as Stripe writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Incomplete => "incomplete",
            Self::IncompleteExpired => "incomplete_expired",
            Self::Trialing => "trialing",
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Unpaid => "unpaid",
            Self::Canceled => "canceled",
            Self::Paused => "paused",
            Self::Unknown(word) => word,
        }
    }
}

impl From<&str> for Status {
    fn from(word: &str) -> Self {
        match word {
            "incomplete" => Self::Incomplete,
            "incomplete_expired" => Self::IncompleteExpired,
            "trialing" => Self::Trialing,
            "active" => Self::Active,
            "past_due" => Self::PastDue,
            "unpaid" => Self::Unpaid,
            "canceled" => Self::Canceled,
            "paused" => Self::Paused,
            _ => Self::Unknown(word.to_owned()),
        }
    }
}

impl SubscriptionSnapshot {
    /// Reads a subscription object, such as one that was fetched.
    ///
    /// # Errors
    /// The path of what is not as Stripe documents it.
    pub fn from_object(subscription: &Value) -> Result<Self, ShapeError> {
        read_subscription(&Node::root(subscription, "subscription"))
    }
}

pub(super) fn read_subscription(node: &Node<'_>) -> Result<SubscriptionSnapshot, ShapeError> {
    let object = node.require("object")?;
    if object.text()? != "subscription" {
        return Err(object.wrong("\"subscription\""));
    }
    let items = read_items(node)?;
    let first_of_items = || items.iter().find_map(|item| item.period);
    let period = read_period(node)?.or_else(first_of_items);
    let ends_with_period = optional(node, "cancel_at_period_end", Node::boolean)?.unwrap_or(false);
    let scheduled_end = match optional(node, "cancel_at", Node::seconds)? {
        Some(instant) => Some(instant),
        None => period.filter(|_| ends_with_period).map(|period| period.end),
    };
    Ok(SubscriptionSnapshot {
        id: node.require("id")?.text()?,
        customer: optional(node, "customer", Node::id)?,
        status: Status::from(node.require("status")?.text()?.as_str()),
        period,
        scheduled_end,
        trial_end: optional(node, "trial_end", Node::seconds)?,
        ended_at: optional(node, "ended_at", Node::seconds)?,
        subject: read_subject(node)?,
        items,
    })
}

/// The items, or where there are none the one plan that the oldest shapes have on the subscription itself.
fn read_items(node: &Node<'_>) -> Result<Vec<Item>, ShapeError> {
    let listed = match node.get("items")? {
        Some(list) => list.require("data")?.elements(MAX_ITEMS)?,
        None => Vec::new(),
    };
    if listed.is_empty() && node.get("plan")?.is_some() {
        return Ok(vec![read_item(node)?]);
    }
    listed.iter().map(read_item).collect()
}

fn read_item(node: &Node<'_>) -> Result<Item, ShapeError> {
    let price = match node.get("price")? {
        Some(price) => Some(read_price(&price)?),
        None => optional(node, "plan", read_price)?,
    };
    Ok(Item {
        price,
        quantity: optional(node, "quantity", Node::count)?,
        period: read_period(node)?,
    })
}

/// A price has its interval under `recurring`, a plan on itself.
fn read_price(node: &Node<'_>) -> Result<PriceRef, ShapeError> {
    let id = node.id()?;
    if !node.is_object() {
        return Ok(PriceRef {
            id,
            lookup_key: None,
            interval: None,
        });
    }
    let interval = match node.get("recurring")? {
        Some(recurring) => read_interval(&recurring)?,
        None => read_interval(node)?,
    };
    Ok(PriceRef {
        id,
        lookup_key: optional(node, "lookup_key", Node::text)?,
        interval,
    })
}

fn read_interval(node: &Node<'_>) -> Result<Option<Interval>, ShapeError> {
    let Some(word) = optional(node, "interval", Node::text)? else {
        return Ok(None);
    };
    let count = optional(node, "interval_count", Node::count)?.unwrap_or(1);
    Ok(match (word.as_str(), count) {
        ("month", 1) => Some(Interval::Month),
        ("year", 1) | ("month", 12) => Some(Interval::Year),
        _ => None,
    })
}

fn read_period(node: &Node<'_>) -> Result<Option<Period>, ShapeError> {
    let start = optional(node, "current_period_start", Node::seconds)?;
    let end = optional(node, "current_period_end", Node::seconds)?;
    Ok(start.zip(end).map(|(start, end)| Period { start, end }))
}

/// The first name that is there decides. Where its value, or the channel's, is no id nobody else's is taken instead: the
/// subscription is an orphan that a person assigns.
fn read_subject(node: &Node<'_>) -> Result<Option<Subject>, ShapeError> {
    let Some(metadata) = node.get("metadata")? else {
        return Ok(None);
    };
    let channel = match metadata.get("channel_id")? {
        Some(channel) => Some(channel),
        None => metadata.get("channelId")?,
    };
    for (key, kind) in SUBJECT_KEYS {
        if let Some(named) = metadata.get(key)? {
            let id = named.text().ok().and_then(|text| text.parse().ok());
            let channel = channel.map(|node| node.text()).transpose();
            return Ok(id
                .zip(channel.ok())
                .map(|(id, channel)| Subject { kind, id, channel }));
        }
    }
    Ok(None)
}
