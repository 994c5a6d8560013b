//! What a transaction is to this service, and precisely why: from what is stored of proven blocks, and for one that was never
//! read from one look at the chain, which shows and never counts.

mod stored;
mod view;
mod words;

use alloy::primitives::B256;
use futures_util::future::join_all;
use sqlx::AnyConnection;

use super::found::RefundView;
use super::{Engine, EngineError, Settings};
use crate::config;
use crate::domain::{ChainId, Level, Look, LookError, LookOutcome, LookUp, MinedTransaction, PaymentState};
use crate::ledger::{self, Finding};
use crate::store::{self, ChainRow, FoundPayment, PaymentFilter};

pub use view::{
    CandidateView, CheckView, ExaminedView, ExplainedPayment, SeenBlock, TxExplanation, TxOutcome,
};

/// Payments of one transaction that are explained.
const MAX_PAYMENTS: i64 = 50;
/// Chains that are looked at for a transaction that none was named for, or that the named one does not know.
const MAX_CHAINS: usize = 8;

/// How the block of a transaction stands to the chain that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// It is one of the kept headers.
    Ours,
    /// The chain is not read so far yet.
    Unread,
    /// Below the first block that is read.
    BeforeStart,
    /// Older than the headers that are kept: that it is of the chain is the endpoint's word.
    Old,
    /// Another block is kept at its height.
    OtherBranch,
}

impl Engine {
    /// Explains a transaction: as it is stored, or else by looking at the chain, and where that does not know it at the
    /// others that are configured.
    ///
    /// # Errors
    /// The named chain is not configured, or the database fails.
    pub async fn explain_tx(
        &self,
        looks: &dyn LookUp,
        named: Option<ChainId>,
        tx_hash: B256,
    ) -> Result<TxExplanation, EngineError> {
        let settings = self.inner.settings();
        if let Some(named) = named {
            settings.chain(named)?;
        }
        let known = self.known(&settings, named, tx_hash).await?;
        if let Some(explained) = known {
            return Ok(explained);
        }
        if let Some(named) = named {
            let look = looks.look(named, tx_hash).await;
            if look.as_deref() != Ok(&Look::Unknown) || self.was_stored(named, tx_hash).await? {
                return self.explain_look(&settings, named, tx_hash, look).await;
            }
        }
        let elsewhere = self.find(&settings, looks, named, tx_hash).await?;
        let chain = named.or_else(|| settings.chains.first().map(|chain| chain.id));
        Ok(match (named, elsewhere) {
            (None, Found::There(explained)) => *explained,
            (Some(named), Found::There(found)) => {
                TxExplanation::on_another(settings.chain(named)?, tx_hash, &found)
            }
            (_, Found::Nowhere(asked)) => {
                let detail = words::unknown(&asked);
                TxExplanation::of_nothing(&settings, chain, tx_hash, (TxOutcome::Unknown, detail))
            }
            (_, Found::Unsure(error)) => {
                TxExplanation::of_nothing(&settings, chain, tx_hash, words::unseen(error))
            }
        })
    }

    /// What is stored of a transaction in force: on the named chain, or on any.
    async fn known(
        &self,
        settings: &Settings,
        named: Option<ChainId>,
        tx_hash: B256,
    ) -> Result<Option<TxExplanation>, EngineError> {
        let mut snapshot = self.inner.store.begin_read().await?;
        let found = payments_of(&mut snapshot, named, tx_hash).await?;
        let in_force = |found: &&FoundPayment| found.payment.state != PaymentState::Orphaned;
        let Some(chain) = found.iter().find(in_force).map(|found| found.payment.key.chain) else {
            return Ok(None);
        };
        self.stored(&mut snapshot, settings, (chain, tx_hash), &found)
            .await
            .map(Some)
    }

    /// Whether a chain held a payment of a transaction once.
    async fn was_stored(&self, chain: ChainId, tx_hash: B256) -> Result<bool, EngineError> {
        let mut conn = self.inner.store.read().await?;
        Ok(!payments_of(&mut conn, Some(chain), tx_hash).await?.is_empty())
    }

    /// Looks for a transaction on the chains that were not named, a few at most.
    async fn find(
        &self,
        settings: &Settings,
        looks: &dyn LookUp,
        named: Option<ChainId>,
        tx_hash: B256,
    ) -> Result<Found, EngineError> {
        if let Some(explained) = self.known(settings, None, tx_hash).await? {
            return Ok(Found::There(Box::new(explained)));
        }
        let others = settings.chains.iter().filter(|chain| Some(chain.id) != named);
        let others: Vec<&config::Chain> = others.take(MAX_CHAINS).collect();
        let outcomes = join_all(others.iter().map(|chain| looks.look(chain.id, tx_hash))).await;
        let mut unsure = None;
        for (chain, outcome) in others.iter().zip(outcomes) {
            match outcome.as_deref() {
                Ok(Look::Unknown) => {}
                Ok(Look::Pending | Look::Mined(_)) => {
                    let explained = self.explain_look(settings, chain.id, tx_hash, outcome).await?;
                    return Ok(Found::There(Box::new(explained)));
                }
                Err(error) => unsure = Some(*error),
            }
        }
        let asked = settings.chains.iter().filter(|chain| Some(chain.id) == named);
        let asked = asked.chain(others).map(|chain| chain.name.clone());
        Ok(unsure.map_or_else(|| Found::Nowhere(asked.collect()), Found::Unsure))
    }

