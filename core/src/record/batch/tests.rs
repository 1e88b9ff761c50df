use proptest::collection::vec;
use proptest::prelude::*;

use super::super::sample::{Owned, batch_of, bytes_of, raw_batch, raw_header, raw_record, record};
use super::super::{HeaderError, varint};
use super::*;

/// The bytes that the checksum leaves out and that carry no structure: a log stamps them. Whoever
/// stores a batch has to protect them itself, as the log's frames do.
const STAMPED: [std::ops::Range<usize>; 2] = [BASE_OFFSET..BASE_OFFSET + 8, LEADER_EPOCH..MAGIC_AT];

fn sample() -> Vec<u8> {
    let mut records = vec![Owned::value("first"), Owned::value(""), Owned::default()];
    records[1].key = Some(b"key".to_vec());
    records[2].headers = vec![
        ("trace".to_owned(), Some(vec![1, 2])),
        (String::new(), None),
    ];
    bytes_of(&records, 7)
}

#[test]
fn every_flipped_bit_is_found_but_in_the_two_stamped_fields() {
    let intact = sample();
    let before = verify(&intact).unwrap();
    for at in 0..intact.len() {
        for mask in [1u8, 2, 4, 8, 16, 32, 64, 128, 0xff] {
            let mut bytes = intact.clone();
            bytes[at] ^= mask;
            let result = verify(&bytes);
            if !STAMPED.iter().any(|field| field.contains(&at)) {
                assert!(result.is_err(), "byte {at}, mask {mask:#x}");
            } else if let Ok(after) = result {
                let (base_offset, leader_epoch) = (before.base_offset, before.leader_epoch);
                assert_ne!(after, before, "byte {at}, mask {mask:#x}");
                assert_eq!(
                    BatchHeader {
                        base_offset,
                        leader_epoch,
                        ..after
                    },
                    before
                );
            }
        }
    }
}

#[test]
fn a_batch_cut_at_any_length_or_with_bytes_behind_it_is_refused() {
    let intact = sample();
    for len in 0..intact.len() {
        let expected = if len < HEADER_BYTES {
            HEADER_BYTES
        } else {
            intact.len()
        };
        match verify(&intact[..len]) {
            Err(BatchError::TooShort {
                found,
                expected: least,
            }) => {
                assert_eq!((found, least), (len, expected));
            }
            Err(BatchError::TotalBytes {
                found,
                expected: whole,
            }) => {
                assert_eq!((found, whole), (len, expected));
            }
            other => panic!("{len} bytes: {other:?}"),
        }
    }
    let mut longer = intact.clone();
    longer.push(0);
    let (found, expected) = (longer.len(), intact.len());
    assert_eq!(
        verify(&longer),
        Err(BatchError::TotalBytes { found, expected })
    );
}

#[test]
fn a_header_that_contradicts_itself_is_refused_by_name() {
    let good = BatchHeader {
        batch_length: 49,
        ..raw_header(2, 5)
    };
    assert_eq!(BatchHeader::parse(&good.encode()), Ok(good));
    let refused = |header: BatchHeader| BatchHeader::parse(&header.encode()).unwrap_err();

    assert_eq!(
        refused(BatchHeader { magic: 1, ..good }),
        BatchError::Magic { found: 1 }
    );
    assert_eq!(
        refused(BatchHeader {
            batch_length: 48,
            ..good
        }),
        BatchError::BatchLength {
            found: 48,
            expected: 49
        }
    );
    assert_eq!(
        refused(BatchHeader {
            batch_length: -1,
            ..good
        }),
        BatchError::BatchLength {
            found: -1,
            expected: 49
        }
    );
    assert_eq!(
        refused(BatchHeader {
            attributes: 0x81,
            ..good
        }),
        BatchError::Attributes {
            found: 0x81,
            unknown: 0x80
        }
    );
    assert_eq!(
        refused(BatchHeader {
            attributes: 0x0d,
            ..good
        }),
        BatchError::Attributes {
            found: 0x0d,
            unknown: 5
        }
    );
    for (record_count, last_offset_delta) in [(-1, 5), (2, -1), (7, 5), (i32::MIN, 0)] {
        assert_eq!(
            refused(BatchHeader {
                record_count,
                last_offset_delta,
                ..good
            }),
            BatchError::RecordCount {
                record_count,
                last_offset_delta
            }
        );
    }
    for base_offset in [-1, i64::MAX - 4, i64::MIN] {
        assert_eq!(
            refused(BatchHeader {
                base_offset,
                ..good
            }),
            BatchError::BaseOffset {
                found: base_offset,
                last_offset_delta: 5
            }
        );
    }
    let last = BatchHeader {
        base_offset: i64::MAX - 5,
        ..good
    };
    assert_eq!(last.last_offset(), i64::MAX);
    assert_eq!(BatchHeader::parse(&last.encode()), Ok(last));
}

