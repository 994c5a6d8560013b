//! The past, read by ranges, from a node that leaves logs out or refuses a contract.

use alloy::primitives::{Address, U256};
use tollgate::domain::Eligibility;

use super::proxied::{CONFIRMATIONS, Proxied};
use super::world::World;
use crate::harness::anvil::MemberNft;
use crate::harness::proxy::Fault;

const LOGS: &[&str] = &["eth_getLogs"];

/// A contract with a member a block, all of them settled.
async fn members(world: &World, members: &[Address]) -> Address {
    let contract = world.anvil.deploy("MemberNft").await;
    for (id, to) in (1..).zip(members) {
        let id = U256::from(id);
        let mint = MemberNft::mintCall { to: *to, id };
        world.anvil.send(world.owner, contract, mint).await;
    }
    world.anvil.mine(CONFIRMATIONS).await;
    world.wait_read().await;
    contract
}

#[tokio::test]
async fn a_contract_that_cannot_be_read_holds_up_no_other() {
    let chain = Proxied::start("refused").await;
    let world = &chain.world;
    let member = Address::repeat_byte(7);
    let contracts = [members(world, &[member]).await, members(world, &[member]).await];
    let refuse = |contract: Address| {
        let refusal = Fault::Error(-32000, "internal error").of(LOGS);
        chain.proxy.inject(refusal.containing(&contract.to_string()))
    };
    let [first_refusal, second_refusal] = contracts.map(refuse);
    let (first, second) = (world.gate(contracts[0]).await, world.gate(contracts[1]).await);
    // Whichever is read first, both are asked for: neither waits for the other.
    let both = || first_refusal.strikes() > 0 && second_refusal.strikes() > 0;
    world.wait_until("both refusals", both).await;
    first_refusal.lift();
    world
        .wait_eligibility(&first, member, Eligibility::Eligible)
        .await;
    assert_eq!(
        world.decide(&second, member).decision.eligibility,
        Eligibility::Unknown
    );
    second_refusal.lift();
    world
        .wait_eligibility(&second, member, Eligibility::Eligible)
        .await;
}

#[tokio::test]
async fn a_past_without_its_logs_is_proven_by_receipts() {
    for (name, fault) in [
        ("no-logs-past", Fault::Empty),
        ("no-first-log-past", Fault::DropFirstLog),
    ] {
        let chain = Proxied::start(name).await;
        let world = &chain.world;
        let holders = [7, 8, 9].map(Address::repeat_byte);
        let contract = members(world, &holders).await;
        let fault = chain.proxy.inject(fault.of(LOGS));
        let gate = world.gate(contract).await;
        for holder in holders {
            world.wait_eligibility(&gate, holder, Eligibility::Eligible).await;
        }
        world
            .wait_eligibility(&gate, Address::repeat_byte(1), Eligibility::Ineligible)
            .await;
        assert!(fault.lift() > 0, "{name}");
    }
}

#[tokio::test]
async fn a_long_gap_without_its_logs_is_proven_by_receipts() {
    let mut chain = Proxied::start("gap").await;
    let charges = [chain.world.charge("one").await, chain.world.charge("two").await];
    chain.world.stop().await;
    let fault = chain.proxy.inject(Fault::Empty.of(LOGS));
    chain.world.anvil.mine(20).await;
    let member = chain.move_all(&charges).await;
    chain.world.anvil.mine(40).await;
    chain.world.start().await;
    for charge in &charges {
        chain.is_paid(charge).await;
    }
    chain.member_is(member, Eligibility::Eligible).await;
    assert!(fault.lift() > 0);
}
