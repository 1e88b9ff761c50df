//! Deleting records by hand, and consumers that had not read them.

use std::time::Duration;

use bytes::Bytes;
use headwater::protocol::request::Request;
use headwater::service::{Run, Service, ServiceOptions};
use headwater::{
    Client, Completion, ConsumerOptions, ErrorCode, PartitionOffset, TopicOptions, Until, limits,
};

use super::retention::{RECORD_BYTES, create, describe, open, send};
use super::server::Broker;

fn delete(db: &Client, before: &[(i32, i64)]) -> headwater::Result<Vec<(i32, i64)>> {
    let before = before.iter().copied().collect();
    let deleted = db.admin().delete_records("t", before).wait(None)?;
    Ok(deleted.into_iter().collect())
}

fn count(db: &Client, options: ConsumerOptions) -> usize {
    let options = ConsumerOptions {
        until: Some(Until::End),
        ..options
    };
    let consumer = db.consumer(&["t"], options).unwrap();
    let mut count = 0;
    while let Some(batch) = consumer.next_batch_wait(None).unwrap() {
        count += batch.records().count();
    }
    count
}

#[test]
fn records_deleted_by_hand_are_gone_in_all_the_partitions_or_in_none() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("data");
    let broker = Broker::start();
    for address in [
        folder.to_str().unwrap(),
        "mem:",
        &broker.address.to_string(),
    ] {
        let db = headwater::connect(address).wait(None).unwrap();
        let partitions = TopicOptions {
            partitions: Some(2),
            ..Default::default()
        };
        db.admin().create_topic("t", partitions).wait(None).unwrap();
        send(&db, "t", 20 * RECORD_BYTES as u64);
        let ends = describe(&db, "t").partitions;
        let ends: Vec<_> = ends.iter().map(|it| it.log_end_offset).collect();
        assert_eq!(ends.iter().sum::<i64>(), 20);
        let full = if ends[0] > 1 { 0 } else { 1 };
        let (number, end) = (full as i32, ends[full]);

        assert_eq!(delete(&db, &[]).unwrap(), []);
        assert_eq!(delete(&db, &[(number, 2)]).unwrap(), [(number, 2)]);
        assert_eq!(delete(&db, &[(number, 1)]).unwrap(), [(number, 2)]);
        assert_eq!(count(&db, ConsumerOptions::default()), 18);
        for (wrong, code) in [
            ((number, end + 1), ErrorCode::OffsetOutOfRange),
            ((number, -2), ErrorCode::OffsetOutOfRange),
            ((9, 0), ErrorCode::UnknownTopicOrPartition),
        ] {
            let error = delete(&db, &[(1 - number, -1), wrong]).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            if code == ErrorCode::OffsetOutOfRange {
                let both = format!("2 to {end}");
                assert!(error.message().contains(&both), "{error}");
            }
        }
        assert_eq!(count(&db, ConsumerOptions::default()), 18);
        assert_eq!(
            delete(&db, &[(0, -1), (1, -1)]).unwrap(),
            [(0, ends[0]), (1, ends[1])]
        );
        assert_eq!(count(&db, ConsumerOptions::default()), 0);
        db.close(None).wait(None).unwrap();
    }
    let db = open(&folder);
    let again = describe(&db, "t").partitions;
    for partition in again {
        assert_eq!(partition.log_start_offset, partition.log_end_offset);
    }
    db.close(None).wait(None).unwrap();
}

#[test]
fn a_consumer_goes_on_behind_records_that_were_deleted_before_it_read_them() {
    let broker = Broker::start();
    for address in ["mem:", &broker.address.to_string()] {
        let db = headwater::connect(address).wait(None).unwrap();
        create(&db, "t", TopicOptions::default());
        send(&db, "t", 20 * RECORD_BYTES as u64);
        let options = ConsumerOptions {
            // One batch at a time, so that what is deleted was not read ahead.
            read_ahead_bytes: Some(65_536),
            ..Default::default()
        };
        let consumer = db.consumer(&["t"], options).unwrap();
        consumer.open().wait(None).unwrap();
        db.admin()
            .delete_records("t", [(0, 15)].into())
            .wait(None)
            .unwrap();
        let mut last = -1;
        while last < 19 {
            let batch = consumer.next_batch_wait(None).unwrap().unwrap();
            for record in batch.records() {
                last = record.unwrap().offset;
            }
        }
        if address == "mem:" {
            let metrics = db.metrics();
            assert_eq!((metrics.offset_resets, metrics.records_skipped), (1, 15));
            assert_eq!(metrics.records_received, 5);
        }
        drop(consumer);
        db.close(None).wait(None).unwrap();
    }
}

#[test]
fn a_group_whose_committed_offset_is_past_the_end_goes_on_at_the_end() {
    let db = headwater::connect("mem:").wait(None).unwrap();
    create(&db, "t", TopicOptions::default());
    send(&db, "t", 3 * RECORD_BYTES as u64);
    let past = PartitionOffset {
        topic: "t".to_owned(),
        partition: 0,
        offset: 99,
    };
    let admin = db.admin();
    admin.commit_offsets("g", vec![past]).wait(None).unwrap();
    let options = ConsumerOptions {
        group: Some("g".to_owned()),
        ..Default::default()
    };
    let consumer = db.consumer(&["t"], options).unwrap();
    let moment = Some(Duration::from_millis(10));
    assert!(consumer.next_batch_wait(moment).unwrap().is_none());
    send(&db, "t", RECORD_BYTES as u64);
    let batch = consumer.next_batch_wait(None).unwrap().unwrap();
    assert_eq!(batch.records().next().unwrap().unwrap().offset, 3);
    assert_eq!(db.metrics().offset_resets, 1);
    db.close(None).wait(None).unwrap();
}

#[test]
fn more_partitions_than_allowed_and_one_twice_are_refused() {
    let service = Service::open_memory("", &ServiceOptions::default()).unwrap();
    let session = service.session();
    let ask = |request| {
        let (completion, mut pending) = Completion::pair();
        session.submit(request, Bytes::new(), Run::Here, completion);
        pending.wait(None)
    };
    let create = Request::CreateTopic {
        name: "t".to_owned(),
        config: Vec::new(),
        exist_ok: false,
    };
    ask(create).unwrap();
    let at = PartitionOffset {
        topic: "t".to_owned(),
        partition: 0,
        offset: 0,
    };
    for (count, words) in [
        (limits::DELETE_RECORDS_PARTITIONS_MAX + 1, "at most 4096"),
        (2, "twice"),
    ] {
        let before = vec![at.clone(); count];
        let error = ask(Request::DeleteRecords { before }).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidRequest);
        assert!(error.message().contains(words), "{error}");
    }
    drop(session);
    service.close().unwrap();
}
