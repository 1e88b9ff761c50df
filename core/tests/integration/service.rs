//! The service: what requests do, what survives a reopen, and what is refused in which words.

mod times;

use std::path::Path;

use bytes::Bytes;
use headwater::protocol::request::{OffsetAt, OffsetQuery, Request, Subscribe};
use headwater::protocol::response::{ProduceAck, Response};
use headwater::record::builder::BatchBuilder;
use headwater::record::{HeadersRef, RecordRef};
use headwater::service::{Run, Service, ServiceOptions, Session};
use headwater::{Completion, Durability, ErrorCode, Member, PartitionOffset, Result};

fn memory() -> Service {
    Service::open_memory("", &ServiceOptions::default()).unwrap()
}

fn folder(path: &Path) -> Service {
    Service::open_folder(path, &ServiceOptions::default()).unwrap()
}

fn ask(session: &Session, request: Request, payload: Vec<u8>) -> Result<Response> {
    let (completion, mut pending) = Completion::pair();
    session.submit(request, Bytes::from(payload), Run::Here, completion);
    pending.wait(None)
}

fn create(session: &Session, name: &str, config: &[(&str, &str)]) -> Result<Response> {
    let config = config
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    ask(
        session,
        Request::CreateTopic {
            name: name.to_owned(),
            config,
            exist_ok: false,
        },
        vec![],
    )
}

/// A batch of records with these values; each one's timestamp is `time_ms` plus its place.
fn batch(values: &[&str], time_ms: i64, producer: (i64, i16, i32)) -> Vec<u8> {
    let mut builder = BatchBuilder::new(1_024);
    for (place, value) in (0..).zip(values) {
        let record = RecordRef {
            timestamp_ms: time_ms + place,
            key: None,
            value: Some(value.as_bytes()),
            headers: HeadersRef::default(),
        };
        builder.push(&record).unwrap();
    }
    builder.finish(producer.0, producer.1, producer.2).unwrap()
}

const NO_PRODUCER: (i64, i16, i32) = (-1, -1, -1);

fn produce(session: &Session, topic: &str, batch: Vec<u8>) -> Result<ProduceAck> {
    let request = Request::Produce {
        topic: topic.to_owned(),
        partition: 0,
        durability: None,
    };
    match ask(session, request, batch)? {
        Response::Produced(ack) => Ok(ack),
        other => panic!("{other:?}"),
    }
}

fn at(topic: &str, partition: i32, offset: i64) -> PartitionOffset {
    PartitionOffset {
        topic: topic.to_owned(),
        partition,
        offset,
    }
}

/// Everything readable of a topic's partition 0, from `offset` on.
fn read(session: &Session, topic: &str, offset: i64) -> Result<Vec<(i64, String)>> {
    let subscribe = Subscribe {
        partitions: vec![at(topic, 0, offset)],
        credit_bytes: 0,
    };
    let subscription = session.subscribe(&subscribe.into())?;
    let mut found = Vec::new();
    loop {
        let taken = subscription.take(1_024)?;
        if taken.is_empty() {
            return Ok(found);
        }
        for fetched in taken {
            let batch = headwater::record::Batch::verified(fetched.batch).unwrap();
            for record in batch.records() {
                let record = record.unwrap();
                if record.offset >= fetched.from_offset {
                    let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
                    found.push((record.offset, value));
                }
            }
        }
    }
}

fn owned(found: &[(i64, &str)]) -> Vec<(i64, String)> {
    found
        .iter()
        .map(|(offset, value)| (*offset, (*value).to_owned()))
        .collect()
}

#[test]
fn what_is_produced_is_read_back_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let service = folder(dir.path());
    let session = service.session();
    create(&session, "orders", &[("partitions", "3")]).unwrap();
    let ack = produce(&session, "orders", batch(&["a", "b"], 5, NO_PRODUCER)).unwrap();
    assert_eq!((ack.base_offset, ack.durability), (0, Durability::Disk));
    assert_eq!(
        produce(&session, "orders", batch(&["c"], 9, NO_PRODUCER))
            .unwrap()
            .base_offset,
        2
    );
    assert_eq!(
        read(&session, "orders", 1).unwrap(),
        owned(&[(1, "b"), (2, "c")])
    );
    drop(session);
    service.close().unwrap();

    let service = folder(dir.path());
    let session = service.session();
    assert_eq!(
        read(&session, "orders", 0).unwrap(),
        owned(&[(0, "a"), (1, "b"), (2, "c")])
    );
    let ack = produce(&session, "orders", batch(&["d"], 9, NO_PRODUCER)).unwrap();
    assert_eq!(ack.base_offset, 3);
    let Response::Topics(topics) = ask(&session, Request::ListTopics, vec![]).unwrap() else {
        panic!("no topics")
    };
    assert_eq!((topics.len(), topics[0].partitions.len()), (1, 3));
    assert_eq!(topics[0].partitions[0].high_watermark, 4);
    service.close().unwrap();
}

