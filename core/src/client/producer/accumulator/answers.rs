//! What an answer means for its batch, and for those behind it.
//!
//! A failure that passes (the connection was lost, the log was busy) sends the batch again, as long as the
//! delivery has time. Whether the first attempt got into the log does not matter: the log recognises the
//! sequence. Only an idempotent producer sends again; without sequences a repetition may be a duplicate.
//!
//! A log that does not know where the sequence stands has lost what it had acknowledged, which a crash may do
//! to `os`, or has forgotten a producer that was idle too long. The partition's end tells the two apart
//! (`storage.md`, terms): if all that was acknowledged can be there, the partition begins again under the next
//! epoch and nobody notices; if not, the loss is reported. The same is asked before the first batch of an epoch that
//! began for another reason, which a log takes whatever it has lost.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::super::batch::{Memory, PartitionQueue};
use super::ending::{behind, timed_out};
use super::{Accumulator, BatchKey, Told};
use crate::client::retry::passes;
use crate::error::{Error, ErrorCode, ErrorKind, Outcome};
use crate::protocol::response::ProduceAck;
use crate::record::stamp_producer;
#[cfg(any(test, feature = "simulation"))]
use crate::world::simulated::{self, Bug};

/// What becomes of a batch that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Send it again after a pause.
    Later,
    /// Send it again when those before it are through.
    InTurn,
    /// Ask the log what it has, then send it again or not.
    Doubt,
    /// It has failed.
    End,
}

impl Accumulator {
    /// A batch is in the log.
    pub(in crate::client::producer) fn acknowledge(
        &mut self,
        key: BatchKey,
        ack: ProduceAck,
        told: &mut Told,
    ) {
        let queue = self.topics.queue_mut(key.topic, key.partition);
        let Some(place) = place_of(queue, key) else {
            return;
        };
        if let Some(meta) = queue.sent.remove(place) {
            if self.settings.is_idempotent && ack.base_offset < meta.comes_behind {
                queue.is_renewed = true;
                queue.went_back.get_or_insert(ack.base_offset);
            }
            let end = ack.base_offset.saturating_add(i64::from(meta.records));
            queue.acknowledged_end = queue.acknowledged_end.max(end);
            self.settle(key.topic, key.partition, meta, Ok(ack), told);
        }
        self.list(key.topic, key.partition);
    }

    /// A batch failed. It is sent again, or it ends: with it, if idempotent, everything behind it in its
    /// partition. `sent` is what was sent.
    pub(in crate::client::producer) fn fail(
        &mut self,
        key: BatchKey,
        error: Error,
        sent: Option<Bytes>,
        now: Instant,
        told: &mut Told,
    ) {
        if error.code() == ErrorCode::UnknownTopicOrPartition {
            self.topics.forget(key.topic);
            // What comes under its name later is another topic.
            let queue = self.topics.queue_mut(key.topic, key.partition);
            (queue.acknowledged_end, queue.went_back) = (0, None);
        }
        let queue = self.topics.queue_mut(key.topic, key.partition);
        let Some(place) = place_of(queue, key) else {
            return;
        };
        let is_late = is_late(queue, place, now, &self.settings);
        let verdict = if is_late || sent.is_none() || !self.settings.is_idempotent {
            Verdict::End
        } else {
            judge(queue, place, &error)
        };
        let Some(meta) = queue.sent.get_mut(place) else {
            return;
        };
        if verdict == Verdict::End {
            let error = match is_late && passes(&error) {
                true => timed_out(&self.settings, Some(&error)).with_outcome(error.outcome()),
                false => error,
            };
            return self.end(key, place, error, told);
        }
        meta.may_be_there |= error.outcome() == Outcome::Unknown;
        meta.again = sent;
        meta.last_error = Some(error);
        match verdict {
            Verdict::Later => {
                meta.failed_attempts = meta.failed_attempts.saturating_add(1);
                let pause = self.backoff.pause(meta.failed_attempts);
                let at = *queue.retry_at.get_or_insert(now + pause);
                told.wake(at);
            }
            Verdict::Doubt if queue.memory == Memory::Whole => queue.memory = Memory::Doubted,
            _ => {}
        }
        self.list(key.topic, key.partition);
    }

