//! Which log moves what is held of a contract, by the standards that its watch keeps (gates.md).
//!
//! Logs are the contract's own to write. What has the signature of a transfer and not its shape makes the contract's balances
//! unknown, as it may have moved anything; the work on one log is bounded by its length, or by [`MAX_CONSECUTIVE`].

use std::collections::HashMap;

use alloy::primitives::{Address, U256};

use super::decode::topic_address;
use crate::domain::{
    CONSECUTIVE_TRANSFER, Fault, LogEntry, ProvenBlock, Scope, Standard, TRANSFER, TRANSFER_BATCH,
    TRANSFER_SINGLE, TokenId,
};

/// The most tokens of a contract that one block's `ConsecutiveTransfer`s (EIP-2309) move one by one. Counted together there
/// may be as many as there are.
pub const MAX_CONSECUTIVE: u64 = 10_000;

/// One movement of what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Who has less after it; zero for a mint.
    pub from: Address,
    /// Who has more after it; zero for a burn.
    pub to: Address,
    /// By how much: base units, or tokens.
    pub quantity: U256,
    /// By whose events.
    pub standard: Standard,
    /// Of which token, where ids are kept.
    pub id: Option<TokenId>,
}

/// Hands on what a block's logs move of the contracts that `scope_of` knows, in their order. Returns those that went wrong.
pub fn holdings(
    block: &ProvenBlock,
    scope_of: impl Fn(&Address) -> Option<Scope>,
    mut each: impl FnMut(&Address, Moved),
) -> Vec<(Address, Fault)> {
    let mut faults = Vec::new();
    let mut room: HashMap<Address, u64> = HashMap::new();
    for log in &block.logs {
        let Some(scope) = scope_of(&log.address) else {
            continue;
        };
        let is_range = log.topics.first() == Some(&CONSECUTIVE_TRANSFER);
        let mut nothing = 0;
        let room = if is_range {
            room.entry(log.address).or_insert(MAX_CONSECUTIVE)
        } else {
            &mut nothing
        };
        if let Err(fault) = moved_by(log, scope, room, |moved| each(&log.address, moved)) {
            faults.push((log.address, fault));
        }
    }
    faults
}

/// Reads what a log moves, and hands each movement on. Other events, and those of standards that are not kept, move nothing.
///
/// # Errors
/// The log has the signature of a transfer and not its shape: nothing was handed on. Or it moves more tokens than are
/// counted one by one, of which `room` is left: they were handed on together.
fn moved_by(log: &LogEntry, scope: Scope, room: &mut u64, each: impl FnMut(Moved)) -> Result<(), Fault> {
    let Some(signature) = log.topics.first() else {
        return Ok(());
    };
    if *signature == TRANSFER {
        plain(log, scope, each)
    } else if *signature == CONSECUTIVE_TRANSFER && scope.has(Standard::Erc721) {
        consecutive(log, scope, room, each)
    } else if *signature == TRANSFER_SINGLE && scope.has(Standard::Erc1155) {
        single(log, scope, each)
    } else if *signature == TRANSFER_BATCH && scope.has(Standard::Erc1155) {
        batch(log, scope, each)
    } else {
        Ok(())
    }
}

/// `Transfer(address indexed, address indexed, uint256)` with the number in the data (EIP-20) or indexed (EIP-721).
fn plain(log: &LogEntry, scope: Scope, mut each: impl FnMut(Moved)) -> Result<(), Fault> {
    let (from, to, standard, number) = match (log.topics.as_slice(), log.data.len()) {
        ([_, from, to], 32) => (from, to, Standard::Erc20, U256::from_be_slice(&log.data)),
        ([_, from, to, id], 0) => (from, to, Standard::Erc721, U256::from_be_bytes(id.0)),
        _ if scope.has(Standard::Erc20) || scope.has(Standard::Erc721) => return Err(Fault::MalformedLog),
        _ => return Ok(()),
    };
    if !scope.has(standard) {
        return Ok(());
    }
    let address = |topic| topic_address(topic).ok_or(Fault::MalformedLog);
    let by_id = standard == Standard::Erc721;
    each(Moved {
        from: address(from)?,
        to: address(to)?,
        quantity: if by_id { U256::ONE } else { number },
        standard,
        id: (by_id && scope.keeps_ids()).then_some(TokenId(number)),
    });
    Ok(())
}

