//! The processor itself: who reads when, and what comes of records that were taken.

use super::*;

#[test]
fn nobody_else_reads_meanwhile_and_afterwards_reading_goes_on_at_what_is_not_done() {
    let db = open(1);
    send(&db, "t", &numbered(5));
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    let processor = consumer.processor(&ProcessOptions::default()).unwrap();
    let records = processor.take_records(2).wait(None).unwrap().unwrap();
    assert_eq!(records.len(), 2);
    let refused = [
        consumer.next_batch_wait(None).unwrap_err(),
        consumer.next_block(None).wait(None).unwrap_err(),
        consumer.processor(&ProcessOptions::default()).unwrap_err(),
        consumer.commit_with(&[]).wait(None).unwrap_err(),
    ];
    assert!(
        refused
            .iter()
            .all(|error| error.code() == ErrorCode::InvalidState)
    );
    processor.finish(vec![(records[0].ticket(), Finish::Done)]);
    processor.close().wait(None).unwrap();
    // Too late: it is somebody else's.
    assert_eq!(
        processor.finish(vec![(records[1].ticket(), Finish::Done)]),
        None
    );
    assert!(processor.take(1).wait(None).unwrap().is_none());
    let batch = consumer.next_batch_wait(None).unwrap().unwrap();
    let offsets: Vec<i64> = batch
        .records()
        .map(|record| record.unwrap().offset)
        .collect();
    assert_eq!(offsets, [1, 2, 3, 4]);
    assert!(consumer.next_batch_wait(None).unwrap().is_none());
    assert_eq!(committed(&db, &consumer), BTreeMap::from([(0, 5)]));
}

#[test]
fn what_a_loop_has_not_passed_is_processed() {
    let db = open(1);
    send(&db, "t", &numbered(5));
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    assert_eq!(consumer.next_block_wait(None).unwrap().unwrap().len(), 5);
    _ = consumer.progress(2);
    let processor = consumer.processor(&ProcessOptions::default()).unwrap();
    let block = processor.take(100).wait(None).unwrap().unwrap();
    assert_eq!((block.block.len(), block.first_ticket), (3, 1));
}

#[test]
fn records_that_nobody_has_taken_are_given_again() {
    let db = open(1);
    send(&db, "t", &numbered(2));
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    let processor = consumer.processor(&ProcessOptions::default()).unwrap();
    let dropped = processor.take_records(9);
    assert!(dropped.wait_ready(None).unwrap());
    drop(dropped);
    let records = processor.take_records(9).wait(None).unwrap().unwrap();
    let attempts: Vec<_> = records
        .iter()
        .map(|it| (it.offset(), it.attempt()))
        .collect();
    assert_eq!(attempts, [(0, 1), (1, 1)]);
    let waiting = processor.take_records(1);
    let error = processor.take_records(1).wait(None).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidState);
    drop(waiting);
}

#[test]
fn after_a_seek_what_was_given_out_before_does_not_count() {
    let db = open(1);
    send(&db, "t", &numbered(4));
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    let processor = consumer.processor(&ProcessOptions::default()).unwrap();
    let before = processor.take_records(9).wait(None).unwrap().unwrap();
    assert_eq!(before.len(), 4);
    consumer.seek("t", 0, 2).unwrap();
    let done = before.iter().map(|record| (record.ticket(), Finish::Done));
    processor.finish(done.collect());
    assert_eq!(consumer.positions()[0].offset, 2);
    let again = processor.take_records(9).wait(None).unwrap().unwrap();
    let offsets: Vec<_> = again.iter().map(ProcessRecord::offset).collect();
    assert_eq!(offsets, [2, 3]);
    let done = again.iter().map(|record| (record.ticket(), Finish::Done));
    processor.finish(done.collect());
    assert!(processor.take(9).wait(None).unwrap().is_none());
    assert_eq!(committed(&db, &consumer), BTreeMap::from([(0, 4)]));
}

#[test]
fn a_block_holds_what_the_records_held() {
    let db = open(1);
    send(&db, "t", &[(Some("k"), "v".into()), (None, String::new())]);
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    let processor = consumer.processor(&ProcessOptions::default()).unwrap();
    let taken = processor.take(100).wait(None).unwrap().unwrap();
    let view = crate::record::block::BlockView::parse(taken.block.bytes()).unwrap();
    let rows: Vec<_> = view
        .records()
        .map(|row| (row.offset, row.key, row.value))
        .collect();
    assert_eq!(
        rows,
        [
            (0, Some(&b"k"[..]), Some(&b"v"[..])),
            (1, None, Some(&b""[..]))
        ]
    );
}
