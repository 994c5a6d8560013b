//! The attacks and faults of payments, each over a real chain where a real chain can show it.
//!
//! | attack or fault | test |
//! |---|---|
//! | fake token with the same symbol | `a_fake_token_with_the_same_symbol_pays_nothing` |
//! | a `Transfer` of another contract first in the same receipt | `another_contracts_transfer_first_in_the_receipt_is_passed_over` |
//! | two payments in one transaction | `two_payments_in_one_transaction_pay_two_charges`; `engine::matching` |
//! | ERC-721 `Transfer` to the treasury | `an_nft_to_the_treasury_pays_nothing` |
//! | zero-value `transferFrom(victim, treasury, 0)` | `a_zero_value_transfer_from_a_victim_marks_nothing_as_seen` |
//! | replaying one hash for two charges | `one_transaction_pays_one_charge_once`; by a claim: `engine::claims` |
//! | claiming a stranger's hash | `engine::claims` |
//! | decimals set wrong (18 on BSC) | `wrong_decimals_sell_nothing`, `a_token_of_18_decimals_is_paid_in_its_own_base_units` |
//! | same address on another chain | `engine::references`, both ways a charge can be meant |
//! | fee-on-transfer token | `of_a_token_with_a_fee_what_arrived_is_credited` |
//! | bridged USDC.e in place of USDC | `bridged_usdc_is_recorded_flagged_and_credited_to_nobody`; `engine::references` |
//! | payer is a contract or an exchange | `a_contract_that_pays_is_the_payer_and_the_sender_is_not` |
//! | another token's `Transfer` between `AuthorizationUsed` and ours | `a_foreign_transfer_between_authorization_and_payment_breaks_the_reference`; `engine::references` |
//! | reorg before and after credit | `live::payments`; the simulator at random |
//! | re-inclusion at another log index | `a_payment_that_comes_back_at_another_log_index_is_the_same`; `engine::matching` |
//! | endpoint down across the expiry | `engine::deadlines` by the clock; the simulator at random |
//! | amounts changed by the client | `a_client_that_changes_the_amount_is_short_and_never_paid`; `api::tests::charges` |
//! | nonce squatting with 1 unit | `engine::references::nonce_squatting_with_one_unit_blocks_nobody` |
//! | treasury paying itself | `the_treasury_paying_itself_pays_nothing` |
//! | u256 max | `the_largest_amount_there_is_is_read_as_it_is`; `engine::matching` |

use alloy::primitives::{Address, B256, U256};
use alloy::sol;
use serde_json::{Value, json};
use tollgate::domain::{Amount, Token};
use tollgate::engine::ChargeView;

use super::world::{CHAIN, On, World};
use crate::harness::anvil::{Anvil, MemberNft, TestUsdc};
use crate::harness::facts::{column, rows};

sol! {
    /// What is called of `contracts/OddToken.sol`.
    interface OddToken {
        function setDecimals(uint8 value) external;
        function setFee(uint256 basisPoints) external;
        function setBetween(address other) external;
        function mint(address to, uint256 amount) external;
        function transfer(address to, uint256 value) external returns (bool);
        function payWithNonce(address to, uint256 value, bytes32 nonce) external;
        function emitTransfer(address from, address to, uint256 value) external;
    }

    /// What is called of `contracts/BatchPay.sol`.
    interface BatchPay {
        function pay(address token, address[] to, uint256[] amounts) external;
        function payFromSelf(address token, address[] to, uint256[] amounts) external;
        function emitForeign(address from, address to, uint256 amount, bytes32 nonce) external;
    }

    /// What else is called of an ERC-20.
    interface Erc20 {
        function approve(address spender, uint256 value) external returns (bool);
        function transferFrom(address from, address to, uint256 value) external returns (bool);
    }
}

fn due(charge: &ChargeView) -> U256 {
    charge.due.base_units.parse().unwrap()
}

impl World {
    /// Mines until everything is settled, and reads it.
    async fn settle(&self) {
        self.anvil.mine(3).await;
        self.wait_read().await;
    }

