//! What a transaction is to the service, in a word: stored, or seen by a look.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use alloy::primitives::{Address, B256};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, ready};
use tollgate::domain::{
    Amount, BlockRef, ChainId, Level, Look, LookError, LookOutcome, LookUp, MinedTransaction, ProvenBlock,
};
use tollgate::engine::{EngineError, TxExplanation, TxOutcome};

use super::reviews::{code, dollars, key};
use crate::harness::blocks::{Blocks, Log, coins, nft, tx};
use crate::harness::databases::{Database, on_both};
use crate::harness::world::{CHAIN, PAYER, TREASURY, USDC, World, payment, settings};

on_both!(
    a_stored_payment_is_explained_to_the_entitlement,
    what_no_charge_has_is_explained_by_what_was_found_of_it,
    a_transaction_that_was_never_read_is_looked_at_once_and_told_why,
    what_no_look_finds_in_a_block_is_told_too,
    a_look_is_weighed_against_the_chain_that_is_read,
    a_transaction_of_another_chain_is_named_so,
);

const OTHER: ChainId = ChainId(31_338);

/// Sees what it was told to, and counts.
#[derive(Debug, Default)]
struct Eyes {
    seen: HashMap<(ChainId, B256), LookOutcome>,
    asked: Mutex<Vec<ChainId>>,
}

impl LookUp for Eyes {
    fn look(&self, chain: ChainId, tx_hash: B256) -> BoxFuture<'static, LookOutcome> {
        self.asked.lock().unwrap().push(chain);
        let seen = self.seen.get(&(chain, tx_hash)).cloned();
        ready(seen.unwrap_or_else(|| Ok(Arc::new(Look::Unknown)))).boxed()
    }

    fn links(&self, _: ChainId, _: BlockRef, _: BlockRef) -> BoxFuture<'static, Result<bool, LookError>> {
        ready(Ok(false)).boxed()
    }
}

fn seeing(chain: ChainId, seed: u64, look: Look) -> Eyes {
    let mut eyes = Eyes::default();
    eyes.seen.insert((chain, key(seed).tx_hash), Ok(Arc::new(look)));
    eyes
}

fn mined(block: &ProvenBlock, seed: u64) -> Look {
    let logs = block.logs.iter().filter(|log| log.tx_hash == key(seed).tx_hash);
    Look::Mined(MinedTransaction {
        block: block.header.block(),
        block_time_ms: block.header.time_ms(),
        reverted: false,
        logs: logs.cloned().collect(),
        level: Level::Receipts,
    })
}

impl World {
    async fn explain(&self, eyes: &Eyes, seed: u64) -> TxExplanation {
        let explained = self.engine.explain_tx(eyes, Some(CHAIN), key(seed).tx_hash).await;
        explained.unwrap()
    }
}

async fn a_stored_payment_is_explained_to_the_entitlement(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    let eyes = Eyes::default();
    world.pay(1, asked.due).await;
    let confirming = world.explain(&eyes, 1).await;
    assert_eq!(confirming.outcome, TxOutcome::Confirming);
    let payment = &confirming.payments[0];
    assert_eq!(
        (payment.confirmations, payment.confirmations_required),
        (Some(1), 3)
    );
    let failed: Vec<_> = payment.checks.iter().filter(|check| !check.holds).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].check, "settled");
    world.mine_empty(3).await;
    let counted = world.explain(&eyes, 1).await;
    assert_eq!(counted.outcome, TxOutcome::Counted);
    let payment = &counted.payments[0];
    assert!(payment.checks.iter().all(|check| check.holds));
    assert_eq!(payment.charge.as_ref().unwrap().id, asked.id.as_str());
    let entitlement = payment.entitlement.as_ref().unwrap();
    assert_eq!(entitlement.plan.as_deref(), Some("pro"));
    assert_eq!(payment.sources.len(), 1);
    let text = counted.to_string();
    for told in [
        asked.id.as_str(),
        "exact_amount",
        "tenant acme",
        "plan pro",
        "holds dust",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    assert_eq!(
        eyes.asked.lock().unwrap().len(),
        0,
        "what is stored is not looked at"
    );
    let below = world.blocks.tip().unwrap().number - 4;
    world.reorg(below, &[&[], &[]]).await;
    let gone = world.explain(&eyes, 1).await;
    assert_eq!(gone.outcome, TxOutcome::Orphaned);
    assert!(gone.detail.contains("no endpoint knows"), "{}", gone.detail);
}

