//! The story. A step that does not hold does not keep the others from being told, unless they continue it.

mod burst;
mod gate;
mod payment;
mod reorg;
mod stripe;

use std::time::Duration;

use crate::failure::{Failure, Outcome, until};
use crate::print::Teller;
use crate::stage::World;

/// Longer than anything in the story takes; what is not there by then does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tells every step.
pub async fn tell(teller: &mut Teller, world: &mut World) {
    let charge = teller
        .step(1, "A charge", async |step| payment::ask(world, step).await)
        .await;
    let paid = teller
        .step(2, "A payment", async |step| {
            payment::pay(world, step, continued(charge)?).await
        })
        .await;
    teller
        .step(3, "A signed webhook", async |step| {
            payment::hear(world, step, &continued(paid)?).await
        })
        .await;
    teller
        .step(4, "A token gate", async |step| gate::pass(world, step).await)
        .await;
    teller
        .step(5, "Stripe", async |step| stripe::subscribe(world, step).await)
        .await;
    teller
        .step(6, "A reorg", async |step| {
            reorg::drop_a_payment(world, step).await
        })
        .await;
    teller
        .step(7, "A crash", async |step| {
            burst::crash_in_a_burst(world, step).await
        })
        .await;
}

fn continued<T>(earlier: Option<T>) -> Outcome<T> {
    earlier.ok_or_else(|| Failure("not tried: it continues a step that did not hold".to_owned()))
}

/// The first digits of an address or a hash, for reading.
fn short(hexadecimal: &impl ToString) -> String {
    let text = hexadecimal.to_string();
    match (text.get(..6), text.get(text.len().saturating_sub(4)..)) {
        (Some(first), Some(last)) if text.len() > 12 => format!("{first}…{last}"),
        _ => text,
    }
}

impl World {
    /// Waits until a tenant has a plan.
    async fn wait_for_plan(&self, tenant: &str, plan: &str) -> Outcome<crate::api::Subscription> {
        until(&format!("{tenant} is on {plan}"), PATIENCE, async || {
            let subscription = self.api.subscription(tenant).await?;
            Ok(Some(subscription).filter(|subscription| subscription.plan() == plan))
        })
        .await
    }
}
