//! A golden data folder: what one version wrote, every other version and every language reads.
//!
//! `folder` is the data folder as a clean close left it, `folder.json` what a reader must find in it.
//! Opening a folder writes to it, so it is copied first. It has seen everything: two terms (the second
//! begins with an unclean end), a topic that was deleted, one without records, append times, keys and
//! values that are absent, empty or not text, headers, and two groups with commits.

use std::path::{Path, PathBuf};
use std::sync::Once;

use headwater::log::format;
use headwater::log::reader::{Ending, Item, Reader};
use headwater::log::storage::disk::DiskStorage;
use headwater::{
    Client, ConsumerOptions, Header, PartitionOffset, Producer, ProducerOptions, Record,
    TopicOptions, Until,
};

use super::*;

const LOG_UUID: [u8; 16] = *b"headwater-golden";
const START_MS: i64 = 1_700_000_000_000;

/// A golden file; written anew first, once, if that is asked for.
fn golden(name: &str) -> PathBuf {
    static BLESSED: Once = Once::new();
    BLESSED.call_once(|| {
        if std::env::var_os("HEADWATER_BLESS").is_some_and(|value| value == "1") {
            bless();
        }
    });
    golden_path(name)
}

fn golden_path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).join(name)
}

fn manifest() -> Value {
    let text = fs::read(golden("folder.json")).expect("the manifest");
    serde_json::from_slice(&text).expect("it is JSON")
}

#[test]
fn the_golden_folder_holds_what_its_manifest_says() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let folder = scratch.path().join("data");
    copy(&golden("folder"), &folder);
    assert_eq!(read(&folder), manifest());
    // It goes on from there: with the next offset of each partition.
    let db = connect(&folder);
    let producer = db.producer(ProducerOptions::default()).expect("a producer");
    let sent = send(&producer, "orders", 1, Made::new(1, None, Some(b"more")));
    assert_eq!(sent, 3);
    db.close(None).wait(None).expect("a close");
}

#[test]
fn the_golden_folder_is_whole_and_reading_it_from_outside_changes_nothing() {
    let ending = survey(&golden("folder"));
    assert_eq!((ending.is_clean, ending.term), (true, 2));
    assert_eq!(ending.durable, ending.last_index);
}

#[test]
fn a_folder_made_now_holds_the_same() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let folder = scratch.path().join("data");
    make(&folder);
    let ending = survey(&folder);
    assert_eq!((ending.is_clean, ending.term), (true, 2));
    assert_eq!(read(&folder), manifest());
}

fn bless() {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let made = scratch.path().join("data");
    make(&made);
    // What tells of an owner is no part of the data.
    for name in ["LOCK", "OWNER"] {
        let _ = fs::remove_file(made.join(name));
    }
    let _ = fs::remove_dir_all(golden_path("folder"));
    copy(&made, &golden_path("folder"));
    let mut text = ascii(&serde_json::to_string_pretty(&read(&made)).expect("it is JSON"));
    text.push('\n');
    fs::write(golden_path("folder.json"), text).expect("the manifest");
}

/// Makes the folder: a first term that ends without a close, and a second one that ends with it.
fn make(folder: &Path) {
    let scratch = tempfile::tempdir().expect("a scratch folder");
    let first = scratch.path().join("first");
    let storage = DiskStorage::open(&first, true).expect("a folder");
    format::read_or_create(&storage, "first", || Ok(LOG_UUID)).expect("a format");
    let db = connect(&first);
    topics(&db);
    first_term(&db);
    // A copy of an open folder is what a kill would have left.
    copy(&first, folder);
    db.close(None).wait(None).expect("a close");
    let db = connect(folder);
    second_term(&db);
    db.close(None).wait(None).expect("a close");
}

