//! Contracts that are watched, and what their balances should be.

use std::collections::BTreeMap;

use alloy::primitives::{Address, U256};
use serde_json::json;
use tollgate::domain::{
    Aggregation, Amount, ChainId, Contracts, Gap, GateAction, ProvenBlock, Reading, Rule,
};
use tollgate::engine::{
    ActivateWatches, CreateGate, Engine, EngineError, FoldHistory, Idempotent, RestartHistory,
};
use tollgate::ledger;
use tollgate::store::Watch;

use super::facts::balance;
use super::world::{CHAIN, World, origin, tenant};

pub const MEMBERS: Address = Address::repeat_byte(0x71);
pub const NOBODY: Address = Address::ZERO;

/// One ERC-721 token of a contract.
pub fn nfts(chain_id: ChainId, contract: Address) -> Rule {
    Rule::Erc721Balance {
        contracts: Contracts::one(chain_id, contract),
        at_least: Amount::from(1),
        aggregation: Aggregation::Sum,
    }
}

/// A gate that one token of `contract` opens.
pub fn gate_on(chain_id: ChainId, contract: Address) -> CreateGate {
    CreateGate {
        origin: origin(),
        tenant: tenant("acme"),
        name: "members".to_owned(),
        description: None,
        enabled: true,
        action: GateAction::GrantAccess,
        rule: nfts(chain_id, contract),
        from_block: None,
        view: |gate, _| json!({"id": gate.id}),
        idempotency: None,
    }
}

/// The balances of one contract after `blocks`, by the simplest means.
pub fn model(blocks: &[ProvenBlock], contract: Address) -> BTreeMap<Address, i64> {
    let mut held = BTreeMap::new();
    let transfers = blocks
        .iter()
        .flat_map(|block| block.logs.iter().filter_map(ledger::transfer));
    for transfer in transfers.filter(|transfer| transfer.contract == contract) {
        *held.entry(transfer.to).or_default() += 1;
        *held.entry(transfer.from).or_default() -= 1;
    }
    held
}

impl World {
    /// Makes a gate with this rule, its contracts watched from the chain's first block on.
    pub async fn make_gate(&self, rule: Rule) -> Idempotent {
        let command = CreateGate {
            rule,
            ..gate_on(CHAIN, MEMBERS)
        };
        self.engine.execute(command).await.unwrap()
    }

    /// Watches a contract from the chain's first block on.
    pub async fn watch(&self, contract: Address) -> Idempotent {
        self.engine.execute(gate_on(CHAIN, contract)).await.unwrap()
    }

    /// From the next block on the blocks bring these contracts' transfers.
    pub async fn activate(&self, contracts: &[Address]) -> Result<(), EngineError> {
        let read = self.engine.chain(CHAIN).unwrap().heights.read;
        let (chain, fence) = (CHAIN, self.fence);
        self.engine
            .execute(ActivateWatches {
                chain,
                fence,
                contracts: contracts.to_vec(),
                read,
            })
            .await
    }

    /// Folds blocks of a contract's past.
    pub async fn fold(&self, contract: Address, blocks: &[ProvenBlock]) -> Result<Watch, EngineError> {
        let (chain, fence) = (CHAIN, self.fence);
        self.engine
            .execute(FoldHistory {
                chain,
                fence,
                contract,
                scope: self.watch_of(contract).scope,
                blocks: blocks.to_vec(),
            })
            .await
    }

    /// Reads a contract's past again.
    pub async fn restart_history(&self, contract: Address) {
        let (chain, fence) = (CHAIN, self.fence);
        self.engine
            .execute(RestartHistory {
                chain,
                fence,
                contract,
            })
            .await
            .unwrap();
    }

    pub fn watch_of(&self, contract: Address) -> Watch {
        let watches = self.engine.watches(CHAIN);
        watches
            .into_iter()
            .find(|watch| watch.contract == contract)
            .unwrap()
    }

    /// The last block of a contract's past that could be folded now, if any.
    pub fn foldable(&self, contract: Address) -> Option<u64> {
        let watch = self.watch_of(contract);
        let last = watch.live_from?.checked_sub(1)?;
        (watch.next_number <= last).then_some(last)
    }

    /// Folds all of a contract's past, what is not settled too.
    pub async fn fold_all(&self, contract: Address) {
        if let Some(last) = self.foldable(contract) {
            let blocks = self.blocks.between(self.watch_of(contract).next_number, last);
            self.fold(contract, blocks).await.unwrap();
        }
    }

    /// A contract's balances are those of the settled blocks where its past is complete, and unknown where it is not.
    pub fn assert_balances(&self, engine: &Engine, contract: Address, holders: &[Address], context: &str) {
        let settled = engine.chain(CHAIN).unwrap().heights.settled;
        let expected = settled.map_or_else(BTreeMap::new, |settled| {
            model(self.blocks.between(1, settled.number), contract)
        });
        let is_complete = engine
            .watches(CHAIN)
            .iter()
            .any(|watch| watch.contract == contract && watch.is_complete());
        for holder in holders {
            let held = expected.get(holder).copied().unwrap_or_default();
            let known = Reading::Known(U256::from(held.unsigned_abs()));
            let should = if !is_complete || settled.is_none() {
                Reading::Unknown(Gap::NotRead)
            } else if expected.is_empty() {
                Reading::Unknown(Gap::NoTransfers)
            } else {
                known
            };
            assert_eq!(
                balance(engine, contract, *holder),
                should,
                "{context}: {contract} {holder}"
            );
        }
    }
}
