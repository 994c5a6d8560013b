//! Checkouts that were opened for charges.

use tollgate::domain::{Amount, CheckoutKey, CheckoutService, HostedPayment, HostedState};
use tollgate::store;

use super::samples::{begin, open};
use crate::harness::databases::{Database, on_both};
use crate::harness::facts::rows;

on_both!(
    a_checkout_comes_back_as_it_was_stored,
    a_checkout_is_its_charges_for_ever,
);

fn hosted(reference: &str, charge: &str, opened_at: i64) -> HostedPayment {
    HostedPayment {
        key: CheckoutKey {
            service: CheckoutService::CoinbaseBusiness,
            reference: reference.to_owned(),
        },
        charge: charge.parse().unwrap(),
        url: format!("https://pay.example/{reference}"),
        currency: "USDC".to_owned(),
        asked: Amount::from(15_000_000),
        opened_at,
        attempt: (HostedState::Open, opened_at),
        pending: Amount::ZERO,
        received: Amount::ZERO,
        evidence: None,
        refunded: Amount::ZERO,
    }
}

async fn a_checkout_comes_back_as_it_was_stored(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    let fresh = hosted("a", "one", 10);
    let key = &fresh.key;
    assert_eq!(store::hosted_payment(tx.conn(), key).await.unwrap(), None);
    let pending = HostedPayment {
        attempt: (HostedState::Pending, 20),
        pending: Amount::from(1),
        ..fresh.clone()
    };
    let paid = HostedPayment {
        received: Amount::from(16_000_000),
        evidence: Some((30, "sha256:00".to_owned())),
        ..pending.clone()
    };
    let refunded = HostedPayment {
        refunded: Amount::from(16_000_000),
        ..paid.clone()
    };
    for (stored, state) in [
        (&fresh, "open"),
        (&pending, "pending"),
        (&paid, "paid"),
        (&refunded, "refunded"),
    ] {
        tx.put_hosted_payment(stored).await.unwrap();
        let found = store::hosted_payment(tx.conn(), key).await.unwrap();
        assert_eq!(found.as_ref(), Some(stored));
        assert_eq!(found.unwrap().state().as_str(), state);
    }
    let of_another_service = CheckoutKey {
        service: CheckoutService::CoinbaseCommerce,
        ..key.clone()
    };
    let none = store::hosted_payment(tx.conn(), &of_another_service)
        .await
        .unwrap();
    assert_eq!(none, None);
    tx.commit().await.unwrap();
    assert_eq!(
        rows(
            &store,
            "select provider_ref, state, received from v_hosted_payments"
        )
        .await,
        [["a", "refunded", "16000000"]]
    );
}

async fn a_checkout_is_its_charges_for_ever(database: Database) {
    let (store, _database) = open(database).await;
    let mut tx = begin(&store).await;
    for (reference, charge, at) in [
        ("c", "one", 30),
        ("b", "two", 20),
        ("a", "one", 10),
        ("d", "three", 5),
    ] {
        tx.put_hosted_payment(&hosted(reference, charge, at))
            .await
            .unwrap();
    }
    let moved = HostedPayment {
        url: "https://evil.example".to_owned(),
        asked: Amount::from(1),
        currency: "EUR".to_owned(),
        ..hosted("a", "two", 99)
    };
    tx.put_hosted_payment(&moved).await.unwrap();
    let charges = ["one", "two", "none"].map(|charge| charge.parse().unwrap());
    let found = store::hosted_payments_of(tx.conn(), &charges).await.unwrap();
    let names: Vec<_> = found
        .iter()
        .map(|hosted| {
            (
                hosted.key.reference.as_str(),
                hosted.charge.as_str(),
                hosted.opened_at,
            )
        })
        .collect();
    assert_eq!(names, [("a", "one", 10), ("b", "two", 20), ("c", "one", 30)]);
    assert_eq!(found[0].url, "https://pay.example/a");
    assert_eq!(
        (found[0].asked, found[0].currency.as_str()),
        (Amount::from(15_000_000), "USDC")
    );
    assert_eq!(store::hosted_payments_of(tx.conn(), &[]).await.unwrap(), []);
    tx.commit().await.unwrap();
}
