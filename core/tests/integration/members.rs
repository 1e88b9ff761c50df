//! Groups of several members, over a broker and in one process: each partition is one member's, what moves is
//! committed first, and nothing is lost, or read twice but for what was never committed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use headwater::{
    Client, Consumer, ConsumerOptions, ErrorCode, ProducerOptions, Record, TopicOptions, connect,
};

use super::server::Broker;

const PARTITIONS: i32 = 6;
/// Far beyond what any of it takes.
const FOR_EVER: Duration = Duration::from_secs(120);

fn options() -> ConsumerOptions {
    ConsumerOptions {
        group: Some("billing".to_owned()),
        commit_interval_ms: Some(10),
        ..Default::default()
    }
}

fn topic(client: &Client) {
    let options = TopicOptions {
        partitions: Some(PARTITIONS as u32),
        ..Default::default()
    };
    client
        .admin()
        .create_topic("orders", options)
        .wait(None)
        .unwrap();
}

fn send(client: &Client, values: std::ops::Range<i32>) {
    let producer = client.producer(ProducerOptions::default()).unwrap();
    for value in values {
        let bytes = value.to_be_bytes();
        let record = Record {
            partition: Some(value % PARTITIONS),
            ..Record::new(&bytes)
        };
        producer.enqueue("orders", &record).unwrap();
    }
    producer.close(None).wait(None).unwrap();
}

/// Reads what comes within a moment; the values, by partition in order.
fn read(consumer: &Consumer, found: &mut BTreeMap<i32, Vec<i32>>) {
    while let Some(batch) = consumer
        .next_batch_wait(Some(Duration::from_millis(20)))
        .unwrap()
    {
        let of_partition = found.entry(batch.partition()).or_default();
        for record in batch.records() {
            let value = record.unwrap().value.unwrap().to_vec();
            of_partition.push(i32::from_be_bytes(value.try_into().unwrap()));
        }
    }
}

fn held(consumer: &Consumer) -> BTreeSet<i32> {
    let assignment = consumer.assignment().into_iter();
    assignment.map(|it| it.partition).collect()
}

/// Reads with all of them until each holds as many partitions as it is to.
fn settle(members: &[(&Consumer, usize)], found: &mut BTreeMap<i32, Vec<i32>>) {
    let began = Instant::now();
    while members
        .iter()
        .any(|(member, count)| held(member).len() != *count)
    {
        for (member, _) in members {
            read(member, found);
        }
        assert!(began.elapsed() < FOR_EVER, "{members:?}");
    }
    let all: BTreeSet<_> = members
        .iter()
        .flat_map(|(member, _)| held(member))
        .collect();
    let count: usize = members.iter().map(|(_, count)| count).sum();
    assert_eq!(all.len(), count, "a partition that two hold");
}

fn everything_once(found: &BTreeMap<i32, Vec<i32>>, values: i32) {
    for (partition, values) in found {
        assert!(values.is_sorted(), "partition {partition}: {values:?}");
    }
    let mut all: Vec<_> = found.values().flatten().copied().collect();
    all.sort_unstable();
    assert_eq!(all, (0..values).collect::<Vec<_>>());
}

fn shares(client: &Client, other: &Client) {
    topic(client);
    let mut found = BTreeMap::new();
    send(client, 0..600);
    let first = client.consumer(&["orders"], options()).unwrap();
    read(&first, &mut found);
    assert_eq!(held(&first).len(), 6);
    let second = other.consumer(&["orders"], options()).unwrap();
    second.open().wait(None).unwrap();
    settle(&[(&first, 3), (&second, 3)], &mut found);
    send(client, 600..1_200);
    let third = other.consumer(&["orders"], options()).unwrap();
    third.open().wait(None).unwrap();
    settle(&[(&first, 2), (&second, 2), (&third, 2)], &mut found);
    let kept = held(&third);
    first.close(None).wait(None).unwrap();
    settle(&[(&second, 3), (&third, 3)], &mut found);
    assert!(
        held(&third).is_superset(&kept),
        "what need not move has moved"
    );
    send(client, 1_200..1_800);
    let began = Instant::now();
    while found.values().map(Vec::len).sum::<usize>() < 1_800 {
        read(&second, &mut found);
        read(&third, &mut found);
        assert!(began.elapsed() < FOR_EVER);
    }
    everything_once(&found, 1_800);
    second.close(None).wait(None).unwrap();
    third.close(None).wait(None).unwrap();
    let group = client.admin().describe_group("billing").wait(None).unwrap();
    assert_eq!((group.state.as_str(), group.members.len()), ("Empty", 0));
    let committed: Vec<_> = group.offsets.iter().map(|it| it.offset).collect();
    assert_eq!(committed, [300; PARTITIONS as usize]);
}

