//! A transaction, asked about over HTTP and at the command line: verified for a tenant, explained for operators, with a real
//! chain behind it.

use std::process::Command;

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol;
use alloy::sol_types::SolCall as _;
use serde_json::{Value, json};
use tollgate::engine::{CreateKey, Engine, Scope};

use super::finality::fork_of;
use super::world::{On, World};
use crate::harness::anvil::{MemberNft, TestUsdc};
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::served::Served;

sol! {
    /// What else is called of an ERC-20.
    interface Erc20 {
        function transferFrom(address from, address to, uint256 value) external returns (bool);
    }
}

const DOLLAR: u64 = 1_000_000;

/// An engine that is asked over HTTP.
struct Desk {
    served: Served,
    key: String,
    operators_key: String,
}

impl Desk {
    async fn over(engine: &Engine) -> Self {
        let served = Served::over(engine).await;
        let key = async |scopes: &[Scope]| {
            let command = CreateKey {
                name: "test".to_owned(),
                scopes: scopes.to_vec(),
            };
            engine.execute(command).await.unwrap().key
        };
        Self {
            served,
            key: key(&[Scope::Check]).await,
            operators_key: key(&[Scope::Admin]).await,
        }
    }

    /// One that looks through another endpoint than the world reads by.
    async fn through(url: &str, world: &World) -> Self {
        Self::over(&world.engine_through(url).await).await
    }

    async fn explain(&self, hash: &str) -> Value {
        let path = format!("/api/admin/explain/tx/anvil/{hash}");
        self.served.get(&self.operators_key, "acme", &path).await
    }

    async fn verify(&self, tenant: &str, hash: &str) -> Value {
        let path = format!("/api/billing/crypto/verify/{hash}");
        self.served.get(&self.key, tenant, &path).await
    }

    /// What both say of a transaction that pays for nothing.
    async fn is(&self, hash: &str, outcome: &str, told: &str) {
        let explained = self.explain(hash).await;
        assert_eq!(explained["outcome"], outcome, "{explained:#}");
        assert!(
            explained["detail"].as_str().unwrap().contains(told),
            "{explained:#}"
        );
        let verified = self.verify("acme", hash).await;
        assert_eq!(verified["status"], outcome, "{verified:#}");
        assert_eq!(verified["confirmed"], false);
        assert_eq!(verified["chargeId"], Value::Null);
    }
}

async fn send(world: &World, from: Address, to: Address, data: Vec<u8>) -> String {
    // With gas of its own nothing is estimated, so that what reverts is mined too.
    let transaction = json!({"from": from, "to": to, "data": Bytes::from(data), "gas": "0x100000"});
    let hash = world.anvil.rpc("eth_sendTransaction", json!([transaction])).await;
    hash.as_str().unwrap().to_owned()
}

async fn transfer(world: &World, token: Address, to: Address, value: U256) -> String {
    let call = TestUsdc::transferCall { to, value };
    send(world, world.payer, token, call.abi_encode()).await
}

async fn open(confirmations: u64) -> (World, Desk) {
    let world = World::new(On::Sqlite, confirmations).await;
    world.wait_read().await;
    let desk = Desk::over(&world.engine).await;
    (world, desk)
}

fn hash(receipt: &Value) -> String {
    receipt["transactionHash"].as_str().unwrap().to_owned()
}

/// An answer without what anybody can read on the chain.
fn anonymous(mut answer: Value, hash: &str) -> String {
    let Value::Array(mut payments) = answer["payments"].take() else {
        panic!("{answer:#}")
    };
    for shown in payments.iter_mut().chain([&mut answer]) {
        shown["amount"].take();
        shown["confirmations"].take();
    }
    answer["payments"] = payments.into();
    answer.to_string().replace(hash, "it")
}

