//! Supervised tasks, stopped in the reverse order of their starting.
//!
//! Owns: the tokens that stop tasks, the restarts of those that failed, and the time that stopping may take. What is
//! started first is what others stand on, so it stops last. It must not know what a task does; a task that was told to
//! stop and returns is never restarted, and no task's end goes unnoticed.

use std::any::Any;
use std::fmt::Display;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Counts the ends of tasks that nobody asked to stop, by `task` and `outcome` (`failed`, `panicked`, `returned`).
pub const TASK_FAILURES_TOTAL: &str = "tollgate_task_failures_total";

const FIRST_RESTART_DELAY: Duration = Duration::from_millis(250);
const LONGEST_RESTART_DELAY: Duration = Duration::from_secs(30);
/// A task that ran this long before it failed starts over with the shortest delay.
const STEADY_AFTER: Duration = Duration::from_mins(1);

/// The running tasks, in the order of their starting.
#[derive(Debug, Default)]
pub struct Tasks {
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    name: Arc<str>,
    token: CancellationToken,
    handle: JoinHandle<()>,
}

/// How a shutdown went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stopped {
    /// The tasks that did not stop in their time and were dropped at their next await, in the order of stopping.
    pub aborted: Vec<Arc<str>>,
}

enum End {
    Failed(String),
    Panicked,
    Returned,
}

impl Tasks {
    /// Starts a task that runs once. It should return soon after its token is cancelled; its panic is logged and counted.
    pub fn spawn<F, Fut>(&mut self, name: impl Into<Arc<str>>, task: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let name: Arc<str> = name.into();
        let token = CancellationToken::new();
        let future = task(token.clone());
        let named = Arc::clone(&name);
        let handle = tokio::spawn(async move {
            if AssertUnwindSafe(future).catch_unwind().await.is_err() {
                note(&named, &End::Panicked);
            }
        });
        self.running.push(Running { name, token, handle });
    }

    /// Starts a task that runs until its token is cancelled. An error, a panic and an early return are logged, counted,
    /// and followed by a new start after a delay that doubles from a quarter of a second to half a minute.
    pub fn supervise<F, Fut, E>(&mut self, name: impl Into<Arc<str>>, factory: F)
    where
        F: FnMut(CancellationToken) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let name: Arc<str> = name.into();
        let token = CancellationToken::new();
        let handle = tokio::spawn(keep_running(Arc::clone(&name), token.clone(), factory));
        self.running.push(Running { name, token, handle });
    }

    /// Stops one task, and aborts it where it does not stop in time; there may be none of that name.
    pub async fn stop(&mut self, name: &str, timeout: Duration) {
        let Some(place) = self.running.iter().position(|running| *running.name == *name) else {
            return;
        };
        let mut running = self.running.remove(place);
        running.token.cancel();
        if tokio::time::timeout(timeout, &mut running.handle).await.is_err() {
            tracing::warn!(task = %name, "did not stop in time and was aborted");
            running.handle.abort();
        }
    }

    /// Stops the tasks, the last that was started first, each before the next is told.
    ///
    /// Takes at most `timeout`. A task may use half of the time that is left, so that one that hangs leaves some to those
    /// below it; the last may use all of it. What has not stopped by then is aborted.
    pub async fn shutdown(mut self, timeout: Duration) -> Stopped {
        let deadline = Instant::now() + timeout;
        let mut stopped = Stopped::default();
        while let Some(Running {
            name,
            token,
            mut handle,
        }) = self.running.pop()
        {
            token.cancel();
            let left = deadline.saturating_duration_since(Instant::now());
            let allowed = if self.running.is_empty() { left } else { left / 2 };
            if tokio::time::timeout(allowed, &mut handle).await.is_err() {
                tracing::warn!(task = %name, "did not stop in time and was aborted");
                handle.abort();
                stopped.aborted.push(name);
            }
        }
        stopped
    }
}

impl Drop for Tasks {
    /// Without a shutdown, tasks are told to stop and are not waited for.
    fn drop(&mut self) {
        for running in self.running.iter().rev() {
            running.token.cancel();
        }
    }
}

async fn keep_running<F, Fut, E>(name: Arc<str>, token: CancellationToken, mut factory: F)
where
    F: FnMut(CancellationToken) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), E>> + Send,
    E: Display + Send,
{
    let mut failures = 0_u32;
    loop {
        let started = Instant::now();
        let end = run_once(&mut factory, token.clone()).await;
        if token.is_cancelled() && matches!(end, End::Returned) {
            return;
        }
        note(&name, &end);
        if token.is_cancelled() {
            return;
        }
        failures = if started.elapsed() >= STEADY_AFTER {
            1
        } else {
            failures.saturating_add(1)
        };
        tokio::select! {
            biased;
            () = token.cancelled() => return,
            () = tokio::time::sleep(restart_delay(failures)) => {}
        }
    }
}

