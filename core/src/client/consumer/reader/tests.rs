use bytes::Bytes;

use super::super::fetcher::{Assigned, Fetcher, Origin};
use super::*;
use crate::client::transport::Transport;
use crate::client::transport::fake::Fake;
use crate::error::{Error, ErrorCode};
use crate::protocol::request::SubscribeAt;
use crate::record::block::BlockView;
use crate::record::{BatchBuilder, RecordRef};

const LIMITS: BlockLimits = BlockLimits {
    records: 1_000,
    bytes: 1 << 20,
};

fn fetched(partition: i32, base_offset: i64, records: usize) -> FetchedBatch {
    let mut builder = BatchBuilder::new(1_024);
    for number in 0..records {
        let value = (base_offset + number as i64).to_string();
        let record = RecordRef {
            value: Some(value.as_bytes()),
            ..RecordRef::default()
        };
        builder.push(&record).unwrap();
    }
    let mut bytes = builder.finish(-1, -1, -1).unwrap();
    crate::record::batch::stamp(&mut bytes, base_offset, 0);
    FetchedBatch {
        topic: "t".into(),
        partition,
        high_watermark: 1_000,
        batch: Bytes::from(bytes),
        from_offset: 0,
    }
}

/// A batch as compaction leaves it: the record counts, the offset deltas stay.
fn with_gaps(base_offset: i64, deltas: &[i32]) -> FetchedBatch {
    let mut body = Vec::new();
    for delta in deltas {
        let value = (base_offset + i64::from(*delta)).to_string();
        // Attributes, timestamp delta, offset delta, no key, the value, no headers.
        let zigzag = |number: i32| (number << 1) as u8;
        let mut record = vec![0, 0, zigzag(*delta), 1, zigzag(value.len() as i32)];
        record.extend_from_slice(value.as_bytes());
        record.push(0);
        body.push(zigzag(record.len() as i32));
        body.extend_from_slice(&record);
    }
    let template = fetched(0, base_offset, 1).batch;
    let mut header = crate::record::BatchHeader::parse(&template).unwrap();
    header.batch_length = (61 - 12 + body.len()) as i32;
    header.last_offset_delta = *deltas.last().unwrap();
    header.record_count = deltas.len() as i32;
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(&body);
    FetchedBatch {
        batch: Bytes::from(bytes),
        ..fetched(0, base_offset, 1)
    }
}

fn reader(until: Option<i64>) -> (Arc<Fake>, Reader, Fetcher) {
    let fake = Fake::new();
    let feed = fake
        .subscribe(SubscribeAt {
            positions: Vec::new(),
            credit_bytes: 0,
        })
        .unwrap();
    let assigned = (0..2).map(|partition| Assigned {
        topic: "t".into(),
        partition,
        start: 0,
        origin: Origin::Found,
        committed: None,
        until,
        grant: 0,
    });
    let fetcher = Fetcher::new(assigned.collect(), false);
    let reader = Reader::new(feed, fetcher.places(), false);
    (fake, reader, fetcher)
}

fn offsets(block: &Block) -> Vec<(i32, i64)> {
    let view = BlockView::parse(block.bytes()).unwrap();
    view.records()
        .map(|record| (record.partition, record.offset))
        .collect()
}

fn next(reader: &mut Reader, fetcher: &mut Fetcher, limits: BlockLimits) -> Vec<(i32, i64)> {
    let (block, segments) = reader.block(limits);
    fetcher.lease(segments);
    block
        .unwrap()
        .map_or_else(Vec::new, |block| offsets(&block))
}

#[test]
fn a_batch_that_does_not_fit_goes_on_in_the_next_block() {
    let (fake, mut reader, mut fetcher) = reader(None);
    fake.feed().push(fetched(0, 0, 5));
    fake.feed().push(fetched(1, 7, 3));
    let limits = BlockLimits {
        records: 4,
        ..LIMITS
    };
    let first = next(&mut reader, &mut fetcher, limits);
    assert_eq!(first, [(0, 0), (0, 1), (0, 2), (0, 3)]);
    fetcher.end_lease();
    let second = next(&mut reader, &mut fetcher, limits);
    assert_eq!(second, [(0, 4), (1, 7), (1, 8), (1, 9)]);
    fetcher.pass(2);
    let positions: Vec<_> = fetcher.positions().iter().map(|it| it.offset).collect();
    assert_eq!(positions, [5, 8]);
    assert!(next(&mut reader, &mut fetcher, limits).is_empty());
}

