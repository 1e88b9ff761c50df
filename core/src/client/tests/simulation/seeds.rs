//! Which seeds are run, and what has to come of them.

use super::parts::Parts;
use super::{number, run};
use crate::world::simulated::Bug;

/// Without being told otherwise.
const SEEDS: u64 = 500;

/// Seeds that have found a bug of the product, each with a test of its own by now where it was mended.
const FOUND: [u64; 18] = [
    // A heartbeat of before a release was asked again of a broker that had started since.
    1_070,
    // A topic was said to exist before its creation was synced, and a power cut took it back.
    30_920,
    // A producer at `os` was not told of its loss when the next batch was the first of an epoch.
    275, // Nor when the batch for which the loss was found out had failed by then.
    7_543,
    // A member that was missing while its topic was deleted and created again went on where it had stood.
    204,
    // The same of one that was missing twice, and of one that had not let go yet when the broker was started again.
    1_029, 1_197,
    // The same of one that had not heard of the deletion when the broker was lost.
    5_458, 34_332,
    // A commit of the first of two topics of a name counted for the second before the groups knew of that.
    4_402,
    // A commit of what a power cut had taken back at `os` counted, and the group passed over what came in its place.
    4_602,
    // Results that were refused, since what they were of went to another member, were sent again and taken.
    187,
    // A record that paused before it was tried again was taken for a handler that is stuck.
    156,
    // A consumer whose host had been late joined its group again before it told that, and left it with the error.
    1_347,
    // A topic whose creation could not be synced was said to exist, by a log that had stopped.
    27_514,
    // A topic whose deletion could not be synced was said to be gone, by a log that had stopped.
    9_178,
    // What a member had read last before a rebalance was not committed until it read more.
    32_038,
    // That positions at `os` were in doubt after a power cut was forgotten over a start that followed a close in order.
    6_697,
];

#[test]
fn whatever_goes_wrong_the_rules_hold() {
    if let Some(seed) = number("HEADWATER_SEED") {
        let outcome = run(seed, None);
        println!("{}", outcome.trace.last(usize::MAX >> 1));
        println!(
            "trace {:016x}, {} marks",
            outcome.trace.hash(),
            outcome.trace.mark_count()
        );
        return outcome.check(seed);
    }
    let first = number("HEADWATER_FIRST").unwrap_or(0);
    let mut acknowledged = 0;
    let seeds = first..first + number("HEADWATER_SEEDS").unwrap_or(SEEDS);
    for seed in seeds.chain(FOUND) {
        let outcome = run(seed, None);
        outcome.check(seed);
        acknowledged += outcome.acknowledged;
        if seed % 1_000 == 999 {
            println!(
                "{} seeds, {acknowledged} records acknowledged",
                seed + 1 - first
            );
        }
    }
    assert!(acknowledged > 0);
}

#[test]
fn one_seed_gives_one_trace() {
    let first = number("HEADWATER_FIRST").unwrap_or(0);
    for seed in first..first + number("HEADWATER_TWICE").unwrap_or(25) {
        let (one, other) = (run(seed, None).trace, run(seed, None).trace);
        if let Some(difference) = one.difference(&other) {
            panic!("seed {seed}: {difference}");
        }
        assert_eq!(one.hash(), other.hash(), "seed {seed}");
    }
}

/// Seeds until one finds the bug, at most.
const SEEDS_FOR_A_BUG: u64 = 300;

/// The first seed with which a bug breaks one of these rules. Without it none of them breaks any.
fn found(bug: Bug, rules: &[&str]) -> Option<(u64, String)> {
    (0..SEEDS_FOR_A_BUG).find_map(|seed| {
        let failures = run(seed, Some(bug)).failures;
        let is_expected = |failure: &String| rules.iter().any(|rule| failure.contains(rule));
        Some((seed, failures.into_iter().find(is_expected)?))
    })
}

#[test]
fn deliberate_bugs_are_found() {
    // What is acknowledged too early and lost is a record or a commit, whichever the seed loses first; what comes
    // twice is behind what came after it.
    let rules: [(Bug, &[&str]); 5] = [
        (Bug::DedupeDropped, &["twice", "comes after"]),
        (Bug::CommitUnfenced, &["commit"]),
        (
            Bug::AckBeforeSync,
            &["was acknowledged at", "went back from"],
        ),
        (Bug::ResentBehind, &["twice", "comes after"]),
        (Bug::CommitAhead, &["are processed"]),
    ];
    for (bug, rules) in rules {
        let found = found(bug, rules);
        println!("{bug:?}: {found:?}");
        assert!(found.is_some(), "{bug:?} is not found");
    }
}

/// A bug, which seeds may find it, and the rule that it breaks.
type Hunt = (Bug, fn(&Parts) -> bool, &'static str);

/// The first of these seeds with which the bug breaks the rule.
fn found_in_part((bug, plays, rule): Hunt) -> Option<(u64, String)> {
    let seeds = (0..10 * SEEDS_FOR_A_BUG).filter(|seed| plays(&Parts::of(*seed)));
    seeds.into_iter().find_map(|seed| {
        let mut failures = run(seed, Some(bug)).failures.into_iter();
        Some((seed, failures.find(|failure| failure.contains(rule))?))
    })
}

#[test]
fn deliberate_bugs_are_found_by_what_half_of_the_seeds_play() {
    let handles = |parts: &Parts| parts.handling.is_some_and(|it| it.has_letters);
    let bills = |parts: &Parts| parts.billing.is_some();
    let places = |parts: &Parts| parts.places.is_some();
    let bugs: [Hunt; 5] = [
        (Bug::LetterUnawaited, handles, "are processed"),
        (Bug::RetryFreesLane, handles, "is handled before"),
        (Bug::ResultsForfeited, bills, "is there twice"),
        (Bug::ResultsApart, bills, "results after an open"),
        (Bug::InstanceUnfenced, places, "when another had its name"),
    ];
    for bug in bugs {
        let found = found_in_part(bug);
        println!("{:?}: {found:?}", bug.0);
        assert!(found.is_some(), "{:?} is not found", bug.0);
    }
}

#[test]
fn seeds_that_were_kept_play_nothing_more() {
    // Those that found bugs before there was more to play: they are to go on meaning what they meant.
    for seed in [1_070, 30_920] {
        assert_eq!(Parts::of(seed).members(), 0);
    }
    let playing = (0..1_000).filter(|seed| Parts::of(*seed).members() > 0);
    assert!((400..600).contains(&playing.count()));
}
