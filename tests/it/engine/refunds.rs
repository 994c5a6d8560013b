//! Refunds, followed from their recording to what the chain makes of them.

use std::sync::Arc;

use alloy::primitives::{Address, B256};
use tollgate::domain::{
    Amount, BlockRef, Level, Look, LookError, LookOutcome, MinedTransaction, ProvenBlock, Refund, RefundState,
};
use tollgate::engine::JudgeRefund;
use tollgate::store;

use super::reviews::{dollars, key, refund};
use crate::harness::blocks::{Log, Tx, coins, tx};
use crate::harness::databases::{Database, on_both};
use crate::harness::world::{CHAIN, HOUR_MS, PAYER, TREASURY, USDC, World};

on_both!(
    a_refund_is_confirmed_once_its_transfer_is_settled,
    a_transaction_that_sends_something_else_fails_the_refund_and_says_what,
    a_block_that_is_not_of_our_chain_shows_nothing,
    a_block_below_the_kept_headers_counts_once_it_is_linked_to_them,
    a_refund_that_a_reorganisation_left_behind_is_looked_for_again,
    a_transaction_that_is_in_no_block_for_a_day_is_gone,
    one_transfer_sends_back_one_payment_whatever_its_transaction_is_called,
);

/// The operator's transaction.
const SENT: u64 = 100;

fn back(to: Address, amount: Amount) -> Log {
    coins(USDC, TREASURY, to, amount.0)
}

fn sent(logs: Vec<Log>) -> Tx {
    tx(SENT, logs)
}

fn mined(block: &ProvenBlock, tx_hash: B256) -> MinedTransaction {
    let logs = block.logs.iter().filter(|log| log.tx_hash == tx_hash);
    MinedTransaction {
        block: block.header.block(),
        block_time_ms: block.header.time_ms(),
        reverted: false,
        logs: logs.cloned().collect(),
        level: Level::Receipts,
    }
}

fn seen(mined: MinedTransaction) -> Arc<Look> {
    Arc::new(Look::Mined(mined))
}

impl World {
    /// Records that the n-th payment was sent back by a transaction.
    async fn send_back(&self, payment: u64, by: u64) -> Refund {
        let mut command = refund(key(payment), 0, None);
        command.tx_hash = key(by).tx_hash;
        let recorded = self.engine.execute(command).await.unwrap();
        self.refund(&recorded.id).await
    }

    async fn refund(&self, id: &str) -> Refund {
        let mut conn = self.store.read().await.unwrap();
        store::refund(&mut conn, id).await.unwrap().unwrap()
    }

    async fn judge(&self, refund: &Refund, look: Arc<Look>, linked_to: Option<BlockRef>) -> Refund {
        self.judge_by(refund, Ok(look), linked_to).await
    }

    async fn judge_by(&self, refund: &Refund, look: LookOutcome, linked_to: Option<BlockRef>) -> Refund {
        let command = JudgeRefund {
            refund: refund.id.clone(),
            look,
            linked_to,
        };
        self.engine.execute(command).await.unwrap();
        self.refund(refund.id.as_str()).await
    }

    /// Mines the operator's transaction in a block of its own.
    async fn send(&mut self, logs: Vec<Log>) -> ProvenBlock {
        let block = self.build(&[sent(logs)]);
        self.advance(None, vec![block.clone()]).await.unwrap();
        block
    }

    async fn told(&self, payment: u64) -> Vec<String> {
        let resource = format!("payment:eip155:{CHAIN}:{}:0", key(payment).tx_hash);
        self.events(&resource).await
    }
}

/// A world with a payment of 150 that no charge has.
async fn unmatched(database: Database) -> World {
    let mut world = World::settled(database).await;
    world.pay(1, dollars(150)).await;
    world.mine_empty(3).await;
    world
}

