//! `process` over a log in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, Mutex};

use super::*;
use crate::client::options::{
    Ack, ConsumerOptions, Order, ProcessOptions, ProducerOptions, TopicOptions, Until,
};
use crate::client::{Client, Consumer, Record};
use crate::error::ErrorCode;
use crate::record::Header;

mod batches;
mod processor;
mod random;

fn open(partitions: u32) -> Client {
    let db = crate::connect("mem:").wait(None).unwrap();
    let options = TopicOptions {
        partitions: Some(partitions),
        ..TopicOptions::default()
    };
    db.admin().create_topic("t", options).wait(None).unwrap();
    db
}

fn send(db: &Client, topic: &str, records: &[(Option<&str>, String)]) {
    // One batch a partition: what is taken at once does not depend on when it came.
    let options = ProducerOptions {
        linger_ms: Some(60_000),
        ..ProducerOptions::default()
    };
    let producer = db.producer(options).unwrap();
    for (key, value) in records {
        let record = Record {
            key: key.map(str::as_bytes),
            headers: &[Header {
                key: "trace",
                value: Some(b"ab"),
            }],
            ..Record::new(value.as_bytes())
        };
        producer.enqueue(topic, &record).unwrap();
    }
    producer.flush().wait(None).unwrap();
}

fn numbered(count: usize) -> Vec<(Option<&'static str>, String)> {
    (0..count)
        .map(|number| (None, number.to_string()))
        .collect()
}

fn to_end() -> ConsumerOptions {
    ConsumerOptions {
        group: Some("g".into()),
        until: Some(Until::End),
        ..ConsumerOptions::default()
    }
}

fn quick() -> ProcessOptions {
    ProcessOptions {
        backoff_ms: Some(1),
        ..ProcessOptions::default()
    }
}

fn text(record: &ProcessRecord) -> String {
    String::from_utf8(record.value().unwrap().to_vec()).unwrap()
}

/// What the group has committed of a topic, by partition, once the consumer is closed.
fn committed(db: &Client, consumer: &Consumer) -> BTreeMap<i32, i64> {
    consumer.close(None).wait(None).unwrap();
    let group = db.admin().describe_group("g").wait(None).unwrap();
    let offsets = group.offsets.into_iter();
    offsets
        .map(|offset| (offset.partition, offset.offset))
        .collect()
}

#[test]
fn records_of_a_key_are_handled_in_order_and_all_are_committed() {
    let db = open(3);
    let keys: Vec<String> = (0..20).map(|key| format!("k{key}")).collect();
    let records: Vec<_> = (0..1_000)
        .map(|number| (Some(keys[number % 20].as_str()), number.to_string()))
        .collect();
    send(&db, "t", &records);
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    let seen: Mutex<BTreeMap<Vec<u8>, Vec<u32>>> = Mutex::default();
    let failed = AtomicU32::new(0);
    consumer
        .process(&quick(), |record| {
            let number: u32 = text(record).parse().unwrap();
            // One in seven fails at first.
            if number.is_multiple_of(7) && record.attempt() == 1 {
                failed.fetch_add(1, Ordering::Relaxed);
                return Err("not yet");
            }
            let key = record.key().unwrap().to_vec();
            seen.lock().unwrap().entry(key).or_default().push(number);
            Ok(())
        })
        .unwrap();
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen.values().map(Vec::len).sum::<usize>(), 1_000);
    assert!(seen.values().all(|numbers| numbers.is_sorted()));
    assert_eq!(failed.into_inner(), 143);
    assert_eq!(committed(&db, &consumer).values().sum::<i64>(), 1_000);
}

#[test]
fn as_many_handlers_run_at_once_as_concurrency_says_and_no_more() {
    let db = open(1);
    send(&db, "t", &numbered(24));
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    let options = ProcessOptions {
        concurrency: Some(8),
        ..ProcessOptions::default()
    };
    // Never passed unless eight are there at once.
    let (barrier, running, most) = (Barrier::new(8), AtomicU32::new(0), AtomicU32::new(0));
    consumer
        .process(&options, |_| {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            barrier.wait();
            running.fetch_sub(1, Ordering::SeqCst);
            Ok::<(), String>(())
        })
        .unwrap();
    assert_eq!(most.into_inner(), 8);
}

