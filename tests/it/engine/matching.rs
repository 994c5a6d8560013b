//! Which charge a payment settles, and what its amount makes of it.

use tollgate::domain::{Amount, Interval};
use tollgate::engine::CreateCharge;

use crate::harness::blocks::{coins, nft, tx};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::{column, rows};
use crate::harness::wallets::Wallet;
use crate::harness::world::{
    Asked, GRACE_MS, HOUR_MS, PAYER, TREASURY, TTL_MS, USDC, World, asked, payment, payment_from, pro_for,
};

on_both!(
    an_underpaid_charge_stays_open_until_the_rest_comes,
    what_is_left_of_a_charge_is_known_by_its_amount_where_no_other_has_it,
    an_underpayment_within_the_tolerance_is_accepted,
    what_is_too_much_pays_and_is_flagged,
    the_same_amount_twice_is_a_duplicate_and_buys_one_month,
    money_within_grace_pays_late,
    money_after_grace_is_unmatched,
    dust_and_fakes_are_no_payments,
    two_payments_in_one_transaction_settle_two_charges,
    the_payers_proven_wallet_names_its_only_open_charge,
    what_was_allocated_at_sight_stays_so_when_it_comes_back,
    two_open_charges_of_one_wallet_are_not_guessed_between,
    a_wallet_of_two_tenants_names_neither,
    an_amount_and_a_wallet_that_disagree_decide_nothing,
    another_tokens_payment_settles_no_charge,
);

const DOLLAR: u64 = 1_000_000;

/// A tenant with a proven wallet and an open charge.
async fn with_wallet(world: &World, name: &str, key: u8) -> (Wallet, Asked) {
    let wallet = Wallet::of(key);
    world.link(name, "jo", &wallet).await;
    (wallet, world.ask(name).await)
}

fn dollars(amount: u64) -> Amount {
    Amount::from(amount * DOLLAR)
}

async fn an_underpaid_charge_stays_open_until_the_rest_comes(database: Database) {
    let mut world = World::settled(database).await;
    let (wallet, asked) = with_wallet(&world, "acme", 1).await;
    world
        .mine(&[tx(1, vec![payment_from(wallet.address(), dollars(6))])])
        .await;
    world.mine_empty(2).await;
    assert_eq!(
        world.standing(&asked).await,
        ("open".to_owned(), "underpaid".to_owned())
    );
    let view = world.charge(&asked).await;
    let rest = asked.due.saturating_sub(dollars(6));
    assert_eq!(view.remaining.base_units, rest.to_string());
    assert_eq!(world.plan("acme"), "free");

    world
        .mine(&[tx(2, vec![payment_from(wallet.address(), rest)])])
        .await;
    assert_eq!(world.state(&asked).await, "confirming");
    world.mine_empty(2).await;
    assert_eq!(world.standing(&asked).await, ("paid".to_owned(), String::new()));
    assert_eq!(world.plan("acme"), "pro");
    assert_eq!(
        world.events(&format!("charge:{}", asked.id)).await,
        [
            "charge.created",
            "charge.payment_detected",
            "charge.underpaid",
            "charge.payment_detected",
            "charge.paid"
        ]
    );
    world.assert_reload_is_identity().await;
}

async fn what_is_left_of_a_charge_is_known_by_its_amount_where_no_other_has_it(database: Database) {
    let mut world = World::settled(database).await;
    let (wallet, asked) = with_wallet(&world, "acme", 1).await;
    let (second, round) = with_wallet(&world, "globex", 2).await;
    // A round rest says nothing of whom it is for.
    let all_but_five = round.due.saturating_sub(dollars(5));
    let parts = vec![
        payment_from(wallet.address(), dollars(6)),
        payment_from(second.address(), all_but_five),
    ];
    world.mine(&[tx(1, parts)]).await;
    let rest = asked.due.saturating_sub(dollars(6));
    world.pay(2, rest).await;
    world.pay(3, dollars(5)).await;
    world.mine_empty(2).await;
    assert_eq!(
        (world.state(&asked).await, world.standing(&round).await),
        ("paid".into(), ("open".into(), "underpaid".into()))
    );
    let rules = "select coalesce(rule, '-') from payment order by block_number, log_index";
    assert_eq!(
        column(&world.store, rules).await,
        ["payer_wallet", "payer_wallet", "exact_amount", "-"]
    );
    world.assert_reload_is_identity().await;
}

async fn an_underpayment_within_the_tolerance_is_accepted(database: Database) {
    let mut world = World::settled(database).await;
    let (first, enough) = with_wallet(&world, "acme", 1).await;
    let (second, short) = with_wallet(&world, "globex", 2).await;
    // One hundredth of what is due, rounded down, and one base unit more.
    let tolerance = |asked: &Asked| Amount(asked.due.0 / alloy::primitives::U256::from(100));
    let exactly = enough.due.saturating_sub(tolerance(&enough));
    let too_little = short
        .due
        .saturating_sub(tolerance(&short))
        .saturating_sub(Amount::from(1));
    let logs = vec![
        payment_from(first.address(), exactly),
        payment_from(second.address(), too_little),
    ];
    world.mine(&[tx(1, logs)]).await;
    world.mine_empty(2).await;
    assert_eq!(
        (world.state(&enough).await, world.state(&short).await),
        ("paid".into(), "open".into())
    );
    world.assert_reload_is_identity().await;
}

