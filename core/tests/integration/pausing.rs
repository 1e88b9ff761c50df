//! Partitions that are paused and resumed while others are read, in process and over a broker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use headwater::{
    Client, ConsumerOptions, ProducerOptions, Record, TopicOptions, TopicPartition, connect,
};

use super::server::Broker;

const PARTITIONS: i32 = 5;
const OF_EACH: i64 = 400;

fn filled(client: &Client) {
    let options = TopicOptions {
        partitions: Some(PARTITIONS as u32),
        ..TopicOptions::default()
    };
    let created = client.admin().create_topic("orders", options).wait(None);
    created.unwrap();
    let producer = client
        .producer(ProducerOptions {
            batch_bytes: Some(1_024),
            ..ProducerOptions::default()
        })
        .unwrap();
    let value = [b'x'; 100];
    for number in 0..OF_EACH * i64::from(PARTITIONS) {
        let record = Record {
            partition: Some((number % i64::from(PARTITIONS)) as i32),
            ..Record::new(&value)
        };
        drop(producer.send("orders", &record).unwrap());
    }
    producer.close(None).wait(None).unwrap();
}

fn partition(partition: i32) -> TopicPartition {
    TopicPartition {
        topic: "orders".into(),
        partition,
    }
}

/// Reads everything, and pauses or resumes a partition before each read, in an order that looks random.
fn reads_all(client: &Client) {
    filled(client);
    let consumer = client
        .consumer(
            &["orders"],
            ConsumerOptions {
                read_ahead_bytes: Some(64 << 10),
                max_block_bytes: Some(8 << 10),
                max_block_records: Some(7),
                ..ConsumerOptions::default()
            },
        )
        .unwrap();
    consumer.open().wait(None).unwrap();
    let mut found = BTreeMap::<i32, i64>::new();
    let mut paused = BTreeSet::new();
    let mut state = 11_u64;
    while found.values().sum::<i64>() < OF_EACH * i64::from(PARTITIONS) {
        state = state.wrapping_mul(6_364_136_223_846_793_005) + 1;
        let number = ((state >> 33) % PARTITIONS as u64) as i32;
        // A lease is not the matter here: each read is of another batch, or of a rest.
        if paused.remove(&number) {
            consumer.resume(Some(&[partition(number)])).unwrap();
        } else {
            paused.insert(number);
            consumer.pause(Some(&[partition(number)])).unwrap();
        }
        let told = consumer.paused().into_iter().map(|it| it.partition);
        assert_eq!(told.collect::<BTreeSet<_>>(), paused);
        let wait = Duration::from_millis(u64::from(paused.len() < PARTITIONS as usize));
        let Some(batch) = consumer.next_batch_wait(Some(wait)).unwrap() else {
            continue;
        };
        assert!(!paused.contains(&batch.partition()), "it is paused");
        let next = found.entry(batch.partition()).or_default();
        for record in batch.records() {
            assert_eq!(record.unwrap().offset, *next, "of {}", batch.partition());
            *next += 1;
        }
    }
    consumer.close(None).wait(None).unwrap();
}

#[test]
fn what_is_paused_gives_nothing_and_nothing_is_lost_or_comes_twice() {
    reads_all(&connect("mem:").wait(None).unwrap());
}

#[test]
fn over_a_broker_it_is_the_same() {
    let broker = Broker::start();
    let mut connecting = connect(&broker.address.to_string());
    reads_all(&connecting.wait(None).unwrap());
}

#[test]
fn all_paused_nothing_comes_and_lag_is_told_all_the_same() {
    let client = connect("mem:").wait(None).unwrap();
    filled(&client);
    let options = ConsumerOptions {
        group: Some("billing".to_owned()),
        ..ConsumerOptions::default()
    };
    let consumer = client.consumer(&["orders"], options).unwrap();
    assert!(consumer.lag().wait(None).unwrap().is_empty());
    let block = consumer.next_block_wait(None).unwrap().unwrap();
    consumer.pause(None).unwrap();
    assert_eq!(consumer.paused().len(), PARTITIONS as usize);
    let nothing = consumer.next_block_wait(Some(Duration::from_millis(20)));
    assert!(nothing.unwrap().is_none());
    assert!(!consumer.is_finished());
    consumer.commit().wait(None).unwrap();
    let lags = consumer.lag().wait(None).unwrap();
    assert_eq!(lags.len(), PARTITIONS as usize);
    let left: i64 = lags.iter().map(|it| it.lag).sum();
    let all = OF_EACH * i64::from(PARTITIONS);
    assert_eq!(left, all - block.len() as i64);
    for lag in &lags {
        assert_eq!(lag.lag, lag.high_watermark - lag.position);
        let committed = (lag.position > 0).then_some(lag.position);
        assert_eq!(lag.committed, committed);
    }
}
