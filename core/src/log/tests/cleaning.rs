//! Segments at the front that hold nothing any more: removed whole, one after the other, and never more than
//! the state that is kept elsewhere makes up for.

use std::ops::ControlFlow;

use super::*;
use crate::log::reader::{Item, Reader};
use crate::log::storage::faulty::{Action, CrashMode};
use crate::log::{CleaningRule, segment, snapshot};

/// Segments of 6 KiB and a snapshot at every roll.
pub(super) fn eager() -> LogOptions {
    LogOptions {
        snapshot_least_bytes: 0,
        ..options(6 * 1_024)
    }
}

pub(super) fn open_eager(storage: &FaultyStorage) -> Open {
    try_open_with(Arc::new(storage.clone()), eager()).unwrap()
}

/// Two partitions with a batch each per step. The state of this machine grows with the log, so that snapshots
/// grow rare: some are far behind the front, which is as it should be.
fn fill(open: &Open, steps: u8) {
    (0..2).for_each(|partition| open.open_partition(partition));
    for step in 0..steps {
        for partition in 0..2 {
            let request = records(partition, &[&vec![step; 400]]);
            let request = if step % 4 == 3 {
                request.disk()
            } else {
                request
            };
            open.append(request).unwrap();
        }
    }
    open.sync().unwrap();
}

/// Records below an offset are dead.
pub(super) fn below(log_start_offset: i64) -> CleaningRule {
    CleaningRule {
        log_start_offset,
        compaction: None,
    }
}

/// Everything below an offset is dead, in both partitions.
fn remove_below(open: &Open, offset: i64) -> usize {
    let removed = open
        .log
        .shared
        .remove_dead(open.log.written(), &|_| Some(below(offset)));
    removed.unwrap_or_default()
}

fn segments(storage: &FaultyStorage) -> Vec<u64> {
    segment::list(storage, DIR).unwrap()
}

/// What is left of a partition, by base offset.
fn offsets(open: &Open, partition: u32) -> Vec<i64> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let batches = open.log.read_from(PartitionId(partition), at, i64::MAX, 1);
        let Some(batch) = batches.unwrap().pop() else {
            return found;
        };
        found.push(batch.base_offset);
        at = batch.next_offset;
    }
}

#[test]
fn dead_segments_before_a_snapshot_are_removed_and_the_log_goes_on_without_them() {
    let storage = FaultyStorage::new();
    let open = open_eager(&storage);
    fill(&open, 60);
    let snapshots = snapshot::list(&storage, DIR).unwrap();
    let (older, newer) = (snapshots[0], snapshots[1]);
    let before = open.log.size_bytes();
    let payloads = open.memory.payloads();
    assert!(older > 4 && newer > older + 4, "{snapshots:?}");
    assert_eq!(remove_below(&open, i64::MAX) as u64, newer - 1);
    assert_eq!(segments(&storage)[0], newer);
    assert!(open.log.size_bytes() < before);
    let left = offsets(&open, 0);
    assert!(left[0] > 0 && left.len() < 60);
    assert_eq!(remove_below(&open, i64::MAX), 0);
    open.append(records(0, &[b"more"]).disk()).unwrap();
    open.log.close().unwrap();
    assert_reads_without_damage(&storage, open.log.written());

    let again = open_eager(&storage);
    assert_eq!(again.memory.payloads()[..payloads.len()], payloads);
    assert_eq!(again.log.next_offset(PartitionId(0)), Some(61));
    assert_eq!(offsets(&again, 0)[..left.len()], left);
}

/// What `headwater dump --verify` says of the folder.
fn assert_reads_without_damage(storage: &FaultyStorage, last_index: u64) {
    let reader = Reader::new(storage, DIR, LOG_UUID).unwrap();
    let mut damages = 0;
    let ending = reader.read(&mut |item| {
        damages += u32::from(matches!(item, Item::Damage(_)));
        ControlFlow::Continue(())
    });
    let ending = ending.unwrap().unwrap();
    assert_eq!(
        (damages, ending.last_index, ending.is_clean),
        (0, last_index, true)
    );
}

/// Rolls where everything is synced, keeps what is due, and removes all that is dead: everything. Says what is
/// left of the log after a power cut, and whether there was a new snapshot.
fn roll_and_lose_the_power() -> (u64, u64, bool) {
    let storage = FaultyStorage::new();
    let open = open_eager(&storage);
    fill(&open, 30);
    let newest = || snapshot::list(&storage, DIR).unwrap().pop();
    let before = newest();
    // As the log does it, but for the sync that it asks for then.
    let shared = &open.log.shared;
    shared
        .with_writer(|writer| writer.roll_for_snapshot(shared))
        .unwrap();
    shared.keep_up();
    let is_kept = newest() > before;
    remove_below(&open, i64::MAX);
    let survivor = open_eager(&storage.crash_image(CrashMode::OnlySynced));
    (survivor.log.written(), open.log.written(), is_kept)
}

