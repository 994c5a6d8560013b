//! What is stored of a chain, for who compares it with the chain or asks how much of it is covered: from the database, in
//! one state of it, as memory holds no payments and no headers.

use super::{Engine, EngineError};
use crate::domain::{ChainId, Payment};
use crate::store::{self, BalanceRow, ChainRow, KeptHeader, Movement, Observation, Watch};

/// What is stored of a stretch of blocks.
#[derive(Debug, Clone)]
pub struct StoredRange {
    /// The kept headers within it, lowest first.
    pub headers: Vec<KeptHeader>,
    /// The height of the lowest header that is kept at all; from there on movements are kept too.
    pub lowest_kept: Option<u64>,
    /// The payments, orphaned ones too, in the order of the chain.
    pub payments: Vec<Payment>,
    /// The canonical observations, in the order of the chain.
    pub observations: Vec<Observation>,
    /// The movements that are kept.
    pub movements: Vec<Movement>,
}

/// What is stored of a chain's contracts.
#[derive(Debug, Clone)]
pub struct StoredHoldings {
    /// The chain; the balances are as of its settled block.
    pub row: ChainRow,
    /// The watched contracts.
    pub watches: Vec<Watch>,
    /// Every balance that is not zero.
    pub balances: Vec<BalanceRow>,
}

impl Engine {
    /// What is stored of the blocks `from..=to`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn stored_range(&self, chain: ChainId, from: u64, to: u64) -> Result<StoredRange, EngineError> {
        let mut tx = self.inner.store.begin_read().await?;
        let mut headers = store::headers(&mut tx, chain).await?;
        let lowest_kept = headers.first().map(|lowest| lowest.block.number);
        headers.retain(|kept| (from..=to).contains(&kept.block.number));
        // Nothing moves in a genesis block.
        let movements = store::movements_between(&mut tx, chain, from.saturating_sub(1), to).await?;
        Ok(StoredRange {
            headers,
            lowest_kept,
            payments: store::payments_between(&mut tx, chain, from, to).await?,
            observations: store::observations_between(&mut tx, chain, from, to).await?,
            movements,
        })
    }

    /// What is stored of a chain's contracts.
    ///
    /// # Errors
    /// The chain was never read, or the database fails.
    pub async fn stored_holdings(&self, chain: ChainId) -> Result<StoredHoldings, EngineError> {
        let mut tx = self.inner.store.begin_read().await?;
        let row = store::chain_row(&mut tx, chain).await?;
        Ok(StoredHoldings {
            row: row.ok_or(EngineError::NotFound("chain"))?,
            watches: store::watches(&mut tx, chain).await?,
            balances: store::balances(&mut tx, chain).await?,
        })
    }

    /// How far a chain, if it was ever read, and its watched contracts are.
    ///
    /// # Errors
    /// The database fails.
    pub async fn stored_coverage(
        &self,
        chain: ChainId,
    ) -> Result<(Option<ChainRow>, Vec<Watch>), EngineError> {
        let mut tx = self.inner.store.begin_read().await?;
        let row = store::chain_row(&mut tx, chain).await?;
        Ok((row, store::watches(&mut tx, chain).await?))
    }
}
