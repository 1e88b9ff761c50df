//! Compaction as an application sees it: the last record of each key stays, the folder stays small, and readers
//! pass over what is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use headwater::{
    CleanupPolicy, Client, ConsumerOptions, ErrorCode, ProducerOptions, Record, Start,
    TopicOptions, Until,
};

use super::retention::{folder_bytes, open};

const KEYS: u64 = 1_000;
const VALUE_BYTES: usize = 1_000;
const RECORDS: u64 = 60_000;

fn compacted() -> TopicOptions {
    TopicOptions {
        durability: Some(headwater::Durability::Os),
        cleanup_policy: Some(CleanupPolicy::Compact),
        tombstone_retention_ms: Some(0),
        ..Default::default()
    }
}

/// What a reader from the beginning finds: by key the number of the last record, and how many there were.
fn read(db: &Client) -> (BTreeMap<u64, Option<u64>>, u64) {
    let options = ConsumerOptions {
        start: Some(Start::Earliest),
        until: Some(Until::End),
        ..Default::default()
    };
    let consumer = db.consumer(&["state"], options).unwrap();
    let (mut found, mut records, mut last) = (BTreeMap::new(), 0, -1);
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes[..8].try_into().unwrap());
    while let Some(batch) = consumer.next_batch_wait(None).unwrap() {
        for record in batch.records() {
            let record = record.unwrap();
            assert!(record.offset > last, "{} behind {last}", record.offset);
            last = record.offset;
            records += 1;
            found.insert(number(record.key.unwrap()), record.value.map(number));
        }
    }
    consumer.close(None).wait(None).unwrap();
    (found, records)
}

#[test]
fn of_each_key_the_last_record_stays_and_the_folder_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let db = open(&path);
    let admin = db.admin();
    admin.create_topic("state", compacted()).wait(None).unwrap();
    let producer = db
        .producer(ProducerOptions {
            compression: Some(headwater::options::Compression::Lz4),
            ..Default::default()
        })
        .unwrap();
    let mut expected = BTreeMap::new();
    // Values that do not compress, so that there is something to give back.
    let mut noise = 1_u64;
    for number in 0..RECORDS {
        let key = number * 7 % KEYS;
        let mut value = Vec::with_capacity(VALUE_BYTES);
        value.extend_from_slice(&number.to_be_bytes());
        while value.len() < VALUE_BYTES {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            value.extend_from_slice(&noise.to_be_bytes());
        }
        // In the end a tenth of the keys are deleted.
        let is_deleted = number >= RECORDS / 4 && key.is_multiple_of(10);
        let key_bytes = key.to_be_bytes();
        let record = Record {
            key: Some(&key_bytes),
            value: (!is_deleted).then_some(value.as_slice()),
            ..Record::new(b"")
        };
        drop(producer.send("state", &record).unwrap());
        expected.insert(key, (!is_deleted).then_some(number));
    }
    producer.flush().wait(None).unwrap();
    let written = RECORDS * VALUE_BYTES as u64 * 9 / 10;
    // Two snapshots, 16 MiB apart, decide how much is cleaned.
    while folder_bytes(&path) > written * 3 / 4 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let check = |db: &Client| {
        let (found, records) = read(db);
        assert!(records < RECORDS * 3 / 4, "{records}");
        for (key, number) in &expected {
            assert_eq!(found.get(key).copied().flatten(), *number, "key {key}");
        }
        let described = db.admin().describe_topic("state").wait(None).unwrap();
        let partition = described.partitions[0];
        assert_eq!(
            (partition.log_start_offset, partition.log_end_offset),
            (0, RECORDS as i64)
        );
    };
    check(&db);
    db.close(None).wait(None).unwrap();
    let db = open(&path);
    check(&db);
    db.close(None).wait(None).unwrap();
}

#[test]
fn a_record_without_a_key_is_refused_by_a_compacted_topic() {
    let db = headwater::connect("mem:").wait(None).unwrap();
    let admin = db.admin();
    admin.create_topic("state", compacted()).wait(None).unwrap();
    let described = admin.describe_topic("state").wait(None).unwrap();
    let policy = described
        .config
        .iter()
        .find(|(name, _)| name == "cleanup_policy");
    assert_eq!(policy.map(|(_, value)| value.as_str()), Some("compact"));
    let producer = db.producer(ProducerOptions::default()).unwrap();
    let send = |record: &Record<'_>| producer.send("state", record).unwrap().wait(None);
    send(&Record::new(b"v").with_key(b"k")).unwrap();
    let error = send(&Record::new(b"v")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidRecord);
    assert!(
        error.message().contains("`state`") && error.message().contains("key"),
        "{error}"
    );
    db.close(None).wait(None).unwrap();
}
