//! The client as an application uses it, over a log in memory and in a folder.

mod connect;
mod consumer;
mod producer;
mod results;

use headwater::{
    Client, Consumer, ConsumerOptions, PartitionOffset, Producer, ProducerOptions, Record,
    TopicOptions, Until,
};

pub(super) fn memory() -> Client {
    headwater::connect("mem:").wait(None).unwrap()
}

pub(super) fn with_topic(partitions: u32) -> (Client, Producer) {
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

pub(super) fn to_end() -> ConsumerOptions {
    ConsumerOptions {
        until: Some(Until::End),
        ..Default::default()
    }
}

pub(super) fn in_group() -> ConsumerOptions {
    ConsumerOptions {
        group: Some("billing".into()),
        ..to_end()
    }
}

/// Every record that comes: partition, offset, value.
pub(super) fn read_all(consumer: &Consumer) -> Vec<(i32, i64, String)> {
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

pub(super) fn send(producer: &Producer, values: std::ops::Range<usize>) {
    for value in values {
        producer
            .enqueue("orders", &Record::new(value.to_string().as_bytes()))
            .unwrap();
    }
    producer.flush().wait(None).unwrap();
}

pub(super) fn offset(partition: i32, offset: i64) -> PartitionOffset {
    PartitionOffset {
        topic: "orders".into(),
        partition,
        offset,
    }
}
