//! What a power cut takes back at `os`, and what a reader is told that has seen it: at the service and through
//! a socket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater::log::storage::faulty::{CrashMode, FaultyStorage};
use headwater::protocol::out_of_range::OutOfRange;
use headwater::protocol::request::{FetchPosition, Request, SubscribeAt};
use headwater::protocol::response::{PartitionDescription, Response};
use headwater::record::builder::BatchBuilder;
use headwater::record::{HeadersRef, RecordRef};
use headwater::service::{FetchedBatch, Run, Service, ServiceOptions, Session};
use headwater::testing::RawClient;
use headwater::{Completion, Durability, ErrorCode, Result};

use super::server::Broker;

fn open(storage: &FaultyStorage) -> Service {
    let storage = Arc::new(storage.clone());
    let options = ServiceOptions::default();
    Service::open_storage("a log".to_owned(), storage, None, &options).unwrap()
}

fn ask(session: &Session, request: Request, payload: Vec<u8>) -> Response {
    let (completion, mut pending) = Completion::pair();
    session.submit(request, Bytes::from(payload), Run::Here, completion);
    pending.wait(None).unwrap()
}

fn create(session: &Session) {
    let create = Request::CreateTopic {
        name: "t".to_owned(),
        config: vec![("durability".to_owned(), "os".to_owned())],
        exist_ok: false,
    };
    ask(session, create, Vec::new());
}

/// So many records, one a batch.
fn produce(session: &Session, records: usize, durability: Durability) {
    for _ in 0..records {
        let mut builder = BatchBuilder::new(100);
        let record = RecordRef {
            timestamp_ms: 0,
            key: None,
            value: Some(b"x"),
            headers: HeadersRef::default(),
        };
        builder.push(&record).unwrap();
        let request = Request::Produce {
            topic: "t".to_owned(),
            partition: 0,
            durability: Some(durability),
        };
        ask(session, request, builder.finish(-1, -1, -1).unwrap());
    }
}

fn describe(session: &Session) -> PartitionDescription {
    match ask(session, Request::ListTopics, Vec::new()) {
        Response::Topics(topics) => topics[0].partitions[0],
        other => panic!("{other:?}"),
    }
}

fn at(offset: i64, last_epoch: i32) -> SubscribeAt {
    SubscribeAt {
        positions: vec![FetchPosition {
            topic: "t".to_owned(),
            partition: 0,
            offset,
            last_epoch,
        }],
        credit_bytes: 1 << 20,
    }
}

/// The offset of the first batch that a reader gets which stands there; none if there is none yet.
fn first(session: &Session, offset: i64, last_epoch: i32) -> Result<Option<i64>> {
    let taken = session.subscribe(&at(offset, last_epoch))?.take(1)?;
    Ok(taken.first().map(offset_of))
}

fn offset_of(fetched: &FetchedBatch) -> i64 {
    let batch = headwater::record::Batch::verified(fetched.batch.clone()).unwrap();
    batch.base_offset()
}

/// Epoch 1 has offsets 0 to 5, of which a cut leaves 3; epoch 2 goes on from there, of which a cut leaves one; then
/// there is epoch 3.
fn thrice_opened() -> (FaultyStorage, Service) {
    let storage = FaultyStorage::new();
    let service = open(&storage);
    create(&service.session());
    produce(&service.session(), 3, Durability::Disk);
    // Before what is to be lost is written: the log may sync more than it was asked to, at any moment.
    let cut = storage.crash_image(CrashMode::OnlySynced);
    produce(&service.session(), 2, Durability::Os);
    service.close().unwrap();
    let (service, storage) = (open(&cut), cut);
    produce(&service.session(), 1, Durability::Disk);
    let cut = storage.crash_image(CrashMode::OnlySynced);
    produce(&service.session(), 9, Durability::Os);
    service.close().unwrap();
    let storage = cut;
    let service = open(&storage);
    (storage, service)
}