async fn what_no_charge_has_is_explained_by_what_was_found_of_it(database: Database) {
    let mut world = World::settled(database).await;
    world.ask("acme").await;
    world.pay(1, dollars(1)).await;
    world.mine_empty(3).await;
    let eyes = Eyes::default();
    let stray = world.explain(&eyes, 1).await;
    assert_eq!(stray.outcome, TxOutcome::Unmatched);
    assert!(stray.detail.contains("no rule gives it"), "{}", stray.detail);
    world.ignore(key(1), "ours").await.unwrap();
    assert_eq!(world.explain(&eyes, 1).await.outcome, TxOutcome::Ignored);
    let unknown = world.engine.explain_tx(&eyes, Some(OTHER), B256::ZERO).await;
    assert!(matches!(
        unknown,
        Err(EngineError::Invalid { field: "chainId", .. })
    ));
    assert_eq!(code(unknown), "chainId");
}

async fn a_transaction_that_was_never_read_is_looked_at_once_and_told_why(database: Database) {
    let mut world = World::settled(database).await;
    let other = Address::repeat_byte(0x77);
    let dollar = dollars(1);
    let cases: Vec<(Vec<Log>, TxOutcome, &str)> = vec![
        (vec![], TxOutcome::NoTransfer, "no log"),
        (
            vec![coins(USDC, PAYER, other, dollar.0)],
            TxOutcome::WrongRecipient,
            "this chain's treasury is",
        ),
        (
            vec![coins(other, PAYER, TREASURY, dollar.0)],
            TxOutcome::WrongToken,
            "none of ours",
        ),
        (
            vec![coins(USDC, PAYER, TREASURY, Amount::ZERO.0)],
            TxOutcome::ZeroValue,
            "nothing at all",
        ),
        (
            vec![payment(Amount::from(999))],
            TxOutcome::BelowDust,
            "less than 1000",
        ),
        (
            vec![coins(USDC, TREASURY, TREASURY, dollar.0)],
            TxOutcome::OwnTransfer,
            "a treasury of ours",
        ),
        (
            vec![nft(other, PAYER, TREASURY, 7)],
            TxOutcome::NotMoney,
            "ERC-721",
        ),
        (
            vec![coins(other, PAYER, other, dollar.0)],
            TxOutcome::NoTransfer,
            "none of its transfers",
        ),
        (
            // The nearest to a payment is told.
            vec![coins(USDC, PAYER, other, dollar.0), payment(Amount::from(1))],
            TxOutcome::BelowDust,
            "dust",
        ),
    ];
    for (nth, (logs, outcome, told)) in cases.into_iter().enumerate() {
        let seed = 200 + u64::try_from(nth).unwrap();
        let block = world.build(&[tx(seed, logs)]);
        world.advance(None, vec![block.clone()]).await.unwrap();
        let eyes = seeing(CHAIN, seed, mined(&block, seed));
        let explained = world.explain(&eyes, seed).await;
        assert_eq!(explained.outcome, outcome, "{explained}");
        assert!(explained.detail.contains(told), "{explained}");
        assert!(explained.block.as_ref().unwrap().on_our_chain);
        assert_eq!(*eyes.asked.lock().unwrap(), [CHAIN]);
    }
}