    /// What is stored of the payments: rule, flags.
    async fn payments(&self) -> Vec<(String, String)> {
        let store = self.open_store().await;
        let query = "select coalesce(rule, ''), flags from payment order by block_number, log_index";
        let found = rows(&store, query).await.into_iter();
        found.map(|row| (row[0].clone(), row[1].clone())).collect()
    }

    async fn unmatched_events(&self) -> usize {
        let query = "select event_id from outbox where type = 'payment.unmatched'";
        column(&self.open_store().await, query).await.len()
    }

    async fn expect(&self, charge: &ChargeView, state: &str, flags: &str) {
        let view = self.view(&charge.id).await;
        let found: Vec<Value> = view.flags.iter().map(|flag| json!(flag)).collect();
        let found: Vec<&str> = found.iter().filter_map(Value::as_str).collect();
        assert_eq!((view.state.as_str(), found.join(" ").as_str()), (state, flags));
    }
}

fn token(address: Address, symbol: &str, decimals: u8) -> Token {
    Token {
        chain: CHAIN,
        address,
        symbol: symbol.to_owned(),
        unit: "USD".to_owned(),
        decimals,
        dust: Amount::from(1_000),
    }
}

/// A world that accepts an odd token alone, of which the payer has plenty.
async fn odd(decimals: u8, adjust: impl AsyncFnOnce(&Anvil, Address, Address)) -> (World, Address) {
    let anvil = Anvil::start().await;
    let odd = anvil.deploy("OddToken").await;
    let accounts = anvil.accounts().await;
    let (owner, payer) = (accounts[0], accounts[1]);
    let amount = U256::MAX >> 1;
    anvil
        .send(owner, odd, OddToken::setDecimalsCall { value: decimals })
        .await;
    anvil
        .send(owner, odd, OddToken::mintCall { to: payer, amount })
        .await;
    adjust(&anvil, owner, odd).await;
    let world = World::over(anvil, On::Sqlite, 2, |chain| {
        chain.tokens = vec![token(odd, "ODD", decimals)];
    })
    .await;
    world.wait_read().await;
    (world, odd)
}

#[tokio::test]
async fn a_fake_token_with_the_same_symbol_pays_nothing() {
    let world = World::new(On::Sqlite, 2).await;
    let charge = world.charge("acme").await;
    let fake = world.anvil.deploy("TestUSDC").await;
    let (to, amount) = (world.payer, U256::from(u64::MAX));
    world
        .anvil
        .send(world.owner, fake, TestUsdc::mintCall { to, amount })
        .await;
    let (to, value) = (world.treasury, due(&charge));
    world
        .anvil
        .send(world.payer, fake, TestUsdc::transferCall { to, value })
        .await;
    world.settle().await;
    world.expect(&charge, "open", "").await;
    assert!(world.payments().await.is_empty());
}

#[tokio::test]
async fn another_contracts_transfer_first_in_the_receipt_is_passed_over() {
    let (world, odd) = odd(6, async |anvil, owner, odd| {
        let other = anvil.deploy("OddToken").await;
        anvil.send(owner, odd, OddToken::setBetweenCall { other }).await;
    })
    .await;
    let charge = world.charge("acme").await;
    let call = OddToken::payWithNonceCall {
        to: world.treasury,
        value: due(&charge),
        nonce: B256::ZERO,
    };
    world.anvil.send(world.payer, odd, call).await;
    world.settle().await;
    world.expect(&charge, "paid", "").await;
    assert_eq!(
        world.payments().await,
        [("exact_amount".to_owned(), "[]".to_owned())]
    );
}

/// Lets a contract spend for the payer.
async fn batch(world: &World) -> Address {
    let batch = world.anvil.deploy("BatchPay").await;
    let (spender, value) = (batch, U256::MAX);
    world
        .anvil
        .send(world.payer, world.usdc, Erc20::approveCall { spender, value })
        .await;
    batch
}