    /// Ends a batch that was sent: `error` is the last word.
    pub(super) fn end(&mut self, key: BatchKey, place: usize, error: Error, told: &mut Told) {
        let queue = self.topics.queue_mut(key.topic, key.partition);
        let Some(meta) = queue.sent.remove(place) else {
            return;
        };
        let outcome = meta.outcome(error.outcome());
        let is_behind = meta.is_lost;
        let error = match &queue.broken {
            // It failed because one before it did: that one's reason says more.
            Some(first) if is_behind && error.kind() == ErrorKind::Fenced => behind(first),
            _ => error,
        };
        let told_error = error.clone().with_outcome(outcome);
        self.settle(key.topic, key.partition, meta, Err(told_error), told);
        if !is_behind && self.settings.is_idempotent {
            self.break_partition(key, place, &error, told);
        }
        self.list(key.topic, key.partition);
    }

    /// A sequence is missing at `place`: what is behind fails, and what comes begins anew. What is before has
    /// its sequences still, and goes on.
    fn break_partition(&mut self, key: BatchKey, place: usize, error: &Error, told: &mut Told) {
        let BatchKey {
            topic, partition, ..
        } = key;
        let queue = self.topics.queue_mut(topic, partition);
        queue.broken = Some(error.clone());
        queue.renew();
        queue.is_renewed = self.settings.is_remote;
        for meta in queue.sent.iter_mut().skip(place) {
            meta.is_lost = true;
        }
        if queue.stamp.is_none() {
            // Its epochs are used up.
            self.identity = super::Identity::Unknown;
        }
        self.fail_unsent(topic, partition, place, &behind(error), told);
    }

    /// Fails what is not on its way, from this place of what was sent on.
    pub(super) fn fail_unsent(
        &mut self,
        topic: u32,
        partition: i32,
        place: usize,
        error: &Error,
        told: &mut Told,
    ) {
        let queue = self.topics.queue_mut(topic, partition);
        let behind = queue.sent.split_off(place.min(queue.sent.len()));
        let (waiting, flying): (VecDeque<_>, VecDeque<_>) =
            behind.into_iter().partition(|it| it.again.is_some());
        queue.sent.extend(flying);
        if queue.sent.iter().all(|it| it.again.is_none()) {
            queue.retry_at = None;
        }
        let queued: Vec<_> = queue.closed.drain(..).chain(queue.open.take()).collect();
        for meta in waiting {
            let error = error.clone().with_outcome(meta.outcome(Outcome::NotDone));
            self.settle(topic, partition, meta, Err(error), told);
        }
        for building in queued {
            self.drop_queued(topic, partition, building, error.clone(), told);
        }
    }

