//! The accepted tokens against their contracts: wrong decimals would sell everything at a millionth of its price.

use alloy::primitives::B256;
use alloy::sol;
use alloy::sol_types::SolCall;

use super::task::{Halt, SyncError};
use crate::chain::ChainReader;
use crate::config;
use crate::domain::Token;

sol!(Erc20, "abi/erc20.json");

/// Compares every accepted token with its contract in the state after the block `at`.
///
/// # Errors
/// A halt where a contract is missing or differs; else the chain could not be read.
pub(super) async fn check(reader: &ChainReader, settings: &config::Chain, at: B256) -> Result<(), SyncError> {
    for token in &settings.tokens {
        check_one(reader, token, at).await?;
    }
    Ok(())
}

async fn check_one(reader: &ChainReader, token: &Token, at: B256) -> Result<(), SyncError> {
    let name = format!("{} ({})", token.symbol, token.address);
    if reader.code(token.address).await?.is_empty() {
        return Err(Halt::Token(format!("{name} has no code on chain {}", token.chain)).into());
    }
    let answer = reader
        .call(token.address, Erc20::decimalsCall {}.abi_encode().into(), at)
        .await?;
    let decimals = Erc20::decimalsCall::abi_decode_returns(&answer)
        .map_err(|_| Halt::Token(format!("{name} does not say its decimals")))?;
    if decimals != token.decimals {
        let problem = format!(
            "{name} has {decimals} decimals; the configuration says {}",
            token.decimals
        );
        return Err(Halt::Token(problem).into());
    }
    let symbol = reader
        .call(token.address, Erc20::symbolCall {}.abi_encode().into(), at)
        .await;
    let symbol = symbol
        .ok()
        .and_then(|answer| Erc20::symbolCall::abi_decode_returns(&answer).ok());
    if symbol.as_deref() != Some(token.symbol.as_str()) {
        let found: String = symbol.unwrap_or_default().chars().take(32).collect();
        tracing::warn!(token = %token.address, configured = %token.symbol, ?found, "the token's symbol differs");
    }
    Ok(())
}
