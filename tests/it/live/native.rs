//! The native coin over a real chain: what pays, what does not, and what an endpoint cannot feign.

use alloy::primitives::{Address, Bytes, U256};
use alloy::sol;
use alloy::sol_types::SolCall as _;
use serde_json::{Value, json};
use tollgate::domain::{Amount, Level, NATIVE_COIN, NATIVE_ORDINAL, Token};
use tollgate::engine::ChargeView;

use super::world::{CHAIN, On, World};
use crate::harness::anvil::{Anvil, TestUsdc};
use crate::harness::facts::rows;
use crate::harness::proxy::{Fault, Proxy};

sol! {
    /// What is called of `contracts/BatchPay.sol`.
    interface BatchPay {
        function forward(address to) external payable;
    }
}

/// The coin, at the price of a token of the catalogue's currency.
pub fn coin() -> Token {
    Token {
        chain: CHAIN,
        address: NATIVE_COIN,
        symbol: "ETH".to_owned(),
        unit: "USD".to_owned(),
        decimals: 18,
        dust: Amount::from(100_000_000_000_000),
    }
}

/// A world that takes the native coin alone.
async fn world_on(on: On, confirmations: u64) -> World {
    let world = World::over(Anvil::start().await, on, confirmations, |chain| {
        chain.tokens = vec![coin()];
    })
    .await;
    world.wait_read().await;
    world
}

async fn world() -> World {
    world_on(On::Sqlite, 2).await
}

fn due(charge: &ChargeView) -> U256 {
    charge.due.base_units.parse().unwrap()
}

impl World {
    /// Sends the native coin; anvil mines it at once.
    async fn send_coin(&self, to: Address, value: U256) -> Value {
        let transaction = json!({"from": self.payer, "to": to, "value": value});
        self.anvil.transact(transaction).await
    }

    /// Mines until everything is settled, and reads it.
    async fn settle_all(&self) {
        self.anvil.mine(4).await;
        self.wait_read().await;
    }

    /// What is stored of the payments: state, amount, payer, ordinal, level.
    async fn stored(&self) -> Vec<Vec<String>> {
        let query = "select state, amount, payer, ordinal, level from v_payments order by block_number";
        rows(&self.open_store().await, query).await
    }

    async fn state_of(&self, charge: &ChargeView) -> String {
        self.view(&charge.id).await.state.to_string()
    }
}

async fn a_transaction_to_the_treasury_pays_and_its_signer_is_the_payer(on: On) {
    let world = world_on(on, 3).await;
    let charge = world.charge("acme").await;
    assert!(charge.token.native);
    assert_eq!((charge.token.symbol.as_str(), charge.due.decimals), ("ETH", 18));
    let uri = format!(
        "ethereum:{}@31337?value={}",
        world.treasury.to_checksum(None),
        charge.due.base_units
    );
    assert_eq!(charge.payment_uri, uri);
    assert!(charge.authorization.is_none());
    world.send_coin(world.treasury, due(&charge)).await;
    world.wait_state(&charge, "confirming").await;
    assert_eq!(
        world.plan("acme"),
        "free",
        "nothing counts before its policy is met"
    );
    world.anvil.mine(2).await;
    let paid = world.wait_state(&charge, "paid").await;
    assert_eq!(paid.confirmed, charge.due);
    assert_eq!(world.plan("acme"), "pro");
    let stored = world.stored().await;
    assert_eq!(
        stored[0][1..].to_vec(),
        [
            charge.due.base_units.clone(),
            world.payer.to_string().to_lowercase(),
            NATIVE_ORDINAL.to_string(),
            "receipts".to_owned(),
        ]
    );
}

#[tokio::test]
async fn a_native_payment_is_credited_on_sqlite() {
    a_transaction_to_the_treasury_pays_and_its_signer_is_the_payer(On::Sqlite).await;
}

#[tokio::test]
async fn a_native_payment_is_credited_on_postgres() {
    a_transaction_to_the_treasury_pays_and_its_signer_is_the_payer(On::Postgres).await;
}

#[tokio::test]
async fn too_little_is_of_nobody_and_too_much_too() {
    let world = world().await;
    let charge = world.charge("acme").await;
    let wei = U256::from(1);
    world.send_coin(world.treasury, due(&charge) - wei).await;
    world.send_coin(world.treasury, due(&charge) + wei).await;
    world.settle_all().await;
    assert_eq!(world.state_of(&charge).await, "open");
    assert_eq!(world.stored().await.len(), 2, "recorded all the same");
    assert_eq!(world.plan("acme"), "free");
    world.send_coin(world.treasury, due(&charge)).await;
    world.settle_all().await;
    assert_eq!(world.state_of(&charge).await, "paid");
}

