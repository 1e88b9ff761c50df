//! Retention as an application sees it: old records go, the folder stays small, and who asks for what is gone
//! is told so.

use std::path::Path;
use std::time::Duration;

use headwater::{
    Client, ConnectOptions, ConsumerOptions, ErrorCode, ProducerOptions, Record, Start,
    TopicDescription, TopicOptions, Until,
};

pub(super) const MIB: u64 = 1 << 20;
pub(super) const RECORD_BYTES: usize = 64 * 1_024;

pub(super) fn open(path: &Path) -> Client {
    let options = ConnectOptions {
        segment_bytes: Some(MIB),
        ..Default::default()
    };
    headwater::connect_with(path.to_str().unwrap(), options)
        .wait(None)
        .unwrap()
}

pub(super) fn create(db: &Client, name: &str, options: TopicOptions) {
    let options = TopicOptions {
        durability: Some(headwater::Durability::Os),
        ..options
    };
    db.admin().create_topic(name, options).wait(None).unwrap();
}

/// Sends so many bytes of records that count up.
pub(super) fn send(db: &Client, topic: &str, bytes: u64) {
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let mut value = vec![7; RECORD_BYTES];
    for number in 0..bytes / RECORD_BYTES as u64 {
        value[..8].copy_from_slice(&number.to_be_bytes());
        drop(producer.send(topic, &Record::new(&value)).unwrap());
    }
    producer.flush().wait(None).unwrap();
}

pub(super) fn describe(db: &Client, topic: &str) -> TopicDescription {
    db.admin().describe_topic(topic).wait(None).unwrap()
}

/// Looks again and again until it is so: retention comes when it comes.
pub(super) fn wait_until(what: impl Fn() -> bool) {
    while !what() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(super) fn folder_bytes(path: &Path) -> u64 {
    let files = std::fs::read_dir(path.join("0000")).unwrap();
    // A file may go while we look.
    files
        .filter_map(|file| file.ok()?.metadata().ok())
        .map(|file| file.len())
        .sum()
}

#[test]
fn bytes_beyond_the_limit_go_and_the_folder_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let db = open(&path);
    let limits = TopicOptions {
        retention_bytes: Some(4 * MIB as i64),
        ..Default::default()
    };
    create(&db, "short", limits);
    send(&db, "short", 64 * MIB);
    let start = || describe(&db, "short").partitions[0].log_start_offset;
    // What is left is the limit, and a segment or two.
    let kept = 6 * MIB / RECORD_BYTES as u64;
    wait_until(|| start() as u64 >= 64 * MIB / RECORD_BYTES as u64 - kept);
    // Two snapshots, 16 MiB apart, decide how far the front may go.
    wait_until(|| folder_bytes(&path) < 40 * MIB);
    let log_start = start();
    let consumer = ConsumerOptions {
        start: Some(Start::Earliest),
        until: Some(Until::End),
        ..Default::default()
    };
    let consumer = db.consumer(&["short"], consumer).unwrap();
    let batch = consumer.next_batch_wait(None).unwrap().unwrap();
    assert!(batch.records().next().unwrap().unwrap().offset >= log_start);
    consumer.close(None).wait(None).unwrap();

    let gone = ConsumerOptions {
        start: Some(Start::Offset(0)),
        ..Default::default()
    };
    let gone = db.consumer(&["short"], gone).unwrap();
    let error = gone.next_batch_wait(None).unwrap_err();
    assert_eq!(error.code(), ErrorCode::OffsetOutOfRange);
    assert!(error.message().contains("offset 0"), "{error}");
    drop(gone);

    db.close(None).wait(None).unwrap();
    let db = open(&path);
    let again = describe(&db, "short").partitions[0];
    assert!(again.log_start_offset >= log_start);
    assert_eq!(again.log_end_offset as u64, 64 * MIB / RECORD_BYTES as u64);
    db.close(None).wait(None).unwrap();
}

#[test]
fn records_older_than_the_limit_go_also_where_nothing_is_written_any_more() {
    let dir = tempfile::tempdir().unwrap();
    for address in [dir.path().join("data").to_str().unwrap(), "mem:"] {
        let db = headwater::connect(address).wait(None).unwrap();
        let limits = TopicOptions {
            retention_ms: Some(300),
            ..Default::default()
        };
        create(&db, "brief", limits);
        create(&db, "kept", TopicOptions::default());
        for topic in ["brief", "kept"] {
            send(&db, topic, 10 * RECORD_BYTES as u64);
        }
        wait_until(|| describe(&db, "brief").partitions[0].log_start_offset == 10);
        let kept = &describe(&db, "kept").partitions[0];
        assert_eq!((kept.log_start_offset, kept.log_end_offset), (0, 10));
        db.close(None).wait(None).unwrap();
    }
}

#[test]
fn retention_begins_when_it_is_set_and_goes_on_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let db = open(&path);
    create(&db, "t", TopicOptions::default());
    send(&db, "t", 10 * RECORD_BYTES as u64);
    let limits = TopicOptions {
        retention_ms: Some(1),
        ..Default::default()
    };
    db.admin().alter_topic("t", limits).wait(None).unwrap();
    wait_until(|| describe(&db, "t").partitions[0].log_start_offset == 10);
    send(&db, "t", 10 * RECORD_BYTES as u64);
    db.close(None).wait(None).unwrap();
    // Nothing is written after this open.
    let db = open(&path);
    wait_until(|| describe(&db, "t").partitions[0].log_start_offset == 20);
    db.close(None).wait(None).unwrap();
}

/// The log was always a little ahead of its syncs, and so nothing was ever cleaned before there was a pause.
#[test]
fn space_is_given_back_while_records_keep_coming() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let db = open(&path);
    let limits = TopicOptions {
        retention_bytes: Some(4 * MIB as i64),
        ..Default::default()
    };
    create(&db, "short", limits);
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let value = vec![7; RECORD_BYTES];
    let (mut sent, mut most) = (0, 0);
    loop {
        // Never a moment without something that is not synced yet.
        drop(producer.send("short", &Record::new(&value)).unwrap());
        sent += RECORD_BYTES as u64;
        let bytes = folder_bytes(&path);
        most = most.max(bytes);
        if most > 48 * MIB && bytes < most / 2 {
            break;
        }
        assert!(sent < 1_536 * MIB, "nothing was given back of {most} bytes");
        std::thread::sleep(Duration::from_micros(200));
    }
    producer.close(None).wait(None).unwrap();
    db.close(None).wait(None).unwrap();
}

#[test]
fn space_of_a_deleted_topic_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let db = open(&path);
    create(&db, "big", TopicOptions::default());
    send(&db, "big", 48 * MIB);
    assert!(folder_bytes(&path) > 48 * MIB);
    db.admin().delete_topic("big").wait(None).unwrap();
    wait_until(|| folder_bytes(&path) < 36 * MIB);
    create(&db, "big", TopicOptions::default());
    send(&db, "big", MIB);
    let again = &describe(&db, "big").partitions[0];
    assert_eq!(again.log_end_offset as u64, MIB / RECORD_BYTES as u64);
    db.close(None).wait(None).unwrap();
}
