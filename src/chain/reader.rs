//! The verified way to read one chain: what it returns as a header or a block was recomputed here.
//!
//! Each read goes to the best endpoint, and to the next where that one fails; there are no delays and no second rounds,
//! because only the caller knows whether the answer is still wanted. Nothing is ever read as empty on failure.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy::primitives::{Address, B256, Bytes};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::asked::{FirstAnswers, logs_of};
use super::bloom::BloomMemory;
use super::compute::{SHORT_ITEMS, compute};
use super::endpoint::{Endpoint, Lane, lock};
use super::endpoints::Endpoints;
use super::error::{ChainError, ErrorClass, Failure, Unproven};
use super::filter::LogFilter;
use super::header::{RawHeader, first_unlinked};
use super::levels::Verification;
use super::proof::{WireReceipt, prove_receipts};
use super::relay::first_answer;
use super::rpc::{Quantity, quantity};
use crate::config;
use crate::domain::{Header, Level, LogEntry, ProvenBlock};
use crate::health::EndpointStatus;

/// Headers per batch. A header with the hashes of its transactions takes up to 100 kB.
const HEADERS_PER_BATCH: u64 = 50;
/// Batches of headers, or receipts, in flight for one read.
pub(super) const CONCURRENCY: usize = 4;
/// Receipts per batch, where an endpoint does not serve a block's receipts at once.
pub(super) const RECEIPTS_PER_BATCH: usize = 50;
/// Memories of bloom bits that are kept for the next read.
const MAX_MEMORIES: usize = 4;

/// Reads one chain. Clones share the endpoints.
#[derive(Debug, Clone)]
pub struct ChainReader {
    endpoints: Endpoints,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    agree: usize,
    configured_level: Option<Level>,
    verification: watch::Sender<Verification>,
    first_answers: FirstAnswers,
    memories: Mutex<Vec<BloomMemory>>,
}

/// The transactions of a block, as far as needed.
#[derive(Debug, Deserialize)]
struct WireTransactions {
    transactions: Vec<B256>,
}

impl ChainReader {
    /// `verification` is what the identities of the endpoints listen to.
    pub(super) fn new(
        endpoints: Endpoints,
        verification: watch::Sender<Verification>,
        settings: &config::Chain,
    ) -> Self {
        Self {
            endpoints,
            shared: Arc::new(Shared {
                agree: settings.agree,
                configured_level: settings.level,
                verification,
                first_answers: FirstAnswers::default(),
                memories: Mutex::default(),
            }),
        }
    }

    pub(super) fn agree(&self) -> usize {
        self.shared.agree.max(1)
    }

    pub(super) fn configured_level(&self) -> Option<Level> {
        self.shared.configured_level
    }

    pub(super) fn verification(&self) -> Verification {
        *self.shared.verification.borrow()
    }

    pub(super) fn set_verification(&self, verification: Verification) {
        self.shared.verification.send_replace(verification);
    }

    pub(super) fn first_answers(&self) -> &FirstAnswers {
        &self.shared.first_answers
    }

    /// The greatest height that an endpoint told last.
    pub(super) fn known_head(&self) -> u64 {
        let heads = self.endpoints.iter();
        let heads = heads.map(|endpoint| endpoint.identity().head.load(Ordering::Relaxed));
        heads.max().unwrap_or(0)
    }

    /// The endpoints behind it.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// How each endpoint is, in the configured order.
    #[must_use]
    pub fn status(&self) -> Vec<EndpointStatus> {
        self.endpoints.status()
    }

    /// Asks each endpoint in turn until one answers. The failure that is returned is the best endpoint's.
    pub(super) async fn try_each<T, F>(&self, ask: impl Fn(Endpoint) -> F) -> Result<T, ChainError>
    where
        F: Future<Output = Result<T, ChainError>>,
    {
        let answer = first_answer(self.endpoints.ranked(), Endpoint::patience, ask).await;
        answer.map_err(|failure| failure.unwrap_or_else(no_endpoint))
    }

    /// As [`ChainReader::try_at`], for what takes long: none is asked beside another.
    pub(super) async fn try_in_turn<T, F>(
        &self,
        height: u64,
        ask: impl Fn(Endpoint) -> F,
    ) -> Result<T, ChainError>
    where
        F: Future<Output = Result<T, ChainError>>,
    {
        let ask = &ask;
        let answer = first_answer(
            self.endpoints.ranked(),
            |_| Duration::MAX,
            |endpoint| async move {
                endpoint.reaches(height).await?;
                ask(endpoint).await
            },
        );
        answer
            .await
            .map_err(|failure| failure.unwrap_or_else(no_endpoint))
    }

    /// As [`ChainReader::try_each`], of a block at `height` or below: no endpoint is asked above its own head.
    pub(super) async fn try_at<T, F>(&self, height: u64, ask: impl Fn(Endpoint) -> F) -> Result<T, ChainError>
    where
        F: Future<Output = Result<T, ChainError>>,
    {
        let ask = &ask;
        self.try_each(|endpoint| async move {
            endpoint.reaches(height).await?;
            ask(endpoint).await
        })
        .await
    }

