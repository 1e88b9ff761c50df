//! The producer over a transport that the tests answer for: failures, room, deadlines, the unknown.

mod closing;
mod growing;
mod prompt;

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::client::options::ConnectOptions;
use crate::client::transport::fake::Fake;
use crate::error::Outcome;
use crate::protocol::request::Request;
use crate::record::block::{CompletionRow, SendRow, write_send_row};

fn open(options: ProducerOptions) -> (Arc<Fake>, Producer) {
    let fake = Fake::new();
    let generation = fork::current().unwrap();
    let transport: Arc<dyn crate::client::transport::Transport> = Arc::clone(&fake) as _;
    let address = "fake".to_owned();
    let client = ClientShared::new(transport, address, generation, &ConnectOptions::default());
    let producer = Producer::open(client, &options).unwrap();
    (fake, producer)
}

/// A producer whose topic `t` of one partition and whose id are known.
fn ready() -> (Arc<Fake>, Producer) {
    let (fake, producer) = open(ProducerOptions::default());
    producer.enqueue("t", &Record::new(b"first")).unwrap();
    fake.settle(1);
    fake.next().unwrap().acknowledge(0);
    (fake, producer)
}

fn stopped() -> Error {
    Error::new(ErrorCode::KafkaStorageError, "the log has stopped").with_outcome(Outcome::Unknown)
}

fn tickets(producer: &Producer) -> Vec<CompletionRow> {
    let rows = producer.take_completions();
    rows.chunks(40)
        .map(|row| CompletionRow::decode(row).unwrap())
        .collect()
}

fn rows(topic_id: u32, tickets: std::ops::Range<u64>, value: &[u8]) -> Vec<u8> {
    let mut rows = Vec::new();
    for ticket in tickets {
        let row = SendRow {
            row_len: 0,
            topic_id,
            partition: -1,
            key: None,
            value: Some(value),
            headers_packed: &[],
            timestamp_ms: -1,
            ticket,
        };
        write_send_row(&mut rows, &row).unwrap();
    }
    rows
}

#[test]
fn records_to_a_topic_that_is_not_known_yet_wait_in_order_and_keep_their_deliveries() {
    let (fake, producer) = open(ProducerOptions::default());
    let deliveries: Vec<_> = (0..5_u8)
        .map(|number| producer.try_send("t", &Record::new(&[number])).unwrap())
        .collect();
    producer.enqueue("t", &Record::new(b"silent")).unwrap();
    let mut flushed = producer.flush();
    fake.settle(1);
    let batch = fake.next().unwrap();
    assert_eq!(fake.waiting(), 0, "one batch holds all");
    let sent = crate::record::Batch::verified(batch.payload.clone()).unwrap();
    let values: Vec<_> = sent
        .records()
        .map(|it| it.unwrap().value.unwrap().to_vec())
        .collect();
    assert_eq!(values.len(), 6);
    assert!(
        values
            .iter()
            .take(5)
            .enumerate()
            .all(|(index, it)| *it == [index as u8])
    );
    assert!(flushed.try_take().is_none());
    batch.acknowledge(10);
    assert_eq!(flushed.try_take(), Some(Ok(())));
    for (index, delivery) in deliveries.iter().enumerate() {
        assert_eq!(delivery.peek().unwrap().unwrap().offset, 10 + index as i64);
    }
}

#[test]
fn records_to_a_topic_that_does_not_exist_fail_when_that_is_known() {
    let (fake, producer) = open(ProducerOptions::default());
    let delivery = producer.try_send("t", &Record::new(b"x")).unwrap();
    producer.enqueue("t", &Record::new(b"y")).unwrap();
    let missing = Error::new(
        ErrorCode::UnknownTopicOrPartition,
        "topic `t` does not exist",
    );
    fake.next().unwrap().fail(missing.clone());
    assert_eq!(delivery.peek(), Some(Err(missing)));
    let error = producer.flush().try_take().unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownTopicOrPartition);
    assert!(
        error.message().starts_with("1 record to t not delivered"),
        "{error}"
    );
    // It is asked again: the topic may be there by now.
    let delivery = producer.try_send("t", &Record::new(b"z")).unwrap();
    fake.settle(1);
    fake.next().unwrap().acknowledge(0);
    assert!(delivery.peek().unwrap().is_ok());
}

