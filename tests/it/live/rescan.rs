//! History and live are one code path, and what was stored can be read again, compared and put right beside the service.

use alloy::primitives::{Address, U256};
use serde_json::{Value, json};
use tollgate::domain::{Amount, Eligibility, GateId};
use tollgate::engine::ChargeView;
use tollgate::store::Store;

use super::world::{On, World};
use crate::cli::{Said, tollgate, written};
use crate::harness::anvil::MemberNft;
use crate::harness::facts::rows;

const PAYMENTS: &str = "select tx_hash, ordinal, state, token, payer, amount, block_number, block_hash, block_time, level \
                        from v_payments order by block_number, tx_hash";
const BALANCES: &str = "select contract, holder, value from v_balances order by holder";
const OBSERVATIONS: &str =
    "select block_number, log_index, ordinal, canonical from observation order by block_number";

async fn mint(world: &World, nft: Address, to: Address, id: u64) {
    let id = U256::from(id);
    world
        .anvil
        .send(world.owner, nft, MemberNft::mintCall { to, id })
        .await;
}

async fn stored(world: &World) -> [Vec<Vec<String>>; 3] {
    let store = world.open_store().await;
    let all = [
        rows(&store, PAYMENTS).await,
        rows(&store, BALANCES).await,
        rows(&store, OBSERVATIONS).await,
    ];
    store.close().await;
    all
}

async fn change(world: &World, statement: &str) {
    let store: Store = world.open_store().await;
    let mut tx = store.begin_write().await.unwrap();
    let done = sqlx::query(sqlx::AssertSqlSafe(statement.to_owned()))
        .execute(tx.conn())
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 1, "{statement}");
    tx.commit().await.unwrap();
    store.close().await;
}

async fn rescan(world: &World, arguments: &[&str]) -> Said {
    let directory = tempfile::tempdir().unwrap();
    let config = written(&directory, &world.configuration());
    let base = ["rescan", "--chain", "anvil", "--from", "0", "--json"];
    tollgate(&config, &[&base, arguments].concat()).await
}

/// The differences that a rescan told, and its summary.
fn told(said: &Said) -> (Vec<Value>, Value) {
    let lines = said.out.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut lines: Vec<Value> = lines.collect();
    let summary = lines.pop().unwrap_or_else(|| panic!("{}", said.err));
    assert_eq!(summary["kind"], "summary");
    (lines, summary["report"].clone())
}

#[tokio::test]
async fn history_and_live_give_the_same_for_the_same_blocks() {
    let mut world = World::new(On::Sqlite, 2).await;
    let nft = world.anvil.deploy("MemberNft").await;
    world.gate(nft).await;
    let members: Vec<Address> = (1..=5).map(Address::repeat_byte).collect();
    for (round, member) in (1_u64..).zip(&members) {
        let charge = world.charge(&format!("tenant-{round}")).await;
        world.pay(&charge).await;
        mint(&world, nft, *member, round).await;
        mint(&world, nft, world.payer, 100 + round).await;
        world.anvil.mine(2).await;
        // Block by block, as they come.
        world.wait_read().await;
    }
    let id = U256::from(101);
    let moved = MemberNft::transferFromCall {
        from: world.payer,
        to: members[0],
        id,
    };
    world.anvil.send(world.payer, nft, moved).await;
    world.anvil.mine(20).await;
    world.wait_read().await;

    let live = stored(&world).await;
    assert_eq!((live[0].len(), live[1].len()), (5, 6), "{live:?}");

    // Now all of it is past: more blocks than are read one by one, and a contract that is watched after them.
    world.restart_empty().await;
    world.wait_read().await;
    let gate = world.gate(nft).await;
    world
        .wait_eligibility(&gate, members[4], Eligibility::Eligible)
        .await;
    assert_eq!(stored(&world).await, live);
}

/// A charge that is paid, a membership, and blocks above them.
async fn lived(world: &World) -> (Vec<ChargeView>, Address, GateId) {
    let nft = world.anvil.deploy("MemberNft").await;
    let gate = world.gate(nft).await;
    let mut charges = Vec::new();
    for tenant in ["one", "two", "three"] {
        let charge = world.charge(tenant).await;
        world.pay(&charge).await;
        charges.push(charge);
    }
    mint(world, nft, world.payer, 1).await;
    mint(world, nft, Address::repeat_byte(7), 2).await;
    world.anvil.mine(3).await;
    for charge in &charges {
        world.wait_state(charge, "paid").await;
    }
    world
        .wait_eligibility(&gate, world.payer, Eligibility::Eligible)
        .await;
    world.wait_read().await;
    (charges, nft, gate)
}

/// Deletes the first payment with its observation, the second's observation, and a balance.
async fn lose(world: &World, on: On, [first, second]: [&str; 2]) {
    let holder = world.payer.to_string().to_lowercase();
    let literal = match on {
        On::Sqlite => format!("x'{}'", &holder[2..]),
        On::Postgres => format!("'\\x{}'::bytea", &holder[2..]),
    };
    for statement in [
        format!("delete from payment where block_number = {first}"),
        format!("delete from observation where block_number = {first}"),
        format!("delete from observation where block_number = {second}"),
        format!("delete from balance where holder = {literal}"),
    ] {
        change(world, &statement).await;
    }
}