/// It was written while the power could still take the segment that begins there: with all before that
/// removed there was no log any more.
#[test]
fn a_snapshot_waits_until_the_segment_that_begins_there_is_durable() {
    let (left, written, is_kept) = roll_and_lose_the_power();
    assert_eq!((left, is_kept), (written, false));
    let bug = mutant::Mutant::SnapshotBeforeSegment;
    let (left, _, is_kept) = mutant::with(bug, roll_and_lose_the_power);
    assert_eq!((left, is_kept), (0, true));
}

#[test]
fn as_long_as_little_is_dead_the_older_snapshot_decides() {
    let storage = FaultyStorage::new();
    let open = open_eager(&storage);
    fill(&open, 60);
    let older = snapshot::list(&storage, DIR).unwrap()[0];
    let some = open.log.extents(PartitionId(0))[older as usize + 2].next_offset;
    assert_eq!(remove_below(&open, some) as u64, older - 1);
    assert_eq!(segments(&storage)[0], older);
}

#[test]
fn segment_with_one_batch_that_lives_stops_the_removal() {
    let storage = FaultyStorage::new();
    let open = open_eager(&storage);
    fill(&open, 60);
    let third = open.log.extents(PartitionId(0))[2];
    // Partition 1 is gone; of partition 0 the last batch of the third segment lives.
    let log_start = |id| (id == PartitionId(0)).then_some(below(third.next_offset - 1));
    assert_eq!(
        open.log.shared.remove_dead(open.log.written(), &log_start),
        Some(2)
    );
    assert_eq!(segments(&storage)[0], 3);
    assert_eq!(offsets(&open, 0)[0], third.first_offset);
}

#[test]
fn what_is_decided_by_entries_that_are_not_synced_is_not_done() {
    let storage = FaultyStorage::new();
    let open = open_eager(&storage);
    fill(&open, 60);
    open.append(records(0, &[b"not synced"])).unwrap();
    assert_eq!(remove_below(&open, i64::MAX), 0);
    open.sync().unwrap();
    assert!(remove_below(&open, i64::MAX) > 0);
}

#[test]
fn without_a_snapshot_nothing_is_removed() {
    let storage = FaultyStorage::new();
    let open = try_open_with(Arc::new(storage.clone()), options(6 * 1_024)).unwrap();
    fill(&open, 60);
    assert_eq!(remove_below(&open, i64::MAX), 0);
    assert_eq!(segments(&storage)[0], 1);
}

#[test]
fn many_short_segments_get_a_snapshot_too() {
    let storage = FaultyStorage::new();
    let open = try_open_with(Arc::new(storage.clone()), options(6 * 1_024)).unwrap();
    fill(&open, 3);
    open.log.set_segment_ms(1);
    for _ in 0..64 {
        open.append(records(0, &[b"x"]).disk()).unwrap();
        open.log.roll_aged();
    }
    open.sync().unwrap();
    assert!(!snapshot::list(&storage, DIR).unwrap().is_empty());
    assert!(remove_below(&open, i64::MAX) > 32);
}

#[test]
fn log_in_memory_needs_no_snapshot() {
    use crate::log::storage::memory::MemoryStorage;

    let open = try_open_with(Arc::new(MemoryStorage::new()), eager()).unwrap();
    (0..2).for_each(|partition| open.open_partition(partition));
    while open.log.segment_count() < 4 {
        open.append(records(0, &[&[7; 400]])).unwrap();
    }
    assert_eq!(remove_below(&open, i64::MAX), 3);
    assert_eq!(open.log.segment_count(), 1);
}

