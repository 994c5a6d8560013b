//! The database's faults, and the ends of processes: what the store asks at each moment of its work.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use sqlx::error::{DatabaseError, ErrorKind};
use tokio::sync::Notify;
use tollgate::store::{Faults, Moment};

use super::plan::{CrashAt, DiskPlan};
use crate::random::Random;

/// The end of one process.
#[derive(Debug, Default)]
pub struct End {
    is_near: AtomicBool,
    come: Notify,
}

impl End {
    fn come(&self) {
        self.is_near.store(true, Ordering::SeqCst);
        self.come.notify_one();
    }

    pub async fn wait(&self) {
        self.come.notified().await;
    }

    pub fn is_near(&self) -> bool {
        self.is_near.load(Ordering::SeqCst)
    }
}

#[derive(Debug, Default)]
struct Counts {
    statements: u64,
    commits: u64,
    committed: u64,
    messages: u64,
    /// A COMMIT is on its way, and whether it takes effect is not ours to say.
    is_committing: bool,
    /// The process ends as soon as it did.
    ends_after_commit: bool,
}

/// One process's database.
#[derive(Debug)]
pub struct Disk {
    plan: DiskPlan,
    crash: Option<CrashAt>,
    state: Mutex<(Counts, Random)>,
    is_calm: AtomicBool,
    pub end: Arc<End>,
}

impl Disk {
    pub fn new(plan: DiskPlan, crash: Option<CrashAt>, random: Random) -> Self {
        Self {
            plan,
            crash,
            state: Mutex::new((Counts::default(), random)),
            is_calm: AtomicBool::new(false),
            end: Arc::default(),
        }
    }

    /// From now on nothing goes wrong.
    pub fn calm(&self) {
        self.is_calm.store(true, Ordering::SeqCst);
    }

    fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::SeqCst)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Counts, &mut Random) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (counts, random) = &mut *state;
        change(counts, random)
    }

    /// A message came in or went out.
    pub fn message(&self) {
        let (ends, is_committing) = self.with(|counts, _| {
            counts.messages += 1;
            let ends = self.crash == Some(CrashAt::Message(counts.messages)) && !self.is_calm();
            counts.ends_after_commit |= ends && counts.is_committing;
            (ends, counts.is_committing)
        });
        if ends && !is_committing {
            self.end.come();
        }
    }

    fn meet(&self, moment: Moment) -> Option<Fate> {
        let plan = self.plan;
        self.with(|counts, random| {
            let crash = match moment {
                Moment::Commit => {
                    counts.commits += 1;
                    CrashAt::Commit(counts.commits)
                }
                Moment::Committed => {
                    counts.committed += 1;
                    counts.is_committing = false;
                    CrashAt::Committed(counts.committed)
                }
                Moment::Read | Moment::Begin => CrashAt::Statement(0),
            };
            if self.is_calm() {
                return None;
            }
            if self.crash == Some(crash) || counts.ends_after_commit {
                return Some(Fate::End);
            }
            let percent = match moment {
                Moment::Read => plan.read_fails,
                Moment::Begin => plan.begin_fails,
                Moment::Commit => plan.commit_fails,
                Moment::Committed => plan.commit_lies,
            };
            // A COMMIT that took effect is never told to be run again.
            let is_busy = moment != Moment::Committed && random.chance(30);
            let fate = if is_busy { Fate::Busy } else { Fate::Broken };
            let fate = random.chance(percent).then_some(fate);
            counts.is_committing = moment == Moment::Commit && fate.is_none();
            fate
        })
    }
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Busy,
    Broken,
    End,
}

impl Faults for Disk {
    fn at(&self, moment: Moment) -> BoxFuture<'_, Result<(), sqlx::Error>> {
        Box::pin(async move {
            let fate = if self.end.is_near() {
                Some(Fate::End)
            } else {
                self.meet(moment)
            };
            match fate {
                None => Ok(()),
                Some(Fate::Busy) => Err(sqlx::Error::Database(Box::new(Refusal("5")))),
                Some(Fate::Broken) => Err(sqlx::Error::Database(Box::new(Refusal("10")))),
                Some(Fate::End) => {
                    self.end.come();
                    std::future::pending().await
                }
            }
        })
    }

    fn statement(&self) {
        let ends = self.with(|counts, _| {
            counts.statements += 1;
            self.crash == Some(CrashAt::Statement(counts.statements)) && !self.is_calm()
        });
        if ends {
            self.end.come();
        }
    }
}

/// An error as `SQLite` gives it, by its code.
#[derive(Debug)]
struct Refusal(&'static str);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the simulated database fails with {}", self.0)
    }
}

impl Error for Refusal {}

impl DatabaseError for Refusal {
    fn message(&self) -> &str {
        self.0
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.0.into())
    }

    fn as_error(&self) -> &(dyn Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}
