//! The accumulator: records gather in one open batch per partition and leave it in order.
//!
//! A state machine: it knows no clock, no thread and no transport. Records go in by [`push`]; what is to
//! be sent comes out of [`next_dispatch`], what has ended comes out in a [`Settled`] list for the caller
//! to tell, outside the lock that the accumulator stands under.
//!
//! Invariants:
//! - The bytes of every batch count against the budget from the first record until the batch is settled.
//! - Batches of one partition are dispatched in the order of their records, at most `in_flight` at once.
//! - Sequences of an idempotent partition have no holes: when a batch fails, everything queued behind it
//!   fails, and the producer asks for a new id when nothing of the old one is in flight any more.
//! - A partition is listed as having something to send exactly while it may dispatch.
//!
//! [`push`]: Accumulator::push
//! [`next_dispatch`]: Accumulator::next_dispatch

mod ending;
mod lookup;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::ending::{Flush, behind};
use super::batch::{Building, Meta};
use super::topics::Topics;
use crate::completion::Completion;
use crate::error::{Error, ErrorCode};
use crate::limits::BATCH_RECORDS_MAX;
use crate::protocol::response::ProduceAck;
use crate::record::{BatchBuilder, BatchError, RecordRef};

/// The options that the accumulator acts on, resolved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) batch_bytes: usize,
    pub(super) buffer_bytes: usize,
    pub(super) linger: Duration,
    pub(super) delivery_timeout: Duration,
    pub(super) in_flight: usize,
    pub(super) is_idempotent: bool,
}

/// Where a batch is: topic by its number in this producer, partition, and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchKey {
    pub(super) topic: u32,
    pub(super) partition: i32,
    pub(super) id: u64,
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Dispatch {
    /// Ask for a producer id; answered to `identified`.
    Identify,
    /// Send a batch; answered to `acknowledge` or `fail`.
    Batch(Outgoing),
}

/// A batch to send. The caller finishes the builder outside the lock and gives it back by `recycle`.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) key: BatchKey,
    pub(super) builder: BatchBuilder,
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
    pub(super) base_sequence: i32,
}

/// A batch that has ended.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) topic: u32,
    pub(super) partition: i32,
    pub(super) meta: Meta,
    pub(super) result: Result<ProduceAck, Error>,
}

/// What came of a step, to be told outside the lock.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) settled: Vec<Settled>,
    pub(super) flushed: Vec<Completion<()>>,
}

/// A record that was taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Its index in the batch.
    pub(super) index: u32,
    /// When the batch that it opened must be looked at again.
    pub(super) wake_at: Option<Instant>,
}

/// Whose batches these are, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    /// Not idempotent.
    Anonymous,
    Unknown,
    Asked,
    Known {
        producer_id: i64,
        producer_epoch: i16,
    },
    /// A sequence is lost: nothing more is sent under this id.
    Spent,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Accumulator {
    settings: Settings,
    pub(super) topics: Topics,
    identity: Identity,
    used_bytes: usize,
    next_id: u64,
    outstanding_batches: u64,
    outstanding_records: u64,
    in_flight: usize,
    /// Partitions that may dispatch, in turn.
    listed: VecDeque<(u32, i32)>,
    /// Open batches that wait for more records, by the end of their linger.
    lingering: VecDeque<(Instant, BatchKey)>,
    spare: Vec<BatchBuilder>,
    flushes: Vec<Flush>,
}

/// Builders kept for the next batches: as many as a drain and a push hold at once.
const SPARE_MAX: usize = 16;