    /// `eth_chainId`, from an endpoint that serves this chain.
    ///
    /// # Errors
    /// Every endpoint failed, or serves another chain.
    pub async fn chain_id(&self) -> Result<crate::domain::ChainId, ChainError> {
        self.try_each(|endpoint| async move {
            let Quantity(id) = endpoint.request("eth_chainId", json!([])).await?;
            let identity = endpoint.identity();
            let checked = identity.check_chain(id);
            checked.map_err(|failure| identity.failed("eth_chainId", failure))?;
            Ok(crate::domain::ChainId(id))
        })
        .await
    }

    /// `web3_clientVersion`, such as `anvil/v1.7.1`.
    ///
    /// # Errors
    /// Every endpoint failed.
    pub async fn client_version(&self) -> Result<String, ChainError> {
        self.try_each(|endpoint| async move { endpoint.request("web3_clientVersion", json!([])).await })
            .await
    }

    /// The newest header: the poll. It notices what a socket does not say, such as a head that went back.
    ///
    /// # Errors
    /// Every endpoint failed, or its header is unproven.
    pub async fn latest(&self) -> Result<Header, ChainError> {
        self.try_each(|endpoint| async move {
            let header = fetch_header(&endpoint, "eth_getBlockByNumber", json!(["latest", false])).await?;
            endpoint.saw_latest(&header);
            Ok(header)
        })
        .await
    }

    /// The header with this hash.
    ///
    /// # Errors
    /// Every endpoint failed ([`ErrorClass::MissingData`] where the first does not know it), or it is unproven.
    pub async fn header_by_hash(&self, hash: B256) -> Result<Header, ChainError> {
        self.try_each(|endpoint| async move {
            let header = fetch_header(&endpoint, "eth_getBlockByHash", json!([hash, false])).await?;
            if header.hash == hash {
                return Ok(header);
            }
            Err(endpoint.unproven(header.number, Unproven::OtherBlock))
        })
        .await
    }

    /// The header at this height.
    ///
    /// # Errors
    /// As [`ChainReader::header_by_hash`].
    pub async fn header_by_number(&self, number: u64) -> Result<Header, ChainError> {
        self.try_at(number, |endpoint| async move {
            let params = json!([quantity(number), false]);
            let header = fetch_header(&endpoint, "eth_getBlockByNumber", params).await?;
            if header.number == number {
                return Ok(header);
            }
            Err(endpoint.unproven(number, Unproven::OtherBlock))
        })
        .await
    }

    /// The headers `from..=to`, each extending the one before it.
    ///
    /// # Errors
    /// Every endpoint failed, or a header is unproven or unlinked.
    pub async fn headers(&self, from: u64, to: u64) -> Result<Vec<Header>, ChainError> {
        self.try_at(to, |endpoint| async move {
            linked_headers(&endpoint, from, to, None).await
        })
        .await
    }

    /// The block of a proven header with its logs that `filter` asks for, at the chain's level. Where the bloom denies them
    /// all there is no request. Otherwise, at level `receipts`, all receipts are fetched and must rebuild the receipts root.
    ///
    /// # Errors
    /// Every endpoint failed, or what they say is unproven. At level `asked` also [`ChainError::Disagreement`], and
    /// [`ChainError::NotYet`] where one operator alone is to be asked again when there is a block above.
    pub async fn prove_block(&self, header: &Header, filter: &LogFilter) -> Result<ProvenBlock, ChainError> {
        if self.verification().assumed {
            self.judge(header).await?;
        }
        let verification = self.verification();
        let absent = verification.absence() && filter.bloom_hit(&header.bloom).is_none();
        let (logs, level) = match verification.level {
            _ if absent || filter.is_empty() => (Vec::new(), Level::Receipts),
            Level::Receipts | Level::Ranged => {
                let logs = self.try_at(header.number, |endpoint| async move {
                    proven_logs(&endpoint, Lane::Live, header, filter).await
                });
                (logs.await?, Level::Receipts)
            }
            Level::Asked => (self.asked_logs(header, filter).await?, Level::Asked),
            Level::None => {
                let logs = self.try_at(header.number, |endpoint| async move {
                    logs_of(&endpoint, header, filter).await
                });
                (logs.await?, Level::None)
            }
        };
        Ok(ProvenBlock {
            header: header.clone(),
            logs,
            level,
        })
    }

    /// `eth_call` in the state after the block `at` (EIP-1898). Unproven: one node's word.
    ///
    /// # Errors
    /// [`ErrorClass::Reverted`] where the call itself failed; else every endpoint failed.
    pub async fn call(&self, to: Address, data: Bytes, at: B256) -> Result<Bytes, ChainError> {
        let params = json!([{"to": to, "data": data}, {"blockHash": at}]);
        let params = &params;
        self.try_each(|endpoint| async move { endpoint.request("eth_call", params.clone()).await })
            .await
    }

