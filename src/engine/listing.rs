//! Lists for people and back offices, from the database: a page at a time, newest first.

use super::view::ChargeView;
use super::{Engine, EngineError};
use crate::domain::{ChargeId, Millis};
use crate::store::{self, ChargeFilter};

/// A page of a tenant's charges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargePage {
    /// Newest first.
    pub charges: Vec<ChargeView>,
    /// Where the next page begins: after this one. None where nothing follows.
    pub next: Option<(Millis, ChargeId)>,
}

impl Engine {
    /// A page of at most `limit` charges, from after the place where the one before it ended. All of it is one picture of
    /// the database, without what was only streamed.
    ///
    /// # Errors
    /// The database fails.
    pub async fn charges(
        &self,
        filter: &ChargeFilter,
        after: Option<&(Millis, ChargeId)>,
        limit: usize,
    ) -> Result<ChargePage, EngineError> {
        let mut snapshot = self.inner.store.begin_read().await?;
        // One more tells whether anything follows.
        let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let mut found = store::charges_of_tenant(&mut snapshot, filter, after, wanted).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let mut payments = Vec::with_capacity(found.len());
        for charge in &found {
            payments.push(store::payments_of_charge(&mut snapshot, &charge.terms.id).await?);
        }
        drop(snapshot);
        // Whoever sees a charge paid may ask at once what the tenant has.
        self.inner.caught_up().await;
        let settings = self.inner.settings();
        let views = found.iter().zip(&payments).map(|(charge, payments)| {
            let known = self.inner.answers.chain(charge.terms.chain).unwrap_or_default();
            let read = known.heights.read.map(|read| read.number);
            let view = ChargeView::new(&settings, charge, payments, read);
            view.hindered_by(&known.hindrances(charge.terms.token))
        });
        let last = found.last().map(|last| &last.terms);
        Ok(ChargePage {
            charges: views.collect(),
            next: last
                .filter(|_| more)
                .map(|last| (last.created_at, last.id.clone())),
        })
    }
}
