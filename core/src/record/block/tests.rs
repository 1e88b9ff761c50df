//! The model for receive blocks is a list of records: what a block gives back is compared with it.

mod refused;
mod rows;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::sample::{
    Owned, batch_of, bytes_of, owned_headers, raw_batch, raw_header, raw_record, record,
};
use super::super::{Batch, BatchError, BatchHeader, Codec, RecordProblem, batch};
use super::*;
use crate::limits::{BLOCK_BYTES_MAX, BLOCK_RECORDS_MAX};

/// What a row of a block says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    topic: String,
    partition: i32,
    leader_epoch: i32,
    offset: i64,
    is_append_time: bool,
    record: Owned,
}

fn row(record: &BlockRecord<'_>) -> Row {
    Row {
        topic: record.topic.to_owned(),
        partition: record.partition,
        leader_epoch: record.leader_epoch,
        offset: record.offset,
        is_append_time: record.is_append_time,
        record: Owned {
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: owned_headers(record.headers().map(Result::unwrap)),
        },
    }
}

fn rows_of(block: &Block) -> Vec<Row> {
    let view = BlockView::parse(block.bytes()).unwrap();
    let rows: Vec<_> = view.records().map(|record| row(&record)).collect();
    assert_eq!(rows.len(), view.len());
    let again: Vec<_> = (0..view.len())
        .map(|at| row(&view.record(at).unwrap()))
        .collect();
    assert_eq!(rows, again);
    assert!(view.record(view.len()).is_none());
    rows
}

fn rows_of_batch(topic: &str, partition: i32, batch: &Batch, from_offset: i64) -> Vec<Row> {
    batch
        .records()
        .map(Result::unwrap)
        .filter(|record| record.offset >= from_offset)
        .map(|record| Row {
            topic: topic.to_owned(),
            partition,
            leader_epoch: batch.header().leader_epoch,
            offset: record.offset,
            is_append_time: batch.header().append_time_ms().is_some(),
            record: Owned::of(&record),
        })
        .collect()
}

/// A batch of one partition, with its place and perhaps an append time.
#[derive(Debug, Clone)]
struct Stored {
    topic: String,
    partition: i32,
    batch: Batch,
}

fn stored() -> impl Strategy<Value = Stored> {
    let topic = prop_oneof![
        "[a-z]{1,9}",
        Just("orders".to_owned()),
        Just("\u{e9}t\u{e9}".into())
    ];
    let base_offset = prop_oneof![0..100i64, 1i64 << 33..1i64 << 40];
    (
        topic,
        0..3i32,
        base_offset,
        0..3i32,
        any::<bool>(),
        vec(record(), 1..12),
    )
        .prop_map(
            |(topic, partition, base_offset, leader_epoch, is_append_time, records)| {
                let mut bytes = bytes_of(&records, 0);
                if is_append_time {
                    batch::stamp_append_time(&mut bytes, 77);
                }
                batch::stamp(&mut bytes, base_offset, leader_epoch);
                Stored {
                    topic,
                    partition,
                    batch: Batch::verified(bytes.into()).unwrap(),
                }
            },
        )
}

const ALL: usize = usize::MAX;

fn push(blocks: &mut BlockBuilder, partition: i32, batch: &Batch) -> Taken {
    blocks
        .push_batch("orders", partition, batch, 0, ALL, ALL)
        .unwrap()
}

