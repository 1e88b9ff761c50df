//! The accumulator against a model: random records, random answers in random order, failures, flushes.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

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

/// What is in flight and what must come, as far as a log and an application see it.
#[derive(Default)]
struct Model {
    next_value: u64,
    /// Values that were pushed and not dispatched, by partition.
    queued: BTreeMap<i32, VecDeque<u64>>,
    in_flight: Vec<(BatchKey, u64)>,
    /// Producer id that is current, and the next sequence of each partition.
    producer_id: i64,
    sequences: HashMap<i32, i32>,
    is_asked: bool,
    has_hole: bool,
    broken: BTreeSet<i32>,
    pushed: u64,
    settled: u64,
    /// Flushes: how many records must have ended before.
    flushes: Vec<(u64, std::sync::Arc<std::sync::atomic::AtomicBool>)>,
}

#[derive(Clone, Debug)]
enum Step {
    Push { partition: i32, bytes: usize },
    Dispatch,
    Answer { which: usize, succeeds: bool },
    Identify { succeeds: bool },
    Flush,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..PARTITIONS, 0..600_usize)
            .prop_map(|(partition, bytes)| Step::Push { partition, bytes }),
        6 => Just(Step::Dispatch),
        5 => (any::<usize>(), prop::bool::weighted(0.85))
            .prop_map(|(which, succeeds)| Step::Answer { which, succeeds }),
        3 => prop::bool::weighted(0.9).prop_map(|succeeds| Step::Identify { succeeds }),
        1 => Just(Step::Flush),
    ];
    prop::collection::vec(step, 1..200)
}

impl Model {
    fn run(&mut self, accumulator: &mut Accumulator, step: &Step, now: Instant) {
        let mut told = Told::default();
        match step {
            Step::Push { partition, bytes } => {
                let mut value = self.next_value.to_be_bytes().to_vec();
                value.resize(8 + bytes, 0);
                push(accumulator, *partition, &value, now);
                self.queued
                    .entry(*partition)
                    .or_default()
                    .push_back(self.next_value);
                self.next_value += 1;
                self.pushed += 1;
            }
            Step::Dispatch => self.dispatch(accumulator),
            Step::Answer { which, succeeds } if !self.in_flight.is_empty() => {
                let (key, _) = self.in_flight.remove(which % self.in_flight.len());
                if *succeeds {
                    accumulator.acknowledge(key, ack(0), &mut told);
                } else {
                    accumulator.fail(key, lost(), &mut told);
                    self.has_hole = true;
                    // Only what was queued when the partition broke goes with it.
                    if self.broken.insert(key.partition) {
                        self.queued.remove(&key.partition);
                    }
                }
                if self.has_hole && self.in_flight.is_empty() {
                    (self.has_hole, self.is_asked) = (false, false);
                    self.producer_id = 0;
                    self.sequences.clear();
                    self.broken.clear();
                }
            }
            Step::Identify { succeeds } if self.is_asked => {
                self.is_asked = false;
                if *succeeds {
                    self.producer_id = self.next_value as i64 + 1;
                    accumulator.identified(Ok((self.producer_id, 0)), &mut told);
                } else {
                    accumulator.identified(Err(lost()), &mut told);
                    self.queued.clear();
                }
            }
            Step::Flush => {
                let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
                let mark = std::sync::Arc::clone(&done);
                let completion = Completion::call(move |_, _| {
                    mark.store(true, std::sync::atomic::Ordering::SeqCst);
                });
                accumulator.flush(completion, &mut told).unwrap();
                self.flushes.push((accumulator.outstanding_records(), done));
            }
            Step::Answer { .. } | Step::Identify { .. } => {}
        }
        let ended: u64 = told
            .settled
            .iter()
            .map(|it| u64::from(it.meta.records))
            .sum();
        assert!(
            told.settled
                .iter()
                .all(|it| it.meta.silent == it.meta.records)
        );
        self.settled += ended;
        for flush in told.flushed {
            flush.finish(Ok(()));
        }
    }

