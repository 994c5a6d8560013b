//! What people decide of payments that no rule gave to a charge.

use alloy::primitives::{Address, B256};
use tollgate::domain::{Amount, Disposition, PaymentKey, UserId};
use tollgate::engine::{
    AssignPayment, ClaimPayment, ClaimView, EngineError, IgnorePayment, RecordRefund, ReviewView,
    UnmatchedView,
};
use tollgate::store::PaymentFilter;

use crate::harness::blocks::{coins, tx};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::column;
use crate::harness::wallets::Wallet;
use crate::harness::world::{
    Asked, CHAIN, HOUR_MS, PAYER, TREASURY, USDC, World, origin, payment, payment_from, tenant,
};

on_both!(
    an_unmatched_payment_is_suggested_assigned_and_pays,
    what_is_matched_elsewhere_or_unknown_is_not_assigned,
    an_ignored_payment_leaves_the_queue_and_can_still_be_assigned,
    an_assignment_outlives_a_reorganisation,
    a_refund_is_recorded_once_and_holds_the_payment,
    reasons_rank_who_above_how_much,
    payments_are_searched_a_page_at_a_time,
);

const DOLLAR: u64 = 1_000_000;

pub(super) fn dollars(amount: u64) -> Amount {
    Amount::from(amount * DOLLAR)
}

pub(super) fn key(seed: u64) -> PaymentKey {
    PaymentKey {
        chain: CHAIN,
        tx_hash: tx(seed, Vec::new()).hash,
        ordinal: 0,
    }
}

fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

pub(super) fn code(outcome: Result<impl std::fmt::Debug, EngineError>) -> String {
    match outcome {
        Err(EngineError::Invalid { field, .. }) => field.to_owned(),
        Err(error) => error.kind().to_owned(),
        Ok(done) => panic!("{done:?}"),
    }
}

impl World {
    pub(super) async fn queue(&self) -> Vec<UnmatchedView> {
        let filter = PaymentFilter {
            unmatched: true,
            ..PaymentFilter::default()
        };
        let page = self.engine.search_payments(&filter, None, 50).await.unwrap();
        let mut queue = Vec::new();
        for found in &page.payments {
            queue.push(self.engine.unmatched(found).await.unwrap());
        }
        queue
    }

    pub(super) async fn assign(&self, payment: PaymentKey, to: &Asked) -> Result<ReviewView, EngineError> {
        let command = AssignPayment {
            origin: origin(),
            payment,
            charge: to.id.clone(),
            reason: "they wrote to us".to_owned(),
            accept_late: false,
        };
        self.engine.execute(command).await
    }

    pub(super) async fn ignore(&self, payment: PaymentKey, reason: &str) -> Result<ReviewView, EngineError> {
        let command = IgnorePayment {
            origin: origin(),
            payment,
            reason: reason.to_owned(),
        };
        self.engine.execute(command).await
    }

    pub(super) async fn claim(
        &self,
        (of, by): (&str, &str),
        tx_hash: B256,
        charge: Option<&Asked>,
    ) -> Result<ClaimView, EngineError> {
        let command = ClaimPayment {
            origin: origin(),
            tenant: tenant(of),
            user: user(by),
            tx_hash,
            charge: charge.map(|asked| asked.id.clone()),
        };
        self.engine.execute(command).await
    }
}

pub(super) fn refund(payment: PaymentKey, seed: u8, amount: Option<Amount>) -> RecordRefund {
    RecordRefund {
        origin: origin(),
        payment,
        tx_hash: B256::repeat_byte(seed),
        amount,
        reason: "paid by mistake".to_owned(),
    }
}

async fn an_unmatched_payment_is_suggested_assigned_and_pays(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    // Within the tolerance, and from a wallet that nobody has proven.
    let short = asked.due.saturating_sub(Amount::from(50_000));
    world.pay(1, short).await;
    world.mine_empty(3).await;
    assert_eq!(world.state(&asked).await, "open");
    let queue = world.queue().await;
    assert_eq!(queue.len(), 1);
    let best = &queue[0].suggestions[0];
    assert_eq!(
        (best.charge_id.as_str(), best.assignable),
        (asked.id.as_str(), true)
    );
    let reasons: Vec<_> = best.reasons.iter().map(|reason| reason.reason).collect();
    assert_eq!(reasons, ["within_tolerance", "open"]);
    assert_eq!(
        best.score,
        best.reasons.iter().map(|reason| reason.points).sum::<u32>()
    );

    let assigned = world.assign(key(1), &asked).await.unwrap();
    assert_eq!(assigned.payment.charge_id.as_deref(), Some(asked.id.as_str()));
    assert_eq!(assigned.tenant_id.as_deref(), Some("acme"));
    assert_eq!(world.state(&asked).await, "paid");
    assert_eq!(world.plan("acme"), "pro");
    assert_eq!(world.queue().await.len(), 0);
    let resource = format!("payment:eip155:{CHAIN}:{}:0", key(1).tx_hash);
    assert_eq!(
        world.events(&resource).await,
        ["payment.unmatched", "payment.assigned"]
    );
    let evidence = column(&world.store, "select evidence from payment").await;
    assert!(
        evidence[0].contains("key:test") && evidence[0].contains("they wrote to us"),
        "{evidence:?}"
    );
    assert_eq!(
        code(world.assign(key(1), &asked).await),
        "PAYMENT_MATCHED",
        "and not twice"
    );
    world.assert_reload_is_identity().await;
}

