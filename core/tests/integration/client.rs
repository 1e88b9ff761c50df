//! The client as an application uses it, over a log in memory and in a folder.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use headwater::record::block::{BlockView, CompletionRow, SendRow, write_send_row};
use headwater::{
    Ack, Client, ConnectOptions, Consumer, ConsumerOptions, Durability, ErrorCode, ErrorKind,
    Header, NotifyQueue, OffsetAt, PartitionOffset, Producer, ProducerOptions, Record, Start,
    TopicOptions, Until,
};

fn memory() -> Client {
    headwater::connect("mem:").wait(None).unwrap()
}

fn with_topic(partitions: u32) -> (Client, Producer) {
    let db = memory();
    let options = TopicOptions {
        partitions: Some(partitions),
        ..Default::default()
    };
    db.admin()
        .create_topic("orders", options)
        .wait(None)
        .unwrap();
    let producer = db.producer(ProducerOptions::default()).unwrap();
    (db, producer)
}

fn to_end() -> ConsumerOptions {
    ConsumerOptions {
        until: Some(Until::End),
        ..Default::default()
    }
}

fn in_group() -> ConsumerOptions {
    ConsumerOptions {
        group: Some("billing".into()),
        ..to_end()
    }
}

/// Every record that comes: partition, offset, value.
fn read_all(consumer: &Consumer) -> Vec<(i32, i64, String)> {
    let mut found = Vec::new();
    while let Some(batch) = consumer.next_batch_wait(None).unwrap() {
        for record in batch.records() {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            found.push((batch.partition(), record.offset, value));
        }
    }
    found
}

fn send(producer: &Producer, values: std::ops::Range<usize>) {
    for value in values {
        producer
            .enqueue("orders", &Record::new(value.to_string().as_bytes()))
            .unwrap();
    }
    producer.flush().wait(None).unwrap();
}

fn offset(partition: i32, offset: i64) -> PartitionOffset {
    PartitionOffset {
        topic: "orders".into(),
        partition,
        offset,
    }
}

#[test]
fn what_was_sent_to_a_folder_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    let address = path.to_str().unwrap();
    let db = headwater::connect(address).wait(None).unwrap();
    db.admin()
        .create_topic("orders", TopicOptions::default())
        .wait(None)
        .unwrap();
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let headers = [
        Header {
            key: "trace",
            value: Some(b"ab"),
        },
        Header {
            key: "none",
            value: None,
        },
    ];
    let record = Record {
        headers: &headers,
        timestamp_ms: Some(1_234),
        ..Record::new(b"hello").with_key(b"k1")
    };
    let sent = producer
        .send("orders", &record)
        .unwrap()
        .wait(None)
        .unwrap();
    assert_eq!(
        (&*sent.topic, sent.partition, sent.offset),
        ("orders", 0, 0)
    );
    assert_eq!(
        (sent.timestamp_ms, sent.durability),
        (1_234, Durability::Disk)
    );
    let report = db.close(None).wait(None).unwrap();
    assert_eq!(report, headwater::CloseReport::default());

    let read_only = ConnectOptions {
        create: Some(false),
        ..Default::default()
    };
    let db = headwater::connect_with(address, read_only)
        .wait(None)
        .unwrap();
    let consumer = db.consumer(&["orders"], to_end()).unwrap();
    let batch = consumer.next_batch_wait(None).unwrap().unwrap();
    let record = batch.records().next().unwrap().unwrap();
    assert_eq!(
        (record.key, record.value),
        (Some(&b"k1"[..]), Some(&b"hello"[..]))
    );
    assert_eq!((record.offset, record.timestamp_ms), (0, 1_234));
    let found: Vec<_> = record.headers().map(Result::unwrap).collect();
    assert_eq!(found, headers);
    assert!(consumer.next_batch_wait(None).unwrap().is_none());
    assert!(consumer.is_finished());
    db.close(None).wait(None).unwrap();
}

