//! What the page says of a charge, from the first look to the last, without being loaded again.

use serde_json::json;
use tollgate::domain::Amount;

use super::{assert_accessible, assert_fits, text};
use crate::harness::blocks::{says, tx};
use crate::harness::chromium::Tab;
use crate::harness::databases::Database;
use crate::harness::served::Served;
use crate::harness::wallets::Wallet;
use crate::harness::world::{TREASURY, TTL_MS, USDC, World, payment_from};

const DOLLAR: u64 = 1_000_000;

#[tokio::test]
async fn the_page_follows_a_payment_to_its_end_by_itself() {
    let mut world = World::settled(Database::sqlite()).await;
    let served = Served::over(&world.engine).await;
    let asked = world.ask("acme").await;
    let tab = Tab::plain().await;
    tab.go(&served.page(asked.id.as_str())).await;
    tab.wait_text("#state", "Waiting for your payment").await;
    tab.wait_text("#wallet", "No wallet was found").await;
    assert_accessible(&tab).await;
    tab.value("document.body.dataset.same = 'yes'").await;

    let before = world.blocks.tip().unwrap().number;
    world.pay(1, asked.due).await;
    tab.wait_text("#state", "1 of 3 confirmations").await;
    assert_eq!(text(&tab, ".by-hand").await, "", "nobody is asked to pay twice");
    world.mine(&[]).await;
    tab.wait_text("#state", "2 of 3 confirmations").await;
    world.mine(&[]).await;
    tab.wait_text("#state", "Paid").await;
    assert_accessible(&tab).await;

    world.reorg(before, &[&[], &[], &[], &[]]).await;
    tab.wait_text("#state", "undone by the network").await;
    tab.wait_text(".by-hand", TREASURY.to_checksum(None).as_str())
        .await;
    assert_eq!(tab.value("document.body.dataset.same").await, "yes");
    assert_eq!(tab.problems(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_missing_is_told_exactly() {
    let mut world = World::settled(Database::sqlite()).await;
    let served = Served::over(&world.engine).await;
    let wallet = Wallet::of(1);
    world.link("acme", "jo", &wallet).await;
    let asked = world.ask("acme").await;
    let tab = Tab::plain().await;
    tab.go(&served.page(asked.id.as_str())).await;
    let six = Amount::from(6 * DOLLAR);
    world
        .mine(&[tx(1, vec![payment_from(wallet.address(), six)])])
        .await;
    let rest = asked.due.saturating_sub(six).to_units(6);
    tab.wait_text("#state", &format!("Send exactly {rest} USDC more"))
        .await;
    tab.wait_text("#state", "6 USDC arrived").await;
    tab.wait_text("#amount", &rest).await;
    assert_accessible(&tab).await;
    let mut page = String::new();
    for width in [320, 768, 1280] {
        tab.width(width).await;
        assert_fits(&tab).await;
        page = text(&tab, "main").await;
    }
    // Who comes later is told the same by the server.
    tab.go(&served.page(asked.id.as_str())).await;
    assert_eq!(text(&tab, "main").await, page);
    let eleven = Amount::from(11 * DOLLAR);
    world
        .mine(&[tx(2, vec![payment_from(wallet.address(), eleven)])])
        .await;
    world.mine_empty(2).await;
    tab.wait_text("#state", "Paid").await;
    let excess = six.saturating_add(eleven).saturating_sub(asked.due).to_units(6);
    tab.wait_text("#state", &format!("{excess} USDC more than was asked for"))
        .await;
}

#[tokio::test]
async fn an_expired_request_is_not_to_be_paid() {
    let mut world = World::settled(Database::sqlite()).await;
    let served = Served::over(&world.engine).await;
    let asked = world.ask("acme").await;
    let tab = Tab::plain().await;
    tab.go(&served.page(asked.id.as_str())).await;
    world.wait(TTL_MS);
    world.mine_empty(4).await;
    world
        .engine
        .execute(tollgate::engine::ExpireCharges)
        .await
        .unwrap();
    tab.wait_text("#state", "This request has expired").await;
    assert_eq!(text(&tab, ".by-hand").await, "");
    assert_accessible(&tab).await;
}

#[tokio::test]
async fn what_nobody_can_pay_now_is_not_to_be_paid() {
    let mut world = World::settled(Database::sqlite()).await;
    let served = Served::over(&world.engine).await;
    let asked = world.ask("acme").await;
    let tab = Tab::plain().await;
    tab.go(&served.page(asked.id.as_str())).await;
    world.mine(&[tx(1, vec![says(USDC, "Pause()", &[])])]).await;
    tab.wait_text("#state", "stopped all transfers").await;
    assert_eq!(text(&tab, ".by-hand").await, "");
    assert_accessible(&tab).await;
    // Who comes later is told the same by the server.
    let page = text(&tab, "main").await;
    tab.go(&served.page(asked.id.as_str())).await;
    assert_eq!(text(&tab, "main").await, page);
    world.mine(&[tx(2, vec![says(USDC, "Unpause()", &[])])]).await;
    tab.wait_text(".by-hand", &asked.due.to_units(6)).await;
}

#[tokio::test]
async fn without_scripts_the_page_holds_all_that_is_needed_to_pay() {
    let world = World::settled(Database::sqlite()).await;
    let served = Served::over(&world.engine).await;
    let asked = world.ask("acme").await;
    let tab = Tab::plain().await;
    let off = json!({"value": true});
    tab.command("Emulation.setScriptExecutionDisabled", off).await;
    tab.command("Page.navigate", json!({"url": served.page(asked.id.as_str())}))
        .await;
    // Scripts of the page are off, those of the test are not.
    tab.wait_text("#state", "Waiting for your payment").await;
    let page = text(&tab, "main").await;
    for needed in [
        asked.due.to_units(6).as_str(),
        "USDC",
        "on Anvil, chain 31337",
        &TREASURY.to_checksum(None),
        "Reload this page",
        "Pay before 2025-10-09",
    ] {
        let found = page.to_lowercase().contains(&needed.to_lowercase());
        assert!(found, "{needed}: {page}");
    }
    for never in ["Copy", "wallet in this browser"] {
        assert!(!page.contains(never), "{never}: {page}");
    }
    tab.wait("document.querySelector('#qr').naturalWidth > 0").await;
    assert_fits(&tab).await;
}

#[tokio::test]
async fn an_unknown_request_is_a_page_too() {
    let world = World::settled(Database::sqlite()).await;
    let served = Served::over(&world.engine).await;
    let tab = Tab::plain().await;
    tab.go(&served.page("chg_00000000000000000000000000000000")).await;
    tab.wait_text("h1", "There is no such payment request").await;
    assert_accessible(&tab).await;
}