#[test]
fn records_below_where_reading_began_are_left_out() {
    let (fake, mut reader, mut fetcher) = reader(None);
    fake.feed().push(FetchedBatch {
        from_offset: 12,
        ..fetched(0, 10, 4)
    });
    fake.feed().push(FetchedBatch {
        from_offset: 12,
        ..fetched(0, 5, 4)
    });
    assert_eq!(next(&mut reader, &mut fetcher, LIMITS), [(0, 12), (0, 13)]);
}

#[test]
fn offsets_that_compaction_took_are_no_rows_and_do_not_stop_the_position() {
    let (fake, mut reader, mut fetcher) = reader(None);
    fake.feed().push(with_gaps(10, &[1, 4, 5, 9]));
    let found = next(&mut reader, &mut fetcher, LIMITS);
    assert_eq!(found, [(0, 11), (0, 14), (0, 15), (0, 19)]);
    fetcher.pass(1);
    assert_eq!(fetcher.positions()[0].offset, 14);
    fetcher.end_lease();
    assert_eq!(fetcher.positions()[0].offset, 20);
}

#[test]
fn until_ends_within_a_batch_that_has_gaps() {
    let (fake, mut reader, mut fetcher) = reader(Some(14));
    fake.feed().push(with_gaps(10, &[1, 4, 5, 9]));
    assert_eq!(next(&mut reader, &mut fetcher, LIMITS), [(0, 11)]);
    fetcher.end_lease();
    assert_eq!(fetcher.positions()[0].offset, 14);
    fake.feed().push(with_gaps(14, &[3, 4]));
    assert!(next(&mut reader, &mut fetcher, LIMITS).is_empty());
}

#[test]
fn a_batch_whose_records_are_all_behind_the_end_gives_none() {
    let (fake, mut reader, mut fetcher) = reader(Some(12));
    fake.feed().push(with_gaps(10, &[4, 5]));
    assert!(next(&mut reader, &mut fetcher, LIMITS).is_empty());
    assert_eq!(fetcher.next_offsets()[0].offset, 12);
}

#[test]
fn a_batch_of_partition_nobody_asked_for_is_left_out() {
    let (fake, mut reader, mut fetcher) = reader(None);
    fake.feed().push(fetched(9, 0, 5));
    fake.feed().push(FetchedBatch {
        topic: "other".into(),
        ..fetched(0, 0, 5)
    });
    assert!(next(&mut reader, &mut fetcher, LIMITS).is_empty());
}

#[test]
fn what_came_before_the_end_of_the_stream_is_given_out_first() {
    let (fake, mut reader, mut fetcher) = reader(None);
    fake.feed().push(fetched(0, 0, 2));
    fake.feed()
        .end(Error::new(ErrorCode::NetworkException, "lost"));
    assert_eq!(next(&mut reader, &mut fetcher, LIMITS).len(), 2);
    for _ in 0..2 {
        assert_eq!(
            reader.block(LIMITS).0.unwrap_err().code(),
            ErrorCode::NetworkException
        );
    }
}

#[test]
fn a_malformed_batch_is_named_and_what_was_before_it_is_given_out() {
    let (fake, mut reader, mut fetcher) = reader(None);
    fake.feed().push(fetched(0, 0, 2));
    let mut bytes = fetched(0, 2, 2).batch.to_vec();
    bytes[61] = 0xff;
    fake.feed().push(FetchedBatch {
        batch: Bytes::from(bytes),
        ..fetched(0, 2, 2)
    });
    assert_eq!(next(&mut reader, &mut fetcher, LIMITS).len(), 2);
    let error = reader.block(LIMITS).0.unwrap_err();
    assert_eq!(error.code(), ErrorCode::CorruptMessage);
    assert!(
        error
            .message()
            .starts_with("t-0, batch at or before offset 2:"),
        "{error}"
    );
}

