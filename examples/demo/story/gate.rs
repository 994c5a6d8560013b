//! Step 4: a wallet is proven, and what it holds opens and closes a gate.

use std::time::Duration;

use alloy::primitives::U256;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{PATIENCE, short};
use crate::anvil::MemberNft;
use crate::api::{AsOf, Decision};
use crate::failure::{Outcome, ensure, until};
use crate::print::Step;
use crate::stage::World;
use crate::wallet::{Invitation, Wallet};

const TENANT: &str = "acme";
const USER: &str = "ada";
const TOKEN_ID: u64 = 7;

/// Whom a gate is asked about.
struct Door<'a> {
    world: &'a World,
    step: &'a Step,
    gate: String,
}

/// 4. Ineligible, eligible, ineligible: as the chain has settled, and never before.
pub async fn pass(world: &World, step: &Step) -> Outcome<()> {
    let wallet = link_wallet(world, step).await?;
    let gate = create_gate(world, step).await?;
    let door = Door { world, step, gate };
    door.wait_until_settled_at("ineligible", 0).await?;

    let (nft, id) = (world.contracts.nft.address, U256::from(TOKEN_ID));
    let mint = MemberNft::mintCall {
        to: wallet.address(),
        id,
    };
    let minted = world.anvil.send(world.cast.owner, nft, &mint).await?;
    let (block, to) = (minted.block(), short(&wallet.address()));
    step.did(format!("minted membership {TOKEN_ID} to {to}, in block {block}"));
    door.wait_until_settled_at("eligible", block).await?;

    let transfer = MemberNft::transferFromCall {
        from: wallet.address(),
        to: world.cast.payer,
        id,
    };
    let gone = wallet.send(&world.anvil, nft, &transfer).await?;
    let (block, to) = (gone.block(), short(&world.cast.payer));
    step.did(format!(
        "the wallet transferred it away to {to}, in block {block}"
    ));
    door.wait_until_settled_at("ineligible", block).await
}

async fn link_wallet(world: &World, step: &Step) -> Outcome<Wallet> {
    #[derive(Deserialize)]
    struct Linked {
        address: String,
    }
    let wallet = Wallet::new(&world.anvil).await?;
    let invitation: Invitation = world
        .api
        .post("/api/wallets/nonce", TENANT, &json!({"userId": USER}))
        .await?;
    let (message, signature) = wallet.sign_in(&invitation)?;
    let body = json!({"userId": USER, "message": message, "signature": signature});
    let linked: Linked = world.api.post("/api/wallets/link", TENANT, &body).await?;
    ensure(linked.address == wallet.address().to_checksum(None), || {
        format!("{} was linked", linked.address)
    })?;
    step.saw(format!(
        "{USER} of {TENANT} signed in with Ethereum (nonce {}): {} is linked",
        short(&invitation.nonce),
        short(&wallet.address())
    ));
    let again = world.api.post::<Value>("/api/wallets/link", TENANT, &body).await;
    ensure(again.is_err(), || {
        "the same message linked a wallet twice".to_owned()
    })?;
    step.saw("the same message a second time is refused: a nonce is good once");
    Ok(wallet)
}

async fn create_gate(world: &World, step: &Step) -> Outcome<String> {
    #[derive(Deserialize)]
    struct Made {
        id: String,
    }
    let nft = world.contracts.nft;
    let gate = json!({
        "name": "Members",
        "rule": {
            "type": "erc721_balance",
            "chainId": 31337,
            "contract": nft.address.to_checksum(None),
            "atLeast": "1",
        },
        "action": {"type": "unlock_channel", "channelId": "members"},
        "fromBlock": nft.block,
    });
    let made: Made = world.api.post("/api/token-gates", TENANT, &gate).await?;
    step.did(format!(
        "made a gate: channel members needs one NFT of {}",
        short(&nft.address)
    ));
    Ok(made.id)
}

impl Door<'_> {
    /// Waits for an answer, which must rest on `block` or a later one; answers that rest on earlier ones must be otherwise.
    async fn wait_until_settled_at(&self, expected: &str, block: u64) -> Outcome<()> {
        let mut before: Option<(Decision, AsOf)> = None;
        let mut asked = 0_u32;
        let (decision, as_of) = until(&format!("the gate answers {expected}"), PATIENCE, async || {
            let decision = self.world.api.decide(TENANT, USER, &self.gate).await?;
            let Some(as_of) = decision.as_of.first().cloned() else {
                // A chain that was only just begun to be read has no settled block yet.
                ensure(decision.eligibility == "unknown", || {
                    format!("{} without asOf", decision.eligibility)
                })?;
                return Ok(None);
            };
            asked += 1;
            let is_awaited = decision.eligibility == expected && as_of.block_number >= block;
            let is_news = before
                .as_ref()
                .is_none_or(|(before, _)| before.eligibility != decision.eligibility);
            if !is_awaited {
                ensure(
                    as_of.block_number < block || decision.eligibility == "unknown",
                    || format!("{} as of block {}", decision.eligibility, as_of.block_number),
                )?;
                ensure(decision.eligibility != expected, || {
                    format!("{expected} as of block {} already", as_of.block_number)
                })?;
                if is_news {
                    self.tell(&decision, &as_of);
                }
                before = Some((decision, as_of));
                // The answer changes with a block, a second from now.
                tokio::time::sleep(Duration::from_millis(10)).await;
                return Ok(None);
            }
            Ok(Some((decision, as_of)))
        })
        .await?;
        if let Some((before, last)) = before {
            let of = format!("{} times, up to block {}", asked - 1, last.block_number);
            self.step
                .note(format!("asked until it changed: {} {of}", before.eligibility));
        }
        self.tell(&decision, &as_of);
        Ok(())
    }

    fn tell(&self, decision: &Decision, as_of: &AsOf) {
        let (number, hash) = (as_of.block_number, short(&as_of.block_hash));
        self.step.saw(format!(
            "{:10} as of block {number} ({hash})",
            decision.eligibility
        ));
    }
}