async fn what_is_too_much_pays_and_is_flagged(database: Database) {
    let mut world = World::settled(database).await;
    let (wallet, asked) = with_wallet(&world, "acme", 1).await;
    let most = Amount(alloy::primitives::U256::MAX);
    let logs = vec![
        payment_from(wallet.address(), asked.due.saturating_add(dollars(1))),
        // An attacker's numbers do not wrap the sum.
        payment_from(wallet.address(), most),
    ];
    world.mine(&[tx(1, logs)]).await;
    world.mine_empty(2).await;
    assert_eq!(
        world.standing(&asked).await,
        ("paid".to_owned(), "overpaid duplicate".to_owned())
    );
    assert_eq!(world.charge(&asked).await.confirmed.base_units, most.to_string());
    let events = world.events(&format!("charge:{}", asked.id)).await;
    assert_eq!(
        events.iter().filter(|kind| *kind == "charge.overpaid").count(),
        1,
        "{events:?}"
    );
    world.assert_reload_is_identity().await;
}

async fn the_same_amount_twice_is_a_duplicate_and_buys_one_month(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    world.pay(1, asked.due).await;
    world.mine_empty(2).await;
    let period = || rows(&world.store, "select period_start, period_end from source");
    let once = period().await;
    world.pay(2, asked.due).await;
    world.mine_empty(2).await;
    assert_eq!(
        world.standing(&asked).await,
        ("paid".to_owned(), "overpaid duplicate".to_owned())
    );
    assert_eq!(
        rows(&world.store, "select period_start, period_end from source").await,
        once
    );
    world.assert_reload_is_identity().await;
}

async fn money_within_grace_pays_late(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    world.wait(TTL_MS + HOUR_MS);
    world.pay(1, asked.due).await;
    world.mine_empty(2).await;
    assert_eq!(
        world.standing(&asked).await,
        ("paid".to_owned(), "late".to_owned())
    );
    assert_eq!(world.plan("acme"), "pro");
    world.assert_reload_is_identity().await;
}

async fn money_after_grace_is_unmatched(database: Database) {
    let mut world = World::settled(database).await;
    let (wallet, asked) = with_wallet(&world, "acme", 1).await;
    world.wait(TTL_MS + GRACE_MS);
    world
        .mine(&[tx(1, vec![payment_from(wallet.address(), asked.due)])])
        .await;
    world.mine_empty(2).await;
    assert_eq!(world.plan("acme"), "free");
    assert_unmatched(&world, 1).await;
    world.assert_reload_is_identity().await;
}

async fn assert_unmatched(world: &World, count: usize) {
    let unmatched = column(&world.store, "select tx_hash from payment where charge is null").await;
    let told = column(
        &world.store,
        "select resource from outbox where type = 'payment.unmatched'",
    )
    .await;
    assert_eq!((unmatched.len(), told.len()), (count, count));
}

async fn dust_and_fakes_are_no_payments(database: Database) {
    let mut world = World::settled(database).await;
    let (wallet, asked) = with_wallet(&world, "acme", 1).await;
    let fake = alloy::primitives::Address::repeat_byte(0xfa);
    let logs = vec![
        payment_from(wallet.address(), Amount::from(999)),
        payment_from(wallet.address(), Amount::ZERO),
        coins(fake, wallet.address(), TREASURY, asked.due.0),
        nft(USDC, wallet.address(), TREASURY, 15_000_000),
        coins(USDC, TREASURY, TREASURY, asked.due.0),
        coins(USDC, wallet.address(), PAYER, asked.due.0),
    ];
    world.mine(&[tx(1, logs)]).await;
    world.mine_empty(3).await;
    assert_eq!(world.standing(&asked).await, ("open".to_owned(), String::new()));
    assert!(column(&world.store, "select state from payment").await.is_empty());
    // The same transaction, with one log more that is a payment: it stands at its own place.
    let mut logs = vec![coins(fake, wallet.address(), TREASURY, asked.due.0)];
    logs.push(payment_from(wallet.address(), asked.due));
    world.mine(&[tx(2, logs)]).await;
    assert_eq!(column(&world.store, "select ordinal from payment").await, ["1"]);
    world.assert_reload_is_identity().await;
}

async fn two_payments_in_one_transaction_settle_two_charges(database: Database) {
    let mut world = World::settled(database).await;
    let (one, other) = (world.ask("acme").await, world.ask("globex").await);
    assert_ne!(one.due, other.due, "no two open charges are asked for one amount");
    world
        .mine(&[tx(1, vec![payment(other.due), payment(one.due)])])
        .await;
    world.mine_empty(2).await;
    for (asked, name) in [(&one, "acme"), (&other, "globex")] {
        assert_eq!(world.standing(asked).await, ("paid".to_owned(), String::new()));
        assert_eq!(world.plan(name), "pro");
    }
    world.assert_reload_is_identity().await;
}

