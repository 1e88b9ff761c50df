//! Record batches: Kafka's bytes, as we write and read them.

use std::io::Write as _;

use bytes::Bytes;
use headwater::record::batch::HEADER_BYTES;
use headwater::record::{
    Batch, BatchBuilder, BatchHeader, Codec, Compressor, Header, TimestampType, batch,
};
use kafka_protocol::records::RecordBatchDecoder;
use lz4::liblz4::BlockChecksum;
use lz4::{BlockMode, ContentChecksum, EncoderBuilder};
use serde_json::{Value, json};
use zstd_safe::{CCtx, CParameter};

use super::{
    Folder, Made, batch_at, batch_from, checksum, compacted, headers_json, hex_or_null, kept,
    kept_only,
};

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
    let mut vectors = vec![
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
    ];
    vectors.extend(compressed_vectors());
    vectors
}

/// Batches whose bytes are one version's of a codec, ours or another program's.
fn compressed_vectors() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    vec![
        (
            "gzip",
            "gzip, as a builder finishes it",
            kept("batch", "gzip", || compressed(Codec::Gzip)),
        ),
        (
            "gzip_python",
            "gzip of another program: level 9, a name, a time",
            foreign("gzip_python"),
        ),
        (
            "snappy",
            "snappy, as a builder finishes it",
            kept("batch", "snappy", || compressed(Codec::Snappy)),
        ),
        (
            "snappy_raw",
            "snappy of another program: a block without a frame",
            foreign("snappy_raw"),
        ),
        (
            "snappy_framed",
            "snappy of another program: its frame, with blocks of 300 bytes",
            foreign("snappy_framed"),
        ),
        (
            "lz4",
            "lz4, as a builder finishes it",
            kept("batch", "lz4", || compressed(Codec::Lz4)),
        ),
        (
            "lz4_linked",
            "lz4 of another program: linked blocks, every checksum, a content size",
            kept("batch", "lz4_linked", || with_frame(Codec::Lz4, &linked)),
        ),
        (
            "zstd",
            "zstd, as a builder finishes it",
            kept("batch", "zstd", || compressed(Codec::Zstd)),
        ),
        (
            "zstd_streamed",
            "zstd of another program: a checksum, no content size",
            kept("batch", "zstd_streamed", || {
                with_frame(Codec::Zstd, &streamed)
            }),
        ),
    ]
}

/// The compressed golden batches hold what they were made of, whatever the codec makes of it today.
#[test]
fn compressed_batches_hold_the_same_records_as_a_plain_one() {
    let plain = plain().finish(7, 0, 40).expect("it has records");
    let plain = Batch::verified(plain.into()).expect("a batch");
    let mut found = 0;
    for (name, _, bytes) in vectors() {
        batch::verify(&bytes).expect(name);
        let batch = Batch::verified(Bytes::from(bytes)).expect("a batch");
        if batch.header().codec() == Codec::None {
            continue;
        }
        found += 1;
        batch::verify_records(batch.bytes()).expect(name);
        assert_eq!(batch.records().count(), 20, "{name}");
        for (one, other) in batch.records().zip(plain.records()) {
            let (one, other) = (one.expect(name), other.expect("plain"));
            assert_eq!((one.key, one.value), (other.key, other.value), "{name}");
            assert_eq!(one.timestamp_ms, other.timestamp_ms, "{name}");
            assert!(one.headers().eq(other.headers()), "{name}");
        }
    }
    assert_eq!(found, 9);
}

/// Records that are worth compressing, and few enough to look at.
fn plain() -> BatchBuilder {
    let headers = [Header {
        key: "trace",
        value: Some(b"42"),
    }];
    let mut builder = BatchBuilder::new(0);
    for number in 0..20 {
        let value = format!("the value of number {number}");
        let made = Made {
            timestamp_ms: 1_700_000_000_000 + number,
            key: (number % 3 != 0).then_some(b"key"),
            value: (number % 10 != 9).then_some(value.as_bytes()),
            headers: if number % 5 == 0 { &headers } else { &[] },
        };
        builder.push(&made.as_ref()).expect("a small record");
    }
    builder
}

fn compressed(codec: Codec) -> Vec<u8> {
    let mut compressor = Compressor::new(codec).expect("it is built in");
    let bytes = plain().finish_compressed(&mut compressor, 7, 0, 40);
    bytes.expect("it has records")
}

/// The same batch with a frame of somebody else.
fn with_frame(codec: Codec, compress: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let plain = plain().finish(7, 0, 40).expect("it has records");
    let frame = compress(&plain[HEADER_BYTES..]);
    let header = BatchHeader {
        batch_length: (HEADER_BYTES - 12 + frame.len()) as i32,
        attributes: codec as u16,
        ..BatchHeader::parse(&plain).expect("a batch")
    };
    let mut bytes = [&header.encode()[..], &frame].concat();
    checksum(&mut bytes);
    bytes
}

/// A batch that `tests/golden/foreign.py` made, and nothing here can.
fn foreign(name: &str) -> Vec<u8> {
    kept_only("batch", name)
}

fn linked(section: &[u8]) -> Vec<u8> {
    let mut encoder = EncoderBuilder::new()
        .block_mode(BlockMode::Linked)
        .checksum(ContentChecksum::ChecksumEnabled)
        .block_checksum(BlockChecksum::BlockChecksumEnabled)
        .content_size(section.len() as u64)
        .build(Vec::new())
        .expect("an encoder");
    encoder.write_all(section).expect("memory takes everything");
    let (frame, done) = encoder.finish();
    done.expect("a frame");
    frame
}

fn streamed(section: &[u8]) -> Vec<u8> {
    let mut context = CCtx::create();
    for parameter in [
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(true),
    ] {
        context.set_parameter(parameter).expect("a known parameter");
    }
    let mut frame = Vec::with_capacity(zstd_safe::compress_bound(section.len()));
    context.compress2(&mut frame, section).expect("a frame");
    frame
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
