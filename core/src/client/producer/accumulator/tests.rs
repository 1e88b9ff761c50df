//! The accumulator by hand: sizes, linger, deadlines, what fails with what. What is sent again: `again`.
//! Against a log: `log`.

mod again;
mod log;

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::topics::Lookup;
use super::*;
use crate::error::Outcome;
use crate::ids::Durability;
use crate::record::Batch;

const PARTITIONS: i32 = 3;

fn settings() -> Settings {
    Settings {
        batch_bytes: 1_024,
        buffer_bytes: 1 << 20,
        linger: Duration::ZERO,
        delivery_timeout: Duration::from_secs(120),
        in_flight: 2,
        is_idempotent: true,
        is_remote: true,
        retry_backoff: Duration::from_millis(100),
        retry_backoff_max: Duration::from_secs(1),
        seed: 0,
    }
}

fn known(settings: Settings) -> Accumulator {
    let mut accumulator = Accumulator::new(settings);
    assert_eq!(accumulator.topics.number("t"), Ok(0));
    let lookup = Lookup {
        partitions: PARTITIONS,
        max_batch_bytes: 1 << 20,
    };
    accumulator.looked_up(0, Ok(lookup), &mut Told::default());
    accumulator
}

fn push(accumulator: &mut Accumulator, partition: i32, value: &[u8], now: Instant) -> Taken {
    let record = RecordRef {
        value: Some(value),
        ..RecordRef::default()
    };
    accumulator
        .push(0, partition, &record, || now, |meta, _| meta.silent += 1)
        .unwrap()
}

fn ack(base_offset: i64) -> ProduceAck {
    ProduceAck {
        base_offset,
        append_time_ms: -1,
        durability: Durability::Os,
        is_duplicate: false,
    }
}

fn lost() -> Error {
    Error::new(ErrorCode::NetworkException, "lost").with_outcome(Outcome::Unknown)
}

fn identified(settings: Settings) -> Accumulator {
    let mut accumulator = known(settings);
    push(&mut accumulator, 0, b"first", Instant::now());
    assert!(matches!(
        accumulator.next_dispatch(),
        Some(Dispatch::Identify)
    ));
    assert!(accumulator.next_dispatch().is_none());
    let stamp = Stamp {
        producer_id: 7,
        producer_epoch: 0,
    };
    accumulator.identified(Ok(stamp), Instant::now(), &mut Told::default());
    accumulator
}

fn refused() -> Error {
    Error::new(ErrorCode::MessageTooLarge, "too large")
}

fn out_of_order() -> Error {
    Error::new(
        ErrorCode::OutOfOrderSequenceNumber,
        "sequence 1, expected 0",
    )
}

fn fail(accumulator: &mut Accumulator, outgoing: &Outgoing, error: Error, told: &mut Told) {
    let sent = Bytes::from_static(b"what was sent");
    accumulator.fail(outgoing.key, error, Some(sent), Instant::now(), told);
}

