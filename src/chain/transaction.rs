//! One transaction that somebody names, proven like a block's payments where the chain allows it.

use alloy::primitives::B256;
use serde::de::IgnoredAny;
use serde_json::json;

use super::compute::{SHORT_ITEMS, compute};
use super::endpoint::{Endpoint, Lane};
use super::error::{ChainError, ErrorClass, Failure, Unproven};
use super::proof::{WireReceipt, prove_receipts};
use super::reader::{ChainReader, fetch_receipts};
use crate::domain::{BlockRef, Header, Level, LogEntry, Look, MinedTransaction};

/// The most blocks that one is linked to another over: a week of Ethereum's.
pub const MAX_LINKED: u64 = 50_000;
/// Headers that are held at once while they are gone through.
const LINK_STEP: u64 = 1_000;

/// Whether a transaction failed, and its logs.
type Judged = (bool, Vec<LogEntry>);

impl ChainReader {
    /// A transaction as the endpoints have it now. At level `receipts` its logs are of receipts that rebuild the root of a
    /// header that was recomputed; at `asked` the operators agree on them; at `none` they are one endpoint's word. Which of a
    /// block's receipts is this transaction's no root says: that is the endpoint's word at every level.
    ///
    /// # Errors
    /// Every endpoint failed, or what they say is unproven.
    pub async fn look(&self, tx_hash: B256) -> Result<Look, ChainError> {
        let receipt = self
            .try_each(|endpoint| async move { receipt(&endpoint, tx_hash).await })
            .await;
        let receipt = match receipt {
            Err(error) if error.class() == Some(&ErrorClass::MissingData) => {
                return self.look_at_pool(tx_hash).await;
            }
            receipt => receipt?,
        };
        let header = &self.header_by_hash(receipt.block_hash()).await?;
        let level = match self.level() {
            Level::Ranged => Level::Receipts,
            level => level,
        };
        let (reverted, logs) = match level {
            Level::Receipts | Level::Ranged => {
                self.try_at(header.number, |endpoint| async move {
                    proven(&endpoint, header, tx_hash).await
                })
                .await?
            }
            Level::Asked => {
                self.agreed(header.number, |endpoint| async move {
                    receipt_of(&endpoint, header, tx_hash).await
                })
                .await?
            }
            Level::None => {
                self.try_at(header.number, |endpoint| async move {
                    receipt_of(&endpoint, header, tx_hash).await
                })
                .await?
            }
        };
        Ok(Look::Mined(MinedTransaction {
            block: header.block(),
            block_time_ms: header.time_ms(),
            reverted,
            logs,
            level,
        }))
    }

    async fn look_at_pool(&self, tx_hash: B256) -> Result<Look, ChainError> {
        let known: Result<IgnoredAny, ChainError> = self
            .try_each(|endpoint| async move {
                endpoint
                    .request("eth_getTransactionByHash", json!([tx_hash]))
                    .await
            })
            .await;
        match known {
            Ok(_) => Ok(Look::Pending),
            Err(error) if error.class() == Some(&ErrorClass::MissingData) => Ok(Look::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Whether the block `below` is an ancestor of `above`, by the parent hashes of recomputed headers. Never where headers
    /// do not hash to their hashes, or more than [`MAX_LINKED`] lie between.
    ///
    /// # Errors
    /// Every endpoint failed, or its headers are unproven or unlinked.
    pub async fn links(&self, below: BlockRef, above: BlockRef) -> Result<bool, ChainError> {
        let distance = above.number.checked_sub(below.number);
        if !self.verification().headers || distance.is_none_or(|distance| distance > MAX_LINKED) {
            return Ok(false);
        }
        let mut reached = below;
        while reached.number < above.number {
            let to = above.number.min(reached.number.saturating_add(LINK_STEP));
            let headers = self.headers(reached.number, to).await?;
            let first = headers.first().map(Header::block);
            let (true, Some(last)) = (first == Some(reached), headers.last()) else {
                return Ok(false);
            };
            reached = last.block();
        }
        Ok(reached == above)
    }
}

async fn receipt(endpoint: &Endpoint, tx_hash: B256) -> Result<WireReceipt, ChainError> {
    endpoint
        .request("eth_getTransactionReceipt", json!([tx_hash]))
        .await
}

/// By receipts that rebuild the root of the block.
async fn proven(endpoint: &Endpoint, header: &Header, tx_hash: B256) -> Result<Judged, ChainError> {
    let unproven = |reason| endpoint.unproven(header.number, reason);
    let receipts = fetch_receipts(endpoint, Lane::Live, header).await?;
    let own = receipts.iter().find(|receipt| receipt.transaction() == tx_hash);
    let failed = own.ok_or_else(|| unproven(Unproven::ForeignLog))?.failed();
    let size = receipts.len() + receipts.iter().map(WireReceipt::logs).sum::<usize>();
    let header_of_proof = header.clone();
    let proving = move || prove_receipts(&header_of_proof, receipts);
    let Some(logs) = compute(size > SHORT_ITEMS, proving).await else {
        let failure = Failure::transport("the proof was cut short");
        return Err(endpoint.identity().failed("eth_getBlockReceipts", failure));
    };
    let mut logs = logs.map_err(unproven)?;
    logs.retain(|log| log.tx_hash == tx_hash);
    Ok((failed, logs))
}

/// By the transaction's own receipt.
async fn receipt_of(endpoint: &Endpoint, header: &Header, tx_hash: B256) -> Result<Judged, ChainError> {
    let receipt = receipt(endpoint, tx_hash).await?;
    let failed = receipt.failed();
    let logs = receipt.places(header, tx_hash);
    let logs = logs.map_err(|reason| endpoint.unproven(header.number, reason))?;
    Ok((failed, logs))
}
