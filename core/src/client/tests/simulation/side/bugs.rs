//! Deliberate bugs that what goes on beside has to find.

use super::{Kind, SALT};
use crate::client::tests::simulation::run;
use crate::log::storage::faulty::Random;
use crate::world::simulated::Bug;

/// The last seed that may find a bug; an eighth of them has what finds the rarest.
const SEEDS_MAX: u64 = 2_400;

/// A bug, what has to go on beside for it to show, and the rules that it breaks.
type Hunt = (Bug, fn(Kind) -> bool, &'static [&'static str]);

#[test]
fn deliberate_bugs_are_found_beside() {
    let is_os = |kind| matches!(kind, Kind::Os { .. });
    let bugs: [Hunt; 4] = [
        (
            Bug::TruncationUntold,
            is_os,
            &["was not told", "has not seen"],
        ),
        (Bug::LossUntold, is_os, &["their producer was not told"]),
        (
            Bug::DeletedToEnd,
            |kind| matches!(kind, Kind::Records),
            &["that nobody deleted", "nobody had offset"],
        ),
        (
            Bug::OldTopicHeld,
            |kind| matches!(kind, Kind::Topic),
            &["is committed and only", "no end in"],
        ),
    ];
    for hunt in bugs {
        let found = found(hunt);
        println!("{:?}: {found:?}", hunt.0);
        assert!(found.is_some(), "{:?} is not found", hunt.0);
    }
}

/// The first of these seeds with which the bug breaks one of its rules.
fn found((bug, plays, rules): Hunt) -> Option<(u64, String)> {
    let kind_of = |seed: &u64| Kind::of(&mut Random(seed ^ SALT));
    let mut seeds = (0..SEEDS_MAX).filter(|seed| kind_of(seed).is_some_and(plays));
    seeds.find_map(|seed| {
        let failures = run(seed, Some(bug)).failures;
        let is_expected = |failure: &String| rules.iter().any(|rule| failure.contains(rule));
        Some((seed, failures.into_iter().find(is_expected)?))
    })
}