#[tokio::test]
async fn two_payments_in_one_transaction_pay_two_charges() {
    let world = World::new(On::Sqlite, 2).await;
    let (one, other) = (world.charge("acme").await, world.charge("globex").await);
    let call = BatchPay::payCall {
        token: world.usdc,
        to: vec![world.treasury; 2],
        amounts: vec![due(&other), due(&one)],
    };
    let batch = batch(&world).await;
    world.anvil.send(world.payer, batch, call).await;
    world.settle().await;
    for charge in [&one, &other] {
        world.expect(charge, "paid", "").await;
    }
}

#[tokio::test]
async fn an_nft_to_the_treasury_pays_nothing() {
    let world = World::new(On::Sqlite, 2).await;
    let members = world.anvil.deploy("MemberNft").await;
    let id: U256 = U256::from(15_000_000);
    let to = world.payer;
    world
        .anvil
        .send(world.owner, members, MemberNft::mintCall { to, id })
        .await;
    let charge = world.charge("acme").await;
    let (from, to) = (world.payer, world.treasury);
    world
        .anvil
        .send(world.payer, members, MemberNft::transferFromCall { from, to, id })
        .await;
    world.settle().await;
    world.expect(&charge, "open", "").await;
    assert!(world.payments().await.is_empty());
}

#[tokio::test]
async fn a_zero_value_transfer_from_a_victim_marks_nothing_as_seen() {
    let world = World::new(On::Sqlite, 2).await;
    let charge = world.charge("acme").await;
    let call = Erc20::transferFromCall {
        from: world.payer,
        to: world.treasury,
        value: U256::ZERO,
    };
    world.anvil.send(world.owner, world.usdc, call).await;
    world.settle().await;
    world.expect(&charge, "open", "").await;
    assert_eq!(world.view(&charge.id).await.seen.base_units, "0");
    assert!(world.payments().await.is_empty());
}

#[tokio::test]
async fn one_transaction_pays_one_charge_once() {
    let world = World::new(On::Sqlite, 2).await;
    let charge = world.charge("acme").await;
    world.pay(&charge).await;
    world.settle().await;
    world.expect(&charge, "paid", "").await;
    let again = world.charge("acme").await;
    assert_ne!(again.id, charge.id);
    world.settle().await;
    world.expect(&again, "open", "").await;
    assert_eq!(world.payments().await.len(), 1);
}

#[tokio::test]
async fn wrong_decimals_sell_nothing() {
    let anvil = Anvil::start().await;
    let world = World::over(anvil, On::Sqlite, 2, |chain| chain.tokens[0].decimals = 18).await;
    let is_halted = || {
        world
            .reasons()
            .iter()
            .any(|reason| reason.contains("a token's contract is not as configured"))
    };
    world.wait_until("it to halt", is_halted).await;
    assert!(
        world
            .engine
            .chain(CHAIN)
            .is_none_or(|chain| chain.heights.read.is_none())
    );
}

#[tokio::test]
async fn a_token_of_18_decimals_is_paid_in_its_own_base_units() {
    let (world, odd) = odd(18, async |_, _, _| ()).await;
    let charge = world.charge("acme").await;
    assert!(charge.due.amount.starts_with("15.00"), "{}", charge.due.amount);
    assert_eq!(charge.due.decimals, 18);
    // What it would be at six decimals is a trillionth of it.
    let (to, value) = (world.treasury, due(&charge) / U256::from(1_000_000_000_000_u64));
    world
        .anvil
        .send(world.payer, odd, OddToken::transferCall { to, value })
        .await;
    world.settle().await;
    world.expect(&charge, "open", "").await;
    let value = due(&charge);
    world
        .anvil
        .send(world.payer, odd, OddToken::transferCall { to, value })
        .await;
    world.settle().await;
    world.expect(&charge, "paid", "").await;
}

