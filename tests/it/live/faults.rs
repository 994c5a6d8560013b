//! Everything that can be wrong with the only endpoint, one at a time: payments and memberships of that time and after it
//! count once, none counts for an answer that is wrong, and the service comes back by itself.
//!
//! The cases of a test run beside each other, because they wait more than they work.

use std::time::Duration;

use futures_util::future::join_all;
use tollgate::domain::Eligibility;
use tollgate::metrics::{ENDPOINT_DISCONNECTS_TOTAL, ENDPOINT_REQUESTS_TOTAL, ENDPOINT_UNPROVEN_TOTAL};
use tollgate::metrics::{PAYMENT_CONFIRMED_TOTAL, TASK_FAILURES_TOTAL};

use super::proxied::Proxied;
use crate::harness::counted::counted;
use crate::harness::proxy::{Fault, HUGE_BYTES, Rule, Way};

const HEADERS: &[&str] = &["eth_getBlockByNumber", "eth_getBlockByHash", "newHeads"];
const RECEIPTS: &[&str] = &["eth_getBlockReceipts", "eth_getTransactionReceipt"];
const HEADS: &[&str] = &["newHeads"];

/// What becomes of what is moved while the fault is in force.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moved {
    /// It counts all the same: the other way serves.
    Counts,
    /// It does not count before the fault is over.
    Waits,
}