#[test]
fn a_folder_that_is_not_there_is_not_made_by_a_command_that_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nothing");
    let options = ConnectOptions {
        create: Some(false),
        ..Default::default()
    };
    let error = headwater::connect_with(path.to_str().unwrap(), options)
        .wait(None)
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::NotFound, ErrorCode::FolderNotFound)
    );
    assert!(!path.exists());
}

#[test]
fn a_client_that_was_dropped_closes_in_the_background_and_the_folder_opens_again() {
    let folder = tempfile::tempdir().unwrap();
    let address = folder.path().to_str().unwrap();
    for round in 0..3 {
        let db = headwater::connect(address).wait(None).unwrap();
        let options = TopicOptions {
            exist_ok: Some(true),
            ..Default::default()
        };
        db.admin()
            .create_topic("orders", options)
            .wait(None)
            .unwrap();
        let producer = db.producer(ProducerOptions::default()).unwrap();
        let sent = producer
            .send("orders", &Record::new(b"x"))
            .unwrap()
            .wait(None)
            .unwrap();
        assert_eq!(sent.offset, round);
    }
}

#[test]
fn records_of_one_key_stay_in_order_and_all_arrive() {
    let (db, producer) = with_topic(4);
    for number in 0..10_000_u32 {
        let key = (number % 97).to_le_bytes();
        let value = number.to_string();
        producer
            .enqueue("orders", &Record::new(value.as_bytes()).with_key(&key))
            .unwrap();
    }
    producer.flush().wait(None).unwrap();
    let mut last = std::collections::HashMap::new();
    let mut count = 0;
    let consumer = db.consumer(&["orders"], to_end()).unwrap();
    while let Some(batch) = consumer.next_batch_wait(None).unwrap() {
        for record in batch.records() {
            let record = record.unwrap();
            let number: u32 = str::from_utf8(record.value.unwrap())
                .unwrap()
                .parse()
                .unwrap();
            let key = record.key.unwrap().to_vec();
            let before = last.insert(key, (batch.partition(), number));
            assert!(before.is_none_or(|(partition, before)| {
                partition == batch.partition() && before < number
            }));
            count += 1;
        }
    }
    assert_eq!((count, last.len()), (10_000, 97));
}

#[test]
fn records_without_a_key_reach_every_partition() {
    let (db, producer) = with_topic(3);
    let sent = |_| {
        producer
            .send("orders", &Record::new(b"x"))
            .unwrap()
            .wait(None)
            .unwrap()
            .partition
    };
    let mut partitions: Vec<_> = (0..6).map(sent).collect();
    partitions.sort_unstable();
    assert_eq!(partitions, [0, 0, 1, 1, 2, 2]);
    drop(db);
}

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
fn an_unknown_topic_is_answered_at_send_and_at_open() {
    let db = memory();
    let producer = db.producer(ProducerOptions::default()).unwrap();
    for error in [
        producer.send("nothing", &Record::new(b"x")).unwrap_err(),
        producer.enqueue("nothing", &Record::new(b"x")).unwrap_err(),
        db.consumer(&["nothing"], to_end())
            .unwrap()
            .open()
            .wait(None)
            .unwrap_err(),
        db.consumer(&["nothing"], in_group())
            .unwrap()
            .next_batch_wait(None)
            .unwrap_err(),
        db.admin().describe_topic("nothing").wait(None).unwrap_err(),
    ] {
        assert_eq!(error.code(), ErrorCode::UnknownTopicOrPartition);
        assert!(error.message().contains("nothing"), "{error}");
    }
    producer.flush().wait(None).unwrap();
    db.admin()
        .create_topic("nothing", TopicOptions::default())
        .wait(None)
        .unwrap();
    producer
        .send("nothing", &Record::new(b"x"))
        .unwrap()
        .wait(None)
        .unwrap();
}

