//! What Stripe says, understood: webhook signatures, and events of every shape from 2020 to today as typed values.
//!
//! Pure: it is given bytes, JSON and the time, and returns values or a precise error. It must not fetch, store, or decide
//! what a tenant may do; its one way out is a [`Source`](crate::domain::Source) for the fold.

mod convert;
mod event;
mod extract;
mod redact;
mod shape;
pub mod signature;
#[cfg(test)]
mod tests;

pub use convert::{NoSource, Seen, to_source};
pub use event::{
    EventError, MAX_EVENT_BYTES, Payload, RelatedObject, StripeEvent, SubscriptionChange, version,
};
pub use extract::{Item, Period, PriceRef, Status, Subject, SubjectKind, SubscriptionSnapshot};
pub use redact::redact;
pub use shape::ShapeError;
