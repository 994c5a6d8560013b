//! Steps 1 to 3: a tenant is charged, pays on-chain, and the chat product is told.

use std::time::{Duration, Instant};

use alloy::primitives::Address;

use super::{PATIENCE, short};
use crate::anvil::TestUsdc;
use crate::api::Charge;
use crate::failure::{Failure, Outcome, ensure};
use crate::listener::{self, Delivery, Secret};
use crate::print::{Step, spell};
use crate::stage::{CONFIRMATIONS, World};

const TENANT: &str = "acme";
/// What pro has and free has not.
const FEATURE: &str = "video_calls";

/// A charge that was paid, and since when its payment was under way.
pub struct Paid {
    charge: Charge,
    sent: Instant,
}

/// 1. A charge over the API.
pub async fn ask(world: &World, step: &Step) -> Outcome<Charge> {
    let subscription = world.api.subscription(TENANT).await?;
    let check = world.api.check(TENANT, FEATURE).await?;
    ensure(subscription.plan() == "free" && !check.allowed, || {
        format!(
            "{TENANT} begins on {} with {FEATURE} allowed: {}",
            subscription.plan(),
            check.allowed
        )
    })?;
    let upgrade = check.upgrade_required.unwrap_or_default();
    step.saw(format!(
        "{TENANT} is on free; a check of {FEATURE} is refused: {}, upgrade to {upgrade}",
        check.code
    ));

    step.did("POST /api/billing/crypto/stablecoin: pro, monthly, in USDC, with the API key");
    let charge = world.api.create_charge(TENANT).await?;
    let ours = [&charge.token.address, &charge.treasury].map(|text| text.parse::<Address>().ok());
    let expected = [world.contracts.usdc, world.cast.treasury].map(Some);
    ensure(charge.state == "open" && ours == expected, || {
        format!("the charge is {} and asks for {ours:?}", charge.state)
    })?;
    step.saw(format!(
        "charge {} is open: {} {} to {}",
        short(&charge.id),
        charge.due.amount,
        charge.token.symbol,
        short(&charge.treasury)
    ));
    step.note(&charge.payment_uri);
    Ok(charge)
}

/// 2. The payment on the chain, watched until it counts.
pub async fn pay(world: &World, step: &Step, charge: Charge) -> Outcome<Paid> {
    let transfer = TestUsdc::transferCall {
        to: world.cast.treasury,
        value: charge.due.base_units()?,
    };
    let sent = Instant::now();
    step.did(format!(
        "{} sends {} USDC on-chain",
        short(&world.cast.payer),
        charge.due.amount
    ));
    let (hash, outcome) = tokio::join!(
        world
            .anvil
            .submit(world.cast.payer, world.contracts.usdc, &transfer),
        watch(world, step, &charge),
    );
    let (receipt, was_seen_streamed) = (world.anvil.receipt(hash?).await?, outcome?);
    let head = world.anvil.block_number().await?;
    ensure(head + 1 >= receipt.block() + CONFIRMATIONS, || {
        format!(
            "paid at head {head}, and the payment is in block {}",
            receipt.block()
        )
    })?;
    let is_ours = |delivery: &Delivery| {
        delivery.kind() == "charge.payment_detected" && delivery.is_of_charge(&charge.id)
    };
    let told = world
        .listener
        .first("charge.payment_detected", PATIENCE, is_ours)
        .await?;
    let told = spell(told.arrived.saturating_duration_since(sent));
    step.note(if was_seen_streamed {
        format!(
            "transaction {}; its webhook charge.payment_detected came after {told}",
            short(&receipt.transaction_hash)
        )
    } else {
        format!("GET was too slow to show it as detected; charge.payment_detected came after {told}")
    });

    let subscription = world.wait_for_plan(TENANT, "pro").await?;
    step.saw(format!(
        "{TENANT} went from free to pro, paid by {}, until {}",
        subscription.provider.unwrap_or_default(),
        subscription.current_period_end.unwrap_or_default()
    ));
    let check = world.api.check(TENANT, FEATURE).await?;
    ensure(check.allowed, || {
        format!("{FEATURE} is still refused: {}", check.code)
    })?;
    step.saw(format!("the check of {FEATURE} is now {}", check.code));
    Ok(Paid { charge, sent })
}