    fn dispatch(&mut self, accumulator: &mut Accumulator) {
        match accumulator.next_dispatch() {
            None => {}
            Some(Dispatch::Identify) => {
                assert!(!self.is_asked && self.producer_id == 0, "asked twice");
                assert!(
                    self.in_flight.is_empty(),
                    "a new id while batches of the old are in flight"
                );
                self.is_asked = true;
            }
            Some(Dispatch::Batch(mut outgoing)) => {
                assert!(!self.has_hole, "a batch behind a hole");
                assert_eq!(outgoing.producer_id, self.producer_id);
                let partition = outgoing.key.partition;
                let sequence = self.sequences.entry(partition).or_default();
                assert_eq!(outgoing.base_sequence, *sequence);
                let bytes = outgoing
                    .builder
                    .finish(self.producer_id, 0, *sequence)
                    .unwrap();
                accumulator.recycle(outgoing.builder);
                let batch = Batch::verified(Bytes::from(bytes)).unwrap();
                let queue = self.queued.get_mut(&partition).unwrap();
                let mut records = 0;
                for record in batch.records() {
                    let value = record.unwrap().value.unwrap();
                    let number = u64::from_be_bytes(*value.first_chunk().unwrap());
                    assert_eq!(queue.pop_front(), Some(number), "out of order");
                    records += 1;
                }
                *sequence += records;
                self.in_flight.push((outgoing.key, records as u64));
                let of_partition = self
                    .in_flight
                    .iter()
                    .filter(|(key, _)| key.partition == partition);
                assert!(of_partition.count() <= settings().in_flight);
            }
        }
    }

    fn check(&self, accumulator: &Accumulator) {
        let queued: usize = self.queued.values().map(VecDeque::len).sum();
        let in_flight: u64 = self.in_flight.iter().map(|(_, records)| records).sum();
        assert_eq!(accumulator.outstanding_records(), queued as u64 + in_flight);
        assert_eq!(
            self.pushed,
            self.settled + accumulator.outstanding_records()
        );
        assert_eq!(
            accumulator.used_bytes() == 0,
            accumulator.outstanding_records() == 0
        );
        if accumulator.outstanding_records() == 0 {
            for (_, done) in &self.flushes {
                assert!(
                    done.load(std::sync::atomic::Ordering::SeqCst),
                    "a flush was forgotten"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn batches_leave_in_order_without_holes_and_every_record_ends_once(steps in steps()) {
        let now = Instant::now();
        let mut accumulator = known(settings());
        let mut model = Model::default();
        for step in &steps {
            model.run(&mut accumulator, step, now);
            model.check(&accumulator);
        }
        // Whatever happened, everything ends when the answers come.
        while accumulator.outstanding_records() > 0 {
            model.run(&mut accumulator, &Step::Dispatch, now);
            model.run(&mut accumulator, &Step::Identify { succeeds: true }, now);
            model.run(&mut accumulator, &Step::Dispatch, now);
            model.run(&mut accumulator, &Step::Answer { which: 0, succeeds: true }, now);
            model.check(&accumulator);
        }
    }
}

fn identified(settings: Settings) -> Accumulator {
    let mut accumulator = known(settings);
    push(&mut accumulator, 0, b"first", Instant::now());
    assert!(matches!(
        accumulator.next_dispatch(),
        Some(Dispatch::Identify)
    ));
    assert!(accumulator.next_dispatch().is_none());
    accumulator.identified(Ok((7, 0)), &mut Told::default());
    accumulator
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
    assert_eq!(told.flushed.len(), 1);
    told.flushed.pop().unwrap().finish(Ok(()));
    assert_eq!(flushed.try_take(), Some(Ok(())));
    assert_eq!(accumulator.outstanding_records(), 1);
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
    // The sequence is lost, so the next batch needs a new id.
    push(&mut accumulator, 1, b"after", start);
    assert!(matches!(
        accumulator.next_dispatch(),
        Some(Dispatch::Identify)
    ));
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
    accumulator.fail(first.key, lost(), &mut told);
    let fenced = Error::new(
        ErrorCode::OutOfOrderSequenceNumber,
        "sequence 1, expected 0",
    );
    accumulator.fail(second.key, fenced, &mut told);
    let messages: Vec<_> = told
        .settled
        .iter()
        .map(|it| it.result.as_ref().unwrap_err())
        .map(|error| (error.code(), error.message().to_owned(), error.outcome()))
        .collect();
    let behind = "a batch before it in its partition failed: lost".to_owned();
    let code = ErrorCode::NetworkException;
    assert_eq!(
        messages,
        [
            (code, "lost".to_owned(), Outcome::Unknown),
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
    assert_eq!((first.producer_id, first.base_sequence), (-1, -1));
    push(&mut accumulator, 0, b"second", now);
    let mut told = Told::default();
    accumulator.fail(first.key, lost(), &mut told);
    assert_eq!(told.settled.len(), 1);
    assert_eq!(batch(&mut accumulator).builder.record_count(), 1);
}

#[test]
fn sequences_wrap_from_the_largest_to_zero() {
    let mut queue = super::super::batch::PartitionQueue {
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