impl Accumulator {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            topics: Topics::default(),
            identity: if settings.is_idempotent {
                Identity::Unknown
            } else {
                Identity::Anonymous
            },
            used_bytes: 0,
            next_id: 1,
            outstanding_batches: 0,
            outstanding_records: 0,
            in_flight: 0,
            listed: VecDeque::new(),
            lingering: VecDeque::new(),
            spare: Vec::new(),
            flushes: Vec::new(),
        }
    }

    /// Bytes accepted and not settled.
    pub(super) const fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// Records accepted and not settled.
    pub(super) const fn outstanding_records(&self) -> u64 {
        self.outstanding_records
    }

    /// Whether `needed` more bytes fit, `taken` of the budget being used elsewhere.
    pub(super) const fn has_room(&self, needed: usize, taken: usize) -> bool {
        self.used_bytes.saturating_add(needed).saturating_add(taken) <= self.settings.buffer_bytes
    }

    /// Adds a record to a partition, whose topic is known.
    ///
    /// `meta` notes who waits for it, given its batch and index; `now` is asked only if the record opens
    /// a batch.
    #[inline]
    pub(super) fn push(
        &mut self,
        topic: u32,
        partition: i32,
        record: &RecordRef<'_>,
        now: impl FnOnce() -> Instant,
        meta: impl FnOnce(&mut Meta, u32),
    ) -> Result<Taken, Error> {
        let batch_bytes = self
            .settings
            .batch_bytes
            .min(self.topics.max_batch_bytes(topic));
        let estimate = BatchBuilder::estimate(record);
        let queue = self.topics.queue_mut(topic, partition);
        if let Some(open) = &queue.open {
            let is_full = open.builder.size_bytes() + estimate > batch_bytes;
            // A batch says its records' times as differences from the first, in 64 bits.
            let first = open.builder.first_timestamp_ms().unwrap_or_default();
            if is_full || record.timestamp_ms.checked_sub(first).is_none() {
                self.close_open(topic, partition);
            }
        }
        match self.push_to_open(topic, partition, record, now, meta) {
            Ok((taken, is_full)) => {
                if is_full {
                    self.close_open(topic, partition);
                } else if self.settings.linger.is_zero() {
                    self.list(topic, partition);
                }
                Ok(taken)
            }
            Err(error) => Err(invalid_record(&error)),
        }
    }

    #[inline]
    fn push_to_open(
        &mut self,
        topic: u32,
        partition: i32,
        record: &RecordRef<'_>,
        now: impl FnOnce() -> Instant,
        note: impl FnOnce(&mut Meta, u32),
    ) -> Result<(Taken, bool), BatchError> {
        let batch_bytes = self
            .settings
            .batch_bytes
            .min(self.topics.max_batch_bytes(topic));
        let mut queue = self.topics.queue_mut(topic, partition);
        let opened_at = queue.open.is_none().then(now);
        if let Some(now) = opened_at {
            let open = self.open_batch(now);
            queue = self.topics.queue_mut(topic, partition);
            queue.open = Some(open);
        }
        let Some(open) = &mut queue.open else {
            unreachable!("it was opened above");
        };
        let index = match open.builder.push(record) {
            Ok(index) => index,
            Err(error) => {
                if opened_at.is_some() {
                    let unused = queue.open.take();
                    self.forget_unused(unused);
                }
                return Err(error);
            }
        };
        let bytes = open.builder.size_bytes();
        self.used_bytes += bytes - open.meta.bytes;
        open.meta.bytes = bytes;
        open.meta.records += 1;
        note(&mut open.meta, index);
        let is_full =
            bytes >= batch_bytes || open.builder.record_count() as usize >= BATCH_RECORDS_MAX;
        self.outstanding_records += 1;
        let key = BatchKey {
            topic,
            partition,
            id: open.meta.id,
        };
        let wake_at = opened_at.map(|now| self.opened(key, now));
        Ok((Taken { index, wake_at }, is_full))
    }

    fn open_batch(&mut self, now: Instant) -> Building {
        let id = self.next_id;
        self.next_id += 1;
        self.outstanding_batches += 1;
        let fresh = || BatchBuilder::new(self.settings.batch_bytes);
        Building {
            builder: self.spare.pop().unwrap_or_else(fresh),
            meta: Meta::new(id, id, now),
        }
    }

    fn forget_unused(&mut self, unused: Option<Building>) {
        if let Some(unused) = unused {
            self.outstanding_batches -= 1;
            self.recycle(unused.builder);
        }
    }

    /// Returns when the batch is due.
    fn opened(&mut self, key: BatchKey, now: Instant) -> Instant {
        let settings = &self.settings;
        if settings.linger.is_zero() {
            return now + settings.delivery_timeout;
        }
        self.lingering.push_back((now + settings.linger, key));
        now + settings.linger.min(settings.delivery_timeout)
    }

    fn close_open(&mut self, topic: u32, partition: i32) {
        if self.topics.queue_mut(topic, partition).close_open() {
            self.topics.move_on(topic, partition);
            self.list(topic, partition);
        }
    }

    /// Lists a partition if it may dispatch and is not listed.
    #[inline]
    fn list(&mut self, topic: u32, partition: i32) {
        let takes_open = self.settings.linger.is_zero();
        let in_flight_max = self.settings.in_flight;
        let queue = self.topics.queue_mut(topic, partition);
        let has_next = !queue.closed.is_empty() || (takes_open && queue.open.is_some());
        if !queue.is_listed && has_next && queue.in_flight.len() < in_flight_max {
            queue.is_listed = true;
            self.listed.push_back((topic, partition));
        }
    }

    /// Whether [`next_dispatch`](Self::next_dispatch) has something.
    #[inline]
    pub(super) fn has_dispatch(&self) -> bool {
        let may_send = match self.identity {
            Identity::Anonymous | Identity::Unknown | Identity::Known { .. } => true,
            Identity::Asked | Identity::Spent => false,
        };
        may_send && !self.listed.is_empty()
    }

    /// What to do next, if anything.
    pub(super) fn next_dispatch(&mut self) -> Option<Dispatch> {
        if !self.has_dispatch() {
            return None;
        }
        let (producer_id, producer_epoch) = match self.identity {
            Identity::Anonymous => (-1, -1),
            Identity::Known {
                producer_id,
                producer_epoch,
            } => (producer_id, producer_epoch),
            Identity::Unknown => {
                self.identity = Identity::Asked;
                return Some(Dispatch::Identify);
            }
            Identity::Asked | Identity::Spent => return None,
        };
        while let Some((topic, partition)) = self.listed.pop_front() {
            let takes_open = self.settings.linger.is_zero();
            let queue = self.topics.queue_mut(topic, partition);
            queue.is_listed = false;
            let Some(next) = queue.take_next(takes_open) else {
                continue;
            };
            let id = next.meta.id;
            let base_sequence = if producer_id < 0 {
                -1
            } else {
                queue.take_sequence(next.meta.records)
            };
            queue.in_flight.push_back(next.meta);
            self.in_flight += 1;
            self.list(topic, partition);
            self.topics.move_on(topic, partition);
            return Some(Dispatch::Batch(Outgoing {
                key: BatchKey {
                    topic,
                    partition,
                    id,
                },
                builder: next.builder,
                producer_id,
                producer_epoch,
                base_sequence,
            }));
        }
        None
    }

    /// Takes a builder back, to be used again.
    pub(super) fn recycle(&mut self, builder: BatchBuilder) {
        if self.spare.len() < SPARE_MAX && builder.is_empty() {
            self.spare.push(builder);
        }
    }

    /// The producer id has come, or not: then everything that waits for it fails.
    pub(super) fn identified(&mut self, answer: Result<(i64, i16), Error>, told: &mut Told) {
        match answer {
            Ok((producer_id, producer_epoch)) => {
                self.identity = Identity::Known {
                    producer_id,
                    producer_epoch,
                };
            }
            Err(error) => {
                self.identity = Identity::Unknown;
                self.fail_queued(&error, told);
            }
        }
    }

    /// A batch is in the log.
    pub(super) fn acknowledge(&mut self, key: BatchKey, ack: ProduceAck, told: &mut Told) {
        if let Some(meta) = self.take_in_flight(key) {
            self.settle(key.topic, key.partition, meta, Ok(ack), told);
            self.after_answer(key);
        }
    }

    /// A batch failed; with it, if idempotent, everything queued behind it in its partition.
    pub(super) fn fail(&mut self, key: BatchKey, error: Error, told: &mut Told) {
        let Some(meta) = self.take_in_flight(key) else {
            return;
        };
        let error = match &self.topics.queue_mut(key.topic, key.partition).broken {
            // It failed because one before it did: that one's reason says more.
            Some(first) if error.kind() == crate::ErrorKind::Fenced => behind(first),
            _ => error,
        };
        if error.code() == ErrorCode::UnknownTopicOrPartition {
            self.topics.forget(key.topic);
        }
        self.settle(key.topic, key.partition, meta, Err(error.clone()), told);
        self.break_partition(key, &error, told);
        self.after_answer(key);
    }

    fn break_partition(&mut self, key: BatchKey, error: &Error, told: &mut Told) {
        if self.identity == Identity::Anonymous {
            return;
        }
        self.identity = Identity::Spent;
        let queue = self.topics.queue_mut(key.topic, key.partition);
        if queue.broken.is_some() {
            // What is queued came after the failure was known: it goes out under the next id.
            return;
        }
        queue.broken = Some(error.clone());
        let queued: Vec<_> = queue.closed.drain(..).chain(queue.open.take()).collect();
        for building in queued {
            let error = behind(error);
            self.drop_queued(key.topic, key.partition, building, error, told);
        }
    }

    /// After an answer there is room in flight, and perhaps an id to be renewed.
    fn after_answer(&mut self, key: BatchKey) {
        if self.identity == Identity::Spent && self.in_flight == 0 {
            self.identity = Identity::Unknown;
            self.topics.restart_sequences();
        }
        self.list(key.topic, key.partition);
    }

    fn take_in_flight(&mut self, key: BatchKey) -> Option<Meta> {
        let queue = self.topics.queue_mut(key.topic, key.partition);
        let place = queue.in_flight.iter().position(|meta| meta.id == key.id)?;
        let meta = queue.in_flight.remove(place)?;
        self.in_flight -= 1;
        Some(meta)
    }

    fn drop_queued(
        &mut self,
        topic: u32,
        partition: i32,
        building: Building,
        error: Error,
        told: &mut Told,
    ) {
        let Building { mut builder, meta } = building;
        builder.clear();
        self.recycle(builder);
        self.settle(topic, partition, meta, Err(error), told);
    }

    fn settle(
        &mut self,
        topic: u32,
        partition: i32,
        meta: Meta,
        result: Result<ProduceAck, Error>,
        told: &mut Told,
    ) {
        self.used_bytes -= meta.bytes;
        self.outstanding_records -= u64::from(meta.records);
        self.leave(meta.order, told);
        told.settled.push(Settled {
            topic,
            partition,
            meta,
            result,
        });
    }
}

fn invalid_record(error: &BatchError) -> Error {
    let code = match error {
        BatchError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        _ => ErrorCode::InvalidRecord,
    };
    Error::new(code, error.to_string())
}

#[cfg(test)]
mod tests;
