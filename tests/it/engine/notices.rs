//! Tokens that their issuers pause, and treasuries that they blacklist: not offered while it lasts, and told of.

use alloy::primitives::Address;
use tollgate::domain::{BlockRef, Hindrance};
use tollgate::engine::{EngineError, HearTokens};

use crate::harness::blocks::{Log, says, tx};
use crate::harness::databases::{Database, on_both};
use crate::harness::world::{CHAIN, TREASURY, USDC, World, payment, pro_for};

on_both!(
    a_paused_token_is_not_offered_until_it_is_resumed,
    a_reorg_takes_a_pause_back,
    a_reorg_takes_a_resumption_back,
    only_the_treasurys_own_blacklisting_counts,
    what_contracts_say_themselves_counts_from_their_block_on,
    a_pause_that_ends_in_the_same_step_is_not_told_of,
);

fn resource() -> String {
    format!("token:{}:{}", CHAIN.caip2(), USDC.to_checksum(None))
}

fn pause() -> Log {
    says(USDC, "Pause()", &[])
}

fn unpause() -> Log {
    says(USDC, "Unpause()", &[])
}

impl World {
    fn hindrances(&self) -> Vec<Hindrance> {
        self.engine.chain(CHAIN).unwrap().hindrances(USDC)
    }

    /// The code of the refusal of a charge.
    async fn refusal(&self, tenant: &str) -> &'static str {
        match self.engine.execute(pro_for(tenant)).await {
            Err(EngineError::Conflict { code, .. }) => code,
            other => panic!("{other:?}"),
        }
    }

    async fn hear_token(&self, block: BlockRef, hindrance: Hindrance, holds: bool) {
        let hear = HearTokens {
            chain: CHAIN,
            fence: self.fence,
            block,
            said: vec![(USDC, hindrance, holds)],
        };
        self.engine.execute(hear).await.unwrap();
    }

    /// The height of the newest block.
    fn tip(&self) -> BlockRef {
        self.blocks.tip().unwrap()
    }
}

async fn a_paused_token_is_not_offered_until_it_is_resumed(database: Database) {
    let mut world = World::settled(database).await;
    let asked = world.ask("acme").await;
    world.mine(&[tx(1, vec![pause()])]).await;
    assert_eq!(world.hindrances(), [Hindrance::TokenPaused]);
    assert_eq!(world.refusal("globex").await, "TOKEN_PAUSED");
    assert_eq!(
        world.refusal("acme").await,
        "TOKEN_PAUSED",
        "nor is the open one given again"
    );
    let (state, flags) = world.standing(&asked).await;
    assert_eq!((state.as_str(), flags.as_str()), ("open", "token_paused"));
    assert_eq!(world.events(&resource()).await, ["token.paused"]);
    world.assert_reload_is_identity().await;

    world.mine(&[tx(2, vec![unpause()])]).await;
    assert!(world.hindrances().is_empty());
    assert_eq!(world.standing(&asked).await.1, "");
    assert_eq!(world.ask("acme").await.id, asked.id);
    world.pay(3, asked.due).await;
    world.mine_empty(3).await;
    assert_eq!(world.state(&asked).await, "paid");
    world.mine(&[tx(4, vec![pause()])]).await;
    assert_eq!(world.standing(&asked).await.1, "", "what is paid stays paid");
    assert_eq!(
        world.events(&resource()).await,
        ["token.paused", "token.resumed", "token.paused"]
    );
    world.assert_reload_is_identity().await;
}

async fn a_reorg_takes_a_pause_back(database: Database) {
    let mut world = World::settled(database).await;
    let ancestor = world.tip().number;
    world.mine(&[tx(1, vec![pause()])]).await;
    world.mine_empty(1).await;
    world.reorg(ancestor, &[&[], &[], &[]]).await;
    assert!(world.hindrances().is_empty());
    world.ask("acme").await;
    assert_eq!(world.events(&resource()).await, ["token.paused", "token.resumed"]);
    // It comes back in the next branch.
    world
        .reorg(ancestor, &[&[], &[tx(1, vec![pause()])], &[], &[]])
        .await;
    assert_eq!(world.hindrances(), [Hindrance::TokenPaused]);
    world.assert_reload_is_identity().await;
}

