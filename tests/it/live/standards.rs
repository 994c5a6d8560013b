//! Each standard's own events, as contracts of every day emit them on a real anvil: mints, transfers to others and to
//! oneself, batches, ranges, burns, and a reorg over them.

use alloy::primitives::{Address, U256};
use tollgate::domain::{
    Aggregation, Amount, Contracts, Eligibility, Gap, GateId, IdMatch, IdRange, Reading, Rule, TokenId,
};

use super::world::{CHAIN, On, World};
use crate::harness::anvil::{Pass1155, PlainToken, RangeNft};

const FRIEND: Address = Address::repeat_byte(7);
const CONFIRMATIONS: u64 = 2;

fn number(number: u64) -> U256 {
    U256::from(number)
}

fn ids(ids: &[u64]) -> Vec<TokenId> {
    ids.iter().map(|id| TokenId(number(*id))).collect()
}

fn coins(contract: Address, at_least: u64) -> Rule {
    Rule::Erc20Balance {
        contracts: Contracts::one(CHAIN, contract),
        at_least: Some(Amount::from(at_least)),
        at_most: None,
        aggregation: Aggregation::Sum,
    }
}

fn passes(contract: Address, wanted: &[u64]) -> Rule {
    Rule::Erc1155Balance {
        contracts: Contracts::one(CHAIN, contract),
        ids: ids(wanted),
        at_least: Amount::from(1),
        id_match: IdMatch::Sum,
        aggregation: Aggregation::Sum,
    }
}

fn token(contract: Address, from: u64, to: u64) -> Rule {
    Rule::Erc721Token {
        contracts: Contracts::one(CHAIN, contract),
        ids: Vec::new(),
        ranges: vec![IdRange {
            from: ids(&[from])[0],
            to: ids(&[to])[0],
        }],
    }
}

fn read(world: &World, gate: &GateId, wallet: Address) -> Reading {
    world.decide(gate, wallet).decision.trace[0].reading
}

async fn wait_reading(world: &World, gate: &GateId, wallet: Address, wanted: u64) {
    world
        .wait_until("what is held", || {
            read(world, gate, wallet) == Reading::Known(number(wanted))
        })
        .await;
}

#[tokio::test]
async fn coins_are_counted_through_mint_transfer_burn_and_reorg() {
    let world = World::new(On::Sqlite, CONFIRMATIONS).await;
    let token = world.anvil.deploy("PlainToken").await;
    let gate = world.gate_of(coins(token, 300)).await;
    let payer = world.payer;
    let mint = PlainToken::mintCall {
        to: payer,
        value: number(1_000),
    };
    world.anvil.send(world.owner, token, mint).await;
    let give = |to, value| PlainToken::transferCall {
        to,
        value: number(value),
    };
    world.anvil.send(payer, token, give(payer, 400)).await;
    world.anvil.send(payer, token, give(FRIEND, 300)).await;
    let burn = PlainToken::burnCall { value: number(450) };
    world.anvil.send(payer, token, burn).await;
    world.anvil.mine(1).await;
    wait_reading(&world, &gate, payer, 250).await;
    world.wait_eligibility(&gate, FRIEND, Eligibility::Eligible).await;
    // The burn and the gift never were; a self transfer stays.
    world.anvil.rpc("anvil_reorg", serde_json::json!([3, []])).await;
    wait_reading(&world, &gate, payer, 1_000).await;
    world
        .wait_eligibility(&gate, FRIEND, Eligibility::Ineligible)
        .await;
}