/// `ConsecutiveTransfer(uint256 indexed, uint256, address indexed, address indexed)`: each token from one to another, both
/// inclusive.
fn consecutive(
    log: &LogEntry,
    scope: Scope,
    room: &mut u64,
    mut each: impl FnMut(Moved),
) -> Result<(), Fault> {
    let ([_, first, from, to], 32) = (log.topics.as_slice(), log.data.len()) else {
        return Err(Fault::MalformedLog);
    };
    let (first, last) = (U256::from_be_bytes(first.0), U256::from_be_slice(&log.data));
    let (from, to) = topic_address(from)
        .zip(topic_address(to))
        .ok_or(Fault::MalformedLog)?;
    let above = last.checked_sub(first).ok_or(Fault::MalformedLog)?;
    // Nobody holds 2^256 tokens.
    let count = above.checked_add(U256::ONE).ok_or(Fault::MalformedLog)?;
    let moved = |quantity, id| Moved {
        from,
        to,
        quantity,
        standard: Standard::Erc721,
        id,
    };
    let fitting = u64::try_from(count).ok().filter(|count| *count <= *room);
    match fitting {
        Some(fitting) if scope.keeps_ids() => {
            *room -= fitting;
            for offset in 0..fitting {
                // Not above the last, which is below 2^256.
                let id = first.saturating_add(U256::from(offset));
                each(moved(U256::ONE, Some(TokenId(id))));
            }
            Ok(())
        }
        _ => {
            each(moved(count, None));
            if scope.keeps_ids() {
                Err(Fault::TooManyTokens)
            } else {
                Ok(())
            }
        }
    }
}

/// Who moved what of an ERC-1155: both events have operator, sender and recipient indexed.
fn parties(log: &LogEntry) -> Result<(Address, Address), Fault> {
    let [_, operator, from, to] = log.topics.as_slice() else {
        return Err(Fault::MalformedLog);
    };
    topic_address(operator).ok_or(Fault::MalformedLog)?;
    topic_address(from)
        .zip(topic_address(to))
        .ok_or(Fault::MalformedLog)
}

/// `TransferSingle(address indexed, address indexed, address indexed, uint256 id, uint256 value)`.
fn single(log: &LogEntry, scope: Scope, mut each: impl FnMut(Moved)) -> Result<(), Fault> {
    let (from, to) = parties(log)?;
    let ([id, quantity], []) = log.data.as_chunks::<32>() else {
        return Err(Fault::MalformedLog);
    };
    each(Moved {
        from,
        to,
        quantity: U256::from_be_bytes(*quantity),
        standard: Standard::Erc1155,
        id: scope.keeps_ids().then_some(TokenId(U256::from_be_bytes(*id))),
    });
    Ok(())
}

/// `TransferBatch(address indexed, address indexed, address indexed, uint256[] ids, uint256[] values)`.
fn batch(log: &LogEntry, scope: Scope, mut each: impl FnMut(Moved)) -> Result<(), Fault> {
    let (from, to) = parties(log)?;
    let (ids, quantities) = (array(&log.data, 0)?, array(&log.data, 1)?);
    if ids.len() != quantities.len() {
        return Err(Fault::MalformedLog);
    }
    for (id, quantity) in ids.iter().zip(quantities) {
        each(Moved {
            from,
            to,
            quantity: U256::from_be_bytes(*quantity),
            standard: Standard::Erc1155,
            id: scope.keeps_ids().then_some(TokenId(U256::from_be_bytes(*id))),
        });
    }
    Ok(())
}

/// The array of words whose offset is the data's n-th word (Solidity's ABI), as long as all of it is there.
fn array(data: &[u8], n: usize) -> Result<&[[u8; 32]], Fault> {
    let number = |at: usize| -> Option<usize> {
        let word = data.get(at..at.checked_add(32)?)?;
        usize::try_from(U256::from_be_slice(word)).ok()
    };
    let find = || {
        let at = number(n.checked_mul(32)?)?;
        let first = at.checked_add(32)?;
        let words = data.get(first..first.checked_add(number(at)?.checked_mul(32)?)?)?;
        Some(words.as_chunks::<32>().0)
    };
    find().ok_or(Fault::MalformedLog)
}

#[cfg(test)]
mod tests;
