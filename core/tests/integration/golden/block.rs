//! Receive blocks: what the readers of every language are tested with.

use headwater::record::block::{BlockBuilder, BlockError, BlockRecord, BlockView};
use headwater::record::{Batch, Header, batch};
use serde_json::{Value, json};

use super::{Folder, Made, batch_at, compacted, headers_json, hex_or_null};

#[test]
fn receive_blocks_equal_the_golden_files() {
    let mut folder = Folder::new("block");
    for (name, description, block) in vectors() {
        folder.check(name, &block, &meaning(description, &block));
    }
    folder.finish();
}

#[test]
fn blocks_to_be_refused_equal_the_golden_files() {
    let mut folder = Folder::new("block_refused");
    for (name, description, block) in refused() {
        let error = BlockView::parse(&block).expect_err(name);
        let kind = if matches!(error, BlockError::Magic { .. }) {
            "unsupported"
        } else {
            "corrupt"
        };
        folder.check(
            name,
            &block,
            &json!({ "description": description, "kind": kind }),
        );
    }
    folder.finish();
}

fn vectors() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    vec![
        ("simple", "one run, offsets contiguous, no keys", simple()),
        (
            "no_records",
            "nothing at all",
            BlockBuilder::new().finish().bytes().to_vec(),
        ),
        (
            "null_and_empty",
            "keys and values absent, empty and present, all nine",
            null_and_empty(),
        ),
        ("keys", "every record has a key: no key_present", keys()),
        (
            "tombstones",
            "twenty records, every third value absent",
            tombstones(),
        ),
        ("headers", "headers on some records, no keys", headers()),
        (
            "runs",
            "several topics, partitions and leader epochs",
            runs(),
        ),
        (
            "gaps",
            "offsets with gaps, one of them over 32 bits",
            gaps(),
        ),
        (
            "append_time",
            "log append time beside create time",
            append_time(),
        ),
        (
            "empty_columns",
            "keys and values all empty: columns at block_len",
            empty_columns(),
        ),
        ("topic_utf8", "a topic beyond ASCII", topic_utf8()),
        (
            "numbers",
            "timestamps before 1970, large offsets",
            numbers(),
        ),
        (
            "longer_header",
            "a later version: 72 header bytes, unknown flags",
            longer_header(),
        ),
        ("hundred", "a hundred records of growing values", hundred()),
    ]
}

struct Blocks(BlockBuilder);

impl Blocks {
    fn new() -> Self {
        Self(BlockBuilder::new())
    }

    fn push(mut self, topic: &str, partition: i32, from_offset: i64, batch: Vec<u8>) -> Self {
        let batch = Batch::verified(batch.into()).expect("a batch");
        self.0
            .push_batch(topic, partition, &batch, from_offset, 1_000, 1 << 20)
            .expect("a well formed batch");
        self
    }

    fn bytes(mut self) -> Vec<u8> {
        self.0.finish().bytes().to_vec()
    }
}

const T: i64 = 1_700_000_000_000;

const fn value(value: &[u8]) -> Made<'_> {
    Made::new(T, None, Some(value))
}

fn simple() -> Vec<u8> {
    let records = [
        Made::new(T, None, Some(b"hello")),
        Made::new(T + 1, None, Some(b"")),
        Made::new(T + 5, None, Some(b"world!")),
    ];
    Blocks::new()
        .push("orders", 0, 0, batch_at(10, 1, &records))
        .bytes()
}

fn null_and_empty() -> Vec<u8> {
    let fields: [Option<&[u8]>; 3] = [None, Some(b""), Some(b"bytes\x00\xff")];
    let records: Vec<_> = fields
        .into_iter()
        .flat_map(|key| fields.map(|value| Made::new(T, key, value)))
        .collect();
    Blocks::new()
        .push("orders", 2, 0, batch_at(0, 1, &records))
        .bytes()
}