#[test]
fn a_folder_opened_twice_is_one_log_and_closes_with_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let (first, second) = (folder(dir.path()), folder(&dir.path().join(".")));
    create(&first.session(), "orders", &[]).unwrap();
    first.close().unwrap();
    produce(&second.session(), "orders", batch(&["a"], 0, NO_PRODUCER)).unwrap();
    let closed = ask(&first.session(), Request::Ping, vec![]);
    assert!(closed.is_ok(), "the log is still open for the second");
    second.close().unwrap();
    second.close().unwrap();
    let error = ask(&second.session(), Request::Ping, vec![]).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Closed);
}

#[test]
fn a_batch_sent_twice_is_stored_once() {
    let service = memory();
    let session = service.session();
    create(&session, "orders", &[]).unwrap();
    let Response::Producer {
        producer_id,
        producer_epoch,
    } = ask(&session, Request::InitProducer, vec![]).unwrap()
    else {
        panic!("no producer id")
    };
    let first = batch(&["a", "b"], 0, (producer_id, producer_epoch, 0));
    let ack = produce(&session, "orders", first.clone()).unwrap();
    assert_eq!((ack.base_offset, ack.is_duplicate), (0, false));
    let ack = produce(&session, "orders", first).unwrap();
    assert_eq!((ack.base_offset, ack.is_duplicate), (0, true));
    let gap = batch(&["z"], 0, (producer_id, producer_epoch, 5));
    let error = produce(&session, "orders", gap).unwrap_err();
    assert_eq!(error.code(), ErrorCode::OutOfOrderSequenceNumber);
    assert!(error.message().contains("orders"), "{error}");
    assert_eq!(read(&session, "orders", 0).unwrap().len(), 2);
}

#[test]
fn producer_ids_are_never_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = std::collections::HashSet::new();
    for _ in 0..3 {
        let service = folder(dir.path());
        for _ in 0..1_200 {
            match ask(&service.session(), Request::InitProducer, vec![]).unwrap() {
                Response::Producer { producer_id, .. } => assert!(seen.insert(producer_id)),
                other => panic!("{other:?}"),
            }
        }
        service.close().unwrap();
    }
}

#[test]
fn offsets_are_found_by_their_meaning() {
    let service = memory();
    let session = service.session();
    create(&session, "orders", &[]).unwrap();
    produce(
        &session,
        "orders",
        batch(&["a", "b", "c"], 100, NO_PRODUCER),
    )
    .unwrap();
    produce(&session, "orders", batch(&["d"], 50, NO_PRODUCER)).unwrap();
    produce(&session, "orders", batch(&["e"], 200, NO_PRODUCER)).unwrap();
    let found = |at| {
        let query = OffsetQuery {
            topic: "orders".to_owned(),
            partition: 0,
            at,
        };
        match ask(
            &session,
            Request::ListOffsets {
                queries: vec![query],
            },
            vec![],
        )
        .unwrap()
        {
            Response::Offsets(offsets) => offsets[0],
            other => panic!("{other:?}"),
        }
    };
    assert_eq!([found(OffsetAt::Earliest), found(OffsetAt::Latest)], [0, 5]);
    assert_eq!(
        [found(OffsetAt::Time(0)), found(OffsetAt::Time(102))],
        [0, 2]
    );
    assert_eq!(
        [found(OffsetAt::Time(103)), found(OffsetAt::Time(201))],
        [4, 5]
    );
}

