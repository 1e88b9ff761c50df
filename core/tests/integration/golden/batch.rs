//! Record batches: Kafka's bytes, as we write and read them.

use bytes::Bytes;
use headwater::record::{Batch, Codec, Header, TimestampType, batch};
use kafka_protocol::records::RecordBatchDecoder;
use serde_json::{Value, json};

use super::{Folder, Made, batch_at, batch_from, compacted, headers_json, hex_or_null};

#[test]
fn record_batches_equal_the_golden_files() {
    let mut folder = Folder::new("batch");
    for (name, description, bytes) in vectors() {
        let batch = Batch::verified(Bytes::from(bytes.clone())).expect("a batch");
        folder.check(name, &bytes, &meaning(description, &batch));
    }
    folder.finish();
}

#[test]
fn another_implementation_reads_the_golden_batches() {
    for (name, _, bytes) in vectors() {
        let batch = Batch::verified(Bytes::from(bytes)).expect("a batch");
        let theirs = RecordBatchDecoder::decode(&mut batch.bytes().clone())
            .expect(name)
            .records;
        assert_eq!(theirs.len(), batch.records().count(), "{name}");
        for (ours, theirs) in batch.records().zip(theirs) {
            let ours = ours.expect(name);
            assert_eq!(ours.offset, theirs.offset, "{name}");
            assert_eq!(ours.key, theirs.key.as_deref(), "{name}");
            assert_eq!(ours.value, theirs.value.as_deref(), "{name}");
            // It leaves the append time to its caller.
            if batch.header().timestamp_type() == TimestampType::CreateTime {
                assert_eq!(ours.timestamp_ms, theirs.timestamp, "{name}");
            }
        }
    }
}

fn vectors() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let three = [
        Made::new(1_000, None, Some(b"first")),
        Made::new(1_001, Some(b"key"), Some(b"second")),
        Made::new(1_003, Some(b""), None),
    ];
    let mut append_time = batch_at(40, 2, &three);
    batch::stamp_append_time(&mut append_time, 1_700_000_000_000);
    let mut after_stamp = batch_from(&three, 4_711, 3, i32::MAX - 1);
    batch::stamp(&mut after_stamp, 1 << 40, 9);
    vec![
        (
            "simple",
            "as a builder finishes it: base offset 0, no epoch",
            batch_from(&three, -1, -1, -1),
        ),
        (
            "stamped",
            "producer 4711, its sequence wraps, base offset 2^40, leader epoch 9",
            after_stamp,
        ),
        (
            "append_time",
            "log append time: one timestamp for all records",
            append_time,
        ),
        (
            "headers",
            "repeated, empty and non-ASCII keys, absent and empty values",
            headers(),
        ),
        (
            "timestamps",
            "falling timestamps, before 1970, far apart",
            timestamps(),
        ),
        ("lengths", "varints of one, two and three bytes", lengths()),
        ("compacted", "records removed, offset deltas kept", {
            compacted(&batch_at(100, 5, &[three, three].concat()), &[1, 4])
        }),
        ("emptied", "every record removed, the header kept", {
            compacted(&batch_at(200, 5, &three), &[])
        }),
    ]
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
            key: "\u{fc}n\u{ef}",
            value: Some(b"\x00"),
        },
    ];
    let with = |headers| Made {
        headers,
        ..Made::new(5, Some(b"k"), Some(b"v"))
    };
    batch_at(7, 1, &[with(&headers), with(&[]), with(&headers[1..2])])
}

fn timestamps() -> Vec<u8> {
    let at = |timestamp_ms| Made::new(timestamp_ms, None, Some(b"t"));
    batch_at(
        0,
        0,
        &[
            at(1_000),
            at(999),
            at(-1),
            at(-86_400_000),
            at(1 << 52),
            at(1_000),
        ],
    )
}

fn lengths() -> Vec<u8> {
    let value = [b'x'; 8_192];
    let records: Vec<_> = [0, 1, 63, 64, 8_191, 8_192]
        .into_iter()
        .map(|len| Made::new(0, value.get(..len / 2), value.get(..len)))
        .collect();
    batch_at(0, 0, &records)
}

fn meaning(description: &str, batch: &Batch) -> Value {
    let header = batch.header();
    let records: Vec<_> = batch
        .records()
        .map(|record| record.expect("intact"))
        .map(|record| {
            json!({
                "offset": record.offset,
                "timestamp_ms": record.timestamp_ms,
                "key": hex_or_null(record.key),
                "value": hex_or_null(record.value),
                "headers": headers_json(record.headers().map(|header| header.expect("intact"))),
            })
        })
        .collect();
    assert_eq!(header.codec(), Codec::None);
    json!({
        "description": description,
        "base_offset": header.base_offset,
        "batch_length": header.batch_length,
        "leader_epoch": header.leader_epoch,
        "crc": header.crc,
        "attributes": header.attributes,
        "last_offset_delta": header.last_offset_delta,
        "base_timestamp_ms": header.base_timestamp_ms,
        "max_timestamp_ms": header.max_timestamp_ms,
        "producer_id": header.producer_id,
        "producer_epoch": header.producer_epoch,
        "base_sequence": header.base_sequence,
        "record_count": header.record_count,
        "records": records,
    })
}