#[test]
fn a_record_that_fails_holds_back_its_key_only() {
    let db = open(1);
    let records =
        [("a", 0), ("a", 1), ("b", 2)].map(|(key, number)| (Some(key), number.to_string()));
    send(&db, "t", &records);
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    let seen = Mutex::new(Vec::new());
    consumer
        .process(&quick(), |record| {
            let number = text(record);
            // The first goes on once the other key is through.
            if number == "0"
                && !seen.lock().unwrap().contains(&"2".to_owned())
                && record.attempt() < 5
            {
                return Err("not yet");
            }
            seen.lock().unwrap().push(number);
            Ok(())
        })
        .unwrap();
    let seen = seen.into_inner().unwrap();
    let place = |number: &str| seen.iter().position(|seen| seen == number);
    assert!(place("0") < place("1"), "{seen:?}");
}

#[test]
fn what_fails_at_every_attempt_becomes_a_dead_letter_and_is_committed() {
    let db = open(1);
    let admin = db.admin();
    admin
        .create_topic("dead", TopicOptions::default())
        .wait(None)
        .unwrap();
    send(
        &db,
        "t",
        &[
            (Some("k"), "good".into()),
            (Some("k"), "bad".into()),
            (Some("k"), "good".into()),
        ],
    );
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    let options = ProcessOptions {
        attempts: Some(3),
        dead_letter: Some("dead".into()),
        ..quick()
    };
    consumer
        .process(&options, |record| match text(record).as_str() {
            "bad" => Err(format!("no {}", record.attempt())),
            _ => Ok(()),
        })
        .unwrap();
    assert_eq!(committed(&db, &consumer), BTreeMap::from([(0, 3)]));

    let dead = db.consumer(&["dead"], ConsumerOptions::default()).unwrap();
    let batch = dead.next_batch_wait(None).unwrap().unwrap();
    let letters: Vec<_> = batch.records().collect::<Result<_, _>>().unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].key, letters[0].value),
        (Some(&b"k"[..]), Some(&b"bad"[..]))
    );
    let headers = letters[0].headers().map(|header| {
        let header = header.unwrap();
        (header.key, str::from_utf8(header.value.unwrap()).unwrap())
    });
    let expected = [
        ("trace", "ab"),
        ("headwater.dlq.topic", "t"),
        ("headwater.dlq.partition", "0"),
        ("headwater.dlq.offset", "1"),
        ("headwater.dlq.attempts", "3"),
        ("headwater.dlq.error", "no 3"),
    ];
    assert_eq!(headers.collect::<Vec<_>>(), expected);
}

