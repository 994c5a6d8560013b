//! Listens beside the blocks: to finality's tags, and to the heads of all operators where several must agree.
//!
//! It asks at the pace of the poll and the tags more rarely, never in the way of a head; what it heard is weighed by the
//! chain's task.

use std::sync::Arc;

use futures_util::future::join;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::confirm::{Opinion, TagHeard, TagSaid};
use super::task::ChainTask;
use crate::chain::{ChainError, ChainReader, ErrorClass, Said};
use crate::config;
use crate::domain::{BlockRef, Header, Tag};

/// Tags are asked for once in so many polls: `finalized` moves once in minutes on most chains.
const POLLS_PER_TAG: u64 = 4;

/// Whose word it is where one's is enough.
const ANYBODY: &str = "anybody";

/// One look around.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    pub(super) safe: Vec<TagSaid>,
    pub(super) finalized: Vec<TagSaid>,
    pub(super) opinions: Vec<Opinion>,
    /// The operators' heads, each with the endpoint that told of it.
    pub(super) heads: Vec<(Arc<str>, Header)>,
}

/// Who listens for one chain.
#[derive(Debug, Clone)]
pub(super) struct Lookout {
    settings: config::Chain,
    reader: ChainReader,
    /// The highest block that was read.
    tip: watch::Receiver<Option<BlockRef>>,
}

impl Lookout {
    pub(super) fn new(task: &ChainTask) -> Self {
        Self {
            settings: task.settings.clone(),
            reader: task.reader.clone(),
            tip: task.tip.subscribe(),
        }
    }

    /// Looks around until the receiver is gone.
    pub(super) async fn run(&self, heard: mpsc::Sender<Heard>) {
        let mut poll = tokio::time::interval(self.settings.poll_interval);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for round in 0_u64.. {
            poll.tick().await;
            let with_tags = round.is_multiple_of(POLLS_PER_TAG);
            if !with_tags && self.settings.agree < 2 {
                continue;
            }
            if heard.send(self.look(with_tags).await).await.is_err() {
                return;
            }
        }
    }

    /// Asks once; an endpoint that does not answer is a silence and no failure.
    pub(super) async fn look(&self, with_tags: bool) -> Heard {
        let tags = async {
            if !with_tags {
                return (Vec::new(), Vec::new());
            }
            let safe = async {
                if self.settings.finality.uses(Tag::Safe) {
                    self.tagged(Tag::Safe).await
                } else {
                    Vec::new()
                }
            };
            join(safe, self.tagged(Tag::Finalized)).await
        };
        let ((safe, finalized), (opinions, heads)) = join(tags, self.operators()).await;
        Heard {
            safe,
            finalized,
            opinions,
            heads,
        }
    }

    /// What each operator says of a tag where several must agree, else what anybody does.
    async fn tagged(&self, tag: Tag) -> Vec<TagSaid> {
        let said = if self.settings.agree < 2 {
            vec![(Arc::from(ANYBODY), self.reader.tagged(tag).await)]
        } else {
            let said = self.reader.tags(tag).await.into_iter();
            said.map(|said| (said.operator, said.header)).collect()
        };
        let heard = |header: Result<Header, ChainError>| match header {
            Ok(header) => Some(TagHeard::Block(header.block(), header.time_ms())),
            Err(error) => is_unknown(&error).then_some(TagHeard::Absent),
        };
        let said = said.into_iter();
        said.filter_map(|(operator, header)| Some((operator, heard(header)?)))
            .collect()
    }

    /// Each operator's head, and its block at the height of our tip where its head is above.
    async fn operators(&self) -> (Vec<Opinion>, Vec<(Arc<str>, Header)>) {
        if self.settings.agree < 2 {
            return (Vec::new(), Vec::new());
        }
        let heads = self.reader.heads().await;
        let tip = *self.tip.borrow();
        let is_above = |said: &Said| {
            let head = said.header.as_ref().map_or(0, |header| header.number);
            tip.is_some_and(|tip| tip.number < head)
        };
        let at_tip = match tip {
            Some(tip) if heads.iter().any(is_above) => self.reader.headers_at(tip.number).await,
            _ => Vec::new(),
        };
        let opinions = heads.iter().map(|said| opinion(said, &at_tip)).collect();
        let told = |said: Said| Some((said.endpoint, said.header.ok()?));
        (opinions, heads.into_iter().filter_map(told).collect())
    }
}

fn opinion(said: &Said, at_tip: &[Said]) -> Opinion {
    let same = at_tip.iter().filter(|other| other.operator == said.operator);
    let headers = std::iter::once(said).chain(same).map(|said| said.header.as_ref());
    Opinion {
        operator: Arc::clone(&said.operator),
        endpoint: Arc::clone(&said.endpoint),
        blocks: headers.filter_map(Result::ok).map(Header::block).collect(),
    }
}

/// Whether a chain does not know a tag, as against an endpoint that does not answer.
fn is_unknown(error: &ChainError) -> bool {
    error.class().is_some_and(ErrorClass::is_lacking)
}
