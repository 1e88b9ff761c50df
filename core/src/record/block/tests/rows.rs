//! Send rows and completion rows.

use super::*;
use crate::record::{HeaderError, HeadersRef, PackedHeaders};

fn empty_row() -> SendRow<'static> {
    SendRow {
        row_len: 0,
        topic_id: 1,
        partition: -1,
        key: None,
        value: None,
        headers_packed: &[],
        timestamp_ms: -1,
        ticket: 0,
    }
}

fn written(row: &SendRow<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_send_row(&mut bytes, row).unwrap();
    bytes
}

/// The error of one row with the `u32` at `at` replaced.
fn error_with(row: &SendRow<'_>, at: usize, value: u32) -> RowError {
    let mut bytes = written(&empty_row());
    let start = bytes.len();
    bytes.extend(written(row));
    bytes[start + at..start + at + 4].copy_from_slice(&value.to_le_bytes());
    SendRows::check(&bytes).unwrap_err()
}

proptest! {
    #[test]
    fn rows_come_back_as_they_were_written(
        records in vec((record(), -1..5i32, any::<u32>(), any::<u64>()), 0..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let headers: Vec<_> = records.iter().map(|(record, ..)| record.packed_headers()).collect();
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        let mut expected = Vec::new();
        for ((record, partition, topic_id, ticket), headers_packed) in records.iter().zip(&headers) {
            let mut row = SendRow {
                row_len: 0,
                topic_id: *topic_id,
                partition: *partition,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers_packed,
                timestamp_ms: record.timestamp_ms,
                ticket: *ticket,
            };
            write_send_row(&mut bytes, &row).unwrap();
            row.row_len = (bytes.len() - ends.last().unwrap()) as u32;
            ends.push(bytes.len());
            expected.push(row);
        }
        let rows = SendRows::check(&bytes).unwrap();
        prop_assert_eq!(rows.len(), expected.len());
        for row in rows.clone() {
            let HeadersRef::Packed(packed) = row.headers() else { panic!("packed") };
            prop_assert!(PackedHeaders::new(packed).all(|header| header.is_ok()));
        }
        prop_assert_eq!(rows.collect::<Vec<_>>(), expected);
        if !bytes.is_empty() {
            let cut = cut.index(bytes.len());
            prop_assert_eq!(SendRows::check(&bytes[..cut]).is_ok(), ends.contains(&cut));
        }
    }

    #[test]
    fn arbitrary_bytes_are_checked_before_any_row_is_given(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(rows) = SendRows::check(&bytes) {
            prop_assert_eq!(rows.map(|row| row.row_len as usize).sum::<usize>(), bytes.len());
        }
    }

    #[test]
    fn completion_rows_come_back_as_they_were_written(
        numbers: (u64, u32, i32, i64, i64), bytes: (u8, u8, u16, u32),
    ) {
        let (first_ticket, count, partition, base_offset, timestamp_ms) = numbers;
        let (durability, outcome, error, error_id) = bytes;
        let row = CompletionRow {
            first_ticket, count, partition, base_offset, timestamp_ms, durability, outcome, error,
            error_id,
        };
        let mut bytes = vec![1, 2, 3];
        row.encode_into(&mut bytes);
        prop_assert_eq!(bytes.len(), 3 + COMPLETION_ROW_BYTES);
        prop_assert_eq!(CompletionRow::decode(&bytes[3..]), Some(row));
        prop_assert_eq!(CompletionRow::decode(&bytes[4..]), None);
    }
}

#[test]
fn every_byte_flipped_is_refused_or_read_without_a_panic() {
    let headers = [1, 0, 0, 0, 2, 0, 0, 0, b'h', 1, 2];
    let row = SendRow {
        key: Some(b"key"),
        value: Some(b"value"),
        headers_packed: &headers,
        ..empty_row()
    };
    let mut intact = written(&row);
    intact.extend(written(&empty_row()));
    for at in 0..intact.len() {
        for mask in [1, 2, 4, 8, 16, 32, 64, 128, 0xff] {
            let mut bytes = intact.clone();
            bytes[at] ^= mask;
            if let Ok(rows) = SendRows::check(&bytes) {
                let lens: usize = rows.map(|row| row.row_len as usize).sum();
                assert_eq!(lens, bytes.len());
            }
        }
    }
}

#[test]
fn a_row_length_that_is_not_its_parts_is_refused_with_its_place() {
    let row = SendRow {
        key: Some(b"key"),
        value: Some(b"value"),
        ..empty_row()
    };
    for found in [0, 39, 40, 44, 47, 56, u32::MAX] {
        let error = error_with(&row, 0, found);
        assert_eq!(
            error,
            RowError::RowLen {
                row: 1,
                position: 40,
                found,
                expected: 48
            }
        );
    }
    let error = error_with(&row, 12, 12);
    assert_eq!(
        error,
        RowError::RowLen {
            row: 1,
            position: 40,
            found: 48,
            expected: 64
        }
    );
    let error = error_with(&row, 20, u32::MAX);
    let RowError::RowLen { expected, .. } = error else {
        panic!("{error:?}")
    };
    assert!(expected > u64::from(u32::MAX));
}

#[test]
fn negative_numbers_below_minus_one_are_refused() {
    for (at, field) in [(8, "partition"), (12, "key_len"), (16, "value_len")] {
        let error = error_with(&empty_row(), at, (-2i32).cast_unsigned());
        assert_eq!(
            error,
            RowError::Negative {
                row: 1,
                position: 40,
                field,
                found: -2
            }
        );
    }
}

#[test]
fn malformed_headers_fail_the_whole_buffer() {
    let headers = [1, 0, 0, 0, 2, 0, 0, 0, b'h', 1];
    let row = SendRow {
        headers_packed: &headers,
        ..empty_row()
    };
    let mut bytes = written(&empty_row());
    bytes.extend(written(&row));
    let problem = HeaderError::Length {
        field: "value",
        found: 2,
        position: 0,
        remaining: 1,
    };
    let refused = RowError::Headers {
        row: 1,
        position: 40,
        problem,
    };
    assert_eq!(SendRows::check(&bytes).unwrap_err(), refused);
}

#[test]
fn no_rows_are_no_error() {
    let rows = SendRows::check(&[]).unwrap();
    assert!(rows.is_empty());
    assert_eq!(rows.count(), 0);
}
