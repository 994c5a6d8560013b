//! Reads blocks again that were read before, with the same proofs, and compares them with what is stored.
//!
//! It leads no chain and holds nothing up: it may run beside the service. What is missing here can be written; what is here
//! and not on the chain is only told, because a payment is never taken away by anything but a reorg.

mod compare;
mod difference;
mod refold;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use alloy::primitives::{Address, B256};
use futures_util::StreamExt;
use serde::Serialize;

use super::progress::Progress;
use super::{ranges, watching};
use crate::chain::{self, ChainError, ChainReader, LogFilter, Network};
use crate::config;
use crate::domain::{Amount, BlockRef, ProvenBlock};
use crate::engine::{CorrectBalances, Correction, Engine, EngineError, RepairBlock, StoredHoldings};
use crate::ledger::AcceptedMoney;
use crate::store::Watch;
pub use difference::{Difference, Money, Place};
use refold::{Differing, Refolded};

/// Blocks that are remembered to be repaired; what is beyond them is found again by the next run.
const MAX_REPAIRS: usize = 10_000;

/// Balances that are corrected in one transaction.
const CORRECTIONS_AT_ONCE: usize = 500;

/// What to read again.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// The first block.
    pub from: u64,
    /// The last block; `None` for what is read by now.
    pub to: Option<u64>,
    /// Whether to write what is missing here.
    pub repair: bool,
}

/// What was compared, and what came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The first block.
    pub from: u64,
    /// The last block.
    pub to: u64,
    /// Payments that the chain proves in them.
    pub payments: usize,
    /// Contracts whose balances were folded again: those whose whole past is within the range.
    pub refolded: Vec<Address>,
    /// Contracts of which only the kept movements were compared.
    pub partial: Vec<Address>,
    /// Whether the blocks are linked to a header that is kept, and so are of the chain that was read.
    pub anchored: bool,
    /// How much differs.
    pub differences: usize,
    /// How much of that was put right.
    pub repaired: usize,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum RescanError {
    /// The endpoints do not serve what was read.
    #[error("the endpoints answer for another chain, or another genesis, than what is stored")]
    OtherChain,
    /// There is nothing to compare with.
    #[error("--from and --to must be rising and read already; up to block {read} is read")]
    NotRead {
        /// How far the chain is read.
        read: u64,
    },
    /// The range cannot be shown to be of the chain that was read.
    #[error(
        "--repair needs a range that reaches a header that is kept: nothing else proves it to be of the chain that was read; leave --to out"
    )]
    NotAnchored,
    /// A piece does not extend the one before it.
    #[error("the chain was reorganised while it was read again; run it once more")]
    Reorganised,
    /// The chain could not be read.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// What is stored could not be read, or written.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Compares a range, and tells each difference as it is found.
///
/// # Errors
/// The range, the endpoints, or the database.
pub async fn rescan(
    settings: &config::Chain,
    network: &Arc<dyn Network>,
    engine: &Engine,
    request: Request,
    tell: impl FnMut(&Difference),
) -> Result<Report, RescanError> {
    // Before anything is read, so that what is compared is settled by then.
    let stored = engine.stored_holdings(settings.id).await?;
    let read = stored.row.heights.read.map_or(0, |read| read.number);
    let to = request.to.unwrap_or(read);
    if request.from > to || to > read {
        return Err(RescanError::NotRead { read });
    }
    let (reader, _stream) = chain::connect(settings, network, engine.clock(), LogFilter::default())?;
    if reader.chain_id().await? != settings.id || reader.genesis_hash().await? != stored.row.genesis {
        return Err(RescanError::OtherChain);
    }
    reader.find_level().await?;
    let mut scan = Scan::new(settings, engine, &stored, (request.from, to), tell);
    scan.read(&reader).await?;
    let corrections = scan.compare_balances();
    if request.repair && scan.report.differences > 0 {
        scan.repair(corrections).await?;
    }
    Ok(scan.report)
}

/// One run.
struct Scan<'a, F> {
    settings: &'a config::Chain,
    engine: &'a Engine,
    stored: &'a StoredHoldings,
    money: Option<AcceptedMoney>,
    refolded: HashMap<Address, Refolded>,
    parent: Option<B256>,
    anchor: Option<u64>,
    repairs: Vec<ProvenBlock>,
    report: Report,
    tell: F,
}

impl<'a, F: FnMut(&Difference)> Scan<'a, F> {
    fn new(
        settings: &'a config::Chain,
        engine: &'a Engine,
        stored: &'a StoredHoldings,
        (from, to): (u64, u64),
        tell: F,
    ) -> Self {
        let settled = stored.row.heights.settled.map(|settled| settled.number);
        let (whole, partial): (Vec<_>, Vec<_>) = stored.watches.iter().partition(|watch| {
            let reaches = settled.is_some_and(|settled| settled <= to);
            watch.is_complete() && from <= watch.from_number && reaches
        });
        let contract = |watch: &&Watch| watch.contract;
        let money = engine.settings().money(settings);
        Self {
            settings,
            engine,
            stored,
            money,
            refolded: whole
                .iter()
                .map(|watch: &&Watch| (watch.contract, Refolded::new(watch)))
                .collect(),
            parent: None,
            anchor: None,
            repairs: Vec::new(),
            report: Report {
                from,
                to,
                refolded: whole.iter().map(contract).collect(),
                partial: partial.iter().map(contract).collect(),
                ..Report::default()
            },
            tell,
        }
    }

