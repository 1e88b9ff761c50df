use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::completion::Pending;
use crate::log::storage::faulty::FaultyStorage;
use crate::protocol::request::Request;
use crate::record::{BatchBuilder, Codec, Compressor, RecordRef};
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

fn ask(session: &Session, request: Request, payload: Vec<u8>) -> Response {
    let (completion, mut pending) = Completion::pair();
    session.submit(request, Bytes::from(payload), Run::Here, completion);
    pending.wait(None).unwrap()
}

/// Records were not found by their time, or others in their place.
#[test]
fn a_batch_of_a_stranger_is_as_late_as_its_records_whatever_it_says() {
    let service = open(&FaultyStorage::new());
    let session = service.remote_session();
    let create = Request::CreateTopic {
        name: "orders".to_owned(),
        config: Vec::new(),
        exist_ok: false,
    };
    ask(&session, create, Vec::new());
    for (times, said, codec) in [
        ([10, 30], 1_000, Codec::None),
        ([50, 40], -1, Codec::None),
        ([60, 70], 65, Codec::Gzip),
        ([80, 90], i64::MAX, Codec::Zstd),
    ] {
        let mut builder = BatchBuilder::new(0);
        for timestamp_ms in times {
            let record = RecordRef {
                timestamp_ms,
                value: Some(&[b'x'; 500]),
                ..RecordRef::default()
            };
            builder.push(&record).unwrap();
        }
        let mut batch = if codec == Codec::None {
            builder.finish(-1, -1, -1).unwrap()
        } else {
            let mut compressor = Compressor::new(codec).unwrap();
            let batch = builder.finish_compressed(&mut compressor, -1, -1, -1);
            batch.unwrap()
        };
        batch::stamp_max_timestamp(&mut batch, said);
        let produce = Request::Produce {
            topic: "orders".to_owned(),
            partition: 0,
            durability: None,
        };
        ask(&session, produce, batch);
    }
    let topic = service.topic("orders").unwrap();
    let partition = topic.partition(0).unwrap();
    for (time_ms, expected) in [
        (0, Some((0, 10))),
        (31, Some((2, 50))),
        (51, Some((4, 60))),
        (66, Some((5, 70))),
        (90, Some((7, 90))),
        (91, None),
    ] {
        let found = service.offset_at_time(partition, time_ms).unwrap();
        let found = found.map(|found| (found.offset, found.timestamp_ms));
        assert_eq!(found, expected, "{time_ms}");
    }
    let latest = service.offset_of_max_timestamp(partition).unwrap();
    assert_eq!(latest.map(|found| found.offset), Some(7));
    let fetched = service.fetch(partition, 0, usize::MAX).unwrap().unwrap();
    let said = fetched.batches.iter();
    let said: Vec<_> = said
        .map(|batch| batch::verify(&batch.bytes).unwrap().max_timestamp_ms)
        .collect();
    assert_eq!(said, [30, 50, 70, 90]);
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
