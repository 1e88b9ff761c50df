//! A coordinator, its log and members that fail in every way, on a clock of their own.
//!
//! Messages are delayed, lost, repeated and overtaken; members are slow to let go, fall silent, restart, leave;
//! the log refuses; the coordinator is killed, with what the log did not have yet. After each event the rules are checked:
//! nobody who is a member holds what another member holds; in one generation nobody is told what another
//! was told; no generation is told twice; no commit counts of one who holds the partition no more. When the
//! faults end, the group comes to rest: all is assigned, evenly, and stays.

use super::*;

mod client;
mod faults;
mod rules;
mod world;

use world::World;

/// Runs one seed to the end.
fn run(seed: u64) -> std::result::Result<(), String> {
    let mut world = World::new(seed);
    world.run_with_faults(30_000)?;
    world.come_to_rest()
}

const SEEDS: u64 = 150;
/// Some bugs show in rare moments alone.
const SEEDS_WITH_BUG: u64 = 1_000;

#[test]
fn group_keeps_its_rules_whatever_fails() {
    for seed in 0..SEEDS {
        if let Err(broken) = run(seed) {
            panic!("seed {seed}: {broken}");
        }
    }
}

/// The rule that the first seed to find it says is broken.
fn found(mutant: mutant::Mutant) -> Option<String> {
    mutant::with(mutant, || {
        (0..SEEDS_WITH_BUG).find_map(|seed| run(seed).err())
    })
}

#[test]
fn every_deliberate_bug_is_found() {
    let bugs = [
        (mutant::Mutant::GrantBeforeRelease, "is held by"),
        (mutant::Mutant::ReleaseOfAnyGeneration, "is held by"),
        (mutant::Mutant::RemovedFreedAtOnce, ""),
        (mutant::Mutant::ToldUnpersisted, "is told; the log has"),
        (mutant::Mutant::CommitUnowned, "a commit counts"),
    ];
    for (mutant, rule) in bugs {
        let found = found(mutant);
        let is_found = found.as_ref().is_some_and(|broken| broken.contains(rule));
        assert!(is_found, "{mutant:?}: {found:?}");
    }
}
