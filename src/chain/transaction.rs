//! One transaction that somebody names, proven like a block's payments where the chain allows it.

use alloy::primitives::B256;
use serde_json::{Value, json};

use super::endpoint::{Endpoint, Lane};
use super::error::{ChainError, ErrorClass, Unproven};
use super::proof::{WireReceipt, prove_receipts};
use super::reader::{ChainReader, fetch_receipts};
use crate::domain::{Header, Level, LogEntry, Look, MinedTransaction};

/// Whether a transaction failed, and its logs.
type Judged = (bool, Vec<LogEntry>);

impl ChainReader {
    /// A transaction as the chain knows it now. At level `receipts` its logs are of receipts that rebuild the receipts root;
    /// at `asked` the operators agree on them; at `none` they are one endpoint's word.
    ///
    /// # Errors
    /// Every endpoint failed, or what they say is unproven.
    pub async fn look(&self, tx_hash: B256) -> Result<Look, ChainError> {
        let receipt: Result<WireReceipt, ChainError> = self
            .try_each(|endpoint| async move { receipt(&endpoint, tx_hash).await })
            .await;
        let receipt = match receipt {
            Err(error) if error.class() == Some(&ErrorClass::MissingData) => {
                return self.look_at_pool(tx_hash).await;
            }
            receipt => receipt?,
        };
        let header = self.header_by_hash(receipt.block()).await?;
        if self.header_by_number(header.number).await?.hash != header.hash {
            return Ok(Look::Pending);
        }
        let level = self.verification().level;
        let (reverted, logs) = match level {
            Level::Receipts | Level::Ranged => {
                let header = &header;
                self.try_at(header.number, |endpoint| async move {
                    proven(&endpoint, header, tx_hash).await
                })
                .await?
            }
            Level::Asked => {
                let header = &header;
                self.agreed(header.number, |endpoint| async move {
                    receipt_of(&endpoint, header, tx_hash).await
                })
                .await?
            }
            Level::None => {
                let header = &header;
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
            level: if level == Level::Ranged { Level::Receipts } else { level },
        }))
    }

    async fn look_at_pool(&self, tx_hash: B256) -> Result<Look, ChainError> {
        let known: Result<Value, ChainError> = self
            .try_each(|endpoint| async move {
                endpoint.request("eth_getTransactionByHash", json!([tx_hash])).await
            })
            .await;
        match known {
            Ok(_) => Ok(Look::Pending),
            Err(error) if error.class() == Some(&ErrorClass::MissingData) => Ok(Look::Unknown),
            Err(error) => Err(error),
        }
    }
}

async fn receipt(endpoint: &Endpoint, tx_hash: B256) -> Result<WireReceipt, ChainError> {
    endpoint.request("eth_getTransactionReceipt", json!([tx_hash])).await
}

/// By receipts that rebuild the root of the block.
async fn proven(endpoint: &Endpoint, header: &Header, tx_hash: B256) -> Result<Judged, ChainError> {
    let unproven = |reason| endpoint.unproven(header.number, reason);
    let receipts = fetch_receipts(endpoint, Lane::Live, header).await?;
    let own = receipts.iter().find(|receipt| receipt.transaction() == tx_hash);
    let failed = own.ok_or_else(|| unproven(Unproven::ForeignLog))?.failed();
    let mut logs = prove_receipts(header, receipts).map_err(unproven)?;
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