proptest! {
    #[test]
    fn a_block_gives_back_the_records_of_its_batches(batches in vec(stored(), 0..8), from in 0..60i64) {
        let mut blocks = BlockBuilder::new();
        for _ in 0..2 {
            let mut expected = Vec::new();
            for Stored { topic, partition, batch } in &batches {
                let taken = blocks.push_batch(topic, *partition, batch, from, ALL, ALL).unwrap();
                let rows = rows_of_batch(topic, *partition, batch, from);
                prop_assert_eq!(taken.records, rows.len());
                prop_assert_eq!(taken.next_offset, from.max(batch.last_offset() + 1));
                expected.extend(rows);
            }
            prop_assert_eq!(blocks.len(), expected.len());
            let size_bytes = blocks.size_bytes();
            let block = blocks.finish();
            prop_assert!(blocks.is_empty());
            prop_assert!(block.bytes().len() <= size_bytes);
            prop_assert_eq!(block.bytes().len() % 8, 0);
            prop_assert_eq!(block.bytes().as_ptr() as usize % 8, 0);
            prop_assert_eq!(rows_of(&block), expected);
        }
    }

    #[test]
    fn blocks_within_limits_give_every_record_once(
        batches in vec(stored(), 1..6),
        max_records in 1..20usize,
        max_bytes in 1..4_000usize,
    ) {
        let mut blocks = BlockBuilder::new();
        for Stored { topic, partition, batch } in &batches {
            let (mut from, mut given) = (0, Vec::new());
            while from <= batch.last_offset() {
                let taken = blocks
                    .push_batch(topic, *partition, batch, from, max_records, max_bytes)
                    .unwrap();
                prop_assert!(taken.records > 0, "a consumer gets on");
                prop_assert!(taken.records <= max_records);
                let block = blocks.finish();
                prop_assert!(block.bytes().len() <= max_bytes || taken.records == 1);
                given.extend(rows_of(&block));
                prop_assert_eq!(taken.next_offset, given.last().unwrap().offset + 1);
                from = taken.next_offset;
            }
            prop_assert_eq!(given, rows_of_batch(topic, *partition, batch, 0));
        }
    }

    #[test]
    fn a_malformed_batch_takes_nothing_and_leaves_the_block_as_it_was(
        before in vec(stored(), 0..4),
        records in vec(record(), 1..8),
        after in vec(stored(), 0..3),
    ) {
        let mut encoded: Vec<u8> = bytes_of(&records, 0)[batch::HEADER_BYTES..].to_vec();
        encoded.extend(raw_record(records.len() as i32, 1, &[2, 0xff, 0]));
        let count = records.len() as i32 + 1;
        let bad = Batch::verified(raw_batch(raw_header(count, count - 1), &encoded).into());
        let mut with_bad = BlockBuilder::new();
        let mut without = BlockBuilder::new();
        for (index, stored) in before.iter().chain(&after).enumerate() {
            let Stored { topic, partition, batch } = stored;
            if index == before.len() {
                let refused =
                    with_bad.push_batch("orders", 1, bad.as_ref().unwrap(), 0, ALL, ALL);
                let Err(BatchError::Record { index, problem, .. }) = refused else {
                    panic!("{refused:?}");
                };
                prop_assert_eq!(index as usize, records.len());
                prop_assert!(matches!(problem, RecordProblem::Headers(_)));
            }
            for blocks in [&mut with_bad, &mut without] {
                blocks.push_batch(topic, *partition, batch, 0, ALL, ALL).unwrap();
            }
        }
        prop_assert_eq!(with_bad.finish(), without.finish());
    }
}

#[test]
fn a_block_without_records_is_a_block() {
    let block = BlockBuilder::new().finish();
    assert_eq!(block.bytes().len(), 72);
    assert!(BlockView::parse(block.bytes()).unwrap().is_empty());
    assert!(rows_of(&block).is_empty());
    assert_eq!(block.into_words().len(), 9);
}

#[test]
fn batches_that_follow_on_each_other_share_a_run() {
    let two = [Owned::value("a"), Owned::value("b")];
    let mut blocks = BlockBuilder::new();
    push(&mut blocks, 0, &batch_of(&two, 10));
    push(&mut blocks, 0, &batch_of(&two, 12));
    let block = blocks.finish();
    let view = BlockView::parse(block.bytes()).unwrap();
    assert_eq!((view.run_count(), view.len()), (1, 4));
    assert_eq!(
        u16::from_le_bytes(bytes_at(block.bytes(), field::FLAGS).unwrap()),
        1
    );
    assert_eq!(u32_at(block.bytes(), field::OFFSET_DELTAS_POS), Some(0));

    push(&mut blocks, 0, &batch_of(&two, 10));
    push(&mut blocks, 0, &batch_of(&two, 15));
    let block = blocks.finish();
    assert_eq!(BlockView::parse(block.bytes()).unwrap().run_count(), 1);
    assert_eq!(
        u16::from_le_bytes(bytes_at(block.bytes(), field::FLAGS).unwrap()),
        0
    );
    let offsets: Vec<_> = rows_of(&block).iter().map(|row| row.offset).collect();
    assert_eq!(offsets, [10, 11, 15, 16]);
}

