mod modes;

use std::io::{ErrorKind, IoSlice};

use super::*;

fn write(file: &dyn StorageFile, bytes: &[u8], position: u64) {
    file.write_at(&[IoSlice::new(bytes)], position).unwrap();
}

fn content(storage: &FaultyStorage, path: &str) -> Option<Vec<u8>> {
    let file = storage.open(path, true).ok()?;
    let mut bytes = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
    file.read_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

/// A file `a` with durable bytes and a durable name.
fn with_durable_file(bytes: &[u8]) -> (FaultyStorage, Arc<dyn StorageFile>) {
    let storage = FaultyStorage::new();
    let file = storage.create("a").unwrap();
    write(&*file, bytes, 0);
    file.sync().unwrap();
    storage.sync_dir("").unwrap();
    (storage, file)
}

#[test]
fn a_crash_keeps_synced_bytes_and_takes_the_others() {
    let (storage, file) = with_durable_file(b"synced");
    write(&*file, b"SYNC", 0);
    write(&*file, b" and more", 6);
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    assert_eq!(content(&crashed, "a").unwrap(), b"synced");
    let kept = storage.crash_image(CrashMode::AllWritten);
    assert_eq!(content(&kept, "a").unwrap(), b"SYNCed and more");
    assert_eq!(content(&storage, "a").unwrap(), b"SYNCed and more");
}

#[test]
fn a_crash_takes_a_created_name_that_was_not_synced() {
    let storage = FaultyStorage::new();
    let file = storage.create("a").unwrap();
    write(&*file, b"x", 0);
    file.sync().unwrap();
    assert_eq!(
        content(&storage.crash_image(CrashMode::OnlySynced), "a"),
        None
    );
    storage.sync_dir("").unwrap();
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    assert_eq!(content(&crashed, "a").unwrap(), b"x");
}

#[test]
fn a_synced_name_of_an_unsynced_file_is_an_empty_file() {
    let storage = FaultyStorage::new();
    write(&*storage.create("a").unwrap(), b"x", 0);
    storage.sync_dir("").unwrap();
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    assert_eq!(content(&crashed, "a").unwrap(), b"");
}

#[test]
fn a_folder_whose_name_was_not_synced_takes_what_lies_in_it_along() {
    let storage = FaultyStorage::new();
    storage.create_dir("f/g").unwrap();
    storage.create("f/g/a").unwrap().sync().unwrap();
    storage.sync_dir("f/g").unwrap();
    storage.sync_dir("f").unwrap();
    assert!(
        storage
            .crash_image(CrashMode::OnlySynced)
            .list("")
            .unwrap()
            .is_empty()
    );
    storage.sync_dir("").unwrap();
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    assert_eq!(crashed.list("f/g").unwrap(), ["a"]);
}

#[test]
fn renames_and_removals_that_were_not_synced_are_undone() {
    let (storage, _file) = with_durable_file(b"old");
    let new = storage.create("a.tmp").unwrap();
    write(&*new, b"new", 0);
    new.sync().unwrap();
    storage.rename("a.tmp", "a").unwrap();
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    assert_eq!(crashed.list("").unwrap(), ["a"]);
    assert_eq!(content(&crashed, "a").unwrap(), b"old");
    storage.sync_dir("").unwrap();
    storage.unlink("a").unwrap();
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    assert_eq!(content(&crashed, "a").unwrap(), b"new");
    storage.sync_dir("").unwrap();
    assert!(
        storage
            .crash_image(CrashMode::OnlySynced)
            .list("")
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_truncation_counts_once_synced_and_brings_nothing_back() {
    let (storage, file) = with_durable_file(b"abcdef");
    file.truncate(2).unwrap();
    file.preallocate(6).unwrap();
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    assert_eq!(content(&crashed, "a").unwrap(), b"abcdef");
    file.sync().unwrap();
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    assert_eq!(content(&crashed, "a").unwrap(), b"ab\0\0\0\0");
}

#[test]
fn what_a_failed_sync_dropped_is_not_made_durable_by_the_next() {
    let (storage, file) = with_durable_file(b"abc");
    write(&*file, b"def", 3);
    storage.fail_next_sync();
    assert!(file.sync().is_err());
    write(&*file, b"ghi", 6);
    file.sync().unwrap();
    assert_eq!(content(&storage, "a").unwrap(), b"abcdefghi");
    let now = storage.now();
    assert_eq!(storage.history().durable_through("a", now), 3);
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    assert_eq!(content(&crashed, "a").unwrap(), b"abc\0\0\0ghi");
    write(&*file, b"def", 3);
    file.sync().unwrap();
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    assert_eq!(content(&crashed, "a").unwrap(), b"abcdefghi");
    let now = storage.now();
    assert_eq!(storage.history().durable_through("a", now), 9);
}

#[test]
fn a_torn_last_write_leaves_its_beginning_unless_it_was_synced() {
    let (storage, file) = with_durable_file(b"abc");
    write(&*file, b"XYZ", 1);
    let torn = |count| {
        let crashed = storage.crash_image(CrashMode::TornLastWrite(count));
        content(&crashed, "a").unwrap()
    };
    assert_eq!(torn(0), b"abc");
    assert_eq!(torn(1), b"aXc");
    assert_eq!(torn(3), b"aXYZ");
    file.sync().unwrap();
    assert_eq!(torn(0), b"aXYZ");
}

#[test]
fn a_subset_of_sectors_keeps_synced_ones_and_is_the_same_for_the_same_seed() {
    let (storage, file) = with_durable_file(&[1; 4_096]);
    write(&*file, &[2; 4_096], 2_048);
    let of_seed = |seed| {
        let crashed = storage.crash_image(CrashMode::SubsetOfSectors(seed));
        content(&crashed, "a").unwrap()
    };
    let mut images = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let image = of_seed(seed);
        assert_eq!(image, of_seed(seed));
        assert!((4_096..=6_144).contains(&image.len()));
        assert_eq!(image[..2_048], [1; 2_048]);
        for sector in image[2_048..].chunks(512) {
            assert!(
                [[0; 512], [1; 512], [2; 512]]
                    .iter()
                    .any(|whole| whole == sector)
            );
        }
        images.insert(image);
    }
    assert!(images.len() > 20, "{} images of 50 seeds", images.len());
}

#[test]
fn an_operation_fails_where_it_was_told_and_the_next_goes_on() {
    let (storage, file) = with_durable_file(b"abc");
    let now = storage.now();
    storage.fail_at(now, ErrorKind::StorageFull);
    storage.fail_at(now + 2, ErrorKind::Other);
    let error = file.write_at(&[IoSlice::new(b"1234")], 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(content(&storage, "a").unwrap(), b"abc12");
    write(&*file, b"56", 3);
    assert_eq!(storage.create("b").unwrap_err().kind(), ErrorKind::Other);
    assert_eq!(storage.list("").unwrap(), ["a"]);
    let kinds: Vec<_> = storage
        .operations()
        .iter()
        .map(|operation| operation.error)
        .collect();
    let (full, other) = (Some(ErrorKind::StorageFull), Some(ErrorKind::Other));
    assert_eq!(kinds, [None, None, None, None, full, None, other]);
}

#[test]
fn nothing_happens_after_the_power_went_off() {
    let (storage, file) = with_durable_file(b"abc");
    storage.power_off_at(storage.now() + 1);
    write(&*file, b"d", 3);
    let before = storage.operations();
    assert!(file.sync().is_err());
    assert!(file.write_at(&[IoSlice::new(b"e")], 4).is_err());
    assert!(file.read_at(&mut [0], 0).is_err());
    assert!(storage.create("b").is_err());
    assert!(storage.list("").is_err());
    assert_eq!(storage.operations(), before);
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    assert_eq!(content(&crashed, "a").unwrap(), b"abc");
    write(&*crashed.open("a", false).unwrap(), b"x", 0);
}

#[test]
fn a_full_disk_refuses_what_does_not_fit_until_something_is_removed() {
    let (storage, file) = with_durable_file(b"abc");
    storage.set_space(Some(10));
    let other = storage.create("b").unwrap();
    other.preallocate(5).unwrap();
    assert_eq!(
        file.preallocate(6).unwrap_err().kind(),
        ErrorKind::StorageFull
    );
    let error = file.write_at(&[IoSlice::new(b"defgh")], 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(content(&storage, "a").unwrap(), b"abcde");
    write(&*file, b"ABC", 0);
    storage.unlink("b").unwrap();
    write(&*file, b"fghij", 5);
    storage.set_space(None);
    file.preallocate(1_000).unwrap();
}

#[test]
fn history_tells_what_was_durable_at_each_time() {
    let storage = FaultyStorage::new();
    let file = storage.create("a").unwrap();
    write(&*file, b"0123", 0);
    file.sync().unwrap();
    let before_name = storage.now();
    storage.sync_dir("").unwrap();
    let named = storage.now();
    write(&*file, b"4567", 4);
    write(&*file, &[0; 100], 8);
    let written = storage.now();
    file.sync().unwrap();
    let synced = storage.now();
    write(&*file, b"AB", 8);
    storage.rename("a", "b").unwrap();
    storage.sync_dir("").unwrap();
    let renamed = storage.now();

    let mut history = storage.history();
    let times = [0, before_name, named, written, synced, renamed];
    let through: Vec<_> = times
        .iter()
        .map(|time| history.durable_through("a", *time))
        .collect();
    assert_eq!(through, [0, 0, 4, 4, 108, 0]);
    assert_eq!(history.durable_through("b", renamed), 8);
    assert!(history.is_durable("b", &(10..108), renamed));
    assert!(!history.is_durable("b", &(9..11), renamed));
    assert!(!history.is_durable("b", &(107..109), renamed));
    // Back in time, and the crash image begins with what it holds.
    assert_eq!(history.durable_through("a", named), 4);
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    assert_eq!(crashed.history().durable_through("b", 0), 108);
}

#[test]
fn a_paused_sync_covers_what_was_written_before_it_began() {
    let (storage, file) = with_durable_file(b"abc");
    write(&*file, b"d", 3);
    storage.pause_syncs();
    std::thread::scope(|scope| {
        let sync = scope.spawn(|| file.sync());
        storage.wait_for_paused_syncs(1);
        let during = storage.now();
        assert_eq!(storage.history().durable_through("a", during), 3);
        write(&*file, b"e", 4);
        write(&*file, b"D", 3);
        storage.resume_syncs();
        sync.join().unwrap().unwrap();
    });
    let now = storage.now();
    assert_eq!(storage.history().durable_through("a", now), 3);
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    assert_eq!(content(&crashed, "a").unwrap(), b"abcd");
    file.sync().unwrap();
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    assert_eq!(content(&crashed, "a").unwrap(), b"abcDe");
}

#[test]
fn a_repeated_script_gives_the_same_operations() {
    let script = || {
        let (storage, file) = with_durable_file(b"abc");
        file.preallocate(4_096).unwrap();
        storage.create_dir("f").unwrap();
        storage.rename("a", "f/b").unwrap();
        storage.operations()
    };
    assert_eq!(script(), script());
    assert_eq!(script().len(), 7);
}