fn check_positions(session: &Session) {
    let told = |offset, last_epoch| {
        let error = first(session, offset, last_epoch).unwrap_err();
        assert_eq!(error.code(), ErrorCode::LogTruncated, "{error}");
        OutOfRange::of(&error).unwrap().safe_offset().unwrap()
    };
    // Seen and gone: the reader of epoch 1 had read to 5, that of epoch 2 to 13.
    assert_eq!((told(5, 1), told(4, 1)), (3, 3));
    assert_eq!((told(13, 2), told(5, 2)), (4, 4));
    // Of an epoch of which nothing is left.
    assert_eq!(told(5, 0), 0);
    // Seen and there.
    for (offset, last_epoch) in [(3, 1), (2, 1), (4, 2), (3, 2), (2, 2), (0, 0), (4, 3)] {
        let found = first(session, offset, last_epoch).unwrap();
        assert_eq!(found, Some(offset), "{offset} in epoch {last_epoch}");
    }
    // Who does not know the epoch is told by the end alone.
    assert_eq!(first(session, 5, -1).unwrap(), Some(5));
    let error = first(session, 99, -1).unwrap_err();
    assert_eq!(error.code(), ErrorCode::OffsetOutOfRange);
    assert_eq!(OutOfRange::of(&error).unwrap().safe_offset(), None);
}

#[test]
fn a_position_behind_the_end_of_its_epoch_is_told_where_that_is_also_after_reopening() {
    let (storage, service) = thrice_opened();
    let session = service.session();
    // Nothing came yet: where epoch 2 ends is the end.
    let error = first(&session, 13, 2).unwrap_err();
    let facts = OutOfRange::of(&error).unwrap();
    assert_eq!((facts.safe_offset(), facts.log_end_offset), (Some(4), 4));
    produce(&session, 16, Durability::Disk);
    assert_eq!(describe(&session).leader_epoch, 3);
    check_positions(&session);
    drop(session);
    service.close().unwrap();

    // From the checkpoint, and from the log alone.
    let service = open(&storage);
    check_positions(&service.session());
    service.close().unwrap();
    let service = open(&storage.crash_image(CrashMode::OnlySynced));
    check_positions(&service.session());
    service.close().unwrap();
}

#[test]
fn a_reader_at_the_end_of_its_epoch_reads_on() {
    let (_storage, service) = thrice_opened();
    let session = service.session();
    let reader = session.subscribe(&at(4, 2)).unwrap();
    assert_eq!(reader.take(1).unwrap(), []);
    produce(&session, 1, Durability::Os);
    assert_eq!(offset_of(&reader.take(1).unwrap()[0]), 4);
    reader.assign(&at(9, 2).positions).unwrap();
    let error = reader.take(1).unwrap_err();
    assert_eq!(error.code(), ErrorCode::LogTruncated);
    reader.assign(&at(4, 2).positions).unwrap();
    assert_eq!(offset_of(&reader.take(1).unwrap()[0]), 4);
    drop((reader, session));
    service.close().unwrap();
}

#[test]
fn through_a_socket_the_same_is_said() {
    let (_storage, service) = thrice_opened();
    produce(&service.session(), 16, Durability::Os);
    let broker = Broker::of(service.clone());
    let client = RawClient::connect(broker.address).unwrap();
    let end = |offset, last_epoch| {
        let feed = client.subscribe(at(offset, last_epoch)).unwrap();
        loop {
            match feed.take(1 << 20) {
                Ok(taken) if taken.is_empty() => std::thread::sleep(Duration::from_millis(1)),
                other => return other.map(|taken| offset_of(&taken[0])),
            }
        }
    };
    let error = end(13, 2).unwrap_err();
    let facts = OutOfRange::of(&error).unwrap();
    assert_eq!(error, first(&service.session(), 13, 2).unwrap_err());
    assert_eq!((facts.offset, facts.last_epoch), (13, 2));
    assert_eq!((facts.safe_offset(), facts.log_end_offset), (Some(4), 20));
    assert_eq!(end(4, 2).unwrap(), 4);
    assert_eq!(end(99, -1).unwrap_err().code(), ErrorCode::OffsetOutOfRange);
    drop(client);
    service.close().unwrap();
}
