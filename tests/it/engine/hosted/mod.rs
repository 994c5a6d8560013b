//! Hosted checkouts: what their providers say, and what follows for the charges that they were opened for.

mod hearing;
mod paying;

use serde_json::{Value, json};
use tollgate::checkout;
use tollgate::domain::{Amount, CheckoutKey, CheckoutService, Credit, Price, Sender};
use tollgate::engine::{ReceiveEvent, RecordCheckout, rfc3339};

use crate::harness::facts::column;
use crate::harness::world::{Asked, World, origin};

const BUSINESS: CheckoutService = CheckoutService::CoinbaseBusiness;
const COMMERCE: CheckoutService = CheckoutService::CoinbaseCommerce;

/// A checkout at a provider, as a test tells of it.
#[derive(Debug, Clone)]
struct Hosted {
    reference: String,
    charge: String,
    price: &'static str,
    currency: &'static str,
}

impl Hosted {
    /// The checkout of a charge of 15 USDC.
    fn of(asked: &Asked) -> Self {
        Self {
            reference: format!("co-{}", asked.id),
            charge: asked.id.to_string(),
            price: "15.00",
            currency: "USDC",
        }
    }

    fn key(&self, service: CheckoutService) -> CheckoutKey {
        CheckoutKey {
            service,
            reference: self.reference.clone(),
        }
    }

    fn record(&self, service: CheckoutService, asked: &Asked) -> RecordCheckout {
        RecordCheckout {
            origin: origin(),
            key: self.key(service),
            charge: asked.id.clone(),
            url: format!("https://pay.example/{}", self.reference),
            asked: Price {
                amount: Credit::of(Amount::from_units(self.price, 18).unwrap(), 18),
                currency: self.currency.to_owned(),
            },
        }
    }

    /// An event about it, so long after the world's start.
    fn event(&self, world: &World, kind: &str, more: &Value) -> Value {
        let mut event = json!({
            "id": self.reference, "eventType": kind, "amount": self.price, "currency": self.currency,
            "metadata": {"chargeId": self.charge}, "updatedAt": rfc3339(world.clock.now_ms()),
        });
        event
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        event
    }

    fn success(&self, world: &World) -> Value {
        self.event(world, "checkout.payment.success", &json!({}))
    }

    fn settled(&self, world: &World, total: &str) -> Value {
        let settlement = json!({"totalAmount": total, "currency": self.currency});
        self.event(
            world,
            "checkout.payment.success",
            &json!({"settlement": settlement}),
        )
    }

    fn refund(&self, world: &World, amount: &str) -> Value {
        self.event(
            world,
            "checkout.refund.success",
            &json!({"refundedAmount": amount}),
        )
    }

    /// An event of the closed service.
    fn commerce(&self, world: &World, id: &str, kind: &str, payments: &Value) -> Value {
        json!({"id": "delivery", "attempt_number": 1, "event": {
            "id": id, "type": kind, "created_at": rfc3339(world.clock.now_ms()), "data": {
                "id": self.reference, "metadata": {"chargeId": self.charge}, "payments": payments,
                "pricing": {"local": {"amount": self.price, "currency": self.currency}},
            },
        }})
    }
}

/// Keeps an event, and applies whatever waits.
async fn tell_by(world: &World, service: CheckoutService, event: &Value) {
    let name = checkout::name(service, event.to_string().as_bytes(), event).unwrap();
    let receive = ReceiveEvent {
        provider: Sender::Checkout(service),
        event_id: name.id,
        kind: name.kind,
        body: event.clone(),
    };
    world.engine.execute(receive).await.unwrap();
    world.apply_inbox().await;
}

async fn tell(world: &World, event: &Value) {
    tell_by(world, BUSINESS, event).await;
}

async fn outcomes(world: &World) -> Vec<String> {
    column(
        &world.store,
        "select outcome from inbox order by received_at, event_id",
    )
    .await
}

/// A charge with its checkout.
async fn opened(world: &World, name: &str) -> (Asked, Hosted) {
    let asked = world.ask(name).await;
    let hosted = Hosted::of(&asked);
    world
        .engine
        .execute(hosted.record(BUSINESS, &asked))
        .await
        .unwrap();
    (asked, hosted)
}
