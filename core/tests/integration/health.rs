//! How a client is: working, without its broker, closed.

use std::time::{Duration, Instant};

use headwater::{
    Client, ConsumerOptions, MemberState, ProducerOptions, Record, TopicOptions, connect,
};

use super::server::Broker;

/// Far beyond what any of it takes.
const FOR_EVER: Duration = Duration::from_secs(120);

fn is_well(client: &Client, address: &str) {
    let options = TopicOptions {
        partitions: Some(3),
        ..TopicOptions::default()
    };
    let created = client.admin().create_topic("orders", options).wait(None);
    created.unwrap();
    let health = client.health();
    assert!(health.is_healthy && health.is_connected && !health.is_closed);
    assert_eq!((health.reason, health.last_error), (None, None));
    assert!(health.members.is_empty());
    assert!(health.address.contains(address), "{}", health.address);
    let buffered = (health.buffered_bytes, health.buffered_records);
    assert_eq!((buffered, health.oldest_unsent_ms), ((0, 0), None));
    let options = ConsumerOptions {
        group: Some("billing".to_owned()),
        ..ConsumerOptions::default()
    };
    let consumer = client.consumer(&["orders"], options).unwrap();
    consumer.open().wait(None).unwrap();
    let health = client.health();
    assert!(health.is_healthy, "{health:?}");
    let [member] = &*health.members else {
        panic!("{health:?}");
    };
    assert_eq!(member.group, "billing");
    assert_eq!((member.state, member.partitions), (MemberState::Stable, 3));
    assert!(member.generation > 0 && !member.member_id.is_empty());
    assert!(member.last_heartbeat_ms.is_some());
    consumer.close(None).wait(None).unwrap();
    assert!(client.health().members.is_empty());
    client.close(None).wait(None).unwrap();
    let health = client.health();
    assert!(health.is_closed && !health.is_healthy && !health.is_connected);
    let reason = health.reason.unwrap();
    assert!(reason.contains("is closed"), "{reason}");
}

#[test]
fn a_client_of_a_log_in_memory_is_well_until_it_is_closed() {
    is_well(&connect("mem:").wait(None).unwrap(), "mem:");
}

#[test]
fn a_client_of_a_broker_is_well_until_it_is_closed() {
    let broker = Broker::start();
    let address = broker.address.to_string();
    is_well(&connect(&address).wait(None).unwrap(), &address);
}

#[test]
fn without_its_broker_it_says_since_when_why_and_what_waits() {
    let broker = Broker::start();
    let client = connect(&broker.address.to_string()).wait(None).unwrap();
    let created = client
        .admin()
        .create_topic("orders", TopicOptions::default());
    { created }.wait(None).unwrap();
    let producer = client.producer(ProducerOptions::default()).unwrap();
    let sent = producer.send("orders", &Record::new(b"before")).unwrap();
    sent.wait(None).unwrap();
    let server = broker.server;
    let closing = headwater::runtime::runtime(None)
        .unwrap()
        .spawn(async move { server.close(Duration::from_millis(1)).await });
    let began = Instant::now();
    let lost = loop {
        let health = client.health();
        if !health.is_connected {
            break health;
        }
        assert!(began.elapsed() < FOR_EVER);
        std::thread::sleep(Duration::from_millis(1));
    };
    assert!(!lost.is_healthy && !lost.is_closed);
    assert!(lost.last_error.is_some());
    let reason = lost.reason.unwrap();
    assert!(reason.contains("no connection to"), "{reason}");
    let waiting = producer.send("orders", &Record::new(b"after")).unwrap();
    std::thread::sleep(Duration::from_millis(2));
    let health = client.health();
    assert_eq!(health.buffered_records, 1);
    assert!(health.buffered_bytes > 0);
    assert!(health.oldest_unsent_ms.unwrap() >= 2);
    client.close(Some(Duration::ZERO)).wait(None).unwrap();
    assert!(waiting.wait(None).is_err());
    while !closing.is_finished() {
        std::thread::sleep(Duration::from_millis(1));
    }
}