#[tokio::test]
async fn a_payment_is_verified_for_its_tenant_and_for_nobody_else() {
    let (world, desk) = open(3).await;
    let charge = world.charge("acme").await;
    let paid = hash(&world.pay(&charge).await);
    world.wait_read().await;
    let early = desk.verify("acme", &paid).await;
    assert_eq!(
        (&early["status"], &early["confirmed"]),
        (&json!("confirming"), &json!(false))
    );
    assert_eq!(
        (&early["confirmations"], &early["confirmationsRequired"]),
        (&json!(1), &json!(3))
    );
    world.anvil.mine(2).await;
    world.wait_state(&charge, "paid").await;
    let verified = desk.verify("acme", &paid).await;
    assert_eq!(
        (&verified["status"], &verified["confirmed"]),
        (&json!("counted"), &json!(true))
    );
    assert_eq!(verified["chargeId"], charge.id);
    assert_eq!(verified["rule"], "exact_amount");
    assert_eq!(verified["amount"], json!(charge.due));
    let path = format!("/api/billing/crypto/status/{paid}?chain=eip155:31337");
    assert_eq!(desk.served.get(&desk.key, "acme", &path).await, verified);

    // To another tenant it is as what no charge has.
    let dollar = U256::from(DOLLAR);
    let stray = transfer(&world, world.usdc, world.treasury, dollar).await;
    world.anvil.mine(2).await;
    world.wait_read().await;
    let foreign = desk.verify("globex", &paid).await;
    assert_eq!(
        (&foreign["status"], &foreign["confirmed"]),
        (&json!("not_yours"), &json!(false))
    );
    assert!(!foreign.to_string().contains(&charge.id), "{foreign:#}");
    let unmatched = desk.verify("globex", &stray).await;
    assert_eq!(anonymous(foreign, &paid), anonymous(unmatched, &stray));

    let explained = desk.explain(&paid).await;
    let payment = &explained["payments"][0];
    assert_eq!(explained["outcome"], "counted");
    assert_eq!(payment["charge"]["id"], charge.id);
    assert_eq!(payment["rule"], "exact_amount");
    assert_eq!(payment["entitlement"]["plan"], "pro");
    let checks = payment["checks"].as_array().unwrap();
    assert!(checks.len() == 9 && checks.iter().all(|check| check["holds"] == true));
    assert_eq!(desk.explain(&stray).await["outcome"], "unmatched");
}

#[tokio::test]
async fn what_was_never_read_is_looked_at_and_told_why_it_does_not_count() {
    let (world, desk) = open(3).await;
    let (usdc, treasury, payer, owner) = (world.usdc, world.treasury, world.payer, world.owner);
    let (anvil, dollar) = (&world.anvil, U256::from(DOLLAR));
    let stranger = Address::repeat_byte(0x77);
    let fake = anvil.deploy("TestUSDC").await;
    let (to, amount) = (payer, dollar);
    anvil.send(owner, fake, TestUsdc::mintCall { to, amount }).await;
    let members = anvil.deploy("MemberNft").await;
    let (to, id) = (payer, U256::from(7));
    anvil.send(owner, members, MemberNft::mintCall { to, id }).await;

    let wrong_token = transfer(&world, fake, treasury, dollar).await;
    let wrong_recipient = transfer(&world, usdc, stranger, dollar).await;
    let dust = transfer(&world, usdc, treasury, U256::ONE).await;
    let reverted = transfer(&world, usdc, treasury, U256::MAX).await;
    let nothing = Erc20::transferFromCall {
        from: stranger,
        to: treasury,
        value: U256::ZERO,
    };
    let zero = send(&world, payer, usdc, nothing.abi_encode()).await;
    let member = MemberNft::transferFromCall {
        from: payer,
        to: treasury,
        id,
    };
    let member = send(&world, payer, members, member.abi_encode()).await;
    let plain = send(&world, payer, stranger, Vec::new()).await;
    let money = TestUsdc::mintCall {
        to: treasury,
        amount: dollar,
    };
    let minted = send(&world, owner, usdc, money.abi_encode()).await;
    let own = TestUsdc::transferCall {
        to: treasury,
        value: dollar,
    };
    let own = send(&world, treasury, usdc, own.abi_encode()).await;
    world.wait_read().await;
    for (hash, outcome, told) in [
        (&wrong_token, "wrong_token", fake.to_string()),
        (&wrong_recipient, "wrong_recipient", stranger.to_string()),
        (&dust, "below_dust", "less than 1000".to_owned()),
        (&reverted, "reverted", "moved nothing".to_owned()),
        (&zero, "zero_value", "nothing at all".to_owned()),
        (&member, "not_money", "ERC-721".to_owned()),
        (&plain, "no_transfer", "no log".to_owned()),
        (&own, "own_transfer", "a treasury of ours".to_owned()),
    ] {
        desk.is(hash, outcome, &told).await;
    }
    // What the owner mints to the treasury is from nobody's wallet, and money all the same.
    assert_eq!(desk.explain(&minted).await["outcome"], "confirming");
    let unknown = B256::repeat_byte(0x42).to_string();
    desk.is(&unknown, "unknown", "asked were those of anvil").await;
    anvil.rpc("evm_setAutomine", json!([false])).await;
    let pending = transfer(&world, usdc, treasury, dollar).await;
    desk.is(&pending, "pending", "in no block yet").await;
}

