//! Looks at transactions: at most so many at once, each once for all who ask, and none longer than its deadline.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alloy::primitives::B256;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, ready};
use tokio::sync::Semaphore;

use crate::domain::{ChainId, LookError, LookOutcome, LookUp};

/// How long one look may take. A request that waits for it must not take longer than that itself.
const DEADLINE: Duration = Duration::from_secs(6);
/// Looks that ask endpoints at once.
const MAX_AT_ONCE: usize = 4;
/// Looks that are under way or wait for their turn.
const MAX_UNDER_WAY: usize = 64;

type Key = (ChainId, B256);
type UnderWay = Shared<BoxFuture<'static, LookOutcome>>;

/// The way to whoever can look, with its bounds. Clones share them.
#[derive(Debug, Clone)]
pub struct Looks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    eyes: Arc<dyn LookUp>,
    at_once: Semaphore,
    under_way: Mutex<HashMap<Key, UnderWay>>,
}

impl Looks {
    /// Over who asks the endpoints.
    #[must_use]
    pub fn new(eyes: Arc<dyn LookUp>) -> Self {
        Self(Arc::new(Inner {
            eyes,
            at_once: Semaphore::new(MAX_AT_ONCE),
            under_way: Mutex::default(),
        }))
    }
}

impl LookUp for Looks {
    fn look(&self, chain: ChainId, tx_hash: B256) -> BoxFuture<'static, LookOutcome> {
        let key = (chain, tx_hash);
        let mut under_way = self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(look) = under_way.get(&key) {
            return look.clone().boxed();
        }
        if under_way.len() >= MAX_UNDER_WAY {
            return ready(Err(LookError::Busy)).boxed();
        }
        let inner = Arc::clone(&self.0);
        // In a task of its own, so that it ends, and is forgotten, whoever still waits for it.
        let task = tokio::spawn(async move {
            let outcome = tokio::time::timeout(DEADLINE, inner.look(key)).await;
            let mut under_way = inner.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            under_way.remove(&key);
            outcome.unwrap_or(Err(LookError::Unavailable))
        });
        let look = task.map(|ended| ended.unwrap_or(Err(LookError::Unavailable)));
        let look = look.boxed().shared();
        under_way.insert(key, look.clone());
        look.boxed()
    }
}

impl Inner {
    async fn look(&self, (chain, tx_hash): Key) -> LookOutcome {
        let turn = self.at_once.acquire().await;
        let _turn = turn.map_err(|_| LookError::Unavailable)?;
        self.eyes.look(chain, tx_hash).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;
    use crate::domain::Look;

    /// Answers once it is let, and counts.
    #[derive(Debug)]
    struct Eyes {
        asked: AtomicUsize,
        at_once: AtomicUsize,
        most: AtomicUsize,
        let_go: tokio::sync::watch::Sender<bool>,
    }

    #[derive(Debug)]
    struct Counted(Arc<Eyes>);

    impl LookUp for Counted {
        fn look(&self, _: ChainId, _: B256) -> BoxFuture<'static, LookOutcome> {
            let eyes = Arc::clone(&self.0);
            async move {
                eyes.asked.fetch_add(1, Ordering::SeqCst);
                let now = eyes.at_once.fetch_add(1, Ordering::SeqCst) + 1;
                eyes.most.fetch_max(now, Ordering::SeqCst);
                let mut let_go = eyes.let_go.subscribe();
                let_go.wait_for(|go| *go).await.map_err(|_| LookError::Unavailable)?;
                eyes.at_once.fetch_sub(1, Ordering::SeqCst);
                Ok(Arc::new(Look::Unknown))
            }
            .boxed()
        }
    }

    fn looks() -> (Looks, Arc<Eyes>) {
        let eyes = Arc::new(Eyes {
            asked: AtomicUsize::new(0),
            at_once: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            let_go: tokio::sync::watch::Sender::new(false),
        });
        (Looks::new(Arc::new(Counted(Arc::clone(&eyes)))), eyes)
    }

    #[tokio::test]
    async fn who_asks_for_the_same_shares_one_look() {
        let (looks, eyes) = looks();
        let asked: Vec<_> = (0..10).map(|_| looks.look(ChainId(1), B256::ZERO)).collect();
        eyes.let_go.send_replace(true);
        let answers = join_all(asked).await;
        assert!(answers.iter().all(|answer| *answer == Ok(Arc::new(Look::Unknown))));
        assert_eq!(eyes.asked.load(Ordering::SeqCst), 1);
        looks.look(ChainId(1), B256::ZERO).await.unwrap();
        assert_eq!(eyes.asked.load(Ordering::SeqCst), 2, "and it is not kept");
    }

    #[tokio::test]
    async fn looks_are_bounded() {
        let (looks, eyes) = looks();
        let many = (0..MAX_UNDER_WAY).map(|seed| B256::left_padding_from(&seed.to_be_bytes()));
        let asked: Vec<_> = many.map(|hash| looks.look(ChainId(1), hash)).collect();
        let refused = looks.look(ChainId(2), B256::ZERO).await;
        assert_eq!(refused, Err(LookError::Busy));
        eyes.let_go.send_replace(true);
        join_all(asked).await;
        assert!(eyes.most.load(Ordering::SeqCst) <= MAX_AT_ONCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_ends_at_its_deadline() {
        let (looks, _eyes) = looks();
        let answer = looks.look(ChainId(1), B256::ZERO).await;
        assert_eq!(answer, Err(LookError::Unavailable));
        assert_eq!(looks.0.under_way.lock().unwrap().len(), 0);
    }
}
