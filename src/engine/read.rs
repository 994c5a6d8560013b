//! Answers. From memory wherever a chat message may wait for them; from the database where a person asks.

use std::sync::Arc;

use alloy::primitives::Address;

use super::answers::ChainAnswer;
use super::matching::Terms;
use super::view::{ChargeView, EntitlementView, SourceView};
use super::{Engine, EngineError, matching, references};
use crate::billing::{self, Check, CheckError, CheckOutcome};
use crate::domain::{
    BlockRef, ChainId, Charge, ChargeId, ChargeState, Entitlement, Flags, Gate, GateId, Grounds, Hindrance,
    Level, Millis, Payment, PaymentKey, PaymentState, TenantId, TokenDomain, UserId, WalletLink,
};
use crate::ledger;
use crate::store::{self, ChainRow, KeptHeader, Watch};

/// What a tenant has, and from which sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantView {
    /// What it has now.
    pub entitlement: EntitlementView,
    /// Its sources.
    pub sources: Vec<SourceView>,
    /// Counts its changes.
    pub sequence: i64,
}

/// A charge as it was read with its payments; without them where it changed too often to be one picture.
#[derive(Debug)]
pub(super) struct Looked {
    charge: Charge,
    payments: Option<Vec<Payment>>,
    /// By what signatures name its token, where it takes authorizations.
    domain: Option<TokenDomain>,
    moment: Moment,
}

/// What memory knows of a charge at one moment.
#[derive(Debug, Default)]
struct Moment {
    /// The height up to which its chain is read.
    read: Option<u64>,
    is_sighted: bool,
    /// What keeps everybody from paying it.
    hindrances: Vec<Hindrance>,
}

/// Looks at a charge that changes while it is looked at; after them it is shown without its payments.
const MAX_LOOKS: u32 = 8;

impl Engine {
    /// What a tenant has at `now`, from memory. A tenant without sources has the default plan.
    #[must_use]
    pub fn entitlement(&self, tenant: &TenantId, now: Millis) -> Entitlement {
        match self.inner.answers.tenant(tenant) {
            Some(known) if known.entitlement.valid_until.is_none_or(|until| now < until) => {
                known.entitlement.clone()
            }
            // Time has passed that the stored fold does not know of; the sources do.
            Some(known) => billing::fold(&known.sources, &self.inner.catalogue, now),
            None => billing::fold(&[], &self.inner.catalogue, now),
        }
    }

    /// What a tenant has at `now`, with its sources, from memory.
    #[must_use]
    pub fn tenant(&self, tenant: &TenantId, now: Millis) -> TenantView {
        let known = self.inner.answers.tenant(tenant);
        let sources = known
            .as_ref()
            .map(|known| known.sources.iter().map(SourceView::from).collect());
        TenantView {
            entitlement: EntitlementView::from(&self.entitlement(tenant, now)),
            sources: sources.unwrap_or_default(),
            sequence: known.map_or(0, |known| known.sequence),
        }
    }

    /// Whether a tenant may do something at `now`, from memory.
    ///
    /// # Errors
    /// The check names what the catalogue does not have.
    pub fn check(&self, tenant: &TenantId, check: &Check, now: Millis) -> Result<CheckOutcome, CheckError> {
        billing::check(&self.inner.catalogue, &self.entitlement(tenant, now), check)
    }

    /// One of a tenant's gates, from memory.
    #[must_use]
    pub fn gate(&self, tenant: &TenantId, id: &GateId) -> Option<Arc<Gate>> {
        self.inner.answers.gate(tenant, id)
    }

    /// A tenant's gates, from memory, oldest first.
    #[must_use]
    pub fn gates(&self, tenant: &TenantId) -> Vec<Arc<Gate>> {
        self.inner.answers.gates(tenant)
    }

    /// A user's proven wallets, from memory.
    #[must_use]
    pub fn wallets(&self, tenant: &TenantId, user: &UserId) -> Vec<Address> {
        self.inner.answers.wallets(tenant, user)
    }

