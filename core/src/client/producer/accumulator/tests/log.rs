//! The accumulator against a log behind a network that loses answers, refuses, cuts connections, and carries
//! out later what was sent over one that is gone; a log that forgets a producer that is idle, and that a crash
//! takes records back from, acknowledged ones too.
//!
//! Checked when all is over: what was acknowledged is in the log once, where it was said to be; what failed
//! with `not_done` is not in it; what is unknown is in it at most once; every partition has its records in
//! the order in which they were handed over; a refusal takes only what stands behind it along; and nobody is told of a
//! truncation that took nothing back which was acknowledged.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Push {
        partition: i32,
        bytes: usize,
    },
    Dispatch,
    /// The log carries out what arrived first, or refuses it.
    Arrive(Fate),
    /// An answer comes back.
    Answer {
        which: usize,
    },
    /// The connection is lost; so many of what the log has not seen yet it will see later.
    Cut {
        late: usize,
    },
    /// The log sees something of a connection that is gone.
    Late,
    Identify {
        succeeds: bool,
    },
    /// The log forgets who sent to a partition and has nothing on its way there.
    Forget {
        partition: i32,
    },
    /// Somebody else writes to a partition.
    Other {
        partition: i32,
    },
    /// The log crashes: the last appends to a partition are gone, and so is the connection.
    Crash {
        partition: i32,
        appends: usize,
    },
    Flush,
    Wait {
        ms: u64,
    },
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Append,
    Busy,
    Refuse,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let fate = prop_oneof![
        12 => Just(Fate::Append),
        2 => Just(Fate::Busy),
        1 => Just(Fate::Refuse),
    ];
    let step = prop_oneof![
        8 => (0..PARTITIONS, 0..600_usize)
            .prop_map(|(partition, bytes)| Step::Push { partition, bytes }),
        7 => Just(Step::Dispatch),
        6 => fate.prop_map(Step::Arrive),
        5 => any::<usize>().prop_map(|which| Step::Answer { which }),
        1 => (0..4_usize).prop_map(|late| Step::Cut { late }),
        2 => Just(Step::Late),
        3 => prop::bool::weighted(0.9).prop_map(|succeeds| Step::Identify { succeeds }),
        1 => (0..PARTITIONS).prop_map(|partition| Step::Forget { partition }),
        1 => (0..PARTITIONS).prop_map(|partition| Step::Other { partition }),
        1 => (0..PARTITIONS, 1..4_usize)
            .prop_map(|(partition, appends)| Step::Crash { partition, appends }),
        1 => Just(Step::Flush),
        2 => (1..400_u64).prop_map(|ms| Step::Wait { ms }),
    ];
    prop::collection::vec(step, 1..250)
}

/// A value that others write.
const OTHERS: u64 = u64::MAX;

/// One producer, as a partition of the log knows it.
#[derive(Clone, Default)]
struct Known {
    epoch: i16,
    next_sequence: i32,
    /// Base sequence, records, base offset.
    window: VecDeque<(i32, i32, i64)>,
}

#[derive(Default)]
struct Partition {
    values: Vec<u64>,
    producers: HashMap<i64, Known>,
    /// How many values there were before each append, and who was known.
    before: Vec<(usize, HashMap<i64, Known>)>,
}

impl Partition {
    /// What Kafka's rules say to a batch.
    fn append(&mut self, payload: &Bytes) -> Result<ProduceAck, Error> {
        let before = (self.values.len(), self.producers.clone());
        let answer = self.try_append(payload);
        if self.values.len() > before.0 {
            self.before.push(before);
        }
        answer
    }

    /// Takes the last appends back; returns the values that are gone.
    fn cut(&mut self, appends: usize) -> Vec<u64> {
        let mut end = self.values.len();
        for _ in 0..appends {
            if let Some((count, producers)) = self.before.pop() {
                end = count;
                self.producers = producers;
            }
        }
        self.values.split_off(end)
    }