/// Tells each change of the charge until it is paid; says whether it was ever shown as detected.
async fn watch(world: &World, step: &Step, charge: &Charge) -> Outcome<bool> {
    let (began, mut before, mut was_detected) = (Instant::now(), charge.clone(), false);
    while before.state != "paid" {
        let now = world.api.charge(charge).await?;
        if (&now.state, now.confirmations) != (&before.state, before.confirmations) {
            tell(world, step, &before, &now).await?;
            was_detected |= now.state == "detected";
        }
        ensure(began.elapsed() < PATIENCE, || {
            format!("still {} after {PATIENCE:?}", now.state)
        })?;
        // Only a few milliseconds lie between the first two states.
        let pause = if now.state == "confirming" { 10 } else { 1 };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        before = now;
    }
    Ok(was_detected)
}

async fn tell(world: &World, step: &Step, before: &Charge, now: &Charge) -> Outcome<()> {
    match now.state.as_str() {
        "detected" => step.saw("detected: streamed by the node, in no proven block yet"),
        "confirming" => {
            let (count, needed) = (now.confirmations.unwrap_or_default(), now.confirmations_required);
            ensure(count >= before.confirmations.unwrap_or_default(), || {
                format!("the confirmations went down to {count}")
            })?;
            let subscription = world.api.subscription(TENANT).await?;
            // Read after the charge: it may have been paid since.
            let is_early = subscription.plan() != "free" && world.api.charge(now).await?.state != "paid";
            ensure(!is_early, || {
                format!("{} was given at {count} of {needed}", subscription.plan())
            })?;
            step.saw(format!(
                "confirming {count} of {needed}; {TENANT} is still on {}",
                subscription.plan()
            ));
        }
        "paid" => {
            ensure(now.confirmed.base_units()? == now.due.base_units()?, || {
                format!("paid with {} of {}", now.confirmed.amount, now.due.amount)
            })?;
            step.saw(format!(
                "paid: {} USDC confirmed of {} due",
                now.confirmed.amount, now.due.amount
            ));
        }
        state => {
            return Err(Failure(format!(
                "the charge went from {} to {state}",
                before.state
            )));
        }
    }
    Ok(())
}

/// 3. What the chat product was told, and whether it can believe it.
pub async fn hear(world: &World, step: &Step, paid: &Paid) -> Outcome<()> {
    let mut last = None;
    for kind in ["charge.paid", "subscription.activated", "entitlement.changed"] {
        let is_ours = |delivery: &Delivery| delivery.kind() == kind && delivery.is_of_tenant(TENANT);
        let delivery = world.listener.first(kind, PATIENCE, is_ours).await?;
        ensure(delivery.is_genuine, || {
            format!("the signature of {kind} does not verify")
        })?;
        let after = spell(delivery.arrived.saturating_duration_since(paid.sent));
        step.saw(format!("{kind:22} {after} after sending; its signature verifies"));
        last = Some(delivery);
    }
    let changed = last.ok_or_else(|| Failure("nothing arrived".to_owned()))?;
    let data = &changed.event["data"];
    let plans = [&data["before"]["plan"], &data["entitlement"]["plan"]];
    ensure(plans == ["free", "pro"], || {
        format!("entitlement.changed tells of {plans:?}")
    })?;
    step.note(format!(
        "{} of {}: free → pro",
        short(&changed.id),
        short(&paid.charge.id)
    ));

    let altered = Delivery {
        body: String::from_utf8_lossy(&changed.body)
            .replace("pro", "max")
            .into(),
        ..changed.clone()
    };
    let secret = &world.listener.secret;
    let is_fooled =
        listener::is_genuine(&altered, secret) || listener::is_genuine(&changed, &Secret::random()?);
    ensure(!is_fooled, || "the listener believes a forgery".to_owned())?;
    step.saw("the same with one word changed does not verify, nor with another secret");
    Ok(())
}
