//! Gates, and the proof that a wallet is a user's.

use std::collections::BTreeSet;

use alloy::primitives::Address;
use serde_json::json;

use super::answers::Change;
use super::holdings::restart_watch;
use super::idempotency::{self, Idempotency, Idempotent};
use super::work::{Command, Origin, Work};
use super::{EngineError, parse_own, random_id};
use crate::access::{self, Lint};
use crate::domain::{ChainId, Gate, GateAction, GateId, Millis, Rule, TenantId, UserId, WalletLink};
use crate::store::{self, Nonce};
use crate::wallet::{self, Expected, SiweError};

/// The longest name or description of a gate, in characters.
const MAX_TEXT: usize = 200;

/// The most gates of one tenant.
const MAX_GATES: usize = 1_000;

/// The most wallets of one user.
const MAX_WALLETS: usize = 50;

/// No chain is this high, and every database holds it.
const MAX_BLOCK: u64 = 1 << 53;

/// The first block of a contract may be this far above what is read: it may be younger than our last look.
const MAX_AHEAD: u64 = 1_000;

/// Nonces of one user: one more, and the oldest is forgotten.
const MAX_NONCES: i64 = 20;

/// Used and expired nonces are forgotten after a day.
const FORGET_NONCES_MS: i64 = 24 * 60 * 60 * 1000;

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

/// Gives a user a nonce for one proof.
#[derive(Debug, Clone)]
pub struct IssueNonce {
    /// Who asks, for the audit.
    pub origin: Origin,
    /// The user's tenant.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
}

/// A nonce, and what a message must say with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedNonce {
    /// The nonce.
    pub nonce: String,
    /// The domain that the message must name.
    pub domain: String,
    /// The URI that the message must name.
    pub uri: String,
    /// The chains that the message may name.
    pub chains: Vec<ChainId>,
    /// Until when it may be used.
    pub expires_at: Millis,
}

impl Command for IssueNonce {
    type Output = IssuedNonce;

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<IssuedNonce, EngineError> {
        let settings = work.settings;
        let ttl_ms = i64::try_from(settings.wallets.nonce_ttl.as_millis()).unwrap_or(i64::MAX);
        let text = random_id("")?;
        let nonce = Nonce {
            tenant: self.tenant.clone(),
            user: self.user.clone(),
            expires_at: work.now.saturating_add(ttl_ms),
            used_at: None,
        };
        work.tx
            .insert_nonce(&text, &nonce, (work.now - FORGET_NONCES_MS, MAX_NONCES - 1))
            .await?;
        Ok(IssuedNonce {
            nonce: text,
            domain: settings.wallets.domain.clone(),
            uri: settings.wallets.uri.clone(),
            chains: settings.chains.iter().map(|chain| chain.id).collect(),
            expires_at: nonce.expires_at,
        })
    }
}

/// Links a wallet to the user whose nonce its owner signed.
#[derive(Debug, Clone)]
pub struct LinkWallet {
    /// Who asks, for the audit.
    pub origin: Origin,
    /// The user's tenant.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// The EIP-4361 message.
    pub message: String,
    /// Its signature, 65 bytes in hexadecimal.
    pub signature: String,
}

impl Command for LinkWallet {
    type Output = WalletLink;

    fn origin(&self) -> Origin {
        self.origin.clone()
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<WalletLink, EngineError> {
        let unknown = || EngineError::invalid("message", "names a nonce that is unknown, used, or expired");
        let text = wallet::nonce_of(&self.message).map_err(|error| refused(&error))?;
        let nonce = store::nonce(work.tx.conn(), &text).await?.ok_or_else(unknown)?;
        let ours = nonce.tenant == self.tenant && nonce.user == self.user;
        if !ours || nonce.used_at.is_some() || nonce.expires_at <= work.now {
            return Err(unknown());
        }
        let address = self.verify(work, &text)?;
        if !work.tx.use_nonce(&text, work.now).await? {
            return Err(unknown());
        }
        self.link(work, address, &text).await
    }
}

/// The signature is judged last: any other fault is the message's.
fn refused(error: &SiweError) -> EngineError {
    let of_signature = matches!(
        error,
        SiweError::SignatureNotHex
            | SiweError::SignatureLength
            | SiweError::RecoveryId
            | SiweError::HighS
            | SiweError::NotThisKey
    );
    let field = if of_signature { "signature" } else { "message" };
    EngineError::invalid(field, format!("is refused: {error}"))
}

impl LinkWallet {
    fn verify(&self, work: &Work<'_>, nonce: &str) -> Result<Address, EngineError> {
        let settings = work.settings;
        let chain_ids: Vec<ChainId> = settings.chains.iter().map(|chain| chain.id).collect();
        let expected = Expected {
            domain: &settings.wallets.domain,
            uri: &settings.wallets.uri,
            chains: &chain_ids,
            nonce,
            nonce_lifetime: settings.wallets.nonce_ttl,
            now: work.now,
        };
        wallet::verify(&self.message, &self.signature, &expected).map_err(|error| refused(&error))
    }

    async fn link(
        &self,
        work: &mut Work<'_>,
        address: Address,
        nonce: &str,
    ) -> Result<WalletLink, EngineError> {
        if let Some(known) = store::wallet_link(work.tx.conn(), &self.tenant, address).await? {
            if known.user == self.user {
                return Ok(known);
            }
            return Err(EngineError::Conflict {
                code: "WALLET_TAKEN",
                problem: "this wallet is linked to another user".to_owned(),
            });
        }
        let linked = store::wallet_links_of(work.tx.conn(), &self.tenant, &self.user).await?;
        if linked.len() >= MAX_WALLETS {
            return Err(EngineError::Conflict {
                code: "TOO_MANY_WALLETS",
                problem: format!("a user has at most {MAX_WALLETS} wallets"),
            });
        }
        let link = WalletLink {
            tenant: self.tenant.clone(),
            user: self.user.clone(),
            address,
            linked_at: work.now,
        };
        work.tx.insert_wallet_link(&link).await?;
        let after = json!({"tenantId": link.tenant, "userId": link.user, "nonce": nonce});
        work.audit("wallet.link", format!("wallet:{address}"), (None, Some(after)))
            .await?;
        work.publish(Change::Wallet(link.clone()));
        Ok(link)
    }
}
