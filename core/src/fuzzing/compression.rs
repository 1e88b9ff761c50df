//! Compressed records: the first byte names the codec, the rest is a frame.

use bytes::Bytes;

use super::Target;
use super::records::{batches, repaired};
use crate::limits::UNCOMPRESSED_BYTES_MAX;
use crate::record::batch::{self, HEADER_BYTES};
use crate::record::compression::decompress;
use crate::record::{Batch, BatchHeader, Codec, Compressor};

pub(super) const COMPRESSED_RECORDS: Target = Target {
    name: "compressed_records",
    run: |bytes| {
        let Some((number, frame)) = bytes.split_first() else {
            return;
        };
        let codec = Codec::ALL[usize::from(*number) % Codec::ALL.len()];
        check_frame(codec, frame);
        if codec == Codec::Lz4
            && let Some(described) = described(frame)
        {
            check_frame(codec, &described);
        }
    },
    seeds: || batches().iter().filter_map(|batch| seed(batch)).collect(),
};

/// The codec and the frame of a compressed batch.
fn seed(batch: &[u8]) -> Option<Vec<u8>> {
    let header = BatchHeader::parse(batch).ok()?;
    let frame = batch.get(HEADER_BYTES..)?;
    (header.codec() != Codec::None).then(|| [&[header.codec() as u8], frame].concat())
}

/// The frame with its header's checksum put right.
fn described(frame: &[u8]) -> Option<Vec<u8>> {
    let mut described = frame.to_vec();
    let end = if frame.get(4)? & 1 << 3 == 0 { 6 } else { 14 };
    let checksum = header_checksum(frame.get(4..end)?);
    *described.get_mut(end)? = checksum?;
    Some(described)
}

#[cfg(feature = "lz4")]
fn header_checksum(descriptor: &[u8]) -> Option<u8> {
    Some((twox_hash::XxHash32::oneshot(0, descriptor) >> 8) as u8)
}

#[cfg(not(feature = "lz4"))]
const fn header_checksum(_: &[u8]) -> Option<u8> {
    None
}

fn check_frame(codec: Codec, frame: &[u8]) {
    let records = decompress(codec, frame);
    assert_eq!(records, decompress(codec, frame));
    assert!(records.is_err() || codec.is_supported());
    check_batch(codec, frame, records.is_ok());
    let Ok(records) = records else { return };
    assert!(records.len() <= UNCOMPRESSED_BYTES_MAX);
    let mut compressor = Compressor::new(codec).expect("it decompressed");
    if let Some(again) = compressor.compress(&records) {
        assert_eq!(decompress(codec, again), Ok(records));
    }
}

/// The frame as that of a batch: both ways to look at its records agree on it.
fn check_batch(codec: Codec, frame: &[u8], is_whole: bool) {
    let header = BatchHeader {
        base_offset: 9,
        batch_length: 0,
        leader_epoch: 1,
        magic: batch::MAGIC,
        crc: 0,
        attributes: codec as u16,
        last_offset_delta: 2,
        base_timestamp_ms: 1_000,
        max_timestamp_ms: 2_000,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        record_count: 3,
    };
    let bytes = repaired(&[&header.encode()[..], frame].concat()).expect("there is a header");
    let verified = batch::verify_records(&bytes);
    let batch = Batch::verified(Bytes::from(bytes)).expect("it was put right");
    let mut records = batch.records();
    let errors = records.by_ref().filter(Result::is_err).count();
    assert!(errors <= 1 && records.next().is_none());
    assert!(verified.is_err() || (errors == 0 && is_whole));
    assert!(is_whole || errors == 1);
}
