use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::limits::UNCOMPRESSED_BYTES_MAX;
use crate::record::batch::{self, HEADER_BYTES, stamp_append_time, verify_records};
use crate::record::block::BlockBuilder;
use crate::record::sample::{Owned, raw_batch, raw_header, raw_record, record};
use crate::record::{Batch, BatchBuilder, BatchHeader, CompressionProblem, HeadersRef};

/// The codecs that are built in, apart from none.
fn codecs() -> impl Iterator<Item = Codec> {
    Codec::ALL
        .into_iter()
        .filter(|codec| codec.is_supported() && *codec != Codec::None)
}

fn builder_of(records: &[Owned]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(0);
    for record in records {
        builder
            .push(&record.as_ref(HeadersRef::Slice(&record.headers())))
            .unwrap();
    }
    builder
}

fn compressed(codec: Codec, records: &[Owned]) -> Vec<u8> {
    let mut compressor = Compressor::new(codec).unwrap();
    let batch = builder_of(records).finish_compressed(&mut compressor, 5, 6, 7);
    batch.unwrap()
}

fn read(batch: &Batch) -> Vec<Owned> {
    batch
        .records()
        .map(|record| Owned::of(&record.unwrap()))
        .collect()
}

/// A batch with this frame behind its header, right or wrong.
fn with_frame(codec: Codec, records: i32, frame: &[u8]) -> Vec<u8> {
    let header = BatchHeader {
        attributes: codec as u16,
        ..raw_header(records, records - 1)
    };
    raw_batch(header, frame)
}

/// The batch of `count` equal records, which every codec makes shorter.
fn equal(codec: Codec, count: usize) -> Vec<u8> {
    compressed(codec, &vec![Owned::value("the same again"); count])
}

#[test]
fn a_build_has_the_codecs_of_its_features_and_refuses_the_others_by_name() {
    let built: Vec<_> = codecs().collect();
    let mut expected = Vec::new();
    if cfg!(feature = "gzip") {
        expected.push(Codec::Gzip);
    }
    if cfg!(feature = "snappy") {
        expected.push(Codec::Snappy);
    }
    if cfg!(feature = "lz4") {
        expected.push(Codec::Lz4);
    }
    if cfg!(feature = "zstd") {
        expected.push(Codec::Zstd);
    }
    assert_eq!(built, expected);
    for codec in Codec::ALL.into_iter().filter(|codec| !codec.is_supported()) {
        let refused = BatchError::UnsupportedCodec { codec };
        assert_eq!(Compressor::new(codec).unwrap_err(), refused);
        assert_eq!(decompress(codec, b"frame").unwrap_err(), refused);
        let said = format!("compression {} is not supported", codec.name());
        assert_eq!(refused.to_string(), said);
        let bytes = with_frame(codec, 3, b"frame");
        assert_eq!(verify_records(&bytes), Err(refused.clone()));
        let batch = Batch::verified(bytes.into()).unwrap();
        let mut records = batch.records();
        records.skip_below(102);
        assert_eq!(records.next().unwrap().unwrap_err(), refused);
        assert!(records.next().is_none());
    }
}

#[test]
fn a_codec_that_kafka_does_not_have_is_refused_by_number() {
    for found in 5..8 {
        let header = BatchHeader {
            attributes: u16::from(found),
            ..raw_header(1, 0)
        };
        let bytes = raw_batch(header, b"frame");
        let refused = BatchError::UnknownCodec { found };
        assert_eq!(batch::verify(&bytes), Err(refused.clone()));
        assert_eq!(
            refused.to_string(),
            format!("compression codec {found} is not known")
        );
    }
}

#[test]
fn records_that_get_no_shorter_stay_as_they_are() {
    let mut state = 1u64;
    let noise = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    });
    let noise: Vec<u8> = noise.take(2_000).collect();
    let noise = Owned {
        value: Some(noise),
        ..Owned::default()
    };
    for records in [vec![Owned::value("x")], vec![noise]] {
        for codec in codecs() {
            let bytes = compressed(codec, &records);
            assert_eq!(verify_records(&bytes).unwrap().codec(), Codec::None);
            assert_eq!(bytes, builder_of(&records).finish(5, 6, 7).unwrap());
        }
    }
}

