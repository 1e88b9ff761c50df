//! Snapshots and checkpoints: opening from them is opening from the whole log, and losing them loses nothing.

use std::collections::BTreeMap;
use std::io::{ErrorKind as IoErrorKind, IoSlice};

use super::*;
use crate::error::ErrorKind;
use crate::log::storage::faulty::CrashMode;
use crate::log::{segment, snapshot};

/// Segments of 6 KiB; a snapshot at every roll, a checkpoint whenever something was synced.
fn eager() -> LogOptions {
    LogOptions {
        checkpoint_bytes: 1,
        checkpoint_least_bytes: 1,
        snapshot_least_bytes: 0,
        ..options(6 * 1_024)
    }
}

fn open_eager(storage: &FaultyStorage) -> Open {
    try_open_with(Arc::new(storage.clone()), eager()).unwrap()
}

fn restored(open: &Open) -> u64 {
    *open.memory.restored.lock()
}

/// Two partitions, a producer, segments that roll; every third append waits for its sync.
fn fill(open: &Open, from: i32, count: i32) {
    if from == 0 {
        (0..2).for_each(|partition| open.open_partition(partition));
    }
    for step in from..from + count {
        let value = vec![step as u8; 300 + 97 * (step as usize % 5)];
        let request = produced(0, &[&value, b"tail"], 7, 0, 2 * step);
        let request = if step % 3 == 2 {
            request.disk()
        } else {
            request
        };
        open.append(request).unwrap();
        open.append(records(1, &[&value])).unwrap();
    }
}

/// Everything that can be asked about two open logs of the same bytes is answered alike.
fn assert_same(one: &Open, other: &Open, what: &str) {
    assert_eq!(one.memory.payloads(), other.memory.payloads(), "{what}");
    assert_eq!(one.log.written(), other.log.written(), "{what}");
    assert_eq!(one.log.term(), other.log.term(), "{what}");
    for partition in 0..2 {
        let partition = PartitionId(partition);
        let (next, next_other) = (
            one.log.next_offset(partition),
            other.log.next_offset(partition),
        );
        assert_eq!(next, next_other, "{what}");
        for offset in 0..next.unwrap_or_default() {
            let read = |open: &Open| {
                let batches = open.log.read_from(partition, offset, i64::MAX, 1).unwrap();
                batches
                    .first()
                    .map(|batch| (batch.base_offset, batch.bytes.clone()))
            };
            assert_eq!(read(one), read(other), "{what}: offset {offset}");
        }
    }
    let pairs = |open: &Open| {
        let pairs = open
            .log
            .shared
            .with_writer(|writer| writer.pairs(Scope::All));
        let pairs = pairs.into_iter().map(|pair| (pair.key, pair.value));
        pairs.collect::<BTreeMap<_, _>>()
    };
    assert_eq!(pairs(one), pairs(other), "{what}");
}

/// The same bytes without what can be built again.
fn without(storage: &FaultyStorage, suffixes: &[&str]) -> FaultyStorage {
    let image = storage.crash_image(CrashMode::AllWritten);
    for name in image.list(DIR).unwrap() {
        if suffixes.iter().any(|suffix| name.ends_with(suffix)) {
            image.unlink(&format!("{DIR}/{name}")).unwrap();
        }
    }
    image.sync_dir(DIR).unwrap();
    image
}

fn names(storage: &FaultyStorage, suffix: &str) -> Vec<String> {
    let names = storage.list(DIR).unwrap().into_iter();
    names.filter(|name| name.ends_with(suffix)).collect()
}

#[test]
fn log_opened_from_its_checkpoint_is_the_whole_log() {
    let storage = FaultyStorage::new();
    let open = open_eager(&storage);
    fill(&open, 0, 60);
    open.sync().unwrap();
    for mode in [CrashMode::AllWritten, CrashMode::OnlySynced] {
        let image = storage.crash_image(mode);
        let bare = without(&image, &[".redb", ".snap"]);
        let (from_checkpoint, from_nothing) = (open_eager(&image), open_eager(&bare));
        assert!(
            restored(&from_checkpoint) > 100,
            "{}",
            restored(&from_checkpoint)
        );
        assert_eq!(restored(&from_nothing), 0);
        assert_same(&from_checkpoint, &from_nothing, &format!("{mode:?}"));
        fill(&from_checkpoint, 60, 5);
        fill(&from_nothing, 60, 5);
        assert_same(&from_checkpoint, &from_nothing, "going on");
    }
}

