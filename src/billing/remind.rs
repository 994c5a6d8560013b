//! When a tenant is reminded that what it paid on-chain ends.

/// Days before the end, the earliest first.
pub const REMINDERS: [i64; 3] = [7, 3, 1];

/// The reminders, nearest to the end first, each as its days and how long before the end it is due. Whoever sends the
/// first that is due, and then none of more days, sends each once and nothing late twice.
pub fn reminders_due() -> impl Iterator<Item = (i64, i64)> {
    const DAY_MS: i64 = 86_400_000;
    REMINDERS.into_iter().rev().map(|days| (days, days * DAY_MS))
}
