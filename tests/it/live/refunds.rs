//! What operators and users decide of payments on a real chain: assigned, claimed, sent back and followed.

use std::sync::Arc;

use alloy::primitives::{Address, B256, U256};
use serde_json::{Value, json};
use tollgate::app;
use tollgate::chain::{Internet, Network};
use tollgate::domain::{Amount, PaymentKey, Refund, RefundState};
use tollgate::engine::{
    AssignPayment, ClaimPayment, Engine, IssueNonce, LinkWallet, Origin, RecordRefund, TxOutcome,
};
use tollgate::jobs;
use tollgate::store;
use tollgate::task::Tasks;

use super::finality::fork_of;
use super::world::{CHAIN, On, World};
use crate::harness::anvil::TestUsdc;
use crate::harness::facts::column;
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::wallets::Wallet;

const PAID: u64 = 7_000_000;

fn origin() -> Origin {
    Origin {
        actor: "key:test".to_owned(),
        cause: "a test".to_owned(),
    }
}

fn hash(receipt: &Value) -> B256 {
    receipt["transactionHash"].as_str().unwrap().parse().unwrap()
}

/// Follows refunds as the service does, through what this engine asks.
fn following(engine: &Engine) -> Tasks {
    let network: Arc<dyn Network> = Arc::new(Internet::new().unwrap());
    let (engine, looks) = (engine.clone(), app::looks(engine, &network));
    let mut tasks = Tasks::default();
    tasks.supervise("refunds", move |stop| {
        jobs::run_refunds(engine.clone(), Arc::clone(&looks), stop)
    });
    tasks
}

impl World {
    /// Moves test USDC.
    async fn move_usdc(&self, from: Address, to: Address, value: u64) -> B256 {
        let value = U256::from(value);
        let call = TestUsdc::transferCall { to, value };
        hash(&self.anvil.send(from, self.usdc, call).await)
    }

    /// A payment that no charge has, and that counts.
    async fn stray(&self) -> PaymentKey {
        let tx_hash = self.move_usdc(self.payer, self.treasury, PAID).await;
        self.anvil.mine(4).await;
        self.wait_read().await;
        PaymentKey {
            chain: CHAIN,
            tx_hash,
            ordinal: 0,
        }
    }

    /// Mines until a block lies below all headers that are kept.
    async fn bury(&self, number: u64) {
        for _ in 0..32 {
            let lowest = self.engine.lowest_header(CHAIN).await.unwrap().unwrap();
            if lowest.number > number {
                return;
            }
            self.anvil.mine(64).await;
            self.wait_read().await;
        }
        panic!("block {number} is kept");
    }

    async fn record(&self, payment: PaymentKey, tx_hash: B256) -> Refund {
        let command = RecordRefund {
            origin: origin(),
            payment,
            tx_hash,
            amount: None,
            reason: "paid by mistake".to_owned(),
        };
        let recorded = self.engine.execute(command).await.unwrap();
        self.refund(&recorded.id).await
    }

    async fn refund(&self, id: &str) -> Refund {
        let store = self.open_store().await;
        let mut conn = store.read().await.unwrap();
        let refund = store::refund(&mut conn, id).await.unwrap().unwrap();
        drop(conn);
        store.close().await;
        refund
    }

