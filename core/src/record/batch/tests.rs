use proptest::collection::vec;
use proptest::prelude::*;

use super::super::sample::{Owned, bytes_of, raw_header};
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
        BatchError::UnknownCodec { found: 5 }
    );
}

#[test]
fn counts_and_offsets_that_cannot_both_be_are_refused() {
    let good = BatchHeader {
        batch_length: 49,
        ..raw_header(2, 5)
    };
    let refused = |header: BatchHeader| BatchHeader::parse(&header.encode()).unwrap_err();
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
    for base_offset in [-1, i64::MAX - 5, i64::MAX - 4, i64::MIN] {
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
        base_offset: i64::MAX - 6,
        ..good
    };
    assert_eq!(last.last_offset(), i64::MAX - 1);
    assert_eq!(BatchHeader::parse(&last.encode()), Ok(last));
}

#[test]
fn attributes_say_codec_time_transaction_and_control() {
    let header = |attributes| BatchHeader {
        attributes,
        ..raw_header(1, 0)
    };
    for (number, codec) in Codec::ALL.into_iter().enumerate() {
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
    fn arbitrary_bytes_are_no_batch_and_no_panic(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(verify(&bytes).is_err());
        prop_assert!(verify_records(&bytes).is_err());
    }
}
