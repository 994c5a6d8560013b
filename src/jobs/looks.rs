//! Looks at transactions: at most so many at once, each once for all who ask, kept for a moment, and none longer than its
//! deadline.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alloy::primitives::B256;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, ready};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::domain::{BlockRef, ChainId, LookError, LookOutcome, LookUp};

/// How long one look may take. A request that waits for it must not take longer than that itself.
const DEADLINE: Duration = Duration::from_secs(6);
/// How long it may take to link two blocks, for which no request waits.
const LINK_DEADLINE: Duration = Duration::from_mins(2);
/// Looks that ask endpoints at once.
const MAX_AT_ONCE: usize = 4;
/// Looks that are under way or wait for their turn.
const MAX_UNDER_WAY: usize = 64;
/// How long what was seen is said again without another look.
const KEPT: Duration = Duration::from_secs(3);
/// Looks that are kept.
const MAX_KEPT: usize = 256;

type Key = (ChainId, B256);
type UnderWay = Shared<BoxFuture<'static, LookOutcome>>;

/// The way to whoever can look, with its bounds. Clones share them.
#[derive(Debug, Clone)]
pub struct Looks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    eyes: Arc<dyn LookUp>,
    at_once: Semaphore,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    under_way: HashMap<Key, UnderWay>,
    seen: HashMap<Key, (Instant, LookOutcome)>,
}

impl Looks {
    /// Over who asks the endpoints.
    #[must_use]
    pub fn new(eyes: Arc<dyn LookUp>) -> Self {
        Self(Arc::new(Inner {
            eyes,
            at_once: Semaphore::new(MAX_AT_ONCE),
            known: Mutex::default(),
        }))
    }
}

impl LookUp for Looks {
    fn look(&self, chain: ChainId, tx_hash: B256) -> BoxFuture<'static, LookOutcome> {
        let key = (chain, tx_hash);
        let mut known = self.0.known();
        if let Some(seen) = known.seen(&key) {
            return ready(seen).boxed();
        }
        if let Some(look) = known.under_way.get(&key) {
            return look.clone().boxed();
        }
        if known.under_way.len() >= MAX_UNDER_WAY {
            return ready(Err(LookError::Busy)).boxed();
        }
        let inner = Arc::clone(&self.0);
        // In a task of its own, so that it ends, and is noted, whoever still waits for it.
        let task = tokio::spawn(async move {
            let outcome = tokio::time::timeout(DEADLINE, inner.look(key)).await;
            let outcome = outcome.unwrap_or(Err(LookError::Unavailable));
            inner.known().note(key, &outcome);
            outcome
        });
        let look = task.map(|ended| ended.unwrap_or(Err(LookError::Unavailable)));
        let look = look.boxed().shared();
        known.under_way.insert(key, look.clone());
        look.boxed()
    }

    fn links(
        &self,
        chain: ChainId,
        below: BlockRef,
        above: BlockRef,
    ) -> BoxFuture<'static, Result<bool, LookError>> {
        let links = self.0.eyes.links(chain, below, above);
        let links = tokio::time::timeout(LINK_DEADLINE, links);
        links
            .map(|outcome| outcome.unwrap_or(Err(LookError::Unavailable)))
            .boxed()
    }
}

impl Inner {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change is whole once it is made, so a panic elsewhere leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self, (chain, tx_hash): Key) -> LookOutcome {
        let turn = self.at_once.acquire().await;
        let _turn = turn.map_err(|_| LookError::Unavailable)?;
        self.eyes.look(chain, tx_hash).await
    }
}

impl Known {
    fn seen(&self, key: &Key) -> Option<LookOutcome> {
        let (at, outcome) = self.seen.get(key)?;
        (at.elapsed() < KEPT).then(|| outcome.clone())
    }

    /// A look ended. That endpoints do not answer is kept too: asked again at once, they hardly would.
    fn note(&mut self, key: Key, outcome: &LookOutcome) {
        self.under_way.remove(&key);
        self.seen.retain(|_, (at, _)| at.elapsed() < KEPT);
        if self.seen.len() < MAX_KEPT {
            self.seen.insert(key, (Instant::now(), outcome.clone()));
        }
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
                let_go
                    .wait_for(|go| *go)
                    .await
                    .map_err(|_| LookError::Unavailable)?;
                eyes.at_once.fetch_sub(1, Ordering::SeqCst);
                Ok(Arc::new(Look::Unknown))
            }
            .boxed()
        }

        fn links(&self, _: ChainId, _: BlockRef, _: BlockRef) -> BoxFuture<'static, Result<bool, LookError>> {
            std::future::pending().boxed()
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

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_the_same_shares_one_look() {
        let (looks, eyes) = looks();
        let asked: Vec<_> = (0..10).map(|_| looks.look(ChainId(1), B256::ZERO)).collect();
        eyes.let_go.send_replace(true);
        let answers = join_all(asked).await;
        assert!(
            answers
                .iter()
                .all(|answer| *answer == Ok(Arc::new(Look::Unknown)))
        );
        assert_eq!(eyes.asked.load(Ordering::SeqCst), 1);
        looks.look(ChainId(1), B256::ZERO).await.unwrap();
        assert_eq!(
            eyes.asked.load(Ordering::SeqCst),
            1,
            "and it is kept for a moment"
        );
        tokio::time::advance(KEPT).await;
        looks.look(ChainId(1), B256::ZERO).await.unwrap();
        assert_eq!(eyes.asked.load(Ordering::SeqCst), 2, "and no longer");
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
        assert!(looks.0.known().under_way.is_empty());
        let block = BlockRef {
            number: 1,
            hash: B256::ZERO,
        };
        let links = looks.links(ChainId(1), block, block).await;
        assert_eq!(links, Err(LookError::Unavailable));
    }
}