#[test]
fn a_gap_of_one_offset_is_told() {
    let mut blocks = BlockBuilder::new();
    push(&mut blocks, 0, &batch_of(&[Owned::value("a")], 10));
    push(&mut blocks, 0, &batch_of(&[Owned::value("b")], 12));
    let offsets: Vec<_> = rows_of(&blocks.finish())
        .iter()
        .map(|row| row.offset)
        .collect();
    assert_eq!(offsets, [10, 12]);
}

#[test]
fn a_malformed_batch_does_not_lengthen_the_run_before_it() {
    let mut records = raw_record(0, 0, &[]);
    records.extend(raw_record(1, 1, &[2, 0xff, 0]));
    let bad = Batch::verified(raw_batch(raw_header(2, 1), &records).into()).unwrap();
    let good = batch_of(&[Owned::value("a"), Owned::value("b")], 10);
    let mut blocks = BlockBuilder::new();
    push(&mut blocks, 0, &good);
    let expected = blocks.finish();
    push(&mut blocks, 0, &good);
    // It would stand in the same run, behind a gap.
    assert_eq!(bad.header().leader_epoch, good.header().leader_epoch);
    assert!(blocks.push_batch("orders", 0, &bad, 0, ALL, ALL).is_err());
    assert_eq!(blocks.finish(), expected);
}

#[test]
fn another_run_begins_where_one_cannot_say_it() {
    let two = [Owned::value("a"), Owned::value("b")];
    let stamped = |base_offset, leader_epoch, append_time: Option<i64>| {
        let mut bytes = bytes_of(&two, 0);
        append_time
            .into_iter()
            .for_each(|time| batch::stamp_append_time(&mut bytes, time));
        batch::stamp(&mut bytes, base_offset, leader_epoch);
        Batch::verified(bytes.into()).unwrap()
    };
    let wide = i64::from(u32::MAX);
    for (second, partition, runs) in [
        (stamped(12, 3, None), 0, 1),
        (stamped(12, 3, None), 1, 2),
        (stamped(12, 4, None), 0, 2),
        (stamped(12, 3, Some(9)), 0, 2),
        (stamped(10, 3, None), 0, 2),
        (stamped(10 + wide, 3, None), 0, 2),
        (stamped(9 + wide, 3, None), 0, 1),
    ] {
        let mut blocks = BlockBuilder::new();
        push(&mut blocks, 0, &stamped(10, 3, None));
        push(&mut blocks, partition, &second);
        let block = blocks.finish();
        assert_eq!(
            BlockView::parse(block.bytes()).unwrap().run_count(),
            runs,
            "{second:?}"
        );
        let mut expected = rows_of_batch("orders", 0, &stamped(10, 3, None), 0);
        expected.extend(rows_of_batch("orders", partition, &second, 0));
        assert_eq!(rows_of(&block), expected);
    }
}

#[test]
fn a_control_batch_is_passed_over() {
    let header = BatchHeader {
        attributes: 0x20,
        ..raw_header(1, 0)
    };
    let marker = Batch::verified(raw_batch(header, &raw_record(0, 0, &[])).into()).unwrap();
    let mut blocks = BlockBuilder::new();
    assert_eq!(
        push(&mut blocks, 0, &marker),
        Taken {
            records: 0,
            next_offset: 101
        }
    );
    assert!(blocks.is_empty());
}

#[test]
fn a_batch_below_the_offset_asked_for_is_passed_over() {
    let batch = batch_of(&[Owned::value("a")], 10);
    let mut blocks = BlockBuilder::new();
    let taken = blocks
        .push_batch("orders", 0, &batch, 50, ALL, ALL)
        .unwrap();
    assert_eq!(
        taken,
        Taken {
            records: 0,
            next_offset: 50
        }
    );
}

