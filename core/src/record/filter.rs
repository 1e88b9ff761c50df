//! A batch without some of its records, as compaction leaves it.
//!
//! Kafka's rule: what a batch says of itself stays, whatever goes out of it. Base offset, last offset delta,
//! base timestamp, producer and sequence, attributes and codec are those of the whole batch, and the records
//! that remain are the very bytes they were, with their offsets. New are the count, the lengths, the checksum,
//! and the largest timestamp where producers set timestamps.

use super::batch::{self, Batch, HEADER_BYTES};
use super::{BatchError, Codec, Compressor, RecordView, TimestampType, compression};

/// What is left of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Filtered {
    /// All of it: nothing is to go, or nothing is won by it.
    Whole,
    /// None of its records.
    Nothing,
    /// These bytes: a whole batch again.
    Part(Vec<u8>),
}

/// The batch with the records that `keep` wants, asked of each in order.
///
/// # Errors
/// [`BatchError`] for records that cannot be read.
pub(crate) fn filter(
    batch: &Batch,
    keep: &mut dyn FnMut(&RecordView<'_>) -> bool,
) -> Result<Filtered, BatchError> {
    let header = batch.header();
    let codec = header.codec();
    let section = batch.bytes().get(HEADER_BYTES..).unwrap_or_default();
    let decompressed;
    let section = if codec == Codec::None {
        section
    } else {
        decompressed = compression::decompress(codec, section)?;
        &decompressed
    };
    let mut records = super::Records::new(header, section);
    let (mut kept, mut count, mut max_timestamp_ms) = (Vec::new(), 0, i64::MIN);
    let mut start = 0;
    while let Some(record) = records.next() {
        let record = record?;
        let end = records.place().1.saturating_sub(HEADER_BYTES);
        if keep(&record) {
            kept.extend_from_slice(section.get(start..end).unwrap_or_default());
            count += 1;
            max_timestamp_ms = max_timestamp_ms.max(record.timestamp_ms);
        }
        start = end;
    }
    if count == header.record_count {
        return Ok(Filtered::Whole);
    }
    if count == 0 {
        return Ok(Filtered::Nothing);
    }
    let mut header = *header;
    header.record_count = count;
    if header.timestamp_type() == TimestampType::CreateTime {
        header.max_timestamp_ms = max_timestamp_ms;
    }
    let mut compressor = Compressor::new(codec)?;
    let section = match compressor.compress(&kept) {
        Some(frame) => frame,
        None => {
            header.attributes &= !batch::CODEC_BITS;
            &kept
        }
    };
    // Where so much of it stays that compressing it anew makes it longer, nothing is won.
    if HEADER_BYTES + section.len() >= batch.bytes().len() {
        return Ok(Filtered::Whole);
    }
    Ok(Filtered::Part(batch::assemble(&header, section)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{BatchBuilder, RecordRef};

    /// Records by key; the value of each says which it is, and is long enough to be worth compressing.
    fn batch(keys: &[u8], codec: Codec) -> Batch {
        let mut builder = BatchBuilder::new(1_024);
        for (at, key) in keys.iter().enumerate() {
            let value = vec![at as u8; 40];
            builder
                .push(&RecordRef {
                    timestamp_ms: 1_000 - at as i64,
                    key: Some(&[*key]),
                    value: Some(&value),
                    ..RecordRef::default()
                })
                .unwrap();
        }
        let mut compressor = Compressor::new(codec).unwrap();
        let mut bytes = builder
            .finish_compressed(&mut compressor, 7, 2, 30)
            .unwrap();
        batch::stamp(&mut bytes, 500, 4);
        Batch::verified(bytes.into()).unwrap()
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_it_was(
            keep in prop::collection::vec(any::<bool>(), 1..40),
            codec in prop_oneof![Just(Codec::None), Just(Codec::Lz4), Just(Codec::Zstd)],
        ) {
            let keys: Vec<_> = (0..keep.len() as u8).collect();
            let whole = batch(&keys, codec);
            let mut asked = keep.iter();
            let filtered = filter(&whole, &mut |_| *asked.next().unwrap()).unwrap();
            prop_assert_eq!(asked.next(), None);
            let kept = whole.records().zip(&keep).filter(|(_, keep)| **keep);
            let kept: Vec<_> = kept.map(|(record, _)| record.unwrap()).collect();
            let bytes = match filtered {
                Filtered::Whole => {
                    let is_won = codec == Codec::None && keep.iter().any(|keep| !keep);
                    prop_assert!(!is_won);
                    return Ok(());
                }
                Filtered::Nothing => {
                    prop_assert!(kept.is_empty());
                    return Ok(());
                }
                Filtered::Part(bytes) => bytes,
            };
            let part = Batch::verified(bytes.into()).unwrap();
            let (was, is) = (whole.header(), part.header());
            prop_assert_eq!(
                (is.base_offset, is.last_offset_delta, is.leader_epoch, is.base_timestamp_ms),
                (was.base_offset, was.last_offset_delta, was.leader_epoch, was.base_timestamp_ms)
            );
            prop_assert_eq!(
                (is.producer_id, is.producer_epoch, is.base_sequence),
                (was.producer_id, was.producer_epoch, was.base_sequence)
            );
            let latest = kept.iter().map(|record| record.timestamp_ms).max();
            prop_assert_eq!(Some(is.max_timestamp_ms), latest);
            let found: Vec<_> = part.records().map(|record| record.unwrap()).collect();
            let said = |records: &[RecordView<'_>]| -> Vec<_> {
                let said = records.iter().map(|it| {
                    (it.offset, it.timestamp_ms, it.key.map(<[u8]>::to_vec), it.value.map(<[u8]>::to_vec))
                });
                said.collect()
            };
            prop_assert_eq!(said(&found), said(&kept));
        }
    }

    #[test]
    fn records_that_cannot_be_read_are_an_error() {
        let mut bytes = batch(&[1, 2, 3], Codec::None).into_bytes().to_vec();
        bytes[HEADER_BYTES] = 0x7f;
        let batch = Batch::already_verified(bytes.into()).unwrap();
        assert!(filter(&batch, &mut |_| true).is_err());
    }
}
