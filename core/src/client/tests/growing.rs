//! Topics that get more partitions while producers and consumers run: all of them see it, in process and over a
//! socket, without being told.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use crate::client::handle::Client;
use crate::client::options::{ConsumerOptions, ProducerOptions, Start, TopicOptions, Until};
use crate::client::producer::{Producer, Record};
use crate::client::{Consumer, connect};
use crate::error::ErrorCode;
use crate::server::{Server, ServerOptions};
use crate::service::{Service, ServiceOptions};

const TOPIC: &str = "orders";
const KEYS: u32 = 64;
const AGE: Duration = Duration::from_millis(20);

fn partitions(count: u32) -> TopicOptions {
    TopicOptions {
        partitions: Some(count),
        ..TopicOptions::default()
    }
}

/// Sends a record of each key; gives the partitions that they went to.
fn send_each_key(producer: &Producer) -> BTreeSet<i32> {
    let sent = (0..KEYS).map(|key| {
        let key = key.to_string();
        let record = Record::new(b"x").with_key(key.as_bytes());
        let delivery = producer.send(TOPIC, &record).unwrap();
        delivery.wait(None).unwrap().partition
    });
    sent.collect()
}

fn all(count: i32) -> BTreeSet<i32> {
    (0..count).collect()
}

fn assigned(consumer: &Consumer) -> BTreeSet<i32> {
    let assignment = consumer.assignment();
    assignment.into_iter().map(|it| it.partition).collect()
}

/// Reads until so many records of each of the partitions were seen, each from its first on.
fn read(consumer: &Consumer, count: u64) -> BTreeSet<i32> {
    let (mut seen, mut records) = (BTreeSet::new(), 0);
    while records < count {
        let batch = consumer.next_batch_wait(None).unwrap().unwrap();
        for record in batch.records() {
            let record = record.unwrap();
            assert!(record.offset == 0 || seen.contains(&batch.partition()));
            seen.insert(batch.partition());
            records += 1;
        }
    }
    seen
}

fn grow_and_use(client: &Client) {
    client.shared().metadata_age.set(AGE).unwrap();
    let admin = client.admin();
    admin.create_topic(TOPIC, partitions(1)).wait(None).unwrap();
    let consumer = |options| {
        let consumer = client.consumer(&[TOPIC], options).unwrap();
        consumer.open().wait(None).unwrap();
        consumer
    };
    let reading = consumer(ConsumerOptions {
        // What comes into a partition that was not there is later than what was.
        start: Some(Start::Latest),
        ..ConsumerOptions::default()
    });
    let member = consumer(ConsumerOptions {
        group: Some("billing".to_owned()),
        ..ConsumerOptions::default()
    });
    let named = consumer(ConsumerOptions {
        partitions: Some(vec![0]),
        ..ConsumerOptions::default()
    });
    let ending = consumer(ConsumerOptions {
        until: Some(Until::Offset(1_000_000)),
        ..ConsumerOptions::default()
    });
    let producer = client.producer(ProducerOptions::default()).unwrap();
    assert_eq!(send_each_key(&producer), all(1));
    let mut sent = u64::from(KEYS);
    admin.alter_topic(TOPIC, partitions(4)).wait(None).unwrap();
    // Who names a partition has it at once.
    let other = client.producer(ProducerOptions::default()).unwrap();
    send_each_key(&other);
    let record = Record {
        partition: Some(3),
        ..Record::new(b"x")
    };
    other.send(TOPIC, &record).unwrap().wait(None).unwrap();
    sent += u64::from(KEYS) + 1;
    loop {
        let found = send_each_key(&producer);
        sent += u64::from(KEYS);
        if found == all(4) {
            break;
        }
        std::thread::sleep(AGE);
    }
    let beyond = Record {
        partition: Some(4),
        ..record
    };
    let refused = producer.send(TOPIC, &beyond).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(read(&reading, sent), all(4));
    assert_eq!(read(&member, sent), all(4));
    assert_eq!((assigned(&reading), assigned(&member)), (all(4), all(4)));
    // To whom partitions were named, and who reads what there is, has no more.
    assert_eq!((assigned(&named), assigned(&ending)), (all(1), all(1)));
    client.close(None).wait(None).unwrap();
}

#[test]
fn partitions_that_are_added_are_used_in_process() {
    grow_and_use(&connect("mem:").wait(None).unwrap());
}

#[test]
fn partitions_that_are_added_are_used_over_a_socket() {
    let service = Service::open_memory("", &ServiceOptions::default()).unwrap();
    let server = Server::new(service.clone(), ServerOptions::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let runtime = crate::runtime::runtime(None).unwrap();
    let accepting = runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let server = server.clone();
            tokio::spawn(async move {
                let (reader, writer) = stream.into_split();
                let served = server.serve_connection(reader, writer, b"", "a test");
                served.await;
            });
        }
    });
    grow_and_use(&connect(&address).wait(None).unwrap());
    accepting.abort();
    service.close().unwrap();
}

#[test]
fn who_looks_for_more_partitions_does_not_bring_back_a_topic_that_was_deleted() {
    let options = ServiceOptions {
        auto_create_topics: true,
        ..ServiceOptions::default()
    };
    let service = Service::open_memory("", &options).unwrap();
    let transport = crate::client::transport::in_process::InProcess::new(&service);
    let client = Client::open(crate::client::handle::Shared::new(
        Arc::new(transport),
        "mem:".to_owned(),
        crate::fork::current().unwrap(),
        &crate::client::options::ConnectOptions::default(),
    ));
    client.shared().metadata_age.set(AGE).unwrap();
    let consumer = client
        .consumer(&[TOPIC], ConsumerOptions::default())
        .unwrap();
    consumer.open().wait(None).unwrap();
    assert!(service.topic(TOPIC).is_some());
    client.admin().delete_topic(TOPIC).wait(None).unwrap();
    std::thread::sleep(10 * AGE);
    assert!(service.topic(TOPIC).is_none());
    client.close(None).wait(None).unwrap();
}