#[test]
fn a_compacted_batch_is_resumed_inside_a_gap() {
    let records: Vec<u8> = [0, 3, 9]
        .iter()
        .flat_map(|&d| raw_record(d, 0, &[]))
        .collect();
    let batch = Batch::verified(raw_batch(raw_header(3, 11), &records).into()).unwrap();
    let mut blocks = BlockBuilder::new();
    let taken = blocks.push_batch("orders", 0, &batch, 102, 1, ALL).unwrap();
    assert_eq!(
        taken,
        Taken {
            records: 1,
            next_offset: 109
        }
    );
    assert_eq!(rows_of(&blocks.finish())[0].offset, 103);
    let taken = blocks.push_batch("orders", 0, &batch, 109, 1, ALL).unwrap();
    assert_eq!(
        taken,
        Taken {
            records: 1,
            next_offset: 112
        }
    );
    let taken = blocks
        .push_batch("orders", 0, &batch, 110, ALL, ALL)
        .unwrap();
    assert_eq!(
        taken,
        Taken {
            records: 0,
            next_offset: 112
        }
    );
}

#[test]
fn a_batch_whose_records_do_not_decompress_is_refused() {
    let header = BatchHeader {
        attributes: Codec::Gzip as u16,
        ..raw_header(1, 0)
    };
    let batch = Batch::verified(raw_batch(header, b"gzip").into()).unwrap();
    let refused = BlockBuilder::new().push_batch("orders", 0, &batch, 0, ALL, ALL);
    // The first where gzip is not built in.
    assert!(
        matches!(
            refused,
            Err(BatchError::UnsupportedCodec { .. } | BatchError::Compression { .. })
        ),
        "{refused:?}"
    );
}

#[test]
fn a_block_takes_as_many_records_as_the_limit_and_no_more() {
    let batch = batch_of(&vec![Owned::default(); BLOCK_RECORDS_MAX / 2 + 1], 0);
    let mut blocks = BlockBuilder::new();
    let first = push(&mut blocks, 0, &batch);
    assert_eq!(first.records, BLOCK_RECORDS_MAX / 2 + 1);
    let second = push(&mut blocks, 1, &batch);
    assert_eq!(second.records, BLOCK_RECORDS_MAX / 2 - 1);
    assert_eq!(second.next_offset as usize, BLOCK_RECORDS_MAX / 2 - 1);
    assert_eq!(
        push(&mut blocks, 2, &batch),
        Taken {
            records: 0,
            next_offset: 0
        }
    );
    let block = blocks.finish();
    assert_eq!(
        BlockView::parse(block.bytes()).unwrap().len(),
        BLOCK_RECORDS_MAX
    );
}

#[test]
fn a_block_grows_to_64_mib_and_no_further() {
    let value = Owned {
        value: Some(vec![7; 15 << 20]),
        ..Owned::default()
    };
    let batch = batch_of(&[value], 0);
    let mut blocks = BlockBuilder::new();
    let taken: Vec<_> = (0..6)
        .map(|partition| push(&mut blocks, partition, &batch).records)
        .collect();
    assert_eq!(taken, [1, 1, 1, 1, 0, 0]);
    let block = blocks.finish();
    assert!(block.bytes().len() <= BLOCK_BYTES_MAX);
    assert_eq!(BlockView::parse(block.bytes()).unwrap().len(), 4);
}

#[test]
fn a_topic_is_written_once_for_runs_near_each_other() {
    let batch = batch_of(&[Owned::value("a")], 0);
    let mut blocks = BlockBuilder::new();
    for partition in 0..100 {
        let topic = if partition % 2 == 0 {
            "orders"
        } else {
            "shipments"
        };
        blocks
            .push_batch(topic, partition, &batch, 0, ALL, ALL)
            .unwrap();
    }
    assert_eq!(blocks.topics.len(), "orders".len() + "shipments".len());
    let topics: Vec<_> = rows_of(&blocks.finish())
        .into_iter()
        .map(|row| row.topic)
        .collect();
    assert!(topics.chunks(2).all(|pair| pair == ["orders", "shipments"]));
}
