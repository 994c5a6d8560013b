//! Gates: made, changed and removed.

use super::answers::Change;
use super::idempotency::{self, Idempotency, Idempotent};
use super::work::{Command, Origin, Work};
use super::{EngineError, parse_own, random_id, watching};
use crate::access::{self, Lint};
use crate::domain::{ChainId, Gate, GateAction, GateId, Rule, TenantId};
use crate::store;

/// The longest name or description of a gate, in characters.
const MAX_TEXT: usize = 200;

/// The most gates of one tenant.
const MAX_GATES: usize = 1_000;

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
        watching::chains(&self.rule)
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<Idempotent, EngineError> {
        if let Some(known) = idempotency::recall(work, self.idempotency.as_ref()).await? {
            return Ok(known);
        }
        check_texts(Some(&self.name), self.description.as_deref())?;
        if work.engine.answers.gates(&self.tenant).len() >= MAX_GATES {
            return Err(EngineError::Conflict {
                code: "TOO_MANY_GATES",
                problem: format!("a tenant has at most {MAX_GATES} gates"),
            });
        }
        let lints = sound(&self.rule)?;
        watching::watch_all(work, &self.rule, self.from_block).await?;
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

/// A NUL is text to one database and not to the other, and no control character is for people.
fn check_texts(name: Option<&str>, description: Option<&str>) -> Result<(), EngineError> {
    let plain = |text: &str, spared: &[char]| {
        let unfit = |letter: char| letter.is_control() && !spared.contains(&letter);
        text.chars().count() <= MAX_TEXT && !text.contains(unfit)
    };
    if name.is_some_and(|name| name.trim().is_empty() || !plain(name, &[])) {
        let problem = format!("must be 1 to {MAX_TEXT} characters, on one line");
        return Err(EngineError::invalid("name", problem));
    }
    if !plain(description.unwrap_or_default(), &['\n']) {
        let problem = format!("must be at most {MAX_TEXT} characters, none of them a control character");
        return Err(EngineError::invalid("description", problem));
    }
    Ok(())
}

fn sound(rule: &Rule) -> Result<Vec<Lint>, EngineError> {
    let problem = |error: access::RuleError| format!("{}: {}", error.pointer, error.message);
    access::validate(rule).map_err(|error| EngineError::invalid("rule", problem(error)))
}

/// Changes a gate; what is left out stays. Another rule's contracts are watched from now on, those of the old one still are.
#[derive(Debug, Clone)]
pub struct UpdateGate {
    /// Who asks, for the audit.
    pub origin: Origin,
    /// Whose it must be.
    pub tenant: TenantId,
    /// The gate.
    pub id: GateId,
    /// For people.
    pub name: Option<String>,
    /// For people; empty for none.
    pub description: Option<String>,
    /// Whether it may answer eligible.
    pub enabled: Option<bool>,
    /// What it guards.
    pub action: Option<GateAction>,
    /// What must hold.
    pub rule: Option<Rule>,
    /// As for [`CreateGate`].
    pub from_block: Option<u64>,
    /// How it is written in the record.
    pub view: fn(&Gate, &[Lint]) -> serde_json::Value,
}

impl Command for UpdateGate {
    type Output = Gate;

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    fn chains(&self) -> Vec<ChainId> {
        self.rule.as_ref().map(watching::chains).unwrap_or_default()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<Gate, EngineError> {
        check_texts(self.name.as_deref(), self.description.as_deref())?;
        let before = store::gate(work.tx.conn(), &self.tenant, &self.id).await?;
        let before = before.ok_or(EngineError::NotFound("gate"))?;
        if let Some(rule) = &self.rule {
            sound(rule)?;
            watching::watch_all(work, rule, self.from_block).await?;
        }
        let description = match self.description.as_deref() {
            None => before.description.clone(),
            Some(text) => Some(text.to_owned()).filter(|text| !text.is_empty()),
        };
        let gate = Gate {
            id: before.id.clone(),
            tenant: before.tenant.clone(),
            name: self.name.clone().unwrap_or_else(|| before.name.clone()),
            description,
            enabled: self.enabled.unwrap_or(before.enabled),
            action: self.action.clone().unwrap_or_else(|| before.action.clone()),
            rule: self.rule.clone().unwrap_or_else(|| before.rule.clone()),
            created_at: before.created_at,
        };
        if gate == before {
            return Ok(gate);
        }
        work.tx.update_gate(&gate).await?;
        let shown = |gate: &Gate| Some((self.view)(gate, &[]));
        let subject = format!("gate:{}", gate.id);
        work.audit("gate.update", subject, (shown(&before), shown(&gate)))
            .await?;
        work.publish(Change::Gate(Box::new(gate.clone())));
        Ok(gate)
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