#[tokio::test]
async fn of_a_token_with_a_fee_what_arrived_is_credited() {
    let (world, odd) = odd(6, async |anvil, owner, odd| {
        let basis_points = U256::from(1_000);
        let call = OddToken::setFeeCall {
            basisPoints: basis_points,
        };
        anvil.send(owner, odd, call).await;
    })
    .await;
    let charge = world.charge("acme").await;
    let nonce = world.nonce(&charge).await;
    let (to, value) = (world.treasury, due(&charge));
    let call = OddToken::payWithNonceCall { to, value, nonce };
    world.anvil.send(world.payer, odd, call).await;
    world.settle().await;
    // A tenth never arrived.
    world.expect(&charge, "open", "underpaid").await;
    let arrived = value - value * U256::from(1_000) / U256::from(10_000);
    let view = world.view(&charge.id).await;
    assert_eq!(view.confirmed.base_units, arrived.to_string());
    assert_eq!(view.remaining.base_units, (value - arrived).to_string());
}

#[tokio::test]
async fn bridged_usdc_is_recorded_flagged_and_credited_to_nobody() {
    let anvil = Anvil::start().await;
    let bridged = anvil.deploy("OddToken").await;
    let world = World::over(anvil, On::Sqlite, 2, |chain| {
        chain.other_tokens = vec![token(bridged, "USDC.e", 6)];
    })
    .await;
    let charge = world.charge("acme").await;
    let (to, amount) = (world.payer, U256::from(u64::MAX));
    world
        .anvil
        .send(world.owner, bridged, OddToken::mintCall { to, amount })
        .await;
    let (to, value) = (world.treasury, due(&charge));
    world
        .anvil
        .send(world.payer, bridged, OddToken::transferCall { to, value })
        .await;
    world.settle().await;
    world.expect(&charge, "open", "wrong_token").await;
    assert_eq!(
        world.payments().await,
        [(String::new(), r#"["wrong_token"]"#.to_owned())]
    );
    assert_eq!(
        (world.unmatched_events().await, world.plan("acme")),
        (1, "free".to_owned())
    );
}

#[tokio::test]
async fn a_contract_that_pays_is_the_payer_and_the_sender_is_not() {
    let world = World::new(On::Sqlite, 2).await;
    let charge = world.charge("acme").await;
    let exchange = world.anvil.deploy("BatchPay").await;
    let (to, value) = (exchange, U256::from(1_000_000_000));
    world
        .anvil
        .send(world.payer, world.usdc, TestUsdc::transferCall { to, value })
        .await;
    let call = BatchPay::payFromSelfCall {
        token: world.usdc,
        to: vec![world.treasury],
        amounts: vec![due(&charge)],
    };
    world.anvil.send(world.owner, exchange, call).await;
    world.settle().await;
    world.expect(&charge, "paid", "").await;
    let payer = column(&world.open_store().await, "select payer from v_payments").await;
    assert_eq!(payer, [exchange.to_string().to_lowercase()]);
}

#[tokio::test]
async fn a_foreign_transfer_between_authorization_and_payment_breaks_the_reference() {
    let (world, odd) = odd(6, async |_, _, _| ()).await;
    let charge = world.charge("acme").await;
    let nonce = world.nonce(&charge).await;
    let (to, value) = (world.treasury, U256::from(1_234_567));
    let other = world.anvil.deploy("OddToken").await;
    let owner = world.owner;
    let between = |other| OddToken::setBetweenCall { other };
    world.anvil.send(owner, odd, between(other)).await;
    let call = || OddToken::payWithNonceCall { to, value, nonce };
    world.anvil.send(world.payer, odd, call()).await;
    world.settle().await;
    world.expect(&charge, "open", "").await;
    assert_eq!(world.payments().await, [(String::new(), "[]".to_owned())]);
    assert_eq!(world.nonce(&charge).await, nonce, "it was not used");
    // With nothing between them it names the charge.
    world.anvil.send(owner, odd, between(Address::ZERO)).await;
    world.anvil.send(world.payer, odd, call()).await;
    world.settle().await;
    world.expect(&charge, "open", "underpaid").await;
    assert_eq!(world.payments().await[1].0, "reference");
}

#[tokio::test]
async fn a_payment_that_comes_back_at_another_log_index_is_the_same() {
    let world = World::new(On::Sqlite, 3).await;
    world.wait_read().await;
    let charge = world.charge("acme").await;
    let (to, value) = (world.treasury, due(&charge));
    let sent = world
        .anvil
        .send(world.payer, world.usdc, TestUsdc::transferCall { to, value })
        .await;
    world.wait_state(&charge, "confirming").await;
    let raw = world
        .anvil
        .rpc("eth_getRawTransactionByHash", json!([sent["transactionHash"]]))
        .await;
    let noise = json!({"from": world.owner, "to": world.usdc, "data": mint(world.owner)});
    world
        .anvil
        .rpc("anvil_reorg", json!([2, [[noise, 0], [raw, 0]]]))
        .await;
    world.wait_read().await;
    world.settle().await;
    world.expect(&charge, "paid", "").await;
    let moved = column(&world.open_store().await, "select log_index from payment").await;
    assert_eq!(moved, ["2"], "behind the two logs of the minting");
    let seen = column(
        &world.open_store().await,
        "select canonical from observation order by canonical",
    )
    .await;
    assert_eq!(seen, ["0", "1"]);
}

fn mint(to: Address) -> alloy::primitives::Bytes {
    use alloy::sol_types::SolCall as _;
    let amount = U256::from(1);
    TestUsdc::mintCall { to, amount }.abi_encode().into()
}

#[tokio::test]
async fn a_client_that_changes_the_amount_is_short_and_never_paid() {
    let world = World::new(On::Sqlite, 2).await;
    let charge = world.charge("acme").await;
    let (to, value) = (world.treasury, due(&charge) - U256::from(10_000_000));
    world
        .anvil
        .send(world.payer, world.usdc, TestUsdc::transferCall { to, value })
        .await;
    world.settle().await;
    world.expect(&charge, "open", "").await;
    assert_eq!(
        (world.payments().await.len(), world.plan("acme")),
        (1, "free".to_owned())
    );
    assert_eq!(world.unmatched_events().await, 1);
}

#[tokio::test]
async fn the_treasury_paying_itself_pays_nothing() {
    let world = World::new(On::Sqlite, 2).await;
    let charge = world.charge("acme").await;
    let (to, amount) = (world.treasury, U256::from(1_000_000_000));
    world
        .anvil
        .send(world.owner, world.usdc, TestUsdc::mintCall { to, amount })
        .await;
    let value = due(&charge);
    world
        .anvil
        .send(world.treasury, world.usdc, TestUsdc::transferCall { to, value })
        .await;
    world.settle().await;
    world.expect(&charge, "open", "").await;
    // What is minted to it comes from nobody, and is of no charge.
    assert_eq!(world.payments().await.len(), 1);
}

#[tokio::test]
async fn the_largest_amount_there_is_is_read_as_it_is() {
    let (world, odd) = odd(6, async |_, _, _| ()).await;
    let charge = world.charge("acme").await;
    let (from, to, value) = (world.payer, world.treasury, U256::MAX);
    world
        .anvil
        .send(world.owner, odd, OddToken::emitTransferCall { from, to, value })
        .await;
    world.settle().await;
    let amount = column(&world.open_store().await, "select amount from payment").await;
    assert_eq!(amount, [U256::MAX.to_string()]);
    world.expect(&charge, "open", "").await;
    world.pay_in(odd, &charge).await;
    world.settle().await;
    world.expect(&charge, "paid", "").await;
}

impl World {
    /// Sends exactly what a charge asks for, in an odd token.
    async fn pay_in(&self, odd: Address, charge: &ChargeView) {
        let (to, value) = (self.treasury, due(charge));
        self.anvil
            .send(self.payer, odd, OddToken::transferCall { to, value })
            .await;
    }

    /// The nonce that a charge offers now.
    async fn nonce(&self, charge: &ChargeView) -> B256 {
        self.view(&charge.id).await.reference.parse().unwrap()
    }
}