#[test]
fn cut_at_any_operation_of_a_removal_leaves_a_log_without_a_hole() {
    let storage = FaultyStorage::new();
    let open = open_eager(&storage);
    fill(&open, 60);
    let first = storage.now();
    let removed = remove_below(&open, i64::MAX) as u64;
    let last = storage.now();
    assert!(removed > 2 && last - first == 2 * removed, "{first} {last}");
    let (payloads, written) = (open.memory.payloads(), open.log.written());
    let is_removal = |action: &Action| matches!(action, Action::Unlink | Action::SyncDir);
    let operations = storage.operations();
    let operations = &operations[first as usize..];
    assert!(operations.iter().all(|it| is_removal(&it.action)));
    for operation in first..=last {
        let storage = FaultyStorage::new();
        let open = open_eager(&storage);
        fill(&open, 60);
        storage.power_off_at(operation);
        remove_below(&open, i64::MAX);
        for seed in 0..6 {
            for mode in [
                CrashMode::OnlySynced,
                CrashMode::AllWritten,
                CrashMode::SubsetOfSectors(seed),
            ] {
                let image = storage.crash_image(mode);
                let again = open_eager(&image);
                let what = format!("cut at {operation}, {mode:?}");
                assert_eq!(again.log.written(), written, "{what}");
                assert_eq!(again.memory.payloads(), payloads, "{what}");
                let left = offsets(&again, 0);
                let from = left[0];
                assert_eq!(left, (from..60).collect::<Vec<_>>(), "{what}");
                // And what was not removed can be removed now.
                remove_below(&again, i64::MAX);
                assert!(segments(&image)[0] <= removed + 1, "{what}");
                assert_eq!(again.log.written(), written, "{what}");
            }
        }
    }
}

/// A segment whose removal failed was left behind, those after it were removed, and the next open found a
/// hole in the log and refused it.
#[test]
fn removal_that_fails_is_no_reason_to_remove_what_comes_after() {
    for later in 0..6 {
        let storage = FaultyStorage::new();
        let open = open_eager(&storage);
        fill(&open, 60);
        storage.fail_at(storage.now() + later, std::io::ErrorKind::Other);
        let first = remove_below(&open, i64::MAX) as u64;
        let is_sync = storage.operations().last().unwrap().action == Action::SyncDir;
        let again = remove_below(&open, i64::MAX);
        // Of a folder whose sync failed nothing is known.
        assert_eq!(again == 0, is_sync, "{later}");
        let left = segments(&storage);
        assert!(
            left.windows(2).all(|pair| pair[0] + 1 == pair[1]),
            "{left:?}"
        );
        assert!(left[0] > first, "{left:?}");
        for mode in [CrashMode::AllWritten, CrashMode::SubsetOfSectors(later)] {
            let after = open_eager(&storage.crash_image(mode));
            assert_eq!(after.memory.payloads(), open.memory.payloads(), "{later}");
            assert!(remove_below(&after, i64::MAX) > 0 || again > 0, "{later}");
        }
    }
}

#[test]
fn reader_that_was_told_of_a_segment_finds_what_comes_behind_it() {
    let storage = FaultyStorage::new();
    let open = open_eager(&storage);
    fill(&open, 60);
    assert_eq!(offsets(&open, 0).len(), 60);
    remove_below(&open, i64::MAX);
    let batches = open.log.read_from(PartitionId(0), 0, i64::MAX, 1).unwrap();
    assert_eq!(batches[0].base_offset, offsets(&open, 0)[0]);
}

#[test]
fn log_whose_front_is_removed_and_whose_snapshots_are_lost_is_refused_and_left_alone() {
    let storage = FaultyStorage::new();
    let open = open_eager(&storage);
    fill(&open, 60);
    remove_below(&open, i64::MAX);
    open.log.close().unwrap();
    for segment in snapshot::list(&storage, DIR).unwrap() {
        storage
            .unlink(&format!("{DIR}/{segment:020}.snap"))
            .unwrap();
    }
    drop(storage.unlink(&format!("{DIR}/state.redb")));
    let (before, names) = (storage.now(), storage.list(DIR).unwrap());
    let error = try_open_with(Arc::new(storage.clone()), eager()).map(drop);
    let error = error.unwrap_err();
    assert!(error.message().contains("missing"), "{error}");
    assert_eq!((storage.now(), storage.list(DIR).unwrap()), (before, names));
}

#[test]
fn segment_rolls_when_it_has_reached_its_age() {
    let storage = FaultyStorage::new();
    let open = try_open_with(Arc::new(storage), options(1 << 30)).unwrap();
    open.open_partition(0);
    // The clock of these tests goes on by a millisecond with every look at it.
    open.log.set_segment_ms(20);
    while open.log.segment_count() == 1 {
        open.append(records(0, &[b"x"])).unwrap();
    }
    let written = open.log.written();
    assert!(written > 5 && written < 25, "{written}");
    while open.log.segment_count() == 2 {
        open.log.roll_aged();
    }
    assert_eq!(open.log.written(), written);
    // One that holds nothing is left as it is.
    open.log.roll_aged();
    assert_eq!(open.log.segment_count(), 3);
}
