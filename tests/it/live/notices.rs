//! USDC and USDT as their issuers may stop them: paused, or with the treasury on the blacklist.

use alloy::primitives::{Address, U256};
use alloy::sol;
use serde_json::json;
use tollgate::domain::{Amount, Hindrance, Interval, Token};
use tollgate::engine::{ChargeView, CreateCharge, EngineError, Origin};

use super::world::{CHAIN, On, World};
use crate::harness::anvil::Anvil;
use crate::harness::facts::column;

sol! {
    /// What an issuer does to `contracts/TestUSDC.sol`.
    interface Circle {
        function pause() external;
        function unpause() external;
        function blacklist(address account) external;
        function unBlacklist(address account) external;
    }

    /// What is done to `contracts/TestUSDT.sol`.
    interface Tether {
        function issue(address to, uint256 amount) external;
        function transfer(address to, uint256 value) external;
        function setParams(uint256 feeBasisPoints, uint256 maxFee) external;
        function pause() external;
        function unpause() external;
        function addBlackList(address account) external;
        function removeBlackList(address account) external;
    }
}

/// A world that accepts USDT alone, of which the payer has plenty; `prepare` is done before anything is read.
async fn tether(prepare: impl AsyncFnOnce(&Anvil, Address, Address)) -> (World, Address) {
    let anvil = Anvil::start().await;
    let usdt = anvil.deploy("TestUSDT").await;
    let accounts = anvil.accounts().await;
    let (to, amount) = (accounts[1], U256::from(u64::MAX));
    anvil
        .send(accounts[0], usdt, Tether::issueCall { to, amount })
        .await;
    prepare(&anvil, accounts[0], usdt).await;
    let token = Token {
        chain: CHAIN,
        address: usdt,
        symbol: "USDT".to_owned(),
        unit: "USD".to_owned(),
        decimals: 6,
        dust: Amount::from(1_000),
    };
    let world = World::over(anvil, On::Sqlite, 2, |chain| {
        chain.tokens = vec![token];
        // Above all that was prepared.
        chain.start_block = Some(8);
    })
    .await;
    world.wait_read().await;
    (world, usdt)
}

impl World {
    fn hindrances(&self) -> Vec<Hindrance> {
        let token = self.settings.tokens[0].address;
        let known = self.engine.chain(CHAIN).unwrap_or_default();
        known.hindrances(token)
    }

    async fn wait_hindrances(&self, wanted: &[Hindrance]) {
        self.wait_until(&format!("{wanted:?}"), || self.hindrances() == wanted)
            .await;
    }

    /// The code of the refusal of a charge.
    async fn refusal(&self) -> &'static str {
        let command = CreateCharge {
            origin: Origin {
                actor: "test".to_owned(),
                cause: "test".to_owned(),
            },
            tenant: "globex".parse().unwrap(),
            user: None,
            plan: "pro".to_owned(),
            interval: Interval::Month,
            chain: None,
            token: None,
            when_active: None,
            idempotency: None,
        };
        match self.engine.execute(command).await {
            Err(EngineError::Conflict { code, .. }) => code,
            other => panic!("{other:?}"),
        }
    }

    async fn token_events(&self) -> Vec<String> {
        let query = "select type from outbox where resource like 'token:%' order by id";
        column(&self.open_store().await, query).await
    }

    async fn flags(&self, charge: &ChargeView) -> String {
        let flags = self.view(&charge.id).await.flags;
        json!(flags).to_string()
    }
}