#[test]
fn attributes_say_codec_time_transaction_and_control() {
    let header = |attributes| BatchHeader {
        attributes,
        ..raw_header(1, 0)
    };
    let codecs = [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ];
    for (number, codec) in codecs.into_iter().enumerate() {
        assert_eq!(header(number as u16).codec(), codec);
        assert_eq!(codec as usize, number);
    }
    assert!(header(0x20).is_control() && !header(0x10).is_control());
    assert!(header(0x10).is_transactional() && !header(0x20).is_transactional());
    assert_eq!(header(0x08).timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!(header(0x08).append_time_ms(), Some(2_000));
    assert_eq!(header(0x77).timestamp_type(), TimestampType::CreateTime);
    assert_eq!(header(0).append_time_ms(), None);
}

#[test]
fn sequences_wrap_to_zero_after_the_largest() {
    let header = |base_sequence| BatchHeader {
        base_sequence,
        ..raw_header(5, 4)
    };
    assert_eq!(header(0).last_sequence(), 4);
    assert_eq!(header(i32::MAX - 4).last_sequence(), i32::MAX);
    assert_eq!(header(i32::MAX - 3).last_sequence(), 0);
    assert_eq!(header(i32::MAX).last_sequence(), 3);
    assert_eq!(header(NO_SEQUENCE).last_sequence(), NO_SEQUENCE);
}

#[test]
fn a_stamp_changes_two_fields_and_no_checksum() {
    let mut bytes = sample();
    let before = verify(&bytes).unwrap();
    stamp(&mut bytes, 1 << 40, 12);
    let after = verify_records(&bytes).unwrap();
    assert_eq!(
        after,
        BatchHeader {
            base_offset: 1 << 40,
            leader_epoch: 12,
            ..before
        }
    );
    stamp(&mut [], 1, 1);
    stamp_append_time(&mut [0; 60], 1);
}

#[test]
fn an_append_time_becomes_the_timestamp_of_every_record() {
    let mut bytes = sample();
    stamp_append_time(&mut bytes, 5_000);
    verify_records(&bytes).unwrap();
    let batch = Batch::verified(bytes.into()).unwrap();
    assert_eq!(batch.header().append_time_ms(), Some(5_000));
    assert_eq!(batch.header().max_timestamp_ms, 5_000);
    assert!(
        batch
            .records()
            .all(|record| record.unwrap().timestamp_ms == 5_000)
    );
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
    let problem = |records: &[u8]| {
        let bytes = raw_batch(raw_header(1, 0), records);
        match verify_records(&bytes).unwrap_err() {
            BatchError::Record {
                index: 0,
                position: HEADER_BYTES,
                problem,
            } => problem,
            other => panic!("{other:?}"),
        }
    };
    let headers = |count, bytes: &[u8]| match problem(&raw_record(0, count, bytes)) {
        RecordProblem::Headers(error) => error,
        other => panic!("{other:?}"),
    };
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
            source: varint::VarintError::Overlong
        }
    );
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
fn a_compressed_batch_is_passed_and_its_records_refused_once() {
    let header = BatchHeader {
        attributes: Codec::Zstd as u16,
        ..raw_header(3, 2)
    };
    let bytes = raw_batch(header, b"compressed");
    let refused = BatchError::UnsupportedCodec { codec: Codec::Zstd };
    assert_eq!(verify_records(&bytes), Err(refused.clone()));
    assert_eq!(refused.to_string(), "compression zstd is not supported");
    let batch = Batch::verified(bytes.into()).unwrap();
    let mut records = batch.records();
    records.skip_below(102);
    assert_eq!(records.next().unwrap().unwrap_err(), refused);
    assert!(records.next().is_none());
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

#[test]
fn already_verified_looks_at_the_header_and_not_at_the_checksum() {
    let mut bytes = sample();
    *bytes.last_mut().unwrap() ^= 1;
    assert!(Batch::already_verified(bytes.clone().into()).is_ok());
    assert!(matches!(
        Batch::verified(bytes.clone().into()),
        Err(BatchError::Crc { .. })
    ));
    bytes.pop();
    assert!(Batch::already_verified(bytes.into()).is_err());
}

proptest! {
    #[test]
    fn a_header_comes_back_as_it_was_written(
        bytes in vec(any::<u8>(), HEADER_BYTES),
    ) {
        let mut exact = [0; HEADER_BYTES];
        exact.copy_from_slice(&bytes);
        prop_assert_eq!(BatchHeader::decode(&exact).encode(), exact);
    }

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
            let at = ATTRIBUTES + at.index(bytes.len() - ATTRIBUTES);
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

    #[test]
    fn arbitrary_bytes_are_no_batch_and_no_panic(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(verify(&bytes).is_err());
        prop_assert!(verify_records(&bytes).is_err());
    }
}
