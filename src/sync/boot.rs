//! Before a chain is followed: is it the chain that was read before, and where does it still agree with what is kept?

use super::task::{ChainTask, Halt, SyncError};
use super::tokens;
use super::window::Window;
use crate::domain::BlockRef;
use crate::engine::{OpenChain, OpenedChain, ResetChain};

/// Headers kept in memory beside the stored ones.
const WINDOW: usize = 1_024;

impl ChainTask {
    /// Takes the chain over and finds the highest block that is still ours.
    pub(super) async fn start(&mut self) -> Result<(), SyncError> {
        let found = self.reader.chain_id().await?;
        if found != self.settings.id {
            return Err(Halt::WrongChain(found.0).into());
        }
        let genesis = self.reader.genesis_hash().await?;
        let head = self.reader.latest().await?;
        tokens::check(&self.reader, &self.settings, head.hash).await?;
        let chain = self.settings.id;
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
            self.take(&anew);
            return Ok(());
        }
        self.take(&opened);
        match self.common_block().await? {
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
                self.take(&anew);
            }
        }
        Ok(())
    }

    fn take(&mut self, opened: &OpenedChain) {
        self.fence = opened.fence;
        self.start_number = opened.row.start_number;
        self.heights = opened.row.heights;
        self.window = Window::new(&opened.headers, WINDOW);
    }

    /// Starts from what is stored, after a step that failed half-way.
    pub(super) async fn reload(&mut self) -> Result<(), SyncError> {
        let (row, headers) = self.engine.stored_chain(self.settings.id).await?;
        let head = self.heights.head;
        self.heights = row.heights;
        self.heights.head = head;
        self.window = Window::new(&headers, WINDOW);
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

    /// The highest kept block that the chain still has at its height. Kept blocks below a common one are common too.
    async fn common_block(&self) -> Result<Common, SyncError> {
        let (Some(lowest), Some(tip)) = (self.window.lowest(), self.window.tip()) else {
            return Ok(Common::Nothing);
        };
        if self.is_common(tip).await? {
            return Ok(Common::Block(tip));
        }
        if !self.is_common(lowest).await? {
            return Ok(Common::Lost);
        }
        let (mut common, mut foreign) = (lowest, tip.number);
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
        Ok(Common::Block(common))
    }

    async fn is_common(&self, block: BlockRef) -> Result<bool, SyncError> {
        match self.reader.header_by_number(block.number).await {
            Ok(header) => Ok(header.hash == block.hash),
            Err(error) if error.is_missing_data() => Ok(false),
            Err(error) => Err(error.into()),
        }
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
