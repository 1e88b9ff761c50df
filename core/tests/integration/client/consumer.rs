//! Consumers: blocks, positions, groups, waiting.

use std::time::Duration;

use headwater::record::block::BlockView;
use headwater::{Ack, ConsumerOptions, ErrorCode, ErrorKind, OffsetAt, Record, Start, Until};

use super::{in_group, offset, read_all, send, to_end, with_topic};

#[test]
fn blocks_hold_what_was_sent_and_no_more_than_asked_for() {
    let (db, producer) = with_topic(2);
    send(&producer, 0..2_500);
    let options = ConsumerOptions {
        max_block_records: Some(400),
        ..to_end()
    };
    let consumer = db.consumer(&["orders"], options).unwrap();
    let mut values = Vec::new();
    while let Some(block) = consumer.next_block_wait(None).unwrap() {
        assert!((1..=400).contains(&block.len()));
        let view = BlockView::parse(block.bytes()).unwrap();
        assert_eq!(view.len(), block.len());
        for record in view.records() {
            let value = str::from_utf8(record.value.unwrap()).unwrap();
            values.push(value.parse::<usize>().unwrap());
        }
    }
    values.sort_unstable();
    assert_eq!(values, (0..2_500).collect::<Vec<_>>());
    assert_eq!(db.metrics().records_received, 2_500);
}

#[test]
fn a_group_goes_on_where_the_records_were_passed_and_not_where_they_were_handed_over() {
    let (db, producer) = with_topic(1);
    send(&producer, 0..100);
    let options = ConsumerOptions {
        max_block_records: Some(40),
        ..in_group()
    };
    let consumer = db.consumer(&["orders"], options.clone()).unwrap();
    assert_eq!(consumer.next_block_wait(None).unwrap().unwrap().len(), 40);
    assert_eq!(consumer.next_block_wait(None).unwrap().unwrap().len(), 40);
    assert_eq!(consumer.positions(), [offset(0, 40)]);
    let _ = consumer.progress(7);
    assert_eq!(consumer.positions(), [offset(0, 47)]);
    assert_eq!(consumer.assignment(), [offset(0, 80)]);
    consumer.close(None).wait(None).unwrap();
    assert!(consumer.next_block_wait(None).unwrap().is_none());

    let consumer = db.consumer(&["orders"], options).unwrap();
    assert_eq!(consumer.committed().wait(None).unwrap(), [offset(0, 47)]);
    let block = consumer.next_block_wait(None).unwrap().unwrap();
    let view = BlockView::parse(block.bytes()).unwrap();
    assert_eq!(view.record(0).unwrap().offset, 47);
}

#[test]
fn manual_acknowledgement_in_any_order_commits_the_first_that_is_not_done() {
    let (db, producer) = with_topic(1);
    send(&producer, 0..10);
    let options = ConsumerOptions {
        ack: Some(Ack::Manual),
        ..in_group()
    };
    let consumer = db.consumer(&["orders"], options).unwrap();
    let batch = consumer.next_block_wait(None).unwrap().unwrap();
    assert_eq!(batch.len(), 10);
    for done in [3, 0, 1, 9] {
        consumer.ack("orders", 0, done).unwrap();
    }
    assert_eq!(consumer.positions(), [offset(0, 2)]);
    consumer.commit().wait(None).unwrap();
    assert_eq!(consumer.committed().wait(None).unwrap(), [offset(0, 2)]);
    consumer.ack_rows(2..9).unwrap();
    assert_eq!(consumer.positions(), [offset(0, 10)]);
    for (error, wanted) in [
        (
            consumer.ack("orders", 0, 10).unwrap_err(),
            ErrorCode::InvalidArgument,
        ),
        (
            consumer.ack("orders", 1, 0).unwrap_err(),
            ErrorCode::UnknownTopicOrPartition,
        ),
        (
            consumer.ack_rows(0..11).unwrap_err(),
            ErrorCode::InvalidArgument,
        ),
    ] {
        assert_eq!(error.code(), wanted);
    }
    consumer.close(None).wait(None).unwrap();
}

#[test]
fn reading_waits_while_too_much_is_not_acknowledged_and_says_so() {
    let (db, producer) = with_topic(1);
    send(&producer, 0..20);
    let options = ConsumerOptions {
        ack: Some(Ack::Manual),
        max_unacked: Some(8),
        ..Default::default()
    };
    let consumer = db.consumer(&["orders"], options).unwrap();
    assert_eq!(consumer.next_block_wait(None).unwrap().unwrap().len(), 8);
    let error = consumer
        .next_block_wait(Some(Duration::from_millis(1)))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(error.message().contains("max_unacked is 8"), "{error}");
    let waiting = consumer.clone();
    let thread = std::thread::spawn(move || waiting.next_block_wait(None).unwrap().unwrap().len());
    consumer.ack("orders", 0, 4).unwrap();
    assert_eq!(thread.join().unwrap(), 1);
}