fn topics(db: &Client) {
    let create = |name: &str, options: &[(&str, &str)]| {
        let mut topic = TopicOptions::default();
        for (option, value) in options {
            topic.set(option, value).expect("an option");
        }
        let created = db.admin().create_topic(name, topic).wait(None);
        created.expect("a topic");
    };
    create("orders", &[("partitions", "2")]);
    create("deleted", &[]);
    create(
        "appended",
        &[
            ("durability", "os"),
            ("message_timestamp_type", "log_append_time"),
        ],
    );
    create("empty", &[("partitions", "3"), ("retention_ms", "3600000")]);
}

fn first_term(db: &Client) {
    let producer = db.producer(ProducerOptions::default()).expect("a producer");
    let headers = [
        Header {
            key: "trace",
            value: Some(b"ab"),
        },
        Header {
            key: "absent",
            value: None,
        },
        Header {
            key: "trace",
            value: Some(b""),
        },
    ];
    let with_headers = Made {
        headers: &headers,
        ..Made::new(START_MS, Some(b"k1"), Some(b"hello"))
    };
    send(&producer, "orders", 0, with_headers);
    send(
        &producer,
        "orders",
        0,
        Made::new(START_MS + 1, None, Some(b"no key")),
    );
    send(
        &producer,
        "orders",
        0,
        Made::new(START_MS + 2, Some(b"k2"), Some(b"")),
    );
    send(
        &producer,
        "orders",
        1,
        Made::new(-1_000, Some("\u{fc}".as_bytes()), Some(b"before 1970")),
    );
    send(
        &producer,
        "deleted",
        0,
        Made::new(START_MS, None, Some(b"gone")),
    );
    db.admin()
        .delete_topic("deleted")
        .wait(None)
        .expect("a deletion");
    commit(db, "billing", &[("orders", 0, 1), ("orders", 1, 1)]);
}

fn second_term(db: &Client) {
    let options = ProducerOptions {
        linger_ms: Some(60_000),
        ..ProducerOptions::default()
    };
    // These go together, as one batch a partition.
    let producer = db.producer(options).expect("a producer");
    let records = [
        (0, Made::new(START_MS + 3, Some(b"k1"), None)),
        (0, Made::new(START_MS + 4, Some(b""), Some(b"\x00\xff\x80"))),
        (1, Made::new(START_MS + 5, Some(b"k3"), Some(b"second"))),
        (
            1,
            Made::new(
                START_MS + 4,
                Some(b"k4"),
                Some(b"earlier than the one before"),
            ),
        ),
    ];
    for (partition, record) in &records {
        drop(
            producer
                .send("orders", &record_of(*partition, record))
                .expect("room"),
        );
    }
    producer.flush().wait(None).expect("all are sent");
    let producer = db.producer(ProducerOptions::default()).expect("a producer");
    send(
        &producer,
        "appended",
        0,
        Made::new(START_MS, None, Some(b"its time is the log's")),
    );
    commit(db, "billing", &[("orders", 0, 4)]);
    commit(db, "audit", &[("appended", 0, 0)]);
}

fn record_of<'a>(partition: i32, made: &Made<'a>) -> Record<'a> {
    Record {
        partition: Some(partition),
        key: made.key,
        value: made.value,
        headers: made.headers,
        timestamp_ms: Some(made.timestamp_ms),
    }
}

fn send(producer: &Producer, topic: &str, partition: i32, made: Made<'_>) -> i64 {
    let delivery = producer.send(topic, &record_of(partition, &made));
    let delivered = delivery.expect("room").wait(None);
    delivered.expect("it is acknowledged").offset
}

fn commit(db: &Client, group: &str, offsets: &[(&str, i32, i64)]) {
    let offsets = offsets
        .iter()
        .map(|(topic, partition, offset)| PartitionOffset {
            topic: (*topic).to_owned(),
            partition: *partition,
            offset: *offset,
        });
    let committed = db
        .admin()
        .commit_offsets(group, offsets.collect())
        .wait(None);
    committed.expect("a commit");
}