#[test]
fn a_group_has_one_member_whose_commits_survive_it() {
    let dir = tempfile::tempdir().unwrap();
    let service = folder(dir.path());
    let session = service.session();
    create(&session, "orders", &[("partitions", "2")]).unwrap();
    let join = || Request::JoinGroup {
        group: "g".to_owned(),
        topics: vec!["orders".to_owned()],
    };
    let joined = |session: &Session| match ask(session, join(), vec![]).unwrap() {
        Response::Joined { member, assignment } => (member, assignment),
        other => panic!("{other:?}"),
    };
    let commit = |session: &Session, member: Option<&Member>, offset| {
        let offsets = vec![at("orders", 1, offset)];
        let group = "g".to_owned();
        ask(
            session,
            Request::CommitOffsets {
                group,
                member: member.cloned(),
                offsets,
            },
            vec![],
        )
    };
    let (member, assignment) = joined(&session);
    assert_eq!(assignment, [at("orders", 0, -1), at("orders", 1, -1)]);
    commit(&session, Some(&member), 7).unwrap();
    let other = service.session();
    assert_eq!(
        ask(&other, join(), vec![]).unwrap_err().code(),
        ErrorCode::UnsupportedFeature
    );
    assert_eq!(
        commit(&other, None, 8).unwrap_err().code(),
        ErrorCode::NonEmptyGroup
    );
    // The session ends, and its membership with it.
    drop(session);
    let (second, assignment) = joined(&other);
    assert_eq!(assignment[1], at("orders", 1, 7));
    assert!(second.generation > member.generation);
    let fenced = commit(&other, Some(&member), 9).unwrap_err();
    assert_eq!(fenced.code(), ErrorCode::UnknownMemberId);
    drop(other);
    service.close().unwrap();

    let service = folder(dir.path());
    let session = service.session();
    let fenced = commit(&session, Some(&second), 9).unwrap_err();
    assert_eq!(fenced.code(), ErrorCode::UnknownMemberId);
    commit(&session, None, 3).unwrap();
    let (third, assignment) = joined(&session);
    assert_eq!(assignment[1], at("orders", 1, 3));
    assert!(third.generation > second.generation);
    let leave = Request::LeaveGroup {
        group: "g".to_owned(),
        member: third,
    };
    ask(&session, leave, vec![]).unwrap();
    let delete = || Request::DeleteGroup {
        group: "g".to_owned(),
    };
    ask(&session, delete(), vec![]).unwrap();
    assert_eq!(
        ask(&session, delete(), vec![]).unwrap_err().code(),
        ErrorCode::GroupIdNotFound
    );
    service.close().unwrap();
}

#[test]
fn a_topic_created_again_starts_empty_and_its_old_readers_are_told() {
    let service = memory();
    let session = service.session();
    create(&session, "orders", &[]).unwrap();
    assert_eq!(
        create(&session, "orders", &[]).unwrap_err().code(),
        ErrorCode::TopicAlreadyExists
    );
    produce(&session, "orders", batch(&["a"], 0, NO_PRODUCER)).unwrap();
    let subscribe = Subscribe {
        partitions: vec![at("orders", 0, 0)],
        credit_bytes: 0,
    };
    let subscription = session.subscribe(&subscribe.into()).unwrap();
    ask(
        &session,
        Request::DeleteTopic {
            name: "orders".to_owned(),
        },
        vec![],
    )
    .unwrap();
    let gone = subscription.take(100).unwrap_err();
    assert_eq!(gone.code(), ErrorCode::UnknownTopicOrPartition);
    create(&session, "orders", &[]).unwrap();
    assert_eq!(read(&session, "orders", 0).unwrap(), []);
    assert_eq!(
        produce(&session, "orders", batch(&["b"], 0, NO_PRODUCER))
            .unwrap()
            .base_offset,
        0
    );
}

