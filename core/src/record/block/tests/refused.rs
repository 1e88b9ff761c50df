//! Blocks that are refused, and damage that must not panic.

use super::*;

/// Two runs, gaps, keys, tombstones, headers: every column is there.
fn full() -> Vec<u8> {
    let mut records = vec![Owned::value("one"), Owned::default(), Owned::value("three")];
    records[0].key = Some(b"k".to_vec());
    records[1].headers = vec![
        ("h".to_owned(), Some(vec![1, 2, 3])),
        ("i".to_owned(), None),
    ];
    let mut blocks = BlockBuilder::new();
    push(&mut blocks, 0, &batch_of(&records, 10));
    push(&mut blocks, 0, &batch_of(&records, 20));
    push(&mut blocks, 1, &batch_of(&records, 5));
    blocks.finish().bytes().to_vec()
}

/// The error of `full` with the `u32` at `at` replaced.
fn error_with(at: usize, value: u32) -> BlockError {
    let mut block = full();
    block[at..at + 4].copy_from_slice(&value.to_le_bytes());
    BlockView::parse(&block).unwrap_err()
}

fn number(at: usize) -> u32 {
    u32_at(&full(), at).unwrap()
}

fn read_all(bytes: &[u8]) {
    let Ok(view) = BlockView::parse(bytes) else {
        return;
    };
    let mut count = 0;
    for record in view.records() {
        record.headers().for_each(drop);
        count += 1;
    }
    assert_eq!(count, view.len());
    for at in 0..=view.len() {
        assert_eq!(view.record(at).is_some(), at < view.len());
    }
}

#[test]
fn every_byte_flipped_is_refused_or_read_without_a_panic() {
    let intact = full();
    for at in 0..intact.len() {
        for mask in [1, 2, 4, 8, 16, 32, 64, 128, 0xff] {
            let mut bytes = intact.clone();
            bytes[at] ^= mask;
            read_all(&bytes);
        }
    }
}

#[test]
fn a_block_cut_at_any_length_is_refused() {
    let intact = full();
    for len in 0..intact.len() {
        let expected = if len < HEADER_BYTES {
            HEADER_BYTES
        } else {
            intact.len()
        };
        let refused = BlockError::Truncated {
            found: len,
            expected,
        };
        assert_eq!(BlockView::parse(&intact[..len]).unwrap_err(), refused);
    }
    let mut longer = intact;
    longer.extend_from_slice(&[1, 2, 3]);
    assert_eq!(BlockView::parse(&longer).unwrap().len(), 9);
}

#[test]
fn another_magic_is_named() {
    let refused = BlockError::Magic { found: *b"HWB2" };
    assert_eq!(error_with(0, u32::from_le_bytes(*b"HWB2")), refused);
    assert!(refused.to_string().contains("not supported"));
}

#[test]
fn lengths_and_positions_outside_the_block_are_refused() {
    let len = number(field::BLOCK_LEN);
    let found = len as usize;
    let expected = found + 8;
    assert_eq!(
        error_with(field::BLOCK_LEN, len + 8),
        BlockError::Truncated { found, expected }
    );
    assert_eq!(
        error_with(field::HEADER_LEN, 56),
        BlockError::HeaderLen { found: 56 }
    );
    assert_eq!(
        error_with(field::HEADER_LEN, 0xfff8),
        BlockError::HeaderLen { found: 0xfff8 }
    );
    for (at, column) in [
        (field::RUNS_POS, "runs"),
        (field::OFFSET_DELTAS_POS, "offset_deltas"),
        (field::TIMESTAMPS_POS, "timestamps"),
        (field::KEY_PRESENT_POS, "keys"),
        (field::KEY_ENDS_POS, "keys"),
        (field::VALUE_PRESENT_POS, "values"),
        (field::VALUE_ENDS_POS, "values"),
        (field::HEADER_ENDS_POS, "headers"),
        (field::KEYS_POS, "keys"),
        (field::VALUES_POS, "values"),
        (field::HEADERS_POS, "headers"),
    ] {
        for position in [number(at) + 4, 8, 56, len, len + 8, u32::MAX - 7] {
            let error = error_with(at, position);
            let named = matches!(&error, BlockError::Position { column: c, position: p, .. }
                if *c == column && *p == position);
            assert!(named, "{column} at {position}: {error:?}");
        }
    }
}

#[test]
fn columns_that_every_block_has_may_not_be_absent() {
    let absent = |column| BlockError::Absent { column };
    assert_eq!(error_with(field::RUNS_POS, 0), absent("runs"));
    assert_eq!(error_with(field::TIMESTAMPS_POS, 0), absent("timestamps"));
    assert_eq!(error_with(field::VALUE_ENDS_POS, 0), absent("values"));
    assert_eq!(error_with(field::VALUES_POS, 0), absent("values"));
    // Without the flag that says so, offsets without deltas would be guessed.
    assert_eq!(
        error_with(field::OFFSET_DELTAS_POS, 0),
        absent("offset_deltas")
    );
}

