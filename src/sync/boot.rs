//! Before a chain is followed: is it the chain that was read before, and where does it still agree with what is kept?

use alloy::primitives::B256;

use super::confirm::{Council, Tags};
use super::task::{ChainTask, Halt, SyncError};
use super::tokens;
use super::window::Window;
use crate::chain::{ChainError, ErrorClass};
use crate::domain::{BlockRef, Header};
use crate::engine::{EngineError, LearnDomains, MAX_JOURNAL, OpenChain, OpenedChain, ResetChain};
use crate::store::KeptHeader;

/// The head of a node that is not syncing is younger than this, in milliseconds: a quarter of an hour.
const MAX_HEAD_AGE_MS: i64 = 15 * 60 * 1000;

impl ChainTask {
    /// Takes the chain over, finds the highest block that is still ours, and asks the tokens whether they can be paid in.
    pub(super) async fn start(&mut self) -> Result<(), SyncError> {
        let head = self.open().await?;
        self.asks_tokens = true;
        self.hear_tokens(head).await
    }

    async fn open(&mut self) -> Result<BlockRef, SyncError> {
        self.reader.chain_id().await?;
        let genesis = self.genesis().await?;
        self.reader.find_level().await?;
        let head = self.reader.latest().await?;
        self.check_synced(&head)?;
        tokens::check(&self.reader, &self.settings, head.hash).await?;
        let domains = tokens::domains(&self.reader, &self.settings, head.hash).await?;
        let chain = self.settings.id;
        self.engine.execute(LearnDomains { chain, domains }).await?;
        let opened = self
            .engine
            .execute(OpenChain {
                chain,
                genesis,
                head: head.number,
            })
            .await?;
        let fence = opened.fence;
        if opened.row.genesis != genesis {
            self.reset(fence, Halt::WrongGenesis).await?;
            let anew = self
                .engine
                .execute(OpenChain {
                    chain,
                    genesis,
                    head: head.number,
                })
                .await?;
            self.take(&anew, head.number);
            return Ok(head.block());
        }
        self.take(&opened, head.number);
        if let Some(held) = opened.row.quarantined {
            return Err(Halt::Quarantined(held.reason).into());
        }
        match self.common_block(head.number).await? {
            Common::Nothing => {}
            Common::Block(block) if Some(block) == self.window.tip() => {}
            Common::Block(block) => self.roll_back_to(block).await?,
            Common::Lost => {
                self.reset(fence, Halt::TooDeep).await?;
                let anew = self
                    .engine
                    .execute(OpenChain {
                        chain,
                        genesis,
                        head: head.number,
                    })
                    .await?;
                self.take(&anew, head.number);
            }
        }
        Ok(head.block())
    }

