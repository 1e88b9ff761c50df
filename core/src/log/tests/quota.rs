//! A log with a limit: who is refused there, what gives space back all the same, and how it goes on.

use super::cleaning::below;
use super::moving::Stateless;
use super::*;
use crate::error::{Error, ErrorCode};

const SEGMENT_BYTES: u64 = 256 * 1_024;
const MAX_BYTES: u64 = 16 * SEGMENT_BYTES;

fn limited() -> LogOptions {
    LogOptions {
        max_bytes: Some(MAX_BYTES),
        ..options(SEGMENT_BYTES)
    }
}

fn open_limited(storage: &FaultyStorage) -> Open {
    let storage = Arc::new(storage.clone());
    let log = Log::open(storage, DIR, LOG_UUID, limited(), Arc::new(Stateless));
    Open {
        log: Arc::new(log.unwrap()),
        memory: Arc::default(),
    }
}

/// Appends until the limit is reached; says how many records that were.
fn fill(open: &Open) -> (i64, Error) {
    for count in 0.. {
        match open.append(records(0, &[&[7; 80_000]]).disk()) {
            Ok(_) => {}
            Err(error) => return (count, error),
        }
    }
    unreachable!()
}

fn bytes_of(storage: &FaultyStorage) -> u64 {
    let names = storage.list(DIR).unwrap();
    let files = names
        .iter()
        .map(|name| storage.open(&format!("{DIR}/{name}"), true));
    files.map(|file| file.unwrap().length().unwrap()).sum()
}

fn log_start(offset: i64) -> Request {
    control(Kind::LogStart, 0, &control::LogStart { offset }).disk()
}

#[test]
fn the_limit_is_never_passed_and_what_is_refused_says_how_many_bytes_are_missing() {
    let storage = FaultyStorage::new();
    let open = open_limited(&storage);
    open.open_partition(0);
    let (count, error) = fill(&open);
    assert_eq!(error.code(), ErrorCode::QuotaExceeded);
    let message = error.message();
    for part in [&MAX_BYTES.to_string(), "max_bytes", "are missing"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(count > 20, "{count}");
    assert!(bytes_of(&storage) <= MAX_BYTES);
    assert!(open.log.is_tight());
    // What is there can be read, and small ones have room where large ones have none.
    assert!(open.append(records(0, &[b"small"])).is_ok());
    assert!(open.log.read_from(PartitionId(0), 0, count, 1).is_ok());
    open.log.close().unwrap();
    let again = open_limited(&storage);
    assert_eq!(again.log.next_offset(PartitionId(0)), Some(count + 1));
    assert_eq!(fill(&again).0, 0);
}

#[test]
fn what_gives_space_back_may_begin_a_segment_and_nothing_else_may_be_written_to_it() {
    let storage = FaultyStorage::new();
    let open = open_limited(&storage);
    open.open_partition(0);
    let (mut count, _) = fill(&open);
    // Few entries, since the state that is kept of them counts too.
    for len in [8_000, 800, 80, 8] {
        while open.append(records(0, &[&vec![7; len]])).is_ok() {
            count += 1;
        }
    }
    open.sync().unwrap();
    // Nothing is dead yet; a reserve is made, which stands in the room of cleaning.
    let nothing = |_| Some(below(0));
    open.log.clean(open.log.last_index(), &nothing).unwrap();
    let reserve = format!("{DIR}/reserve");
    assert!(storage.open(&reserve, true).is_ok());
    let segments = open.log.segment_count();
    while open.log.segment_count() == segments {
        open.append(log_start(1)).unwrap();
    }
    assert!(storage.open(&reserve, true).is_err());
    open.log.clean(open.log.last_index(), &nothing).unwrap();
    assert!(storage.open(&reserve, true).is_err());
    // In the room of cleaning: what gives no space back has to wait until it is free again.
    let error = open.append(records(0, &[b"small"])).unwrap_err();
    assert_eq!(error.code(), ErrorCode::QuotaExceeded);
    open.append(log_start(count)).unwrap();
    assert!(bytes_of(&storage) <= MAX_BYTES);
    let removed = open
        .log
        .clean(open.log.last_index(), &|_| Some(below(count)));
    assert!(removed.unwrap() > 4, "{removed:?}");
    assert!(!open.log.is_tight());
    open.append(records(0, &[b"small"])).unwrap();
    open.append(records(0, &[&[7; 80_000]])).unwrap();
    open.log.close().unwrap();
}

#[test]
fn a_tight_log_says_which_records_are_the_oldest_and_never_those_that_have_to_stay() {
    let storage = FaultyStorage::new();
    let open = open_limited(&storage);
    (0..3).for_each(|partition| open.open_partition(partition));
    let mut refused = false;
    while !refused {
        for partition in 0..3 {
            refused |= open
                .append(records(partition, &[&[7; 40_000]]).disk())
                .is_err();
        }
    }
    let rules = |id: PartitionId| Some(below(i64::from(id.0)));
    let oldest = open.log.oldest(&rules, &|id| id.0 != 1);
    let partitions: Vec<_> = oldest.iter().map(|(id, _)| id.0).collect();
    assert_eq!(partitions, [0, 2]);
    for (id, until) in oldest {
        let end = open.log.next_offset(id).unwrap();
        assert!(0 < until && until < end, "{until} of {end}");
    }
    assert_eq!(open.log.oldest(&rules, &|_| false), []);
    open.log.close().unwrap();
}

/// Every append wanted to begin a segment, and was refused with it.
#[test]
fn a_segment_that_is_only_old_goes_on_where_there_is_no_room_for_another() {
    let storage = FaultyStorage::new();
    let open = open_limited(&storage);
    open.open_partition(0);
    let (count, _) = fill(&open);
    open.log.set_segment_ms(0);
    let segments = open.log.segment_count();
    open.append(records(0, &[b"small"])).unwrap();
    open.append(log_start(1)).unwrap();
    assert_eq!(open.log.segment_count(), segments);
    open.append(log_start(count)).unwrap();
    let rules = |_| Some(below(count));
    assert!(open.log.clean(open.log.last_index(), &rules).unwrap() > 4);
    open.append(records(0, &[b"small"])).unwrap();
    assert!(bytes_of(&storage) <= MAX_BYTES);

    // The same where it is the disk that is full.
    storage.set_space(Some(space::used(&storage)));
    open.append(log_start(count + 1)).unwrap();
}
