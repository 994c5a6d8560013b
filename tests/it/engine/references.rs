//! Payments that say whose they are, those that say it wrongly, and those that nobody is credited with.

use alloy::primitives::{Address, B256, address};
use serde_json::{Value, json};
use tollgate::domain::{Amount, ChainId, Token};
use tollgate::engine::{CreateCharge, Settings};

use crate::harness::blocks::{coins, tx, used};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::{column, rows};
use crate::harness::wallets::Wallet;
use crate::harness::world::{
    Asked, CHAIN, GRACE_MS, HOUR_MS, PAYER, TREASURY, TTL_MS, USDC, World, asked, payment, payment_from,
    pro_for, settings,
};

on_both!(
    a_reference_names_its_charge_whoever_pays_whatever,
    a_used_reference_is_followed_by_the_next_and_names_its_charge_still,
    nonce_squatting_with_one_unit_blocks_nobody,
    a_reference_that_is_not_right_before_the_payment_names_nothing,
    a_reference_and_an_amount_that_disagree_are_ambiguous_on_both_charges,
    a_reference_after_grace_is_a_hint_and_no_rule,
    bridged_usdc_in_place_of_usdc_is_flagged_and_credited_to_nobody,
    the_same_address_on_another_chain_is_flagged_and_credited_to_nobody,
    a_payers_wallet_on_another_chain_names_the_charge_it_may_be_meant_for,
    a_flag_goes_with_the_payment_that_brought_it,
    late_money_for_a_price_that_changed_is_held,
    the_same_amount_is_not_asked_again_until_its_grace_is_over,
);

const BRIDGED: Address = address!("0x00000000000000000000000000000000000000be");
const ELSEWHERE: ChainId = ChainId(137);

/// The nonce that a charge offers now.
async fn reference(world: &World, asked: &Asked) -> B256 {
    let view = json!(world.charge(asked).await);
    view["reference"].as_str().unwrap().parse().unwrap()
}

/// What is stored of the only payment: rule, evidence, flags.
async fn only_payment(world: &World) -> (String, Value, String) {
    let query = "select coalesce(rule, ''), evidence, flags from payment";
    let [row] = <[Vec<String>; 1]>::try_from(rows(&world.store, query).await).unwrap();
    (
        row[0].clone(),
        serde_json::from_str(&row[1]).unwrap(),
        row[2].clone(),
    )
}

async fn a_reference_names_its_charge_whoever_pays_whatever(database: Database) {
    let mut world = World::settled(database).await;
    let (asked, _other) = (world.ask("acme").await, world.ask("globex").await);
    let nonce = reference(&world, &asked).await;
    let amount = asked.due.saturating_add(Amount::from(77));
    world
        .mine(&[tx(1, vec![used(USDC, PAYER, nonce), payment(amount)])])
        .await;
    world.mine_empty(2).await;
    assert_eq!(world.standing(&asked).await, ("paid".into(), "overpaid".into()));
    let (rule, evidence, flags) = only_payment(&world).await;
    assert_eq!((rule.as_str(), flags.as_str()), ("reference", "[]"));
    assert_eq!(evidence["authorization"]["nonce"], json!(nonce));
    assert_eq!(evidence["authorization"]["logIndex"], 0);
    assert_eq!(evidence["named"], json!({"reference": [asked.id]}));
    world.assert_reload_is_identity().await;
}