    async fn wait_refund(&self, refund: &Refund, what: &str, holds: impl Fn(&Refund) -> bool) -> Refund {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let now = self.refund(refund.id.as_str()).await;
            if holds(&now) {
                return now;
            }
            assert!(std::time::Instant::now() < end, "waited for {what}: {now:?}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    async fn wait_refund_state(&self, refund: &Refund, state: RefundState) -> Refund {
        self.wait_refund(refund, state.as_str(), |now| now.state == state)
            .await
    }

    /// Waits until looks left it pending for this reason.
    async fn wait_refund_problem(&self, refund: &Refund, problem: &str) -> Refund {
        let told = |now: &Refund| now.problem.as_deref().is_some_and(|told| told.contains(problem));
        let now = self.wait_refund(refund, problem, told).await;
        assert_eq!(now.state, RefundState::Pending);
        now
    }

    async fn events_of(&self, payment: PaymentKey) -> Vec<String> {
        let store = self.open_store().await;
        let resource = format!("payment:eip155:{CHAIN}:{}:0", payment.tx_hash);
        let query = format!("select type from outbox where resource = '{resource}' order by id");
        let events = column(&store, &query).await;
        store.close().await;
        events
    }
}

#[tokio::test]
async fn a_refund_is_followed_to_confirmation_across_a_restart() {
    let mut world = World::new(On::Sqlite, 3).await;
    let payment = world.stray().await;
    let tasks = following(&world.engine);
    let refund = world.record(payment, B256::repeat_byte(0x42)).await;
    world.wait_refund_problem(&refund, "no endpoint knows").await;
    drop(tasks);

    // Another, which is what the operator did.
    let other = world.stray().await;
    let sent = world.move_usdc(world.treasury, world.payer, PAID).await;
    let refund = world.record(other, sent).await;
    world.restart().await;
    world.wait_read().await;
    let _tasks = following(&world.engine);
    world.wait_refund_problem(&refund, "not settled yet").await;
    assert_eq!(world.events_of(other).await, ["payment.unmatched"]);
    world.anvil.mine(2).await;
    let confirmed = world.wait_refund_state(&refund, RefundState::Confirmed).await;
    let proof = confirmed.proof.unwrap();
    assert_eq!(proof.sent, Amount::from(PAID));
    assert_eq!(
        world.events_of(other).await,
        ["payment.unmatched", "payment.refunded"]
    );

    // A reorganisation takes the operator's transaction with it.
    let back = world.heights().read.unwrap().number - proof.block.number + 1;
    world
        .anvil
        .rpc("anvil_setCoinbase", json!([Address::repeat_byte(0x55)]))
        .await;
    world.anvil.rpc("anvil_reorg", json!([back, []])).await;
    let again = world.wait_refund_state(&refund, RefundState::Pending).await;
    assert_eq!(again.proof, None);
    assert_eq!(
        world.events_of(other).await,
        ["payment.unmatched", "payment.refunded", "payment.refund_reorged"]
    );
}

#[tokio::test]
async fn a_refund_to_somebody_else_fails_and_gives_the_payment_back_to_the_queue() {
    let world = World::new(On::Sqlite, 2).await;
    let payment = world.stray().await;
    let _tasks = following(&world.engine);
    let stranger = Address::repeat_byte(0x77);
    let sent = world.move_usdc(world.treasury, stranger, PAID).await;
    let refund = world.record(payment, sent).await;
    world.anvil.mine(2).await;
    let failed = world.wait_refund_state(&refund, RefundState::Failed).await;
    assert!(failed.problem.unwrap().contains(&stranger.to_string()));
    assert_eq!(
        world.events_of(payment).await,
        ["payment.unmatched", "payment.refund_failed"]
    );
    let network: Arc<dyn Network> = Arc::new(Internet::new().unwrap());
    let looks = app::looks(&world.engine, &network);
    let explain = async |hash| {
        let explained = world.engine.explain_tx(looks.as_ref(), Some(CHAIN), hash).await;
        explained.unwrap()
    };
    assert_eq!(explain(payment.tx_hash).await.outcome, TxOutcome::Unmatched);
    let operators = explain(sent).await;
    assert_eq!(operators.outcome, TxOutcome::Refund);
    assert!(operators.detail.contains(&payment.to_string()), "{operators}");

    // The right one afterwards, found below all headers that are kept.
    world.stray().await;
    let sent = world.move_usdc(world.treasury, world.payer, PAID).await;
    let number = world.wait_read().await.read.unwrap().number;
    world.bury(number).await;
    let lowest = world.engine.lowest_header(CHAIN).await.unwrap().unwrap();
    let refund = world.record(payment, sent).await;
    let confirmed = world.wait_refund_state(&refund, RefundState::Confirmed).await;
    assert!(confirmed.proof.unwrap().block.number < lowest.number);
}

#[tokio::test]
async fn no_endpoint_can_make_a_refund_confirmed_that_was_not_made() {
    let world = World::new(On::Sqlite, 2).await;
    let payment = world.stray().await;
    // A chain that is ours up to here, where the refund was made; all of it proves.
    let liar = fork_of(&world.anvil).await;
    let (to, value) = (world.payer, U256::from(PAID));
    let call = TestUsdc::transferCall { to, value };
    let forged = hash(&liar.send(world.treasury, world.usdc, call).await);
    liar.mine(5).await;
    let refund = world.record(payment, forged).await;
    world
        .anvil
        .rpc("anvil_setCoinbase", json!([Address::repeat_byte(0x55)]))
        .await;
    world.anvil.mine(5).await;
    world.wait_read().await;
    let other = world.engine_through(&liar.http_url()).await;
    let tasks = following(&other);
    world
        .wait_refund_problem(&refund, "not of the chain that is read")
        .await;
    // Nor once its block is older than all headers that are kept.
    let number = world.heights().read.unwrap().number;
    world.bury(number).await;
    liar.mine(world.heights().read.unwrap().number).await;
    world.wait_refund_problem(&refund, "too old to be linked").await;
    drop(tasks);

    // The true chain, with receipts that prove nothing.
    let sent = world.move_usdc(world.treasury, world.payer, PAID).await;
    world.anvil.mine(3).await;
    world.wait_read().await;
    let other = world.stray().await;
    let refund = world.record(other, sent).await;
    let proxy = Proxy::start(&world.anvil.http_url()).unwrap();
    proxy.inject(Fault::FalseReceipts.of(&["eth_getBlockReceipts"]));
    let doubtful = world.engine_through(&proxy.http_url()).await;
    let tasks = following(&doubtful);
    world.wait_refund_problem(&refund, "not proven as well").await;
    drop(tasks);
    let _tasks = following(&world.engine);
    world.wait_refund_state(&refund, RefundState::Confirmed).await;
}

#[tokio::test]
async fn a_stray_payment_is_assigned_and_another_claimed_by_its_wallet() {
    let world = World::new(On::Sqlite, 2).await;
    world.wait_read().await;
    let (by_operator, by_user) = (world.charge("acme").await, world.charge("globex").await);
    // What is due, short of a little: within the tolerance, and nobody's lease.
    let short = |charge: &tollgate::engine::ChargeView| {
        let due: u64 = charge.due.base_units.parse().unwrap();
        due - 5_000
    };
    let tx_hash = world
        .move_usdc(world.payer, world.treasury, short(&by_operator))
        .await;
    world.anvil.mine(2).await;
    world.wait_read().await;
    let command = AssignPayment {
        origin: origin(),
        payment: PaymentKey {
            chain: CHAIN,
            tx_hash,
            ordinal: 0,
        },
        charge: by_operator.id.parse().unwrap(),
        reason: "they wrote to us".to_owned(),
        accept_late: false,
    };
    world.engine.execute(command).await.unwrap();
    world.wait_state(&by_operator, "paid").await;
    assert_eq!(world.plan("acme"), "pro");

    let wallet = Wallet::of(7);
    world.fund(wallet.address()).await;
    let tx_hash = world
        .move_usdc(wallet.address(), world.treasury, short(&by_user))
        .await;
    world.anvil.mine(2).await;
    world.wait_read().await;
    let claim = || ClaimPayment {
        origin: origin(),
        tenant: "globex".parse().unwrap(),
        user: "jo".parse().unwrap(),
        tx_hash,
        charge: Some(by_user.id.parse().unwrap()),
    };
    let early = world.engine.execute(claim()).await.unwrap();
    assert_eq!(early.state, "waiting", "the wallet is nobody's yet");
    world.link("globex", "jo", &wallet).await;
    let applied = world.engine.execute(claim()).await.unwrap();
    assert_eq!(applied.state, "applied");
    world.wait_state(&by_user, "paid").await;
    assert_eq!(world.plan("globex"), "pro");
}

impl World {
    /// Gives a wallet gas and test USDC, and has anvil sign for it.
    async fn fund(&self, wallet: Address) {
        let ether = "0xde0b6b3a7640000";
        self.anvil.rpc("anvil_setBalance", json!([wallet, ether])).await;
        self.anvil.rpc("anvil_impersonateAccount", json!([wallet])).await;
        self.move_usdc(self.payer, wallet, 1_000_000_000).await;
    }

    async fn link(&self, of: &str, user: &str, wallet: &Wallet) {
        let (tenant, user) = (of.parse().unwrap(), user.parse().unwrap());
        let issue = IssueNonce {
            origin: origin(),
            tenant,
            user,
        };
        let (tenant, user) = (issue.tenant.clone(), issue.user.clone());
        let nonce = self.engine.execute(issue).await.unwrap().nonce;
        let now = self.engine.clock().now_ms();
        let (message, signature) = wallet.sign_at(("localhost", "http://localhost"), &nonce, now);
        let link = LinkWallet {
            origin: origin(),
            tenant,
            user,
            message,
            signature,
        };
        self.engine.execute(link).await.unwrap();
    }
}
