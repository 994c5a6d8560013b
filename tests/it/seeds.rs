//! The simulator's seeds: some hundreds of every run, and by name each that found something.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::simulator::{self, Report};

/// Seeds of every run, from 1 on.
const SEEDS: u64 = 300;

/// Lines of a run that are shown where it failed.
const SHOWN_LINES: usize = 60;

/// Lives through all of these, on as many threads as there are processors.
fn run(seeds: &[u64]) -> Vec<Report> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let place = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                    let Some(seed) = seeds.get(place) else { return };
                    let report = simulator::run(*seed, false);
                    if !report.breaches.is_empty() {
                        failed.lock().unwrap().push(report);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap()
}

fn assert_all_right(seeds: &[u64]) {
    let failed = run(seeds);
    let Some(first) = failed.first() else { return };
    let mut text = String::new();
    for report in &failed {
        for breach in &report.breaches {
            writeln!(text, "seed {}: {breach}", report.seed).unwrap();
        }
    }
    let told = simulator::run(first.seed, true).text;
    let lines: Vec<&str> = told.lines().collect();
    let end = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n");
    panic!(
        "{text}\nseed {seed} ended so:\n{end}\n\nall of it, twice:\n    cargo run --example tollgate-sim -- --replay {seed}",
        seed = first.seed
    );
}

#[test]
fn hundreds_of_seeds_come_right() {
    let seeds: Vec<u64> = (1..=SEEDS).collect();
    assert_all_right(&seeds);
}

/// Of three operators one forges for ever, and its endpoint is asked first: the tags that it named were waited for, and the
/// past of watched contracts was asked of it again and again.
/// In the other one its branch is far higher than the chain: its head was taken for the chain's.
#[test]
fn an_endpoint_that_is_outvoted_holds_nothing_up() {
    assert_all_right(&[151, 866]);
}

/// A forged branch named tags out of all reach, from which the chain's own were said to have gone back.
#[test]
fn a_tag_of_a_forged_branch_is_no_height_to_go_back_from() {
    assert_all_right(&[168, 228]);
}

/// A forger's tag made final what the next reorganisation took back.
#[test]
fn one_operator_of_two_makes_nothing_final() {
    assert_all_right(&[2185, 2230]);
}

/// The leader's operators did not agree, and nothing counted: the leader was not ready, the other instance was.
#[test]
fn who_follows_is_not_ready_while_nothing_counts() {
    assert_all_right(&[10572]);
}

/// Two nodes behind one address, one of them 25 blocks behind: at a start, heights were asked of both in turn.
#[test]
fn a_node_that_lags_behind_another_contradicts_nothing_final() {
    assert_all_right(&[10933]);
}

/// The chain was ready while it was read again from far below, after a quarantine was resolved: where its head was found
/// was forgotten until the next was announced.
#[test]
fn a_chain_that_is_opened_again_knows_how_far_it_is_behind() {
    assert_all_right(&[5453]);
}

/// A first reading could not be stored, and meanwhile the chain was reorganised: a chain of which nothing was kept was put in
/// quarantine for that.
#[test]
fn what_is_not_kept_cannot_be_contradicted() {
    assert_all_right(&[12536]);
}

/// The simulator's own mistake: what lies below the first block that is read was counted as not read yet.
#[test]
fn a_chain_begins_at_its_first_block() {
    assert_all_right(&[4622]);
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for seed in [3, 44, 170, 226] {
        let [first, second] = [simulator::run(seed, false), simulator::run(seed, false)];
        assert!(first.events > 100, "{first:?}");
        assert_eq!(first, second, "seed {seed}");
    }
}