async fn run_once<F, Fut, E>(factory: &mut F, token: CancellationToken) -> End
where
    F: FnMut(CancellationToken) -> Fut,
    Fut: Future<Output = Result<(), E>>,
    E: Display,
{
    // The call stands inside the future, so that a factory that panics is caught too.
    let run = AssertUnwindSafe(async { factory(token).await });
    match run.catch_unwind().await {
        Ok(Ok(())) => End::Returned,
        Ok(Err(error)) => End::Failed(error.to_string()),
        Err(payload) => {
            drop::<Box<dyn Any + Send>>(payload);
            End::Panicked
        }
    }
}

fn note(name: &Arc<str>, end: &End) {
    let outcome = match end {
        End::Failed(error) => {
            tracing::error!(task = %name, %error, "task failed");
            "failed"
        }
        // The panic hook has told where; the payload may hold a value, so it is not repeated.
        End::Panicked => {
            tracing::error!(task = %name, "task panicked");
            "panicked"
        }
        End::Returned => {
            tracing::error!(task = %name, "task returned although nobody stopped it");
            "returned"
        }
    };
    metrics::counter!(TASK_FAILURES_TOTAL, "task" => name.to_string(), "outcome" => outcome).increment(1);
}

fn restart_delay(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    FIRST_RESTART_DELAY
        .saturating_mul(1 << doublings)
        .min(LONGEST_RESTART_DELAY)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn the_delay_doubles_up_to_its_limit() {
        let delays: Vec<u128> = (1..=9).map(|n| restart_delay(n).as_millis()).collect();
        assert_eq!(delays, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(restart_delay(u32::MAX), LONGEST_RESTART_DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_stop_in_the_reverse_order_of_their_starting() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Tasks::default();
        for name in ["store", "engine", "api"] {
            let order = Arc::clone(&order);
            tasks.spawn(name, |token| async move {
                token.cancelled().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
                order.lock().unwrap().push(name);
            });
        }
        let stopped = tasks.shutdown(Duration::from_secs(10)).await;
        assert_eq!(stopped, Stopped::default());
        assert_eq!(*order.lock().unwrap(), ["api", "engine", "store"]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_task_is_stopped_and_the_others_go_on() {
        let mut tasks = Tasks::default();
        let stopped = Arc::new(Mutex::new(Vec::new()));
        for name in ["a", "b"] {
            let stopped = Arc::clone(&stopped);
            tasks.spawn(name, |token| async move {
                token.cancelled().await;
                stopped.lock().unwrap().push(name);
            });
        }
        tasks.spawn("hangs", |_| std::future::pending());
        tasks.stop("a", Duration::from_secs(1)).await;
        tasks.stop("nobody", Duration::from_secs(1)).await;
        assert_eq!(*stopped.lock().unwrap(), ["a"]);
        let before = Instant::now();
        tasks.stop("hangs", Duration::from_secs(1)).await;
        assert_eq!(before.elapsed(), Duration::from_secs(1));
        assert_eq!(tasks.shutdown(Duration::from_secs(1)).await, Stopped::default());
        assert_eq!(*stopped.lock().unwrap(), ["a", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_hangs_is_aborted_and_leaves_time_to_the_others() {
        let mut tasks = Tasks::default();
        let done = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&done);
        tasks.spawn("below", |token| async move {
            token.cancelled().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            seen.fetch_add(1, Ordering::SeqCst);
        });
        tasks.spawn("hangs", |_| std::future::pending());
        let before = Instant::now();
        let stopped = tasks.shutdown(Duration::from_secs(10)).await;
        assert_eq!(stopped.aborted, vec![Arc::from("hangs")]);
        assert_eq!(done.load(Ordering::SeqCst), 1);
        assert!(before.elapsed() <= Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_panics_or_returns_is_started_again() {
        let starts = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&starts);
        let mut tasks = Tasks::default();
        tasks.supervise("sync", move |token| {
            let start = counter.fetch_add(1, Ordering::SeqCst);
            assert_ne!(start, 3, "the factory panics");
            async move {
                match start {
                    0 => Err("failed"),
                    1 => Ok(()),
                    2 => panic!("the task panics"),
                    _ => {
                        token.cancelled().await;
                        Ok(())
                    }
                }
            }
        });
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(starts.load(Ordering::SeqCst), 5);
        assert_eq!(tasks.shutdown(Duration::from_secs(1)).await, Stopped::default());
        assert_eq!(starts.load(Ordering::SeqCst), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_waits_for_its_restart_stops_at_once() {
        let mut tasks = Tasks::default();
        tasks.supervise("fails", |_| async { Err::<(), _>("always") });
        tokio::time::sleep(Duration::from_mins(2)).await;
        let before = Instant::now();
        assert_eq!(tasks.shutdown(Duration::from_mins(1)).await, Stopped::default());
        assert!(before.elapsed() < Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ran_steadily_restarts_quickly() {
        let starts = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&starts);
        let mut tasks = Tasks::default();
        tasks.supervise("slow failure", move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            async {
                tokio::time::sleep(STEADY_AFTER).await;
                Err::<(), _>("after a minute")
            }
        });
        tokio::time::sleep(Duration::from_secs(603)).await;
        assert_eq!(starts.load(Ordering::SeqCst), 11);
    }
}
