//! A coordinator, its log and members that fail in every way, on a clock of their own.
//!
//! Messages are delayed, lost, repeated and overtaken; members are killed, pause, leave, change what they say;
//! the log refuses; the coordinator is killed, with what the log did not have yet. The leaders are sane. After
//! each answer the rules are checked: no generation is told that the log does not have with these members; all
//! members of one saw the same members and protocol; in one no partition is two members'; no commit counts of an
//! older generation, or of the earlier self of a static member. When the faults end, the group comes to rest:
//! all is assigned, and stays.

use super::*;

mod client;
mod rules;
mod world;

use crate::engine::group::mutant::{self, Mutant};
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
fn classic_group_keeps_its_rules_whatever_fails() {
    let seeds = std::env::var("HEADWATER_SEEDS");
    let seeds = seeds.map_or(SEEDS, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        if let Err(broken) = run(seed) {
            panic!("seed {seed}: {broken}");
        }
    }
}

#[test]
fn every_deliberate_bug_is_found() {
    let bugs = [
        (Mutant::ClassicToldUnpersisted, "is told; the log has"),
        (Mutant::ClassicAnyGeneration, "a commit counts"),
        (Mutant::ClassicNoFencing, ""),
        (Mutant::ClassicOtherRoster, "is told; the log has"),
        (Mutant::ClassicReplacedUnlisted, "is told; the log has"),
        (Mutant::ClassicLeaderForgotten, "does not come to rest"),
    ];
    for (mutant, rule) in bugs {
        let found = mutant::with(mutant, || {
            (0..SEEDS_WITH_BUG).find_map(|seed| run(seed).err())
        });
        let is_found = found.as_ref().is_some_and(|broken| broken.contains(rule));
        assert!(is_found, "{mutant:?}: {found:?}");
    }
}
