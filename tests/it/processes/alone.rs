//! One process on an `SQLite` database, and no more.

use std::time::{Duration, Instant};

use super::place::{CHAIN, Place};
use crate::harness::service::{new_key, run_to_its_end};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_on_an_sqlite_database_is_refused_at_once() {
    let place = Place::on_sqlite().await;
    let first = place.start();
    first.wait_ready(true).await;
    let told = run_to_its_end(&place.config());
    let refusal = "store.url: another tollgate runs on this SQLite database";
    assert!(told.contains(refusal) && told.contains("PostgreSQL"), "{told}");
    // Commands that do not lead go on beside it.
    new_key(&place.config());
    place.pay(&first).await;
    place.wait_all_paid(&[&first]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_on_sqlite_leads_at_once_after_a_kill() {
    let place = Place::on_sqlite().await;
    let first = place.start();
    first.wait_ready(true).await;
    place.pay(&first).await;
    first.signal("KILL");
    first.wait_end();
    let started = Instant::now();
    let again = place.start();
    let head = place.head().await;
    let leads = |chain: &serde_json::Value| chain["leads"] == true && Place::has_read(chain, head);
    again.wait_chain(CHAIN, "leading", leads).await;
    let took = started.elapsed();
    assert!(
        took < Duration::from_secs(3),
        "it took {took:?}: it waited for a silent lease"
    );
    place.wait_all_paid(&[&again]).await;
    place.assert_each_counted_once().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_stream_does_not_hold_up_the_end() {
    let place = Place::on_sqlite().await;
    let service = place.start();
    service.wait_ready(true).await;
    let charge = service.charge("acme").await;
    let path = format!(
        "/api/billing/crypto/charge/{}/events",
        charge["id"].as_str().unwrap()
    );
    let mut stream = service.listen(&path).await;
    let first = stream.chunk().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: charge\n"), "{first:?}");
    let asked = Instant::now();
    service.signal("TERM");
    service.wait_end();
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(3), "it took {took:?}");
    assert_eq!(stream.chunk().await.unwrap(), None, "it was ended, not torn off");
}
