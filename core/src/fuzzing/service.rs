//! The whole of a service on a log of any frames: everything is asked, written and read once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Target, records, segments};
use crate::completion::Completion;
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::ids::Durability;
use crate::log::Kind;
use crate::log::control::{self, PartitionOpen, TopicCreate};
use crate::log::storage::faulty::FaultyStorage;
use crate::protocol::out_of_range::OutOfRange;
use crate::protocol::request::{
    FetchPosition, GroupHeartbeat, OffsetAt, OffsetQuery, PartitionOffset, Request, Subscribe,
    SubscribeAt,
};
use crate::protocol::response::{
    GroupDescription, PartitionDescription, Response, TopicDescription,
};
use crate::record::batch;
use crate::record::{Batch, BatchBuilder, HeadersRef, RecordRef};
use crate::service::{Run, Service, ServiceOptions, Session};

/// Entries whose frames are made, see [`segments::of_entries`]: so that what is changed is what they say.
pub(super) const SERVICE: Target = Target {
    name: "service",
    run: |bytes| {
        check_service(bytes);
    },
    seeds: || vec![segments::entries_of(&used_log()), last_offsets()],
};

/// Turns of reading after which an end must have come, whatever the input.
const TAKES_MAX: usize = 100_000;

/// Whether a service opened at all.
pub(super) fn check_service(bytes: &[u8]) -> bool {
    let storage = segments::open(&[segments::of_entries(bytes)]);
    let service = match open(&storage) {
        Ok(service) => service,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            return false;
        }
    };
    let session = service.session();
    let topics = topics(&session);
    for topic in &topics {
        check_topic(&session, topic);
    }
    check_groups(&session);
    use_service(&session, "a new topic");
    let before = self::topics(&session);
    drop(session);
    service.close().expect("nothing fails here");

    let service = open(&storage).expect("it was closed in order");
    assert_eq!(self::topics(&service.session()), before);
    service.close().expect("nothing fails here");
    true
}

fn open(storage: &FaultyStorage) -> Result<Service, Error> {
    let options = ServiceOptions {
        segment_bytes: 1 << 20,
        ..ServiceOptions::default()
    };
    Service::open_storage(".".to_owned(), Arc::new(storage.clone()), None, &options)
}

fn ask(session: &Session, request: Request, payload: Bytes) -> Result<Response, Error> {
    let (completion, mut pending) = Completion::pair();
    session.submit(request, payload, Run::Here, completion);
    let answer = pending.wait(None);
    if let Err(error) = &answer {
        assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
    }
    answer
}

fn topics(session: &Session) -> Vec<TopicDescription> {
    match ask(session, Request::ListTopics, Bytes::new()) {
        Ok(Response::Topics(topics)) => topics,
        other => panic!("not a list of topics: {other:?}"),
    }
}

fn check_topic(session: &Session, topic: &TopicDescription) {
    for partition in &topic.partitions {
        assert!(
            partition.log_start_offset <= partition.high_watermark,
            "{partition:?}"
        );
        assert!(
            partition.high_watermark <= partition.log_end_offset,
            "{partition:?}"
        );
        for at in [OffsetAt::Earliest, OffsetAt::Latest, OffsetAt::Time(0)] {
            let query = OffsetQuery {
                topic: topic.name.clone(),
                partition: partition.partition,
                at,
            };
            let queries = vec![query];
            if let Ok(answer) = ask(session, Request::ListOffsets { queries }, Bytes::new()) {
                let Response::Offsets(offsets) = answer else {
                    panic!("not offsets: {answer:?}");
                };
                let [offset] = offsets[..] else {
                    panic!("one was asked for: {offsets:?}");
                };
                let range = partition.log_start_offset..=partition.high_watermark;
                assert!(range.contains(&offset), "{at:?}: {offset} of {partition:?}");
            }
        }
        let start = PartitionOffset {
            topic: topic.name.clone(),
            partition: partition.partition,
            offset: partition.log_start_offset,
        };
        check_reading(session, start, partition.high_watermark);
        for last_epoch in [0, partition.leader_epoch, i32::MAX] {
            check_epoch(session, &topic.name, partition, last_epoch);
        }
    }
}

/// Whoever stands at the end is told to go on there, or somewhere before it.
fn check_epoch(session: &Session, topic: &str, partition: &PartitionDescription, last_epoch: i32) {
    let subscribe = SubscribeAt {
        positions: vec![FetchPosition {
            topic: topic.to_owned(),
            partition: partition.partition,
            offset: partition.log_end_offset,
            last_epoch,
        }],
        credit_bytes: 0,
    };
    let Ok(subscription) = session.subscribe(&subscribe) else {
        return;
    };
    match subscription.take(1) {
        Ok(taken) => assert_eq!(taken, [], "{partition:?} is read beyond its end"),
        Err(error) => {
            let safe_offset = OutOfRange::of(&error).and_then(OutOfRange::safe_offset);
            let held = partition.log_start_offset..=partition.log_end_offset;
            assert!(
                safe_offset.is_some_and(|offset| held.contains(&offset)),
                "{error}"
            );
        }
    }
}

