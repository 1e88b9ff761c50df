use proptest::collection::vec;
use proptest::prelude::*;

use super::super::sample::{Owned, record};
use super::super::{Batch, Header, HeaderError, HeadersRef};
use super::*;

proptest! {
    #[test]
    fn any_records_come_back_in_order(records in vec(record(), 1..30), packed: bool) {
        let mut builder = BatchBuilder::new(500);
        for (index, record) in records.iter().enumerate() {
            let (headers, bytes) = (record.headers(), record.packed_headers());
            let headers =
                if packed { HeadersRef::Packed(&bytes) } else { HeadersRef::Slice(&headers) };
            let record = record.as_ref(headers);
            let before = builder.size_bytes();
            prop_assert_eq!(builder.push(&record), Ok(index as u32));
            let grown = builder.size_bytes() - before;
            prop_assert!(grown <= BatchBuilder::estimate(&record));
        }
        prop_assert_eq!(builder.record_count() as usize, records.len());
        let size = builder.size_bytes();
        let bytes = builder.finish(5, 6, 7).unwrap();
        prop_assert_eq!(bytes.len(), size);
        batch::verify_records(&bytes).unwrap();

        let batch = Batch::verified(bytes.into()).unwrap();
        let header = *batch.header();
        prop_assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (5, 6, 7));
        prop_assert_eq!((header.base_offset, header.leader_epoch, header.attributes), (0, -1, 0));
        prop_assert_eq!(header.record_count as usize, records.len());
        prop_assert_eq!(header.last_offset() as usize, records.len() - 1);
        prop_assert_eq!(header.base_timestamp_ms, records[0].timestamp_ms);
        let max_timestamp_ms = records.iter().map(|record| record.timestamp_ms).max();
        prop_assert_eq!(Some(header.max_timestamp_ms), max_timestamp_ms);
        let decoded: Vec<_> =
            batch.records().map(|record| Owned::of(&record.unwrap())).collect();
        prop_assert_eq!(decoded, records);
    }

    #[test]
    fn headers_mean_the_same_as_a_slice_and_packed(record in record()) {
        let (headers, bytes) = (record.headers(), record.packed_headers());
        let mut builder = BatchBuilder::new(0);
        builder.push(&record.as_ref(HeadersRef::Slice(&headers))).unwrap();
        let from_slice = builder.finish(-1, -1, -1);
        builder.push(&record.as_ref(HeadersRef::Packed(&bytes))).unwrap();
        prop_assert_eq!(from_slice, builder.finish(-1, -1, -1));
    }
}

#[test]
fn a_builder_without_records_finishes_nothing_and_is_used_again_and_again() {
    let mut builder = BatchBuilder::new(4_096);
    assert_eq!(builder.finish(1, 0, 0), None);
    assert_eq!(
        (builder.is_empty(), builder.size_bytes()),
        (true, HEADER_BYTES)
    );
    assert_eq!(
        (builder.first_timestamp_ms(), builder.max_timestamp_ms()),
        (None, None)
    );
    for round in 0..3 {
        for timestamp_ms in [5, -7, 9] {
            let value = Some(&b"value"[..]);
            builder
                .push(&RecordRef {
                    timestamp_ms,
                    value,
                    ..Default::default()
                })
                .unwrap();
        }
        assert_eq!(builder.first_timestamp_ms(), Some(5));
        assert_eq!(builder.max_timestamp_ms(), Some(9));
        if round == 1 {
            builder.clear();
            assert_eq!(builder.finish(1, 0, 0), None);
        } else {
            let bytes = builder.finish(1, 0, 0).unwrap();
            assert_eq!(batch::verify_records(&bytes).unwrap().record_count, 3);
        }
        assert!(builder.is_empty());
    }
}

#[test]
fn a_record_beyond_the_batch_limit_is_refused_and_changes_nothing() {
    let mut builder = BatchBuilder::new(1 << 10);
    builder
        .push(&RecordRef {
            value: Some(b"small"),
            ..Default::default()
        })
        .unwrap();
    let before = builder.size_bytes();
    let large = vec![0; BATCH_BYTES_MAX - before - 8];
    let refused = builder.push(&RecordRef {
        value: Some(&large),
        ..Default::default()
    });
    let Err(BatchError::TooLarge { found, max }) = refused else {
        panic!("{refused:?}")
    };
    assert!(found > max && max == BATCH_BYTES_MAX as u64);
    assert_eq!((builder.size_bytes(), builder.record_count()), (before, 1));

    let fits = &large[..BATCH_BYTES_MAX - before - 32];
    builder
        .push(&RecordRef {
            value: Some(fits),
            ..Default::default()
        })
        .unwrap();
    assert!(builder.size_bytes() <= BATCH_BYTES_MAX);
    batch::verify_records(&builder.finish(-1, -1, -1).unwrap()).unwrap();
}