#[test]
fn a_builder_goes_on_after_a_compressed_batch_and_has_none_without_records() {
    for codec in codecs() {
        let mut compressor = Compressor::new(codec).unwrap();
        let mut builder = BatchBuilder::new(1_024);
        assert_eq!(builder.finish_compressed(&mut compressor, -1, -1, -1), None);
        for count in [40, 7, 400, 40] {
            let record = Owned::value("the same again");
            for _ in 0..count {
                builder.push(&record.as_ref(HeadersRef::NONE)).unwrap();
            }
            let bytes = builder.finish_compressed(&mut compressor, 5, 6, 7);
            assert!(builder.is_empty());
            // Whatever came before: equal records make equal bytes.
            assert_eq!(bytes.unwrap(), equal(codec, count));
        }
    }
}

#[test]
fn a_compressed_batch_of_compaction_is_read_with_its_gaps() {
    let records: Vec<u8> = [0, 3, 9]
        .iter()
        .flat_map(|&delta| raw_record(delta, 0, &[]))
        .collect();
    let section = records.repeat(1);
    for codec in codecs() {
        let mut compressor = Compressor::new(codec).unwrap();
        let filler = [section.clone(), vec![0; 200]].concat();
        let frame = compressor.compress(&filler).unwrap().to_vec();
        let header = BatchHeader {
            attributes: codec as u16,
            ..raw_header(3, 11)
        };
        let batch = Batch::verified(raw_batch(header, &frame).into()).unwrap();
        let found: Vec<_> = batch.records().collect();
        let offsets = found.iter().take(3).map(|it| it.as_ref().unwrap().offset);
        assert_eq!(offsets.collect::<Vec<_>>(), [100, 103, 109]);
        // Positions are those of the batch as it would be uncompressed.
        let position = HEADER_BYTES + section.len();
        assert_eq!(
            found[3].as_ref().unwrap_err(),
            &BatchError::TrailingBytes {
                position,
                found: 200
            }
        );
    }
}

#[test]
fn an_append_time_is_stamped_without_touching_the_frame() {
    for codec in codecs() {
        let before = equal(codec, 50);
        let mut bytes = before.clone();
        stamp_append_time(&mut bytes, 5_000);
        batch::stamp(&mut bytes, 1 << 40, 3);
        assert_eq!(bytes[HEADER_BYTES..], before[HEADER_BYTES..]);
        verify_records(&bytes).unwrap();
        let batch = Batch::verified(bytes.into()).unwrap();
        assert_eq!(batch.header().codec(), codec);
        for (offset, record) in (1 << 40..).zip(batch.records()) {
            let record = record.unwrap();
            assert_eq!((record.timestamp_ms, record.offset), (5_000, offset));
        }
    }
}

#[test]
fn blocks_take_a_compressed_batch_in_pieces() {
    for codec in codecs() {
        let batch = Batch::verified(equal(codec, 50).into()).unwrap();
        let plain = builder_of(&vec![Owned::value("the same again"); 50]).finish(5, 6, 7);
        let plain = Batch::verified(plain.unwrap().into()).unwrap();
        let mut blocks = BlockBuilder::new();
        let mut from = 0;
        while from < 50 {
            let mut take = |batch| {
                let taken = blocks.push_batch("orders", 1, batch, from, 20, 1 << 20);
                (taken.unwrap(), blocks.finish())
            };
            let (taken, block) = take(&batch);
            assert_eq!((taken, block), take(&plain));
            from = taken.next_offset;
        }
    }
}

#[test]
fn a_batch_is_equal_to_its_clone_whether_read_or_not() {
    for codec in codecs() {
        let batch = Batch::verified(equal(codec, 50).into()).unwrap();
        let unread = batch.clone();
        assert_eq!(batch.records().count(), 50);
        assert_eq!(batch, unread);
        assert_eq!(read(&batch), read(&unread));
        assert!(format!("{batch:?}").len() < 500, "{batch:?}");
    }
}

#[test]
fn what_every_record_of_a_frame_says_is_looked_at() {
    for codec in codecs() {
        let records: Vec<u8> = (0..50)
            .flat_map(|delta| raw_record(delta, 1, &[0, 0]))
            .chain(raw_record(50, 1, &[1, 0]))
            .collect();
        let mut compressor = Compressor::new(codec).unwrap();
        let frame = compressor.compress(&records).unwrap().to_vec();
        let error = verify_records(&with_frame(codec, 51, &frame)).unwrap_err();
        assert!(
            matches!(error, BatchError::Record { index: 50, .. }),
            "{error:?}"
        );
    }
}