#[test]
fn a_partition_that_is_not_there_is_refused() {
    let (db, producer) = with_topic(2);
    let record = Record {
        partition: Some(2),
        ..Record::new(b"x")
    };
    let error = producer.send("orders", &record).unwrap_err();
    assert_eq!(
        error.message(),
        "topic `orders` has no partition 2; it has 0 to 1"
    );
    let options = ConsumerOptions {
        partitions: Some(vec![1, 2]),
        ..Default::default()
    };
    let error = db
        .consumer(&["orders"], options)
        .unwrap()
        .open()
        .wait(None)
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn a_record_above_the_topics_limit_is_refused_before_it_is_sent() {
    let db = memory();
    let options = TopicOptions {
        max_message_bytes: Some(2_048),
        ..Default::default()
    };
    db.admin()
        .create_topic("orders", options)
        .wait(None)
        .unwrap();
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let error = producer
        .send("orders", &Record::new(&[0; 2_048]))
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::MessageTooLarge);
    assert!(
        error.message().contains("max_message_bytes is 2048"),
        "{error}"
    );
    producer
        .send("orders", &Record::new(&[0; 1_900]))
        .unwrap()
        .wait(None)
        .unwrap();
    for _ in 0..100 {
        producer.enqueue("orders", &Record::new(&[0; 600])).unwrap();
    }
    producer.flush().wait(None).unwrap();
}