async fn what_was_deleted_is_told_exactly_and_restored(on: On) {
    let world = World::new(on, 2).await;
    let (_, nft, gate) = lived(&world).await;
    let before = stored(&world).await;
    let clean = rescan(&world, &[]).await;
    let (differences, report) = told(&clean);
    assert!(
        clean.success && differences.is_empty(),
        "{}{}",
        clean.out,
        clean.err
    );
    assert_eq!(
        (&report["payments"], &report["anchored"], &report["refolded"]),
        (&json!(3), &json!(true), &json!([nft.to_string().to_lowercase()]))
    );

    let [first, second] = [0, 1].map(|place| before[0][place][6].as_str());
    lose(&world, on, [first, second]).await;
    let broken = rescan(&world, &[]).await;
    let (differences, report) = told(&broken);
    assert!(
        !broken.success && broken.err.contains("3 differences are left"),
        "{}",
        broken.err
    );
    assert_eq!(
        (&report["differences"], &report["repaired"]),
        (&json!(3), &json!(0))
    );
    let payment = &before[0][0];
    let expected = [
        json!({
            "kind": "payment_missing", "block": first.parse::<u64>().unwrap(), "transaction": payment[0], "ordinal": 0,
            "token": payment[3], "payer": payment[4], "amount": payment[5],
        }),
        json!({
            "kind": "observation_missing", "block": second.parse::<u64>().unwrap(), "transaction": before[0][1][0],
            "ordinal": 0,
        }),
        json!({
            "kind": "balance_differs", "contract": nft, "holder": world.payer, "standard": "erc721",
            "here": "0", "there": "1",
        }),
    ];
    assert_eq!(differences, expected);
    assert_ne!(
        stored(&world).await,
        before,
        "nothing is written unless it is asked for"
    );

    let repaired = rescan(&world, &["--repair"]).await;
    assert!(repaired.success, "{}{}", repaired.out, repaired.err);
    assert_eq!(told(&repaired).1["repaired"], 3);
    assert_eq!(stored(&world).await, before);
    assert!(rescan(&world, &[]).await.success);
    // The service that ran all the while goes on from there.
    world.anvil.mine(2).await;
    world.wait_read().await;
    world
        .wait_eligibility(&gate, world.payer, Eligibility::Eligible)
        .await;
    assert_eq!(world.reasons(), Vec::<String>::new());
}

#[tokio::test]
async fn what_was_deleted_is_told_exactly_and_restored_on_sqlite() {
    what_was_deleted_is_told_exactly_and_restored(On::Sqlite).await;
}

#[tokio::test]
async fn what_was_deleted_is_told_exactly_and_restored_on_postgres() {
    what_was_deleted_is_told_exactly_and_restored(On::Postgres).await;
}

#[tokio::test]
async fn a_payment_that_was_never_read_takes_effect_when_it_is_repaired() {
    let mut world = World::new(On::Sqlite, 2).await;
    world.wait_read().await;
    let charge = world.charge("acme").await;
    // Read with settings under which it is no payment.
    world
        .restart_with(|chain| chain.tokens[0].dust = Amount(U256::MAX))
        .await;
    world.pay(&charge).await;
    world.anvil.mine(5).await;
    world.wait_read().await;
    world
        .restart_with(|chain| chain.tokens[0].dust = Amount::from(1_000))
        .await;
    world.anvil.mine(1).await;
    world.wait_read().await;
    assert_eq!(
        (world.view(&charge.id).await.state.as_str(), &*world.plan("acme")),
        ("open", "free")
    );

    let said = rescan(&world, &["--repair"]).await;
    let (differences, report) = told(&said);
    assert!(said.success, "{}{}", said.out, said.err);
    assert_eq!((differences.len(), &report["repaired"]), (1, &Value::from(1)));
    let paid = world.wait_state(&charge, "paid").await;
    assert_eq!(paid.confirmed, charge.due);
    // The running service learns of it with its next block.
    world.anvil.mine(1).await;
    world.wait_until("the plan", || world.plan("acme") == "pro").await;
}

#[tokio::test]
async fn what_is_not_on_the_chain_is_told_and_left_alone() {
    let world = World::new(On::Sqlite, 2).await;
    lived(&world).await;
    let before = stored(&world).await;
    let forged = "insert into payment (chain, tx_hash, ordinal, state, token, payer, treasury, amount, block_number, block_hash, \
                  block_time, log_index, level) select chain, zeroblob(32), ordinal, state, token, payer, treasury, amount, \
                  block_number, block_hash, block_time, log_index, level from payment order by block_number limit 1";
    change(&world, forged).await;
    let amount = format!(
        "update payment set amount = '7' where block_number = {} and tx_hash <> zeroblob(32)",
        before[0][2][6]
    );
    change(&world, &amount).await;
    let forged = stored(&world).await;
    let said = rescan(&world, &["--repair"]).await;
    assert!(
        !said.success && said.err.contains("2 differences are left"),
        "{}",
        said.err
    );
    let kinds: Vec<Value> = told(&said)
        .0
        .into_iter()
        .map(|mut one| one["kind"].take())
        .collect();
    assert_eq!(kinds, ["payment_extra", "payment_differs"]);
    assert_eq!(stored(&world).await, forged);
}

#[tokio::test]
async fn a_range_that_cannot_be_compared_is_refused_in_words() {
    let world = World::new(On::Sqlite, 2).await;
    world.wait_read().await;
    for (arguments, words) in [
        (&["--to", "100000"][..], "up to block"),
        (&["--chain", "polygon"][..], "cannot be used multiple times"),
    ] {
        let said = rescan(&world, arguments).await;
        assert!(!said.success && said.err.contains(words), "{}", said.err);
    }
}
