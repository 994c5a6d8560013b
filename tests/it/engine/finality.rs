//! When a payment counts, by its amount: confirmations, tags, age and operators; and when it can no longer be undone.

use std::time::Duration;

use alloy::primitives::B256;
use tollgate::domain::{
    Agreement, BlockRef, Evidence, Finality, Finalized, Heights, PaymentState, Tag, Tier,
};
use tollgate::engine::{EngineError, MarkStalled, Settings};

use crate::harness::blocks::{nft, tx};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::column;
use crate::harness::holders::{MEMBERS, NOBODY};
use crate::harness::world::{BLOCK_MS, CHAIN, HOUR_MS, PAYER, TTL_MS, World, settings};

on_both!(
    a_payment_waits_for_the_tier_of_its_amount,
    a_tag_counts_only_with_our_hash_and_many_blocks_may_stand_in_for_it,
    a_block_counts_once_it_is_old_enough,
    where_operators_must_agree_nothing_counts_beyond_what_they_report,
    a_payment_is_watched_on_until_it_is_final,
    what_is_final_is_undone_on_a_development_chain_only,
    without_a_tag_what_is_no_longer_kept_is_final,
    a_reorg_below_settled_is_undone_at_any_depth_that_is_kept,
    a_transfer_that_waits_for_finality_is_not_forgotten_with_its_header,
    charges_do_not_expire_while_finality_stalls,
    other_tiers_are_settled_anew,
);

pub fn tier(name: &str, up_to: Option<&str>, confirmations: u64) -> Tier {
    Tier {
        name: name.to_owned(),
        up_to: up_to.map(str::to_owned),
        ..Tier::of_confirmations(confirmations)
    }
}

/// A policy of these tiers on a chain where money counts.
pub fn with_tiers(tiers: Vec<Tier>) -> Settings {
    let mut settings = settings();
    settings.chains[0].finality = Finality::new(tiers).unwrap();
    settings.chains[0].development = false;
    settings
}

pub fn finalized(block: BlockRef) -> Evidence {
    Evidence {
        finalized: Finalized::Block(block),
        ..Evidence::default()
    }
}

impl World {
    fn block(&self, number: u64) -> BlockRef {
        self.blocks.between(number, number)[0].header.block()
    }

    fn heights_now(&self) -> Heights {
        self.engine.chain(CHAIN).unwrap().heights
    }

    /// Hears of something, with no new block.
    pub async fn hear(&mut self, evidence: Evidence) -> Heights {
        self.evidence = evidence;
        self.advance(None, Vec::new()).await.unwrap()
    }
}

async fn a_payment_waits_for_the_tier_of_its_amount(database: Database) {
    let tiers = vec![tier("low", Some("10"), 2), tier("high", None, 5)];
    let mut world = World::open_with(database, with_tiers(tiers)).await;
    world.mine_empty(6).await;
    let asked = world.ask("acme").await;
    assert_eq!(world.charge(&asked).await.confirmations_required, 5, "15 units");
    world.pay(1, asked.due).await;
    for _ in 0..3 {
        world.mine_empty(1).await;
        assert_eq!(
            (world.state(&asked).await, world.plan("acme")),
            ("confirming".into(), "free".into())
        );
    }
    let heights = world.heights_now();
    let number = |place| heights.settled_at(place).map(|settled| settled.block.number);
    assert_eq!((number(0), number(1), number(2)), (Some(9), Some(6), None));
    world.mine_empty(1).await;
    assert_eq!(
        (world.state(&asked).await, world.plan("acme")),
        ("paid".into(), "pro".into())
    );
    world.assert_reload_is_identity().await;
}

async fn a_tag_counts_only_with_our_hash_and_many_blocks_may_stand_in_for_it(database: Database) {
    let tagged = Tier {
        tag: Some(Tag::Finalized),
        or_confirmations: Some(8),
        ..tier("low", None, 2)
    };
    let mut world = World::open_with(database, with_tiers(vec![tagged])).await;
    world.mine_empty(5).await;
    assert_eq!(world.heights_now().settled, None, "no tag, and too few blocks");
    let stranger = BlockRef {
        number: 3,
        hash: B256::repeat_byte(1),
    };
    assert_eq!(world.hear(finalized(stranger)).await.settled, None);
    let heights = world.hear(finalized(world.block(3))).await;
    assert_eq!(heights.settled, Some(world.block(3)));
    // It never goes back by what is heard.
    let heights = world.hear(finalized(world.block(2))).await;
    assert_eq!(
        (heights.settled, heights.finalized),
        (Some(world.block(3)), Some(world.block(3)))
    );
    assert_eq!(
        world.hear(finalized(world.block(5))).await.settled,
        Some(world.block(4)),
        "and confirmations"
    );
    world.hear(Evidence::default()).await;
    assert_eq!(world.mine_empty(6).await.settled, Some(world.block(4)));
    assert_eq!(
        world.mine_empty(1).await.settled,
        Some(world.block(5)),
        "eight blocks stand on it"
    );
    world.assert_reload_is_identity().await;
}

