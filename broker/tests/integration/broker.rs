//! The broker as a library: starting, closing, and several in one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use headwater::{
    Client, ConsumerOptions, ErrorCode, ErrorKind, ProducerOptions, Record, TopicOptions, Until,
};
use headwater_broker::{Broker, Config};

fn started(config: Config) -> Broker {
    Broker::start(config).wait(None).unwrap()
}

fn on_folder(path: &std::path::Path) -> Config {
    let mut config = Config::folder(path);
    config.options.listen = Some(vec!["127.0.0.1:0".to_owned()]);
    config
}

fn address(broker: &Broker) -> String {
    broker.addresses()[0].to_string()
}

fn connect(broker: &Broker) -> Client {
    headwater::connect(&address(broker)).wait(None).unwrap()
}

fn count(db: &Client, topic: &str) -> usize {
    let options = ConsumerOptions {
        until: Some(Until::End),
        ..ConsumerOptions::default()
    };
    let consumer = db.consumer(&[topic], options).unwrap();
    let mut records = 0;
    while let Some(batch) = consumer.next_batch_wait(None).unwrap() {
        records += batch.records().count();
    }
    records
}

#[test]
fn a_port_of_zero_is_a_free_one_and_each_address_is_served() {
    let mut config = Config::memory();
    config.options.listen = Some(vec!["127.0.0.1:0".to_owned(), "localhost:0".to_owned()]);
    let broker = started(config);
    let addresses = broker.addresses();
    assert_eq!(addresses.len(), 2);
    assert!(
        addresses
            .iter()
            .all(|address| address.tcp().unwrap().port() != 0)
    );
    for address in addresses {
        let db = headwater::connect(&address.to_string()).wait(None).unwrap();
        assert!(db.admin().list_topics().wait(None).unwrap().is_empty());
        db.close(None).wait(None).unwrap();
    }
    broker.close(None).wait(None).unwrap();
}

#[test]
fn closing_twice_is_closing() {
    let broker = started(Config::memory());
    let other = broker.clone();
    broker.close(None).wait(None).unwrap();
    other.close(None).wait(None).unwrap();
    broker.close(Some(Duration::ZERO)).wait(None).unwrap();
    let refused = headwater::connect(&address(&broker)).wait(None);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn what_two_closers_wait_for_is_the_same_end() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = started(on_folder(scratch.path()));
    let (mut first, mut second) = (broker.close(None), broker.close(None));
    // Whoever was answered may open the folder.
    second.wait(None).unwrap();
    started(on_folder(scratch.path()))
        .close(None)
        .wait(None)
        .unwrap();
    first.wait(None).unwrap();
}

#[test]
fn two_brokers_of_one_process_do_not_know_each_other() {
    let brokers = [started(Config::memory()), started(Config::memory())];
    for (number, broker) in brokers.iter().enumerate() {
        let db = connect(broker);
        let name = format!("topic-{number}");
        let mut created = db.admin().create_topic(&name, TopicOptions::default());
        created.wait(None).unwrap();
        let topics = db.admin().list_topics().wait(None).unwrap();
        assert_eq!(topics.len(), 1);
        assert_eq!(topics[0].name, name);
    }
    brokers[0].close(None).wait(None).unwrap();
    let db = connect(&brokers[1]);
    assert_eq!(db.admin().list_topics().wait(None).unwrap().len(), 1);
    brokers[1].close(None).wait(None).unwrap();
}

#[test]
fn a_folder_that_is_open_in_this_process_is_shared() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = started(on_folder(scratch.path()));
    let path = format!("file:{}", scratch.path().display());
    let db = headwater::connect(&path).wait(None).unwrap();
    let mut created = db.admin().create_topic("orders", TopicOptions::default());
    created.wait(None).unwrap();
    let remote = connect(&broker);
    assert_eq!(remote.admin().list_topics().wait(None).unwrap().len(), 1);
    broker.close(None).wait(None).unwrap();
    // The embedded client still has it open.
    assert_eq!(db.admin().list_topics().wait(None).unwrap().len(), 1);
    db.close(None).wait(None).unwrap();
}

