//! SETs with record batches: all of it or nothing, one index, every batch found where it lies.

use super::cleaning::below;
use super::moving::Moving;
use super::*;
use crate::error::ErrorCode;
use crate::log::control::OffsetCommit;
use crate::log::set::PartRefused;
use crate::log::{SetPart, encode_set};
use crate::record::{BatchHeader, batch};

fn part(request: Request) -> SetPart {
    SetPart {
        kind: request.kind,
        version: request.version,
        partition: request.partition,
        payload: request.payload,
        log_append_time: false,
    }
}

pub(super) fn set(requests: Vec<Request>) -> Request {
    set_of(&requests.into_iter().map(part).collect::<Vec<_>>())
}

fn set_of(parts: &[SetPart]) -> Request {
    Request {
        kind: Kind::Set,
        payload: encode_set(parts),
        ..partition_open(0)
    }
}

pub(super) fn commit(group: &str) -> Request {
    let commit = OffsetCommit {
        group: group.to_owned(),
        generation: 1,
        offsets: Vec::new(),
    };
    control(Kind::OffsetCommit, 0, &commit)
}

fn with_partitions() -> (FaultyStorage, Open) {
    let storage = FaultyStorage::new();
    let open = open(&storage);
    for partition in 0..3 {
        open.open_partition(partition);
    }
    (storage, open)
}

pub(super) fn bases(appended: &Appended) -> Vec<i64> {
    let batches = appended.batches.iter().flatten();
    batches.map(|batch| batch.base_offset).collect()
}

/// Base offsets of what the log gives of a partition, each batch whole.
fn read(log: &Log, partition: u32) -> Vec<i64> {
    read_from(log, partition, 0)
}

fn read_from(log: &Log, partition: u32, mut offset: i64) -> Vec<i64> {
    let mut found = Vec::new();
    loop {
        let stored = log
            .read_from(PartitionId(partition), offset, i64::MAX, 1 << 20)
            .unwrap();
        let Some(last) = stored.last() else {
            return found;
        };
        offset = last.next_offset;
        for stored in stored {
            let header = batch::verify(&stored.bytes).unwrap();
            assert_eq!(header.base_offset, stored.base_offset);
            assert!(header.leader_epoch >= 1);
            found.push(stored.base_offset);
        }
    }
}

#[test]
fn batches_and_a_commit_are_one_entry_also_after_a_restart() {
    let (storage, first) = with_partitions();
    first.append(records(0, &[b"before"])).unwrap();
    let request = set(vec![
        produced(0, &[b"a", b"b"], 7, 0, 0),
        produced(1, &[b"c"], 7, 0, 0),
        commit("g"),
        produced(0, &[&[b'd'; 5_000]], 7, 0, 2),
    ]);
    let appended = first.append(request.clone().disk()).unwrap();
    assert_eq!((appended.index, appended.is_duplicate), (5, false));
    assert_eq!(bases(&appended), [1, 0, 3]);
    first.append(records(1, &[b"after"])).unwrap();
    for open in [first, open(&storage)] {
        let indexes: Vec<_> = open.memory.seen().iter().map(|seen| seen.index).collect();
        assert_eq!(indexes, [1, 2, 3, 4, 5, 5, 5, 5, 6]);
        assert_eq!(read(&open.log, 0), [0, 1, 3]);
        assert_eq!(read(&open.log, 1), [0, 1]);
        for seen in open.memory.seen() {
            assert_eq!(open.log.read(seen.location).unwrap(), seen.payload);
        }
        let again = open.append(request.clone()).unwrap();
        assert_eq!((again.index, again.is_duplicate), (5, true));
        assert_eq!(bases(&again), [1, 0, 3]);
        assert_eq!(open.log.written(), 6);
    }
}

#[test]
fn sealed_segments_and_rebuilt_footers_know_the_batches_of_a_set() {
    let storage = FaultyStorage::new();
    let small = || try_open_with(Arc::new(storage.clone()), options(8_192)).unwrap();
    let first = small();
    (0..2).for_each(|partition| first.open_partition(partition));
    for _ in 0..12 {
        let batch = |partition| records(partition, &[&[1; 900]]);
        let request = set(vec![batch(0), commit("g"), batch(1), batch(0)]);
        first.append(request).unwrap();
    }
    first.sync().unwrap();
    assert!(first.log.segment_count() > 3);
    first.log.close().unwrap();
    for _ in 0..2 {
        let open = small();
        assert_eq!(read(&open.log, 0), (0..24).collect::<Vec<_>>());
        assert_eq!(read(&open.log, 1), (0..12).collect::<Vec<_>>());
    }
}