fn connect(folder: &Path) -> Client {
    let address = format!("file:{}", folder.display());
    headwater::connect(&address)
        .wait(None)
        .expect("the folder opens")
}

/// What a reader finds in a folder, through the client.
fn read(folder: &Path) -> Value {
    let storage = DiskStorage::open(folder, false).expect("a folder");
    let format = format::read(&storage, "folder").expect("a format");
    let db = connect(folder);
    let topics = db.admin().list_topics().wait(None).expect("topics");
    let topics: Vec<_> = topics
        .iter()
        .map(|topic| {
            let level = topic.config.iter().find(|(name, _)| name == "durability");
            let partitions = topic.partitions.iter().map(|partition| {
                json!({
                    "partition": partition.partition,
                    "log_start_offset": partition.log_start_offset,
                    "end_offset": partition.high_watermark,
                    "records": records(&db, &topic.name, partition.partition),
                })
            });
            json!({
                "topic": topic.name,
                "durability": level.map(|(_, level)| level),
                "partitions": partitions.collect::<Vec<_>>(),
            })
        })
        .collect();
    let groups = db.admin().list_groups().wait(None).expect("groups");
    let groups = groups.iter().map(|group| {
        let offsets = group.offsets.iter().map(|committed| {
            json!({
                "topic": committed.topic,
                "partition": committed.partition,
                "offset": committed.offset,
            })
        });
        json!({ "group": group.group, "offsets": offsets.collect::<Vec<_>>() })
    });
    let groups: Vec<_> = groups.collect();
    db.close(None).wait(None).expect("a close");
    json!({
        "description": "a data folder: two terms, the second closed cleanly",
        "format": format.version,
        "log_uuid": format::display_uuid(&format.log_uuid),
        "topics": topics,
        "groups": groups,
    })
}

fn records(db: &Client, topic: &str, partition: i32) -> Vec<Value> {
    let options = ConsumerOptions {
        partitions: Some(vec![partition]),
        until: Some(Until::End),
        ..ConsumerOptions::default()
    };
    let consumer = db.consumer(&[topic], options).expect("a consumer");
    let mut found = Vec::new();
    while let Some(batch) = consumer.next_batch_wait(None).expect("a batch") {
        for record in batch.records().map(|record| record.expect("a record")) {
            let headers = record.headers().map(|header| header.expect("a header"));
            // The time of an append is another one for every folder made.
            let is_append_time = topic == "appended";
            found.push(json!({
                "offset": record.offset,
                "timestamp_ms": (!is_append_time).then_some(record.timestamp_ms),
                "key": hex_or_null(record.key),
                "value": hex_or_null(record.value),
                "headers": headers_json(headers),
            }));
        }
    }
    found
}

/// Reads a folder's files without opening it; fails on any damage, and on anything that is cut.
fn survey(folder: &Path) -> Ending {
    let storage = DiskStorage::open(folder, false).expect("a folder");
    let format = format::read(&storage, "folder").expect("a format");
    assert_eq!(format.log_uuid, LOG_UUID);
    let reader = Reader::new(&storage, "0000", format.log_uuid).expect("segments");
    let ending = reader.read(&mut |item| {
        match item {
            Item::Segment(segment) => assert!(!segment.is_cut, "{segment:?}"),
            Item::Frame(frame) => assert!(!frame.is_cut, "{frame:?}"),
            Item::Damage(damage) => panic!("{damage:?}"),
        }
        std::ops::ControlFlow::Continue(())
    });
    ending.expect("it can be read").expect("nothing ended it")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("0000")).expect("a folder");
    for name in ["", "0000"] {
        for entry in fs::read_dir(from.join(name)).expect("a folder") {
            let entry = entry.expect("an entry");
            let to = to.join(name).join(entry.file_name());
            if entry.file_type().expect("a type").is_file() {
                fs::copy(entry.path(), to).expect("a copy");
            }
        }
    }
}
