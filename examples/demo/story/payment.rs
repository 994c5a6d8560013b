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
    step.note(format!("token {} on {}", charge.token.address, charge.chain));
    Ok(charge)
}

/// 2. The payment on the chain, watched until it counts.
pub async fn pay(world: &World, step: &Step, charge: Charge) -> Outcome<Paid> {
    let transfer = TestUsdc::transferCall {
        to: world.cast.treasury,
        value: charge.due.base_units()?,
    };
    let (payer, usdc) = (world.cast.payer, world.contracts.usdc);
    step.did(format!(
        "{} sends {} USDC on-chain",
        short(&payer),
        charge.due.amount
    ));
    let mut watch = Watch {
        world,
        step,
        charge: &charge,
        sent: Instant::now(),
        is_detected: false,
    };
    let (sent, watched) = (watch.sent, watch.until_paid());
    let (hash, watched) = tokio::join!(world.anvil.submit(payer, usdc, &transfer), watched);
    let (receipt, ()) = (world.anvil.receipt(hash?).await?, watched?);
    let head = world.anvil.block_number().await?;
    let depth = (head + 1).saturating_sub(receipt.block());
    ensure(depth >= CONFIRMATIONS, || {
        format!("it is paid, and its block has {depth} confirmations")
    })?;
    let hash = short(&receipt.transaction_hash);
    step.note(format!(
        "transaction {hash} in block {}; the chain is at {head}",
        receipt.block()
    ));

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

/// A charge under observation.
struct Watch<'a> {
    world: &'a World,
    step: &'a Step,
    charge: &'a Charge,
    sent: Instant,
    is_detected: bool,
}

impl Watch<'_> {
    /// Tells each change of the charge until it is paid.
    async fn until_paid(&mut self) -> Outcome<()> {
        let mut before = self.charge.clone();
        while before.state != "paid" {
            let now = self.world.api.charge(self.charge).await?;
            if (&now.state, now.confirmations) != (&before.state, before.confirmations) {
                self.tell(&before, &now).await?;
            }
            ensure(self.sent.elapsed() < PATIENCE, || {
                format!("still {} after {PATIENCE:?}", now.state)
            })?;
            // Only a few milliseconds lie between the first two states.
            let pause = if now.state == "confirming" { 10 } else { 1 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
            before = now;
        }
        Ok(())
    }

    async fn tell(&mut self, before: &Charge, now: &Charge) -> Outcome<()> {
        match now.state.as_str() {
            "detected" => {
                self.is_detected = true;
                self.step.saw(
                    "detected: the node streamed it; no proven block holds it, and nothing is gained yet",
                );
            }
            "confirming" => self.tell_confirming(before, now).await?,
            "paid" => {
                ensure(now.confirmed.base_units()? == now.due.base_units()?, || {
                    format!("paid with {} of {}", now.confirmed.amount, now.due.amount)
                })?;
                let (confirmed, due) = (&now.confirmed.amount, &now.due.amount);
                self.step
                    .saw(format!("paid: {confirmed} USDC confirmed of {due} due"));
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

    async fn tell_confirming(&mut self, before: &Charge, now: &Charge) -> Outcome<()> {
        if !self.is_detected {
            self.is_detected = true;
            let detected = self.told_of_detection().await?;
            let after = spell(detected.arrived.saturating_duration_since(self.sent));
            self.step.saw(format!(
                "detected after {after}, by the webhook charge.payment_detected:"
            ));
            self.step
                .note("its block was proven before GET could show it as streamed");
        }
        let (count, needed) = (now.confirmations.unwrap_or_default(), now.confirmations_required);
        let rises = (before.confirmations.unwrap_or_default()..needed).contains(&count);
        ensure(rises, || {
            format!("{count} of {needed} confirmations, and not paid")
        })?;
        let subscription = self.world.api.subscription(TENANT).await?;
        // Read after the charge, which may have been paid since.
        let is_early = subscription.plan() != "free" && self.world.api.charge(now).await?.state != "paid";
        ensure(!is_early, || {
            format!("{} was given at {count} of {needed}", subscription.plan())
        })?;
        self.step.saw(format!(
            "confirming {count} of {needed}; {TENANT} is on {}",
            subscription.plan()
        ));
        Ok(())
    }

    async fn told_of_detection(&self) -> Outcome<Delivery> {
        let is_ours = |delivery: &Delivery| {
            delivery.kind() == "charge.payment_detected" && delivery.is_of_charge(&self.charge.id)
        };
        self.world
            .listener
            .first("charge.payment_detected", PATIENCE, is_ours)
            .await
    }
}

/// 3. What the chat product was told, and whether it can believe it.
pub async fn hear(world: &World, step: &Step, paid: &Paid) -> Outcome<()> {
    let mut last = None;
    for kind in [
        "charge.payment_detected",
        "charge.paid",
        "subscription.activated",
        "entitlement.changed",
    ] {
        let is_ours = |delivery: &Delivery| delivery.kind() == kind && delivery.is_of_tenant(TENANT);
        let delivery = world.listener.first(kind, PATIENCE, is_ours).await?;
        ensure(delivery.is_genuine, || {
            format!("the signature of {kind} does not verify")
        })?;
        let after = spell(delivery.arrived.saturating_duration_since(paid.sent));
        step.saw(format!("{kind:23} {after} after sending; its signature verifies"));
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
