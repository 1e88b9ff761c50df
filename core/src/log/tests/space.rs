//! A disk that is full, and one that cannot be read in places: who is told what, and how the log goes on.

use std::io::ErrorKind as IoErrorKind;

use super::*;
use crate::error::{Error, ErrorCode, ErrorKind, Outcome};
use crate::log::segment;

/// The numbers of a message, in order.
fn numbers(error: &Error) -> Vec<u64> {
    let words = error.message().split(|c: char| !c.is_ascii_digit());
    words.filter_map(|word| word.parse().ok()).collect()
}

pub(super) fn used(storage: &FaultyStorage) -> u64 {
    storage.set_space(Some(1 << 40));
    (1 << 40) - storage.free_bytes().unwrap()
}

#[test]
fn a_full_disk_says_how_many_bytes_are_needed_free_and_missing() {
    let storage = FaultyStorage::new();
    let first = open(&storage);
    first.open_partition(0);
    // The first segment has its whole space, so only a roll needs any.
    first.append(records(0, &[&[1; 50_000]])).unwrap();
    let used = used(&storage);
    storage.set_space(Some(used + 1_000));
    let error = first.append(records(0, &[&[2; 20_000]])).unwrap_err();
    assert_eq!(error.code(), ErrorCode::DiskFull);
    assert_eq!(numbers(&error), [4_096, 0, 1_000, 3_096], "{error}");
    // Room for a segment's header, and not for the frame behind it.
    storage.set_space(Some(used + 4_096 + 500));
    let error = first.append(records(0, &[&[2; 20_000]])).unwrap_err();
    let numbers = numbers(&error);
    assert_eq!(
        (numbers[0] / 1_000, numbers[2], numbers[3]),
        (21, 500, numbers[0] - 500),
        "{error}"
    );
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Full, Outcome::NotDone)
    );
}

#[test]
fn a_log_goes_on_by_itself_as_often_as_there_is_space_again() {
    let storage = FaultyStorage::new();
    let first = open(&storage);
    first.open_partition(0);
    let mut sequence = 0;
    for round in 0..4_u8 {
        storage.set_space(Some(used(&storage) + 6_000 * u64::from(round)));
        let mut refused = 0;
        while refused < 3 {
            let request = produced(0, &[&[round; 9_000]], 7, 0, sequence);
            let request = if round % 2 == 0 {
                request
            } else {
                request.disk()
            };
            match first.append(request) {
                Ok(appended) => {
                    assert_eq!(appended.base_offset, i64::from(sequence));
                    sequence += 1;
                }
                Err(error) => {
                    assert_eq!(error.code(), ErrorCode::DiskFull, "{error}");
                    refused += 1;
                }
            }
        }
        // What is there can be read and synced all the while.
        first.sync().unwrap();
        let location = first.memory.seen()[1].location;
        first.log.read(location).unwrap();
        storage.set_space(None);
        let request = produced(0, &[b"room"], 7, 0, sequence).disk();
        assert_eq!(
            first.append(request).unwrap().base_offset,
            i64::from(sequence)
        );
        sequence += 1;
    }
    first.log.close().unwrap();
    let second = open(&storage);
    assert_eq!(second.memory.payloads(), first.memory.payloads());
    assert_eq!(second.log.term().0, 1);
    let again = second.append(produced(0, &[b"room"], 7, 0, sequence - 1));
    assert!(again.unwrap().is_duplicate);
}

#[test]
fn a_close_without_space_for_its_mark_is_an_unclean_one_and_loses_nothing() {
    let storage = FaultyStorage::new();
    let first = try_open_with(Arc::new(storage.clone()), options(8_192)).unwrap();
    first.open_partition(0);
    let file = storage.open(&segment::path(DIR, 1), true).unwrap();
    storage.set_space(Some(used(&storage)));
    while first.append(records(0, &[b"a"])).is_ok() {}
    // Frames of 56 bytes, until not even a mark of 48 fits.
    let small = control(Kind::LogStart, 0, &control::LogStart { offset: 0 });
    while first.append(small.clone()).is_ok() {}
    assert_eq!(file.length().unwrap(), 8_192);
    first.log.close().unwrap();
    storage.set_space(None);
    let second = try_open_with(Arc::new(storage), options(8_192)).unwrap();
    assert_eq!(second.memory.payloads(), first.memory.payloads());
    assert_eq!(second.log.term().0, 2);
}

#[test]
fn a_record_that_cannot_be_read_is_an_error_to_its_reader_and_to_nobody_else() {
    let storage = FaultyStorage::new();
    let open = open(&storage);
    open.open_partition(0);
    for value in [b"one", b"two"] {
        open.append(records(0, &[value]).disk()).unwrap();
    }
    let seen = open.memory.seen();
    let (bad, good) = (seen[1].location, seen[2].location);
    let path = segment::path(DIR, bad.segment);
    let end = bad.position + 1;
    storage.fail_reads(&path, bad.position..end, IoErrorKind::Other);
    let error = open.log.read(bad).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    let position = format!("position {}", bad.position);
    for part in [&path, &position, "failed by the test"] {
        assert!(error.message().contains(part), "{error}");
    }
    assert!(!error.message().contains("stopped"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    let by_offset = open.log.read_from(PartitionId(0), 0, 2, 1 << 20);
    let message = by_offset.unwrap_err().message().to_owned();
    assert!(
        message.contains(&path) && message.contains(&position),
        "{message}"
    );
    let behind = open.log.read_from(PartitionId(0), 1, 2, 1 << 20).unwrap();
    assert_eq!(behind[0].bytes, seen[2].payload);
    // Others read and write, this one too once the disk can.
    assert_eq!(open.log.read(good).unwrap(), seen[2].payload);
    open.append(records(0, &[b"three"]).disk()).unwrap();
    assert!(open.log.read(bad).is_err());
    storage.clear_faults();
    assert_eq!(open.log.read(bad).unwrap(), seen[1].payload);
    open.log.close().unwrap();
}

#[test]
fn an_open_that_cannot_read_says_where_and_changes_nothing() {
    let storage = FaultyStorage::new();
    let first = open(&storage);
    first.open_partition(0);
    first.append(records(0, &[&[1; 50_000]])).unwrap();
    first.append(records(0, &[&[1; 50_000]])).unwrap();
    drop(first);
    let before = storage.now();
    for segment in [1, 2] {
        for positions in [0..1, 5_000..5_001] {
            let path = segment::path(DIR, segment);
            storage.fail_reads(&path, positions, IoErrorKind::Other);
            let error = try_open(&storage).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
            assert!(error.message().contains(&path), "{error}");
            storage.clear_faults();
        }
    }
    assert_eq!(storage.now(), before);
    assert_eq!(open(&storage).log.written(), 3);
}