fn keys() -> Vec<u8> {
    let records = [
        Made::new(T, Some(b"k1"), Some(b"a")),
        Made::new(T, Some(b""), Some(b"b")),
        Made::new(T, Some(b"a longer key"), Some(b"c")),
    ];
    Blocks::new()
        .push("orders", 0, 0, batch_at(0, 1, &records))
        .bytes()
}

fn tombstones() -> Vec<u8> {
    let records: Vec<_> = (0..20)
        .map(|index| Made::new(T + index, Some(b"k"), (index % 3 != 2).then_some(b"value")))
        .collect();
    Blocks::new()
        .push("compacted", 1, 0, batch_at(1_000, 4, &records))
        .bytes()
}

fn headers() -> Vec<u8> {
    let headers = [
        Header {
            key: "trace",
            value: Some(&[0xab, 0xcd]),
        },
        Header {
            key: "trace",
            value: None,
        },
        Header {
            key: "",
            value: Some(b""),
        },
        Header {
            key: "\u{fc}n\u{ef}\u{1f600}",
            value: Some(b"\x00"),
        },
    ];
    let with = |headers| Made {
        headers,
        ..value(b"v")
    };
    let records = [with(&[]), with(&headers), with(&headers[..1]), with(&[])];
    Blocks::new()
        .push("orders", 0, 0, batch_at(0, 1, &records))
        .bytes()
}

fn runs() -> Vec<u8> {
    let two = [value(b"a"), value(b"bb")];
    Blocks::new()
        .push("orders", 0, 0, batch_at(100, 1, &two))
        .push("orders", 0, 0, batch_at(102, 1, &two))
        .push("orders", 1, 0, batch_at(5, 1, &two))
        .push("a", 0, 0, batch_at(0, 1, &two))
        .push("orders", 0, 0, batch_at(104, 1, &two[..1]))
        .push("orders", 0, 0, batch_at(105, 2, &two))
        .push("shipments-eu", 7, 8, batch_at(7, 1, &two))
        .bytes()
}

fn gaps() -> Vec<u8> {
    let five: Vec<_> = [&b"a"[..], b"b", b"c", b"d", b"e"].map(value).to_vec();
    Blocks::new()
        .push(
            "orders",
            0,
            11,
            compacted(&batch_at(10, 1, &five), &[0, 2, 4]),
        )
        .push("orders", 0, 0, batch_at(20, 1, &five[..2]))
        .push("orders", 0, 0, batch_at(20 + (1 << 33), 1, &five[..2]))
        .bytes()
}

fn append_time() -> Vec<u8> {
    let two = [
        Made::new(1, None, Some(b"a")),
        Made::new(2, None, Some(b"b")),
    ];
    let mut stamped = batch_at(0, 1, &two);
    batch::stamp_append_time(&mut stamped, T);
    Blocks::new()
        .push("orders", 0, 0, stamped)
        .push("orders", 0, 0, batch_at(2, 1, &two))
        .bytes()
}

fn empty_columns() -> Vec<u8> {
    let empty = Made::new(T, Some(b""), Some(b""));
    Blocks::new()
        .push("orders", 0, 0, batch_at(0, 1, &[empty, empty]))
        .bytes()
}

fn topic_utf8() -> Vec<u8> {
    let topic = "caf\u{e9}-\u{6ce8}\u{6587}-\u{1f4e6}";
    Blocks::new()
        .push("x", 0, 0, batch_at(0, 1, &[value(b"a")]))
        .push(topic, 0, 0, batch_at(0, 1, &[value(b"b")]))
        .bytes()
}

fn numbers() -> Vec<u8> {
    let at = |timestamp_ms| Made::new(timestamp_ms, None, Some(b"t"));
    let records = [
        at(-1),
        at(0),
        at(-62_135_596_800_000),
        at(253_402_300_799_999),
    ];
    Blocks::new()
        .push(
            "orders",
            4_095,
            0,
            batch_at((1 << 53) - 10, i32::MAX, &records),
        )
        .push("orders", 0, 0, batch_at(0, -1, &records[..1]))
        .bytes()
}

