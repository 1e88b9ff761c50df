//! The client's whole way through a broker: the same calls as in process, over a real socket.

use std::collections::HashMap;
use std::time::Duration;

use headwater::{
    Client, ConsumerOptions, ErrorKind, ProducerOptions, Record, TopicOptions, Until, connect,
};

use super::server::Broker;

const RECORDS: usize = 20_000;
const KEYS: usize = 50;

fn client_of(broker: &Broker, partitions: u32) -> Client {
    let client = connect(&broker.address.to_string()).wait(None).unwrap();
    let topic = TopicOptions {
        partitions: Some(partitions),
        ..TopicOptions::default()
    };
    client
        .admin()
        .create_topic("orders", topic)
        .wait(None)
        .unwrap();
    client
}

fn to_the_end(group: Option<&str>) -> ConsumerOptions {
    ConsumerOptions {
        group: group.map(str::to_owned),
        until: Some(Until::End),
        ..ConsumerOptions::default()
    }
}

/// The numbers read per key, and how many records.
fn read_all(client: &Client, options: ConsumerOptions) -> (HashMap<Vec<u8>, Vec<usize>>, usize) {
    let consumer = client.consumer(&["orders"], options).unwrap();
    let mut found = HashMap::<_, Vec<usize>>::new();
    let mut count = 0;
    while let Some(batch) = consumer.next_batch_wait(None).unwrap() {
        for record in batch.records() {
            let record = record.unwrap();
            let number = std::str::from_utf8(record.value.unwrap())
                .unwrap()
                .parse()
                .unwrap();
            found
                .entry(record.key.unwrap().to_vec())
                .or_default()
                .push(number);
            count += 1;
        }
    }
    consumer.close(None).wait(None).unwrap();
    (found, count)
}

#[test]
fn every_record_sent_through_a_broker_is_read_once_and_in_order_per_key() {
    let broker = Broker::start();
    let client = client_of(&broker, 4);
    let producer = client.producer(ProducerOptions::default()).unwrap();
    for number in 0..RECORDS {
        let (key, value) = ((number % KEYS).to_string(), number.to_string());
        let record = Record::new(value.as_bytes()).with_key(key.as_bytes());
        drop(producer.send("orders", &record).unwrap());
    }
    producer.flush().wait(None).unwrap();
    let reader = connect(&broker.address.to_string()).wait(None).unwrap();
    let (found, count) = read_all(&reader, to_the_end(Some("billing")));
    assert_eq!((found.len(), count), (KEYS, RECORDS));
    for numbers in found.values() {
        assert!(
            numbers.is_sorted_by(|earlier, later| earlier < later),
            "{numbers:?}"
        );
    }
    // What the group has processed is committed at the broker.
    assert_eq!(read_all(&client, to_the_end(Some("billing"))).1, 0);
    assert_eq!(read_all(&client, to_the_end(None)).1, RECORDS);
    for client in [client, reader] {
        let report = client.close(None).wait(None).unwrap();
        assert_eq!((report.unsent_records, report.failed_records), (0, 0));
    }
}

#[test]
fn after_the_broker_has_gone_sends_and_reads_wait_for_another_until_the_client_is_closed() {
    let broker = Broker::start();
    let client = client_of(&broker, 1);
    let producer = client.producer(ProducerOptions::default()).unwrap();
    producer
        .send("orders", &Record::new(b"before"))
        .unwrap()
        .wait(None)
        .unwrap();
    let consumer = client
        .consumer(&["orders"], ConsumerOptions::default())
        .unwrap();
    assert!(consumer.next_batch_wait(None).unwrap().is_some());
    let server = broker.server;
    let closing = headwater::runtime::runtime(None)
        .unwrap()
        .spawn(async move { server.close(Duration::from_secs(60)).await });
    let read = consumer.next_batch_wait(Some(Duration::from_millis(20)));
    assert!(read.unwrap().is_none());
    let sent = producer.send("orders", &Record::new(b"after")).unwrap();
    let report = client.close(Some(Duration::from_millis(20))).wait(None);
    assert_eq!(report.unwrap().unsent_records, 1);
    assert_eq!(sent.wait(None).unwrap_err().kind(), ErrorKind::Closed);
    assert!(consumer.is_finished());
    drop((producer, consumer));
    drop(client);
    while !closing.is_finished() {
        std::thread::sleep(Duration::from_millis(1));
    }
}