async fn the_payers_proven_wallet_names_its_only_open_charge(database: Database) {
    let mut world = World::settled(database).await;
    let (wallet, asked) = with_wallet(&world, "acme", 1).await;
    world
        .mine(&[tx(1, vec![payment_from(wallet.address(), dollars(15))])])
        .await;
    world.mine_empty(2).await;
    assert_eq!(world.state(&asked).await, "paid");
    assert_eq!(
        column(&world.store, "select rule from payment").await,
        ["payer_wallet"]
    );
    world.assert_reload_is_identity().await;
}

async fn what_was_allocated_at_sight_stays_so_when_it_comes_back(database: Database) {
    let mut world = World::settled(database).await;
    let (wallet, month) = with_wallet(&world, "acme", 1).await;
    let below = world.blocks.tip().unwrap().number;
    let pay = tx(1, vec![payment_from(wallet.address(), dollars(15))]);
    world.mine(std::slice::from_ref(&pay)).await;
    world.mine_empty(2).await;
    assert_eq!(world.state(&month).await, "paid");
    world.reorg(below, &[&[], &[], &[], &[]]).await;
    assert_eq!(world.state(&month).await, "reversed");
    // By now the wallet would name another charge, for it alone is open.
    let year = CreateCharge {
        interval: Interval::Year,
        ..pro_for("acme")
    };
    let year = asked(&world.engine.execute(year).await.unwrap());
    world.mine(&[pay.after_foreign_logs(5)]).await;
    world.mine_empty(2).await;
    assert_eq!(
        (world.state(&month).await, world.state(&year).await),
        ("paid".into(), "open".into())
    );
    world.assert_reload_is_identity().await;
}

async fn two_open_charges_of_one_wallet_are_not_guessed_between(database: Database) {
    let mut world = World::settled(database).await;
    let (wallet, month) = with_wallet(&world, "acme", 1).await;
    let year = CreateCharge {
        interval: Interval::Year,
        ..pro_for("acme")
    };
    let year = asked(&world.engine.execute(year).await.unwrap());
    world
        .mine(&[tx(1, vec![payment_from(wallet.address(), dollars(15))])])
        .await;
    world.mine_empty(2).await;
    assert_eq!(
        (world.state(&month).await, world.state(&year).await),
        ("open".into(), "open".into())
    );
    assert_unmatched(&world, 1).await;
    // The exact amount still says which.
    world
        .mine(&[tx(2, vec![payment_from(wallet.address(), year.due)])])
        .await;
    world.mine_empty(2).await;
    assert_eq!(
        (world.state(&month).await, world.state(&year).await),
        ("open".into(), "paid".into())
    );
    world.assert_reload_is_identity().await;
}

async fn a_wallet_of_two_tenants_names_neither(database: Database) {
    let mut world = World::settled(database).await;
    let (wallet, asked) = with_wallet(&world, "acme", 1).await;
    world.link("globex", "jo", &wallet).await;
    world
        .mine(&[tx(1, vec![payment_from(wallet.address(), dollars(15))])])
        .await;
    world.mine_empty(2).await;
    assert_eq!(world.state(&asked).await, "open");
    assert_unmatched(&world, 1).await;
    world.assert_reload_is_identity().await;
}

async fn an_amount_and_a_wallet_that_disagree_decide_nothing(database: Database) {
    let mut world = World::settled(database).await;
    let (wallet, own) = with_wallet(&world, "acme", 1).await;
    let others = world.ask("globex").await;
    world
        .mine(&[tx(1, vec![payment_from(wallet.address(), others.due)])])
        .await;
    world.mine_empty(2).await;
    assert_eq!(
        (world.state(&own).await, world.state(&others).await),
        ("open".into(), "open".into())
    );
    assert_unmatched(&world, 1).await;
    world.assert_reload_is_identity().await;
}

async fn another_tokens_payment_settles_no_charge(database: Database) {
    let mut settings = crate::harness::world::settings();
    let mut other = settings.chains[0].tokens[0].clone();
    other.address = alloy::primitives::Address::repeat_byte(0xdd);
    other.symbol = "USDC.e".to_owned();
    settings.chains[0].tokens.push(other.clone());
    let mut world = World::open_with(database, settings).await;
    world.mine_empty(4).await;
    let create = CreateCharge {
        token: Some("usdc".to_owned()),
        ..pro_for("acme")
    };
    let asked = asked(&world.engine.execute(create).await.unwrap());
    let bridged = coins(other.address, PAYER, TREASURY, asked.due.0);
    world.mine(&[tx(1, vec![bridged])]).await;
    world.mine_empty(2).await;
    assert_eq!(world.state(&asked).await, "open");
    assert_unmatched(&world, 1).await;
    world.assert_reload_is_identity().await;
}