/// Reads a partition to its end: batches that are intact, in order, without a gap.
fn check_reading(session: &Session, start: PartitionOffset, high_watermark: i64) {
    let mut offset = start.offset;
    let subscribe = Subscribe {
        partitions: vec![start],
        credit_bytes: 0,
    };
    let Ok(subscription) = session.subscribe(&subscribe.into()) else {
        return;
    };
    for _ in 0..TAKES_MAX {
        let taken = match subscription.take(10_000) {
            Ok(taken) => taken,
            Err(error) => {
                assert_ne!(error.kind(), ErrorKind::Internal, "{error}");
                return;
            }
        };
        if taken.is_empty() {
            assert_eq!(offset, high_watermark);
            return;
        }
        for fetched in taken {
            let batch = Batch::verified(fetched.batch).expect("it was verified before");
            // The first batch may begin before the offset that was asked for.
            assert!(batch.base_offset() <= offset && offset <= batch.last_offset());
            assert!(fetched.from_offset <= offset);
            offset = batch.last_offset() + 1;
            assert!(offset <= fetched.high_watermark);
        }
    }
    panic!("no end after {TAKES_MAX} takes");
}

fn check_groups(session: &Session) {
    let Ok(Response::Groups(groups)) = ask(session, Request::ListGroups, Bytes::new()) else {
        panic!("groups cannot be listed");
    };
    for group in groups {
        let request = Request::DescribeGroup {
            group: group.group.clone(),
        };
        if let Ok(answer) = ask(session, request, Bytes::new()) {
            assert_eq!(answer, Response::Group(group.clone()));
        }
        use_group(session, &group);
    }
}

/// Joins a group, whatever the log says of it, says to be one of its members, and leaves.
fn use_group(session: &Session, group: &GroupDescription) {
    let heartbeat = |generation| {
        Request::GroupHeartbeat(GroupHeartbeat {
            group: group.group.clone(),
            member_id: "fuzz".to_owned(),
            generation,
            instance_id: None,
            client_name: String::new(),
            topics: vec!["a-new-topic".to_owned()],
            assignor: "sticky".to_owned(),
            session_timeout_ms: 45_000,
            rebalance_timeout_ms: 60_000,
            heartbeat_ms: 3_000,
            owned: Vec::new(),
        })
    };
    let _unknown = ask(session, heartbeat(group.generation.max(1)), Bytes::new());
    // The group may wait for its members of before, and so would we.
    let (completion, mut joining) = Completion::pair();
    session.submit(heartbeat(0), Bytes::new(), Run::Here, completion);
    let _refused = ask(session, heartbeat(-1), Bytes::new());
    // The log's threads may have answered the one and be about to answer the other.
    let joined = joining.wait(Some(Duration::from_secs(60)));
    let waits = joined.is_err_and(|error| error.code() == ErrorCode::RequestTimedOut);
    assert!(!waits, "it has left, and waits still");
}

/// Does everything there is to do: topics, records, groups. Any of it may be refused; what was written
/// is read.
fn use_service(session: &Session, topic: &str) {
    let name = topic.replace(' ', "-");
    let create = Request::CreateTopic {
        name: name.clone(),
        config: vec![("partitions".to_owned(), "2".to_owned())],
        exist_ok: true,
    };
    let created = ask(session, create, Bytes::new());
    let _refused = ask(session, Request::InitProducer, Bytes::new());
    let record = RecordRef {
        timestamp_ms: 5,
        key: Some(b"key"),
        value: Some(b"value"),
        headers: HeadersRef::NONE,
    };
    let mut builder = BatchBuilder::new(0);
    builder.push(&record).expect("well formed");
    let batch = builder.finish(-1, -1, -1).expect("there is a record");
    for durability in [Durability::Os, Durability::Disk] {
        let produce = Request::Produce {
            topic: name.clone(),
            partition: 1,
            durability: Some(durability),
        };
        let produced = ask(session, produce, Bytes::from(batch.clone()));
        assert!(produced.is_ok() || created.is_err(), "{produced:?}");
    }
    let commit = Request::CommitOffsets {
        group: "group".to_owned(),
        member: None,
        offsets: vec![PartitionOffset {
            topic: name.clone(),
            partition: 1,
            offset: 1,
        }],
    };
    let _refused = ask(session, commit, Bytes::new());
    let delete = Request::DeleteRecords {
        before: vec![PartitionOffset {
            topic: name.clone(),
            partition: 1,
            offset: 1,
        }],
    };
    if let Ok(answer) = ask(session, delete, Bytes::new()) {
        let Response::Offsets(starts) = answer else {
            panic!("not offsets: {answer:?}");
        };
        assert!(starts.iter().all(|start| *start >= 1), "{starts:?}");
    }
    let join = Request::JoinGroup {
        group: "another".to_owned(),
        topics: vec![name],
    };
    let _refused = ask(session, join, Bytes::new());
    let delete = Request::DeleteTopic {
        name: "no-such-topic".to_owned(),
    };
    assert!(ask(session, delete, Bytes::new()).is_err());
    for topic in topics(session) {
        check_topic(session, &topic);
    }
}

