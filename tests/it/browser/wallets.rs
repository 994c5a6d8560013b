//! Paying with a wallet in the browser: a real chain, a real page, and a wallet that signs with anvil's keys.

use std::sync::Arc;

use alloy::primitives::U256;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tollgate::engine::ChargeView;

use super::{assert_accessible, told};
use crate::harness::anvil::TestUsdc;
use crate::harness::chromium::{Call, Tab};
use crate::harness::served::Served;
use crate::live::world::{On, World};

/// A page over a chain, with a wallet.
struct Till {
    world: Arc<World>,
    served: Served,
    charge: ChargeView,
    tab: Tab,
}

impl Till {
    /// `settings` say what is unusual about the wallet.
    async fn open(settings: Value) -> Self {
        let world = Arc::new(World::new(On::Sqlite, 2).await);
        world.wait_read().await;
        let served = Served::over(&world.engine).await;
        let charge = world.charge("acme").await;
        let mut wallet = json!({"chain": "0x7a69", "account": world.payer});
        wallet
            .as_object_mut()
            .unwrap()
            .extend(settings.as_object().unwrap().clone());
        let script = include_str!("wallet.js").replace("SETTINGS", &wallet.to_string());
        let (calls, mut called) = mpsc::unbounded_channel::<Call>();
        let anvil = Arc::clone(&world);
        tokio::spawn(async move {
            while let Some(call) = called.recv().await {
                let asked: Value = serde_json::from_str(&call.text).unwrap();
                let method = asked["method"].as_str().unwrap();
                let done = anvil.anvil.try_rpc(method, asked["params"].clone()).await;
                let (result, error) = match done {
                    Ok(result) => (result, Value::Null),
                    Err(error) => (Value::Null, serde_json::from_str(&error).unwrap_or(json!(error))),
                };
                call.answer(&format!("answered({}, {result}, {error})", asked["id"]))
                    .await;
            }
        });
        let tab = Tab::open(&script, calls).await;
        tab.go(&served.page(&charge.id)).await;
        tab.wait("document.querySelectorAll('#wallets button').length === 1")
            .await;
        Self {
            world,
            served,
            charge,
            tab,
        }
    }

    async fn click(&self) {
        self.tab
            .value("document.querySelector('#wallets button').click()")
            .await;
    }

    async fn was_asked(&self, method: &str) -> bool {
        let asked = self.tab.value("asked").await;
        asked.as_array().unwrap().contains(&json!(method))
    }

    async fn paid(&self) {
        self.tab.wait_text("#state", "1 of 2 confirmations").await;
        self.world.anvil.mine(1).await;
        self.tab.wait_text("#state", "Paid").await;
        assert_eq!(told(&self.served, &self.charge.id).await["state"], "paid");
        assert_eq!(self.world.plan("acme"), "pro");
        assert_eq!(self.tab.problems(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_on_another_network_is_switched_and_pays() {
    let till = Till::open(json!({"chain": "0x1", "announces": true})).await;
    till.tab.wait_text("#wallets", "Pay with Test Wallet").await;
    assert_accessible(&till.tab).await;
    till.click().await;
    till.paid().await;
    assert!(till.was_asked("wallet_switchEthereumChain").await);
    assert!(till.was_asked("eth_sendTransaction").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyboard_alone_is_enough_to_pay() {
    let till = Till::open(json!({})).await;
    let focused = "document.activeElement.innerText?.replace(/\\s+/g, ' ')";
    let mut order = Vec::new();
    for _ in 0..6 {
        till.tab.press("Tab").await;
        let visible = till
            .tab
            .value("document.activeElement.matches(':focus-visible')")
            .await;
        assert_eq!(visible, true);
        order.push(
            till.tab
                .value(focused)
                .await
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        );
    }
    let expected = [
        "Pay with your browser wallet",
        "Copy the amount",
        "Copy the address",
        "Open in a wallet app",
        "Copy the link",
        "QR code of the address alone",
    ];
    assert_eq!(order, expected);
    till.tab
        .value("document.querySelector('#wallets button').focus()")
        .await;
    till.tab.press("Enter").await;
    till.paid().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_wallet_refuses_is_told_in_words() {
    let till = Till::open(json!({"declines": "eth_sendTransaction"})).await;
    till.click().await;
    till.tab.wait_text("#wallet-failed", "You declined").await;
    assert_accessible(&till.tab).await;
    assert_eq!(told(&till.served, &till.charge.id).await["state"], "open");

    let unknown = Till::open(json!({"chain": "0x1", "knowsNoChain": true})).await;
    unknown.click().await;
    unknown
        .tab
        .wait_text("#wallet-failed", "does not know Anvil, chain 31337")
        .await;
    assert!(!unknown.was_asked("eth_sendTransaction").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_that_holds_too_little_is_not_asked_to_pay() {
    let till = Till::open(json!({})).await;
    let World {
        anvil,
        usdc,
        payer,
        owner,
        ..
    } = till.world.as_ref();
    let held = anvil
        .call(*usdc, TestUsdc::balanceOfCall { account: *payer })
        .await;
    let away = TestUsdc::transferCall {
        to: *owner,
        value: held - U256::from(1_500_000),
    };
    anvil.send(*payer, *usdc, away).await;
    till.click().await;
    let words = format!("holds 1.5 USDC, and {} USDC is needed", till.charge.due.amount);
    till.tab.wait_text("#wallet-failed", &words).await;
    assert!(!till.was_asked("eth_sendTransaction").await);
}