fn batch(accumulator: &mut Accumulator) -> Outgoing {
    match accumulator.next_dispatch() {
        Some(Dispatch::Batch(outgoing)) => outgoing,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_batch_is_closed_at_its_size_and_not_before() {
    let mut accumulator = identified(settings());
    let now = Instant::now();
    for _ in 0..3 {
        push(&mut accumulator, 1, &[0; 400], now);
    }
    assert_eq!(batch(&mut accumulator).builder.record_count(), 1);
    assert_eq!(batch(&mut accumulator).builder.record_count(), 2);
    assert_eq!(batch(&mut accumulator).builder.record_count(), 1);
    assert!(accumulator.next_dispatch().is_none());
}

#[test]
fn a_flush_waits_for_what_was_there_and_not_for_what_comes_later() {
    let mut accumulator = identified(settings());
    let first = batch(&mut accumulator);
    let (done, mut flushed) = Completion::pair();
    let mut told = Told::default();
    accumulator.flush(done, &mut told).unwrap();
    push(&mut accumulator, 1, b"later", Instant::now());
    accumulator.acknowledge(first.key, ack(0), &mut told);
    for done in accumulator.leave(&told.ended) {
        done.finish(Ok(()));
    }
    assert_eq!(flushed.try_take(), Some(Ok(())));
    assert_eq!(accumulator.outstanding_records(), 1);
}

#[test]
fn a_flush_waits_until_what_has_ended_is_told() {
    // Everybody is told outside of the lock: a flush in between was over before it could say what had failed.
    let mut accumulator = identified(settings());
    let first = batch(&mut accumulator);
    let (mut ended, mut told) = (Told::default(), Told::default());
    accumulator.acknowledge(first.key, ack(0), &mut ended);
    let (done, mut flushed) = Completion::pair();
    accumulator.flush(done, &mut told).unwrap();
    assert!(told.flushed.is_empty());
    assert_eq!(flushed.try_take(), None);
    for done in accumulator.leave(&ended.ended) {
        done.finish(Ok(()));
    }
    assert_eq!(flushed.try_take(), Some(Ok(())));
}

#[test]
fn linger_holds_a_batch_back_until_its_time_its_size_or_a_flush() {
    let mut accumulator = known(Settings {
        linger: Duration::from_millis(10),
        ..settings()
    });
    let now = Instant::now();
    let mut told = Told::default();
    let taken = push(&mut accumulator, 1, b"x", now);
    assert_eq!(taken.wake_at, Some(now + Duration::from_millis(10)));
    assert_eq!(push(&mut accumulator, 1, b"y", now).wake_at, None);
    accumulator.advance(now + Duration::from_millis(9), &mut told);
    let held = |accumulator: &mut Accumulator| {
        let queue = accumulator.topics.queue_mut(0, 1);
        queue.open.is_some()
    };
    assert!(held(&mut accumulator));
    accumulator.advance(now + Duration::from_millis(10), &mut told);
    assert!(!held(&mut accumulator));
    push(&mut accumulator, 1, b"z", now);
    accumulator
        .flush(Completion::call(|_, _| {}), &mut told)
        .unwrap();
    assert!(!held(&mut accumulator));
    for _ in 0..3 {
        push(&mut accumulator, 2, &[0; 400], now);
    }
    assert_eq!(accumulator.topics.queue_mut(0, 2).closed.len(), 1);
}

#[test]
fn a_delivery_that_is_late_fails_with_what_is_known_of_it() {
    let mut accumulator = identified(settings());
    let start = Instant::now();
    let sent = batch(&mut accumulator);
    push(&mut accumulator, 1, b"queued", start);
    let mut told = Told::default();
    let next = accumulator
        .advance(start + Duration::from_secs(100), &mut told)
        .unwrap();
    assert!(told.settled.is_empty() && next > start + Duration::from_secs(100));
    accumulator.advance(start + Duration::from_secs(121), &mut told);
    let outcomes: Vec<_> = told
        .settled
        .iter()
        .map(|it| {
            let error = it.result.as_ref().unwrap_err();
            assert_eq!(error.code(), ErrorCode::DeliveryTimedOut);
            (it.partition, error.outcome())
        })
        .collect();
    assert_eq!(outcomes, [(0, Outcome::Unknown), (1, Outcome::NotDone)]);
    // The answer comes after all: nobody is told twice.
    told.settled.clear();
    accumulator.acknowledge(sent.key, ack(0), &mut told);
    assert!(told.settled.is_empty());
    // The sequence is lost, so the next batch begins another epoch.
    push(&mut accumulator, 0, b"after", start);
    let next = batch(&mut accumulator);
    assert_eq!((next.stamp.producer_epoch, next.base_sequence), (1, 0));
}

#[test]
fn what_is_behind_a_failed_batch_fails_with_its_reason() {
    let mut accumulator = identified(settings());
    let first = batch(&mut accumulator);
    let now = Instant::now();
    push(&mut accumulator, 0, b"second", now);
    let second = batch(&mut accumulator);
    push(&mut accumulator, 0, b"queued", now);
    let mut told = Told::default();
    fail(&mut accumulator, &first, refused(), &mut told);
    fail(&mut accumulator, &second, out_of_order(), &mut told);
    let messages: Vec<_> = told
        .settled
        .iter()
        .map(|it| it.result.as_ref().unwrap_err())
        .map(|error| (error.code(), error.message().to_owned(), error.outcome()))
        .collect();
    let behind = "a batch before it in its partition failed: too large".to_owned();
    let code = ErrorCode::MessageTooLarge;
    assert_eq!(
        messages,
        [
            (code, "too large".to_owned(), Outcome::NotDone),
            (code, behind.clone(), Outcome::NotDone),
            (code, behind, Outcome::NotDone),
        ]
    );
}

#[test]
fn without_idempotence_a_failed_batch_fails_alone() {
    let mut accumulator = known(Settings {
        is_idempotent: false,
        ..settings()
    });
    let now = Instant::now();
    push(&mut accumulator, 0, b"first", now);
    let first = batch(&mut accumulator);
    assert_eq!((first.stamp, first.base_sequence), (Stamp::NONE, -1));
    push(&mut accumulator, 0, b"second", now);
    let mut told = Told::default();
    // Not sent again either: the log would not know it for a repetition.
    fail(&mut accumulator, &first, lost(), &mut told);
    assert_eq!(told.settled.len(), 1);
    assert_eq!(batch(&mut accumulator).builder.record_count(), 1);
}

#[test]
fn sequences_wrap_from_the_largest_to_zero() {
    let mut queue = crate::client::producer::batch::PartitionQueue {
        next_sequence: i32::MAX - 1,
        ..Default::default()
    };
    assert_eq!(queue.take_sequence(3), i32::MAX - 1);
    assert_eq!(queue.take_sequence(1), 1);
}

#[test]
fn records_without_a_key_move_on_with_every_batch() {
    let mut accumulator = identified(settings());
    batch(&mut accumulator);
    let chosen = |accumulator: &Accumulator| accumulator.topics.choose(0, None, None).unwrap();
    let first = chosen(&accumulator);
    assert_eq!(first, chosen(&accumulator));
    push(&mut accumulator, first, b"x", Instant::now());
    batch(&mut accumulator);
    assert_eq!(chosen(&accumulator), (first + 1) % PARTITIONS);
}

#[test]
fn times_too_far_apart_for_one_batch_make_two() {
    let mut accumulator = identified(settings());
    batch(&mut accumulator);
    for timestamp_ms in [i64::MIN, i64::MAX] {
        let record = RecordRef {
            timestamp_ms,
            value: Some(b"x"),
            ..RecordRef::default()
        };
        accumulator
            .push(0, 1, &record, Instant::now, |_, _| {})
            .unwrap();
    }
    assert_eq!(
        batch(&mut accumulator).builder.first_timestamp_ms(),
        Some(i64::MIN)
    );
    assert_eq!(
        batch(&mut accumulator).builder.first_timestamp_ms(),
        Some(i64::MAX)
    );
}