#[test]
fn a_batch_takes_as_many_records_as_the_limit_and_no_more() {
    let mut builder = BatchBuilder::new(1 << 20);
    for _ in 0..BATCH_RECORDS_MAX {
        builder.push(&RecordRef::default()).unwrap();
    }
    let refused = BatchError::TooManyRecords {
        max: BATCH_RECORDS_MAX,
    };
    assert_eq!(builder.push(&RecordRef::default()), Err(refused));
    let bytes = builder.finish(-1, -1, -1).unwrap();
    let header = batch::verify_records(&bytes).unwrap();
    assert_eq!(header.record_count as usize, BATCH_RECORDS_MAX);
}

#[test]
fn a_record_takes_as_many_headers_as_the_limit_and_no_more() {
    let headers = vec![
        Header {
            key: "",
            value: None
        };
        RECORD_HEADERS_MAX + 1
    ];
    let mut builder = BatchBuilder::new(0);
    let record = |headers| RecordRef {
        headers: HeadersRef::Slice(headers),
        ..Default::default()
    };
    let (found, max) = (headers.len(), RECORD_HEADERS_MAX);
    let refused = BatchError::TooManyHeaders { found, max };
    assert_eq!(builder.push(&record(&headers)), Err(refused));
    assert!(builder.is_empty());
    assert_eq!(builder.push(&record(&headers[1..])), Ok(0));
    batch::verify_records(&builder.finish(-1, -1, -1).unwrap()).unwrap();
}

#[test]
fn timestamps_too_far_apart_are_refused() {
    let mut builder = BatchBuilder::new(0);
    let at = |timestamp_ms| RecordRef {
        timestamp_ms,
        ..Default::default()
    };
    builder.push(&at(-2)).unwrap();
    builder.push(&at(i64::MAX - 2)).unwrap();
    let (timestamp_ms, base_timestamp_ms) = (i64::MAX, -2);
    let refused = BatchError::TimestampRange {
        timestamp_ms,
        base_timestamp_ms,
    };
    assert_eq!(builder.push(&at(i64::MAX)), Err(refused));
    let batch = Batch::verified(builder.finish(-1, -1, -1).unwrap().into()).unwrap();
    let timestamps: Vec<_> = batch.records().map(|r| r.unwrap().timestamp_ms).collect();
    assert_eq!(timestamps, [-2, i64::MAX - 2]);
}

#[test]
fn malformed_packed_headers_are_refused() {
    let mut builder = BatchBuilder::new(0);
    let mut push = |packed: &[u8]| {
        let headers = HeadersRef::Packed(packed);
        match builder.push(&RecordRef {
            headers,
            ..Default::default()
        }) {
            Err(BatchError::Headers(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(push(&[0; 7]), HeaderError::TrailingBytes { found: 7 });
    let long_key = HeaderError::Length {
        field: "key",
        found: 1,
        position: 0,
        remaining: 0,
    };
    assert_eq!(push(&[1, 0, 0, 0, 0, 0, 0, 0]), long_key);
    let no_value = HeaderError::Length {
        field: "value",
        found: -2,
        position: 8,
        remaining: 0,
    };
    assert_eq!(
        push(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff]),
        no_value
    );
    assert_eq!(
        push(&[1, 0, 0, 0, 0, 0, 0, 0, 0xff]),
        HeaderError::NotUtf8 { position: 0 }
    );
}

#[test]
fn the_buffer_starts_small_and_learns_from_the_last_batch() {
    let mut builder = BatchBuilder::new(1 << 20);
    builder.push(&RecordRef::default()).unwrap();
    let small = builder.finish(-1, -1, -1).unwrap();
    assert!(small.capacity() <= 2 * FIRST_CAPACITY_BYTES);
    let value = vec![0; 100_000];
    for _ in 0..2 {
        builder
            .push(&RecordRef {
                value: Some(&value),
                ..Default::default()
            })
            .unwrap();
        builder.push(&RecordRef::default()).unwrap();
        let large = builder.finish(-1, -1, -1).unwrap();
        assert!(large.capacity() < 210_000);
    }
    builder.push(&RecordRef::default()).unwrap();
    let small = builder.finish(-1, -1, -1).unwrap();
    assert!(small.capacity() <= 2 * small.len());
}