#[test]
fn options_out_of_range_are_refused_with_their_names() {
    let db = memory();
    let refused = |options: ProducerOptions| db.producer(options).unwrap_err();
    let error = refused(ProducerOptions {
        linger_ms: Some(60_001),
        ..Default::default()
    });
    assert_eq!(
        error.message(),
        "producer option `linger_ms` is `60001`; it must be 0 to 60000"
    );
    let both = ProducerOptions {
        batch_bytes: Some(1 << 20),
        buffer_bytes: Some(1 << 20),
        ..Default::default()
    };
    assert!(refused(both).message().contains("twice `batch_bytes`"));
    let short = ProducerOptions {
        delivery_timeout_ms: Some(100),
        ..Default::default()
    };
    assert!(
        refused(short)
            .message()
            .contains("`linger_ms` + `request_timeout_ms`")
    );
    let quorum = ProducerOptions {
        durability: Some(Durability::Quorum),
        ..Default::default()
    };
    assert_eq!(refused(quorum).kind(), ErrorKind::Unsupported);
    let none: [&str; 0] = [];
    for topics in [&none[..], &["a", "a"]] {
        let error = db.consumer(topics, ConsumerOptions::default()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
    }
    let both = ConsumerOptions {
        partitions: Some(vec![0]),
        ..in_group()
    };
    assert_eq!(
        db.consumer(&["a"], both).unwrap_err().code(),
        ErrorCode::InvalidOption
    );
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
    // The one before may be a member for a moment still.
    while again.open().wait(None).is_err() {
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
fn futures_work_on_any_executor_and_tickets_wake_once() {
    let (db, producer) = with_topic(1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let read = runtime.block_on(async {
        let sent = producer
            .send("orders", &Record::new(b"x"))
            .unwrap()
            .await
            .unwrap();
        assert_eq!(sent.offset, 0);
        producer.flush().await.unwrap();
        let consumer = db.consumer(&["orders"], to_end()).unwrap();
        consumer.next_block(None).await.unwrap().unwrap().len()
    });
    assert_eq!(read, 1);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let queue = NotifyQueue::new(move || _ = counted.fetch_add(1, Ordering::SeqCst));
    let deliveries: Vec<_> = (0..100)
        .map(|ticket| {
            let delivery = producer.send("orders", &Record::new(b"x")).unwrap();
            delivery.notify(&queue, ticket);
            delivery
        })
        .collect();
    producer.flush().wait(None).unwrap();
    let mut tickets = queue.drain();
    while tickets.len() < 100 {
        tickets.extend(queue.drain());
    }
    tickets.sort_unstable();
    assert_eq!(tickets, (0..100).collect::<Vec<_>>());
    assert!(deliveries.iter().all(|it| it.peek().unwrap().is_ok()));
    assert!(calls.load(Ordering::SeqCst) <= 100);
}

#[test]
fn send_rows_come_back_as_completion_rows() {
    let (db, producer) = with_topic(2);
    let topic = producer.topic("orders").unwrap();
    let mut rows = Vec::new();
    for ticket in 1..=1_000_u64 {
        let value = ticket.to_string();
        let row = SendRow {
            row_len: 0,
            topic_id: topic,
            partition: (ticket % 2) as i32,
            key: None,
            value: Some(value.as_bytes()),
            headers_packed: &[],
            timestamp_ms: -1,
            ticket,
        };
        write_send_row(&mut rows, &row).unwrap();
    }
    let hooked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&hooked);
    producer.completions(move || _ = counted.fetch_add(1, Ordering::SeqCst));
    assert_eq!(producer.send_rows(&rows).unwrap(), rows.len());
    producer.flush().wait(None).unwrap();
    assert!(hooked.load(Ordering::SeqCst) >= 1);
    let completions = producer.take_completions();
    let mut tickets = std::collections::BTreeMap::new();
    for row in completions.chunks(40) {
        let row = CompletionRow::decode(row).unwrap();
        assert_eq!(
            (row.outcome, row.error, row.error_id, row.durability),
            (0, 0, 0, 1)
        );
        for index in 0..u64::from(row.count) {
            let place = (row.partition, row.base_offset + index as i64);
            assert!(tickets.insert(row.first_ticket + index, place).is_none());
        }
    }
    assert_eq!(tickets.len(), 1_000);
    for (ticket, (partition, _)) in &tickets {
        assert_eq!(*partition, (ticket % 2) as i32);
    }
    assert!(producer.take_completions().is_empty());
    drop(db);
}

#[test]
fn malformed_send_rows_change_nothing() {
    let (_db, producer) = with_topic(1);
    let topic = producer.topic("orders").unwrap();
    let row = |topic_id, partition| SendRow {
        row_len: 0,
        topic_id,
        partition,
        key: None,
        value: Some(b"x"),
        headers_packed: &[],
        timestamp_ms: -1,
        ticket: 0,
    };
    for (bad, code) in [
        (row(topic + 1, -1), ErrorCode::InvalidArgument),
        (row(topic, 1), ErrorCode::UnknownTopicOrPartition),
    ] {
        let mut rows = Vec::new();
        write_send_row(&mut rows, &row(topic, -1)).unwrap();
        write_send_row(&mut rows, &bad).unwrap();
        let error = producer.send_rows(&rows).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.message().contains("send row 1"), "{error}");
        rows.truncate(rows.len() - 1);
        assert_eq!(
            producer.send_rows(&rows).unwrap_err().code(),
            ErrorCode::InvalidArgument
        );
    }
    producer.flush().wait(None).unwrap();
    let next = producer
        .send("orders", &Record::new(b"x"))
        .unwrap()
        .wait(None)
        .unwrap();
    assert_eq!(next.offset, 0);
}

#[test]
fn closing_flushes_commits_and_refuses_what_comes_later() {
    let (db, producer) = with_topic(1);
    let lingering = ProducerOptions {
        linger_ms: Some(60_000),
        ..Default::default()
    };
    let slow = db.producer(lingering).unwrap();
    let delivery = slow.send("orders", &Record::new(b"x")).unwrap();
    assert!(delivery.peek().is_none());
    let report = db.close(None).wait(None).unwrap();
    assert_eq!(report, headwater::CloseReport::default());
    assert!(delivery.peek().unwrap().is_ok());
    assert!(db.is_closed());
    for error in [
        producer.send("orders", &Record::new(b"x")).unwrap_err(),
        db.producer(ProducerOptions::default()).unwrap_err(),
        db.consumer(&["orders"], ConsumerOptions::default())
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed);
    }
    assert_eq!(db.close(None).wait(None).unwrap(), report);
}

#[test]
fn linger_sends_by_itself_when_its_time_is_up() {
    let (db, _) = with_topic(1);
    let options = ProducerOptions {
        linger_ms: Some(5),
        ..Default::default()
    };
    let producer = db.producer(options).unwrap();
    let first = producer.send("orders", &Record::new(b"x")).unwrap();
    let second = producer.send("orders", &Record::new(b"y")).unwrap();
    assert_eq!(first.wait(None).unwrap().offset, 0);
    assert_eq!(second.wait(None).unwrap().offset, 1);
    assert_eq!(db.metrics().batches_sent, 1);
}

#[test]
fn many_threads_share_a_small_buffer_and_nothing_is_lost() {
    let (db, _) = with_topic(3);
    let options = ProducerOptions {
        buffer_bytes: Some(256 << 10),
        batch_bytes: Some(4 << 10),
        ..Default::default()
    };
    let producer = db.producer(options).unwrap();
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let producer = producer.clone();
            std::thread::spawn(move || {
                for number in 0..5_000 {
                    let value = format!("{thread}-{number:0>100}");
                    let _ = producer
                        .send("orders", &Record::new(value.as_bytes()))
                        .unwrap();
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    producer.flush().wait(None).unwrap();
    let mut values: Vec<_> = read_all(&db.consumer(&["orders"], to_end()).unwrap())
        .into_iter()
        .map(|(_, _, value)| value)
        .collect();
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len(), 20_000);
    assert_eq!(db.metrics().buffered_bytes, 0);
}

#[test]
fn the_admin_creates_alters_lists_and_deletes() {
    let db = memory();
    let admin = db.admin();
    let create = || TopicOptions {
        partitions: Some(2),
        ..Default::default()
    };
    admin.create_topic("b", create()).wait(None).unwrap();
    admin.create_topic("a", create()).wait(None).unwrap();
    let error = admin.create_topic("a", create()).wait(None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let again = TopicOptions {
        exist_ok: Some(true),
        ..create()
    };
    admin.create_topic("a", again).wait(None).unwrap();
    let many = TopicOptions {
        partitions: Some(5_000),
        ..Default::default()
    };
    let error = admin.create_topic("c", many).wait(None).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidOption);
    let names = |topics: Vec<headwater::TopicDescription>| {
        topics
            .into_iter()
            .map(|topic| topic.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(admin.list_topics().wait(None).unwrap()), ["a", "b"]);
    let kept = TopicOptions {
        retention_ms: Some(60_000),
        ..Default::default()
    };
    admin.alter_topic("a", kept).wait(None).unwrap();
    let found = admin.describe_topic("a").wait(None).unwrap();
    let retention = found
        .config
        .iter()
        .find(|(name, _)| name == "retention_ms")
        .unwrap();
    assert_eq!((retention.1.as_str(), found.partitions.len()), ("60000", 2));
    admin.delete_topic("b").wait(None).unwrap();
    assert_eq!(names(admin.list_topics().wait(None).unwrap()), ["a"]);
    let error = admin.describe_group("nobody").wait(None).unwrap_err();
    assert_eq!(error.code(), ErrorCode::GroupIdNotFound);
}

#[test]
fn the_second_member_of_a_group_is_refused_in_words() {
    let (db, _producer) = with_topic(1);
    let first = db.consumer(&["orders"], in_group()).unwrap();
    first.open().wait(None).unwrap();
    let second = db.consumer(&["orders"], in_group()).unwrap();
    let error = second.open().wait(None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    first.close(None).wait(None).unwrap();
    second.open().wait(None).unwrap();
}

#[test]
fn metrics_count_what_went_through() {
    let (db, producer) = with_topic(1);
    send(&producer, 0..10);
    let metrics = db.metrics();
    assert_eq!(
        (metrics.records_sent, metrics.records_acknowledged),
        (10, 10)
    );
    assert_eq!(
        (metrics.records_failed, metrics.producers, metrics.consumers),
        (0, 1, 0)
    );
    assert!(metrics.threads >= 1);
    assert!(metrics.entries().contains(&("records_sent", 10)));
}
