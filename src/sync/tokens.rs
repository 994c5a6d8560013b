//! The accepted tokens against their contracts: wrong decimals would sell everything at a millionth of its price.

use alloy::primitives::{Address, B256, U256};
use alloy::sol;
use alloy::sol_types::{Eip712Domain, SolCall};

use super::task::{Halt, SyncError};
use crate::chain::{ChainError, ChainReader};
use crate::config;
use crate::domain::{ChainId, Token, TokenDomain};

sol!(Erc20, "abi/erc20.json");
sol!(Eip3009, "abi/eip3009.json");

/// The longest symbol that is shown.
const MAX_SYMBOL_CHARS: usize = 32;

/// The longest name or version that is signed with, in bytes.
const MAX_DOMAIN_BYTES: usize = 128;

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
        let decimals = ask(reader, address, Erc20::decimalsCall {}, at).await?;
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

/// By what signatures name those of the accepted tokens that take authorizations, in the order of their addresses.
///
/// # Errors
/// The chain could not be read.
pub(super) async fn domains(
    reader: &ChainReader,
    settings: &config::Chain,
    at: B256,
) -> Result<Vec<TokenDomain>, ChainError> {
    let mut domains = Vec::new();
    for token in &settings.tokens {
        domains.extend(domain(reader, token, at).await?);
    }
    domains.sort_by_key(|domain| domain.token);
    Ok(domains)
}

/// What the contract says, if it takes authorizations (EIP-3009) and its separator, where it shows one, is of just that: what
/// is signed for another name is worth nothing.
async fn domain(reader: &ChainReader, token: &Token, at: B256) -> Result<Option<TokenDomain>, ChainError> {
    let nobody = Eip3009::authorizationStateCall {
        authorizer: Address::ZERO,
        nonce: B256::ZERO,
    };
    if ask(reader, token.address, nobody, at).await?.is_none() {
        return Ok(None);
    }
    let name = ask(reader, token.address, Eip3009::nameCall {}, at).await?;
    let version = ask(reader, token.address, Eip3009::versionCall {}, at).await?;
    let separator = ask(reader, token.address, Eip3009::DOMAIN_SEPARATORCall {}, at).await?;
    let (Some(name), Some(version)) = (name, version) else {
        return Ok(None);
    };
    let named = TokenDomain {
        token: token.address,
        name,
        version,
    };
    let is_short = named.name.len().max(named.version.len()) <= MAX_DOMAIN_BYTES;
    let is_true = separator.is_none_or(|separator| separator == separator_of(token.chain, &named));
    if !is_true {
        tracing::warn!(token = %token.address, "the token's separator is not of its name and version: no typed data is offered");
    }
    Ok((is_short && is_true).then_some(named))
}

/// EIP-712: of name, version, chain and contract.
fn separator_of(chain: ChainId, named: &TokenDomain) -> B256 {
    let domain = Eip712Domain::new(
        Some(named.name.clone().into()),
        Some(named.version.clone().into()),
        Some(U256::from(chain.0)),
        Some(named.token),
        None,
    );
    domain.separator()
}

/// What a contract answers; `None` where it gives no such answer.
pub(super) async fn ask<C: SolCall>(
    reader: &ChainReader,
    contract: Address,
    call: C,
    at: B256,
) -> Result<Option<C::Return>, ChainError> {
    match reader.call(contract, call.abi_encode().into(), at).await {
        Ok(answer) => Ok(C::abi_decode_returns(&answer).ok()),
        Err(error) if error.is_reverted() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{address, b256};

    use super::*;

    #[test]
    fn usdc_on_ethereum_has_its_published_separator() {
        let usdc = TokenDomain {
            token: address!("0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"),
            name: "USD Coin".to_owned(),
            version: "2".to_owned(),
        };
        let published = b256!("0x06c37168a7db5138defc7866392bb87a741f9b3d104deb5094588ce041cae335");
        assert_eq!(separator_of(ChainId(1), &usdc), published);
        assert_ne!(separator_of(ChainId(137), &usdc), published);
    }
}
