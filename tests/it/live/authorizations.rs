//! A charge's typed data, signed by a third party's library, and submitted by somebody else.

use std::io::Write as _;
use std::process::{Command, Stdio};

use alloy::primitives::{Address, U256};
use serde_json::{Value, json};

use super::world::{On, World};
use crate::harness::anvil::{Anvil, TestUsdc};
use crate::harness::facts::column;
use crate::harness::repository;

/// anvil's second account, which everybody knows.
const PAYERS_KEY: &str = "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";

/// The call that viem makes of typed data and its signature.
fn signed(typed_data: &Value) -> Value {
    let mut node = Command::new("node")
        .arg(repository("anvil-fixtures/authorize.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = json!({"privateKey": PAYERS_KEY, "typedData": typed_data}).to_string();
    node.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = node.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Somebody else submits it, for gas alone.
async fn submit(world: &World, call: &Value) {
    let relayer = world.anvil.accounts().await[5];
    let submitted = json!({"from": relayer, "to": world.usdc, "data": call["data"]});
    world.anvil.transact(submitted).await;
    world.anvil.mine(3).await;
    world.wait_read().await;
}

#[tokio::test]
async fn what_the_answer_offers_to_sign_pays_the_charge_by_its_reference() {
    let world = World::new(On::Sqlite, 2).await;
    world.wait_read().await;
    let charge = world.charge("acme").await;
    let offered = |charge| json!(charge)["authorization"].clone();
    let mut part = offered(&charge);
    assert_eq!(part["domain"]["name"], "USD Coin");
    assert_eq!(part["domain"]["version"], "2");
    assert_eq!(part["message"]["nonce"], charge.reference);
    assert_eq!(part["message"]["value"], charge.due.base_units);
    assert!(part["message"].get("from").is_none(), "it is the wallet's to say");
    // A payer of nothing that was asked for, with nothing proven.
    part["message"]["value"] = json!("4000000");
    submit(&world, &signed(&part)).await;
    let short = world.view(&charge.id).await;
    assert_eq!((short.state.as_str(), short.seen.amount.as_str()), ("open", "4"));

    // The rest is signed just as it is offered, and its amount was leased to nobody.
    let rest = offered(&short);
    assert_ne!(rest["message"]["nonce"], part["message"]["nonce"]);
    assert_eq!(rest["message"]["value"], short.remaining.base_units);
    let call = signed(&rest);
    let payer: Address = call["from"].as_str().unwrap().parse().unwrap();
    assert_eq!(payer, world.payer);
    submit(&world, &call).await;
    let paid = world.view(&charge.id).await;
    assert_eq!(
        (paid.state.as_str(), paid.confirmed.clone()),
        ("paid", charge.due)
    );
    assert!(paid.authorization.is_none(), "nothing is left to pay");
    let store = world.open_store().await;
    let rules = column(&store, "select rule from payment").await;
    assert_eq!(rules, ["reference", "reference"]);
    // The token itself takes it once only.
    let again = json!({"from": payer, "to": world.usdc, "data": call["data"]});
    let refused = world.anvil.try_rpc("eth_estimateGas", json!([again])).await;
    assert!(refused.is_err());
    let held = TestUsdc::balanceOfCall {
        account: world.treasury,
    };
    let held: U256 = world.anvil.call(world.usdc, held).await;
    assert_eq!(held.to_string(), paid.confirmed.base_units);
}

#[tokio::test]
async fn a_token_without_authorizations_offers_none() {
    let anvil = Anvil::start().await;
    let odd = anvil.deploy("OddToken").await;
    let world = World::over(anvil, On::Sqlite, 2, |chain| chain.tokens[0].address = odd).await;
    world.wait_read().await;
    let charge = world.charge("acme").await;
    assert_eq!(charge.authorization, None);
}
