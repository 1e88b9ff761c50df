//! Our batches equal Kafka's: what we encode another implementation decodes, and the reverse.
//!
//! The other implementation is `kafka-protocol`, whose message code is generated from Kafka's own
//! schemas.

use bytes::{Bytes, BytesMut};
use headwater::record::{
    Batch, BatchBuilder, Codec, Compressor, Header, HeadersRef, RecordRef, batch,
};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// A record with everything that both sides can say.
#[derive(Debug, Clone)]
struct Made {
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    /// Keys are unique, because the other side keeps headers in a map.
    headers: Vec<(String, Option<Vec<u8>>)>,
}

fn made() -> impl Strategy<Value = Made> {
    let bytes = || option::of(vec(any::<u8>(), 0..200));
    let headers = vec((any::<String>(), option::of(vec(any::<u8>(), 0..20))), 0..4);
    let timestamp_ms = prop_oneof![
        -5_000..5_000i64,
        1_700_000_000_000..1_700_000_100_000i64,
        i64::MIN / 4..i64::MAX / 4,
    ];
    (timestamp_ms, bytes(), bytes(), headers).prop_map(|(timestamp_ms, key, value, mut headers)| {
        headers.sort();
        headers.dedup_by(|a, b| a.0 == b.0);
        Made {
            timestamp_ms,
            key,
            value,
            headers,
        }
    })
}

/// Records, and how often they are repeated: so there is something to compress.
fn repeated() -> impl Strategy<Value = Vec<Made>> {
    (vec(made(), 1..30), 1..5usize)
        .prop_map(|(records, times)| std::iter::repeat_n(records, times).flatten().collect())
}

fn codec() -> impl Strategy<Value = (Codec, Compression)> {
    prop_oneof![
        Just((Codec::None, Compression::None)),
        Just((Codec::Lz4, Compression::Lz4)),
        Just((Codec::Zstd, Compression::Zstd)),
    ]
}

fn encode_ours(records: &[Made], producer: (i64, i16, i32), codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new(1_000);
    for record in records {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(key, value)| Header {
                key,
                value: value.as_deref(),
            })
            .collect();
        builder
            .push(&RecordRef {
                timestamp_ms: record.timestamp_ms,
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: HeadersRef::Slice(&headers),
            })
            .expect("small records fit");
    }
    let mut compressor = Compressor::new(codec).expect("it is built in");
    builder
        .finish_compressed(&mut compressor, producer.0, producer.1, producer.2)
        .expect("there are records")
}

fn as_theirs(records: &[Made], base_offset: i64, producer: (i64, i16, i32)) -> Vec<Record> {
    let sequence = producer.2;
    let optional = |bytes: &Option<Vec<u8>>| bytes.clone().map(Bytes::from);
    records
        .iter()
        .enumerate()
        .map(|(index, record)| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 7,
            producer_id: producer.0,
            producer_epoch: producer.1,
            timestamp_type: TimestampType::Creation,
            offset: base_offset + index as i64,
            sequence: sequence.wrapping_add(index as i32),
            timestamp: record.timestamp_ms,
            key: optional(&record.key),
            value: optional(&record.value),
            headers: record
                .headers
                .iter()
                .map(|(key, value)| (StrBytes::from_string(key.clone()), optional(value)))
                .collect::<IndexMap<_, _>>(),
        })
        .collect()
}

proptest! {
    #[test]
    fn another_implementation_decodes_our_batch_to_the_same_records(
        records in repeated(),
        base_offset in 0..i64::MAX / 2,
        producer in (0..i64::MAX, 0..i16::MAX, 0..i32::MAX - 200),
        (codec, compression) in codec(),
    ) {
        let mut bytes = encode_ours(&records, producer, codec);
        batch::stamp(&mut bytes, base_offset, 7);
        let decoded = RecordBatchDecoder::decode(&mut Bytes::from(bytes)).unwrap();
        // Records that get no shorter are left as they are.
        let is_plain = decoded.compression == Compression::None;
        prop_assert!(is_plain || decoded.compression == compression);
        prop_assert!(!is_plain || codec == Codec::None || records.len() < 60);
        prop_assert_eq!(decoded.version, 2);
        prop_assert_eq!(decoded.records, as_theirs(&records, base_offset, producer));
    }

    #[test]
    fn we_decode_the_batch_of_another_implementation_to_the_same_records(
        records in repeated(),
        base_offset in 0..i64::MAX / 2,
        producer in (0..i64::MAX, 0..i16::MAX, 0..i32::MAX - 200),
        (codec, compression) in codec(),
    ) {
        let mut bytes = BytesMut::new();
        RecordBatchEncoder::encode(
            &mut bytes,
            &as_theirs(&records, base_offset, producer),
            &RecordEncodeOptions { version: 2, compression },
        )
        .unwrap();
        let bytes = bytes.freeze();
        prop_assert_eq!(batch::verify_records(&bytes).unwrap().codec(), codec);
        let batch = Batch::verified(bytes).unwrap();
        prop_assert_eq!(batch.base_offset(), base_offset);
        prop_assert_eq!(batch.header().leader_epoch, 7);
        prop_assert_eq!(batch.header().producer_id, producer.0);
        prop_assert_eq!(batch.header().producer_epoch, producer.1);
        prop_assert_eq!(batch.header().base_sequence, producer.2);
        let max_timestamp_ms = records.iter().map(|record| record.timestamp_ms).max().unwrap();
        prop_assert_eq!(batch.header().max_timestamp_ms, max_timestamp_ms);
        prop_assert_eq!(batch.records().count(), records.len());
        for (index, (decoded, made)) in batch.records().zip(&records).enumerate() {
            let decoded = decoded.unwrap();
            prop_assert_eq!(decoded.offset, base_offset + index as i64);
            prop_assert_eq!(decoded.timestamp_ms, made.timestamp_ms);
            prop_assert_eq!(decoded.key, made.key.as_deref());
            prop_assert_eq!(decoded.value, made.value.as_deref());
            let headers: Vec<_> = decoded
                .headers()
                .map(Result::unwrap)
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect();
            prop_assert_eq!(&headers, &made.headers);
        }
    }

    #[test]
    fn equal_records_make_equal_bytes_when_the_first_has_the_smallest_timestamp(
        mut records in vec(made(), 1..30),
        producer in (0..i64::MAX, 0..i16::MAX, 0..i32::MAX - 100),
    ) {
        // The other side takes the smallest timestamp as base, we (as Kafka's client) the first.
        let smallest = records.iter().map(|record| record.timestamp_ms).min().unwrap();
        records[0].timestamp_ms = smallest;
        let mut theirs = BytesMut::new();
        RecordBatchEncoder::encode(
            &mut theirs,
            &as_theirs(&records, 0, producer),
            &RecordEncodeOptions { version: 2, compression: Compression::None },
        )
        .unwrap();
        let mut ours = encode_ours(&records, producer, Codec::None);
        batch::stamp(&mut ours, 0, 7);
        prop_assert_eq!(&ours[..], &theirs[..]);
    }
}