async fn a_reorg_takes_a_resumption_back(database: Database) {
    let mut world = World::settled(database).await;
    world.mine(&[tx(1, vec![pause()])]).await;
    let ancestor = world.tip().number;
    world.mine(&[tx(2, vec![unpause()])]).await;
    assert!(world.hindrances().is_empty());
    world.reorg(ancestor, &[&[], &[]]).await;
    assert_eq!(world.hindrances(), [Hindrance::TokenPaused]);
    assert_eq!(world.refusal("acme").await, "TOKEN_PAUSED");
    world.assert_reload_is_identity().await;
}

async fn only_the_treasurys_own_blacklisting_counts(database: Database) {
    let mut world = World::settled(database).await;
    let stranger = Address::repeat_byte(0x77);
    let list = |account| says(USDC, "Blacklisted(address)", &[account]);
    world.mine(&[tx(1, vec![list(stranger)])]).await;
    assert!(world.hindrances().is_empty());
    // Another contract may say what it likes.
    let foreign = says(stranger, "Blacklisted(address)", &[TREASURY]);
    world.mine(&[tx(2, vec![foreign])]).await;
    assert!(world.hindrances().is_empty());
    world.mine(&[tx(3, vec![list(TREASURY), pause()])]).await;
    assert_eq!(
        world.hindrances(),
        [Hindrance::TokenPaused, Hindrance::TreasuryBlacklisted]
    );
    world.mine(&[tx(4, vec![unpause()])]).await;
    assert_eq!(world.refusal("acme").await, "TREASURY_BLACKLISTED");
    let cleared = says(USDC, "UnBlacklisted(address)", &[TREASURY]);
    world.mine(&[tx(5, vec![cleared])]).await;
    world.ask("acme").await;
    assert_eq!(
        world.events(&resource()).await,
        [
            "token.paused",
            "treasury.blacklisted",
            "token.resumed",
            "treasury.unblacklisted"
        ]
    );
    world.assert_reload_is_identity().await;
}

async fn what_contracts_say_themselves_counts_from_their_block_on(database: Database) {
    let mut world = World::settled(database).await;
    let ancestor = world.tip();
    let ahead = BlockRef {
        number: ancestor.number + 3,
        ..ancestor
    };
    world.hear_token(ahead, Hindrance::TokenPaused, true).await;
    world
        .hear_token(ahead, Hindrance::TreasuryBlacklisted, false)
        .await;
    assert_eq!(world.refusal("acme").await, "TOKEN_PAUSED");
    // Read below it, on the way to it.
    world.mine(&[tx(1, vec![pause()])]).await;
    world.mine(&[tx(2, vec![unpause()])]).await;
    assert_eq!(
        world.hindrances(),
        [Hindrance::TokenPaused],
        "as of a later block"
    );
    world.mine_empty(1).await;
    world.mine(&[tx(3, vec![unpause()])]).await;
    assert!(world.hindrances().is_empty());
    world.reorg(ancestor.number + 1, &[&[], &[], &[]]).await;
    assert_eq!(world.hindrances(), [Hindrance::TokenPaused], "as its blocks say");
    world.hear_token(world.tip(), Hindrance::TokenPaused, false).await;
    assert!(world.hindrances().is_empty());
    let told = ["token.paused", "token.resumed", "token.paused", "token.resumed"];
    assert_eq!(world.events(&resource()).await, told);
    world.assert_reload_is_identity().await;
}

async fn a_pause_that_ends_in_the_same_step_is_not_told_of(database: Database) {
    let mut world = World::settled(database).await;
    world.mine(&[tx(1, vec![pause(), unpause()])]).await;
    let blocks = vec![
        world.build(&[tx(2, vec![pause()])]),
        world.build(&[tx(3, vec![unpause(), payment(1_000_000.into())])]),
    ];
    world.advance(None, blocks).await.unwrap();
    assert!(world.hindrances().is_empty());
    assert!(world.events(&resource()).await.is_empty());
    world.assert_reload_is_identity().await;
}