#[test]
fn a_frame_of_the_wrong_codec_is_refused_with_the_codec_it_was_taken_for() {
    for codec in codecs() {
        let other = codecs().find(|other| *other != codec);
        let Some(other) = other else { continue };
        let mut bytes = equal(codec, 50);
        bytes[22] = other as u8;
        batch::write_checksum(&mut bytes);
        let error = verify_records(&bytes).unwrap_err();
        let said = format!("the records, compressed with {}: ", other.name());
        assert!(error.to_string().starts_with(&said), "{error}");
    }
}

#[test]
fn every_prefix_of_a_frame_is_refused() {
    for codec in codecs() {
        let whole = equal(codec, 30);
        for length in HEADER_BYTES + 1..whole.len() {
            let bytes = with_frame(codec, 30, &whole[HEADER_BYTES..length]);
            let error = verify_records(&bytes).unwrap_err();
            assert!(
                matches!(error, BatchError::Compression { .. }),
                "{length}: {error:?}"
            );
        }
    }
}

#[test]
fn more_than_the_limit_is_refused() {
    for codec in codecs() {
        let mut compressor = Compressor::new(codec).unwrap();
        let mut section = vec![0; UNCOMPRESSED_BYTES_MAX];
        let most = compressor.compress(&section).unwrap().to_vec();
        assert_eq!(
            decompress(codec, &most).unwrap().len(),
            UNCOMPRESSED_BYTES_MAX
        );
        section.push(0);
        let more = compressor.compress(&section).unwrap().to_vec();
        let max = UNCOMPRESSED_BYTES_MAX;
        let problem = CompressionProblem::TooLarge { max };
        assert_eq!(
            verify_records(&with_frame(codec, 1, &more)),
            Err(BatchError::Compression { codec, problem })
        );
        // What one large batch took is given back with the next.
        compressor.compress(b"small");
        assert!(compressor.out.capacity() <= COMPRESSOR_BYTES_KEPT_MAX);
    }
}

proptest! {
    #[test]
    fn compressed_records_come_back(
        records in vec(record(), 1..6),
        repeated in 1..40usize,
    ) {
        let records: Vec<_> = std::iter::repeat_n(records, repeated).flatten().collect();
        for codec in codecs() {
            let bytes = compressed(codec, &records);
            let header = verify_records(&bytes).unwrap();
            prop_assert_eq!(
                (header.producer_id, header.producer_epoch, header.base_sequence),
                (5, 6, 7)
            );
            let plain = builder_of(&records).finish(5, 6, 7).unwrap();
            prop_assert!(bytes.len() <= plain.len());
            // Small records differ in every few bytes, of which snappy makes little.
            let is_hard = codec == Codec::Snappy && plain.len() < 500;
            prop_assert!(repeated < 10 || header.codec() == codec || is_hard);
            let batch = Batch::verified(bytes.into()).unwrap();
            prop_assert_eq!(read(&batch), records.clone());
        }
    }

    /// Whatever stands behind an intact checksum: no panic, an end, an error at most once.
    #[test]
    fn damaged_frames_end_in_one_error(
        records in vec(record(), 1..12),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in 0..20usize,
    ) {
        let records: Vec<_> = std::iter::repeat_n(records, 5).flatten().collect();
        for codec in codecs() {
            let mut bytes = compressed(codec, &records);
            for (at, byte) in &damage {
                let at = HEADER_BYTES + at.index(bytes.len() - HEADER_BYTES);
                bytes[at] = *byte;
            }
            let end = bytes.len() - cut.min(bytes.len() - HEADER_BYTES);
            let header = BatchHeader::parse(&bytes).unwrap();
            let bytes = raw_batch(header, &bytes[HEADER_BYTES..end]);
            let whole = verify_records(&bytes);
            let batch = Batch::verified(bytes.into()).unwrap();
            let mut walked = batch.records();
            let errors = walked.by_ref().filter(Result::is_err).count();
            prop_assert!(errors <= 1 && walked.next().is_none());
            prop_assert!(whole.is_err() || errors == 0);
        }
    }
}