    /// The block 0 that the chain is opened with. A development chain may have another than it had.
    async fn genesis(&self) -> Result<B256, SyncError> {
        match self.engine.stored_chain(self.settings.id).await {
            Ok((row, _)) if self.settings.development => match self.reader.genesis_hash().await {
                Err(error) if error.class().is_some_and(ErrorClass::is_lacking) => Ok(row.genesis),
                genesis => Ok(genesis?),
            },
            Ok((row, _)) => {
                self.reader.expect_genesis(row.genesis);
                Ok(row.genesis)
            }
            Err(EngineError::NotFound(_)) => match self.reader.first_genesis().await {
                Err(error @ ChainError::GenesisDiffers(_)) => Err(Halt::Endpoints(error.to_string()).into()),
                genesis => Ok(genesis?),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// A node that is still syncing answers of the past as if it were now: tokens without code, heads that we passed.
    fn check_synced(&self, head: &Header) -> Result<(), SyncError> {
        let age_ms = self.engine.clock().now_ms().saturating_sub(head.time_ms());
        if age_ms > MAX_HEAD_AGE_MS && !self.settings.development {
            return Err(SyncError::Behind);
        }
        Ok(())
    }

    /// A development chain may be started anew, and then has another.
    fn expect_genesis(&self, genesis: B256) {
        if !self.settings.development {
            self.reader.expect_genesis(genesis);
        }
    }

    /// The head is not stored: before it is announced, it is where the chain was found.
    fn take(&mut self, opened: &OpenedChain, head: u64) {
        self.expect_genesis(opened.row.genesis);
        self.fence = opened.fence;
        self.start_number = opened.row.start_number;
        self.heights = opened.row.heights;
        self.heights.head = head;
        self.keep(&opened.headers);
        self.tags = Tags::new(self.settings.agree);
        self.council = Council::new(self.settings.agree);
        self.stalled = opened.row.stalled.as_ref().map(|held| held.reason.clone());
    }

    fn keep(&mut self, headers: &[KeptHeader]) {
        let capacity = usize::try_from(MAX_JOURNAL).unwrap_or(usize::MAX);
        self.window = Window::new(headers, capacity);
        self.tip.send_replace(self.window.tip());
    }

    fn is_below_finalized(&self, block: BlockRef) -> bool {
        let finalized = self.heights.finalized;
        !self.settings.development && finalized.is_some_and(|finalized| block.number < finalized.number)
    }

    /// Starts from what is stored, after a step that failed half-way.
    pub(super) async fn reload(&mut self) -> Result<(), SyncError> {
        let (row, headers) = self.engine.stored_chain(self.settings.id).await?;
        let head = self.heights.head;
        self.heights = row.heights;
        self.heights.head = head;
        self.keep(&headers);
        Ok(())
    }

    /// A development chain that was started anew is read anew; any other needs a person.
    async fn reset(&self, fence: i64, halt: Halt) -> Result<(), SyncError> {
        let version = self.reader.client_version().await.unwrap_or_default();
        if !self.settings.development || !version.starts_with("anvil/") {
            return Err(halt.into());
        }
        tracing::warn!(chain = %self.settings.name, reason = %halt, "a development chain was started anew: reading it anew");
        self.engine
            .execute(ResetChain {
                chain: self.settings.id,
                fence,
            })
            .await?;
        Ok(())
    }

    /// The highest kept block that the chain has at its height, of those up to its head. Kept blocks below a common one are
    /// common too. A node that lags behind us knows less than we do and contradicts nothing: it is waited for, but on a
    /// development chain, where it was rolled back or started anew.
    async fn common_block(&self, head: u64) -> Result<Common, SyncError> {
        let (Some(lowest), Some(tip)) = (self.window.lowest(), self.window.tip()) else {
            return Ok(Common::Nothing);
        };
        let lags = head < tip.number;
        let Some(top) = self.window.at(tip.number.min(head)) else {
            return if self.settings.development {
                Ok(Common::Lost)
            } else {
                Err(SyncError::Behind)
            };
        };
        if self.is_common(top).await? {
            return if lags && !self.settings.development {
                Err(SyncError::Behind)
            } else {
                Ok(Common::Block(top))
            };
        }
        if !self.is_common(lowest).await? {
            return Ok(Common::Lost);
        }
        let (mut common, mut foreign) = (lowest, top.number);
        while common.number + 1 < foreign {
            let middle = common.number + (foreign - common.number) / 2;
            let Some(block) = self.window.at(middle) else {
                return Ok(Common::Lost);
            };
            if self.is_common(block).await? {
                common = block;
            } else {
                foreign = middle;
            }
        }
        if self.is_below_finalized(common) {
            common = self.branching_point(top, lags).await?;
        }
        Ok(Common::Block(common))
    }

    /// Where the branch that the chain has at the height of `top` leaves ours, if not below what is final. What one operator
    /// says of heights may be of several nodes behind one address, one of them far behind; a branch by hash is one chain.
    async fn branching_point(&self, top: BlockRef, lags: bool) -> Result<BlockRef, SyncError> {
        if self.council.is_asked() {
            return Err(Halt::BelowFinalized.into());
        }
        if lags {
            return Err(SyncError::Behind);
        }
        let mut below = self.reader.header_by_number(top.number).await?;
        loop {
            let block = below.block();
            if self.is_below_finalized(block) {
                return Err(Halt::BelowFinalized.into());
            }
            if self.window.contains(block) {
                return Ok(block);
            }
            below = self.reader.header_by_hash(below.parent_hash).await?;
        }
    }

    /// Whether the chain has a kept block at its height. A missing answer is no answer; where several operators are asked,
    /// as many must say the same.
    async fn is_common(&self, block: BlockRef) -> Result<bool, SyncError> {
        if self.council.is_asked() {
            let said = self.reader.headers_at(block.number).await;
            let headers = said.iter().filter_map(|said| said.header.as_ref().ok());
            let (same, other): (Vec<_>, Vec<_>) = headers.partition(|header| header.hash == block.hash);
            let agree = self.council.agree();
            return match (same.len() >= agree, other.len() >= agree) {
                (true, _) => Ok(true),
                (false, true) => Ok(false),
                (false, false) => Err(SyncError::Undecided),
            };
        }
        let header = self.reader.header_by_number(block.number).await?;
        Ok(header.hash == block.hash)
    }
}

/// Where the chain and what is kept of it agree.
enum Common {
    /// Nothing is kept.
    Nothing,
    /// Up to here.
    Block(BlockRef),
    /// Nowhere.
    Lost,
}