    fn try_append(&mut self, payload: &Bytes) -> Result<ProduceAck, Error> {
        let batch = Batch::verified(payload.clone()).unwrap();
        let header = *batch.header();
        let refuse = |code| Err(Error::new(code, "by the rules of sequences"));
        let known = match self.producers.get_mut(&header.producer_id) {
            None if header.base_sequence != 0 => return refuse(ErrorCode::UnknownProducerId),
            None => self.producers.entry(header.producer_id).or_default(),
            Some(known) => known,
        };
        if header.producer_epoch < known.epoch {
            return refuse(ErrorCode::InvalidProducerEpoch);
        }
        if header.producer_epoch > known.epoch {
            if header.base_sequence != 0 {
                return refuse(ErrorCode::OutOfOrderSequenceNumber);
            }
            *known = Known {
                epoch: header.producer_epoch,
                ..Known::default()
            };
        }
        let records = header.record_count;
        let repeated = known
            .window
            .iter()
            .find(|(base, count, _)| (*base, *count) == (header.base_sequence, records));
        if let Some((_, _, base_offset)) = repeated {
            return Ok(ProduceAck {
                is_duplicate: true,
                ..ack(*base_offset)
            });
        }
        if header.base_sequence != known.next_sequence {
            return refuse(ErrorCode::OutOfOrderSequenceNumber);
        }
        let base_offset = self.values.len() as i64;
        known.next_sequence += records;
        known
            .window
            .push_back((header.base_sequence, records, base_offset));
        if known.window.len() > 5 {
            known.window.pop_front();
        }
        for record in batch.records() {
            let value = record.unwrap().value.unwrap();
            self.values
                .push(u64::from_be_bytes(*value.first_chunk().unwrap()));
        }
        Ok(ack(base_offset))
    }
}

struct Flight {
    key: BatchKey,
    payload: Bytes,
    answer: Option<Result<ProduceAck, Error>>,
}

/// What a record's sender was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    At(i64),
    Failed(Outcome),
}

#[derive(Default)]
struct World {
    next_value: u64,
    partitions: BTreeMap<i32, Partition>,
    flights: Vec<Flight>,
    /// What the log will still see of connections that are gone.
    late: VecDeque<(i32, Bytes)>,
    asks_id: bool,
    next_producer_id: i64,
    asks_end: Vec<i32>,
    ends: HashMap<u64, (i32, End)>,
    /// Batches that were refused for good: partition and id.
    refused: Vec<(i32, u64)>,
    /// What was acknowledged and a crash took back, and the partitions that it was in.
    taken_back: HashSet<u64>,
    truncated: HashSet<i32>,
    flushes: Vec<Arc<AtomicBool>>,
}

impl World {
    fn run(&mut self, accumulator: &mut Accumulator, step: &Step, now: &mut Instant) {
        let mut told = Told::default();
        match step {
            Step::Push { partition, bytes } => self.push(accumulator, *partition, *bytes, *now),
            Step::Dispatch => self.dispatch(accumulator),
            Step::Arrive(fate) => self.arrive(*fate),
            Step::Answer { which } => self.answer(accumulator, *which, *now, &mut told),
            Step::Cut { late } => self.cut(accumulator, *late, *now, &mut told),
            Step::Late => {
                if let Some((partition, payload)) = self.late.pop_front() {
                    let _ = self
                        .partitions
                        .entry(partition)
                        .or_default()
                        .append(&payload);
                }
            }
            Step::Identify { succeeds } if self.asks_id => {
                self.asks_id = false;
                self.next_producer_id += 1;
                let stamp = Stamp {
                    producer_id: self.next_producer_id,
                    producer_epoch: 0,
                };
                let answer = if *succeeds { Ok(stamp) } else { Err(lost()) };
                accumulator.identified(answer, *now, &mut told);
            }
            Step::Identify { .. } => {}
            Step::Forget { partition } => {
                let is_idle = accumulator.topics.queue_mut(0, *partition).sent.is_empty();
                if is_idle && self.late.iter().all(|(at, _)| at != partition) {
                    let partition = self.partitions.entry(*partition).or_default();
                    partition.producers.clear();
                }
            }
            Step::Other { partition } => {
                let partition = self.partitions.entry(*partition).or_default();
                let before = (partition.values.len(), partition.producers.clone());
                partition.before.push(before);
                partition.values.push(OTHERS);
            }
            Step::Crash { partition, appends } => {
                self.late.clear();
                let gone = self.partitions.entry(*partition).or_default().cut(*appends);
                let was_acknowledged =
                    |value: &u64| matches!(self.ends.get(value), Some((_, End::At(_))));
                // What was not acknowledged comes again.
                let gone: Vec<_> = gone.into_iter().filter(was_acknowledged).collect();
                if !gone.is_empty() {
                    self.truncated.insert(*partition);
                }
                self.taken_back.extend(gone);
                self.cut(accumulator, 0, *now, &mut told);
            }
            Step::Flush => {
                let done = Arc::new(AtomicBool::new(false));
                let mark = Arc::clone(&done);
                let completion = Completion::call(move |_, _| mark.store(true, Ordering::SeqCst));
                accumulator.flush(completion, &mut told).unwrap();
                self.flushes.push(done);
            }
            Step::Wait { ms } => {
                *now += Duration::from_millis(*ms);
                accumulator.advance(*now, &mut told);
            }
        }
        self.hear(accumulator, told);
    }