async fn a_used_reference_is_followed_by_the_next_and_names_its_charge_still(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let first = reference(&world, &asked).await;
    let part = Amount::from(6_000_000);
    let below = world.blocks.tip().unwrap().number;
    let pay = tx(1, vec![used(USDC, PAYER, first), payment(part)]);
    world.mine(std::slice::from_ref(&pay)).await;
    let second = reference(&world, &asked).await;
    assert_ne!(first, second, "the remainder has its own");
    let uri = world.charge(&asked).await.payment_uri;
    let rest = asked.due.saturating_sub(part);
    assert!(uri.ends_with(&format!("uint256={rest}")), "{uri}");
    // Reorged away and made again: nothing more is used up.
    world.reorg(below, &[&[], &[pay]]).await;
    assert_eq!(reference(&world, &asked).await, second);
    world
        .mine(&[tx(2, vec![used(USDC, PAYER, second), payment(rest)])])
        .await;
    world.mine_empty(2).await;
    assert_eq!(world.standing(&asked).await, ("paid".into(), String::new()));
    let third = reference(&world, &asked).await;
    assert!(![first, second].contains(&third));
    // By another payer, whose nonces are their own: it is still money for this charge.
    let other = Address::repeat_byte(0x0e);
    world
        .mine(&[tx(3, vec![used(USDC, other, first), payment_from(other, part)])])
        .await;
    assert_eq!(reference(&world, &asked).await, third);
    let of_it = column(&world.store, "select rule from payment where charge is not null").await;
    assert_eq!(of_it, ["reference", "reference", "reference"]);
    world.assert_reload_is_identity().await;
}

async fn nonce_squatting_with_one_unit_blocks_nobody(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let nonce = reference(&world, &asked).await;
    let squatter = Address::repeat_byte(0x0e);
    let one_unit = Amount::from(1_000_000);
    // Below the dust it is no payment, and uses up nothing.
    let dust = vec![
        used(USDC, squatter, nonce),
        payment_from(squatter, Amount::from(1)),
    ];
    world.mine(&[tx(1, dust)]).await;
    assert_eq!(reference(&world, &asked).await, nonce);
    // Sent ahead of the payer, who signed the same nonce for all of it.
    let ahead = tx(
        2,
        vec![used(USDC, squatter, nonce), payment_from(squatter, one_unit)],
    );
    world
        .mine(&[ahead, tx(3, vec![used(USDC, PAYER, nonce), payment(asked.due)])])
        .await;
    world.mine_empty(2).await;
    assert_eq!(world.standing(&asked).await, ("paid".into(), "overpaid".into()));
    assert_ne!(reference(&world, &asked).await, nonce, "the next one is offered");
    world.assert_reload_is_identity().await;
}

async fn a_reference_that_is_not_right_before_the_payment_names_nothing(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let nonce = reference(&world, &asked).await;
    let part = Amount::from(6_000_000);
    let stranger = Address::repeat_byte(0x0e);
    let foreign = coins(stranger, PAYER, TREASURY, part.0);
    for (seed, logs) in [
        (1, vec![used(USDC, PAYER, nonce), foreign, payment(part)]),
        (2, vec![used(stranger, PAYER, nonce), payment(part)]),
        (3, vec![used(USDC, stranger, nonce), payment(part)]),
        (4, vec![used(USDC, PAYER, B256::ZERO), payment(part)]),
        (5, vec![payment(part), used(USDC, PAYER, nonce)]),
    ] {
        world.mine(&[tx(seed, logs)]).await;
    }
    // The last log of one transaction, and the first of the next.
    world
        .mine(&[tx(6, vec![used(USDC, PAYER, nonce)]), tx(7, vec![payment(part)])])
        .await;
    let given = column(
        &world.store,
        "select tx_hash from payment where charge is not null",
    )
    .await;
    assert!(given.is_empty());
    assert_eq!(world.standing(&asked).await, ("open".into(), String::new()));
    assert_eq!(reference(&world, &asked).await, nonce);
    world.assert_reload_is_identity().await;
}

