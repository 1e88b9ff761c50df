//! Producers: order, partitions, limits, rows, deliveries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use headwater::record::block::{CompletionRow, SendRow, write_send_row};
use headwater::{ConsumerOptions, ErrorCode, NotifyQueue, ProducerOptions, Record, TopicOptions};

use super::{memory, read_all, to_end, with_topic};

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
fn who_waits_for_room_does_not_wait_for_what_lingers() {
    let (db, _) = with_topic(4);
    let options = ProducerOptions {
        linger_ms: Some(60_000),
        buffer_bytes: Some(262_144),
        max_block_ms: Some(20_000),
        ..Default::default()
    };
    let producer = db.producer(options).unwrap();
    // Four partitions: the buffer is full before a batch is.
    let fill = || {
        (0..)
            .map(|number| Record {
                partition: Some(number % 4),
                ..Record::new(&[7; 1_000])
            })
            .find_map(|record| producer.enqueue("orders", &record).err())
    };
    assert_eq!(fill().unwrap().code(), ErrorCode::BufferFull);
    producer.ready().wait(None).unwrap();
    assert_eq!(fill().unwrap().code(), ErrorCode::BufferFull);
    let delivery = producer.send("orders", &Record::new(&[7; 1_000])).unwrap();
    producer.flush().wait(None).unwrap();
    delivery.wait(None).unwrap();
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
                    let sent = producer.send("orders", &Record::new(value.as_bytes()));
                    drop(sent.unwrap());
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