    fn push(&mut self, accumulator: &mut Accumulator, partition: i32, bytes: usize, now: Instant) {
        let number = self.next_value;
        self.next_value += 1;
        let mut value = number.to_be_bytes().to_vec();
        value.resize(8 + bytes, 0);
        let record = RecordRef {
            value: Some(&value),
            ..RecordRef::default()
        };
        let note = |meta: &mut Meta, index| meta.add_ticket(number + 1, index);
        accumulator
            .push(0, partition, &record, || now, note)
            .unwrap();
    }

    fn dispatch(&mut self, accumulator: &mut Accumulator) {
        let (key, payload) = match accumulator.next_dispatch() {
            None => return,
            Some(Dispatch::Identify) => {
                assert!(!self.asks_id, "asked twice");
                self.asks_id = true;
                return;
            }
            Some(Dispatch::AskEnd { partition, .. }) => return self.asks_end.push(partition),
            Some(Dispatch::Again { key, payload }) => (key, payload),
            Some(Dispatch::Batch(mut outgoing)) => {
                let (stamp, sequence) = (outgoing.stamp, outgoing.base_sequence);
                let (id, epoch) = (stamp.producer_id, stamp.producer_epoch);
                let bytes = outgoing.builder.finish(id, epoch, sequence).unwrap();
                accumulator.recycle(outgoing.builder);
                (outgoing.key, Bytes::from(bytes))
            }
        };
        self.flights.push(Flight {
            key,
            payload,
            answer: None,
        });
        let of_partition = self
            .flights
            .iter()
            .filter(|it| it.key.partition == key.partition);
        assert!(of_partition.count() <= settings().in_flight);
    }

    fn arrive(&mut self, fate: Fate) {
        let Some(flight) = self.flights.iter_mut().find(|it| it.answer.is_none()) else {
            return;
        };
        let partition = self.partitions.entry(flight.key.partition).or_default();
        flight.answer = Some(match fate {
            Fate::Append => partition.append(&flight.payload),
            Fate::Busy => Err(Error::new(ErrorCode::BufferFull, "busy")),
            Fate::Refuse => {
                self.refused.push((flight.key.partition, flight.key.id));
                Err(refused())
            }
        });
    }

    fn answer(
        &mut self,
        accumulator: &mut Accumulator,
        which: usize,
        now: Instant,
        told: &mut Told,
    ) {
        if let Some(partition) = self.asks_end.pop() {
            let end = self.partitions.entry(partition).or_default().values.len();
            return accumulator.log_end(0, partition, Ok(end as i64), now, told);
        }
        let answered = (0..self.flights.len()).filter(|at| self.flights[*at].answer.is_some());
        let answered: Vec<_> = answered.collect();
        let Some(at) = answered.get(which % answered.len().max(1)) else {
            return;
        };
        let flight = self.flights.remove(*at);
        match flight.answer.unwrap() {
            Ok(ack) => accumulator.acknowledge(flight.key, ack, told),
            Err(error) => accumulator.fail(flight.key, error, Some(flight.payload), now, told),
        }
    }

