//! Appending, reading, closing and opening again, without faults.

use super::*;
use crate::error::{ErrorCode, ErrorKind};
use crate::log::control::TopicDelete;
use crate::log::storage::memory::MemoryStorage;
use crate::log::{SetPart, encode_set};

#[test]
fn what_was_appended_is_applied_and_can_be_read() {
    let storage = FaultyStorage::new();
    let open = open(&storage);
    assert_eq!(
        (
            open.log.term().0,
            open.log.written(),
            open.log.thread_count()
        ),
        (1, 0, 0)
    );
    open.open_partition(3);
    let first = open.append(records(3, &[b"a", b"b"])).unwrap();
    let second = open.append(records(3, &[b"c"])).unwrap();
    assert_eq!(
        (first.index, first.base_offset, first.durability),
        (2, 0, Durability::Os)
    );
    assert_eq!(
        (second.index, second.base_offset, second.is_duplicate),
        (3, 2, false)
    );
    assert_eq!(open.log.next_offset(PartitionId(3)), Some(3));
    assert_eq!(open.log.next_offset(PartitionId(4)), None);
    assert_eq!((open.log.written(), open.log.synced()), (3, 0));
    for seen in open.memory.seen() {
        assert!(seen.has_tail);
        assert_eq!(open.log.read(seen.location).unwrap(), seen.payload);
    }
}

#[test]
fn a_clean_close_keeps_the_term_and_the_next_open_writes_nothing() {
    let storage = FaultyStorage::new();
    let first = open(&storage);
    first.open_partition(0);
    first.append(records(0, &[b"a"])).unwrap();
    first.log.close().unwrap();
    first.log.close().unwrap();
    assert_eq!(
        first.append(records(0, &[b"b"])).unwrap_err().kind(),
        ErrorKind::Closed
    );
    let before = storage.now();
    let second = open(&storage);
    assert_eq!(
        (
            second.log.term().0,
            second.log.written(),
            second.log.synced()
        ),
        (1, 2, 2)
    );
    assert_eq!(second.memory.payloads(), first.memory.payloads());
    second.log.close().unwrap();
    assert_eq!(storage.now(), before);
    assert_eq!(open(&storage).log.term().0, 1);
}

#[test]
fn an_open_that_finds_no_clean_close_raises_the_term() {
    let storage = FaultyStorage::new();
    let first = open(&storage);
    first.open_partition(0);
    drop(first);
    let second = open(&storage);
    assert_eq!(second.log.term().0, 2);
    second.append(records(0, &[b"a"])).unwrap();
    assert_eq!(second.memory.seen().last().unwrap().term, 2);
    drop(second);
    assert_eq!(open(&storage).log.term().0, 3);
}

#[test]
fn an_append_after_a_clean_close_makes_the_close_history() {
    let storage = FaultyStorage::new();
    let first = open(&storage);
    first.open_partition(0);
    first.log.close().unwrap();
    let second = open(&storage);
    second.append(records(0, &[b"a"])).unwrap();
    drop(second);
    let third = open(&storage);
    assert_eq!((third.log.term().0, third.log.written()), (2, 2));
}

#[test]
fn a_disk_append_is_answered_after_its_sync() {
    let storage = FaultyStorage::new();
    let open = open(&storage);
    open.open_partition(0);
    let appended = open.append(records(0, &[b"a"]).disk()).unwrap();
    assert_eq!(appended.durability, Durability::Disk);
    assert_eq!((open.log.synced(), open.memory.synced()), (2, 2));
    assert_eq!(open.log.thread_count(), 1);
    open.append(records(0, &[b"b"])).unwrap();
    assert_eq!(open.log.synced(), 2);
    open.sync().unwrap();
    assert_eq!((open.log.synced(), open.memory.synced()), (3, 3));
}