#[test]
fn members_share_the_partitions_and_what_moves_is_read_on_where_it_was_left() {
    let broker = Broker::start();
    let address = broker.address.to_string();
    let [one, other] = [connect(&address), connect(&address)].map(|mut it| it.wait(None).unwrap());
    shares(&one, &other);
}

#[test]
fn members_of_one_process_share_too() {
    let client = connect("mem:").wait(None).unwrap();
    shares(&client, &client);
}

#[test]
fn members_read_on_when_one_of_their_topics_is_deleted() {
    let broker = Broker::start();
    for address in [broker.address.to_string(), "mem:deleted".to_owned()] {
        let client = connect(&address).wait(None).unwrap();
        topic(&client);
        let admin = client.admin();
        admin
            .create_topic("refunds", TopicOptions::default())
            .wait(None)
            .unwrap();
        send(&client, 0..12);
        let consumer = client.consumer(&["orders", "refunds"], options()).unwrap();
        let mut found = BTreeMap::new();
        let began = Instant::now();
        while found.values().map(Vec::len).sum::<usize>() < 12 {
            read(&consumer, &mut found);
            assert!(began.elapsed() < FOR_EVER);
        }
        admin.delete_topic("refunds").wait(None).unwrap();
        send(&client, 12..24);
        while found.values().map(Vec::len).sum::<usize>() < 24 {
            read(&consumer, &mut found);
            assert!(began.elapsed() < FOR_EVER, "{found:?}");
        }
        consumer.close(None).wait(None).unwrap();
        let report = client.close(None).wait(None).unwrap();
        assert_eq!(report.first_error, None);
    }
}

fn as_instance(name: &str) -> ConsumerOptions {
    ConsumerOptions {
        instance_id: Some(name.to_owned()),
        ..options()
    }
}

#[test]
fn a_static_member_that_comes_back_in_time_has_its_partitions_in_the_same_generation() {
    let broker = Broker::start();
    let address = broker.address.to_string();
    let open = || connect(&address).wait(None).unwrap();
    let (one, other) = (open(), open());
    topic(&one);
    let first = one.consumer(&["orders"], as_instance("a")).unwrap();
    first.open().wait(None).unwrap();
    let second = other.consumer(&["orders"], as_instance("b")).unwrap();
    second.open().wait(None).unwrap();
    let mut found = BTreeMap::new();
    settle(&[(&first, 3), (&second, 3)], &mut found);
    send(&one, 0..60);
    let began = Instant::now();
    while found.values().map(Vec::len).sum::<usize>() < 60 {
        read(&first, &mut found);
        read(&second, &mut found);
        assert!(began.elapsed() < FOR_EVER);
    }
    let (kept, others) = (held(&first), held(&second));
    let details = || {
        let admin = other.admin();
        admin.describe_group("billing").wait(None).unwrap()
    };
    let generation = details().generation;
    // The process ends, and another one begins under the same name.
    one.close(None).wait(None).unwrap();
    send(&other, 60..120);
    let one = open();
    let first = one.consumer(&["orders"], as_instance("a")).unwrap();
    first.open().wait(None).unwrap();
    assert_eq!((held(&first), held(&second)), (kept, others));
    assert_eq!(details().generation, generation);
    while found.values().map(Vec::len).sum::<usize>() < 120 {
        read(&first, &mut found);
        read(&second, &mut found);
        assert!(began.elapsed() < FOR_EVER);
    }
    everything_once(&found, 120);
    first.close(None).wait(None).unwrap();
    second.close(None).wait(None).unwrap();
}

#[test]
fn a_static_member_whose_name_somebody_else_takes_is_told_so() {
    let broker = Broker::start();
    let address = broker.address.to_string();
    let [one, other] = [connect(&address), connect(&address)].map(|mut it| it.wait(None).unwrap());
    topic(&one);
    let first = one.consumer(&["orders"], as_instance("a")).unwrap();
    first.open().wait(None).unwrap();
    assert_eq!(held(&first).len(), 6);
    let second = other.consumer(&["orders"], as_instance("a")).unwrap();
    second.open().wait(None).unwrap();
    assert_eq!(held(&second).len(), 6);
    let fenced = first.next_batch_wait(Some(FOR_EVER)).unwrap_err();
    assert_eq!(fenced.code(), ErrorCode::FencedInstanceId);
    assert!(fenced.is_fatal());
    let report = first.close(None).wait(None).unwrap();
    assert_eq!(report.first_error, None);
    second.close(None).wait(None).unwrap();
}