#[test]
fn log_without_a_checkpoint_is_opened_from_its_newest_snapshot() {
    let storage = FaultyStorage::new();
    let open = open_eager(&storage);
    fill(&open, 0, 60);
    open.log.close().unwrap();
    assert_eq!(names(&storage, ".snap").len(), 2);
    let image = without(&storage, &[".redb"]);
    let from_snapshot = open_eager(&image);
    // The state of this machine is the whole log, so that snapshots grow rare.
    let newest = restored(&from_snapshot);
    assert!(newest > 30, "{newest}");
    let from_nothing = open_eager(&without(&storage, &[".redb", ".snap"]));
    assert_same(&from_snapshot, &from_nothing, "newest");
    drop(from_snapshot);

    let name = names(&image, ".snap").pop().unwrap();
    let file = image.open(&format!("{DIR}/{name}"), false).unwrap();
    file.write_at(&[IoSlice::new(&[9])], 80).unwrap();
    let image = without(&image, &[".redb"]);
    let from_older = open_eager(&image);
    let older = restored(&from_older);
    assert!(older > 5 && older < newest, "{older}");
    assert_same(&from_older, &from_nothing, "the one before");
}

#[test]
fn clean_close_and_open_write_nothing_and_read_from_the_checkpoint() {
    let storage = FaultyStorage::new();
    let open = open_eager(&storage);
    fill(&open, 0, 60);
    open.log.close().unwrap();
    let before = storage.now();
    for _ in 0..2 {
        let again = open_eager(&storage);
        assert_eq!(restored(&again), again.log.written());
        again.log.close().unwrap();
        assert_eq!(storage.now(), before);
    }
}

/// The database writes as it is closed, and was closed by whoever let go of the log last.
#[test]
fn log_that_is_dropped_writes_no_checkpoint_any_more() {
    let storage = FaultyStorage::new();
    let open = open_eager(&storage);
    fill(&open, 0, 30);
    open.sync().unwrap();
    while open.log.shared.keeper.is_busy(&open.log.shared) {
        std::thread::yield_now();
    }
    let before = storage.now();
    drop(open);
    // The log's threads let go of it when they have ended.
    while storage.handles() > 1 {
        std::thread::yield_now();
    }
    assert_eq!(storage.now(), before);
    let again = open_eager(&storage);
    assert!(restored(&again) > 50, "{}", restored(&again));
}

#[test]
fn damaged_checkpoint_is_built_again_whatever_is_wrong_with_it() {
    let storage = FaultyStorage::new();
    let open = open_eager(&storage);
    fill(&open, 0, 30);
    open.log.close().unwrap();
    let whole = open_eager(&without(&storage, &[".redb", ".snap"]));
    let path = format!("{DIR}/state.redb");
    let length = storage.open(&path, true).unwrap().length().unwrap();
    let mut restored_from = BTreeMap::<bool, u32>::new();
    for position in (0..length).step_by(509) {
        let image = storage.crash_image(CrashMode::AllWritten);
        let file = image.open(&path, false).unwrap();
        let mut bytes = [0; 4];
        let count = (length - position).min(4) as usize;
        file.read_at(&mut bytes[..count], position).unwrap();
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
        file.write_at(&[IoSlice::new(&bytes[..count])], position)
            .unwrap();
        let open = open_eager(&image);
        assert_same(&open, &whole, &format!("position {position}"));
        *restored_from
            .entry(restored(&open) == whole.log.written())
            .or_default() += 1;
        fill(&open, 30, 2);
        open.log.close().unwrap();
        drop(open);
        let again = open_eager(&image);
        assert_eq!(restored(&again), again.log.written(), "position {position}");
    }
    assert!(restored_from.len() == 2, "{restored_from:?}");
}

#[test]
fn checkpoint_of_another_log_or_another_time_is_not_used() {
    let storage = FaultyStorage::new();
    let open = open_eager(&storage);
    fill(&open, 0, 20);
    open.log.close().unwrap();
    drop(open);
    let early = storage.crash_image(CrashMode::AllWritten);
    let open = open_eager(&storage);
    fill(&open, 20, 20);
    open.log.close().unwrap();
    // The log as it was earlier, with the checkpoint of later.
    copy(&storage, &early, "state.redb");
    let opened = open_eager(&early);
    let bare = open_eager(&without(&early, &[".redb", ".snap"]));
    assert_same(&opened, &bare, "a checkpoint from the future");

    let other = FaultyStorage::new();
    let memory = Arc::new(Memory::default());
    let uuid = *b"another log's id";
    let log = Log::open(Arc::new(other.clone()), DIR, uuid, eager(), memory).unwrap();
    let mut opened = submit(&log, partition_open(0).disk(), Run::Here);
    opened.wait(None).unwrap();
    log.close().unwrap();
    copy(&storage, &other, "state.redb");
    let memory = Arc::new(Memory::default());
    let again = Log::open(
        Arc::new(other),
        DIR,
        uuid,
        eager(),
        Arc::<Memory>::clone(&memory),
    );
    assert_eq!((again.unwrap().written(), memory.seen().len()), (1, 1));
}