    /// A user's proven wallets with when each was proven.
    ///
    /// # Errors
    /// The database fails.
    pub async fn wallet_links(
        &self,
        tenant: &TenantId,
        user: &UserId,
    ) -> Result<Vec<WalletLink>, EngineError> {
        let mut conn = self.inner.store.read().await?;
        Ok(store::wallet_links_of(&mut conn, tenant, user).await?)
    }

    /// How far a chain is, from memory.
    #[must_use]
    pub fn chain(&self, chain: ChainId) -> Option<ChainAnswer> {
        self.inner.answers.chain(chain)
    }

    /// The watched contracts of a chain, from memory.
    #[must_use]
    pub fn watches(&self, chain: ChainId) -> Vec<Watch> {
        self.inner.answers.watches(chain)
    }

    /// A charge as it stands, with what was streamed of it. `tenant` limits it to that tenant's own.
    ///
    /// # Errors
    /// There is no such charge, or the database fails.
    pub async fn charge(&self, id: &ChargeId, tenant: Option<&TenantId>) -> Result<ChargeView, EngineError> {
        Ok(self.show(&self.look(id, tenant).await?))
    }

    /// Reads a charge with its payments.
    pub(super) async fn look(&self, id: &ChargeId, tenant: Option<&TenantId>) -> Result<Looked, EngineError> {
        let mut conn = self.inner.store.read().await?;
        let ours = |charge: Option<Charge>| {
            let charge = charge.filter(|charge| tenant.is_none_or(|tenant| charge.terms.tenant == *tenant));
            charge.ok_or(EngineError::NotFound("charge"))
        };
        let mut charge = ours(store::charge(&mut conn, id).await?)?;
        for _ in 0..MAX_LOOKS {
            let payments = store::payments_of_charge(&mut conn, id).await?;
            // Whoever sees a charge paid may ask at once what the tenant has.
            self.inner.caught_up().await;
            let moment = self.moment(&charge);
            let again = ours(store::charge(&mut conn, id).await?)?;
            // These are one picture only if the charge did not change while they were read: else an open one would be
            // shown with confirmations.
            if again.sequence == charge.sequence {
                return Ok(Looked {
                    domain: references::domain_of(&mut conn, &charge).await?,
                    charge,
                    payments: Some(payments),
                    moment,
                });
            }
            charge = again;
        }
        Ok(Looked {
            domain: references::domain_of(&mut conn, &charge).await?,
            charge,
            payments: None,
            moment: Moment::default(),
        })
    }

    fn moment(&self, charge: &Charge) -> Moment {
        let known = self.inner.answers.chain(charge.terms.chain).unwrap_or_default();
        Moment {
            read: known.heights.read.map(|read| read.number),
            hindrances: known.hindrances(charge.terms.token),
            is_sighted: self.inner.answers.is_sighted(&charge.terms.id),
        }
    }

    /// Brings what memory knows of a charge up to now.
    pub(super) fn look_again(&self, looked: &mut Looked) {
        looked.moment = self.moment(&looked.charge);
    }

    /// Shows a charge as it was looked at.
    pub(super) fn show(&self, looked: &Looked) -> ChargeView {
        let Looked {
            charge,
            payments,
            domain,
            moment,
        } = looked;
        let read = payments.as_ref().and(moment.read);
        let payments = payments.as_deref().unwrap_or_default();
        let mut view = ChargeView::new(&self.inner.settings(), charge, payments, read);
        if view.state == ChargeState::Open && moment.is_sighted {
            view.state = ChargeState::Detected;
        }
        view.with_authorization(charge, domain.as_ref())
            .hindered_by(&moment.hindrances)
    }

