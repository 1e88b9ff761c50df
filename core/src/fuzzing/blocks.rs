//! What crosses between languages: receive blocks, send rows, completion rows.

use bytes::Bytes;

use super::{Target, records};
use crate::record::block::{
    BlockBuilder, BlockView, COMPLETION_ROW_BYTES, CompletionRow, SendRow, SendRows, write_send_row,
};
use crate::record::{Batch, BatchBuilder, Header, RecordRef, pack_header};

pub(super) const RECEIVE_BLOCK: Target = Target {
    name: "receive_block",
    run: check_block,
    seeds: blocks,
};

pub(super) const SEND_ROWS: Target = Target {
    name: "send_rows",
    run: check_send_rows,
    seeds: send_rows,
};

pub(super) const COMPLETION_ROWS: Target = Target {
    name: "completion_rows",
    run: check_completion_rows,
    seeds: || vec![(0..2 * COMPLETION_ROW_BYTES as u8).collect()],
};

/// Blocks of each batch, and one of all, in two partitions.
fn blocks() -> Vec<Vec<u8>> {
    let batches: Vec<_> = records::batches()
        .into_iter()
        .map(|batch| Batch::verified(Bytes::from(batch)).expect("well formed"))
        .collect();
    let block_of = |batches: &[Batch]| {
        let mut builder = BlockBuilder::new();
        for (partition, batch) in batches.iter().enumerate() {
            let partition = partition as i32 % 2;
            let taken = builder.push_batch("orders", partition, batch, 0, 1_000, 1 << 20);
            taken.expect("well formed");
        }
        builder.finish().bytes().to_vec()
    };
    let mut blocks: Vec<_> = batches.chunks(1).map(block_of).collect();
    blocks.push(block_of(&batches));
    blocks.push(block_of(&[]));
    blocks.extend(GOLDEN_BLOCKS.map(<[u8]>::to_vec));
    blocks
}

const GOLDEN_BLOCKS: [&[u8]; 4] = [
    include_bytes!("../../tests/golden/block/gaps.bin"),
    include_bytes!("../../tests/golden/block/longer_header.bin"),
    include_bytes!("../../tests/golden/block/null_and_empty.bin"),
    include_bytes!("../../tests/golden/block/topic_utf8.bin"),
];

fn check_block(bytes: &[u8]) {
    let Ok(view) = BlockView::parse(bytes) else {
        return;
    };
    // Every row takes a timestamp of 8 bytes.
    assert!(view.len() <= bytes.len() / 8);
    let mut count = 0;
    for (row, record) in view.records().enumerate() {
        let by_row = view.record(row).expect("a row below the length");
        assert_eq!(by_row.topic, record.topic);
        assert_eq!(
            (by_row.partition, by_row.offset, by_row.timestamp_ms),
            (record.partition, record.offset, record.timestamp_ms)
        );
        assert_eq!((by_row.key, by_row.value), (record.key, record.value));
        let mut headers = record.headers();
        let has_error = headers.by_ref().any(|header| header.is_err());
        assert!(
            !has_error || headers.next().is_none(),
            "a header behind an error"
        );
        count += 1;
    }
    assert_eq!(count, view.len());
    assert!(view.record(count).is_none());
}

fn send_rows() -> Vec<Vec<u8>> {
    let mut headers_packed = Vec::new();
    for value in [Some(&b"v"[..]), None] {
        pack_header(&mut headers_packed, &Header { key: "h", value }).expect("short");
    }
    let plain = SendRow {
        row_len: 0,
        topic_id: 1,
        partition: -1,
        key: None,
        value: Some(b"value"),
        headers_packed: &[],
        timestamp_ms: -1,
        ticket: 0,
    };
    let full = SendRow {
        partition: 3,
        key: Some(b"a key"),
        headers_packed: &headers_packed,
        timestamp_ms: 1_700_000_000_000,
        ticket: u64::MAX,
        ..plain
    };
    let tombstone = SendRow {
        value: None,
        ..full
    };
    let buffer_of = |rows: &[SendRow<'_>]| {
        let mut buffer = Vec::new();
        for row in rows {
            write_send_row(&mut buffer, row).expect("short");
        }
        buffer
    };
    vec![
        buffer_of(&[plain]),
        buffer_of(&[full, plain, tombstone]),
        buffer_of(&[tombstone]),
    ]
}

fn check_send_rows(bytes: &[u8]) {
    let Ok(rows) = SendRows::check(bytes) else {
        return;
    };
    let count = rows.len();
    let rows: Vec<_> = rows.collect();
    assert_eq!(rows.len(), count);
    let mut written = Vec::new();
    let mut builder = BatchBuilder::new(0);
    for row in &rows {
        write_send_row(&mut written, row).expect("it was a row");
        // A builder refuses what is too large, or a timestamp too far away; headers were checked.
        let record = RecordRef {
            timestamp_ms: row.timestamp_ms,
            key: row.key,
            value: row.value,
            headers: row.headers(),
        };
        let pushed = builder.push(&record);
        assert!(!pushed.is_err_and(|error| error.to_string().contains("header")));
    }
    // The same but for what the padding holds.
    assert_eq!(written.len(), bytes.len());
    let again: Vec<_> = SendRows::check(&written).expect("we wrote it").collect();
    assert_eq!(again, rows);
}

fn check_completion_rows(bytes: &[u8]) {
    for row in bytes.chunks(COMPLETION_ROW_BYTES) {
        let mut encoded = Vec::new();
        match CompletionRow::decode(row) {
            Some(decoded) => {
                decoded.encode_into(&mut encoded);
                assert_eq!(encoded, row);
            }
            None => assert!(row.len() < COMPLETION_ROW_BYTES),
        }
    }
}
