//! Level `asked`: what cannot be recomputed is asked of several operators, or of one twice, a block apart.
//!
//! An answer is a block as the endpoint has it under that hash, with our logs, and for money each log's place among all logs
//! of its transaction. Answers count where they are equal in all of it. Nothing waits here: what has been asked once is kept,
//! and the caller is told to come again at the next head.

use std::collections::VecDeque;
use std::sync::Mutex;

use alloy::primitives::B256;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::endpoint::{Endpoint, Lane, lock};
use super::error::{ChainError, Unproven};
use super::filter::LogFilter;
use super::logs::WireLog;
use super::operators::by_rank;
use super::proof::{WireReceipt, block_logs};
use super::reader::{ChainReader, RECEIPTS_PER_BATCH, fetch_header};
use crate::domain::{Header, LogEntry};
use crate::metrics;

/// Answers that wait for their second: so many blocks may be unproven below the head.
const MAX_WAITING: usize = 64;

/// What one operator said first, where there is no other to ask.
#[derive(Debug)]
struct First {
    hash: B256,
    filter: LogFilter,
    head: u64,
    logs: Vec<LogEntry>,
}

/// The first answers, oldest first.
#[derive(Debug, Default)]
pub(super) struct FirstAnswers(Mutex<VecDeque<First>>);

impl FirstAnswers {
    /// The head at which this was asked.
    fn asked_at(&self, hash: B256, filter: &LogFilter) -> Option<u64> {
        let waiting = lock(&self.0);
        let same = |first: &&First| first.hash == hash && first.filter == *filter;
        waiting.iter().find(same).map(|first| first.head)
    }

    /// Whether `logs` is what was said before. If not, it is kept as the new first answer.
    fn confirms(&self, answer: First) -> bool {
        let mut waiting = lock(&self.0);
        let same = |first: &First| first.hash == answer.hash && first.filter == answer.filter;
        let before = waiting.iter().position(same).and_then(|at| waiting.remove(at));
        if before.is_some_and(|first| first.logs == answer.logs) {
            return true;
        }
        if waiting.len() == MAX_WAITING {
            waiting.pop_front();
        }
        waiting.push_back(answer);
        false
    }
}

impl ChainReader {
    /// Our logs of a block at level `asked`.
    ///
    /// # Errors
    /// [`ChainError::NotYet`] where one operator was asked once; [`ChainError::Disagreement`]; or too few operators answer.
    pub(super) async fn asked_logs(
        &self,
        header: &Header,
        filter: &LogFilter,
    ) -> Result<Vec<LogEntry>, ChainError> {
        let number = header.number;
        if self.agree() > 1 {
            return self
                .agreed(number, |endpoint| answer(endpoint, header, filter))
                .await;
        }
        let head = self.known_head();
        if self.first_answers().asked_at(header.hash, filter) >= Some(head) {
            return Err(ChainError::NotYet { number });
        }
        let logs = self
            .try_at(number, |endpoint| answer(endpoint, header, filter))
            .await?;
        let said = First {
            hash: header.hash,
            filter: filter.clone(),
            head,
            logs: logs.clone(),
        };
        if self.first_answers().confirms(said) {
            Ok(logs)
        } else {
            Err(ChainError::NotYet { number })
        }
    }

    /// What enough distinct operators say alike of blocks up to `height`. Those who say otherwise are put aside.
    pub(super) async fn agreed<T, F>(&self, height: u64, ask: impl Fn(Endpoint) -> F) -> Result<T, ChainError>
    where
        T: PartialEq,
        F: Future<Output = Result<T, ChainError>>,
    {
        let ask = &ask;
        let mut said: Vec<(T, Vec<Endpoint>)> = Vec::new();
        let mut failure = None;
        let operators = by_rank(&self.endpoints().ranked());
        for some in operators.chunks(self.agree()) {
            let asked = some
                .iter()
                .map(|endpoints| first_to_answer(endpoints, height, ask));
            for answer in join_all(asked).await {
                match answer {
                    Ok((endpoint, answer)) => match said.iter_mut().find(|(known, _)| *known == answer) {
                        Some((_, who)) => who.push(endpoint),
                        None => said.push((answer, vec![endpoint])),
                    },
                    Err(error) => {
                        failure.get_or_insert(error);
                    }
                }
            }
            if let Some(at) = said.iter().position(|(_, who)| who.len() >= self.agree()) {
                let (answer, _) = said.swap_remove(at);
                for endpoint in said.iter().flat_map(|(_, who)| who) {
                    endpoint.unproven(height, Unproven::Outvoted);
                }
                return Ok(answer);
            }
        }
        match failure {
            Some(error) if said.len() < 2 => Err(error),
            _ => Err(self.disagreement(height)),
        }
    }