    /// A transfer was streamed: if it would settle exactly one open charge, that charge is shown as detected. Nothing is
    /// stored and nothing is credited; only a proven block does that.
    ///
    /// # Errors
    /// The database fails.
    pub async fn sight(
        &self,
        chain: ChainId,
        transfer: &crate::domain::Transfer,
        block: BlockRef,
    ) -> Result<bool, EngineError> {
        let settings = self.inner.settings();
        let Some(money) = settings.money(settings.chain(chain)?) else {
            return Ok(false);
        };
        let Some(amount) = ledger::is_payment(transfer, &money) else {
            return Ok(false);
        };
        let mut payments = [Payment {
            key: PaymentKey {
                chain,
                tx_hash: transfer.tx_hash,
                ordinal: 0,
            },
            state: PaymentState::Confirming,
            token: transfer.contract,
            payer: transfer.from,
            treasury: transfer.to,
            amount,
            block,
            block_time_ms: self.inner.clock.now_ms(),
            log_index: transfer.log_index,
            level: Level::Ranged,
            allocation: None,
            grounds: Grounds::default(),
            flags: Flags::default(),
        }];
        let mut conn = self.inner.store.read().await?;
        let terms = Terms {
            settings: &settings,
            catalogue: &self.inner.catalogue,
        };
        matching::judge(&mut conn, terms, &mut payments).await?;
        // The block may have been proven while we asked.
        let read = self
            .inner
            .answers
            .chain(chain)
            .and_then(|known| known.heights.read);
        let is_news = read.is_none_or(|read| read.number < block.number);
        let [payment] = payments;
        if let (Some((charge, _)), true) = (payment.allocation, is_news) {
            let shown = self.inner.answers.sight(charge.clone(), chain, block.number);
            self.inner.bells.ring(&[charge], &[]);
            return Ok(shown);
        }
        Ok(false)
    }

    /// What is stored of a chain, with its kept headers, lowest first. Memory is no older than that afterwards: what a commit
    /// of unknown outcome did is in it.
    ///
    /// # Errors
    /// The chain was never read, or the database fails.
    pub async fn stored_chain(&self, chain: ChainId) -> Result<(ChainRow, Vec<KeptHeader>), EngineError> {
        self.inner.make_sure().await?;
        let mut conn = self.inner.store.read().await?;
        let row = store::chain_row(&mut conn, chain)
            .await?
            .ok_or(EngineError::NotFound("chain"))?;
        Ok((row, store::headers(&mut conn, chain).await?))
    }

    /// The newest block that was read, as the database has it: its own time, and how many blocks were read since the newest
    /// that is settled in the lowest tier.
    ///
    /// # Errors
    /// The database fails.
    pub async fn newest_block(&self, chain: ChainId) -> Result<Option<(Millis, u64)>, EngineError> {
        let mut conn = self.inner.store.read().await?;
        let Some(row) = store::chain_row(&mut conn, chain).await? else {
            return Ok(None);
        };
        let Some(read) = row.heights.read else {
            return Ok(None);
        };
        let settled = row.heights.settled;
        let next = settled.map_or(row.start_number, |settled| settled.number + 1);
        let waiting = (read.number + 1).saturating_sub(next);
        let header = store::header_at(&mut conn, chain, read.number).await?;
        Ok(header.map(|header| (header.time_ms, waiting)))
    }

    /// Whether time alone has anything to change: a look that takes no write lock.
    ///
    /// # Errors
    /// The database fails.
    pub async fn has_deadlines(&self) -> Result<bool, EngineError> {
        let now = self.inner.clock.now_ms();
        let mut conn = self.inner.store.read().await?;
        let charges = store::charge_ids_due(&mut conn, now, 1).await?;
        let time_alone = !charges.is_empty() || !store::tenants_due(&mut conn, now, 1).await?.is_empty();
        Ok(time_alone || self.has_reminders(&mut conn).await?)
    }

    /// Closes the database, once what is under way is done.
    pub async fn close(&self) {
        self.inner.store.close().await;
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), EngineError> {
        self.oldest_owed().await.map(|_| ())
    }
}