async fn what_no_look_finds_in_a_block_is_told_too(database: Database) {
    let mut world = World::settled(database).await;
    let mut reverted = world.build(&[tx(1, vec![payment(dollars(1))])]);
    world.blocks.fork_above(reverted.header.number - 1);
    reverted.header.number += 100;
    let Look::Mined(reverted) = mined(&reverted, 1) else {
        unreachable!()
    };
    let reverted = Look::Mined(MinedTransaction {
        reverted: true,
        ..reverted
    });
    for (look, outcome) in [
        (reverted, TxOutcome::Reverted),
        (Look::Pending, TxOutcome::Pending),
        (Look::Unknown, TxOutcome::Unknown),
    ] {
        let eyes = seeing(CHAIN, 1, look);
        assert_eq!(world.explain(&eyes, 1).await.outcome, outcome);
    }
    for (error, outcome) in [
        (LookError::Unavailable, TxOutcome::Unavailable),
        (LookError::Busy, TxOutcome::Unavailable),
        (LookError::TooMany, TxOutcome::TooMany),
    ] {
        let mut eyes = Eyes::default();
        eyes.seen.insert((CHAIN, key(1).tx_hash), Err(error));
        assert_eq!(world.explain(&eyes, 1).await.outcome, outcome);
    }
}

async fn a_look_is_weighed_against_the_chain_that_is_read(database: Database) {
    let mut world = World::settled(database).await;
    let paid = || tx(1, vec![payment(dollars(1))]);
    let ahead = world.build(&[paid()]);
    let unread = world.explain(&seeing(CHAIN, 1, mined(&ahead, 1)), 1).await;
    assert_eq!(unread.outcome, TxOutcome::NotRead);
    assert_eq!(unread.block.as_ref().unwrap().level, Level::Asked);
    world.blocks.fork_above(ahead.header.number - 1);
    // Another block at a height that was read: an endpoint that lies, or a reorganisation.
    world.mine_empty(2).await;
    let forged = world.explain(&seeing(CHAIN, 1, mined(&ahead, 1)), 1).await;
    assert_eq!(forged.outcome, TxOutcome::OtherBranch);
    assert!(forged.logs.is_empty() && !forged.block.unwrap().on_our_chain);
    let before = Blocks::from(0).mine(0, &[paid()]);
    let early = world.explain(&seeing(CHAIN, 1, mined(&before, 1)), 1).await;
    assert_eq!(early.outcome, TxOutcome::BeforeStart);
    // As if the block had been read while the treasury was another.
    let mut missed = world.build(&[paid()]);
    let logs = std::mem::take(&mut missed.logs);
    world.advance(None, vec![missed.clone()]).await.unwrap();
    missed.logs = logs;
    let missed = world.explain(&seeing(CHAIN, 1, mined(&missed, 1)), 1).await;
    assert_eq!(missed.outcome, TxOutcome::Missed);
    assert!(missed.detail.contains("tollgate rescan"), "{}", missed.detail);
    assert_eq!(missed.logs[0].finding, "payment");
}

async fn a_transaction_of_another_chain_is_named_so(database: Database) {
    let mut both = settings();
    let mut other = both.chains[0].clone();
    (other.id, other.name) = (OTHER, "other".to_owned());
    both.chains.push(other);
    let mut world = World::open_with(database, both).await;
    world.mine_empty(4).await;
    let block = Blocks::from(7).mine(0, &[tx(1, vec![payment(dollars(1))])]);
    let eyes = seeing(OTHER, 1, mined(&block, 1));
    let explained = world.explain(&eyes, 1).await;
    assert_eq!(explained.outcome, TxOutcome::OtherChain);
    assert!(
        explained.detail.contains("it is on other (eip155:31338)"),
        "{}",
        explained.detail
    );
    assert_eq!(*eyes.asked.lock().unwrap(), [CHAIN, OTHER]);
    let anywhere = world
        .engine
        .explain_tx(&eyes, None, key(1).tx_hash)
        .await
        .unwrap();
    assert_eq!(
        (anywhere.chain_id, anywhere.outcome),
        (OTHER.0, TxOutcome::NotRead)
    );
    let nowhere = world
        .engine
        .explain_tx(&eyes, None, key(2).tx_hash)
        .await
        .unwrap();
    assert_eq!(nowhere.outcome, TxOutcome::Unknown);
    assert!(nowhere.detail.contains("anvil, other"), "{}", nowhere.detail);
}