#[test]
fn what_is_wrong_is_said_and_changes_nothing() {
    let service = memory();
    let session = service.session();
    let code = |answer: Result<Response>| answer.unwrap_err().code();
    assert_eq!(code(create(&session, "a/b", &[])), ErrorCode::InvalidTopic);
    assert_eq!(
        code(create(&session, "x", &[("partitions", "0")])),
        ErrorCode::InvalidPartitions
    );
    assert_eq!(
        code(create(&session, "x", &[("durability", "quorum")])),
        ErrorCode::UnsupportedFeature
    );
    assert_eq!(
        code(create(&session, "x", &[("durability", "disk")])),
        ErrorCode::InvalidConfig
    );
    create(&session, "x", &[("max_message_bytes", "1024")]).unwrap();
    let wrong = |batch: Vec<u8>| produce(&session, "x", batch).unwrap_err().code();
    assert_eq!(
        wrong(batch(&["a".repeat(2_000).as_str()], 0, NO_PRODUCER)),
        ErrorCode::MessageTooLarge
    );
    assert_eq!(wrong(vec![]), ErrorCode::CorruptMessage);
    let mut damaged = batch(&["abc"], 0, NO_PRODUCER);
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(wrong(damaged), ErrorCode::CorruptMessage);
    let missing = produce(&session, "y", batch(&["a"], 0, NO_PRODUCER)).unwrap_err();
    assert_eq!(missing.code(), ErrorCode::UnknownTopicOrPartition);
    assert!(missing.message().contains("`y`"), "{missing}");
    assert_eq!(read(&session, "x", 0).unwrap(), []);
    assert_eq!(
        read(&session, "x", 1).unwrap_err().code(),
        ErrorCode::OffsetOutOfRange
    );
    let quorum = Request::Produce {
        topic: "x".to_owned(),
        partition: 0,
        durability: Some(Durability::Quorum),
    };
    assert_eq!(
        code(ask(&session, quorum, batch(&["a"], 0, NO_PRODUCER))),
        ErrorCode::UnsupportedFeature
    );
}

#[test]
fn a_waiting_reader_is_woken_by_what_is_written() {
    let service = memory();
    let session = service.session();
    create(&session, "orders", &[]).unwrap();
    let subscribe = Subscribe {
        partitions: vec![at("orders", 0, 0)],
        credit_bytes: 0,
    };
    let subscription = session.subscribe(&subscribe.into()).unwrap();
    let (woken, hears) = std::sync::mpsc::channel();
    let wake = move || woken.send(()).unwrap();
    subscription.watch(headwater::completion::Wake::Hook(std::sync::Arc::new(wake)));
    assert!(hears.try_recv().is_err(), "there is nothing yet");
    produce(&session, "orders", batch(&["a"], 0, NO_PRODUCER)).unwrap();
    hears.recv().unwrap();
    assert_eq!(subscription.take_recent(10).len(), 0, "it is longer");
    assert_eq!(subscription.take_recent(1_000).len(), 1);
    assert_eq!(subscription.take(100).unwrap().len(), 0, "it was taken");
}

#[test]
fn what_a_file_holds_or_is_an_error_is_not_recent_and_is_taken_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let service = folder(dir.path());
    create(&service.session(), "orders", &[]).unwrap();
    produce(&service.session(), "orders", batch(&["a"], 0, NO_PRODUCER)).unwrap();
    service.close().unwrap();
    let service = folder(dir.path());
    let session = service.session();
    let from = |offset| {
        let subscribe = Subscribe {
            partitions: vec![at("orders", 0, offset)],
            credit_bytes: 0,
        };
        session.subscribe(&subscribe.into()).unwrap()
    };
    let subscription = from(0);
    assert_eq!(subscription.take_recent(1_000).len(), 0);
    assert_eq!(subscription.take(1_000).unwrap().len(), 1);
    let beyond = from(9);
    assert_eq!(beyond.take_recent(1_000).len(), 0);
    assert_eq!(
        beyond.take(1_000).unwrap_err().code(),
        ErrorCode::OffsetOutOfRange
    );
    service.close().unwrap();
}

#[test]
fn with_auto_create_a_topic_is_there_when_it_is_first_produced_to() {
    let options = ServiceOptions {
        auto_create_topics: true,
        ..ServiceOptions::default()
    };
    let service = Service::open_memory("", &options).unwrap();
    let session = service.session();
    assert_eq!(
        produce(&session, "new", batch(&["a"], 0, NO_PRODUCER))
            .unwrap()
            .base_offset,
        0
    );
    // A client asks for its topics before it uses them.
    let names = vec!["new".to_owned(), "other".to_owned(), "third".to_owned()];
    match ask(&session, Request::DescribeTopics { names }, vec![]).unwrap() {
        Response::Topics(topics) => assert_eq!(topics.len(), 3),
        other => panic!("{other:?}"),
    }
    let join = Request::JoinGroup {
        group: "g".to_owned(),
        topics: vec!["fourth".to_owned()],
    };
    assert!(matches!(
        ask(&session, join, vec![]).unwrap(),
        Response::Joined { .. }
    ));
    let error = produce(&session, "not/a/name", batch(&["a"], 0, NO_PRODUCER)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidTopic);
}
