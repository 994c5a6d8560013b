//! References: the nonces that are offered with a charge, one after another (EIP-3009).

use alloy::primitives::B256;
use serde_json::json;

use super::EngineError;
use super::work::{Command, Origin, Work};
use crate::domain::{ChainId, Charge, ChargeId, ChargeTerms, Reference, TokenDomain};
use crate::ledger;
use crate::store;

/// Names the secret that all references are made from.
const SECRET: &str = "charge_reference";

/// Stores the first reference of a charge.
pub(super) async fn offer(work: &mut Work<'_>, terms: &ChargeTerms) -> Result<B256, EngineError> {
    let secret = secret(work).await?;
    offer_nth(work, terms, (secret, 0)).await
}

/// These references were seen in proven blocks: for each that is used for the first time its charge offers the next. They
/// name their charge as before: whoever pays by one, again or in place of another, pays for it.
pub(super) async fn use_up(work: &mut Work<'_>, mut used: Vec<Reference>) -> Result<(), EngineError> {
    used.retain(|reference| reference.used_at.is_none());
    if used.is_empty() {
        return Ok(());
    }
    // In one order, so that equal blocks are written alike.
    used.sort_by_key(|reference| reference.nonce);
    let secret = secret(work).await?;
    let ids: Vec<ChargeId> = used.iter().map(|reference| reference.charge.clone()).collect();
    let charges = store::charges(work.tx.conn(), &ids).await?;
    let mut offering = Vec::new();
    for mut reference in used {
        reference.used_at = Some(work.now);
        work.tx.put_reference(&reference).await?;
        let mut of_it = charges
            .iter()
            .filter(|charge| charge.reference == reference.nonce);
        if let Some(charge) = of_it.next() {
            let mut charge = charge.clone();
            charge.reference = offer_nth(work, &charge.terms, (secret, reference.n + 1)).await?;
            offering.push(charge);
        }
    }
    Ok(work.tx.update_charges(&offering).await?)
}

async fn secret(work: &mut Work<'_>) -> Result<B256, EngineError> {
    let mut fresh = B256::ZERO;
    getrandom::fill(fresh.as_mut_slice()).map_err(|_| EngineError::NoRandomness)?;
    Ok(work.tx.server_secret(SECRET, fresh).await?)
}

async fn offer_nth(
    work: &mut Work<'_>,
    terms: &ChargeTerms,
    (secret, n): (B256, u32),
) -> Result<B256, EngineError> {
    let reference = Reference {
        chain: terms.chain,
        token: terms.token,
        nonce: ledger::reference(secret, &terms.id, n),
        charge: terms.id.clone(),
        n,
        used_at: None,
    };
    work.tx.put_reference(&reference).await?;
    Ok(reference.nonce)
}

/// By what signatures name a charge's token, where it takes authorizations.
pub(super) async fn domain_of(
    conn: &mut sqlx::AnyConnection,
    charge: &Charge,
) -> Result<Option<TokenDomain>, EngineError> {
    let domains = store::token_domains(conn, charge.terms.chain).await?;
    let mut of_token = domains
        .into_iter()
        .filter(|domain| domain.token == charge.terms.token);
    Ok(of_token.next())
}

/// Learns by what signatures name a chain's tokens: those that take authorizations, as their contracts say.
#[derive(Debug, Clone)]
pub struct LearnDomains {
    /// The chain.
    pub chain: ChainId,
    /// In the order of their addresses; tokens that are not among them take none.
    pub domains: Vec<TokenDomain>,
}

impl Command for LearnDomains {
    type Output = ();

    fn origin(&self) -> Origin {
        Origin {
            actor: format!("chain:{}", self.chain),
            cause: "start".to_owned(),
        }
    }

    async fn run(&self, work: &mut Work<'_>) -> Result<(), EngineError> {
        let before = store::token_domains(work.tx.conn(), self.chain).await?;
        if before == self.domains {
            return Ok(());
        }
        work.tx.set_token_domains(self.chain, &self.domains).await?;
        let told = |domains: &[TokenDomain]| {
            let told = domains
                .iter()
                .map(|domain| json!({"token": domain.token, "name": domain.name, "version": domain.version}));
            told.collect()
        };
        let states = (Some(told(&before)), Some(told(&self.domains)));
        work.audit("chain.tokens", format!("chain:{}", self.chain), states)
            .await
    }
}