#[test]
fn absent_columns_mean_no_keys_no_headers_and_all_present() {
    let zeroed = |at: usize| {
        let mut block = full();
        block[at..at + 4].fill(0);
        block
    };
    let block = zeroed(field::KEY_ENDS_POS);
    let view = BlockView::parse(&block).unwrap();
    assert!(view.records().all(|record| record.key.is_none()));
    let block = zeroed(field::KEY_PRESENT_POS);
    let view = BlockView::parse(&block).unwrap();
    assert!(view.records().all(|record| record.key.is_some()));
    let block = zeroed(field::VALUE_PRESENT_POS);
    let view = BlockView::parse(&block).unwrap();
    assert!(view.records().all(|record| record.value.is_some()));
    let block = zeroed(field::HEADER_ENDS_POS);
    let view = BlockView::parse(&block).unwrap();
    assert!(
        view.records()
            .all(|record| record.headers().next().is_none())
    );
}

#[test]
fn ends_that_fall_or_do_not_begin_with_zero_are_refused() {
    let ends = number(field::VALUE_ENDS_POS) as usize;
    let column = "values";
    let error = error_with(ends, 1);
    assert_eq!(
        error,
        BlockError::End {
            column,
            index: 0,
            found: 1,
            least: 0
        }
    );
    let error = error_with(ends + 8, 2);
    assert_eq!(
        error,
        BlockError::End {
            column,
            index: 2,
            found: 2,
            least: 3
        }
    );
    assert!(matches!(
        error_with(ends + 36, u32::MAX),
        BlockError::Position { .. }
    ));
}

#[test]
fn runs_that_do_not_cover_the_rows_are_refused() {
    let runs = number(field::RUNS_POS) as usize;
    let error = error_with(runs + 8, 1);
    assert!(matches!(
        error,
        BlockError::RunRows {
            run: 0,
            first_row: 1,
            expected: 0,
            ..
        }
    ));
    let error = error_with(runs + 12, 0);
    assert!(matches!(
        error,
        BlockError::RunRows {
            run: 0,
            end_row: 0,
            ..
        }
    ));
    let error = error_with(runs + RUN_BYTES + 12, 4);
    assert!(matches!(
        error,
        BlockError::RunRows {
            run: 1,
            end_row: 10,
            ..
        }
    ));
    let error = error_with(runs + RUN_BYTES + 12, 2);
    assert!(matches!(
        error,
        BlockError::RunRows {
            run: 2,
            end_row: 9,
            expected: 8,
            ..
        }
    ));
    let error = error_with(runs + RUN_BYTES + 12, u32::MAX);
    assert!(matches!(error, BlockError::RunRows { run: 1, .. }));
    let error = error_with(field::RUNS, 1);
    assert!(matches!(
        error,
        BlockError::RunRows {
            run: 1,
            expected: 6,
            ..
        }
    ));
}

#[test]
fn topics_and_offsets_that_cannot_be_are_refused() {
    let runs = number(field::RUNS_POS) as usize;
    let refused = BlockError::Topic { run: 0 };
    assert_eq!(error_with(runs + 24, number(field::BLOCK_LEN) - 2), refused);
    assert_eq!(error_with(runs + 24, u32::MAX), refused);
    assert_eq!(error_with(runs + 28, u32::MAX), refused);
    assert_eq!(error_with(runs + 28, NAME_TOO_LONG), refused);
    let topic = number(runs + 24) as usize;
    assert_eq!(error_with(topic, 0xff), refused);

    let deltas = number(field::OFFSET_DELTAS_POS) as usize;
    assert_eq!(error_with(deltas + 4, 0), BlockError::Offset { row: 1 });
    // The high half of the first run's base offset: base + delta leaves 64 bits.
    let mut block = full();
    block[runs..runs + 8].copy_from_slice(&(i64::MAX - 1).to_le_bytes());
    assert_eq!(
        BlockView::parse(&block).unwrap_err(),
        BlockError::Offset { row: 2 }
    );
}

const NAME_TOO_LONG: u32 = crate::limits::NAME_BYTES_MAX as u32 + 1;

proptest! {
    #[test]
    fn arbitrary_bytes_behind_a_magic_do_not_panic(
        bytes in vec(any::<u8>(), 0..400),
        numbers in vec((1..20usize, 0..64u32), 0..12),
    ) {
        let mut block = MAGIC.to_vec();
        block.extend_from_slice(&bytes);
        read_all(&block);
        block.resize(block.len().max(96), 0);
        let len = block.len() as u32;
        for (word, value) in [(1, 64), (2, len)].into_iter().chain(numbers) {
            block[4 * word..4 * word + 4].copy_from_slice(&(value * 8).min(len).to_le_bytes());
        }
        block[4..8].copy_from_slice(&[64, 0, 1, 0]);
        read_all(&block);
    }

    #[test]
    fn damaged_blocks_do_not_panic(
        batches in vec(stored(), 0..5),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut blocks = BlockBuilder::new();
        for Stored { topic, partition, batch } in &batches {
            blocks.push_batch(topic, *partition, batch, 0, ALL, ALL).unwrap();
        }
        let mut bytes = blocks.finish().bytes().to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read_all(&bytes);
    }
}