#[test]
fn batches_from_a_network_are_checked_before_they_are_believed() {
    let (fake, _, fetcher) = reader(None);
    let feed = fake.feed();
    let mut reader = Reader::new(fake.feed() as Arc<dyn Feed>, fetcher.places(), true);
    let mut bytes = fetched(0, 0, 2).batch.to_vec();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    feed.push(FetchedBatch {
        batch: Bytes::from(bytes),
        ..fetched(0, 0, 2)
    });
    assert_eq!(
        reader.block(LIMITS).0.unwrap_err().code(),
        ErrorCode::CorruptMessage
    );
}

#[test]
fn nothing_behind_a_batch_that_cannot_be_read_is_given_out() {
    // What was taken together with it was lost, and reading went on behind that.
    let (fake, _, mut fetcher) = reader(None);
    let feed = fake.feed();
    let mut reader = Reader::new(fake.feed() as Arc<dyn Feed>, fetcher.places(), true);
    let mut bytes = fetched(0, 2, 2).batch.to_vec();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    feed.push(fetched(0, 0, 2));
    feed.push(FetchedBatch {
        batch: Bytes::from(bytes),
        ..fetched(0, 2, 2)
    });
    feed.push(fetched(0, 4, 2));
    let found = next(&mut reader, &mut fetcher, LIMITS);
    assert_eq!(found, [(0, 0), (0, 1)]);
    feed.push(fetched(0, 6, 2));
    for _ in 0..2 {
        let error = reader.block(LIMITS).0.unwrap_err();
        assert_eq!(error.code(), ErrorCode::CorruptMessage);
    }
    // Somebody has decided where to go on.
    reader.clear();
    assert_eq!(next(&mut reader, &mut fetcher, LIMITS), [(0, 6), (0, 7)]);
}

#[test]
fn a_block_ends_at_its_bytes_and_one_record_always_fits() {
    let (fake, mut reader, mut fetcher) = reader(None);
    fake.feed().push(fetched(0, 0, 100));
    let limits = BlockLimits {
        bytes: 1_024,
        ..LIMITS
    };
    let mut found = Vec::new();
    loop {
        let rows = next(&mut reader, &mut fetcher, limits);
        if rows.is_empty() {
            break;
        }
        assert!(rows.len() < 50);
        found.extend(rows.into_iter().map(|(_, offset)| offset));
        fetcher.end_lease();
    }
    assert_eq!(found, (0..100).collect::<Vec<_>>());
    fake.feed().push(fetched(0, 100, 3));
    let tiny = BlockLimits { bytes: 1, ..LIMITS };
    assert_eq!(next(&mut reader, &mut fetcher, tiny), [(0, 100)]);
}

#[test]
fn many_small_batches_make_one_segment() {
    let (fake, mut reader, _) = reader(None);
    for offset in 0..50 {
        fake.feed().push(fetched(0, offset, 1));
    }
    let (block, segments) = reader.block(LIMITS);
    assert_eq!((block.unwrap().unwrap().len(), segments.len()), (50, 1));
}

#[test]
fn a_batch_that_its_codec_cannot_read_is_named_with_its_offset_and_codec() {
    let (fake, mut reader, mut fetcher) = reader(None);
    let mut gzip = fetched(0, 3, 2);
    let mut bytes = gzip.batch.to_vec();
    bytes[22] = crate::record::Codec::Gzip as u8;
    gzip.batch = Bytes::from(bytes);
    fake.feed().push(fetched(0, 0, 3));
    fake.feed().push(gzip);
    assert_eq!(next(&mut reader, &mut fetcher, LIMITS).len(), 3);
    fetcher.end_lease();
    let (block, _) = reader.block(LIMITS);
    let error = block.unwrap_err();
    assert_eq!(error.code(), ErrorCode::CorruptMessage);
    let said = "t-0, batch at or before offset 3: the records, compressed with gzip: ";
    assert!(error.message().starts_with(said), "{error}");
}
