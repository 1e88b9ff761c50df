//! Records for the tests of this layer: owned, random, and batches made of them.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{
    Batch, BatchBuilder, BatchHeader, Header, HeadersRef, RecordRef, RecordView, batch,
    pack_header, varint,
};

/// A record that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Owned {
    pub(super) timestamp_ms: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Owned {
    pub(super) fn value(value: &str) -> Self {
        Self {
            value: Some(value.into()),
            ..Self::default()
        }
    }

    pub(super) fn of(record: &RecordView<'_>) -> Self {
        Self {
            timestamp_ms: record.timestamp_ms,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: owned_headers(record.headers().map(Result::unwrap)),
        }
    }

    pub(super) fn headers(&self) -> Vec<Header<'_>> {
        self.headers
            .iter()
            .map(|(key, value)| Header {
                key,
                value: value.as_deref(),
            })
            .collect()
    }

    pub(super) fn packed_headers(&self) -> Vec<u8> {
        let mut packed = Vec::new();
        self.headers()
            .iter()
            .for_each(|header| pack_header(&mut packed, header).unwrap());
        packed
    }

    pub(super) fn as_ref<'a>(&'a self, headers: HeadersRef<'a>) -> RecordRef<'a> {
        RecordRef {
            timestamp_ms: self.timestamp_ms,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers,
        }
    }
}

pub(super) fn owned_headers<'a>(
    headers: impl Iterator<Item = Header<'a>>,
) -> Vec<(String, Option<Vec<u8>>)> {
    headers
        .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
        .collect()
}

/// Any record: absent and empty keys and values, headers with repeated keys, any timestamp.
pub(super) fn record() -> impl Strategy<Value = Owned> {
    let bytes = |max| option::of(vec(any::<u8>(), 0..max));
    let key = prop_oneof![Just(String::new()), "[ab]", any::<String>()];
    let headers = prop_oneof![
        3 => Just(Vec::new()),
        1 => vec((key, bytes(20)), 1..5),
    ];
    let timestamp_ms = prop_oneof![
        1_700_000_000_000..1_700_000_001_000i64,
        -3_000..3_000i64,
        i64::MIN / 2..i64::MAX / 2,
    ];
    (timestamp_ms, bytes(40), bytes(300), headers).prop_map(
        |(timestamp_ms, key, value, headers)| Owned {
            timestamp_ms,
            key,
            value,
            headers,
        },
    )
}

/// A batch of `records` at `base_offset`, leader epoch 3, built by [`BatchBuilder`].
pub(super) fn batch_of(records: &[Owned], base_offset: i64) -> Batch {
    Batch::verified(bytes_of(records, base_offset).into()).unwrap()
}

pub(super) fn bytes_of(records: &[Owned], base_offset: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(0);
    for record in records {
        builder
            .push(&record.as_ref(HeadersRef::Slice(&record.headers())))
            .unwrap();
    }
    let mut bytes = builder.finish(-1, -1, -1).unwrap();
    batch::stamp(&mut bytes, base_offset, 3);
    bytes
}

/// A batch whose header and records are as given, right or wrong; length and checksum fit.
pub(super) fn raw_batch(header: BatchHeader, records: &[u8]) -> Vec<u8> {
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(records);
    let batch_length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&batch_length.to_be_bytes());
    batch::write_checksum(&mut bytes);
    bytes
}

/// A header to go with [`raw_batch`].
pub(super) fn raw_header(record_count: i32, last_offset_delta: i32) -> BatchHeader {
    BatchHeader {
        base_offset: 100,
        batch_length: 0,
        leader_epoch: 3,
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta,
        base_timestamp_ms: 1_000,
        max_timestamp_ms: 2_000,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count,
    }
}

/// One encoded record with this offset delta, the value `v`, and these header bytes.
pub(super) fn raw_record(offset_delta: i32, header_count: i32, headers: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    varint::put_i64(&mut body, 1);
    varint::put_i32(&mut body, offset_delta);
    varint::put_i32(&mut body, -1);
    varint::put_i32(&mut body, 1);
    body.push(b'v');
    varint::put_i32(&mut body, header_count);
    body.extend_from_slice(headers);
    let mut record = Vec::new();
    varint::put_i32(&mut record, body.len() as i32);
    record.extend_from_slice(&body);
    record
}