#[test]
fn a_batch_that_failed_takes_what_is_behind_it_along_and_the_next_begins_an_epoch() {
    let (fake, producer) = ready();
    let first = producer.send("t", &Record::new(b"a")).unwrap();
    fake.settle(1);
    let second = producer.send("t", &Record::new(b"b")).unwrap();
    fake.settle(1);
    let (one, two) = (fake.next().unwrap(), fake.next().unwrap());
    one.fail(stopped());
    assert_eq!(
        first.peek().unwrap().unwrap_err().outcome(),
        Outcome::Unknown
    );
    let third = producer.send("t", &Record::new(b"c")).unwrap();
    let gap = Error::new(
        ErrorCode::OutOfOrderSequenceNumber,
        "sequence 2, expected 1",
    );
    two.fail(gap);
    assert_eq!(
        second.peek().unwrap().unwrap_err().code(),
        ErrorCode::KafkaStorageError
    );
    fake.settle(1);
    let again = fake.next().unwrap();
    let batch = crate::record::Batch::verified(again.payload.clone()).unwrap();
    assert_eq!(
        (batch.header().producer_epoch, batch.header().base_sequence),
        (1, 0)
    );
    again.acknowledge(1);
    assert!(third.peek().unwrap().is_ok());
}

#[test]
fn a_batch_whose_connection_was_lost_is_sent_again_as_it_was() {
    let (fake, producer) = open(ProducerOptions {
        retry_backoff_ms: Some(1),
        ..Default::default()
    });
    producer.enqueue("t", &Record::new(b"first")).unwrap();
    fake.settle(1);
    let first = fake.next().unwrap();
    let sent = first.payload.clone();
    first.fail(
        Error::new(ErrorCode::NetworkException, "the connection was lost")
            .with_outcome(Outcome::Unknown),
    );
    let again = loop {
        fake.settle(1);
        if let Some(asked) = fake.next() {
            break asked;
        }
        std::thread::yield_now();
    };
    assert_eq!(again.payload, sent);
    assert_eq!(producer.0.sender.counters.batches_resent.now(), 1);
    again.acknowledge(0);
    assert_eq!(producer.flush().try_take(), Some(Ok(())));
}

#[test]
fn without_a_producer_id_everything_that_waits_fails_with_the_reason() {
    let (fake, producer) = open(ProducerOptions::default());
    let delivery = producer.try_send("t", &Record::new(b"x")).unwrap();
    let describe = fake.next().unwrap();
    let topics = vec![crate::client::transport::fake::topic("t", 1)];
    describe
        .completion
        .finish(Ok(crate::protocol::response::Response::Topics(topics)));
    fake.run_jobs();
    let init = fake.next().unwrap();
    assert!(matches!(init.request, Request::InitProducer));
    init.fail(stopped());
    let error = delivery.peek().unwrap().unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        (ErrorCode::KafkaStorageError, Outcome::NotDone)
    );
}

#[test]
fn failures_nobody_was_told_about_come_out_of_flush_once_and_of_the_hook() {
    let (fake, producer) = ready();
    let failures = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&failures);
    producer.on_failure(move |failure| {
        seen.lock().push((
            failure.topic.to_string(),
            failure.partition,
            failure.records,
        ));
    });
    // What comes behind one that is on its way gathers.
    producer.enqueue("t", &Record::new(b"ahead")).unwrap();
    let read = producer.send("t", &Record::new(b"read")).unwrap();
    drop(producer.send("t", &Record::new(b"dropped before")).unwrap());
    let late = producer.send("t", &Record::new(b"dropped after")).unwrap();
    producer.enqueue("t", &Record::new(b"silent")).unwrap();
    fake.settle(1);
    fake.next().unwrap().acknowledge(1);
    fake.next().unwrap().fail(stopped());
    assert!(read.peek().unwrap().is_err());
    drop(late);
    fake.run_jobs();
    assert_eq!(
        *failures.lock(),
        [("t".to_owned(), 0, 2), ("t".to_owned(), 0, 1)]
    );
    let error = producer.flush().try_take().unwrap().unwrap_err();
    assert_eq!(
        error.message(),
        "3 records to t not delivered; the first failed with: the log has stopped"
    );
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(producer.flush().try_take(), Some(Ok(())));
    drop(read);
    assert_eq!(producer.flush().try_take(), Some(Ok(())));
}

#[test]
fn a_clone_of_a_delivery_sees_the_same_and_counts_nothing() {
    let (fake, producer) = ready();
    let delivery = producer.send("t", &Record::new(b"x")).unwrap();
    let clone = delivery.clone();
    fake.settle(1);
    fake.next().unwrap().fail(stopped());
    drop(clone);
    assert!(delivery.peek().unwrap().is_err());
    drop(delivery);
    assert_eq!(producer.flush().try_take(), Some(Ok(())));
}

