//! Gates: made and removed.

use std::collections::BTreeSet;

use alloy::primitives::Address;

use super::answers::Change;
use super::holdings::restart_watch;
use super::idempotency::{self, Idempotency, Idempotent};
use super::work::{Command, Origin, Work};
use super::{EngineError, parse_own, random_id};
use crate::access::{self, Lint};
use crate::domain::{ChainId, Gate, GateAction, GateId, Rule, TenantId};
use crate::store;

/// The longest name or description of a gate, in characters.
const MAX_TEXT: usize = 200;

/// The most gates of one tenant.
const MAX_GATES: usize = 1_000;

/// No chain is this high, and every database holds it.
const MAX_BLOCK: u64 = 1 << 53;

/// The first block of a contract may be this far above what is read: it may be younger than our last look.
const MAX_AHEAD: u64 = 1_000;

/// Makes a gate, and watches the contracts that it needs.
#[derive(Debug, Clone)]
pub struct CreateGate {
    /// Who asks, for the audit.
    pub origin: Origin,
    /// Whose it is.
    pub tenant: TenantId,
    /// For people.
    pub name: String,
    /// For people.
    pub description: Option<String>,
    /// Whether it may answer eligible.
    pub enabled: bool,
    /// What it guards.
    pub action: GateAction,
    /// What must hold.
    pub rule: Rule,
    /// The first block that may hold a transfer of a contract that was never watched; the chain's own first block where
    /// it is left out.
    pub from_block: Option<u64>,
    /// How the answer is written.
    pub view: fn(&Gate, &[Lint]) -> serde_json::Value,
    /// The request's idempotency key.
    pub idempotency: Option<Idempotency>,
}

impl Command for CreateGate {
    type Output = Idempotent;

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    fn chains(&self) -> Vec<ChainId> {
        let chains: BTreeSet<ChainId> = access::needs(&self.rule).iter().map(|need| need.chain).collect();
        chains.into_iter().collect()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<Idempotent, EngineError> {
        if let Some(known) = idempotency::recall(work, self.idempotency.as_ref()).await? {
            return Ok(known);
        }
        self.check_texts()?;
        if work.engine.answers.gates(&self.tenant).len() >= MAX_GATES {
            return Err(EngineError::Conflict {
                code: "TOO_MANY_GATES",
                problem: format!("a tenant has at most {MAX_GATES} gates"),
            });
        }
        let lints = access::validate(&self.rule)
            .map_err(|error| EngineError::invalid("rule", format!("{}: {}", error.pointer, error.message)))?;
        for need in access::needs(&self.rule) {
            self.watch(work, need.chain, need.contract).await?;
        }
        let gate = Gate {
            id: parse_own(&random_id("gate_")?)?,
            tenant: self.tenant.clone(),
            name: self.name.clone(),
            description: self.description.clone(),
            enabled: self.enabled,
            action: self.action.clone(),
            rule: self.rule.clone(),
            created_at: work.now,
        };
        work.tx.insert_gate(&gate).await?;
        let answer = (self.view)(&gate, &lints);
        work.audit(
            "gate.create",
            format!("gate:{}", gate.id),
            (None, Some(answer.clone())),
        )
        .await?;
        work.publish(Change::Gate(Box::new(gate)));
        idempotency::remember(work, self.idempotency.as_ref(), answer).await
    }
}

impl CreateGate {
    /// A NUL is text to one database and not to the other, and no control character is for people.
    fn check_texts(&self) -> Result<(), EngineError> {
        let plain = |text: &str, spared: &[char]| {
            let unfit = |letter: char| letter.is_control() && !spared.contains(&letter);
            text.chars().count() <= MAX_TEXT && !text.contains(unfit)
        };
        if self.name.trim().is_empty() || !plain(&self.name, &[]) {
            let problem = format!("must be 1 to {MAX_TEXT} characters, on one line");
            return Err(EngineError::invalid("name", problem));
        }
        let description = self.description.as_deref().unwrap_or_default();
        if !plain(description, &['\n']) {
            let problem = format!("must be at most {MAX_TEXT} characters, none of them a control character");
            return Err(EngineError::invalid("description", problem));
        }
        Ok(())
    }

    async fn watch(&self, work: &mut Work<'_>, chain: ChainId, contract: Address) -> Result<(), EngineError> {
        let settings = work.settings.chain(chain)?;
        // Without a first block the balances of those who hold already would be missed, and answered as a no.
        let Some(from) = self.from_block.or(settings.start_block) else {
            return Err(EngineError::invalid(
                "fromBlock",
                format!("is needed on chain {chain}: the block in which {contract} was deployed"),
            ));
        };
        self.check_first_block(work, chain)?;
        if work.tx.insert_watch(chain, contract, from).await? {
            work.join(chain).await?;
            let watches = store::watches(work.tx.conn(), chain).await?;
            let watches = watches
                .into_iter()
                .filter(|watch| watch.contract == contract)
                .collect();
            work.publish(Change::Chain {
                chain,
                heights: None,
                balances: Vec::new(),
                watches,
            });
            work.published.watches_changed = true;
            return Ok(());
        }
        // Only who names an earlier block has what others rely on read again; a default says nothing of this contract.
        let known = work
            .engine
            .answers
            .watches(chain)
            .into_iter()
            .find(|watch| watch.contract == contract);
        if let (Some(known), Some(from)) = (known, self.from_block)
            && from < known.from_number
        {
            work.join(chain).await?;
            restart_watch(work, chain, contract, from).await?;
        }
        Ok(())
    }
}

impl CreateGate {
    /// A contract that is watched from a block yet to come would be answered for without those who hold it by then.
    fn check_first_block(&self, work: &Work<'_>, chain: ChainId) -> Result<(), EngineError> {
        let heights = work.engine.answers.chain(chain).map(|known| known.heights);
        let read = heights.and_then(|heights| heights.read).map(|read| read.number);
        let newest = read.map_or(MAX_BLOCK, |read| read.saturating_add(MAX_AHEAD));
        if self.from_block.is_none_or(|from| from <= newest) {
            return Ok(());
        }
        let problem = format!("is above block {newest} of chain {chain}: it must be a block that there is");
        Err(EngineError::invalid("fromBlock", problem))
    }
}

/// Removes a gate. Its contracts stay watched: another gate may need them.
#[derive(Debug, Clone)]
pub struct DeleteGate {
    /// Who asks, for the audit.
    pub origin: Origin,
    /// Whose it must be.
    pub tenant: TenantId,
    /// The gate.
    pub id: GateId,
}

impl Command for DeleteGate {
    type Output = ();

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        if !work.tx.delete_gate(&self.tenant, &self.id).await? {
            return Err(EngineError::NotFound("gate"));
        }
        work.audit("gate.delete", format!("gate:{}", self.id), (None, None))
            .await?;
        work.publish(Change::GateRemoved(self.tenant.clone(), self.id.clone()));
        Ok(())
    }
}