async fn a_reference_and_an_amount_that_disagree_are_ambiguous_on_both_charges(database: Database) {
    let mut world = World::settled(database).await;
    let (one, other) = (world.ask("acme").await, world.ask("globex").await);
    let nonce = reference(&world, &one).await;
    world
        .mine(&[tx(1, vec![used(USDC, PAYER, nonce), payment(other.due)])])
        .await;
    world.mine_empty(2).await;
    for asked in [&one, &other] {
        assert_eq!(world.standing(asked).await, ("open".into(), "ambiguous".into()));
    }
    let (rule, evidence, flags) = only_payment(&world).await;
    assert_eq!((rule.as_str(), flags.as_str()), ("", r#"["ambiguous"]"#));
    let named = json!({"reference": [one.id], "exact_amount": [other.id]});
    assert_eq!(evidence["named"], named);
    let told = column(
        &world.store,
        "select body from outbox where type = 'payment.unmatched'",
    )
    .await;
    assert_eq!(told.len(), 1);
    world.assert_reload_is_identity().await;
}

async fn a_reference_after_grace_is_a_hint_and_no_rule(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let nonce = reference(&world, &asked).await;
    world.wait(TTL_MS + GRACE_MS);
    world
        .mine(&[tx(1, vec![used(USDC, PAYER, nonce), payment(asked.due)])])
        .await;
    world.mine_empty(2).await;
    let (rule, evidence, _) = only_payment(&world).await;
    assert_eq!((rule.as_str(), &evidence["meant"]), ("", &json!([asked.id])));
    assert_eq!(world.plan("acme"), "free");
    world.assert_reload_is_identity().await;
}

/// USDC.e beside USDC, on two chains with one treasury.
fn two_chains() -> Settings {
    let mut settings = settings();
    let mut bridged = settings.chains[0].tokens[0].clone();
    bridged.address = BRIDGED;
    bridged.symbol = "USDC.e".to_owned();
    settings.chains[0].other_tokens.push(bridged);
    let mut elsewhere = settings.chains[0].clone();
    elsewhere.name = "polygon".to_owned();
    elsewhere.id = ELSEWHERE;
    let on_it = |token: &Token| Token {
        chain: ELSEWHERE,
        ..token.clone()
    };
    elsewhere.tokens = settings.chains[0].tokens.iter().map(on_it).collect();
    elsewhere.other_tokens.clear();
    settings.chains.push(elsewhere);
    settings
}

async fn ask_on(world: &World, name: &str, chain: ChainId) -> Asked {
    let create = CreateCharge {
        chain: Some(chain),
        ..pro_for(name)
    };
    asked(&world.engine.execute(create).await.unwrap())
}

async fn bridged_usdc_in_place_of_usdc_is_flagged_and_credited_to_nobody(database: Database) {
    let mut world = World::open_with(database, two_chains()).await;
    world.mine_empty(4).await;
    let asked = ask_on(&world, "acme", CHAIN).await;
    let bridged = coins(BRIDGED, PAYER, TREASURY, asked.due.0);
    world.mine(&[tx(1, vec![bridged])]).await;
    world.mine_empty(3).await;
    assert_eq!(
        world.standing(&asked).await,
        ("open".into(), "wrong_token".into())
    );
    assert_eq!(world.plan("acme"), "free");
    let (rule, evidence, flags) = only_payment(&world).await;
    assert_eq!((rule.as_str(), flags.as_str()), ("", r#"["wrong_token"]"#));
    assert_eq!(evidence["meant"], json!([asked.id]));
    let told = column(
        &world.store,
        "select resource from outbox where type = 'payment.unmatched'",
    )
    .await;
    assert_eq!(told.len(), 1);
    // Of no amount that was asked for it is recorded as well, and flags no charge.
    world
        .mine(&[tx(
            2,
            vec![coins(
                BRIDGED,
                PAYER,
                TREASURY,
                asked.due.saturating_add(Amount::from(1)).0,
            )],
        )])
        .await;
    let flags = column(&world.store, "select flags from payment order by tx_hash").await;
    assert_eq!(flags, [r#"["wrong_token"]"#; 2]);
    // The right token still pays.
    world.pay(3, asked.due).await;
    world.mine_empty(2).await;
    assert_eq!(
        world.standing(&asked).await,
        ("paid".into(), "wrong_token".into())
    );
    world.assert_reload_is_identity().await;
}

async fn the_same_address_on_another_chain_is_flagged_and_credited_to_nobody(database: Database) {
    let mut world = World::open_with(database, two_chains()).await;
    world.mine_empty(4).await;
    let asked = ask_on(&world, "acme", ELSEWHERE).await;
    // Token and treasury have the same addresses there.
    world.pay(1, asked.due).await;
    world.mine_empty(3).await;
    assert_eq!(
        world.standing(&asked).await,
        ("open".into(), "wrong_chain".into())
    );
    assert_eq!(world.plan("acme"), "free");
    let (rule, evidence, flags) = only_payment(&world).await;
    assert_eq!((rule.as_str(), flags.as_str()), ("", r#"["wrong_chain"]"#));
    assert_eq!(evidence["meant"], json!([asked.id]));
    world.assert_reload_is_identity().await;
}

async fn a_payers_wallet_on_another_chain_names_the_charge_it_may_be_meant_for(database: Database) {
    let mut world = World::open_with(database, two_chains()).await;
    world.mine_empty(4).await;
    let wallet = Wallet::of(1);
    world.link("acme", "jo", &wallet).await;
    let asked = ask_on(&world, "acme", ELSEWHERE).await;
    let part = Amount::from(6_000_000);
    world
        .mine(&[tx(1, vec![payment_from(wallet.address(), part)])])
        .await;
    assert_eq!(
        world.standing(&asked).await,
        ("open".into(), "wrong_chain".into())
    );
    let (_, evidence, _) = only_payment(&world).await;
    assert_eq!(evidence["wallet"], json!({"tenant": "acme", "user": "jo"}));
    world.assert_reload_is_identity().await;
}

async fn a_flag_goes_with_the_payment_that_brought_it(database: Database) {
    let mut world = World::open_with(database, two_chains()).await;
    world.mine_empty(4).await;
    let asked = ask_on(&world, "acme", CHAIN).await;
    let below = world.blocks.tip().unwrap().number;
    let bridged = coins(BRIDGED, PAYER, TREASURY, asked.due.0);
    world.mine(&[tx(1, vec![bridged])]).await;
    assert_eq!(world.standing(&asked).await.1, "wrong_token");
    world.reorg(below, &[&[], &[]]).await;
    assert_eq!(world.standing(&asked).await, ("open".into(), String::new()));
    world.assert_reload_is_identity().await;
}

async fn late_money_for_a_price_that_changed_is_held(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    // What the charge was made for is no longer what the catalogue says.
    let mut tx_ = world.store.begin_write().await.unwrap();
    sqlx::query("update charge set price = '14000000'")
        .execute(tx_.conn())
        .await
        .unwrap();
    tx_.commit().await.unwrap();
    world.wait(TTL_MS + HOUR_MS);
    world.pay(1, asked.due).await;
    world.mine_empty(2).await;
    let (state, flags) = world.standing(&asked).await;
    assert_eq!((state.as_str(), flags.as_str()), ("expired", "held"));
    assert_eq!(world.plan("acme"), "free");
    let (rule, evidence, flags) = only_payment(&world).await;
    assert_eq!((rule.as_str(), flags.as_str()), ("", r#"["held"]"#));
    assert_eq!(evidence["named"], json!({"exact_amount": [asked.id]}));
    world.assert_reload_is_identity().await;
}

async fn the_same_amount_is_not_asked_again_until_its_grace_is_over(database: Database) {
    let world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let free_at = || async {
        let query = format!(
            "select free_at, valid_until from amount_lease where due = '{}'",
            asked.due
        );
        rows(&world.store, &query).await.remove(0)
    };
    let [free_at, valid_until] = <[String; 2]>::try_from(free_at().await).unwrap();
    let grace_until = column(&world.store, "select grace_until from charge")
        .await
        .remove(0);
    assert_eq!(valid_until, grace_until);
    let rest = free_at.parse::<i64>().unwrap() - grace_until.parse::<i64>().unwrap();
    assert_eq!(rest, HOUR_MS, "what settles late cannot meet the next charge");
}
