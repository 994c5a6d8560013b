//! Two processes on one `PostgreSQL`, and payments all the while: who leads, who takes over, and that nothing is lost or
//! doubled.

use std::time::{Duration, Instant};

use super::place::{CHAIN, Place};
use crate::harness::facts::rows;
use crate::harness::service::Service;

/// The promise: whoever takes over does it within this.
const TAKEN_OVER: Duration = Duration::from_secs(10);

/// One that leads, and one that follows it.
async fn leader_and_follower(place: &Place) -> (Service, Service) {
    let leader = place.start();
    leader
        .wait_chain(CHAIN, "leading", |chain| chain["leads"] == true)
        .await;
    leader.wait_ready(true).await;
    let follower = place.start();
    follower.wait_ready(true).await;
    let (ours, theirs) = (leader.chain(CHAIN).await, follower.chain(CHAIN).await);
    assert_eq!(theirs["leads"], false);
    assert!(theirs["leader"].is_string());
    assert_eq!(theirs["leader"], ours["leader"]);
    assert_eq!(leads(&leader).await, Some(1.0));
    assert_eq!(leads(&follower).await, Some(0.0));
    (leader, follower)
}

async fn leads(service: &Service) -> Option<f64> {
    service.metric("tollgate_lease_leader{chain=\"anvil\"}").await
}

/// Waits until it leads and has read all that there was.
async fn taken_over(place: &Place, service: &Service) {
    let head = place.head().await;
    let caught_up = |chain: &serde_json::Value| chain["leads"] == true && Place::has_read(chain, head);
    service.wait_chain(CHAIN, "taking over", caught_up).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_replaced_within_ten_seconds_and_each_payment_counts_once() {
    let place = Place::on_postgres().await;
    let (leader, follower) = leader_and_follower(&place).await;
    let scenario = async {
        place.some_payments().await;
        // The follower answers of what the leader reads.
        let head = place.head().await;
        follower
            .wait_chain(CHAIN, "following", |chain| Place::has_read(chain, head))
            .await;
        assert_eq!(follower.chain(CHAIN).await["leads"], false);
        leader.signal("KILL");
        let killed = Instant::now();
        taken_over(&place, &follower).await;
        let took = killed.elapsed();
        assert!(took < TAKEN_OVER, "it took {took:?}");
        place.some_payments().await;
        place.end();
    };
    tokio::join!(place.keep_paying(&follower), scenario);
    place.wait_all_paid(&[&follower]).await;
    place.assert_each_counted_once().await;
    place.wait_all_delivered().await;
    follower.wait_ready(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_was_paused_writes_nothing_more_and_follows() {
    let place = Place::on_postgres().await;
    let (paused, other) = leader_and_follower(&place).await;
    let store = place.store().await;
    let scenario = async {
        place.some_payments().await;
        paused.signal("STOP");
        taken_over(&place, &other).await;
        place.some_payments().await;
        let lease = "select fence, label from lease where role = 'chain:31337'";
        let before = rows(&store, lease).await;
        paused.signal("CONT");
        let behind = |chain: &serde_json::Value| chain["leads"] == false;
        paused.wait_chain(CHAIN, "following", behind).await;
        paused.wait_for_log("another instance leads this chain: following it");
        place.some_payments().await;
        place.end();
        assert_eq!(
            rows(&store, lease).await,
            before,
            "nobody took the lease meanwhile"
        );
    };
    tokio::join!(place.keep_paying(&other), scenario);
    place.wait_all_paid(&[&other, &paused]).await;
    place.assert_each_counted_once().await;
    assert_eq!(leads(&paused).await, Some(0.0));
    assert_eq!(leads(&other).await, Some(1.0));
    paused.wait_ready(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_stopped_hands_over_at_once_and_no_event_is_told_twice() {
    let place = Place::on_postgres().await;
    // Whoever else delivers looks for what is owed each second, and would find most of it still owed.
    place.receiver.answer_after(Duration::from_millis(500));
    let (leader, follower) = leader_and_follower(&place).await;
    let scenario = async {
        place.some_payments().await;
        leader.signal("TERM");
        leader.wait_end();
        let ended = Instant::now();
        taken_over(&place, &follower).await;
        let took = ended.elapsed();
        // Four looks, a second apart, would be needed to find it silent.
        assert!(took < Duration::from_millis(3_500), "it took {took:?}");
        place.some_payments().await;
        place.end();
    };
    tokio::join!(place.keep_paying(&follower), scenario);
    place.wait_all_paid(&[&follower]).await;
    place.assert_each_counted_once().await;
    place.wait_all_delivered().await;
    let mut delivered = place.delivered().await;
    let all = delivered.len();
    delivered.sort();
    delivered.dedup();
    assert_eq!(delivered.len(), all, "told twice");
}
