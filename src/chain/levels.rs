//! How completeness is shown on a chain, and what one recent block says of what it can bear.
//!
//! A chain whose headers and receipts recompute and whose blooms are those of its logs is read at level `receipts`; one whose
//! blooms are empty although there are logs at `none`; every other at `asked`. The configuration may name a level; what the
//! blocks show is then used for no more than the proof of absence.

use alloy_trie::EMPTY_ROOT_HASH;
use serde_json::json;

use super::endpoint::{Endpoint, Lane};
use super::error::ChainError;
use super::header::RawHeader;
use super::operators::one_of_each;
use super::proof::{WireReceipt, logs_bloom, prove_receipts};
use super::reader::{ChainReader, fetch_receipts};
use super::rpc::{Quantity, quantity};
use crate::domain::{Header, Level};
use crate::metrics;

/// Headers that are looked at together.
const STRETCH: u64 = 16;
/// Stretches below the first until a block with logs is found.
const MAX_STRETCHES: u64 = 8;
/// Blocks whose receipts are fetched once one with logs was found: one without is looked for, too.
const MAX_FETCHED: usize = 4;

/// What is believed of a chain's blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verification {
    /// What a block with logs is proven to.
    pub level: Level,
    /// Headers hash to their hashes. Where not, a hash is what those who are asked say it is.
    pub headers: bool,
    /// What a header's bloom lacks, the block has not.
    pub blooms: bool,
    /// No block with logs was met so far.
    pub assumed: bool,
}

impl Verification {
    /// All is proven.
    pub const STRICT: Self = Self {
        level: Level::Receipts,
        headers: true,
        blooms: true,
        assumed: false,
    };

    /// Whether a bloom proves absence.
    pub const fn absence(self) -> bool {
        self.headers && self.blooms
    }
}

/// How many blocks showed what.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    false_headers: usize,
    false_roots: usize,
    false_blooms: usize,
    /// Logs under an empty bloom.
    empty_blooms: usize,
    with_logs: usize,
    without_logs: usize,
}

impl Seen {
    fn receipts(&mut self, header: &Header, receipts: Vec<WireReceipt>) {
        let bloom = logs_bloom(&receipts);
        self.false_blooms += usize::from(bloom != header.bloom);
        self.empty_blooms += usize::from(header.bloom.is_zero() && !bloom.is_zero());
        self.with_logs += usize::from(!bloom.is_zero());
        self.without_logs += usize::from(bloom.is_zero());
        self.false_roots += usize::from(prove_receipts(header, receipts).is_err());
    }

    fn verification(self, configured: Option<Level>) -> Verification {
        let level = if self.empty_blooms > 0 {
            Level::None
        } else if self.false_headers + self.false_roots + self.false_blooms == 0 {
            Level::Receipts
        } else {
            Level::Asked
        };
        Verification {
            level: configured.unwrap_or(level),
            headers: self.false_headers == 0,
            blooms: self.false_blooms == 0,
            assumed: self.with_logs == 0,
        }
    }
}

impl ChainReader {
    /// The level that blocks with logs are proven to.
    #[must_use]
    pub fn level(&self) -> Level {
        self.verification().level
    }

    /// Finds out how this chain's blocks can be proven, on blocks from the head down, and reads it so from now on. A chain
    /// without logs in reach counts as `receipts` until a block shows otherwise. Where the configuration says `receipts`
    /// nothing is asked: what does not recompute is refused.
    ///
    /// # Errors
    /// No operator's endpoint could be asked.
    pub async fn find_level(&self) -> Result<Level, ChainError> {
        if self.configured_level() != Some(Level::Receipts) {
            self.settle_level(look).await?;
        }
        let level = self.level();
        self.show_level(level);
        Ok(level)
    }

    /// As [`ChainReader::judge`], for the blocks of a range that are not empty, up to the first one with logs.
    pub(super) async fn judge_range(&self, from: u64, to: u64) -> Result<(), ChainError> {
        let headers = self.headers(from, to).await?;
        for header in headers
            .iter()
            .filter(|header| !is_empty(header))
            .take(MAX_FETCHED)
        {
            self.judge(header).await?;
            if !self.verification().assumed {
                break;
            }
        }
        Ok(())
    }

