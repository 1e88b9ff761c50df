//! Record batches and varints.

use bytes::Bytes;

use super::Target;
use crate::record::batch::{self, HEADER_BYTES};
use crate::record::block::{BlockBuilder, BlockView};
use crate::record::filter::{Filtered, filter};
use crate::record::{
    Batch, BatchBuilder, BatchHeader, Header, HeadersRef, RecordRef, RecordView, Records, varint,
};

pub(super) const RECORD_BATCH: Target = Target {
    name: "record_batch",
    run: |bytes| {
        check_batch(bytes);
        if let Some(repaired) = repaired(bytes) {
            check_batch(&repaired);
        }
    },
    seeds: batches,
};

pub(super) const VARINT: Target = Target {
    name: "varint",
    run: check_varints,
    seeds: || {
        let numbers = [
            0,
            -1,
            1,
            63,
            64,
            -65,
            i64::from(i32::MIN),
            i64::MAX,
            i64::MIN,
        ];
        let encoded = numbers.map(|number| {
            let mut bytes = Vec::new();
            varint::put_i64(&mut bytes, number);
            bytes
        });
        encoded.into()
    },
};

/// Batches: one record, many, with keys, headers and tombstones, of a producer, of the log's own
/// time, compressed here and elsewhere.
pub(super) fn batches() -> Vec<Vec<u8>> {
    let headers = [
        Header {
            key: "trace",
            value: Some(b"1234"),
        },
        Header {
            key: "",
            value: None,
        },
    ];
    let plain = RecordRef {
        timestamp_ms: 1_700_000_000_000,
        key: None,
        value: Some(b"value"),
        headers: HeadersRef::NONE,
    };
    let full = RecordRef {
        key: Some(b"key"),
        headers: HeadersRef::Slice(&headers),
        ..plain
    };
    let tombstone = RecordRef {
        timestamp_ms: plain.timestamp_ms - 5_000,
        value: None,
        ..full
    };
    let mut batches = vec![
        batch_of(&[plain], -1, 0),
        batch_of(&[full, plain, tombstone], 4_711, 1_000),
        batch_of(&[plain; 40], 12, i64::from(i32::MAX)),
    ];
    let mut appended = batches[1].clone();
    batch::stamp_append_time(&mut appended, 1_800_000_000_000);
    batches.push(appended);
    batches.extend(GOLDEN.map(<[u8]>::to_vec));
    batches
}

const GOLDEN: [&[u8]; 13] = [
    include_bytes!("../../tests/golden/batch/compacted.bin"),
    include_bytes!("../../tests/golden/batch/emptied.bin"),
    include_bytes!("../../tests/golden/batch/gzip.bin"),
    include_bytes!("../../tests/golden/batch/gzip_python.bin"),
    include_bytes!("../../tests/golden/batch/lengths.bin"),
    include_bytes!("../../tests/golden/batch/lz4.bin"),
    include_bytes!("../../tests/golden/batch/lz4_linked.bin"),
    include_bytes!("../../tests/golden/batch/snappy.bin"),
    include_bytes!("../../tests/golden/batch/snappy_framed.bin"),
    include_bytes!("../../tests/golden/batch/snappy_raw.bin"),
    include_bytes!("../../tests/golden/batch/timestamps.bin"),
    include_bytes!("../../tests/golden/batch/zstd.bin"),
    include_bytes!("../../tests/golden/batch/zstd_streamed.bin"),
];

fn batch_of(records: &[RecordRef<'_>], producer_id: i64, base_offset: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(0);
    for record in records {
        builder.push(record).expect("these records are well formed");
    }
    let sequence = if producer_id < 0 { -1 } else { 7 };
    let bytes = builder.finish(producer_id, sequence as i16, sequence);
    let mut bytes = bytes.expect("there is a record");
    batch::stamp(&mut bytes, base_offset, 3);
    bytes
}

/// The same bytes with length and checksum put right.
pub(super) fn repaired(bytes: &[u8]) -> Option<Vec<u8>> {
    let length = i32::try_from(bytes.len().checked_sub(12)?).ok()?;
    let mut repaired = bytes.to_vec();
    repaired
        .get_mut(8..12)?
        .copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(repaired.get(21..)?);
    repaired
        .get_mut(17..21)?
        .copy_from_slice(&crc.to_be_bytes());
    Some(repaired)
}

fn check_batch(bytes: &[u8]) {
    if let Ok(header) = BatchHeader::parse(bytes) {
        assert_eq!(header.encode(), bytes[..HEADER_BYTES]);
        assert!(header.last_offset() >= header.base_offset);
        // Records of a batch that is cut short must be refused, not read beyond.
        Records::new(&header, &bytes[HEADER_BYTES..]).for_each(drop);
    }
    let Ok(batch) = Batch::verified(Bytes::copy_from_slice(bytes)) else {
        assert!(batch::verify_records(bytes).is_err());
        return;
    };
    let (records, has_error) = check_records(&batch);
    check_skip(&batch);
    if batch::verify_records(bytes).is_ok() {
        assert!(!has_error);
        assert_eq!(records.len(), batch.header().record_count as usize);
        check_encoded_again(&records);
    }
    check_block_of(&batch, &records, has_error);
    check_filter(&batch, &records, has_error);
    check_stamps(bytes);
}

/// A batch without every other record holds the others as they were.
fn check_filter(batch: &Batch, records: &[RecordView<'_>], has_error: bool) {
    let mut place = 0;
    let filtered = filter(batch, &mut |_| {
        place += 1;
        place % 2 == 0
    });
    let Ok(Filtered::Part(bytes)) = filtered else {
        assert!(filtered.is_ok() || has_error);
        return;
    };
    let part = Batch::verified(bytes.into()).expect("a batch without some records is one");
    let left = part
        .records()
        .map(|record| record.expect("they were records before"));
    let said = |record: &RecordView<'_>| {
        (
            record.offset,
            record.timestamp_ms,
            record.value.map(<[u8]>::len),
        )
    };
    let kept = records.iter().skip(1).step_by(2).map(said);
    assert!(left.map(|record| said(&record)).eq(kept));
    assert_eq!(part.last_offset(), batch.last_offset());
}

/// Reads every record until the first error, behind which there is nothing.
fn check_records(batch: &Batch) -> (Vec<RecordView<'_>>, bool) {
    let mut records = Vec::new();
    let mut iterator = batch.records();
    let mut has_error = false;
    for record in iterator.by_ref() {
        assert!(!has_error, "a record behind an error");
        match record {
            Ok(record) => records.push(record),
            Err(_) => has_error = true,
        }
    }
    assert!(iterator.next().is_none());
    assert!(records.len() <= batch.header().record_count as usize);
    assert!(records.is_sorted_by(|one, next| one.offset < next.offset));
    let within = |record: &RecordView<'_>| {
        (batch.base_offset()..=batch.last_offset()).contains(&record.offset)
    };
    assert!(records.iter().all(within));
    (records, has_error)
}

