//! Where computing happens: long work off the runtime's threads, short work at once, because the way there costs more.

/// So many receipts, headers or logs are gone through within about a millisecond.
pub(super) const SHORT_ITEMS: usize = 200;

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
