//! What a step lets count: each tier of the policy moves up to what the blocks, and what was heard beside them, show.
//!
//! Nothing is taken from what was heard but what stands among our own blocks, and no tier ever goes down by it.

use std::time::Duration;

use super::EngineError;
use super::chain::Step;
use super::payments::{evidence, subject};
use super::work::Work;
use crate::domain::{
    Agreement, BlockRef, Evidence, Facts, Finalized, Payment, PaymentState, ProvenBlock, Settled, Tier,
};
use crate::metrics;
use crate::store;

/// Our blocks at the heights that a policy may ask for.
struct Known(Vec<Settled>);

impl Known {
    fn at(&self, number: u64) -> Option<Settled> {
        self.0.iter().find(|known| known.block.number == number).copied()
    }

    /// The number of a block, if it is ours.
    fn ours(&self, block: Option<BlockRef>) -> Option<u64> {
        let block = block?;
        self.at(block.number)
            .filter(|known| known.block == block)
            .map(|_| block.number)
    }
}

impl Step<'_> {
    /// Moves every tier up to what it covers now, and lets it take effect.
    pub(super) async fn settle(
        &mut self,
        work: &mut Work<'_>,
        blocks: &[ProvenBlock],
    ) -> Result<(), EngineError> {
        let before = self.heights;
        if !self.is_quarantined {
            self.raise(work, blocks).await?;
        }
        if !self.is_stalled {
            self.heights.absent_ms = self.heights.settled_time_ms;
        }
        let places = 0..self.chain.finality.tiers().len();
        if places
            .into_iter()
            .any(|place| self.heights.settled_at(place) != before.settled_at(place))
        {
            self.confirm(work).await?;
        }
        let number = |settled: Option<BlockRef>| settled.map(|block| block.number);
        self.moves
            .settle(work, number(before.settled), number(self.heights.settled))
            .await
    }

    async fn raise(&mut self, work: &mut Work<'_>, blocks: &[ProvenBlock]) -> Result<(), EngineError> {
        let Some(read) = self.heights.read.map(|read| read.number) else {
            return Ok(());
        };
        let tiers = self.chain.finality.tiers();
        let aged = self.aged(work, blocks).await?;
        let mut known = self.known(work, blocks, read).await?;
        known.0.extend(aged.iter().flatten());
        let finalized = match self.evidence.finalized {
            Finalized::Block(block) => known.ours(Some(block)),
            Finalized::Untagged | Finalized::Unknown => None,
        };
        let agreed = match self.agreement() {
            Agreement::Unasked => Some(u64::MAX),
            Agreement::Nothing => None,
            Agreement::UpTo(block) => known.ours(Some(block)),
        };
        for (place, (tier, aged)) in tiers.iter().zip(aged).enumerate() {
            let covered = tier.covers(&Facts {
                read,
                safe: known.ours(self.evidence.safe),
                finalized,
                aged: aged.map(|aged| aged.block.number),
                agreed,
            });
            // None: the first blocks of a chain that is read from here on; there is nothing below them to settle.
            let covered = covered.and_then(|number| known.at(number));
            let settled = self.heights.settled_at(place);
            let height = |settled: Option<Settled>| settled.map(|settled| settled.block.number);
            if height(covered) > height(settled) {
                self.heights.settle_at(place, covered);
            }
        }
        let finalized = finalized
            .zip(agreed)
            .map(|(finalized, agreed)| finalized.min(agreed));
        self.finalize_up_to(
            finalized
                .and_then(|number| known.at(number))
                .map(|known| known.block),
        );
        Ok(())
    }

    /// One operator's word is not enough where the configuration asks for several.
    fn agreement(&self) -> Agreement {
        match self.evidence.agreement {
            Agreement::Unasked if self.chain.agree > 1 => Agreement::Nothing,
            agreement => agreement,
        }
    }

    /// Nothing below this block is undone any more. It never goes back by what is heard.
    pub(super) fn finalize_up_to(&mut self, block: Option<BlockRef>) {
        let number = |block: Option<BlockRef>| block.map(|block| block.number);
        if number(block) > number(self.heights.finalized) {
            self.heights.finalized = block;
        }
    }

    /// The newest block that has each tier's age.
    async fn aged(
        &self,
        work: &mut Work<'_>,
        blocks: &[ProvenBlock],
    ) -> Result<Vec<Option<Settled>>, EngineError> {
        let mut aged = Vec::new();
        for tier in self.chain.finality.tiers() {
            if tier.min_age.is_zero() {
                aged.push(None);
                continue;
            }
            let age_ms = i64::try_from(tier.min_age.as_millis()).unwrap_or(i64::MAX);
            let until = work.now.saturating_sub(age_ms);
            let of_step = blocks
                .iter()
                .rev()
                .map(settled)
                .find(|known| known.time_ms <= until);
            let kept = store::header_by_time(work.tx.conn(), self.chain.id, until).await?;
            let kept = kept.map(|kept| Settled {
                block: kept.block,
                time_ms: kept.time_ms,
            });
            aged.push(
                of_step
                    .into_iter()
                    .chain(kept)
                    .max_by_key(|known| known.block.number),
            );
        }
        Ok(aged)
    }

    async fn known(
        &self,
        work: &mut Work<'_>,
        blocks: &[ProvenBlock],
        read: u64,
    ) -> Result<Known, EngineError> {
        let first = blocks.first().map_or(u64::MAX, |block| block.header.number);
        let numbers = asked_for(self.chain.finality.tiers(), &self.evidence, read);
        let (of_step, stored): (Vec<u64>, Vec<u64>) =
            numbers.into_iter().partition(|number| *number >= first);
        let of_step = of_step.into_iter().filter_map(|number| {
            let index = usize::try_from(number - first).ok()?;
            blocks.get(index).map(settled)
        });
        let kept = store::headers_at(work.tx.conn(), self.chain.id, &stored).await?;
        let kept = kept.into_iter().map(|kept| Settled {
            block: kept.block,
            time_ms: kept.time_ms,
        });
        Ok(Known(of_step.chain(kept).collect()))
    }

    /// Payments whose own tier covers them count.
    pub(super) async fn confirm(&mut self, work: &mut Work<'_>) -> Result<(), EngineError> {
        let settled = self.heights;
        let height = |place: usize| settled.settled_at(place).map(|settled| settled.block.number);
        let highest = (0..self.chain.finality.tiers().len()).filter_map(height).max();
        let Some(highest) = highest.filter(|_| !self.is_quarantined) else {
            return Ok(());
        };
        let chain = self.chain.id;
        let mut waiting =
            store::payments_up_to(work.tx.conn(), chain, PaymentState::Confirming, highest).await?;
        waiting.retain(|payment| height(self.place_of(payment)) >= Some(payment.block.number));
        for payment in &mut waiting {
            payment.state = PaymentState::Confirmed;
        }
        work.tx.put_payments(&waiting).await?;
        for payment in waiting {
            let shown = evidence(&payment);
            work.audit("payment.confirm", subject(&payment.key), (None, Some(shown)))
                .await?;
            let lag_ms = work.now.saturating_sub(payment.block_time_ms).max(0);
            let lag = Duration::from_millis(u64::try_from(lag_ms).unwrap_or_default());
            let name = || self.chain.name.clone();
            ::metrics::histogram!(metrics::CHAIN_CONFIRMATION_LAG_SECONDS, "chain" => name()).record(lag);
            ::metrics::counter!(metrics::PAYMENT_CONFIRMED_TOTAL, "chain" => name()).increment(1);
            self.touched.extend(payment.concerns());
            self.confirmed = true;
        }
        Ok(())
    }

    /// Payments that count, and that can no longer be undone, are final.
    pub(super) async fn finalize(&mut self, work: &mut Work<'_>) -> Result<(), EngineError> {
        let Some(finalized) = self.heights.finalized else {
            return Ok(());
        };
        let chain = self.chain.id;
        let mut counting =
            store::payments_up_to(work.tx.conn(), chain, PaymentState::Confirmed, finalized.number).await?;
        for payment in &mut counting {
            payment.state = PaymentState::Final;
        }
        work.tx.put_payments(&counting).await?;
        for payment in counting {
            let shown = evidence(&payment);
            work.audit("payment.finalize", subject(&payment.key), (None, Some(shown)))
                .await?;
            self.touched.extend(payment.concerns());
        }
        Ok(())
    }

    /// The tier of a payment; the highest where its token is no longer configured.
    fn place_of(&self, payment: &Payment) -> usize {
        let finality = &self.chain.finality;
        let token = self.chain.token(payment.token);
        token.map_or(finality.tiers().len() - 1, |token| {
            finality.place_of(payment.amount, token.decimals)
        })
    }
}

fn settled(block: &ProvenBlock) -> Settled {
    Settled {
        block: block.header.block(),
        time_ms: block.header.time_ms(),
    }
}

/// The heights that the tiers may cover, and those of what was heard; none above what is read.
fn asked_for(tiers: &[Tier], evidence: &Evidence, read: u64) -> Vec<u64> {
    let agreed = match evidence.agreement {
        Agreement::UpTo(block) => Some(block),
        Agreement::Unasked | Agreement::Nothing => None,
    };
    let top = agreed.map_or(read, |agreed| agreed.number.min(read));
    let by_depth = |blocks: u64| (top + 1).checked_sub(blocks);
    let depths = tiers.iter().flat_map(|tier| {
        let depth = by_depth(tier.confirmations);
        depth.into_iter().chain(tier.or_confirmations.and_then(by_depth))
    });
    let finalized = match evidence.finalized {
        Finalized::Block(block) => Some(block),
        Finalized::Untagged | Finalized::Unknown => None,
    };
    let heard = [evidence.safe, finalized, agreed].into_iter().flatten();
    let mut numbers: Vec<u64> = depths.chain(heard.map(|block| block.number)).collect();
    numbers.retain(|number| *number <= read);
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}