#[tokio::test]
async fn passes_are_counted_by_id_through_batches_and_a_reorg_of_one() {
    let world = World::new(On::Postgres, CONFIRMATIONS).await;
    let pass = world.anvil.deploy("Pass1155").await;
    let (owner, payer) = (world.owner, world.payer);
    let mint = Pass1155::mintBatchCall {
        to: payer,
        ids: vec![number(1), number(2)],
        values: vec![number(10), number(20)],
    };
    world.anvil.send(owner, pass, mint).await;
    world.anvil.mine(3).await;
    let first = world.gate_of(passes(pass, &[1])).await;
    let second = world.gate_of(passes(pass, &[2])).await;
    let all = world.gate_of(passes(pass, &[])).await;
    wait_reading(&world, &first, payer, 10).await;
    let one = Pass1155::mintCall {
        to: payer,
        id: number(1),
        value: number(5),
    };
    world.anvil.send(owner, pass, one).await;
    let give = |to, first: u64, second: u64| Pass1155::safeBatchTransferFromCall {
        from: payer,
        to,
        ids: vec![number(1), number(2)],
        values: vec![number(first), number(second)],
        data: Vec::new().into(),
    };
    world.anvil.send(payer, pass, give(payer, 3, 3)).await;
    world.anvil.send(payer, pass, give(FRIEND, 4, 6)).await;
    world.anvil.mine(1).await;
    wait_reading(&world, &second, FRIEND, 6).await;
    assert_eq!(read(&world, &first, payer), Reading::Known(number(11)));
    assert_eq!(read(&world, &all, payer), Reading::Known(number(25)));
    // The batch to the friend is undone, and half of it comes back in another block.
    world.anvil.rpc("anvil_reorg", serde_json::json!([2, []])).await;
    wait_reading(&world, &first, payer, 15).await;
    assert_eq!(read(&world, &second, FRIEND), Reading::Known(U256::ZERO));
    let single = Pass1155::safeTransferFromCall {
        from: payer,
        to: FRIEND,
        id: number(2),
        value: number(3),
        data: Vec::new().into(),
    };
    world.anvil.send(payer, pass, single).await;
    let burn = Pass1155::burnCall {
        account: payer,
        id: number(1),
        value: number(15),
    };
    world.anvil.send(payer, pass, burn).await;
    world.anvil.mine(1).await;
    wait_reading(&world, &first, payer, 0).await;
    wait_reading(&world, &second, FRIEND, 3).await;
    wait_reading(&world, &all, payer, 17).await;
}

#[tokio::test]
async fn tokens_minted_by_ranges_before_the_gate_are_followed_by_id() {
    let mut world = World::new(On::Sqlite, CONFIRMATIONS).await;
    let nft = world.anvil.deploy("RangeNft").await;
    world.anvil.mine(3).await;
    let owner = world.owner;
    let counted = world.gate(nft).await;
    wait_reading(&world, &counted, owner, 100).await;
    // By id it is read again, while the chain goes on.
    let last = world.gate_of(token(nft, 99, 99)).await;
    let give = |id| RangeNft::transferFromCall {
        from: owner,
        to: FRIEND,
        id: number(id),
    };
    world.anvil.send(owner, nft, give(99)).await;
    world.anvil.mine(1).await;
    wait_reading(&world, &last, FRIEND, 1).await;
    wait_reading(&world, &counted, owner, 99).await;
    let burn = RangeNft::burnCall { id: number(5) };
    world.anvil.send(owner, nft, burn).await;
    world.anvil.mine(1).await;
    wait_reading(&world, &counted, owner, 98).await;
    world.restart().await;
    let fifth = world.gate_of(token(nft, 5, 5)).await;
    wait_reading(&world, &fifth, owner, 0).await;
    assert_eq!(read(&world, &last, FRIEND), Reading::Known(U256::ONE));
    // A gate that goes takes nothing from the others.
    let delete = tollgate::engine::DeleteGate {
        origin: tollgate::engine::Origin {
            actor: "test".to_owned(),
            cause: "test".to_owned(),
        },
        tenant: "acme".parse().unwrap(),
        id: last,
    };
    world.engine.execute(delete).await.unwrap();
    world.anvil.send(owner, nft, give(6)).await;
    world.anvil.mine(1).await;
    wait_reading(&world, &counted, FRIEND, 2).await;
}

#[tokio::test]
async fn where_there_is_no_contract_or_one_of_another_standard_nothing_is_known() {
    let world = World::new(On::Sqlite, CONFIRMATIONS).await;
    let nobody = world.gate_of(coins(Address::repeat_byte(0x99), 1)).await;
    let token = world.anvil.deploy("PlainToken").await;
    let mint = PlainToken::mintCall {
        to: world.payer,
        value: number(5),
    };
    world.anvil.send(world.owner, token, mint).await;
    let mistaken = world.gate(token).await;
    let right = world.gate_of(coins(world.usdc, 1)).await;
    world.anvil.mine(1).await;
    world
        .wait_eligibility(&right, world.payer, Eligibility::Eligible)
        .await;
    for gate in [nobody, mistaken] {
        world
            .wait_until("its past", || {
                read(&world, &gate, world.payer) == Reading::Unknown(Gap::NoTransfers)
            })
            .await;
    }
}