#[tokio::test]
async fn the_command_explains_a_transaction_beside_the_service_and_without_it() {
    let (mut world, desk) = open(2).await;
    let charge = world.charge("acme").await;
    let paid = hash(&world.pay(&charge).await);
    world.anvil.mine(1).await;
    world.wait_state(&charge, "paid").await;
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("tollgate.toml");
    std::fs::write(&config, world.configuration()).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.arg("--config").arg(&config).args(["explain", "tx"]);
        let output = command.args(arguments).env_clear().output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (done, text, told) = run(&["anvil", &paid]);
    assert!(done, "{told}");
    for part in [
        "counted: ",
        &charge.id,
        "exact_amount",
        "holds recipient",
        "plan pro",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (_, json, _) = run(&["31337", &paid, "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json, desk.explain(&paid).await, "one structure, two renderings");

    world.stop().await;
    let late = hash(&world.pay(&charge).await);
    let (_, text, _) = run(&["anvil", &late]);
    assert!(text.contains("not_read: it is a payment in block"), "{text}");
    let (done, _, told) = run(&["polygon", &paid]);
    assert!(!done && told.contains("there are: anvil"), "{told}");
    let (done, _, told) = run(&["anvil", "0x12"]);
    assert!(!done && told.contains("<HASH>"), "{told}");
}

#[tokio::test]
async fn a_forged_block_or_receipt_is_told_as_what_it_is_and_counts_for_nothing() {
    let world = World::new(On::Sqlite, 2).await;
    world.wait_read().await;
    // Valid in all of itself, and another chain's from here on.
    let liar = fork_of(&world.anvil).await;
    let desk = Desk::through(&liar.http_url(), &world).await;
    let charge = world.charge("acme").await;
    let (to, value) = (world.treasury, charge.due.base_units.parse().unwrap());
    let forged = liar
        .send(world.payer, world.usdc, TestUsdc::transferCall { to, value })
        .await;
    let ahead = desk.explain(&hash(&forged)).await;
    assert_eq!(ahead["outcome"], "not_read", "{ahead:#}");
    assert_eq!(ahead["block"]["level"], "asked");
    world.anvil.mine(5).await;
    world.wait_read().await;
    desk.is(&hash(&forged), "other_branch", "not of the chain that is read")
        .await;
    assert_eq!(world.view(&charge.id).await.state.as_str(), "open");

    // The true chain, with receipts that do not rebuild the root.
    let proxy = Proxy::start(&world.anvil.http_url()).unwrap();
    proxy.inject(Fault::FalseReceipts.of(&["eth_getBlockReceipts"]));
    let desk = Desk::through(&proxy.http_url(), &world).await;
    let stranger = Address::repeat_byte(0x77);
    let call = TestUsdc::transferCall {
        to: stranger,
        value: U256::from(DOLLAR),
    };
    let sent = world.anvil.send(world.payer, world.usdc, call).await;
    world.wait_read().await;
    let doubtful = desk.explain(&hash(&sent)).await;
    assert_eq!(
        (&doubtful["outcome"], &doubtful["block"]["level"]),
        (&json!("wrong_recipient"), &json!("asked"))
    );
}