#[test]
fn a_set_is_refused_as_a_whole_and_says_for_which_part() {
    let (_, open) = with_partitions();
    open.append(produced(1, &[b"x"], 7, 0, 0)).unwrap();
    let good = || produced(0, &[b"a"], 7, 0, 0);
    let many = |count| (0..count).map(|sequence| produced(0, &[b"a"], 7, 0, sequence));
    let cases = [
        (
            vec![good(), produced(1, &[b"b"], 7, 0, 3)],
            1,
            ErrorCode::OutOfOrderSequenceNumber,
        ),
        (
            vec![good(), commit("g"), produced(9, &[b"b"], -1, -1, -1)],
            2,
            ErrorCode::UnknownTopicOrPartition,
        ),
        // Within the SET: a gap behind its own first batch, and the same batch twice.
        (
            vec![good(), produced(0, &[b"b"], 7, 0, 2)],
            1,
            ErrorCode::OutOfOrderSequenceNumber,
        ),
        (vec![good(), good()], 1, ErrorCode::OutOfOrderSequenceNumber),
        // One that was appended before, and one that was not.
        (
            vec![good(), produced(1, &[b"x"], 7, 0, 0)],
            1,
            ErrorCode::OutOfOrderSequenceNumber,
        ),
        (
            vec![produced(1, &[b"x"], 7, 0, 0), good()],
            1,
            ErrorCode::OutOfOrderSequenceNumber,
        ),
        (many(6).collect(), 5, ErrorCode::InvalidRequest),
        (
            vec![good(), partition_open(1)],
            1,
            ErrorCode::InvalidRequest,
        ),
        (
            vec![good(), partition_open(5), partition_open(5)],
            2,
            ErrorCode::InvalidRequest,
        ),
    ];
    for (requests, part, code) in cases {
        let error = open.append(set(requests)).unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(
            source.downcast_ref(),
            Some(&PartRefused { part }),
            "{error}"
        );
        assert_eq!(error.code(), code, "{error}");
        let offsets = [0, 1].map(|id| open.log.next_offset(PartitionId(id)));
        assert_eq!((open.log.written(), offsets), (4, [Some(0), Some(1)]));
        assert_eq!(open.log.next_offset(PartitionId(5)), None);
    }
    // The sequences are those of before: what was refused took none.
    let appended = open.append(set(vec![good(), produced(1, &[b"b"], 7, 0, 1)]));
    assert_eq!(bases(&appended.unwrap()), [0, 1]);
}

#[test]
fn batches_of_different_entries_are_no_repetition_of_a_set() {
    let (_, open) = with_partitions();
    let (one, two) = (produced(0, &[b"a"], 7, 0, 0), produced(1, &[b"b"], 7, 0, 0));
    open.append(one.clone()).unwrap();
    open.append(two.clone()).unwrap();
    let error = open.append(set(vec![one, two, commit("g")])).unwrap_err();
    assert_eq!(error.code(), ErrorCode::OutOfOrderSequenceNumber);
}

#[test]
fn a_part_sees_what_the_parts_before_it_did() {
    let (_, open) = with_partitions();
    let request = set(vec![partition_open(8), produced(8, &[b"a"], 7, 0, 0)]);
    assert_eq!(bases(&open.append(request).unwrap()), [0]);
    let expire = control::ProducerExpire { producer_id: 7 };
    let expire = control(Kind::ProducerExpire, 8, &expire);
    let request = set(vec![expire, produced(8, &[b"b"], 7, 0, 0)]);
    assert_eq!(bases(&open.append(request).unwrap()), [1]);
    let delete = control(Kind::TopicDelete, 0, &control::TopicDelete { uuid: TOPIC });
    let error = open
        .append(set(vec![delete, records(8, &[b"c"])]))
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(open.log.next_offset(PartitionId(8)), Some(2));
}

#[test]
fn each_part_says_whether_it_is_stamped_with_the_time_of_the_append() {
    let (storage, first) = with_partitions();
    let mut parts = [produced(0, &[b"a"], 7, 0, 0), produced(1, &[b"b"], 7, 0, 0)].map(part);
    parts[1].log_append_time = true;
    let appended = first.append(set_of(&parts)).unwrap();
    let times: Vec<_> = appended
        .batches
        .iter()
        .flatten()
        .map(|batch| batch.append_time_ms)
        .collect();
    assert_eq!(times, [-1, appended.time_ms]);
    for open in [first, open(&storage)] {
        let seen = open.memory.seen();
        let stamps = seen.iter().rev().take(2).map(|seen| {
            batch::verify(&seen.payload).unwrap();
            BatchHeader::parse(&seen.payload).unwrap().max_timestamp_ms
        });
        assert_eq!(stamps.collect::<Vec<_>>(), [appended.time_ms, 5]);
        let again = open.append(set_of(&parts)).unwrap();
        assert_eq!(
            (again.is_duplicate, again.batches),
            (true, appended.batches.clone())
        );
    }
}

#[test]
fn what_lives_of_sets_is_moved_and_read_where_it_lies_then() {
    let mut open = Moving::new();
    (0..2).for_each(|partition| open.append(partition_open(partition)));
    for _ in 0..30 {
        let (large, small) = ([1; 1_500], [2; 90]);
        open.append(set(vec![
            records(0, &[&large]),
            records(1, &[&small]),
            commit("g"),
            records(0, &[&large]),
        ]));
    }
    open.sync();
    let segments = open.log.segment_count();
    // All but the end of partition 0 is dead, and lies beside what lives of partition 1.
    let rules = |partition: PartitionId| Some(below(if partition.0 == 0 { 56 } else { 0 }));
    assert!(open.log.clean(open.log.synced(), &rules).unwrap() > 0);
    assert!(open.log.segment_count() < segments);
    for _ in 0..2 {
        assert_eq!(read(&open.log, 1), (0..30).collect::<Vec<_>>());
        assert_eq!(read_from(&open.log, 0, 56), [56, 57, 58, 59]);
        open = open.again();
    }
}