    async fn read(&mut self, reader: &ChainReader) -> Result<(), RescanError> {
        let (from, to) = (self.report.from, self.report.to);
        let scopes = watching::scopes(&self.stored.watches);
        let filter = watching::filter(self.settings, &watching::Told::new(), &scopes);
        let bar = Progress::new(&self.settings.name).bar("reading again", to - from + 1);
        let mut pieces = std::pin::pin!(ranges::proven(reader, &filter, (from, to), None));
        while let Some(blocks) = pieces.next().await {
            let blocks = blocks?;
            self.check_linked(&blocks)?;
            self.compare(&blocks).await?;
            bar.read(blocks.len());
        }
        self.report.anchored = self.anchor.is_some();
        Ok(())
    }

    fn check_linked(&mut self, blocks: &[ProvenBlock]) -> Result<(), RescanError> {
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else {
            return Ok(());
        };
        if self
            .parent
            .is_some_and(|parent| parent != first.header.parent_hash)
        {
            return Err(RescanError::Reorganised);
        }
        self.parent = Some(last.header.hash);
        Ok(())
    }

    async fn compare(&mut self, blocks: &[ProvenBlock]) -> Result<(), RescanError> {
        let (Some(first), Some(last)) = (blocks.first(), blocks.last()) else {
            return Ok(());
        };
        let range = (first.header.number, last.header.number);
        let stored = self
            .engine
            .stored_range(self.settings.id, range.0, range.1)
            .await?;
        let mut differences = Vec::new();
        self.anchor = compare::headers(blocks, &stored, &mut differences).or(self.anchor);
        if let Some(money) = &self.money {
            // Below its first block the chain was read for contracts alone.
            let start = self.stored.row.start_number;
            let ours = blocks.partition_point(|block| block.header.number < start);
            self.report.payments += compare::payments(
                &blocks[ours..],
                (self.settings.id, money),
                &stored,
                &mut differences,
            );
        }
        compare::movements(blocks, &self.stored.watches, &stored, &mut differences);
        differences.sort_by_key(Difference::block);
        self.remember(blocks, &differences);
        let settled = self.stored.row.heights.settled.map(|settled| settled.number);
        for refolded in self.refolded.values_mut() {
            let counted = blocks.iter().filter(|block| Some(block.header.number) <= settled);
            counted.for_each(|block| refolded.add(block));
        }
        self.told(&differences);
        Ok(())
    }

    /// Keeps the blocks that hold what is missing here.
    fn remember(&mut self, blocks: &[ProvenBlock], differences: &[Difference]) {
        let missing: BTreeSet<u64> = differences
            .iter()
            .filter_map(|difference| match difference {
                Difference::PaymentMissing { place, .. } | Difference::ObservationMissing { place } => {
                    Some(place.block)
                }
                _ => None,
            })
            .collect();
        let room = MAX_REPAIRS.saturating_sub(self.repairs.len());
        let blocks = blocks
            .iter()
            .filter(|block| missing.contains(&block.header.number));
        self.repairs.extend(blocks.take(room).cloned());
    }

    fn told(&mut self, differences: &[Difference]) {
        self.report.differences += differences.len();
        differences.iter().for_each(&mut self.tell);
    }

    fn compare_balances(&mut self) -> Vec<(Address, Vec<Correction>)> {
        let mut corrections = Vec::new();
        for (contract, refolded) in std::mem::take(&mut self.refolded) {
            let stored = self.stored.balances.iter().filter(|row| row.contract == contract);
            let differing = refolded.differing(stored);
            let difference = |found: &Differing| Difference::BalanceDiffers {
                contract,
                holder: found.holder,
                standard: found.asset.standard,
                token: found.asset.id,
                here: Amount(found.here),
                there: Amount(found.there),
            };
            let told: Vec<Difference> = differing.iter().map(difference).collect();
            self.told(&told);
            let correction = |found: Differing| Correction {
                holder: found.holder,
                asset: found.asset,
                stored: found.here,
                proven: found.there,
            };
            corrections.push((contract, differing.into_iter().map(correction).collect()));
        }
        corrections
    }

    /// Writes what is missing in blocks up to the highest that is known to be of the chain that was read.
    async fn repair(&mut self, corrections: Vec<(Address, Vec<Correction>)>) -> Result<(), RescanError> {
        let anchor = self.anchor.ok_or(RescanError::NotAnchored)?;
        let chain = self.settings.id;
        for block in std::mem::take(&mut self.repairs) {
            if block.header.number <= anchor {
                self.report.repaired += self.engine.execute(RepairBlock { chain, block }).await?;
            }
        }
        let settled: Option<BlockRef> = self
            .stored
            .row
            .heights
            .settled
            .filter(|settled| settled.number <= anchor);
        for (contract, corrections) in corrections {
            let watch = self
                .stored
                .watches
                .iter()
                .find(|watch| watch.contract == contract);
            let Some((settled, watch)) = settled.zip(watch) else {
                continue;
            };
            for part in corrections.chunks(CORRECTIONS_AT_ONCE) {
                let command = CorrectBalances {
                    chain,
                    watch: *watch,
                    settled,
                    corrections: part.to_vec(),
                };
                self.engine.execute(command).await?;
                self.report.repaired += part.len();
            }
        }
        Ok(())
    }
}
