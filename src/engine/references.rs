//! References: the nonces that are offered with a charge, one after another (EIP-3009).

use alloy::primitives::B256;

use super::EngineError;
use super::work::Work;
use crate::domain::{ChargeTerms, Reference};
use crate::ledger;

/// Names the secret that all references are made from.
const SECRET: &str = "charge_reference";

/// Stores the `n`-th reference of a charge.
pub(super) async fn offer(work: &mut Work<'_>, terms: &ChargeTerms, n: u32) -> Result<B256, EngineError> {
    let mut fresh = B256::ZERO;
    getrandom::fill(fresh.as_mut_slice()).map_err(|_| EngineError::NoRandomness)?;
    let secret = work.tx.server_secret(SECRET, fresh).await?;
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