#[test]
fn without_a_dead_letter_topic_the_error_stops_everything_and_nothing_is_skipped() {
    let db = open(1);
    send(&db, "t", &numbered(10));
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    let options = ProcessOptions {
        concurrency: Some(2),
        attempts: Some(2),
        ..quick()
    };
    let ended = consumer.process(&options, |record| match record.offset() {
        4 => Err("four"),
        _ => Ok(()),
    });
    match ended {
        Err(ProcessError::Handler { record, error }) => {
            assert_eq!((record.offset(), record.attempt(), error), (4, 2, "four"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(consumer.positions()[0].offset, 4);
    // The next one begins with it.
    let seen = Mutex::new(Vec::new());
    consumer
        .process(&options, |record| {
            seen.lock().unwrap().push(record.offset());
            Ok::<(), String>(())
        })
        .unwrap();
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, [4, 5, 6, 7, 8, 9]);
    assert_eq!(committed(&db, &consumer), BTreeMap::from([(0, 10)]));
}

#[test]
fn a_dead_letter_that_cannot_be_written_stops_everything() {
    let db = open(1);
    send(&db, "t", &numbered(1));
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    let options = ProcessOptions {
        attempts: Some(1),
        dead_letter: Some("nowhere".into()),
        ..ProcessOptions::default()
    };
    let ended = consumer.process(&options, |_| Err("no"));
    match ended {
        Err(ProcessError::Client(error)) => {
            assert_eq!(error.code(), ErrorCode::UnknownTopicOrPartition);
            assert!(error.message().contains("offset 0 of t-0"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(committed(&db, &consumer), BTreeMap::new());
}

#[test]
fn the_topic_of_dead_letters_is_not_one_that_is_processed() {
    let db = open(1);
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    let options = ProcessOptions {
        dead_letter: Some("t".into()),
        ..ProcessOptions::default()
    };
    let error = consumer.processor(&options).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidOption);
}

#[test]
fn closing_the_consumer_ends_it_once_the_handlers_have_ended() {
    let db = open(1);
    send(&db, "t", &numbered(3));
    let options = ConsumerOptions {
        until: None,
        ..to_end()
    };
    let consumer = db.consumer(&["t"], options).unwrap();
    let handled = AtomicU32::new(0);
    let one_by_one = ProcessOptions {
        concurrency: Some(1),
        ..ProcessOptions::default()
    };
    consumer
        .process(&one_by_one, |record| {
            if record.offset() == 1 {
                consumer.close(None).wait(None).unwrap();
            }
            handled.fetch_add(1, Ordering::Relaxed);
            Ok::<(), String>(())
        })
        .unwrap();
    assert_eq!(handled.into_inner(), 2);
    assert_eq!(committed(&db, &consumer), BTreeMap::from([(0, 1)]));
}

#[test]
fn closing_the_consumer_wakes_who_waits_for_a_pause() {
    let db = open(1);
    send(&db, "t", &numbered(1));
    let options = ConsumerOptions {
        max_unacked: Some(1),
        ..to_end()
    };
    let consumer = db.consumer(&["t"], options).unwrap();
    let options = ProcessOptions {
        backoff_ms: Some(86_400_000),
        backoff_max_ms: Some(86_400_000),
        ..ProcessOptions::default()
    };
    let processor = consumer.processor(&options).unwrap();
    let records = processor.take_records(1).wait(None).unwrap().unwrap();
    processor.finish(vec![(records[0].ticket(), Finish::Retry("no".into()))]);
    let mut waiting = processor.take_records(1);
    consumer.close(None).wait(None).unwrap();
    assert!(waiting.wait(None).unwrap().is_none());
}

#[test]
fn closing_the_client_ends_it_too() {
    let db = open(1);
    send(&db, "t", &numbered(2));
    let options = ConsumerOptions {
        until: None,
        ..to_end()
    };
    let consumer = db.consumer(&["t"], options).unwrap();
    let processor = consumer.processor(&ProcessOptions::default()).unwrap();
    let records = processor.take_records(1).wait(None).unwrap().unwrap();
    assert!(processor.take_records(1).wait(None).unwrap().is_some());
    let mut waiting = processor.take_records(1);
    db.close(None).wait(None).unwrap();
    assert!(waiting.wait(None).unwrap().is_none());
    processor.finish(vec![(records[0].ticket(), Finish::Done)]);
    assert!(processor.take(1).wait(None).unwrap().is_none());
    processor.close().wait(None).unwrap();
}

#[test]
fn a_handler_that_panics_ends_it() {
    let db = open(1);
    send(&db, "t", &numbered(3));
    let consumer = db.consumer(&["t"], to_end()).unwrap();
    let processing = std::panic::AssertUnwindSafe(|| {
        consumer.process(&ProcessOptions::default(), |record| {
            assert_ne!(record.offset(), 1, "as intended");
            Ok::<(), String>(())
        })
    });
    assert!(std::panic::catch_unwind(processing).is_err());
    consumer.close(None).wait(None).unwrap();
}

#[test]
fn with_little_room_everything_is_processed_all_the_same() {
    for (order, max_unacked) in [(Order::Key, 1), (Order::Partition, 3), (Order::None, 7)] {
        let db = open(2);
        let records: Vec<_> = (0..300)
            .map(|number| (Some(["a", "b", "c"][number % 3]), number.to_string()))
            .collect();
        send(&db, "t", &records);
        let options = ConsumerOptions {
            max_unacked: Some(max_unacked),
            ack: Some(Ack::Manual),
            ..to_end()
        };
        let consumer = db.consumer(&["t"], options).unwrap();
        let options = ProcessOptions {
            order: Some(order),
            ..quick()
        };
        let handled = AtomicU32::new(0);
        consumer
            .process(&options, |_| {
                handled.fetch_add(1, Ordering::Relaxed);
                Ok::<(), String>(())
            })
            .unwrap();
        assert_eq!(handled.into_inner(), 300);
        assert_eq!(committed(&db, &consumer).values().sum::<i64>(), 300);
    }
}

#[test]
fn a_record_that_pauses_for_long_before_it_is_tried_again_keeps_nobody_from_being_a_member() {
    // Its pause was taken for a handler that is stuck: the member left its group, and `process` ended.
    let db = open(1);
    send(&db, "t", &numbered(1));
    let options = ConsumerOptions {
        processing_timeout_ms: Some(1_000),
        ..to_end()
    };
    let consumer = db.consumer(&["t"], options).unwrap();
    let slowly = ProcessOptions {
        backoff_ms: Some(2_000),
        ..ProcessOptions::default()
    };
    let attempts = AtomicU32::new(0);
    let processed = consumer.process(&slowly, |record| {
        attempts.fetch_add(1, Ordering::Relaxed);
        match record.attempt() {
            1 => Err("not yet"),
            _ => Ok(()),
        }
    });
    processed.unwrap();
    assert_eq!(attempts.into_inner(), 2);
    assert_eq!(committed(&db, &consumer), BTreeMap::from([(0, 1)]));
}