async fn a_refund_is_confirmed_once_its_transfer_is_settled(database: Database) {
    let mut world = unmatched(database).await;
    let refund = world.send_back(1, SENT).await;
    assert_eq!(
        world.engine.refunds_due(9).await.unwrap(),
        std::slice::from_ref(&refund)
    );
    for (look, problem) in [
        (Ok(Arc::new(Look::Unknown)), "no endpoint knows"),
        (Ok(Arc::new(Look::Pending)), "in no block yet"),
        (Err(LookError::Unavailable), "do not answer"),
    ] {
        let waiting = world.judge_by(&refund, look, None).await;
        assert_eq!(waiting.state, RefundState::Pending);
        assert!(waiting.problem.unwrap().contains(problem));
    }
    assert_eq!(
        world.engine.refunds_due(9).await.unwrap(),
        [],
        "not again at once"
    );
    let block = world.send(vec![back(PAYER, dollars(150))]).await;
    let look = || seen(mined(&block, key(SENT).tx_hash));
    let early = world.judge(&refund, look(), None).await;
    assert_eq!(early.state, RefundState::Pending, "its policy is not met");
    world.mine_empty(3).await;
    let confirmed = world.judge(&refund, look(), None).await;
    assert_eq!(
        (confirmed.state, confirmed.problem),
        (RefundState::Confirmed, None)
    );
    let proof = confirmed.proof.unwrap();
    assert_eq!((proof.block, proof.sent), (block.header.block(), dollars(150)));
    let before = world.footprint().await;
    world.judge(&refund, Arc::new(Look::Unknown), None).await;
    assert_eq!(world.footprint().await, before, "it is decided");
    assert_eq!(world.told(1).await, ["payment.unmatched", "payment.refunded"]);
    assert_eq!(world.queue().await.len(), 0);
    assert_eq!(world.action_count("payment.refund_confirm").await, 1);
}

async fn a_transaction_that_sends_something_else_fails_the_refund_and_says_what(database: Database) {
    let mut world = unmatched(database).await;
    let other = Address::repeat_byte(0x77);
    let wrong = [
        (vec![], "no transfer of a token"),
        (
            vec![coins(USDC, other, PAYER, dollars(150).0)],
            "nothing from the treasury",
        ),
        (vec![back(other, dollars(150))], "and the payer is"),
        (
            vec![coins(other, TREASURY, PAYER, dollars(150).0)],
            "sends the token",
        ),
        (
            vec![back(other, dollars(150)), back(PAYER, dollars(149))],
            "sends 149000000 base units, and 150000000",
        ),
    ];
    for (nth, (logs, problem)) in wrong.into_iter().enumerate() {
        let refund = world.send_back(1, SENT).await;
        let block = world.send(logs).await;
        world.mine_empty(3).await;
        let look = seen(mined(&block, key(SENT).tx_hash));
        let failed = world.judge(&refund, look, None).await;
        assert_eq!(failed.state, RefundState::Failed);
        let told = failed.problem.unwrap();
        assert!(told.contains(problem), "{told}");
        let queue = world.queue().await;
        assert_eq!(queue[0].refunds.len(), nth + 1, "it waits for a decision again");
    }
    let refund = world.send_back(1, SENT).await;
    let block = world.send(vec![back(PAYER, dollars(150))]).await;
    world.mine_empty(3).await;
    let reverted = MinedTransaction {
        reverted: true,
        ..mined(&block, key(SENT).tx_hash)
    };
    let failed = world.judge(&refund, seen(reverted), None).await;
    assert_eq!(failed.state, RefundState::Failed);
    let told = world.told(1).await;
    assert_eq!(told.len(), 7);
    assert!(
        told[1..].iter().all(|kind| kind == "payment.refund_failed"),
        "{told:?}"
    );
}

async fn a_block_that_is_not_of_our_chain_shows_nothing(database: Database) {
    let mut world = unmatched(database).await;
    let refund = world.send_back(1, SENT).await;
    let block = world.build(&[sent(vec![back(PAYER, dollars(150))])]);
    // Ours has another block there.
    world.blocks.fork_above(block.header.number - 1);
    world.mine_empty(6).await;
    let forged = mined(&block, key(SENT).tx_hash);
    let tip = world.blocks.tip();
    for linked_to in [None, tip] {
        let waiting = world.judge(&refund, seen(forged.clone()), linked_to).await;
        assert_eq!(waiting.state, RefundState::Pending);
        assert!(waiting.problem.unwrap().contains("not of the chain"));
    }
    for level in [Level::None, Level::Ranged, Level::Asked] {
        let unproven = MinedTransaction {
            level,
            block: world.blocks.between(5, 5)[0].header.block(),
            ..forged.clone()
        };
        let waiting = world.judge(&refund, seen(unproven), None).await;
        assert_eq!(waiting.state, RefundState::Pending);
        assert!(waiting.problem.unwrap().contains("not proven as well"));
    }
    assert_eq!(world.told(1).await, ["payment.unmatched"]);
}

