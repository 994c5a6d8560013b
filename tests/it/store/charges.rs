//! Charges, and the amounts that are leased to them.

use alloy::primitives::I256;
use tollgate::domain::{Amount, Charge, ChargeFlag, ChargeState, Credit, Heights, UserId, WalletOwner};
use tollgate::store::{self, ChargeFilter, Store};

use super::samples::{
    CHAIN, MOST, OTHER, TOKEN, TREASURY, begin, block, charge, full_charge, hash, month_of_pro, open, tenant,
    user,
};
use crate::harness::databases::{Database, on_both};

on_both!(
    a_charge_is_stored_whole,
    the_open_charge_of_a_subject_is_found_while_it_is_open,
    the_charges_that_a_wallet_may_pay_are_found,
    an_amount_has_one_charge_at_a_time,
    taken_amounts_of_one_price_are_counted,
    what_one_tenant_has_taken_is_counted,
    what_an_account_is_folded_from_and_charged_tenants_are_found,
    a_tenants_charges_are_listed_a_page_at_a_time,
    charges_are_due_only_as_far_as_their_chain_is_settled,
);

const PLACE: (tollgate::domain::ChainId, alloy::primitives::Address) = (CHAIN, TOKEN);
const FULL_PLACE: (
    tollgate::domain::ChainId,
    alloy::primitives::Address,
    alloy::primitives::Address,
) = (CHAIN, TOKEN, TREASURY);

