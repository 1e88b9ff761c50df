use std::sync::mpsc;

use bytes::Bytes;

use super::*;
use crate::completion::Wakes;
use crate::protocol::request::{OffsetAt, OffsetQuery, Request};
use crate::protocol::response::Response;
use crate::record::{BatchBuilder, RecordRef};
use crate::service::{Run, ServiceOptions, Session};

fn ask(session: &Session, request: Request, payload: Vec<u8>) -> Response {
    let (completion, mut pending) = Completion::pair();
    session.submit(request, Bytes::from(payload), Run::Here, completion);
    pending.wait(None).unwrap()
}

/// A batch of one record with the timestamp 0, which claims to have one of a later time.
fn boastful_batch(claimed_ms: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(1_024);
    builder.push(&RecordRef::default()).unwrap();
    let mut bytes = builder.finish(-1, -1, -1).unwrap();
    bytes[35..43].copy_from_slice(&claimed_ms.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// A topic of batches of which none holds what it says.
fn with_batches(count: usize) -> (Service, Session) {
    let service = Service::open_memory("", &ServiceOptions::default()).unwrap();
    let session = service.session();
    let create = Request::CreateTopic {
        name: "orders".to_owned(),
        config: Vec::new(),
        exist_ok: false,
    };
    ask(&session, create, Vec::new());
    for _ in 0..count {
        let produce = Request::Produce {
            topic: "orders".to_owned(),
            partition: 0,
            durability: None,
        };
        ask(&session, produce, boastful_batch(1_000));
    }
    (service, session)
}

/// Notes in which order things came to their end.
fn noting<T: Send + 'static>(
    sender: &mpsc::Sender<&'static str>,
    what: &'static str,
) -> Completion<T> {
    let sender = sender.clone();
    Completion::call(move |result: Result<T>, _: &mut Wakes| {
        assert!(result.is_ok());
        sender.send(what).unwrap();
    })
}

#[test]
fn who_waits_for_the_same_thread_has_turns_while_somebody_searches() {
    // A search for the largest timestamp looked through up to 64 times 64 batches in one job.
    let (service, session) = with_batches(20);
    let topic = service.topic("orders").unwrap();
    let partition = topic.partition(0).unwrap();
    let queries = vec![OffsetQuery {
        topic: "orders".to_owned(),
        partition: 0,
        at: OffsetAt::Time(500),
    }];
    for wanted in [Some(WantedTime::Largest), Some(WantedTime::From(500)), None] {
        let (sender, receiver) = mpsc::channel();
        let (going_on, held_up) = mpsc::channel::<()>();
        // All of it is asked for before the thread does any of it.
        service.schedule_turn(move || assert!(held_up.recv().is_err()));
        match wanted {
            Some(wanted) => service.search(partition, wanted, noting(&sender, "search")),
            None => {
                let queries = queries.clone();
                let request = Request::ListOffsets { queries };
                session.submit(request, Bytes::new(), Run::Io, noting(&sender, "search"));
            }
        }
        let other = noting::<()>(&sender, "other");
        service.schedule_turn(move || other.finish(Ok(())));
        drop(going_on);
        assert_eq!(receiver.recv(), Ok("other"), "{wanted:?}");
        assert_eq!(receiver.recv(), Ok("search"), "{wanted:?}");
    }
    service.close().unwrap();
}

#[test]
fn where_nothing_is_found_is_where_was_looked() {
    // The high watermark of afterwards stood for it: what was appended meanwhile was skipped by who asked from when on
    // to read.
    let (service, session) = with_batches(1);
    let topic = service.topic("orders").unwrap();
    let partition = topic.partition(0).unwrap();
    let mut search = Search::new(&service.inner, partition, WantedTime::From(2_000)).unwrap();
    assert_eq!(search.step(&service.inner), Ok(ControlFlow::Break(None)));
    let produce = Request::Produce {
        topic: "orders".to_owned(),
        partition: 0,
        durability: None,
    };
    ask(&session, produce, boastful_batch(3_000));
    assert_eq!(partition.status().high_watermark, 2);
    assert_eq!(search.searched_to(), 1);
    service.close().unwrap();
}

#[test]
fn a_search_ends_where_too_many_batches_hold_nothing_and_reading_from_there_loses_nothing() {
    let batches = limits::TIME_BATCHES_SEARCHED_MAX + 6;
    let (service, _session) = with_batches(batches);
    let topic = service.topic("orders").unwrap();
    let partition = topic.partition(0).unwrap();
    let from = |time_ms| {
        let (completion, mut pending) = Completion::pair();
        service.search(partition, WantedTime::From(time_ms), completion);
        let found = pending.wait(None).unwrap();
        assert_eq!(service.offset_at_time(partition, time_ms), Ok(found));
        found.map(|found| found.offset)
    };
    let last = limits::TIME_BATCHES_SEARCHED_MAX as i64;
    assert_eq!(from(500), Some(last));
    assert_eq!(from(0), Some(0));
    assert_eq!(from(2_000), None);
    let largest = service.offset_of_max_timestamp(partition).unwrap();
    assert_eq!(largest.map(|found| found.timestamp_ms), Some(1_000));
    service.close().unwrap();
    let (completion, mut pending) = Completion::pair();
    service.search(partition, WantedTime::Largest, completion);
    let error = pending.wait(None).unwrap_err();
    assert_eq!(error.code(), crate::ErrorCode::Closed);
}