#[test]
fn without_room_try_send_is_full_and_ready_says_when_there_is_some() {
    let options = ProducerOptions {
        buffer_bytes: Some(256 << 10),
        batch_bytes: Some(64 << 10),
        max_block_ms: Some(1),
        ..Default::default()
    };
    let (fake, producer) = open(options);
    let value = [0; 10_000];
    let mut accepted = 0;
    let error = loop {
        match producer.enqueue("t", &Record::new(&value)) {
            Ok(()) => accepted += 1,
            Err(error) => break error,
        }
        fake.settle(1);
    };
    assert_eq!(
        (error.code(), error.outcome()),
        (ErrorCode::BufferFull, Outcome::NotDone)
    );
    assert!((20..27).contains(&accepted), "{accepted}");
    assert!(
        error.message().contains("buffer_bytes of 262144"),
        "{error}"
    );
    let error = producer.send("t", &Record::new(&value)).unwrap_err();
    assert!(error.message().contains("max_block_ms of 1 ms"), "{error}");
    assert!(producer.0.sender.desk.lock().queue.is_empty());
    let mut ready = producer.ready();
    assert!(ready.try_take().is_none());
    fake.next().unwrap().acknowledge(0);
    assert_eq!(ready.try_take(), Some(Ok(())));
    producer.enqueue("t", &Record::new(&value)).unwrap();
}

#[test]
fn rows_are_taken_while_there_is_room_and_rows_not_taken_back_fill_it() {
    let options = ProducerOptions {
        buffer_bytes: Some(256 << 10),
        batch_bytes: Some(64 << 10),
        ..Default::default()
    };
    let (fake, producer) = open(options);
    let topic = producer.topic("t").unwrap();
    assert_eq!(producer.topic("t"), Ok(topic));
    let all = rows(topic, 1..101, &[0; 5_000]);
    let row_bytes = all.len() / 100;
    let taken = producer.send_rows(&all).unwrap();
    assert!(taken > 0 && taken < all.len() && taken.is_multiple_of(row_bytes));
    let mut ready = producer.ready();
    assert!(ready.try_take().is_none());
    fake.settle(1);
    let mut offset = 0;
    while let Some(asked) = fake.next() {
        asked.acknowledge(offset);
        offset += 100;
        fake.settle(1);
    }
    assert_eq!(ready.try_take(), Some(Ok(())));
    assert_eq!(
        producer.send_rows(&all[taken..taken + row_bytes]).unwrap(),
        row_bytes
    );
    let found: u32 = tickets(&producer).iter().map(|row| row.count).sum();
    assert_eq!(found as usize, taken / row_bytes);
}

#[test]
fn a_ticket_that_failed_names_an_error_that_can_be_had() {
    let (fake, producer) = ready();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    producer.completions(move || _ = counted.fetch_add(1, Ordering::SeqCst));
    let topic = producer.topic("t").unwrap();
    let mut sent = rows(topic, 5..8, b"x");
    sent.extend(rows(topic, 20..21, b"y"));
    sent.extend(rows(topic, 0..1, b"no ticket"));
    producer.send_rows(&sent).unwrap();
    fake.settle(1);
    fake.next().unwrap().fail(stopped());
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    let found = tickets(&producer);
    let ranges: Vec<_> = found
        .iter()
        .map(|row| (row.first_ticket, row.count))
        .collect();
    assert_eq!(ranges, [(5, 3), (20, 1)]);
    for row in &found {
        assert_eq!(
            (row.outcome, row.error, row.base_offset, row.durability),
            (2, 56, -1, 0)
        );
        assert_eq!(producer.take_error(row.error_id), Some(stopped()));
    }
    assert_eq!(producer.take_error(0), None);
    // The record without a ticket is one that nobody was told about.
    assert!(producer.flush().try_take().unwrap().is_err());
}

#[test]
fn a_close_that_comes_to_its_deadline_says_what_is_not_delivered() {
    let (fake, producer) = ready();
    producer.enqueue("t", &Record::new(b"x")).unwrap();
    fake.settle(1);
    let report = producer
        .close(Some(Duration::from_millis(5)))
        .wait(None)
        .unwrap();
    assert_eq!((report.unsent_records, report.failed_records), (1, 0));
    assert_eq!(producer.close(None).wait(None).unwrap(), report);
    let error = producer.enqueue("t", &Record::new(b"y")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Closed);
    assert_eq!(
        producer.ready().try_take().unwrap().unwrap_err().code(),
        ErrorCode::Closed
    );
    fake.next().unwrap().acknowledge(1);
}

