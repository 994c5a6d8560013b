//! Where computing happens: long work off the runtime's threads, short work at once, because the way there costs more.

/// Receipts, headers and logs that are checked at once.
pub(super) const SHORT_ITEMS: usize = 128;

/// Runs `work` and waits for it; `None` where it was cut short.
pub(super) async fn compute<T: Send + 'static>(
    is_long: bool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if is_long {
        tokio::task::spawn_blocking(work).await.ok()
    } else {
        Some(work())
    }
}
