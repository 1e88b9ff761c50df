//! Which seeds are run, and what has to come of them.

use std::sync::Arc;

use headwater::testing::simulation::{Bug, NATIVE_GROUP, Outcome, number, run_with};

use super::Kafkas;

/// Without being told otherwise.
const SEEDS: u64 = 500;

/// Whether there are no native clients.
const fn are_alone(seed: u64) -> bool {
    seed % 3 == 2
}

fn run(seed: u64) -> Outcome {
    let group = if seed % 3 == 1 {
        NATIVE_GROUP
    } else {
        "shipping"
    };
    run_with(seed, None, Arc::new(Kafkas { group }), are_alone(seed))
}

#[test]
fn whatever_goes_wrong_the_rules_hold_for_kafkas_clients_too() {
    if let Some(seed) = number("HEADWATER_SEED") {
        let outcome = run(seed);
        println!("{}", outcome.trace.last(usize::MAX >> 1));
        println!("trace {:016x}", outcome.trace.hash());
        return outcome.check(seed);
    }
    let first = number("HEADWATER_FIRST").unwrap_or(0);
    let (mut acknowledged, mut alone) = (0, 0);
    for seed in first..first + number("HEADWATER_SEEDS").unwrap_or(SEEDS) {
        let outcome = run(seed);
        outcome.check(seed);
        acknowledged += outcome.acknowledged;
        if are_alone(seed) {
            alone += outcome.acknowledged;
        }
        if seed % 1_000 == 999 {
            println!(
                "{} seeds, {acknowledged} records acknowledged, {alone} where Kafka's clients are alone",
                seed + 1 - first
            );
        }
    }
    assert!(alone > 0 && acknowledged > alone);
}

#[test]
fn one_seed_gives_one_trace_with_kafkas_clients_too() {
    let first = number("HEADWATER_FIRST").unwrap_or(0);
    for seed in first..first + number("HEADWATER_TWICE").unwrap_or(10) {
        let (one, other) = (run(seed).trace, run(seed).trace);
        if let Some(difference) = one.difference(&other) {
            panic!("seed {seed}: {difference}");
        }
        assert_eq!(one.hash(), other.hash(), "seed {seed}");
    }
}

/// Seeds until one finds the bug, at most.
const SEEDS_FOR_A_BUG: u64 = 300;

/// The first seed with which a bug breaks one of these rules, with no clients but Kafka's.
fn found(bug: Bug, rules: &[&str]) -> Option<(u64, String)> {
    (0..SEEDS_FOR_A_BUG).find_map(|seed| {
        let kafkas = Kafkas { group: "shipping" };
        let failures = run_with(seed, Some(bug), Arc::new(kafkas), true).failures;
        let is_expected = |failure: &String| rules.iter().any(|rule| failure.contains(rule));
        Some((seed, failures.into_iter().find(is_expected)?))
    })
}

#[test]
fn deliberate_bugs_are_found_with_kafkas_clients_alone() {
    let rules: [(Bug, &[&str]); 6] = [
        (Bug::DedupeDropped, &["twice", "comes after"]),
        (Bug::CommitUnfenced, &["counted when there was generation"]),
        (
            Bug::AckBeforeSync,
            &["was acknowledged at", "went back from"],
        ),
        (Bug::CommitAhead, &["are processed"]),
        (Bug::GenerationUnlogged, &["belongs to"]),
        (Bug::WatcherForgotten, &["a fetch waits for it"]),
    ];
    for (bug, rules) in rules {
        let found = found(bug, rules);
        println!("{bug:?}: {found:?}");
        assert!(found.is_some(), "{bug:?} is not found");
    }
}
