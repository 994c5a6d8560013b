//! History: many blocks at once, each header proven and linked, each log held against its header.
//!
//! One endpoint serves a whole range, since headers and logs of two nodes need not fit. `eth_getLogs` may leave things
//! out: a block whose bloom speaks of money, or of holdings with nothing returned, is proven by its receipts.

use alloy::primitives::B256;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::asked::place;
use super::compute::{SHORT_ITEMS, compute};
use super::endpoint::{Endpoint, Lane};
use super::error::{ChainError, ErrorClass, Failure};
use super::filter::LogFilter;
use super::levels::Verification;
use super::logs::WireLog;
use super::native;
use super::proof::{Ranged, sort_into_blocks};
use super::reader::{CONCURRENCY, ChainReader, linked_headers, proven_logs};
use crate::domain::{Header, Level, LogEntry, ProvenBlock};

/// The most blocks of one call; more would hold too much at once.
pub const MAX_RANGE_BLOCKS: u64 = 10_000;

/// The logs of a range, and the blocks that hold more than the endpoint would return.
#[derive(Debug, Default)]
struct Fetched {
    answers: Vec<Vec<WireLog>>,
    /// Single blocks that are too dense for `eth_getLogs`.
    too_dense: Vec<u64>,
}

impl ChainReader {
    /// How many blocks the best endpoint takes in one `eth_getLogs` now.
    #[must_use]
    pub fn log_range(&self) -> u64 {
        let ranked = self.endpoints().ranked();
        ranked.first().map_or(1, |endpoint| endpoint.log_range().width())
    }

    /// The blocks `from..=to` with their logs that `filter` asks for, linked to each other and to `expected_parent`, at the
    /// chain's level. Splits the range as the endpoint needs it, and never asks above the endpoint's own head. Several calls
    /// may run at once; each holds its whole range in memory.
    ///
    /// At level `asked` with one operator the range ends below the head, so that what was asked twice has a block above; it is
    /// shorter then.
    ///
    /// # Errors
    /// Every endpoint failed ([`ErrorClass::MissingData`] where `to` is above its head); a header or a log is unproven; or the
    /// range does not extend `expected_parent`: the chain was reorganised. At level `asked` also
    /// [`ChainError::Disagreement`], and [`ChainError::NotYet`] where nothing of the range is below the head.
    pub async fn prove_range(
        &self,
        from: u64,
        to: u64,
        filter: &LogFilter,
        expected_parent: Option<B256>,
    ) -> Result<Vec<ProvenBlock>, ChainError> {
        let mut to = to.min(from.saturating_add(MAX_RANGE_BLOCKS - 1));
        if self.verification().assumed {
            self.judge_range(from, to).await?;
        }
        let verification = self.verification();
        let once = |endpoint: Endpoint, to| async move {
            let question = (from, to, filter, expected_parent);
            self.say_range(&endpoint, question, verification).await
        };
        match verification.level {
            Level::Asked if self.agree() > 1 => self.agreed(to, |endpoint| once(endpoint, to)).await,
            Level::Asked => {
                to = to.min(self.known_head().saturating_sub(1));
                if to < from {
                    return Err(ChainError::NotYet { number: from });
                }
                self.try_in_turn(to, |endpoint| async move {
                    let first = once(endpoint.clone(), to).await?;
                    if once(endpoint, to).await? != first {
                        return Err(self.disagreement(to));
                    }
                    Ok(first)
                })
                .await
            }
            Level::Receipts | Level::Ranged | Level::None => {
                self.try_in_turn(to, |endpoint| once(endpoint, to)).await
            }
        }
    }

    /// What one endpoint says of a range, and proves as far as the chain's level asks for it.
    async fn say_range(
        &self,
        endpoint: &Endpoint,
        (from, to, filter, expected_parent): (u64, u64, &LogFilter, Option<B256>),
        verification: Verification,
    ) -> Result<Vec<ProvenBlock>, ChainError> {
        let (headers, fetched) = tokio::try_join!(
            linked_headers(endpoint, from, to, expected_parent),
            fetch_logs(endpoint, from, to, filter),
        )?;
        let Fetched { answers, too_dense } = fetched;
        let mut ranged = self
            .check(endpoint, headers, answers, (filter, verification))
            .await?;
        if verification.level == Level::Receipts {
            for number in too_dense {
                let at = ranged
                    .blocks
                    .iter()
                    .position(|block| block.header.number == number);
                ranged.needs_receipts.extend(at);
            }
            return prove_by_receipts(endpoint, ranged, filter).await;
        }
        if let Some(number) = too_dense.first() {
            let class = ErrorClass::TooDense { suggested: None };
            let failure = Failure::new(class, format!("block {number} holds more logs than it returns"));
            return Err(endpoint.identity().failed("eth_getLogs", failure));
        }
        for block in &mut ranged.blocks {
            place(endpoint, Lane::Bulk, &block.header, filter, &mut block.logs).await?;
            let paid = native::said(endpoint, Lane::Bulk, &block.header, filter).await?;
            block.logs.extend(paid);
        }
        Ok(ranged.blocks)
    }