/// The segments of a log that a service has used and closed.
fn used_log() -> Vec<Vec<u8>> {
    let storage = segments::open(&[]);
    let service = open(&storage).expect("it is empty");
    use_service(&service.session(), "orders");
    use_service(&service.session(), "payments");
    let delete = Request::DeleteTopic {
        name: "payments".to_owned(),
    };
    ask(&service.session(), delete, Bytes::new()).expect("it is there");
    service.close().expect("nothing fails here");
    segments::files_of(&storage)
}

/// A topic whose partition has one offset left, and a batch for it.
fn last_offsets() -> Vec<u8> {
    let uuid = [3; 16];
    let create = TopicCreate {
        uuid,
        name: "ends".to_owned(),
        config: Vec::new(),
    };
    let open = PartitionOpen {
        topic: uuid,
        partition: 0,
        start_offset: i64::MAX - 1,
    };
    let mut batch = records::batches().swap_remove(0);
    batch::stamp(&mut batch, i64::MAX - 1, 1);
    let parts = [
        (Kind::TopicCreate, control::encode(&create).expect("short")),
        (Kind::PartitionOpen, control::encode(&open).expect("short")),
        (Kind::Records, batch),
    ];
    let mut entries = Vec::new();
    for (kind, payload) in parts {
        segments::push_entry(&mut entries, kind as u8, 1, &payload);
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_had_members_and_have_no_more_generations_are_used_like_others() {
        let mut entries = Vec::new();
        for (group, generation) in [("ended", i32::MAX), ("before", -5), ("had members", 7)] {
            let group = control::Group {
                group: group.to_owned(),
                generation,
                members: vec!["fuzz".to_owned(), String::new()],
                is_deleted: false,
            };
            let payload = control::encode(&group).unwrap();
            segments::push_entry(&mut entries, Kind::Group as u8, 1, &payload);
        }
        assert!(check_service(&entries));
    }

    #[test]
    fn a_partition_id_that_two_topics_open_stays_the_firsts() {
        // Deleting either topic took the partition from the other.
        let mut entries = Vec::new();
        for (uuid, name) in [([1; 16], "first"), ([2; 16], "second")] {
            let create = TopicCreate {
                uuid,
                name: name.to_owned(),
                config: Vec::new(),
            };
            let open = PartitionOpen {
                topic: uuid,
                partition: 0,
                start_offset: 0,
            };
            let create = control::encode(&create).unwrap();
            let open = control::encode(&open).unwrap();
            segments::push_entry(&mut entries, Kind::TopicCreate as u8, 0, &create);
            segments::push_entry(&mut entries, Kind::PartitionOpen as u8, 7, &open);
        }
        assert!(check_service(&entries));
        let service = open(&segments::open(&[segments::of_entries(&entries)])).unwrap();
        let session = service.session();
        let counts = |session| {
            let topics = topics(session).into_iter();
            let counts = topics.map(|topic| (topic.name, topic.partitions.len()));
            counts.collect::<Vec<_>>()
        };
        assert_eq!(
            counts(&session),
            [("first".to_owned(), 1), ("second".to_owned(), 0)]
        );
        let delete = Request::DeleteTopic {
            name: "second".to_owned(),
        };
        ask(&session, delete, Bytes::new()).unwrap();
        let before = topics(&session);
        check_topic(&session, &before[0]);
        let produce = Request::Produce {
            topic: "first".to_owned(),
            partition: 0,
            durability: None,
        };
        let mut builder = BatchBuilder::new(0);
        builder.push(&RecordRef::default()).unwrap();
        let batch = Bytes::from(builder.finish(-1, -1, -1).unwrap());
        ask(&session, produce, batch).unwrap();
        assert!(topics(&session)[0].partitions[0].log_end_offset > 0);
        service.close().unwrap();
    }
}