fn check_skip(batch: &Batch) {
    let middle = batch.base_offset().midpoint(batch.last_offset());
    let mut skipping = batch.records();
    skipping.skip_below(middle);
    // Skipping looks less closely than reading: of a malformed batch only that it ends counts.
    if batch::verify_records(batch.bytes()).is_ok() {
        let first = skipping
            .next()
            .map(|record| record.map(|record| record.offset));
        assert_eq!(first, Some(Ok(middle)));
    } else {
        skipping.for_each(drop);
    }
}

fn check_encoded_again(records: &[RecordView<'_>]) {
    let mut builder = BatchBuilder::new(0);
    for record in records {
        let headers: Vec<_> = record
            .headers()
            .map(|header| header.expect("verified"))
            .collect();
        let again = RecordRef {
            timestamp_ms: record.timestamp_ms,
            key: record.key,
            value: record.value,
            headers: HeadersRef::Slice(&headers),
        };
        if builder.push(&again).is_err() {
            // Only a builder counts from the first record's time, so only it can run out of range.
            return;
        }
    }
    let bytes = builder
        .finish(-1, -1, -1)
        .expect("verified batches have a record");
    let batch = Batch::verified(bytes.into()).expect("what we build is intact");
    let rebuilt: Vec<_> = batch
        .records()
        .map(|record| record.expect("we built it"))
        .collect();
    assert_eq!(rebuilt.len(), records.len());
    for (rebuilt, record) in rebuilt.iter().zip(records) {
        assert_eq!(rebuilt.timestamp_ms, record.timestamp_ms);
        assert_eq!((rebuilt.key, rebuilt.value), (record.key, record.value));
        assert!(rebuilt.headers().eq(record.headers()));
    }
}

/// A block of the batch is one that every language's reader takes, and holds the same records.
fn check_block_of(batch: &Batch, records: &[RecordView<'_>], has_error: bool) {
    let mut builder = BlockBuilder::new();
    let pushed = builder.push_batch("topic", 5, batch, 0, 1_000, 1 << 20);
    assert!(pushed.is_err() || !has_error || batch.header().is_control());
    let Ok(taken) = pushed else {
        assert!(builder.is_empty());
        return;
    };
    let block = builder.finish();
    let view = BlockView::parse(block.bytes()).expect("what we lay out is well formed");
    assert_eq!(view.len(), taken.records);
    for (row, record) in view.records().zip(records) {
        assert_eq!(
            (row.offset, row.timestamp_ms),
            (record.offset, record.timestamp_ms)
        );
        assert_eq!((row.key, row.value), (record.key, record.value));
        let headers = record
            .headers()
            .map(|header| header.expect("the block took it"));
        assert!(
            row.headers()
                .map(|header| header.expect("we packed it"))
                .eq(headers)
        );
    }
}

fn check_stamps(bytes: &[u8]) {
    let mut stamped = bytes.to_vec();
    batch::stamp(&mut stamped, 77, 8);
    batch::stamp_append_time(&mut stamped, 9);
    let header = batch::verify(&stamped).expect("stamps keep a batch intact");
    assert_eq!((header.base_offset, header.leader_epoch), (77, 8));
    assert_eq!(header.append_time_ms(), Some(9));
}

fn check_varints(bytes: &[u8]) {
    if let Ok((number, taken)) = varint::read_i32(bytes) {
        let mut encoded = Vec::new();
        varint::put_i32(&mut encoded, number);
        assert!(encoded.len() <= taken && taken <= bytes.len());
        assert_eq!(varint::read_i32(&encoded), Ok((number, encoded.len())));
    }
    if let Ok((number, taken)) = varint::read_i64(bytes) {
        let mut encoded = Vec::new();
        varint::put_i64(&mut encoded, number);
        assert!(encoded.len() <= taken && taken <= bytes.len());
        assert_eq!(varint::read_i64(&encoded), Ok((number, encoded.len())));
    }
}