    /// The code at `address` now; empty where there is no contract. Unproven.
    ///
    /// # Errors
    /// Every endpoint failed.
    pub async fn code(&self, address: Address) -> Result<Bytes, ChainError> {
        self.try_each(
            |endpoint| async move { endpoint.request("eth_getCode", json!([address, "latest"])).await },
        )
        .await
    }

    pub(super) fn take_memory(&self) -> BloomMemory {
        let known = lock(&self.shared.memories).pop();
        known.unwrap_or_else(BloomMemory::new)
    }

    pub(super) fn return_memory(&self, memory: BloomMemory) {
        let mut memories = lock(&self.shared.memories);
        if memories.len() < MAX_MEMORIES {
            memories.push(memory);
        }
    }
}

pub(super) fn no_endpoint() -> ChainError {
    ChainError::Settings {
        endpoint: Arc::from("chain"),
        problem: "no endpoint is configured",
    }
}

pub(super) async fn fetch_header(
    endpoint: &Endpoint,
    method: &'static str,
    params: Value,
) -> Result<Header, ChainError> {
    let raw: RawHeader = endpoint.request(method, params).await?;
    endpoint.header(&raw)
}

/// The headers `from..=to` of one endpoint, proven, linked to each other and to `expected_parent`.
pub(super) async fn linked_headers(
    endpoint: &Endpoint,
    from: u64,
    to: u64,
    expected_parent: Option<B256>,
) -> Result<Vec<Header>, ChainError> {
    let batches: Vec<Vec<Header>> = stream::iter(batches(from, to))
        .map(|(from, to)| header_batch(endpoint, from, to))
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    let headers = batches.concat();
    match first_unlinked(&headers, expected_parent) {
        None => Ok(headers),
        Some((number, expected_parent)) => Err(ChainError::Unlinked {
            endpoint: Arc::clone(&endpoint.identity().endpoint),
            number,
            expected_parent,
        }),
    }
}

fn batches(from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut next = Some(from).filter(|from| *from <= to);
    std::iter::from_fn(move || {
        let start = next?;
        let end = to.min(start.saturating_add(HEADERS_PER_BATCH - 1));
        next = end.checked_add(1).filter(|next| *next <= to);
        Some((start, end))
    })
}

async fn header_batch(endpoint: &Endpoint, from: u64, to: u64) -> Result<Vec<Header>, ChainError> {
    let calls = (from..=to)
        .map(|number| ("eth_getBlockByNumber", json!([quantity(number), false])))
        .collect();
    let raw: Vec<RawHeader> = endpoint.batch_by(Lane::Bulk, calls).await?;
    (from..=to)
        .zip(raw)
        .map(|(number, raw)| {
            if raw.block().number != number {
                return Err(endpoint.unproven(number, Unproven::OtherBlock));
            }
            endpoint.header(&raw)
        })
        .collect()
}

/// The logs of a block that `filter` asks for, from receipts that rebuild the header's root.
pub(super) async fn proven_logs(
    endpoint: &Endpoint,
    lane: Lane,
    header: &Header,
    filter: &LogFilter,
) -> Result<Vec<LogEntry>, ChainError> {
    let receipts = fetch_receipts(endpoint, lane, header).await?;
    let (checked, filter) = (header.clone(), filter.clone());
    let size = receipts.len() + receipts.iter().map(WireReceipt::logs).sum::<usize>();
    let proving = move || {
        prove_receipts(&checked, receipts).map(|mut logs| {
            filter.keep(&mut logs);
            logs
        })
    };
    let Some(proven) = compute(size > SHORT_ITEMS, proving).await else {
        let failure = Failure::transport("the proof was cut short");
        return Err(endpoint.identity().failed("eth_getBlockReceipts", failure));
    };
    proven.map_err(|reason| endpoint.unproven(header.number, reason))
}

pub(super) async fn fetch_receipts(
    endpoint: &Endpoint,
    lane: Lane,
    header: &Header,
) -> Result<Vec<WireReceipt>, ChainError> {
    let served = endpoint.serves_block_receipts();
    if served.load(Ordering::Relaxed) {
        let params = json!([header.hash]);
        match endpoint.request_by(lane, "eth_getBlockReceipts", params).await {
            Err(error) if error.class() == Some(&ErrorClass::Unsupported) => {
                served.store(false, Ordering::Relaxed);
            }
            receipts => return receipts,
        }
    }
    let block: WireTransactions = endpoint
        .request_by(lane, "eth_getBlockByHash", json!([header.hash, false]))
        .await?;
    let calls: Vec<_> = block
        .transactions
        .iter()
        .map(|hash| ("eth_getTransactionReceipt", json!([hash])))
        .collect();
    // Made before they are run: a stream that makes them as it goes would not be `Send` in a spawned task.
    let mut requests = Vec::with_capacity(calls.len() / RECEIPTS_PER_BATCH + 1);
    for part in calls.chunks(RECEIPTS_PER_BATCH) {
        requests.push(endpoint.batch_by(lane, part.to_vec()));
    }
    let batches: Vec<Vec<WireReceipt>> = stream::iter(requests).buffered(CONCURRENCY).try_collect().await?;
    Ok(batches.into_iter().flatten().collect())
}