#[test]
fn a_close_that_comes_to_its_deadline_ends_what_it_counts() {
    // It counted what was on its way, and an acknowledgement that came a moment later made it wrong.
    let (fake, producer) = ready();
    let sent = producer.send("t", &Record::new(b"x")).unwrap();
    fake.settle(1);
    let mut report = producer.close(Some(Duration::ZERO));
    let report = report.wait(None).unwrap();
    fake.next().unwrap().acknowledge(1);
    assert_eq!(report.unsent_records, 1);
    let error = sent.peek().unwrap().unwrap_err();
    assert_eq!(
        (error.code(), error.outcome()),
        (ErrorCode::Closed, Outcome::Unknown)
    );
    assert_eq!(producer.remembered().buffered_bytes(), 0);
}

#[test]
fn a_close_that_comes_to_its_deadline_says_that_what_never_left_is_not_in_the_log() {
    let (fake, producer) = open(ProducerOptions {
        in_flight: Some(1),
        ..Default::default()
    });
    producer.enqueue("t", &Record::new(b"first")).unwrap();
    fake.settle(1);
    fake.next().unwrap().acknowledge(0);
    let first = producer.send("t", &Record::new(b"x")).unwrap();
    fake.settle(1);
    let second = producer.send("t", &Record::new(b"y")).unwrap();
    let mut report = producer.close(Some(Duration::ZERO));
    assert_eq!(report.wait(None).unwrap().unsent_records, 2);
    let outcomes = [first, second].map(|sent| sent.peek().unwrap().unwrap_err().outcome());
    assert_eq!(outcomes, [Outcome::Unknown, Outcome::NotDone]);
}

#[test]
fn a_close_reports_what_failed_and_nobody_was_told() {
    let (fake, producer) = ready();
    producer.enqueue("t", &Record::new(b"x")).unwrap();
    let mut closed = producer.close(None);
    fake.settle(1);
    fake.next().unwrap().fail(stopped());
    let report = closed.try_take().unwrap().unwrap();
    assert_eq!((report.unsent_records, report.failed_records), (0, 1));
    assert_eq!(report.first_error, Some(stopped()));
}

#[test]
fn a_producer_that_is_dropped_still_sends_what_it_has() {
    let (fake, producer) = open(ProducerOptions {
        linger_ms: Some(60_000),
        ..Default::default()
    });
    let delivery = producer.try_send("t", &Record::new(b"x")).unwrap();
    drop(producer);
    fake.settle(1);
    fake.next().unwrap().acknowledge(0);
    assert!(delivery.peek().unwrap().is_ok());
}

#[test]
fn records_fail_when_the_transport_takes_no_more_jobs() {
    let (fake, producer) = ready();
    producer.enqueue("t", &Record::new(b"on its way")).unwrap();
    fake.drop_jobs();
    let delivery = producer.send("t", &Record::new(b"x")).unwrap();
    assert_eq!(
        delivery.peek().unwrap().unwrap_err().code(),
        ErrorCode::Closed
    );
    fake.next().unwrap().acknowledge(1);
    assert_eq!(producer.flush().try_take(), Some(Ok(())));
}

#[test]
fn a_record_with_too_many_headers_is_refused() {
    let (_fake, producer) = ready();
    let headers = vec![
        Header {
            key: "k",
            value: None
        };
        crate::limits::RECORD_HEADERS_MAX + 1
    ];
    let record = Record {
        headers: &headers,
        ..Record::new(b"x")
    };
    let error = producer.try_send("t", &record).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidRecord);
    let record = Record {
        headers: &headers[1..],
        ..Record::new(b"x")
    };
    drop(producer.try_send("t", &record).unwrap());
}

#[test]
fn names_of_topics_that_cannot_be_are_refused_before_anything_is_kept() {
    let (_fake, producer) = ready();
    for name in ["", "x".repeat(250).as_str()] {
        let error = producer.try_send(name, &Record::new(b"x")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidTopic);
    }
}

#[test]
fn a_handle_made_before_a_fork_is_refused() {
    let (_fake, producer) = ready();
    let inner = Arc::clone(&producer.0.sender);
    let error = fork::check(inner.generation + 1).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        (ErrorCode::Forked, crate::ErrorKind::Closed)
    );
    let error = fork::check_process(inner.generation + 1).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Forked);
}