async fn insert(store: &Store, charges: &[Charge]) {
    let mut tx = begin(store).await;
    for charge in charges {
        tx.insert_charge(charge).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn a_charge_is_stored_whole(database: Database) {
    let (store, _database) = open(database).await;
    let (empty, full) = (charge("empty"), full_charge("full"));
    insert(&store, &[empty.clone(), full.clone()]).await;
    let mut tx = begin(&store).await;
    for expected in [&empty, &full] {
        let found = store::charge(tx.conn(), &expected.terms.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(expected));
    }
    let unknown = "unknown".parse().unwrap();
    assert_eq!(store::charge(tx.conn(), &unknown).await.unwrap(), None);
    let wanted = [full.terms.id.clone(), unknown];
    let some = store::charges(tx.conn(), &wanted).await.unwrap();
    assert_eq!(some, std::slice::from_ref(&full));

    // What became of it changes in both directions; its terms never do.
    let turned = Charge {
        terms: empty.terms.clone(),
        state: ChargeState::Reversed,
        ..full.clone()
    };
    let emptied = Charge {
        terms: full.terms.clone(),
        ..empty.clone()
    };
    for after in [&turned, &emptied] {
        let mut other_terms = after.clone();
        other_terms.terms.due = Amount::from(1);
        tx.update_charge(&other_terms).await.unwrap();
        let found = store::charge(tx.conn(), &after.terms.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(after));
    }
    let both = [full.clone(), empty.clone()];
    tx.update_charges(&both).await.unwrap();
    for after in &both {
        let found = store::charge(tx.conn(), &after.terms.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(after), "together");
    }
    let again = tx.insert_charge(&empty).await.unwrap_err();
    assert!(again.is_retryable());
}

async fn the_open_charge_of_a_subject_is_found_while_it_is_open(database: Database) {
    let (store, _database) = open(database).await;
    let mut of_jo = charge("of-jo");
    of_jo.terms.user = Some(user("jo"));
    let mut paid = charge("paid");
    paid.state = ChargeState::Paid;
    let mut later = charge("later");
    later.terms.created_at = 200;
    later.state = ChargeState::Confirming;
    insert(&store, &[charge("first"), later, of_jo, paid]).await;
    let mut conn = store.read().await.unwrap();
    let find = async |conn: &mut sqlx::AnyConnection, name: &str, by: Option<UserId>, now| {
        let found =
            store::open_charge_for(conn, &tenant(name), by.as_ref(), &month_of_pro(), PLACE, now).await;
        found.unwrap().map(|charge| charge.terms.id.to_string())
    };
    assert_eq!(find(&mut conn, "acme", None, 999).await.as_deref(), Some("later"));
    assert_eq!(
        find(&mut conn, "acme", Some(user("jo")), 0).await.as_deref(),
        Some("of-jo")
    );
    assert_eq!(find(&mut conn, "acme", Some(user("eve")), 0).await, None);
    assert_eq!(find(&mut conn, "acme", None, 1_000).await, None, "expired");
    assert_eq!(find(&mut conn, "globex", None, 0).await, None);
    let (acme, product) = (tenant("acme"), month_of_pro());
    let elsewhere = store::open_charge_for(&mut conn, &acme, None, &product, (OTHER, TOKEN), 0).await;
    assert_eq!(elsewhere.unwrap(), None);
}

async fn the_charges_that_a_wallet_may_pay_are_found(database: Database) {
    let (store, _database) = open(database).await;
    let mut of_jo = charge("b-of-jo");
    of_jo.terms.user = Some(user("jo"));
    of_jo.state = ChargeState::Expired;
    let mut of_eve = charge("c-of-eve");
    of_eve.terms.user = Some(user("eve"));
    let mut cancelled = charge("d-cancelled");
    cancelled.state = ChargeState::Cancelled;
    let mut elsewhere = charge("e-elsewhere");
    elsewhere.terms.chain = OTHER;
    elsewhere.terms.tenant = tenant("globex");
    let mut first_elsewhere = charge("0-elsewhere");
    first_elsewhere.terms.chain = OTHER;
    first_elsewhere.terms.grace_until = 1_999;
    insert(
        &store,
        &[
            charge("a-of-all"),
            first_elsewhere,
            of_jo,
            of_eve,
            cancelled,
            elsewhere,
        ],
    )
    .await;
    let mut conn = store.read().await.unwrap();
    let find = async |conn: &mut sqlx::AnyConnection, at, made_by| {
        let jo = WalletOwner {
            tenant: tenant("acme"),
            user: user("jo"),
        };
        let found = store::open_charges_of(conn, &jo, PLACE, (at, made_by), 3).await;
        let ids = found.unwrap().into_iter().map(|open| open.id.to_string());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(
        find(&mut conn, 0, 100).await,
        ["a-of-all", "b-of-jo", "0-elsewhere"],
        "those of the chain and token first"
    );
    assert!(find(&mut conn, 0, 99).await.is_empty(), "made later");
    assert_eq!(
        find(&mut conn, 2_000, 100).await.len(),
        2,
        "the last instant of its grace"
    );
    assert!(find(&mut conn, 2_001, 100).await.is_empty());
    drop(conn);
    insert(&store, &[charge("f"), charge("g"), charge("h")]).await;
    let mut conn = store.read().await.unwrap();
    assert_eq!(find(&mut conn, 0, 100).await.len(), 3, "no more than asked for");
}

async fn an_amount_has_one_charge_at_a_time(database: Database) {
    let (store, _database) = open(database).await;
    let (one, other) = (charge("one").terms, charge("other").terms);
    let mut tx = begin(&store).await;
    assert!(tx.lease_amount(&one, (50, 3_000), (100, 0)).await.unwrap());
    assert!(!tx.lease_amount(&other, (50, 3_000), (100, 0)).await.unwrap());
    assert!(
        !tx.lease_amount(&other, (50, 3_000), (2_999, 9_999))
            .await
            .unwrap()
    );
    assert!(
        !tx.lease_amount(&other, (50, 3_000), (3_000, 2_000))
            .await
            .unwrap(),
        "not while its chain is not settled past the grace"
    );
    let mut another_amount = other.clone();
    another_amount.due = MOST;
    assert!(
        tx.lease_amount(&another_amount, (50, 3_000), (100, 0))
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();

    let leased = async |due, at| {
        let mut conn = store.read().await.unwrap();
        let amounts = [Amount::from(1), due];
        let found = store::leased_charges(&mut conn, FULL_PLACE, &amounts, at)
            .await
            .unwrap();
        assert!(found.iter().all(|(amount, _)| *amount == due));
        found
            .iter()
            .map(|(_, charge)| charge.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(leased(one.due, 50).await, ["one"]);
    assert_eq!(leased(one.due, 2_000).await, ["one"]);
    assert!(leased(one.due, 49).await.is_empty(), "before it was leased");
    assert!(leased(one.due, 2_001).await.is_empty(), "after its grace");
    assert_eq!(leased(MOST, 60).await, ["other"]);

    let mut tx = begin(&store).await;
    let mut next = other.clone();
    next.grace_until = 9_000;
    assert!(
        tx.lease_amount(&next, (3_000, 9_500), (3_000, 2_001))
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    assert_eq!(leased(one.due, 3_000).await, ["other"]);
    assert!(leased(one.due, 2_000).await.is_empty());
}

async fn taken_amounts_of_one_price_are_counted(database: Database) {
    let (store, _database) = open(database).await;
    let (one, mut two, mut other_price) = (charge("one"), charge("two"), charge("three"));
    two.terms.due = Amount::from(15_000_002);
    other_price.terms.quote.asked = MOST;
    other_price.terms.due = MOST;
    let mut tx = begin(&store).await;
    for charge in [&one, &two, &other_price] {
        tx.insert_charge(charge).await.unwrap();
        let leased = tx.lease_amount(&charge.terms, (0, 3_000), (0, 0)).await;
        assert!(leased.unwrap());
    }
    tx.commit().await.unwrap();
    let mut conn = store.read().await.unwrap();
    for (price, seen, taken) in [
        (Amount::from(15_000_000), (2_999, 9_999), 2),
        (Amount::from(15_000_000), (3_000, 2_000), 2),
        (Amount::from(15_000_000), (3_000, 2_001), 0),
        (MOST, (0, 0), 1),
        (Amount::ZERO, (0, 0), 0),
    ] {
        let found = store::pool_usage(&mut conn, FULL_PLACE, price, seen).await;
        assert_eq!(found.unwrap(), taken, "{price} {seen:?}");
    }
}

async fn what_one_tenant_has_taken_is_counted(database: Database) {
    let (store, _database) = open(database).await;
    let made = |id: &str, of: &str, state, (created_at, due): (i64, u64)| {
        let mut charge = charge(id);
        charge.terms.tenant = tenant(of);
        charge.terms.created_at = created_at;
        charge.terms.due = Amount::from(due);
        Charge { state, ..charge }
    };
    let all = [
        made("a", "acme", ChargeState::Open, (10, 1)),
        made("b", "acme", ChargeState::Confirming, (20, 2)),
        made("c", "acme", ChargeState::Cancelled, (30, 3)),
        made("d", "globex", ChargeState::Open, (30, 4)),
    ];
    let mut tx = begin(&store).await;
    for charge in &all {
        tx.insert_charge(charge).await.unwrap();
        let leased = tx.lease_amount(&charge.terms, (0, 3_000), (0, 0)).await;
        assert!(leased.unwrap());
    }
    for (of, most, waiting) in [("acme", 9, 2), ("acme", 1, 1), ("globex", 9, 1), ("none", 9, 0)] {
        let found = store::waiting_charges(tx.conn(), &tenant(of), most).await;
        assert_eq!(found.unwrap(), waiting, "{of}");
    }
    for (since, now, held) in [(0, 2_999, 3), (10, 2_999, 2), (0, 3_000, 0)] {
        let found = store::held_amounts(tx.conn(), &all[0].terms, (since, now)).await;
        assert_eq!(found.unwrap(), held, "{since} {now}");
    }
    let mut other_price = all[0].terms.clone();
    other_price.quote.asked = MOST;
    let found = store::held_amounts(tx.conn(), &other_price, (0, 0)).await;
    assert_eq!(found.unwrap(), 0);
    tx.commit().await.unwrap();
}

async fn what_an_account_is_folded_from_and_charged_tenants_are_found(database: Database) {
    let (store, _database) = open(database).await;
    let at = |id: &str, created_at, state| {
        let mut charge = charge(id);
        charge.terms.created_at = created_at;
        Charge { state, ..charge }
    };
    let mut elsewhere = charge("elsewhere");
    elsewhere.terms.tenant = tenant("globex");
    elsewhere.terms.chain = OTHER;
    let mut holds_credit = at("d", 3, ChargeState::Open);
    holds_credit.terms.quote.credit = Credit(I256::ONE);
    let mut holds_money = at("e", 4, ChargeState::Closed);
    holds_money.totals.confirmed = Amount::from(1);
    insert(
        &store,
        &[
            at("b", 2, ChargeState::Paid),
            at("a", 1, ChargeState::Reversed),
            at("open", 1, ChargeState::Open),
            holds_credit,
            holds_money,
            elsewhere,
        ],
    )
    .await;
    let mut conn = store.read().await.unwrap();
    let found = store::account_charges(&mut conn, &tenant("acme")).await.unwrap();
    let ids: Vec<_> = found.iter().map(|charge| charge.terms.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "d", "e"]);
    let none = store::account_charges(&mut conn, &tenant("globex"))
        .await
        .unwrap();
    assert!(none.is_empty());
    let charged = store::tenants_charged_on(&mut conn, CHAIN).await.unwrap();
    assert_eq!(charged, [tenant("acme")]);
    let charged = store::tenants_charged_on(&mut conn, OTHER).await.unwrap();
    assert_eq!(charged, [tenant("globex")]);
}

async fn a_tenants_charges_are_listed_a_page_at_a_time(database: Database) {
    let (store, _database) = open(database).await;
    let at = |id: &str, created_at, state| {
        let mut charge = charge(id);
        charge.terms.created_at = created_at;
        charge.state = state;
        charge
    };
    let mut of_jo = at("e", 300, ChargeState::Open);
    of_jo.terms.user = Some(user("jo"));
    let mut foreign = at("f", 400, ChargeState::Open);
    foreign.terms.tenant = tenant("globex");
    let charges = [
        at("a", 200, ChargeState::Paid),
        at("c", 200, ChargeState::Open),
        at("b", 200, ChargeState::Paid),
        at("d", i64::MAX - 1, ChargeState::Closed),
        of_jo,
        foreign,
    ];
    insert(&store, &charges).await;
    let mut conn = store.read().await.unwrap();
    let all = ChargeFilter {
        tenant: tenant("acme"),
        user: None,
        state: None,
    };
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store::charges_of_tenant(&mut conn, &all, after.as_ref(), 2).await;
        let page = page.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 2);
        after = Some((last.terms.created_at, last.terms.id.clone()));
        seen.extend(page.iter().map(|charge| charge.terms.id.to_string()));
    }
    assert_eq!(seen, ["d", "e", "c", "b", "a"]);
    let paid = ChargeFilter {
        state: Some(ChargeState::Paid),
        ..all.clone()
    };
    let jo = ChargeFilter {
        user: Some(user("jo")),
        ..all
    };
    for (filter, expected) in [(paid, vec!["b", "a"]), (jo, vec!["e"])] {
        let found = store::charges_of_tenant(&mut conn, &filter, None, 9)
            .await
            .unwrap();
        let found: Vec<_> = found.iter().map(|charge| charge.terms.id.as_str()).collect();
        assert_eq!(found, expected);
    }
}

async fn charges_are_due_only_as_far_as_their_chain_is_settled(database: Database) {
    let (store, _database) = open(database).await;
    let state = |id: &str, state| Charge { state, ..charge(id) };
    let mut blind = charge("blind");
    blind.flags.set(ChargeFlag::ChainBlind, true);
    insert(
        &store,
        &[
            charge("open"),
            blind,
            state("expired", ChargeState::Expired),
            state("cancelled", ChargeState::Cancelled),
            state("paid", ChargeState::Paid),
            state("confirming", ChargeState::Confirming),
            state("closed", ChargeState::Closed),
            state("reversed", ChargeState::Reversed),
            Charge {
                closed_at: Some(2_000),
                ..state("given-back", ChargeState::Reversed)
            },
        ],
    )
    .await;
    let mut tx = begin(&store).await;
    tx.insert_chain(CHAIN, hash(1), 0).await.unwrap();
    tx.commit().await.unwrap();
    for (now, settled, expected) in [
        (999, 9_999, vec![]),
        (1_000, 999, vec!["open"]),
        (1_000, 1_000, vec!["blind", "open"]),
        (2_000, 1_999, vec!["blind", "open"]),
        (1_999, 2_000, vec!["blind", "open"]),
        (
            2_000,
            2_000,
            vec!["blind", "cancelled", "expired", "open", "reversed"],
        ),
    ] {
        let mut tx = begin(&store).await;
        let heights = Heights {
            settled: Some(block(1, 1)),
            absent_ms: settled,
            ..Heights::default()
        };
        tx.set_heights(CHAIN, &heights).await.unwrap();
        let due = store::charge_ids_due(tx.conn(), now, 100).await.unwrap();
        let mut due: Vec<_> = due.iter().map(ToString::to_string).collect();
        due.sort();
        assert_eq!(due, expected, "now {now}, settled {settled}");
        let one = store::charge_ids_due(tx.conn(), now, 1).await.unwrap();
        assert_eq!(one.len(), expected.len().min(1));
        tx.commit().await.unwrap();
    }
}