async fn a_block_below_the_kept_headers_counts_once_it_is_linked_to_them(database: Database) {
    let world = unmatched(database).await;
    let refund = world.send_back(1, SENT).await;
    let mut old = crate::harness::blocks::Blocks::from(0);
    let block = old.mine(world.clock.now_ms(), &[sent(vec![back(PAYER, dollars(150))])]);
    let look = || seen(mined(&block, key(SENT).tx_hash));
    let lowest = world.engine.lowest_header(CHAIN).await.unwrap().unwrap();
    assert_eq!(lowest.number, 1);
    let forged = BlockRef {
        hash: B256::ZERO,
        ..lowest
    };
    for linked_to in [None, Some(forged)] {
        let waiting = world.judge(&refund, look(), linked_to).await;
        assert_eq!(waiting.state, RefundState::Pending, "{linked_to:?}");
    }
    let confirmed = world.judge(&refund, look(), Some(lowest)).await;
    assert_eq!(confirmed.state, RefundState::Confirmed);
}

async fn a_refund_that_a_reorganisation_left_behind_is_looked_for_again(database: Database) {
    let mut world = unmatched(database).await;
    let refund = world.send_back(1, SENT).await;
    let block = world.send(vec![back(PAYER, dollars(150))]).await;
    world.mine_empty(3).await;
    let look = seen(mined(&block, key(SENT).tx_hash));
    world.judge(&refund, look.clone(), None).await;
    let below = block.header.number - 1;
    world.reorg(below, &[&[], &[], &[], &[], &[]]).await;
    let again = world.refund(refund.id.as_str()).await;
    assert_eq!((again.state, again.proof), (RefundState::Pending, None));
    assert_eq!(
        world.engine.refunds_due(9).await.unwrap(),
        std::slice::from_ref(&again)
    );
    let old = world.judge(&again, look, None).await;
    assert_eq!(old.state, RefundState::Pending, "its old block is another's now");
    let block = world.send(vec![back(PAYER, dollars(150))]).await;
    world.mine_empty(3).await;
    let look = seen(mined(&block, key(SENT).tx_hash));
    let confirmed = world.judge(&refund, look, None).await;
    assert_eq!(confirmed.proof.unwrap().block, block.header.block());
    assert_eq!(
        world.told(1).await,
        [
            "payment.unmatched",
            "payment.refunded",
            "payment.refund_reorged",
            "payment.refunded"
        ]
    );
}

async fn a_transaction_that_is_in_no_block_for_a_day_is_gone(database: Database) {
    let world = unmatched(database).await;
    let refund = world.send_back(1, SENT).await;
    world.wait(23 * HOUR_MS);
    let look = Arc::new(Look::Pending);
    let waiting = world.judge(&refund, look.clone(), None).await;
    assert_eq!(waiting.state, RefundState::Pending);
    let pause = waiting.look_at - world.clock.now_ms();
    assert_eq!(pause, HOUR_MS / 6, "it is looked at seldom by now");
    world.wait(HOUR_MS);
    let unseen = world.judge_by(&refund, Err(LookError::Busy), None).await;
    assert_eq!(unseen.state, RefundState::Pending, "nobody said so");
    let gone = world.judge(&refund, look, None).await;
    assert_eq!(gone.state, RefundState::Vanished);
    assert_eq!(
        world.told(1).await,
        ["payment.unmatched", "payment.refund_failed"]
    );
    world.send_back(1, SENT).await;
}

async fn one_transfer_sends_back_one_payment_whatever_its_transaction_is_called(database: Database) {
    let mut world = unmatched(database).await;
    world.pay(2, dollars(150)).await;
    world.mine_empty(3).await;
    let (first, second) = (world.send_back(1, SENT).await, world.send_back(2, 101).await);
    let block = world.send(vec![back(PAYER, dollars(150))]).await;
    world.mine_empty(3).await;
    let look = seen(mined(&block, key(SENT).tx_hash));
    let confirmed = world.judge(&first, look.clone(), None).await;
    assert_eq!(confirmed.state, RefundState::Confirmed);
    // An endpoint says that the same log is of the second's transaction.
    let failed = world.judge(&second, look, None).await;
    assert_eq!(failed.state, RefundState::Failed);
    assert!(failed.problem.unwrap().contains("another refund"));
}