    pub(super) fn disagreement(&self, number: u64) -> ChainError {
        let chain = self
            .endpoints()
            .iter()
            .next()
            .map(|endpoint| endpoint.identity().chain.to_string());
        ::metrics::counter!(metrics::CHAIN_LOG_DISAGREEMENTS_TOTAL, "chain" => chain.unwrap_or_default())
            .increment(1);
        ChainError::Disagreement { number }
    }
}

/// The answer of the best of one operator's endpoints that gives one, or the best one's failure.
async fn first_to_answer<T, F>(
    endpoints: &[Endpoint],
    height: u64,
    ask: &impl Fn(Endpoint) -> F,
) -> Result<(Endpoint, T), ChainError>
where
    F: Future<Output = Result<T, ChainError>>,
{
    let mut failure = None;
    for endpoint in endpoints {
        let answer = async {
            endpoint.reaches(height).await?;
            ask(endpoint.clone()).await
        };
        match answer.await {
            Ok(answer) => return Ok((endpoint.clone(), answer)),
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
    }
    Err(failure.unwrap_or(ChainError::NotYet { number: height }))
}

/// The block under its hash, with our logs.
async fn answer(
    endpoint: Endpoint,
    header: &Header,
    filter: &LogFilter,
) -> Result<Vec<LogEntry>, ChainError> {
    let theirs = fetch_header(&endpoint, "eth_getBlockByHash", json!([header.hash, false])).await?;
    if theirs != *header {
        return Err(endpoint.unproven(header.number, Unproven::OtherBlock));
    }
    logs_of(&endpoint, header, filter).await
}

/// Our logs of one block as one endpoint says, with the ordinals of those that are money.
pub(super) async fn logs_of(
    endpoint: &Endpoint,
    header: &Header,
    filter: &LogFilter,
) -> Result<Vec<LogEntry>, ChainError> {
    let queries = filter.queries_in(header.hash).into_iter();
    let calls: Vec<(&'static str, Value)> = queries.map(|query| ("eth_getLogs", json!([query]))).collect();
    let answers: Vec<Vec<WireLog>> = endpoint.batch_by(Lane::Live, calls).await?;
    let verification = *endpoint.identity().verification.borrow();
    let mut logs = block_logs(header, answers, filter, verification)
        .map_err(|reason| endpoint.unproven(header.number, reason))?;
    place(endpoint, Lane::Live, header, filter, &mut logs).await?;
    Ok(logs)
}

/// Gives logs that are money their ordinals, by the receipts of their transactions, and puts the authorizations that they
/// were made with before them.
pub(super) async fn place(
    endpoint: &Endpoint,
    lane: Lane,
    header: &Header,
    filter: &LogFilter,
    logs: &mut Vec<LogEntry>,
) -> Result<(), ChainError> {
    let mut transactions: Vec<B256> = logs
        .iter()
        .filter(|log| filter.is_money(log))
        .map(|log| log.tx_hash)
        .collect();
    transactions.dedup();
    let mut receipts: Vec<WireReceipt> = Vec::with_capacity(transactions.len());
    for part in transactions.chunks(RECEIPTS_PER_BATCH) {
        let calls = part
            .iter()
            .map(|hash| ("eth_getTransactionReceipt", json!([hash])));
        receipts.extend(endpoint.batch_by(lane, calls.collect()).await?);
    }
    for (transaction, receipt) in transactions.into_iter().zip(receipts) {
        let found = receipt.places(header, transaction);
        let found = found.map_err(|reason| endpoint.unproven(header.number, reason))?;
        for log in logs.iter_mut().filter(|log| log.tx_hash == transaction) {
            let placed = found.iter().find(|other| {
                let unplaced = LogEntry {
                    ordinal: None,
                    ..(*other).clone()
                };
                unplaced == *log
            });
            let Some(placed) = placed else {
                return Err(endpoint.unproven(header.number, Unproven::ForeignLog));
            };
            log.ordinal = placed.ordinal;
        }
        let pairs = found.iter().zip(found.iter().skip(1));
        let used = pairs.filter(|(log, next)| filter.authorizes(log, Some(next)));
        logs.extend(used.map(|(log, _)| log.clone()));
    }
    logs.sort_by_key(|log| log.log_index);
    Ok(())
}
