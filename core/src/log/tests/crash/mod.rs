//! A power cut at every operation, in every mode, and again at operations of the recovery and of what
//! comes after it.
//!
//! - `scripts`: what is played before the power goes; `stage`: the words they are written in
//! - `story`: what was promised, and whether what an open finds goes with it; `tape`: what is remembered of
//!   an entry; `windows`: offsets and producers' sequences, worked out a second time
//! - `walk`: the enumeration; `dropping`, `mutants`: deliberate bugs, each of which it has to find
//!
//! What is to be cut too gets a word in `stage` (a snapshot, a checkpoint, a cleaning), a script that uses
//! it, and a line in [`SCRIPTS`]; what an open may find then is `story`'s to know. A rule of the log gets a
//! line in `mutant`, and a test that it is missed.
//!
//! A walk of each script is at least [`RECOVERIES`] openings that are judged. `HEADWATER_CRASH_RECOVERIES`
//! asks for more: each script is then walked again, with other seeds, until it has its share.

mod dropping;
mod mutants;
mod scripts;
mod stage;
mod story;
mod tape;
mod walk;
mod windows;

use std::io::Write as _;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use dropping::Dropped;
use scripts::Script;
use stage::World;
use walk::Walk;

use super::cleaning::below;
use super::*;

/// Openings of all scripts together.
const RECOVERIES: u64 = 100_000;

/// Each script, and how many openings a walk of it is at least.
const SCRIPTS: [(Script, u64); 13] = [
    (scripts::LEVELS, 10_000),
    (scripts::ROLLS, 18_000),
    (scripts::CLOSES, 22_000),
    (scripts::IDLES, 14_000),
    (scripts::CUTS, 20_000),
    (scripts::PRODUCERS, 15_000),
    (scripts::SETS, 9_000),
    (scripts::NUMBERS, 18_000),
    (scripts::KEPT, 10_000),
    (scripts::CLEANED, 10_000),
    (scripts::MOVED, 10_000),
    (scripts::TIGHT, 10_000),
    (scripts::ZEROES, 10_000),
];

const _: () = {
    let (mut sum, mut at) = (0, 0);
    while at < SCRIPTS.len() {
        sum += SCRIPTS[at].1;
        at += 1;
    }
    assert!(sum >= RECOVERIES);
};

/// Recoveries of every walk so far.
static ALL: AtomicU64 = AtomicU64::new(0);

/// A script, and how many openings a walk of it is at least.
fn script(name: &str) -> (Script, u64) {
    let found = SCRIPTS.iter().find(|(script, _)| script.name == name);
    *found.unwrap()
}

/// Walks a script, and again until it has its share of what is asked for.
fn walk(name: &str) {
    let (script, least) = script(name);
    let wanted = std::env::var("HEADWATER_CRASH_RECOVERIES").map(|count| count.parse().unwrap());
    let share = wanted.unwrap_or(0_u64).div_ceil(SCRIPTS.len() as u64);
    let (world, began) = (World::default(), Instant::now());
    let tally = &world.tally;
    for seed in 1.. {
        if let Err(violation) = Walk::new(script, &world, seed).run() {
            panic!("{name}, seed {seed}: {violation}");
        }
        if tally.recoveries.get() >= share {
            break;
        }
    }
    let (recoveries, interrupted) = (tally.recoveries.get(), tally.interrupted.get());
    let seconds = began.elapsed().as_secs_f64();
    let all = recoveries + ALL.fetch_add(recoveries, Ordering::Relaxed);
    say(&format!(
        "`{name}`: {recoveries} recoveries, {interrupted} cut short, {seconds:.1} s; {all} in all"
    ));
    assert!(recoveries >= least.max(share), "{recoveries} recoveries");
}

/// Past the test runner's capture: the numbers are to be seen.
pub(super) fn say(line: &str) {
    let line = format!("crash: {line}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

#[test]
fn both_levels_keep_what_they_promise_through_power_cuts() {
    walk("levels");
}

#[test]
fn segments_that_roll_keep_what_they_promise_through_power_cuts() {
    walk("rolls");
}

#[test]
fn closed_logs_keep_what_they_promise_through_power_cuts() {
    walk("closes");
}

#[test]
fn idle_logs_keep_what_they_promise_through_power_cuts() {
    walk("idles");
}

#[test]
fn logs_that_were_cut_keep_what_they_promise_through_more_power_cuts() {
    walk("cuts");
}

#[test]
fn producers_are_known_after_power_cuts() {
    walk("producers");
}

#[test]
fn sets_are_whole_after_power_cuts() {
    walk("sets");
}

#[test]
fn snapshots_and_checkpoints_say_what_the_log_says_after_power_cuts() {
    walk("kept");
}

#[test]
fn logs_whose_front_is_gone_keep_what_lives_through_power_cuts() {
    walk("cleaned");
}

#[test]
fn logs_with_cold_segments_keep_what_lives_through_power_cuts() {
    walk("moved");
}

#[test]
fn logs_that_are_tight_keep_what_lives_through_power_cuts() {
    walk("tight");
}

#[test]
fn logs_with_zeros_written_ahead_keep_what_they_promise_through_power_cuts() {
    walk("zeroes");
}

#[test]
fn numbers_of_segments_that_come_again_bring_nothing_back() {
    walk("numbers");
}