#[test]
fn a_topic_at_disk_is_synced_although_its_producer_waits_for_less() {
    let storage = FaultyStorage::new();
    let open = open(&storage);
    open.append(Request {
        topic: Durability::Disk,
        ..partition_open(0)
    })
    .unwrap();
    // Nothing asks for this sync but the topic's level: a second wish waits for it.
    open.sync().unwrap();
    assert_eq!(open.log.synced(), 1);
}

#[test]
fn segments_roll_and_all_of_them_are_read_again() {
    let storage = FaultyStorage::new();
    let first = open(&storage);
    first.open_partition(0);
    for byte in 0..40_u8 {
        first.append(records(0, &[&[byte; 10_000]])).unwrap();
    }
    let huge = vec![9; 200_000];
    first.append(records(0, &[&huge])).unwrap();
    first.append(records(0, &[b"small"])).unwrap();
    assert!(
        first.log.segment_count() > 6,
        "{}",
        first.log.segment_count()
    );
    assert!(first.log.size_bytes() > 600_000);
    for seen in first.memory.seen() {
        assert_eq!(first.log.read(seen.location).unwrap(), seen.payload);
    }
    first.log.close().unwrap();
    let second = open(&storage);
    assert_eq!(second.memory.payloads(), first.memory.payloads());
    assert_eq!(second.log.segment_count(), first.log.segment_count());
    assert_eq!(second.log.size_bytes(), first.log.size_bytes());
    for seen in second.memory.seen() {
        assert_eq!(second.log.read(seen.location).unwrap(), seen.payload);
    }
}

#[test]
fn a_set_is_applied_as_its_parts_and_each_can_be_read() {
    let storage = FaultyStorage::new();
    let first = open(&storage);
    let parts: Vec<_> = (0..3)
        .map(|partition| {
            let Request {
                kind,
                partition,
                payload,
                ..
            } = partition_open(partition);
            SetPart::control(kind, partition, payload)
        })
        .collect();
    let set = Request {
        kind: Kind::Set,
        payload: encode_set(&parts),
        ..partition_open(0)
    };
    assert_eq!(first.append(set).unwrap().index, 1);
    first.append(records(2, &[b"x"])).unwrap();
    first.append(records(1, &[b"y"])).unwrap();
    for open in [first, open(&storage)] {
        let seen = open.memory.seen();
        assert_eq!(
            seen.iter().map(|seen| seen.index).collect::<Vec<_>>(),
            [1, 1, 1, 2, 3]
        );
        assert_eq!(seen[1].partition, PartitionId(1));
        for seen in seen {
            assert_eq!(open.log.read(seen.location).unwrap(), seen.payload);
        }
        assert_eq!(open.log.next_offset(PartitionId(2)), Some(1));
    }
}

#[test]
fn what_cannot_be_appended_is_refused_and_changes_nothing() {
    let storage = FaultyStorage::new();
    let open = open(&storage);
    open.open_partition(0);
    let size = open.log.size_bytes();
    let code = |request: Request| open.append(request).unwrap_err().code();
    assert_eq!(
        code(Request {
            kind: Kind::Mark,
            ..partition_open(1)
        }),
        ErrorCode::InvalidRequest
    );
    assert_eq!(
        code(Request {
            kind: Kind::Vote,
            ..partition_open(1)
        }),
        ErrorCode::InvalidRequest
    );
    assert_eq!(code(partition_open(0)), ErrorCode::InvalidRequest);
    assert_eq!(
        code(records(9, &[b"a"])),
        ErrorCode::UnknownTopicOrPartition
    );
    let torn = Request {
        payload: vec![1; 40],
        ..records(0, &[b"a"])
    };
    assert_eq!(code(torn), ErrorCode::CorruptMessage);
    let unreadable = Request {
        payload: vec![0xff; 40],
        ..partition_open(1)
    };
    assert_eq!(code(unreadable), ErrorCode::CorruptMessage);
    let long = Request {
        payload: vec![0; 2 << 20],
        ..partition_open(1)
    };
    assert_eq!(code(long), ErrorCode::MessageTooLarge);
    let quorum = Request {
        ack: Durability::Quorum,
        ..partition_open(1)
    };
    assert_eq!(code(quorum), ErrorCode::UnsupportedFeature);
    assert_eq!((open.log.size_bytes(), open.log.written()), (size, 1));
}

