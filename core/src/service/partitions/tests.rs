use bytes::Bytes;

use crate::completion::Pending;
use crate::error::ErrorCode;
use crate::log::storage::faulty::{CrashMode, FaultyStorage};
use crate::protocol::request::Request;
use crate::service::trial::open;
use crate::service::{Service, Session};

use super::*;

fn ask(session: &Session, request: Request) -> Pending<Response> {
    let (completion, pending) = Completion::pair();
    session.submit(request, Bytes::new(), Run::Io, completion);
    pending
}

fn partitions(count: u32) -> Vec<(String, String)> {
    vec![("partitions".to_owned(), count.to_string())]
}

fn create(session: &Session, count: u32) {
    let create = Request::CreateTopic {
        name: "orders".to_owned(),
        config: partitions(count),
        exist_ok: false,
    };
    ask(session, create).wait(None).unwrap();
}

fn alter(count: u32) -> Request {
    Request::AlterTopic {
        name: "orders".to_owned(),
        config: partitions(count),
    }
}

fn delete() -> Request {
    Request::DeleteTopic {
        name: "orders".to_owned(),
    }
}

/// How many partitions the topic has, and how many it says it has.
fn count(service: &Service) -> (usize, u32) {
    let topics = service.inner.state.topics.read();
    let topic = topics.get("orders").unwrap();
    (topic.partitions.len(), topic.config.partitions)
}

#[test]
fn more_partitions_are_there_at_once_and_after_a_crash() {
    let storage = Arc::new(FaultyStorage::new());
    let service = open(&storage);
    let session = service.remote_session();
    create(&session, 2);
    assert_eq!(ask(&session, alter(5)).wait(None).unwrap(), Response::Done);
    assert_eq!(count(&service), (5, 5));
    // As many as there are: nothing to do, and no error.
    ask(&session, alter(5)).wait(None).unwrap();
    let fewer = ask(&session, alter(4)).wait(None).unwrap_err();
    assert_eq!(fewer.code(), ErrorCode::InvalidPartitions);
    assert!(fewer.message().contains("has 5 partitions"), "{fewer}");
    drop((session, service));
    let crashed = Arc::new(storage.crash_image(CrashMode::OnlySynced));
    let service = open(&crashed);
    assert_eq!(count(&service), (5, 5));
    assert_eq!(service.inner.state.void_entries(), 0);
    let topic = service.inner.state.topics.read().get("orders").cloned();
    let ids = topic
        .unwrap()
        .partitions
        .iter()
        .map(|it| it.id.0)
        .collect::<Vec<_>>();
    assert!(ids.windows(2).all(|two| two[0] < two[1]), "{ids:?}");
    service.close().unwrap();
}

#[test]
fn who_gives_a_topic_partitions_and_who_deletes_it_take_turns() {
    let storage = Arc::new(FaultyStorage::new());
    let service = open(&storage);
    let session = service.remote_session();
    create(&session, 1);
    storage.pause_syncs();
    let mut asked = [alter(3), alter(6), alter(4), delete(), alter(9)].map(|it| ask(&session, it));
    storage.wait_for_paused_syncs(1);
    assert!(asked[0].try_take().is_none());
    storage.resume_syncs();
    let answers = asked.map(|mut pending| pending.wait(None).map_err(|error| error.code()));
    assert_eq!(
        answers,
        [
            Ok(Response::Done),
            Ok(Response::Done),
            Err(ErrorCode::InvalidPartitions),
            Ok(Response::Done),
            Err(ErrorCode::UnknownTopicOrPartition),
        ]
    );
    let topics = service.inner.state.topics.read();
    assert_eq!((topics.len(), topics.partitions().count()), (0, 0));
    drop(topics);
    assert_eq!(service.inner.state.void_entries(), 0);
    // Created again, it begins anew.
    create(&session, 2);
    assert_eq!(count(&service), (2, 2));
    service.close().unwrap();
}

#[test]
fn who_says_that_there_are_to_be_as_many_partitions_as_there_are_waits_for_who_adds_some() {
    // It wrote the number that it found at once, though more were on their way: the topic said afterwards that it had
    // fewer partitions than there were.
    let storage = Arc::new(FaultyStorage::new());
    let service = open(&storage);
    let session = service.remote_session();
    create(&session, 2);
    let inner = &service.inner;
    let uuid = inner.state.topics.read().get("orders").unwrap().uuid;
    inner.take_turn(uuid, Run::Here, |_, _| {});
    let (mut same, mut other) = (
        ask(&session, alter(2)),
        ask(&session, {
            let config = vec![("retention_ms".to_owned(), "1000".to_owned())];
            let name = "orders".to_owned();
            Request::AlterTopic { name, config }
        }),
    );
    // What says nothing of partitions is in nobody's way.
    assert_eq!(other.wait(None), Ok(Response::Done));
    assert!(same.try_take().is_none());
    let (completion, mut added) = Completion::pair();
    let topic = (uuid, "orders".to_owned());
    inner.add_partitions(topic, partitions(5), Run::Here, completion);
    assert_eq!(added.wait(None), Ok(Response::Done));
    let refused = same.wait(None).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidPartitions);
    assert_eq!(count(&service), (5, 5));
    service.close().unwrap();
}
