use proptest::collection::vec;
use proptest::prelude::*;

use super::super::batch::{HEADER_BYTES, verify_records, write_checksum};
use super::super::sample::{batch_of, bytes_of, raw_batch, raw_header, raw_record, record};
use super::super::{Batch, BatchError, BatchHeader, HeaderError, RecordProblem, VarintError};
use crate::limits::{BATCH_RECORDS_MAX, RECORD_HEADERS_MAX};

/// What is wrong with the one record of a batch.
fn problem(records: &[u8]) -> RecordProblem {
    let bytes = raw_batch(raw_header(1, 0), records);
    match verify_records(&bytes).unwrap_err() {
        BatchError::Record {
            index: 0,
            position: HEADER_BYTES,
            problem,
        } => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_compacted_batch_is_read_with_its_gaps_and_refused_from_a_producer() {
    let records: Vec<u8> = [0, 3, 9]
        .iter()
        .flat_map(|&d| raw_record(d, 0, &[]))
        .collect();
    let bytes = raw_batch(raw_header(3, 11), &records);
    let batch = Batch::verified(bytes.clone().into()).unwrap();
    let offsets: Vec<_> = batch
        .records()
        .map(|record| record.unwrap().offset)
        .collect();
    assert_eq!(offsets, [100, 103, 109]);
    assert_eq!(batch.last_offset(), 111);
    let refused = BatchError::RecordCount {
        record_count: 3,
        last_offset_delta: 11,
    };
    assert_eq!(verify_records(&bytes), Err(refused));

    let emptied = Batch::verified(raw_batch(raw_header(0, 4), &[]).into()).unwrap();
    assert_eq!(emptied.records().count(), 0);
    assert_eq!((emptied.base_offset(), emptied.last_offset()), (100, 104));
}

#[test]
fn offset_deltas_that_do_not_rise_are_refused_with_index_and_position() {
    for deltas in [[0, 0], [1, 0], [0, 2], [0, -1], [-1, 0]] {
        let records: Vec<u8> = deltas.iter().flat_map(|&d| raw_record(d, 0, &[])).collect();
        let bytes = raw_batch(raw_header(2, 1), &records);
        let error = verify_records(&bytes).unwrap_err();
        let bad = deltas
            .iter()
            .zip(0..)
            .position(|(&delta, index)| delta != index)
            .unwrap();
        let BatchError::Record {
            index,
            position,
            problem,
        } = error
        else {
            panic!("{deltas:?}: {error:?}");
        };
        // [1, 0] is found at its second record: the first might stand behind a gap.
        let found_at = if deltas == [1, 0] { 1 } else { bad };
        assert_eq!(index as usize, found_at, "{deltas:?}");
        assert_eq!(position, HEADER_BYTES + found_at * records.len() / 2);
        assert!(matches!(problem, RecordProblem::OffsetDelta { .. }));
    }
}

#[test]
fn malformed_records_are_refused_by_name() {
    assert_eq!(
        problem(&[0x01]),
        RecordProblem::Length {
            found: -1,
            remaining: 0
        }
    );
    assert_eq!(
        problem(&[0x10, 0, 0]),
        RecordProblem::Length {
            found: 8,
            remaining: 2
        }
    );
    assert_eq!(problem(&[0x00]), RecordProblem::NoAttributes);
    let value_len = problem(&[0x0c, 0, 0, 0, 1, 0x08, b'v']);
    assert_eq!(
        value_len,
        RecordProblem::FieldLength {
            field: "value",
            found: 4,
            remaining: 1
        }
    );
    let key_len = problem(&[0x08, 0, 0, 0, 0x03]);
    assert_eq!(
        key_len,
        RecordProblem::FieldLength {
            field: "key",
            found: -2,
            remaining: 0
        }
    );
    assert_eq!(
        problem(&[0x06, 0, 0x80, 0x00]),
        RecordProblem::Varint {
            field: "timestamp delta",
            source: VarintError::Overlong
        }
    );
}

#[test]
fn bytes_behind_the_last_record_are_refused() {
    let mut behind = raw_record(0, 0, &[]);
    let position = HEADER_BYTES + behind.len();
    behind.extend_from_slice(&[0, 0]);
    let bytes = raw_batch(raw_header(1, 0), &behind);
    assert_eq!(
        verify_records(&bytes),
        Err(BatchError::TrailingBytes { position, found: 2 })
    );
}

#[test]
fn malformed_headers_are_refused_by_name() {
    let headers = |count, bytes: &[u8]| match problem(&raw_record(0, count, bytes)) {
        RecordProblem::Headers(error) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        headers(-1, &[]),
        HeaderError::Count {
            found: -1,
            remaining: 0
        }
    );
    assert_eq!(
        headers(2, &[0, 0]),
        HeaderError::Count {
            found: 2,
            remaining: 2
        }
    );
    assert_eq!(headers(0, &[0, 0]), HeaderError::TrailingBytes { found: 2 });
    assert_eq!(
        headers(1, &[0, 0, 9]),
        HeaderError::TrailingBytes { found: 1 }
    );
    assert_eq!(
        headers(1, &[2, 0xff, 0]),
        HeaderError::NotUtf8 { position: 0 }
    );
    let null_key = HeaderError::Length {
        field: "key",
        found: -1,
        position: 0,
        remaining: 1,
    };
    assert_eq!(headers(1, &[1, 1]), null_key);
    let cut = HeaderError::Length {
        field: "value",
        found: 3,
        position: 2,
        remaining: 0,
    };
    assert_eq!(headers(2, &[0, 1, 0, 6]), cut);
}

#[test]
fn a_timestamp_beyond_64_bits_is_refused() {
    let header = BatchHeader {
        base_timestamp_ms: i64::MAX,
        ..raw_header(1, 0)
    };
    let bytes = raw_batch(header, &raw_record(0, 0, &[]));
    let problem = RecordProblem::Timestamp {
        found: 1,
        base_timestamp_ms: i64::MAX,
    };
    let refused = BatchError::Record {
        index: 0,
        position: HEADER_BYTES,
        problem,
    };
    assert_eq!(verify_records(&bytes), Err(refused));
}

#[test]
fn more_records_than_the_limit_are_refused_before_they_are_read() {
    let count = BATCH_RECORDS_MAX as i32 + 1;
    let bytes = raw_batch(raw_header(count, count - 1), &[]);
    let refused = BatchError::TooManyRecords {
        max: BATCH_RECORDS_MAX,
    };
    assert_eq!(verify_records(&bytes), Err(refused));
}

#[test]
fn more_headers_than_the_limit_are_refused() {
    let count = RECORD_HEADERS_MAX + 1;
    let record = raw_record(0, count as i32, &vec![0; 2 * count]);
    let bytes = raw_batch(raw_header(1, 0), &record);
    let refused = BatchError::TooManyHeaders {
        found: count,
        max: RECORD_HEADERS_MAX,
    };
    assert_eq!(verify_records(&bytes), Err(refused));
}

/// Where the checksum begins to count.
const CHECKSUMMED: usize = 21;

proptest! {
    #[test]
    fn records_below_an_offset_are_skipped_and_no_other(
        records in vec(record(), 1..40),
        from in -5..50i64,
    ) {
        let batch = batch_of(&records, 0);
        let expected: Vec<_> = batch
            .records()
            .map(|record| record.unwrap().offset)
            .filter(|&offset| offset >= from.min(records.len() as i64 - 1))
            .collect();
        let mut rest = batch.records();
        rest.skip_below(from);
        let found: Vec<_> = rest.map(|record| record.unwrap().offset).collect();
        prop_assert_eq!(found, expected);
    }

    /// Whatever stands behind an intact checksum: no panic, an end, an error at most once.
    #[test]
    fn damaged_records_behind_a_right_checksum_end_in_one_error(
        records in vec(record(), 1..12),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        from in 0..20i64,
    ) {
        let mut bytes = bytes_of(&records, 0);
        for (at, byte) in damage {
            let at = CHECKSUMMED + at.index(bytes.len() - CHECKSUMMED);
            bytes[at] = byte;
        }
        write_checksum(&mut bytes);
        let whole = verify_records(&bytes);
        if let Ok(batch) = Batch::verified(bytes.into()) {
            let mut walked = batch.records();
            let mut errors = 0;
            for record in walked.by_ref() {
                match record {
                    Ok(record) => errors += record.headers().filter(Result::is_err).count(),
                    Err(_) => errors += 1,
                }
            }
            prop_assert!(walked.next().is_none());
            prop_assert!(whole.is_err() || errors == 0);
            let mut skipped = batch.records();
            skipped.skip_below(from);
            prop_assert!(skipped.count() <= batch.header().record_count as usize + 1);
        }
    }
}
