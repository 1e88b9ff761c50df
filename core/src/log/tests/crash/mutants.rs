//! What the enumeration is worth: bugs, put in on purpose, each of which it finds. The first half are syncs
//! that are not called, the other rules of the log that are not kept.

use super::*;
use crate::log::tests::mutant::{self, Mutant};

/// Walks through a script until something is found.
fn found(name: &str, world: &World) -> Option<String> {
    let violation = Walk::new(script(name).0, world, 1).run().err()?;
    let recoveries = world.tally.recoveries.get();
    Some(format!(
        "`{name}` after {recoveries} recoveries: {violation}"
    ))
}

fn is_found(mutant: Mutant, by: &str) {
    let found = mutant::with(mutant, || found(by, &World::default()));
    let found = found.unwrap_or_else(|| panic!("nobody finds {mutant:?}"));
    say(&format!("{mutant:?} is found by {found}"));
}

fn is_missed(dropped: Dropped, by: &str) {
    let world = World {
        dropped: Some(dropped),
        ..World::default()
    };
    let found = found(by, &world);
    let found = found.unwrap_or_else(|| panic!("nobody misses the sync: {dropped:?}"));
    say(&format!("the sync {dropped:?} is missed by {found}"));
}

#[test]
fn the_sync_of_the_segment_that_is_written_to_is_missed() {
    is_missed(Dropped::Active, "levels");
}

#[test]
fn the_sync_of_a_full_segment_is_missed() {
    is_missed(Dropped::Sealed, "levels");
}

#[test]
fn the_sync_of_the_folder_is_missed() {
    is_missed(Dropped::Folder, "levels");
}

#[test]
fn the_sync_of_the_last_segment_at_open_is_missed() {
    is_missed(Dropped::ActiveWhileOpening, "levels");
}

#[test]
fn the_sync_of_the_segments_before_the_last_at_open_is_missed() {
    is_missed(Dropped::SealedWhileOpening, "levels");
}

#[test]
fn the_sync_of_the_folder_at_open_is_missed() {
    is_missed(Dropped::FolderWhileOpening, "levels");
}

#[test]
fn the_sync_of_a_snapshot_is_missed() {
    is_missed(Dropped::Snapshot, "cleaned");
}

#[test]
fn the_sync_of_the_folder_around_is_missed() {
    is_missed(Dropped::Parent, "levels");
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    is_found(Mutant::AckBeforeSync, "levels");
}

#[test]
fn a_frame_behind_damage_that_is_taken_for_the_logs_is_found() {
    is_found(Mutant::FrameBehindDamage, "levels");
}

#[test]
fn a_hole_that_is_taken_for_the_end_is_found() {
    is_found(Mutant::HoleIsEnd, "levels");
}

#[test]
fn a_cut_that_goes_on_in_the_same_file_is_found() {
    is_found(Mutant::CutInPlace, "levels");
}

#[test]
fn a_tail_that_an_open_leaves_as_it_is_is_found() {
    is_found(Mutant::TailLeft, "levels");
}

#[test]
fn a_tail_that_an_open_only_syncs_is_found() {
    is_found(Mutant::TailOnlySynced, "levels");
}

#[test]
fn a_term_that_is_not_raised_is_found() {
    is_found(Mutant::TermKept, "levels");
}

#[test]
fn an_open_log_that_looks_closed_is_found() {
    is_found(Mutant::OpenedUnsaid, "levels");
}

#[test]
fn a_cut_that_is_ignored_is_found() {
    is_found(Mutant::CutIgnored, "rolls");
}

#[test]
fn a_checkpoint_ahead_of_the_log_is_found() {
    is_found(Mutant::KeptAhead, "kept");
}

#[test]
fn a_front_that_is_removed_without_a_snapshot_behind_it_is_found() {
    is_found(Mutant::CleanedAhead, "cleaned");
}

#[test]
fn a_cold_segment_that_is_not_synced_is_found() {
    is_found(Mutant::ColdUnsynced, "moved");
}

#[test]
fn zeros_over_frames_that_were_written_meanwhile_are_found() {
    is_found(Mutant::ZeroesUngranted, "zeroes");
}

#[test]
fn a_failed_sync_of_zeros_that_is_ignored_is_found() {
    is_found(Mutant::ZeroesSyncIgnored, "zeroes");
}

#[test]
fn a_forgotten_producer_is_found() {
    is_found(Mutant::ProducersForgotten, "levels");
}

#[test]
fn a_set_that_is_refused_and_counts_in_part_is_found() {
    is_found(Mutant::RefusedSetTaken, "sets");
}
