//! Batches by offset and by time, wherever they lie: in the segment written to, behind footers, behind
//! footers that are damaged.

use std::io::IoSlice;

use proptest::prelude::*;

use super::*;
use crate::error::ErrorCode;
use crate::log::segment;
use crate::log::storage::faulty::CrashMode;
use crate::record::BatchHeader;

/// A batch as a reader is to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    base_offset: i64,
    next_offset: i64,
    max_timestamp_ms: i64,
    payload: Vec<u8>,
}

/// The batches of a partition, from what the machine was told.
fn written(open: &Open, partition: u32) -> Vec<Written> {
    let seen = open.memory.seen();
    let batches = seen
        .iter()
        .filter(|seen| seen.kind == Kind::Records && seen.partition == PartitionId(partition));
    let written = batches.map(|seen| {
        let header = BatchHeader::parse(&seen.payload).unwrap();
        Written {
            base_offset: header.base_offset,
            next_offset: header.last_offset() + 1,
            max_timestamp_ms: header.max_timestamp_ms,
            payload: seen.payload.clone(),
        }
    });
    written.collect()
}

fn stored(batch: &crate::log::Stored) -> Written {
    let header = BatchHeader::parse(&batch.bytes).unwrap();
    Written {
        base_offset: batch.base_offset,
        next_offset: batch.next_offset,
        max_timestamp_ms: header.max_timestamp_ms,
        payload: batch.bytes.to_vec(),
    }
}

/// Reads a partition from `offset` to its end, `max_bytes` at a time.
fn read_all(open: &Open, partition: u32, offset: i64, max_bytes: usize) -> Vec<Written> {
    let mut found = Vec::new();
    let mut at = offset;
    loop {
        let batches = open
            .log
            .read_from(PartitionId(partition), at, i64::MAX, max_bytes)
            .unwrap();
        let Some(last) = batches.last() else {
            return found;
        };
        at = last.next_offset;
        found.extend(batches.iter().map(stored));
    }
}

fn timed(partition: u32, time_ms: i64, records: usize, bytes: usize) -> Request {
    let mut builder = BatchBuilder::new(1_024);
    for _ in 0..records {
        let record = RecordRef {
            timestamp_ms: time_ms,
            value: Some(&vec![7; bytes]),
            ..RecordRef::default()
        };
        builder.push(&record).unwrap();
    }
    Request {
        kind: Kind::Records,
        version: PAYLOAD_VERSION,
        partition: PartitionId(partition),
        payload: builder.finish(-1, -1, -1).unwrap(),
        ack: Durability::Os,
        topic: Durability::Os,
    }
}