    fn cut(&mut self, accumulator: &mut Accumulator, late: usize, now: Instant, told: &mut Told) {
        let unseen = self.flights.iter().filter(|it| it.answer.is_none());
        let unseen: Vec<_> = unseen
            .map(|it| (it.key.partition, it.payload.clone()))
            .collect();
        self.late.extend(unseen.into_iter().take(late));
        for flight in std::mem::take(&mut self.flights) {
            accumulator.fail(flight.key, lost(), Some(flight.payload), now, told);
        }
    }

    fn hear(&mut self, accumulator: &mut Accumulator, told: Told) {
        for settled in told.settled {
            if let Err(error) = &settled.result
                && error.code() == ErrorCode::MessageTooLarge
            {
                let mut refused = self.refused.iter();
                let is_behind =
                    |it: &(i32, u64)| it.0 == settled.partition && it.1 <= settled.meta.id;
                assert!(refused.any(is_behind), "failed for one behind it: {error}");
            }
            if let Err(error) = &settled.result
                && error.code() == ErrorCode::LogTruncated
            {
                let is_truncated = self.truncated.contains(&settled.partition);
                assert!(is_truncated, "nothing was lost: {error}");
            }
            for range in &settled.meta.tickets {
                for nth in 0..range.count {
                    let value = range.first_ticket + u64::from(nth) - 1;
                    let index = i64::from(range.first_index + nth);
                    let end = match &settled.result {
                        Ok(ack) => End::At(ack.base_offset + index),
                        Err(error) => End::Failed(error.outcome()),
                    };
                    let before = self.ends.insert(value, (settled.partition, end));
                    assert_eq!(before, None, "{value} was told twice");
                }
            }
        }
        let flushed = told.flushed.into_iter();
        for flush in flushed.chain(accumulator.leave(&told.ended)) {
            flush.finish(Ok(()));
        }
    }

    fn check(&self) {
        assert_eq!(
            self.ends.len() as u64,
            self.next_value,
            "not everybody was told"
        );
        for partition in self.partitions.values() {
            let own = partition.values.iter().filter(|value| **value != OTHERS);
            assert!(own.is_sorted(), "out of order: {:?}", partition.values);
        }
        for (value, (partition, end)) in &self.ends {
            let there = self
                .partitions
                .get(partition)
                .into_iter()
                .flat_map(|it| &it.values);
            let there: Vec<_> = (0_i64..)
                .zip(there)
                .filter(|(_, it)| *it == value)
                .collect();
            match end {
                End::At(_) if self.taken_back.contains(value) => assert_eq!(there, []),
                End::At(offset) => assert_eq!(there, [(*offset, value)]),
                End::Failed(Outcome::NotDone) => assert!(there.is_empty(), "{value} is there"),
                End::Failed(Outcome::Unknown) => assert!(there.len() <= 1, "{value} twice"),
            }
        }
        let done = |it: &Arc<AtomicBool>| it.load(Ordering::SeqCst);
        assert!(self.flushes.iter().all(done), "a flush was forgotten");
    }
}

fn run(steps: &[Step]) {
    let mut now = Instant::now();
    let mut accumulator = known(settings());
    let mut world = World::default();
    for step in steps {
        world.run(&mut accumulator, step, &mut now);
    }
    // Whatever happened, everything ends when the answers come.
    for _ in 0..10_000 {
        if accumulator.outstanding_records() == 0 {
            break;
        }
        for step in [
            Step::Dispatch,
            Step::Identify { succeeds: true },
            Step::Arrive(Fate::Append),
            Step::Answer { which: 0 },
            Step::Wait { ms: 100 },
        ] {
            world.run(&mut accumulator, &step, &mut now);
        }
    }
    assert_eq!(accumulator.used_bytes(), 0);
    // What was on its way all along arrives at last.
    while !world.late.is_empty() {
        world.run(&mut accumulator, &Step::Late, &mut now);
    }
    world.check();
}

proptest! {
    #[test]
    fn nothing_is_lost_nothing_twice_nothing_out_of_order(steps in steps()) {
        run(&steps);
    }
}
