//! Step 5: Stripe's word counts when Stripe signed it, and once.

use secrecy::SecretString;
use serde_json::{Value, json};
use tollgate::clock::Clock;
use tollgate::stripe::signature;

use super::PATIENCE;
use crate::failure::{Outcome, ensure};
use crate::listener::{Delivery, Secret};
use crate::print::Step;
use crate::stage::World;

const TENANT: &str = "globex";
/// Tenants of no consequence: one that a forger names, and one whose event follows a duplicate.
const FORGED: &str = "mallory";
const NEXT: &str = "initech";
const MONTH_S: i64 = 30 * 24 * 60 * 60;

/// 5. A subscription, a forgery, and the same again.
pub async fn subscribe(world: &World, step: &Step) -> Outcome<()> {
    let before = world.api.subscription(TENANT).await?;
    ensure(before.plan() == "free", || {
        format!("{TENANT} begins on {}", before.plan())
    })?;
    let genuine = event(TENANT);
    step.did(format!(
        "POST /api/billing/webhook: customer.subscription.created for {TENANT}, signed"
    ));
    let signed = sign(&genuine, &world.stripe)?;
    let answer = world.api.stripe(&genuine, &signed).await?;
    ensure(answer.status == 200, || {
        format!("answered {}: {}", answer.status, answer.body)
    })?;
    let subscription = world.wait_for_plan(TENANT, "enterprise").await?;
    step.saw(format!(
        "200; {TENANT} went from free to enterprise, paid by {}",
        subscription.provider.as_deref().unwrap_or("nobody")
    ));

    let forged = event(FORGED);
    let signature = sign(&forged, &Secret::random()?)?;
    let answer = world.api.stripe(&forged, &signature).await?;
    let named = world.api.subscription(FORGED).await?;
    ensure(answer.status == 400 && named.plan() == "free", || {
        format!(
            "a forgery was answered {}, and {FORGED} is on {}",
            answer.status,
            named.plan()
        )
    })?;
    step.saw(format!(
        "a forged one for {FORGED} is refused with 400: {}",
        answer.body["detail"]
    ));

    let altered = genuine.replace(TENANT, FORGED);
    let answer = world.api.stripe(&altered, &signed).await?;
    ensure(answer.status == 400, || {
        format!("an altered body was answered {}", answer.status)
    })?;
    step.saw("the genuine signature over another tenant's name is refused with 400");
    repeat(world, step, &genuine, &signed).await
}

/// The same event again. That nothing follows shows when the next event has taken effect: they are applied in order.
async fn repeat(world: &World, step: &Step, genuine: &str, signed: &str) -> Outcome<()> {
    let before = world.api.subscription(TENANT).await?;
    let answer = world.api.stripe(genuine, signed).await?;
    ensure(answer.status == 200, || {
        format!("the same again was answered {}", answer.status)
    })?;
    let next = event(NEXT);
    world.api.stripe(&next, &sign(&next, &world.stripe)?).await?;
    world.wait_for_plan(NEXT, "enterprise").await?;
    let changed = |tenant: &'static str| {
        move |delivery: &Delivery| delivery.kind() == "entitlement.changed" && delivery.is_of_tenant(tenant)
    };
    world
        .listener
        .first("about the next event", PATIENCE, changed(NEXT))
        .await?;
    let after = world.api.subscription(TENANT).await?;
    let told = world.listener.all(changed(TENANT));
    ensure(after.sequence == before.sequence && told.len() == 1, || {
        let (was, is) = (before.sequence, after.sequence);
        format!(
            "{TENANT} changed from {was} to {is}, and {} webhooks told of it",
            told.len()
        )
    })?;
    step.saw(format!(
        "the same one again: 200, duplicate: {}; {TENANT} unchanged, one webhook in all",
        answer.body["duplicate"]
    ));
    Ok(())
}

/// As Stripe writes it, in the parts that matter here.
fn event(tenant: &str) -> String {
    let now_s = Clock::system().now_ms() / 1000;
    let (start, end) = (now_s, now_s + MONTH_S);
    let price = json!({
        "id": format!("price_{tenant}"),
        "object": "price",
        "lookup_key": "nchat_enterprise_month",
        "recurring": {"interval": "month", "interval_count": 1},
    });
    let item = json!({
        "id": format!("si_{tenant}"),
        "object": "subscription_item",
        "price": price,
        "quantity": 1,
        "current_period_start": start,
        "current_period_end": end,
    });
    let subscription: Value = json!({
        "id": format!("sub_{tenant}"),
        "object": "subscription",
        "customer": format!("cus_{tenant}"),
        "status": "active",
        "cancel_at_period_end": false,
        "metadata": {"tenant_id": tenant},
        "items": {"object": "list", "data": [item]},
    });
    let event = json!({
        "id": format!("evt_{tenant}"),
        "object": "event",
        "api_version": "2025-03-31.basil",
        "created": now_s,
        "livemode": false,
        "type": "customer.subscription.created",
        "data": {"object": subscription},
    });
    event.to_string()
}

fn sign(body: &str, secret: &Secret) -> Outcome<String> {
    let now_s = u64::try_from(Clock::system().now_ms() / 1000)?;
    let secret = SecretString::from(secret.as_str());
    Ok(signature::sign(body.as_bytes(), &secret, now_s))
}
