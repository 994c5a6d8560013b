//! The history that is read: blocks full of `Transfer` logs of `anvil-fixtures/contracts/BatchEmitter.sol`, and the balances
//! that its formula says they must leave.

use std::collections::HashMap;

use alloy::primitives::{Address, U256, keccak256};
use alloy::sol;
use serde::{Deserialize, Serialize};

use super::Outcome;
use super::anvil::{Anvil, quantity};

sol! {
    interface BatchEmitter {
        function mintHolders(uint256 first, uint256 count) external;
        function emitTransfers(uint256 seed, uint256 count, uint256 holders) external;
        function fillBloom(uint256 n) external;
    }
}

const HOLDERS: u64 = 10_000;
const LOGS_PER_BLOCK: u64 = 250;
/// One block's logs take about 765 000.
const GAS: u64 = 2_000_000;
/// "holder" in ASCII.
const HOLDER_TAG: u64 = 0x686f_6c64_6572;

/// A filled chain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Emitted {
    pub contract: Address,
    /// The block of its deployment.
    pub from: u64,
    /// The last block.
    pub to: u64,
    /// Blocks of transfers; their seeds count from 1.
    transfer_blocks: u64,
}

impl Emitted {
    /// All logs: a mint for each holder, and the transfers.
    pub const fn logs(&self) -> u64 {
        HOLDERS + self.transfer_blocks * LOGS_PER_BLOCK
    }

    /// What each holder must have, and nobody else anything.
    pub fn balances(&self) -> HashMap<Address, U256> {
        let holders: Vec<Address> = (0..HOLDERS).map(holder).collect();
        let endowment = U256::from(1) << 64;
        let mut balances: HashMap<Address, U256> =
            holders.iter().map(|holder| (*holder, endowment)).collect();
        let places = U256::from(HOLDERS);
        let low64 = |number: U256| number & U256::from(u64::MAX);
        let at = |index: U256| holders.get(index.to::<usize>()).copied().unwrap_or_default();
        for seed in 1..=self.transfer_blocks {
            for k in 0..LOGS_PER_BLOCK {
                let random = hash(seed, k);
                let from = low64(random) % places;
                let to = (from + U256::from(1) + low64(random >> 64) % (places - U256::from(1))) % places;
                let value = U256::from(1) + low64(random >> 128) % U256::from(65_535);
                *balances.entry(at(from)).or_default() -= value;
                *balances.entry(at(to)).or_default() += value;
            }
        }
        balances
    }
}

fn hash(a: u64, b: u64) -> U256 {
    let mut words = [0; 64];
    words[24..32].copy_from_slice(&a.to_be_bytes());
    words[56..].copy_from_slice(&b.to_be_bytes());
    U256::from_be_bytes(keccak256(words).0)
}

fn holder(index: u64) -> Address {
    Address::from_word(hash(HOLDER_TAG, index).into())
}

/// Deploys the contract and fills `transfer_blocks` blocks after those of the mints. The chain must not mine by itself.
pub async fn fill(anvil: &Anvil, transfer_blocks: u64) -> Outcome<Emitted> {
    let accounts = anvil.accounts().await?;
    let owner = *accounts.first().ok_or("anvil has no accounts")?;
    let deployed = anvil.send_code(owner, "BatchEmitter").await?;
    anvil.mine().await?;
    let receipt = anvil.receipt(&deployed).await?;
    let contract: Address = serde_json::from_value(receipt["contractAddress"].clone())?;
    let from = quantity(&receipt["blockNumber"])?;
    let count = U256::from(LOGS_PER_BLOCK);
    for first in (0..HOLDERS).step_by(usize::try_from(LOGS_PER_BLOCK)?) {
        let first = U256::from(first);
        anvil
            .send(
                owner,
                contract,
                &BatchEmitter::mintHoldersCall { first, count },
                Some(GAS),
            )
            .await?;
        anvil.mine().await?;
    }
    let holders = U256::from(HOLDERS);
    for seed in 1..=transfer_blocks {
        let call = BatchEmitter::emitTransfersCall {
            seed: U256::from(seed),
            count,
            holders,
        };
        anvil.send(owner, contract, &call, Some(GAS)).await?;
        anvil.mine().await?;
        if seed.is_multiple_of(250) {
            eprintln!("  {seed} of {transfer_blocks} blocks filled");
        }
    }
    let to = anvil.head().await?;
    let blocks = 1 + HOLDERS / LOGS_PER_BLOCK + transfer_blocks;
    if to + 1 != from + blocks {
        return Err(format!("the chain has {} blocks instead of {blocks}", to + 1 - from).into());
    }
    Ok(Emitted {
        contract,
        from,
        to,
        transfer_blocks,
    })
}