/// What a later version may do and a reader of this one must bear.
fn longer_header() -> Vec<u8> {
    let before = null_and_empty();
    let mut block = before[..64].to_vec();
    block.extend_from_slice(&[0xee; 8]);
    block.extend_from_slice(&before[64..]);
    let number = |at: usize| u32::from_le_bytes(before[at..at + 4].try_into().expect("4 bytes"));
    let mut put = |at: usize, number: u32| {
        block[at..at + 4].copy_from_slice(&number.to_le_bytes());
    };
    put(4, 72 | 0xfffd << 16);
    put(8, number(8) + 8);
    for at in (20..64).step_by(4).filter(|&at| number(at) != 0) {
        put(at, number(at) + 8);
    }
    let run = number(20) as usize;
    put(run + 8 + 24, number(run + 24) + 8);
    put(run + 8 + 32, 0xffff_fffe);
    block
}

fn hundred() -> Vec<u8> {
    let bytes: Vec<u8> = (0..=255).collect();
    let records: Vec<_> = (0..100)
        .map(|index| Made {
            timestamp_ms: T + index as i64 * 10,
            key: (index % 4 != 0).then(|| &bytes[index..index + index % 4]),
            value: (index % 10 != 9).then(|| &bytes[index..2 * index]),
            headers: &[],
        })
        .collect();
    Blocks::new()
        .push("orders", 0, 0, batch_at(0, 1, &records[..60]))
        .push("orders", 1, 0, batch_at(0, 1, &records[60..]))
        .bytes()
}

fn refused() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let patched = |at: usize, number: u32| {
        let mut block = null_and_empty();
        block[at..at + 4].copy_from_slice(&number.to_le_bytes());
        block
    };
    let block = null_and_empty();
    let number = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("4 bytes"));
    let value_ends = number(44) as usize;
    vec![
        (
            "magic",
            "a format that is not known",
            patched(0, u32::from_le_bytes(*b"HWB2")),
        ),
        (
            "cut",
            "fewer bytes than block_len",
            block[..block.len() - 8].to_vec(),
        ),
        (
            "cut_header",
            "fewer bytes than a header",
            block[..60].to_vec(),
        ),
        (
            "position_unaligned",
            "values_pos is no multiple of 8",
            patched(56, number(56) + 1),
        ),
        (
            "position_behind",
            "timestamps_pos is behind the block",
            patched(28, number(8) + 8),
        ),
        ("position_absent", "value_ends_pos is 0", patched(44, 0)),
        (
            "end_behind",
            "the last value ends behind the block",
            patched(value_ends + 36, 1 << 20),
        ),
        (
            "end_falling",
            "a value ends before it begins",
            patched(value_ends + 32, 0),
        ),
        (
            "too_many_records",
            "more records than the columns have",
            patched(12, 1 << 30),
        ),
        (
            "topic_behind",
            "the topic's name ends behind the block",
            patched(64 + 24, number(8)),
        ),
        (
            "rows_missing",
            "the runs do not cover all rows",
            patched(64 + 12, 8),
        ),
    ]
}

fn meaning(description: &str, block: &[u8]) -> Value {
    let view = BlockView::parse(block).expect("a block");
    let number = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("4 bytes"));
    json!({
        "description": description,
        "flags": number(4) >> 16,
        "block_len": number(8),
        "run_count": view.run_count(),
        "records": view.records().map(|record| record_json(&record)).collect::<Vec<_>>(),
    })
}

fn record_json(record: &BlockRecord<'_>) -> Value {
    json!({
        "topic": record.topic,
        "partition": record.partition,
        "leader_epoch": record.leader_epoch,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "is_append_time": record.is_append_time,
        "key": hex_or_null(record.key),
        "value": hex_or_null(record.value),
        "headers": headers_json(record.headers().map(|header| header.expect("intact"))),
    })
}