/// What the metrics say of the endpoint.
#[derive(Clone, Copy)]
enum Says {
    Nothing,
    /// Requests with this outcome.
    Outcome(&'static str),
    /// A socket that was lost for this reason.
    Lost(&'static str),
    /// Answers that prove nothing.
    Unproven,
}

/// Name, faults, and what is seen of them.
type Case = (&'static str, Vec<Rule>, Moved, Says);

#[tokio::test]
async fn connections_that_are_cut_or_stalled() {
    let short = Duration::from_millis(150);
    let longer_than_any_request = Duration::from_millis(900);
    run(vec![
        ("cut", all(Fault::Cut), Moved::Waits, Says::Outcome("transport")),
        (
            "cut-ws",
            vec![Fault::Cut.over(Way::Ws)],
            Moved::Counts,
            Says::Lost("closed"),
        ),
        (
            "cut-http",
            vec![Fault::Cut.over(Way::Http)],
            Moved::Counts,
            Says::Nothing,
        ),
        (
            "stall",
            all(Fault::Stall),
            Moved::Waits,
            Says::Outcome("transport"),
        ),
        (
            "stall-ws",
            vec![Fault::Stall.over(Way::Ws)],
            Moved::Counts,
            Says::Lost("silent"),
        ),
        (
            "stall-http",
            vec![Fault::Stall.over(Way::Http)],
            Moved::Counts,
            Says::Nothing,
        ),
        ("slow", all(Fault::Delay(short)), Moved::Counts, Says::Nothing),
        (
            "too-slow",
            all(Fault::Delay(longer_than_any_request)),
            Moved::Waits,
            Says::Outcome("transport"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn answers_that_are_refusals_or_garbage() {
    run(vec![
        (
            "limited",
            all(Fault::Status(429, None)),
            Moved::Waits,
            Says::Outcome("rate_limited"),
        ),
        (
            "limited-a-second",
            all(Fault::Status(429, Some(1))),
            Moved::Waits,
            Says::Outcome("rate_limited"),
        ),
        ("html", all(Fault::Html), Moved::Waits, Says::Outcome("transport")),
        (
            "truncated",
            all(Fault::Truncated),
            Moved::Waits,
            Says::Outcome("transport"),
        ),
        (
            "wrong-id",
            all(Fault::WrongId),
            Moved::Waits,
            Says::Outcome("transport"),
        ),
        (
            "error",
            all(Fault::Error(-32603, "internal error")),
            Moved::Waits,
            Says::Outcome("refused"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_answer_that_does_not_end() {
    let patient = Proxied::start_with("huge", |chain, _| {
        // It is left for its length, however slow this machine is.
        chain.endpoints[0].request_timeout = Duration::from_secs(10);
    });
    let rules = vec![Fault::Huge.of(RECEIPTS)];
    let case = ("huge", rules, Moved::Waits, Says::Outcome("transport"));
    let traffic = comes_back(patient.await, case).await.proxy.traffic();
    let answers = traffic.requests[&(Way::Http, RECEIPTS[0].to_owned())];
    let read = traffic.bytes_down;
    assert!(
        read < answers * HUGE_BYTES / 2,
        "{read} bytes of {answers} answers"
    );
}

#[tokio::test]
async fn answers_that_lack_something() {
    run(vec![
        (
            "no-receipts",
            vec![Fault::Empty.of(RECEIPTS)],
            Moved::Waits,
            Says::Unproven,
        ),
        (
            "no-last-receipt",
            vec![Fault::DropReceipt.of(RECEIPTS)],
            Moved::Waits,
            Says::Unproven,
        ),
        (
            "no-first-log",
            vec![Fault::DropFirstLog.of(RECEIPTS)],
            Moved::Waits,
            Says::Unproven,
        ),
        (
            "no-last-log",
            vec![Fault::DropLastLog.of(RECEIPTS)],
            Moved::Waits,
            Says::Unproven,
        ),
        (
            "no-blocks",
            vec![Fault::Empty.of(HEADERS), Fault::Lose.of(HEADS)],
            Moved::Waits,
            Says::Outcome("missing_data"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn heads_and_logs_that_are_not_announced_as_they_are() {
    let late = Duration::from_millis(500);
    run(vec![
        (
            "no-heads",
            vec![Fault::Lose.of(HEADS)],
            Moved::Counts,
            Says::Lost("behind"),
        ),
        (
            "no-logs",
            vec![Fault::Lose.of(&["logs"])],
            Moved::Counts,
            Says::Nothing,
        ),
        (
            "heads-twice",
            vec![Fault::Repeat.of(HEADS)],
            Moved::Counts,
            Says::Nothing,
        ),
        (
            "heads-swapped",
            vec![Fault::Swap.of(HEADS)],
            Moved::Counts,
            Says::Nothing,
        ),
        (
            "heads-late",
            vec![Fault::Delay(late).of(HEADS)],
            Moved::Counts,
            Says::Nothing,
        ),
    ])
    .await;
}

fn all(fault: Fault) -> Vec<Rule> {
    vec![fault.into()]
}

async fn run(cases: Vec<Case>) {
    let each = cases.into_iter().map(|case| async {
        comes_back(Proxied::start(case.0).await, case).await;
    });
    join_all(each).await;
}

async fn comes_back(mut chain: Proxied, (name, rules, moved, says): Case) -> Proxied {
    chain.is_streaming().await;
    let charges = [chain.world.charge("one").await, chain.world.charge("two").await];

    let faults: Vec<_> = rules.into_iter().map(|rule| chain.proxy.inject(rule)).collect();
    let during = chain.move_all(&charges).await;
    if moved == Moved::Counts {
        for charge in &charges {
            chain.is_paid(charge).await;
        }
        chain.member_is(during, Eligibility::Eligible).await;
    }
    // Once may be the request that the fault met.
    let often = if moved == Moved::Waits { 2 } else { 1 };
    let noticed = || says.count(&chain).is_none_or(|count| count >= often);
    chain.world.wait_until("the endpoint to be named", noticed).await;
    let struck = || faults.iter().all(|fault| fault.strikes() > 0);
    chain
        .world
        .wait_until("the fault to make a difference", struck)
        .await;
    if moved == Moved::Waits {
        for charge in &charges {
            let state = chain.world.view(&charge.id).await.state;
            assert!(["open", "detected"].contains(&state.as_str()), "{name}: {state}");
            assert_eq!(
                chain.world.plan(charge.tenant_id.as_deref().unwrap()),
                "free",
                "{name}"
            );
        }
        assert_ne!(chain.eligibility(during), Eligibility::Eligible, "{name}");
    }

    chain.proxy.heal();
    let charge = chain.world.charge("three").await;
    let after = chain.move_all(std::slice::from_ref(&charge)).await;
    for charge in charges.iter().chain([&charge]) {
        chain.is_paid(charge).await;
    }
    for member in [during, after] {
        chain.member_is(member, Eligibility::Eligible).await;
    }
    chain.is_streaming().await;
    chain.world.wait_read().await;
    assert_eq!(chain.counted(PAYMENT_CONFIRMED_TOTAL, &[]), 3, "{name}");
    assert_eq!(chain.reorgs(), 0, "{name}");
    let task = format!("task=\"chain {name}\"");
    assert_eq!(
        counted(TASK_FAILURES_TOTAL, &[&task]),
        0,
        "{name}: it was started again"
    );
    chain
}

impl Says {
    /// How often it is said of the endpoint; nothing where nothing need be.
    fn count(self, chain: &Proxied) -> Option<u64> {
        let of = |metric, label: String| Some(chain.counted(metric, &[r#"endpoint="proxied""#, &label]));
        match self {
            Self::Nothing => None,
            Self::Outcome(outcome) => of(ENDPOINT_REQUESTS_TOTAL, format!("outcome=\"{outcome}\"")),
            Self::Lost(reason) => of(ENDPOINT_DISCONNECTS_TOTAL, format!("reason=\"{reason}\"")),
            Self::Unproven => of(ENDPOINT_UNPROVEN_TOTAL, String::new()),
        }
    }
}
