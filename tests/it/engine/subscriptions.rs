//! Stripe's events in whatever order they come, and beside what is paid on-chain.

use serde_json::{Value, json};
use tollgate::domain::{Millis, Provider, Sender, WhenActive};
use tollgate::engine::{CreateCharge, GiveUpInbox, ReceiveEvent};

use crate::harness::databases::{Database, on_both};
use crate::harness::facts::{column, rows};
use crate::harness::world::{START, World, asked, pro_for};

on_both!(
    the_events_of_a_subscription_end_the_same_in_every_order_and_twice,
    events_of_one_second_end_the_same_in_every_order,
    a_subscription_that_moves_to_another_tenant_ends_the_same_in_every_order,
    a_customer_names_the_tenant_where_the_metadata_does_not,
    an_event_that_nobody_can_place_needs_a_person_and_changes_nothing,
    an_event_that_fails_waits_behind_the_others,
    the_end_at_stripe_leaves_what_was_paid_on_chain,
    the_end_on_chain_leaves_what_is_paid_at_stripe,
    the_better_plan_wins_whoever_is_paid_for_it,
);

const DAY_S: i64 = 86_400;

/// One event about one subscription.
#[derive(Debug, Clone)]
struct Told {
    id: String,
    kind: &'static str,
    at_s: i64,
    subscription: String,
    customer: String,
    tenant: Option<String>,
    status: &'static str,
    price: &'static str,
}

fn start_s() -> i64 {
    START / 1000
}

impl Told {
    /// An event of the subscription of `tenant`, active and for pro, so many seconds after the start.
    fn about(tenant: &str, kind: &'static str, after_s: i64) -> Self {
        Self {
            id: format!("evt_{tenant}_{kind}_{after_s}"),
            kind,
            at_s: start_s() + after_s,
            subscription: format!("sub_{tenant}"),
            customer: format!("cus_{tenant}"),
            tenant: Some(tenant.to_owned()),
            status: "active",
            price: "price_pro",
        }
    }

    fn body(&self) -> Value {
        let metadata = self
            .tenant
            .as_ref()
            .map_or_else(|| json!({}), |tenant| json!({"tenant_id": tenant}));
        json!({
            "id": self.id, "object": "event", "created": self.at_s, "livemode": false,
            "type": format!("customer.subscription.{}", self.kind),
            "data": {"object": {
                "id": self.subscription, "object": "subscription", "status": self.status,
                "customer": self.customer, "metadata": metadata,
                "current_period_start": start_s(), "current_period_end": start_s() + 30 * DAY_S,
                "items": {"object": "list", "has_more": false, "data": [
                    {"id": "si_1", "object": "subscription_item", "price": {"id": self.price, "object": "price"}},
                ]},
            }},
        })
    }
}

async fn receive(world: &World, id: &str, kind: &str, body: Value) -> bool {
    let receive = ReceiveEvent {
        provider: Sender::Stripe,
        event_id: id.to_owned(),
        kind: kind.to_owned(),
        body,
    };
    world.engine.execute(receive).await.unwrap()
}

/// Receives an event and applies it; whether it was new.
async fn tell(world: &World, told: &Told) -> bool {
    let is_new = receive(world, &told.id, told.kind, told.body()).await;
    world.apply_inbox().await;
    is_new
}

/// Every order of three.
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

async fn the_events_of_a_subscription_end_the_same_in_every_order_and_twice(database: Database) {
    let world = World::settled(database).await;
    for (index, order) in ORDERS.into_iter().enumerate() {
        let name = format!("acme-{index}");
        let upgraded = Told {
            price: "price_enterprise",
            ..Told::about(&name, "updated", 20)
        };
        let ended = Told {
            price: "price_enterprise",
            ..Told::about(&name, "deleted", 30)
        };
        let events = [Told::about(&name, "created", 10), upgraded, ended];
        for event in order {
            assert!(tell(&world, &events[event]).await);
            assert!(!tell(&world, &events[event]).await, "it is known");
        }
        assert_eq!(world.plan(&name), "free", "{order:?}");
        let query = format!("select state, plan from source where tenant = '{name}'");
        assert_eq!(
            rows(&world.store, &query).await,
            [["ended", "enterprise"]],
            "{order:?}"
        );

        // Without the end it is the upgrade, in every order again.
        let name = format!("globex-{index}");
        let upgraded = Told {
            price: "price_enterprise",
            ..Told::about(&name, "updated", 20)
        };
        let resumed = Told {
            price: "price_enterprise",
            ..Told::about(&name, "resumed", 25)
        };
        let events = [Told::about(&name, "created", 10), upgraded, resumed];
        for event in order {
            tell(&world, &events[event]).await;
        }
        assert_eq!(world.plan(&name), "enterprise", "{order:?}");
    }
    assert!(world.engine.pending_inbox().await.unwrap().is_empty());
    world.assert_reload_is_identity().await;
}

