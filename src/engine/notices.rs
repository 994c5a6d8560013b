//! What hinders payments in tokens: read from proven blocks, and told by the contracts themselves at a start and after a
//! reorg. While anything holds, the token is not offered, and who watches is told of it.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use serde_json::json;

use super::answers::{ChainAnswer, Change};
use super::view::TokenView;
use super::work::{Command, Origin, Work};
use super::{EngineError, Inner};
use crate::config;
use crate::domain::{BlockRef, ChainId, Hindrance, Notice, ProvenBlock, Token};
use crate::ledger;
use crate::store;

/// The newest notice of each token and hindrance.
type Newest = BTreeMap<(Address, Hindrance), Notice>;

/// What a step changes of a chain's notices.
pub(super) struct Notices {
    before: Newest,
    now: Newest,
    /// Not stored yet; of one block the last.
    new: BTreeMap<(Address, Hindrance, u64), Notice>,
}

fn newest(notices: Vec<Notice>) -> Newest {
    let keyed = notices.into_iter();
    keyed
        .map(|notice| ((notice.token, notice.hindrance), notice))
        .collect()
}

impl Notices {
    pub(super) fn load(work: &Work<'_>, chain: ChainId) -> Self {
        let known = work.engine.answers.chain(chain).unwrap_or_default();
        let before = newest(known.notices);
        Self {
            now: before.clone(),
            before,
            new: BTreeMap::new(),
        }
    }

    /// What a contract said of itself after a later block stays in force over what is read below it.
    fn hear(&mut self, notice: Notice) {
        let key = (notice.token, notice.hindrance);
        let known = self.now.get(&key);
        if known.is_none_or(|known| known.block_number <= notice.block_number) {
            self.now.insert(key, notice);
        }
        self.new.insert((key.0, key.1, notice.block_number), notice);
    }

    /// Takes in what a block's logs say.
    pub(super) fn read(&mut self, chain: &config::Chain, block: &ProvenBlock) {
        let Some(treasury) = chain.treasury else {
            return;
        };
        for log in block.logs.iter().filter(|log| chain.token(log.address).is_some()) {
            if let Some((hindrance, holds)) = ledger::notice(log, treasury) {
                self.hear(Notice {
                    token: log.address,
                    hindrance,
                    block_number: block.header.number,
                    holds,
                });
            }
        }
    }

    /// Takes back what stood above `ancestor`.
    pub(super) async fn roll_back(
        &mut self,
        work: &mut Work<'_>,
        chain: ChainId,
        ancestor: u64,
    ) -> Result<(), EngineError> {
        if self.now.values().any(|notice| notice.block_number > ancestor) {
            work.tx.delete_notices_above(chain, ancestor).await?;
            self.now = newest(store::notices(work.tx.conn(), chain).await?);
        }
        Ok(())
    }

    /// Stores what is new, and tells of what begins and ends.
    pub(super) async fn store(self, work: &mut Work<'_>, chain: &config::Chain) -> Result<(), EngineError> {
        for notice in self.new.values() {
            work.tx.put_notice(chain.id, notice).await?;
        }
        if self.now == self.before {
            return Ok(());
        }
        for token in &chain.tokens {
            for hindrance in Hindrance::ALL {
                let key = (token.address, hindrance);
                let held = self.before.get(&key).is_some_and(|notice| notice.holds);
                let now = self.now.get(&key).filter(|notice| notice.holds);
                if held != now.is_some() {
                    tell(work, (chain, token), hindrance, now).await?;
                }
            }
        }
        work.publish(Change::Notices(chain.id, self.now.into_values().collect()));
        Ok(())
    }
}

/// Tells of something that begins with `now`, or ends.
async fn tell(
    work: &mut Work<'_>,
    (chain, token): (&config::Chain, &Token),
    hindrance: Hindrance,
    now: Option<&Notice>,
) -> Result<(), EngineError> {
    let kind = match (hindrance, now.is_some()) {
        (Hindrance::TokenPaused, true) => "token.paused",
        (Hindrance::TokenPaused, false) => "token.resumed",
        (Hindrance::TreasuryBlacklisted, true) => "treasury.blacklisted",
        (Hindrance::TreasuryBlacklisted, false) => "treasury.unblacklisted",
    };
    let name = token.address.to_checksum(None);
    tracing::warn!(chain = %chain.name, token = %token.symbol, event = kind, "what can be paid in changed");
    let resource = format!("token:{}:{name}", chain.id.caip2());
    let data = json!({
        "chainId": chain.id,
        "chain": chain.id.caip2(),
        "token": TokenView::from(token),
        "treasury": chain.treasury.map(|treasury| treasury.to_checksum(None)),
        "blockNumber": now.map(|notice| notice.block_number),
    });
    work.audit(kind, resource.clone(), (None, Some(data.clone())))
        .await?;
    work.owe(kind, resource, data).await
}

/// What the contracts of a chain's tokens say of themselves after a block: it holds whatever was missed below.
#[derive(Debug, Clone)]
pub struct HearTokens {
    /// The chain.
    pub chain: ChainId,
    /// Our fence.
    pub fence: i64,
    /// The block.
    pub block: BlockRef,
    /// By token, what it can tell of, and whether that holds.
    pub said: Vec<(Address, Hindrance, bool)>,
}

impl Command for HearTokens {
    type Output = ();

    fn origin(&self) -> Origin {
        Origin {
            actor: format!("chain:{}", self.chain),
            cause: format!("asked after block {} {}", self.block.number, self.block.hash),
        }
    }

    fn chains(&self) -> Vec<ChainId> {
        vec![self.chain]
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        work.lead(self.chain, self.fence).await?;
        let mut notices = Notices::load(work, self.chain);
        for (token, hindrance, holds) in &self.said {
            let known = notices.now.get(&(*token, *hindrance));
            if known.is_some_and(|known| known.holds) != *holds {
                notices.hear(Notice {
                    token: *token,
                    hindrance: *hindrance,
                    block_number: self.block.number,
                    holds: *holds,
                });
            }
        }
        let chain = work.settings.chain(self.chain)?;
        notices.store(work, chain).await
    }
}

impl ChainAnswer {
    /// Why nobody can pay in a token.
    #[must_use]
    pub fn hindrances(&self, token: Address) -> Vec<Hindrance> {
        let of_token = self.notices.iter().filter(|notice| notice.token == token);
        of_token
            .filter(|notice| notice.holds)
            .map(|notice| notice.hindrance)
            .collect()
    }
}

impl Inner {
    /// Refuses a token that nobody can pay in now.
    pub(super) fn check_payable(&self, token: &Token) -> Result<(), EngineError> {
        let known = self.answers.chain(token.chain).unwrap_or_default();
        let Some(hindrance) = known.hindrances(token.address).first().copied() else {
            return Ok(());
        };
        let Token { symbol, chain, .. } = token;
        let (code, problem) = match hindrance {
            Hindrance::TokenPaused => (
                "TOKEN_PAUSED",
                format!(
                    "{symbol} is paused by its issuer on chain {chain}: nobody can pay in it now; take another token"
                ),
            ),
            Hindrance::TreasuryBlacklisted => (
                "TREASURY_BLACKLISTED",
                format!(
                    "{symbol} refuses our treasury on chain {chain}: nobody can pay in it now; take another token"
                ),
            ),
        };
        Err(EngineError::Conflict { code, problem })
    }
}