#[test]
fn offsets_can_be_committed_by_hand_and_only_with_a_group() {
    let (db, producer) = with_topic(1);
    send(&producer, 0..10);
    let consumer = db.consumer(&["orders"], in_group()).unwrap();
    let early = consumer
        .commit_offsets(vec![offset(0, 5)])
        .wait(None)
        .unwrap_err();
    assert_eq!(early.code(), ErrorCode::InvalidState);
    consumer.open().wait(None).unwrap();
    consumer
        .commit_offsets(vec![offset(0, 5)])
        .wait(None)
        .unwrap();
    assert_eq!(consumer.committed().wait(None).unwrap(), [offset(0, 5)]);
    let alone = db.consumer(&["orders"], to_end()).unwrap();
    for error in [
        alone.commit().wait(None).unwrap_err(),
        alone
            .commit_offsets(vec![offset(0, 1)])
            .wait(None)
            .unwrap_err(),
        alone.committed().wait(None).unwrap_err(),
    ] {
        assert_eq!(error.code(), ErrorCode::InvalidState);
        assert!(error.message().contains("no group"), "{error}");
    }
    let auto = alone.ack("orders", 0, 0).unwrap_err();
    assert_eq!(auto.code(), ErrorCode::InvalidState);
}

#[test]
fn what_is_passed_is_committed_after_the_interval_without_being_asked() {
    let (db, producer) = with_topic(1);
    send(&producer, 0..10);
    let options = ConsumerOptions {
        commit_interval_ms: Some(10),
        ..in_group()
    };
    let consumer = db.consumer(&["orders"], options).unwrap();
    assert_eq!(consumer.next_block_wait(None).unwrap().unwrap().len(), 10);
    let _ = consumer.progress(6);
    while consumer.committed().wait(None).unwrap() != [offset(0, 6)] {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_dropped_consumer_commits_and_leaves() {
    let (db, producer) = with_topic(1);
    send(&producer, 0..10);
    let consumer = db.consumer(&["orders"], in_group()).unwrap();
    assert_eq!(consumer.next_block_wait(None).unwrap().unwrap().len(), 10);
    let _ = consumer.progress(4);
    drop(consumer);
    let again = db.consumer(&["orders"], in_group()).unwrap();
    // It was taken for the only member, and has nothing while the one before is a member for a moment still.
    again.open().wait(None).unwrap();
    while again.positions().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(again.positions(), [offset(0, 4)]);
}

#[test]
fn start_and_until_take_offsets_times_and_ends() {
    let (db, producer) = with_topic(1);
    for number in 0..10 {
        let value = number.to_string();
        let record = Record {
            timestamp_ms: Some(number * 100),
            ..Record::new(value.as_bytes())
        };
        producer
            .send("orders", &record)
            .unwrap()
            .wait(None)
            .unwrap();
    }
    let read = |start, until| {
        let options = ConsumerOptions {
            start,
            until,
            ..Default::default()
        };
        let consumer = db.consumer(&["orders"], options).unwrap();
        let offsets = read_all(&consumer).into_iter().map(|(_, offset, _)| offset);
        offsets.collect::<Vec<_>>()
    };
    let end = Some(Until::End);
    assert_eq!(read(None, end), (0..10).collect::<Vec<_>>());
    assert!(read(Some(Start::Latest), end).is_empty());
    assert_eq!(read(Some(Start::Offset(7)), end), [7, 8, 9]);
    assert_eq!(read(Some(Start::Time(750)), end), [8, 9]);
    assert_eq!(read(Some(Start::Offset(2)), Some(Until::Offset(4))), [2, 3]);
    assert_eq!(read(None, Some(Until::Time(300))), [0, 1, 2]);
}

#[test]
fn until_cuts_a_batch_in_blocks_and_in_batches() {
    let (db, producer) = with_topic(1);
    send(&producer, 0..100);
    let options = || ConsumerOptions {
        start: Some(Start::Offset(10)),
        until: Some(Until::Offset(33)),
        ..Default::default()
    };
    let consumer = db.consumer(&["orders"], options()).unwrap();
    let mut records = 0;
    while let Some(block) = consumer.next_block_wait(None).unwrap() {
        records += block.len();
    }
    assert_eq!(records, 23);
    assert_eq!(consumer.positions(), [offset(0, 33)]);
    assert_eq!(
        read_all(&db.consumer(&["orders"], options()).unwrap()).len(),
        23
    );
}

#[test]
fn until_end_is_where_the_end_was_when_it_opened() {
    let (db, producer) = with_topic(1);
    send(&producer, 0..5);
    let consumer = db.consumer(&["orders"], to_end()).unwrap();
    consumer.open().wait(None).unwrap();
    send(&producer, 5..9);
    assert_eq!(read_all(&consumer).len(), 5);
}

#[test]
fn seeking_goes_back_and_forth_and_forgets_the_lease() {
    let (db, producer) = with_topic(1);
    send(&producer, 0..10);
    let consumer = db
        .consumer(&["orders"], ConsumerOptions::default())
        .unwrap();
    assert_eq!(
        consumer.seek("orders", 0, 1).unwrap_err().code(),
        ErrorCode::InvalidState
    );
    assert_eq!(consumer.next_block_wait(None).unwrap().unwrap().len(), 10);
    consumer.seek("orders", 0, 8).unwrap();
    let _ = consumer.progress(10);
    assert_eq!(consumer.positions(), [offset(0, 8)]);
    assert_eq!(consumer.next_block_wait(None).unwrap().unwrap().len(), 2);
    consumer
        .seek_to("orders", 0, OffsetAt::Earliest)
        .wait(None)
        .unwrap();
    assert_eq!(consumer.next_block_wait(None).unwrap().unwrap().len(), 10);
    assert!(consumer.seek("orders", 0, -1).is_err());
    assert!(consumer.seek("orders", 1, 0).is_err());
    consumer.seek("orders", 0, 99).unwrap();
    let error = consumer.next_block_wait(None).unwrap_err();
    assert_eq!(error.code(), ErrorCode::OffsetOutOfRange);
    consumer.seek("orders", 0, 9).unwrap();
    assert_eq!(consumer.next_block_wait(None).unwrap().unwrap().len(), 1);
}

#[test]
fn a_reader_that_waits_is_woken_by_a_record_and_by_close() {
    let (db, producer) = with_topic(1);
    let consumer = db
        .consumer(&["orders"], ConsumerOptions::default())
        .unwrap();
    consumer.open().wait(None).unwrap();
    let nothing = consumer
        .next_block_wait(Some(Duration::from_millis(1)))
        .unwrap();
    assert!(nothing.is_none() && !consumer.is_finished());
    let reader = consumer.clone();
    let thread = std::thread::spawn(move || {
        let first = reader.next_block_wait(None).unwrap().unwrap().len();
        (first, reader.next_block_wait(None).unwrap().is_none())
    });
    producer.enqueue("orders", &Record::new(b"x")).unwrap();
    while db.metrics().records_received == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    consumer.close(None).wait(None).unwrap();
    assert_eq!(thread.join().unwrap(), (1, true));
    assert!(consumer.is_finished());
}

#[test]
fn a_block_whose_future_was_dropped_is_given_out_again() {
    let (db, producer) = with_topic(1);
    send(&producer, 0..10);
    let consumer = db.consumer(&["orders"], to_end()).unwrap();
    let dropped = consumer.next_block(None);
    while db.metrics().records_received == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(dropped);
    let block = consumer.next_block(None).wait(None).unwrap().unwrap();
    assert_eq!(block.len(), 10);
    assert!(consumer.next_block(None).wait(None).unwrap().is_none());
    assert_eq!(consumer.positions(), [offset(0, 10)]);
}

#[test]
fn a_read_that_nobody_waits_for_any_more_gives_way() {
    let (db, producer) = with_topic(1);
    let consumer = db
        .consumer(&["orders"], ConsumerOptions::default())
        .unwrap();
    let first = consumer.next_block(None);
    let error = consumer.next_block(None).wait(None).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidState);
    drop(first);
    let mut second = consumer.next_block(None);
    producer.enqueue("orders", &Record::new(b"x")).unwrap();
    assert_eq!(second.wait(None).unwrap().unwrap().len(), 1);
    let late = consumer
        .next_block(Some(Duration::from_millis(1)))
        .wait(None)
        .unwrap();
    assert!(late.is_none() && !consumer.is_finished());
}

#[test]
fn the_second_member_of_a_group_waits_for_the_only_partition_until_the_first_has_left() {
    let (db, producer) = with_topic(1);
    producer.enqueue("orders", &Record::new(b"x")).unwrap();
    let first = db.consumer(&["orders"], in_group()).unwrap();
    first.open().wait(None).unwrap();
    let second = db.consumer(&["orders"], in_group()).unwrap();
    second.open().wait(None).unwrap();
    assert!(second.assignment().is_empty() && !second.is_finished());
    assert_eq!(first.next_block(None).wait(None).unwrap().unwrap().len(), 1);
    // Before the second is given the partition, for it reads to the end that there is then.
    let sent = producer.send("orders", &Record::new(b"y")).unwrap();
    sent.wait(None).unwrap();
    first.close(None).wait(None).unwrap();
    // What the first was given and had not passed it had not committed.
    let mut records = 0;
    while records < 2 {
        let block = second.next_block(None).wait(None).unwrap().unwrap();
        records += block.len();
    }
    assert_eq!(records, 2);
}
