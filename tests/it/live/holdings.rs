//! Memberships of a real ERC-721, from before the gate existed and after.

use alloy::primitives::{Address, U256};
use tollgate::domain::Eligibility;

use super::world::{On, World};
use crate::harness::anvil::MemberNft;

async fn mint(world: &World, nft: Address, to: Address, id: u64) {
    world
        .anvil
        .send(
            world.owner,
            nft,
            MemberNft::mintCall {
                to,
                id: U256::from(id),
            },
        )
        .await;
}

#[tokio::test]
async fn a_gate_follows_a_membership_from_mint_to_transfer() {
    let world = World::new(On::Sqlite, 2).await;
    let nft = world.anvil.deploy("MemberNft").await;
    let member = Address::repeat_byte(7);
    mint(&world, nft, world.payer, 1).await;
    world.anvil.mine(30).await;
    let gate = world.gate(nft).await;
    // The history before the gate was made is folded.
    world
        .wait_eligibility(&gate, world.payer, Eligibility::Eligible)
        .await;
    world
        .wait_eligibility(&gate, member, Eligibility::Ineligible)
        .await;

    mint(&world, nft, member, 2).await;
    world.wait_read().await;
    assert_eq!(
        world.decide(&gate, member).decision.eligibility,
        Eligibility::Ineligible,
        "not settled yet"
    );
    world.anvil.mine(1).await;
    world.wait_eligibility(&gate, member, Eligibility::Eligible).await;
    let answer = world.decide(&gate, member);
    assert_eq!(answer.as_of[0].block, world.heights().settled.unwrap());

    let transfer = MemberNft::transferFromCall {
        from: world.payer,
        to: Address::repeat_byte(8),
        id: U256::from(1),
    };
    world.anvil.send(world.payer, nft, transfer).await;
    world.anvil.mine(1).await;
    world
        .wait_eligibility(&gate, world.payer, Eligibility::Ineligible)
        .await;
}

#[tokio::test]
async fn holdings_survive_a_restart_and_a_reorg() {
    let mut world = World::new(On::Sqlite, 3).await;
    let nft = world.anvil.deploy("MemberNft").await;
    let (early, late) = (Address::repeat_byte(7), Address::repeat_byte(8));
    let gate = world.gate(nft).await;
    mint(&world, nft, early, 1).await;
    world.anvil.mine(3).await;
    world.wait_eligibility(&gate, early, Eligibility::Eligible).await;
    mint(&world, nft, late, 2).await;
    world.anvil.mine(3).await;
    world.wait_eligibility(&gate, late, Eligibility::Eligible).await;
    world.restart().await;
    world.wait_eligibility(&gate, late, Eligibility::Eligible).await;
    // Settled, and taken back: the second mint is undone, the first stands.
    world.anvil.rpc("anvil_reorg", serde_json::json!([4, []])).await;
    world.wait_eligibility(&gate, late, Eligibility::Ineligible).await;
    world.wait_read().await;
    assert_eq!(
        world.decide(&gate, early).decision.eligibility,
        Eligibility::Eligible
    );
}
