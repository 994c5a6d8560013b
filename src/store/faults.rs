//! The seam for what a simulation lets happen to the database. The service has nothing behind it: one check of an `Option`.

use std::fmt;

use futures_util::future::BoxFuture;

/// A moment of the store's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// A connection for reading is asked for.
    Read,
    /// A write transaction is about to begin.
    Begin,
    /// A write transaction is about to be committed. An error now means that nothing of it is kept.
    Commit,
    /// A write transaction was committed, and nobody knows yet. An error now means that all of it is kept.
    Committed,
}

/// What happens to the database besides what is asked of it.
pub trait Faults: fmt::Debug + Send + Sync {
    /// At each moment: an error is what the store's caller is told, and a future that never ends is a process that ends here.
    fn at(&self, moment: Moment) -> BoxFuture<'_, Result<(), sqlx::Error>>;

    /// A statement of a write transaction is about to be sent.
    fn statement(&self);
}