async fn what_is_matched_elsewhere_or_unknown_is_not_assigned(database: Database) {
    let mut world = World::settled(database).await;
    let (paid, other) = (world.ask("acme").await, world.ask("beta").await);
    world.pay(1, paid.due).await;
    world.pay(2, dollars(3)).await;
    let before = world.footprint().await;
    assert_eq!(code(world.assign(key(1), &other).await), "PAYMENT_MATCHED");
    assert_eq!(code(world.ignore(key(1), "no").await), "PAYMENT_MATCHED");
    assert_eq!(
        code(world.engine.execute(refund(key(1), 9, None)).await),
        "PAYMENT_MATCHED"
    );
    assert_eq!(code(world.assign(key(9), &other).await), "not_found");
    let nobodys = Asked {
        id: "chg_none".parse().unwrap(),
        due: other.due,
    };
    assert_eq!(code(world.assign(key(2), &nobodys).await), "chargeId");
    let long = "x".repeat(501);
    for reason in ["", "  ", "two\nlines", long.as_str()] {
        assert_eq!(code(world.ignore(key(2), reason).await), "reason", "{reason:?}");
    }
    let gone = world.blocks.tip().unwrap().number;
    assert_eq!(world.footprint().await, before, "nothing was written");
    world.reorg(gone - 1, &[&[]]).await;
    assert_eq!(code(world.assign(key(2), &other).await), "PAYMENT_ORPHANED");
}

async fn an_ignored_payment_leaves_the_queue_and_can_still_be_assigned(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    world.pay(1, dollars(150)).await;
    world.mine_empty(3).await;
    let ignored = world.ignore(key(1), "a test of ours").await.unwrap();
    assert_eq!(ignored.disposition.map(Disposition::as_str), Some("ignored"));
    assert_eq!(world.queue().await.len(), 0);
    let before = world.footprint().await;
    world.ignore(key(1), "a test of ours").await.unwrap();
    assert_eq!(world.footprint().await, before, "once is enough");
    let assigned = world.assign(key(1), &asked).await.unwrap();
    assert_eq!(assigned.disposition, None);
    assert_eq!(world.state(&asked).await, "paid");
    let resource = format!("payment:eip155:{CHAIN}:{}:0", key(1).tx_hash);
    assert_eq!(
        world.events(&resource).await,
        ["payment.unmatched", "payment.ignored", "payment.assigned"]
    );
}

async fn an_assignment_outlives_a_reorganisation(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let paid = asked.due.saturating_sub(Amount::from(1_000));
    let below = world.blocks.tip().unwrap().number;
    world.pay(1, paid).await;
    world.assign(key(1), &asked).await.unwrap();
    assert_eq!(world.state(&asked).await, "confirming");
    let again = tx(1, vec![payment(paid)]).after_foreign_logs(7);
    world.reorg(below, &[&[], &[again]]).await;
    world.mine_empty(3).await;
    assert_eq!(world.state(&asked).await, "paid");
    assert_eq!(
        column(&world.store, "select rule from payment").await,
        ["operator"]
    );
}