async fn events_of_one_second_end_the_same_in_every_order(database: Database) {
    let world = World::settled(database).await;
    for (index, order) in ORDERS.into_iter().enumerate() {
        let name = format!("acme-{index}");
        let unpaid = Told {
            status: "incomplete",
            ..Told::about(&name, "created", 10)
        };
        let past_due = Told {
            status: "past_due",
            id: format!("evt_{index}"),
            ..Told::about(&name, "updated", 10)
        };
        let events = [unpaid, past_due, Told::about(&name, "updated", 10)];
        for event in order {
            tell(&world, &events[event]).await;
        }
        let query = format!("select state from source where tenant = '{name}'");
        assert_eq!(column(&world.store, &query).await, ["active"], "{order:?}");
    }
    world.assert_reload_is_identity().await;
}

async fn a_subscription_that_moves_to_another_tenant_ends_the_same_in_every_order(database: Database) {
    let world = World::settled(database).await;
    for (index, order) in ORDERS.into_iter().enumerate() {
        let (from, to) = (format!("acme-{index}"), format!("globex-{index}"));
        let moved = |kind, after_s| Told {
            tenant: Some(to.clone()),
            ..Told::about(&from, kind, after_s)
        };
        let events = [
            Told::about(&from, "created", 10),
            moved("updated", 20),
            moved("resumed", 30),
        ];
        for event in order {
            tell(&world, &events[event]).await;
        }
        assert_eq!(
            (world.plan(&from), world.plan(&to)),
            ("free".into(), "pro".into()),
            "{order:?}"
        );
        let query = format!("select tenant from customer where customer_ref = 'cus_{from}'");
        assert_eq!(column(&world.store, &query).await, [to], "{order:?}");
    }
    world.assert_reload_is_identity().await;
}

async fn a_customer_names_the_tenant_where_the_metadata_does_not(database: Database) {
    let world = World::settled(database).await;
    tell(&world, &Told::about("acme", "created", 10)).await;
    let second = Told {
        subscription: "sub_second".to_owned(),
        tenant: None,
        price: "price_enterprise",
        id: "evt_second".to_owned(),
        ..Told::about("acme", "created", 20)
    };
    tell(&world, &second).await;
    assert_eq!(world.plan("acme"), "enterprise");
    // Another customer's subscription is not ours.
    let stranger = Told {
        tenant: None,
        ..Told::about("stranger", "created", 20)
    };
    tell(&world, &stranger).await;
    assert_eq!(
        column(&world.store, "select tenant from source").await,
        ["acme", "acme"]
    );
    world.assert_reload_is_identity().await;
}

async fn an_event_that_nobody_can_place_needs_a_person_and_changes_nothing(database: Database) {
    let world = World::settled(database).await;
    let orphan = Told {
        tenant: None,
        ..Told::about("acme", "created", 10)
    };
    tell(&world, &orphan).await;
    let unknown_price = Told {
        price: "price_of_yesterday",
        ..Told::about("globex", "created", 10)
    };
    tell(&world, &unknown_price).await;
    receive(
        &world,
        "evt_3",
        "customer.subscription.updated",
        json!({"what": "is this"}),
    )
    .await;
    receive(&world, "evt_4", "invoice.paid", invoice()).await;
    world.apply_inbox().await;
    let outcomes = column(&world.store, "select outcome from inbox order by event_id").await;
    let needs_a_person = outcomes
        .iter()
        .filter(|outcome| outcome.starts_with("attention"))
        .count();
    assert_eq!((outcomes.len(), needs_a_person), (4, 3), "{outcomes:?}");
    assert!(world.engine.pending_inbox().await.unwrap().is_empty());
    assert!(column(&world.store, "select tenant from source").await.is_empty());
    assert_eq!(
        (world.plan("acme"), world.plan("globex")),
        ("free".into(), "free".into())
    );

    // A price that we do not know takes no paid plan away.
    tell(&world, &Told::about("initech", "created", 10)).await;
    let strange = Told {
        price: "price_of_tomorrow",
        ..Told::about("initech", "updated", 20)
    };
    tell(&world, &strange).await;
    assert_eq!(world.plan("initech"), "pro");
    world.assert_reload_is_identity().await;
}