#[test]
fn clients_that_are_connected_do_not_keep_it_from_closing_and_wait_for_another() {
    let broker = started(Config::memory());
    let clients: Vec<_> = (0..5).map(|_| connect(&broker)).collect();
    assert_eq!(broker.connection_count(), 5);
    let consumer = clients[0].clone();
    let mut created = consumer
        .admin()
        .create_topic("orders", TopicOptions::default());
    created.wait(None).unwrap();
    let reading = thread::spawn(move || {
        let consumer = consumer.consumer(&["orders"], ConsumerOptions::default());
        consumer
            .unwrap()
            .next_batch_wait(None)
            .map(|it| it.is_some())
    });
    broker.close(None).wait(None).unwrap();
    assert_eq!(broker.connection_count(), 0);
    for db in clients {
        let mut listing = db.admin().list_topics();
        db.close(None).wait(None).unwrap();
        let error = listing.wait(None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
    assert_eq!(reading.join().unwrap(), Ok(false));
}

#[test]
fn one_connection_too_many_is_told_so_and_a_place_that_is_free_again_is_taken() {
    let mut config = Config::memory();
    config.options.max_connections = Some(2);
    let broker = started(config);
    let (first, second) = (connect(&broker), connect(&broker));
    let refused = headwater::connect(&address(&broker))
        .wait(None)
        .unwrap_err();
    assert_eq!(
        (refused.kind(), refused.code()),
        (ErrorKind::Full, ErrorCode::QuotaExceeded)
    );
    assert!(refused.message().contains("max_connections"), "{refused}");
    second.admin().list_topics().wait(None).unwrap();
    first.close(None).wait(None).unwrap();
    // The broker notices the end a moment later.
    let third = loop {
        match headwater::connect(&address(&broker)).wait(None) {
            Ok(third) => break third,
            Err(error) => assert_eq!(error.code(), ErrorCode::QuotaExceeded, "{error}"),
        }
    };
    third.admin().list_topics().wait(None).unwrap();
    broker.close(None).wait(None).unwrap();
}

#[test]
fn closing_while_it_is_produced_to_loses_nothing_that_was_acknowledged() {
    let scratch = tempfile::tempdir().unwrap();
    let broker = started(on_folder(scratch.path()));
    let db = connect(&broker);
    let mut options = TopicOptions::default();
    options.set("durability", "os").unwrap();
    db.admin()
        .create_topic("orders", options)
        .wait(None)
        .unwrap();
    let acked = Arc::new(AtomicU64::new(0));
    let is_closing = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = (0..3)
        .map(|_| {
            let (address, acked) = (address(&broker), Arc::clone(&acked));
            let is_closing = Arc::clone(&is_closing);
            thread::spawn(move || produce(&address, &acked, &is_closing))
        })
        .collect();
    while acked.load(Ordering::Relaxed) < 100 {
        thread::yield_now();
    }
    is_closing.store(true, Ordering::SeqCst);
    broker.close(None).wait(None).unwrap();
    for producer in producers {
        producer.join().unwrap();
    }
    let again = started(on_folder(scratch.path()));
    let found = count(&connect(&again), "orders") as u64;
    let acked = acked.load(Ordering::Relaxed);
    assert!(found >= acked, "{acked} acknowledged, {found} found");
    again.close(None).wait(None).unwrap();
}

/// Sends until the broker has closed; what it does not get then is told to be missing.
fn produce(address: &str, acked: &AtomicU64, is_closing: &AtomicBool) {
    let db = headwater::connect(address).wait(None).unwrap();
    let producer = db.producer(ProducerOptions::default()).unwrap();
    loop {
        let sent = producer.send("orders", &Record::new(b"a record")).unwrap();
        match sent.wait(Some(Duration::from_millis(200))) {
            Ok(_) => acked.fetch_add(1, Ordering::Relaxed),
            Err(error) if error.kind() == ErrorKind::Timeout => {
                if is_closing.load(Ordering::SeqCst) {
                    break;
                }
                continue;
            }
            Err(error) => panic!("{error}"),
        };
    }
    let report = db
        .close(Some(Duration::from_millis(20)))
        .wait(None)
        .unwrap();
    assert_eq!(report.unsent_records, 1, "{report:?}");
}

#[test]
fn a_broker_that_cannot_start_leaves_nothing_behind() {
    let scratch = tempfile::tempdir().unwrap();
    let first = started(on_folder(&scratch.path().join("first")));
    let mut config = on_folder(&scratch.path().join("second"));
    config.options.listen = Some(vec![address(&first)]);
    let refused = Broker::start(config).wait(None).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::AddressInUse);
    assert!(!scratch.path().join("second").exists());
    // The port comes back with the broker.
    let taken = address(&first);
    first.close(None).wait(None).unwrap();
    let mut config = on_folder(&scratch.path().join("second"));
    config.options.listen = Some(vec![taken]);
    started(config).close(None).wait(None).unwrap();
}

#[test]
fn a_broker_in_memory_creates_topics_as_they_are_used() {
    let broker = started(Config::memory());
    let db = connect(&broker);
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let sent = producer.send("new", &Record::new(b"first")).unwrap();
    assert_eq!(sent.wait(None).unwrap().offset, 0);
    assert_eq!(count(&db, "new"), 1);
    broker.close(None).wait(None).unwrap();
}