    /// What a look shows, beside what is stored of the same transaction.
    async fn explain_look(
        &self,
        settings: &Settings,
        chain: ChainId,
        tx_hash: B256,
        look: LookOutcome,
    ) -> Result<TxExplanation, EngineError> {
        let mut snapshot = self.inner.store.begin_read().await?;
        let found = payments_of(&mut snapshot, Some(chain), tx_hash).await?;
        let in_force = |found: &FoundPayment| found.payment.state != PaymentState::Orphaned;
        if found.iter().any(in_force) {
            // Its block was read while we looked.
            return self
                .stored(&mut snapshot, settings, (chain, tx_hash), &found)
                .await;
        }
        let mut explained = if found.is_empty() {
            TxExplanation::of_nothing(settings, Some(chain), tx_hash, words::nothing())
        } else {
            self.stored(&mut snapshot, settings, (chain, tx_hash), &found)
                .await?
        };
        let refunds = store::refunds_by_hash(&mut snapshot, chain, tx_hash).await?;
        explained.refunds = refunds.iter().map(RefundView::new).collect();
        let is_orphaned = !found.is_empty();
        let told = match look.as_deref() {
            Ok(Look::Mined(mined)) => {
                let row = store::chain_row(&mut snapshot, chain).await?;
                let relation = relation(&mut snapshot, row.as_ref(), chain, mined).await?;
                mined_as(
                    settings.chain(chain)?,
                    settings,
                    (mined, relation),
                    &mut explained,
                )
            }
            Ok(Look::Pending) => words::pending(),
            Ok(Look::Unknown) => (TxOutcome::Unknown, words::unknown(&[chain_name(settings, chain)])),
            Err(error) => words::unseen(*error),
        };
        let (outcome, detail) = match (told, is_orphaned, explained.refunds.first()) {
            ((_, detail), true, _) => (TxOutcome::Orphaned, words::orphaned(&detail)),
            ((_, detail), false, Some(refund)) => (TxOutcome::Refund, words::refund(refund, &detail)),
            (told, false, None) => told,
        };
        (explained.outcome, explained.detail) = (outcome, detail);
        Ok(explained)
    }
}

/// Where a transaction was found that the named chain does not know.
enum Found {
    There(Box<TxExplanation>),
    /// On none of these chains.
    Nowhere(Vec<String>),
    /// A chain could not be asked.
    Unsure(LookError),
}

fn chain_name(settings: &Settings, chain: ChainId) -> String {
    let known = settings.chain(chain);
    known.map_or_else(|_| chain.caip2(), |chain| chain.name.clone())
}

async fn payments_of(
    conn: &mut AnyConnection,
    chain: Option<ChainId>,
    tx_hash: B256,
) -> Result<Vec<FoundPayment>, EngineError> {
    let filter = PaymentFilter {
        chain,
        tx_hash: Some(tx_hash),
        ..PaymentFilter::default()
    };
    let mut found = store::search_payments(conn, &filter, None, MAX_PAYMENTS).await?;
    found.sort_by_key(|found| found.payment.key);
    Ok(found)
}

async fn relation(
    conn: &mut AnyConnection,
    row: Option<&ChainRow>,
    chain: ChainId,
    mined: &MinedTransaction,
) -> Result<Relation, EngineError> {
    let number = mined.block.number;
    let read = row.and_then(|row| row.heights.read);
    if read.is_none_or(|read| read.number < number) {
        return Ok(Relation::Unread);
    }
    let kept = store::header_at(conn, chain, number).await?;
    let starts = row.map_or(0, |row| row.start_number);
    Ok(match kept {
        Some(kept) if kept.block == mined.block => Relation::Ours,
        Some(_) => Relation::OtherBranch,
        None if number < starts => Relation::BeforeStart,
        None => Relation::Old,
    })
}

/// Puts what a look shows into an explanation, and says what it comes to.
fn mined_as(
    chain: &config::Chain,
    settings: &Settings,
    (mined, relation): (&MinedTransaction, Relation),
    explained: &mut TxExplanation,
) -> (TxOutcome, String) {
    // What cannot be tied to our own headers is no more than what the endpoint says.
    let level = match relation {
        Relation::Ours => mined.level,
        _ if mined.level == Level::None => Level::None,
        _ => Level::Asked,
    };
    explained.block = Some(SeenBlock::new(mined, level, relation == Relation::Ours));
    if relation == Relation::OtherBranch {
        return words::other_branch();
    }
    if mined.reverted {
        return words::reverted();
    }
    let Some(money) = settings.money(chain) else {
        return words::no_treasury(chain);
    };
    let examined = mined.logs.iter().map(|log| (log, ledger::examine(log, &money)));
    let mut examined: Vec<_> = examined.collect();
    examined.sort_by_key(|(log, examined)| (examined.finding, log.log_index));
    let nearest = examined.first().map(|(_, examined)| examined.clone());
    explained.take_logs(chain, &examined);
    match nearest {
        Some(nearest) if nearest.finding == Finding::Payment => words::unstored(relation, mined, chain),
        Some(nearest) => words::finding(&nearest, &money),
        None => words::no_transfer(),
    }
}