#[test]
fn a_deleted_topics_partitions_take_no_more_records() {
    let storage = FaultyStorage::new();
    let first = open(&storage);
    first.open_partition(0);
    first
        .append(control(Kind::TopicDelete, 0, &TopicDelete { uuid: TOPIC }))
        .unwrap();
    for open in [first, open(&storage)] {
        let error = open.append(records(0, &[b"a"])).unwrap_err();
        assert_eq!(error.code(), ErrorCode::UnknownTopicOrPartition);
    }
}

#[test]
fn a_log_in_memory_counts_as_synced_what_is_written_and_says_os() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let first = try_open_with(Arc::clone(&storage), options(64 * 1_024)).unwrap();
    first.open_partition(0);
    let appended = first.append(records(0, &[b"a"])).unwrap();
    assert_eq!(appended.durability, Durability::Os);
    assert_eq!((first.log.synced(), first.memory.synced()), (2, 2));
    first.sync().unwrap();
    let refused = first.append(records(0, &[b"b"]).disk()).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::UnsupportedFeature);
    assert_eq!(first.log.thread_count(), 0);
    first.log.close().unwrap();
    let second = try_open_with(storage, options(64 * 1_024)).unwrap();
    assert_eq!(
        (second.log.term().0, second.memory.payloads()),
        (1, first.memory.payloads())
    );
}

#[test]
fn log_append_time_becomes_the_time_of_the_records() {
    let storage = FaultyStorage::new();
    let open = open(&storage);
    open.open_partition(0);
    let (completion, mut pending) = Completion::pair();
    let append = Append {
        log_append_time: true,
        ..records(0, &[b"a", b"b"]).into_append(completion)
    };
    open.log.append(append, Run::Here);
    let appended = pending.wait(None).unwrap();
    assert_eq!(appended.append_time_ms, appended.time_ms);
    let bytes = open.log.read(open.memory.seen()[1].location).unwrap();
    let header = crate::record::batch::verify(&bytes).unwrap();
    assert_eq!(header.append_time_ms(), Some(appended.time_ms));
    assert_eq!((header.base_offset, header.leader_epoch), (0, 1));
}

#[test]
fn an_append_by_the_io_thread_is_written_and_jobs_run_in_order() {
    let storage = FaultyStorage::new();
    let open = open(&storage);
    let mut pending = open.submit(partition_open(0), Run::Io);
    assert_eq!(pending.wait(None).unwrap().index, 1);
    let order = Arc::new(Mutex::new(Vec::new()));
    for number in 0..100 {
        let order = Arc::clone(&order);
        open.log
            .schedule(move || order.lock().push(number))
            .unwrap();
    }
    open.log.close().unwrap();
    assert_eq!(*order.lock(), (0..100).collect::<Vec<_>>());
    assert_eq!(
        open.log.schedule(|| ()).unwrap_err().code(),
        ErrorCode::Closed
    );
    assert_eq!(open.log.thread_count(), 0);
}

#[test]
fn a_location_that_is_none_is_corrupt_and_names_the_file() {
    let storage = FaultyStorage::new();
    let open = open(&storage);
    open.open_partition(0);
    let good = open.memory.seen()[0].location;
    let bad = [
        Location { segment: 9, ..good },
        Location {
            position: good.position + 8,
            ..good
        },
        Location {
            position: u64::MAX - 7,
            ..good
        },
        Location {
            len: good.len + 1,
            ..good
        },
        Location {
            len: u32::MAX,
            ..good
        },
        Location {
            payload_at: 0,
            ..good
        },
        Location {
            payload_at: u32::MAX,
            ..good
        },
    ];
    for location in bad {
        let error = open.log.read(location).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Storage),
            "{error:?}"
        );
        assert!(error.message().contains("0000/"), "{error}");
    }
}