fn invoice() -> Value {
    json!({
        "id": "evt_4", "object": "event", "created": start_s(), "livemode": false, "type": "invoice.paid",
        "data": {"object": {"id": "in_1", "object": "invoice"}},
    })
}

async fn an_event_that_fails_waits_behind_the_others(database: Database) {
    let world = World::settled(database).await;
    let mut wakes = world.engine.inbox_changes();
    wakes.mark_unchanged();
    receive(&world, "evt_1", "invoice.paid", invoice()).await;
    assert!(wakes.has_changed().unwrap());
    wakes.mark_unchanged();
    assert!(!receive(&world, "evt_1", "invoice.paid", invoice()).await);
    assert!(
        !wakes.has_changed().unwrap(),
        "nothing new is nothing to wake for"
    );
    world.wait(1);
    receive(&world, "evt_2", "invoice.paid", invoice()).await;
    let ids = |keys: Vec<tollgate::store::InboxKey>| -> Vec<String> {
        keys.into_iter().map(|key| key.event_id).collect()
    };
    let pending = world.engine.pending_inbox().await.unwrap();
    let first = pending[0].clone();
    assert_eq!(ids(pending), ["evt_1", "evt_2"]);
    let problem = "the database was away".to_owned();
    world
        .engine
        .execute(GiveUpInbox { key: first, problem })
        .await
        .unwrap();
    assert_eq!(
        ids(world.engine.pending_inbox().await.unwrap()),
        ["evt_2", "evt_1"]
    );
    world.apply_inbox().await;
    assert!(world.engine.pending_inbox().await.unwrap().is_empty());
}

async fn pay_a_month(world: &mut World, name: &str) {
    let create = CreateCharge {
        when_active: Some(WhenActive::Stack),
        ..pro_for(name)
    };
    let asked = asked(&world.engine.execute(create).await.unwrap());
    world.pay(1, asked.due).await;
    world.mine_empty(2).await;
}

async fn the_end_at_stripe_leaves_what_was_paid_on_chain(database: Database) {
    let mut world = World::settled(database).await;
    // Stripe's first, so that the order of the rows is not that of the providers.
    tell(&world, &Told::about("acme", "created", 10)).await;
    pay_a_month(&mut world, "acme").await;
    let provider = |world: &World| {
        let view = world
            .engine
            .tenant(&crate::harness::world::tenant("acme"), world.clock.now_ms());
        (view.entitlement.provider, view.sources.len())
    };
    assert_eq!(provider(&world), (Some(Provider::Stripe), 2));
    world.assert_reload_is_identity().await;
    let before = world.events("tenant:acme").await.len();
    tell(&world, &Told::about("acme", "deleted", 100)).await;
    assert_eq!((world.plan("acme"), world.may_call("acme")), ("pro".into(), true));
    assert_eq!(provider(&world), (Some(Provider::Crypto), 2));
    assert_eq!(
        world.events("tenant:acme").await[before..],
        ["subscription.ended"],
        "what it has did not change"
    );
    world.assert_reload_is_identity().await;
}

async fn the_end_on_chain_leaves_what_is_paid_at_stripe(database: Database) {
    let mut world = World::settled(database).await;
    let below = world.blocks.tip().unwrap().number;
    pay_a_month(&mut world, "acme").await;
    tell(&world, &Told::about("acme", "created", 10)).await;
    world.reorg(below, &[&[], &[], &[], &[]]).await;
    assert_eq!(world.plan("acme"), "pro");
    assert_eq!(
        rows(
            &world.store,
            "select provider, state from source order by provider"
        )
        .await,
        [["crypto", "ended"], ["stripe", "active"]]
    );
    world.assert_reload_is_identity().await;
}

async fn the_better_plan_wins_whoever_is_paid_for_it(database: Database) {
    let mut world = World::settled(database).await;
    pay_a_month(&mut world, "acme").await;
    let enterprise = |kind, after_s| Told {
        price: "price_enterprise",
        ..Told::about("acme", kind, after_s)
    };
    tell(&world, &enterprise("created", 10)).await;
    assert_eq!(world.plan("acme"), "enterprise");
    let owing = Told {
        status: "unpaid",
        ..enterprise("updated", 20)
    };
    tell(&world, &owing).await;
    assert_eq!(world.plan("acme"), "pro", "full access goes before a higher plan");
    tell(&world, &enterprise("deleted", 30)).await;
    assert_eq!(world.plan("acme"), "pro");
    let month: Millis = 31 * DAY_S * 1000;
    world.wait(month);
    assert_eq!(world.plan("acme"), "free");
    world.assert_reload_is_identity().await;
}
