//! The accumulator: records gather in one open batch per partition and leave it in order.
//!
//! A state machine: it knows no clock, no thread and no transport. Records go in by [`push`]; what is to
//! be sent comes out of [`next_dispatch`], what has ended comes out in a [`Settled`] list for the caller
//! to tell, outside the lock that the accumulator stands under.
//!
//! Invariants:
//! - The bytes of every batch count against the budget from the first record until the batch is settled.
//! - Batches of one partition are dispatched in the order of their records, at most `in_flight` at once.
//! - Sequences of an idempotent partition have no holes: when a batch fails for good, everything behind it
//!   fails, and the partition begins again at sequence 0 under the next epoch.
//! - A batch that failed for a reason that passes is sent again as it was, before anything behind it is, so
//!   that the log recognises it if the first attempt got there.
//! - A partition is listed as having something to send exactly while it may dispatch.
//!
//! [`push`]: Accumulator::push
//! [`next_dispatch`]: Accumulator::next_dispatch

mod answers;
mod backlog;
mod ending;
mod lookup;
mod outgoing;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub(in crate::client) use self::backlog::Backlog;
use self::ending::Flush;
use self::outgoing::Identity;
use super::batch::{Building, Meta, Stamp};
use super::topics::Topics;
use crate::client::retry::Backoff;
use crate::completion::Completion;
use crate::error::{Error, ErrorCode};
use crate::limits::BATCH_RECORDS_MAX;
use crate::protocol::response::ProduceAck;
use crate::record::{BatchBuilder, BatchError, RecordRef};

/// Of a longer batch, compressing it and handing it over takes longer than waking who does.
const SENT_BY_CALLER_BYTES_MAX: usize = 16 << 10;

/// The options that the accumulator acts on, resolved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) batch_bytes: usize,
    pub(super) buffer_bytes: usize,
    pub(super) linger: Duration,
    pub(super) delivery_timeout: Duration,
    pub(super) in_flight: usize,
    pub(super) is_idempotent: bool,
    /// Whether the log is another process's, which may crash while the producer lives.
    pub(super) is_remote: bool,
    pub(super) retry_backoff: Duration,
    pub(super) retry_backoff_max: Duration,
    /// Of what is random: the jitter of pauses.
    pub(super) seed: u64,
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
    /// Send a batch again, as it was; answered alike.
    Again {
        /// The batch.
        key: BatchKey,
        /// Its bytes.
        payload: Bytes,
    },
    /// Ask where a partition ends; answered to `log_end`.
    AskEnd {
        /// The topic's number.
        topic: u32,
        /// The partition.
        partition: i32,
    },
}

impl Dispatch {
    /// The topic that it is about, if it is about one.
    pub(super) const fn topic(&self) -> Option<u32> {
        match self {
            Self::Identify => None,
            Self::Batch(outgoing) => Some(outgoing.key.topic),
            Self::Again { key, .. } => Some(key.topic),
            Self::AskEnd { topic, .. } => Some(*topic),
        }
    }
}

/// A batch to send. The caller finishes the builder outside the lock and gives it back by `recycle`.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) key: BatchKey,
    pub(super) builder: BatchBuilder,
    pub(super) stamp: Stamp,
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
    /// The orders of the batches that have ended, to be given to [`Accumulator::leave`] once that is told.
    pub(super) ended: Vec<u64>,
    pub(super) flushed: Vec<Completion<()>>,
    /// When time is to be looked at, if that is sooner than was known.
    pub(super) wake_at: Option<Instant>,
}

impl Told {
    fn wake(&mut self, at: Instant) {
        self.wake_at = self.wake_at.into_iter().chain([at]).min();
    }
}

/// A record that was taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Its index in the batch.
    pub(super) index: u32,
    /// When the batch that it opened must be looked at again.
    pub(super) wake_at: Option<Instant>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Accumulator {
    settings: Settings,
    pub(super) topics: Topics,
    identity: Identity,
    used_bytes: usize,
    next_id: u64,
    /// Those that have not ended, and those that have while somebody is still being told.
    outstanding_batches: u64,
    outstanding_records: u64,
    /// Partitions that may dispatch, in turn.
    listed: VecDeque<(u32, i32)>,
    /// Those whose turn came before there was a producer id.
    unidentified: Vec<(u32, i32)>,
    backoff: Backoff,
    /// Open batches that wait for more records, by the end of their linger.
    lingering: VecDeque<(Instant, BatchKey)>,
    spare: Vec<BatchBuilder>,
    flushes: Vec<Flush>,
}

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
            listed: VecDeque::new(),
            unidentified: Vec::new(),
            backoff: Backoff::new(
                settings.retry_backoff,
                settings.retry_backoff_max,
                settings.seed,
            ),
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

    /// Batches that have not ended.
    pub(super) const fn outstanding_batches(&self) -> u64 {
        self.outstanding_batches
    }

    /// Whether one batch is all there is, to be sent now, and not long.
    pub(super) fn has_one_small_batch(&self) -> bool {
        self.outstanding_batches == 1
            && self.used_bytes <= SENT_BY_CALLER_BYTES_MAX
            && self.has_dispatch()
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
        if !queue.is_listed && queue.ready(takes_open, in_flight_max).is_some() {
            queue.is_listed = true;
            self.listed.push_back((topic, partition));
        }
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
        told.ended.push(meta.order);
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
