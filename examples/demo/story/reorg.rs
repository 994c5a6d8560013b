//! Step 6: a payment that was not settled leaves with its block.

use serde_json::{Value, json};

use super::{PATIENCE, short};
use crate::anvil::{Receipt, TestUsdc};
use crate::api::Charge;
use crate::failure::{Outcome, ensure, until};
use crate::listener::Delivery;
use crate::print::Step;
use crate::stage::{CONFIRMATIONS, World};

const TENANT: &str = "hooli";

/// 6. A charge goes to confirming, and back to open. The chain stands still meanwhile, so that the payment cannot settle.
pub async fn drop_a_payment(world: &World, step: &Step) -> Outcome<()> {
    let charge = world.api.create_charge(TENANT).await?;
    let treasury = world
        .anvil
        .balance(world.contracts.usdc, world.cast.treasury)
        .await?;
    world.anvil.mine_every(0).await?;
    let dropped = confirm_and_drop(world, step, &charge).await;
    // The chain goes on, also for the steps to come.
    world.anvil.mine_every(1).await?;
    let dropped = dropped?;

    let past = dropped.block() + CONFIRMATIONS;
    let settled = until("the chain settles past the payment", PATIENCE, async || {
        Ok(Some(world.api.settled().await?).filter(|settled| *settled >= past))
    })
    .await?;
    let (now, subscription) = (
        world.api.charge(&charge).await?,
        world.api.subscription(TENANT).await?,
    );
    ensure(now.state == "open" && subscription.plan() == "free", || {
        format!(
            "the charge is {} and {TENANT} is on {}",
            now.state,
            subscription.plan()
        )
    })?;
    let paid = world
        .listener
        .all(|delivery| delivery.kind() == "charge.paid" && delivery.is_of_charge(&charge.id));
    ensure(paid.is_empty(), || "a webhook says that it was paid".to_owned())?;
    let balance = world
        .anvil
        .balance(world.contracts.usdc, world.cast.treasury)
        .await?;
    ensure(balance == treasury, || {
        "the treasury's balance changed".to_owned()
    })?;
    step.saw(format!(
        "settled past it, at block {settled}: the charge is still open, {TENANT} still on free,"
    ));
    step.note("no charge.paid was sent, and the treasury has on-chain what it had before");
    Ok(())
}

async fn confirm_and_drop(world: &World, step: &Step, charge: &Charge) -> Outcome<Receipt> {
    let transfer = TestUsdc::transferCall {
        to: world.cast.treasury,
        value: charge.due.base_units()?,
    };
    let hash = world
        .anvil
        .submit(world.cast.payer, world.contracts.usdc, &transfer)
        .await?;
    world.anvil.rpc::<Value>("evm_mine", json!([])).await?;
    let receipt = world.anvil.receipt(hash).await?;
    let block = receipt.block();
    step.did(format!(
        "{} pays for {TENANT}, in block {block} ({})",
        charge.due.amount,
        short(&receipt.block_hash())
    ));
    let seen = wait_for_state(world, charge, "confirming").await?;
    let (count, needed) = (
        seen.confirmations.unwrap_or_default(),
        seen.confirmations_required,
    );
    ensure(count < needed, || {
        format!("{count} of {needed} confirmations already")
    })?;
    step.saw(format!("confirming {count} of {needed}"));

    let depth = world.anvil.block_number().await? + 1 - block;
    world
        .anvil
        .rpc::<Value>("anvil_reorg", json!([depth, []]))
        .await?;
    let gone: Option<Receipt> = world
        .anvil
        .rpc("eth_getTransactionReceipt", json!([hash]))
        .await?;
    ensure(gone.is_none(), || "anvil still has the transaction".to_owned())?;
    step.did(format!(
        "anvil_reorg: block {block} is another one now, without the payment"
    ));
    let back = wait_for_state(world, charge, "open").await?;
    let total = back.confirmed.base_units()? + back.seen.base_units()?;
    ensure(total.is_zero(), || format!("{} are still seen", back.seen.amount))?;
    step.saw(format!(
        "the charge is open again, marked {}; seen: {}",
        back.flags.join(", "),
        back.seen.amount
    ));
    for kind in ["chain.reorged", "charge.payment_orphaned"] {
        let is_it = |delivery: &Delivery| {
            delivery.kind() == kind && (kind == "chain.reorged" || delivery.is_of_charge(&charge.id))
        };
        world.listener.first(kind, PATIENCE, is_it).await?;
    }
    step.saw("the webhooks chain.reorged and charge.payment_orphaned arrived");
    Ok(receipt)
}

async fn wait_for_state(world: &World, charge: &Charge, state: &str) -> Outcome<Charge> {
    until(&format!("the charge is {state}"), PATIENCE, async || {
        let now = world.api.charge(charge).await?;
        ensure(now.state != "paid", || "the charge was paid".to_owned())?;
        Ok(Some(now).filter(|now| now.state == state))
    })
    .await
}