async fn a_block_counts_once_it_is_old_enough(database: Database) {
    let aged = Tier {
        min_age: Duration::from_mins(1),
        ..tier("low", None, 1)
    };
    let mut world = World::open_with(database, with_tiers(vec![aged])).await;
    assert_eq!(world.mine_empty(5).await.settled, None, "the first is 48 s old");
    assert_eq!(
        world.mine_empty(1).await.settled,
        Some(world.block(1)),
        "it is 60 s old"
    );
    world.wait(2 * BLOCK_MS);
    assert_eq!(
        world.hear(Evidence::default()).await.settled,
        Some(world.block(3))
    );
    // A long stretch that is old already settles as it is read.
    for _ in 0..400 {
        world.build(&[]);
    }
    world.wait(25 * HOUR_MS);
    let blocks = world.blocks.between(7, 406).to_vec();
    let heights = world.advance(None, blocks).await.unwrap();
    assert_eq!(heights.settled, Some(world.block(406)));
    world.assert_reload_is_identity().await;
}

async fn where_operators_must_agree_nothing_counts_beyond_what_they_report(database: Database) {
    let mut settings = with_tiers(vec![tier("low", None, 2)]);
    settings.chains[0].agree = 2;
    let mut world = World::open_with(database, settings).await;
    let asked = world.ask("acme").await;
    world.pay(1, asked.due).await;
    assert_eq!(world.mine_empty(5).await.settled, None, "nobody was asked");
    let agreed = |agreement| Evidence {
        agreement,
        ..Evidence::default()
    };
    assert_eq!(world.hear(agreed(Agreement::Nothing)).await.settled, None);
    let stranger = BlockRef {
        number: 4,
        hash: B256::repeat_byte(1),
    };
    assert_eq!(world.hear(agreed(Agreement::UpTo(stranger))).await.settled, None);
    assert_eq!(world.state(&asked).await, "confirming");
    // Two blocks must stand on it, itself included, on which they agree: five that one of them has are none.
    assert_eq!(
        world.hear(agreed(Agreement::UpTo(world.block(1)))).await.settled,
        None
    );
    assert_eq!(world.state(&asked).await, "confirming");
    let heights = world.hear(agreed(Agreement::UpTo(world.block(2)))).await;
    assert_eq!(
        (heights.settled, world.state(&asked).await),
        (Some(world.block(1)), "paid".into())
    );
    let heights = world.hear(agreed(Agreement::UpTo(world.block(6)))).await;
    assert_eq!(heights.settled, Some(world.block(5)));
    // A tag beyond what is agreed makes nothing final beyond it.
    let both = Evidence {
        finalized: Finalized::Block(world.block(6)),
        ..agreed(Agreement::UpTo(world.block(3)))
    };
    assert_eq!(world.hear(both).await.finalized, Some(world.block(3)));
    world.assert_reload_is_identity().await;
}

async fn a_payment_is_watched_on_until_it_is_final(database: Database) {
    let mut world = World::open_with(database, with_tiers(vec![tier("low", None, 2)])).await;
    world.mine_empty(3).await;
    let asked = world.ask("acme").await;
    world.pay(1, asked.due).await;
    world.mine_empty(2).await;
    let paid = world.charge(&asked).await;
    assert_eq!(
        (paid.confirmed.base_units, paid.finalized.base_units),
        (asked.due.to_string(), "0".to_owned())
    );
    world.hear(finalized(world.block(3))).await;
    assert_eq!(
        column(&world.store, "select state from payment").await,
        ["confirmed"]
    );
    world.hear(finalized(world.block(4))).await;
    assert_eq!(column(&world.store, "select state from payment").await, ["final"]);
    let last = world.charge(&asked).await;
    assert_eq!((last.state.as_str(), last.finalized), ("paid", last.confirmed));
    assert_eq!(world.action_count("payment.finalize").await, 1);

    // What is final is not undone by whatever an endpoint says.
    let before = world.footprint().await;
    let ancestor = world.block(3);
    let refused = world.advance(Some(ancestor), Vec::new()).await;
    assert!(
        matches!(refused, Err(EngineError::BelowFinalized(CHAIN))),
        "{refused:?}"
    );
    assert_eq!(world.footprint().await, before);
    world.reorg(4, &[&[], &[], &[]]).await;
    assert_eq!(world.state(&asked).await, "paid");
    assert_eq!(PaymentState::Final.as_str(), "final");
    world.assert_reload_is_identity().await;
}