/// Everything about a partition that a reader may ask, against looking at every batch.
fn check(open: &Open, partition: u32) {
    let batches = written(open, partition);
    let end = batches.last().map_or(0, |last| last.next_offset);
    for offset in 0..=end + 1 {
        let wanted: Vec<_> = batches
            .iter()
            .filter(|batch| batch.next_offset > offset)
            .cloned()
            .collect();
        for max_bytes in [1, 700, usize::MAX] {
            assert_eq!(read_all(open, partition, offset, max_bytes), wanted);
        }
        for time_ms in [i64::MIN, 0, 50, 99, i64::MAX] {
            let first = wanted
                .iter()
                .find(|batch| batch.max_timestamp_ms >= time_ms);
            let found = open
                .log
                .find_time(PartitionId(partition), time_ms, offset)
                .unwrap();
            assert_eq!(found.as_ref().map(stored).as_ref(), first);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn batches_are_found_by_offset_and_time(
        steps in prop::collection::vec(
            (0..3_u32, 0..100_i64, 1..4_usize, 1..900_usize, any::<bool>()), 1..60
        ),
        is_closed in any::<bool>(),
    ) {
        let storage = FaultyStorage::new();
        let open = try_open_with(Arc::new(storage.clone()), options(6 * 1_024)).unwrap();
        (0..3).for_each(|partition| open.open_partition(partition));
        for (partition, time_ms, records, bytes, is_synced) in steps {
            let request = timed(partition, time_ms, records, bytes);
            let request = if is_synced { request.disk() } else { request };
            open.append(request).unwrap();
        }
        (0..3).for_each(|partition| check(&open, partition));
        if is_closed {
            open.log.close().unwrap();
        }
        drop(open);
        let again = try_open_with(Arc::new(storage), options(6 * 1_024)).unwrap();
        (0..3).for_each(|partition| check(&again, partition));
    }
}

/// A log of several sealed segments with footers, closed cleanly.
fn sealed() -> (FaultyStorage, Vec<Written>) {
    let storage = FaultyStorage::new();
    let open = try_open_with(Arc::new(storage.clone()), options(6 * 1_024)).unwrap();
    open.open_partition(0);
    for step in 0..20 {
        open.append(timed(0, step, 2, 400).disk()).unwrap();
    }
    let batches = written(&open, 0);
    open.log.close().unwrap();
    (storage, batches)
}

fn length_of(storage: &FaultyStorage, segment: u64) -> u64 {
    let path = segment::path(DIR, segment);
    storage.open(&path, true).unwrap().length().unwrap()
}

#[test]
fn footer_that_is_damaged_after_the_open_is_built_again_from_the_frames() {
    let (storage, batches) = sealed();
    let open = try_open_with(Arc::new(storage.clone()), options(6 * 1_024)).unwrap();
    for segment in 1..=2 {
        let path = segment::path(DIR, segment);
        let file = storage.open(&path, false).unwrap();
        let end = length_of(&storage, segment);
        file.write_at(&[IoSlice::new(&[0xff; 8])], end - 40)
            .unwrap();
    }
    assert_eq!(read_all(&open, 0, 0, 1), batches);
    assert_eq!(read_all(&open, 0, 0, usize::MAX), batches);
}

#[test]
fn damaged_frame_behind_a_damaged_footer_is_named_and_the_rest_is_served() {
    let (storage, batches) = sealed();
    let open = try_open_with(Arc::new(storage.clone()), options(6 * 1_024)).unwrap();
    let path = segment::path(DIR, 2);
    let file = storage.open(&path, false).unwrap();
    let end = length_of(&storage, 2);
    file.write_at(&[IoSlice::new(&[0xff; 8])], end - 40)
        .unwrap();
    file.write_at(&[IoSlice::new(&[0xff; 8])], 4_096).unwrap();
    let (mut refused, mut served) = (0, 0);
    for batch in &batches {
        let offset = batch.base_offset;
        match open.log.read_from(PartitionId(0), offset, i64::MAX, 1) {
            Ok(found) => {
                assert_eq!(stored(&found[0]), *batch);
                served += 1;
            }
            Err(error) => {
                assert_eq!(error.code(), ErrorCode::CorruptSegment);
                assert!(
                    error.message().contains("0002.log, position 4096"),
                    "{error}"
                );
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && served > refused, "{refused} {served}");
}

#[test]
fn sealed_segment_ends_with_its_footer_and_is_opened_from_it() {
    let (storage, batches) = sealed();
    let segments = storage.list(DIR).unwrap().len();
    assert!(segments > 3, "{segments}");
    let open = try_open_with(Arc::new(storage.clone()), options(6 * 1_024)).unwrap();
    assert_eq!(read_all(&open, 0, 0, usize::MAX), batches);
    for segment in 1..segments as u64 {
        let end = length_of(&storage, segment);
        let file = open.log.shared.files.segment(segment).unwrap();
        assert_eq!(file.end(), end);
        assert!(open.log.shared.index.resident(segment).is_none());
    }
}

#[test]
fn crash_between_a_roll_and_its_footer_is_made_good_at_the_open() {
    let storage = FaultyStorage::new();
    let open = try_open_with(Arc::new(storage.clone()), options(6 * 1_024)).unwrap();
    open.open_partition(0);
    for step in 0..20 {
        open.append(timed(0, step, 2, 400)).unwrap();
    }
    let batches = written(&open, 0);
    // Nothing was synced, so nothing was sealed.
    let image = storage.crash_image(CrashMode::AllWritten);
    let again = try_open_with(Arc::new(image.clone()), options(6 * 1_024)).unwrap();
    let sealed = image.list(DIR).unwrap().len() as u64 - 1;
    assert!(sealed > 2);
    for segment in 1..=sealed {
        assert!(again.log.shared.index.resident(segment).is_none());
    }
    assert_eq!(read_all(&again, 0, 0, usize::MAX), batches);
}

#[test]
fn full_disk_leaves_a_segment_without_footer_and_its_batches_readable() {
    let storage = FaultyStorage::new();
    let open = try_open_with(Arc::new(storage.clone()), options(6 * 1_024)).unwrap();
    open.open_partition(0);
    while open.log.segment_count() < 3 {
        open.append(timed(0, 0, 2, 400)).unwrap();
    }
    storage.set_space(Some(1));
    open.sync().unwrap();
    assert!(open.log.shared.index.resident(1).is_some());
    let batches = written(&open, 0);
    assert_eq!(read_all(&open, 0, 0, usize::MAX), batches);
    storage.set_space(None);
    open.log.close().unwrap();
    let again = try_open_with(Arc::new(storage), options(6 * 1_024)).unwrap();
    assert_eq!(read_all(&again, 0, 0, usize::MAX), batches);
}

#[test]
fn only_batches_that_end_before_the_given_offset_are_read() {
    let (storage, batches) = sealed();
    let open = try_open_with(Arc::new(storage), options(6 * 1_024)).unwrap();
    for (at, batch) in batches.iter().enumerate() {
        for (end_offset, count) in [(batch.next_offset, at + 1), (batch.next_offset - 1, at)] {
            let mut found = Vec::new();
            let mut offset = 0;
            loop {
                let read = open
                    .log
                    .read_from(PartitionId(0), offset, end_offset, 1_000);
                let read = read.unwrap();
                let Some(last) = read.last() else { break };
                offset = last.next_offset;
                found.extend(read.iter().map(stored));
            }
            assert_eq!(found, batches[..count]);
        }
    }
}

#[test]
fn segment_rolls_when_its_index_has_grown_to_the_limit() {
    let open = try_open_with(Arc::new(FaultyStorage::new()), options(1 << 30)).unwrap();
    open.open_partition(0);
    open.append(records(0, &[b"first"])).unwrap();
    open.log.shared.index.extend(|index| {
        let entry = crate::log::index::IndexEntry {
            base_offset: 0,
            next_offset: 1,
            max_timestamp_ms: 0,
            position: 4_096,
            payload_at: 48,
            len: 100,
        };
        let mut other = 10;
        while index.memory_bytes() < crate::limits::SEGMENT_INDEX_BYTES_MAX {
            index.push(PartitionId(other), &entry, 0);
            other += 1;
        }
    });
    open.append(records(0, &[b"second"])).unwrap();
    assert_eq!(open.log.segment_count(), 2);
    assert_eq!(read_all(&open, 0, 0, 1).len(), 2);
}