#[tokio::test]
async fn a_paused_usdc_is_not_offered_until_it_is_resumed() {
    let world = World::new(On::Sqlite, 2).await;
    world.wait_read().await;
    let charge = world.charge("acme").await;
    world
        .anvil
        .send(world.owner, world.usdc, Circle::pauseCall {})
        .await;
    world.wait_hindrances(&[Hindrance::TokenPaused]).await;
    assert_eq!(world.refusal().await, "TOKEN_PAUSED");
    assert_eq!(world.flags(&charge).await, r#"["token_paused"]"#);
    assert!(
        world.reasons().iter().all(|reason| !reason.contains("paused")),
        "no fault of ours"
    );
    world
        .anvil
        .send(world.owner, world.usdc, Circle::unpauseCall {})
        .await;
    world.wait_hindrances(&[]).await;
    assert_eq!(world.flags(&charge).await, "[]");
    world.pay(&charge).await;
    world.anvil.mine(3).await;
    world.wait_state(&charge, "paid").await;
    assert_eq!(world.token_events().await, ["token.paused", "token.resumed"]);
}

#[tokio::test]
async fn a_reorg_takes_a_pause_back_and_the_contract_is_asked_again() {
    let world = World::new(On::Sqlite, 2).await;
    world.wait_read().await;
    world
        .anvil
        .send(world.owner, world.usdc, Circle::pauseCall {})
        .await;
    world.wait_hindrances(&[Hindrance::TokenPaused]).await;
    world.anvil.rpc("anvil_reorg", json!([2, []])).await;
    world.wait_hindrances(&[]).await;
    world.charge("acme").await;
}

#[tokio::test]
async fn a_blacklisted_treasury_is_told_of_and_not_paid_to() {
    let world = World::new(On::Sqlite, 2).await;
    world.wait_read().await;
    let list = |account| Circle::blacklistCall { account };
    world.anvil.send(world.owner, world.usdc, list(world.owner)).await;
    world.wait_read().await;
    assert!(world.hindrances().is_empty(), "another's is none of ours");
    world
        .anvil
        .send(world.owner, world.usdc, list(world.treasury))
        .await;
    world.wait_hindrances(&[Hindrance::TreasuryBlacklisted]).await;
    assert_eq!(world.refusal().await, "TREASURY_BLACKLISTED");
    let account = world.treasury;
    world
        .anvil
        .send(world.owner, world.usdc, Circle::unBlacklistCall { account })
        .await;
    world.wait_hindrances(&[]).await;
    let told = ["treasury.blacklisted", "treasury.unblacklisted"];
    assert_eq!(world.token_events().await, told);
}

#[tokio::test]
async fn what_happened_while_it_was_stopped_is_known_at_the_next_start() {
    let mut world = World::new(On::Sqlite, 2).await;
    world.wait_read().await;
    world.stop().await;
    world
        .anvil
        .send(world.owner, world.usdc, Circle::pauseCall {})
        .await;
    world.anvil.mine(40).await;
    world.start().await;
    world.wait_hindrances(&[Hindrance::TokenPaused]).await;
    assert_eq!(world.refusal().await, "TOKEN_PAUSED");
    world.wait_read().await;
    world.restart().await;
    assert_eq!(world.hindrances(), [Hindrance::TokenPaused], "as it was stored");
    world.wait_read().await;
    assert_eq!(world.token_events().await, ["token.paused"]);
}

#[tokio::test]
async fn a_token_that_was_paused_before_anything_was_read_is_not_offered() {
    let (world, usdt) = tether(async |anvil, owner, usdt| {
        anvil.send(owner, usdt, Tether::pauseCall {}).await;
    })
    .await;
    assert_eq!(
        world.hindrances(),
        [Hindrance::TokenPaused],
        "as the contract says"
    );
    world.anvil.send(world.owner, usdt, Tether::unpauseCall {}).await;
    world.wait_hindrances(&[]).await;
}

#[tokio::test]
async fn usdt_is_paid_without_return_values_and_by_tethers_own_words() {
    let (world, usdt) = tether(async |_, _, _| ()).await;
    let charge = world.charge("acme").await;
    assert_eq!((charge.token.decimals, charge.due.decimals), (6, 6));
    let account = world.treasury;
    world
        .anvil
        .send(world.owner, usdt, Tether::addBlackListCall { account })
        .await;
    world.wait_hindrances(&[Hindrance::TreasuryBlacklisted]).await;
    world
        .anvil
        .send(world.owner, usdt, Tether::removeBlackListCall { account })
        .await;
    world.wait_hindrances(&[]).await;
    let (to, value) = (world.treasury, charge.due.base_units.parse().unwrap());
    world
        .anvil
        .send(world.payer, usdt, Tether::transferCall { to, value })
        .await;
    world.anvil.mine(3).await;
    world.wait_state(&charge, "paid").await;
}

#[tokio::test]
async fn of_usdt_with_its_fee_switched_on_what_arrives_is_credited() {
    let (world, usdt) = tether(async |_, _, _| ()).await;
    let charge = world.charge("acme").await;
    // Ten percent, and never more than 2 USDT: of 15 that is 1.5.
    let fee = Tether::setParamsCall {
        feeBasisPoints: U256::from(1_000),
        maxFee: U256::from(2_000_000),
    };
    world.anvil.send(world.owner, usdt, fee).await;
    let (to, value): (_, U256) = (world.treasury, charge.due.base_units.parse().unwrap());
    let send = |value| Tether::transferCall { to, value };
    let arrives = |sent: U256| sent - sent / U256::from(10);
    // What is sent so that the amount arrives that names the charge.
    let mut gross = value * U256::from(10) / U256::from(9);
    while arrives(gross) < value {
        gross += U256::from(1);
    }
    world.anvil.send(world.payer, usdt, send(gross)).await;
    world.anvil.mine(3).await;
    let paid = world.wait_state(&charge, "paid").await;
    assert_eq!(paid.confirmed.base_units, value.to_string());
    // What is sent without a thought for the fee is short.
    let short = world.charge("globex").await;
    let value: U256 = short.due.base_units.parse().unwrap();
    world.anvil.send(world.payer, usdt, send(value)).await;
    world.anvil.mine(3).await;
    world.wait_read().await;
    assert_eq!(world.view(&short.id).await.state.as_str(), "open");
}
