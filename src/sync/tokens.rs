//! The accepted tokens against their contracts: wrong decimals would sell everything at a millionth of its price.

use alloy::primitives::{Address, B256};
use alloy::sol;
use alloy::sol_types::SolCall;

use super::task::{Halt, SyncError};
use crate::chain::{ChainError, ChainReader};
use crate::config;
use crate::domain::Token;

sol!(Erc20, "abi/erc20.json");

/// The longest symbol that is shown.
const MAX_SYMBOL_CHARS: usize = 32;

/// What a contract says of itself. One node's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenContract {
    /// Whether there is any code at its address.
    pub has_code: bool,
    /// `decimals()`; `None` where it gives no such answer.
    pub decimals: Option<u8>,
    /// `symbol()`, cut; `None` where it gives no such answer.
    pub symbol: Option<String>,
}

impl TokenContract {
    /// Asks the contract at `address` in the state after the block `at`.
    ///
    /// # Errors
    /// It could not be asked.
    pub async fn read(reader: &ChainReader, address: Address, at: B256) -> Result<Self, ChainError> {
        if reader.code(address).await?.is_empty() {
            return Ok(Self {
                has_code: false,
                decimals: None,
                symbol: None,
            });
        }
        let decimals = reader
            .call(address, Erc20::decimalsCall {}.abi_encode().into(), at)
            .await;
        let decimals = match decimals {
            Ok(answer) => Erc20::decimalsCall::abi_decode_returns(&answer).ok(),
            Err(error) if error.is_reverted() => None,
            Err(error) => return Err(error),
        };
        let symbol = reader
            .call(address, Erc20::symbolCall {}.abi_encode().into(), at)
            .await;
        let symbol = symbol
            .ok()
            .and_then(|answer| Erc20::symbolCall::abi_decode_returns(&answer).ok());
        Ok(Self {
            has_code: true,
            decimals,
            symbol: symbol.map(|symbol| symbol.chars().take(MAX_SYMBOL_CHARS).collect()),
        })
    }

    /// The key of `token` that the contract contradicts, and in which words; a symbol may differ.
    #[must_use]
    pub fn fault(&self, token: &Token) -> Option<(&'static str, String)> {
        match self.decimals {
            _ if !self.has_code => Some(("address", format!("has no code on chain {}", token.chain))),
            None => Some(("address", "does not say its decimals".to_owned())),
            Some(decimals) if decimals != token.decimals => {
                let problem = format!(
                    "the contract has {decimals} decimals; the configuration says {}",
                    token.decimals
                );
                Some(("decimals", problem))
            }
            Some(_) => None,
        }
    }
}

/// Compares every accepted token with its contract in the state after the block `at`.
///
/// # Errors
/// A halt where a contract is missing or differs; else the chain could not be read.
pub(super) async fn check(reader: &ChainReader, settings: &config::Chain, at: B256) -> Result<(), SyncError> {
    for token in &settings.tokens {
        let contract = TokenContract::read(reader, token.address, at).await?;
        if let Some((_, problem)) = contract.fault(token) {
            return Err(Halt::Token(format!("{} ({}): {problem}", token.symbol, token.address)).into());
        }
        if contract.symbol.as_ref() != Some(&token.symbol) {
            let found = contract.symbol.unwrap_or_default();
            tracing::warn!(token = %token.address, configured = %token.symbol, ?found, "the token's symbol differs");
        }
    }
    Ok(())
}