    /// The log has said where the partition ends, or that it cannot.
    pub(in crate::client::producer) fn log_end(
        &mut self,
        topic: u32,
        partition: i32,
        answer: Result<i64, Error>,
        now: Instant,
        told: &mut Told,
    ) {
        let queue = self.topics.queue_mut(topic, partition);
        if queue.memory != Memory::Asked {
            return;
        }
        queue.memory = Memory::Doubted;
        // It knows the producer, and less of it than it has acknowledged.
        let has_gap = queue.sent.front().is_some_and(|front| {
            let error = front.last_error.as_ref();
            error.is_some_and(|it| it.code() == ErrorCode::OutOfOrderSequenceNumber)
        });
        let has_gap = has_gap || queue.went_back.is_some();
        #[cfg(any(test, feature = "simulation"))]
        let has_gap = has_gap && !simulated::has(Bug::LossUntold);
        let lost = match answer {
            #[cfg(any(test, feature = "simulation"))]
            Ok(_) if simulated::has(Bug::LossUntold) => None,
            Ok(end) if end >= queue.acknowledged_end && !has_gap => None,
            Ok(end) => Some(self.truncated(topic, partition, end)),
            Err(error) if passes(&error) => {
                let pause = self.backoff.pause(1);
                let at = *queue.retry_at.get_or_insert(now + pause);
                return told.wake(at);
            }
            Err(error) => Some(error.with_outcome(Outcome::NotDone)),
        };
        let queue = self.topics.queue_mut(topic, partition);
        if lost.is_none() && queue.sent.is_empty() {
            // It was about to begin an epoch.
            (queue.memory, queue.is_renewed) = (Memory::Whole, false);
            return self.list(topic, partition);
        }
        if queue.sent.is_empty() && queue.closed.is_empty() && queue.open.is_none() {
            // What it was asked for has failed meanwhile, of time: the next batch asks again, and is told.
            queue.memory = Memory::Whole;
            return;
        }
        queue.renew();
        queue.is_renewed = false;
        queue.retry_at = None;
        let lost = match (lost, queue.stamp) {
            (None, Some(_)) => {
                queue.restamp();
                return self.list(topic, partition);
            }
            (None, None) => Error::new(
                ErrorCode::InvalidProducerEpoch,
                "the producer has used up its epochs; open another",
            ),
            (Some(error), _) => error,
        };
        if queue.stamp.is_none() {
            self.identity = super::Identity::Unknown;
        }
        (queue.acknowledged_end, queue.went_back) = (0, None);
        queue.broken = Some(lost.clone());
        self.fail_unsent(topic, partition, 0, &lost, told);
    }

    fn truncated(&mut self, topic: u32, partition: i32, end: i64) -> Error {
        let queue = self.topics.queue_mut(topic, partition);
        let last = queue.acknowledged_end.saturating_sub(1);
        let found = match queue.went_back {
            Some(offset) => format!("went on at offset {offset}"),
            None => format!("ends at offset {end}"),
        };
        let name = self.topics.name(topic);
        Error::new(
            ErrorCode::LogTruncated,
            format!(
                "topic `{name}`, partition {partition} {found}, and this producer's records up to offset {last} \
                 had been acknowledged: a crash took them back; nothing was sent since it was found out"
            ),
        )
    }
}

fn place_of(queue: &PartitionQueue, key: BatchKey) -> Option<usize> {
    queue.sent.iter().position(|meta| meta.id == key.id)
}

fn is_late(queue: &PartitionQueue, place: usize, now: Instant, settings: &super::Settings) -> bool {
    let opened_at = queue.sent.get(place).map(|meta| meta.opened_at);
    opened_at.is_some_and(|opened_at| opened_at + settings.delivery_timeout <= now)
}

fn judge(queue: &PartitionQueue, place: usize, error: &Error) -> Verdict {
    if queue.sent.get(place).is_none_or(|meta| meta.is_lost) {
        return Verdict::End;
    }
    match error.code() {
        ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId if place > 0 => {
            Verdict::InTurn
        }
        ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId => Verdict::Doubt,
        _ if passes(error) => Verdict::Later,
        _ => Verdict::End,
    }
}

impl PartitionQueue {
    /// What waits to be sent again becomes what it is under the new identity.
    fn restamp(&mut self) {
        let Some(stamp) = self.stamp else { return };
        for place in 0..self.sent.len() {
            let records = self.sent.get(place).map_or(0, |meta| meta.records);
            let base_sequence = self.take_sequence(records);
            let Some(meta) = self.sent.get_mut(place) else {
                return;
            };
            meta.stamp = stamp;
            meta.again = meta.again.take().map(|payload| {
                let mut bytes = Vec::from(payload);
                stamp_producer(
                    &mut bytes,
                    stamp.producer_id,
                    stamp.producer_epoch,
                    base_sequence,
                );
                Bytes::from(bytes)
            });
        }
    }
}