#[tokio::test]
async fn what_moves_no_coin_to_the_treasury_pays_nothing() {
    let world = world().await;
    let charge = world.charge("acme").await;
    let (anvil, value) = (&world.anvil, due(&charge));
    // Nothing, dust, to somebody else, the treasury to itself, and a contract's making.
    world.send_coin(world.treasury, U256::ZERO).await;
    world.send_coin(world.treasury, U256::from(1_000)).await;
    world.send_coin(world.owner, value).await;
    let own = json!({"from": world.treasury, "to": world.treasury, "value": value});
    anvil.transact(own).await;
    anvil
        .transact(json!({"from": world.payer, "data": "0x00", "value": value}))
        .await;
    world.settle_all().await;
    assert_eq!(world.state_of(&charge).await, "open");
    assert!(world.stored().await.is_empty(), "{:?}", world.stored().await);
}

#[tokio::test]
async fn a_failed_transaction_pays_nothing() {
    // A treasury that is a contract and takes no coin: the transaction is to it, carries the value, and reverts.
    let anvil = Anvil::start().await;
    let contract = anvil.deploy("MemberNft").await;
    let world = World::over(anvil, On::Sqlite, 2, |chain| {
        chain.tokens = vec![coin()];
        chain.treasury = Some(contract);
    })
    .await;
    world.wait_read().await;
    let charge = world.charge("acme").await;
    let transaction = json!({"from": world.payer, "to": contract, "value": due(&charge), "gas": "0x186a0"});
    let hash = world.anvil.rpc("eth_sendTransaction", json!([transaction])).await;
    world.settle_all().await;
    let receipt = world.anvil.rpc("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["status"], "0x0");
    assert_eq!(world.state_of(&charge).await, "open");
    assert!(world.stored().await.is_empty());
}

#[tokio::test]
async fn what_a_contract_passes_on_is_not_seen() {
    let world = world().await;
    let charge = world.charge("acme").await;
    let before = world.balance(world.treasury).await;
    let batch = world.anvil.deploy("BatchPay").await;
    let to = world.treasury;
    let data = Bytes::from(BatchPay::forwardCall { to }.abi_encode());
    let transaction = json!({"from": world.payer, "to": batch, "value": due(&charge), "data": data});
    world.anvil.transact(transaction).await;
    world.settle_all().await;
    assert_eq!(
        world.balance(world.treasury).await,
        before + due(&charge),
        "it arrived"
    );
    assert_eq!(world.state_of(&charge).await, "open");
    assert!(world.stored().await.is_empty());
}

impl World {
    async fn balance(&self, of: Address) -> U256 {
        let balance = self.anvil.rpc("eth_getBalance", json!([of, "latest"])).await;
        serde_json::from_value(balance).unwrap()
    }
}

#[tokio::test]
async fn a_reorg_before_and_after_credit_is_followed() {
    let mut world = world().await;
    let charge = world.charge("acme").await;
    let sent = world.send_coin(world.treasury, due(&charge)).await;
    let raw = world
        .anvil
        .rpc("eth_getRawTransactionByHash", json!([sent["transactionHash"]]))
        .await;
    world.wait_state(&charge, "confirming").await;
    world.anvil.rpc("anvil_reorg", json!([1, []])).await;
    world.wait_state(&charge, "open").await;
    // The same transaction again, behind another of the same block.
    let noise = json!({"from": world.owner, "to": world.owner, "value": "0x1"});
    world
        .anvil
        .rpc("anvil_reorg", json!([1, [[noise, 0], [raw, 0]]]))
        .await;
    world.wait_read().await;
    world.settle_all().await;
    world.wait_state(&charge, "paid").await;
    assert_eq!(world.stored().await.len(), 1, "one payment, wherever it stands");
    world.restart().await;
    world.wait_read().await;
    assert_eq!(world.plan("acme"), "pro");
    world.anvil.rpc("anvil_reorg", json!([6, []])).await;
    world.wait_state(&charge, "reversed").await;
    world.anvil.rpc("eth_sendRawTransaction", json!([raw])).await;
    world.settle_all().await;
    world.wait_state(&charge, "paid").await;
    assert_eq!(world.stored().await.len(), 1);
}

#[tokio::test]
async fn payments_of_the_time_it_was_stopped_are_read_one_by_one_and_by_ranges() {
    let mut world = world().await;
    let charges = [world.charge("one").await, world.charge("two").await];
    world.stop().await;
    world.send_coin(world.treasury, due(&charges[0])).await;
    world.anvil.mine(60).await;
    world.send_coin(world.treasury, due(&charges[1])).await;
    world.start().await;
    world.settle_all().await;
    for charge in &charges {
        world.wait_state(charge, "paid").await;
    }
    // All of it again, from nothing.
    world.restart_empty().await;
    world.wait_read().await;
    let stored = world.stored().await;
    assert_eq!(stored.len(), 2);
    assert!(
        stored.iter().all(|payment| payment[4] == "receipts"),
        "{stored:?}"
    );
}

#[tokio::test]
async fn tokens_are_taken_beside_the_coin_in_one_block() {
    let world = World::over(Anvil::start().await, On::Sqlite, 2, |chain| {
        chain.tokens.push(coin());
    })
    .await;
    world.wait_read().await;
    let in_coin = world.charge_in("acme", "ETH").await;
    let in_usdc = world.charge_in("globex", "USDC").await;
    world.anvil.rpc("evm_setAutomine", json!([false])).await;
    let (to, value) = (world.treasury, due(&in_usdc));
    let data = Bytes::from(TestUsdc::transferCall { to, value }.abi_encode());
    for transaction in [
        json!({"from": world.payer, "to": world.usdc, "data": data}),
        json!({"from": world.payer, "to": world.treasury, "value": due(&in_coin)}),
    ] {
        world.anvil.rpc("eth_sendTransaction", json!([transaction])).await;
    }
    world.settle_all().await;
    for charge in [&in_coin, &in_usdc] {
        world.wait_state(charge, "paid").await;
    }
}

#[tokio::test]
async fn an_endpoint_that_invents_or_hides_a_payment_is_not_believed() {
    let anvil = Anvil::start().await;
    let proxy = Proxy::start(&anvil.http_url()).unwrap();
    let world = World::over(anvil, On::Sqlite, 2, |chain| {
        chain.tokens = vec![coin()];
        chain.endpoints[0].http = Some(proxy.http_url().into());
        chain.endpoints[0].ws = Some(proxy.ws_url().into());
    })
    .await;
    world.wait_read().await;
    let charge = world.charge("acme").await;
    for fault in [
        Fault::FalsePayment(world.treasury),
        Fault::NoPayment(world.treasury),
    ] {
        let read = world.heights().read;
        let lie = proxy.inject(fault.of(&["eth_getBlockByHash"]));
        world
            .send_coin(world.treasury, U256::from(1_000_000_000_000_000_u64))
            .await;
        let lied = || lie.strikes() > 1;
        world.wait_until("it to be lied to", lied).await;
        assert_eq!(
            world.heights().read,
            read,
            "nothing is read that does not prove itself"
        );
        lie.lift();
        world.wait_read().await;
    }
    world.settle_all().await;
    assert_eq!(world.state_of(&charge).await, "open");
    let stored = world.stored().await;
    assert_eq!(stored.len(), 2, "what was paid in truth: {stored:?}");
    assert!(
        stored.iter().all(|payment| payment[1] == "1000000000000000"),
        "{stored:?}"
    );
}

/// A world whose blocks are believed to this level, with a payment in a block that was read as it came, and one in a range.
async fn believed(level: Level) -> (World, [ChargeView; 2]) {
    let mut world = World::over(Anvil::start().await, On::Sqlite, 2, |chain| {
        chain.tokens = vec![coin()];
        chain.level = Some(level);
    })
    .await;
    world.anvil.mine(1).await;
    let charges = [world.charge("one").await, world.charge("two").await];
    world.send_coin(world.treasury, due(&charges[0])).await;
    world.anvil.mine(4).await;
    let seen = || async { world.view(&charges[0].id).await.seen.base_units != "0" };
    while !seen().await {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    world.stop().await;
    world.send_coin(world.treasury, due(&charges[1])).await;
    world.anvil.mine(60).await;
    world.start().await;
    (world, charges)
}

#[tokio::test]
async fn at_level_asked_what_is_said_twice_alike_counts() {
    let (world, charges) = believed(Level::Asked).await;
    for charge in &charges {
        world.wait_state(charge, "paid").await;
    }
    let stored = world.stored().await;
    assert!(stored.iter().all(|payment| payment[4] == "asked"), "{stored:?}");
}

#[tokio::test]
async fn at_level_none_it_is_shown_and_never_counts() {
    let (world, charges) = believed(Level::None).await;
    world.settle_all().await;
    let stored = world.stored().await;
    assert_eq!(stored.len(), 2);
    let shown = |payment: &Vec<String>| (payment[0].as_str(), payment[4].as_str()) == ("confirming", "none");
    assert!(stored.iter().all(shown), "{stored:?}");
    for charge in &charges {
        assert_eq!(world.state_of(charge).await, "open");
    }
    assert_eq!(
        (world.plan("one"), world.plan("two")),
        ("free".to_owned(), "free".to_owned())
    );
}

#[tokio::test]
async fn only_where_it_is_taken_does_it_cost_a_request() {
    for (tokens, per_block) in [(vec![coin()], 1), (Vec::new(), 0)] {
        let anvil = Anvil::start().await;
        let proxy = Proxy::start(&anvil.http_url()).unwrap();
        let world = World::over(anvil, On::Sqlite, 2, |chain| {
            chain.tokens = tokens;
            chain.endpoints[0].http = Some(proxy.http_url().into());
            chain.endpoints[0].ws = Some(proxy.ws_url().into());
        })
        .await;
        world.wait_read().await;
        let whole_blocks = || proxy.traffic().asked("eth_getBlockByHash");
        let before = whole_blocks();
        for _ in 0..5 {
            world.send_coin(world.owner, U256::from(1)).await;
            world.wait_read().await;
        }
        // Blocks without a transaction are known by their header alone.
        world.anvil.mine(5).await;
        world.wait_read().await;
        assert_eq!(whole_blocks() - before, 5 * per_block);
    }
}