async fn what_is_final_is_undone_on_a_development_chain_only(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    world.pay(1, asked.due).await;
    world.mine_empty(4).await;
    let tip = world.blocks.tip().unwrap();
    assert_eq!(world.hear(finalized(tip)).await.finalized, Some(tip));
    world.evidence = Evidence::default();
    let heights = world.reorg(4, &[&[], &[]]).await;
    assert_eq!(heights.finalized, Some(world.block(4)));
    assert_eq!(
        (world.state(&asked).await, world.plan("acme")),
        ("reversed".into(), "free".into())
    );
    let charge = world.charge(&asked).await;
    assert_eq!(
        (charge.confirmed.base_units, charge.finalized.base_units),
        ("0".into(), "0".into())
    );
    world.assert_reload_is_identity().await;
}

async fn without_a_tag_what_is_no_longer_kept_is_final(database: Database) {
    let mut world = World::open_with(database, with_tiers(vec![tier("low", None, 2)])).await;
    let asked = world.ask("acme").await;
    world.pay(1, asked.due).await;
    world.mine_empty(320).await;
    assert_eq!(world.heights_now().finalized, None, "it is not a day old");
    world.wait(25 * HOUR_MS);
    world.mine_empty(64).await;
    let lowest = column(&world.store, "select min(number) from header").await;
    let finalized = world.heights_now().finalized.unwrap();
    assert_eq!(lowest, [finalized.number.to_string()]);
    let newest = world.blocks.tip().unwrap().number;
    assert!(
        newest - finalized.number >= 255 && newest - finalized.number < 256 + 64,
        "{finalized:?}"
    );
    assert_eq!(column(&world.store, "select state from payment").await, ["final"]);
    world.reorg(finalized.number, &[&[], &[]]).await;
    assert_eq!(world.state(&asked).await, "paid");
    world.assert_reload_is_identity().await;
}

async fn a_reorg_below_settled_is_undone_at_any_depth_that_is_kept(database: Database) {
    let tiers = vec![tier("low", Some("10"), 2), tier("high", None, 4)];
    let mut world = World::open_with(database, with_tiers(tiers)).await;
    world.watch(MEMBERS).await;
    world.activate(&[MEMBERS]).await.unwrap();
    world.mine_empty(4).await;
    let mut seed = 0;
    for depth in [1_u64, 3, 6, 32, 45, 200] {
        let asked = world.ask("acme").await;
        let below = world.blocks.tip().unwrap().number;
        seed += 1;
        let minted = tx(1_000 + seed, vec![nft(MEMBERS, NOBODY, PAYER, seed)]);
        let paid = tx(seed, vec![crate::harness::world::payment(asked.due)]);
        world.mine(&[paid.clone(), minted]).await;
        world.mine_empty(depth - 1).await;
        let counted = if depth >= 4 { "paid" } else { "confirming" };
        assert_eq!(world.state(&asked).await, counted, "depth {depth}");

        // Four deep in the new branch, or where it stood before, but not above the ancestor.
        let high = (below + depth - 3).min(below).max(below - 1);
        let heights = world.reorg(below, &[&[], &[]]).await;
        let number = |place| heights.settled_at(place).map(|settled| settled.block.number);
        assert_eq!(
            (number(0), number(1)),
            (Some(below + 1), Some(high)),
            "depth {depth}"
        );
        let gone = if depth >= 4 { "reversed" } else { "open" };
        assert_eq!(
            (world.state(&asked).await, world.plan("acme")),
            (gone.into(), "free".into())
        );
        world.assert_balances(&world.engine, MEMBERS, &[PAYER], &format!("after depth {depth}"));
        world.assert_reload_is_identity().await;

        // It comes back and counts once; then it goes for good, so that the next depth begins with nothing.
        let back = world.blocks.tip().unwrap().number;
        world.mine(&[paid.after_foreign_logs(2)]).await;
        world.mine_empty(3).await;
        assert_eq!(
            (world.state(&asked).await, world.plan("acme")),
            ("paid".into(), "pro".into())
        );
        world.reorg(back, &[&[], &[]]).await;
        assert_eq!(
            (world.state(&asked).await, world.plan("acme")),
            ("reversed".into(), "free".into())
        );
        world.assert_reload_is_identity().await;
    }
}