fn copy(from: &FaultyStorage, to: &FaultyStorage, name: &str) {
    let path = format!("{DIR}/{name}");
    let source = from.open(&path, true).unwrap();
    let mut bytes = vec![0; source.length().unwrap() as usize];
    source.read_at(&mut bytes, 0).unwrap();
    drop(to.unlink(&path));
    let target = to.create(&path).unwrap();
    target.write_at(&[IoSlice::new(&bytes)], 0).unwrap();
    target.sync().unwrap();
    to.sync_dir(DIR).unwrap();
}

/// A log that was closed, and where the entries of its last segment stand.
fn closed_with_entries_at(storage: &FaultyStorage) -> (Open, Vec<Location>) {
    let open = open_eager(storage);
    fill(&open, 0, 30);
    open.log.close().unwrap();
    let last = segment::list(storage, DIR).unwrap().pop().unwrap();
    let seen = open.memory.seen().into_iter().map(|seen| seen.location);
    let places = seen.filter(|place| place.segment == last).collect();
    (open, places)
}

fn damage(storage: &FaultyStorage, place: Location) {
    let path = segment::path(DIR, place.segment);
    let file = storage.open(&path, false).unwrap();
    file.write_at(&[IoSlice::new(&[0xff; 8])], place.position)
        .unwrap();
}

#[test]
fn damage_before_what_the_checkpoint_covers_is_never_cut_and_told_to_who_reads_it() {
    let storage = FaultyStorage::new();
    let (open, places) = closed_with_entries_at(&storage);
    damage(&storage, places[0]);
    let again = open_eager(&storage);
    assert_eq!(again.memory.payloads(), open.memory.payloads());
    again.append(records(0, &[b"more"]).disk()).unwrap();
    let error = again.log.read(places[0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let position = format!("position {}", places[0].position);
    assert!(error.message().contains(&position), "{error}");
    for place in &places[1..] {
        again.log.read(*place).unwrap();
    }
}

#[test]
fn damage_of_the_entry_that_the_checkpoint_ends_with_is_damage_of_the_log() {
    let storage = FaultyStorage::new();
    let (_, places) = closed_with_entries_at(&storage);
    let last = places[places.len() - 1];
    damage(&storage, last);
    let before = storage.now();
    let error = try_open_with(Arc::new(storage.clone()), eager())
        .map(drop)
        .unwrap_err();
    let position = format!("position {}", last.position);
    assert!(error.message().contains(&position), "{error}");
    assert_eq!(storage.now(), before);
}

#[test]
fn an_open_reads_nothing_of_the_segment_before_what_the_checkpoint_covers() {
    let storage = FaultyStorage::new();
    let (open, places) = closed_with_entries_at(&storage);
    let (first, last) = (places[0], places[places.len() - 1]);
    let path = segment::path(DIR, first.segment);
    storage.fail_reads(&path, first.position..last.position, IoErrorKind::Other);
    let again = open_eager(&storage);
    storage.clear_faults();
    // What lies where is known all the same, and goes on with what comes.
    again.append(records(0, &[b"more"]).disk()).unwrap();
    for partition in 0..2 {
        let end = again.log.next_offset(PartitionId(partition)).unwrap();
        let (mut at, mut batches) = (0, 0);
        while at < end {
            let read = again.log.read_from(PartitionId(partition), at, end, 1);
            let batch = read.unwrap().pop().unwrap();
            assert_eq!(batch.base_offset, at);
            at = batch.next_offset;
            batches += 1;
        }
        assert!(batches > 1, "{batches}");
    }
    drop(open);
}

#[test]
fn header_of_a_segment_that_is_passed_over_is_checked_all_the_same() {
    let storage = FaultyStorage::new();
    let open = open_eager(&storage);
    fill(&open, 0, 60);
    open.log.close().unwrap();
    let path = segment::path(DIR, 2);
    let file = storage.open(&path, false).unwrap();
    file.write_at(&[IoSlice::new(&[0xff; 8])], 40).unwrap();
    let error = try_open_with(Arc::new(storage.clone()), eager())
        .map(drop)
        .unwrap_err();
    assert!(error.message().contains("0002.log, position 0"), "{error}");
}

#[test]
fn full_disk_costs_the_checkpoint_and_nothing_else() {
    let storage = FaultyStorage::new();
    let open = open_eager(&storage);
    fill(&open, 0, 3);
    let names = storage.list(DIR).unwrap();
    let lengths = names.iter().map(|name| {
        let file = storage.open(&format!("{DIR}/{name}"), true).unwrap();
        file.length().unwrap()
    });
    storage.set_space(Some(lengths.sum()));
    open.sync().unwrap();
    open.append(records(1, &[b"small"])).unwrap();
    open.sync().unwrap();
    storage.set_space(None);
    fill(&open, 3, 30);
    open.log.close().unwrap();
    let again = open_eager(&storage);
    assert_eq!(restored(&again), again.log.written());
    assert_eq!(snapshot::list(&storage, DIR).unwrap().len(), 2);
}