    async fn check(
        &self,
        endpoint: &Endpoint,
        headers: Vec<Header>,
        answers: Vec<Vec<WireLog>>,
        (filter, verification): (&LogFilter, Verification),
    ) -> Result<Ranged, ChainError> {
        let mut memory = self.take_memory();
        let filter = filter.clone();
        let items = headers.len() + answers.iter().map(Vec::len).sum::<usize>();
        let sorting = move || {
            let ranged = sort_into_blocks(headers, answers, &filter, verification, &mut memory);
            (ranged, memory)
        };
        let Some((ranged, memory)) = compute(items > SHORT_ITEMS, sorting).await else {
            let failure = Failure::transport("the check was cut short");
            return Err(endpoint.identity().failed("eth_getLogs", failure));
        };
        self.return_memory(memory);
        ranged.map_err(|(number, reason)| endpoint.unproven(number, reason))
    }
}

async fn fetch_logs(
    endpoint: &Endpoint,
    from: u64,
    to: u64,
    filter: &LogFilter,
) -> Result<Fetched, ChainError> {
    let mut fetched = Fetched::default();
    for query in 0..filter.queries(from, to).len() {
        fetch_query(
            endpoint,
            from,
            to,
            |from, to| filter.queries(from, to).swap_remove(query),
            &mut fetched,
        )
        .await?;
    }
    Ok(fetched)
}

/// One query over the whole range, in as many parts as the endpoint wants; the parts go in order.
async fn fetch_query(
    endpoint: &Endpoint,
    from: u64,
    to: u64,
    query: impl Fn(u64, u64) -> Value,
    fetched: &mut Fetched,
) -> Result<(), ChainError> {
    let limits = endpoint.log_range();
    // The ends of the parts that are left, nearest on top.
    let mut ends = vec![to];
    let mut start = from;
    while let Some(&end) = ends.last() {
        let last = end.min(start.saturating_add(limits.width() - 1));
        if last < end {
            ends.push(last);
        }
        let blocks = last - start + 1;
        let params = json!([query(start, last)]);
        let error = match endpoint
            .request_by::<Vec<WireLog>>(Lane::Bulk, "eth_getLogs", params)
            .await
        {
            Ok(logs) => {
                let found = u64::try_from(logs.len()).unwrap_or(u64::MAX);
                fetched.answers.push(logs);
                limits.answered(blocks, found);
                ends.pop();
                start = last.saturating_add(1);
                continue;
            }
            Err(error) => error,
        };
        match error.class() {
            Some(ErrorClass::RangeTooWide { limit }) if blocks > 1 => limits.too_wide(blocks, *limit),
            Some(ErrorClass::TooDense { suggested }) if blocks > 1 => {
                limits.too_dense(blocks);
                ends.push(narrower(start, last, *suggested));
            }
            Some(ErrorClass::TooDense { .. }) => {
                fetched.too_dense.push(start);
                ends.pop();
                start = last.saturating_add(1);
            }
            _ => return Err(error),
        }
    }
    Ok(())
}

/// Where to end instead: the endpoint's suggestion if it is of any use, else the half.
fn narrower(start: u64, last: u64, suggested: Option<(u64, u64)>) -> u64 {
    match suggested {
        Some((from, to)) if from <= start && (start..last).contains(&to) => to,
        _ => start + (last - start) / 2,
    }
}

async fn prove_by_receipts(
    endpoint: &Endpoint,
    ranged: Ranged,
    filter: &LogFilter,
) -> Result<Vec<ProvenBlock>, ChainError> {
    let Ranged {
        mut blocks,
        mut needs_receipts,
    } = ranged;
    needs_receipts.sort_unstable();
    needs_receipts.dedup();
    let looks_at = |at: &usize| {
        needs_receipts.binary_search(at).is_ok() || native::is_asked(filter, &blocks[*at].header)
    };
    let looked_at: Vec<usize> = (0..blocks.len()).filter(looks_at).collect();
    let proven: Vec<(usize, Option<Vec<LogEntry>>)> = {
        let (blocks, needs_receipts) = (&blocks, &needs_receipts);
        stream::iter(looked_at)
            .map(|at| async move {
                let needless = needs_receipts.binary_search(&at).is_err();
                let header = &blocks[at].header;
                let logs = proven_logs(endpoint, Lane::Bulk, header, (filter, needless)).await?;
                Ok::<_, ChainError>((at, logs))
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await?
    };
    for (at, logs) in proven {
        if let Some(logs) = logs {
            blocks[at].logs = logs;
            blocks[at].level = Level::Receipts;
        }
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggestion_is_taken_only_where_it_helps() {
        assert_eq!(narrower(100, 199, Some((100, 130))), 130);
        assert_eq!(narrower(100, 199, Some((90, 120))), 120);
        for useless in [
            None,
            Some((100, 199)),
            Some((100, 500)),
            Some((0, 99)),
            Some((150, 160)),
        ] {
            assert_eq!(narrower(100, 199, useless), 149, "{useless:?}");
        }
        assert_eq!(narrower(100, 101, None), 100);
    }
}