async fn a_transfer_that_waits_for_finality_is_not_forgotten_with_its_header(database: Database) {
    let tagged = Tier {
        tag: Some(Tag::Finalized),
        ..tier("low", None, 1)
    };
    let mut world = World::open_with(database, with_tiers(vec![tagged])).await;
    world.watch(MEMBERS).await;
    world.activate(&[MEMBERS]).await.unwrap();
    for id in 1..=900 {
        let minted = [tx(id, vec![nft(MEMBERS, NOBODY, PAYER, id)])];
        world.build(if id % 5 == 0 { &minted } else { &[] });
    }
    // All are old, so only the last 256 headers are kept; and nothing is final yet.
    world.wait(25 * HOUR_MS);
    for from in [1, 301, 601] {
        let blocks = world.blocks.between(from, from + 299).to_vec();
        world.advance(None, blocks).await.unwrap();
    }
    assert_eq!(world.heights_now().settled, None);
    world.hear(finalized(world.block(890))).await;
    world.assert_balances(&world.engine, MEMBERS, &[PAYER], "once it is final");
    world.mine_empty(70).await;
    world.hear(finalized(world.block(960))).await;
    world.assert_balances(&world.engine, MEMBERS, &[PAYER], "and after it");
    world.assert_reload_is_identity().await;
}

async fn charges_do_not_expire_while_finality_stalls(database: Database) {
    let tiers = vec![tier("low", Some("10"), 2), tier("high", None, 2)];
    let mut world = World::open_with(database, with_tiers(tiers)).await;
    world.mine_empty(4).await;
    let asked = world.ask("acme").await;
    let (chain, fence) = (CHAIN, world.fence);
    let mark = |reason: Option<&str>| MarkStalled {
        chain,
        fence,
        reason: reason.map(str::to_owned),
    };
    world
        .engine
        .execute(mark(Some("the tag went backwards")))
        .await
        .unwrap();
    world.engine.execute(mark(Some("in other words"))).await.unwrap();
    let known = world.engine.chain(CHAIN).unwrap();
    assert_eq!(known.stalled.unwrap().reason, "the tag went backwards");
    world.wait(TTL_MS + 1);
    world.mine_empty(5).await;
    world
        .engine
        .execute(tollgate::engine::ExpireCharges)
        .await
        .unwrap();
    assert_eq!(
        world.standing(&asked).await,
        ("open".to_owned(), "chain_blind".to_owned())
    );
    assert!(
        !world.engine.has_deadlines().await.unwrap(),
        "nothing to do until it moves again"
    );
    world.assert_reload_is_identity().await;

    // Small payments go on: the low tier waits for no tag.
    assert_eq!(world.heights_now().settled, Some(world.block(8)));
    world.engine.execute(mark(None)).await.unwrap();
    world.mine_empty(1).await;
    world
        .engine
        .execute(tollgate::engine::ExpireCharges)
        .await
        .unwrap();
    assert_eq!(world.state(&asked).await, "expired");
    let resource = format!("chain:{CHAIN}");
    assert_eq!(
        world.events(&resource).await,
        ["chain.stalled", "chain.recovered"]
    );
    world.assert_reload_is_identity().await;
}

async fn other_tiers_are_settled_anew(database: Database) {
    let tiers = vec![
        tier("low", Some("10"), 2),
        tier("mid", Some("20"), 2),
        tier("high", None, 2),
    ];
    let mut world = World::open_with(database, with_tiers(tiers)).await;
    world.mine_empty(9).await;
    assert!(world.heights_now().settled_at(1).is_some());
    let before = world.heights_now();
    world.fence = world.lead().await;
    assert_eq!(world.heights_now().upper, before.upper, "the same policy");

    // Where "mid" was, "high" stands now, and it covers less.
    let fewer = with_tiers(vec![tier("low", Some("10"), 2), tier("high", None, 7)]);
    let (store, clock) = (world.store.clone(), world.clock.clone());
    let catalogue = crate::harness::world::catalogue();
    world.engine = tollgate::engine::Engine::open(store, fewer, catalogue, clock)
        .await
        .unwrap();
    world.fence = world.lead().await;
    assert_eq!(world.heights_now().settled_at(1), None);
    let heights = world.mine_empty(1).await;
    assert_eq!(heights.settled_at(1).unwrap().block.number, 4);
    assert_eq!(heights.settled, Some(world.block(9)));
    world.assert_reload_is_identity().await;
}