async fn a_refund_is_recorded_once_and_holds_the_payment(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    world.pay(1, dollars(150)).await;
    for (wrong, field) in [
        (refund(key(1), 9, Some(Amount::ZERO)), "baseUnits"),
        (refund(key(1), 9, Some(dollars(151))), "baseUnits"),
        (
            RecordRefund {
                tx_hash: key(1).tx_hash,
                ..refund(key(1), 9, None)
            },
            "txHash",
        ),
        (refund(key(7), 9, None), "not_found"),
    ] {
        assert_eq!(code(world.engine.execute(wrong).await), field);
    }
    let recorded = world.engine.execute(refund(key(1), 9, None)).await.unwrap();
    assert_eq!(recorded.state.as_str(), "pending");
    assert_eq!(recorded.base_units, dollars(150).to_string());
    let before = world.footprint().await;
    let again = world.engine.execute(refund(key(1), 9, None)).await.unwrap();
    assert_eq!(again, recorded);
    assert_eq!(
        code(world.engine.execute(refund(key(1), 8, None)).await),
        "PAYMENT_REFUNDED"
    );
    assert_eq!(code(world.assign(key(1), &asked).await), "PAYMENT_REFUNDED");
    assert_eq!(code(world.ignore(key(1), "no").await), "PAYMENT_REFUNDED");
    assert_eq!(world.footprint().await, before);
    assert_eq!(world.queue().await.len(), 0);
}

async fn reasons_rank_who_above_how_much(database: Database) {
    let mut world = World::settled(database).await;
    let wallet = Wallet::of(1);
    world.link("acme", "jo", &wallet).await;
    world.link("beta", "al", &wallet).await;
    let (of_acme, of_gamma) = (world.ask("acme").await, world.ask("gamma").await);
    world.wait(HOUR_MS / 60);
    let late = world.ask("beta").await;
    let paid = of_gamma.due.saturating_sub(Amount::from(1_000));
    world
        .mine(&[tx(1, vec![payment_from(wallet.address(), paid)])])
        .await;
    world.claim(("acme", "jo"), key(1).tx_hash, None).await.ok();
    let queue = world.queue().await;
    if let Some(unmatched) = queue.first() {
        let charges: Vec<_> = unmatched
            .suggestions
            .iter()
            .map(|one| one.charge_id.clone())
            .collect();
        assert!(charges.contains(&of_gamma.id.to_string()), "{unmatched:#?}");
        assert!(charges.contains(&late.id.to_string()), "{unmatched:#?}");
        let scores: Vec<_> = unmatched.suggestions.iter().map(|one| one.score).collect();
        assert!(scores.is_sorted_by(|one, other| one >= other), "{scores:?}");
        assert_ne!(charges[0], of_gamma.id.to_string(), "whose it is comes first");
    } else {
        assert_eq!(world.state(&of_acme).await, "confirming", "the claim gave it");
    }
}

/// A filter with what is set.
fn only(set: impl FnOnce(&mut PaymentFilter)) -> PaymentFilter {
    let mut filter = PaymentFilter::default();
    set(&mut filter);
    filter
}

async fn payments_are_searched_a_page_at_a_time(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let other = Address::repeat_byte(0x77);
    world
        .mine(&[
            tx(1, vec![payment(dollars(1)), payment(dollars(2))]),
            tx(2, vec![coins(USDC, other, TREASURY, dollars(3).0)]),
        ])
        .await;
    world.pay(3, asked.due).await;
    let all = PaymentFilter::default();
    let whole = world.engine.search_payments(&all, None, 500).await.unwrap();
    let whole: Vec<_> = whole.payments.iter().map(|found| found.payment.key).collect();
    assert_eq!(whole.len(), 4);
    assert_eq!(whole[0], key(3), "newest first");
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = world
            .engine
            .search_payments(&all, after.as_ref(), 1)
            .await
            .unwrap();
        paged.extend(page.payments.iter().map(|found| found.payment.key));
        if page.next.is_none() {
            break;
        }
        after = page.next;
    }
    assert_eq!(paged, whole);
    let count = async |filter: PaymentFilter| {
        let page = world.engine.search_payments(&filter, None, 500).await.unwrap();
        page.payments.len()
    };
    for (filter, found) in [
        (only(|filter| filter.chain = Some(CHAIN)), 4),
        (only(|filter| filter.tx_hash = Some(key(1).tx_hash)), 2),
        (only(|filter| filter.address = Some(PAYER)), 3),
        (only(|filter| filter.address = Some(other)), 1),
        (only(|filter| filter.address = Some(TREASURY)), 4),
        (only(|filter| filter.address = Some(USDC)), 0),
        (only(|filter| filter.tenant = Some(tenant("acme"))), 1),
        (only(|filter| filter.tenant = Some(tenant("beta"))), 0),
        (only(|filter| filter.charge = Some(asked.id.clone())), 1),
        (only(|filter| filter.unmatched = true), 3),
        (
            only(|filter| {
                filter.unmatched = true;
                filter.address = Some(other);
            }),
            1,
        ),
    ] {
        assert_eq!(count(filter.clone()).await, found, "{filter:?}");
    }
}