    /// What the best operator's blocks can bear. A proof that holds cannot be feigned by one who lacks it, while any answer
    /// can be spoilt.
    async fn settle_level<F>(&self, look: impl Fn(Endpoint) -> F) -> Result<(), ChainError>
    where
        F: Future<Output = Result<Seen, ChainError>>,
    {
        let mut best: Option<Verification> = None;
        let mut failure = None;
        for endpoint in one_of_each(&self.endpoints().ranked()) {
            match look(endpoint).await {
                Ok(seen) => {
                    let found = seen.verification(self.configured_level());
                    let strict = |found: &Verification| (found.level, !found.headers, !found.blooms);
                    best = best.into_iter().chain([found]).min_by_key(strict);
                    if found.level == Level::Receipts && !found.assumed {
                        break;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "an endpoint failed to show its level");
                    failure.get_or_insert(error);
                }
            }
        }
        match (best, failure) {
            (Some(found), _) => self.set_verification(found),
            (None, Some(error)) => return Err(error),
            (None, None) => {}
        }
        Ok(())
    }

    /// Looks at a block of a chain of which no logs were met yet, whatever its bloom says.
    pub(super) async fn judge(&self, header: &Header) -> Result<(), ChainError> {
        if is_empty(header) {
            return Ok(());
        }
        let before = self.level();
        self.settle_level(|endpoint| async move {
            endpoint.reaches(header.number).await?;
            let headers = endpoint.identity().verification.borrow().headers;
            let mut seen = Seen {
                false_headers: usize::from(!headers),
                ..Seen::default()
            };
            seen.receipts(header, fetch_receipts(&endpoint, Lane::Live, header).await?);
            Ok(seen)
        })
        .await?;
        if self.level() != before {
            self.show_level(self.level());
        }
        Ok(())
    }

    fn show_level(&self, level: Level) {
        let Some(endpoint) = self.endpoints().iter().next() else {
            return;
        };
        let chain = &endpoint.identity().chain;
        for known in [Level::Receipts, Level::Asked, Level::None] {
            let value = if known == level { 1.0 } else { 0.0 };
            ::metrics::gauge!(metrics::CHAIN_LEVEL, "chain" => chain.to_string(), "level" => known.as_str())
                .set(value);
        }
        let Verification {
            headers,
            blooms,
            assumed,
            ..
        } = self.verification();
        if level == Level::None {
            tracing::warn!(%chain, headers, blooms, "the chain's blocks cannot be proven: its payments are shown and never count");
        } else {
            tracing::info!(%chain, level = level.as_str(), headers, blooms, assumed, "how the chain's blocks are proven");
        }
    }
}

fn is_empty(header: &Header) -> bool {
    header.receipts_root == EMPTY_ROOT_HASH && header.bloom.is_zero()
}

/// Looks at blocks from the endpoint's head downwards.
async fn look(endpoint: Endpoint) -> Result<Seen, ChainError> {
    let Quantity(mut top) = endpoint.request("eth_blockNumber", json!([])).await?;
    let mut seen = Seen::default();
    let mut fetched = 0;
    for _ in 0..MAX_STRETCHES {
        let bottom = top.saturating_sub(STRETCH - 1);
        let calls = (bottom..=top)
            .rev()
            .map(|number| ("eth_getBlockByNumber", json!([quantity(number), false])))
            .collect();
        let raw: Vec<RawHeader> = endpoint.batch_by(Lane::Live, calls).await?;
        for raw in raw {
            // Nobody mined block 0, and on some chains it hashes to something else.
            seen.false_headers += usize::from(raw.block().number > 0 && raw.prove().is_err());
            let header = raw.claimed();
            let empty = is_empty(&header);
            seen.without_logs += usize::from(empty);
            if !empty && fetched < MAX_FETCHED {
                fetched += 1;
                seen.receipts(&header, fetch_receipts(&endpoint, Lane::Live, &header).await?);
            }
            let complete = seen.with_logs > 0 && (seen.without_logs > 0 || fetched == MAX_FETCHED);
            if complete || header.number == 0 {
                return Ok(seen);
            }
        }
        top = bottom.saturating_sub(1);
    }
    Ok(seen)
}
