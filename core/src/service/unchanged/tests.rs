//! Who asks again, because the first answer was late or a failure, is not told that it is so before it is safe.

use std::sync::Arc;

use crate::completion::{Completion, Pending};
use crate::error::ErrorCode;
use crate::log::storage::faulty::FaultyStorage;
use crate::protocol::request::{PartitionOffset, Request};
use crate::protocol::response::Response;
use crate::record::{BatchBuilder, RecordRef};
use crate::service::trial::{ask, open, with_topic};
use crate::service::{Run, Session};

fn ask_later(session: &Session, request: Request, payload: Vec<u8>) -> Pending<Response> {
    let (completion, pending) = Completion::pair();
    session.submit(request, payload.into(), Run::Io, completion);
    pending
}

fn create(exist_ok: bool) -> Request {
    Request::CreateTopic {
        name: "orders".to_owned(),
        config: Vec::new(),
        exist_ok,
    }
}

fn first_record(offset: i64) -> Vec<PartitionOffset> {
    vec![PartitionOffset {
        topic: "orders".to_owned(),
        partition: 0,
        offset,
    }]
}

/// A record, and a group that has it behind itself.
fn fill(session: &Session) {
    let mut builder = BatchBuilder::new(100);
    builder.push(&RecordRef::default()).unwrap();
    let produce = Request::Produce {
        topic: "orders".to_owned(),
        partition: 0,
        durability: None,
    };
    let batch = builder.finish(-1, -1, -1).unwrap();
    ask_later(session, produce, batch).wait(None).unwrap();
    let commit = Request::CommitOffsets {
        group: "billing".to_owned(),
        member: None,
        offsets: first_record(1),
    };
    ask(session, commit).unwrap();
}

/// What takes something away, with what is said when it is not there any more.
fn removals() -> [(Request, Result<Response, ErrorCode>); 3] {
    let before = first_record(1);
    let records = Request::DeleteRecords { before };
    let group = "billing".to_owned();
    let name = "orders".to_owned();
    [
        (records, Ok(Response::Offsets(vec![1]))),
        (
            Request::DeleteGroup { group },
            Err(ErrorCode::GroupIdNotFound),
        ),
        (
            Request::DeleteTopic { name },
            Err(ErrorCode::UnknownTopicOrPartition),
        ),
    ]
}

#[test]
fn a_topic_that_may_still_be_lost_is_not_said_to_exist() {
    let storage = Arc::new(FaultyStorage::new());
    let service = open(&storage);
    let session = service.remote_session();
    let ask = |exist_ok| ask_later(&session, create(exist_ok), Vec::new());
    storage.pause_syncs();
    let mut first = ask(false);
    storage.wait_for_paused_syncs(1);
    let (mut again, mut other) = (ask(true), ask(false));
    assert!(first.try_take().is_none());
    assert!(again.try_take().is_none());
    assert!(other.try_take().is_none());
    storage.resume_syncs();
    assert_eq!(first.wait(None), Ok(Response::Done));
    assert_eq!(again.wait(None), Ok(Response::Done));
    let error = other.wait(None).unwrap_err();
    assert_eq!(error.code(), ErrorCode::TopicAlreadyExists);
    service.close().unwrap();
}

#[test]
fn what_may_still_come_back_is_not_said_to_be_gone() {
    for (request, gone) in removals() {
        let storage = Arc::new(FaultyStorage::new());
        let (service, session) = with_topic(&storage);
        fill(&session);
        storage.pause_syncs();
        let mut first = ask_later(&session, request.clone(), Vec::new());
        storage.wait_for_paused_syncs(1);
        let mut again = ask_later(&session, request.clone(), Vec::new());
        assert!(first.try_take().is_none(), "{request:?}");
        assert!(again.try_take().is_none(), "{request:?}");
        storage.resume_syncs();
        assert!(first.wait(None).is_ok(), "{request:?}");
        let found = again.wait(None).map_err(|error| error.code());
        assert_eq!(found, gone, "{request:?}");
        service.close().unwrap();
    }
}

#[test]
fn a_log_that_has_stopped_says_neither() {
    let storage = Arc::new(FaultyStorage::new());
    let service = open(&storage);
    storage.fail_next_sync();
    for _ in 0..2 {
        let error = ask(&service.remote_session(), create(true)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::KafkaStorageError);
    }
    for (request, _) in removals() {
        let storage = Arc::new(FaultyStorage::new());
        let (_service, session) = with_topic(&storage);
        fill(&session);
        storage.fail_next_sync();
        for _ in 0..2 {
            let error = ask(&session, request.clone()).unwrap_err();
            assert_eq!(error.code(), ErrorCode::KafkaStorageError, "{request:?}");
        }
    }
}
