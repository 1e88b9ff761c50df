use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::completion::Pending;
use crate::log::storage::faulty::FaultyStorage;
use crate::protocol::request::Request;
use crate::service::{Service, ServiceOptions, Session};

fn open(storage: &FaultyStorage) -> Service {
    let storage = Arc::new(storage.clone());
    let options = ServiceOptions::default();
    Service::open_storage("test".to_owned(), storage, None, &options).unwrap()
}

fn init_producer(session: &Session) -> Pending<Response> {
    let (completion, pending) = Completion::pair();
    session.submit(Request::InitProducer, Bytes::new(), Run::Io, completion);
    pending
}

/// It used to lock itself out: the thread that answers those who wait reserves the next block.
#[test]
fn more_producers_than_a_block_has_ids_for_all_get_one_of_their_own() {
    let storage = FaultyStorage::new();
    let service = open(&storage);
    let session = service.session();
    // None is answered before all have asked.
    storage.pause_syncs();
    let count = 2 * usize::try_from(limits::PRODUCER_ID_BLOCK).unwrap() + 1;
    let waiting: Vec<_> = (0..count).map(|_| init_producer(&session)).collect();
    storage.wait_for_paused_syncs(1);
    storage.resume_syncs();
    let mut ids = BTreeSet::new();
    for mut pending in waiting {
        let Response::Producer { producer_id, .. } = pending.wait(None).unwrap() else {
            panic!("no producer id");
        };
        assert!(ids.insert(producer_id), "{producer_id} was given twice");
    }
    assert_eq!(ids.len(), count);
    drop(session);
    service.close().unwrap();
}

#[test]
fn the_end_of_producer_ids_is_an_error_and_no_loop() {
    let storage = FaultyStorage::new();
    let service = open(&storage);
    let last = control::ProducerIds {
        first: i64::MAX - limits::PRODUCER_ID_BLOCK,
        count: 1,
    };
    let (completion, mut pending) = Completion::pair();
    let inner = &service.inner;
    inner.append_control(
        Kind::ProducerIds,
        PartitionId(0),
        &last,
        None,
        Run::Here,
        completion,
    );
    pending.wait(None).unwrap();
    service.close().unwrap();

    let service = open(&storage);
    let session = service.session();
    let error = init_producer(&session).wait(None).unwrap_err();
    assert_eq!(error.code(), ErrorCode::KafkaStorageError);
    assert!(error.message().contains("no producer ids left"), "{error}");
    drop(session);
    service.close().unwrap();
}
